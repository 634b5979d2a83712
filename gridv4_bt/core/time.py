"""Bars, days and times as text.

Times are whole milliseconds since 1970-01-01 UTC; a bar is named by its open time.
"""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
BAR_MS = 15 * MINUTE_MS  #: length of a bar of the strategy


def time_ms(moment: date) -> int:
    """Return a time, or the midnight of a day, in ms; a time without a zone is UTC."""
    whole = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
    return round((whole if whole.tzinfo else whole.replace(tzinfo=UTC)).timestamp() * 1000)


def end_ms(last: date) -> int:
    """Return the time, ms, before which the last bar opens; a date includes its whole day."""
    return time_ms(last) + 1 if isinstance(last, datetime) else time_ms(last + timedelta(days=1))


def day_or_time(text: str) -> date:
    """Return the day of a text like 2024-01-31, or the UTC time, without a zone, of one like 2024-01-31T12:00.

    Raises
    ------
    ValueError
        It is neither.
    """
    if len(text) == len("2024-01-31"):
        return date.fromisoformat(text)
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def iso(time_ms: int) -> str:
    """Return a time as ISO 8601 UTC, milliseconds only where they are not 0: 2024-01-31T12:15:00Z."""
    text = str(np.datetime64(int(time_ms), "ms"))
    return text.removesuffix(".000") + "Z"


def iso_seconds(time_ms: float) -> str:
    """Return a time as ISO 8601 UTC to the second."""
    return f"{np.datetime64(int(time_ms), 'ms').astype('datetime64[s]')}Z"


def moment(time_ms: int) -> str:
    """Return a time for display: 2024-01-31 12:15."""
    return iso(time_ms)[:16].replace("T", " ")
