"""Classes of symbols by volatility, so that a search can give calm and wild ones parameters of their own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date

import numpy as np

from gridv4_bt.backtest import SymbolData
from gridv4_bt.core.time import end_ms, time_ms
from gridv4_bt.optimise.space import CLASSES, Space


def with_classes(space: Space, symbols: Sequence[SymbolData]) -> Space:
    """Return a space in which every symbol has a class.

    Those that have none are ranked by their volatility in the first search window, and the searched ones are split into
    classes of the same size, the calmer ones having one more. Held-out symbols are in the class whose bounds hold them;
    a bound is the geometric mean of the two volatilities beside it.
    """
    names = CLASSES[space.classes]
    if not names:
        return space
    window = space.search_windows[0]
    found = [volatility(data, window.first, window.last) for data in symbols]
    searched = sorted(value for value, one in zip(found, space.symbols, strict=True) if one.use == "search")
    parts = np.array_split(np.array(searched), len(names))
    bounds = [float(np.sqrt(calmer[-1] * wilder[0])) for calmer, wilder in itertools.pairwise(parts)]
    classed = [
        one if one.of_class else one.model_copy(update={"of_class": names[int(np.searchsorted(bounds, value))]})
        for one, value in zip(space.symbols, found, strict=True)
    ]
    return space.model_copy(update={"symbols": tuple(classed)})


def volatility(data: SymbolData, first: date | None, last: date | None) -> float:
    """Return the standard deviation of log returns per bar between two days; of all bars if there are none."""
    time, close = data.candles.time, data.candles.close
    inside = np.ones(len(time), bool)
    if first is not None:
        inside &= time >= time_ms(first)
    if last is not None:
        inside &= time < end_ms(last)
    chosen = close[inside] if inside.sum() > 2 else close
    return float(np.std(np.diff(np.log(chosen)), ddof=1))
