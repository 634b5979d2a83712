import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.core import inventory
from gridv4_bt.core.inventory import fill_decay, normalized_inventory, optimal_spread, reservation_price


@pytest.mark.parametrize(
    ("position", "limit", "q"),
    [
        (0.25, 0.5, 0.5),
        (0.0, 2.0, 0.0),
        (0.5, 2.0, 0.25),
        (-0.5, 2.0, -0.25),
        (2.0, 2.0, 1.0),
        (9.0, 2.0, 1.0),
        (-9.0, 2.0, -1.0),
    ],
)
def test_inventory_is_a_share_of_its_limit_within_one(position, limit, q):
    assert normalized_inventory(position, limit) == q


@pytest.mark.parametrize("limit", [0.0, -5.0])
@pytest.mark.parametrize(("position", "q"), [(0.1, 1.0), (-0.1, -1.0), (0.0, 0.0)])
def test_where_nothing_may_be_held_any_position_is_full(limit, position, q):
    assert normalized_inventory(position, limit) == q


def test_reservation_price_by_hand():
    # 100 - 0.5*0.05*0.2^2*96 = 100 - 0.096
    assert reservation_price(100.0, 0.5, 0.05, 0.2, 96) == pytest.approx(99.904, rel=1e-15)


def test_reservation_price_is_mid_without_inventory():
    assert reservation_price(123.4, 0.0, 5.0, 3.0, 96) == 123.4


def test_a_short_book_reserves_as_far_above_as_a_long_one_below():
    below, above = (reservation_price(100.0, q, 0.05, 0.2, 96) for q in (0.5, -0.5))
    assert above - 100.0 == pytest.approx(100.0 - below, rel=1e-12)


@given(st.floats(1e-6, 1e6), st.floats(-1, 1), st.floats(0, 100), st.floats(0, 0.05))
def test_scaled_gamma_gives_the_same_shift_in_percent_at_every_price(price, q, gamma, sigma):
    share = reservation_price(1.0, q, gamma, sigma, 96) - 1.0
    scaled = reservation_price(price, q, gamma / price, sigma * price, 96) / price - 1.0
    assert scaled == pytest.approx(share, rel=1e-9, abs=1e-12)


def test_a_spread_in_sigmas_is_the_decay_that_shrinks_as_the_market_gets_wilder():
    # half a spread of 4 sigmas of 0.25 % is 1 %, of 0.5 % it is 2 %: kappa 100 and 50
    assert fill_decay(0.0025, 30.0, 4.0) == pytest.approx(100.0, rel=1e-15)
    assert fill_decay(0.005, 30.0, 4.0) == pytest.approx(50.0, rel=1e-15)
    half = 0.5 * optimal_spread(0.0, 0.005, 30, fill_decay(0.005, 30.0, 4.0))
    assert half == pytest.approx(4.0 * 0.005, rel=1e-15)


@pytest.mark.parametrize(("sigma", "sigmas"), [(0.003, 0.0), (0.0, 4.0), (math.nan, 4.0)])
def test_the_decay_is_kappa_without_sigmas_or_without_any_move(sigma, sigmas):
    assert fill_decay(sigma, 30.0, sigmas) == 30.0


def test_spread_by_hand():
    # 0.05*0.2^2*96 + (2/0.05)*ln(1 + 0.05/10) = 0.192 + 40*0.00498754151
    assert optimal_spread(0.05, 0.2, 96, 10.0) == pytest.approx(0.192 + 0.1995016604, rel=1e-9)


def test_spread_without_risk_aversion_is_two_over_kappa():
    assert optimal_spread(0.0, 0.2, 96, 10.0) == 0.2
    assert optimal_spread(1e-310, 0.0, 96, 1e300) == 2e-300  # 2/gamma would be infinite


@pytest.mark.parametrize("gamma", [1e-3, 1e-6, 1e-9, 1e-15])
def test_spread_goes_smoothly_to_that_limit(gamma):
    assert optimal_spread(gamma, 0.0, 96, 10.0) == pytest.approx(0.2 * (1 - gamma / 20), rel=1e-7)


@given(st.floats(1e-6, 1e6), st.floats(0, 100), st.floats(0, 0.05), st.floats(1, 1e6))
def test_scaled_gamma_and_kappa_give_the_same_spread_in_percent_at_every_price(price, gamma, sigma, kappa):
    share = optimal_spread(gamma, sigma, 96, kappa)
    assert optimal_spread(gamma / price, sigma * price, 96, kappa / price) / price == pytest.approx(share, rel=1e-9)


def test_the_default_spread_in_a_quiet_market_is_a_fifth_of_a_percent():
    assert optimal_spread(5.0, 0.0, 96, 1_000.0) == pytest.approx(0.4 * math.log(1.005), rel=1e-12)


def test_compiled_functions_give_the_same_numbers(compiled):
    fast = compiled(inventory)
    rng = np.random.default_rng(5)
    for position, limit, gamma, sigma, kappa in rng.normal(0.0, 1.0, (500, 5)).tolist():
        assert fast.normalized_inventory(position, limit) == normalized_inventory(position, limit)
        assert fast.reservation_price(100.0, position, gamma, sigma, 96) == pytest.approx(
            reservation_price(100.0, position, gamma, sigma, 96), rel=1e-15
        )
        gamma = max(gamma, 0.0)
        assert fast.optimal_spread(gamma, sigma, 96, 1.0 + kappa * kappa) == pytest.approx(
            optimal_spread(gamma, sigma, 96, 1.0 + kappa * kappa), rel=1e-14
        )
