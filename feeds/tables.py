"""Candles, funding and mark prices from files: read, checked, and handed on as arrays.

A file is either right or refused with a `DataError` that names the file, the row (the first row under
the header is row 1), the time, the reason and the cure. All times are UTC and a bar is named by its
OPEN time; inside the project they are integer milliseconds since the epoch. What was understood of a
file (columns, unit, zone, span) stands in its table's `note`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from feeds.layouts import symbol_of
from feeds.rows import Rows, Source
from gridv4_bt.core.time import DAY_MS, HOUR_MS, MINUTE_MS, iso, moment
from gridv4_bt.errors import DataError

#: Settlements are stamped some milliseconds around the full minute they belong to.
FUNDING_JITTER_MS = 1_000

_UNIT_MS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
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
    #: a sentence on what was understood of the file, "" for a data frame
    note: str = ""

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
    #: a sentence on what was understood of the file, "" for a data frame
    note: str = ""

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class FundingTable:
    """Checked funding settlements, one array element a settlement."""

    #: settlement times, int64 ms UTC, strictly rising
    time: np.ndarray
    #: rates, fractions of the notional, positive = longs pay
    rate: np.ndarray
    #: a sentence on what was understood of the file, "" for a data frame
    note: str = ""

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
    #: a sentence on what was understood of the file, "" for a data frame
    note: str = ""

    def __len__(self) -> int:
        return len(self.time)


def interval_ms(text: str) -> int:
    """Return the length in ms of an interval such as "1m", "15m", "4h" or "1d"."""
    match = re.fullmatch(r"([1-9]\d*)([mhd])", text)
    if match is None:
        raise DataError(f"interval {text!r} is unknown: use minutes, hours or days like 15m, 4h, 1d")
    return int(match[1]) * _UNIT_MS[match[2]]


def interval_text(length_ms: int) -> str:
    """Return a length in ms as an interval such as "15m"."""
    for unit in ("d", "h", "m"):
        if length_ms % _UNIT_MS[unit] == 0:
            return f"{length_ms // _UNIT_MS[unit]}{unit}"
    return f"{length_ms / 1000:g}s"


def symbol_name(path: str | Path) -> str:
    """Return the symbol of a file by its name: BTCUSDT-15m.parquet is BTCUSDT; see `feeds.layouts.symbol_of`."""
    return symbol_of(str(path))


def read_candles(
    source: Source, *, interval: str = "15m", gaps: str = "refuse", name: str = "", resample: str = ""
) -> CandleTable:
    """Read and check candles.

    Parameters
    ----------
    source: a DataFrame, or the path of a file, a folder or a pattern of files that belong together: CSV, JSON, Parquet
        or Feather, packed or not; columns time (bar open), open, high, low, close, volume by any of the names in
        `feeds.layouts`, or in the order of Binance's klines without names
    interval: the bar length the file must have
    gaps: "refuse" them, or fill them with "flat" zero-volume bars at the previous close
    name: symbol; default: from the file's name
    resample: bar length to make of finer candles, such as "15m"; the file may then have any interval that divides it

    Raises
    ------
    DataError: the file cannot be trusted
    """
    if gaps not in ("refuse", "flat"):
        raise DataError(f"gaps={gaps!r} is unknown: use 'refuse' or 'flat'")
    length = interval_ms(interval)
    rows = Rows(source, "candles", ("open", "high", "low", "close", "volume"), resample or interval)
    rows.check_order("Sort the file by time and drop repeated rows.")
    if resample:
        length = _finer_interval(rows, resample)
    _check_interval(rows, length)
    _check_prices(rows)
    _check_volume(rows)
    missing = np.diff(rows.time) // length - 1
    if missing.any():
        _refuse_lost_hour(rows, length)
    if gaps == "refuse":
        _refuse_gaps(rows, missing)
    if not name and rows.path is not None:
        name = symbol_of(str(rows.path))
    table = CandleTable(name, length, rows.time, **rows.numbers)
    if missing.any():
        table = _fill_flat(table)
    if resample and interval_ms(resample) != length:
        table = _combined(table, interval_ms(resample), rows.where)
    return replace(table, note=_note(rows, name, "candles", table.interval_ms, length))


def read_detail(source: Source) -> DetailTable:
    """Read and check candles finer than the bars: columns time, open, high, low, close, volume.

    The interval is the most common difference of the times; gaps are allowed.
    """
    rows = Rows(source, "detail", ("open", "high", "low", "close", "volume"))
    length = _usual_interval(rows, "finer candles")
    _check_prices(rows)
    _check_volume(rows)
    return DetailTable(length, rows.time, **rows.numbers, note=_note(rows, "", "detail", length, length))


def read_funding(source: Source) -> FundingTable:
    """Read and check funding settlements: columns time and rate (a fraction: 0.0001 is 0.01 %).

    A time within one second of a full minute is moved to that minute: exchanges stamp the settlement
    of 08:00 as 08:00:00.005 or 07:59:59.999, and it must meet the bar that opens at 08:00.
    """
    rows = Rows(source, "funding", ("rate",))
    rows.time = on_the_minute(rows.time)
    rows.check_order("Sort the file by time and drop repeated settlements.")
    rate = rows.numbers["rate"]
    rows.refuse(
        ~(np.abs(rate) < 1),
        lambda row: f"rate {rows.raw('rate', row)} is not a number between -1 and 1",
        "Rates are fractions: 0.01 % is 0.0001.",
    )
    return FundingTable(rows.time, rate, _note(rows, "", "funding", 0, 0))


def read_mark(source: Source) -> MarkTable:
    """Read and check mark price candles: columns time, open, high, low, close.

    The interval is the most common difference of the times and may be coarser than the bars.
    """
    rows = Rows(source, "mark", ("open", "high", "low", "close"))
    length = _usual_interval(rows, "mark candles")
    _check_prices(rows)
    return MarkTable(length, rows.time, **rows.numbers, note=_note(rows, "", "mark", length, length))


def _note(rows: Rows, name: str, kind: str, length: int, own: int) -> str:
    """Return the sentence on what was understood of a file."""
    if rows.path is None:
        return ""
    count = f"{len(rows.time):,} settlements" if not length else f"{len(rows.time):,} of {interval_text(own)}"
    made = f", made into {interval_text(length)}" if length != own else ""
    span = f"{moment(rows.time[0])} to {moment(rows.time[-1])} UTC"
    return f"{name} {kind}: {count}{made}, {span}; {rows.path}: {'; '.join(rows.facts)}".lstrip()


def _check_interval(rows: Rows, length: int) -> None:
    """Refuse rows that are mostly another interval, or times that are not multiples of it."""
    steps = np.diff(rows.time)
    if len(steps) and not (steps == length).all():
        usual = most_common(steps)
        if usual != length:
            wanted, found = interval_text(length), interval_text(usual)
            cure = f"Give {wanted} candles"
            if usual < length and length % usual == 0:
                cure = f"Make {wanted} bars of them with --resample {wanted}"
            raise DataError(
                f"{rows.at(1)}, {iso(rows.time[1])}: looks like {found} candles, expected are {wanted}. {cure}, or "
                f"trade them as they are with --interval {found}."
            )
    rows.refuse(
        rows.time % length != 0,
        lambda row: f"not on the {interval_text(length)} grid",
        "A bar's time is its open in UTC: convert close times and local times.",
    )


def _finer_interval(rows: Rows, resample: str) -> int:
    """Return the interval of candles that are to be combined; refuse one that does not divide the bars."""
    target = interval_ms(resample)
    usual = most_common(np.diff(rows.time)) if len(rows.time) > 1 else target
    if usual > target or target % usual:
        raise DataError(
            f"{rows.where}: {interval_text(usual)} candles do not make {resample} bars. Give finer ones, or --interval "
            f"{interval_text(usual)}."
        )
    return usual


def _combined(table: CandleTable, length: int, where: str) -> CandleTable:
    """Return bars made of finer candles; bars that the candles do not fill at either end are left out."""
    per_bar = length // table.interval_ms
    first = int(-table.time[0] // table.interval_ms % per_bar)
    count = (len(table) - first) // per_bar
    if count < 1:
        raise DataError(f"{where}: the candles fill no {interval_text(length)} bar. Give a longer span.")
    rows = slice(first, first + count * per_bar)
    by_bar = {
        field: getattr(table, field)[rows].reshape(count, per_bar)
        for field in ("time", "open", "high", "low", "close", "volume")
    }
    return replace(
        table,
        interval_ms=length,
        time=by_bar["time"][:, 0].copy(),
        open=by_bar["open"][:, 0].copy(),
        high=by_bar["high"].max(axis=1),
        low=by_bar["low"].min(axis=1),
        close=by_bar["close"][:, -1].copy(),
        volume=by_bar["volume"].sum(axis=1),
    )


def _usual_interval(rows: Rows, what: str) -> int:
    """Return the most common difference of the times; refuse times that do not rise or are off its grid."""
    rows.check_order("Sort the file by time and drop repeated rows.")
    if len(rows.time) < 2:
        raise DataError(f"{rows.where}: one row does not show its interval. Give at least two {what}.")
    length = most_common(np.diff(rows.time))
    _check_interval(rows, length)
    return length


def _check_volume(rows: Rows) -> None:
    """Refuse volumes that are no numbers of 0 or more."""
    volume = rows.numbers["volume"]
    rows.refuse(
        ~(np.isfinite(volume) & (volume >= 0)),
        lambda row: f"volume {rows.raw('volume', row)} is not a number of 0 or more",
        "Download the row again.",
    )


def _check_prices(rows: Rows) -> None:
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


def _refuse_lost_hour(rows: Rows, length: int) -> None:
    """Refuse times without a zone that leave out an hour as clocks do, whether or not gaps may be filled."""
    row = rows.lost_hour(length)
    if row is not None:
        raise DataError(
            f"{rows.at(row)}, {iso(rows.time[row])}: an hour is missing when clocks are put forward: these look like "
            "local times. Export the times in UTC; if they are, write them with their zone (Z)."
        )


def _refuse_gaps(rows: Rows, missing: np.ndarray) -> None:
    """Refuse missing bars; `missing[i]` counts those between row i and row i + 1 (from 0)."""
    gaps = np.flatnonzero(missing)
    if not len(gaps):
        return
    shown = "; ".join(
        f"{iso(rows.time[gap])} to {iso(rows.time[gap + 1])} ({missing[gap]} missing)" for gap in gaps[:_SHOWN_GAPS]
    )
    more = f"; and {len(gaps) - _SHOWN_GAPS} more" if len(gaps) > _SHOWN_GAPS else ""
    raise DataError(
        f"{rows.at(int(gaps[0]) + 1)}, {iso(rows.time[gaps[0] + 1])}: {len(gaps)} gap(s), {missing.sum()} bars "
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


def on_the_minute(settled: np.ndarray) -> np.ndarray:
    """Return settlement times, ms, those within `FUNDING_JITTER_MS` of a full minute moved to it."""
    minute = (settled + MINUTE_MS // 2) // MINUTE_MS * MINUTE_MS
    return np.where(np.abs(settled - minute) <= FUNDING_JITTER_MS, minute, settled)
