"""What is found without the exact price must be the order price of the exact one, to the last bit."""

import math
import random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.grid import level_price, round_boundary
from gridv4_bt.engine.ladder import order_price
from gridv4_bt.engine.quick_price import boundary_near, quick_order_price

sides = st.sampled_from((1, -1))
prices = st.floats(-4.0, 6.0).map(lambda power: 10.0**power)
ticks = st.sampled_from((1e-6, 1e-4, 0.001, 0.01, 0.1, 0.5, 1.0))


def running_product(side_sign, centre, spacing_pct, level):
    """The estimate as `plan_side` makes it."""
    growth = 1.0 / (1.0 + spacing_pct) if side_sign > 0 else 1.0 + spacing_pct
    for _ in range(level):
        centre *= growth
    return centre


@settings(max_examples=500)
@given(sides, prices, st.floats(1e-4, 0.2), st.integers(1, 100), ticks, st.sampled_from((0.0015, 0.0, 0.0049)))
def test_a_level_gets_the_price_of_its_exact_one_or_none(side, centre, spacing_pct, level, tick, nudge_pct):
    quick = quick_order_price(side, running_product(side, centre, spacing_pct, level), tick, nudge_pct)
    assert quick in (0.0, order_price(side, level_price(centre, spacing_pct, -side * level), tick, nudge_pct))


near = st.sampled_from((0.0, 1e-16, 1e-13, 9e-13, 1e-12, 2e-12, 9e-12, 1.1e-11, 1e-9, 2e-9, 1e-6))


@settings(max_examples=500)
@given(
    sides, st.integers(1, 9_999), st.sampled_from((1e-3, 0.1, 1.0, 10.0, 1000.0)),
    st.sampled_from((1.0, 1.0015, 0.9985, 1.001)), near, st.sampled_from((1, -1)), st.floats(-3e-14, 3e-14), ticks,
)  # fmt: skip
@example(1, 30, 1000.0, 1.0015, 0.0, 1, 0.0, 0.1)
@example(-1, 400, 1000.0, 1.0, 1e-9, 1, 0.0, 0.1)  # round numbers' neighbourhoods overlap
def test_at_ticks_and_round_numbers_it_is_the_same_or_unsure(side, count, unit, edge, distance, way, error, tick):
    exact = count * unit * edge * (1.0 + way * distance)
    assert quick_order_price(side, exact * (1.0 + error), tick) in (0.0, order_price(side, exact, tick))


def test_it_is_hardly_ever_unsure():
    draw, unsure = random.Random(1), 0
    for _ in range(2_000):
        decades = draw.uniform(-3.0, 5.4)
        tick = 10.0 ** (math.floor(decades) - draw.choice((3, 4, 5)))
        unsure += quick_order_price(draw.choice((1, -1)), 10.0**decades, tick) == 0.0
    assert unsure < 20


def test_next_to_a_tick_or_a_round_number_it_is_unsure():
    assert quick_order_price(1, 30_123.5, 0.1) == 0.0
    assert quick_order_price(1, 30_000.0, 0.1) == 0.0
    assert quick_order_price(1, math.nextafter(30_000.0, 0.0), 0.1) == 0.0
    assert quick_order_price(1, 30_123.54, 0.1) == 30_123.5
    assert quick_order_price(-1, 30_001.0, 0.1) == 30_045.0
    assert quick_order_price(-1, 30_001.0, 0.1, 0.004) == 30_120.0
    assert quick_order_price(-1, 30_001.0, 0.1, 0.0) == 0.0  # on a tick
    assert quick_order_price(-1, 30_001.04, 0.1, 0.0) == 30_001.1


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("edge", [30.0 * 1.0015, 31.0 * 0.9985])
def test_at_the_edge_of_a_round_numbers_neighbourhood_it_is_unsure(side, edge):
    # 30.045 and 30.9535 lie between two ticks: on one side of the edge the order goes up, on the other down
    assert [quick_order_price(side, edge * (1.0 + hair), 0.01) for hair in (-5e-12, 0.0, 5e-12)] == [0.0] * 3
    for hair in (-2e-11, 2e-11):
        near = edge * (1.0 + hair)
        assert quick_order_price(side, near, 0.01) == order_price(side, near, 0.01) > 0.0


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("price", "tick"), [(1.23, 0.01), (30_123.5, 0.1)])
def test_within_a_hair_of_a_tick_it_is_unsure(side, price, tick):
    assert [quick_order_price(side, price * (1.0 + hair), tick) for hair in (-5e-12, 0.0, 5e-12)] == [0.0] * 3
    for hair in (-1e-9, 1e-9):
        near = price * (1.0 + hair)
        assert quick_order_price(side, near, tick) == order_price(side, near, tick) > 0.0


def test_boundaries_begin_at_powers_of_ten():
    assert [boundary_near(price)[0] for price in (10_000.0, 9_999.0, 1_000.0, 999.0, 100.0)] == [1e3, 1e2, 1e2, 10, 10]
    assert [boundary_near(price)[0] for price in (99.0, 10.0, 9.9)] == [1.0, 1.0, 0.1]


@given(prices)
def test_boundaries_agree_but_for_a_hair_around_a_power_of_ten(price):
    decades = math.log10(price)
    assume(abs(decades - round(decades)) > 1e-12)
    boundary, inverse = boundary_near(price)
    assert abs(boundary - round_boundary(price)) < 1e-12 * boundary
    assert abs(boundary * inverse - 1.0) < 1e-12
