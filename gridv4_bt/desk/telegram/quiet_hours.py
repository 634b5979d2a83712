"""The hours in which only risk is told."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridv4_bt.errors import ConfigError

_FORM = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})(?:\s+(\S+))?")


@dataclass(frozen=True)
class QuietHours:
    """A span of each day, which may go over midnight."""

    begin: time
    end: time  #: no longer in it
    zone: ZoneInfo

    def hold(self, moment: datetime) -> bool:
        """Return whether a moment lies in them; `moment` knows its time zone."""
        now = moment.astimezone(self.zone).time()
        if self.begin <= self.end:
            return self.begin <= now < self.end
        return now >= self.begin or now < self.end


def read_quiet_hours(text: str) -> QuietHours | None:
    """Return the hours of a text such as ``22:00-07:00 Europe/Berlin``, of UTC without a zone; None for an empty one.

    Raises
    ------
    ConfigError
        It is no such text.
    """
    if not text:
        return None
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} are no quiet hours: write them like 22:00-07:00 or 22:00-07:00 Europe/Berlin")
    try:
        begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        return QuietHours(begin, end, ZoneInfo(found[5] or "UTC"))
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise ConfigError(f"{text!r} are no quiet hours: {error}") from None
