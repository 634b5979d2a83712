"""Volatility: Wilder's ATR, the circuit breaker's z, and sigma."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import FastIndicator, takes_params
from gridv4_bt.compiled import buffer, column, compiled
from gridv4_bt.core import smoothing

Floats = NDArray[np.float64]
_BLOCK = 2_048  # windows


def true_ranges(highs: Sequence[float], lows: Sequence[float], previous_closes: Sequence[float]) -> Floats:
    """Return each bar's range, extended to the close of the bar before; price units."""
    return np.maximum(highs, previous_closes) - np.minimum(lows, previous_closes)


def squared_deviations(values: Floats, period: int) -> Floats:
    """Return the sum of squared deviations from the mean of every window of `period` values, oldest first.

    Shape (len(values) - period + 1,).
    """
    count = len(values) - period + 1
    squares = np.zeros(count)
    total, deviation = np.empty(_BLOCK), np.empty(_BLOCK)
    # Block by block: window by window means many short sums, and all windows at once do not fit the processor's cache.
    for begin in range(0, count, _BLOCK):
        size = min(_BLOCK, count - begin)
        mean, apart, summed = total[:size], deviation[:size], squares[begin : begin + size]
        mean[:] = 0.0
        for first in range(begin, begin + period):
            mean += values[first : first + size]
        mean /= period
        for first in range(begin, begin + period):
            np.subtract(values[first : first + size], mean, out=apart)
            np.multiply(apart, apart, out=apart)
            summed += apart
    return squares


def log_returns(closes: Sequence[float]) -> list[float]:
    """Return the log return of each close but the first."""
    # math.log in both modes: numpy's vectorised logarithm may differ from it in the last bit.
    log = math.log
    return [log(close / previous) for previous, close in itertools.pairwise(closes)]


def sample_deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation (ddof 1) of two values or more."""
    # Plain loops: from Python 3.12 on sum() compensates, and would differ from `once` in the last bit.
    total = 0.0
    for value in values:
        total += value
    mean = total / len(values)
    squares = 0.0
    for value in values:
        deviation = value - mean
        squares += deviation * deviation
    return math.sqrt(squares / (len(values) - 1))


def rolling_deviation(closes: Sequence[float], period: int) -> Floats:
    """Return the sample deviation of the last `period` log returns at every bar that has so many.

    Bit by bit those of `sample_deviation`; shape (len(closes) - period,), empty where there are fewer closes.
    """
    returns = np.array(log_returns(closes))
    if len(returns) < period:
        return np.empty(0)
    return np.sqrt(squared_deviations(returns, period) / (period - 1))


class WilderATR(FastIndicator):
    """Wilder's average true range, in price units.

    First value = mean of the first `period` true ranges, then `(prev*(period-1) + TR) / period`. A true range needs the
    close before it, so the first value is at bar `period` (counted from 0). Equals TA-Lib's ATR.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978).
    """

    lines = ("atr",)
    params = (("period", 14),)
    plotinfo = dict(subplot=True)
    plotlines = dict(atr=dict(color="tab:brown"))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.addminperiod(self.p.period + 1)

    def nextstart(self) -> None:
        size = self.p.period + 1
        highs, lows, closes = (line.get(size=size) for line in (self.data.high, self.data.low, self.data.close))
        self.l.atr[0] = self._seed(highs[1:], lows[1:], closes[:-1])

    def next(self) -> None:
        [latest] = true_ranges([self.data.high[0]], [self.data.low[0]], [self.data.close[-1]])
        self.l.atr[0] = smoothing.wilder_step(self.l.atr[-1], latest, self.p.period)

    def oncestart(self, start: int, end: int) -> None:
        first = end - self.p.period
        highs, lows = self.data.high.array[first:end], self.data.low.array[first:end]
        if len(highs) == self.p.period:
            self.l.atr.array[start] = self._seed(highs, lows, self.data.close.array[first - 1 : end - 1])

    def once(self, start: int, end: int) -> None:
        if start >= end:
            return
        highs, lows = self.data.high.array[start:end], self.data.low.array[start:end]
        ranges = column(true_ranges(highs, lows, self.data.close.array[start - 1 : end - 1]))
        averages = buffer(len(ranges))
        run = compiled(smoothing.wilder, (smoothing,))
        run(self.l.atr.array[start - 1], ranges, self.p.period, averages)
        np.frombuffer(self.l.atr.array)[start:end] = averages

    def _seed(self, highs: Sequence[float], lows: Sequence[float], previous_closes: Sequence[float]) -> float:
        """Return the mean of the first `period` true ranges."""
        period: int = self.p.period
        total = 0.0
        for value in true_ranges(highs, lows, previous_closes):
            total += value
        return total / period


class ZScore(FastIndicator):
    """The circuit breaker's z: the distance of the close from its simple moving average, in ATRs.

    `z = (C - SMA(period)) / ATR(atr_period)`, dimensionless; 0 when ATR is 0. The numerator is computed as the mean of
    `C - C_i`, so that a window without any move gives exactly 0 however small ATR is. `ZScore(data)` builds its own
    ATR; `ZScore(data, atr)` uses the given one and ignores `atr_period`. First value when window and ATR are
    full (bar 19, counted from 0, with the defaults).
    Source: this project (SPEC, section 2).
    """

    lines = ("z",)
    params = (("period", 20), ("atr_period", 14))
    plotinfo = dict(subplot=True, plotyhlines=[-3.0, -1.0, 0.0], plotyticks=[-3.0, 0.0, 3.0])
    plotlines = dict(z=dict(color="tab:blue"))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.atr = self.datas[1] if len(self.datas) > 1 else WilderATR(self.data, period=self.p.atr_period)
        self.l.z.updateminperiod(max(self.data._minperiod + self.p.period - 1, self.atr._minperiod))

    def next(self) -> None:
        atr = self.atr[0]
        close = self.data[0]
        total = 0.0
        for earlier in self.data.get(size=self.p.period):
            total += close - earlier
        self.l.z[0] = 0.0 if atr == 0.0 else total / self.p.period / atr

    def once(self, start: int, end: int) -> None:
        period = self.p.period
        window = np.array(self.data.array[start - period + 1 : end])
        atr = np.array(self.atr.array[start:end])
        closes = window[period - 1 :]
        if not len(closes):
            return
        total = np.zeros_like(closes)
        for first in range(period):
            total += closes - window[first : first + len(closes)]
        z = np.zeros_like(closes)
        np.divide(total / period, atr, out=z, where=atr != 0.0)
        np.frombuffer(self.l.z.array)[start:end] = z


class RollingVolatility(FastIndicator):
    """Volatility of the log returns: per bar, dimensionless (0.01 = 1 % a bar).

    `sigma = sqrt(sum((r_i - mean(r))^2) / (period - 1))` over the last `period` values of `r_i = ln(C_i / C_{i-1})`:
    the sample standard deviation. First value at bar `period` (counted from 0). Closes must be positive.
    Source: SPEC, section 2; close-to-close estimator.
    """

    lines = ("sigma",)
    params = (("period", 96),)
    plotinfo = dict(subplot=True)
    plotlines = dict(sigma=dict(color="tab:green", _plotvalue=False, _plotvaluetag=False))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.addminperiod(self.p.period + 1)

    def next(self) -> None:
        self.l.sigma[0] = sample_deviation(log_returns(self.data.get(size=self.p.period + 1)))

    def once(self, start: int, end: int) -> None:
        period = self.p.period
        deviations = rolling_deviation(self.data.array[start - period : end], period)
        if len(deviations):
            np.frombuffer(self.l.sigma.array)[start:end] = deviations
