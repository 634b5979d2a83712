"""LiveHedgeBroker: the broker of the backtest with the exchange in place of its matching.

Books, fills, wallet and the rules that refuse orders are those of `HedgeBroker`: a strategy does not know which of the
two it has. Executions come from the exchange and are booked bar by bar in the simulated exchange's order; the orders
the strategy wants are placed at the end of its bar. Both happen behind `brokers.base.LiveBooks`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import backtrader as bt

from brokers.base import Decisions, LiveBooks
from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from brokers.live_orders import LiveOrders
from gridv4_bt.compat import epoch_ms
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine import margin
from gridv4_bt.engine.book import MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from gridv4_bt.errors import ConfigError


class LiveData(Protocol):
    """A feed that delivers the bars of the market as they close."""

    is_current: bool  #: whether the bar delivered last is the latest the exchange has closed


class Opening(NamedTuple):
    """What a broker begins with in a session."""

    cash: float  #: wallet of a new bot, quote
    feeds: Sequence[bt.AbstractDataBase]  #: those that are traded
    markets: Mapping[str, Market]  #: filters and brackets by the exchange's symbol
    exchange: LiveBooks  #: books and places what happens at the exchange
    saved: dict[str, Any] | None  #: the result of `LiveHedgeBroker.to_json` in the previous session, None for a new bot


class BrokerSession(Protocol):
    """The session of a live broker; see `gridv4_bt.live.live_session.LiveSession`."""

    def open(self, broker: "LiveHedgeBroker", datas: Sequence[bt.AbstractDataBase]) -> Opening:
        """Let a broker and its feeds trade in the session."""

    def attend(self, strategy: Any) -> Decisions:
        """Return what decides when a strategy decides, and saves what it has decided."""

    def bars_read(self, fresh: Sequence[FeedBook]) -> None:
        """Note that the new bars of some symbols are booked."""

    def finish(self) -> None:
        """End in order."""


class LiveBook(FeedBook):
    """A symbol's book that charges no funding for bars that the previous session has booked."""

    booked = -1  #: open time of the last of them, ms

    def settle_funding(self, rate: float) -> None:
        """Charge a settlement, unless it is charged already."""
        if self._whole.time > self.booked:
            super().settle_funding(rate)
        else:
            self.funding_rate = rate
            self.settlements += 1


