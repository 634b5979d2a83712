import math
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from busy import BUSY_FILE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

import itertools

from sklearn.mixture import GaussianMixture

from feeds.synthetic import sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import load_config
from gridv4_bt.core.mixture import (
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
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators import GMMRegime, RollingVolatility, gmm
from gridv4_bt.indicators.gmm import FitError, feature_row, fit_mixture

ROOT = Path(__file__).resolve().parents[2]
NAN = math.nan
NOISE, UP, DOWN, BREAK_UP, BREAK_DOWN = 0, 1, -1, 2, -2
#: A small mixture: first fit after 96 + 480 bars, refitted every 48, anew every 480.
SMALL = dict(window=480, refit=48, stride=2)
FIRST_DAY = 738_000.0  # where the tests' feed begins, midnight


def small(data) -> GMMRegime:
    return GMMRegime(data, **SMALL)


def from_closes(close: np.ndarray) -> dict:
    opening = np.concatenate([close[:1], close[:-1]])
    return dict(open=opening, high=np.maximum(opening, close), low=np.minimum(opening, close), close=close)


def planted(seed: int, parts: list[tuple[int, int, float, float]], repeat: int) -> tuple[dict, np.ndarray]:
    """Candles of parts (code, bars, drift in sigmas a bar, factor on sigma), and the code planted at each bar."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.full(bars, code) for code, bars, _, _ in parts] * repeat)
    returns = [
        0.003 * factor * (drift + rng.normal(size=bars)) for _ in range(repeat) for _, bars, drift, factor in parts
    ]
    return from_closes(100.0 * np.exp(np.cumsum(np.concatenate(returns)))), codes


def cut(candles: dict, first: int, last: int) -> dict:
    """The bars first to last at the time of day they had."""
    rows = np.arange(first, last)
    return {name: values[first:last] for name, values in candles.items()} | {"datetime": FIRST_DAY + rows / 96}


# --- names


@pytest.mark.parametrize(
    ("drifts", "volatilities", "expected"),
    [
        # The calmest is NOISE, the others go by sign.
        ([0.1, 0.6, -0.7], [0, 0, 0], [NOISE, UP, DOWN]),
        # Less than a trend is NOISE too; the threshold is inclusive.
        ([0.1, 0.49, -0.5], [0, 0, 0], [NOISE, NOISE, DOWN]),
        # The calmest is NOISE however much it drifts.
        ([2.0, 3.0], [0, 0], [NOISE, BREAK_UP]),
        # Of those beyond the threshold the most volatile of each sign is the breakout, even if another drifts more.
        ([0.0, 1.0, 1.8, -1.2, -0.6], [0, 2, 1, -3, 5], [NOISE, BREAK_UP, UP, BREAK_DOWN, DOWN]),
        ([0.0, 0.99, -0.99], [0, 9, 9], [NOISE, UP, DOWN]),
        # As volatile: the first one.
        ([1.5, 0.0, 1.5], [1, 0, 1], [BREAK_UP, NOISE, UP]),
        # Nothing drifts.
        ([0.0, 0.0], [1, 2], [NOISE, NOISE]),
    ],
)
def test_names_by_means(drifts, volatilities, expected):
    assert name_components(drifts, volatilities, trend=0.5, breakout=1.0) == expected


@pytest.mark.parametrize(
    ("drifts", "before", "expected"),
    [
        # A trend stays one down to half the threshold, if it keeps its direction.
        ([0.0, 0.25], [NOISE, UP], [NOISE, UP]),
        ([0.0, 0.24], [NOISE, UP], [NOISE, NOISE]),
        ([0.0, -0.49], [NOISE, UP], [NOISE, NOISE]),
        # A breakout down to half of its own, then it is a trend.
        ([0.0, 0.5], [NOISE, BREAK_UP], [NOISE, BREAK_UP]),
        ([0.0, 0.49], [NOISE, BREAK_UP], [NOISE, UP]),
        ([0.0, 0.99], [NOISE, UP], [NOISE, UP]),
        # What was NOISE counts as half as fast when the calmest is sought.
        ([0.7, 0.4], [NOISE, UP], [NOISE, UP]),
        ([0.9, 0.4], [NOISE, UP], [UP, NOISE]),
    ],
)
def test_names_are_easier_to_keep_than_to_get(drifts, before, expected):
    assert name_components(drifts, [0.0] * len(drifts), 0.5, 1.0, before, hysteresis=0.5) == expected


components = st.lists(st.tuples(st.floats(-3, 3), st.floats(-9, 0)), min_size=2, max_size=5)


@given(components)
def test_laws_of_names(means):
    drifts, volatilities = zip(*means, strict=True)
    names = name_components(drifts, volatilities, 0.5, 1.0)
    assert NOISE in names
    assert names.count(BREAK_UP) <= 1 and names.count(BREAK_DOWN) <= 1
    assert all(name == NOISE or name * drift > 0 for name, drift in zip(names, drifts, strict=True))
    assert name_components([-drift for drift in drifts], volatilities, 0.5, 1.0) == [-name for name in names]
    assert name_components(drifts, volatilities, 0.5, 1.0, names) == names  # the same means keep their names


# --- matching


def mixture(means, variance=1.0) -> Mixture:
    means = np.array(means, dtype=float)
    return Mixture(np.full(len(means), 1 / len(means)), means, np.full(means.shape, variance))


def test_components_are_matched_by_the_nearest_means():
    before = mixture([[0, 0, 0], [2, 0, 0], [-2, 0, 0]])
    after = mixture([[-1.8, 0, 0], [0.1, 0, 0], [2.2, 0, 0]])
    assert match_components(before, after) == [2, 0, 1]


def test_two_components_near_one_are_matched_by_the_least_sum():
    # Both are nearest to 2, but the pairs (1.9, 2) and (1.2, 0) cost less than the other way round.
    assert match_components(mixture([[0.0], [2.0]]), mixture([[1.9], [1.2]])) == [1, 0]


def test_distances_are_measured_in_the_components_own_variances():
    # 9 of a feature of variance 100 is less than 3 of one of variance 1.
    variances = [100.0, 1.0]
    before, after = mixture([[0, 0], [10, 3]], variances), mixture([[9, 0], [1, 3]], variances)
    assert match_components(before, after) == [0, 1]


# --- the posterior


@st.composite
def mixtures(draw):
    count = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.dirichlet(np.ones(count)) * 0.9 + 0.1 / count
    return Mixture(weights, rng.normal(size=(count, 3)), rng.uniform(0.01, 4.0, size=(count, 3)))


@settings(deadline=None)
@given(mixtures(), st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_the_posterior_is_scikit_learns(fitted, seed, scale):
    rows = np.random.default_rng(seed).normal(size=(20, 3)) * scale
    model = GaussianMixture(len(fitted.weights), covariance_type="diag")
    model.weights_, model.means_, model.covariances_ = fitted.weights, fitted.means, fitted.variances
    model.precisions_cholesky_ = 1.0 / np.sqrt(fitted.variances)
    found = posteriors(fitted, rows)
    np.testing.assert_allclose(found, model.predict_proba(rows), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


@given(mixtures(), st.integers(0, 2**32 - 1))
def test_one_bar_and_a_block_of_bars_have_the_same_bits(fitted, seed):
    rows = np.random.default_rng(seed).normal(size=(17, 3))
    block = posteriors(fitted, rows)
    for index in range(len(rows)):
        np.testing.assert_array_equal(posteriors(fitted, rows[index : index + 1])[0], block[index])


def test_components_of_one_name_add_up_and_the_largest_state_rules():
    shares = np.array([[0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.25, 0.5, 0.25]])
    states = state_probabilities(shares, [UP, NOISE, UP])
    np.testing.assert_array_equal(states, [[0.4, 0.6, 0, 0, 0], [0.8, 0.2, 0, 0, 0], [0.5, 0.5, 0, 0, 0]])
    assert most_probable(states) == [UP, NOISE, NOISE]  # a tie goes to the first of STATES


# --- the least stay


def run_stay(candidates, dwell):
    state, held, states = NOISE, dwell, []
    for candidate in candidates:
        state, held = stay(state, held, candidate, dwell)
        states.append(state)
    return states


def test_a_new_state_comes_at_once_and_stays():
    assert run_stay([UP, NOISE, NOISE, NOISE, DOWN], 3) == [UP, UP, UP, NOISE, NOISE]
    assert run_stay([UP, NOISE, DOWN], 1) == [UP, NOISE, DOWN]


@given(st.lists(st.sampled_from(STATES), max_size=80), st.integers(1, 9))
def test_no_two_changes_within_the_least_stay(candidates, dwell):
    states = run_stay(candidates, dwell)
    changes = [index for index in range(1, len(states)) if states[index] != states[index - 1]]
    assert all(later - earlier >= dwell for earlier, later in itertools.pairwise(changes))


@given(st.lists(st.sampled_from(STATES), max_size=40), st.sampled_from(STATES), st.integers(1, 9))
def test_the_past_is_forgotten_when_one_candidate_leads_for_twice_the_stay(candidates, last, dwell):
    state, held = NOISE, dwell
    for candidate in [*candidates, *[last] * (2 * dwell)]:
        state, held = stay(state, held, candidate, dwell)
    assert state == last and held >= dwell


# --- features and fits


def test_features_by_hand():
    # ln(e^0.08) = 0.08 over 16 bars at a sigma of 0.01: two deviations of a random walk.
    drift, log_sigma, ratio = feature_row(100.0 * math.exp(0.08), 100.0, 0.01, 0.7, 4.0)
    assert drift == pytest.approx(2.0)
    assert (log_sigma, ratio) == (math.log(0.01), 0.7)


@pytest.mark.parametrize("values", [(1, 1, 0.0, 0), (1, 1, NAN, 0), (NAN, 1, 1, 0), (1, 0.0, 1, 0), (1, 1, 1, NAN)])
def test_what_makes_no_sense_has_no_features(values):
    assert all(value != value for value in feature_row(*values, 4.0))


def clouds(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = [(0.0, -6.0, 0.2), (2.0, -6.0, 0.6), (-2.0, -5.0, 0.6)]
    return np.concatenate([rng.normal(centre, (0.3, 0.1, 0.05), size=(200, 3)) for centre in centres])


def test_a_fit_finds_planted_clouds():
    found, _ = fit_mixture(clouds(), 3)
    order = found.means[:, 0].argsort()
    np.testing.assert_allclose(found.weights, 1 / 3, atol=0.01)
    np.testing.assert_allclose(found.means[order], [[-2, -5, 0.6], [0, -6, 0.2], [2, -6, 0.6]], atol=0.08)


def test_the_bic_of_planted_clouds_is_least_at_their_number():
    bics = {count: fit_mixture(clouds(), count)[1] for count in gmm.COMPONENTS}
    assert min(bics, key=bics.get) == 3


def test_a_warm_start_keeps_the_components_in_place():
    cold, _ = fit_mixture(clouds(1), 3)
    warm, _ = fit_mixture(clouds(2), 3, cold)
    assert match_components(cold, warm) == [0, 1, 2]


def test_rows_that_do_not_move_are_refused():
    rows = clouds()
    rows[:, 1] = -6.0
    with pytest.raises(FitError, match="gmm_flat_window"):
        fit_mixture(rows, 3)


def test_a_fit_that_does_not_converge_is_refused_in_silence(monkeypatch):
    monkeypatch.setattr(gmm, "MAX_ITERATIONS", 1)
    with pytest.raises(FitError, match="gmm_not_converged"):
        fit_mixture(clouds(), 3)


# --- planted regimes


def accuracy(regime: np.ndarray, codes: np.ndarray, code: int, first: int = 1_200, settled: int = 20) -> float:
    """Share of the bars of one planted code, `settled` bars or more after its part began, that are recognised."""
    since = np.zeros(len(codes), dtype=int)
    for index in range(1, len(codes)):
        since[index] = since[index - 1] + 1 if codes[index] == codes[index - 1] else 0
    wanted = (codes == code) & (since >= settled) & (np.arange(len(codes)) >= first)
    return float((regime[wanted] == code).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_trends_are_recognised(run_indicator, seed):
    quiet = (NOISE, 150, 0.0, 1.0)
    candles, codes = planted(seed, [quiet, (UP, 60, 1.0, 1.0), quiet, (DOWN, 60, -1.0, 1.0)], 8)
    regime = run_indicator(lambda data: GMMRegime(data, components=3, window=960, breakout=5.0), candles)[0]
    for code in (NOISE, UP, DOWN):
        assert accuracy(regime, codes, code) > 0.7
    # One trend is not taken for the other.
    assert (regime * codes == -1)[1_200:].mean() < 0.01


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_breakouts_are_told_from_trends_by_their_volatility(run_indicator, seed):
    quiet = (NOISE, 150, 0.0, 1.0)
    candles, codes = planted(seed, [quiet, (UP, 60, 0.8, 1.0), quiet, (BREAK_UP, 60, 0.8, 3.0)], 8)
    broken = run_indicator(lambda data: GMMRegime(data, window=1_440), candles)[0][1_700:] == BREAK_UP
    codes = codes[1_700:]
    assert broken[codes == BREAK_UP].mean() > 0.45  # sigma over 96 bars must rise first
    assert broken[codes == UP].mean() < 0.05
    assert broken[codes == NOISE].mean() < 0.15


def test_a_random_walk_is_mostly_no_breakout(run_indicator, random_walk):
    regime = run_indicator(small, random_walk(3, 2_000))[0][600:]
    assert (np.abs(regime) == 2).mean() < 0.35


# --- the indicator


def test_every_mode_gives_the_same_bits(same_in_all_modes, random_walk):
    regime, *probabilities = same_in_all_modes(small, random_walk(1, 1_100))
    probabilities = np.array(probabilities)
    # Sigma begins at bar 96; 480 bars are there from bar 575 on; the clock refits at multiples of 48: bar 576.
    assert np.isfinite(regime).tolist() == [False] * 96 + [True] * 1_004
    assert (regime[96:576] == NOISE).all() and np.isnan(probabilities[:, :576]).all()
    np.testing.assert_allclose(probabilities[:, 576:].sum(axis=0), 1.0, rtol=1e-12)
    assert set(regime[576:]) >= {NOISE, UP, DOWN}


def test_a_window_may_begin_with_the_first_features(same_in_all_modes, random_walk):
    # Data that begins one bar late: the clock's bar 576 is its bar 575, the 480th one with features.
    probabilities = same_in_all_modes(small, cut(random_walk(18, 601), 1, 601))[1:]
    assert np.isfinite(probabilities).all(axis=0).tolist() == [False] * 575 + [True] * 25


@pytest.mark.parametrize("components", [0, 2, 3, 4])
def test_every_number_of_components_is_the_same_in_all_modes(same_in_all_modes, random_walk, components):
    same_in_all_modes(lambda data: GMMRegime(data, components=components, **SMALL), random_walk(2, 650))


def test_it_reads_its_own_or_its_owners_sigma_alike(run_indicator, random_walk):
    candles = random_walk(4, 650)
    own = run_indicator(small, candles)
    owners = run_indicator(lambda data: GMMRegime(data, RollingVolatility(data, period=96), **SMALL), candles)
    np.testing.assert_array_equal(own, owners)


def test_the_regime_is_the_most_probable_state_that_has_stayed(run_indicator, random_walk):
    regime, *probabilities = run_indicator(small, random_walk(5, 1_200))
    expected = run_stay(most_probable(np.array(probabilities)[:, 576:].T), 4)
    assert regime[576:].tolist() == expected


def test_later_bars_change_nothing(run_indicator, random_walk):
    candles = random_walk(6, 1_100)
    whole = run_indicator(small, candles)
    for bars in (97, 576, 577, 623, 624, 625, 700, 961, 1_099):
        part = run_indicator(small, {name: values[:bars] for name, values in candles.items()})
        np.testing.assert_array_equal(part, whole[:, :bars])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bars=st.integers(577, 1_000), seed=st.integers(0, 2**32 - 1))
def test_another_future_changes_nothing_before_it(run_indicator, random_walk, bars, seed):
    candles = random_walk(6, 1_050)
    whole = run_indicator(small, candles)
    order = np.arange(1_050)
    np.random.default_rng(seed).shuffle(order[bars:])
    other = run_indicator(small, {name: values[order] for name, values in candles.items()})
    np.testing.assert_array_equal(other[:, :bars], whole[:, :bars])


@pytest.mark.parametrize("first", [1, 47, 100, 331])
def test_where_the_data_begins_is_forgotten(run_indicator, random_walk, first):
    # Window 480 after 96 bars for sigma, at most 480 to the refit that starts anew.
    candles = random_walk(9, 2_400)
    whole = run_indicator(small, cut(candles, 0, 2_400))[:, first:]
    late = run_indicator(small, cut(candles, first, 2_400))
    known = 96 + 480 + 10 * 48
    np.testing.assert_array_equal(late[1:, known:], whole[1:, known:])
    candidates = most_probable(whole[1:, known:].T)
    agreed = next(i for i in range(8, len(candidates)) if len(set(candidates[i - 8 : i])) == 1) + known
    np.testing.assert_array_equal(late[0, agreed:], whole[0, agreed:])


def test_refits_follow_the_clock(run_indicator, random_walk, monkeypatch):
    sizes = []
    real = gmm.fit_mixture

    def watched(rows, count, before=None):
        sizes.append((len(rows), before is None))
        return real(rows, count, before)

    monkeypatch.setattr(gmm, "fit_mixture", watched)
    # The clock's days begin at bars 60, 156, ...; 480 bars after the 96 of sigma are there at bar 575: first at 636.
    run_indicator(lambda data: GMMRegime(data, window=480, stride=2), cut(random_walk(10, 2_000), 36, 1_700))
    days = range(636, 1_664, 96)
    # Day 18,837 + 7 of the feed's clock is the first; the days that end in 0 start anew.
    anew = [(FIRST_DAY - 719_163 + (36 + bar) // 96) % 10 == 0 for bar in days]
    assert sizes == [(240, index == 0 or new) for index, new in enumerate(anew)]
    assert sum(anew) >= 1


#: Fits and posteriors of planted points, as one number.
BITS = """
import hashlib
import numpy as np
from gridv4_bt.core.mixture import posteriors
from gridv4_bt.indicators.gmm import fit_mixture
rng = np.random.default_rng(1)
points = rng.normal(size=(2_880, 3)) + rng.integers(0, 3, size=(2_880, 1))
cold, bic = fit_mixture(points, 5)
warm, _ = fit_mixture(points[96:], 5, cold)
parts = [*vars(cold).values(), *vars(warm).values(), posteriors(warm, points), np.array(bic)]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def test_two_runs_and_any_number_of_threads_give_the_same_bits(capsys):
    exec(BITS, {})
    here = capsys.readouterr().out
    for threads in ("1", "2"):
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", BITS], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, here, "")


# --- what cannot be fitted


def warnings_of(run_indicator, candles: dict, mode: str = "once", **params) -> tuple[np.ndarray, dict]:
    built = []

    def build(data):
        built.append(GMMRegime(data, **SMALL | params))
        return built[0]

    return run_indicator(build, candles, mode), dict(built[0].warnings)


@pytest.mark.parametrize("mode", ["once", "next"])
def test_fewer_bars_than_needed_are_noise_and_counted(run_indicator, random_walk, mode):
    lines, warnings = warnings_of(run_indicator, random_walk(11, 575), mode)
    assert (lines[0, 96:] == NOISE).all() and np.isnan(lines[1:]).all()
    assert warnings == {"gmm_too_few_bars": 10}  # bars 96, 144, ..., 528


@pytest.mark.parametrize("mode", ["once", "next"])
def test_a_flat_market_is_noise_and_counted(run_indicator, flat_market, capfd, mode):
    lines, warnings = warnings_of(run_indicator, flat_market(700), mode)
    assert (lines[0, 96:] == NOISE).all()
    assert warnings == {"gmm_too_few_bars": 10, "gmm_unusable_bars": 3}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("mode", ["once", "next"])
def test_a_fit_that_does_not_converge_is_noise_and_counted(run_indicator, random_walk, monkeypatch, mode):
    monkeypatch.setattr(gmm, "MAX_ITERATIONS", 1)
    lines, warnings = warnings_of(run_indicator, random_walk(12, 700), mode)
    assert (lines[0, 96:] == NOISE).all()
    assert warnings == {"gmm_too_few_bars": 10, "gmm_not_converged": 3}


def test_a_flat_day_is_noise_and_the_fit_outlives_it(same_in_all_modes, run_indicator, random_walk):
    close = random_walk(13, 760)["close"]
    close[600:710] = close[599]
    candles = from_closes(close)
    regime, *probabilities = same_in_all_modes(small, candles)
    # No return in the 96 bars of sigma from bar 695 on, until the price moves at bar 710.
    assert (regime[695:710] == NOISE).all() and np.isnan(np.array(probabilities)[:, 695:710]).all()
    assert np.isfinite(np.array(probabilities)[:, 710:]).all()
    assert warnings_of(run_indicator, candles)[1] == {"gmm_too_few_bars": 10, "gmm_unusable_bar": 15}


def test_unknown_prices_are_noise(same_in_all_modes, random_walk):
    close = random_walk(14, 720)["close"]
    close[600] = NAN
    regime, *probabilities = same_in_all_modes(small, from_closes(close))
    assert (regime[600:697] == NOISE).all()
    assert np.isnan(np.array(probabilities)[:, 600:697]).all() and np.isfinite(np.array(probabilities)[:, 697:]).all()


@pytest.mark.parametrize("bars", [1, 2, 96])
def test_too_little_data_gives_no_value(same_in_all_modes, random_walk, bars):
    assert np.isnan(same_in_all_modes(small, random_walk(15, bars))).all()


# --- refusals


@pytest.fixture
def without_scikit_learn(monkeypatch):
    for name in ("sklearn", "sklearn.mixture"):
        monkeypatch.setitem(sys.modules, name, None)
    gmm._scikit_learn.cache_clear()
    yield
    gmm._scikit_learn.cache_clear()


def test_without_scikit_learn_it_says_what_to_install(run_indicator, random_walk, without_scikit_learn):
    with pytest.raises(ConfigError, match=r"pip install 'gridstrategy-v4\[gmm\]'"):
        run_indicator(small, random_walk(16, 10))


@pytest.mark.parametrize("components", [1, 6, -1])
def test_a_number_of_components_it_does_not_know_is_refused(run_indicator, random_walk, components):
    with pytest.raises(ConfigError, match=f"components = {components}: one of 0, 2, 3, 4, 5"):
        run_indicator(lambda data: GMMRegime(data, components=components), random_walk(17, 10))


# --- in the strategy


@pytest.fixture(scope="module")
def market():
    market = sample_market(days=45, start="2024-03-01")
    return SymbolData("BTCUSDT", market.candles, market.funding)


def trade(market: SymbolData, regime: str, **options):
    cerebro = make_cerebro(make_feeds([market], **options), load_config(BUSY_FILE, [f"regime={regime}"]), 10_000.0)
    return run(cerebro), cerebro.runstrats[0][0]


def test_the_strategy_trades_on_the_regime_of_the_bar_before(market):
    result, strategy = trade(market, "gmm")
    [record] = result.records
    before = np.array(strategy.regime_gmm.lines.regime.array)[-len(record.log) - 1 : -1]
    np.testing.assert_array_equal(record.column("regime"), np.nan_to_num(before))
    assert set(record.column("regime")) <= {float(code) for code in Regime}
    assert set(record.column("regime")) > {float(NOISE)}
    assert result.summary["warnings"] == {"gmm_too_few_bars": 30}


def test_the_strategy_builds_no_mixture_for_other_filters(market, without_scikit_learn):
    for regime in ("kama", "none"):
        result, strategy = trade(market, regime, end=date(2024, 3, 8))
        assert strategy.regime_gmm is None
        assert result.summary["warnings"] == {}
    with pytest.raises(ConfigError, match="scikit-learn"):
        trade(market, "gmm", end=date(2024, 3, 8))


def test_real_market(same_in_all_modes, bitcoin):
    regime, *probabilities = same_in_all_modes(small, {name: values[:900] for name, values in bitcoin.items()})
    assert set(regime[600:]) <= set(Regime) and len(set(regime[600:])) > 2
    assert np.isfinite(np.array(probabilities)[:, 600:]).all()
