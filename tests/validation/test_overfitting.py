"""The guards where the truth is known: noise, a planted edge, and cases worked out by hand."""

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridv4_bt.validation.overfitting import (
    bootstrap_return,
    deflated_sharpe,
    expected_best_sharpe,
    overfitting_probability,
    plateau_score,
    probabilistic_sharpe,
    sharpe_ratio,
)

DAYS, TRIALS = 480, 100


def noise(seed: int, days: int = DAYS, trials: int = TRIALS) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).standard_normal((days, trials))


def with_edge(seed: int) -> np.ndarray:
    """Noise, and one trial whose true Sharpe ratio is 0.3 a day (5.7 a year)."""
    returns = noise(seed)
    returns[:, 17] += 0.003
    return returns


# --- pure noise and a planted edge


def test_pure_noise_is_found_out():
    found = [overfitting_probability(noise(seed), blocks=10).probability for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_the_best_of_noise_is_no_better_than_expected_of_it():
    deflated = []
    for seed in range(60):
        returns = noise(seed)
        sharpes = [sharpe_ratio(column) for column in returns.T]
        deflated.append(deflated_sharpe(returns[:, int(np.argmax(sharpes))], sharpes, TRIALS))
    # Each by itself lies on either side of a half: half of all best ones are better than expected.
    assert np.mean(deflated) < 0.5 > np.median(deflated)
    assert max(deflated) < 0.95


def test_noise_whose_best_trials_come_back_to_the_others_is_called_overfitted():
    # Every trial earns as much in one half of the time as it loses in the other.
    returns = noise(3, days=200)
    returns[100:] = -returns[:100][::-1]
    found = overfitting_probability(returns, blocks=2)
    assert found.probability == 1.0
    assert found.loss == 1.0


def test_a_planted_edge_is_found():
    for seed in range(5):
        returns = with_edge(seed)
        sharpes = [sharpe_ratio(column) for column in returns.T]
        assert int(np.argmax(sharpes)) == 17
        found = overfitting_probability(returns, blocks=10)
        assert found.probability < 0.05
        assert found.loss < 0.05
        assert deflated_sharpe(returns[:, 17], sharpes, TRIALS) > 0.95


def test_more_trials_than_are_known_deflate_further():
    returns = with_edge(1)
    sharpes = [sharpe_ratio(column) for column in returns.T]
    few, many = (deflated_sharpe(returns[:, 17], sharpes, trials) for trials in (TRIALS, 1_000_000))
    assert many < few
    assert deflated_sharpe(returns[:, 17], sharpes, 3) == few  # there were at least those that are known


# --- CSCV


def by_hand(returns: np.ndarray, blocks: int) -> list[float]:
    """Relative ranks out of sample, split by split, as the paper tells it."""
    length = len(returns) // blocks
    returns = returns[len(returns) - length * blocks :]
    parts = [returns[i * length : (i + 1) * length] for i in range(blocks)]
    ranks = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1))
        scores = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        ranks.append((sorted(scores.tolist()).index(scores[best]) + 1) / (len(scores) + 1))
    return ranks


