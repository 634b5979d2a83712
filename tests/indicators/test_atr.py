import math
import statistics

import numpy as np
import pytest
import talib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridv4_bt.indicators import RollingVolatility, WilderATR, ZScore

#: True ranges 2 (gap down), 4 (gap up), 3 (inside).
SMALL = dict(open=[10.0] * 4, high=[11.0, 9.0, 13.0, 13.5], low=[9.0, 8.0, 12.0, 10.5], close=[10.0, 9.0, 12.5, 12.0])


def everything(data):
    return WilderATR(data), ZScore(data), RollingVolatility(data, period=30)


def closes_only(closes) -> dict:
    return {name: list(map(float, closes)) for name in ("open", "high", "low", "close")}


def test_atr_starts_with_a_mean_and_decays_by_wilder(same_in_all_modes):
    (atr,) = same_in_all_modes(lambda data: WilderATR(data, period=2), SMALL)
    np.testing.assert_array_equal(atr, [math.nan, math.nan, (2 + 4) / 2, (3 * 1 + 3) / 2])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), period=st.integers(2, 30), bars=st.integers(31, 200))
def test_atr_equals_talib(run_indicator, random_walk, seed, period, bars):
    candles = random_walk(seed, bars)
    (atr,) = run_indicator(lambda data: WilderATR(data, period=period), candles)
    np.testing.assert_allclose(atr, talib.ATR(candles["high"], candles["low"], candles["close"], period), rtol=1e-9)


def test_z_is_the_distance_from_the_average_in_ranges(same_in_all_modes):
    # Last bar: SMA3 of 9, 12.5, 12 is 67/6, ATR2 is 3.
    (z,) = same_in_all_modes(lambda data: ZScore(data, period=3, atr_period=2), SMALL)
    assert np.isnan(z[:2]).all()
    assert z[2:] == pytest.approx([(12.5 - 31.5 / 3) / 3, (12 - 33.5 / 3) / 3], rel=1e-14)


def test_z_equals_talib(same_in_all_modes, random_walk):
    candles = random_walk(1, 500)
    high, low, close = candles["high"], candles["low"], candles["close"]
    (z,) = same_in_all_modes(ZScore, candles)
    np.testing.assert_allclose(z, (close - talib.SMA(close, 20)) / talib.ATR(high, low, close, 14), atol=1e-9)
    assert np.isfinite(z).tolist() == [False] * 19 + [True] * 481


def test_z_begins_when_its_slower_part_does(run_indicator, random_walk):
    (z,) = run_indicator(lambda data: ZScore(data, period=5, atr_period=14), random_walk(2, 30))
    assert np.isfinite(z).tolist() == [False] * 14 + [True] * 16


def test_z_reads_its_own_or_its_owners_atr_alike(same_in_all_modes, random_walk):
    candles = random_walk(3, 200)

    def shared(data):
        atr = WilderATR(data)
        return ZScore(data, atr), atr

    own = same_in_all_modes(ZScore, candles)
    np.testing.assert_array_equal(own[0], same_in_all_modes(shared, candles)[0])


def test_z_of_a_market_that_stopped_moving_is_zero(same_in_all_modes, random_walk):
    # ATR has decayed to nothing by then: an average off by one rounding would look like a crash.
    candles = random_walk(4, 40)
    stopped = {name: np.append(values, np.full(700, 0.1)) for name, values in candles.items()}
    (z,) = same_in_all_modes(ZScore, stopped)
    assert (z[60:] == 0.0).all()


def test_sigma_is_the_sample_deviation_of_log_returns(same_in_all_modes):
    # Returns 0.01, 0.03 and 0.02, 0.03 deviate by 0.01 and 0.005 from their means: sqrt(2 d^2 / 1).
    closes = 100 * np.exp(np.cumsum([0.0, 0.01, 0.03, 0.02]))
    (sigma,) = same_in_all_modes(lambda data: RollingVolatility(data, period=2), closes_only(closes))
    assert np.isnan(sigma[:2]).all()
    assert sigma[2:] == pytest.approx([0.01 * math.sqrt(2), 0.005 * math.sqrt(2)], rel=1e-10)


def test_sigma_against_brute_force(same_in_all_modes, random_walk):
    candles = random_walk(5, 300)
    (sigma,) = same_in_all_modes(RollingVolatility, candles)
    returns = np.diff(np.log(candles["close"]))
    expected = [np.std(returns[t - 96 : t], ddof=1) for t in range(96, 300)]
    assert np.isnan(sigma[:96]).all()
    np.testing.assert_allclose(sigma[96:], expected, rtol=1e-10)
    assert sigma[96] == pytest.approx(statistics.stdev(returns[:96]), rel=1e-12)


def test_sigma_forgets_a_crash_completely(same_in_all_modes):
    (sigma,) = same_in_all_modes(RollingVolatility, closes_only([100.0] * 50 + [50.0] * 200))
    assert (sigma[96:146] > 0.0).all()
    assert (sigma[146:] == 0.0).all()


def test_flat_market_has_no_volatility(same_in_all_modes, flat_market):
    atr, z, sigma = same_in_all_modes(everything, flat_market(120))
    assert (atr[14:] == 0.0).all()
    assert (z[19:] == 0.0).all()
    assert (sigma[30:] == 0.0).all()


def test_later_bars_change_nothing(run_indicator, random_walk):
    candles = random_walk(7, 300)
    whole = run_indicator(everything, candles)
    for bars in (31, 123, 299):
        part = run_indicator(everything, {name: values[:bars] for name, values in candles.items()})
        np.testing.assert_array_equal(part, whole[:, :bars])


@pytest.mark.parametrize("bars", [1, 14, 15, 19, 20, 30, 31])
def test_too_little_data_gives_no_value(same_in_all_modes, random_walk, bars):
    atr, z, sigma = same_in_all_modes(everything, random_walk(8, bars))
    assert np.isfinite(atr).sum() == max(bars - 14, 0)
    assert np.isfinite(z).sum() == max(bars - 19, 0)
    assert np.isfinite(sigma).sum() == max(bars - 30, 0)


def test_real_market(same_in_all_modes, bitcoin):
    atr, z, sigma = same_in_all_modes(everything, bitcoin)
    high, low, close = bitcoin["high"], bitcoin["low"], bitcoin["close"]
    reference = talib.ATR(high, low, close, 14)
    np.testing.assert_allclose(atr, reference, rtol=1e-9)
    np.testing.assert_allclose(z, (close - talib.SMA(close, 20)) / reference, atol=1e-9)
    assert np.isfinite(sigma[30:]).all()
