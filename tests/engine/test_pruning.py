"""The five methods of section 7, on a LONG (+1) or SHORT (-1) fill."""

import math

import pytest

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.pruning import (
    DEVIANCE,
    FUNDING,
    GAP,
    KEEP,
    NEVER,
    OLDEST,
    closing_cost,
    deviates,
    funding_eats,
    gap_price,
    latest_time,
    offsets,
    prune_reason,
    too_old,
    underwater_price,
)

DAY = 86_400_000


@pytest.mark.parametrize(
    ("sign", "price", "cut"),
    [
        (1, 94.0, False),  # exactly 3 ATR of 2 below a KAMA of 100
        (1, 93.99, True),
        (1, 110.0, False),  # as far, but in favour
        (-1, 106.0, False),
        (-1, 106.01, True),
        (-1, 90.0, False),
    ],
)
def test_deviance_is_more_than_3_atr_from_kama_against_the_side(sign, price, cut):
    assert deviates(sign, price, 100.0, 2.0) is cut


@pytest.mark.parametrize("numbers", [(float("nan"), 2.0), (100.0, float("nan"))])
def test_unknown_kama_or_atr_cuts_nothing(numbers):
    assert not deviates(1, 1.0, *numbers)


@pytest.mark.parametrize(("age", "cut"), [(DAY - 1, False), (DAY, False), (DAY + 1, True)])
def test_oldest_is_older_than_24_hours(age, cut):
    assert too_old(1_000, 1_000 + age) is cut


def test_the_last_time_at_which_a_fill_is_not_too_old():
    assert latest_time(1_000) == 1_000 + DAY
    assert latest_time(1_000, 0.1) == 361_000
    assert latest_time(1_000, 1.5 / 3_600_000.0) == 1_001  # whole ms
    assert latest_time(1_000, 0.0) == NEVER
    # later than any time, and a whole number of 64 bits, as compiled code has them
    assert DAY * 366 * 10_000 < NEVER < 2**63


def test_gap_is_three_of_the_fills_own_spacings_against_it():
    assert gap_price(1, 100.0, 0.01) == pytest.approx(97.0)
    assert gap_price(-1, 100.0, 0.02) == pytest.approx(106.0)


@pytest.mark.parametrize(
    ("paid", "cut"),
    [(1.0, False), (1.001, True), (-5.0, False)],  # half of 0.01 * 100 * 2
)
def test_funding_is_cut_above_half_of_the_expected_profit(paid, cut):
    assert funding_eats(paid, 0.01, 100.0, 2.0) is cut


def reason(*, sign=1, price=100.0, now=0, leg_deviates=False, opened=0, funding=0.0):
    """Ask for a fill of 2 at 100 with a spacing of 1 %."""
    return prune_reason(GridConfig(), sign, price, now, leg_deviates, 100.0, 2.0, opened, 0.01, funding)


def test_healthy_fill_is_kept():
    assert reason() == KEEP


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ({"leg_deviates": True}, DEVIANCE),
        ({"now": DAY + 1}, OLDEST),
        ({"price": 96.99}, GAP),
        ({"sign": -1, "price": 103.01}, GAP),
        ({"funding": 1.01}, FUNDING),
        ({"price": 103.01}, KEEP),
        ({"sign": -1, "price": 96.99}, KEEP),
    ],
)
def test_each_method_on_its_own(case, code):
    assert reason(**case) == code


def test_price_exactly_at_the_gap_is_kept():
    assert reason(price=gap_price(1, 100.0, 0.01)) == KEEP
    assert reason(sign=-1, price=gap_price(-1, 100.0, 0.01)) == KEEP


def test_methods_are_tried_in_their_fixed_order():
    everything = {"leg_deviates": True, "now": DAY + 1, "price": 90.0, "funding": 2.0}
    assert reason(**everything) == DEVIANCE
    assert reason(**everything | {"leg_deviates": False}) == OLDEST
    assert reason(**everything | {"leg_deviates": False, "now": DAY}) == GAP
    assert reason(**everything | {"leg_deviates": False, "now": DAY, "price": 100.0}) == FUNDING
    assert DEVIANCE < OLDEST < GAP < FUNDING


