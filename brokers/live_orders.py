"""The orders of a user's own strategy at an exchange: what `self.buy` and `self.sell` place in a live session.

Refusals are those of the backtest (`brokers.standard_orders`); what passes them is sent at once, under an id made of
what the order asks for and of its bar, so that a strategy that decides a bar again after a restart orders nothing
twice. Executions are booked and told at the next bar.

Brackets and OCO groups are kept here, not by the exchange. The children of a bracket are written down before their
parent is sent, and sent when its execution is booked; an order is cancelled when the end of its partner is booked. Both
are found again in journal and state after a kill. Until the next candle closes two orders of a group may both be
executed, and a leg that was opened has the stop of the watch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import backtrader as bt

from brokers.base import LiveBooks, OwnOrder
from brokers.feed_book import FeedBook
from brokers.order_terms import Terms
from brokers.standard_orders import MarginBroker, StandardOrders
from gridv4_bt.core.grid import round_down
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.ladder import PAUSED
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
        self._leaving: dict[str, bool] = {}  # ids of orders to be cancelled, and whether they expire
        self._gone: dict[str, bt.Order] = {}  # what stands for a parent or leader of a process before that is over
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
            refusal = _held_back(part, book)
            if refusal is None:
                order_id, refusal = self._place(order, part, book, post_only)
            if refusal is not None:
                if not sent:
                    self.reject(order, refusal)
                return
            if not sent:
                self._tell_accepted(order, order_id)
                sent = True
            self._rest(order_id, part)
        self._join(order)

    def _accept_all(self, checked: Sequence[tuple[bt.Order, SingleOrder, Terms]], book: FeedBook) -> None:
        """Send an order; of a bracket the parent, once its children are written down."""
        order, single, terms = checked[0]
        if order.parent is None and len(checked) == 1:
            self.accept(order, single, book, terms.post_only)
            return
        reason = self._live.why_not(book) or next(filter(None, (_own_id(one) for one, *_ in checked)), "")
        if order.parent is None and (not opens(single, book) or single.waits):
            reason = reason or "live, a bracket names its positionSide while it would first close the other leg"
        refusal = Refusal(-1, "Not sent:", f" {reason}") if reason else None
        if order.parent is None and refusal is None:
            refusal = _held_back(single, book)
        if refusal is not None:
            self._reject_all(checked, refusal)
            return
        placed: list[tuple[str, SingleOrder]] = []
        if order.parent is None:
            parent = _part(single, leg_of(single, book).side, single.qty)
            own, number = self._own(order, parent, book, terms.post_only)
            parent_id = self._live.exchange.id_of(own, number)
            placed.append((parent_id, parent))
        else:
            parent_id = next(one for one, part in self._parts.items() if part.reference == order.parent)
        for child, child_single, child_terms in checked[len(placed) :]:
            part = _part(child_single, leg_of(child_single, book).side, child_single.qty)
            kept, count = self._own(child, part, book, child_terms.post_only, parent_id)
            placed.append((self._live.exchange.keep(kept, count), part))
        if order.parent is None:
            _, refusal = self._live.exchange.place(own, number, self._live.may_repeat(book))
            if refusal is not None:
                for child_id, _ in placed[1:]:
                    self._live.exchange.cancel(child_id)
                self._reject_all(checked, refusal)
                return
        for order_id, part in placed:
            self._tell_accepted(part.reference, order_id)
            self._rest(order_id, part)
            self._join(part.reference)

    def _reject_all(self, checked: Sequence[tuple[bt.Order, SingleOrder, Terms]], refusal: Refusal) -> None:
        for order, *_ in checked:
            self.reject(order, refusal)

    def _tell_accepted(self, order: bt.Order, order_id: str) -> None:
        order.addinfo(id=order_id)
        order.accept(self._broker)
        self._broker.notify(order)

    def cancel(self, order: bt.Order) -> bool:
        """Cancel an order at the exchange and return whether it was open.

        What it has executed until then is told first, at the next bar.
        """
        ids = [order_id for order_id, part in self._parts.items() if part.reference == order]
        if not ids:
            return super().cancel(order)  # one that was not transmitted
        for order_id in ids:
            self._leaving[order_id] = False
            self._live.exchange.cancel(order_id)
        self.settle()
        return True

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
        """Tell of the orders that are over and were not executed whole; cancel and send those linked to them."""
        for order_id, part in self._parts.items():
            if part.cut_to_leg and not part.waits and not self._held(part):
                self._leaving.setdefault(order_id, True)
        tried: set[str] = set()
        while True:
            for order_id in list(self._parts):
                if self._live.exchange.is_over(order_id):
                    self._drop(order_id)
            leaving = [one for one in self._leaving if one in self._parts and one not in tried]
            if not leaving:
                break
            for order_id in leaving:
                tried.add(order_id)
                self._live.exchange.cancel(order_id)
        self._leaving = {one: expires for one, expires in self._leaving.items() if one in self._parts}
        for order_id, part in list(self._parts.items()):
            if part.waits and part.reference.active() and order_id not in self._leaving:
                self._send_child(order_id, part)

    def _held(self, part: SingleOrder) -> float:
        """Return what the leg of an order holds, base units."""
        return leg_of(part, self._live.book_of(part.reference.data)).tracker.qty

    def _send_child(self, order_id: str, part: SingleOrder) -> None:
        """Send an order whose parent was executed, once that is over, for what the leg holds at most."""
        order: bt.Order = part.reference
        if any(other.reference == order.parent for other in self._parts.values()):
            return
        qty = round_down(min(part.qty, self._held(part)), self._live.book_of(order.data).market.step)
        if not qty > 0.0:
            self._leaving[order_id] = True
            self._live.exchange.cancel(order_id)
            return
        sent = self._live.exchange.send(order_id, qty)
        if sent is None:
            return
        new_id, refusal = sent
        del self._parts[order_id]
        if refusal is not None:
            self.alive.remove(part)
            self._links.drop(order)
            self.reject(order, refusal)
            return
        part.waits, part.qty, part.remaining = False, qty, qty
        order.addinfo(id=new_id)
        self._parts[new_id] = part

    def _wake(self, child: SingleOrder, book: Book, price: float) -> None:
        """Note that the parent of a child was executed; `settle` sends it."""
        child.reference.activate()
        self._live.exchange.wake(self._id_of(child.reference))

    def _cancel_linked(self, orders: Sequence[bt.Order]) -> None:
        """Note the orders that are to be cancelled; `settle` does it."""
        self._leaving.update({one: False for one, part in self._parts.items() if part.reference in orders})

    def _id_of(self, order: bt.Order) -> str:
        return next((one for one, part in self._parts.items() if part.reference == order), "")

    def take_over(self) -> None:
        """Make Backtrader's orders of those that a process before has placed, and tell their owners.

        Those of a bar that is decided again come by themselves, as they are ordered again.
        """
        orders = self._live.exchange.own_orders()
        for order_id, own in sorted(orders.items(), key=lambda item: (bool(item[1].parent), bool(item[1].group))):
            if order_id in self._parts:
                continue
            data = self._live.feed_of(own.symbol)
            book = self._live.book_of(data)
            if own.bar >= book.bar.time and self._live.may_repeat(book):
                continue
            if own.waits and not own.is_woken and own.parent not in orders:  # its parent ended without an execution
                self._live.exchange.cancel(order_id)
                continue
            strategies = self._live.cerebro.runningstrats
            parent, leader = self._linked(own.parent, own, data), self._linked(own.group, own, data)
            order = _order_of(own, data, strategies, parent, leader)
            if not own.waits or own.is_woken:
                order.activate()
            if own.leaves or (own.group and own.group not in orders):
                self._leaving[order_id] = False
            order.addcomminfo(self._live.getcommissioninfo(data))
            order.addinfo(id=order_id, positionSide=own.side.name)
            order.submit(self._broker)
            self._broker.notify(order)
            order.accept(self._broker)
            self._broker.notify(order)
            part = SingleOrder(
                own.symbol, own.side, own.is_buy, own.type, own.qty, own.price, own.trigger, reference=order,
                waits=own.waits, cut_to_leg=bool(own.parent),
            )  # fmt: skip
            self._rest(order_id, part)
            self._join(order)

    def _linked(self, order_id: str, own: OwnOrder, data: bt.AbstractDataBase) -> bt.Order | None:
        """Return the order that another names as its parent or leader, one that stands for it if it is over."""
        if not order_id:
            return None
        if order_id in self._parts:
            linked: bt.Order = self._parts[order_id].reference
            return linked
        if order_id not in self._gone:
            over = own._replace(type=OrderType.MARKET, is_buy=not own.is_buy, valid=0.0, trail=0.0)
            self._gone[order_id] = _order_of(over, data, self._live.cerebro.runningstrats)
        return self._gone[order_id]

    # ---

    def _rest(self, order_id: str, part: SingleOrder) -> None:
        self._parts[order_id] = part
        self.alive.append(part)

    def _place(self, order: bt.Order, part: SingleOrder, book: FeedBook, post_only: bool) -> tuple[str, Refusal | None]:
        own, number = self._own(order, part, book, post_only)
        return self._live.exchange.place(own, number, self._live.may_repeat(book))

    def _own(
        self, order: bt.Order, part: SingleOrder, book: FeedBook, post_only: bool, parent: str = ""
    ) -> tuple[OwnOrder, int]:
        """Return what is sent of an order, and how many like it the bar has had."""
        bar = book.bar.time
        if bar != self._counted:
            self._counted = bar
            self._counts.clear()
        strategies = list(self._live.cerebro.runningstrats)
        own = OwnOrder(
            part.symbol, leg_of(part, book).side, part.is_buy, part.type, part.qty, part.price, part.trigger, post_only,
            strategies.index(order.owner), _end_of(order), bar, order.trailpercent or 0.0,
            parent, "" if order.oco is None else self._id_of(order.oco),
        )  # fmt: skip
        self._counts[own] += 1
        return own, self._counts[own]

    def _drop(self, order_id: str) -> None:
        """Forget an order that is over; tell its owner if it was the last part of one that was not executed whole."""
        part = self._parts.pop(order_id)
        self.alive.remove(part)
        order: bt.Order = part.reference
        if not order.alive() or any(other.reference is order for other in self.alive):
            return
        if order.expire():
            self._broker.notify(order)
            self._end_linked(order)
        elif self._leaving.get(order_id, part.cut_to_leg and not self._held(part)):
            self.expired(part)
        elif order_id not in self._leaving:  # the exchange has cancelled it, as the dead man's switch does
            self._links.drop(order)
            self.cancelled(part)
        else:
            self.cancelled(part)

    def _closed_by_itself(self, order: bt.Order, single: SingleOrder) -> bool:
        return False  # `settle` tells

    def _unsupported(self, order: bt.Order) -> Refusal | None:
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
    return replace(single, side=side, qty=qty, price=price, trigger=trigger, reduce_only=False)


def _held_back(single: SingleOrder, book: FeedBook) -> Refusal | None:
    """Return why an order that would add to a leg is not sent while a person has paused it, or None."""
    leg = leg_of(single, book)
    if not opens(single, book) or leg.leg.paused != PAUSED:
        return None
    return Refusal(-1, "Not sent:", f" a person has paused {book.symbol} {leg.side.name}")


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


def _order_of(
    own: OwnOrder,
    data: bt.AbstractDataBase,
    strategies: Any,
    parent: bt.Order | None = None,
    oco: bt.Order | None = None,
) -> bt.Order:
    """Return Backtrader's order of one that the exchange has."""
    kind = bt.BuyOrder if own.is_buy else bt.SellOrder
    owner = strategies[own.owner] if own.owner < len(strategies) else strategies[0]
    stops = own.type in (OrderType.STOP, OrderType.STOP_MARKET)
    order = kind(
        owner=owner, data=data, size=own.qty, price=own.trigger if stops else own.price or None,
        pricelimit=own.price if own.type is OrderType.STOP else None,
        exectype=bt.Order.StopTrail if own.trail else _EXECTYPES[own.type], trailpercent=own.trail or None,
        parent=parent, oco=oco,
    )  # fmt: skip
    order.valid = own.valid or None
    return order
