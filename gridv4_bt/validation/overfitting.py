"""How much of a search's best result is luck: pure functions on the daily returns of all its trials.

Returns are fractions a day; a matrix of them has one row a day and one column a trial. Sharpe ratios are per day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NORMAL = NormalDist()
_EULER = 0.5772156649015329
_SPLITS_AT_ONCE = 512


# --- probability of backtest overfitting


@dataclass(frozen=True)
class Overfitting:
    """The result of combinatorially symmetric cross-validation, one entry a split of the days."""

    probability: float  #: share of the splits whose best trial in sample ranks in the lower half out of sample
    logits: Array  #: ln(w / (1 - w)) of that trial's relative rank w out of sample
    in_sample: Array  #: its Sharpe ratio in sample
    out_of_sample: Array  #: and out of sample
    loss: float  #: share of the splits in which that trial loses out of sample


def overfitting_probability(returns: Array, blocks: int = 16) -> Overfitting:
    """Return the probability of backtest overfitting by CSCV.

    The days are cut into an even number of blocks; each way to take half of them as in-sample leaves the others as
    out-of-sample. D. H. Bailey, J. M. Borwein, M. Lopez de Prado, Q. J. Zhu, "The Probability of Backtest Overfitting",
    Journal of Computational Finance 20 (2017), section 4. The first days are left out where the number of days is no
    multiple of `blocks`; ties in rank count half.

    Raises
    ------
    ValueError
        Fewer than two trials, an odd number of blocks, or fewer than two days a block.
    """
    days, trials = returns.shape
    length = days // max(blocks, 1)
    if trials < 2 or blocks < 2 or blocks % 2 or length < 2:
        raise ValueError(f"{days} days of {trials} trials in {blocks} blocks: need two of each, and an even number")
    cut = returns[days - length * blocks :].reshape(blocks, length, trials)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    size = length * blocks // 2
    best_in, best_out, ranks, losing = [], [], [], 0
    for first in range(0, len(chosen), _SPLITS_AT_ONCE):
        part = chosen[first : first + _SPLITS_AT_ONCE]
        taken = np.zeros((len(part), blocks))
        np.put_along_axis(taken, part, 1.0, axis=1)
        inside = _sharpes(taken @ sums, taken @ squares, size)
        outside_sums = (1.0 - taken) @ sums
        outside = _sharpes(outside_sums, (1.0 - taken) @ squares, size)
        best = inside.argmax(axis=1)
        rows = np.arange(len(part))
        out = outside[rows, best][:, np.newaxis]
        ranks.append((outside < out).sum(axis=1) + ((outside == out).sum(axis=1) + 1) / 2.0)
        best_in.append(inside[rows, best])
        best_out.append(out[:, 0])
        losing += int((outside_sums[rows, best] < 0.0).sum())
    relative = np.concatenate(ranks) / (trials + 1)
    logits = np.log(relative / (1.0 - relative))
    return Overfitting(
        float(np.mean(logits <= 0.0)), logits, np.concatenate(best_in), np.concatenate(best_out), losing / len(chosen)
    )


def _sharpes(sums: Array, squares: Array, size: int) -> Array:
    """Return mean over standard deviation (ddof 1), 0 where nothing varies."""
    mean = sums / size
    variance = (squares - size * mean**2) / (size - 1)
    # What is left of the squares of a constant is noise.
    varies = variance > 1e-12 * squares / size
    return np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)


# --- deflated Sharpe ratio


def sharpe_ratio(returns: Array) -> float:
    """Return mean over standard deviation (ddof 1) of the returns, not annualised; 0 where nothing varies."""
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return float(np.mean(returns)) / deviation if deviation > 0.0 else 0.0


def expected_best_sharpe(variance: float, trials: int) -> float:
    """Return the Sharpe ratio that the best of `trials` without any skill is expected to have.

    `variance` is that of the trials' Sharpe ratios. D. H. Bailey, M. Lopez de Prado, "The Deflated Sharpe Ratio",
    Journal of Portfolio Management 40 (2014), equation 1 with a true mean of 0. A single trial: 0.
    """
    if trials < 2:
        return 0.0
    upper = (1.0 - _EULER) * _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    upper += _EULER * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(max(variance, 0.0)) * upper


def probabilistic_sharpe(returns: Array, benchmark: float) -> float:
    """Return the probability that the true Sharpe ratio (per day) lies above `benchmark`.

    It allows for skew and fat tails. Bailey, Lopez de Prado (2014), equation 2. 0.5 is no knowledge at all, which is
    also the answer where nothing varies.
    """
    sharpe = sharpe_ratio(returns)
    centred = returns - np.mean(returns)
    second = float(np.mean(centred**2)) if len(returns) else 0.0
    if len(returns) < 2 or second <= 0.0:
        return 0.5
    skew = float(np.mean(centred**3)) / second**1.5
    kurtosis = float(np.mean(centred**4)) / second**2
    spread = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(len(returns) - 1) / math.sqrt(max(spread, 1e-12)))


def deflated_sharpe(returns: Array, sharpes: Sequence[float], trials: int) -> float:
    """Return the probability that a trial is better than the best of as many without skill.

    Parameters
    ----------
    returns : of the trial chosen, a day.
    sharpes : Sharpe ratios per day of all trials whose returns are known; they say how far trials scatter.
    trials : how many were really made, at least as many.
    """
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    return probabilistic_sharpe(returns, expected_best_sharpe(variance, max(trials, len(sharpes))))


# --- plateau


def plateau_score(winner: float, neighbours: Sequence[float | None]) -> float | None:
    """Return how much of the winner's figure its neighbours keep: the mean of their shares, each between 0 and 1.

    1 is a plateau, 0 a needle. Figures are such that more is better; None is a neighbour that failed or broke a limit,
    which keeps nothing. None without neighbours or if the winner itself is not above 0.
    """
    if not neighbours or not winner > 0.0:
        return None
    shares = [0.0 if figure is None else min(max(figure / winner, 0.0), 1.0) for figure in neighbours]
    return math.fsum(shares) / len(shares)


# --- bootstrap


@dataclass(frozen=True)
class ReturnInterval:
    """The distribution of the compound return when the days are resampled in blocks."""

    low: float  #: 5th percentile of the compound return
    median: float
    high: float  #: 95th percentile
    loss: float  #: share of the resamples that lose


def bootstrap_return(returns: Array, block: float | None = None, samples: int = 2_000, seed: int = 0) -> ReturnInterval:
    """Return the interval of the compound return by the stationary bootstrap.

    Blocks of days with lengths drawn from a geometric distribution, from random places, wrapped around the end: D. N.
    Politis, J. P. Romano, "The Stationary Bootstrap", Journal of the American Statistical Association 89 (1994).

    Parameters
    ----------
    block : mean length of a block, days; by default the cube root of the number of days, 5 at least.

    Raises
    ------
    ValueError
        No returns, or a block shorter than a day.
    """
    days = len(returns)
    length = max(days ** (1.0 / 3.0), 5.0) if block is None else block
    if not days or length < 1.0:
        raise ValueError(f"{days} days in blocks of {length}: need a day of each at least")
    rng = np.random.default_rng(seed)
    logs = np.log1p(np.maximum(returns, -1.0 + 1e-12))
    rows = np.arange(days)
    totals = np.empty(samples)
    for sample in range(samples):
        begins = rng.random(days) < 1.0 / length
        begins[0] = True
        first = np.maximum.accumulate(np.where(begins, rows, 0))  # of each day's block
        places = rng.integers(days, size=days)[first]
        totals[sample] = logs[(places + rows - first) % days].sum()
    low, median, high = np.expm1(np.percentile(totals, (5.0, 50.0, 95.0))).tolist()
    return ReturnInterval(low, median, high, float(np.mean(totals < 0.0)))
