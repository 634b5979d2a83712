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
