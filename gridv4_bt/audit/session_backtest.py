"""The backtest of a session: the same candles, funding, rules, parameters and wallet."""

from dataclasses import dataclass
from typing import Any

from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from gridv4_bt.audit.compared_fills import ComparedFill, Payment, merge
from gridv4_bt.audit.session import SessionRecord
from gridv4_bt.backtest import make_cerebro, make_feeds, run
from gridv4_bt.engine import margin
from gridv4_bt.engine.account import Execution
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.live.ids import Purpose
from gridv4_bt.record.run_record import SymbolRecord


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


def replay(session: SessionRecord) -> SessionBacktest:
    """Backtest a session.

    Raises
    ------
    DataError
        The session has received too few bars for a decision.
    """
    feeds = make_feeds(session.data)
    cerebro = make_cerebro(
        feeds,
        session.config,
        session.wallet,
        session.rules,
        broker=lambda **given: ReplayBroker(transfers=session.transfers, **given),
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
