"""The state machine with breakouts from 0.25 and trends from 0.05 on, hysteresis 0.5; and the veto below ADX 25."""

import math

import pytest

from gridv4_bt.core.regime import ADX_FLOOR, Regime, next_state, normalized_slope, run_states, veto


def after(state, slope):
    return next_state(state, slope, 0.25, 0.05, 0.5)


def test_codes():
    assert [int(regime) for regime in Regime] == [0, 1, -1, 2, -2]
    assert ADX_FLOOR == 25.0


def test_slope_is_kamas_move_in_atrs():
    assert normalized_slope(101.0, 100.5, 2.0) == 0.25
    assert normalized_slope(100.0, 100.5, 2.0) == -0.25


def test_slope_without_any_range_is_infinite_or_none():
    assert normalized_slope(100.0, 100.0, 0.0) == 0.0
    assert normalized_slope(101.0, 100.0, 0.0) == math.inf
    assert normalized_slope(99.0, 100.0, 0.0) == -math.inf


@pytest.mark.parametrize(
    ("slope", "state"), [(0.0, 0), (math.nan, 0), (0.049, 0), (0.05, 1), (0.249, 1), (0.25, 2), (1.0, 2)]
)
def test_from_noise_a_state_begins_at_its_threshold(slope, state):
    assert (after(0, slope), after(0, -slope)) == (state, -state)


@pytest.mark.parametrize("state", [-2, -1, 0, 1, 2])
def test_a_kama_that_does_not_move_is_noise_whatever_the_thresholds(state):
    assert next_state(state, 0.0, 0.0, 0.0, 0.5) == 0
    assert next_state(state, -1e-9, 0.25, 0.0, 0.5) == -1


@pytest.mark.parametrize(
    ("before", "slope", "state"),
    [
        (1, 0.025, 1),  # half of 0.05
        (1, 0.024, 0),
        (1, 0.125, 1),  # the breakout's own half is for a breakout only
        (1, 0.249, 1),
        (2, 0.125, 2),
        (2, 0.124, 1),
        (2, 0.024, 0),
        (-1, 0.049, 0),  # other direction: whole thresholds
        (-2, 0.249, 1),
        (-2, 0.25, 2),
    ],
)
def test_a_state_is_easier_to_keep_than_to_enter(before, slope, state):
    assert (after(before, slope), after(-before, -slope)) == (state, -state)


def test_states_follow_one_another():
    out = [9.0] * 4
    assert run_states(0, [0.3, 0.13, 0.03, -0.06], 0.25, 0.05, 0.5, out) == -1
    assert out == [2, 2, 1, -1]


@pytest.mark.parametrize(
    ("state", "adx", "traded"),
    [(1, 24.9, 0), (-1, 24.9, 0), (1, 25.0, 1), (-1, 25.0, -1), (2, 1.0, 2), (-2, 1.0, -2), (0, 50.0, 0)],
)
def test_a_weak_adx_vetoes_trends_and_no_breakouts(state, adx, traded):
    assert veto(state, adx, 25.0) == traded


def test_an_unknown_adx_is_noise():
    assert veto(1, math.nan, 25.0) == veto(2, math.nan, 25.0) == 0
