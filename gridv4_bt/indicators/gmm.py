"""The regime from a Gaussian mixture, the unsupervised alternative to `RegimeFSM`."""

from __future__ import annotations

import math
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import FastIndicator, epoch_ms, takes_params
from gridv4_bt.core.mixture import (
    NOISE,
    STATES,
    Mixture,
    match_components,
    most_probable,
    name_components,
    posteriors,
    state_probabilities,
    stay,
)
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import MINUTE_MS
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators.atr import RollingVolatility
from gridv4_bt.indicators.kama import EfficiencyRatio

DRIFT, LOG_SIGMA = 0, 1  #: columns of the features, the third is the efficiency ratio
COMPONENTS = range(2, 6)
#: Number of refits, by the clock, after which a fit starts anew instead of from the one before.
RESTART = 10
#: Never drawn from, because every fit is given its start; creating one takes a tenth of the time of a fit.
RANDOM = np.random.RandomState(0)
TOLERANCE = 2e-3  #: gain of the mean log-likelihood below which a fit has converged
MAX_ITERATIONS = 300
#: Added to the variances of the standardised features, so that no component shrinks to a point.
REGULARISATION = 1e-3
#: Least share of a window's rows that must have all features.
USABLE = 0.5
_STILL = 1e-9  # standard deviation up to which a feature did not move
_UNKNOWN = (math.nan,) * 3


@cache
def _scikit_learn() -> tuple[Any, Any, Any]:
    """Return scikit-learn's GaussianMixture and config_context, and a controller of its linear algebra's threads.

    Raises
    ------
    ConfigError
        scikit-learn is not installed.
    """
    try:
        from sklearn import config_context
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import ThreadpoolController
    except ImportError:
        raise ConfigError(
            "regime gmm needs scikit-learn, which is not installed: pip install 'gridstrategy-v4[gmm]'"
        ) from None
    return GaussianMixture, config_context, ThreadpoolController()


def feature_row(close: float, earlier: float, sigma: float, ratio: float, scale: float) -> tuple[float, float, float]:
    """Return drift, log of sigma and efficiency ratio of one bar; NaN where sigma or a price is not positive.

    Drift is the log return since `earlier` in standard deviations of a random walk, where `scale` is the square root of
    the bars between; it is dimensionless, and around 1 by chance alone.
    """
    if not (sigma > 0.0 and close > 0.0 and earlier > 0.0 and ratio == ratio):
        return _UNKNOWN
    return math.log(close / earlier) / (sigma * scale), math.log(sigma), ratio


@dataclass(frozen=True)
class Fit:
    """A mixture and the `Regime` codes of its components."""

    mixture: Mixture
    names: list[int]


class FitError(Exception):
    """A window cannot be fitted; the message is the name of the warning."""


