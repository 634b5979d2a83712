"""Cycles: the time of a leg (a symbol and a side) from flat to flat, with all fills that opened in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        if np.any(fills.sign == int(side)):
            found += _cycles_of(record, fills, side)
    return sorted(found, key=lambda cycle: (cycle.first_time, -int(cycle.side)))


def _cycles_of(record: SymbolRecord, fills: FillTable, side: PositionSide) -> list[Cycle]:
    """Return the cycles of a leg with at least one fill."""
    places = np.flatnonzero(fills.sign == int(side))
    entries = fills.take(places[np.argsort(fills.time[places], kind="stable")])
    trades = [trade for trade in record.trades if trade.side is side]
    place_of = {fill: place for place, fill in enumerate(entries.id.tolist())}
    entry_of = np.array([place_of[trade.trade_id] for trade in trades], np.int64)  # of each closing
    still_open = [place_of[fill.id] for name, fill in record.open_fills if name == side.name]
    ends = np.full(len(entries), math.inf)
    ends[entry_of] = [_end(trade) for trade in trades]  # that of its last part stays
    ends[still_open] = math.inf
    # A cycle begins with a fill by whose time all fills before it have ended.
    was_flat = np.append(True, entries.time[1:] >= np.maximum.accumulate(ends)[:-1])
    first, cycle = np.flatnonzero(was_flat), np.cumsum(was_flat) - 1
    last = np.maximum.reduceat(ends, first)
    bars = _Bars(np.maximum(entries.row[first], 0), record.rows(last))
    adverse, favourable, worst, best, most = _extremes(record, side, bars, entries, cycle, trades, cycle[entry_of])
    of_ladder = np.bincount(cycle, entries.spacing_pct > 0.0)
    spacing = np.bincount(cycle, entries.spacing_pct) / np.maximum(of_ladder, 1.0) * entries.price[first]
    wallet = record.column("wallet")[bars.first]
    nets = np.bincount(entry_of, [trade.net for trade in trades], len(entries))
    columns = {
        "first_time": entries.time[first].tolist(),
        "last_time": [None if time == math.inf else int(time) for time in last.tolist()],
        "fills": np.bincount(cycle).tolist(),
        "deepest": np.maximum.reduceat(np.abs(entries.level), first).tolist(),
        "most": most.tolist(),
        "net": [math.fsum(of_cycle.tolist()) for of_cycle in np.split(nets, first[1:])],
        "adverse": adverse.tolist(),
        "favourable": favourable.tolist(),
        "adverse_levels": _over(adverse, spacing).tolist(),
        "favourable_levels": _over(favourable, spacing).tolist(),
        "adverse_wallet": _over(worst, wallet).tolist(),
        "favourable_wallet": _over(best, wallet).tolist(),
    }
    rows = zip(*columns.values(), strict=True)
    return [Cycle(record.symbol, side, **dict(zip(columns, row))) for row in rows]


def _end(trade: ClosedTrade) -> float:
    """Return the time of a closing, ms; half a millisecond tells one inside a bar from one at its open."""
    return trade.close_time if trade.label in _AT_OPEN else trade.close_time + 0.5


class _Bars:
    """The bars of all cycles of a leg in one row, those of one cycle after those of the cycle before."""

    def __init__(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        """Take the rows of the log of each cycle's first and last bar."""
        self.first = first
        self.size = np.maximum(last, first) - first + 1
        self.end = np.cumsum(self.size)
        self.begin = self.end - self.size

    def rows(self) -> NDArray[np.int64]:
        """Return the row of the log of each bar."""
        return np.arange(self.end[-1]) + np.repeat(self.first - self.begin, self.size)

    def sums(self, cycle: NDArray[np.int64], rows: NDArray[np.int64], amounts: Array) -> Array:
        """Return at each bar the sum of its cycle's amounts up to it.

        Those before the cycle's first bar count from there on, those after its last one not at all.
        """
        at = self.begin[cycle] + np.maximum(rows - self.first[cycle], 0)
        inside = at < self.end[cycle]
        sums = np.bincount(at[inside], amounts[inside], self.end[-1])
        for begin, end in zip(self.begin.tolist(), self.end.tolist(), strict=True):
            np.add.accumulate(sums[begin:end], out=sums[begin:end])
        return sums

    def largest(self, values: Array) -> Array:
        """Return the largest value of each cycle, at least 0."""
        return np.maximum(np.maximum.reduceat(values, self.begin), 0.0)


def _extremes(
    record: SymbolRecord,
    side: PositionSide,
    bars: _Bars,
    entries: FillTable,
    cycle: NDArray[np.int64],
    trades: Sequence[ClosedTrade],
    cycle_of_trade: NDArray[np.int64],
) -> tuple[Array, Array, Array, Array, Array]:
    """Return MAE and MFE in price from the average entry, worst loss, best profit and largest notional in quote.

    One of each for every cycle. The order inside a bar counts as for single fills, see
    `gridv4_bt.metrics.excursions.excursions`.
    """
    qty, entry, exit_ = np.array([(trade.qty, trade.entry, trade.exit) for trade in trades]).reshape(-1, 3).T
    stays = np.array([trade.label in AT_LIMIT or trade.close_time == trade.open_time for trade in trades], bool)
    closed = record.rows(np.array([trade.close_time for trade in trades], np.int64))
    # Entries add and closings take away; one that closes at its limit is held in that bar and gone after it.
    in_bar, after_bar = np.concatenate((entries.row, closed + stays)), np.concatenate((entries.row, closed))
    changed = np.concatenate((cycle, cycle_of_trade))
    qtys = np.concatenate((entries.qty, -qty))
    costs = np.concatenate((entries.qty * entries.price, -qty * entry))
    held, cost = bars.sums(changed, in_bar, qtys), bars.sums(changed, in_bar, costs)
    most = bars.largest(cost)
    if len(record.close) != len(record.log) or not len(record.close):
        unknown = np.full(len(most), math.nan)
        return unknown, unknown, unknown, unknown, most
    after, cost_after = bars.sums(changed, after_bar, qtys), bars.sums(changed, after_bar, costs)
    average, average_after = _average(bars, held, cost), _average(bars, after, cost_after)
    rows = bars.rows()
    high = (record.high if len(record.high) else record.close)[rows]
    low = (record.low if len(record.low) else record.close)[rows]
    against, with_it = (low, high) if side > 0 else (high, low)
    down = np.where(average > 0.0, side * (average - against), 0.0)
    up = np.where(average_after > 0.0, side * (with_it - average_after), 0.0)
    up[bars.begin] = 0.0  # the favourable extreme may have come before the entry
    change = side * (exit_ - entry)
    adverse, favourable, worst, best = map(bars.largest, (down, up, down * held, up * after))
    np.maximum.at(adverse, cycle_of_trade, -change)
    np.maximum.at(favourable, cycle_of_trade, change)
    np.maximum.at(worst, cycle_of_trade, -change * qty)
    np.maximum.at(best, cycle_of_trade, change * qty)
    return adverse, favourable, worst, best, most


def _average(bars: _Bars, qty: Array, cost: Array) -> Array:
    """Return the average entry, 0 where nothing is held; sums of decimal lots leave noise."""
    held = qty > np.repeat(1e-9 * bars.largest(qty), bars.size)
    return np.divide(cost, qty, out=np.zeros(len(qty)), where=held)


def _over(values: Array, of: Array) -> Array:
    """Return the ratios of two columns, NaN where the divisor is not above 0."""
    return np.divide(values, of, out=np.full(len(values), math.nan), where=of > 0.0)


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
