"""Candles and funding as a session has received them, in candles-SYMBOL.csv and funding-SYMBOL.csv.

A file with damaged lines is copied aside and goes on without them; the candles that this concerns are received again
and written where they belong.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from feeds.live import ClosedCandle
from gridv4_bt.core.time import BAR_MS, iso, time_ms
from gridv4_bt.live.private_files import private
from gridv4_bt.live.state import keep_damaged

_CANDLE_COLUMNS = ("time", "open", "high", "low", "close", "volume")
_FUNDING_COLUMNS = ("time", "rate", "mark")
_Known = tuple[int, int, tuple[float, ...]]  # number of the line, time (ms), numbers
_Rows = dict[int, tuple[float, ...]]  # numbers by time, ms


class _Gap(NamedTuple):
    """Lines that are lost, between two times (ms) that are known."""

    after: float
    before: float


class ReceivedSeries:
    """The two files of one symbol.

    Parameters
    ----------
    notice : called with a message for a person for each file that is set aside.
    """

    def __init__(self, folder: Path, symbol: str, notice: Callable[[str], None]) -> None:
        self._candles = _SeriesFile(folder / f"candles-{symbol}.csv", _CANDLE_COLUMNS, _is_candle, notice)
        self._funding = _SeriesFile(folder / f"funding-{symbol}.csv", _FUNDING_COLUMNS, _is_settlement, notice)
        rows = self._candles.rows
        self._newest = max(rows, default=-1)
        self._again = {time for gap in self._candles.gaps for time in _between(gap)}  # to be received again
        self._again |= {time for gap in self._funding.gaps for time in rows if gap.after < time < gap.before}
        #: received in previous sessions
        self.before = [
            ClosedCandle(time, *row, *self._funding.rows.get(time, ()))
            for time, row in rows.items()
            if time not in self._again
        ]
        self._candles.rows, self._funding.rows = {}, {}

    def add(self, candle: ClosedCandle) -> None:
        """Write a received candle, unless it is in the files already."""
        if candle.time > self._newest:
            self._newest = candle.time
            write = _SeriesFile.append
        elif candle.time in self._again:
            self._again.discard(candle.time)
            write = _SeriesFile.insert
        else:
            return
        write(self._candles, candle.time, candle[1:6])
        if not math.isnan(candle.funding):
            write(self._funding, candle.time, candle[6:])

    def close(self) -> None:
        """Close the files."""
        self._candles.close()
        self._funding.close()


class _SeriesFile:
    """One file: a line for each time, oldest first."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        is_sound: Callable[[int, Sequence[float]], bool],
        notice: Callable[[str], None],
    ) -> None:
        self._path = path
        self._columns = columns
        self._is_sound = is_sound
        self._file: Any = None
        self.rows: _Rows = {}
        self.gaps: list[_Gap] = []
        if path.exists():
            lost, is_cut = self._read(path.read_bytes())
            if lost:
                aside = keep_damaged(path)
                notice(
                    f"{path.name} has {lost} damaged lines; it is set aside as {aside.name}, they are received again"
                )
            if lost or is_cut:
                self._rewrite()

    def append(self, time: int, numbers: Iterable[float]) -> None:
        """Add the newest line."""
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8", newline="", opener=private)  # noqa: SIM115
            if self._file.tell() == 0:
                self._file.write(",".join(self._columns) + "\n")
        self._file.write(_line(time, numbers))
        self._file.flush()

    def insert(self, time: int, numbers: Iterable[float]) -> None:
        """Put a line where it belongs."""
        self.close()
        if self._path.exists():
            self._read(self._path.read_bytes())
        self.rows[time] = tuple(numbers)
        self._rewrite()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self) -> None:
        draft = self._path.with_suffix(".tmp")
        with open(draft, "w", encoding="utf-8", newline="", opener=private) as file:
            file.write(",".join(self._columns) + "\n")
            file.writelines(_line(time, self.rows[time]) for time in sorted(self.rows))
        os.replace(draft, self._path)

    def _read(self, content: bytes) -> tuple[int, bool]:
        """Read rows and gaps; return how many lines are damaged, and whether a crash has cut the last one."""
        header, *lines = content.split(b"\n")
        cut = lines.pop() if lines else header
        known: list[_Known] = []
        second: _Known | None = None  # a line that may be the true first
        for number, line in enumerate(lines):
            row = self._row(line)
            if row is None:
                continue
            time, numbers = row
            found = number, time, numbers
            if len(known) == 1 and time <= known[0][1]:  # one of the first two times is damaged, the third says which
                if second is None or time <= second[1]:
                    second = found
                    continue
                known = [second]
            elif known and time <= known[-1][1]:
                if time <= known[-2][1]:
                    continue
                known.pop()  # the time of the line before is the damaged one
            known.append(found)
        self.rows = {time: numbers for _, time, numbers in known}
        swallowed = len(header) > len(",".join(self._columns))  # with the first line, if its newline is damaged
        places = [(-1 - swallowed, -math.inf), *((number, time) for number, time, _ in known)]
        places.append((len(lines) + bool(cut), math.inf))
        self.gaps = [_Gap(one[1], other[1]) for one, other in pairwise(places) if other[0] - one[0] > 1]
        is_headed = header.decode(errors="replace") == ",".join(self._columns)
        return len(lines) - len(known) + (not is_headed), bool(cut)

    def _row(self, line: bytes) -> tuple[int, tuple[float, ...]] | None:
        try:
            first, *texts = line.decode().split(",")
            time = time_ms(datetime.fromisoformat(first))
            numbers = tuple(float(text or "nan") for text in texts)
        except (ValueError, OverflowError):
            return None
        is_whole = len(numbers) == len(self._columns) - 1 and iso(time) == first
        return (time, numbers) if is_whole and self._is_sound(time, numbers) else None


def _line(time: int, numbers: Iterable[float]) -> str:
    return ",".join([iso(time), *("" if math.isnan(number) else str(number) for number in numbers)]) + "\n"


def _between(gap: _Gap) -> range:
    """Return the open times of the candles lost in a gap; those after the last known one come by themselves."""
    if gap.before == math.inf:
        return range(0)
    after = (
        gap.after if gap.after > -math.inf else gap.before - 3 * BAR_MS
    )  # two lines, if it is the newline between them
    return range(int(after) + BAR_MS, int(gap.before), BAR_MS)


def _is_candle(time: int, numbers: Sequence[float]) -> bool:
    opened, high, low, close, volume = numbers
    is_whole = all(map(math.isfinite, numbers)) and time % BAR_MS == 0
    return is_whole and 0.0 < low <= min(opened, close) <= max(opened, close) <= high and volume >= 0.0


def _is_settlement(time: int, numbers: Sequence[float]) -> bool:
    rate, mark = numbers
    return time % BAR_MS == 0 and abs(rate) < 1.0 and not mark <= 0.0
