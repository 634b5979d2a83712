import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.core import funding
from gridv4_bt.core.funding import funding_tilt, premium_proxy, settles_between, synthetic_rate

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("rate", "long_size", "short_size"),
    [(0.0001, 0.75, 1.25), (-0.0001, 1.25, 0.75), (0.0, 1.0, 1.0), (-0.0, 1.0, 1.0)],
)
def test_the_receiving_side_grows_and_the_paying_side_shrinks(rate, long_size, short_size):
    assert (funding_tilt(rate, 1), funding_tilt(rate, -1)) == (long_size, short_size)


def test_no_rate_known_yet_tilts_nothing():
    assert funding_tilt(math.nan, 1) == funding_tilt(math.nan, -1) == 1.0


def test_the_size_of_the_rate_does_not_matter():
    assert funding_tilt(1e-9, 1) == funding_tilt(0.02, 1)


def test_another_tilt():
    assert (funding_tilt(0.001, 1, 0.1), funding_tilt(0.001, -1, 0.1)) == (0.9, 1.1)


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        (0.0, 0.0001),  # the interest alone
        (0.0006, 0.0001),  # pulled back by all of the clamp
        (-0.0004, 0.0001),
        (0.0010, 0.0005),
        (-0.0010, -0.0005),
        (0.0035, 0.0030),
        (0.02, 0.003),  # the limit
        (-0.02, -0.003),
    ],
)
def test_the_exchanges_formula(premium, rate):
    assert synthetic_rate(premium) == pytest.approx(rate, rel=1e-12)


@given(st.floats(-0.0004, 0.0006))
def test_within_the_clamp_the_rate_is_the_interest(premium):
    assert synthetic_rate(premium) == pytest.approx(0.0001, rel=1e-9)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_rate_rises_with_the_premium_within_its_limit(one, other):
    low, high = sorted((one, other))
    assert -0.003 <= synthetic_rate(low) <= synthetic_rate(high) + 1e-18 <= 0.003 + 1e-17


def test_premium_follows_the_move_of_the_period():
    # 2 % of a move of +5 % and of -5 %
    assert premium_proxy(105.0, 100.0) == pytest.approx(0.001, rel=1e-9)
    assert premium_proxy(95.0, 100.0) == pytest.approx(-0.001, rel=1e-9)


@pytest.mark.parametrize(
    ("before", "now", "due"),
    [
        (7 * HOUR, 8 * HOUR, True),  # the end belongs to it
        (8 * HOUR, 9 * HOUR, False),  # the beginning does not
        (8 * HOUR - 1, 8 * HOUR, True),
        (1 * HOUR, 7 * HOUR, False),
        (1 * HOUR, 40 * HOUR, True),
        (15 * HOUR + HOUR // 4, 16 * HOUR, True),
    ],
)
def test_settlements_fall_on_multiples_of_the_interval(before, now, due):
    assert settles_between(before, now, 8 * HOUR) == due


def test_compiled_functions_give_the_same_bits(compiled):
    fast = compiled(funding)
    rng = np.random.default_rng(7)
    for premium in [0.0, math.nan, *rng.normal(0.0, 0.002, 500).tolist()]:
        for side in (1, -1):
            assert fast.funding_tilt(premium, side) == funding_tilt(premium, side)
        if premium == premium:
            assert fast.synthetic_rate(premium) == synthetic_rate(premium)
            assert fast.premium_proxy(1.0 + premium, 1.0) == premium_proxy(1.0 + premium, 1.0)
    assert fast.settles_between(7 * HOUR, 8 * HOUR, 8 * HOUR) is True
