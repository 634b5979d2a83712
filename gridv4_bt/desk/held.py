"""What a bot holds: each leg with its fills, the net of a symbol, and where the profit comes from."""

from collections import defaultdict
from typing import Any

import numpy as np

from gridv4_bt.config import GridConfig
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import BAR_MS, HOUR_MS, iso
from gridv4_bt.desk.account_risk import account_risk
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.next_cuts import cut_now, next_cuts
from gridv4_bt.engine.position import sum_fills, unrealized_pnl
from gridv4_bt.engine.types import Fill, PositionSide
from gridv4_bt.live.command_files import is_in_scope

#: The two legs of a symbol in the order of the state file.
SIDES = (PositionSide.LONG, PositionSide.SHORT)
_ADDED = ("unrealized", "fees", "funding", "exposure", "fills", "entries", "exits")


def leg_rows(bot: BotFiles) -> list[dict[str, Any]]:
    """Return a row for each leg of each symbol and one for the net, whose figures are the sum of the two."""
    found = []
    p = bot.config()
    risk = {one["symbol"]: one for one in account_risk(bot).get("symbols", ())}
    for symbol, book in _books(bot).items():
        close, decision = bot.close(symbol, book["bar"]) or 0.0, bot.decision(symbol) or {}
        paused, limits = _paused(bot, symbol), risk.get(symbol, {})
        rows = [
            _leg(p.of(symbol), symbol, side, leg, close, book["bar"], decision)
            | {"paused": paused.get(side.name, [])}
            | {"liquidation": limits.get("down" if side is PositionSide.LONG else "up") if leg["fills"] else None}
            for side, leg in zip(SIDES, book["legs"], strict=True)
        ]
        found += rows
        found.append(
            {"symbol": symbol, "side": "NET", "close": close, "bar": iso(book["bar"])}
            | {"qty": rows[0]["qty"] - rows[1]["qty"]}
            | {name: rows[0][name] + rows[1][name] for name in _ADDED}
        )
    return found


def _leg(
    p: GridConfig,
    symbol: str,
    side: PositionSide,
    leg: dict[str, Any],
    close: float,
    bar: int,
    decision: dict[str, Any],
) -> dict[str, Any]:
    fills = [Fill(*one) for one in leg["fills"]]
    qty, cost = sum_fills([one.qty for one in fills], [one.price for one in fills], len(fills))
    exits = {int(number): price for number, price in leg["exits"]}
    figures = {"average": cost / qty if qty else None, "stop": leg["stop"]}
    sign = int(side)
    bullets = [
        {
            "id": one.id, "qty": one.qty, "price": one.price, "opened": iso(one.time),
            "age_hours": (bar + BAR_MS - one.time) / HOUR_MS, "regime": Regime(one.regime).name,
            "unrealized": unrealized_pnl(sign, one.qty, one.qty * one.price, close), "fee": one.fee,
            "funding": one.funding, "exit": exits.get(one.id), "cut_now": cut_now(p, sign, one, close, bar, decision),
            "cuts": next_cuts(p, sign, one, close, bar, decision, figures),
        }
        for one in fills
    ]  # fmt: skip
    return {
        "symbol": symbol, "side": side.name, "qty": qty, "average": figures["average"], "stop": leg["stop"],
        "break_even": _break_even(sign, fills, qty, cost, p.taker_fee), "exposure": qty * close,
        "unrealized": unrealized_pnl(sign, qty, cost, close), "fees": plain_sum(one.fee for one in fills),
        "funding": plain_sum(one.funding for one in fills), "fills": len(fills),
        "entries": len([row for row in leg["entries"] if row[0] > 0.0]), "exits": len(exits), "bullets": bullets,
        "closing": [list(close) for close in leg["closes"]],
    }  # fmt: skip


def _break_even(sign: int, fills: list[Fill], qty: float, cost: float, taker_fee: float) -> float | None:
    """Return the price at which closing a leg at market brings back its cost, its fees and its funding."""
    if not qty:
        return None
    paid = plain_sum(one.fee + one.funding for one in fills)
    return (cost + sign * paid) / (qty * (1.0 - sign * taker_fee))


