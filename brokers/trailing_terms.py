"""``trailamount`` and ``trailpercent`` of Backtrader's StopTrail and StopTrailLimit, as the engine takes them."""

from typing import Any

import backtrader as bt

from gridv4_bt.engine.orders import Refusal, SingleOrder, start_trailing
from gridv4_bt.engine.trailing import Trail, trailing_trigger

TRAILING = (bt.Order.StopTrail, bt.Order.StopTrailLimit)


def trailing_refusal(order: bt.Order) -> Refusal | None:
    """Return why the trailing terms of an order are refused, or None."""
    terms = {"trailamount": order.trailamount, "trailpercent": order.trailpercent}
    given = [(name, value) for name, value in terms.items() if value]
    if order.exectype not in TRAILING:
        unread = [
            Refusal(-1106, f"Parameter '{name}' sent when not required.", f" {_type(order)}") for name, _ in given
        ]
        return unread[0] if unread else None
    if not given:
        return Refusal(-1102, "Mandatory parameter 'trailamount' was not sent.", " Or trailpercent, 0.02 for 2 %")
    if len(given) > 1:
        return Refusal(-1128, "Combination of optional parameters invalid.", " trailamount or trailpercent")
    [(name, value)] = given
    most = float("inf") if name == "trailamount" else 1.0
    if not 0.0 < value < most:
        expected = "above 0" if name == "trailamount" else "a fraction between 0 and 1, 0.02 for 2 %"
        return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.", f" {value!r}: expected {expected}")
    return None


def trail_of(order: bt.Order) -> Trail | None:
    """Return how far the trigger of an order stays behind the price, None if it does not follow it."""
    if order.exectype not in TRAILING:
        return None
    offset = order._limitoffset if order.exectype == bt.Order.StopTrailLimit else 0.0
    return Trail(order.trailamount or 0.0, order.trailpercent or 0.0, offset)


def begin_trailing(single: SingleOrder, price: float, tick: float) -> None:
    """Set the first trigger of a trailing stop, behind a price."""
    if single.trail is not None:
        start_trailing(single, trailing_trigger(single.trail, single.is_buy, price, tick), tick)
        show_trigger(single)


def show_trigger(single: SingleOrder) -> None:
    """Set the prices that Backtrader's order shows."""
    created: Any = single.reference.created
    created.price, created.pricelimit = single.trigger, single.price


def _type(order: bt.Order) -> str:
    name: str = order.getordername()
    return name
