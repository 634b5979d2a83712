"""All bots at a glance, and the curves and warnings of one."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.held import leg_rows, profit
from gridv4_bt.desk.incident import masked_values

#: Alerts that say that exchange and bot do not agree.
MISMATCHES = {
    "adopted", "written_off", "positions_contradict", "wallet_differs", "wallets_contradict", "wallet_unexplained",
    "funding_differs", "reconciled", "stop_lost", "desync",
}  # fmt: skip
_RECENT_BARS = 96
_POINTS = 1_200


def overview(name: str, bot: BotFiles) -> dict[str, Any]:
    """Return a bot's line: how it is, what it is worth, what it holds, how near its liquidation is."""
    status = bot.status()
    if status is None:
        return {"bot": name, "state": "starting", "folder": str(bot.folder)}
    symbols = status["symbols"]
    _, equity = bot.curve()
    peak = float(equity.max()) if len(equity) else None
    rows = {row.get("symbol", ""): row for row in bot.rows()}
    distances = [
        float(row[column])
        for row in rows.values()
        for column in ("liquidation_down", "liquidation_up")
        if row.get(column)
    ]
    legs = [row for row in leg_rows(bot) if row["side"] != "NET"]
    latest = float(equity[-1]) if len(equity) else status["equity"]
    return {
        "bot": name,
        "folder": str(bot.folder),
        "state": _state(bot, status),
        "place": status["place"],
        "symbols": symbols,
        "equity": latest,
        "profit": profit(bot).get("total"),
        "drawdown": 1.0 - latest / peak if peak else 0.0,
        "exposure_long": sum(row["exposure"] for row in legs if row["side"] == "LONG"),
        "exposure_short": sum(row["exposure"] for row in legs if row["side"] == "SHORT"),
        "margin_ratio": max((row["margin_ratio"] for row in symbols.values()), default=0.0),
        "liquidation_distance": min(distances, default=None),
        "last_decision_age_s": status["last_decision_age_s"],
        "last_bar": max((row["bar"] for row in symbols.values()), default=None),
        "pauses": (bot.state().get("commands") or {}).get("pauses", {}),
        "mismatches": len(mismatches(bot)),
        "last_alert": status["last_alert"],
        "version": bot.version(),
    }


def _state(bot: BotFiles, status: dict[str, Any]) -> str:
    """Return running, halted, stale (it holds its directory or died, and decides nothing) or stopped (in order)."""
    if status["working"]:
        halted = any(row["halted"] for row in status["symbols"].values())
        return "halted" if halted else "running"
    last = next((one for one in reversed(bot.order_events()) if one.get("kind") in ("session", "order")), {})
    return "stopped" if status["pid"] is None and (last.get("stopped") or last.get("flattened")) else "stale"


def mismatches(bot: BotFiles) -> list[dict[str, Any]]:
    """Return the alerts of the latest day by which exchange and bot have differed, newest first."""
    times, _ = bot.curve()
    if not len(times):
        return []
    since = f"{np.datetime64(int(times[max(len(times) - _RECENT_BARS, 0)]), 'ms')}"
    return [
        event
        for event in reversed(bot.events())
        if event.get("kind") == "alert" and event.get("what") in MISMATCHES and str(event.get("clock", "")) >= since
    ]


def alerts(bot: BotFiles, count: int) -> list[dict[str, Any]]:
    """Return the latest alerts, newest first."""
    return [event for event in reversed(bot.events()) if event.get("kind") == "alert"][:count]


def failures(bot: BotFiles, count: int) -> list[dict[str, Any]]:
    """Return the latest alerts and failures, newest first, with every secret masked."""
    found = [one for one in reversed(bot.events()) if one.get("kind") in ("alert", "failure", "order_failed")]
    masked: list[dict[str, Any]] = masked_values(found[:count])
    return masked


def equity_curve(bot: BotFiles, points: int = _POINTS) -> dict[str, Any]:
    """Return times, ms, and equity over the bot's whole life; of many points the extremes are kept."""
    times, equity = bot.curve()
    kept = thinned(equity, points)
    peaks = np.maximum.accumulate(equity) if len(equity) else equity
    drawdown = np.where(peaks > 0.0, 1.0 - equity / np.where(peaks > 0.0, peaks, 1.0), 0.0)
    return {
        "time": times[kept].tolist(), "equity": equity[kept].tolist(), "drawdown": drawdown[kept].tolist(),
        "bars": len(times),
    }  # fmt: skip


def thinned(values: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Return the places of the first and last value and of the extremes of each stretch, about so many in all."""
    if len(values) <= points:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), max(points // 2, 1) + 1).astype(np.int64)
    places = {0, len(values) - 1}
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        places |= {begin + int(values[begin:end].argmin()), begin + int(values[begin:end].argmax())}
    return np.array(sorted(places))


def exposure_curve(bot: BotFiles) -> list[dict[str, Any]]:
    """Return what was held at each of the latest bars, by symbol: base units of LONG and SHORT, margin, VaR."""
    names = ("long_qty", "short_qty", "margin_ratio", "var")
    return [
        {"time": row["time"], "symbol": row.get("symbol", "")} | {name: float(row[name] or 0.0) for name in names}
        for row in bot.rows(262_144)
    ]


def audit_of_the_day(bot: BotFiles) -> dict[str, Any] | None:
    """Return what the latest daily audit has found, None if there was none."""
    event = next((one for one in reversed(bot.events()) if one.get("kind") == "audit"), None)
    path = bot.folder / "audit.json"
    if path.is_file():
        try:
            return {"event": event, "file": json.loads(path.read_text(encoding="utf-8"))}
        except ValueError:
            pass
    return {"event": event} if event else None
