"""Orders that a Backtrader strategy places with ``self.buy`` and ``self.sell``.

They are matched as single orders of the engine (`gridv4_bt.engine.orders`):

* Market fills at the next open, Limit always at its limit price, Stop at the worse of stop and open.
* ``positionSide="LONG" | "SHORT"`` chooses the leg: an order that closes it is reduce-only, one larger than its leg is
  rejected. Without it an order closes the opposite leg as far as that is open, then opens its own, as a strategy
  written for a netting broker expects; with ``reduceOnly=True`` it never opens.
* Closing orders take the oldest fills first.
* StopTrail and StopTrailLimit follow each bar's favourable extreme, after the bar has met the trigger that stood before
  it (`gridv4_bt.engine.trailing`).
* ``parent``, ``transmit`` and ``oco`` link orders (`brokers.order_links`). A child only closes the leg that its parent
  opens, and what it cannot close any more expires; its stop may be met in the bar that executes the parent, its limit
  from the next bar on. A bracket of which one order is refused is refused as a whole.
* Close is not supported. The reason of a rejection is in ``order.info.reason``, with the exchange's code, and a person
  is warned of the first of each code.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import backtrader as bt

from brokers.feed_book import FeedBook
from brokers.order_links import OrderLinks
from brokers.order_terms import Terms, read_terms
from brokers.trailing_terms import begin_trailing, show_trigger, trail_of, trailing_refusal
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.orders import (
    OrderType,
    Refusal,
    SingleOrder,
    SingleOrders,
    closing_refusal,
    filter_refusal,
    leg_of,
    opening_refusal,
    opens,
    order_price,
)
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import place_of_code

logger = logging.getLogger("gridv4.broker")

_TYPES = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP_MARKET,
    bt.Order.StopLimit: OrderType.STOP,
    bt.Order.StopTrail: OrderType.STOP_MARKET,
    bt.Order.StopTrailLimit: OrderType.STOP,
}


class MarginBroker(Protocol):
    """A broker with an initial margin, as far as its standard orders need it."""

    p: Any  #: Backtrader's parameters, with `leverage`

    def notify(self, order: bt.Order) -> None:
        """Queue a notification of an order's status for its owner."""

    def position_capacity(self, book: FeedBook, leg: Leg) -> float:
        """Return the notional by which a leg with its opening orders may grow, quote."""

    def cap_room(self, book: FeedBook, leg: Leg) -> float:
        """Return the notional by which a leg may still grow until a cap is met, quote."""

    def available_margin(self) -> float:
        """Return the equity that is not initial margin of positions or opening orders, quote."""


