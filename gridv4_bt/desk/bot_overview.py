"""All bots at a glance, and the curves and warnings of one."""

import time
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from gridv4_bt.desk.account_risk import account_risk
from gridv4_bt.desk.bot_files import STALE_MINUTES, BotFiles
from gridv4_bt.desk.held import leg_rows, profit
from gridv4_bt.desk.incident import masked_values
from gridv4_bt.desk.thinning import thinned
from gridv4_bt.desk.transfers import net_of_transfers, transfers
from gridv4_bt.live.session_status import FROZEN_S, holder

#: Alerts that say that exchange and bot do not agree.
MISMATCHES = {
    "adopted", "written_off", "positions_contradict", "wallet_differs", "wallets_contradict", "wallet_unexplained",
    "funding_differs", "reconciled", "stop_lost", "desync",
}  # fmt: skip
_LOGGED = ("alert", "failure", "order_failed", "session", "command")
_RECENT_BARS = 96
_POINTS = 1_200


def overview(name: str, bot: BotFiles) -> dict[str, Any]:
    """Return a bot's line: how it is, what it is worth, what it holds, how near its liquidation is."""
    status = bot.status()
    state, reason = bot_state(bot, status)
    line = {"bot": name, "folder": str(bot.folder), "state": state, "reason": reason, "version": bot.version()}
    if status is None:
        return line
    symbols = status["symbols"]
    _, equity = bot.curve()
    traded = net_of_transfers(bot)
    peak = float(traded.max()) if len(traded) else None
    risk = account_risk(bot)
    legs = [row for row in leg_rows(bot) if row["side"] != "NET"]
    return line | {
        "place": status["place"],
        "symbols": symbols,
        "equity": float(equity[-1]) if len(equity) else status["equity"],
        "profit": profit(bot).get("total"),
        "drawdown": 1.0 - float(traded[-1]) / peak if peak else 0.0,
        "exposure_long": sum(row["exposure"] for row in legs if row["side"] == "LONG"),
        "exposure_short": sum(row["exposure"] for row in legs if row["side"] == "SHORT"),
        "margin_ratio": max((row["margin_ratio"] for row in symbols.values()), default=0.0),
        "liquidation_distance": risk.get("distance"),
        "liquidation_warning": risk.get("warning", ""),
        "last_decision_age_s": status["last_decision_age_s"],
        "last_bar": max((row["bar"] for row in symbols.values()), default=None),
        "pauses": (bot.state().get("commands") or {}).get("pauses", {}),
        "mismatches": len(mismatches(bot)),
        "last_alert": status["last_alert"],
    }


def bot_state(bot: BotFiles, status: dict[str, Any] | None) -> tuple[str, str]:
    """Return how a bot is, and of a stale one why.

    It is `starting`, `running`, `halted` (by the circuit breaker), `stopped` (it has ended in order) or `stale`: it is
    frozen, has neither a process nor an end, or has not decided for too long.

    Parameters
    ----------
    status : as `BotFiles.status` gives it.
    """
    if status is not None and status["working"]:
        halted = any(row["halted"] for row in status["symbols"].values())
        return "halted" if halted else "running", ""
    pid = holder(bot.folder / "lock") if status is None else status["pid"]
    last: dict[str, Any] = next(bot.latest_events(("session", "order")), {})
    if pid is None and (last.get("stopped") or last.get("flattened")):
        return "stopped", ""
    if pid is None:
        return "stale", "its process is gone without an end"
    silent = 0.0 if status is None else status["silent_s"]
    if silent >= FROZEN_S:
        return "stale", f"process {pid} is frozen: no sign of life for {silent:.0f} s"
    age = time.time() - _began(bot)
    if age < 60.0 * STALE_MINUTES:
        return "starting", ""
    decided = age if status is None else min(age, status["last_decision_age_s"])
    return "stale", f"process {pid} has decided nothing for {decided / 60.0:.0f} minutes"


def _began(bot: BotFiles) -> float:
    """Return when the latest session of a bot has begun, seconds since the epoch."""
    for name in ("config.toml", "lock"):  # both are written at each start, the lock first
        with suppress(OSError):
            return (bot.folder / name).stat().st_mtime
    return time.time()


def mismatches(bot: BotFiles) -> list[dict[str, Any]]:
    """Return the alerts of the latest day by which exchange and bot have differed, newest first."""
    times, _ = bot.curve()
    if not len(times):
        return []
    since = f"{np.datetime64(int(times[max(len(times) - _RECENT_BARS, 0)]), 'ms')}"
    return [event for event in bot.latest_events(["alert"], since) if event.get("what") in MISMATCHES]


def failures(bot: BotFiles, count: int) -> list[dict[str, Any]]:
    """Return the latest alerts, failures, commands, starts and ends, newest first, with every secret masked."""
    masked: list[dict[str, Any]] = masked_values(list(islice(bot.latest_events(_LOGGED), count)))
    return masked


def equity_curve(bot: BotFiles, points: int = _POINTS) -> dict[str, Any]:
    """Return times, ms, equity and drawdown over the bot's whole life; of many points the extremes are kept.

    `transfers` has time (ms) and amount of what was paid in or out, which is neither profit nor drawdown.
    """
    times, equity = bot.curve()
    traded = net_of_transfers(bot)
    kept = thinned(equity, points)
    peaks = np.maximum.accumulate(traded) if len(traded) else traded
    drawdown = np.where(peaks > 0.0, 1.0 - traded / np.where(peaks > 0.0, peaks, 1.0), 0.0)
    return {
        "time": times[kept].tolist(), "equity": equity[kept].tolist(), "drawdown": drawdown[kept].tolist(),
        "bars": len(times), "transfers": [list(one) for one in transfers(bot)],
    }  # fmt: skip


def exposure_curve(bot: BotFiles) -> list[dict[str, Any]]:
    """Return what was held at each of the latest bars, by symbol: base units of LONG and SHORT, margin, VaR."""
    names = ("long_qty", "short_qty", "margin_ratio", "var")
    return [
        {"time": row["time"], "symbol": row.get("symbol", "")} | {name: float(row[name] or 0.0) for name in names}
        for row in bot.rows(262_144)
    ]
