"""The order records of an account, and the orders of the engine that belong to the open ones."""

from collections.abc import Callable, Sequence
from typing import Any

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.orders import OrderType, SingleOrder, SingleOrders
from gridv4_bt.engine.trailing import Trail
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.records import AlgoRecord, OrderRecord

UNFILLED_KEPT = 3 * DAY_MS  #: how long an order that never traded can be queried
ORDERS_KEPT = 90 * DAY_MS
TRAILING = "TRAILING_STOP_MARKET"


class OrderRecords:
    """All orders by id, and for each open one the order that the engine matches."""

    def __init__(self) -> None:
        self.singles: SingleOrders  #: the engine's; set before the first order
        self.orders: dict[int, OrderRecord] = {}
        self.algos: dict[int, AlgoRecord] = {}
        self.ids = {"orders": 0, "algos": 0, "turns": 0}  #: last given
        self.gone: list[tuple[str, int]] = []  #: table and id of forgotten records, still to be deleted
        self.changed: dict[tuple[str, int], OrderRecord | AlgoRecord] = {}  #: by table and id, still to be stored
        self._newest: dict[str, int] = {}  # order id by client id
        self._resting: dict[int, SingleOrder] = {}  # by order id
        self._waiting: dict[int, SingleOrder] = {}  # by algo id
        self.stops: dict[tuple[str, PositionSide], AlgoRecord] = {}  #: of whole legs, by symbol and side

    def add(
        self, symbol: str, side: str, position_side: str, type: str, time_in_force: str, qty: float, price: float,
        client_id: str, time: int, **more: Any,
    ) -> OrderRecord:  # fmt: skip
        """Record a new order."""
        number = self.next("orders")
        order = OrderRecord(
            number, client_id or f"gv4-{number}", symbol, side, position_side, type, time_in_force, qty, price,
            time, time, self.next("turns"), **{"original_type": type} | more,
        )  # fmt: skip
        self._keep(order)
        self.note_change(order)
        return order

    def next(self, what: str) -> int:
        """Return the next id of orders or algos, or the next rank in the queue (turns)."""
        self.ids[what] += 1
        return self.ids[what]

    def note_change(self, record: OrderRecord | AlgoRecord) -> None:
        """Note that a record has changed and must be stored."""
        self.changed["orders" if isinstance(record, OrderRecord) else "algos", record.id] = record

    def mark_stored(self) -> None:
        """Note that all changes are stored."""
        self.changed.clear()
        self.gone.clear()

    # --- open orders

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """Return the open orders, oldest first."""
        orders = [single.reference for single in self._resting.values()]
        return sorted((one for one in orders if symbol in (None, one.symbol)), key=lambda order: order.id)

    def open_algos(self, symbol: str | None = None) -> list[AlgoRecord]:
        """Return the open conditional orders, oldest first."""
        waiting = [single.reference for single in self._waiting.values()] + list(self.stops.values())
        return sorted((one for one in waiting if symbol in (None, one.symbol)), key=lambda algo: algo.id)

    def single(self, order: OrderRecord) -> SingleOrder:
        """Return the engine's order of an open order."""
        return self._resting[order.id]

    def rest(self, order: OrderRecord, single: SingleOrder) -> None:
        """Add an order to those that the engine matches."""
        single.reference = order
        order.remaining = single.remaining
        self._resting[order.id] = single
        self.singles.alive.append(single)
        self.note_change(order)

    def convert(self, single: SingleOrder, order: OrderRecord) -> None:
        """Link a triggered order, which the engine matches already, to its new record."""
        single.reference = order
        order.remaining = single.remaining
        self._resting[order.id] = single

    def wait(self, algo: AlgoRecord, single: SingleOrder, leg: Leg | None) -> None:
        """Add a conditional order to the engine: as the stop of a whole leg, or as a single order."""
        self.algos[algo.id] = algo
        if leg is not None:
            leg.stop = algo.trigger
            self.stops[algo.symbol, leg.side] = algo
        else:
            single.reference = algo
            self._waiting[algo.id] = single
            self.singles.alive.append(single)
        self.note_change(algo)

    def withdraw(self, order: OrderRecord, status: str, time: int) -> None:
        """Remove an open order from the engine and end it."""
        self.singles.alive.remove(self._resting[order.id])
        self.end(order, status, time)

    def withdraw_algo(self, algo: AlgoRecord, leg: Leg, status: str, time: int) -> None:
        """Remove a conditional order from the engine and end it; `leg` is the one that it would close."""
        if algo.id in self._waiting:
            self.singles.alive.remove(self._waiting[algo.id])
        else:
            leg.stop = None
        self.end(algo, status, time)

    def end(self, record: OrderRecord | AlgoRecord, status: str, time: int) -> None:
        """Give a record its final status, once the engine no longer matches it."""
        record.status, record.updated = status, time
        if isinstance(record, OrderRecord):
            self._resting.pop(record.id, None)
        else:
            self._waiting.pop(record.id, None)
            if self.stops.get(stop_key(record)) is record:
                del self.stops[stop_key(record)]
        self.note_change(record)

    # --- all orders

    def find(self, symbol: str, order_id: int | None, client_id: str | None, now: int) -> OrderRecord | None:
        """Return an order that can still be queried, of several with one client id the newest; else None."""
        order = self.orders.get(self._newest.get(client_id or "", 0) if order_id is None else order_id)
        if order is None or order.symbol != symbol or _is_forgotten(order, now):
            return None
        return order

    def forget(self, now: int) -> None:
        """Delete the records that can no longer be queried."""
        for table, kept in (("orders", self.orders), ("algos", self.algos)):
            for number in [number for number, record in kept.items() if _is_forgotten(record, now)]:
                record = kept.pop(number)
                if self._newest.get(record.client_id) == number and table == "orders":
                    del self._newest[record.client_id]
                self.changed.pop((table, number), None)
                self.gone.append((table, number))

    def find_algo(self, algo_id: int | None, client_id: str | None) -> AlgoRecord | None:
        """Return a conditional order, of several with one client id the newest."""
        if algo_id is not None:
            return self.algos.get(algo_id)
        return next((algo for algo in reversed(self.algos.values()) if algo.client_id == client_id), None)

    def _keep(self, order: OrderRecord) -> None:
        self.orders[order.id] = order
        self._newest[order.client_id] = order.id

    def restore(
        self,
        orders: Sequence[OrderRecord],
        algos: Sequence[AlgoRecord],
        ids: dict[str, int],
        legs: Callable[[str, PositionSide], Leg],
    ) -> None:
        """Load saved records and add the open ones to the engine; `legs` returns the leg of a symbol's positionSide."""
        for order in orders:
            self._keep(order)
        self.algos = {algo.id: algo for algo in algos}
        self.ids = dict(ids)
        records: list[OrderRecord | AlgoRecord] = [*orders, *algos]
        for record in sorted((one for one in records if one.is_open), key=lambda one: one.turn):
            single = _single(record)
            if isinstance(record, OrderRecord):
                self.rest(record, single)
            else:
                self.wait(record, single, legs(*stop_key(record)) if record.close_position else None)
        self.mark_stored()


