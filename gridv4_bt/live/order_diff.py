"""The difference between a leg's orders at the exchange and those its books want, computed without any request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book, Leg, MarketClose
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import OrderKey, Purpose
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus

NewOrder = Callable[..., Order]


@dataclass
class LegDiff:
    """The changes of one leg, in the order in which they are safe."""

    stop: Order | None = None  #: placed first, before the one it replaces is cancelled
    cancels: list[Order] = field(default_factory=list)
    closes: list[tuple[MarketClose, Order]] = field(default_factory=list)
    exits: list[Order] = field(default_factory=list)
    entries: list[Order] = field(default_factory=list)
    obsolete_stops: list[Order] = field(default_factory=list)  #: cancelled once a new one is open, or the leg is flat


class Unbooked:
    """Executions of one symbol that are known and not booked yet."""

    def __init__(self, executions: list[Execution], symbol: str) -> None:
        self._executions = [item for item in executions if item.symbol == symbol]

    def of_order(self, order: Order) -> float:
        """Return the unbooked quantity of an order, base units."""
        return plain_sum(item.qty for item in self._executions if item.order_id == order.id)

    def change(self, side: PositionSide) -> float:
        """Return by how much booking them will change the quantity of a leg, base units."""
        return plain_sum(item.qty if item.opens else -item.qty for item in self._executions if item.side is side)


def close_orders(leg: Leg, symbol: str, orders: OrderRegistry) -> list[Order | None]:
    """Return the order of each of a leg's closes at market, None where none was sent yet."""
    sent = list(orders.of(symbol, leg.side, Purpose.CLOSE))
    found: list[Order | None] = []
    for close in leg.closes:
        match = next((o for o in sent if o.key.ref == close.fill_id and o.label == close.label), None)
        if match is not None:
            sent.remove(match)
        found.append(match)
    return found


def diff_leg(book: Book, leg: Leg, orders: OrderRegistry, unbooked: Unbooked, new: NewOrder) -> LegDiff:
    """Return what must change for one leg.

    Parameters
    ----------
    new : ``new(key, qty, price, spacing_pct=..., label=...)`` makes an order with an id of its own.
    """
    return _LegDiffer(book, leg, orders, unbooked, new).diff()


class _LegDiffer:
    """Compares the orders of one leg with what its books want."""

    def __init__(self, book: Book, leg: Leg, orders: OrderRegistry, unbooked: Unbooked, new: NewOrder) -> None:
        self._symbol = book.symbol
        self._leg = leg
        self._orders = orders
        self._unbooked = unbooked
        self._new = new
        self._diff = LegDiff()
        self._kept: set[str] = set()  # ids of the orders that stay
        self._leaving: dict[int, float] = {}  # base units of each fill that are being closed

    def diff(self) -> LegDiff:
        """Return what must change; new orders are made in the order in which their generations count."""
        self._compare_stop()
        self._compare_closes()
        self._compare_exits()
        self._compare_entries()
        self._collect_cancels()
        return self._diff

    def _key(self, purpose: Purpose, ref: int) -> OrderKey:
        return OrderKey(self._symbol, self._leg.side, purpose, ref)

    def _compare_stop(self) -> None:
        leg = self._leg
        held = leg.tracker.qty + self._unbooked.change(leg.side)
        key = self._key(Purpose.STOP, 0)
        stop = self._orders.current(key)
        if leg.stop is None or not held > 0.0:
            return
        if stop is not None and _may_be_open(stop) and stop.price == leg.stop:
            self._kept.add(stop.id)
        else:
            self._diff.stop = self._new(key, float("inf"), leg.stop)

    def _compare_closes(self) -> None:
        leg, tracker, leaving = self._leg, self._leg.tracker, self._leaving
        for order in self._orders.of(self._symbol, leg.side, Purpose.EXIT):
            leaving[order.key.ref] = leaving.get(order.key.ref, 0.0) + self._unbooked.of_order(order)
        for close, sent in zip(leg.closes, close_orders(leg, self._symbol, self._orders), strict=True):
            free = tracker.qtys[tracker.ids.index(close.fill_id)] - leaving.get(close.fill_id, 0.0)
            qty = min(close.qty, free)
            leaving[close.fill_id] = leaving.get(close.fill_id, 0.0) + qty
            if sent is not None:
                self._kept.add(sent.id)
            elif qty > LOT_NOISE * close.qty:
                key = self._key(Purpose.CLOSE, close.fill_id)
                self._diff.closes.append((close, self._new(key, qty, 0.0, label=str(close.label))))

    def _compare_exits(self) -> None:
        tracker = self._leg.tracker
        for fill_id, price in self._leg.exits.items():
            key = self._key(Purpose.EXIT, fill_id)
            open_qty = tracker.qtys[tracker.ids.index(fill_id)]
            qty = open_qty - self._leaving.get(fill_id, 0.0)
            if qty <= LOT_NOISE * open_qty:
                continue
            order = self._orders.current(key)
            if (
                order is not None
                and _may_be_open(order)
                and order.price == price
                and _is_same_qty(order.remaining, qty)
            ):
                self._kept.add(order.id)
            else:
                self._diff.exits.append(self._new(key, qty, price))

    def _compare_entries(self) -> None:
        leg = self._leg
        for i in range(leg.levels):
            price, qty = float(leg.prices[i]), float(leg.qtys[i])
            if price == 0.0:
                continue
            key = self._key(Purpose.ENTRY, i + 1)
            order = self._orders.current(key)
            if order is not None and self._serves_entry(order, price, qty):
                self._kept.add(order.id)
            else:
                self._diff.entries.append(self._new(key, qty, price, spacing_pct=float(leg.spacings[i])))

    def _serves_entry(self, order: Order, price: float, qty: float) -> bool:
        """Return whether an entry is the wanted one: open, or executed and not yet booked."""
        executed = self._unbooked.of_order(order)
        is_wanted = order.price == price and _is_same_qty(order.remaining + executed, qty)
        return is_wanted and (_may_be_open(order) or executed > 0.0)

    def _collect_cancels(self) -> None:
        for order in self._orders.of(self._symbol, self._leg.side):
            if order.id in self._kept or order.single is not None or not _may_be_open(order):
                continue
            if order.key.purpose is Purpose.STOP:
                self._diff.obsolete_stops.append(order)
            elif order.key.purpose is not Purpose.CLOSE:
                self._diff.cancels.append(order)


def _may_be_open(order: Order) -> bool:
    return order.status is not OrderStatus.DONE


def _is_same_qty(one: float, other: float) -> bool:
    return abs(one - other) <= LOT_NOISE * max(one, other)