@pytest.mark.parametrize("sign", [1, -1])
def test_other_limits_and_0_for_off(sign):
    # against the fill: 5 of 100 is 2.5 ATR of 2, and 5 spacings of 1 %
    price = 100.0 - 5.0 * sign
    assert [deviates(sign, price, 100.0, 2.0, atr) for atr in (2.4, 2.6, 0.0)] == [True, False, False]
    assert [too_old(0, 3_600_001, hours) for hours in (0.5, 1.0, 1.1, 0.0)] == [True, True, False, False]
    assert [funding_eats(0.5, 0.01, 100.0, 1.0, share) for share in (0.4, 0.6, 0.0)] == [True, False, False]
    assert gap_price(sign, 100.0, 0.01, 4.0) == pytest.approx(100.0 - 4.0 * sign)
    assert gap_price(sign, 100.0, 0.01, 0.0) == underwater_price(sign, 100.0, 0.01, 0.0) == -sign * math.inf
    codes = [
        prune_reason(
            GridConfig(max_age_hours=hours, gap_spacings=gap, funding_share=share),
            sign,
            price,
            3_600_001,
            False,
            100.0,
            2.0,
            0,
            0.01,
            1.5,
        )
        for hours, gap, share in ((1.0, 4.0, 0.5), (0.0, 4.0, 0.5), (2.0, 0.0, 0.5), (2.0, 6.0, 0.0), (0.0, 0.0, 0.0))
    ]
    assert codes == [OLDEST, GAP, FUNDING, KEEP, KEEP]


# --- 5. offset


@pytest.mark.parametrize(("sign", "loss"), [(1, 20.0), (-1, -20.0)])
def test_closing_cost_is_loss_fees_and_funding(sign, loss):
    # 2 at 100 closed at 90: fee paid 0.04, taker 180 * 0.05 % = 0.09, funding 0.3
    assert closing_cost(sign, 90.0, 100.0, 2.0, 0.3, 0.04, 0.0005) == pytest.approx(loss + 0.43)


def test_under_water_counts_in_the_fills_own_spacings():
    assert underwater_price(1, 100.0, 0.01, 1.0) == pytest.approx(99.0)
    assert underwater_price(-1, 100.0, 0.02, 1.5) == pytest.approx(103.0)


def pays(profit, *, sign=1, price=98.0, entry=100.0, qty=1.0, spacing=0.01, funding=0.0, fee=0.0, taker=0.0, least=1.0):
    return offsets(sign, price, profit, least, taker, entry, qty, spacing, funding, fee)


@pytest.mark.parametrize(("sign", "price"), [(1, 98.0), (-1, 102.0)])
def test_profit_must_exceed_the_cost(sign, price):
    # 3 at 100 lose 6
    assert not pays(6.0, sign=sign, price=price, qty=3.0)
    assert pays(6.01, sign=sign, price=price, qty=3.0)


def test_profit_must_pay_fees_and_funding_as_well():
    # 2 at 100 closed at 90: 20 + entry fee 0.04 + taker fee 0.09 + funding 0.3
    book = dict(price=90.0, qty=2.0, funding=0.3, fee=0.04, taker=0.0005)
    assert not pays(20.42, **book)
    assert pays(20.44, **book)


@pytest.mark.parametrize(("sign", "reached", "missed"), [(1, 99.0, 99.01), (-1, 101.0, 100.99)])
def test_exactly_one_spacing_under_water_is_enough(sign, reached, missed):
    assert pays(100.0, sign=sign, price=reached)
    assert not pays(100.0, sign=sign, price=missed)


@pytest.mark.parametrize(("sign", "price"), [(1, 98.0), (-1, 102.0)])
def test_an_offset_of_0_spacings_is_off(sign, price):
    assert [pays(1e9, sign=sign, price=price, least=least) for least in (0.0, 1e-9, 1.9, 2.1)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_nothing_in_profit_is_offset():
    assert not pays(1_000.0, price=101.0)
