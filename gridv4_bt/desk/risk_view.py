"""How far a bot's account is from its limits: margin, value at risk, caps, and losses before fills are cut."""

from typing import Any

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.held import leg_rows
from gridv4_bt.desk.ladder_view import open_orders

_CAPS = ("cap_leg", "cap_symbol", "cap_side", "cap_gross", "cap_net")


def risk(bot: BotFiles) -> dict[str, Any]:
    """Return limits and what is used of them, quote; empty before the first decision.

    A cap is compared with the largest notional that it is about, if all open orders that add were filled; only caps
    that are set are there. `offset` is what the account has realised today, which may close a fill under water.
    """
    rows = bot.rows()
    if not rows:
        return {}
    p, row = bot.config(), rows[-1]
    equity = float(row["equity"])
    limit = p.var_pct * equity
    unrealized = float(row["unrealized"])
    decisions = [one for symbol in bot.symbols() if (one := bot.decision(symbol)) is not None]
    return {
        "equity": equity, "margin_ratio": float(row["margin_ratio"]), "margin_call": p.margin_call,
        "var": float(row["var"] or 0.0), "var_limit": limit, "unrealized": unrealized,
        "delever_at": -p.delever_share * limit, "offset": max((one.get("realized_today") or 0.0 for one in decisions),
                                                              default=0.0),
        "caps": _caps(bot, equity),
    }  # fmt: skip


def _caps(bot: BotFiles, equity: float) -> list[dict[str, Any]]:
    """Return of each cap that is set its limit and what would be used, quote."""
    p = bot.config()
    held = {(row["symbol"], row["side"]): row["exposure"] for row in leg_rows(bot) if row["side"] != "NET"}
    legs = dict(held)
    for order in open_orders(bot):
        if order["opens"] and (key := (order["symbol"], order["side"])) in legs:
            legs[key] += order["price"] * max(order["qty"] - order["filled"], 0.0)
    sides = {side: plain_sum(value for (_, own), value in legs.items() if own == side) for side in ("LONG", "SHORT")}
    others = {side: plain_sum(value for (_, own), value in held.items() if own != side) for side in sides}
    used = {
        "cap_leg": max(legs.values(), default=0.0),
        "cap_symbol": max((legs[symbol, "LONG"] + legs[symbol, "SHORT"] for symbol, _ in legs), default=0.0),
        "cap_side": max(sides.values()),
        "cap_gross": plain_sum(sides.values()),
        "cap_net": max(sides[side] - others[side] for side in sides),
    }
    return [
        {"cap": name, "used": used[name], "limit": getattr(p, name) * equity}
        for name in _CAPS
        if getattr(p, name) > 0.0
    ]
