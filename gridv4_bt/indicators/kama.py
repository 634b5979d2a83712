"""Kaufman's efficiency ratio and adaptive moving average (KAMA), and the regime from KAMA's slope."""

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import FastIndicator, takes_params
from gridv4_bt.compiled import buffer, column, compiled, plain
from gridv4_bt.core import regime, smoothing
from gridv4_bt.core.regime import ADX_FLOOR, Regime, next_state, normalized_slope, veto
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators.adx import WilderADX
from gridv4_bt.indicators.atr import WilderATR

Ratio = TypeVar("Ratio", float, NDArray[np.float64])


def efficiency_ratio(closes: Sequence[float]) -> float:
    """Return the net move divided by the path of one window of closes, 0 to 1; 0 when nothing moved."""
    path = 0.0
    for previous, close in itertools.pairwise(closes):
        path += abs(close - previous)
    if path == 0.0:
        return 0.0
    # By rounding a straight line's path may be shorter than its net move.
    return min(abs(closes[-1] - closes[0]) / path, 1.0)


def efficiency_ratios(closes: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return `efficiency_ratio` of every window of n + 1 closes, shape (len(closes) - n,), to the same bits."""
    moves = np.abs(np.diff(closes))
    path = np.zeros(len(closes) - n)
    for first in range(n):
        path += moves[first : first + len(path)]
    ratio = np.zeros_like(path)
    np.divide(np.abs(closes[n:] - closes[:-n]), path, out=ratio, where=path != 0.0)
    return np.minimum(ratio, 1.0)


def smoothing_constant(ratio: Ratio, fast: int = 2, slow: int = 30) -> Ratio:
    """Return Kaufman's SC for an efficiency ratio or an array of them.

    It is the square of an exponential average's smoothing: that of `slow` bars in noise, (2/31)^2, to that of `fast`
    bars in a straight move, (2/3)^2.
    """
    fastest, slowest = 2.0 / (fast + 1), 2.0 / (slow + 1)
    root = ratio * (fastest - slowest) + slowest
    return root * root


class EfficiencyRatio(FastIndicator):
    """Kaufman's efficiency ratio: the net move over n bars divided by the path.

    `er = abs(C_t - C_{t-n}) / sum(abs(C_i - C_{i-1}), i = t-n+1..t)`, dimensionless, 0 (all noise, or no move at all)
    to 1 (a straight line). First value at bar n (counted from 0).
    Source: P. Kaufman, Smarter Trading (1995).
    """

    lines = ("er",)
    params = (("n", 10),)
    plotinfo = dict(subplot=True, plotyhlines=[0.0, 0.5, 1.0])
    plotlines = dict(er=dict(color="tab:purple"))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.addminperiod(self.p.n + 1)

    def next(self) -> None:
        self.l.er[0] = efficiency_ratio(self.data.get(size=self.p.n + 1))

    def once(self, start: int, end: int) -> None:
        closes = np.array(self.data.array[start - self.p.n : end])
        if len(closes) > self.p.n:
            np.frombuffer(self.l.er.array)[start:end] = efficiency_ratios(closes, self.p.n)


class KAMA(FastIndicator):
    """Kaufman's adaptive moving average, in price units.

    `SC = (er*(2/3 - 2/31) + 2/31)^2; kama = prev + SC*(C - prev)`, er over n bars; 2/3 and 2/31 are the smoothings of
    exponential averages over `fast` and over `slow` bars. First value at bar n (counted from
    0) with prev = C_{n-1}. Equals TA-Lib's KAMA wherever the window moved; a window without any move has er 0 here and
    1 in TA-Lib.
    Source: P. Kaufman, Smarter Trading (1995).
    """

    lines = ("kama",)
    params = (("n", 10), ("fast", 2), ("slow", 30))
    plotinfo = dict(subplot=False)
    plotlines = dict(kama=dict(color="tab:orange", linewidth=1.2))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        self.addminperiod(self.p.n + 1)

    def nextstart(self) -> None:
        self._step(self.data[-1])

    def next(self) -> None:
        self._step(self.l.kama[-1])

    def oncestart(self, start: int, end: int) -> None:
        self._run(self.data.array, start, end)

    def once(self, start: int, end: int) -> None:
        self._run(self.l.kama.array, start, end)

    def _step(self, previous: float) -> None:
        constant = smoothing_constant(efficiency_ratio(self.data.get(size=self.p.n + 1)), self.p.fast, self.p.slow)
        self.l.kama[0] = smoothing.adaptive_step(previous, self.data[0], constant)

    def _run(self, seed: Sequence[float], start: int, end: int) -> None:
        """Set the average of the bars start to end; `seed` holds the value of the bar before the first."""
        n = self.p.n
        closes = np.array(self.data.array[start - n : end])
        if len(closes) <= n:
            return
        constants = smoothing_constant(efficiency_ratios(closes, n), self.p.fast, self.p.slow)
        averages = buffer(len(constants))
        run = compiled(smoothing.adaptive, (smoothing,))
        run(seed[start - 1], column(closes[n:]), column(constants), averages)
        np.frombuffer(self.l.kama.array)[start:end] = averages


class RegimeFSM(FastIndicator):
    """The regime from KAMA's slope, with hysteresis and an ADX veto.

    `RegimeFSM(data)` builds its own indicators; `RegimeFSM(data, kama, atr, adx)` uses the given ones and ignores `n`,
    `fast`, `slow`, `atr_period` and `adx_period`.

    Lines: `slope = (KAMA - previous KAMA) / ATR` in ATRs per bar; `regime`, a `gridv4_bt.core.regime.Regime` code.
    The state machine (`next_state`) runs on the slope alone from the first bar that has one, also during the warm-up of
    ADX; `veto` is applied to the line only. Both lines begin when KAMA of the bar before, ATR and ADX are
    known (bar 27, counted from 0, with the defaults).
    Source: this project (SPEC, section 2).
    """

    lines = ("regime", "slope")
    params = (
        ("n", 10),
        ("fast", 2),
        ("slow", 30),
        ("atr_period", 14),
        ("adx_period", 14),
        ("breakout_slope", 0.25),
        ("trend_slope", 0.05),
        ("hysteresis", 0.5),
        ("adx_floor", ADX_FLOOR),
    )
    plotinfo = dict(subplot=True, plotymargin=0.15, plotyticks=[int(code) for code in sorted(Regime)])
    plotlines = dict(regime=dict(color="tab:red", drawstyle="steps-post"), slope=dict(_plotskip=True))

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        if len(self.datas) == 1:
            self.kama = KAMA(self.data, n=self.p.n, fast=self.p.fast, slow=self.p.slow)
            self.atr = WilderATR(self.data, period=self.p.atr_period)
            self.adx = WilderADX(self.data, period=self.p.adx_period)
        elif len(self.datas) == 4:
            self.kama, self.atr, self.adx = self.datas[1:]
        else:
            raise ConfigError("RegimeFSM takes (data) or (data, kama, atr, adx), nothing in between")
        for line in self.l:
            line.updateminperiod(max(self.kama._minperiod + 1, self.atr._minperiod, self.adx._minperiod))
        self._state = int(Regime.NOISE)

    def prenext(self) -> None:
        # On the very first bar index -1 wraps around to the end of a preloaded feed.
        if len(self) > 1:
            self._step()

    def next(self) -> None:
        slope = self._step()
        self.l.slope[0] = slope
        self.l.regime[0] = veto(self._state, self.adx[0], self.p.adx_floor)

    def preonce(self, start: int, end: int) -> None:
        self._run(start + 1, end)

    def once(self, start: int, end: int) -> None:
        slopes, states = self._run(start, end)
        if states:
            floor = self.p.adx_floor
            regimes = [veto(state, adx, floor) for state, adx in zip(states, self.adx.array[start:end])]
            np.frombuffer(self.l.slope.array)[start:end] = slopes
            np.frombuffer(self.l.regime.array)[start:end] = regimes

    def _step(self) -> float:
        """Run the state machine over the current bar and return the bar's slope."""
        p = self.p
        slope = normalized_slope(self.kama[0], self.kama[-1], self.atr[0])
        self._state = next_state(self._state, slope, p.breakout_slope, p.trend_slope, p.hysteresis)
        return slope

    def _run(self, start: int, end: int) -> tuple[Sequence[float], list[Any]]:
        """Run the state machine over the bars start to end and return each bar's slope and state."""
        p = self.p
        breakout_slope, trend_slope, hysteresis = p.breakout_slope, p.trend_slope, p.hysteresis
        moves = np.diff(self.kama.array[start - 1 : end])
        atr = np.array(self.atr.array[start:end])
        ratios = np.zeros_like(moves)
        np.divide(moves, atr, out=ratios, where=(atr != 0.0) | (moves != 0.0))  # as `normalized_slope`
        slopes = column(ratios)
        states = buffer(len(slopes))
        run = compiled(regime.run_states, (regime,))
        self._state = run(self._state, slopes, breakout_slope, trend_slope, hysteresis, states)
        return slopes, plain(states)
