"""The equity of a bot over its whole life, read as far as it is new."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK = 262_144  # bytes of the file taken up at a time: all at once, the lines of a year take much memory
_NUMBER = 32  # bytes in which a number and the comma behind it are
_TIME = len("2024-01-31T12:15:00")  # of a row's time without its Z


class Curve:
    """Times and equity of equity.csv, of which only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin_anew()

    def read(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times, ms, and equity, not to be changed; of several symbols the latest row of each time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset - len(self._last))
                if file.read(len(self._last)) != self._last:  # the bot went on from a state before its last rows
                    self._begin_anew()
                file.seek(self._offset)
                while self._take(file.read(_BLOCK)):
                    file.seek(self._offset)
        except OSError:
            pass
        return self._times, self._equity

    def _begin_anew(self) -> None:
        self._offset = 0
        self._last = b""  # the row taken up last
        self._times, self._equity = np.empty(0, np.int64), np.empty(0)

    def _take(self, data: bytes) -> bool:
        """Take up the whole rows of a block; return whether there were any."""
        whole = data[: data.rfind(b"\n") + 1]
        text = np.frombuffer(whole + bytes(_NUMBER), np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        starts = np.append(0, ends[:-1] + 1)[: len(ends)]
        if self._offset == 0:
            starts = starts[1:]  # without the names of the columns
        self._offset += len(whole)
        if len(starts):
            self._last = whole[starts[-1] :]
            times = text[starts[:, None] + np.arange(_TIME)].view(f"S{_TIME}").ravel()
            cells = text[starts[:, None] + _TIME + 2 + np.arange(_NUMBER)]
            cells[np.logical_or.accumulate(cells == ord(","), axis=1)] = 0
            equity = cells.view(f"S{_NUMBER}").ravel().astype(np.float64)
            self._append(times.astype(str).astype("datetime64[ms]").astype(np.int64), equity)
        return bool(whole)

    def _append(self, times: NDArray[np.int64], equity: NDArray[np.float64]) -> None:
        times, equity = np.concatenate((self._times, times)), np.concatenate((self._equity, equity))
        is_latest = np.append(times[1:] != times[:-1], True)
        self._times, self._equity = times[is_latest], equity[is_latest]
