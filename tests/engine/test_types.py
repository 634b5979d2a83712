import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.leg import average_price
from gridv4_bt.engine.position import LOT_NOISE, settle_fills
from gridv4_bt.engine.tracker import PositionTracker
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from gridv4_bt.engine.whole_account import next_worst_of_leg

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def fill(fill_id, qty, price, **fields):
    defaults = {"time": 1_000 * fill_id, "regime": 0, "spacing_pct": 0.01, "funding": 0.0, "fee": 0.0}
    return Fill(fill_id, qty, price, **(defaults | fields))


def tracker(side, *fills):
    leg = PositionTracker(side)
    for one in fills:
        leg.add(one)
    return leg


def worst_of(leg, price):
    return next_worst_of_leg(leg.leg, leg.columns, price, -math.inf, 0)[2]


def settle(leg, mark, rate):
    return settle_fills(leg.sign, mark, rate, leg.qtys, leg.fundings, len(leg))


def test_every_fill_is_kept_with_all_its_fields_oldest_first():
    first = fill(7, 0.1, 100.0, time=900_000, regime=-2, spacing_pct=0.02, funding=0.5, fee=0.002)
    second = fill(9, 0.1, 100.0)
    leg = tracker(LONG, first, second)
    assert leg.fills == [first, second]
    assert len(leg) == 2
    assert leg.fill(1) == second


def test_average_is_weighted_by_quantity():
    leg = tracker(LONG, fill(1, 1.0, 100.0), fill(2, 3.0, 80.0))
    assert leg.qty == 4.0
    assert leg.cost == 340.0
    assert leg.average == 85.0


def test_average_of_nothing_is_nan():
    assert average_price(PositionTracker(SHORT).leg) == 0.0  # of the plain record
    assert math.isnan(PositionTracker(LONG).average)


@pytest.mark.parametrize(("side", "profit"), [(LONG, 20.0), (SHORT, -20.0)])
def test_unrealized_has_the_sign_of_the_side(side, profit):
    # 4 held at 85, worth 90 each
    leg = tracker(side, fill(1, 1.0, 100.0), fill(2, 3.0, 80.0))
    assert leg.unrealized(90.0) == profit


def test_unrealized_of_nothing_is_zero():
    assert PositionTracker(SHORT).unrealized(90.0) == 0.0


@pytest.mark.parametrize(
    ("side", "price", "worst"),
    [
        (LONG, 60.0, 1),  # -40, -60, -20
        (LONG, 90.0, 0),  # -10, +30, +10
        (SHORT, 110.0, 1),  # -10, -90, -30
    ],
)
def test_worst_fill_is_the_one_that_loses_most_money(side, price, worst):
    leg = tracker(side, fill(1, 1.0, 100.0), fill(2, 3.0, 80.0), fill(3, 1.0, 80.0))
    assert worst_of(leg, price) == worst


def test_worst_of_equals_is_the_oldest():
    assert worst_of(tracker(LONG, fill(1, 1.0, 100.0), fill(2, 1.0, 100.0)), 90.0) == 0


def test_closing_all_of_a_fill_removes_that_fill_alone():
    first, second, third = fill(1, 0.1, 100.0), fill(2, 0.2, 90.0), fill(3, 0.3, 80.0)
    leg = tracker(LONG, first, second, third)
    assert leg.close(1, 0.2) == second
    assert leg.fills == [first, third]
    assert leg.qty == pytest.approx(0.4)


def test_closing_a_part_takes_its_share_of_fee_and_funding():
    leg = tracker(SHORT, fill(1, 4.0, 100.0, funding=2.0, fee=0.8))
    part = leg.close(0, 1.0)
    assert part == fill(1, 1.0, 100.0, funding=0.5, fee=0.2)
    [rest] = leg.fills
    assert (rest.id, rest.qty, rest.price, rest.time) == (1, 3.0, 100.0, 1_000)
    assert rest.funding == 1.5
    assert rest.fee == pytest.approx(0.6)


