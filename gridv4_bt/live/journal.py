"""The order journal: every order is on the disk before it is sent.

If the process dies between an order and its answer, the next session finds the order's id here and queries it. One
numbered JSON object a line, with a checksum; records that a saved state includes are dropped once the file is large.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gridv4_bt.live import strict_json
from gridv4_bt.live.private_files import private
from gridv4_bt.live.state import keep_damaged, sync_folder

NAME = "journal.jsonl"
_COMPACT_BYTES = 1_000_000


class Journal:
    """The journal of one bot: append-only records with increasing numbers.

    A file with damaged lines is copied aside and goes on with the records that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        records, self.lost = _read(self._path)  #: lost: number of lines that cannot be read
        self.before = records  #: records of previous sessions, in order, without an incomplete last line
        self.aside = keep_damaged(self._path) if self.lost else None  #: the damaged file
        #: number of the newest record; a line that is lost may have been two, if it is their newline that is damaged
        self.last = max((record["n"] for record in records), default=0) + 2 * self.lost
        self._rewrite(records)
        self._open()

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records and flush them to the disk."""
        for record in records:
            self.last += 1
            self._file.write(_line({"n": self.last} | record))
        self._file.flush()
        os.fsync(self._file.fileno())

    def forget_until(self, number: int) -> None:
        """Drop the records up to a number, if the file is large."""
        if self._path.stat().st_size < _COMPACT_BYTES:
            return
        self._file.close()
        self._rewrite(record for record in _read(self._path)[0] if record["n"] > number)
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file = open(self._path, "a", encoding="utf-8", opener=private)  # noqa: SIM115

    def _rewrite(self, records: Iterable[dict[str, Any]]) -> None:
        draft = self._path.with_suffix(".tmp")
        with open(draft, "w", encoding="utf-8", opener=private) as file:
            file.writelines(map(_line, records))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._path)
        sync_folder(self._folder)


def journaled_ids(folder: Path) -> list[str]:
    """Return the client order ids in the journal of a state directory, oldest first; the file stays as it is."""
    return [str(item["id"]) for record in _read(folder / NAME)[0] for item in record["orders"]]


def journaled_commands(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return by id what was journaled of each command of a person, once for each time that it was carried out.

    The number of a record, `n`, is left out: it is 0.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for record in _read(folder / NAME)[0]:
        if "command" in record:
            found.setdefault(record["command"]["id"], []).append({**record, "n": 0})
    return found


def _line(record: dict[str, Any]) -> str:
    text = strict_json.dumps(record)
    return f'{text[:-1]},"crc":{zlib.crc32(text.encode())}}}\n'


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a journal and how many lines of it are damaged; a last line cut by a crash is not."""
    if not path.exists():
        return [], 0
    *lines, last = path.read_bytes().split(b"\n")
    if b'"crc":' in last:  # whole but for its end
        lines.append(last)
    found = [_record(line) for line in lines]
    return [record for record in found if record is not None], found.count(None)


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None if it is damaged; those of earlier versions have no checksum."""
    try:
        record: dict[str, Any] = strict_json.loads(line.decode())
        crc = record.pop("crc", None)
        if crc is not None and crc != zlib.crc32(strict_json.dumps(record).encode()):
            return None
        if not isinstance(record["n"], int) or not isinstance(record["orders"], list):
            return None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return record
