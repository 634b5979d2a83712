"""A Gaussian mixture of market regimes: its posterior, the regimes of its components, and the shortest stay in one.

Plain arrays; fitting is done in `gridv4_bt.indicators.gmm`. Values are computed element by element in a fixed order, so
that one bar alone and a block of bars give the same bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.sums import plain_sum

NOISE, UP, DOWN = int(Regime.NOISE), int(Regime.UPTREND), int(Regime.DOWNTREND)

#: The order of the posterior's columns; of equally probable states the first one rules.
STATES = (NOISE, UP, DOWN, int(Regime.BREAKOUT_UP), int(Regime.BREAKOUT_DOWN))
_CODES = np.array(STATES)
_LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture with diagonal covariances."""

    weights: NDArray[np.float64]  #: shape (components,), sum 1
    means: NDArray[np.float64]  #: shape (components, features), in the features' own units
    variances: NDArray[np.float64]  #: shape (components, features)


def posteriors(mixture: Mixture, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of each component given each row of features, shape (rows, components)."""
    joint = np.empty((len(rows), len(mixture.weights)))
    for index, weight in enumerate(mixture.weights.tolist()):
        mean, variance = mixture.means[index].tolist(), mixture.variances[index].tolist()
        constant = math.log(weight)
        distance = np.zeros(len(rows))
        for feature in range(len(mean)):
            constant -= 0.5 * (_LOG_2PI + math.log(variance[feature]))
            apart = rows[:, feature] - mean[feature]
            distance += apart * apart / variance[feature]
        joint[:, index] = constant - 0.5 * distance
    joint -= joint.max(axis=1, keepdims=True)
    # math.exp for one bar and for many: numpy's vectorised exponential may differ from itself in the last bit.
    shares = np.array(list(map(math.exp, joint.ravel().tolist()))).reshape(joint.shape)
    total = np.zeros(len(rows))
    for index in range(shares.shape[1]):
        total += shares[:, index]
    return shares / total[:, None]


def state_probabilities(components: NDArray[np.float64], names: Sequence[int]) -> NDArray[np.float64]:
    """Return the probability of each regime, shape (rows, 5) in the order of `STATES`.

    It is the sum of the posteriors of the components of that regime; `names` holds the `Regime` code of each component.
    """
    states = np.zeros((len(components), len(STATES)))
    for index, name in enumerate(names):
        states[:, STATES.index(name)] += components[:, index]
    return states


def most_probable(states: NDArray[np.float64]) -> list[int]:
    """Return the `Regime` code of the most probable regime in each row of `state_probabilities`."""
    codes: list[int] = _CODES[states.argmax(axis=1)].tolist()
    return codes


def name_components(
    drifts: Sequence[float],
    volatilities: Sequence[float],
    trend: float,
    breakout: float,
    before: Sequence[int] | None = None,
    hysteresis: float = 0.5,
) -> list[int]:
    """Return the `Regime` code of each component.

    The component with the smallest drift is NOISE, and so is any with less drift than `trend`; the others are trends of
    their sign. Of the trends of one sign with at least the drift `breakout` the most volatile is the BREAKOUT.

    Parameters
    ----------
    drifts : mean drift of each component; in standard deviations of a random walk over the same bars.
    volatilities : mean of each component's volatility or of its logarithm; only the order counts.
    trend, breakout : absolute drift from which a component is a trend, or may be a breakout.
    before : the codes of the same components in the fit before, None without one.
    hysteresis : factor on the thresholds of the direction or breakout that a component already has, and on the drift of
        one that was NOISE; below 1 it makes a regime easier to keep than to enter.
    """
    count = len(drifts)
    known = [NOISE] * count if before is None else list(before)
    factor = 1.0 if before is None else hysteresis
    sizes = [abs(drift) * (factor if name == NOISE else 1.0) for drift, name in zip(drifts, known, strict=True)]
    calmest = sizes.index(min(sizes))
    names = [NOISE] * count
    for index, drift in enumerate(drifts):
        sign = UP if drift > 0.0 else DOWN
        needed = trend * factor if known[index] * sign > 0 else trend
        if index != calmest and drift != 0.0 and abs(drift) >= needed:
            names[index] = sign
    for sign in (UP, DOWN):
        strong = [
            index
            for index, name in enumerate(names)
            if name == sign and abs(drifts[index]) >= (breakout * factor if known[index] == 2 * sign else breakout)
        ]
        if strong:
            names[max(strong, key=lambda index: volatilities[index])] = 2 * sign
    return names


def match_components(before: Mixture, after: Mixture) -> list[int]:
    """Return for each component of `after` the index of the component of `before` that it continues.

    Both have the same number of components. The sum of distances between the means of the pairs, measured in the
    components' own variances, is the smallest possible.
    """
    spread = before.variances[None] + after.variances[:, None]
    distance = ((after.means[:, None] - before.means[None]) ** 2 / spread).sum(axis=2)
    nearest: list[int] = distance.argmin(axis=1).tolist()
    if len(set(nearest)) == len(nearest):
        return nearest
    rows = distance.tolist()
    orders = permutations(range(len(rows)))
    return list(min(orders, key=lambda order: plain_sum(row[index] for row, index in zip(rows, order, strict=True))))


def stay(state: int, held: int, candidate: int, dwell: int) -> tuple[int, int]:
    """Return the state after a bar and how many bars it has lasted, this one included.

    The candidate replaces a state that has lasted `dwell` bars or more, so that a breakout after a quiet time counts at
    once, but the state never changes twice within `dwell` bars.
    """
    if candidate != state and held >= dwell:
        return candidate, 1
    return state, held + 1
