"""What must change at the exchange so that it stands as the books want it: a difference, computed without asking."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.matching import Book, Leg, MarketClose
from gridv4_bt.engine.types import LOT_NOISE, PositionSide
from gridv4_bt.live.ids import OrderKey, Purpose
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, Standing

NewOrder = Callable[..., Order]


@dataclass
class Difference:
    """The changes of one leg, in the order in which they are safe."""

    stop: Order | None = None  #: to be placed before anything else, before the one it replaces is cancelled
    cancels: list[Order] = field(default_factory=list)
    closes: list[tuple[MarketClose, Order]] = field(default_factory=list)
    exits: list[Order] = field(default_factory=list)
    entries: list[Order] = field(default_factory=list)
    obsolete_stops: list[Order] = field(default_factory=list)  #: once a new one stands, or the leg is flat


class Unbooked:
    """Executions the exchange has told of and the books have not reached yet."""

    def __init__(self, executions: list[Execution], symbol: str) -> None:
        self._executions = [item for item in executions if item.symbol == symbol]

    def of_order(self, order: Order) -> float:
        """Return how much of an order they are, base units."""
        return plain_sum(item.qty for item in self._executions if item.order_id == order.id)

    def change(self, side: PositionSide) -> float:
        """Return by how much they change what a leg holds, base units."""
        return plain_sum(item.qty if item.opens else -item.qty for item in self._executions if item.side is side)


def close_orders(leg: Leg, symbol: str, orders: OrderRegistry) -> list[Order | None]:
    """Return the order that was sent for each of a leg's closes at market, None for one not sent yet."""
    sent = list(orders.of(symbol, leg.side, Purpose.CLOSE))
    found: list[Order | None] = []
    for close in leg.closes:
        match = next((o for o in sent if o.key.ref == close.fill_id and o.label == close.label), None)
        if match is not None:
            sent.remove(match)
        found.append(match)
    return found


def difference(book: Book, leg: Leg, orders: OrderRegistry, unbooked: Unbooked, new: NewOrder) -> Difference:
    """Return what must change for one leg.

    Parameters
    ----------
    new : ``new(key, qty, price, spacing_pct=..., label=...)`` makes an order with an id of its own.
    """
    symbol, side, tracker = book.symbol, leg.side, leg.tracker
    change = Difference()
    wanted: set[str] = set()  # ids that stay

    held = tracker.qty + unbooked.change(side)
    stop_key = OrderKey(symbol, side, Purpose.STOP, 0)
    stop = orders.current(stop_key)
    if leg.stop is not None and held > 0.0:
        if stop is not None and stop.standing is not Standing.DONE and stop.price == leg.stop:
            wanted.add(stop.id)
        else:
            change.stop = new(stop_key, float("inf"), leg.stop)

    leaving: dict[int, float] = {}  # base units of each fill that are on their way out
    for order in orders.of(symbol, side, Purpose.EXIT):
        leaving[order.key.ref] = leaving.get(order.key.ref, 0.0) + unbooked.of_order(order)
    for close, order in zip(leg.closes, close_orders(leg, symbol, orders), strict=True):
        free = tracker.qtys[tracker.ids.index(close.fill_id)] - leaving.get(close.fill_id, 0.0)
        qty = min(close.qty, free)
        leaving[close.fill_id] = leaving.get(close.fill_id, 0.0) + qty
        if order is not None:
            wanted.add(order.id)
        elif qty > LOT_NOISE * close.qty:
            key = OrderKey(symbol, side, Purpose.CLOSE, close.fill_id)
            change.closes.append((close, new(key, qty, 0.0, label=str(close.label))))

    for fill_id, price in leg.exits.items():
        key = OrderKey(symbol, side, Purpose.EXIT, fill_id)
        open_qty = tracker.qtys[tracker.ids.index(fill_id)]
        qty = open_qty - leaving.get(fill_id, 0.0)
        if qty <= LOT_NOISE * open_qty:
            continue
        order = orders.current(key)
        if order is not None and _stands(order) and order.price == price and _same(order.remaining, qty):
            wanted.add(order.id)
        else:
            change.exits.append(new(key, qty, price))

    for i in range(leg.levels):
        price, qty = float(leg.prices[i]), float(leg.qtys[i])
        if price == 0.0:
            continue
        key = OrderKey(symbol, side, Purpose.ENTRY, i + 1)
        order = orders.current(key)
        if order is not None and order.price == price and _same(order.remaining + unbooked.of_order(order), qty):
            if _stands(order) or unbooked.of_order(order) > 0.0:
                wanted.add(order.id)
                continue
        change.entries.append(new(key, qty, price, spacing_pct=float(leg.spacings[i])))

    for order in orders.of(symbol, side):
        if order.id in wanted or order.standing is Standing.DONE:
            continue
        if order.key.purpose is Purpose.STOP:
            change.obsolete_stops.append(order)
        elif order.key.purpose is not Purpose.CLOSE:
            change.cancels.append(order)
    return change


def _stands(order: Order) -> bool:
    return order.standing is not Standing.DONE


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= LOT_NOISE * max(one, other)
