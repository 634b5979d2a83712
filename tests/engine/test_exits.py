import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.engine.exits import exits_stay, shared_slack, wanted_exit

TICK, FEE, KEEP = 0.1, 0.0002, 0.25


def wanted(entry, shift=0.0, last=100.0, standing=0.0, sign=1):
    return wanted_exit(sign, entry, 0.01, shift, FEE, last, TICK, KEEP, standing)


def test_a_new_exit_is_one_spacing_away_and_may_move_a_quarter_of_it():
    assert wanted(100.0) == (101.0, 0.25)
    assert wanted(100.0, sign=-1) == (99.0, 0.25)


def test_one_within_the_tolerance_stays_and_has_used_up_part_of_it():
    price, slack = wanted(100.0, standing=101.2)
    assert price == 101.2 and abs(slack - 0.05) < 1e-9
    assert wanted(100.0, standing=101.3) == (101.0, 0.25)


def test_one_that_post_only_moved_has_no_slack():
    assert wanted(100.0, last=103.0) == (103.1, -1.0)


@pytest.mark.parametrize(
    ("sign", "last", "slack"), [(1, 99.0, -1.0), (1, 98.9, 0.25), (-1, 101.0, -1.0), (-1, 101.1, 0.25)]
)
def test_one_within_two_ticks_of_the_price_counts_as_moved(sign, last, slack):
    # the target is 101 or 99, the tick 1
    assert wanted_exit(sign, 100.0, 0.01, 0.0, FEE, last, 1.0, KEEP, 0.0) == (100.0 + sign, slack)


def test_one_exactly_at_the_tolerance_stays_and_has_used_up_all_of_it():
    assert wanted(100.0, standing=101.25) == (101.25, 0.0)


def test_one_that_rests_near_the_price_stays_without_slack():
    price, slack = wanted(100.0, last=100.9, standing=101.1)
    assert (price, slack) == (101.1, -1.0)


def test_a_price_below_one_is_a_price():
    # 0.5 * 1.01 = 0.505; a quarter of 0.005 is tolerated
    assert wanted_exit(1, 0.5, 0.01, 0.0, FEE, 0.4, 0.001, KEEP, 0.506)[0] == 0.506


def test_without_an_order_nothing_stays_however_wide_the_spacing():
    # 100 * (1 - 0.9) = 10 is less than the tolerance of 22.5
    assert wanted_exit(-1, 100.0, 0.9, 0.0, FEE, 100.0, TICK, KEEP, 0.0) == (10.0, 22.5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("shift", "slack", "distance", "stay"),
    [
        (-1.4, 1.0, 0.6, True),  # moved by 0.5
        (-1.4, 0.5, 0.6, True),
        (-1.5, 0.5, 0.6, False),  # all of the slack
        (-1.5, 1.0, 0.5, False),  # as far as the price
        (-1.5, 1.0, -0.6, False),  # the price is beyond
        (-0.5, 1.0, 0.6, True),
        (-0.25, 1.0, 0.6, False),
    ],
)
def test_exits_stay_while_the_shift_has_moved_less_than_slack_and_distance(sign, shift, slack, distance, stay):
    assert exits_stay(sign, sign * shift, sign * -1.0, slack, 100.0, 100.0 - sign * distance) is stay


def test_two_ticks_of_slack_are_kept_for_rounding():
    assert shared_slack(0.25, 0.1) == pytest.approx(0.05)


@given(
    st.sampled_from((1, -1)), st.floats(90.0, 110.0), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0),
    st.floats(98.0, 102.0), st.floats(98.0, 102.0),
)  # fmt: skip
def test_exits_that_stay_are_those_that_would_be_wanted_again(sign, entry, shift, later_shift, last, later_last):
    bound = min if sign > 0 else max
    shift, later_shift = bound(shift, 0.0), bound(later_shift, 0.0)
    price, slack = wanted(entry, shift, last, sign=sign)
    if exits_stay(sign, later_shift, shift, shared_slack(slack, TICK), price, later_last):
        assert wanted(entry, later_shift, later_last, price, sign)[0] == price
