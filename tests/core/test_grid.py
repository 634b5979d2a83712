import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gridv4_bt.core import grid
from gridv4_bt.core.grid import (
    exit_price,
    grid_spacing,
    level_price,
    nudge_round_number,
    nudge_window,
    round_boundary,
    round_down,
    round_up,
)

#: From 333,333 on, 0.15 % is more than half of the 1,000 between two round numbers: no price is far from all.
PRICES = st.floats(-16.0, 12.6).map(math.exp)
STEPS = [1e-8, 1e-7, 1e-5, 0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 100.0]


# --- spacing and levels


@pytest.mark.parametrize(
    ("atr", "price", "spacing"),
    [
        (20.0, 10_000.0, 100.0),  # 1 % floor above 3*20
        (50.0, 10_000.0, 150.0),  # 3 ATR above the floor
        (0.0, 0.0005, 0.000005),
    ],
)
def test_spacing_is_three_atr_and_at_least_one_percent(atr, price, spacing):
    assert grid_spacing(atr, price, 3.0, 0.01) == pytest.approx(spacing, rel=1e-15)


@pytest.mark.parametrize(
    ("level", "price"), [(0, 100.0), (1, 110.0), (2, 121.0), (3, 133.1), (-1, 90.9090909090909), (-2, 82.6446280991736)]
)
def test_levels_are_geometric(level, price):
    assert level_price(100.0, 0.1, level) == pytest.approx(price, rel=1e-14)


def test_the_levels_of_both_sides_are_reciprocal():
    assert level_price(100.0, 0.02, -7) * level_price(100.0, 0.02, 7) == pytest.approx(10_000.0, rel=1e-13)


# --- round numbers


@pytest.mark.parametrize(
    ("price", "boundary"),
    [
        (1_000_000.0, 1_000.0),
        (100_000.0, 1_000.0),
        (10_000.0, 1_000.0),
        (9_999.9, 100.0),
        (1_000.0, 100.0),
        (999.9, 10.0),
        (100.0, 10.0),
        (99.9, 1.0),
        (10.0, 1.0),
        (9.99, 0.1),
        (1.0, 0.1),
        (0.999, 0.01),
        (0.1, 0.01),
        (0.0999, 0.001),
        (0.00012, 0.00001),
        (0.00001, 0.000001),
    ],
)
def test_round_numbers_stand_at_the_boundary_of_the_decade(price, boundary):
    assert round_boundary(price) == pytest.approx(boundary, rel=1e-12)


@pytest.mark.parametrize("decade", range(-7, 8))
def test_a_power_of_ten_belongs_to_the_decade_it_opens(decade):
    price = float(f"1e{decade}")
    assert round_boundary(price) == pytest.approx(min(price / 10, 1_000.0), rel=1e-12)


@pytest.mark.parametrize(
    ("price", "is_buy", "moved"),
    [
        # one row above, one below, for each decade: 0.15 % of the number
        (60_050.0, True, 60_090.0),
        (60_050.0, False, 60_090.0),
        (59_950.0, True, 59_910.0),
        (59_950.0, False, 59_910.0),
        (60_090.0, True, 60_090.0),  # exactly 0.15 % away: stays
        (60_500.0, True, 60_500.0),
        (2_501.0, True, 2_503.75),
        (2_499.0, False, 2_496.25),
        (301.0, False, 301.0),  # 0.15 % of 300 is 0.45
        (300.2, False, 300.45),
        (299.8, True, 299.55),
        (25.01, True, 25.0375),
        (24.99, True, 24.9625),
        (2.501, True, 2.50375),
        (2.499, False, 2.49625),
        (0.2501, True, 0.250375),
        (0.2499, False, 0.249625),
        (0.00025003, True, 0.000250375),
        # across a change of decade the number itself counts
        (9_999.0, True, 9_985.0),
        (10_001.0, False, 10_015.0),
        (999.9, True, 998.5),
        (0.99999, False, 0.9985),
    ],
)
def test_a_level_near_a_round_number_moves_to_015_percent_from_it(price, is_buy, moved):
    assert nudge_round_number(price, is_buy) == pytest.approx(moved, rel=1e-12)


@pytest.mark.parametrize("number", [90_000.0, 10_000.0, 2_500.0, 1_000.0, 100.0, 30.0, 7.0, 1.0, 0.3, 0.1, 0.07, 2e-5])
def test_exactly_on_the_number_buys_go_above_and_sells_below(number):
    assert nudge_round_number(number, True) == pytest.approx(number * 1.0015, rel=1e-12)
    assert nudge_round_number(number, False) == pytest.approx(number * 0.9985, rel=1e-12)


def nearest_multiple(price):
    """The nearest round number by exact decimal arithmetic, and the boundary."""
    exact = Decimal(price)
    if exact >= 1_000:
        boundary = Decimal(1_000) if exact >= 10_000 else Decimal(100)
    else:
        boundary = Decimal(10) ** (exact.adjusted() - 1)
    return round(exact / boundary) * boundary


