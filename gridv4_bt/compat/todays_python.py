"""Backtrader 1.9.78.123 on newer Pythons: no deprecated calls, and counters that can be pickled."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any


class UtcDatetime(dt.datetime):
    """A `datetime` for Backtrader's modules, without the deprecation warnings of its two UTC methods."""

    @classmethod
    def utcnow(cls) -> dt.datetime:
        """Return the present UTC time, without a time zone."""
        return dt.datetime.now(dt.UTC).replace(tzinfo=None)

    @classmethod
    def utcfromtimestamp(cls, seconds: float) -> dt.datetime:
        """Return the UTC time of seconds since 1970, without a time zone."""
        return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


class Count:
    """A picklable `itertools.count`; from Python 3.14 on the original cannot be pickled.

    Every Cerebro and strategy has one, and `optstrategy` pickles both.
    """

    def __init__(self, start: int = 0, step: int = 1) -> None:
        self._next = start
        self._step = step

    def __iter__(self) -> Count:
        return self

    def __next__(self) -> int:
        value = self._next
        self._next += self._step
        return value


def product(*pools: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Return a picklable iterator over the combinations of `itertools.product`."""
    return iter(list(itertools.product(*pools)))


def _use_todays_python() -> None:
    # The modules look these names up at every call.
    import_module("backtrader.cerebro").datetime = SimpleNamespace(**vars(dt) | {"datetime": UtcDatetime})
    for name in ("resamplerfilter", "feeds.csvgeneric"):
        import_module(f"backtrader.{name}").datetime = UtcDatetime
    picklable = SimpleNamespace(**vars(itertools) | {"count": Count, "product": product})
    for name in ("cerebro", "strategy", "writer"):
        import_module(f"backtrader.{name}").itertools = picklable


_use_todays_python()
