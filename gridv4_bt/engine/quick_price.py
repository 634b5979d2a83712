"""The price of a level's order without its exact price: the tick and the round numbers decide it nearly always.

An exact level price takes a power, a search for round numbers and several divisions. A running product is as near to
the power as a few roundings, and orders are rounded to the tick: unless the two lie on different sides of a tick, or
of a round number's neighbourhood, they give the same order price to the last bit. So this saves time and changes
nothing.
"""

from math import floor

from gridv4_bt.core.grid import ROUND_NUMBER_PCT, round_down, round_up

#: More than all roundings between a level's exact price and its estimate, relative; also more than the distance within
#: which `nudge_round_number` takes a price for a round number, and than the noise that `round_down` forgives.
_HAIR = 1e-11
_STEP_NOISE = 1e-8


def boundary_near(price: float) -> tuple[float, float]:
    """Return `round_boundary` of a price above 0 and its inverse to a hair, without a logarithm."""
    if price >= 10_000.0:
        return 1_000.0, 0.001
    if price >= 1_000.0:
        return 100.0, 0.01
    boundary, inverse = 10.0, 0.1
    while price < 10.0 * boundary:
        boundary /= 10.0
        inverse *= 10.0
    return boundary, inverse


def quick_order_price(side_sign: int, estimate: float, tick: float, nudge_pct: float = ROUND_NUMBER_PCT) -> float:
    """Return `order_price` of a price that is known to a hair; 0 where the hair may matter.

    Parameters
    ----------
    side_sign : +1 for a buy, which rounds down, -1 for a sell.
    estimate : above 0.
    nudge_pct : see `nudge_round_number`.
    """
    boundary, inverse = boundary_near(estimate)
    place = estimate * inverse
    number = floor(place)
    hair = _HAIR * place
    # Between two round numbers the nudge keeps a distance from both, as long as there is room for it.
    lowest = number * boundary * (1.0 + nudge_pct)
    highest = (number + 1) * boundary * (1.0 - nudge_pct)
    if not hair < place - number < 1.0 - hair or not lowest < highest:
        return 0.0
    if estimate < lowest * (1.0 - _HAIR):
        return round_up(lowest, tick)
    if estimate > highest * (1.0 + _HAIR):
        return round_down(highest, tick)
    if lowest * (1.0 + _HAIR) < estimate < highest * (1.0 - _HAIR):
        ticks = estimate / tick
        part, noise = ticks - floor(ticks), _HAIR * ticks + _STEP_NOISE
        if noise < part < 1.0 - noise:
            return round_down(estimate, tick) if side_sign > 0 else round_up(estimate, tick)
    return 0.0
