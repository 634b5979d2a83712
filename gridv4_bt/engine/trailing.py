"""The trigger of a trailing stop: it follows the price in the favourable direction and never goes back.

A bar is met by the trigger that stood before it, adverse first; only then does the bar's favourable extreme move it. If
the price has come back beyond the new trigger by the close, the next open executes it, at the worse of both.
"""

from typing import NamedTuple

from gridv4_bt.core.grid import round_down, round_up


class Trail(NamedTuple):
    """How far a trailing stop stays behind the best price: by an amount or, where that is 0, by a fraction."""

    amount: float = 0.0  #: quote per base unit
    fraction: float = 0.0  #: of the best price
    limit_offset: float = 0.0  #: trigger less limit price of a stop-limit, quote per base unit


def trailing_trigger(trail: Trail, is_buy: bool, best: float, tick: float) -> float:
    """Return the trigger that belongs to a best price, on the tick farther from it."""
    distance = trail.amount or best * trail.fraction
    return round_up(best + distance, tick) if is_buy else round_down(best - distance, tick)


def limit_behind(trail: Trail, is_buy: bool, trigger: float, tick: float) -> float:
    """Return the limit price that belongs to a trigger, on the tick that is worse for the order's owner."""
    limit = trigger - trail.limit_offset
    return round_up(limit, tick) if is_buy else round_down(limit, tick)