def _is_forgotten(record: OrderRecord | AlgoRecord, now: int) -> bool:
    traded = record.executed > 0.0 if isinstance(record, OrderRecord) else record.actual_order
    return not record.is_open and now - record.updated > (ORDERS_KEPT if traded else UNFILLED_KEPT)


def stop_key(algo: AlgoRecord) -> tuple[str, PositionSide]:
    """Return symbol and side of the leg that a closing conditional order works on."""
    return algo.symbol, PositionSide.SHORT if algo.side == "BUY" else PositionSide.LONG


def engine_type(type: str) -> OrderType:
    """Return the engine's type of an order; a trailing stop is a stop at market whose trigger moves."""
    return OrderType.STOP_MARKET if type == TRAILING else OrderType(type)


def trail_of(callback_rate: float) -> Trail | None:
    """Return how a stop trails that stays a percentage behind the best price, None for 0."""
    return Trail(fraction=callback_rate / 100.0) if callback_rate else None


def _single(record: OrderRecord | AlgoRecord) -> SingleOrder:
    """Return the engine's order of an open record."""
    trigger = record.trigger if isinstance(record, AlgoRecord) else record.stop_price
    single = SingleOrder(
        record.symbol,
        None if record.position_side == "BOTH" else PositionSide[record.position_side],
        record.side == "BUY",
        engine_type(record.type),
        record.qty,
        record.price,
        trigger,
        record.reduce_only,
    )
    if isinstance(record, AlgoRecord):
        single.trail = trail_of(record.callback_rate)
    if isinstance(record, OrderRecord):
        single.remaining = record.remaining
        single.marketable, single.triggered_at = record.marketable, record.triggered_at
    return single