@pytest.mark.parametrize(("days", "trials", "blocks"), [(60, 7, 4), (61, 5, 6), (100, 30, 8)])
def test_ranks_are_those_of_the_definition(days, trials, blocks):
    returns = noise(9, days, trials)
    ranks = np.array(by_hand(returns, blocks))
    found = overfitting_probability(returns, blocks)
    np.testing.assert_allclose(found.logits, np.log(ranks / (1.0 - ranks)), atol=1e-12)
    assert found.probability == np.mean(ranks <= 0.5)
    assert len(found.in_sample) == math.comb(blocks, blocks // 2)


def test_two_blocks_worked_out_by_hand():
    # In the first half A leads B, in the second B leads A: each best one comes last of two, relative rank 1/3.
    half_a, half_b = [0.02, 0.03], [0.01, -0.01]
    returns = np.array([half_a + half_b, half_b + half_a]).T
    found = overfitting_probability(returns, blocks=2)
    np.testing.assert_allclose(found.logits, [math.log(0.5)] * 2)
    assert found.probability == 1.0
    assert found.loss == 0.0  # 0.01 - 0.01


def test_trials_that_are_all_the_same_tell_nothing():
    found = overfitting_probability(np.repeat(noise(1, trials=1), 4, axis=1), blocks=4)
    np.testing.assert_allclose(found.logits, 0.0, atol=1e-12)
    flat = overfitting_probability(np.zeros((40, 3)), blocks=4)
    assert np.isfinite(flat.logits).all()


@pytest.mark.parametrize(("shape", "blocks"), [((40, 1), 4), ((40, 5), 5), ((7, 5), 4), ((40, 5), -2)])
def test_too_little_for_cross_validation_is_refused(shape, blocks):
    with pytest.raises(ValueError, match="days of"):
        overfitting_probability(np.zeros(shape), blocks)


# --- deflated Sharpe ratio


def test_example_of_the_paper():
    # Bailey and Lopez de Prado (2014), "A numerical example": annualised Sharpe 2.5 over 1,250 days, 100 trials whose
    # annualised Sharpe ratios have variance 0.5, skew -3, kurtosis 10: SR0 = 0.1132 a day, DSR = 0.9004.
    best = expected_best_sharpe(0.5 / 250.0, 100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    sharpe = 2.5 / math.sqrt(250.0)
    spread = math.sqrt(1.0 + 3.0 * sharpe + 9.0 / 4.0 * sharpe**2)
    assert NormalDist().cdf((sharpe - best) * math.sqrt(1249.0) / spread) == pytest.approx(0.9004, abs=5e-5)


def test_probabilistic_sharpe_is_the_formula_with_the_moments_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    returns = np.random.default_rng(4).standard_t(4, 300) * 0.01 + 0.001
    sharpe = returns.mean() / returns.std(ddof=1)
    skew, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    z = (sharpe - 0.02) * math.sqrt(299.0) / math.sqrt(1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2)
    assert probabilistic_sharpe(returns, 0.02) == pytest.approx(stats.norm.cdf(z), abs=1e-12)


def test_the_best_of_many_draws_is_as_good_as_expected():
    draws = np.random.default_rng(8).standard_normal((2_000, 200)).max(axis=1)
    assert expected_best_sharpe(1.0, 200) == pytest.approx(draws.mean(), rel=0.02)
    assert expected_best_sharpe(1.0, 1) == 0.0


def test_returns_without_any_change_tell_nothing():
    assert probabilistic_sharpe(np.zeros(50), 0.0) == 0.5
    assert sharpe_ratio(np.full(9, 0.25)) == 0.0


# --- plateau


@pytest.mark.parametrize(
    ("winner", "neighbours", "score"),
    [
        (2.0, [2.0, 2.0], 1.0),
        (2.0, [1.0, 3.0], 0.75),
        (2.0, [-5.0, None], 0.0),
        (2.0, [1.0, None], 0.25),
        (2.0, [], None),
        (0.0, [1.0], None),
        (-1.0, [1.0], None),
    ],
)
def test_plateau_by_hand(winner, neighbours, score):
    assert plateau_score(winner, neighbours) == score


# --- bootstrap


def test_interval_of_independent_days_is_that_of_the_normal_law():
    days, mean, deviation = 1_000, 0.001, 0.01
    rng = np.random.default_rng(2)
    logs = rng.standard_normal(days)
    logs = (logs - logs.mean()) / logs.std() * deviation + mean
    found = bootstrap_return(np.expm1(logs), block=1.0, samples=4_000)
    half = 1.6448536 * deviation * math.sqrt(days)
    assert math.log1p(found.low) == pytest.approx(mean * days - half, abs=0.05)
    assert math.log1p(found.median) == pytest.approx(mean * days, abs=0.05)
    assert math.log1p(found.high) == pytest.approx(mean * days + half, abs=0.05)
    assert found.loss < 0.01


def test_blocks_keep_what_follows_each_other():
    # Ten good days after ten bad ones: drawn alone they spread by chance, in long blocks they cancel out.
    returns = np.tile(np.repeat([0.01, -0.01], 10), 20)
    alone, blocks = (bootstrap_return(returns, block=block, seed=1) for block in (1.0, 200.0))
    wide, narrow = (found.high - found.low for found in (alone, blocks))
    assert narrow < wide
    correlated = bootstrap_return(returns, block=10.0, seed=1)
    assert correlated.high - correlated.low > 1.2 * wide


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=40), st.integers(0, 5))
def test_interval_is_ordered_and_the_same_for_the_same_seed(returns, seed):
    found = bootstrap_return(np.array(returns), samples=50, seed=seed)
    assert found.low <= found.median <= found.high
    assert found == bootstrap_return(np.array(returns), samples=50, seed=seed)


def test_a_constant_return_is_certain():
    found = bootstrap_return(np.full(30, 0.01), samples=20)
    assert found.low == pytest.approx(1.01**30 - 1.0) == pytest.approx(found.high)
    with pytest.raises(ValueError, match="0 days"):
        bootstrap_return(np.empty(0))
