"""The contents of a path: a file, a pipe, a folder or a pattern; unpacked, and never more than a bound.

    for content in contents(Path("BTCUSDT-15m-2024-*.zip")):
        content.name, content.data

Binance's archive gives a zip a month, freqtrade a Feather file, a data lake a folder with a Parquet file a day.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import itertools
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gridv4_bt.config import open_input, read_pipe
from gridv4_bt.errors import DataError

#: Most bytes of one file after unpacking: 1m candles of twenty years in the widest layout are half of it.
LIMIT = 1 << 30
#: Something that shrinks to less than 1/250 holds no candles.
_PACKED, _PACKED_FROM = 250, 64 << 20
_CHUNK = 1 << 20
_MOST_FILES = 20_000

_SUFFIXES = (
    ".csv",
    ".txt",
    ".tsv",
    ".json",
    ".parquet",
    ".pq",
    ".feather",
    ".arrow",
    ".zip",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
)
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_PARQUET, _FEATHER, _FEATHER_1 = b"PAR1", b"ARROW1", b"FEA1"
_PACKINGS = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """One unpacked file."""

    #: where it comes from, for messages
    name: str
    #: all of it, or of a Parquet or Feather file that lies on the disk unpacked only its begin
    data: bytes
    #: the file, where its columns can be read from the disk
    file: Path | None = None
    #: how it was packed, "" for not at all
    packing: str = ""

    @property
    def kind(self) -> str:
        """The format by its first bytes: parquet, feather or text."""
        if self.data.startswith(_PARQUET):
            return "parquet"
        return "feather" if self.data.startswith((_FEATHER, _FEATHER_1)) else "text"


def contents(path: Path, keep: Callable[[list[Path]], list[Path]] = list) -> list[Content]:
    """Return what lies at a path, or at all paths that a pattern such as `BTCUSDT-15m-*.zip` names, in their order.

    `keep` returns those of several files that are wanted.

    Raises
    ------
    DataError
        Nothing is there, it is neither file nor pipe nor folder, it is damaged, or larger than `LIMIT`.
    """
    try:
        paths = files_at(path)
        if len(paths) > 1:
            paths = keep(paths)
        return [content for one in paths for content in _unpacked(str(one), *_read(one))]
    except (OSError, ValueError) as error:  # a path with a NUL byte, one too long, one without permission
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({' '.join(reason.split())}). Check the path.") from None


def files_at(path: Path) -> list[Path]:
    """Return the files of a path: itself, those of a folder with data in them, or those that a pattern names."""
    text = str(path)
    if os.path.lexists(text):
        if not path.is_dir():
            if path.suffix.lower() in _SPREADSHEETS:
                raise DataError(f"{path}: is a spreadsheet. Save it as CSV.")
            return [path]
        found = [one for one in _walked(path, path.rglob("*")) if _is_data(one.relative_to(path)) and one.is_file()]
    else:
        if glob.escape(text) == text:
            raise DataError(f"{path}: no such file. Check the path.")
        found = _walked(path, Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        found = [one for one in found if _is_data(Path(one.name)) and one.is_file()]
    if not found:
        raise DataError(f"{path}: no such file: nothing there ends in {', '.join(_SUFFIXES)}. Check the path.")
    if len(found) > _MOST_FILES:
        raise DataError(f"{path}: holds {len(found):,} files, at most {_MOST_FILES:,} are read. Name fewer.")
    return found


def _walked(path: Path, found: Iterator[Path]) -> list[Path]:
    """Return what is found below a path in order; refuse the root of a whole disk."""
    most = 2 * _MOST_FILES
    seen = list(itertools.islice(found, most))
    if len(seen) == most:
        raise DataError(f"{path}: holds more than {most:,} files. Name a folder of data.")
    return sorted(seen)


def _is_data(name: Path) -> bool:
    """Return whether a file of a folder can be data: not a checksum, a hidden file or a Parquet `_metadata`."""
    return name.suffix.lower() in _SUFFIXES and not any(part.startswith((".", "_")) for part in name.parts)


def _read(path: Path) -> tuple[bytes, Path | None]:
    """Return the bytes of a file or pipe; of a Parquet or Feather file its begin and its path."""
    number, is_pipe = open_input(path)
    try:
        if is_pipe:
            return read_pipe(number, LIMIT), None
        head = os.read(number, 16)
        if head.startswith((_PARQUET, _FEATHER)):
            return head, path
        with os.fdopen(os.dup(number), "rb") as file:
            file.seek(0)
            return _bounded(str(path), file), None
    finally:
        os.close(number)


def _bounded(name: str, stream: BinaryIO, packed: int | None = None) -> bytes:
    """Return all of a stream; refuse more than the bound, and more than `packed` bytes could honestly hold."""
    parts, size = [], 0
    while part := stream.read(_CHUNK):
        parts.append(part)
        size += len(part)
        _refuse_size(name, size)
        if packed is not None and size > _PACKED_FROM and size > _PACKED * packed:
            raise DataError(
                f"{name}: unpacks to more than {_PACKED} times its size, which no candles do. Check the file."
            )
    return b"".join(parts)


def _refuse_size(name: str, size: int) -> None:
    if size > LIMIT:
        raise DataError(f"{name}: more than {LIMIT >> 20:,} MB. Give a shorter span, or Parquet.")


def _unpacked(name: str, data: bytes, file: Path | None) -> Iterator[Content]:
    packing = next((packing for magic, packing in _PACKINGS.items() if data.startswith(magic)), "")
    try:
        if packing == "zip":
            yield from _members(name, data)
        elif packing:
            yield Content(name, _bounded(name, _stream(packing, data), len(data)), None, packing)
        else:
            yield Content(name, data, file)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: cannot be read ({reason}). The file is damaged: download it again.") from None


def _stream(packing: str, data: bytes) -> BinaryIO:
    raw = io.BytesIO(data)
    if packing == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if packing == "bzip2":
        return bz2.BZ2File(raw)
    if packing == "xz":
        return lzma.LZMAFile(raw)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.BufferReader(data), packing)


def _members(name: str, data: bytes) -> Iterator[Content]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as folder:
            wanted = [one for one in folder.infolist() if not one.is_dir() and _is_data(Path(one.filename))]
            if any(one.filename.startswith(("xl/", "content.xml")) for one in folder.infolist()):
                raise DataError(f"{name}: is a spreadsheet. Save it as CSV.")
            if not wanted or len(wanted) > _MOST_FILES:
                raise DataError(f"{name}: holds {len(wanted):,} files of data. Give a zip of CSV or Parquet files.")
            size = 0
            for one in wanted:
                with folder.open(one) as stream:
                    content = _bounded(f"{name}:{one.filename}", stream, len(data))
                size += len(content)
                _refuse_size(name, size)
                if content.startswith(tuple(_PACKINGS)):
                    raise DataError(f"{name}: {one.filename} is packed again. Unpack the outer file.")
                yield Content(f"{name}:{one.filename}" if len(wanted) > 1 else name, content, None, "zip")
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{name}: cannot be read ({error}). Unpack it, or download it again.") from None
