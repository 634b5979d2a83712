from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.core import kelly
from gridv4_bt.core.kelly import kelly_fraction, kelly_multiplier


@pytest.mark.parametrize(
    ("win_rate", "avg_win", "avg_loss", "fraction"),
    [
        (0.5, 0.02, 0.01, 25.0),  # 0.5/0.01 - 0.5/0.02
        (0.5, 0.01, 0.01, 0.0),
        (0.6, 0.01, 0.01, 20.0),
        (0.3, 0.01, 0.02, -55.0),  # 15 - 70
        (1.0, 0.01, 0.04, 25.0),
    ],
)
def test_kelly_for_unequal_wins_and_losses(win_rate, avg_win, avg_loss, fraction):
    assert kelly_fraction(win_rate, avg_win, avg_loss) == pytest.approx(fraction, rel=1e-12, abs=1e-12)


def mixed(wins, losses, win=0.01, loss=0.01):
    return [win] * wins + [-loss] * losses


def test_a_quarter_of_kelly_between_the_bounds():
    # W = 0.5, A = 1 %, L = 1/112: K = 56 - 50 = 6
    assert kelly_multiplier(mixed(10, 10, loss=1 / 112)) == pytest.approx(1.5, rel=1e-9)


@pytest.mark.parametrize(("count", "multiplier"), [(0, 1.0), (19, 1.0), (20, 2.0)])
def test_fewer_than_twenty_trades_say_nothing(count, multiplier):
    assert kelly_multiplier([0.01] * count) == multiplier


def test_without_losses_the_cap_holds():
    assert kelly_multiplier([0.001] * 30) == 2.0


def test_without_wins_the_floor_holds():
    assert kelly_multiplier([-0.001] * 30) == 0.25


def test_nothing_but_zeros_is_no_win():
    assert kelly_multiplier([0.0] * 30) == 0.25


def test_wins_and_zeros_have_no_loss():
    assert kelly_multiplier([0.01] * 10 + [0.0] * 20) == 2.0
    assert kelly_multiplier([0.01] + [0.0] * 29) == 2.0


def test_the_result_never_exceeds_the_cap():
    assert kelly_multiplier(mixed(15, 5)) == 2.0  # K = 75 - 25 = 50


def test_the_result_never_falls_below_the_floor():
    assert kelly_multiplier(mixed(5, 15)) == 0.25


def test_only_the_last_fifty_count():
    old = [-1.0] * 200
    assert kelly_multiplier(old + mixed(25, 25, loss=1 / 112)) == pytest.approx(1.5, rel=1e-9)


def test_the_parameters_take_the_place_of_the_defaults():
    # The last 4 of 3 asked for: K = 0.5/0.01 - 0.5/0.02 = 25, half of it 12.5
    returns = [0.5, 0.02, -0.01, 0.02, -0.01]
    assert kelly_multiplier(returns, fraction=0.5, window=4, min_trades=3, floor=0.1, cap=99.0) == pytest.approx(12.5)


@given(st.lists(st.floats(-0.5, 0.5), max_size=90))
def test_agrees_with_the_definition(returns):
    last = returns[-50:]
    wins = [value for value in last if value > 0]
    losses = [-value for value in last if value <= 0]
    if len(returns) < 20:
        expected = 1.0
    elif not wins:
        expected = 0.25
    elif not any(losses):
        expected = 2.0
    else:
        rate = len(wins) / len(last)
        expected = min(2.0, max(0.25, 0.25 * (rate / fmean(losses) - (1 - rate) / fmean(wins))))
    assert kelly_multiplier(returns) == pytest.approx(expected, rel=1e-9)


def test_compiled_functions_give_the_same_bits(compiled):
    fast = compiled(kelly)
    rng = np.random.default_rng(6)
    for count in range(0, 120, 3):
        returns = rng.normal(0.001, 0.01, count)
        assert fast.kelly_multiplier(returns) == kelly_multiplier(returns.tolist())
    assert fast.kelly_fraction(0.6, 0.01, 0.02) == kelly_fraction(0.6, 0.01, 0.02)
