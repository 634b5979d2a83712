"""Where the lines of some kinds are in a bot's growing record, so that a page of many can be opened at once."""

import gzip
import json
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

_BLOCK = 262_144  # bytes read at a time


class RecordIndex:
    """The lines of some kinds, in files that grow and are archived; all kinds are found in one reading.

    Parameters
    ----------
    files : returns the files, oldest first; those before the last one do not change any more.
    marks : by kind, bytes that its lines hold and no others.
    """

    def __init__(self, files: Callable[[], Sequence[Path]], marks: Mapping[str, bytes]) -> None:
        self._files = files
        self._marks = marks
        self._guard = threading.Lock()
        self._starts: dict[str, dict[str, array[int]]] = {}  # by file, its name without its ending, and kind
        self._read: dict[str, int] = {}  # bytes of each file that are indexed

    def count(self, kind: str) -> int:
        """Return how many lines of a kind there are."""
        with self._guard:
            return sum(len(self._take(path)[kind]) for path in self._files())

    def page(self, kind: str, first: int, count: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many lines of a kind there are, and some newest first, from the `first` newest on."""
        with self._guard:
            files = self._files()
            starts = [self._take(path)[kind] for path in files]
            found: list[dict[str, Any]] = []
            skipped = 0
            for path, own in zip(reversed(files), reversed(starts), strict=True):
                last = len(own) - max(first - skipped, 0)
                skipped += len(own)
                if last > 0 and len(found) < count:
                    found += _lines_at(path, own[max(last - (count - len(found)), 0) : last])[::-1]
            return skipped, found

    def _take(self, path: Path) -> "dict[str, array[int]]":
        """Index what is new in a file, as far as its lines are whole."""
        key = "" if path.name == "orders.jsonl" else path.name.partition(".")[0]
        starts = self._starts.setdefault(key, {kind: array("q") for kind in self._marks})
        if path.suffix == ".gz" and key in self._read:
            return starts
        with suppress(OSError):
            begin = self._read.get(key, 0)
            if path.suffix != ".gz" and path.stat().st_size < begin:  # another file: what was in it is archived
                for own in starts.values():
                    del own[:]
                begin = 0
            with _opened(path) as file:
                for block in _whole_lines(file, begin):
                    for kind, mark in self._marks.items():
                        starts[kind].extend(begin + start for start in _starts_of(block, mark))
                    begin += len(block)
                    self._read[key] = begin
        return starts


class LineIndex:
    """The lines of one kind.

    Parameters
    ----------
    files, mark : as of a `RecordIndex`.
    """

    def __init__(self, files: Callable[[], Sequence[Path]], mark: bytes) -> None:
        self._record, self._kind = RecordIndex(files, {"": mark}), ""

    @classmethod
    def of(cls, record: RecordIndex, kind: str) -> Self:
        """Return the lines of a kind of a record that others are read of too."""
        found = cls.__new__(cls)
        found._record, found._kind = record, kind
        return found

    def count(self) -> int:
        """Return how many lines there are."""
        return self._record.count(self._kind)

    def page(self, first: int, count: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many lines there are, and some newest first, from the `first` newest on."""
        return self._record.page(self._kind, first, count)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _whole_lines(file: BinaryIO, begin: int) -> Iterator[bytes]:
    """Yield a file from a place on, in parts that end with a line; all at once it would take much memory."""
    file.seek(begin)
    rest = b""
    while data := file.read(_BLOCK):
        data = rest + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        yield data[:end]


def _starts_of(block: bytes, mark: bytes) -> Iterator[int]:
    at = block.find(mark)
    while at >= 0:
        yield block.rfind(b"\n", 0, at) + 1
        at = block.find(mark, block.find(b"\n", at))


def _lines_at(path: Path, starts: Iterable[int]) -> list[dict[str, Any]]:
    """Return the events at some places of a file, in its order."""
    found = []
    with suppress(OSError), _opened(path) as file:
        for start in starts:
            file.seek(start)
            with suppress(ValueError):
                found.append(json.loads(file.readline()))
    return found
