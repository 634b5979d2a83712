"""The order journal: every order is on the disk before it is sent.

If the process dies between an order and its answer, the next session finds the order's id here and queries it. One
numbered JSON object a line; records that a saved state includes are dropped once the file is large.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gridv4_bt.live.state import sync_folder

NAME = "journal.jsonl"
_COMPACT_BYTES = 1_000_000


class Journal:
    """The journal of one bot: append-only records with increasing numbers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        #: records of previous sessions, in order, without an incomplete last line
        self.before = list(_records(self._path))
        self.last = self.before[-1]["n"] if self.before else 0  #: number of the newest record
        self._rewrite(self.before)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records and flush them to the disk."""
        for record in records:
            self.last += 1
            self._file.write(json.dumps({"n": self.last} | record, separators=(",", ":")) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def forget_until(self, number: int) -> None:
        """Drop the records up to a number, if the file is large."""
        if self._path.stat().st_size < _COMPACT_BYTES:
            return
        self._file.close()
        self._rewrite(record for record in _records(self._path) if record["n"] > number)
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rewrite(self, records: Iterable[dict[str, Any]]) -> None:
        draft = self._path.with_suffix(".tmp")
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._path)
        sync_folder(self._folder)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return