def test_last_part_takes_all_that_is_left_of_fee_and_funding():
    leg = tracker(LONG, fill(1, 0.3, 100.0, funding=0.7, fee=0.1))
    parts = [leg.close(0, 0.1), leg.close(0, 0.1), leg.close(0, leg.qtys[0])]
    assert sum(part.funding for part in parts) == pytest.approx(0.7, rel=1e-15)
    assert sum(part.fee for part in parts) == pytest.approx(0.1, rel=1e-15)
    assert leg.fills == []


def test_float_noise_of_decimal_lots_leaves_no_dust():
    # 0.013 - 0.007 is 0.0060000000000000001 in floats
    leg = tracker(LONG, fill(1, 0.013, 100.0))
    leg.close(0, 0.007)
    assert leg.close(0, 0.006).qty == pytest.approx(0.006, rel=1e-15)
    assert (len(leg), leg.qty, leg.cost) == (0, 0.0, 0.0)


@pytest.mark.parametrize("qty", [0.0, -0.1, 0.2001, float("nan")])
def test_closing_nothing_or_more_than_is_open_is_an_error(qty):
    leg = tracker(LONG, fill(5, 0.2, 100.0))
    with pytest.raises(ValueError, match="fill 5: cannot close"):
        leg.close(0, qty)
    assert leg.qty == 0.2


def test_all_of_a_fill_and_the_noise_of_its_lots_may_be_closed_and_no_more():
    whole = 2.0
    for qty in (whole * (1.0 - LOT_NOISE), whole * (1.0 + LOT_NOISE)):
        leg = tracker(LONG, fill(1, whole, 100.0, fee=0.5))
        assert leg.close(0, qty) == fill(1, whole, 100.0, fee=0.5)
        assert (len(leg), leg.qty) == (0, 0.0)
    with pytest.raises(ValueError, match="fill 1: cannot close"):
        tracker(LONG, fill(1, whole, 100.0)).close(0, whole * (1.0 + 1.1 * LOT_NOISE))


def test_closed_parts_of_a_fill_are_noted_while_any_of_it_is_open():
    leg = tracker(LONG, fill(1, 4.0, 100.0), fill(2, 1.0, 90.0))
    leg.close(0, 1.0)
    assert leg.note_closed(1, 1.0, -3.0) is True
    assert [(one.closed_qty, one.closed_net) for one in leg.fills] == [(1.0, -3.0), (0.0, 0.0)]
    part = leg.close(0, 1.0)
    assert (part.qty, part.closed_qty, part.closed_net) == (1.0, 1.0, -3.0)
    leg.close(0, 2.0)
    assert leg.note_closed(1, 4.0, 5.0) is False
    assert leg.fills == [fill(2, 1.0, 90.0)]


def test_a_leg_is_marked_as_changed_by_a_new_fill_and_by_a_closing():
    leg = PositionTracker(SHORT)
    assert (leg.side, leg.sign) == (SHORT, -1)
    assert (leg.version, leg.leg.sign, leg.leg.changed, leg.leg.fills) == (0, -1, 0, 0)
    leg.add(fill(1, 0.5, 0.5))
    assert (leg.version, leg.leg.changed, leg.leg.fills) == (1, 1, 1)
    leg.leg.changed = 0
    leg.close(0, 0.25)
    assert (leg.version, leg.leg.changed, leg.leg.fills, leg.leg.qty, leg.leg.cost) == (2, 1, 1, 0.25, 0.125)


@pytest.mark.parametrize(("qty", "price"), [(0.0, 100.0), (-1.0, 100.0), (1.0, 0.0), (float("nan"), 100.0)])
def test_fill_without_quantity_or_price_is_an_error(qty, price):
    leg = PositionTracker(LONG)
    with pytest.raises(ValueError, match="fill 3: qty"):
        leg.add(fill(3, qty, price))
    assert len(leg) == 0


