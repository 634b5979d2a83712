"""Where the trigger of a trailing stop is, and its limit: on the tick farther from the price."""

import pytest

from gridv4_bt.engine.trailing import Trail, limit_behind, trailing_trigger


@pytest.mark.parametrize(
    ("trail", "is_buy", "best", "trigger"),
    [
        (Trail(2.0), False, 100.0, 98.0),
        (Trail(2.0), True, 100.0, 102.0),
        (Trail(0.0, 0.02), False, 100.0, 98.0),
        (Trail(0.0, 0.02), True, 100.0, 102.0),
        (Trail(0.3), False, 0.9, 0.6),  # 0.6000000000000001 in floats
        (Trail(0.0, 0.015), False, 99.9, 98.4),  # 98.4015
        (Trail(0.0, 0.015), True, 99.9, 101.4),  # 101.3985
    ],
)
def test_trigger(trail, is_buy, best, trigger):
    assert trailing_trigger(trail, is_buy, best, 0.1) == trigger


def test_limit_keeps_its_distance_on_either_side():
    assert limit_behind(Trail(2.0, 0.0, 0.5), False, 98.0, 0.1) == 97.5
    assert limit_behind(Trail(2.0, 0.0, -0.5), False, 98.0, 0.1) == 98.5
    assert limit_behind(Trail(2.0, 0.0, -0.5), True, 102.0, 0.1) == 102.5