def profit(bot: BotFiles) -> dict[str, Any]:
    """Return the profit in five parts, and by how much they miss the change of the recorded equity, quote.

    Transfers are in `start`, so the change is that of trading alone.
    """
    broker = bot.state().get("broker") or {}
    account = broker.get("account")
    if account is None:
        return {}
    unrealized = plain_sum(row["unrealized"] for row in leg_rows(bot) if row["side"] == "NET")
    parts = {
        "realized_grid": account["gross"], "fees": -account["fees"], "funding": -account["funding"],
        "unrealized": unrealized,
    }  # fmt: skip
    times, recorded = bot.curve()
    bar = max((book["bar"] for book in broker["books"].values()), default=0)
    place = int(np.searchsorted(times, bar, side="right")) - 1  # a row is written before the state of its bar
    equity = float(recorded[place]) if place >= 0 else account["wallet"] + unrealized
    total = plain_sum(parts.values())
    return parts | {
        "total": total, "start": account["start"], "equity": equity, "difference": equity - account["start"] - total,
    }  # fmt: skip


def profit_by(bot: BotFiles, by: str) -> list[dict[str, Any]]:
    """Return the profit of closed trades and of what is open by `day`, `symbol` or `side`; the parts of each row."""
    closed = bot.kept("trades.csv", lambda: _closed_by(bot, by), by) or {}
    rows = defaultdict(lambda: dict.fromkeys(_PARTS, 0.0), {key: dict(row) for key, row in closed.items()})
    for leg in leg_rows(bot):
        if leg["side"] == "NET" or not leg["fills"]:
            continue
        row = rows[{"day": "open", "symbol": leg["symbol"], "side": leg["side"]}[by]]
        row["unrealized"] += leg["unrealized"]
        row["fees"] -= leg["fees"]
        row["funding"] -= leg["funding"]
    return [
        {by: key} | row | {"total": plain_sum(row[name] for name in _PARTS if name != "trades")}
        for key, row in sorted(rows.items())
    ]


def _closed_by(bot: BotFiles, by: str) -> dict[str, dict[str, float]]:
    """Return the profit of the closed trades by `day`, `symbol` or `side`."""
    rows: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_PARTS, 0.0))
    for trade in bot.trades():
        key = {"day": trade["close_time"][:10], "symbol": trade["symbol"], "side": trade["side"]}[by]
        row = rows[key]
        row["realized_grid"] += float(trade["gross"])
        row["fees"] -= float(trade["fees"])
        row["funding"] -= float(trade["funding"])
        row["trades"] += 1
    return rows


_PARTS = ("realized_grid", "fees", "funding", "unrealized", "trades")


def cycles(bot: BotFiles) -> list[dict[str, Any]]:
    """Return the cycles of each leg, from flat to flat, of its closed trades, newest first."""
    found: list[dict[str, Any]] = []
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for trade in sorted(bot.trades(), key=lambda one: one["open_time"]):
        key = trade["symbol"], trade["side"]
        cycle = latest.get(key)
        if cycle is None or trade["open_time"] > cycle["end"]:
            cycle = latest[key] = {
                "symbol": key[0], "side": key[1], "begin": trade["open_time"], "end": trade["close_time"],
                "closings": 0, "net": 0.0,
            }  # fmt: skip
            found.append(cycle)
        cycle["end"] = max(cycle["end"], trade["close_time"])
        cycle["closings"] += 1
        cycle["net"] += float(trade["net"])
    return found[::-1]


def _books(bot: BotFiles) -> dict[str, Any]:
    books: dict[str, Any] = (bot.state().get("broker") or {}).get("books", {})
    return books


def _paused(bot: BotFiles, symbol: str) -> dict[str, list[str]]:
    """Return by side which pauses hold a leg's entries back."""
    pauses = (bot.state().get("commands") or {}).get("pauses", {})
    return {side.name: [scope for scope in pauses if is_in_scope(scope, symbol, side)] for side in SIDES}
