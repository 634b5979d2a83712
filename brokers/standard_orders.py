"""Orders that a Backtrader strategy places with ``self.buy`` and ``self.sell``.

They are matched as single orders of the engine (`gridv4_bt.engine.orders`):

* Market fills at the next open, Limit always at its limit price, Stop at the worse of stop and open.
* ``positionSide="LONG" | "SHORT"`` chooses the leg: an order that closes it is reduce-only, one larger than its leg is
  rejected. Without it an order closes the opposite leg as far as that is open, then opens its own, as a strategy
  written for a netting broker expects; with ``reduceOnly=True`` it never opens.
* Closing orders take the oldest fills first.
* Close, trailing stops, OCO and brackets are not supported. The reason of a rejection is in ``order.info.reason``, with
  the exchange's code, and a person is warned of the first of each code.
"""

import logging
from collections import Counter
from typing import Any, Protocol

import backtrader as bt

from brokers.feed_book import FeedBook
from brokers.order_terms import Terms, read_terms
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

logger = logging.getLogger("gridv4.broker")

_TYPES = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP_MARKET,
    bt.Order.StopLimit: OrderType.STOP,
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
        self.singles = SingleOrders(self)
        self.alive: list[SingleOrder] = self.singles.alive
        self._refused: Counter[tuple[str, int]] = Counter()  # orders by symbol and code

    def submit(self, order: bt.Order, book: FeedBook) -> None:
        """Accept or reject an order, whose keywords are its info, and notify its owner."""
        order.submit(self._broker)
        self._broker.notify(order)
        terms = read_terms(order.isbuy(), order.info)
        if isinstance(terms, Refusal):
            self.reject(order, terms)
            return
        refusal = self._unsupported(order)
        if refusal is None:
            single = _single(order, book.symbol, terms)
            order.info["positionSide"] = leg_of(single, book).side.name
            refusal = self._refusal(single, book, terms)
        if refusal is not None:
            self.reject(order, refusal)
        else:
            self.accept(order, single, book, terms.post_only)

    def accept(self, order: bt.Order, single: SingleOrder, book: FeedBook, post_only: bool) -> None:
        """Take an order that passes the exchange's rules; `single` is the engine's order of it."""
        order.accept(self._broker)
        self._broker.notify(order)
        self.alive.append(single)

    def cancel(self, order: bt.Order) -> bool:
        """Cancel an order and return whether it was open."""
        # The strategy may hold a clone, which equals its original by its reference.
        for single in self.alive:
            if single.reference == order:
                self.alive.remove(single)
                self.cancelled(single)
                return True
        return False

    def expire(self) -> None:
        """Remove the orders whose ``valid`` has passed."""
        for single in [single for single in self.alive if single.reference.expire()]:
            self.alive.remove(single)
            self._broker.notify(single.reference)

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
            self.cancelled(single)

    def _closed_by_itself(self, order: bt.Order, single: SingleOrder) -> bool:
        """Return whether an order is over with a rest that it could not close, as a reduce-only one may have."""
        return order.alive() and single not in self.alive

    def refused(self, single: SingleOrder, refusal: Refusal) -> None:
        """Reject an open order that cannot be executed."""
        self.reject(single.reference, refusal)

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

    # ---

    def _unsupported(self, order: bt.Order) -> Refusal | None:
        if order.exectype not in _TYPES:
            return Refusal(-1116, "Invalid orderType", f": {order.getordername()} is not supported")
        if order.oco is not None or order.parent is not None or not order.transmit:
            return Refusal(-1116, "Invalid orderType", ": OCO and bracket orders are not supported")
        if order.tradeid:
            return Refusal(
                -1104, "Not all sent parameters were read", ": tradeid; each fill is a trade with its own id"
            )
        for name, value in (("trailamount", order.trailamount), ("trailpercent", order.trailpercent)):
            if value:
                return Refusal(-1106, f"Parameter '{name}' sent when not required.", f" {order.getordername()}")
        return None

    def _refusal(self, single: SingleOrder, book: FeedBook, terms: Terms) -> Refusal | None:
        if book.delisted:
            return Refusal(-4141, "Symbol is closed", ": its data are over")
        last_price = book.data.close[0]
        refusal = filter_refusal(single, book.market, last_price)
        if refusal is not None:
            return refusal
        if terms.post_only and single.type is not OrderType.LIMIT:
            return Refusal(-1106, "Parameter 'timeInForce' sent when not required.", f" {single.type}")
        if terms.post_only and single.marketable:
            return Refusal(-5022, "The order could not be executed as maker", f": the price is {last_price}")
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

    def _market_closing(self, new: SingleOrder, book: FeedBook) -> float:
        """Return how much of the leg that an order closes is being closed at the next open already, base units."""
        return plain_sum(
            single.remaining
            for single in self.alive
            if single.symbol == new.symbol and single.is_buy == new.is_buy and single.type is OrderType.MARKET
            and not opens(single, book)
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
            logger.warning("%s %s: %s %g %s refused: %s", key[0], when, *words, refusal)

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
        price=limit, trigger=price, reduce_only=terms.reduce_only, reference=order,
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
