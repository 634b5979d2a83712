"""Compile the rules that run every bar, where numba is installed; without it they run as they are.

The rules are plain functions on numbers and flat arrays. Compiled or not they give the same bits, so this
changes nothing but the time a backtest takes. The machine code is kept between runs in the user's
cache directory, in a folder named after the rules' source: numba itself would not notice a change in
a function that the compiled one calls.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable, MutableSequence, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import platformdirs


@cache
def available() -> bool:
    """Tell whether numba is installed."""
    return find_spec("numba") is not None


def buffer(length: int, whole: bool = False) -> MutableSequence:
    """Return zeros, floats or whole numbers, in the kind of array that the rules are fastest with."""
    if not available():
        return [0 if whole else 0.0] * length
    return np.zeros(length, dtype=np.int64 if whole else np.float64)


def column(values: Sequence[float]) -> Sequence[float]:
    """Return numbers in the kind of array that the rules are fastest with."""
    return np.asarray(values, dtype=np.float64) if available() else list(values)


def octets(memory: bytearray) -> MutableSequence[int]:
    """Return the bytes of a piece of memory in the kind of array that the rules are fastest with."""
    return np.frombuffer(memory, dtype=np.uint8) if available() else memory


def floats(memory: bytearray) -> MutableSequence[float]:
    """Return the floats that a piece of memory holds in the kind of array that the rules are fastest with."""
    return np.frombuffer(memory) if available() else memoryview(memory).cast("d")


def rows(memory: bytearray, count: int) -> Sequence[MutableSequence[float]]:
    """Return the floats that a piece of memory holds, as so many rows."""
    numbers = floats(memory)
    length = len(numbers) // count
    if available():
        return numbers.reshape(count, length)
    return [numbers[row * length : (row + 1) * length] for row in range(count)]


def table(rows: int, length: int) -> Sequence[MutableSequence[float]]:
    """Return rows of zeros in the kind of array that the rules are fastest with."""
    if not available():
        return [[0.0] * length for _ in range(rows)]
    return np.zeros((rows, length))


def plain(array: MutableSequence) -> list:
    """Return the values of a buffer, or of a table by rows, as Python numbers."""
    return array.tolist() if hasattr(array, "tolist") else list(array)


@cache
def compiled(
    rule: Callable,
    made_of: tuple[ModuleType, ...],
    calls: tuple[ModuleType, ...] = (),
    nogil: bool = False,
    instead: tuple[tuple[Callable, Callable], ...] = (),
) -> Callable:
    """Return a rule compiled by numba, or the rule itself where numba is missing.

    Parameters
    ----------
    made_of : the modules whose functions become part of it, its own included.
    calls : those whose functions are called, because they are long, needed in many places and seldom run.
    nogil : whether it lets go of Python's lock.
    instead : functions of plain Python, and what compiled code calls in place of each.
    """
    if not available():
        return rule
    import numba

    for module in made_of:
        _register(module, forceinline=True)
    for module in calls:
        _register(module, forceinline=False)
    for function, other in instead:
        _replace(function, other)
    before = numba.config.CACHE_DIR
    folder = _cache_folder(made_of + calls)
    numba.config.CACHE_DIR = str(folder or "")
    try:
        # Without counting references to arrays, which would take longer than the rules: none of them makes an array.
        return numba.njit(rule, cache=folder is not None, nogil=nogil, _nrt=False)
    finally:
        numba.config.CACHE_DIR = before


@cache
def _register(module: ModuleType, forceinline: bool) -> None:
    """Let compiled code call the functions of a module; to Python they stay what they are."""
    from numba.extending import register_jitable

    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            register_jitable(forceinline=forceinline)(function)


@cache
def _replace(function: Callable, other: Callable) -> None:
    """Let compiled code call another function in place of one; to Python it stays what it is."""
    from numba.extending import overload

    @overload(function, jit_options={"forceinline": True}, strict=False)
    def choose(*args, **kwargs):
        return other


def _cache_folder(modules: tuple[ModuleType, ...]) -> Path | None:
    """Return where machine code of exactly these modules is kept; None if nothing can be written there."""
    source = "".join(inspect.getsource(module) for module in (sys.modules[__name__], *modules))
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("gridv4")) / "compiled" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
