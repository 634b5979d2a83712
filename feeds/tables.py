"""Candles, funding and mark prices from files: read, checked, and handed on as arrays.

A file is either right or refused with a `DataError` that names the file, the row (the first row under
the header is row 1), the time, the reason and the cure. All times are UTC and a bar is named by its
OPEN time; inside the project they are integer milliseconds since the epoch.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from gridv4_bt.core.time import DAY_MS, HOUR_MS, MINUTE_MS, iso
from gridv4_bt.errors import DataError

Source: TypeAlias = "str | Path | pd.DataFrame"

#: Settlements are stamped some milliseconds around the full minute they belong to.
FUNDING_JITTER_MS = 1_000

_UNIT_MS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_EARLIEST_MS = 1_230_768_000_000  # 2009-01-01: no crypto market is older
_LATEST_MS = 4_102_444_800_000  # 2100-01-01
_SHOWN_GAPS = 3


@dataclass(frozen=True, eq=False)
class CandleTable:
    """Checked candles without gaps, one array element a bar."""

    #: symbol-like name, "" when unknown
    name: str
    #: bar length, ms
    interval_ms: int
    #: bar open times, int64 ms UTC, each exactly one interval after the one before
    time: np.ndarray
    #: prices, quote per base, float64
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    #: volume, base, float64
    volume: np.ndarray
    #: how many of the bars are flat zero-volume bars put into gaps
    filled: int = 0

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class DetailTable:
    """Checked candles finer than the bars, one array element a candle; gaps are allowed."""

    #: candle length, ms
    interval_ms: int
    #: candle open times, int64 ms UTC, strictly rising
    time: np.ndarray
    #: prices, quote per base, float64
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    #: volume, base, float64
    volume: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class FundingTable:
    """Checked funding settlements, one array element a settlement."""

    #: settlement times, int64 ms UTC, strictly rising
    time: np.ndarray
    #: rates, fractions of the notional, positive = longs pay
    rate: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class MarkTable:
    """Checked mark price candles, one array element a candle; gaps are allowed."""

    #: candle length, ms
    interval_ms: int
    #: candle open times, int64 ms UTC, strictly rising
    time: np.ndarray
    #: mark prices, quote per base, float64
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


def interval_ms(text: str) -> int:
    """Return the length in ms of an interval such as "1m", "15m", "4h" or "1d"."""
    match = re.fullmatch(r"([1-9]\d*)([mhd])", text)
    if match is None:
        raise DataError(f"interval {text!r} is unknown: use minutes, hours or days like 15m, 4h, 1d")
    return int(match[1]) * _UNIT_MS[match[2]]


def symbol_name(path: str | Path) -> str:
    """Return the symbol of a file: its name before the first "-" or "." (BTCUSDT-15m.parquet: BTCUSDT)."""
    return re.split(r"[-.]", Path(path).name, maxsplit=1)[0]


def read_candles(source: Source, *, interval: str = "15m", gaps: str = "refuse", name: str = "") -> CandleTable:
    """Read and check candles.

    Parameters
    ----------
    source: path of a .csv, .csv.gz or .parquet file, or a DataFrame; columns time (bar open, UTC: ISO
        text, datetimes or integer ms; in a DataFrame also as the index), open, high, low, close, volume
    interval: the bar length the file must have
    gaps: "refuse" them, or fill them with "flat" zero-volume bars at the previous close
    name: symbol; default: the file name before the first "-" or "."

    Raises
    ------
    DataError: the file cannot be trusted
    """
    if gaps not in ("refuse", "flat"):
        raise DataError(f"gaps={gaps!r} is unknown: use 'refuse' or 'flat'")
    length = interval_ms(interval)
    rows = _read_rows(source, ("open", "high", "low", "close", "volume"))
    rows.check_order("Sort the file by time and drop repeated rows.")
    _check_interval(rows, length)
    _check_prices(rows)
    _check_volume(rows)
    missing = np.diff(rows.time) // length - 1
    if gaps == "refuse":
        _refuse_gaps(rows, missing)
    if not name and not isinstance(source, pd.DataFrame):
        name = symbol_name(source)
    if not missing.any():
        return CandleTable(name, length, rows.time, **rows.numbers)
    return _fill_flat(CandleTable(name, length, rows.time, **rows.numbers))


def read_detail(source: Source) -> DetailTable:
    """Read and check candles finer than the bars: columns time, open, high, low, close, volume.

    The interval is the most common difference of the times; gaps are allowed.
    """
    rows = _read_rows(source, ("open", "high", "low", "close", "volume"))
    length = _usual_interval(rows, "finer candles")
    _check_prices(rows)
    _check_volume(rows)
    return DetailTable(length, rows.time, **rows.numbers)


def read_funding(source: Source) -> FundingTable:
    """Read and check funding settlements: columns time and rate (a fraction: 0.0001 is 0.01 %).

    A time within one second of a full minute is moved to that minute: exchanges stamp the settlement
    of 08:00 as 08:00:00.005 or 07:59:59.999, and it must meet the bar that opens at 08:00.
    """
    rows = _read_rows(source, ("rate",))
    rows.time = on_the_minute(rows.time)
    rows.check_order("Sort the file by time and drop repeated settlements.")
    rate = rows.numbers["rate"]
    rows.refuse(
        ~(np.abs(rate) < 1),
        lambda row: f"rate {rows.raw('rate', row)} is not a number between -1 and 1",
        "Rates are fractions: 0.01 % is 0.0001.",
    )
    return FundingTable(rows.time, rate)


def read_mark(source: Source) -> MarkTable:
    """Read and check mark price candles: columns time, open, high, low, close.

    The interval is the most common difference of the times and may be coarser than the bars.
    """
    rows = _read_rows(source, ("open", "high", "low", "close"))
    length = _usual_interval(rows, "mark candles")
    _check_prices(rows)
    return MarkTable(length, rows.time, **rows.numbers)


class _Rows:
    """The columns of one source under check, and the errors that name their bad rows."""

    def __init__(self, where: str, frame: pd.DataFrame, fields: tuple[str, ...]) -> None:
        self.where = where
        self._frame = frame
        self.time = self._read_time()
        self.numbers = {field: self._read_floats(field) for field in fields}

    def raw(self, column: str, row: int) -> str:
        """Return a cell of the source as text."""
        return str(self._frame[column].iloc[row])

    def refuse(self, bad: np.ndarray, reason: Callable[[int], str], cure: str) -> None:
        """Raise for the first row where `bad` is true; `reason` words it for that row."""
        if not bad.any():
            return
        row = int(bad.argmax())
        others = int(bad.sum()) - 1
        more = f" (and {others} more such rows)" if others else ""
        raise DataError(f"{self.where}: row {row + 1}, {iso(self.time[row])}: {reason(row)}{more}. {cure}")

    def check_order(self, cure: str) -> None:
        """Refuse times that do not rise from row to row."""
        step = np.diff(self.time, prepend=self.time[0] - 1)
        self.refuse(
            step <= 0,
            lambda row: "the same time as the row before" if step[row] == 0 else "earlier than the row before",
            cure,
        )

    def _read_floats(self, field: str) -> np.ndarray:
        column = self._frame[field]
        if not pd.api.types.is_numeric_dtype(column):
            column = pd.to_numeric(column, errors="coerce")
        return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)

    def _read_time(self) -> np.ndarray:
        column = self._frame["time"]
        if pd.api.types.is_numeric_dtype(column):
            number = column.to_numpy(dtype=np.float64, na_value=np.nan)
            self._refuse_time(~np.isfinite(number), "is missing")
            self._refuse_time(~((number >= _EARLIEST_MS) & (number < _LATEST_MS)), "is no plausible number of ms")
            return number.astype(np.int64)
        moment = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
        self._refuse_time(moment.isna().to_numpy(), "is no ISO 8601 time")
        time = moment.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
        self._refuse_time(~((time >= _EARLIEST_MS) & (time < _LATEST_MS)), "is not between 2009 and 2100")
        return time

    def _refuse_time(self, bad: np.ndarray, reason: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"{self.where}: row {row + 1}: time {self.raw('time', row)!r} {reason}. Write times as ISO 8601 "
                "text in UTC or as integer milliseconds since 1970 (seconds x 1000)."
            )


def _read_rows(source: Source, fields: tuple[str, ...]) -> _Rows:
    """Read the columns time and `fields` of a source; times and numbers parsed, nothing else checked."""
    where, frame = _read_frame(source)
    if "time" not in frame.columns and frame.index.name == "time":
        frame = frame.reset_index()
    wanted = ("time", *fields)
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise DataError(
            f"{where}: column {', '.join(missing)} is missing (found: {found}). "
            f"The first line must name the columns {','.join(wanted)}."
        )
    frame = frame[list(wanted)]
    if len(frame.columns) > len(wanted):
        raise DataError(f"{where}: a column occurs twice. Keep one each of {','.join(wanted)}.")
    if frame.empty:
        raise DataError(f"{where}: no rows. Download the file again.")
    return _Rows(where, frame, fields)


def _read_frame(source: Source) -> tuple[str, pd.DataFrame]:
    """Return the name of a source for messages, and its content."""
    if isinstance(source, pd.DataFrame):
        return "DataFrame", source
    if not isinstance(source, str | Path):
        raise DataError(f"a {type(source).__name__} is no data source: give a path or a DataFrame")
    path = Path(source)
    where = str(path)
    if not path.is_file():
        raise DataError(f"{where}: no such file. Check the path.")
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            return where, pd.read_csv(path)
        if path.suffix == ".parquet":
            return where, pd.read_parquet(path)
    except pd.errors.EmptyDataError:
        raise DataError(f"{where}: the file is empty. Download it again.") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{where}: cannot be read ({reason}). The file is damaged: download it again.") from error
    raise DataError(f"{where}: unknown kind of file. Give .csv, .csv.gz or .parquet.")


def _check_interval(rows: _Rows, length: int) -> None:
    """Refuse rows that are mostly another interval, or times that are not multiples of it."""
    steps = np.diff(rows.time)
    if len(steps) and not (steps == length).all():
        usual = most_common(steps)
        if usual != length:
            raise DataError(
                f"{rows.where}: row 2, {iso(rows.time[1])}: looks like {_interval_text(usual)} candles, expected are "
                f"{_interval_text(length)}. Give {_interval_text(length)} candles or say which interval they have."
            )
    rows.refuse(
        rows.time % length != 0,
        lambda row: f"not on the {_interval_text(length)} grid",
        "A bar's time is its open in UTC: convert close times and local times.",
    )


def _usual_interval(rows: _Rows, what: str) -> int:
    """Return the most common difference of the times; refuse times that do not rise or are off its grid."""
    rows.check_order("Sort the file by time and drop repeated rows.")
    if len(rows.time) < 2:
        raise DataError(f"{rows.where}: one row does not show its interval. Give at least two {what}.")
    length = most_common(np.diff(rows.time))
    _check_interval(rows, length)
    return length


def _check_volume(rows: _Rows) -> None:
    """Refuse volumes that are no numbers of 0 or more."""
    volume = rows.numbers["volume"]
    rows.refuse(
        ~(np.isfinite(volume) & (volume >= 0)),
        lambda row: f"volume {rows.raw('volume', row)} is not a number of 0 or more",
        "Download the row again.",
    )


def _check_prices(rows: _Rows) -> None:
    """Refuse prices that are no positive numbers, and candles whose open or close is not inside."""
    for field in ("open", "high", "low", "close"):
        price = rows.numbers[field]
        rows.refuse(
            ~(np.isfinite(price) & (price > 0)),
            lambda row, field=field: f"{field} {rows.raw(field, row)} is not a positive number",
            "Download the row again.",
        )
    low, high = rows.numbers["low"], rows.numbers["high"]
    rows.refuse(high < low, lambda row: f"high {high[row]} is below low {low[row]}", "Check the order of the columns.")
    for field in ("open", "close"):
        price = rows.numbers[field]
        rows.refuse(
            (price < low) | (price > high),
            lambda row, field=field, price=price: f"{field} {price[row]} is outside low {low[row]} to high {high[row]}",
            "Check the order of the columns.",
        )


def _refuse_gaps(rows: _Rows, missing: np.ndarray) -> None:
    """Refuse missing bars; `missing[i]` counts those between row i and row i + 1 (from 0)."""
    gaps = np.flatnonzero(missing)
    if not len(gaps):
        return
    shown = "; ".join(
        f"{iso(rows.time[gap])} to {iso(rows.time[gap + 1])} ({missing[gap]} missing)" for gap in gaps[:_SHOWN_GAPS]
    )
    more = f"; and {len(gaps) - _SHOWN_GAPS} more" if len(gaps) > _SHOWN_GAPS else ""
    raise DataError(
        f"{rows.where}: row {gaps[0] + 2}, {iso(rows.time[gaps[0] + 1])}: {len(gaps)} gap(s), {missing.sum()} bars "
        f"missing: {shown}{more}. Download the missing bars, or fill them flat with gaps='flat' (--gaps flat)."
    )


def _fill_flat(table: CandleTable) -> CandleTable:
    """Put flat zero-volume bars at the previous close into the gaps."""
    step = table.interval_ms
    time = np.arange(table.time[0], table.time[-1] + step, step)
    source = table.time.searchsorted(time, side="right") - 1
    is_new = table.time[source] != time
    close = table.close[source]
    prices = {field: np.where(is_new, close, getattr(table, field)[source]) for field in ("open", "high", "low")}
    volume = np.where(is_new, 0.0, table.volume[source])
    return CandleTable(table.name, step, time, close=close, volume=volume, filled=int(is_new.sum()), **prices)


def most_common(steps: np.ndarray) -> int:
    """Return the most frequent of some differences of times, ms; the smallest one of a tie."""
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _interval_text(length_ms: int) -> str:
    for unit in ("d", "h", "m"):
        if length_ms % _UNIT_MS[unit] == 0:
            return f"{length_ms // _UNIT_MS[unit]}{unit}"
    return f"{length_ms / 1000:g}s"


def on_the_minute(settled: np.ndarray) -> np.ndarray:
    """Return settlement times, ms, those within `FUNDING_JITTER_MS` of a full minute moved to it."""
    minute = (settled + MINUTE_MS // 2) // MINUTE_MS * MINUTE_MS
    return np.where(np.abs(settled - minute) <= FUNDING_JITTER_MS, minute, settled)