@pytest.mark.parametrize(("side", "sign"), [(LONG, 1.0), (SHORT, -1.0)])
def test_positive_rate_is_paid_by_long_and_received_by_short(side, sign):
    # 1 and 3 units at mark 90 with 0.1 %
    leg = tracker(side, fill(1, 1.0, 100.0), fill(2, 3.0, 80.0, funding=1.0))
    assert settle(leg, 90.0, 0.001) == pytest.approx(sign * 0.36)
    assert leg.fundings == pytest.approx([sign * 0.09, 1.0 + sign * 0.27])


def test_version_counts_the_changes_of_the_fills_and_not_of_their_funding():
    leg = tracker(LONG, fill(1, 1.0, 100.0))
    version = leg.version
    settle(leg, 90.0, 0.001)
    assert leg.version == version
    leg.close(0, 0.5)
    assert leg.version > version


def test_net_of_a_trade_is_gross_less_fees_less_funding():
    trade = ClosedTrade(1, "X", LONG, TradeLabel.GRID, 0, 0, 1, 1.0, 100.0, 110.0, 10.0, 0.25, 0.5)
    assert trade.net == 9.25


def test_nothing_of_a_new_fill_is_closed_and_a_part_has_no_sums():
    new = Fill(1, 2.0, 100.0, 0, 0, 0.01, 0.0, 0.04)
    assert (new.closed_qty, new.closed_net) == (0.0, 0.0)
    part = ClosedTrade(1, "X", LONG, TradeLabel.STOP1, 0, 0, 1, 1.0, 100.0, 90.0, -10.0, 0.25, 0.5)
    assert (part.bullet_qty, part.bullet_net, part.net) == (0.0, 0.0, -10.75)


def test_a_position_side_is_the_sign_of_its_profit():
    assert [(side.name, int(side)) for side in PositionSide] == [("LONG", 1), ("SHORT", -1)]


actions = st.one_of(
    st.tuples(st.just("add"), st.floats(1e-3, 1e3), st.floats(1e-2, 1e5)),
    st.tuples(st.just("close"), st.floats(0.0, 1.0), st.floats(1e-6, 1.0) | st.just(1.0)),
    st.tuples(st.just("fund"), st.floats(1e-2, 1e5), st.floats(-0.003, 0.003)),
)


@given(st.sampled_from([LONG, SHORT]), st.lists(actions, max_size=40))
def test_quantities_are_never_negative_and_sums_are_those_of_the_fills(side, stream):
    leg = PositionTracker(side)
    held = []  # [qty, price, funding] of each open fill
    charged = 0.0
    for number, (kind, a, b) in enumerate(stream):
        if kind == "add":
            leg.add(fill(number, a, b))
            held.append([a, b, 0.0])
        elif kind == "fund":
            settle(leg, a, b)
            for row in held:
                row[2] += int(side) * row[0] * a * b
                charged += abs(row[0] * a * b)
        elif held:
            index = min(int(a * len(held)), len(held) - 1)
            qty, _, funding = held[index]
            leg.close(index, b * leg.qtys[index])
            held[index][0], held[index][2] = qty * (1.0 - b), funding * (1.0 - b)
            if b > 1.0 - 1e-9:
                del held[index]
        assert len(leg) == len(held)
        assert all(qty > 0.0 for qty in leg.qtys)
        assert leg.qtys == pytest.approx([qty for qty, _, _ in held], rel=1e-6)
        assert leg.qty == pytest.approx(math.fsum(qty for qty, _, _ in held), rel=1e-6)
        assert leg.cost == pytest.approx(math.fsum(qty * price for qty, price, _ in held), rel=1e-6)
        assert leg.fundings == pytest.approx([paid for _, _, paid in held], rel=1e-6, abs=1e-9 * charged + 1e-300)
