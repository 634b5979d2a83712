"""Which entry a level of the grid wants, and how far its raw price may move before that changes.

The rule is `order_price`, then `reach_reason`, `surroundings_reason` and `size_reason`. The windows only say
for how long an answer stays true: the inputs creep from bar to bar without changing most orders, and
asking again for all levels at every bar costs more than everything else the strategy does.
"""

from collections.abc import Sequence
from enum import IntEnum

from gridv4_bt.core.grid import (
    nudge_round_number,
    round_down,
    round_up,
)


class Blocked(IntEnum):
    """Why a level has no resting entry; PLACED is the one that has."""

    PLACED = 0
    HALT = 1  #: circuit breaker
    VAR = 2  #: value-at-risk limit
    REGIME = 3  #: the regime does not let this side add
    CROSSES = 4  #: the level lies beyond the last price
    INSIDE_SPREAD = 5  #: nearer to the reservation price than half the optimal spread
    OCCUPIED = 6  #: an open fill lies there
    COOLING = 7  #: a fill was cut there at a loss a few bars ago
    MIN_QTY = 8  #: below the market's least quantity
    MIN_NOTIONAL = 9  #: below the market's least notional
    MAX_INVENTORY = 10  #: the side would hold more than it may
    MARGIN = 11  #: refused by the exchange


# Plain ints, so that the rule compiles.
PLACED = int(Blocked.PLACED)
CROSSES = int(Blocked.CROSSES)
INSIDE_SPREAD = int(Blocked.INSIDE_SPREAD)
OCCUPIED = int(Blocked.OCCUPIED)
COOLING = int(Blocked.COOLING)
MIN_QTY = int(Blocked.MIN_QTY)
MIN_NOTIONAL = int(Blocked.MIN_NOTIONAL)
MAX_INVENTORY = int(Blocked.MAX_INVENTORY)
MARGIN = int(Blocked.MARGIN)


def order_price(side_sign: int, raw: float, tick: float) -> float:
    """Return the price an entry is sent with: `raw` off round numbers, then on the tick.

    LONG (+1) buys and rounds down, SHORT (-1) sells and rounds up.
    """
    if side_sign > 0:
        return round_down(nudge_round_number(raw, True), tick)
    return round_up(nudge_round_number(raw, False), tick)


def lies_near(price: float, others: Sequence[float], count: int, distance: float) -> bool:
    """Tell whether any of the first `count` prices is within `distance` of a price."""
    for i in range(count):
        if abs(others[i] - price) <= distance:
            return True
    return False


def reach_reason(side_sign: int, price: float, last_price: float, edge: float) -> int:
    """Return CROSSES, INSIDE_SPREAD or PLACED for an entry at a price.

    Parameters
    ----------
    last_price : a buy at or above it, or a sell at or below, would cross.
    edge : the nearest price the spread allows (highest buy, lowest sell).
    """
    if side_sign * (last_price - price) <= 0.0:
        return CROSSES
    if side_sign * (edge - price) < 0.0:
        return INSIDE_SPREAD
    return PLACED


def surroundings_reason(
    price: float,
    spacing_pct: float,
    fills: Sequence[float],
    fill_count: int,
    cooling: Sequence[float],
    cooling_count: int,
) -> int:
    """Return OCCUPIED, COOLING or PLACED for an entry at a price.

    `fills` and `cooling` hold the prices of the side's open fills, and of fills cut at a loss lately.
    """
    half_spacing = 0.5 * spacing_pct * price
    if lies_near(price, fills, fill_count, half_spacing):
        return OCCUPIED
    if lies_near(price, cooling, cooling_count, half_spacing):
        return COOLING
    return PLACED


def size_reason(price: float, qty: float, min_qty: float, min_notional: float, room: float) -> int:
    """Return MIN_QTY, MIN_NOTIONAL, MAX_INVENTORY or PLACED for an entry.

    `room` is what the side may still take after the levels nearer to the price, quote.
    """
    if qty < min_qty:
        return MIN_QTY
    if qty * price < min_notional:
        return MIN_NOTIONAL
    if qty * price > room:
        return MAX_INVENTORY
    return PLACED


def is_kept(standing: float, wanted: float, tolerance: float) -> bool:
    """Tell whether a resting price or quantity is near enough to the wanted one to stay."""
    return abs(standing - wanted) <= tolerance


def distance_window(
    price: float, others: Sequence[float], count: int, least: float, most: float
) -> tuple[float, float]:
    """Return a range around `price` in which `lies_near` keeps its answer while the distance varies.

    `least` and `most` bound the distance as a fraction of the price. The range may be empty.
    """
    low, high = 0.0, float("inf")
    for i in range(count):
        other = others[i]
        if abs(other - price) <= 0.5 * (least + most) * price:
            low = max(low, other / (1.0 + least))
            high = min(high, other / (1.0 - least))
        elif other < price:
            low = max(low, other / (1.0 - most))
        else:
            high = min(high, other / (1.0 + most))
    return low, high