class StandardOrders:
    """The open standard orders of a broker."""

    def __init__(self, broker: MarginBroker) -> None:
        self._broker = broker
        self._links = OrderLinks()
        self.singles = SingleOrders(self)
        self.alive: list[SingleOrder] = self.singles.alive
        self._refused: Counter[tuple[str, int]] = Counter()  # orders by symbol and code

    def submit(self, order: bt.Order, book: FeedBook) -> None:
        """Accept or reject an order, whose keywords are its info, and notify its owner.

        One that is not to be transmitted yet is kept, and sent with its bracket.
        """
        refusal = self._links.refusal(order)
        sent = [order] if refusal is not None else self._links.take(order)
        for one in sent:
            one.submit(self._broker)
            self._broker.notify(one)
        checked: list[tuple[bt.Order, SingleOrder, Terms]] = []
        for one in sent:
            if refusal is None:
                parent = None if one.parent is None else self._single_of(one.parent, checked)
                result = self._check(one, book, parent)
                if isinstance(result, Refusal):
                    refusal = result
                else:
                    checked.append((one, *result))
        if refusal is not None:
            for one in sent:
                self.reject(one, refusal)
            return
        if checked:
            self._accept_all(checked, book)

    def _accept_all(self, checked: Sequence[tuple[bt.Order, SingleOrder, Terms]], book: FeedBook) -> None:
        """Take an order, or all of a bracket, that the exchange's rules allow."""
        for order, single, terms in checked:
            self.accept(order, single, book, terms.post_only)

    def _single_of(self, order: bt.Order, checked: Sequence[tuple[bt.Order, SingleOrder, Terms]]) -> SingleOrder:
        """Return the engine's order of one that is open, or about to be."""
        return next(single for single in (*(one for _, one, _ in checked), *self.alive) if single.reference == order)

    def _check(
        self, order: bt.Order, book: FeedBook, parent: SingleOrder | None
    ) -> tuple[SingleOrder, Terms] | Refusal:
        """Return the engine's order of an order and what its keywords ask for, or why it is refused."""
        terms = read_terms(order.isbuy(), order.info)
        if isinstance(terms, Refusal):
            return terms
        refusal = self._unsupported(order)
        if refusal is not None:
            return refusal
        single = _single(order, book.symbol, terms)
        if parent is None:
            begin_trailing(single, book.data.close[0] if order.price is None else order.price, book.market.tick)
            refusal = self._refusal(single, book, terms)
        else:
            refusal = self._child_refusal(single, book, terms, parent)
        order.info["positionSide"] = leg_of(single, book).side.name
        return (single, terms) if refusal is None else refusal

    def accept(self, order: bt.Order, single: SingleOrder, book: FeedBook, post_only: bool) -> None:
        """Take an order that passes the exchange's rules; `single` is the engine's order of it."""
        order.accept(self._broker)
        self._broker.notify(order)
        self.alive.append(single)
        self._join(order)

    def _join(self, order: bt.Order) -> None:
        """Link an order that was accepted to those that it names."""
        self._links.join(order)
        if group := self._links.group_of(order):
            for single in self.alive:
                if single.reference in group:
                    single.group = group[0].ref

    def cancel(self, order: bt.Order) -> bool:
        """Cancel an order and return whether it was open."""
        # The strategy may hold a clone, which equals its original by its reference.
        for single in self.alive:
            if single.reference == order:
                self.alive.remove(single)
                self.cancelled(single)
                return True
        kept = self._links.drop_kept(order)
        for one in kept:
            one.cancel()
            self._broker.notify(one)
        return bool(kept)

    def expire(self) -> None:
        """Remove the orders whose ``valid`` has passed."""
        for single in list(self.alive):
            if single in self.alive and single.reference.expire():  # its bracket may have taken it along
                self.alive.remove(single)
                self._broker.notify(single.reference)
                self._end_linked(single.reference)

    def open_notional(self, book: FeedBook, side: PositionSide) -> float:
        """Return the notional of the open orders that open one side of a symbol, quote."""
        total, last_price = 0.0, book.data.close[0]
        closing = book.leg(PositionSide(-side)).tracker.qty  # what orders without positionSide close first
        for single in self.alive:
            if single.symbol != book.symbol or single.is_buy != (side > 0):
                continue
            if single.side is None and not single.reduce_only:
                total += order_price(single, last_price) * max(single.remaining - closing, 0.0)
                if single.type is OrderType.MARKET:
                    closing = max(closing - single.remaining, 0.0)
            elif single.side is side:
                total += order_price(single, last_price) * single.remaining
        return total

    # --- events of single orders (see `gridv4_bt.engine.orders.Owner`)

    def executed(self, single: SingleOrder, book: Book) -> None:
        """Notify the owner of an order of each of its executions.

        Each fill has its own notification, because it is a trade of its own and Backtrader books all execution bits of
        a notification under one ``tradeid``.
        """
        order: bt.Order = single.reference
        sign = 1.0 if order.isbuy() else -1.0
        when = order.data.datetime[0]
        executions = book.account.executions
        net = book.long.tracker.qty - book.short.tracker.qty - sign * plain_sum(one.qty for one in executions)
        for execution in executions:
            size = sign * execution.qty
            net += size
            value = execution.qty * execution.price
            opened, closed = (size, 0.0) if execution.opens else (0.0, size)
            order.tradeid = execution.fill_id
            order.info = _info_of(order, execution.side)
            order.execute(
                when, size, execution.price,
                closed, value if closed else 0.0, execution.costs if closed else 0.0,
                opened, value if opened else 0.0, execution.costs if opened else 0.0,
                None, execution.gross, net, execution.price,
            )  # fmt: skip
            if abs(order.executed.remsize) < LOT_NOISE * abs(order.size):
                order.executed.remsize = 0.0
                order.completed()
            self._broker.notify(order)
        executions.clear()
        if self._closed_by_itself(order, single):
            (self.expired if single.cut_to_leg else self.cancelled)(single)
        cancelled, woken = self._links.executed(order)
        self._cancel_linked(cancelled)
        for child in [child for child in self.alive if child.reference in woken]:
            self._wake(child, book, order.executed.price)

    def _wake(self, child: SingleOrder, book: Book, price: float) -> None:
        """Let the child of a parent that was executed at a price rest at the exchange."""
        child.waits, child.woken_at = False, book.bar.time
        child.reference.activate()
        if child.reference.price is None:
            begin_trailing(child, price, book.market.tick)

    def _cancel_linked(self, orders: Sequence[bt.Order]) -> None:
        """Cancel those of the orders that are open."""
        for single in [single for single in self.alive if single.reference in orders]:
            if single in self.alive:
                self.alive.remove(single)
                self.cancelled(single)

    def _end_linked(self, order: bt.Order) -> None:
        """Cancel the orders that end with one that is over."""
        self._cancel_linked(self._links.ended(order))

    def _closed_by_itself(self, order: bt.Order, single: SingleOrder) -> bool:
        """Return whether an order is over with a rest that it could not close, as a reduce-only one may have."""
        return order.alive() and single not in self.alive

    def refused(self, single: SingleOrder, refusal: Refusal) -> None:
        """Reject an open order that cannot be executed."""
        self.reject(single.reference, refusal)
        self._end_linked(single.reference)

    def triggered(self, single: SingleOrder) -> None:
        """Turn a StopLimit into a Limit order."""
        order: bt.Order = single.reference
        order.exectype = bt.Order.Limit
        order.created.price = single.price
        order.triggered = True

    def cancelled(self, single: SingleOrder) -> None:
        """Mark an order as cancelled and notify its owner."""
        single.reference.cancel()
        self._broker.notify(single.reference)
        self._end_linked(single.reference)

    def trailed(self, single: SingleOrder) -> None:
        """Show the trigger that a trailing stop has now."""
        show_trigger(single)

    def expired(self, single: SingleOrder) -> None:
        """Mark an order whose leg holds nothing any more as expired and notify its owner."""
        order: bt.Order = single.reference
        order.status = bt.Order.Expired
        order.executed.dt = order.data.datetime[0]
        self._broker.notify(order)
        self._end_linked(order)

    # ---

    def _unsupported(self, order: bt.Order) -> Refusal | None:
        if order.exectype not in _TYPES:
            return Refusal(-1116, "Invalid orderType", f": {order.getordername()} is not supported")
        if order.tradeid:
            return Refusal(
                -1104, "Not all sent parameters were read", ": tradeid; each fill is a trade with its own id"
            )
        return trailing_refusal(order)

    def _child_refusal(self, single: SingleOrder, book: FeedBook, terms: Terms, parent: SingleOrder) -> Refusal | None:
        """Return why the child of a bracket is refused, or None; it is to close what its parent opens."""
        if single.symbol != parent.symbol or single.is_buy == parent.is_buy or single.side not in (None, parent.side):
            return Refusal(-2022, "ReduceOnly Order is rejected.", ": a child closes the leg that its parent opens")
        if parent.side is not None and not opens(parent, book):
            return Refusal(-2022, "ReduceOnly Order is rejected.", ": the parent of a bracket opens a leg")
        single.side = PositionSide.SHORT if single.is_buy else PositionSide.LONG
        single.reduce_only, single.cut_to_leg, single.waits = False, True, True
        order, price = single.reference, order_price(parent, book.data.close[0])
        begin_trailing(single, price if order.price is None else order.price, book.market.tick)
        return self._shape_refusal(single, book, terms, price)

    def _refusal(self, single: SingleOrder, book: FeedBook, terms: Terms) -> Refusal | None:
        if book.delisted:
            return Refusal(-4141, "Symbol is closed", ": its data are over")
        last_price = book.data.close[0]
        refusal = self._shape_refusal(single, book, terms, last_price)
        if refusal is not None:
            return refusal
        closing, price = 0.0, order_price(single, last_price)
        if not opens(single, book):
            closing = min(leg_of(single, book).tracker.qty, single.qty)
            rest = single.qty - closing
            if single.side is not None or single.reduce_only or rest <= LOT_NOISE * single.qty:
                return closing_refusal(single, book)
        # What of the leg will be closed by other orders at the next open is not there to be closed by this one.
        closing = max(closing - self._market_closing(single, book), 0.0)
        broker, least = self._broker, book.market.min_notional
        notional = (single.qty - closing) * price
        return opening_refusal(
            max(notional, least) if closing else notional,  # the exchange's least is that of the whole order
            book.market,
            broker.position_capacity(book, book.long if single.is_buy else book.short),
            broker.available_margin() + closing * last_price / broker.p.leverage,
            broker.p.leverage,
            broker.cap_room(book, book.long if single.is_buy else book.short),
        )

    def _shape_refusal(self, single: SingleOrder, book: FeedBook, terms: Terms, price: float) -> Refusal | None:
        """Return why an order cannot be placed while the market is at a price, or None."""
        refusal = filter_refusal(single, book.market, price)
        if refusal is not None:
            return refusal
        if terms.post_only and single.type is not OrderType.LIMIT:
            return Refusal(-1106, "Parameter 'timeInForce' sent when not required.", f" {single.type}")
        if terms.post_only and single.marketable:
            return Refusal(-5022, "The order could not be executed as maker", f": the price is {price}")
        return None

    def _market_closing(self, new: SingleOrder, book: FeedBook) -> float:
        """Return how much of the leg that an order closes is being closed at the next open already, base units."""
        return plain_sum(
            single.remaining
            for single in self.alive
            if single.symbol == new.symbol and single.is_buy == new.is_buy and single.type is OrderType.MARKET
            and not single.waits and not opens(single, book)
        )  # fmt: skip

    def reject(self, order: bt.Order, refusal: Refusal) -> None:
        """Reject an order, notify its owner and warn a person of the first one with this code."""
        order.addinfo(reason=str(refusal))
        order.reject(self._broker)
        self._broker.notify(order)
        key = order.data._name or "DEFAULT", refusal.code
        self._refused[key] += 1
        if self._refused[key] == 1:
            when = order.data.datetime.datetime(0)
            words = "buy" if order.isbuy() else "sell", abs(order.size), order.getordername()
            place = "" if refusal.code == -1 else f" ({place_of_code(refusal.code)})"  # -1 is no code of the exchange
            logger.warning("%s %s: %s %g %s refused: %s%s", key[0], when, *words, refusal, place)

    def warn_of_more(self) -> None:
        """Warn a person of how many more orders were refused with a code that was warned of."""
        for (symbol, code), count in self._refused.items():
            if count > 1:
                logger.warning("%s: %d more orders refused with %d", symbol, count - 1, code)


def _single(order: bt.Order, symbol: str, terms: Terms) -> SingleOrder:
    """Return the engine's order; a StopLimit without a limit price has its stop price as limit."""
    kind, price = _TYPES[order.exectype], order.created.price
    limit = order.created.pricelimit or price if kind is OrderType.STOP else price
    return SingleOrder(
        symbol, terms.side, order.isbuy(), kind, abs(order.size),
        price=limit, trigger=price, reduce_only=terms.reduce_only, reference=order, trail=trail_of(order),
    )  # fmt: skip


def _info_of(order: bt.Order, side: PositionSide) -> bt.AutoOrderedDict:
    """Return an order's info with the leg of an execution; its own, because notifications keep what they were given."""
    if order.info["positionSide"] == side.name:
        return order.info
    info = bt.AutoOrderedDict()
    for name, value in order.info.items():
        info[name] = value
    info["positionSide"] = side.name
    return info
