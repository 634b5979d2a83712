"""The orders of a user's own strategy at an exchange: what `self.buy` and `self.sell` place in a live session.

Refusals are those of the backtest (`brokers.standard_orders`); what passes them is sent at once, under an id made of
what the order asks for and of its bar, so that a strategy that decides a bar again after a restart orders nothing
twice. Executions are booked and told at the next bar.
"""

from collections import Counter
from typing import Any, Protocol

import backtrader as bt

from brokers.base import LiveBooks, OwnOrder
from brokers.feed_book import FeedBook
from brokers.standard_orders import MarginBroker, StandardOrders
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.orders import OrderType, Refusal, SingleOrder, leg_of, opens
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide

_EXECTYPES = {
    OrderType.MARKET: bt.Order.Market,
    OrderType.LIMIT: bt.Order.Limit,
    OrderType.STOP_MARKET: bt.Order.Stop,
    OrderType.STOP: bt.Order.StopLimit,
}
_OWN_IDS = ("clientOrderId", "newClientOrderId")


class LiveBroker(MarginBroker, Protocol):
    """A broker with an account at an exchange."""

    cerebro: Any  #: Backtrader's Cerebro
    exchange: LiveBooks

    def book_of(self, data: bt.AbstractDataBase) -> FeedBook:
        """Return the book of a feed's symbol."""

    def feed_of(self, symbol: str) -> bt.AbstractDataBase:
        """Return the feed that is traded under the exchange's name of a symbol."""

    def getcommissioninfo(self, data: bt.AbstractDataBase) -> bt.CommInfoBase:
        """Return the commission scheme of a feed's symbol."""

    def why_not(self, book: FeedBook) -> str:
        """Return why no order may be sent at the bar of a book now, "" if one may."""

    def may_repeat(self, book: FeedBook) -> bool:
        """Return whether a process before may have decided the bar of a book already."""


class LiveOrders(StandardOrders):
    """The open orders of strategies at the exchange, by their ids there.

    An order that closes one leg and then opens the other is two orders there.
    """

    def __init__(self, broker: LiveBroker) -> None:
        super().__init__(broker)
        self._live = broker
        self._parts: dict[str, SingleOrder] = {}
        self._counted = -1  # bar of the orders that were counted, ms
        self._counts: Counter[OwnOrder] = Counter()

    def accept(self, order: bt.Order, single: SingleOrder, book: FeedBook, post_only: bool) -> None:
        """Send an order that passes the exchange's rules."""
        reason = self._live.why_not(book) or _own_id(order)
        if reason:
            self.reject(order, Refusal(-1, "Not sent:", f" {reason}"))
            return
        sent = False
        for side, qty in _legs(single, book):
            part = _part(single, side, qty)
            order_id, refusal = self._place(order, part, book, post_only)
            if refusal is not None:
                if not sent:
                    self.reject(order, refusal)
                return
            if not sent:
                order.addinfo(id=order_id)
                order.accept(self._broker)
                self._broker.notify(order)
                sent = True
            self._rest(order_id, part)

    def cancel(self, order: bt.Order) -> bool:
        """Cancel an order at the exchange and return whether it was open.

        What it has executed until then is told first, at the next bar.
        """
        ids = [order_id for order_id, part in self._parts.items() if part.reference == order]
        for order_id in ids:
            self._live.exchange.cancel(order_id)
        self.settle()
        return bool(ids)

    def expire(self) -> None:
        """Cancel the orders whose ``valid`` has passed."""
        for order_id, part in list(self._parts.items()):
            if _has_expired(part.reference):
                self._live.exchange.cancel(order_id)

    def booked(self, order_id: str, book: Book) -> None:
        """Tell the owner of an order what was booked of it: the account's executions."""
        part = self._parts.get(order_id)
        if part is None:  # its strategy is gone: reported as the grid's are
            return
        part.remaining -= plain_sum(execution.qty for execution in book.account.executions)
        self.executed(part, book)
        if part.remaining < LOT_NOISE * part.qty:
            self._drop(order_id)

    def settle(self) -> None:
        """Tell of the orders that are over and were not executed whole."""
        for order_id in list(self._parts):
            if self._live.exchange.is_over(order_id):
                self._drop(order_id)

    def take_over(self) -> None:
        """Make Backtrader's orders of those that a process before has placed, and tell their owners.

        Those of a bar that is decided again come by themselves, as they are ordered again.
        """
        for order_id, own in self._live.exchange.own_orders().items():
            if order_id in self._parts:
                continue
            data = self._live.feed_of(own.symbol)
            book = self._live.book_of(data)
            if own.bar >= book.bar.time and self._live.may_repeat(book):
                continue
            order = _order_of(own, data, self._live.cerebro.runningstrats)
            order.addcomminfo(self._live.getcommissioninfo(data))
            order.addinfo(id=order_id, positionSide=own.side.name)
            order.submit(self._broker)
            self._broker.notify(order)
            order.accept(self._broker)
            self._broker.notify(order)
            part = SingleOrder(
                own.symbol, own.side, own.is_buy, own.type, own.qty, own.price, own.trigger, reference=order
            )
            self._rest(order_id, part)

    # ---

    def _rest(self, order_id: str, part: SingleOrder) -> None:
        self._parts[order_id] = part
        self.alive.append(part)

    def _place(self, order: bt.Order, part: SingleOrder, book: FeedBook, post_only: bool) -> tuple[str, Refusal | None]:
        bar = book.bar.time
        if bar != self._counted:
            self._counted = bar
            self._counts.clear()
        strategies = list(self._live.cerebro.runningstrats)
        own = OwnOrder(
            part.symbol, leg_of(part, book).side, part.is_buy, part.type, part.qty, part.price, part.trigger, post_only,
            strategies.index(order.owner), _end_of(order), bar, order.trailpercent or 0.0,
        )  # fmt: skip
        self._counts[own] += 1
        return self._live.exchange.place(own, self._counts[own], self._live.may_repeat(book))

    def _drop(self, order_id: str) -> None:
        """Forget an order that is over; tell its owner if it was the last part of one that was not executed whole."""
        part = self._parts.pop(order_id)
        self.alive.remove(part)
        order: bt.Order = part.reference
        if not order.alive() or any(other.reference is order for other in self.alive):
            return
        if order.expire():
            self._broker.notify(order)
        else:
            self.cancelled(part)

    def _closed_by_itself(self, order: bt.Order, single: SingleOrder) -> bool:
        return False  # `settle` tells

    def _unsupported(self, order: bt.Order) -> Refusal | None:
        if order.oco is not None or order.parent is not None or not order.transmit:
            return Refusal(-1116, "Invalid orderType", ": live, OCO and bracket orders are not supported")
        return super()._unsupported(order) or _trailing_unsupported(order)


