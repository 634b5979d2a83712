"""The orders of one bot that may stand at the exchange, and the executions not yet in its books."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from gridv4_bt.engine.types import LOT_NOISE, PositionSide
from gridv4_bt.live.ids import OrderKey, Purpose


class Standing(StrEnum):
    """What is known of an order."""

    DOUBT = "doubt"  #: sent, or about to be; the answer is missing
    OPEN = "open"
    DONE = "done"  #: it does not stand any more; its executions may still be on their way


@dataclass(slots=True)
class Order:
    """One order of ours, from the intent on."""

    id: str  #: client order id
    key: OrderKey
    qty: float  #: base units; infinity for a stop that closes the whole leg
    price: float  #: limit or trigger price; 0 at market
    spacing_pct: float = 0.0  #: of the grid that placed an entry
    label: str = ""  #: why a close closes
    standing: Standing = Standing.DOUBT
    number: str | None = None  #: the exchange's order id; of a stop its algo id
    became: str | None = None  #: the exchange's id of the order that a stop has triggered
    sent: int = 0  #: exchange time when it was sent last, ms
    filled: float = 0.0  #: base units seen in trades
    executed: float | None = None  #: base units the exchange says were executed, None as long as it is open

    @property
    def is_buy(self) -> bool:
        """Tell whether it buys: opens LONG or closes SHORT."""
        return (self.key.side is PositionSide.LONG) == (self.key.purpose is Purpose.ENTRY)

    @property
    def remaining(self) -> float:
        """Return what is still to be executed, base units."""
        return self.qty - self.filled

    @property
    def unseen(self) -> float:
        """Return what was executed by the exchange's word and is not among the trades yet, base units."""
        return max((self.executed or 0.0) - self.filled, 0.0)

    @property
    def is_settled(self) -> bool:
        """Tell that it is over and all its executions are known."""
        return self.standing is Standing.DONE and self.unseen <= LOT_NOISE * max(self.filled, 1e-12)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self) | {"key": [self.key.symbol, int(self.key.side), str(self.key.purpose), self.key.ref]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Order":
        """Return what `to_json` made."""
        symbol, side, purpose, ref = data["key"]
        key = OrderKey(symbol, PositionSide(side), Purpose(purpose), ref)
        return cls(**data | {"key": key, "standing": Standing(data["standing"])})


class Execution(NamedTuple):
    """One trade of the account, as the exchange reports it."""

    trade_id: int
    order_id: str | None  #: client order id of an order of ours, None for anybody else's
    symbol: str
    side: PositionSide
    is_buy: bool
    qty: float
    price: float
    fee: float  #: in quote, converted where it was charged in another asset
    maker: bool
    time: int  #: ms
    foreign: str = ""  #: client order id of an order that is not ours: by hand, or the exchange's own

    @property
    def opens(self) -> bool:
        """Tell whether it adds to its leg."""
        return self.is_buy == (self.side is PositionSide.LONG)

    @classmethod
    def from_json(cls, values: list[Any]) -> "Execution":
        """Return what JSON made of it."""
        trade_id, order_id, symbol, side, *rest = values
        return cls(trade_id, order_id, symbol, PositionSide(side), *rest)


class OrderRegistry:
    """All orders of the bot that are not settled, by id, and the one that serves each intent."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._current: dict[OrderKey, Order] = {}

    def add(self, order: Order) -> None:
        """Take an order in; it now serves its intent."""
        self._orders[order.id] = order
        self._current[order.key] = order

    def get(self, order_id: str | None) -> Order | None:
        """Return an order by its client order id."""
        return self._orders.get(order_id or "")

    def by_number(self, number: str) -> Order | None:
        """Return an order by the exchange's id of what trades; a conditional order's own id is counted apart."""
        for order in self._orders.values():
            if number == (order.became if order.key.purpose is Purpose.STOP else order.number):
                return order
        return None

    def current(self, key: OrderKey) -> Order | None:
        """Return the order that serves an intent, if it may still stand or has executions to come."""
        return self._current.get(key)

    def release(self, order: Order) -> None:
        """Let another order serve the intent, the newest that may still stand; this one is only waited for."""
        if self._current.get(order.key) is not order:
            return
        del self._current[order.key]
        for other in self._orders.values():
            if other.key == order.key and other is not order and other.standing is not Standing.DONE:
                self._current[order.key] = other

    def drop(self, order: Order) -> None:
        """Forget a settled order."""
        self.release(order)
        self._orders.pop(order.id, None)

    def of(self, symbol: str, side: PositionSide | None = None, purpose: Purpose | None = None) -> list[Order]:
        """Return the orders of a symbol, of a leg, of a purpose, in the order they were placed."""
        return [
            order
            for order in self._orders.values()
            if order.key.symbol == symbol and side in (None, order.key.side) and purpose in (None, order.key.purpose)
        ]

    def in_doubt(self, symbol: str, side: PositionSide) -> bool:
        """Tell whether the fate of any order of a leg is unknown."""
        return any(order.standing is Standing.DOUBT for order in self.of(symbol, side))

    def __iter__(self) -> Iterator[Order]:
        return iter(list(self._orders.values()))

    def to_json(self) -> list[dict[str, Any]]:
        """Return all orders as JSON can hold them."""
        return [order.to_json() for order in self._orders.values()]

    def load(self, data: Iterable[dict[str, Any]]) -> None:
        """Take in what `to_json` made."""
        for item in data:
            self.add(Order.from_json(item))
