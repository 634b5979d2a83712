import math

import numpy as np
import pytest
import talib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.regime import Regime, next_state, normalized_slope, veto
from gridv4_bt.errors import ConfigError
from gridv4_bt.indicators import KAMA, EfficiencyRatio, RegimeFSM, WilderADX, WilderATR

NAN = math.nan
NOISE, UP, DOWN, BREAK_UP, BREAK_DOWN = 0, 1, -1, 2, -2


def closes_only(closes) -> dict:
    return {name: list(map(float, closes)) for name in ("open", "high", "low", "close")}


def test_efficiency_ratio_is_net_move_over_path(same_in_all_modes):
    # Windows of 3 moves: (+2 -1 +1) net 2 of 4; (-1 +1 +4) net 4 of 6; (+1 +4 +4) net 9 of 9.
    (er,) = same_in_all_modes(lambda data: EfficiencyRatio(data, n=3), closes_only([10, 12, 11, 12, 16, 20]))
    assert np.isnan(er[:3]).all()
    assert er[3:].tolist() == [2 / 4, 4 / 6, 1.0]


def test_efficiency_ratio_against_brute_force(same_in_all_modes, random_walk):
    candles = random_walk(1, 300)
    close = candles["close"]
    (er,) = same_in_all_modes(EfficiencyRatio, candles)
    expected = [abs(close[t] - close[t - 10]) / np.abs(np.diff(close[t - 10 : t + 1])).sum() for t in range(10, 300)]
    assert np.isnan(er[:10]).all()
    np.testing.assert_allclose(er[10:], expected, rtol=0, atol=1e-12)


def test_efficiency_ratio_never_exceeds_one_by_rounding(same_in_all_modes):
    (er,) = same_in_all_modes(EfficiencyRatio, closes_only(np.cumsum(np.full(200, 0.1))))
    assert er[10:].max() <= 1.0


def test_kama_starts_from_the_close_before_and_adapts(same_in_all_modes):
    # n = 2. Bar 2: er = 2/2, SC = (2/3)^2 = 4/9, 11 + 4/9*(12 - 11). Bar 3: er = 0/2, SC = (2/31)^2.
    (kama,) = same_in_all_modes(lambda data: KAMA(data, n=2), closes_only([10, 11, 12, 11]))
    first = 11 + 4 / 9
    assert np.isnan(kama[:2]).all()
    assert kama[2:] == pytest.approx([first, first + (2 / 31) ** 2 * (11 - first)], rel=1e-15)


def test_kama_moves_between_its_fast_and_its_slow_average(same_in_all_modes):
    # As above with averages over 3 and 9 bars: 2/4 and 2/10 instead of 2/3 and 2/31.
    (kama,) = same_in_all_modes(lambda data: KAMA(data, n=2, fast=3, slow=9), closes_only([10, 11, 12, 11]))
    first = 11 + 0.5**2
    assert kama[2:] == pytest.approx([first, first + 0.2**2 * (11 - first)], rel=1e-15)


def test_the_regimes_own_kama_has_the_same_averages(run_indicator, random_walk):
    candles = random_walk(3, 300)
    own, own_slope, given, given_slope = run_indicator(
        lambda data: (
            RegimeFSM(data, n=5, fast=3, slow=20, atr_period=7, adx_period=6),
            RegimeFSM(data, KAMA(data, n=5, fast=3, slow=20), WilderATR(data, period=7), WilderADX(data, period=6)),
        ),
        candles,
    )
    np.testing.assert_array_equal([own, own_slope], [given, given_slope])
    assert len(np.unique(own[np.isfinite(own)])) > 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), bars=st.integers(31, 200))
def test_kama_equals_talib(run_indicator, random_walk, seed, n, bars):
    candles = random_walk(seed, bars)
    (kama,) = run_indicator(lambda data: KAMA(data, n=n), candles)
    np.testing.assert_allclose(kama, talib.KAMA(candles["close"], n), rtol=1e-9)


def test_kama_is_the_same_in_all_modes(same_in_all_modes, random_walk):
    (kama,) = same_in_all_modes(KAMA, random_walk(2, 400))
    assert np.isfinite(kama).tolist() == [False] * 10 + [True] * 390


def test_slope_is_the_move_in_ranges():
    assert normalized_slope(101.0, 100.0, 4.0) == 0.25
    assert normalized_slope(100.0, 100.0, 0.0) == 0.0
    assert normalized_slope(101.0, 100.0, 0.0) == math.inf
    assert normalized_slope(99.0, 100.0, 0.0) == -math.inf
    assert math.isnan(normalized_slope(NAN, 100.0, 0.0))


