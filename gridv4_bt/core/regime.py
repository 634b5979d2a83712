"""The market regime as a state machine over the slope of KAMA; plain numbers, so that numba compiles it."""

import math
from collections.abc import MutableSequence, Sequence
from enum import IntEnum

ADX_FLOOR = 25.0  #: a trend with a weaker ADX is NOISE


class Regime(IntEnum):
    """The market regime; its sign is the direction, 2 is a breakout."""

    #: No direction: both sides may add inventory.
    NOISE = 0
    #: Only LONG may add inventory.
    UPTREND = 1
    #: Only SHORT may add inventory.
    DOWNTREND = -1
    #: Neither side may add inventory; the trailing rule may move the anchor up.
    BREAKOUT_UP = 2
    #: Neither side may add inventory.
    BREAKOUT_DOWN = -2


def normalized_slope(kama: float, previous_kama: float, atr: float) -> float:
    """Return KAMA's move over one bar in ATRs: `(kama - previous_kama) / atr`.

    At `atr` 0 the slope of a moving KAMA is infinite, that of a KAMA that does not move is 0.
    """
    move = kama - previous_kama
    if atr == 0.0:
        return 0.0 if move == 0.0 else move * math.inf
    return move / atr


def next_state(state: int, slope: float, breakout_slope: float, trend_slope: float, hysteresis: float) -> int:
    """Return the state after a bar of the given slope, before the ADX veto.

    Parameters
    ----------
    state: the state after the bar before, a `Regime` code.
    slope: KAMA's move over the bar in ATRs; NaN (not known yet) gives NOISE.
    breakout_slope, trend_slope: absolute slope from which the state is a breakout or a trend, ATRs per bar.
    hysteresis: factor on the trend threshold while the state has the slope's sign, and on the breakout threshold
        while it is a breakout of that sign; below 1 it makes a state easier to keep than to enter.
    """
    if slope > 0.0:
        sign = 1
    elif slope < 0.0:
        sign = -1
    else:
        return 0
    size = abs(slope)
    trend = trend_slope * hysteresis if state * sign > 0 else trend_slope
    breakout = breakout_slope * hysteresis if state == 2 * sign else breakout_slope
    if size >= breakout:
        return 2 * sign
    if size >= trend:
        return sign
    return 0


def run_states(
    state: int,
    slopes: Sequence[float],
    breakout_slope: float,
    trend_slope: float,
    hysteresis: float,
    out: MutableSequence[float],
) -> int:
    """Set `out` to the state after each slope (see `next_state`) and return the last."""
    for i in range(len(slopes)):
        state = next_state(state, slopes[i], breakout_slope, trend_slope, hysteresis)
        out[i] = state
    return state


def veto(state: int, adx: float, adx_floor: float) -> int:
    """Return the regime to trade on: a trend with a weak ADX becomes NOISE, a breakout stays.

    Parameters
    ----------
    state: the state of the state machine, a `Regime` code.
    adx: average directional index, 0 to 100; NaN (not known yet) gives NOISE.
    adx_floor: ADX below which a trend becomes NOISE.
    """
    if adx != adx:
        return 0
    if adx < adx_floor and (state == 1 or state == -1):
        return 0
    return state
