"""The backtest of a session: the same candles, funding, rules, parameters and wallet."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.audit.compared_fills import ComparedFill, Payment, merge
from gridv4_bt.audit.session import SessionRecord
from gridv4_bt.backtest import make_cerebro, make_feeds, run
from gridv4_bt.compat import epoch_ms
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.engine import margin
from gridv4_bt.engine.account import Execution
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.live.ids import Purpose
from gridv4_bt.record.run_record import SymbolRecord
from strategies.grid_v4 import GridStrategyV4

_BETWEEN = 0.5 * BAR_MS / DAY_MS  # from a step to the moment at which a late bar comes, Backtrader's days


@dataclass(frozen=True)
class SessionBacktest:
    """The result of the backtest of a session."""

    records: list[SymbolRecord]
    summary: dict[str, Any]
    fills: list[ComparedFill]
    payments: list[Payment]


class SessionBook(FeedBook):
    """A symbol's book that remembers its settlements."""

    def settle_funding(self, rate: float) -> None:
        """Charge a settlement and remember it, if anything was held."""
        before = self.account.funding
        super().settle_funding(rate)
        if self.long.tracker.ids or self.short.tracker.ids:
            self.payments.append(Payment(self.symbol, self._whole.time, rate, self.account.funding - before))


class ReplayBroker(HedgeBroker):
    """The simulated exchange, which remembers fills and settlements.

    Parameters
    ----------
    transfers : what the wallet was corrected by, quote, by the bar's open time (ms).
    """

    params = (("transfers", None),)
    book_type = SessionBook

    def start(self) -> None:
        """Begin a run."""
        super().start()
        self.fills: list[ComparedFill] = []
        self.payments: list[Payment] = []
        self._transfers = dict(self.p.transfers or {})

    def next(self) -> None:
        """Match the new bars, then book the owner's transfers."""
        super().next()
        for book in self._all:
            amount = self._transfers.pop(book.bar.time, 0.0)
            if amount:
                self.account.wallet += amount
                self.account.start += amount
                margin.revalue(self.account, self._all)

    def _book(self, data) -> SessionBook:
        book = super()._book(data)
        book.payments = self.payments
        return book

    def _report(self, book: FeedBook) -> None:
        self.fills += [_fill(book, one) for one in self.account.executions if one.symbol == book.symbol]
        super()._report(book)


class ReplayFeed(CandleFeed):
    """The candles as a session received them: a late one comes between its step and the next.

    Parameters
    ----------
    late : open times (ms) of the late candles, by symbol.
    """

    params = (("late", None),)
    last_ms = INFINITY  # a session that stopped trading a symbol has not settled it

    def start(self) -> None:
        """Begin a run."""
        super().start()
        self.late_bars = (self.p.late or {}).get(self.p.name, frozenset())

    def advance_peek(self) -> float:
        """Return the time at which the next bar comes."""
        time = super().advance_peek()
        return time + _BETWEEN if time < INFINITY and epoch_ms(time) in self.late_bars else time


class ReplayStrategy(GridStrategyV4):
    """GridStrategyV4 that decides nothing at a bar that the session had too late, and counts it for cooldowns."""

    def next(self) -> None:
        """Take the eleven steps, unless the bar is late."""
        bars = self._clock.lencount
        if bars != self._feed_bars and self._state.bar.time in self.feed.late_bars:
            self._feed_bars = bars
            self.memory.bar += bool(len(self.log))
            return
        super().next()


def replay(session: SessionRecord) -> SessionBacktest:
    """Backtest a session.

    Raises
    ------
    DataError
        The session has received too few bars for a decision.
    """
    feeds = make_feeds(session.data, feed=partial(ReplayFeed, late=session.late))
    cerebro = make_cerebro(
        feeds,
        session.config,
        session.wallet,
        session.rules,
        broker=lambda **given: ReplayBroker(transfers=session.transfers, **given),
        strategy=ReplayStrategy,
    )
    result = run(cerebro)
    broker = cerebro.broker
    return SessionBacktest(result.records, result.summary, merge(broker.fills, _order_of), broker.payments)


def _fill(book: FeedBook, execution: Execution) -> ComparedFill:
    purpose: Purpose | None = Purpose.CLOSE
    ref = execution.fill_id
    if execution.opens:
        purpose = Purpose.ENTRY
    elif execution.label is TradeLabel.GRID:
        purpose = Purpose.EXIT
    elif execution.label is TradeLabel.LIQUIDATION:
        purpose, ref = None, 0
    elif execution.label is TradeLabel.STOP2 and book.leg(execution.side).leg.stopped:
        purpose, ref = Purpose.STOP, 0
    return ComparedFill(
        symbol=execution.symbol, side=execution.side, purpose=purpose, ref=ref, bar=book.bar.time, qty=execution.qty,
        price=execution.price, fee=execution.fee, maker=execution.maker,
        is_buy=execution.opens == (execution.side > 0), booked=book.bar.time,
    )  # fmt: skip


def _order_of(fill: ComparedFill) -> tuple:
    """Return the key of one order's executions; only a stop of a whole leg or a liquidation closes several fills."""
    return (fill.symbol, fill.bar, fill.side, fill.purpose, fill.price, id(fill) if fill.ref else 0)
