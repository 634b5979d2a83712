"""LiveHedgeBroker: the broker of the backtest with the exchange in place of its matching.

Books, fills, wallet and the rules by which orders are refused are those of `HedgeBroker`: a strategy does not know
which of the two it has. Executions come from the exchange and are booked bar by bar in the simulated exchange's order
(see `gridv4_bt.live.booking`); what the strategy wants is carried out at the end of its bar by the `Desk`.
"""

from collections.abc import Sequence
from typing import Any

import backtrader as bt

from brokers.feed_book import FeedBook
from brokers.hedge import HedgeBroker
from feeds.tables import BAR_MS
from gridv4_bt.compat import epoch_ms
from gridv4_bt.engine.matching import INFINITY, MarketClose
from gridv4_bt.engine.types import Fill, PositionSide, TradeLabel
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.booking import BarBooking, book_bars
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.desk import Desk, Mismatch
from gridv4_bt.live.orders import Execution

#: The ledger may differ from the exchange's wallet by this much through rounding, quote.
_WALLET_NOISE = 0.01


class LiveHedgeBroker(HedgeBroker):
    """Hedge-mode broker over an exchange account.

    Parameters
    ----------
    desk : the bot's `Desk`.
    session : the `gridv4_bt.live.runner.Session` that its strategies report to.
    saved : what `to_json` of the session before returned, None for a fresh start.
    The others are those of `HedgeBroker`; ``cash`` is the wallet at a fresh start.
    """

    params = (("desk", None), ("session", None), ("saved", None))

    def start(self) -> None:
        """Begin a session."""
        super().start()
        self.desk: Desk = self.p.desk
        self._saved: dict[str, Any] | None = self.p.saved
        self.is_reachable = True  #: the exchange answered at this bar
        self._wallet_difference = 0.0  # of the exchange's wallet from ours when it was compared last, quote
        self.has_begun = False  # there may be something of ours at the exchange
        self._polled = 0  # exchange time, ms

    def buy(self, owner, data, size, price=None, plimit=None, **kwargs) -> bt.Order:
        """Refuse: see `submit`."""
        return self.submit(None)

    sell = buy

    def submit(self, order: bt.Order | None) -> bt.Order:
        """Refuse an order other than the grid's.

        Raises
        ------
        ConfigError
            Always.
        """
        raise ConfigError("the live broker carries out GridStrategyV4's orders only; use HedgeBroker for others")

    def next(self) -> None:
        """Take in the new bar of every symbol and book what the exchange has executed until its close."""
        saved = self._saved
        if saved is not None and any(epoch_ms(book.data.datetime[0]) > _saved_bar(saved, book) for book in self._all):
            self._restore(saved)  # before funding is charged to what is held
        fresh = [book for book in self._all if self._next_bar(book)]
        if self._saved is not None and any(book.bar.time == _saved_bar(saved, book) for book in fresh):
            self._restore(saved)
        if fresh and self._saved is None:
            self._take_in(fresh)
        self._revalue()

    def _next_bar(self, book: FeedBook) -> bool:
        """Read a symbol's new bar, if there is one, and note what was paid in the settlement at its open."""
        settlements, before = book.settlements, self.account.funding
        if not book.next_bar():
            return False
        if book.settlements > settlements:
            paid = self.account.funding - before
            if any(leg.tracker.ids for leg in book.legs):
                self.desk.log(
                    "funding", symbol=book.symbol, time=book.bar.time, rate=book.funding_rate,
                    mark=book.settlement_price(), paid=paid,
                )  # fmt: skip
            if self.has_begun:
                self.desk.funding.settled(book.symbol, book.bar.time, paid)
        return True

    def _take_in(self, fresh: list[FeedBook]) -> None:
        live = all(book.data.is_current for book in fresh)
        # After an outage the executions of all bars missed are asked for before the first of them is booked.
        if live or (self.has_begun and self._polled < fresh[0].bar.time + BAR_MS):
            self.is_reachable = self._poll()
        bookings = []
        for book in fresh:
            executions = self.desk.book_until(book.symbol, book.bar.time + BAR_MS)
            bookings.append(BarBooking(book, self.desk.orders, executions))
        book_bars(bookings)
        if live and self.is_reachable:
            self._reconcile(fresh)
        for book, booking in zip(fresh, bookings, strict=True):
            if book.market != (market := self.desk.executor.markets[book.symbol]):
                book.rules_changed(market)
            for notice in booking.notices:
                self.desk.log("alert", what="reconciled", text=notice)
            self.desk.tidy(book)
            self._report(book)

    # --- what the session asks

    def may_decide(self, data: bt.AbstractDataBase) -> bool:
        """Tell whether the bar delivered last is current and the exchange's side of it is known."""
        return data.is_current and self.is_reachable and self._saved is None

    def books(self) -> Sequence[FeedBook]:
        """Return the books of all symbols."""
        return self._all

    def bar_time(self, data: bt.AbstractDataBase) -> int:
        """Return the open time of a symbol's bar, ms."""
        return self._book(data).bar.time

    def carry_out(self, data: bt.AbstractDataBase) -> None:
        """Bring the exchange in line with what is wanted of a symbol."""
        book = self._book(data)
        try:
            self.desk.carry_out(book)
        except (Unreachable, Refused) as failure:
            self.desk.log("alert", what="not_carried_out", symbol=book.symbol, text=str(failure))

    def to_json(self) -> dict[str, Any]:
        """Return ledger and desk as JSON can hold them."""
        account = self.account
        return {
            "account": {name: getattr(account, name) for name in _ACCOUNT},
            "books": {book.symbol: _book_state(book) for book in self._all},
            "desk": self.desk.to_json(),
        }

    # --- reconciling

    def _poll(self) -> bool:
        try:
            self.desk.poll([book.symbol for book in self._all])
        except (Unreachable, Refused) as failure:
            self.desk.log("alert", what="unreachable", text=str(failure))
            return False
        self.has_begun = True
        self._polled = self.desk.executor.connection.clock.now()
        return True

    def _reconcile(self, fresh: list[FeedBook]) -> None:
        """Compare legs and wallet with the exchange's; it is the truth."""
        try:
            for mismatch in self.desk.mismatches(fresh):
                self._adopt(mismatch)
            self._correct_funding()
            self._compare_wallet(fresh)
        except (Unreachable, Refused) as failure:
            self.desk.log("alert", what="not_reconciled", text=str(failure))

    def _adopt(self, mismatch: Mismatch) -> None:
        """Take over what the exchange holds and we do not know; write off what it does not hold."""
        book = next(book for book in self._all if book.symbol == mismatch.symbol)
        difference = mismatch.theirs.qty - mismatch.ours
        opens = difference > 0.0
        is_buy = opens == (mismatch.side is PositionSide.LONG)
        price = mismatch.theirs.entry if opens else book.bar.close
        execution = Execution(
            -1, None, book.symbol, mismatch.side, is_buy, abs(difference), price, 0.0, False, book.bar.time,
            "nobody we know",
        )  # fmt: skip
        booking = BarBooking(book, self.desk.orders, [execution])
        book_bars([booking])
        for notice in booking.notices:
            self.desk.log(
                "alert", what="adopted" if opens else "written_off", symbol=book.symbol, side=mismatch.side.name,
                qty=abs(difference), price=price, text=notice,
            )  # fmt: skip

    def _correct_funding(self) -> None:
        """Charge what the exchange has charged, where the books have computed another amount."""
        for symbol, time, computed, paid in self.desk.funding.differences():
            trackers = [leg.tracker for book in self._all if book.symbol == symbol for leg in book.legs]
            self.account.correct_funding(trackers, paid - computed)  # a symbol not traded any more has none
            self.desk.log("alert", what="funding_differs", symbol=symbol, time=time, computed=computed, paid=paid)

    def _compare_wallet(self, fresh: list[FeedBook]) -> None:
        """Follow transfers in and out; what funding and trades explain is booked already or will be.

        The exchange realises profits against a leg's average entry, the books against the fill that is closed. What
        both agree on is the wallet less what the positions have cost: equity at a price of nought.
        """
        bar = fresh[0].bar
        if len(fresh) < len(self._all) or (bar.time + BAR_MS) % 3_600_000 == 0 or self.desk.unbooked:
            return  # a settlement at the close belongs to the next bar; what others hold was not asked for
        ours, theirs = self.account.wallet, self.desk.executor.wallet() - self.desk.foreign_fees
        for book in self._all:
            for leg in book.legs:
                held = self.desk.holdings[book.symbol][leg.side]
                ours -= leg.sign * leg.tracker.cost
                theirs -= leg.sign * held.qty * held.entry
        difference = theirs - ours
        before, self._wallet_difference = self._wallet_difference, difference
        # What is on its way explains itself by the next candle; only what stays is a transfer.
        if abs(difference) <= _WALLET_NOISE or abs(difference - before) > _WALLET_NOISE:
            return
        self.desk.log("alert", what="wallet_differs", wallet=self.account.wallet, difference=difference)
        self.account.wallet += difference
        self.account.start += difference

    # --- going on from a saved state

    def _restore(self, saved: dict[str, Any]) -> None:
        for name in _ACCOUNT:
            setattr(self.account, name, saved["account"][name])
        for book in self._all:
            if book.symbol in saved["books"]:
                _restore_book(book, saved["books"][book.symbol])
        self._saved = None
        self.has_begun = True


_ACCOUNT = (
    "start", "wallet", "gross", "fees", "funding", "fills", "maker_executions", "taker_executions", "liquidations",
)  # fmt: skip


def _saved_bar(saved: dict[str, Any], book: FeedBook) -> float:
    """Return the open time of the bar that was booked last, infinity for a symbol that is new."""
    return saved["books"][book.symbol]["bar"] if book.symbol in saved["books"] else INFINITY


def _book_state(book: FeedBook) -> dict[str, Any]:
    return {
        "bar": book.bar.time,
        "regime": book.regime,
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


def _restore_book(book: FeedBook, saved: dict[str, Any]) -> None:
    book.regime = saved["regime"]
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
