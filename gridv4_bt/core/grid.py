"""Where the grid's levels lie: geometric steps, round-number nudging, exchange rounding.

Prices are quote currency per unit of base; ``spacing_pct`` is a fraction of the price.
"""

from math import floor, log10

ROUND_NUMBER_PCT = 0.0015
_MAX_BOUNDARY = 1000.0
# A quotient this near to a whole number is that number: 0.3 / 0.1 is 2.9999999999999996. The factor does it for large
# quotients, whose own grain is coarser.
_STEP_EPS = 1e-9
_STEP_NOISE = 1.0 + 1e-15


def grid_spacing(atr: float, price: float, k: float, floor_pct: float) -> float:
    """Return the distance between two levels in price units: ``max(k*atr, floor_pct*price)``."""
    return max(k * atr, floor_pct * price)


def level_price(centre: float, spacing_pct: float, level: int) -> float:
    """Return the raw price of a level: ``centre*(1 + spacing_pct)**level``."""
    # A float as exponent: compiled, a whole number would be multiplied out and end in other bits.
    factor: float = (1.0 + spacing_pct) ** float(level)
    return centre * factor


def round_boundary(price: float) -> float:
    """Return the distance between the round numbers around a price.

    A tenth of the price's decade (10 at 500, 1 at 50), 1000 at most.
    """
    if price >= 10_000.0:
        return _MAX_BOUNDARY
    if price >= 1_000.0:
        return 100.0
    if price >= 100.0:
        return 10.0
    if price >= 10.0:
        return 1.0
    return 10.0 ** (floor(log10(price) + 1e-12) - 1)


def nudge_round_number(price: float, is_buy: bool, pct: float = ROUND_NUMBER_PCT) -> float:
    """Return a level's price, moved away from a round number that lies too near.

    Parameters
    ----------
    price : level price, above 0.
    is_buy : side of the order; decides only when the level lies exactly on the number.
    pct : least distance to the round number, as a fraction of that number.

    Returns
    -------
    The price itself, or the price exactly `pct` away from the number on the side it was on. Others' stops and limits
    cluster on round numbers: a buy just above one, or a sell just below it, fills before they do.
    """
    low, high, moved_to = nudge_window(price, pct)
    if moved_to == 0.0:
        return price
    if abs(price - low if moved_to > price else price - high) <= 1e-12 * price:
        # On the number itself: `low` is the number for the upper half, `high` for the lower one.
        number = low if moved_to > price else high
        return number * (1.0 + pct) if is_buy else number * (1.0 - pct)
    return moved_to


def nudge_window(price: float, pct: float = ROUND_NUMBER_PCT) -> tuple[float, float, float]:
    """Return the range of prices (low, high) around a price that are nudged alike, and to what price; 0 for none."""
    boundary = round_boundary(price)
    number = floor(price / boundary + 0.5) * boundary
    below, above = number * (1.0 - pct), number * (1.0 + pct)
    if price >= above:
        return above, (number + boundary) * (1.0 - pct), 0.0
    if price <= below:
        return (number - boundary) * (1.0 + pct), below, 0.0
    return (number, above, above) if price >= number else (below, number, below)


def round_down(value: float, step: float) -> float:
    """Return the largest multiple of a tick or lot that is not above a value."""
    return _multiple(floor(value / step * _STEP_NOISE + _STEP_EPS), step)


def round_up(value: float, step: float) -> float:
    """Return the smallest multiple of a tick or lot that is not below a value."""
    return _multiple(-floor(-value / step / _STEP_NOISE + _STEP_EPS), step)


def _multiple(count: int, step: float) -> float:
    # Dividing by a whole inverse gives the float nearest to the decimal; multiplying does not.
    inverse = floor(1.0 / step + 0.5)
    return count / inverse if abs(inverse * step - 1.0) < _STEP_EPS else count * step


def exit_price(
    side_sign: int,
    fill_price: float,
    spacing_pct: float,
    shift: float,
    maker_fee: float,
    last_price: float,
    tick: float,
) -> float:
    """Return the price of the take-profit order of one fill.

    Parameters
    ----------
    side_sign : +1 LONG, -1 SHORT.
    fill_price, spacing_pct : of the fill; the target is one of its own spacings away.
    shift : reservation price minus mid; applied only where it brings the exit nearer to the price.
    maker_fee : of both the entry and the exit; the result is never worse than break-even after both.
    last_price : latest close. The order is post-only: where the price has passed the target, the exit rests one tick
        beyond the last price, which is better than the target.
    tick : price step of the market.
    """
    target = fill_price * (1.0 + side_sign * spacing_pct)
    if side_sign > 0:
        break_even = fill_price * (1.0 + maker_fee) / (1.0 - maker_fee)
        price = round_up(max(target + min(shift, 0.0), break_even), tick)
        return price if price > last_price else round_up(last_price + tick, tick)
    break_even = fill_price * (1.0 - maker_fee) / (1.0 + maker_fee)
    price = round_down(min(target + max(shift, 0.0), break_even), tick)
    return price if price < last_price else round_down(last_price - tick, tick)
