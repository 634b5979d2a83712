"""Candles, mark candles and funding as time series: their columns, months, holes, and invalid rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from feeds.tables import FUNDING_JITTER_MS
from gridv4_bt.core.time import DAY_MS, HOUR_MS, MINUTE_MS, iso

if TYPE_CHECKING:
    import pandas as pd

#: A span in ms: from, inclusive, to, exclusive.
Span = tuple[int, int]

_PRICES = ("open", "high", "low", "close")
_COLUMNS = {"candles": ("time", *_PRICES, "volume"), "mark": ("time", *_PRICES), "funding": ("time", "rate")}
#: No exchange lets more time pass between two settlements.
_LONGEST_PAUSE_MS = 8 * HOUR_MS


class BadRows(ValueError):
    """The rows of an answer or file are invalid or contradict each other."""


@dataclass(frozen=True)
class Series:
    """One kind of data of a symbol."""

    #: candles, mark or funding
    kind: str
    #: candle length, ms; 0 for funding
    step_ms: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, time (ms UTC) first."""
        return _COLUMNS[self.kind]

    @property
    def interval(self) -> str:
        """Candle length as exchanges write it: 15m, 4h, 1d; empty for funding."""
        units = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"))
        return next((f"{self.step_ms // ms}{unit}" for ms, unit in units if self.step_ms and not self.step_ms % ms), "")

    @property
    def name(self) -> str:
        """Name of the folder: candles-15m, mark-15m, funding."""
        return f"{self.kind}-{self.interval}" if self.step_ms else self.kind

    def empty(self) -> pd.DataFrame:
        """Return a table without rows."""
        return self.table(np.empty((0, len(self.columns))))

    def table(self, rows: np.ndarray) -> pd.DataFrame:
        """Return an array of rows as a table: whole milliseconds, and floats."""
        import pandas as pd

        values = {name: np.ascontiguousarray(rows[:, index]) for index, name in enumerate(self.columns)}
        return pd.DataFrame(values | {"time": rows[:, 0].astype(np.int64)})

    def clean(self, rows: pd.DataFrame, span: Span) -> pd.DataFrame:
        """Return the rows of a span in order of time, each once; raises as `clean_array`."""
        return self.table(self.clean_array(rows[list(self.columns)].to_numpy(np.float64), span))

    def clean_array(self, rows: np.ndarray, span: Span) -> np.ndarray:
        """Return the rows of a span in order of time, each once; a column for each of `columns`.

        Raises
        ------
        BadRows
            A value is missing or impossible, or a time comes twice with different values.
        """
        first, end = span
        rows = np.unique(rows[(rows[:, 0] >= first) & (rows[:, 0] < end)], axis=0)
        time, values = rows[:, 0].astype(np.int64), rows[:, 1:]
        self._refuse(time, ~np.isfinite(values).all(axis=1), "lacks a value")
        self._refuse(time[1:], np.diff(time) == 0, "comes twice with different values")
        if self.kind == "funding":
            self._refuse(time, np.abs(values[:, 0]) >= 1.0, "has a rate beyond 100 %")
            return rows
        open_, high, low, close = values[:, :4].T
        self._refuse(time, time % self.step_ms != 0, f"is not on the {self.interval} grid")
        wrong = (low <= 0) | (low > np.minimum(open_, close)) | (high < np.maximum(open_, close))
        self._refuse(time, wrong, "has prices that contradict each other")
        self._refuse(time, (values[:, 4:] < 0).any(axis=1), "has a negative volume")
        return rows

    def missing(self, time: np.ndarray, span: Span) -> list[Span]:
        """Return the spans without rows; of funding, those longer than any pause between settlements."""
        first, end = span
        if end <= first:
            return []
        if self.step_ms:
            edges = np.concatenate(([first - self.step_ms], time, [end]))
            holes = np.flatnonzero(np.diff(edges) > self.step_ms)
            return [(int(edges[hole]) + self.step_ms, int(edges[hole + 1])) for hole in holes]
        edges = np.concatenate(([first], time, [end]))
        holes = np.flatnonzero(np.diff(edges) > _LONGEST_PAUSE_MS + 2 * FUNDING_JITTER_MS)
        return [(int(edges[hole]) + (1 if hole else 0), int(edges[hole + 1])) for hole in holes]

    def _refuse(self, time: np.ndarray, bad: np.ndarray, reason: str) -> None:
        if bad.any():
            raise BadRows(f"{self.name} of {iso(time[int(bad.argmax())])} {reason}")


def month_of(time_ms: int) -> str:
    """Return the UTC month of a time: 2024-01."""
    return iso(time_ms)[:7]


def month_span(month: str) -> Span:
    """Return when a month begins and ends."""
    year, number = map(int, month.split("-"))
    begin, end = datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return round(begin.timestamp() * 1000), round(end.timestamp() * 1000)


def months(span: Span) -> Iterator[str]:
    """Yield the months that a span touches."""
    first, end = span
    while first < end:
        month = month_of(first)
        yield month
        first = month_span(month)[1]
