"""How much the symbols of a wallet move together, and how many bets the run really was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.bets import count_bets
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.metrics.performance import Array, last_of_each
from gridv4_bt.record.run_record import SymbolRecord

_Daily = tuple[NDArray[np.int64], Array]


def co_movement(records: Sequence[SymbolRecord], fills: Sequence[FillTable]) -> dict[str, Any]:
    """Return the independent bets of all fills, and how alike the days of the symbols were.

    ``prices`` and ``profits`` have the mean correlation of all pairs of symbols over the days that both have, of
    daily price changes and of daily profits (net of what closed, and the change of what is open), and the number of
    symbols of the same risk without any correlation that would be as diversified: ``n / (1 + (n - 1)*correlation)``.
    Ten copies of one series are one. Symbols that never moved or never traded do not count; of fewer than two
    nothing is said.
    """
    return {
        "bets": count_bets(time for table in fills for time in table.time.tolist()),
        "prices": _alike([_price_changes(record) for record in records if len(record.close)]),
        "profits": _alike([daily_profits(record) for record in records if len(record.close)]),
    }


def _day_ends(record: SymbolRecord) -> tuple[NDArray[np.int64], Array]:
    """Return the UTC days traded, since 1970, and the close at the end of each."""
    days = record.column("time").astype(np.int64) // DAY_MS
    last = last_of_each(days)
    return days[last], record.close[last]


def _price_changes(record: SymbolRecord) -> _Daily:
    days, closes = _day_ends(record)
    return days[1:], np.diff(np.log(closes))


def daily_profits(record: SymbolRecord) -> _Daily:
    """Return the UTC days traded, since 1970, and the profit of each, quote.

    It is the net of the day's closings, and the change of the unrealised profit to the day's last close. Fees and
    funding of a fill come on the day it is closed.
    """
    days, closes = _day_ends(record)
    realized, held, cost = np.zeros((3, len(days)))
    opened = days.searchsorted([trade.open_time // DAY_MS for trade in record.trades]).tolist()
    closed = days.searchsorted([trade.close_time // DAY_MS for trade in record.trades]).tolist()
    for trade, first, end in zip(record.trades, opened, closed, strict=True):
        qty = int(trade.side) * trade.qty
        held[first:end] += qty  # at the ends of these days
        cost[first:end] += qty * trade.entry
        if end < len(days):
            realized[end] += trade.net
    for side, fill in record.open_fills:
        qty = int(PositionSide[side]) * fill.qty
        first = days.searchsorted(fill.time // DAY_MS)
        held[first:] += qty
        cost[first:] += qty * fill.price
    return days, realized + np.diff(held * closes - cost, prepend=0.0)


def _alike(series: Sequence[_Daily]) -> dict[str, float]:
    """Return mean correlation and effective number of series; {} of fewer than two that vary."""
    varying = [(days, values) for days, values in series if len(values) > 1 and np.ptp(values) > 0.0]
    found = [_correlation(one, other) for one, other in combinations(varying, 2)]
    known = [value for value in found if not math.isnan(value)]
    if not known:
        return {}
    mean, count = math.fsum(known) / len(known), len(varying)
    return {"correlation": mean, "effective": count / (1.0 + (count - 1) * max(mean, 0.0))}


def _correlation(one: _Daily, other: _Daily) -> float:
    """Return the correlation over the days that both have; NaN if it is not defined."""
    _, here, there = np.intersect1d(one[0], other[0], assume_unique=True, return_indices=True)
    first, second = one[1][here], other[1][there]
    if len(first) < 2 or not np.ptp(first) > 0.0 or not np.ptp(second) > 0.0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])
