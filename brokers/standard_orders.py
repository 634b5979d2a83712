"""Orders that any Backtrader strategy places with ``self.buy`` and ``self.sell``.

They are single orders of the engine (`gridv4_bt.engine.orders`), told to Backtrader in its own words:

* Market at the next open; Limit always at its limit price; Stop at the worse of stop and open.
* ``positionSide="LONG" | "SHORT"`` chooses the leg. Without it an order first reduces the opposite leg,
  if one is open, and else opens its own: what a strategy written for a netting broker means.
* Closing orders take the oldest fills first and are reduce-only: one larger than its leg is rejected.
* What is not supported (Close, trailing stops, OCO, brackets) is rejected with the reason in
  ``order.info.reason``, in the exchange's vocabulary where it has a word for it.
"""

import backtrader as bt

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
from gridv4_bt.engine.types import LOT_NOISE, PositionSide

_TYPES = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
    bt.Order.Stop: OrderType.STOP_MARKET,
    bt.Order.StopLimit: OrderType.STOP,
}


class StandardOrders:
    """The standing standard orders of a `HedgeBroker`."""

    def __init__(self, broker) -> None:
        self._broker = broker
        self.singles = SingleOrders(self)
        self.alive: list[SingleOrder] = self.singles.alive

    def submit(self, order: bt.Order, book) -> None:
        """Accept an order or reject it, and tell its owner."""
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
        """Take a standing order back."""
        # The strategy may hold a clone, which equals its original by its reference.
        for single in self.alive:
            if single.reference == order:
                self.alive.remove(single)
                self.cancelled(single)
                return True
        return False

    def expire(self) -> None:
        """Drop the orders whose ``valid`` has passed."""
        for single in [single for single in self.alive if single.reference.expire()]:
            self.alive.remove(single)
            self._broker.notify(single.reference)

    def open_notional(self, book, side: PositionSide | None = None) -> float:
        """Return the notional of the standing opening orders of a symbol, or of one side of it, quote."""
        return self.singles.open_notional(book, side, book.data.close[0])

    # --- what the engine tells of single orders

    def executed(self, single: SingleOrder, book) -> None:
        """Tell the owner of an order of its executions.

        One notification for each fill, because Backtrader files all bits of a notification under one tradeid and
        every fill is a trade of its own.
        """
        order = single.reference
        sign = 1.0 if order.isbuy() else -1.0
        when = book.data.datetime[0]
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
        """Tell the owner that an order that stood cannot be executed."""
        self._reject(single.reference, refusal)

    def triggered(self, single: SingleOrder) -> None:
        """Let the owner's StopLimit be a limit order."""
        order = single.reference
        order.exectype = bt.Order.Limit
        order.created.price = single.price
        order.triggered = True

    def cancelled(self, single: SingleOrder) -> None:
        """Tell the owner that an order was cancelled."""
        single.reference.cancel()
        self._broker.notify(single.reference)

    # ---

    def _side(self, order: bt.Order, book) -> PositionSide:
        name = order.info.get("positionSide")
        if name:
            return PositionSide[name] if isinstance(name, str) else PositionSide(name)
        own, opposite = (book.long, book.short) if order.isbuy() else (book.short, book.long)
        return opposite.side if opposite.tracker.ids else own.side

    def _unsupported(self, order: bt.Order) -> Refusal | None:
        if order.exectype not in _TYPES:
            return Refusal(-1116, "Invalid orderType", f": {order.getordername()} is not supported")
        if order.oco is not None or order.parent is not None or not order.transmit:
            return Refusal(-1116, "Invalid orderType", ": OCO and bracket orders are not supported")
        return None

    def _refusal(self, single: SingleOrder, book) -> Refusal | None:
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
            broker.capacity(book, leg_of(single, book)),
            broker.available_margin(),
            broker.p.leverage,
        )

    def _reject(self, order: bt.Order, reason: Refusal | str) -> None:
        order.addinfo(reason=str(reason))
        order.reject(self._broker)
        self._broker.notify(order)


def _single(order: bt.Order, symbol: str, side: PositionSide) -> SingleOrder:
    """Return what the engine matches; a StopLimit without a limit price takes its stop price."""
    kind, price = _TYPES[order.exectype], order.created.price
    limit = order.created.pricelimit or price if kind is OrderType.STOP else price
    return SingleOrder(symbol, side, order.isbuy(), kind, abs(order.size), price=limit, trigger=price, reference=order)