@pytest.mark.parametrize(
    ("state", "slope", "expected"),
    [
        # Entering from NOISE: full thresholds, inclusive.
        (NOISE, 0.0499, NOISE),
        (NOISE, 0.05, UP),
        (NOISE, -0.0499, NOISE),
        (NOISE, -0.05, DOWN),
        (NOISE, 0.2499, UP),
        (NOISE, 0.25, BREAK_UP),
        (NOISE, -0.2499, DOWN),
        (NOISE, -0.25, BREAK_DOWN),
        (NOISE, 0.0, NOISE),
        # A trend is kept down to half its threshold, but breaks out at the full one.
        (UP, 0.025, UP),
        (UP, 0.0249, NOISE),
        (UP, 0.2499, UP),
        (UP, 0.25, BREAK_UP),
        (DOWN, -0.025, DOWN),
        (DOWN, -0.0249, NOISE),
        (DOWN, -0.2499, DOWN),
        (DOWN, -0.25, BREAK_DOWN),
        # A breakout is kept down to half its threshold, then is a trend down to half that one's.
        (BREAK_UP, 0.125, BREAK_UP),
        (BREAK_UP, 0.1249, UP),
        (BREAK_UP, 0.025, UP),
        (BREAK_UP, 0.0249, NOISE),
        (BREAK_DOWN, -0.125, BREAK_DOWN),
        (BREAK_DOWN, -0.1249, DOWN),
        (BREAK_DOWN, -0.025, DOWN),
        (BREAK_DOWN, -0.0249, NOISE),
        # The other direction has no hysteresis.
        (UP, -0.0499, NOISE),
        (UP, -0.05, DOWN),
        (DOWN, 0.0499, NOISE),
        (DOWN, 0.05, UP),
        (BREAK_UP, -0.2499, DOWN),
        (BREAK_UP, -0.25, BREAK_DOWN),
        (BREAK_DOWN, 0.2499, UP),
        (BREAK_DOWN, 0.25, BREAK_UP),
        # Extremes and the unknown.
        (NOISE, math.inf, BREAK_UP),
        (NOISE, -math.inf, BREAK_DOWN),
        (UP, 0.0, NOISE),
        (BREAK_UP, NAN, NOISE),
        (DOWN, NAN, NOISE),
    ],
)
def test_state_table(state, slope, expected):
    result = next_state(state, slope, 0.25, 0.05, 0.5)
    assert result == expected
    assert type(result) is int


@pytest.mark.parametrize(
    ("state", "adx", "expected"),
    [
        (UP, 24.99, NOISE),
        (UP, 25.0, UP),
        (DOWN, 24.99, NOISE),
        (DOWN, 25.0, DOWN),
        (BREAK_UP, 0.0, BREAK_UP),
        (BREAK_DOWN, 0.0, BREAK_DOWN),
        (NOISE, 60.0, NOISE),
        (UP, NAN, NOISE),
        (BREAK_DOWN, NAN, NOISE),
    ],
)
def test_veto_table(state, adx, expected):
    assert veto(state, adx, 25.0) == expected


def test_codes_are_the_published_ones():
    assert {code.name: code.value for code in Regime} == {
        "NOISE": 0,
        "UPTREND": 1,
        "DOWNTREND": -1,
        "BREAKOUT_UP": 2,
        "BREAKOUT_DOWN": -2,
    }


def given_inputs(data) -> RegimeFSM:
    return RegimeFSM(data, data.kama, data.atr, data.adx)


def test_veto_hides_the_state_without_changing_it(same_in_all_modes):
    # Slopes 0.06 (enters the trend), 0.03 (keeps it by hysteresis) while ADX vetoes the first bar only, and once more.
    candles = closes_only([1, 1, 1, 1, 1])
    candles |= dict(kama=[100.0, 100.06, 100.09, 100.12, 100.13], atr=[1.0] * 5, adx=[30.0, 20.0, 30.0, 20.0, 30.0])
    regime, slope = same_in_all_modes(given_inputs, candles)
    np.testing.assert_array_equal(regime, [NAN, NOISE, UP, NOISE, NOISE])
    assert slope[1:] == pytest.approx([0.06, 0.03, 0.03, 0.01])


