"""The arrays that rules read and fill, in the type that is fastest for them: numpy's where numba is installed."""

import os
from collections.abc import MutableSequence, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def available() -> bool:
    """Return whether numba is installed, and compiles: NUMBA_DISABLE_JIT=1 tells it not to."""
    return os.environ.get("NUMBA_DISABLE_JIT", "") in ("", "0") and find_spec("numba") is not None


def buffer(length: int, whole: bool = False) -> MutableSequence[Any]:
    """Return zeros, floats or whole numbers, in the array type that is fastest for the rules."""
    if not available():
        return [0 if whole else 0.0] * length
    return np.zeros(length, dtype=np.int64 if whole else np.float64)


def column(values: Sequence[float] | NDArray[np.float64]) -> Sequence[float]:
    """Return numbers in the array type that is fastest for the rules."""
    return np.asarray(values, dtype=np.float64) if available() else list(values)


def table(rows: int, length: int) -> Sequence[MutableSequence[float]]:
    """Return rows of zeros in the array type that is fastest for the rules."""
    if not available():
        return [[0.0] * length for _ in range(rows)]
    return np.zeros((rows, length))


def plain(array: Sequence[Any]) -> list[Any]:
    """Return the values of a buffer, or the rows of a table, as Python numbers."""
    return array.tolist() if hasattr(array, "tolist") else list(array)
