"""Planned against open orders of a bot, with a reason for every level without one, and why a bar was decided so."""

from typing import Any

from gridv4_bt.core.grid import level_price
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.event_files import events_of_bar
from gridv4_bt.desk.held import SIDES
from gridv4_bt.engine.ladder import Blocked, order_price
from gridv4_bt.live.ids import Purpose, parse_id, symbol_tag
from gridv4_bt.live.session_status import FROZEN_S
from gridv4_bt.report.page_data import BLOCKED

#: What orders are for, as they are shown.
PURPOSES = {
    Purpose.ENTRY: "entry", Purpose.EXIT: "exit", Purpose.STOP: "stop", Purpose.CLOSE: "close", Purpose.OPEN: "open",
    Purpose.REDUCE: "reduce",
}  # fmt: skip
#: Events after which an order may not be open any more.
_ENDS = ("cancel", "order_vanished", "doubt_resolved", "stray_order")


def open_orders(bot: BotFiles) -> list[dict[str, Any]]:
    """Return the bot's open orders: those of the saved state, and what the record says has happened since.

    A level is counted from 1; exits and closes name their fill.
    """
    state = bot.state()
    orders: dict[str, dict[str, Any]] = {}
    for order in ((state.get("broker") or {}).get("desk") or {}).get("orders", ()):
        if order["standing"] != "done":
            orders[order["id"]] = {
                "id": order["id"], "qty": float(order["qty"]), "price": order["price"], "filled": order["filled"],
                "status": "open" if order["standing"] == "open" else "unknown",
            }  # fmt: skip
    for event in bot.order_events(_saved_at(bot)):
        _apply(orders, event)
    tags = {symbol_tag(symbol): symbol for symbol in bot.symbols()}
    found = []
    for order in orders.values():
        name = parse_id(order["id"])
        if name is None:
            continue
        found.append(
            order | {"symbol": tags.get(name.tag, name.tag), "side": name.side.name, "kind": PURPOSES[name.purpose],
                     "ref": name.ref, "opens": name.purpose.opens}
        )  # fmt: skip
    return sorted(found, key=lambda one: (one["symbol"], one["side"], -one["price"]))


def _saved_at(bot: BotFiles) -> str:
    """Return when the state was saved last, as the events write their time."""
    import numpy as np

    try:
        seconds = (bot.folder / "state.json").stat().st_mtime_ns // 1_000_000
    except OSError:
        return ""
    return f"{np.datetime64(seconds, 'ms')}Z"


def _apply(orders: dict[str, dict[str, Any]], event: dict[str, Any]) -> None:
    kind, order_id = event.get("kind"), str(event.get("id", ""))
    if kind == "order":
        orders[order_id] = {
            "id": order_id, "qty": event["qty"], "price": event["price"], "filled": 0.0, "status": "open",
        }  # fmt: skip
    elif kind == "order_failed" and event.get("reaction") == "unknown":
        orders[order_id] = {
            "id": order_id, "qty": event["qty"], "price": event["price"], "filled": 0.0, "status": "unknown",
        }  # fmt: skip
    elif kind in _ENDS and event.get("standing", "done") == "done":
        orders.pop(order_id, None)
    elif kind == "doubt_resolved" and order_id in orders:
        orders[order_id]["status"] = "open"
    elif kind == "fill" and (order := orders.get(str(event.get("order")))) is not None:
        order["filled"] += event["qty"]
        name = parse_id(order["id"])
        if order["filled"] >= order["qty"] * (1.0 - 1e-9) or (name and name.purpose is Purpose.STOP):
            del orders[order["id"]]


