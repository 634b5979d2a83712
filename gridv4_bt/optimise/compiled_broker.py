"""CompiledBroker: a HedgeBroker whose grids are matched and decide in compiled code, one step after another.

Backtrader's loop moves the feeds from bar to bar as ever. At each step the kernel of the sweeps matches the bars and
decides for all symbols; what it has executed is booked in the broker's own account, by the broker's own functions, and
both must come to the same wallet to the last bit. The strategies get the kernel's log, and its memory at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from brokers.base import Decisions
from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.compat import FastCerebro, is_preloaded
from gridv4_bt.compiled import available
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine import margin
from gridv4_bt.engine.book import MarketClose
from gridv4_bt.engine.book_access import close_fill, open_fill
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import DELISTED, GRID, LABELS, LIQUIDATION
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.cerebro import still_market
from gridv4_bt.optimise.kernel.kernel import is_compiled, new_state, stepper
from gridv4_bt.optimise.kernel.state import Inputs, State
from gridv4_bt.optimise.sweep_market import Signals, SweepMarket, bars_of, rates_of
from gridv4_bt.optimise.sweep_wallet import SweepWallet
from strategies.grid_v4 import GridStrategyV4

ROOM = 64  #: open fills a side and levels cooling, beside the ladder's levels, that there is room for at first
WORTH_LOADING = 50_000  #: bars of all symbols from which on compiled code saves more time than loading it takes


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
        self._kernel: _Kernel | None = None
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
                self._kernel = _Kernel(self, [turn.strategy for turn in self._turns])
                for place, (turn, book) in enumerate(zip(self._turns, self._all, strict=True)):
                    turn.kernel, turn.place = self._kernel, place
                    book.owner = turn.strategy  # is notified of the executions
        if self._kernel is None:
            super().next()
            return
        if self._deposits or self._standard.alive:
            raise ConfigError("cash and orders from outside the grids come too late in a compiled run: use HedgeBroker")
        fresh = [book for book in self._all if book.next_bar()]
        if 0 < len(fresh) < len(self._all):
            self._settle_delisted(max(book.bar.time for book in fresh))
        self._kernel.step()
        margin.revalue(self.account, self.held)

    def stop(self) -> None:
        super().stop()
        self._kernel, self._turns = None, []

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
            and not (cerebro._timers or cerebro._timerscheat or cerebro.p.cheat_on_open or cerebro.runwriters)
            and not (cerebro.p.oldsync or cerebro.p.lookahead or self._deposits or self._standard.alive)
            and _are(cerebro.runningstrats, strategies)
            and all(type(strategy) is GridStrategyV4 and not strategy._is_watched for strategy in strategies)
            and _are(feeds, cerebro.datas)
            and len({strategy.config.sigma_bars for strategy in strategies}) == 1  # the account's risk has one window
            and all(type(book) is FeedBook for book in self._all)
            and all(type(feed) is CandleFeed and is_preloaded(feed) for feed in feeds)
            and not any(feed._filters or feed.p.tzinput for feed in feeds)
            and all(one == terms[0] for one in terms)
        )


class _Turn:
    """What a strategy does at a bar: nothing but to note funding and rules where the kernel has decided."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.kernel: _Kernel | None = None
        self.place = 0
        self._book: FeedBook = strategy._state
        self._settlements = 0

    def may_decide(self) -> bool:
        if self.kernel is None:
            return True
        book, strategy = self._book, self.strategy
        if book.market is not strategy.market:
            strategy.obey_rules()
        if book.settlements != self._settlements:
            self._settlements = book.settlements
            strategy.now.time = book.bar.time
            strategy.record_funding()
        return False

    def decided(self) -> None:
        """Leave it at that."""

    def ended(self) -> None:
        """Bring what the kernel remembers to the strategy."""
        if self.kernel is not None:
            self.kernel.bring_back(self.strategy, self.place)
            self.kernel = None


