"""Finer candles inside the bars of a feed."""

from __future__ import annotations

import numpy as np

from feeds.tables import CandleTable, DetailTable, MarkTable
from gridv4_bt.core.time import MINUTE_MS, iso
from gridv4_bt.engine.book import Bar
from gridv4_bt.errors import DataError


class Detail:
    """The finer candles of each of the `wanted` bars that is wholly covered by them and agrees with them.

    Attributes
    ----------
    covered: number of bars that have their finer candles
    torn: number of bars of which some finer candles are missing
    differing: number of bars whose open, high, low or close is another than that of their finer candles
    first_difference: open time of the first of these, ms; None without any
    """

    def __init__(
        self, candles: CandleTable, wanted: slice, table: DetailTable, mark: MarkTable | None, label: str
    ) -> None:
        if candles.interval_ms % table.interval_ms or table.interval_ms == candles.interval_ms:
            raise DataError(
                f"{label}: the detail has candles of {table.interval_ms // MINUTE_MS}m, which do not divide bars of "
                f"{candles.interval_ms // MINUTE_MS}m. Give finer ones, such as 1m."
            )
        self._table = table
        self._per_bar = candles.interval_ms // table.interval_ms
        time = candles.time[wanted]
        first = table.time.searchsorted(time)
        present = table.time.searchsorted(time + candles.interval_ms) - first
        whole = present == self._per_bar
        if not whole.any():
            raise DataError(f"{label}: the detail covers none of the bars wholly. Give finer candles of the same time.")
        first = first[whole]
        starts = np.arange(len(first)) * self._per_bar
        rows = (first[:, None] + np.arange(self._per_bar)).ravel()
        agrees = (
            (table.open[first] == candles.open[wanted][whole])
            & (np.maximum.reduceat(table.high[rows], starts) == candles.high[wanted][whole])
            & (np.minimum.reduceat(table.low[rows], starts) == candles.low[wanted][whole])
            & (table.close[first + self._per_bar - 1] == candles.close[wanted][whole])
        )
        times = time[whole]
        self._first = dict(zip(times[agrees].tolist(), first[agrees].tolist(), strict=True))
        self.covered = len(self._first)
        self.torn = int(((present > 0) & ~whole).sum())
        self.differing = int((~agrees).sum())
        self.first_difference = int(times[~agrees][0]) if self.differing else None
        if not self.covered:
            raise DataError(
                f"{label}: every bar differs from its detail, the first at {iso(self.first_difference)}. "
                "Give the finer candles of the same market."
            )
        self.has_mark = mark is not None and table.interval_ms % mark.interval_ms == 0
        if self.has_mark:
            self._mark_low, self._mark_high = _extremes(table, mark)

    def inside(self, time_ms: int) -> list[Bar]:
        """Return the finer bars of the bar that opens at a time, none if they are not known."""
        first = self._first.get(time_ms)
        if first is None:
            return []
        table = self._table
        rows = slice(first, first + self._per_bar)
        columns = (table.time, table.open, table.high, table.low, table.close, table.volume)
        bars = [
            Bar(*row, mark_low=row[3], mark_high=row[2], mark_close=row[4])
            for row in zip(*(column[rows].tolist() for column in columns), strict=True)
        ]
        if self.has_mark:
            marks = zip(self._mark_low[rows].tolist(), self._mark_high[rows].tolist(), strict=True)
            for bar, (low, high) in zip(bars, marks, strict=True):
                if low == low and high == high:  # a gap of the mark leaves the last prices in force
                    bar.mark_low, bar.mark_high = low, high
        return bars


def _extremes(table: DetailTable, mark: MarkTable) -> tuple[np.ndarray, np.ndarray]:
    """Return lowest and highest mark price within each finer candle, NaN for those without one."""
    row = table.time.searchsorted(mark.time, side="right") - 1
    inside = (row >= 0) & (mark.time - table.time[np.maximum(row, 0)] < table.interval_ms)
    low, high = np.full((2, len(table.time)), np.nan)
    np.fmin.at(low, row[inside], mark.low[inside])
    np.fmax.at(high, row[inside], mark.high[inside])
    return low, high
