"""Times as people write them: numbers of s, ms, µs or ns since 1970, or texts; all become ms UTC."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feeds.source_columns import Column, array_of, as_series, is_arrow, is_text, number_array, whole_numbers
from gridv4_bt.core.time import HOUR_MS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_EARLIEST_MS = 1_230_768_000_000  # 2009-01-01: no crypto market is older
_LATEST_MS = 4_102_444_800_000  # 2100-01-01
#: Milliseconds of a unit; so far apart that the size of a number tells its unit.
_UNITS = {"s": 1e3, "ms": 1.0, "µs": 1e-3, "ns": 1e-6}
_ZONE = re.compile(r"(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}(?::?\d{2})?)\s*$")
_UTC = re.compile(r"\s*(?:UTC|GMT)(?:[+-]0+:?0*)?$")
_NUMBER = re.compile(r"\s*[-+]?[\d.,' ]*\d(?:\.?)(?:[eE][-+]?\d+)?\s*")
#: Beside ISO 8601; the day's place is told by the days beyond 12, or by which of both gives even steps.
_DAYS = ("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y")
_CLOCKS = (" %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "")
_FORMATS = (
    *(day + clock for day in _DAYS for clock in _CLOCKS),
    "%Y-%m-%d %I-%p", "%b %d, %Y %H:%M", "%d %b %Y %H:%M", "%Y%m%d %H:%M:%S", "%Y%m%d %H%M%S", "%Y%m%d",
)  # fmt: skip
_CURE = (
    "Write times as ISO 8601 text in UTC or as integer milliseconds since 1970 (seconds, microseconds and nanoseconds "
    "are told by their size)."
)
_NO_DATA = "Delete the row if it is no data, such as a repeated header or a total; else download the file again."
#: What a spreadsheet shows of a time whose day and hour it has dropped.
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?([.,]\d+)?")
_SHOWN = {"%Y": "YYYY", "%m": "MM", "%d": "DD", "%H": "hh", "%I": "hh", "%M": "mm", "%S": "ss", "%f": "ffffff",
          "%p": "AM/PM", "%b": "Mon"}  # fmt: skip
#: Most rows of which is asked whether they are numbers or texts.
_SAMPLE = 1_000
#: Clocks are put forward and back on a Sunday before 4 o'clock in these months.
_CLOCK_MONTHS, _CLOCK_HOURS = (3, 4, 9, 10, 11), 4
#: ISO 8601 as nearly all files have it; whatever else it allows is left to pandas.
_ISO, _ISO_UTC = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|\+00:00)?$", r"(Z|\+00:00)$"


@dataclass(frozen=True)
class Times:
    """Times read, and what was understood."""

    #: int64 ms UTC
    ms: np.ndarray
    #: "ms", "s and ms", "ISO 8601 with a zone", ...
    unit: str
    #: no zone was written: they were taken as UTC
    naive: bool = False


class BadTime(Exception):
    """A time that cannot be read: its row, the reason and the cure."""

    def __init__(self, row: int, reason: str, cure: str = _CURE) -> None:
        super().__init__(reason)
        self.row, self.reason, self.cure = row, reason, cure


def read_times(column: Column) -> Times:
    """Return a column of times.

    Raises
    ------
    BadTime
        One is no time, or all of them may be read in two ways.
    """
    numbers = whole_numbers(column)
    if numbers is None:
        numbers = number_array(column, copy=False)
    if numbers is not None:
        return _of_numbers(numbers)
    if is_arrow(column) and (found := _of_arrow(column)) is not None:
        return found
    import pandas as pd

    series = as_series(column)
    if pd.api.types.is_bool_dtype(series):
        raise BadTime(0, "is no time")
    if pd.api.types.is_datetime64_any_dtype(series):
        return _of_moments(_utc(pd.to_datetime(series, utc=True)), "datetime", series.dt.tz is None)
    texts = series.astype(object)
    sample = texts.iloc[:: max(len(texts) // _SAMPLE, 1)]
    numeric = [isinstance(text, int | float) or _NUMBER.fullmatch(text) is not None
               for text in sample if isinstance(text, str | int | float)]  # fmt: skip
    if sum(numeric) * 2 > len(sample):
        return _of_number_texts(texts)
    return _of_texts(texts)


def _of_arrow(column: pa.ChunkedArray) -> Times | None:
    """Return times of Arrow, and texts like 2024-01-01T00:00:00Z; None for any other column."""
    import pyarrow as pa

    if column.null_count:
        return None
    if pa.types.is_timestamp(column.type):
        moment = array_of(column.cast(pa.int64())).view(f"datetime64[{column.type.unit}]")
        return _of_moments(moment, "datetime", column.type.tz is None)
    if not is_text(column.type):
        return None
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(column, _ISO)).as_py():
        return None
    try:
        moments = pc.replace_substring_regex(column, _ISO_UTC, "").cast(pa.timestamp("ms"))
    except pa.ArrowInvalid:  # the 31st of February
        return None
    time = array_of(moments.cast(pa.int64()))
    if not ((time >= _EARLIEST_MS) & (time < _LATEST_MS)).all():
        return None
    return Times(time, "ISO 8601", not any(_ZONE.search(str(column[row])) for row in (0, -1)))


def _of_numbers(number: np.ndarray) -> Times:
    if number.dtype.kind != "i":
        number = number.astype(np.float64, copy=False)
        _refuse(~np.isfinite(number), "is missing", _NO_DATA)
    if len(number) and (number >= _EARLIEST_MS).all() and (number < _LATEST_MS).all():  # the usual case
        return Times(number.astype(np.int64), "ms")
    time, units, known = np.zeros(len(number), np.int64), [], np.zeros(len(number), bool)
    for unit, factor in _UNITS.items():
        inside = (number >= _EARLIEST_MS / factor) & (number < _LATEST_MS / factor)
        if inside.any():
            units.append(unit)
            known |= inside
            part = number[inside]
            # Whole numbers are divided as such: a float holds no 19 digits.
            time[inside] = part // round(1 / factor) if factor < 1.0 else np.rint(part * factor).astype(np.int64)
    if not known.all():
        _refuse_number(number, known)
    return Times(time, " and ".join(units))


def _refuse_number(number: np.ndarray, known: np.ndarray) -> None:
    row = int((~known).argmax())
    value = float(number[row])
    calendar = _of_calendar(number) if not known.any() else None
    if calendar is not None:
        raise BadTime(0, "is a date written as one number", "Write it as 2024-01-31T12:15:00Z.")
    if 36_000 <= value <= 80_000:
        raise BadTime(
            row,
            "is a spreadsheet's number of days",
            "Format the column as text like 2024-01-31 12:15, and save it again.",
        )
    raise BadTime(row, "is no plausible number of ms since 1970, nor of s, µs or ns")


def _of_calendar(number: np.ndarray) -> str | None:
    text = f"{number[0]:.0f}"
    return text if re.fullmatch(r"20\d{2}[01]\d[0-3]\d(\d{4}(\d{2})?)?", text) else None


def _of_number_texts(texts: pd.Series) -> Times:
    """Return numbers among which some are none; those are named, not their neighbours."""
    values = []
    for row, text in enumerate(texts):
        if not isinstance(text, str | int | float):
            raise BadTime(row, "is missing", _NO_DATA)
        words = str(text)
        if _NUMBER.fullmatch(words) is None:
            raise BadTime(row, "is no number like the others", _NO_DATA)
        mantissa, exponent, _ = words.lower().partition("e")
        if exponent and len(re.sub(r"\D", "", mantissa)) < 10:
            raise BadTime(
                row, "has lost its last digits in a spreadsheet",
                "Download the file again, and do not save it there; or format the column as a number before.",
            )  # fmt: skip
        values.append(re.sub(r"[' ]|,(?=\d{3})|\.(?=\d{3}(?:\.|$))", "", words.strip()))
        if re.fullmatch(r"[+-]?\d+\.?\d*(e[+-]?\d+)?", values[-1], re.IGNORECASE) is None:  # 1.5.5
            raise BadTime(row, "is no number like the others", _NO_DATA)
    whole = all(value.lstrip("+-").isdigit() and len(value) < 20 for value in values)
    return _of_numbers(np.array(list(map(int if whole else float, values))))


def _of_texts(texts: pd.Series) -> Times:
    moment, form = _parsed(texts, "ISO8601"), "ISO 8601"
    if moment.isna().any():  # 2024-01-01 00:00:00 UTC, or blanks around it
        bare = texts.map(lambda text: _UTC.sub("", text.strip()) if isinstance(text, str) else text)
        moment = moment.where(moment.notna(), _parsed(bare, "ISO8601"))
        if moment.isna().mean() > 0.5 and (found := _by_format(bare)) is not None:
            moment, form = found
    if (bad := moment.isna().to_numpy()).any():
        _refuse_text(texts, int(bad.argmax()), form)
    zoned = [_ZONE.search(str(text)) is not None for text in (texts.iloc[0], texts.iloc[-1])]
    return _of_moments(_utc(moment), form, not any(zoned))


def _refuse_text(texts: pd.Series, row: int, form: str) -> None:
    text = texts.iloc[row]
    if not isinstance(text, str) or not text.strip():
        raise BadTime(row, "is missing", _NO_DATA)
    if _CLOCK.fullmatch(text.strip()):
        raise BadTime(
            row, "has lost its day in a spreadsheet",
            "Download the file again, and do not save it there; a column of days beside it must be named date.",
        )  # fmt: skip
    if not any(letter.isdigit() for letter in text):
        raise BadTime(row, "is no time", _NO_DATA)
    raise BadTime(row, "is no ISO 8601 time" if form == "ISO 8601" else f"is no time like the others ({form})")


def _shown(form: str) -> str:
    """Return a format as people write it: DD.MM.YYYY hh:mm."""
    return re.sub(r"%\w", lambda match: _SHOWN[match[0]], form)


def _parsed(texts: pd.Series, form: str) -> pd.Series:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' advice on formats
        try:
            return pd.to_datetime(texts, utc=True, errors="coerce", format=form)
        except (ValueError, OverflowError, TypeError):
            return pd.Series(pd.NaT, index=texts.index, dtype="datetime64[ns, UTC]")


def _by_format(texts: pd.Series) -> tuple[pd.Series, str] | None:
    """Return the times by the one format that reads most of them; of two, the one that gives even steps."""
    sample = texts.iloc[:: max(len(texts) // 50, 1)]
    likely = [form for form in _FORMATS if _parsed(sample, form).notna().mean() > 0.8]
    found = {form: _parsed(texts, form) for form in likely}
    if not found:
        return None
    most = max(int(moment.notna().sum()) for moment in found.values())
    found = {form: moment for form, moment in found.items() if moment.notna().sum() == most}
    if len(found) > 1:
        found = {form: moment for form, moment in found.items() if _steps(moment) == min(map(_steps, found.values()))}
    if len(found) > 1:
        forms = " or ".join(map(_shown, found))
        raise BadTime(0, f"may be {forms}: day and month cannot be told apart", "Write times as 2024-01-31 12:15.")
    [(form, moment)] = found.items()
    return moment, _shown(form)


def _steps(moment: pd.Series) -> int:
    """Return how many different steps there are from one time to the next."""
    return int(moment.diff().abs().nunique())


def _utc(moment: pd.Series) -> np.ndarray:
    """Return UTC times as numpy has them."""
    return moment.dt.tz_localize(None).to_numpy()


def _of_moments(moment: np.ndarray, unit: str, naive: bool) -> Times:
    _refuse(np.isnat(moment), "is missing", _NO_DATA)
    time = moment.astype("datetime64[ms]").astype(np.int64)
    _refuse(~((time >= _EARLIEST_MS) & (time < _LATEST_MS)), "is not between 2009 and 2100")
    return Times(time, unit, naive)


def _refuse(bad: np.ndarray, reason: str, cure: str = _CURE) -> None:
    if bad.any():
        raise BadTime(int(bad.argmax()), reason, cure)


def put_back(time: np.ndarray, usual: int) -> int | None:
    """Return the first row before which times without a zone jump as clocks do that are put back an hour."""
    jumps = np.diff(time) == usual - HOUR_MS
    if usual == HOUR_MS:  # the hour comes twice, as any repeated row does
        jumps &= _when_clocks_change(time[1:])
    return int(jumps.argmax()) + 1 if usual <= HOUR_MS and jumps.any() else None


def put_forward(time: np.ndarray, usual: int) -> int | None:
    """Return the first row before which times without a zone lack the hour that clocks leave out."""
    jumps = (np.diff(time) == usual + HOUR_MS) & _when_clocks_change(time[1:])
    return int(jumps.argmax()) + 1 if usual <= HOUR_MS and jumps.any() else None


def _when_clocks_change(time: np.ndarray) -> np.ndarray:
    moment = time.astype("datetime64[ms]")
    day = moment.astype("datetime64[D]")
    is_sunday = (day.astype(np.int64) + 4) % 7 == 0  # 1970 began on a Thursday
    month = moment.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return is_sunday & (moment - day < np.timedelta64(_CLOCK_HOURS, "h")) & np.isin(month, _CLOCK_MONTHS)
