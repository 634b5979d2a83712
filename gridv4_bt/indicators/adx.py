"""Wilder's average directional index: the strength of a trend, whatever its direction."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import FastIndicator, takes_params
from gridv4_bt.compiled import buffer, column, compiled, plain
from gridv4_bt.core import smoothing

Floats = NDArray[np.float64]

FEW = 32  #: values that are not worth a call of compiled code


def directional_moves(highs: Sequence[float], lows: Sequence[float]) -> tuple[Floats, Floats]:
    """Return +DM and -DM of every bar but the first, price units: the larger outward move counts, the other is 0."""
    up = np.diff(highs)
    down = -np.diff(lows)
    plus = np.where((up > down) & (up > 0.0), up, 0.0)
    minus = np.where((down > up) & (down > 0.0), down, 0.0)
    return plus, minus


class WilderADX(FastIndicator):
    """Wilder's average directional index, 0 (no trend) to 100.

    `DX = 100 * abs(+DI - -DI) / (+DI + -DI)`, DI = smoothed DM / smoothed true range. The true range divides both DI
    and cancels, so it is not computed. Smoothed DM: the sum of the first `period - 1` moves, then
    `prev - prev/period + DM`. ADX: the mean of the first `period` DX, then `(prev*(period-1) + DX) / period`. A bar
    whose smoothed DM are both 0 has no DX: it adds 0 to the first mean and later leaves ADX as it was. First value at
    bar `2*period - 1` (counted from 0). All this as in TA-Lib's ADX.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978); the start: TA-Lib's ta_ADX.c.
    """

    lines = ("adx",)
    params = (("period", 14),)
    plotinfo = dict(subplot=True, plotyhlines=[25.0])
    plotlines = dict(adx=dict(color="tab:gray"))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.addminperiod(2 * self.p.period)

    def nextstart(self) -> None:
        size = 2 * self.p.period
        self.l.adx[0] = self._seed(self.data.high.get(size=size), self.data.low.get(size=size))

    def next(self) -> None:
        plus, minus = directional_moves(self.data.high.get(size=2), self.data.low.get(size=2))
        self.l.adx[0] = self._average(self.l.adx[-1], plus, minus)[0]

    def oncestart(self, start: int, end: int) -> None:
        first = end - 2 * self.p.period
        highs, lows = self.data.high.array[first:end], self.data.low.array[first:end]
        if len(highs) == 2 * self.p.period:
            self.l.adx.array[start] = self._seed(highs, lows)

    def once(self, start: int, end: int) -> None:
        if start < end:
            adx = self.l.adx.array
            plus, minus = directional_moves(self.data.high.array[start - 1 : end], self.data.low.array[start - 1 : end])
            np.frombuffer(adx)[start:end] = self._average(adx[start - 1], plus, minus)

    def _seed(self, highs: Sequence[float], lows: Sequence[float]) -> float:
        """Return the first ADX, from the first `2*period` bars, and set the smoothed moves."""
        period: int = self.p.period
        plus, minus = directional_moves(highs, lows)
        self._smoothed = buffer(2)
        for up, down in zip(plus[: period - 1], minus):
            self._smoothed[0] += up
            self._smoothed[1] += down
        total = 0.0
        for index in plain(self._indices(plus[period - 1 :], minus[period - 1 :])):
            if index == index:
                total += index
        return total / period

    def _average(self, adx: float, plus: Floats, minus: Floats) -> Sequence[float]:
        """Return ADX after each of the moves; `adx` is the value before them."""
        averages = buffer(len(plus))
        _quickest(smoothing.wilder, len(plus))(adx, self._indices(plus, minus), self.p.period, averages)
        return averages

    def _indices(self, plus: Floats, minus: Floats) -> Sequence[float]:
        """Update the smoothed moves and return each bar's DX, NaN where it is undefined."""
        indices = buffer(len(plus))
        run = _quickest(smoothing.directional_indices, len(plus))
        run(self._smoothed, column(plus), column(minus), self.p.period, indices)
        return indices


def _quickest(rule: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return a rule compiled; for a few values the rule itself, which has done them before a call of compiled code."""
    return compiled(rule, (smoothing,)) if count > FEW else rule