def _trailing_unsupported(order: bt.Order) -> Refusal | None:
    """Return why the exchange's trailing stop cannot do what an order asks for, or None."""
    if order.exectype == bt.Order.StopTrailLimit:
        return Refusal(-1116, "Invalid orderType", ": StopTrailLimit; the exchange's trailing stop has no limit price")
    if order.exectype != bt.Order.StopTrail:
        return None
    if order.trailamount:
        return Refusal(-1106, "Parameter 'trailamount' sent when not required.", " The exchange trails by trailpercent")
    if order.price is not None:
        return Refusal(-1106, "Parameter 'price' sent when not required.", " The exchange trails from the order on")
    tenths = 1000.0 * (order.trailpercent or 0.0)
    if not 1.0 <= tenths <= 100.0 or abs(tenths - round(tenths)) > 1e-6:
        return Refusal(-2007, "Invalid callBack rate.", " trailpercent is 0.001 to 0.1, in steps of 0.001")
    return None


def _legs(single: SingleOrder, book: FeedBook) -> list[tuple[PositionSide, float]]:
    """Return the legs on which an order works, with its quantity on each; closing comes first."""
    leg = leg_of(single, book)
    if single.side is not None or opens(single, book):
        return [(leg.side, single.qty)]
    closing = min(leg.tracker.qty, single.qty)
    rest = single.qty - closing
    if single.reduce_only or rest < book.market.min_qty:
        return [(leg.side, closing)]
    return [(leg.side, closing), (PositionSide(-leg.side), rest)]


def _part(single: SingleOrder, side: PositionSide, qty: float) -> SingleOrder:
    """Return the part of an order on one leg, without the prices that its type does not have."""
    price = single.price if single.type in (OrderType.LIMIT, OrderType.STOP) else 0.0
    trigger = single.trigger if single.type in (OrderType.STOP_MARKET, OrderType.STOP) else 0.0
    return SingleOrder(
        single.symbol, side, single.is_buy, single.type, qty, price, trigger, reference=single.reference,
        trail=single.trail,
    )  # fmt: skip


def _own_id(order: bt.Order) -> str:
    words = {**order.info, **(order.info.get("params") or {})}
    named = [name for name in _OWN_IDS if words.get(name)]
    return f"{named[0]}: the ids of live orders are made of what they ask for; leave it out" if named else ""


def _end_of(order: bt.Order) -> float:
    """Return the date number after which an order is cancelled, 0 for never; a market order knows no end."""
    end: Any = order.valid  # Backtrader has made a number of it
    return end if end and order.exectype != bt.Order.Market else 0.0


def _has_expired(order: bt.Order) -> bool:
    return 0.0 < _end_of(order) < order.data.datetime[0]


def _order_of(own: OwnOrder, data: bt.AbstractDataBase, strategies: Any) -> bt.Order:
    """Return Backtrader's order of one that the exchange has."""
    kind = bt.BuyOrder if own.is_buy else bt.SellOrder
    owner = strategies[own.owner] if own.owner < len(strategies) else strategies[0]
    stops = own.type in (OrderType.STOP, OrderType.STOP_MARKET)
    order = kind(
        owner=owner, data=data, size=own.qty, price=own.trigger if stops else own.price or None,
        pricelimit=own.price if own.type is OrderType.STOP else None,
        exectype=bt.Order.StopTrail if own.trail else _EXECTYPES[own.type], trailpercent=own.trail or None,
    )  # fmt: skip
    order.valid = own.valid or None
    return order
