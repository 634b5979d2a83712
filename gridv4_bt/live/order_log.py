"""orders.jsonl: every order, refusal, cancel, fill and payment of a bot's life, which an audit reads.

A file that is large is archived as ``orders-000001.jsonl.gz``, the next one as ``orders-000002.jsonl.gz``; archives and
file together are the record.
"""

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gridv4_bt.live.private_files import private

NAME = "orders.jsonl"
_LARGE_BYTES = 20_000_000


class OrderLog:
    """The growing file of one bot.

    Parameters
    ----------
    large : length from which it is archived, bytes.
    """

    def __init__(self, folder: Path, large: int = _LARGE_BYTES) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._large = large
        for path in _archives(folder):
            if path.suffix != ".gz":  # the last session died as it archived
                _compress(path)
        self._open()

    def write(self, line: str) -> None:
        """Append a line."""
        if self._file.tell() >= self._large:
            self._archive()
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file = open(self._path, "ab", opener=private)  # noqa: SIM115

    def _archive(self) -> None:
        numbers = [int(path.name[len("orders-") :].partition(".")[0]) for path in _archives(self._folder)]
        path = self._folder / f"orders-{max(numbers, default=0) + 1:06}.jsonl"
        self._file.close()
        os.replace(self._path, path)
        self._open()
        _compress(path)


def order_log_files(folder: Path) -> list[Path]:
    """Return all files of a bot's record, oldest first."""
    return [*_archives(folder), folder / NAME]


def read_order_log(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each file of a bot's record and its lines, oldest first, also while the bot is writing and archiving."""
    while True:
        files = order_log_files(folder)
        try:
            found = [(path, _lines(path)) for path in files]
        except FileNotFoundError:  # archived meanwhile
            if not files[-1].exists():
                raise
            continue
        if order_log_files(folder) == files:
            yield from found
            return


def _lines(path: Path) -> list[str]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readlines()
    with path.open(encoding="utf-8") as file:
        return file.readlines()


def _archives(folder: Path) -> list[Path]:
    """Return the archives, oldest first; of one that is being compressed the file that is whole."""
    found = {path.name.partition(".")[0]: path for path in folder.glob("orders-??????.jsonl")}
    found |= {path.name.partition(".")[0]: path for path in folder.glob("orders-??????.jsonl.gz")}
    return [found[name] for name in sorted(found)]


def _compress(path: Path) -> None:
    """Compress an archive; where the disk has no space for that it stays as it is until the next start."""
    draft = path.with_name(path.name + ".tmp")
    try:
        with path.open("rb") as source, open(draft, "wb", opener=private) as target:
            with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as packed:
                shutil.copyfileobj(source, packed)
            target.flush()
            os.fsync(target.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        return
    os.replace(draft, path.with_name(path.name + ".gz"))
    path.unlink()
