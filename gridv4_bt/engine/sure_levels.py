"""Which levels of the ladder surely stay as they are, found without computing their exact prices.

An exact level price takes a power, a search for round numbers and several divisions, and at most bars nothing comes
of it. A running product is as near to the power as a few roundings, so it bounds the price to a tick and a hair; where
every price and quantity within such bounds leads to the same decision, that is the decision. Where not, the level is
planned exactly. So this saves time and changes nothing (`gridv4_bt.engine.ladder.plan_side`).
"""

import math
from collections.abc import Sequence

from gridv4_bt.core.grid import ROUND_NUMBER_PCT, round_down

UNSURE, STAYS, CROSSING, TOO_LARGE = range(4)

#: More than all roundings between an exact price or quantity and its estimate, relative.
_HAIR = 1e-9
_TICKS = 1.0 + 1e-6


def boundary_near(price: float) -> tuple[float, float]:
    """Return `round_boundary` of a price above 0 and its inverse, both to a hair, without a logarithm."""
    if price >= 10_000.0:
        return 1_000.0, 0.001
    if price >= 1_000.0:
        return 100.0, 0.01
    boundary, inverse = 10.0, 0.1
    while price < 10.0 * boundary:
        boundary /= 10.0
        inverse *= 10.0
    return boundary, inverse


def estimated_price(raw: float) -> float:
    """Return a level's price before rounding to the tick, to a hair, or 0 where a round number is too near to tell.

    Between two round numbers the nudge keeps a distance from both, as long as there is room for it.
    """
    boundary, inverse = boundary_near(raw)
    place = raw * inverse
    number = math.floor(place)
    if not _HAIR * place < place - number < 1.0 - _HAIR * place:
        return 0.0
    lowest = number * boundary * (1.0 + ROUND_NUMBER_PCT)
    highest = (number + 1) * boundary * (1.0 - ROUND_NUMBER_PCT)
    return min(max(raw, lowest), highest) if lowest < highest else 0.0


def is_clear(low: float, high: float, distance: float, taken: Sequence[float], count: int) -> bool:
    """Tell whether all of the first `count` prices taken are farther than `distance` from every price in a range."""
    for i in range(count):
        if low - distance <= taken[i] <= high + distance:
            return False
    return True


def sure_size(
    least_qty: float,
    most_qty: float,
    low: float,
    high: float,
    min_qty: float,
    min_notional: float,
    least_room: float,
    most_room: float,
    keep_qty: float,
    stands: bool,
    standing_qty: float,
) -> int:
    """Return what bounds of a level's quantity and price tell: UNSURE, TOO_LARGE or, if its order `stands`, STAYS."""
    if not least_qty >= min_qty or not least_qty * low >= min_notional:
        return UNSURE
    if not stands:
        return TOO_LARGE if least_qty * low > most_room else UNSURE
    alike = max(most_qty - standing_qty, standing_qty - least_qty) <= keep_qty * least_qty
    return STAYS if alike and most_qty * high <= least_room else UNSURE


def sure_outcome(
    side_sign: int,
    raw: float,
    spacing_pct: float,
    last_price: float,
    edge: float,
    notional: float,
    least_room: float,
    most_room: float,
    tick: float,
    step: float,
    min_qty: float,
    min_notional: float,
    keep_price: float,
    keep_qty: float,
    taken: Sequence[float],
    count: int,
    standing: float,
    standing_qty: float,
) -> tuple[int, float, float]:
    """Return what a level surely comes to, and bounds of the notional of its order if that STAYS, quote.

    UNSURE, or for a level without an order CROSSING or TOO_LARGE (for the room of the side), or for one with an order
    STAYS.

    Parameters
    ----------
    raw : the level's price before nudging and rounding, to a hair.
    least_room, most_room : bounds of what the side may still take, quote.
    standing, standing_qty : of the level's order, the price 0 for none.
    The others are those of `gridv4_bt.engine.ladder.plan_side`.
    """
    price = estimated_price(raw)
    doubt = _TICKS * tick + _HAIR * price
    low, high = price - doubt, price + doubt
    if not low > 0.5 * price:  # no price, or a tick as coarse as the price
        return UNSURE, 0.0, 0.0
    stands = standing > 0.0
    if side_sign > 0:
        crosses, reachable = low >= last_price, high < min(last_price, edge)
    else:
        crosses, reachable = high <= last_price, low > max(last_price, edge)
    if crosses and not stands:
        return CROSSING, 0.0, 0.0
    # Rounding is monotone, so what is compared as in `plan_side` needs no hair.
    far = stands and max(high - standing, standing - low) > keep_price * spacing_pct * low
    if far or not reachable or not is_clear(low, high, (0.5 + _HAIR) * spacing_pct * high, taken, count):
        return UNSURE, 0.0, 0.0
    inverse = 1.0 / price
    qty, slack = notional * inverse, 2.0 * doubt * inverse + _HAIR
    least_qty, most_qty = qty * (1.0 - slack) - _TICKS * step, qty * (1.0 + slack) + _HAIR * step
    outcome = sure_size(
        least_qty, most_qty, low, high, min_qty, min_notional, least_room, most_room, keep_qty, stands, standing_qty
    )
    if outcome == UNSURE:  # of a quantity of few steps the exact bounds tell more
        least_qty, most_qty = round_down(notional / high, step), round_down(notional / low, step)
        outcome = sure_size(
            least_qty, most_qty, low, high, min_qty, min_notional, least_room, most_room, keep_qty, stands, standing_qty
        )
    return outcome, least_qty * low, most_qty * high
