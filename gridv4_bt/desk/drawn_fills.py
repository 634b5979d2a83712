"""A bot's executions with what each was for, and all that a chart of a symbol shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gridv4_bt.core.time import BAR_MS, iso, time_ms
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.held import leg_rows
from gridv4_bt.desk.ladder_view import PURPOSES, open_orders
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.live.booking import FORCED
from gridv4_bt.live.ids import Purpose, parse_id

_PAGE = 50  # read at a time: older ones may be in an archive, which takes long to open
MOST_DRAWN = 2_000  #: fills of a chart


def fill_rows(bot: BotFiles, first: int, count: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many executions there are, and some from the `first` newest on, each with its `reason`.

    The reason is the level of an entry, and the label of what closes: `grid` for a take-profit, `stop2`, `gap` ...
    """
    total, rows = bot.fills.page(first, count)
    labels = _labels(bot, rows)
    return total, [row | {"reason": _reason(row, labels)} for row in rows]


def chart(bot: BotFiles, symbol: str, count: int) -> dict[str, Any]:
    """Return the latest candles of a symbol with its open orders, its legs' prices, and the executions in them.

    `left_out` is how many older executions of the window are not there: at most `MOST_DRAWN` are.
    """
    candles = bot.candles(symbol, count)
    legs = [row for row in leg_rows(bot) if row["symbol"] == symbol and row["side"] != "NET"]
    lines = ("side", "qty", "average", "break_even", "liquidation", "stop")
    orders = [one for one in open_orders(bot) if one["symbol"] == symbol]
    begin = time_ms(datetime.fromisoformat(candles[0][0])) if candles else 0
    fills, left_out = _since(bot, symbol, begin) if candles else ([], 0)
    return {
        "symbol": symbol, "candles": candles, "orders": orders, "fills": fills, "left_out": left_out,
        "legs": [{name: leg[name] for name in lines} for leg in legs],
    }  # fmt: skip


def _since(bot: BotFiles, symbol: str, begin: int) -> tuple[list[dict[str, Any]], int]:
    """Return the executions of a symbol since a time, oldest first, and how many more there are in all."""
    found: list[dict[str, Any]] = []
    first = left_out = 0
    while True:
        _, rows = fill_rows(bot, first, _PAGE)
        inside = [row for row in rows if row["time"] >= begin]
        own = [row for row in inside if row["symbol"] == symbol]
        left_out += max(len(found) + len(own) - MOST_DRAWN, 0)
        found += own[: MOST_DRAWN - len(found)]
        first += _PAGE
        if len(inside) < _PAGE or left_out:
            return found[::-1], left_out


def _labels(bot: BotFiles, rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, str]]:
    """Return the labels of the trades that some executions may have closed: by symbol and fill, then by bar."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    if rows:
        for trade in bot.trades_back(iso(min(row["time"] for row in rows) // BAR_MS * BAR_MS)):
            bars = found.setdefault((trade["symbol"], int(trade["trade_id"])), {})
            bars.setdefault(trade["close_time"], trade["label"])
    return found


def _reason(row: dict[str, Any], labels: dict[tuple[str, int], dict[str, str]]) -> str:
    name = parse_id(row.get("order"))
    if name is None:
        is_forced = str(row.get("order", "")).startswith(FORCED)
        return str(TradeLabel.LIQUIDATION) if is_forced else "traded by hand"
    if name.purpose is Purpose.ENTRY:
        return f"entry, level {name.ref}"
    if name.purpose is Purpose.STOP:
        return str(TradeLabel.STOP2)
    bars = labels.get((row["symbol"], name.ref), {})
    return bars.get(iso(row["time"] // BAR_MS * BAR_MS)) or next(iter(bars.values()), PURPOSES[name.purpose])
