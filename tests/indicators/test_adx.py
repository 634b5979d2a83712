import math

import numpy as np
import pytest
import talib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridv4_bt.indicators import WilderADX
from gridv4_bt.indicators.adx import directional_moves


def talib_adx(candles: dict, period: int = 14) -> np.ndarray:
    return talib.ADX(candles["high"], candles["low"], candles["close"], period)


@pytest.mark.parametrize(
    ("high", "low", "expected"),
    [
        (12.0, 10.0, (2.0, 0.0)),
        (10.0, 7.0, (0.0, 2.0)),
        (12.0, 6.0, (0.0, 3.0)),
        (13.0, 7.0, (3.0, 0.0)),
        (12.0, 7.0, (0.0, 0.0)),
        (9.5, 9.2, (0.0, 0.0)),
    ],
    ids=["up", "down", "outside down", "outside up", "outside even", "inside"],
)
def test_the_larger_outward_move_counts(high, low, expected):
    assert directional_moves([10.0, high], [9.0, low]) == ([expected[0]], [expected[1]])


def test_adx_by_hand(same_in_all_modes):
    # Period 2. +DM, -DM of bars 1..4: (1,0) (2,0) (0,2) (1,0).
    # Smoothed: bar 1 (1,0); bar 2 (2.5,0) DX 100; bar 3 (1.25,2) DX 75/3.25; bar 4 (1.625,1) DX 62.5/2.625.
    candles = dict(high=[10.0, 11, 13, 12, 13], low=[8.0, 9, 10, 8, 9], close=[9.0, 10, 12, 9, 12], open=[9.0] * 5)
    (adx,) = same_in_all_modes(lambda data: WilderADX(data, period=2), candles)
    first = (100 + 75 / 3.25) / 2
    assert np.isnan(adx[:3]).all()
    assert adx[3:] == pytest.approx([first, (first + 62.5 / 2.625) / 2], rel=1e-14)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), period=st.integers(2, 30), bars=st.integers(60, 200))
def test_adx_equals_talib(run_indicator, random_walk, seed, period, bars):
    candles = random_walk(seed, bars)
    (adx,) = run_indicator(lambda data: WilderADX(data, period=period), candles)
    np.testing.assert_allclose(adx, talib_adx(candles, period), rtol=0, atol=1e-9)


def test_adx_is_the_same_in_all_modes(same_in_all_modes, random_walk):
    (adx,) = same_in_all_modes(WilderADX, random_walk(1, 400))
    assert np.isfinite(adx).tolist() == [False] * 27 + [True] * 373


def test_flat_market_has_no_trend(same_in_all_modes, flat_market):
    (adx,) = same_in_all_modes(WilderADX, flat_market(60))
    assert np.isnan(adx[:27]).all()
    assert (adx[27:] == 0.0).all()


def test_flat_start_counts_as_no_trend_and_is_left_behind(same_in_all_modes, random_walk):
    candles = random_walk(2, 100)
    late = {name: np.append(np.full(20, values[0]), values) for name, values in candles.items()}
    (adx,) = same_in_all_modes(WilderADX, late)
    np.testing.assert_allclose(adx, talib_adx(late), rtol=0, atol=1e-9)


def test_straight_line_is_all_trend(same_in_all_modes):
    line = np.arange(100.0, 160.0)
    (adx,) = same_in_all_modes(WilderADX, dict(open=line, high=line + 1, low=line - 1, close=line))
    assert adx[27:] == pytest.approx(100.0)


def test_later_bars_change_nothing(run_indicator, random_walk):
    candles = random_walk(3, 300)
    whole = run_indicator(WilderADX, candles)
    for bars in (28, 123, 299):
        part = run_indicator(WilderADX, {name: values[:bars] for name, values in candles.items()})
        np.testing.assert_array_equal(part, whole[:, :bars])


@pytest.mark.parametrize("bars", [1, 2, 27, 28, 29])
def test_too_little_data_gives_no_value(same_in_all_modes, random_walk, bars):
    (adx,) = same_in_all_modes(WilderADX, random_walk(4, bars))
    assert sum(map(math.isfinite, adx)) == max(bars - 27, 0)


def test_real_market(same_in_all_modes, bitcoin):
    (adx,) = same_in_all_modes(WilderADX, bitcoin)
    np.testing.assert_allclose(adx, talib_adx(bitcoin), rtol=0, atol=1e-9)