class LiveHedgeBroker(HedgeBroker):
    """Hedge-mode broker over an exchange account.

    Parameters
    ----------
    session : ``session(cerebro)`` returns the session in which a Cerebro trades; called at its start.
    The others are those of `HedgeBroker`; wallet and markets are the exchange's.
    """

    params = (("session", None),)
    book_type = LiveBook
    orders_type = LiveOrders
    _standard: LiveOrders
    cerebro: bt.Cerebro  #: set by Cerebro's `setbroker`

    def start(self) -> None:
        """Open the session."""
        session_of: Callable[[bt.Cerebro], BrokerSession] = self.p.session
        self._session = session_of(self.cerebro)
        opening = self._session.open(self, self.cerebro.datas)
        self.p.cash, self.p.markets = opening.cash, opening.markets
        super().start()
        self.exchange = opening.exchange
        self._saved = opening.saved
        self.is_reachable = True  #: whether the exchange has answered at this bar
        self.has_begun = False  #: whether the bot may have orders or positions at the exchange
        self.closed_before = 0  #: closings of earlier sessions that are not among `closed_trades`
        self._polled = 0  # exchange time of the last poll, ms
        self._begun_at: dict[str, int] = {}  # bar at which a symbol may trade first in this process, ms
        for data in opening.feeds:
            self._book(data)  # what the exchange has is read before the first order

    def stop(self) -> None:
        """End the session in order: entries are taken back, stops and exits stay."""
        super().stop()
        self._session.finish()

    def attend(self, strategy: bt.Strategy) -> Decisions:
        return self._session.attend(strategy)

    def add_cash(self, cash: float) -> None:
        """Refuse a payment: the wallet is the exchange's.

        Raises
        ------
        ConfigError
            Always.
        """
        raise ConfigError("add_cash: pay into the futures wallet at the exchange; the books follow")

    @property
    def held(self) -> Sequence[FeedBook]:
        return self._all  # positions are adopted and written off as the exchange says

    def next(self) -> None:
        """Read the new bar of every symbol and book what the exchange has executed until its close."""
        saved = self._saved
        if saved is not None and any(epoch_ms(book.data.datetime[0]) > _saved_bar(saved, book) for book in self._all):
            self._restore(saved)  # before funding is charged to what is held
        fresh = [book for book in self._all if self._next_bar(cast(LiveBook, book))]
        saved = self._saved
        if saved is not None and any(book.bar.time == _saved_bar(saved, book) for book in fresh):
            self._restore(saved)
        if fresh and self._saved is None:
            self._take_in(fresh)
        margin.revalue(self.account, self._all)
        self._session.bars_read(fresh)

    def _next_bar(self, book: LiveBook) -> bool:
        """Read a symbol's new bar, if there is one, and log the funding paid at its open."""
        settlements, before = book.settlements, self.account.funding
        if not book.next_bar():
            return False
        if book.settlements > settlements and book.bar.time > book.booked:
            paid = self.account.funding - before
            if any(leg.tracker.ids for leg in book.legs):
                self.exchange.log(
                    "funding",
                    symbol=book.symbol,
                    time=book.bar.time,
                    rate=book.funding_rate,
                    mark=book.settlement_price(),
                    paid=paid,
                )
            if self.has_begun:
                self.exchange.settled(book.symbol, book.bar.time, paid)
        return True

    def _take_in(self, fresh: list[FeedBook]) -> None:
        live = all(cast(LiveData, book.data).is_current for book in fresh)
        # After an outage the executions of all missed bars are read before the first of them is booked.
        if live or (self.has_begun and self._polled < fresh[0].bar.time + BAR_MS):
            self._poll()
        if self._ladders:
            for ladder in self._ladders.values():
                ladder.tell_changes(self)
        standing = self.has_begun and self.is_reachable
        if standing:
            self._standard.take_over()
        self.exchange.take_in(self.account, self._all, fresh, live and self.is_reachable, self._standard.booked)
        for book in fresh:
            self._report(book)
        if standing:
            self._standard.settle()
            self._standard.expire()

    def _poll(self) -> None:
        polled = self.exchange.poll([book.symbol for book in self._all])
        self.is_reachable = polled is not None
        if polled is not None:
            self.has_begun = True
            self._polled = polled

    # --- for the session

    def may_decide(self, data: LiveData) -> bool:
        """Return whether the latest bar is current and the exchange's side of it is known."""
        return data.is_current and self.is_reachable and self._saved is None

    def why_not(self, book: FeedBook) -> str:
        """Return why no order may be sent at the bar of a book now, "" if one may."""
        data = cast(LiveData, book.data)
        if not data.is_current:
            return "the bar is history, or another has closed since; order at the newest bar"
        if not self.has_begun or not self.may_decide(data):
            return "the exchange did not answer at this bar"
        self._begun_at.setdefault(book.symbol, book.bar.time)
        return ""

    def may_repeat(self, book: FeedBook) -> bool:
        """Return whether a process before may have decided the bar of a book already."""
        return self._begun_at.get(book.symbol, book.bar.time) >= book.bar.time

    def feed_of(self, symbol: str) -> bt.AbstractDataBase:
        """Return the feed of a symbol."""
        return next(book.data for book in self._all if book.symbol == symbol)

    def bar_time(self, data: bt.AbstractDataBase) -> int:
        """Return the open time of a symbol's bar, ms."""
        return self._book(data).bar.time

    def carry_out(self, data: bt.AbstractDataBase) -> None:
        """Place and cancel what differs between the exchange and a symbol's books."""
        self.exchange.carry_out(self._book(data))

    def to_json(self, seen: int) -> dict[str, Any]:
        """Return books and orders as a JSON object.

        Parameters
        ----------
        seen : closings of the bot that every strategy knows; a new process needs the others.
        """
        first = max(seen - self.closed_before, 0)
        return {
            "closed": {
                "before": self.closed_before + first,
                "trades": [list(one) for one in self.account.closed[first:]],
            },
            "account": self.account.totals(),
            "books": {book.symbol: _book_state(book) for book in self._all},
            "desk": self.exchange.to_json(),
        }

    # --- restoring a saved state

    def _restore(self, saved: dict[str, Any]) -> None:
        self.account.restore(saved["account"])
        closed = saved.get("closed", {"before": 0, "trades": []})
        self.closed_before = closed["before"]
        self.account.closed[:0] = [_closed_trade(row) for row in closed["trades"]]
        for book in self._all:
            if book.symbol in saved["books"]:
                _restore_book(book, saved["books"][book.symbol])
        self._saved = None
        self.has_begun = True


def _saved_bar(saved: dict[str, Any], book: FeedBook) -> float:
    """Return the open time of the last booked bar, infinity for a new symbol."""
    return saved["books"][book.symbol]["bar"] if book.symbol in saved["books"] else INFINITY


def _book_state(book: FeedBook) -> dict[str, Any]:
    return {
        "bar": book.bar.time,
        "regime": book.state.regime,
        "legs": [
            {
                "fills": [list(fill) for fill in leg.tracker.fills],
                "entries": [[float(row[i]) for row in (leg.prices, leg.qtys, leg.spacings)] for i in range(leg.levels)],
                "exits": [[fill_id, price] for fill_id, price in leg.exits.items()],
                "stop": leg.stop,
                "closes": [list(close) for close in leg.closes],
            }
            for leg in book.legs
        ],
    }


def _closed_trade(row: list[Any]) -> ClosedTrade:
    trade = ClosedTrade(*row)
    return trade._replace(side=PositionSide(trade.side), label=TradeLabel(trade.label))


def _restore_book(book: FeedBook, saved: dict[str, Any]) -> None:
    cast(LiveBook, book).booked = saved["bar"]
    book.state.regime = saved["regime"]
    for leg, state in zip(book.legs, saved["legs"], strict=True):
        for fill in state["fills"]:
            leg.tracker.add(Fill(*fill))
        for i, row in enumerate(state["entries"][: leg.levels]):
            leg.prices[i], leg.qtys[i], leg.spacings[i] = row
        leg.entries_changed()
        leg.exits = {int(fill_id): price for fill_id, price in state["exits"]}
        leg.stop = state["stop"]
        leg.closes[:] = [MarketClose(fill_id, qty, TradeLabel(label)) for fill_id, qty, label in state["closes"]]
    book.orders_changed()
