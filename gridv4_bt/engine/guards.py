"""When the grid halts, stops out, deleverages, follows the price or adds less: rules of the strategy's steps 2 to 8.

Plain numbers only, so that the strategy and the compiled sweep decide by the very same functions. "Against the side" is
downwards for LONG (side_sign +1) and upwards for SHORT (-1).
"""

from gridv4_bt.core.grid import level_price, round_down, round_up
from gridv4_bt.engine.ladder import HALT, PLACED, REGIME, VAR

HALT_Z = -3.0
RESUME_Z = -1.0
STOP1_SHARE = 0.5
DELEVER_SHARE = 0.75
TRAIL_SHARE = 0.5
COOLDOWN_STOPS = 2
COOLDOWN_BARS = 48
COOLDOWN_FACTOR = 0.5
_WITHIN = 1.0 - 1e-9  # leaves room for roundings


def stays_halted(z: float) -> bool:
    """Return whether a halt goes on at a z-score."""
    return not z > RESUME_Z


def must_halt(z: float) -> bool:
    """Return whether a z-score is a crash."""
    return z < HALT_Z


def beyond_stop1(side_sign: int, average: float, close: float, atr: float, stop1_atr: float) -> bool:
    """Return whether the close is more than `stop1_atr` ATR from the average entry, against the side."""
    return side_sign * (average - close) > stop1_atr * atr


def stop1_qty(qty: float, step: float) -> float:
    """Return how much of a fill stage 1 closes, base units."""
    return round_up(STOP1_SHARE * qty, step)


def stop2_price(side_sign: int, average: float, atr: float, stop2_atr: float, tick: float) -> float:
    """Return the trigger of stage 2, `stop2_atr` ATR from the average entry, on the tick beyond."""
    price = average - side_sign * stop2_atr * atr
    return round_down(price, tick) if side_sign > 0 else round_up(price, tick)


def must_delever(unrealized: float, equity: float, var_pct: float) -> bool:
    """Return whether the unrealised loss is near the VaR limit: the worst fill goes."""
    return unrealized < 0.0 and -unrealized > DELEVER_SHARE * var_pct * equity


def trailed(anchor: float, close: float, spacing_pct: float, levels: int, regime: int) -> float:
    """Return the anchor after a close: it follows an uptrend above the ladder and else starts anew outside of it."""
    # The ladder reaches at least so far (Bernoulli's inequality), and a power takes longer to find.
    reach = (1.0 + levels * spacing_pct) * _WITHIN
    if anchor < close * reach and close < anchor * reach:
        return anchor
    if close > anchor:
        top = level_price(anchor, spacing_pct, levels)
        if close > top:
            return anchor + TRAIL_SHARE * (close - top) if regime > 0 else close
    elif close < level_price(anchor, spacing_pct, -levels):
        return close
    return anchor


def entry_blocks(halted: bool, var_limited: bool, regime: int) -> tuple[int, int]:
    """Return the `Blocked` codes of all entries of LONG and of SHORT; PLACED for a side that may add."""
    if halted:
        return HALT, HALT
    if var_limited:
        return VAR, VAR
    if regime == 0:
        return PLACED, PLACED
    return (PLACED if regime == 1 else REGIME), (PLACED if regime == -1 else REGIME)


def cools_down(stops: int, third_latest: int, bar: int) -> bool:
    """Return whether more than `COOLDOWN_STOPS` stops lie within the last `COOLDOWN_BARS` bars.

    `stops` is how many there were, `third_latest` the bar of the last but two and `bar` the number of this one.
    """
    return stops > COOLDOWN_STOPS and third_latest > bar - COOLDOWN_BARS
