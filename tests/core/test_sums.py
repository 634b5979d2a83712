"""Sums have the same bits on every Python."""

import pytest

from gridv4_bt.core.sums import plain_sum


def test_numbers_are_added_from_left_to_right():
    # 1e16 + 1.0 rounds back to 1e16 twice; a compensated sum, as Python's own is from 3.12 on, gives 2.0.
    assert plain_sum([1e16, 1.0, 1.0, -1e16]) == 0.0


def test_every_number_is_added():
    assert plain_sum([1.5, 2.0, -0.25]) == 3.25


@pytest.mark.parametrize("values", [[], iter(())])
def test_the_sum_of_nothing_is_a_float(values):
    assert repr(plain_sum(values)) == "0.0"