def ladder(bot: BotFiles, symbol: str, orders: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return every level of a symbol's ladder: the order planned, the one that is open, and why one is missing."""
    book = ((bot.state().get("broker") or {}).get("books") or {}).get(symbol)
    market, config = bot.market(symbol), bot.config().of(symbol)
    if book is None:
        return []
    row = next((row for row in reversed(bot.rows()) if row.get("symbol", symbol) == symbol), None)
    decision = bot.decision(symbol)
    resting = {
        (one["side"], one["ref"]): one
        for one in (open_orders(bot) if orders is None else orders)
        if one["symbol"] == symbol and one["kind"] == "entry"
    }
    since = decision["clock"] if decision else ""
    failed = {str(one.get("id", "")): one for one in bot.latest_events(["order_failed"], since)}
    causes = {(name.side.name, name.ref): one for key, one in failed.items() if (name := parse_id(key)) is not None}
    stale = _stale(bot)
    found = []
    for side, leg in zip(SIDES, book["legs"], strict=True):
        codes = (decision or {}).get(side.name.lower(), [])
        for index in range(config.levels):
            planned = leg["entries"][index] if index < len(leg["entries"]) else [0.0, 0.0, 0.0]
            price: float | None = planned[0] or None
            if price is None and row is not None and decision and market and decision.get("spacing_pct"):
                raw = level_price(float(row["centre"]), decision["spacing_pct"], -int(side) * (index + 1))
                price = order_price(int(side), raw, market.tick, config.nudge_pct) if raw > 0.0 else None
            order = resting.get((side.name, index + 1))
            code = codes[index] if index < len(codes) else None
            why = _why_missing(bot, code, planned[0] > 0.0, order, causes.get((side.name, index + 1)))
            found.append(
                {
                    "side": side.name, "level": index + 1, "price": price, "planned": planned[0] > 0.0,
                    "qty": planned[1] if planned[0] > 0.0 else None, "open": order is not None,
                    "open_price": order["price"] if order else None,
                    "reason": _reason(code, order, stale), "why": stale if stale and order is None else why,
                }
            )  # fmt: skip
    return found


def _stale(bot: BotFiles) -> str:
    """Return that a bot whose process is alive decides nothing, "" if it decides or has ended."""
    status = bot.status()
    if status is None or status["working"] or status["pid"] is None:
        return ""
    if status["silent_s"] >= FROZEN_S:
        return f"stale: the bot's process is frozen, no sign of life for {status['silent_s']} s"
    minutes = status["last_decision_age_s"] // 60
    return f"stale: nothing was decided for {minutes} minutes, as without candles or without the exchange"


def _reason(code: int | None, order: dict[str, Any] | None, stale: str) -> str | None:
    """Return the name of what was decided for a level, or that it is too old to say anything about a missing order."""
    if stale and order is None:
        return "STALE"
    return Blocked(code).name if code is not None else None


def _why_missing(
    bot: BotFiles, code: int | None, planned: bool, order: dict[str, Any] | None, failed: dict[str, Any] | None
) -> str:
    """Return why a level has no open order, "" for one that has."""
    if order is not None:
        return "" if planned else "open, but not planned: it is cancelled at the next decision"
    if planned:
        if failed is not None:
            return f"refused by the exchange: {failed.get('text') or failed.get('code')}"
        status = bot.status()
        if status is None or not status["working"]:
            return "the bot does not work: a session that ends takes its entries back"
        return "planned, and not open yet: filled, on its way, or tried again at the next candle"
    if code is None:
        return "not decided yet"
    return BLOCKED[code] if code else "withdrawn since the decision"


def why(bot: BotFiles, symbol: str, bar: str | None) -> dict[str, Any]:
    """Return what was decided at a bar and why: its row of figures, each level's reason, and what was ordered then.

    Parameters
    ----------
    bar : open time of the bar, ISO 8601; None: the latest.
    """
    decision = bot.decision(symbol, bar)
    if bar is None:
        bar = (decision or {}).get("bar") or next((row["time"] for row in reversed(bot.rows())), None)
    row = bot.row_at(bar, symbol) if bar else None
    tag = symbol_tag(symbol)
    orders = [one for one in (events_of_bar(bot.folder, symbol, bar) if bar else ()) if _is_of(one, symbol, tag)]
    levels = [
        {"side": side.name, "level": i + 1, "reason": Blocked(code).name, "why": BLOCKED[code]}
        for side in SIDES
        for i, code in enumerate((decision or {}).get(side.name.lower(), []))
    ]
    return {"symbol": symbol, "bar": bar, "row": row, "decision": decision, "levels": levels, "events": orders}


def _is_of(event: dict[str, Any], symbol: str, tag: str) -> bool:
    name = parse_id(str(event.get("id", "")))
    return name.tag == tag if name is not None else event.get("symbol", symbol) == symbol