def test_unknown_slope_resets_the_state_and_unknown_adx_does_not(same_in_all_modes):
    candles = closes_only([1] * 8)
    candles |= dict(
        kama=[100.0, 100.06, NAN, 100.0, 100.03, 100.09, 100.12, 100.15],
        atr=[1.0] * 8,
        adx=[30.0, 30.0, 30.0, 30.0, 30.0, 30.0, NAN, 30.0],
    )
    regime, slope = same_in_all_modes(given_inputs, candles)
    np.testing.assert_array_equal(regime, [NAN, UP, NOISE, NOISE, NOISE, UP, NOISE, UP])
    assert np.isnan(slope).tolist() == [True, False, True, True, False, False, False, False]


def test_state_runs_before_adx_is_known(same_in_all_modes):
    # ADX(2) begins at bar 3; the trend was entered at bar 2 (0.06) and bar 3 (0.03) only keeps it.
    line = [100.0, 101.0, 102.0, 103.0]
    candles = dict(open=line, high=line, low=line, close=line, kama=[100.0, 100.0, 100.06, 100.09], atr=[1.0] * 4)
    regime, slope = same_in_all_modes(
        lambda data: RegimeFSM(data, data.kama, data.atr, WilderADX(data, period=2)), candles
    )
    np.testing.assert_array_equal(regime, [NAN, NAN, NAN, UP])
    assert np.isnan(slope).tolist() == [True, True, True, False]


def test_first_bar_does_not_look_at_the_last_one(same_in_all_modes):
    # Bar 1's slope 0.03 is NOISE unless bar 0, against the feed's last KAMA, had already made an uptrend.
    candles = closes_only([1] * 3) | dict(kama=[100.0, 100.03, 90.0], atr=[1.0] * 3, adx=[30.0] * 3)
    regime, _ = same_in_all_modes(given_inputs, candles)
    np.testing.assert_array_equal(regime, [NAN, NOISE, BREAK_DOWN])


def test_regime_reads_its_own_or_its_owners_averages_alike(same_in_all_modes, random_walk):
    candles = random_walk(3, 600)

    def shared(data):
        kama, atr, adx = KAMA(data), WilderATR(data), WilderADX(data)
        return RegimeFSM(data, kama, atr, adx), kama, atr, adx

    own = same_in_all_modes(RegimeFSM, candles)
    regime, slope, kama, atr, adx = same_in_all_modes(shared, candles)
    np.testing.assert_array_equal(own, [regime, slope])
    assert np.isfinite(regime).tolist() == [False] * 27 + [True] * 573

    # The definition, bar by bar from the first slope, over the averages' own values.
    state, expected = NOISE, []
    for t in range(1, 600):
        state = next_state(state, (kama[t] - kama[t - 1]) / atr[t], 0.25, 0.05, 0.5)
        expected.append(veto(state, adx[t], 25.0))
    assert regime[27:].tolist() == expected[26:]
    assert set(regime[27:]) == set(Regime)


def test_regime_refuses_some_of_the_averages(run_indicator, random_walk):
    with pytest.raises(ConfigError, match="kama, atr, adx"):
        run_indicator(lambda data: RegimeFSM(data, KAMA(data)), random_walk(4, 50))


def everything(data):
    return EfficiencyRatio(data), KAMA(data), RegimeFSM(data)


def test_flat_market_is_noise(same_in_all_modes, flat_market):
    er, kama, regime, slope = same_in_all_modes(everything, flat_market(60))
    assert (er[10:] == 0.0).all()
    assert (kama[10:] == 0.1).all()
    assert (regime[27:] == NOISE).all()
    assert (slope[27:] == 0.0).all()


def test_later_bars_change_nothing(run_indicator, random_walk):
    candles = random_walk(5, 300)
    whole = run_indicator(everything, candles)
    for bars in (40, 123, 299):
        part = run_indicator(everything, {name: values[:bars] for name, values in candles.items()})
        np.testing.assert_array_equal(part, whole[:, :bars])


@pytest.mark.parametrize("bars", [1, 2, 10, 11, 27])
def test_too_little_data_gives_no_value(same_in_all_modes, random_walk, bars):
    er, kama, regime, slope = same_in_all_modes(everything, random_walk(6, bars))
    assert np.isnan(regime).all() and np.isnan(slope).all()
    assert np.isfinite(er).sum() == np.isfinite(kama).sum() == max(bars - 10, 0)


def test_real_market(same_in_all_modes, bitcoin):
    er, kama, regime, slope = same_in_all_modes(everything, bitcoin)
    np.testing.assert_allclose(kama, talib.KAMA(bitcoin["close"], 10), rtol=1e-9)
    expected = np.diff(kama) / talib.ATR(bitcoin["high"], bitcoin["low"], bitcoin["close"], 14)[1:]
    np.testing.assert_allclose(slope[27:], expected[26:], atol=1e-9)
    assert set(regime[27:]) == set(Regime)
