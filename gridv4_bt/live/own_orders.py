"""The orders of one bot that may be open at the exchange, and the executions not yet in its books."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from gridv4_bt.engine.orders import OrderType
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import OrderId, OrderKey, Purpose, parse_own_id

_STORED = {"status": "standing", "exchange_id": "number", "triggered_id": "became"}  # field names in journal and state
_FIELDS = {stored: name for name, stored in _STORED.items()}


class OrderStatus(StrEnum):
    """The status of an order, as far as the exchange has confirmed it. The values are those of journal and state."""

    WAITING = "waiting"  #: the child of a bracket: planned and journaled, sent when its parent is executed
    UNKNOWN = "doubt"  #: sent, or about to be, or being cancelled; the answer is missing
    OPEN = "open"
    DONE = "done"  #: not open any more; its trades may still be on their way


class SingleTerms(NamedTuple):
    """What a strategy's own order asks for beside quantity and price."""

    type: OrderType
    trigger: float = 0.0  #: stop price
    post_only: bool = False
    owner: int = 0  #: place of the strategy in its Cerebro
    valid: float = 0.0  #: Backtrader's date number after which it is cancelled; 0: never
    trail: float = 0.0  #: fraction of the best price that a trailing stop stays behind it; 0: it does not trail
    parent: str = ""  #: id of the order whose execution it waits for
    group: str = ""  #: id of the first order of its OCO group, where that is another one


@dataclass(slots=True)
class Order:
    """One order of the bot, from the moment it is planned."""

    id: str  #: client order id
    key: OrderKey
    qty: float  #: base units; infinity for a stop that closes the whole leg
    price: float  #: limit or trigger price; 0 at market
    spacing_pct: float = 0.0  #: of the grid that placed an entry
    label: str = ""  #: why a close closes
    single: SingleTerms | None = None  #: of a strategy's own order; None for the grid's
    status: OrderStatus = OrderStatus.UNKNOWN
    exchange_id: str | None = None  #: orderId; of a stop its algoId
    triggered_id: str | None = None  #: orderId of the order that a stop has triggered
    sent: int = 0  #: exchange time of the last attempt to send it, ms
    filled: float = 0.0  #: base units seen in trades
    executed: float | None = None  #: executedQty as reported last, base units; None as long as nothing was reported

    @classmethod
    def at_exchange(cls, symbol: str, name: OrderId, order_id: str, info: Mapping[str, Any], sent: int = 0) -> Self:
        """Return an open order of which only the exchange's raw row is known; `sent` as far as it is known, ms."""
        is_stop = name.purpose is Purpose.STOP
        qty = float("inf") if closes_all(info) else float(info.get("origQty") or info.get("quantity") or 0.0)
        price, trigger = float(info.get("price") or 0.0), float(info.get("triggerPrice") or 0.0)
        number = str(info.get("orderId") or info.get("algoId"))
        key = OrderKey(symbol, name.side, name.purpose, name.ref)
        single = None
        if name.purpose in (Purpose.OPEN, Purpose.REDUCE):
            kind, trail = str(info.get("orderType") or info["type"]), float(info.get("callbackRate") or 0.0) / 100.0
            single = SingleTerms(OrderType.STOP_MARKET if trail else OrderType(kind), trigger, trail=trail)
        return cls(
            order_id, key, qty, trigger if is_stop else price, single=single,
            status=OrderStatus.OPEN, exchange_id=number, sent=sent,
        )  # fmt: skip

    @property
    def generation(self) -> int:
        """Return the number of the order in the bot's life."""
        return parse_own_id(self.id).generation

    @property
    def is_buy(self) -> bool:
        """Return whether it buys: opens LONG or closes SHORT."""
        return (self.key.side is PositionSide.LONG) == self.key.purpose.opens

    @property
    def type(self) -> OrderType:
        """Return the exchange's type of the order."""
        if self.single is not None:
            return self.single.type
        if self.key.purpose is Purpose.STOP:
            return OrderType.STOP_MARKET
        return OrderType.MARKET if self.key.purpose is Purpose.CLOSE and not self.price else OrderType.LIMIT

    @property
    def trigger(self) -> float:
        """Return the price at which it is triggered; 0 if it waits for none."""
        if self.single is not None:
            return self.single.trigger
        return self.price if self.key.purpose is Purpose.STOP else 0.0

    @property
    def time_in_force(self) -> str:
        """Return how long its limit price stands."""
        if self.key.purpose is Purpose.CLOSE:
            return "IOC"
        return "GTX" if self.single is None or self.single.post_only else "GTC"

    @property
    def is_woken(self) -> bool:
        """Return whether the parent that it waits for was executed, so that it is to be sent."""
        return self.status is OrderStatus.WAITING and self.sent > 0

    @property
    def is_conditional(self) -> bool:
        """Return whether it waits for its trigger price, among the exchange's conditional orders."""
        return self.type in (OrderType.STOP, OrderType.STOP_MARKET)

    @property
    def is_protective(self) -> bool:
        """Return whether it limits the loss of its leg."""
        return self.is_conditional and not self.key.purpose.opens

    @property
    def remaining(self) -> float:
        """Return the quantity still to be filled, base units."""
        return self.qty - self.filled

    @property
    def awaited_qty(self) -> float:
        """Return the executed quantity whose trades have not been read yet, base units."""
        late = max((self.executed or 0.0) - self.filled, 0.0)
        return late if late > LOT_NOISE * max(self.filled, 1e-12) else 0.0

    @property
    def is_settled(self) -> bool:
        """Return whether the order is done and all its trades are known."""
        return self.status is OrderStatus.DONE and self.awaited_qty == 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the order as a JSON object, for journal and state."""
        key = [self.key.symbol, int(self.key.side), str(self.key.purpose), self.key.ref]
        fields = {_STORED.get(name, name): value for name, value in asdict(self).items()} | {"key": key}
        if self.single is None:
            del fields["single"]
        return fields

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the order of a JSON object made by `to_json`."""
        fields = {_FIELDS.get(name, name): value for name, value in data.items()}
        symbol, side, purpose, ref = data["key"]
        key = OrderKey(symbol, PositionSide(side), Purpose(purpose), ref)
        if fields.get("single") is not None:
            kind, *others = fields["single"]
            fields["single"] = SingleTerms(OrderType(kind), *others)
        return cls(**fields | {"key": key, "status": OrderStatus(data["standing"])})


