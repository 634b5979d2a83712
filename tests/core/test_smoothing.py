"""Wilder's averages and the adaptive one, on numbers that can be worked out by hand."""

import math

import pytest

from gridv4_bt.core.smoothing import NAN, adaptive, directional_indices, wilder, wilder_step


def test_wilders_average_keeps_all_but_one_part_of_its_period():
    assert wilder_step(10.0, 24.0, 14) == pytest.approx((13 * 10.0 + 24.0) / 14)


def test_wilders_average_passes_over_what_is_not_known():
    out = [0.0] * 3
    wilder(10.0, [20.0, NAN, 4.0], 4, out)
    # (3*10 + 20)/4 = 12.5; then (3*12.5 + 4)/4
    assert out == [12.5, 12.5, 10.375]


def test_the_adaptive_average_moves_by_a_fraction_of_the_distance():
    out = [0.0] * 2
    adaptive(10.0, [20.0, 2.0], [0.5, 0.25], out)
    # 10 + 0.5*10 = 15; 15 + 0.25*(2 - 15)
    assert out == [15.0, 11.75]


def test_directional_index_of_smoothed_moves():
    smoothed, out = [8.0, 4.0], [0.0] * 2
    directional_indices(smoothed, [2.0, 0.0], [0.0, 3.0], 4, out)
    # plus: 8 - 2 + 2 = 8, then 8 - 2 = 6; minus: 4 - 1 = 3, then 3 - 0.75 + 3 = 5.25
    assert smoothed == [6.0, 5.25]
    assert out == [pytest.approx(100 * 5 / 11), pytest.approx(100 * 0.75 / 11.25)]


def test_directional_index_is_unknown_where_nothing_moves():
    smoothed, out = [0.0, 0.0], [0.0] * 2
    directional_indices(smoothed, [0.0, 1.0], [0.0, 0.0], 4, out)
    assert smoothed == [1.0, 0.0]
    assert math.isnan(out[0])
    assert out[1] == 100.0
