"""Which entry a level wants, and the windows in which the answer stays the same."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.grid import nudge_round_number, nudge_window
from gridv4_bt.engine.ladder import (
    Blocked,
    distance_window,
    is_kept,
    lies_near,
    order_price,
    reach_reason,
    size_reason,
    surroundings_reason,
)


@pytest.mark.parametrize(
    ("sign", "raw", "tick", "price"),
    [
        (1, 41_234.567, 0.1, 41_234.5),  # buys round down
        (-1, 41_234.567, 0.1, 41_234.6),  # sells round up
        (1, 41_234.5, 0.1, 41_234.5),
        (-1, 41_234.5, 0.1, 41_234.5),
        (1, 42_010.0, 0.1, 42_063.0),  # 42,000 + 0.15 %
        (-1, 41_990.0, 0.1, 41_937.0),  # 42,000 - 0.15 %
        (1, 42_000.0, 0.1, 42_063.0),  # on the number a buy goes above
        (-1, 42_000.0, 0.1, 41_937.0),  # and a sell below
        (1, 1_234.0, 5.0, 1_230.0),
    ],
)
def test_order_price_leaves_round_numbers_and_then_obeys_the_tick(sign, raw, tick, price):
    assert order_price(sign, raw, tick) == pytest.approx(price, rel=1e-12)


@pytest.mark.parametrize(
    ("sign", "price", "reason"),
    [
        (1, 100.0, Blocked.CROSSES),
        (1, 100.1, Blocked.CROSSES),
        (1, 99.5, Blocked.INSIDE_SPREAD),
        (1, 99.0, Blocked.PLACED),
        (1, 98.0, Blocked.PLACED),
        (-1, 100.0, Blocked.CROSSES),
        (-1, 99.9, Blocked.CROSSES),
        (-1, 100.5, Blocked.INSIDE_SPREAD),
        (-1, 101.0, Blocked.PLACED),
    ],
)
def test_entry_may_not_cross_the_last_price_nor_lie_inside_the_spread(sign, price, reason):
    # last price 100, nearest price allowed one away from it
    assert reach_reason(sign, price, 100.0, 100.0 - sign) == reason


@pytest.mark.parametrize(
    ("fills", "cooling", "reason"),
    [
        ([], [], Blocked.PLACED),
        ([100.5], [], Blocked.OCCUPIED),  # half of a spacing of 1 %
        ([99.5], [], Blocked.OCCUPIED),
        ([100.51], [], Blocked.PLACED),
        ([], [99.6], Blocked.COOLING),
        ([], [99.4], Blocked.PLACED),
        ([100.1], [100.1], Blocked.OCCUPIED),
    ],
)
def test_level_is_blocked_by_a_fill_or_a_cut_within_half_a_spacing(fills, cooling, reason):
    assert surroundings_reason(100.0, 0.01, fills, len(fills), cooling, len(cooling)) == reason


def test_only_the_first_prices_count():
    assert not lies_near(100.0, [90.0, 100.0], 1, 0.5)
    assert lies_near(100.0, [90.0, 100.0], 2, 0.5)


@pytest.mark.parametrize(
    ("qty", "room", "reason"),
    [
        (0.0009, 1e9, Blocked.MIN_QTY),
        (0.001, 1e9, Blocked.MIN_NOTIONAL),  # 0.1 at a price of 100, 5 asked for
        (0.049, 1e9, Blocked.MIN_NOTIONAL),
        (0.05, 1e9, Blocked.PLACED),
        (1.0, 100.0, Blocked.PLACED),
        (1.0, 99.9, Blocked.MAX_INVENTORY),
        (1.0, -1.0, Blocked.MAX_INVENTORY),
    ],
)
def test_size_obeys_the_market_and_the_inventory_limit(qty, room, reason):
    assert size_reason(100.0, qty, 0.001, 5.0, room) == reason


def test_resting_order_is_kept_within_the_tolerance():
    assert is_kept(100.0, 100.25, 0.25)
    assert is_kept(100.0, 99.75, 0.25)
    assert not is_kept(100.0, 100.26, 0.25)


# --- the windows

positive_prices = st.floats(math.log(0.01), math.log(200_000.0)).map(math.exp)
shares = st.floats(0.001, 0.999)


@settings(max_examples=300)
@given(positive_prices, shares, st.booleans())
def test_inside_the_window_the_nudge_treats_all_prices_alike(price, share, is_buy):
    low, high, moved_to = nudge_window(price)
    assert low <= price <= high
    other = low + share * (high - low)
    assume(low < other < high)
    if moved_to == 0.0:
        assert nudge_round_number(other, is_buy) == other
    else:
        assert nudge_round_number(other, is_buy) == pytest.approx(moved_to, rel=1e-12)


@settings(max_examples=300)
@given(positive_prices, st.booleans())
def test_nudged_price_has_its_distance_from_the_round_number(price, is_buy):
    moved = nudge_round_number(price, is_buy)
    low, high, target = nudge_window(price)
    if target:
        number = low if target == high else high
        assert abs(moved - number) == pytest.approx(0.0015 * number, rel=1e-9)


@settings(max_examples=300)
@given(
    st.floats(50.0, 150.0),
    st.lists(st.floats(50.0, 150.0), max_size=4),
    st.floats(0.001, 0.2),
    st.floats(0.0, 0.3),
    shares,
    shares,
)
def test_inside_the_window_no_distance_in_the_range_changes_who_is_near(price, others, least, wider, at, share):
    most = least * (1.0 + wider)
    low, high = distance_window(price, others, len(others), least, most)
    if high == math.inf:
        high = 1_000.0
    assume(low < high)
    other = low + at * (high - low)
    assume(low < other < high)
    distance = least + share * (most - least)
    middle = 0.5 * (least + most)
    assert lies_near(other, others, len(others), distance * other) == lies_near(
        price, others, len(others), middle * price
    )


def test_distance_window_of_a_near_and_a_far_price():
    # near 100.5 within 1 to 2 %: from 100.5/1.01 to 100.5/0.99; far from 110: up to 110/1.02
    low, high = distance_window(100.0, [100.5, 110.0], 2, 0.01, 0.02)
    assert (low, high) == pytest.approx((100.5 / 1.01, 100.5 / 0.99))
    low, high = distance_window(100.0, [90.0, 110.0], 2, 0.01, 0.02)
    assert (low, high) == pytest.approx((90.0 / 0.98, 110.0 / 1.02))


def test_distance_window_without_others_is_unlimited():
    assert distance_window(100.0, [], 0, 0.01, 0.02) == (0.0, math.inf)
