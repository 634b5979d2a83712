"""Numbers and names of a record as Arrow arrays.

`pyarrow.array` copies numbers, and it loads pandas wherever that is installed, which takes 45 MB.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(
    values: NDArray[Any], kind: pa.DataType | None = None, missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return numbers as an Arrow array, which shares their memory where they lie side by side.

    Parameters
    ----------
    kind : what the numbers are, such as timestamps; None takes them as they are.
    missing : true where the array has no value.
    """
    values = np.ascontiguousarray(values)
    is_there = None
    if missing is not None and missing.any():
        is_there = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    kind = pa.from_numpy_dtype(values.dtype) if kind is None else kind
    return pa.Array.from_buffers(kind, len(values), [is_there, pa.py_buffer(values)])


def names(places: NDArray[np.integer[Any]], words: Sequence[str]) -> pa.DictionaryArray:
    """Return the word at each place, counted from 0."""
    encoded = [word.encode() for word in words]
    ends = np.array([0, *itertools.accumulate(map(len, encoded))], np.int32)
    texts = pa.StringArray.from_buffers(len(words), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
    return pa.DictionaryArray.from_arrays(numbers(places.astype(np.int32)), texts)