@given(PRICES, st.booleans())
@example(0.1, True)
@example(0.3, False)
@example(9_999.999999999, True)
def test_the_result_is_never_nearer_than_015_percent(price, is_buy):
    moved = nudge_round_number(price, is_buy)
    number = nearest_multiple(price)
    assert abs(Decimal(moved) - number) >= Decimal("0.0015") * number * (1 - Decimal("1e-9"))


@given(PRICES, st.booleans())
def test_the_result_keeps_its_side_of_the_number(price, is_buy):
    number = nearest_multiple(price)
    assume(abs(Decimal(price) - number) > Decimal("1e-11") * number)
    moved = nudge_round_number(price, is_buy)
    assert (Decimal(moved) > number) == (Decimal(price) > number)


@given(PRICES, st.booleans())
def test_a_level_far_from_every_number_stays_to_the_bit(price, is_buy):
    number = nearest_multiple(price)
    if abs(Decimal(price) - number) > Decimal("0.001500001") * number:
        assert nudge_round_number(price, is_buy) == price


@pytest.mark.parametrize(("price", "moved"), [(500_200.0, 500_750.0), (499_900.0, 499_250.0), (500_600.0, 500_248.5)])
def test_where_all_prices_are_near_a_number_the_nearest_one_counts(price, moved):
    assert nudge_round_number(price, True) == pytest.approx(moved, rel=1e-12)


@given(PRICES, st.booleans())
def test_nudging_twice_changes_nothing_more(price, is_buy):
    moved = nudge_round_number(price, is_buy)
    assert nudge_round_number(moved, is_buy) == pytest.approx(moved, rel=1e-12)


@given(PRICES, st.floats(0.0, 1.0), st.booleans())
def test_prices_inside_the_window_share_its_answer(price, share, is_buy):
    low, high, moved_to = nudge_window(price)
    other = low + (high - low) * share
    assume(low < other < high and abs(other - price) > 1e-9 * price)
    # Clear of the number itself, where the side of the order decides, and of the rims, where float noise does.
    assume(min(other - low, high - other) > 1e-9 * price and min(price - low, high - price) > 1e-9 * price)
    first, second = nudge_round_number(price, is_buy), nudge_round_number(other, is_buy)
    if moved_to:
        assert first == second == moved_to
    else:
        assert (first, second) == (price, other)


@pytest.mark.parametrize(
    ("price", "window"),
    [
        (60_500.0, (60_090.0, 60_908.5, 0.0)),  # between 60,000 + 0.15 % and 61,000 - 0.15 %
        (60_200.0, (60_090.0, 60_908.5, 0.0)),
        (60_800.0, (60_090.0, 60_908.5, 0.0)),
        (60_090.0, (60_090.0, 60_908.5, 0.0)),
        (59_910.0, (59_088.5, 59_910.0, 0.0)),
        (60_089.0, (60_000.0, 60_090.0, 60_090.0)),
        (60_000.0, (60_000.0, 60_090.0, 60_090.0)),
        (59_911.0, (59_910.0, 60_000.0, 59_910.0)),
    ],
)
def test_windows_end_at_the_numbers_and_015_percent_from_them(price, window):
    assert nudge_window(price) == pytest.approx(window, rel=1e-12)


@pytest.mark.parametrize("number", [60_000.0, 0.3])
def test_a_hair_beside_the_number_the_side_of_the_order_decides(number):
    for price in (math.nextafter(number, 0.0), math.nextafter(number, math.inf)):
        assert nudge_round_number(price, True) == pytest.approx(number * 1.0015, rel=1e-12)
        assert nudge_round_number(price, False) == pytest.approx(number * 0.9985, rel=1e-12)


# --- the exchange's steps


@pytest.mark.parametrize(
    ("value", "step", "down", "up"),
    [
        (0.3, 0.1, 0.3, 0.3),  # 0.3/0.1 is 2.9999999999999996
        (0.29999, 0.1, 0.2, 0.3),
        (9_914.85, 0.1, 9_914.8, 9_914.9),
        (100.0, 0.1, 100.0, 100.0),
        (0.0504, 0.001, 0.05, 0.051),
        (7.3, 0.25, 7.25, 7.5),
        (123.0, 5.0, 120.0, 125.0),
        (0.0, 0.1, 0.0, 0.0),
        (1.1e-7, 1e-8, 1.1e-7, 1.1e-7),
        (1_234_567.8, 0.1, 1_234_567.8, 1_234_567.8),
    ],
)
def test_rounding_to_a_step(value, step, down, up):
    assert (round_down(value, step), round_up(value, step)) == (down, up)


def in_decimal(value, step, rounding):
    step = Decimal(repr(step))
    return float((Decimal(repr(value)) / step).to_integral_value(rounding) * step)


@given(st.integers(0, 80_000_000), st.integers(0, 999), st.sampled_from(STEPS))
def test_rounding_agrees_with_decimal_arithmetic(count, thousandth, step):
    # A decimal that is a multiple of a thousandth of the step, so that whole multiples occur.
    value = float((Decimal(count) + Decimal(thousandth) / 1000) * Decimal(repr(step)))
    assert round_down(value, step) == in_decimal(value, step, ROUND_FLOOR)
    assert round_up(value, step) == in_decimal(value, step, ROUND_CEILING)


