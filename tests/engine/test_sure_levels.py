"""What is found without exact prices must be what the exact rules say: here they are applied level by level."""

from hypothesis import given, settings
from hypothesis import strategies as st

import gridv4_bt.engine.ladder as ladder
from gridv4_bt.core.grid import level_price, nudge_round_number, round_boundary, round_down
from gridv4_bt.engine.ladder import KEEP, PLACED, Blocked, is_kept, order_price, plan_side, reach_reason, size_reason
from gridv4_bt.engine.sure_levels import UNSURE, boundary_near, estimated_price, sure_outcome

LEVELS = 8


def planned_exactly(
    side_sign, levels, centre, spacing_pct, last_price, edge, notional, room, tick, step, min_qty, min_notional,
    keep_price, keep_qty, taken, fills, count, orders,
):  # fmt: skip
    """The rules of a side without any shortcut: orders as they are afterwards, and each level's code."""
    orders, codes = [list(row) for row in orders], []
    for i in range(levels):
        raw = level_price(centre, spacing_pct, -side_sign * (i + 1))
        price = order_price(side_sign, raw, tick) if raw > 0.0 else 0.0
        code = reach_reason(side_sign, price, last_price, edge) if price > 0.0 else int(Blocked.CROSSES)
        if code == PLACED:
            near = [abs(other - price) <= 0.5 * spacing_pct * price for other in taken[:count]]
            if any(near):
                code = int(Blocked.OCCUPIED if any(near[:fills]) else Blocked.COOLING)
        if code == PLACED:
            qty = round_down(notional / price, step)
            code = size_reason(price, qty, min_qty, min_notional, room)
        codes.append(code)
        if code == PLACED:
            room -= qty * price
            close = is_kept(orders[0][i], price, keep_price * spacing_pct * price)
            if orders[0][i] == 0.0 or not close or not is_kept(orders[1][i], qty, keep_qty * qty):
                orders[0][i], orders[1][i], orders[2][i] = price, qty, spacing_pct
        else:
            orders[0][i] = 0.0
    return orders[:3], codes


prices = st.floats(-3.0, 5.8).map(lambda power: 10.0**power)
small = st.floats(-0.004, 0.004)


@st.composite
def side_plans(draw):
    """A side planned several bars in a row, everything moving a little: its parameters bar by bar."""
    side_sign = draw(st.sampled_from((1, -1)))
    mid = draw(prices)
    tick = mid * 10.0 ** -draw(st.integers(2, 7))
    step = draw(st.sampled_from((1e-3, 1e-1, 1.0, 100.0))) / mid
    notional = draw(st.floats(1.0, 1e4))
    room = notional * draw(st.sampled_from((0.5, 3.0, 3.5, 8.0, 100.0)))
    spacing_pct = draw(st.floats(0.002, 0.05))
    centre = mid * (1.0 + draw(st.floats(-0.05, 0.05)))
    distances = draw(st.lists(st.floats(-0.2, 0.2), max_size=4))
    taken = [mid * (1.0 + distance) for distance in distances]
    fills = draw(st.integers(0, len(taken)))
    keep = draw(st.sampled_from((0.0, 0.25, 0.45))), draw(st.sampled_from((0.0, 0.2, 0.5)))
    minima = draw(st.sampled_from((0.0, step, 5 * step))), draw(st.sampled_from((0.0, 5.0)))
    bars = []
    for _ in range(draw(st.integers(1, 5))):
        mid *= 1.0 + draw(small)
        centre *= 1.0 + draw(small) / 4.0
        spacing_pct *= 1.0 + draw(st.sampled_from((0.0, 1e-16, 0.001, -0.02, 0.05)))
        notional *= 1.0 + draw(st.sampled_from((0.0, 0.001, -0.03, 0.3)))
        edge = mid * (1.0 - side_sign * draw(st.floats(-0.001, 0.01)))
        bars.append(
            (side_sign, LEVELS, centre, spacing_pct, mid, edge, notional, room, tick, step, *minima, *keep,
             [*taken, 0.0], fills, len(taken))
        )  # fmt: skip
    return bars


@settings(max_examples=400, deadline=None)
@given(side_plans())
def test_a_side_is_planned_as_without_shortcuts(bars):
    orders = [[0.0] * LEVELS for _ in range(5)]
    for numbers in bars:
        expected, codes = planned_exactly(*numbers, orders)
        tally, totals, before = [0] * len(Blocked), [0.0] * 3, [list(row) for row in orders]
        changes = plan_side(*numbers, orders, tally, totals)
        assert orders[:3] == expected and orders[4] == codes
        assert tally == [codes.count(reason) for reason in Blocked]
        moved = [[row[i] for row in before[:2]] != [row[i] for row in expected[:2]] for i in range(LEVELS)]
        gone = [before[0][i] == 0.0 == expected[0][i] for i in range(LEVELS)]
        assert changes == sum(action != KEEP for action in orders[3])
        assert all(orders[3][i] == KEEP for i in range(LEVELS) if not moved[i] or gone[i])


@given(prices, st.floats(-1e-13, 1e-13))
def test_the_estimate_is_the_nudged_price_to_a_hair(raw, error):
    estimate = estimated_price(raw * (1.0 + error))
    if estimate:
        for is_buy in (True, False):
            assert abs(nudge_round_number(raw, is_buy) - estimate) < 1e-9 * raw


@given(prices)
def test_boundaries_agree(price):
    boundary, inverse = boundary_near(price)
    assert abs(boundary - round_boundary(price)) < 1e-12 * boundary
    assert abs(boundary * inverse - 1.0) < 1e-12


def test_next_to_a_round_number_nothing_is_sure():
    assert estimated_price(30_000.0) == estimated_price(30_000.0 * (1 + 1e-12)) == 0.0
    assert estimated_price(30_001.0) == 30_000.0 * 1.0015


def test_quiet_levels_are_sure(monkeypatch):
    """The shortcut is taken where it is meant to be: a ladder that stands, and prices that hardly moved."""
    outcomes = []

    def noted(*numbers):
        outcomes.append(sure_outcome(*numbers))
        return outcomes[-1]

    monkeypatch.setattr(ladder, "sure_outcome", noted)
    orders, tally, totals = [[0.0] * LEVELS for _ in range(5)], [0] * len(Blocked), [0.0] * 3
    for mid in (30_123.4, 30_120.0):
        outcomes.clear()
        plan_side(
            1, LEVELS, mid, 0.01, mid, mid, 500.0, 1e5, 0.1, 0.001, 0.001, 5.0, 0.25, 0.2, [0.0], 0, 0, orders, tally,
            totals,
        )  # fmt: skip
    assert tally[PLACED] == 2 * LEVELS
    assert not any(outcome == UNSURE for outcome, _, _ in outcomes)
