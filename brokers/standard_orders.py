"""Orders that a Backtrader strategy places with ``self.buy`` and ``self.sell``.

They are matched as single orders of the engine (`gridv4_bt.engine.orders`):

* Market fills at the next open, Limit always at its limit price, Stop at the worse of stop and open.
* ``positionSide="LONG" | "SHORT"`` chooses the leg. Without it an order closes the opposite leg if that is open, else
  it opens its own, as a strategy written for a netting broker expects.
* Closing orders take the oldest fills first and are reduce-only: one larger than its leg is rejected.
* Close, trailing stops, OCO and brackets are not supported. The reason of a rejection is in ``order.info.reason``, with
  the exchange's code.
"""

from typing import Any, Protocol

import backtrader as bt

from brokers.feed_book import FeedBook
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

    def available_margin(self) -> float:
        """Return the equity that is not initial margin of positions or opening orders, quote."""


class StandardOrders:
    """The open standard orders of a broker."""

    def __init__(self, broker: MarginBroker) -> None:
        self._broker = broker
        self.singles = SingleOrders(self)
        self.alive: list[SingleOrder] = self.singles.alive

    def submit(self, order: bt.Order, book: FeedBook) -> None:
        """Accept or reject an order and notify its owner."""
        order.submit(self._broker)
        self._broker.notify(order)
        try:
            side = self._side(order, book)
        except (KeyError, ValueError):
            self._reject(order, f"-4060 Invalid position side {order.info['positionSide']!r}: LONG or SHORT")
            return
        order.info["positionSide"] = side.name
        refusal = self._unsupported(order)
        if refusal is None:
            single = _single(order, book.symbol, side)
            refusal = self._refusal(single, book)
        if refusal is not None:
            self._reject(order, refusal)
            return
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

    def open_notional(self, book: FeedBook, side: PositionSide | None = None) -> float:
        """Return the notional of the open orders that open in a symbol, or in one side of it, quote."""
        return self.singles.open_notional(book, side, book.data.close[0])

    # --- events of single orders (see `gridv4_bt.engine.orders.Owner`)

    def executed(self, single: SingleOrder, book: Book) -> None:
        """Notify the owner of an order of each of its executions.

        Each fill has its own notification, because it is a trade of its own and Backtrader books all execution bits of
        a notification under one ``tradeid``.
        """
        order: bt.Order = single.reference
        sign = 1.0 if order.isbuy() else -1.0
        when = order.data.datetime[0]
        for execution in book.account.executions:
            size = sign * execution.qty
            value = execution.qty * execution.price
            opened, closed = (size, 0.0) if execution.opens else (0.0, size)
            order.tradeid = execution.fill_id
            order.execute(
                when, size, execution.price,
                closed, value if closed else 0.0, execution.costs if closed else 0.0,
                opened, value if opened else 0.0, execution.costs if opened else 0.0,
                None, execution.gross, 0.0, 0.0,
            )  # fmt: skip
            if abs(order.executed.remsize) < LOT_NOISE * abs(order.size):
                order.executed.remsize = 0.0
                order.completed()
            self._broker.notify(order)
        book.account.executions.clear()

    def refused(self, single: SingleOrder, refusal: Refusal) -> None:
        """Reject an open order that cannot be executed."""
        self._reject(single.reference, refusal)

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

    def _side(self, order: bt.Order, book: FeedBook) -> PositionSide:
        name = order.info.get("positionSide")
        if name:
            return PositionSide[name] if isinstance(name, str) else PositionSide(name)
        own, opposite = (book.long, book.short) if order.isbuy() else (book.short, book.long)
        leg = opposite if opposite.tracker.ids else own
        return leg.side

    def _unsupported(self, order: bt.Order) -> Refusal | None:
        if order.exectype not in _TYPES:
            return Refusal(-1116, "Invalid orderType", f": {order.getordername()} is not supported")
        if order.oco is not None or order.parent is not None or not order.transmit:
            return Refusal(-1116, "Invalid orderType", ": OCO and bracket orders are not supported")
        return None

    def _refusal(self, single: SingleOrder, book: FeedBook) -> Refusal | None:
        if book.delisted:
            return Refusal(-4141, "Symbol is closed", ": its data are over")
        last_price = book.data.close[0]
        refusal = filter_refusal(single, book.market, last_price)
        if refusal is not None:
            return refusal
        if not opens(single, book):
            return closing_refusal(single, book)
        broker = self._broker
        return opening_refusal(
            single.qty * order_price(single, last_price),
            book.market,
            broker.position_capacity(book, leg_of(single, book)),
            broker.available_margin(),
            broker.p.leverage,
        )

    def _reject(self, order: bt.Order, reason: Refusal | str) -> None:
        order.addinfo(reason=str(reason))
        order.reject(self._broker)
        self._broker.notify(order)


def _single(order: bt.Order, symbol: str, side: PositionSide) -> SingleOrder:
    """Return the engine's order; a StopLimit without a limit price has its stop price as limit."""
    kind, price = _TYPES[order.exectype], order.created.price
    limit = order.created.pricelimit or price if kind is OrderType.STOP else price
    return SingleOrder(symbol, side, order.isbuy(), kind, abs(order.size), price=limit, trigger=price, reference=order)