@given(st.floats(0.0, 1e5), st.sampled_from(STEPS))
def test_rounding_is_done_after_one_time(value, step):
    assume(value / step < 1e8)
    down, up = round_down(value, step), round_up(value, step)
    assert round_down(down, step) == round_up(down, step) == down
    assert round_down(up, step) == round_up(up, step) == up


@pytest.mark.parametrize("step", [0.3, 0.15, 0.4, 0.75, 0.06])
def test_steps_that_do_not_divide_one(step):
    for count in range(50):
        value = (count + 0.5) * step
        assert round_down(value, step) == pytest.approx(count * step, rel=1e-12)
        assert round_up(value, step) == pytest.approx((count + 1) * step, rel=1e-12)


@pytest.mark.parametrize("step", [1.5, 2.5, 10.0])
def test_steps_above_one(step):
    assert round_down(7.6 * step, step) == 7 * step
    assert round_up(7.6 * step, step) == 8 * step


# --- exits


def long_exit(fill_price=100.0, spacing_pct=0.01, shift=0.0, maker_fee=0.0002, last_price=100.0, tick=0.01):
    return exit_price(1, fill_price, spacing_pct, shift, maker_fee, last_price, tick)


def short_exit(fill_price=100.0, spacing_pct=0.01, shift=0.0, maker_fee=0.0002, last_price=100.0, tick=0.01):
    return exit_price(-1, fill_price, spacing_pct, shift, maker_fee, last_price, tick)


def test_the_target_is_one_spacing_of_the_fill_away():
    assert (long_exit(), short_exit()) == (101.0, 99.0)


def test_the_target_is_rounded_away_from_the_fill():
    assert long_exit(fill_price=100.03, tick=0.1) == 101.1  # 101.0303
    assert short_exit(fill_price=100.03, tick=0.1) == 99.0  # 99.0297


def test_inventory_brings_the_exit_nearer_where_it_sheds():
    assert long_exit(shift=-0.25) == 100.75
    assert short_exit(shift=0.25) == 99.25


def test_inventory_never_moves_an_exit_away():
    assert (long_exit(shift=0.25), short_exit(shift=-0.25)) == (101.0, 99.0)


def test_an_exit_never_loses_to_both_maker_fees():
    # LONG at 100 breaks even at 100*1.0002/0.9998 = 100.040008, SHORT at 99.960008: outwards on the tick.
    assert long_exit(shift=-5.0, last_price=99.0) == 100.05
    assert short_exit(shift=5.0, last_price=101.0) == 99.96


@given(
    st.sampled_from([1, -1]),
    st.floats(0.01, 1e5),
    st.floats(0.0001, 0.2),
    st.floats(-0.5, 0.5),
    st.floats(0.0, 0.01),
    st.floats(0.8, 1.2),
)
def test_every_exit_earns_its_fees_and_crosses_nothing(side_sign, fill, spacing, shift, fee, move):
    tick, last = fill * 1e-4, fill * move
    price = exit_price(side_sign, fill, spacing, shift * fill, fee, last, tick)
    assert side_sign * (price - last) > 0
    assert side_sign * (price - fill) - fee * (price + fill) >= -1e-7 * fill


def test_a_target_already_passed_becomes_one_tick_beyond_the_price():
    assert long_exit(last_price=103.0) == 103.01
    assert short_exit(last_price=97.0) == 96.99


def test_a_target_on_the_last_price_moves_one_tick_on():
    assert long_exit(last_price=101.0) == 101.01
    assert short_exit(last_price=99.0) == 98.99


# --- compiled


def test_compiled_functions_give_the_same_bits(compiled):
    fast = compiled(grid)
    rng = np.random.default_rng(3)
    for price in np.exp(rng.uniform(-14, 14, 2_000)).tolist():
        step = STEPS[int(rng.integers(len(STEPS)))]
        spacing, shift = float(rng.uniform(0.001, 0.1)), float(rng.normal(0.0, 0.02) * price)
        level = int(rng.integers(-20, 20))
        side = 1 if level > 0 else -1
        assert fast.grid_spacing(shift, price, 3.0, 0.01) == grid_spacing(shift, price, 3.0, 0.01)
        assert fast.round_boundary(price) == round_boundary(price)
        assert fast.nudge_round_number(price, side > 0) == nudge_round_number(price, side > 0)
        assert fast.nudge_window(price) == nudge_window(price)
        assert fast.round_down(price, step) == round_down(price, step)
        assert fast.round_up(price, step) == round_up(price, step)
        exit_args = (side, price, spacing, shift, 0.0002, price * (1 + shift / price), price * 1e-4)
        assert fast.exit_price(*exit_args) == exit_price(*exit_args)
        assert fast.level_price(price, spacing, level) == level_price(price, spacing, level)
