"""What a compiled run reads of its feeds and indicators: of each symbol some thousand bars at a time.

The kernel wants bars and signals as arrays of its own. Those of a whole run would take as much memory again as the
lines, so the arrays are windows, which move along the lines while the run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from brokers.feed_book import FeedBook
from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.optimise.kernel.kernel import parameters, rules_of
from gridv4_bt.optimise.kernel.state import BAR, SPAN, Inputs, State
from gridv4_bt.optimise.sweep_market import Floats, Signals, bars_of
from strategies.grid_v4 import GridStrategyV4


class _Lines(NamedTuple):
    """A symbol's lines, which hold the whole run."""

    feed: CandleFeed
    book: FeedBook  #: has the rates of funding
    signals: Signals
    regimes: Floats | None  #: of regime gmm


class BarWindows:
    """The windows on the lines of all symbols.

    Parameters
    ----------
    strategies, configs : of the symbols, in the order of their places.
    steps : how many steps the kernel does until the windows are moved.

    Attributes
    ----------
    inputs : what the kernel reads. Its rows are those of the windows, in which the spans' `begin`, `first` and `end`
        are counted too: they lie outside the window where the bars do.
    days : UTC days from the first bar to the last.
    """

    def __init__(self, strategies: Sequence[GridStrategyV4], configs: Sequence[GridConfig], steps: int) -> None:
        self._lines = [_lines_of(strategy) for strategy in strategies]
        self._rows = steps + 1  # the signals of the bar before are read too
        self._first = np.zeros(len(configs), np.int64)  #: row of the lines at which each window begins
        bars = np.array([len(lines.signals.kama) for lines in self._lines])
        ends, rules, brackets = rules_of([strategy._state.history for strategy in strategies], configs[0].leverage)
        spans = np.zeros(len(configs), SPAN)
        spans["begin"] = self._rows * np.arange(len(configs))
        spans["end"] = spans["begin"] + bars
        spans["first"] = spans["begin"] + np.minimum([strategy._first_bar - 1 for strategy in strategies], bars)
        spans["end_rule"] = ends
        spans["first_rule"] = [0, *ends[:-1]]
        size = self._rows * len(configs)
        has_mixture = any(lines.regimes is not None for lines in self._lines)
        self.inputs = Inputs(
            parameters(configs),
            spans,
            np.zeros(size, BAR),
            *(np.zeros(size) for _ in Signals._fields),
            rates=np.zeros(size),
            regimes=np.zeros(size * has_mixture, np.int64),
            rules=rules,
            brackets=brackets,
        )
        times = [lines.feed.lines.datetime.array for lines in self._lines]
        self.days = int(max(one[-1] for one in times)) - int(min(one[0] for one in times)) + 1
        for place in range(len(configs)):
            self._fill(place)

    def move(self, state: State) -> None:
        """Let each window begin at the last bar that the kernel has seen of the symbol."""
        symbols, spans = state.symbols, self.inputs.spans
        by = np.maximum(symbols["next"] - 1 - spans["begin"] - self._first, 0)
        self._first += by
        for array, names in ((spans, ("begin", "end", "first")), (symbols, ("row", "next", "end"))):
            for name in names:
                array[name] -= by
        for place in np.flatnonzero(by):
            self._fill(place)

    def _fill(self, place: int) -> None:
        lines, inputs, first = self._lines[place], self.inputs, int(self._first[place])
        rows = slice(first, min(first + self._rows, len(lines.signals.kama)))
        to = slice(place * self._rows, place * self._rows + rows.stop - rows.start)
        inputs.bars[to] = bars_of(lines.feed, rows)
        for name, values in zip(Signals._fields, lines.signals, strict=True):
            getattr(inputs, name)[to] = values[rows]
        inputs.rates[to] = lines.book.rates(rows)
        if lines.regimes is not None:
            inputs.regimes[to] = np.nan_to_num(lines.regimes[rows])


def _lines_of(strategy: GridStrategyV4) -> _Lines:
    mixture = strategy.regime_gmm
    indicators = strategy.kama, strategy.atr, strategy.adx, strategy.zscore, strategy.sigma
    signals = Signals(*map(_values, indicators))
    return _Lines(strategy.feed, strategy._state, signals, None if mixture is None else _values(mixture))


def _values(indicator: Any) -> Floats:
    return np.frombuffer(indicator.lines[0].array)
