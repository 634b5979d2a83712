"""What would cut a fill next, and how far away it is; the thresholds are the engine's."""

import math
from typing import Any

from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.guards import beyond_stop1
from gridv4_bt.engine.labels import LABELS, PRUNED
from gridv4_bt.engine.pruning import (
    NEVER,
    closing_cost,
    deviates,
    funding_eats,
    gap_price,
    latest_time,
    prune_reason,
    underwater_price,
)
from gridv4_bt.engine.types import Fill


def next_cuts(
    p: GridConfig, sign: int, fill: Fill, close: float, bar: int, decision: dict[str, Any], leg: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return every rule that may cut a fill, the nearest price first; what acts already is `due`.

    Parameters
    ----------
    close : of the latest bar.
    bar : its open time, ms.
    decision : the numbers of the latest decision: `kama`, `atr`, `realized_today`.
    leg : `average` price and `stop` of the fill's leg.
    """
    kama, atr = decision.get("kama"), decision.get("atr")
    found = []
    if kama is not None and atr is not None and p.deviance_atr > 0.0:
        price = kama - sign * p.deviance_atr * atr
        found.append(_at(price, "deviance", close, deviates(sign, close, kama, atr, p.deviance_atr)))
    price = gap_price(sign, fill.price, fill.spacing_pct, p.gap_spacings)
    if math.isfinite(price):
        found.append(_at(price, "gap", close, sign * (close - price) < 0.0))
    if atr is not None and leg["average"]:
        price = leg["average"] - sign * p.stop1_atr * atr
        found.append(_at(price, "stop1", close, beyond_stop1(sign, leg["average"], close, atr, p.stop1_atr)))
    if leg.get("stop"):
        found.append(_at(leg["stop"], "stop2", close, sign * (close - leg["stop"]) <= 0.0))
    found.sort(key=lambda one: abs(one["distance"]))
    last = latest_time(fill.time, p.max_age_hours)
    if last != NEVER:
        left = last - (bar + BAR_MS)
        found.append({"rule": "oldest", "hours_left": left / HOUR_MS, "due": left < 0})
    if p.funding_share > 0.0:
        limit = p.funding_share * fill.spacing_pct * fill.price * fill.qty
        due = funding_eats(fill.funding, fill.spacing_pct, fill.price, fill.qty, p.funding_share)
        found.append({"rule": "funding", "paid": fill.funding, "limit": limit, "due": due})
    if p.offset_spacings > 0.0:
        cost = closing_cost(sign, close, fill.price, fill.qty, fill.funding, fill.fee, p.taker_fee)
        limit = underwater_price(sign, fill.price, fill.spacing_pct, p.offset_spacings)
        found.append(
            {
                "rule": "offset", "price": limit, "distance": limit / close - 1.0, "cost": cost,
                "realized_today": decision.get("realized_today"), "due": False,
            }
        )  # fmt: skip
    return found


def cut_now(p: GridConfig, sign: int, fill: Fill, close: float, bar: int, decision: dict[str, Any]) -> str:
    """Return the label under which methods 1 to 4 cut a fill at the latest close, "" if none does."""
    kama, atr = decision.get("kama"), decision.get("atr")
    leaves = kama is not None and atr is not None and deviates(sign, close, kama, atr, p.deviance_atr)
    reason = prune_reason(
        p, sign, close, bar + BAR_MS, leaves, fill.price, fill.qty, fill.time, fill.spacing_pct, fill.funding
    )
    return str(LABELS[PRUNED[reason]]) if reason else ""


def _at(price: float, rule: str, close: float, due: bool) -> dict[str, Any]:
    return {"rule": rule, "price": price, "distance": price / close - 1.0, "due": due}
