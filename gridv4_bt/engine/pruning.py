"""The five methods that cut single fills, in their fixed order.

All but `may_prune` work on plain numbers and flat arrays of one leg (see `PositionTracker`). "Against the fill" is
downwards for LONG (side_sign +1) and upwards for SHORT (-1). A limit of 0 switches its method off.
"""

import math

from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.state import FillColumns, LegState, Memory, Now

NEVER = 2**62  #: a time, ms
#: Codes returned by `prune_reason`, in the order in which the methods are tried; 0 keeps the fill.
KEEP, DEVIANCE, OLDEST, GAP, FUNDING = range(5)


def deviates(side_sign: int, price: float, kama: float, atr: float, deviance_atr: float = 3.0) -> bool:
    """Return whether the price is more than `deviance_atr` ATR from KAMA, against the side: method 1."""
    return deviance_atr > 0.0 and side_sign * (kama - price) > deviance_atr * atr


def latest_time(opened_ms: int, max_age_hours: float = 24.0) -> int:
    """Return the last time, ms, at which a fill is not too old."""
    return opened_ms + math.floor(max_age_hours * HOUR_MS) if max_age_hours > 0.0 else NEVER


def too_old(opened_ms: int, now_ms: int, max_age_hours: float = 24.0) -> bool:
    """Return whether a fill is older than `max_age_hours` at the close of a bar, ms: method 2."""
    return now_ms > latest_time(opened_ms, max_age_hours)


def gap_price(side_sign: int, fill_price: float, spacing_pct: float, gap_spacings: float = 3.0) -> float:
    """Return the price beyond which method 3 cuts: `gap_spacings` of the fill's own spacings against it."""
    return underwater_price(side_sign, fill_price, spacing_pct, gap_spacings)


def funding_eats(paid: float, spacing_pct: float, price: float, qty: float, funding_share: float = 0.5) -> bool:
    """Return whether funding paid exceeds `funding_share` of the fill's expected grid profit: method 4."""
    return funding_share > 0.0 and paid > funding_share * spacing_pct * price * qty


def prune_reason(
    p: GridConfig,
    side_sign: int,
    price: float,
    now_ms: int,
    leg_deviates: bool,
    fill_price: float,
    fill_qty: float,
    fill_time: int,
    fill_spacing_pct: float,
    fill_funding: float,
) -> int:
    """Return the code of the first of methods 1-4 that triggers for one fill, or KEEP."""
    if leg_deviates:
        return DEVIANCE
    if too_old(fill_time, now_ms, p.max_age_hours):
        return OLDEST
    if side_sign * (price - gap_price(side_sign, fill_price, fill_spacing_pct, p.gap_spacings)) < 0.0:
        return GAP
    if funding_eats(fill_funding, fill_spacing_pct, fill_price, fill_qty, p.funding_share):
        return FUNDING
    return KEEP


def may_prune(p: GridConfig, memory: Memory, now: Now, leg: LegState, fills: FillColumns) -> bool:
    """Return whether `prune_reason` may cut any fill of a leg that does not deviate; never False when it does.

    It saves looking at every fill at every bar, so each method of `prune_reason` has its condition here: of the oldest
    fill, of the gap that the price meets first, and of funding after a settlement, which alone changes what is paid.
    """
    if now.time + BAR_MS > leg.latest_time or leg.sign * (now.close - leg.gap_trigger) < 0.0:
        return True
    if memory.settlements == leg.settlements_seen:
        return False
    leg.settlements_seen = memory.settlements
    for i in range(leg.fills):
        if funding_eats(fills.funding[i], fills.spacing_pct[i], fills.price[i], fills.qty[i], p.funding_share):
            return True
    return False


def underwater_price(side_sign: int, fill_price: float, spacing_pct: float, spacings: float) -> float:
    """Return the price `spacings` of a fill's own spacings against it, which is never reached for 0."""
    if spacings == 0.0:
        return -side_sign * math.inf
    return fill_price * (1.0 - side_sign * spacings * spacing_pct)


def closing_cost(
    side_sign: int, price: float, fill_price: float, qty: float, funding: float, fee: float, taker_fee: float
) -> float:
    """Return what closing a fill at `price` costs: its loss, its fees of both ways and its funding."""
    return side_sign * (fill_price - price) * qty + fee + qty * price * taker_fee + funding


def offsets(
    side_sign: int,
    price: float,
    realized_today: float,
    min_spacings: float,
    taker_fee: float,
    fill_price: float,
    qty: float,
    spacing_pct: float,
    funding: float,
    fee: float,
) -> bool:
    """Return whether today's profit pays for closing an underwater fill: method 5.

    It must be at least `min_spacings` of its own spacings under water (0: never), and `realized_today` (net, quote)
    must exceed what closing it costs.
    """
    limit = underwater_price(side_sign, fill_price, spacing_pct, min_spacings)
    if side_sign * (price - limit) > 0.0:
        return False
    return realized_today > closing_cost(side_sign, price, fill_price, qty, funding, fee, taker_fee)
