"""Compilation by numba, where installed, of the rules that run every bar.

The rules are plain functions on numbers and flat arrays; compiled or not they give the same bits. The machine code is
cached in the user's cache directory, in a folder named after a hash of the rules' source, because numba does not notice
a change in a function that the compiled one calls.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable, MutableSequence, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray


@cache
def available() -> bool:
    """Return whether numba is installed."""
    return find_spec("numba") is not None


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


@cache
def compiled(
    rule: Callable[..., Any],
    made_of: tuple[ModuleType, ...],
    calls: tuple[ModuleType, ...] = (),
    nogil: bool = False,
    instead: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (),
) -> Callable[..., Any]:
    """Return a rule compiled by numba, or the rule itself where numba is missing.

    Parameters
    ----------
    made_of : modules whose functions are inlined, the rule's own included.
    calls : modules whose functions are called, because they are long, used in many places and seldom run.
    nogil : release Python's global lock while it runs.
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
        # _nrt=False: no rule creates an array, and counting references would take longer than the rules.
        return numba.njit(rule, cache=folder is not None, nogil=nogil, _nrt=False)
    finally:
        numba.config.CACHE_DIR = before


@cache
def _register(module: ModuleType, forceinline: bool) -> None:
    """Make the functions of a module callable from compiled code; for Python they do not change."""
    from numba.extending import register_jitable

    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            register_jitable(forceinline=forceinline)(function)


@cache
def _replace(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Make compiled code call another function in place of one; in Python it stays what it is."""
    from numba.extending import overload

    @overload(function, jit_options={"forceinline": True}, strict=False)
    def choose(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        return other


def cache_home() -> Path:
    """Return the folder in which machine code is kept; it need not exist."""
    return Path(platformdirs.user_cache_dir("gridv4")) / "compiled"


def _cache_folder(modules: tuple[ModuleType, ...]) -> Path | None:
    """Return the cache folder of these modules' machine code; None if it cannot be written."""
    source = "".join(inspect.getsource(module) for module in (sys.modules[__name__], *modules))
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    folder = cache_home() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