class _Kernel:
    """The run in the kernel, and the account of the broker that books what it executes."""

    def __init__(self, broker: CompiledBroker, strategies: Sequence[GridStrategyV4]) -> None:
        self._broker = broker
        self._books = broker.books
        self._configs = [strategy.config for strategy in strategies]
        self._inputs = _inputs(strategies, self._configs)
        self._levels = max(config.levels for config in self._configs)
        spans = self._inputs.spans
        log = np.zeros((int((spans["end"] - spans["first"]).sum()), len(LOG_COLUMNS)))
        self._bind(self._new_state(ROOM + 2 * self._levels, log))

    def _new_state(self, room: int, log: NDArray[np.float64]) -> State:
        times = self._inputs.bars["time"]
        days = int(times.max() // DAY_MS - times.min() // DAY_MS) + 1
        return new_state(self._configs, self._broker.account.wallet, days, log, room, 0, traced=True)

    def _bind(self, state: State) -> None:
        self._state = state
        self._step = stepper(self._inputs, state)
        account = state.account
        self._fills, self._news = memoryview(account["fills"]), memoryview(account["news"])

    def step(self) -> None:
        """Match and decide, and book what was executed."""
        self._step()
        if self._news[0] or self._fills[0] != self._broker.account.fills:
            self._book_step()
            self._make_room()

    def _book_step(self) -> None:
        """Book what the step has executed, in the order in which it was."""
        broker, state = self._broker, self._state
        account = state.account[0]
        news = state.news[: account["news"]].tolist()
        before = int(account["before_entries"])
        self._close(news[:before])
        broker.report()
        for fill in self._opened(news):
            self._open(*fill)
        broker.report()
        self._close(news[before:])
        broker.report()
        self._check()

    def _check(self) -> None:
        """Raise a RuntimeError if the kernel and the account do not agree."""
        account, wallet = self._state.account[0], self._broker.account.wallet
        if wallet != account["wallet"] or account["overflow"]:
            raise RuntimeError(
                f"the compiled run has {float(account['wallet'])!r} in the wallet, the account {wallet!r} (room for "
                f"all fills: {not account['overflow']}); please report it"
            )

    def _opened(self, news: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return id, book's place, side, qty, price, spacing_pct and regime of each fill opened in the step."""
        known, state, found = self._broker.account.fills, self._state, []
        for place, side, leg, fills in _sides(state):
            for fill in fills[: leg["fills"]]:
                if fill["id"] > known:
                    numbers = (fill[name].item() for name in ("qty", "price", "spacing_pct", "regime"))
                    found.append((int(fill["id"]), place, side, *numbers))
        still = {fill[0] for fill in found}
        for place, trade_id, side, _, regime, _, _, qty, entry, *_ in news:
            if trade_id > known and trade_id not in still:  # gone in the bar in which it came: its spacing was no use
                found.append((trade_id, place, side, qty, entry, 0.0, regime))
        return sorted(found)

    def _open(
        self, fill_id: int, place: int, side: int, qty: float, price: float, spacing_pct: float, regime: int
    ) -> None:
        book = self._books[place]
        book.state.regime = regime
        open_fill(book, book.long if side > 0 else book.short, qty, price, spacing_pct)

    def _close(self, trades: Sequence[tuple[Any, ...]]) -> None:
        liquidated = False
        for place, trade_id, side, label, _, _, _, qty, _, price, *_ in trades:
            if label == DELISTED:  # by the broker
                continue
            if label == LIQUIDATION:
                if not liquidated:
                    self._broker.liquidate()
                liquidated = True
                continue
            book = self._books[place]
            leg, maker = book.long if side > 0 else book.short, label == GRID
            fee_rate = book.costs.maker_fee if maker else book.costs.taker_fee
            close_fill(book, leg, leg.tracker.ids.index(trade_id), qty, price, label, fee_rate, maker)

    def _make_room(self) -> None:
        """Make room for more fills and levels cooling long before there is none."""
        state = self._state
        needed = 2 * int(state.legs["fills"].max() + state.legs["cooling"].max() + self._levels)
        if needed <= state.fills.shape[1]:
            return
        wider = self._new_state(2 * needed, state.log[:0])._replace(log=state.log, trace=state.trace)
        for to, array in zip(wider, state, strict=True):
            if to is not array:
                to[tuple(slice(0, size) for size in array.shape)] = array
        self._bind(wider)

    def bring_back(self, strategy: GridStrategyV4, place: int) -> None:
        """Give a strategy what its symbol has in the kernel: log, trace, memory and open orders."""
        self._check()
        state, span = self._state, self._inputs.spans[place]
        decided = max(int(state.symbols[place]["row"] + 1 - span["first"]), 0)  # fewer than there are if it was stopped
        rows = slice(int(span["first_log"]), int(span["first_log"]) + decided)
        strategy.log = state.log[rows].reshape(-1)  # row after row, as the strategy appends them
        strategy._trades_seen = len(self._broker.account.closed)
        self._broker.ambiguous_bars = int(state.account["ambiguous_bars"][0])
        trace = state.trace[rows, : 2 * self._configs[place].levels].ravel()
        strategy.plan.take_over(trace, state.tally[place])
        _copy(state.memory[place], strategy.memory)
        _copy(state.now[place], strategy.now)
        _copy(state.books[place], strategy._state.state)
        strategy.orders.regime = strategy._state.state.regime
        for row, (kelly, returns) in enumerate(zip(state.kelly[place], state.returns[place], strict=True)):
            _copy(kelly, strategy.kelly[row])
            strategy.returns[row][:] = returns[: len(strategy.returns[row])].tolist()
        for row, side in enumerate(strategy.sides, 2 * place):
            leg, book = state.legs[row], side.book
            _copy(leg, side.leg)
            book.orders[:] = state.orders[row][:, : book.levels]
            fills = state.fills[row][: leg["fills"]]
            book.exits = {fill_id: price for fill_id, price in fills[["id", "exit"]].tolist() if price > 0.0}
            closes = state.closes[row][: leg["closes"]].tolist()
            book.closes = [MarketClose(fill_id, qty, LABELS[label]) for fill_id, label, qty in closes]
            cooling = state.cooling[row][: leg["cooling"]]
            side.cooling.price, side.cooling.until = cooling["price"].tolist(), cooling["until"].tolist()
            side.reserve()
            side.taken[: leg["taken"]] = state.taken[row][: leg["taken"]]


def _copy(record: np.void, to: Any) -> None:
    """Bring the numbers of a record to the object of the same fields."""
    for column in fields(to):
        setattr(to, column.name, record[column.name].tolist())


def _sides(state: State) -> Iterator[tuple[int, int, np.void, NDArray[np.void]]]:
    """Yield place, sign, leg and fills of each side of each symbol."""
    for row, (leg, fills) in enumerate(zip(state.legs, state.fills, strict=True)):
        yield row // 2, int(leg["sign"]), leg, fills


def _inputs(strategies: Sequence[GridStrategyV4], configs: Sequence[Any]) -> Inputs:
    """Return the bars and signals of strategies whose lines hold all of them."""
    markets = []
    for strategy, config in zip(strategies, configs, strict=True):
        feed, history = strategy.feed, strategy._state.history
        market = SweepMarket(feed.p.name, history, None, bars_of(feed), rates_of(feed), feed.lead)
        indicators = strategy.kama, strategy.atr, strategy.adx, strategy.zscore, strategy.sigma
        signals = Signals(*(np.frombuffer(one.lines[0].array) for one in indicators))
        mixture = strategy.regime_gmm
        market.know(config, signals, None if mixture is None else np.frombuffer(mixture.lines[0].array))
        markets.append(market)
    return SweepWallet(tuple(markets)).inputs_of(configs, [strategy._first_bar - 1 for strategy in strategies])


def _are(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two sequences hold the same objects; of a comparison Backtrader's make a line."""
    return [id(one) for one in some] == [id(other) for other in others]


def quickest_broker(feeds: Sequence[CandleFeed], runs: int = 1) -> type[HedgeBroker]:
    """Return `CompiledBroker` where it is quicker: its code is in the cache, and there is enough to do with it."""
    pays = runs * sum(feed.rows for feed in feeds) >= WORTH_LOADING
    return CompiledBroker if pays and is_compiled() else HedgeBroker


def compile_steps() -> None:
    """Compile the steps of `CompiledBroker` by a run of one day, or load them."""
    cerebro = FastCerebro(stdstats=False)
    cerebro.setbroker(CompiledBroker())
    cerebro.adddata(still_market())
    cerebro.addstrategy(GridStrategyV4)
    cerebro.run()
