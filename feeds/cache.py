"""Downloaded series on disk: one Parquet file a month, and a manifest that says what each holds and its checksum.

A month is stored under a hash of its content, then the manifest names it, so that after any interruption the manifest
names whole files only. A file that does not match the manifest is set aside, never overwritten.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import platformdirs
import pyarrow

from feeds.series import Series, Span
from gridv4_bt.core.time import MINUTE_MS

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
_CURE = "free space or make it writable, or give another folder with --cache-dir"


class Damaged(Exception):
    """A cached file is not what its manifest says."""


@dataclass(frozen=True)
class Month:
    """The manifest's entry of one month."""

    #: file name
    file: str
    #: of the file's bytes
    sha256: str
    #: number of rows
    rows: int
    #: archive, rest, or archive+rest
    source: str
    #: when it was loaded, ms UTC by the exchange's clock
    loaded: int
    #: all rows before this time that the exchange has are in the file, ms UTC
    until: int
    #: spans of which the exchange has no rows
    holes: list[Span] = field(default_factory=list)


class SeriesCache:
    """The folder of one series of one symbol.

    Attributes
    ----------
    months: what is stored, by month ("2024-01")
    first: time of the first row that the exchange has, ms UTC; None while unknown
    set_aside: new names of the damaged files that were found
    """

    def __init__(self, folder: Path, series: Series) -> None:
        self.folder = folder
        self.series = series
        self.months: dict[str, Month] = {}
        self.first: int | None = None
        self.set_aside: list[Path] = []

    @property
    def until(self) -> int:
        """Time before which rows may be known, ms UTC; 0 without any."""
        return max((month.until for month in self.months.values()), default=0)

    @property
    def loaded(self) -> int:
        """Time of the last download, ms UTC by the exchange's clock; 0 if never."""
        return max((month.loaded for month in self.months.values()), default=0)

    def load(self) -> None:
        """Read the manifest.

        Raises
        ------
        Damaged
            It cannot be read.
        """
        path = self.folder / MANIFEST
        self.months, self.first = {}, None
        try:
            content = json.loads(path.read_bytes())
            months = {name: Month(**entry) for name, entry in content["months"].items()}
            months = {name: _with_spans(month) for name, month in sorted(months.items())}
            self.first = content["first"] if content["first"] is None else int(content["first"])
            self.months = months
        except (FileNotFoundError, NotADirectoryError):
            return
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Damaged(f"{path}: {error}") from error

    def read(self, month: str) -> pd.DataFrame:
        """Return the rows of a month in the manifest.

        Raises
        ------
        Damaged
            The file is missing, cannot be read or is not the one that was written.
        """
        import pandas as pd

        entry = self.months[month]
        path = self.folder / entry.file
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                raise Damaged(f"{path}: the checksum is wrong")
            rows = pd.read_parquet(io.BytesIO(content))
            if tuple(rows.columns) != self.series.columns or len(rows) != entry.rows:
                raise Damaged(f"{path}: holds other rows than the manifest says")
            return rows
        except (FileNotFoundError, ValueError, pyarrow.ArrowException) as error:
            raise Damaged(f"{path}: {error}") from error

    def store(self, month: str, rows: pd.DataFrame, source: str, loaded: int, until: int, holes: list[Span]) -> None:
        """Write a month, then the manifest that names it; delete the month's previous file."""
        buffer = io.BytesIO()
        rows.to_parquet(buffer, index=False)
        content = buffer.getvalue()
        checksum = hashlib.sha256(content).hexdigest()
        entry = Month(f"{month}-{checksum[:8]}.parquet", checksum, len(rows), source, loaded, until, holes)
        before = self.months.get(month)
        write_atomically(self.folder / entry.file, content)
        self.months[month] = entry
        self._write_manifest()
        if before is not None and before.file != entry.file:
            (self.folder / before.file).unlink(missing_ok=True)

    def remember_first(self, time_ms: int) -> None:
        """Keep the time of the first row that the exchange has."""
        self.first = time_ms
        self._write_manifest()

    def discard(self, month: str) -> None:
        """Set the damaged file of a month aside and forget the month."""
        self._set_aside(self.folder / self.months.pop(month).file)
        self._write_manifest()

    def discard_manifest(self) -> None:
        """Set a manifest that cannot be read aside, and begin with nothing."""
        self._set_aside(self.folder / MANIFEST)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from writing here."""
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock")
            lock.acquire()
            for left in self.folder.glob("*.tmp"):  # by a process that was killed while it wrote
                left.unlink(missing_ok=True)
        try:
            yield
        finally:
            lock.release()

    def _set_aside(self, path: Path) -> None:
        if not path.exists():
            return
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        with _writing(path):
            os.replace(path, aside)
        self.set_aside.append(aside)

    def _write_manifest(self) -> None:
        months = {name: asdict(month) for name, month in sorted(self.months.items())}
        content = {"series": self.series.name, "first": self.first, "months": months}
        write_atomically(self.folder / MANIFEST, json.dumps(content, indent=1).encode())
        with _writing(self.folder):
            _sync_folder(self.folder)


def default_folder() -> Path:
    """Return where downloads are kept unless another folder is given."""
    return Path(platformdirs.user_cache_dir("gridv4")) / "history"


def series_folders(root: Path) -> Iterator[tuple[str, str, Series, Path]]:
    """Yield exchange, symbol, series and folder of everything that is cached."""
    for path in sorted(root.glob(f"*/*/*/{MANIFEST}")):
        exchange, symbol, name = path.parts[-4:-1]
        kind, _, interval = name.partition("-")
        if kind in ("candles", "mark", "funding") and (interval.removesuffix("m").isdigit() or not interval):
            yield exchange, symbol, Series(kind, int(interval.removesuffix("m") or 0) * MINUTE_MS), path.parent


def update_table(path: Path, symbol: str, entry: dict[str, Any]) -> None:
    """Set a symbol's entry of a market table, a file in the shape of `gridv4_bt/markets.json`."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f".{path.name}.lock")):
            for left in path.parent.glob(f"{path.name}.*.tmp"):  # by a process that was killed while it wrote
                left.unlink()
            try:
                symbols = json.loads(path.read_bytes())["symbols"]
            except (OSError, ValueError, LookupError, TypeError):
                symbols = {}
            if symbols.get(symbol) != entry:
                table = {"symbols": dict(sorted((symbols | {symbol: entry}).items()))}
                write_atomically(path, json.dumps(table, indent=1).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in full or, after any failure, not at all.

    Raises
    ------
    OSError
        Naming the file and the cure.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with _writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    """Make the renames in a folder survive a power cut, where folders can be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # not every file system can
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Add the file and the cure to an error of the system."""
    try:
        yield
    except OSError as error:
        reason = f"the cache cannot be written ({error.strerror or error}): {_CURE}"
        raise OSError(error.errno, reason, str(error.filename or path)) from error


def _with_spans(month: Month) -> Month:
    return Month(**(asdict(month) | {"holes": [(int(first), int(end)) for first, end in month.holes]}))
