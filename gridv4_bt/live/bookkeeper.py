"""What the exchange has done, taken into the books: executions are booked, holdings and wallet are compared.

The exchange is the truth: what it holds and the books do not know is adopted, what it does not hold is written off.
"""

from collections.abc import Sequence
from typing import Any

from brokers.feed_book import FeedBook
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.booking import BarBooking, book_bars
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.own_orders import Execution
from gridv4_bt.live.reconciler import Mismatch, Reconciler

#: The ledger may differ from the exchange's wallet by this much through rounding, quote.
_WALLET_NOISE = 0.01


class Bookkeeper:
    """The exchange's side of the books of `LiveHedgeBroker`; see `brokers.base.LiveBooks`."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self.log = reconciler.log
        self._wallet_difference = 0.0  # of the exchange's wallet from ours when it was compared last, quote

    def poll(self, symbols: Sequence[str]) -> int | None:
        """Ask what has become of every order; return the exchange's time, ms, or None if it does not answer."""
        try:
            self._reconciler.poll(symbols)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="unreachable", text=str(failure))
            return None
        return self._reconciler.executor.connection.clock.now()

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Note what a settlement of funding has cost in the books, to compare it with the exchange's income."""
        self._reconciler.funding.settled(symbol, time, paid)

    def take_in(self, account: Account, books: Sequence[FeedBook], fresh: Sequence[FeedBook], compare: bool) -> None:
        """Book what was executed until the close of the new bars.

        Parameters
        ----------
        books : of all symbols.
        fresh : those with a new bar.
        compare : whether legs and wallet are then held against the exchange's.
        """
        reconciler, bookings = self._reconciler, []
        for book in fresh:
            executions = reconciler.pop_executions(book.symbol, book.bar.time + BAR_MS)
            bookings.append(BarBooking(book, reconciler.orders, executions))
        book_bars(bookings)
        if compare:
            self._reconcile(account, books, fresh)
        for book, booking in zip(fresh, bookings, strict=True):
            if book.market != (market := reconciler.executor.markets[book.symbol]):
                book.rules_changed(market)
            for notice in booking.notices:
                self.log("alert", what="reconciled", text=notice)
            reconciler.forget_settled(book)

    def carry_out(self, book: FeedBook) -> None:
        """Bring the exchange in line with what is wanted of a symbol."""
        try:
            self._reconciler.carry_out(book)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="not_carried_out", symbol=book.symbol, text=str(failure))

    def to_json(self) -> dict[str, Any]:
        """Return what must survive of orders and trades, as JSON can hold it."""
        return self._reconciler.to_json()

    def _reconcile(self, account: Account, books: Sequence[FeedBook], fresh: Sequence[FeedBook]) -> None:
        try:
            for mismatch in self._reconciler.mismatches(fresh):
                self._adopt(next(book for book in books if book.symbol == mismatch.symbol), mismatch)
            self._correct_funding(account, books)
            if len(fresh) == len(books):  # else what others hold was not asked for
                self._compare_wallet(account, books)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="not_reconciled", text=str(failure))

    def _adopt(self, book: FeedBook, mismatch: Mismatch) -> None:
        """Take over what the exchange holds and we do not know; write off what it does not hold."""
        difference = mismatch.theirs.qty - mismatch.ours
        opens = difference > 0.0
        is_buy = opens == (mismatch.side is PositionSide.LONG)
        price = mismatch.theirs.entry if opens else book.bar.close
        execution = Execution(
            -1, None, book.symbol, mismatch.side, is_buy, abs(difference), price, 0.0, False, book.bar.time,
            "nobody we know",
        )  # fmt: skip
        booking = BarBooking(book, self._reconciler.orders, [execution])
        book_bars([booking])
        for notice in booking.notices:
            self.log(
                "alert",
                what="adopted" if opens else "written_off",
                symbol=book.symbol,
                side=mismatch.side.name,
                qty=abs(difference),
                price=price,
                text=notice,
            )

    def _correct_funding(self, account: Account, books: Sequence[FeedBook]) -> None:
        """Charge what the exchange has charged, where the books have computed another amount."""
        for symbol, time, computed, paid in self._reconciler.funding.differences():
            trackers = [leg.tracker for book in books if book.symbol == symbol for leg in book.legs]
            account.correct_funding(trackers, paid - computed)  # a symbol not traded any more has none
            self.log("alert", what="funding_differs", symbol=symbol, time=time, computed=computed, paid=paid)

    def _compare_wallet(self, account: Account, books: Sequence[FeedBook]) -> None:
        """Follow transfers in and out; what funding and trades explain is booked already or will be.

        The exchange realises profits against a leg's average entry, the books against the fill that is closed. What
        both agree on is the wallet less what the positions have cost: equity at a price of zero.
        """
        if (books[0].bar.time + BAR_MS) % HOUR_MS == 0 or self._reconciler.unbooked:
            return  # a settlement at the close belongs to the next bar
        ours, theirs = account.wallet, self._reconciler.executor.wallet() - self._reconciler.foreign_fees
        for book in books:
            for leg in book.legs:
                held = self._reconciler.positions[book.symbol][leg.side]
                ours -= leg.sign * leg.tracker.cost
                theirs -= leg.sign * held.qty * held.entry
        difference = theirs - ours
        before, self._wallet_difference = self._wallet_difference, difference
        # What is on its way explains itself by the next candle; only what stays is a transfer.
        if abs(difference) <= _WALLET_NOISE or abs(difference - before) > _WALLET_NOISE:
            return
        self.log("alert", what="wallet_differs", wallet=account.wallet, difference=difference)
        account.wallet += difference
        account.start += difference
