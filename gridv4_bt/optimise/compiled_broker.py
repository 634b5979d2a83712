"""CompiledBroker: a HedgeBroker whose grids are matched and decide in compiled code, one step after another.

Backtrader's loop moves the feeds from bar to bar, calls broker and strategies, and is told of every execution as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import backtrader as bt

from brokers.base import Decisions
from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.compiled import available
from gridv4_bt.engine import margin
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.cerebro import compile_rules
from gridv4_bt.optimise.compiled_run import CompiledRun
from gridv4_bt.optimise.kernel.kernel import is_compiled
from gridv4_bt.own_strategy import OwnStrategy
from strategies.grid_v4 import GridStrategyV4


class CompiledBroker(HedgeBroker):
    """A HedgeBroker that lets the kernel of the sweeps trade where it gives the same run.

    It does for a backtest of plain GridStrategyV4s, one for each feed, that nothing watches at every bar: no analyzer
    that looks at bars, no observer, writer or timer, no strategy or feed of a derived class. Else it is a HedgeBroker.

    Raises
    ------
    ConfigError
        Cash was paid in or an order given from outside (a thread, a class derived from this one) in a compiled run.
    """

    def open_account(self) -> None:
        super().open_account()
        self._turns: list[_Turn] = []
        self._compiled: CompiledRun | None = None
        self._has_begun = False
        self.is_compiled = False  #: whether the steps of the run are

    def attend(self, strategy: bt.Strategy) -> Decisions | None:
        turn = _Turn(strategy)
        self._turns.append(turn)
        return turn

    def next(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self.is_compiled = self._fits()
            if self.is_compiled:
                self._compiled = CompiledRun(self, [turn.strategy for turn in self._turns])
                for place, (turn, book) in enumerate(zip(self._turns, self._all, strict=True)):
                    turn.run, turn.place = self._compiled, place
                    book.owner = turn.strategy  # is notified of the executions
        if self._compiled is None:
            super().next()
            return
        if self._deposits or self._standard.alive:
            raise ConfigError("cash and orders from outside the grids come too late in a compiled run: use HedgeBroker")
        fresh = [book for book in self._all if book.next_bar()]
        if 0 < len(fresh) < len(self._all):
            self._settle_delisted(max(book.bar.time for book in fresh))
        self._compiled.step()
        margin.revalue(self.account, self.held)

    def stop(self) -> None:
        super().stop()
        self._compiled, self._turns = None, []

    def liquidate(self) -> None:
        """Liquidate the account at the bars of this step."""
        self._venue.liquidate()

    def report(self) -> None:
        """Report what was executed to the strategies."""
        for book in self._all:
            self._report(book)

    def _fits(self) -> bool:
        """Return whether the kernel gives the same run."""
        cerebro, strategies = self.cerebro, [turn.strategy for turn in self._turns]
        feeds = [strategy.feed for strategy in strategies]
        terms = [self.terms(feed) for feed in feeds]
        return (
            available()
            and self.p.intrabar == "pessimistic"
            and cerebro._dorunonce
            and cerebro._dopreload
            and not (cerebro._timers or cerebro._timerscheat or cerebro.p.cheat_on_open or cerebro.runwriters)
            and not (cerebro.p.oldsync or cerebro.p.lookahead or self._deposits or self._standard.alive)
            and _are(cerebro.runningstrats, strategies)
            and all(type(strategy) is GridStrategyV4 and not strategy._is_watched for strategy in strategies)
            and _are(feeds, cerebro.datas)
            and len({strategy.config.sigma_bars for strategy in strategies}) == 1  # the account's risk has one window
            and all(type(book) is FeedBook for book in self._all)
            and all(type(feed) is CandleFeed for feed in feeds)
            and not any(feed._filters or feed.p.tzinput for feed in feeds)
            and all(one == terms[0] for one in terms)
        )


class _Turn:
    """What a strategy does at a bar: nothing but to note funding and rules where the kernel has decided."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.run: CompiledRun | None = None
        self.place = 0
        self._book: FeedBook = strategy._state

    def may_decide(self) -> bool:
        if self.run is None:
            return True
        book, strategy = self._book, self.strategy
        if book.market is not strategy.market:
            strategy.obey_rules()
        if book.settlements != strategy._settlements_seen:
            strategy.now.time = book.bar.time
            strategy.record_funding()
        return False

    def decided(self) -> None:
        """Leave it at that."""

    def ended(self) -> None:
        """Bring what the kernel remembers to the strategy."""
        if self.run is not None:
            self.run.bring_back(self.strategy, self.place)
            self.run = None


def _are(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two sequences hold the same objects; of a comparison Backtrader's make a line."""
    return [id(one) for one in some] == [id(other) for other in others]


def quickest_broker(own: OwnStrategy | None = None) -> type[HedgeBroker]:
    """Return `CompiledBroker` where its code is in the cache and grids trade."""
    return CompiledBroker if own is None and is_compiled() else HedgeBroker


def compile_steps() -> None:
    """Compile the steps of `CompiledBroker` by a run of one day, or load them."""
    compile_rules(CompiledBroker)
