"""A rule as machine code: compiled once for each kind of arguments, then loaded from the user's cache directory.

Its folder there is named after a digest of all that the code is made from.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock
import numpy as np
import platformdirs

from gridv4_bt.compiled.arrays import available
from gridv4_bt.compiled.machine_code import BROKEN, SUFFIXES, Entry, cpu, keep, load, load_object

STARTED = time.time()


@dataclass(eq=False)
class Compiled:
    """A rule that runs as machine code where numba is installed, and as it is elsewhere.

    Parameters
    ----------
    rule : returns nothing or a whole number.
    made_of : modules whose functions are inlined.
    calls : modules whose functions are called, because they are long, used in many places and seldom run.
    nogil : release Python's global lock while it runs.
    instead : functions of plain Python, and what compiled code calls in place of each.
    taught_by : names of modules that teach numba what the rule needs; they are imported to compile it, not to run it.
    """

    rule: Callable[..., Any]
    made_of: tuple[ModuleType, ...]
    calls: tuple[ModuleType, ...] = ()
    nogil: bool = False
    instead: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = ()
    taught_by: tuple[str, ...] = ()
    _entries: dict[tuple[Any, ...], Entry] = field(init=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __call__(self, *args: Any) -> Any:
        """Run the rule; what it finds it writes into the arrays. Return its whole number, 0 where it returns nothing.

        Raises
        ------
        ValueError
            An array has gaps between its rows.
        RuntimeError
            The rule has raised an exception.
        """
        return self.bind(*args)()

    def bind(self, *args: Any) -> Callable[[], Any]:
        """Return the rule for these arguments: arrays are read and changed each time, numbers stay what they are."""
        if not available():
            return partial(self.rule, *args)
        entry, name = self._entry(args), self.rule.__name__
        numbers = np.array(list(_numbers(args)), np.int64)
        address = ctypes.c_void_p(numbers.ctypes.data)

        def run(_kept: object = (numbers, args)) -> int:  # as long as what lies at the addresses is in use
            result = entry(address)
            if result == BROKEN:
                raise RuntimeError(f"{name} failed in compiled code; a backtest with NUMBA_DISABLE_JIT=1 says why")
            return result

        return run

    def is_at_hand(self) -> bool:
        """Return whether machine code of the rule is in the cache, so that it need not be compiled."""
        return any(path.suffix in SUFFIXES for path in self._folder().glob(f"{self.rule.__name__}-*"))

    def _entry(self, args: tuple[Any, ...]) -> Entry:
        kinds = tuple(kind_of(arg) for arg in args)
        if (entry := self._entries.get(kinds)) is None:
            with self._lock:
                if (entry := self._entries.get(kinds)) is None:
                    entry = self._entries[kinds] = self._loaded(kinds)
        return entry

    def _loaded(self, kinds: tuple[Any, ...]) -> Entry:
        """Return the machine code of the cache, compiled before if it is not there."""
        path = self._folder() / f"{self.rule.__name__}-{_digest(repr(kinds))}"
        return load(path, self.nogil) or self._made(path, kinds)

    def _made(self, path: Path, kinds: tuple[Any, ...]) -> Entry:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(filelock.FileLock(path.with_suffix(".lock")))
                if (entry := load(path, self.nogil)) is not None:  # another process has compiled it meanwhile
                    return entry
            from gridv4_bt.compiled.lowering import object_code  # imports numba

            for name in self.taught_by:
                import_module(name)
            code = object_code(self.rule, kinds, self.made_of, self.calls, self.instead)
            with contextlib.suppress(OSError):
                keep(code, path)
        return load(path, self.nogil) or load_object(code, self.nogil)

    def _folder(self) -> Path:
        own = sys.modules[self.rule.__module__]
        return cache_home() / _made_from((own, *self.made_of, *self.calls), self.taught_by)


#: The one `Compiled` of the same arguments, so that its machine code is loaded once.
compiled = cache(Compiled)


def kind_of(value: Any) -> Any:
    """Return what machine code depends on of an argument.

    Of an array dtype and number of dimensions, of a named tuple its class and the kinds of its members; else the type,
    None for None. A number of numpy's is as Python's.
    """
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim
    if isinstance(value, tuple):
        return type(value), *map(kind_of, value)
    if value is None:
        return None
    for kind, numpys in ((bool, np.bool_), (float, np.floating), (int, np.integer)):
        if isinstance(value, (kind, numpys)):
            return kind
    raise TypeError(f"{value!r} cannot be handed to compiled code")


def _numbers(values: Iterable[Any]) -> Iterator[int]:
    """Yield arguments as machine code reads them, see `gridv4_bt.compiled.lowering`."""
    for value in values:
        if isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError("an array with gaps between its rows cannot be handed to compiled code")
            yield value.ctypes.data
            yield from value.shape
        elif isinstance(value, tuple):
            yield from _numbers(value)
        elif isinstance(value, (float, np.floating)):
            yield struct.unpack("q", struct.pack("d", value))[0]
        elif value is not None:
            yield int(value)


def cache_home() -> Path:
    """Return the folder in which machine code is kept; it need not exist."""
    return Path(platformdirs.user_cache_dir("gridv4")) / "compiled"


@cache
def _made_from(modules: tuple[ModuleType, ...], others: tuple[str, ...]) -> str:
    """Return a digest of all that machine code is made from: source, today's numba, this processor."""
    made_by = [__name__, "gridv4_bt.compiled.lowering", "gridv4_bt.compiled.machine_code", *others]
    paths = [str(module.__file__) for module in modules] + [str(find_spec(name).origin) for name in made_by]
    sources = [Path(path).read_text(encoding="utf-8") for path in paths]
    versions = [sys.version, *(version(library) for library in ("numba", "llvmlite", "numpy"))]
    changed = max(Path(path).stat().st_mtime for path in paths)
    if changed > STARTED:  # what this process runs may be older than the files
        versions.append(f"process {os.getpid()}, started {STARTED}")
    return _digest("\0".join([*sources, *versions, cpu()]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
