"""Where the lines of one kind are in a bot's growing record, so that a page of many can be opened at once."""

import gzip
import json
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class LineIndex:
    """The lines that hold a mark, in files that grow and are archived.

    Parameters
    ----------
    files : returns the files, oldest first; those before the last one do not change any more.
    mark : bytes that the wanted lines hold.
    """

    def __init__(self, files: Callable[[], Sequence[Path]], mark: bytes) -> None:
        self._files = files
        self._mark = mark
        self._guard = threading.Lock()
        self._starts: dict[str, array[int]] = {}  # of the lines, by the file's name without its ending
        self._read: dict[str, int] = {}  # bytes of each file that are indexed

    def count(self) -> int:
        """Return how many lines there are."""
        with self._guard:
            return sum(len(self._take(path)) for path in self._files())

    def page(self, first: int, count: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many lines there are, and some of them newest first, from the `first` newest on."""
        with self._guard:
            files = self._files()
            starts = [self._take(path) for path in files]
            total = sum(map(len, starts))
            found: list[dict[str, Any]] = []
            skipped = 0
            for path, own in zip(reversed(files), reversed(starts), strict=True):
                wanted = [own[i] for i in range(len(own) - 1 - max(first - skipped, 0), -1, -1)]
                skipped += len(own)
                wanted = wanted[: count - len(found)]
                if wanted:
                    found += _lines_at(path, wanted)
                if len(found) >= count:
                    break
            return total, found

    def _take(self, path: Path) -> "array[int]":
        """Index what is new in a file."""
        key = "" if path.name == "orders.jsonl" else path.name.partition(".")[0]
        starts = self._starts.setdefault(key, array("q"))
        begin = self._read.get(key, 0)
        try:
            if path.suffix == ".gz":
                if key in self._read:
                    return starts
                data = gzip.decompress(path.read_bytes())
            else:
                if path.stat().st_size < begin:  # the file is another one: what was in it is archived
                    del starts[:]
                    begin = 0
                with path.open("rb") as file:
                    file.seek(begin)
                    data = file.read()
        except OSError:
            return starts
        end = data.rfind(b"\n") + 1
        at = data.find(self._mark, 0, end)
        while at >= 0:
            starts.append(begin + data.rfind(b"\n", 0, at) + 1)
            at = data.find(self._mark, data.find(b"\n", at), end)
        self._read[key] = begin + end
        return starts


def _lines_at(path: Path, starts: Sequence[int]) -> list[dict[str, Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read() if path.suffix == ".gz" else b""
        found = []
        for start in starts:
            if data:
                line = data[start : data.find(b"\n", start)]
            else:
                file.seek(start)
                line = file.readline()
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
