"""Columns of numbers packed into one compressed block, and the block as text that needs no escaping in HTML.

Every column is rounded to whole units, stored as the difference to the row before and cut into planes of bytes, which
is what compresses best. The page unpacks it in `assets/codec.js`; the functions that unpack it here serve the tests.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Neither the characters of HTML nor the quotes and the backslash are among them.
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+,-./:;=?@[]^_{|"
GZIP = 16 + zlib.MAX_WBITS  #: asks zlib for gzip's header, without a time
_WORDS = 100_000  #: made into text at a time: the digits take ten times the memory of the text
_LARGEST = 2.0**52  # whole numbers beyond it are not exact in a float


class Packer:
    """Gather columns; `pack` gives them and a description as one compressed block."""

    def __init__(self) -> None:
        self._zipped = zlib.compressobj(7, wbits=GZIP)  # 8 takes three times the time for one percent
        self._block = bytearray()
        self._size = 0

    def add(self, values: Array, per: float, differences: int = 1) -> dict[str, Any]:
        """Add numbers rounded to 1/`per`, as differences of that order; return the column's description.

        Numbers too large for that are rounded to ten, a hundred ... times as much. NaN and infinities are kept in a
        column of their own.
        """
        values = np.asarray(values, dtype=np.float64)
        finite = np.isfinite(values)
        largest = float(np.abs(values[finite]).max(initial=0.0))
        while largest * per > _LARGEST:
            per /= 10
        column: dict[str, Any] = {"n": len(values), "per": per, "order": differences}
        if not finite.all():
            codes = np.where(finite, 0, np.where(np.isnan(values), 1, np.where(values > 0.0, 2, 3)))
            column["special"] = self.add_bytes(codes.astype(np.uint8))
            values = _carried(values, finite)
        whole = np.rint(values * per).astype(np.int64)
        for _ in range(differences):
            whole = np.diff(whole, prepend=0)
        folded = ((whole << 1) ^ (whole >> 63)).astype("<u8")  # small numbers of either sign become small ones
        planes = (int(folded.max()).bit_length() + 7) // 8 if len(folded) else 0
        layers = folded.view(np.uint8).reshape(-1, 8)[:, :planes]
        return column | {"planes": planes} | self.add_bytes(np.ascontiguousarray(layers.T))

    def add_bytes(self, values: NDArray[np.uint8]) -> dict[str, int]:
        """Add bytes as they are; return where they lie."""
        part = values.tobytes()
        place = {"at": self._size, "size": len(part)}
        self._block += self._zipped.compress(part)
        self._size += len(part)
        return place

    def pack(self, description: dict[str, Any]) -> bytearray:
        """Return gzip of: the columns, the description as JSON, its length (4 bytes, little-endian).

        No column can be added after that.
        """
        text = json.dumps(description, separators=(",", ":"), allow_nan=False).encode()
        self._block += self._zipped.compress(text + len(text).to_bytes(4, "little")) + self._zipped.flush()
        return self._block


def as_text(block: bytes | bytearray) -> Iterator[str]:
    """Yield bytes as pieces of text: five of 85 characters for four bytes, a sixteenth less than base64."""
    characters = np.frombuffer(CHARACTERS.encode(), np.uint8)
    yield f"{len(block)}:"
    for start in range(0, len(block), 4 * _WORDS):
        part = block[start : start + 4 * _WORDS]
        words = np.frombuffer(part + bytes(-len(part) % 4), ">u4")[:, np.newaxis].astype(np.int64)
        yield characters[words // 85 ** np.arange(4, -1, -1) % 85].tobytes().decode("ascii")


def from_text(text: str) -> bytes:
    """Return the bytes of `as_text`."""
    length, _, characters = text.strip().partition(":")
    places = np.full(128, 0)
    places[np.frombuffer(CHARACTERS.encode(), np.uint8)] = np.arange(85)
    digits = places[np.frombuffer(characters.encode(), np.uint8)].reshape(-1, 5)
    return (digits @ 85 ** np.arange(4, -1, -1)).astype(">u4").tobytes()[: int(length)]


def unpack(block: bytes | bytearray) -> tuple[dict[str, Any], bytes]:
    """Return the description and the columns' bytes of a packed block."""
    content = gzip.decompress(block)
    end = len(content) - 4
    start = end - int.from_bytes(content[end:], "little")
    return json.loads(content[start:end]), content[:start]


def column_values(column: dict[str, Any], content: bytes) -> NDArray[np.float64]:
    """Return the numbers of a column described by `Packer.add`."""
    raw = np.frombuffer(content, np.uint8, column["size"], column["at"]).reshape(column["planes"], column["n"])
    folded = np.zeros(column["n"], np.uint64)
    for plane in range(column["planes"]):
        folded |= raw[plane].astype(np.uint64) << np.uint64(8 * plane)
    whole = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
    for _ in range(column["order"]):
        whole = np.cumsum(whole)
    values = whole / column["per"]
    if "special" in column:
        special = column["special"]
        codes = np.frombuffer(content, np.uint8, special["size"], special["at"])
        values[codes > 0] = np.array([0.0, np.nan, np.inf, -np.inf])[codes[codes > 0]]
    return values


def _carried(values: NDArray[np.float64], finite: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the numbers with each one that is not finite replaced by the last finite one before it, else 0."""
    last = np.maximum.accumulate(np.where(finite, np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], 0.0)
