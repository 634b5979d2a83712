"""The bookkeeper: books the exchange's executions, and corrects positions, funding and wallet by the exchange's.

The exchange is the truth: a position that the books do not know is adopted, one that it does not have is written off.
"""

from collections.abc import Sequence
from typing import Any

from brokers.base import OwnOrder
from brokers.feed_book import FeedBook
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.orders import OrderType, Refusal
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.booking import BarBooking, Tell, book_bars, forget_gone_entries
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.ids import OrderKey, Purpose, content_ref
from gridv4_bt.live.order_diff import Unbooked
from gridv4_bt.live.own_orders import Execution, Order, OrderStatus, SingleTerms
from gridv4_bt.live.reconciliation import Mismatch, Reconciler

#: Difference from the exchange's wallet that rounding explains, quote.
_WALLET_NOISE = 0.01
#: Candles in a row after which a difference that no row of income explains is taken over: trades may be late.
_UNEXPLAINED_CANDLES = 4
#: Label of a strategy's own order that is to be cancelled: what could not be done is done by the next process.
_LEAVES = "cancel"
#: Closes that follow from the account's equity: none is sent at the candle at which that was corrected.
_OF_EQUITY = (TradeLabel.DELEVER, TradeLabel.MARGIN_CALL)


class Bookkeeper:
    """The exchange's side of the books of `LiveHedgeBroker`; see `brokers.base.LiveBooks`."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self.log = reconciler.log
        self._wallet_difference = 0.0  # from the exchange's wallet at the last comparison, quote
        self._looks = 0  # comparisons in a row with that difference
        self._corrected = False  # whether positions or wallet were corrected at this candle

    def poll(self, symbols: Sequence[str]) -> int | None:
        """Update every order; return the exchange's time, ms, or None if it does not answer."""
        try:
            self._reconciler.poll(symbols)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="unreachable", text=str(failure))
            return None
        return self._reconciler.executor.connection.clock.now()

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Add a funding settlement and what the books have paid, to compare it with the exchange's income."""
        self._reconciler.funding.settled(symbol, time, paid)

    def take_in(
        self, account: Account, books: Sequence[FeedBook], fresh: Sequence[FeedBook], compare: bool, tell: Tell
    ) -> None:
        """Book the executions until the close of the new bars.

        Parameters
        ----------
        books : of all symbols.
        fresh : those with a new bar.
        compare : whether legs and wallet are then compared with the exchange's.
        tell : hears of each strategy's own order that was booked.
        """
        reconciler, bookings = self._reconciler, []
        self._corrected = False
        for book in fresh:
            executions = reconciler.pop_executions(book.symbol, book.bar.time + BAR_MS)
            bookings.append(BarBooking(book, reconciler.orders, executions, tell))
        book_bars(bookings)
        if any(booking.is_forced for booking in bookings):
            forget_gone_entries(books, reconciler.orders)
        if compare:
            self._charge_late_fees(account)
            self._reconcile(account, books, fresh)
        for book, booking in zip(fresh, bookings, strict=True):
            reconciler.differs |= {(book.symbol, side) for side in booking.traded_by_others}
            if book.market != (market := reconciler.executor.markets[book.symbol]):
                book.rules_changed(market)
            for notice in booking.notices:
                self.log("alert", what="reconciled", text=notice)
            reconciler.forget_settled(book)

    def carry_out(self, book: FeedBook) -> None:
        """Place and cancel what differs between the exchange and a symbol's books."""
        if self._corrected:
            self._withhold_closes(book)
        try:
            self._reconciler.carry_out(book)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="not_carried_out", symbol=book.symbol, text=str(failure))

    # --- the orders of a strategy of the user's own

    def place(self, order: OwnOrder, number: int, may_repeat: bool) -> tuple[str, Refusal | None]:
        """Send an order, and return its id and why it was refused, or None if it may be open; see `LiveBooks`."""
        sync = self._reconciler.order_sync
        new = self._new(order, number)
        try:
            failure = sync.place_single(new, may_repeat)
        except Unreachable as unreachable:
            return new.id, Refusal(-1, "Not sent:", f" {unreachable}")
        return new.id, None if failure is None else Refusal(failure.code or -1, failure.text)

    def id_of(self, order: OwnOrder, number: int) -> str:
        """Return the id under which an order is sent."""
        return self._new(order, number).id

    def keep(self, order: OwnOrder, number: int) -> str:
        """Write down an order that is sent when its parent is executed, and return its id."""
        new = self._new(order, number)
        self._reconciler.order_sync.keep_single(new)
        return new.id

    def wake(self, order_id: str) -> None:
        """Note that the parent of an order was executed."""
        order = self._reconciler.orders.get(order_id)
        if order is not None and order.status is OrderStatus.WAITING:
            order.sent = self._reconciler.executor.connection.clock.now()

    def send(self, order_id: str, qty: float) -> tuple[str, Refusal | None] | None:
        """Send a kept order for a quantity, base units; return as `place` does, None if it could not be asked for.

        A stop that the price has passed already closes at market, under an id of its own.
        """
        order = self._reconciler.orders.get(order_id)
        if order is None or order.single is None or order.status is not OrderStatus.WAITING:
            return order_id, None
        sync = self._reconciler.order_sync
        order.qty = qty
        try:
            failure = sync.place_single(order, may_be_sent=True)
            if failure is not None and failure.reaction is Reaction.CLOSE_NOW:
                key = order.key._replace(ref=content_ref(order.id, "market"))
                terms = order.single._replace(type=OrderType.MARKET, trigger=0.0, trail=0.0)
                order = sync.new_single(key, qty, 0.0, terms, order.generation)
                failure = sync.place_single(order, may_be_sent=True)
        except Unreachable as unreachable:
            self.log("alert", what="order_not_sent", symbol=order.key.symbol, id=order.id, text=str(unreachable))
            return None
        return order.id, None if failure is None else Refusal(failure.code or -1, failure.text)

    def _new(self, order: OwnOrder, number: int) -> Order:
        opens = order.is_buy == (order.side is PositionSide.LONG)
        terms = SingleTerms(
            order.type, order.trigger, order.post_only, order.owner, order.valid, order.trail,
            order.parent, order.group,
        )  # fmt: skip
        # What an order does not have is not in its id, so that ids stay what they are when orders learn more.
        ref = content_ref(str(order.type), *terms[1:5], order.qty, order.price, number, *filter(None, terms[5:]))
        key = OrderKey(order.symbol, order.side, Purpose.OPEN if opens else Purpose.REDUCE, ref)
        return self._reconciler.order_sync.new_single(key, order.qty, order.price, terms, order.bar // BAR_MS)

    def cancel(self, order_id: str) -> None:
        """Cancel an order; one whose status stays unknown is asked for at the next candle."""
        order = self._reconciler.orders.get(order_id)
        if order is not None:
            order.label = _LEAVES
            self._reconciler.order_sync.cancel([order])

    def is_over(self, order_id: str) -> bool:
        """Return whether an order is not open any more and all that it has executed is booked."""
        order = self._reconciler.orders.get(order_id)
        return order is None or (order.is_settled and not self._unbooked_of(order))

    def own_orders(self) -> dict[str, OwnOrder]:
        """Return the strategies' own orders that are not over, with what is left of them, by id."""
        return {
            order.id: OwnOrder(
                order.key.symbol, order.key.side, order.is_buy, order.single.type,
                order.remaining + self._unbooked_of(order), order.price, order.single.trigger,
                order.single.post_only, order.single.owner, order.single.valid, order.generation * BAR_MS,
                order.single.trail, order.single.parent, order.single.group,
                order.status is OrderStatus.WAITING, order.is_woken, order.label == _LEAVES,
            )
            for order in self._reconciler.orders
            if order.single is not None and not self.is_over(order.id)
        }  # fmt: skip

    def _unbooked_of(self, order: Order) -> float:
        return Unbooked(self._reconciler.unbooked, order.key.symbol).of_order(order)

    def to_json(self) -> dict[str, Any]:
        """Return the state of orders and trades as a JSON object."""
        return self._reconciler.to_json()

    def _withhold_closes(self, book: FeedBook) -> None:
        """Drop the closes that the account's equity calls for: a correction may be wrong, the next candle tells."""
        for leg in book.legs:
            withheld = [close for close in leg.closes if close.label in _OF_EQUITY]
            leg.closes[:] = [close for close in leg.closes if close not in withheld]
            for close in withheld:
                self.log(
                    "alert", what="close_withheld", symbol=book.symbol, side=leg.side.name, fill=close.fill_id,
                    label=str(close.label), qty=close.qty,
                    text="the account was corrected at this candle; decided anew at the next",
                )  # fmt: skip

    def _charge_late_fees(self, account: Account) -> None:
        if self._reconciler.unpriced:
            fees = self._reconciler.price_fees()
            account.wallet -= fees
            account.fees += fees

    def _reconcile(self, account: Account, books: Sequence[FeedBook], fresh: Sequence[FeedBook]) -> None:
        try:
            found = self._reconciler.mismatches(fresh)
            compared = {book.symbol for book in fresh}
            others = {leg for leg in self._reconciler.differs if leg[0] not in compared}
            self._reconciler.differs = others | {(one.symbol, one.side) for one in found}
            for mismatch in found:
                book = next(book for book in books if book.symbol == mismatch.symbol)
                if self._is_confirmed(book, mismatch):
                    self._adopt(book, mismatch)
            self._correct_funding(account, books)
            if len(fresh) == len(books):  # else not all positions were read
                self._compare_wallet(account, books)
        except (Unreachable, Refused) as failure:
            self.log("alert", what="not_reconciled", text=str(failure))

    def _is_confirmed(self, book: FeedBook, mismatch: Mismatch) -> bool:
        """Return whether a second endpoint gives the same quantity: no single answer writes a position off or adds one.

        Where it does not, the books stay and the next candle asks again.
        """
        second = self._reconciler.executor.quantities().get((mismatch.symbol, mismatch.side), 0.0)
        if abs(second - mismatch.theirs.qty) <= 0.5 * book.market.step:
            return True
        self.log(
            "alert", what="positions_contradict", symbol=mismatch.symbol, side=mismatch.side.name,
            ours=mismatch.ours, positions=mismatch.theirs.qty, account=second,
        )  # fmt: skip
        return False

    def _adopt(self, book: FeedBook, mismatch: Mismatch) -> None:
        """Adopt the quantity that the exchange has more than the books, or write off what it has less."""
        difference = mismatch.theirs.qty - mismatch.ours
        opens = difference > 0.0
        is_buy = opens == (mismatch.side is PositionSide.LONG)
        price = mismatch.theirs.entry if opens else book.bar.close
        execution = Execution(
            -1, None, book.symbol, mismatch.side, is_buy, abs(difference), price, 0.0, False, book.bar.time,
            "nobody we know",
        )  # fmt: skip
        self._corrected = True
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
        """Correct the funding of settlements for which the exchange has charged another amount."""
        for symbol, time, computed, paid in self._reconciler.funding.differences():
            trackers = [leg.tracker for book in books if book.symbol == symbol for leg in book.legs]
            account.correct_funding(trackers, paid - computed)  # none of a symbol that is not traded any more
            self.log("alert", what="funding_differs", symbol=symbol, time=time, computed=computed, paid=paid)

    def _compare_wallet(self, account: Account, books: Sequence[FeedBook]) -> None:
        """Correct the wallet by a difference that funding and trades do not explain, such as a transfer.

        The exchange realises profits against a leg's average entry, the books against the fill that is closed. So the
        wallets are compared less the cost of the positions: the equity at a price of zero.
        """
        if (books[0].bar.time + BAR_MS) % HOUR_MS == 0 or self._reconciler.unbooked or self._reconciler.awaits_trades:
            return  # a settlement at the close belongs to the next bar, a late trade to one to come
        executor, foreign_fees = self._reconciler.executor, self._reconciler.foreign_fees
        wallet = executor.wallet()
        if wallet is None:
            self.log("alert", what="no_wallet", text="the account is answered without its USDT row; the books stay")
            return
        ours, theirs = account.wallet, wallet - foreign_fees
        for book in books:
            for leg in book.legs:
                held = self._reconciler.positions[book.symbol][leg.side]
                if abs(held.qty - leg.tracker.qty) > 0.5 * book.market.step:
                    return  # trades are on their way, or an answer is stale: neither is a transfer
                ours -= leg.sign * leg.tracker.cost
                theirs -= leg.sign * held.qty * held.entry
        self._correct_wallet(account, theirs - ours, wallet)

    def _correct_wallet(self, account: Account, difference: float, wallet: float) -> None:
        """Take over a difference that stays, if the income has a payment of it or two endpoints agree for an hour."""
        reconciler, before = self._reconciler, self._wallet_difference
        now = reconciler.executor.connection.clock.now()
        self._wallet_difference = difference
        if abs(difference) <= _WALLET_NOISE:
            self._looks, reconciler.agreed = 0, now
            return
        # A late trade explains itself by the next candle; only a difference that stays is a transfer.
        self._looks = self._looks + 1 if abs(difference - before) <= _WALLET_NOISE else 1
        if self._looks < 2:
            return
        paid = reconciler.executor.transfers(reconciler.agreed)
        if abs(paid - difference) > _WALLET_NOISE and self._looks < _UNEXPLAINED_CANDLES:
            self.log("alert", what="wallet_unexplained", difference=difference, ours=account.wallet, account=wallet)
            return
        second = reconciler.executor.balance()
        if second is None or abs(second - wallet) > _WALLET_NOISE:
            self.log("alert", what="wallets_contradict", account=wallet, balance=second, ours=account.wallet)
            return
        self.log("alert", what="wallet_differs", wallet=account.wallet, difference=difference)
        account.wallet += difference
        account.start += difference
        self._corrected, self._looks, reconciler.agreed = True, 0, now
