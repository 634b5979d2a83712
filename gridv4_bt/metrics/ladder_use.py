"""Use of the ladder: how often its levels were reached, filled and closed by their own exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.grid import level_price
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import TRACE_ACTIONS, Blocked
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.metrics.trading import WholeTrade, collect, totals
from gridv4_bt.record.run_record import SymbolRecord


def reached(record: SymbolRecord) -> NDArray[np.int64]:
    """Return how often the market came to each level's line, by the level's state, shape (2*levels, len(Blocked)).

    The lines are those of the ladder at the bar before, without the rounding to ticks and off round numbers. A bar
    comes to a line that lies between the close before it and its low (LONG levels) or its high (SHORT). Column
    `Blocked.PLACED` had an order resting, the others none for that reason. A line without an order is counted again
    each time the market comes back to it.
    """
    columns = record.ladder.shape[1]
    found = np.zeros((columns, len(Blocked)), np.int64)
    if not len(record.close):
        return found
    levels = columns // 2
    before, high, low = record.close[:-1], record.high[1:], record.low[1:]
    centre, spacing_pct = record.column("centre")[:-1], record.column("spacing_pct")[:-1]
    for sign, offset in ((1, 0), (-1, levels)):
        nearest = level_price(centre, spacing_pct, -sign)
        # Only bars that go as far as the nearest line come to any.
        far = np.flatnonzero((low < before) & (low <= nearest) if sign > 0 else (high > before) & (high >= nearest))
        start, end = before[far], (low if sign > 0 else high)[far]
        for column in range(levels):
            line = level_price(centre[far], spacing_pct[far], -sign * (column + 1))
            came = (end <= line) & (line < start) if sign > 0 else (start < line) & (line <= end)
            codes = record.ladder[:, offset + column][far[came]] // TRACE_ACTIONS
            found[offset + column] = np.bincount(codes, minlength=len(Blocked))
    return found


def grid_efficiency(
    records: Sequence[SymbolRecord], fills: Sequence[FillTable], came: Sequence[NDArray[np.int64]], days: float
) -> dict[str, Any]:
    """Return what the grid earned for each entry and each pair, and how much of the market it used.

    A pair is a fill that its own exit closed (label grid). ``pairs_of_fills`` is their share of all entries,
    ``pair_profit`` and ``pair_return`` the mean net profit of one, in quote and of its entry notional, and
    ``profit_of_fill`` the net of all closings over the number of entries, which is what is left of it after the fills
    that their exit never closed. ``reached`` counts how often the market came to a line of the ladder, by the state
    of the level (see `reached`), ``fills_of_reached`` is the share that filled an order, and ``pairs_of_reached`` the
    share that ended as a pair.
    """
    trades = [trade for record in records for trade in record.trades]
    home = [trade for trade in trades if trade.label is TradeLabel.GRID]
    pairs = len({trade.trade_id for trade in home})
    entries = sum(map(len, fills))
    net = plain_sum(trade.net for trade in home)
    counts = np.sum([table.sum(axis=0) for table in came], axis=0)
    lines = int(counts.sum())
    return {
        "fills": entries,
        "pairs": pairs,
        "pairs_per_day": pairs / days if days > 0.0 else None,
        "pairs_of_fills": pairs / entries if entries else None,
        "pair_profit": net / pairs if pairs else None,
        "pair_return": net / plain_sum(trade.entry * trade.qty for trade in home) if home else None,
        "profit_of_fill": plain_sum(trade.net for trade in trades) / entries if entries else None,
        "reached": {reason.name.lower(): int(counts[reason]) for reason in Blocked if counts[reason]},
        "fills_of_reached": entries / lines if lines else None,
        "pairs_of_reached": pairs / lines if lines else None,
    }


def levels(
    records: Sequence[SymbolRecord],
    fills: Sequence[FillTable],
    came: Sequence[NDArray[np.int64]],
    whole: Sequence[WholeTrade],
) -> dict[str, dict[str, Any]]:
    """Return what the entries of each level became, nearest LONG level (-1) first, then SHORT (+1).

    ``reached`` counts how often the market came to the level's line, with an order there or without, ``fills`` the
    entries, open ones too; ``mean_hours`` is how long the closed ones were held, the rest what they made, as in
    ``by_side``. Entries that were no orders of the ladder are under ``other``.
    """
    lines: dict[int, int] = {}
    for table in came:
        half = len(table) // 2
        for column, count in enumerate(table.sum(axis=1).tolist()):
            level = -(column + 1) if column < half else column - half + 1
            lines[level] = lines.get(level, 0) + count
    entries = dict.fromkeys(lines, 0)
    level_of: dict[tuple[str, int], int] = {}
    for record, table in zip(records, fills, strict=True):
        for fill, level in zip(table.id.tolist(), table.level.tolist(), strict=True):
            entries[level] = entries.get(level, 0) + 1
            level_of[record.symbol, fill] = level

    def by_level(trade: WholeTrade) -> int:
        return level_of[trade.symbol, trade.trade_id]

    closed = collect(whole, by_level)
    none = {"trades": 0, "win_rate": None, "gross": 0.0, "fees": 0.0, "funding": 0.0, "net": 0.0}
    order = sorted(entries, key=lambda level: (level == 0, level > 0, abs(level)))
    return {
        f"{level:+d}" if level else "other": {
            "reached": lines.get(level, 0),
            "fills": entries[level],
            "mean_hours": _mean_hours(closed.get(level, ())),
            **(totals(closed[level]) if level in closed else none),
        }
        for level in order
    }


def _mean_hours(trades: Sequence[WholeTrade]) -> float | None:
    """Return the mean time from entry to last closing, None without a trade."""
    return plain_sum((one.close_time - one.open_time) / HOUR_MS for one in trades) / len(trades) if trades else None


def blocked(records: Sequence[SymbolRecord]) -> dict[str, Any]:
    """Return why levels had no order: share of all levels times bars, by reason, and the share that had one."""
    total = sum(record.ladder.size for record in records)
    if not total:
        return {}
    counts: dict[str, int] = {}
    for record in records:
        for reason, count in record.blocked.items():
            counts[reason] = counts.get(reason, 0) + count
    shares = {reason: count / total for reason, count in sorted(counts.items(), key=lambda item: -item[1])}
    return {"placed": 1.0 - sum(counts.values()) / total, **shares}
