"""Which entry a level wants, and which resting orders change for it."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.grid import nudge_round_number, nudge_window
from gridv4_bt.engine.ladder import (
    CANCEL,
    KEEP,
    PLACE,
    REPLACE,
    Blocked,
    is_kept,
    lies_near,
    order_price,
    plan_side,
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


# --- a side of three levels: 98.039, 96.117 and 94.232 by a spacing of 2 % below 100
# 98.039 and 96.117 lie too near to 98 and 96: they move to 98.147 and 96.144, then down to the tick

PRICES = [98.14, 96.14, 94.23]
QTYS = [10.189, 10.401, 10.612]  # 1,000 of notional each


def plan(standing=((0.0, 0.0),) * 3, fills=(), cooling=(), **changed):
    """Plan three LONG levels; return the actions, the codes, what rests then, how many changed and the tally."""
    numbers = {
        "side_sign": 1, "levels": 3, "centre": 100.0, "spacing_pct": 0.02, "last_price": 100.0, "edge": 99.5,
        "notional": 1_000.0, "room": 1e9, "tick": 0.01, "step": 0.001, "min_qty": 0.001, "min_notional": 5.0,
        "keep_price": 0.25, "keep_qty": 0.2,
    }  # fmt: skip
    prices, qtys = map(list, zip(*standing, strict=True))
    actions, codes, tally = [-1] * 3, [-1] * 3, [0] * len(Blocked)
    changes = plan_side(
        **numbers | changed, fills=fills, fill_count=len(fills), cooling=cooling, cooling_count=len(cooling),
        standing_prices=prices, standing_qtys=qtys, actions=actions, codes=codes, tally=tally,
    )  # fmt: skip
    return actions, codes, list(zip(prices, qtys, strict=True)), changes, tally


def test_empty_side_places_every_level():
    actions, codes, rests, changes, tally = plan()
    assert actions == [PLACE] * 3
    assert codes == [Blocked.PLACED] * 3
    assert [price for price, _ in rests] == pytest.approx(PRICES)
    assert [qty for _, qty in rests] == pytest.approx(QTYS)
    assert changes == 3
    assert tally[Blocked.PLACED] == 3


def test_order_near_enough_in_price_and_size_stays_as_it_is():
    # a quarter of 2 % of 98.14 is 0.4907; a fifth of 10.189 is 2.0378
    standing = ((98.63, 10.189), (95.66, 8.4), (94.23, 12.7))
    actions, _, rests, changes, _ = plan(standing)
    assert (actions, changes) == ([KEEP] * 3, 0)
    assert rests == list(standing)


def test_order_too_far_in_price_or_size_is_replaced():
    standing = ((98.64, 10.189), (96.14, 8.3), (94.23, 12.8))
    actions, _, rests, changes, _ = plan(standing)
    assert (actions, changes) == ([REPLACE] * 3, 3)
    assert [price for price, _ in rests] == pytest.approx(PRICES)


def test_level_that_is_no_longer_wanted_is_cancelled():
    actions, codes, rests, changes, _ = plan(((98.14, 10.0), (0.0, 0.0), (94.23, 10.612)), fills=[98.5], cooling=[96.5])
    assert codes == [Blocked.OCCUPIED, Blocked.COOLING, Blocked.PLACED]
    assert (actions, changes) == ([CANCEL, KEEP, KEEP], 1)
    assert rests[0][0] == 0.0


def test_room_is_taken_by_the_nearest_levels_first():
    _, codes, _, _, tally = plan(room=2_100.0)
    assert codes == [Blocked.PLACED, Blocked.PLACED, Blocked.MAX_INVENTORY]
    assert (tally[Blocked.PLACED], tally[Blocked.MAX_INVENTORY]) == (2, 1)


def test_levels_beyond_the_price_or_inside_the_spread_are_dropped():
    _, codes, _, _, _ = plan(last_price=98.0, edge=95.0)
    assert codes == [Blocked.CROSSES, Blocked.INSIDE_SPREAD, Blocked.PLACED]


def test_centre_below_zero_leaves_no_level():
    actions, codes, _, _, _ = plan(centre=-5.0)
    assert (actions, codes) == ([KEEP] * 3, [Blocked.CROSSES] * 3)


def test_sells_lie_above():
    actions, codes, rests, _, _ = plan(side_sign=-1, edge=100.5)
    assert actions == [PLACE] * 3
    # 102, 104.04 and 106.1208 rounded up; from 100 on the round numbers are 10 apart
    assert [price for price, _ in rests] == pytest.approx([102.0, 104.04, 106.13])


# --- the window of the nudge

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
