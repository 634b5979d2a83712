"""Rows of numbers, one a bar, that take about a third of their memory: all but the last of them are compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

BLOCK = 2048  #: rows that are compressed together
CHANGING = 0.9  #: share of a column's numbers that differ from those before, from which on to compress it is no use


class PackedRows(NDArrayOperatorsMixin):
    """A table that grows row by row and is read like an array of two dimensions; what is read of it is a copy.

    Parameters
    ----------
    width : numbers in a row.
    kind : what they are.
    """

    def __init__(self, width: int, kind: DTypeLike = np.float64) -> None:
        self.width = width
        self._kind = np.dtype(kind)
        self._blocks: list[list[bytes]] = []  #: of each block its columns, compressed
        self._last = bytearray()  #: the rows after them
        self._row = width * self._kind.itemsize  #: bytes
        self._full = BLOCK * self._row

    def append(self, row: bytes | bytearray) -> None:
        """Append one row, given as the bytes of its numbers."""
        if len(self._last) == self._full:
            self._pack()
        self._last += row

    def extend(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        more = memoryview(np.ascontiguousarray(rows, self._kind).tobytes())
        while more:
            if len(self._last) == self._full:
                self._pack()
            room = self._full - len(self._last)
            self._last += more[:room]
            more = more[room:]

    def replace_last(self, row: bytes | bytearray) -> None:
        """Put another row in the place of the last one."""
        self._last[-self._row :] = row

    def last(self) -> NDArray[Any]:
        """Return the last row."""
        return np.frombuffer(bytes(self._last[-self._row :]), self._kind)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and of columns."""
        return len(self._blocks) * BLOCK + len(self._last) // self._row, self.width

    @property
    def size(self) -> int:
        """Return how many numbers there are."""
        rows, columns = self.shape
        return rows * columns

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("packed rows cannot be read without a copy: use np.asarray")
        found = self._unpacked(slice(None), range(self.width)).T
        found = found.astype(self._kind if dtype is None else dtype, copy=False)
        found.flags.writeable = copy is True  # numpy 2 hands this very array to a caller of np.array
        return found

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        """Compute and compare as with the array; `==` would else say whether they are the same object."""
        if any(isinstance(one, PackedRows) for one in options.get("out", ())):  # there is no array to write to
            return NotImplemented
        arrays = (np.asarray(one) if isinstance(one, PackedRows) else one for one in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return what an array would; of a row or a slice only the blocks and columns wanted are unpacked."""
        rows, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
            row = range(len(self))[rows]
            alone: NDArray[Any] = self[row : row + 1, columns][0]
            return alone
        in_a_row = isinstance(rows, slice) and rows.step in (None, 1)
        if not in_a_row or not isinstance(columns, slice | int | np.integer):
            found: NDArray[Any] = np.asarray(self)[key]
            return found
        wanted = range(self.width)[columns]
        if isinstance(wanted, int):
            found = self._unpacked(rows, range(wanted, wanted + 1))[0]
        else:
            found = self._unpacked(rows, wanted).T
        found.flags.writeable = False
        return found

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for first in range(0, len(self), BLOCK):  # each block is unpacked once for all its rows
            yield from self[first : first + BLOCK]

    def tobytes(self) -> bytes:
        """Return the numbers row after row."""
        return np.ascontiguousarray(self[:]).tobytes()

    def _pack(self) -> None:
        rows = np.frombuffer(self._last, self._kind).reshape(BLOCK, self.width)
        self._blocks.append([_packed(column) for column in rows.T])
        self._last = bytearray()

    def _unpacked(self, rows: slice, columns: range) -> NDArray[Any]:
        """Return the columns, an array for each, of a slice of rows."""
        begin, end, _ = rows.indices(len(self))
        found = np.empty((len(columns), max(end - begin, 0)), self._kind)
        packed = len(self._blocks) * BLOCK
        for number in range(begin // BLOCK, -(-min(end, packed) // BLOCK)):
            first = number * BLOCK
            some = slice(max(begin - first, 0), min(end - first, BLOCK))
            to = slice(first + some.start - begin, first + some.stop - begin)
            for place, column in enumerate(columns):
                found[place, to] = self._column(self._blocks[number][column])[some]
        if end > packed:
            last = np.frombuffer(bytes(self._last), self._kind).reshape(-1, self.width)
            some = slice(max(begin - packed, 0), end - packed)
            for place, column in enumerate(columns):
                found[place, packed + some.start - begin :] = last[some, column]
        return found

    def _column(self, packed: bytes) -> NDArray[Any]:
        plain = BLOCK * self._kind.itemsize
        return np.frombuffer(packed if len(packed) == plain else zlib.decompress(packed), self._kind)


def _packed(column: NDArray[Any]) -> bytes:
    """Return a column's numbers compressed, where they repeat; else as they are."""
    numbers = np.ascontiguousarray(column)
    bits = numbers.view(f"u{numbers.itemsize}")
    plain = numbers.tobytes()
    if np.count_nonzero(bits[1:] != bits[:-1]) > CHANGING * len(bits):
        return plain
    packed = zlib.compress(plain, 1)
    return packed if len(packed) < len(plain) else plain
