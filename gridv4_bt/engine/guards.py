"""When the grid halts, stops out, deleverages, follows the price or adds less: rules of the strategy's steps 2 to 8.

Plain numbers only, so that the strategy and the compiled sweep decide by the very same functions. "Against the side" is
downwards for LONG (side_sign +1) and upwards for SHORT (-1).
"""

from gridv4_bt.core.grid import level_price, round_down, round_up
from gridv4_bt.engine.ladder import HALT, PLACED, REGIME, VAR
from gridv4_bt.engine.state import INFINITY

_WITHIN = 1.0 - 1e-9  # leaves room for roundings


def stays_halted(z: float, z_resume: float = -1.0) -> bool:
    """Return whether a halt goes on at a z-score."""
    return not z > z_resume


def must_halt(z: float, z_halt: float = -3.0) -> bool:
    """Return whether a z-score is a crash."""
    return z < z_halt


def beyond_stop1(side_sign: int, average: float, close: float, atr: float, stop1_atr: float) -> bool:
    """Return whether the close is more than `stop1_atr` ATR from the average entry, against the side."""
    return side_sign * (average - close) > stop1_atr * atr


def stop1_qty(qty: float, step: float, share: float = 0.5) -> float:
    """Return how much of a fill stage 1 closes, base units."""
    return round_up(share * qty, step)


def stop2_price(side_sign: int, average: float, atr: float, stop2_atr: float, tick: float) -> float:
    """Return the trigger of stage 2, `stop2_atr` ATR from the average entry, on the tick beyond."""
    price = average - side_sign * stop2_atr * atr
    return round_down(price, tick) if side_sign > 0 else round_up(price, tick)


def margin_ratio(maintenance: float, equity: float) -> float:
    """Return maintenance margin over equity; without equity 0 if nothing is held, else 1, where liquidation begins."""
    if equity > 0.0:
        return maintenance / equity
    return 1.0 if maintenance > 0.0 else 0.0


def liquidation_distances(down: float, up: float, close: float) -> tuple[float, float]:
    """Return how far the price may fall and rise until the account is liquidated, as fractions of it.

    Parameters
    ----------
    down, up : prices of the liquidation; 0 and infinity where there is none.
    """
    return 1.0 - down / close if down > 0.0 else INFINITY, up / close - 1.0


def must_delever(unrealized: float, equity: float, var_pct: float, share: float = 0.75) -> bool:
    """Return whether the unrealised loss exceeds a share of the VaR limit: the worst fill goes."""
    return unrealized < 0.0 and -unrealized > share * var_pct * equity


def trailed(anchor: float, close: float, spacing_pct: float, levels: int, regime: int, share: float = 0.5) -> float:
    """Return the anchor after a close: it follows an uptrend above the ladder and else starts anew outside of it.

    It follows by a share of the way from the top level to the close.
    """
    # The ladder reaches at least so far (Bernoulli's inequality), and a power takes longer to find.
    reach = (1.0 + levels * spacing_pct) * _WITHIN
    if anchor < close * reach and close < anchor * reach:
        return anchor
    if close > anchor:
        top = level_price(anchor, spacing_pct, levels)
        if close > top:
            return anchor + share * (close - top) if regime > 0 else close
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


def cooldown_end(stops: int, earliest: int, cooldown_stops: int = 2, cooldown_bars: int = 48) -> int:
    """Return the bar before which more than `cooldown_stops` stops lie within the last `cooldown_bars` bars.

    `stops` is how many there were, `earliest` the bar of the last but `cooldown_stops`. Without so many stops it is 0.
    """
    return earliest + cooldown_bars if stops > cooldown_stops else 0