def closes_all(info: Mapping[str, Any]) -> bool:
    """Return whether a conditional order closes the whole leg, by the exchange's raw row of it."""
    return str(info.get("closePosition")).lower() == "true"


class Execution(NamedTuple):
    """One trade of the account."""

    trade_id: int
    order_id: str | None  #: client order id of an order of the bot, None for a foreign order
    symbol: str
    side: PositionSide
    is_buy: bool
    qty: float
    price: float
    fee: float  #: quote, converted if it was charged in another asset
    maker: bool
    time: int  #: ms
    foreign: str = ""  #: client order id of a foreign order: placed by hand, or by the exchange

    @property
    def opens(self) -> bool:
        """Return whether it adds to its leg."""
        return self.is_buy == (self.side is PositionSide.LONG)

    @classmethod
    def from_json(cls, values: list[Any]) -> Self:
        """Return the execution of a JSON array."""
        trade_id, order_id, symbol, side, *rest = values
        return cls(trade_id, order_id, symbol, PositionSide(side), *rest)


class OrderRegistry:
    """All orders of the bot that are not settled, and which of them currently serves each `OrderKey`."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._current: dict[OrderKey, Order] = {}

    def add(self, order: Order) -> None:
        """Add an order; it becomes the current one of its key."""
        self._orders[order.id] = order
        self._current[order.key] = order

    def get(self, order_id: str | None) -> Order | None:
        """Return the order with a client order id, None if there is none."""
        return self._orders.get(order_id or "")

    def by_exchange_id(self, exchange_id: str) -> Order | None:
        """Return the order whose trades carry this orderId; a stop trades under the id of the order it triggers."""
        for order in self._orders.values():
            if exchange_id == (order.triggered_id if order.is_conditional else order.exchange_id):
                return order
        return None

    def current(self, key: OrderKey) -> Order | None:
        """Return the current order of a key: one that may be open or still has trades to come."""
        return self._current.get(key)

    def release(self, order: Order) -> None:
        """Make the newest other order of the same key that may be open the current one; this one is only waited for."""
        if self._current.get(order.key) is not order:
            return
        del self._current[order.key]
        for other in self._orders.values():
            if other.key == order.key and other is not order and other.status is not OrderStatus.DONE:
                self._current[order.key] = other

    def drop(self, order: Order) -> None:
        """Forget a settled order."""
        self.release(order)
        self._orders.pop(order.id, None)

    def of(self, symbol: str, side: PositionSide | None = None, purpose: Purpose | None = None) -> list[Order]:
        """Return the orders of a symbol, or of one leg or purpose of it, in the order they were placed."""
        return [
            order
            for order in self._orders.values()
            if order.key.symbol == symbol and side in (None, order.key.side) and purpose in (None, order.key.purpose)
        ]

    def has_unknown(self, symbol: str, side: PositionSide) -> bool:
        """Return whether the status of any order of a leg is unknown."""
        return any(order.status is OrderStatus.UNKNOWN for order in self.of(symbol, side))

    def __iter__(self) -> Iterator[Order]:
        return iter(list(self._orders.values()))

    def to_json(self) -> list[dict[str, Any]]:
        """Return all orders as JSON objects."""
        return [order.to_json() for order in self._orders.values()]

    def load(self, data: Iterable[dict[str, Any]]) -> None:
        """Add the orders of JSON objects made by `to_json`."""
        for item in data:
            self.add(Order.from_json(item))
