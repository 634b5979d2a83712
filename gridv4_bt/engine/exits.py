"""The take-profit order of every fill, and how long it may stay as it is. Plain numbers only."""

from gridv4_bt.core.grid import exit_price

# An order this many ticks from the price, or nearer, was moved out there by post-only.
_NEAR_TICKS = 2.0


def wanted_exit(
    side_sign: int,
    entry: float,
    spacing_pct: float,
    shift: float,
    maker_fee: float,
    last_price: float,
    tick: float,
    keep_price: float,
    resting: float,
) -> tuple[float, float]:
    """Return the price at which the exit of a fill shall rest, and how far `shift` may move until it must change.

    Parameters
    ----------
    entry, spacing_pct : of the fill.
    shift, maker_fee, last_price, tick : see `exit_price`.
    keep_price : a resting exit stays within this fraction of the fill's spacing.
    resting : price of the resting exit, 0 without one.

    The second number is below 0 for an exit that post-only has moved: it follows the price back to its target.
    """
    price = exit_price(side_sign, entry, spacing_pct, shift, maker_fee, last_price, tick)
    tolerance = keep_price * spacing_pct * entry
    slack = -1.0 if side_sign * (price - last_price) <= _NEAR_TICKS * tick else tolerance
    if resting > 0.0 and abs(resting - price) <= tolerance:
        return resting, min(slack, tolerance - abs(resting - price))
    return price, slack


def exits_stay(
    side_sign: int, shift: float, placed_shift: float, slack: float, first_exit: float, last_price: float
) -> bool:
    """Return whether all exits of a side, placed at `placed_shift`, are still within `slack` and beyond the price.

    `first_exit` is the price of the exit that the market meets first.
    """
    moved = abs(shift - placed_shift)
    return moved < slack and side_sign * (first_exit - last_price) > moved


def shared_slack(slack: float, tick: float) -> float:
    """Return how far the shift may move, given the least of what `wanted_exit` says: less for rounding to the tick."""
    return slack - _NEAR_TICKS * tick
