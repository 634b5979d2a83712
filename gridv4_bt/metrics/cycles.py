"""Cycles: the time of a leg (a symbol and a side) from flat to flat, with all fills that opened in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.engine.labels import CUTS, TradeLabel
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.metrics.excursions import AT_LIMIT
from gridv4_bt.metrics.performance import Array
from gridv4_bt.record.run_record import SymbolRecord

#: Closings by market orders, at a bar's open.
_AT_OPEN = set(CUTS) - {TradeLabel.STOP2}


@dataclass(frozen=True)
class Cycle:
    """One leg from its first fill until it is flat again. Money is quote."""

    symbol: str
    side: PositionSide
    first_time: int  #: ms, of the bar of the first fill
    last_time: int | None  #: ms, of the bar of the last closing; None if it is still open
    fills: int
    deepest: int  #: the level farthest from the centre that filled, counted from 1; 0 if none was of the ladder
    most: float  #: largest notional at entry prices
    net: float  #: of its closings, after fees and funding
    adverse: float  #: MAE: farthest the price went against the average entry, in price
    favourable: float  #: MFE, in price
    adverse_levels: float  #: MAE in spacings; NaN if no fill was of the ladder
    favourable_levels: float
    adverse_wallet: float  #: worst unrealised loss, fraction of the wallet when the cycle began
    favourable_wallet: float  #: best unrealised profit, fraction of that wallet


def leg_cycles(record: SymbolRecord, fills: FillTable) -> list[Cycle]:
    """Return the cycles of both legs of a symbol, in the order in which they began.

    Closings at a bar's open come before its entries, exits and stops after them, as the exchange matches them.
    """
    found = []
    for side in (PositionSide.LONG, PositionSide.SHORT):
        found += _cycles_of(record, fills, side)
    return sorted(found, key=lambda cycle: (cycle.first_time, -int(cycle.side)))


def _cycles_of(record: SymbolRecord, fills: FillTable, side: PositionSide) -> list[Cycle]:
    chosen = np.flatnonzero(fills.sign == int(side))
    ends = {int(fills.id[place]): math.inf for place in chosen}
    still = {fill.id for name, fill in record.open_fills if name == side.name}
    nets: dict[int, float] = {}
    for trade in record.trades:
        if trade.side is side:
            nets[trade.trade_id] = nets.get(trade.trade_id, 0.0) + trade.net
            if trade.trade_id not in still:
                ends[trade.trade_id] = trade.close_time if trade.label in _AT_OPEN else trade.close_time + 0.5
    groups: list[list[int]] = []
    until = -math.inf
    for place in chosen[np.argsort(fills.time[chosen], kind="stable")].tolist():
        # Half a millisecond tells a closing inside a bar from one at its open.
        if fills.time[place] >= until:
            groups.append([])
            until = -math.inf
        groups[-1].append(place)
        until = max(until, ends[int(fills.id[place])])
    cycle_of = {int(fills.id[place]): number for number, group in enumerate(groups) for place in group}
    closings: list[list[ClosedTrade]] = [[] for _ in groups]
    for trade in record.trades:
        if trade.side is side:
            closings[cycle_of[trade.trade_id]].append(trade)
    parts = zip(groups, closings, strict=True)
    return [_cycle(record, fills, side, group, trades, ends, nets) for group, trades in parts]


def _cycle(
    record: SymbolRecord,
    fills: FillTable,
    side: PositionSide,
    group: Sequence[int],
    trades: Sequence[ClosedTrade],
    ends: dict[int, float],
    nets: dict[int, float],
) -> Cycle:
    ids = fills.id[list(group)].tolist()
    last = max(ends[one] for one in ids)
    levels, spacings = np.abs(fills.level[list(group)]), fills.spacing_pct[list(group)]
    first_row = max(int(fills.row[group[0]]), 0)
    end_row = len(record.log) if last == math.inf else int(record.rows(np.array([int(last)]))[0])
    adverse, favourable, worst, best, most = _extremes(record, fills, side, group, trades, first_row, end_row)
    wallet = float(record.column("wallet")[first_row])
    spacing = float(np.mean(spacings[spacings > 0.0])) * float(fills.price[group[0]]) if np.any(spacings > 0.0) else 0.0
    return Cycle(
        symbol=record.symbol,
        side=side,
        first_time=int(fills.time[group[0]]),
        last_time=None if last == math.inf else int(last),
        fills=len(group),
        deepest=int(levels.max()),
        most=most,
        net=math.fsum(nets.get(one, 0.0) for one in ids),
        adverse=adverse,
        favourable=favourable,
        adverse_levels=adverse / spacing if spacing else math.nan,
        favourable_levels=favourable / spacing if spacing else math.nan,
        adverse_wallet=worst / wallet if wallet > 0.0 else math.nan,
        favourable_wallet=best / wallet if wallet > 0.0 else math.nan,
    )


def _extremes(
    record: SymbolRecord,
    fills: FillTable,
    side: PositionSide,
    group: Sequence[int],
    trades: Sequence[ClosedTrade],
    first: int,
    end: int,
) -> tuple[float, float, float, float, float]:
    """Return MAE and MFE in price from the average entry, worst loss, best profit and largest notional in quote.

    The order inside a bar counts as for single fills, see `gridv4_bt.metrics.excursions.excursions`.
    """
    size = max(end, first) - first + 1
    opened, kept = np.zeros((2, size + 1)), np.zeros((2, size + 1))  # quantity and cost, held in a bar and after it
    for place in group:
        at = max(int(fills.row[place]), 0) - first
        qty = fills.qty[place]
        for column, part in enumerate((qty, qty * fills.price[place])):
            opened[column, at] += part
            kept[column, at] += part
    rows = record.rows(np.array([trade.close_time for trade in trades], np.int64)) - first
    for trade, at in zip(trades, rows.tolist(), strict=True):
        in_its_first_bar = trade.close_time == trade.open_time
        ended = at + (trade.label in AT_LIMIT or in_its_first_bar)
        for column, part in enumerate((trade.qty, trade.qty * trade.entry)):
            opened[column, ended] -= part
            kept[column, at] -= part
    (held, cost), (after, cost_after) = np.cumsum(opened, axis=1)[:, :size], np.cumsum(kept, axis=1)[:, :size]
    most = float(cost.max(initial=0.0))
    if len(record.close) != len(record.log) or not len(record.close):
        return math.nan, math.nan, math.nan, math.nan, most
    window = slice(first, first + size)
    high = (record.high if len(record.high) else record.close)[window]
    low = (record.low if len(record.low) else record.close)[window]
    against, with_it = (low, high) if side > 0 else (high, low)
    size = len(against)  # one less where the cycle is still open
    average, average_after = _average(held[:size], cost[:size]), _average(after[:size], cost_after[:size])
    down = np.where(average > 0.0, side * (average - against), 0.0)
    up = np.where(average_after > 0.0, side * (with_it - average_after), 0.0)
    up[0] = 0.0  # the favourable extreme may have come before the entry
    downs, ups = [float(down.max())], [float(up.max())]
    losses, gains = [float((down * held[:size]).max())], [float((up * after[:size]).max())]
    for trade in trades:
        change = int(side) * (trade.exit - trade.entry)
        downs.append(-change)
        ups.append(change)
        losses.append(-change * trade.qty)
        gains.append(change * trade.qty)
    return max(*downs, 0.0), max(*ups, 0.0), max(*losses, 0.0), max(*gains, 0.0), most


def _average(qty: Array, cost: Array) -> Array:
    """Return the average entry, 0 where nothing is held; sums of decimal lots leave noise."""
    held = qty > 1e-9 * np.max(qty, initial=0.0)
    return np.divide(cost, qty, out=np.zeros(len(qty)), where=held)


def cycle_figures(records: Sequence[SymbolRecord], fills: Sequence[FillTable]) -> dict[str, Any]:
    """Return how many cycles there were, how long and how deep, and what they made by the deepest level that filled.

    Numbers of ``by_deepest`` add up to ``cycles``; ``longest_hours`` counts one that is still open.
    """
    cycles = [one for record, table in zip(records, fills, strict=True) for one in leg_cycles(record, table)]
    if not cycles:
        return {}
    ends = {record.symbol: float(record.column("time")[-1]) for record in records if len(record.log)}
    hours = [
        (float(ends[one.symbol] if one.last_time is None else one.last_time) - one.first_time) / HOUR_MS
        for one in cycles
    ]
    worst = [one.adverse_wallet for one in cycles if math.isfinite(one.adverse_wallet)]
    by_deepest: dict[str, dict[str, float]] = {}
    for deepest in sorted({one.deepest for one in cycles}):
        group = [place for place, one in enumerate(cycles) if one.deepest == deepest]
        by_deepest[str(deepest) if deepest else "other"] = {
            "cycles": len(group),
            "fills": sum(cycles[place].fills for place in group),
            "win_rate": sum(cycles[place].net > 0.0 for place in group) / len(group),
            "net": math.fsum(cycles[place].net for place in group),
            "mean_hours": math.fsum(hours[place] for place in group) / len(group),
        }
    return {
        "cycles": len(cycles),
        "open": sum(one.last_time is None for one in cycles),
        "win_rate": sum(one.net > 0.0 for one in cycles) / len(cycles),
        "median_hours": float(np.median(hours)),
        "longest_hours": max(hours),
        "worst_unrealized": max(worst, default=None),
        "by_deepest": by_deepest,
    }