def fit_mixture(rows: NDArray[np.float64], components: int, before: Mixture | None = None) -> tuple[Mixture, float]:
    """Fit a mixture of `components` to rows of features; return it and its BIC (NaN with `before`).

    Nothing is random: the fit starts from `before`, or from groups of equal size by drift.

    Raises
    ------
    FitError
        The rows do not move, or the likelihood still grows after `MAX_ITERATIONS`.
    """
    model_type, config_context, threads = _scikit_learn()
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    if not spread.min() > _STILL:
        raise FitError("gmm_flat_window")
    points = (rows - centre) / spread
    if before is None:
        groups = np.array_split(points[:, DRIFT].argsort(kind="stable"), components)
        weights = np.array([len(group) / len(points) for group in groups])
        means = np.array([points[group].mean(axis=0) for group in groups])
        variances = np.array([points[group].var(axis=0) for group in groups]) + REGULARISATION
    else:
        weights = before.weights
        means = (before.means - centre) / spread
        variances = before.variances / spread**2
    # The start is set as attributes: checking it as parameters takes as long as an iteration.
    model = model_type(
        components,
        covariance_type="diag",
        tol=TOLERANCE,
        max_iter=MAX_ITERATIONS,
        reg_covar=REGULARISATION,
        warm_start=True,
        random_state=RANDOM,
    )
    model.weights_, model.means_ = weights / weights.sum(), means
    model.precisions_cholesky_ = 1.0 / np.sqrt(variances)
    model.converged_, model.lower_bound_ = False, -math.inf
    # One thread: several may add in another order.
    with (
        threads.limit(limits=1),
        config_context(assume_finite=True, skip_parameter_validation=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            model.fit(points)
        except ValueError:  # a component without any width
            raise FitError("gmm_not_converged") from None
        if not model.converged_:
            raise FitError("gmm_not_converged")
        bic = model.bic(points) if before is None else math.nan
    return Mixture(model.weights_, model.means_ * spread + centre, model.covariances_ * spread**2), bic


class GMMRegime(FastIndicator):
    """The regime as the most probable component of a Gaussian mixture, refitted on a trailing window.

    Features of a closed bar: drift = `ln(C_t / C_{t-span}) / (sigma * sqrt(span))`, `ln(sigma)`, and the efficiency
    ratio. A mixture with diagonal covariances is fitted to them, standardised by the window's own mean and deviation;
    the regimes of its components follow from their means (`name_components`), its posterior gives the candidate, and a
    state lasts at least `dwell` bars (`stay`). `GMMRegime(data)` builds its own sigma over `sigma_bars`;
    `GMMRegime(data, sigma)` uses the given one.

    Lines: `regime`, a `gridv4_bt.core.regime.Regime` code; `noise`, `up`, `down`, `break_up`, `break_down`, the
    probabilities of the five states, NaN without a fit. All begin with the features (bar 96, counted from 0, with the
    defaults); without a fit the regime is NOISE.

    When it is fitted: at the first bar of every `refit` bars of the clock (of `minutes` each, since 1970: with the
    defaults the bar that opens at 00:00 UTC), on the `window` bars that end with that bar, and it is used from that
    bar on. So a fit uses nothing after its bar, and its days are the same wherever the data begins. Neighbouring bars
    share most of their return and volatility, so only every `stride`-th bar of the window is fitted, counted back from
    the last, in half the time. With `stride` 1 the shares of the states are about the same, but a quarter of the bars
    get another one, as they do whenever a fit ends at another optimum.

    A fit starts from the one before, and its components have the hysteresis of those they continue (`name_components`).
    A chain of fits depends on where the data begins, so every tenth fit, by the clock again, starts anew from the
    window alone. A session with `window + 10 * refit` bars after its first sigma (3,936 bars in all with the defaults)
    therefore has the fits of a session with more, to the last bit, and the same regime once one candidate has led for
    twice `dwell` bars. With `components` 0 the BIC chooses their number, 2 to 5, whenever the chain starts anew.

    A window that cannot be fitted gives NOISE until the next fit, and is counted in `warnings`: `gmm_too_few_bars`,
    `gmm_unusable_bars` (less than half of the window has features), `gmm_flat_window`, `gmm_not_converged`. A bar
    without features (sigma 0, no price) is NOISE and counted as `gmm_unusable_bar`.

    Raises
    ------
    ConfigError
        scikit-learn is not installed, or `components` is not one of 0, 2, 3, 4, 5.

    Source: this project (SPEC, section 2); scikit-learn's GaussianMixture.
    """

    lines = ("regime", "noise", "up", "down", "break_up", "break_down")
    params = (
        ("components", 5),
        ("window", 2_880),
        ("refit", 96),
        ("stride", 4),
        ("span", 16),
        ("n", 10),
        ("sigma_bars", 96),
        ("trend", 0.5),
        ("breakout", 1.0),
        ("hysteresis", 0.5),
        ("dwell", 4),
        ("minutes", 15),
    )
    plotinfo = dict(subplot=True, plotyticks=[int(code) for code in sorted(Regime)])
    plotlines = dict(
        regime=dict(color="tab:red", drawstyle="steps-post"),
        noise=dict(_plotskip=True),
        up=dict(_plotskip=True),
        down=dict(_plotskip=True),
        break_up=dict(_plotskip=True),
        break_down=dict(_plotskip=True),
    )

    @takes_params
    def __init__(self) -> None:
        super().__init__()
        _scikit_learn()
        if self.p.components != 0 and self.p.components not in COMPONENTS:
            raise ConfigError(f"components = {self.p.components}: one of 0, {', '.join(map(str, COMPONENTS))}")
        if len(self.datas) > 2:
            raise ConfigError("GMMRegime takes (data) or (data, sigma)")
        self.ratio = EfficiencyRatio(self.data, n=self.p.n)
        own = len(self.datas) == 1
        self.sigma = RollingVolatility(self.data, period=self.p.sigma_bars) if own else self.datas[1]
        needed = max(self.data._minperiod + self.p.span, self.ratio._minperiod, self.sigma._minperiod)
        for line in self.l:
            line.updateminperiod(needed)
        self.warnings: Counter[str] = Counter()
        self._lead: int = getattr(self.data, "lead", 0)  # bars before the span that is traded: nothing is counted there
        self._fit: Fit | None = None
        self._state = NOISE
        self._held = self.p.dwell
        self._scale = math.sqrt(self.p.span)
        self._block = 0
        self._rows: deque[tuple[float, float, float]] = deque(maxlen=self.p.window)

    def prenext(self) -> None:
        self._block = self._block_of(self.data.datetime[0])

    def next(self) -> None:
        data = self.data
        row = feature_row(data.close[0], data.close[-self.p.span], self.sigma[0], self.ratio[0], self._scale)
        self._rows.append(row)
        block = self._block_of(data.datetime[0])
        if block != self._block:
            self._block = block
            self._refit(block, self._rows, len(data) <= self._lead)
        [regime], probabilities = self._read(np.array([row]), int(len(data) <= self._lead))
        for line, value in zip(self.l, (regime, *probabilities[0].tolist()), strict=True):
            line[0] = value

    def oncestart(self, start: int, end: int) -> None:
        """Do nothing: `once` computes the first bar too, because a window may begin with it."""

    def once(self, start: int, end: int) -> None:
        start -= 1
        if start >= end:
            return
        closes = self.data.close.array
        columns = (closes[start:end], closes[start - self.p.span : end - self.p.span])
        signals = (self.sigma.array[start:end], self.ratio.array[start:end])
        scale = self._scale
        rows = np.array([feature_row(*values, scale) for values in zip(*columns, *signals, strict=True)])
        blocks = [self._block_of(time) for time in self.data.datetime.array[start - 1 : end]]
        refits = [index for index in range(end - start) if blocks[index + 1] != blocks[index]]
        lines = [np.frombuffer(line.array)[start:end] for line in self.l]
        firsts = sorted({0, *refits})
        for first, last in zip(firsts, [*firsts[1:], end - start], strict=True):
            if blocks[first + 1] != blocks[first]:
                window = rows[max(first + 1 - self.p.window, 0) : first + 1]
                self._refit(blocks[first + 1], window, start + first < self._lead)
            regimes, probabilities = self._read(rows[first:last], max(self._lead - start - first, 0))
            for line, values in zip(lines, (regimes, *probabilities.T), strict=True):
                line[first:last] = values

    def _block_of(self, days: float) -> int:
        """Return the number of the block of `refit` bars that a bar lies in, counted since 1970."""
        length: int = self.p.refit * self.p.minutes * MINUTE_MS
        return epoch_ms(days) // length

    def _refit(
        self, block: int, window: Sequence[tuple[float, float, float]] | NDArray[np.float64], before_span: bool
    ) -> None:
        """Fit the rows of the bars up to now, at most `window` of them; after a failure there is no fit."""
        before = None if block % RESTART == 0 else self._fit
        self._fit = None
        try:
            self._fit = self._fit_window(window, before)
        except FitError as error:
            if not before_span:
                self.warnings[str(error)] += 1

    def _fit_window(
        self, window: Sequence[tuple[float, float, float]] | NDArray[np.float64], before: Fit | None
    ) -> Fit:
        p = self.p
        if len(window) < p.window:
            raise FitError("gmm_too_few_bars")
        rows = np.array(window)[(p.window - 1) % p.stride :: p.stride]
        usable = rows[np.isfinite(rows).all(axis=1)]
        if len(usable) < USABLE * len(rows):
            raise FitError("gmm_unusable_bars")
        if before is not None:
            mixture, _ = fit_mixture(usable, len(before.names), before.mixture)
            order = match_components(before.mixture, mixture)
            names = self._names(mixture, [before.names[index] for index in order])
            return Fit(mixture, names)
        counts = (p.components,) if p.components else COMPONENTS
        fits = [fit_mixture(usable, count) for count in counts]
        mixture, _ = min(fits, key=lambda fit: fit[1])
        return Fit(mixture, self._names(mixture, None))

    def _names(self, mixture: Mixture, before: Sequence[int] | None) -> list[int]:
        drifts, volatilities = mixture.means[:, DRIFT].tolist(), mixture.means[:, LOG_SIGMA].tolist()
        return name_components(drifts, volatilities, self.p.trend, self.p.breakout, before, self.p.hysteresis)

    def _read(self, rows: NDArray[np.float64], before: int) -> tuple[list[int], NDArray[np.float64]]:
        """Return the regimes and the probabilities of the states at bars of one fit, `before` of them not counted."""
        probabilities = np.full((len(rows), len(STATES)), math.nan)
        candidates: list[int | None] = [None] * len(rows)
        if self._fit is not None:
            usable = np.isfinite(rows[:, 0])
            states = state_probabilities(posteriors(self._fit.mixture, rows[usable]), self._fit.names)
            probabilities[usable] = states
            for index, code in zip(usable.nonzero()[0].tolist(), most_probable(states), strict=True):
                candidates[index] = code
            if unusable := int((~usable[before:]).sum()):
                self.warnings["gmm_unusable_bar"] += unusable
        dwell = self.p.dwell
        state, held = self._state, self._held
        regimes = []
        for candidate in candidates:
            if candidate is None:
                state, held = NOISE, dwell
            else:
                state, held = stay(state, held, candidate, dwell)
            regimes.append(state)
        self._state, self._held = state, held
        return regimes, probabilities
