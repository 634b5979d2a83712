"""Symbols are put into classes by how much they move."""

import numpy as np
import pandas as pd
import pytest
from fake_market import space

from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.optimise.symbol_classes import volatility, with_classes


def candles(move: float, after: float | None = None) -> SymbolData:
    """Two days of a close that goes up and down by a share of itself; on the second day by another one."""
    moves = np.repeat([move, move if after is None else after], 96) * np.resize([1.0, -1.0], 192)
    close = 100.0 * np.exp(np.cumsum(moves))
    time = pd.date_range("2024-01-01", periods=192, freq="15min", tz="UTC")
    frame = pd.DataFrame({"time": time, "open": close, "high": close, "low": close, "close": close, "volume": 1.0})
    [feed] = make_feeds([SymbolData("TEST", frame)])
    return SymbolData("TEST", feed.candles)


def by_class(symbols, classes=2, **changes):
    return space(
        symbols=symbols, classes=classes, parameters={"k": {"low": 1.0, "high": 6.0, "by_class": True}}, **changes
    )


def classes_of(moves: dict[str, float], classes: int, test: str = "") -> dict[str, str]:
    some = by_class([{"name": name, "use": "test" if name in test else "search"} for name in moves], classes)
    return {one.name: one.of_class for one in with_classes(some, [candles(move) for move in moves.values()]).symbols}


def test_the_volatility_is_the_deviation_of_the_returns():
    expected = np.std(np.resize([-0.01, 0.01], 191), ddof=1)
    assert volatility(candles(0.01), None, None) == pytest.approx(expected)


def test_the_calmer_ones_have_one_more():
    moves = {"A": 0.03, "B": 0.01, "C": 0.02}
    assert classes_of(moves, 2) == {"A": "wild", "B": "calm", "C": "calm"}
    assert classes_of(moves, 3) == {"A": "wild", "B": "calm", "C": "middle"}


def test_a_held_out_symbol_is_in_the_class_whose_bounds_hold_it():
    moves = {"A": 0.01, "B": 0.04, "C": 0.019, "D": 0.021}  # the bound is the root of 1 % times 4 %
    assert classes_of(moves, 2, test="CD") == {"A": "calm", "B": "wild", "C": "calm", "D": "wild"}


def test_only_the_first_search_window_counts():
    windows = [{"name": "first", "to": "2024-01-01"}, {"name": "later", "from": "2024-01-02", "use": "test"}]
    some = by_class([{"name": "A"}, {"name": "B"}], windows=windows)
    found = with_classes(some, [candles(0.01, after=0.2), candles(0.02, after=0.001)])
    assert [one.of_class for one in found.symbols] == ["calm", "wild"]


def test_a_class_that_is_given_stays():
    some = by_class([{"name": "A", "class": "wild"}, {"name": "B"}])
    assert [one.of_class for one in with_classes(some, [candles(0.01), candles(0.02)]).symbols] == ["wild", "wild"]


def test_without_classes_nothing_changes():
    assert with_classes(space(), []) == space()
