"""The fills of live session and backtest in one form: all executions of one order within one bar."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import Purpose


@dataclass(frozen=True, slots=True)
class ComparedFill:
    """All executions of one order within one bar."""

    symbol: str
    side: PositionSide
    purpose: Purpose | None  #: None: no order of the bot, but one by hand or the exchange's own
    ref: int  #: of a closing order the id of its fill, as its own books count; 0 where it closes more than one
    bar: int  #: open time of the bar it happened in, ms
    qty: float  #: base units
    price: float  #: mean, weighted by quantity
    fee: float  #: quote
    maker: bool
    is_buy: bool
    order: str = ""  #: client order id; the backtest has none
    booked: int = 0  #: open time of the bar in which the books learned of it, ms

    @property
    def key(self) -> tuple[str, PositionSide, Purpose | None, bool]:
        """The fields in which two fills must agree to be paired."""
        return (self.symbol, self.side, self.purpose, self.is_buy)


@dataclass(frozen=True, slots=True)
class Payment:
    """One funding settlement of one symbol's positions."""

    symbol: str
    time: int  #: open time of the bar at whose open it was settled, ms
    rate: float
    paid: float  #: quote; negative if received


def merge(fills: Iterable[ComparedFill], identity) -> list[ComparedFill]:
    """Join the executions that have the same `identity(fill)`, in the order of the first of each."""
    found: dict[tuple, ComparedFill] = {}
    for fill in fills:
        key = identity(fill)
        before = found.get(key)
        if before is None:
            found[key] = fill
            continue
        qty = before.qty + fill.qty
        price = before.price  # equal prices stay exactly what they are
        if fill.price != price:
            price = (price * before.qty + fill.price * fill.qty) / qty
        found[key] = replace(
            before, qty=qty, price=price, fee=before.fee + fill.fee, booked=max(before.booked, fill.booked)
        )
    return list(found.values())
