"""Which entry a level wants, and which resting orders change for it."""

import math
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridv4_bt.compiled import compiled
from gridv4_bt.config import GridConfig
from gridv4_bt.core.funding import funding_tilt
from gridv4_bt.core.grid import nudge_round_number, nudge_window
from gridv4_bt.core.inventory import normalized_inventory, optimal_spread, reservation_price
from gridv4_bt.engine.ladder import (
    CANCEL,
    HALT,
    KEEP,
    PLACE,
    PLACED,
    REGIME,
    REPLACE,
    VAR,
    Blocked,
    LadderSide,
    Layout,
    Plan,
    centre_grid,
    is_kept,
    ladder_totals,
    lay_out,
    lies_near,
    order_price,
    plan_ladder,
    plan_side,
    reach_reason,
    size_reason,
    skew_centre,
    sure_reach_reason,
    surroundings_reason,
    take_totals,
    wanted_price,
)
from gridv4_bt.engine.ladder_sheet import (
    FOUND_AT,
    LONG_TOTALS_AT,
    SHEET,
    SHORT_TOTALS_AT,
    plan_bar,
    read_found,
    read_totals,
    write_bar,
)
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.state import LegState, Memory, Now
from strategies.ladder_plan import MADE_OF


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
        # nudged, then away from the number where the tick would bring it back inside the 0.15 %: 98.147 and 97.853
        (1, 98.05, 0.01, 98.15),
        (-1, 97.95, 0.01, 97.85),
        (1, 97.95, 0.01, 97.85),
        (-1, 98.05, 0.01, 98.15),
        (1, 98.16, 0.1, 98.1),  # not nudged: down to the tick, whatever lies there
    ],
)
def test_order_price_leaves_round_numbers_and_then_obeys_the_tick(sign, raw, tick, price):
    assert order_price(sign, raw, tick) == pytest.approx(price, rel=1e-12)


def test_order_price_keeps_another_distance_from_round_numbers():
    assert [order_price(1, 42_010.0, 0.1, pct) for pct in (0.004, 0.0002, 0.0)] == [42_168.0, 42_010.0, 42_010.0]
    assert order_price(-1, 41_990.0, 0.1, 0.004) == 41_832.0


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
    ("sign", "estimate", "reason"),
    [
        (1, 100.4, Blocked.CROSSES),  # every price from 100.1 to 100.7 does
        (1, 100.2, Blocked.PLACED),  # 99.9 to 100.5: some cross, some are inside the spread
        (1, 99.5, Blocked.INSIDE_SPREAD),
        (1, 99.2, Blocked.PLACED),  # 98.9 to 99.5: some are far enough
        (1, 98.0, Blocked.PLACED),
        (-1, 99.6, Blocked.CROSSES),
        (-1, 99.8, Blocked.PLACED),
        (-1, 100.5, Blocked.INSIDE_SPREAD),
        (-1, 100.8, Blocked.PLACED),
    ],
)
def test_a_level_is_surely_blocked_where_all_prices_that_it_may_have_are(sign, estimate, reason):
    assert sure_reach_reason(sign, estimate, 0.3, 100.0, 100.0 - sign) == reason


@settings(max_examples=400, deadline=None)
@given(
    sign=st.sampled_from([1, -1]),
    centre=st.floats(-1.0, 1e5).filter(lambda value: value < 0.0 or value > 1e-3),
    move=st.floats(-0.1, 0.1),
    edge=st.floats(0.0, 0.06),
    spacing_pct=st.floats(1e-4, 0.1),
    tick=st.sampled_from([1e-5, 0.01, 0.1, 5.0]),
    nudge_pct=st.sampled_from([0.0, 0.0015, 0.0049]),
)
def test_what_an_estimate_says_is_what_the_price_says(sign, centre, move, edge, spacing_pct, tick, nudge_pct):
    close = abs(centre) * (1.0 + move)
    limit = close * (1.0 - sign * edge)
    estimate, growth = centre, 1.0 / (1.0 + spacing_pct) if sign > 0 else 1.0 + spacing_pct
    for i in range(25):
        estimate *= growth
        margin = (1.1 * nudge_pct + 1e-9) * estimate + 1.1 * tick
        if estimate > margin and (said := sure_reach_reason(sign, estimate, margin, close, limit)) != PLACED:
            price = wanted_price(sign, centre, spacing_pct, i, estimate, tick, nudge_pct)
            assert price > 0.0 and abs(price - estimate) <= margin
            assert reach_reason(sign, price, close, limit) == said


def test_where_neither_side_may_add_inventory_and_shift_are_what_they_are_otherwise():
    n = (100.0, 0.002, 1.2, 2.0, 5.0)
    assert skew_centre(*n, 96) == centre_grid(*n, 1_000.0, 96)[:2]


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
    taken = fills + cooling
    assert surroundings_reason(100.0, 0.01, taken, len(fills), len(taken)) == reason


def test_every_reason_has_a_number_of_its_own_which_is_its_place_in_the_tally():
    assert list(map(int, Blocked.__members__.values())) == list(range(17))


def test_only_the_prices_between_the_indices_count():
    assert not lies_near(100.0, [90.0, 100.0], 0, 1, 0.5)
    assert lies_near(100.0, [90.0, 100.0], 0, 2, 0.5)
    assert not lies_near(100.0, [100.0, 90.0], 1, 2, 0.5)


@pytest.mark.parametrize(
    ("qty", "capacity", "reason"),
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
def test_size_obeys_the_market_and_the_inventory_limit(qty, capacity, reason):
    assert size_reason(100.0, qty, 0.001, 5.0, capacity) == reason


def test_resting_order_is_kept_within_the_tolerance():
    assert is_kept(100.0, 100.25, 0.25)
    assert is_kept(100.0, 99.75, 0.25)
    assert not is_kept(100.0, 100.26, 0.25)


# --- a side of three levels: 98.039, 96.117 and 94.232 by a spacing of 2 % below 100
# 98.039 and 96.117 lie too near to 98 and 96: they move to 98.147 and 96.144, then on the tick, away from 98 and 96

PRICES = [98.15, 96.15, 94.23]
QTYS = [10.188, 10.4, 10.612]  # 1,000 of notional each


OLD_SPACING = 0.015  # of the grid that placed what rests
UNTOUCHED = (-1.0, -2.0, -3.0)
FILTERS = ("tick", "step", "min_qty", "min_notional")


def only(numbers, *names):
    """A record of these numbers alone: what else a rule might read is missing."""
    return SimpleNamespace(**{name: numbers[name] for name in names})


def check_spacings_and_totals(numbers, actions, standing, prices, qtys, spacings, totals):
    """An order carries the spacing of the grid that placed it; the totals are those of what rests, if it changed."""
    for i, action in enumerate(actions):
        if action in (PLACE, REPLACE):
            assert spacings[i] == numbers["spacing_pct"]
        elif action == KEEP:
            assert (prices[i], qtys[i]) == standing[i]
            assert spacings[i] == (OLD_SPACING if prices[i] else 0.0)
        else:
            assert (action, prices[i]) == (CANCEL, 0.0)
    rests = [(price, qty) for price, qty in zip(prices, qtys, strict=True) if price > 0.0]
    if all(action == KEEP for action in actions):
        assert totals == list(UNTOUCHED)
    else:
        nearest = max if numbers["side_sign"] > 0 else min
        notional = math.fsum(price * qty for price, qty in rests)
        first = nearest((price for price, _ in rests), default=0.0)
        assert totals == [pytest.approx(notional), len(rests), first]


def plan(standing=((0.0, 0.0),) * 3, fills=(), cooling=(), **changed):
    """Plan three LONG levels; return the actions, the codes, what rests then, how many changed and the tally."""
    numbers = {
        "side_sign": 1, "levels": 3, "centre": 100.0, "spacing_pct": 0.02, "last_price": 100.0, "edge": 99.5,
        "notional": 1_000.0, "capacity": 1e9, "tick": 0.01, "step": 0.001, "min_qty": 0.001, "min_notional": 5.0,
        "nudge_pct": 0.0015, "keep_price": 0.25, "keep_qty": 0.2,
    }  # fmt: skip
    n = numbers | changed
    prices, qtys = map(list, zip(*standing, strict=True))
    spacings = [OLD_SPACING if price else 0.0 for price in prices]
    actions, codes, tally, totals = [-1] * 3, [-1] * 3, [0] * len(Blocked), list(UNTOUCHED)
    taken = [*fills, *cooling]
    leg = LegState(taken_fills=len(fills), taken=len(taken))
    changes = plan_side(
        n["side_sign"],
        only(n, "levels", "nudge_pct", "keep_price", "keep_qty"),
        only(n, *FILTERS),
        Now(close=n["last_price"], spacing_pct=n["spacing_pct"]),
        LadderSide(leg, taken, [prices, qtys, spacings, actions, codes], totals),
        Layout(n["centre"], n["edge"], n["notional"], n["capacity"]),
        tally,
    )
    check_spacings_and_totals(numbers | changed, actions, standing, prices, qtys, spacings, totals)
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
    # a quarter of 2 % of 98.15 is 0.4907; a fifth of 10.4 is 2.08
    standing = ((98.64, 10.188), (95.67, 8.4), (94.23, 12.7))
    actions, _, rests, changes, _ = plan(standing)
    assert (actions, changes) == ([KEEP] * 3, 0)
    assert rests == list(standing)


def test_order_too_far_in_price_or_size_is_replaced():
    standing = ((98.65, 10.188), (96.15, 8.3), (94.23, 12.8))
    actions, _, rests, changes, _ = plan(standing)
    assert (actions, changes) == ([REPLACE] * 3, 3)
    assert [price for price, _ in rests] == pytest.approx(PRICES)


DENSE = dict(spacing_pct=0.0005, edge=101.0, last_price=101.0, centre=98.1, capacity=1e9)


def test_two_levels_never_want_one_price_and_the_nearer_has_it():
    # 98.051, 98.002 and 97.953: the first two move to 98.147, the third to 97.853
    _, codes, rests, changes, tally = plan(**DENSE)
    assert codes == [Blocked.PLACED, Blocked.SAME_PRICE, Blocked.PLACED]
    assert [price for price, _ in rests] == pytest.approx([98.15, 0.0, 97.85])
    assert (changes, tally[Blocked.SAME_PRICE]) == (2, 1)


def test_a_level_dropped_for_its_price_takes_no_capacity_and_its_order_goes():
    actions, codes, _, _, _ = plan(((0.0, 0.0), (98.15, 10.188), (0.0, 0.0)), **DENSE | dict(capacity=2_001.0))
    assert codes == [Blocked.PLACED, Blocked.SAME_PRICE, Blocked.PLACED]
    assert actions == [PLACE, CANCEL, PLACE]


def test_an_order_kept_at_the_price_of_a_nearer_level_moves_to_its_own():
    # 98.19, 97.896 and 97.603 by ticks of 0.2: 98, 97.8 and 97.6; what rests at 97.9 is within 0.144 of the first two
    coarse = dict(
        spacing_pct=0.003, edge=101.0, last_price=101.0, centre=98.4846, tick=0.2, nudge_pct=0.0, keep_price=0.49
    )
    actions, codes, rests, _, _ = plan(((97.9, 10.2), (97.9, 10.2), (0.0, 0.0)), **coarse)
    assert codes == [Blocked.PLACED] * 3
    assert actions == [KEEP, REPLACE, PLACE]
    assert [price for price, _ in rests] == pytest.approx([97.9, 97.8, 97.6])


@pytest.mark.parametrize("unit", [1.0, 100.0, 1e-4])
def test_no_two_orders_are_kept_at_one_price_however_large_prices_and_ticks_are(unit):
    # 98.195, 97.901 and 97.608 by ticks of 0.1: 98.1, 97.9 and 97.6; what rests at 98 is within 0.144 of the first two
    numbers = dict(centre=98.489585, edge=101.0, last_price=101.0, tick=0.1)
    actions, codes, rests, _, _ = plan(
        ((98.0 * unit, 10.2 / unit), (98.0 * unit, 10.2 / unit), (0.0, 0.0)),
        **{name: number * unit for name, number in numbers.items()}, spacing_pct=0.003, nudge_pct=0.0, keep_price=0.49,
    )  # fmt: skip
    assert (actions, codes) == ([KEEP, REPLACE, PLACE], [Blocked.PLACED] * 3)
    assert [price / unit for price, _ in rests] == pytest.approx([98.0, 97.9, 97.6])


def test_level_that_is_no_longer_wanted_is_cancelled():
    actions, codes, rests, changes, _ = plan(((98.15, 10.0), (0.0, 0.0), (94.23, 10.612)), fills=[98.5], cooling=[96.5])
    assert codes == [Blocked.OCCUPIED, Blocked.COOLING, Blocked.PLACED]
    assert (actions, changes) == ([CANCEL, KEEP, KEEP], 1)
    assert rests[0][0] == 0.0


def test_room_is_taken_by_the_nearest_levels_first():
    _, codes, _, _, tally = plan(capacity=2_100.0)
    assert codes == [Blocked.PLACED, Blocked.PLACED, Blocked.MAX_INVENTORY]
    assert (tally[Blocked.PLACED], tally[Blocked.MAX_INVENTORY]) == (2, 1)


def test_levels_beyond_the_price_or_inside_the_spread_are_dropped():
    _, codes, _, _, _ = plan(last_price=98.0, edge=95.0)
    assert codes == [Blocked.CROSSES, Blocked.INSIDE_SPREAD, Blocked.PLACED]


CENTS = dict(centre=0.5, last_price=0.5, edge=0.5, tick=0.0001)


def test_prices_below_one_are_prices():
    # 0.4902, 0.4806 and 0.4712 by 2 %: the first two move 0.15 % above 0.49 and 0.48 and up, the third goes down
    actions, codes, rests, _, _ = plan(**CENTS)
    assert (actions, codes) == ([PLACE] * 3, [Blocked.PLACED] * 3)
    assert [price for price, _ in rests] == pytest.approx([0.4908, 0.4808, 0.4711])
    # 0.4, 0.32 and 0.256 by 25 %: on the round numbers 0.4 and 0.32 a buy goes 0.15 % above them
    _, _, rests, _, _ = plan(**CENTS, spacing_pct=0.25)
    assert [price for price, _ in rests] == pytest.approx([0.4006, 0.3205, 0.256])


def test_an_order_below_one_is_kept_replaced_and_cancelled_like_any_other():
    # a quarter of 2 % of 0.4908 is 0.00245; the second is too far away, the third does not fit
    standing = ((0.4920, 2_040.0), (0.4780, 2_081.0), (0.4711, 2_122.0))
    actions, codes, rests, changes, _ = plan(standing, **CENTS, capacity=2_500.0)
    assert (actions, changes) == ([KEEP, REPLACE, CANCEL], 2)
    assert codes == [Blocked.PLACED, Blocked.PLACED, Blocked.MAX_INVENTORY]
    assert [price for price, _ in rests] == pytest.approx([0.4920, 0.4808, 0.0])


@pytest.mark.parametrize("centre", [-5.0, 0.0])
def test_centre_at_or_below_zero_leaves_no_level(centre):
    actions, codes, _, _, _ = plan(centre=centre)
    assert (actions, codes) == ([KEEP] * 3, [Blocked.CROSSES] * 3)


def test_sells_lie_above():
    actions, codes, rests, _, _ = plan(side_sign=-1, edge=100.5)
    assert actions == [PLACE] * 3
    # 102, 104.04 and 106.1208 rounded up; from 100 on the round numbers are 10 apart
    assert [price for price, _ in rests] == pytest.approx([102.0, 104.04, 106.13])


def test_cancelling_the_last_order_leaves_totals_of_nothing():
    prices, qtys, totals = [98.15], [10.0], list(UNTOUCHED)
    changes = plan_side(
        1,
        SimpleNamespace(levels=1, nudge_pct=0.0015, keep_price=0.25, keep_qty=0.2),
        SimpleNamespace(tick=0.01, step=0.001, min_qty=0.001, min_notional=5.0),
        Now(close=100.0, spacing_pct=0.02),
        LadderSide(LegState(), [], [prices, qtys, [0.02], [0], [0]], totals),
        Layout(centre=100.0, edge=99.5, notional=1_000.0, capacity=0.0),
        [0] * len(Blocked),
    )
    assert (changes, prices, totals) == (1, [0.0], [0.0, 0.0, 0.0])


# --- both sides at once


class Ladder:
    """Three levels a side, planned on columns of `kind` (list or array)."""

    numbers = {
        "anchor": 100.0, "spacing_pct": 0.02, "close": 100.5, "sigma": 0.002, "equity": 10_000.0, "long_qty": 4.0,
        "short_qty": 1.0, "notional": 1_000.0, "funding_rate": 0.0001, "levels": 3, "max_inventory": 0.5,
        "gamma": 5.0, "kappa": 1_000.0, "spread_sigmas": 0.0, "horizon": 96, "tick": 0.01, "step": 0.001,
        "min_qty": 0.001, "min_notional": 5.0, "nudge_pct": 0.0015, "funding_tilt": 0.25, "keep_price": 0.25,
        "keep_qty": 0.2,
    }  # fmt: skip
    parameters = (
        "levels", "max_inventory", "gamma", "kappa", "spread_sigmas", "horizon", "nudge_pct", "funding_tilt",
        "keep_price", "keep_qty",
    )  # fmt: skip

    def __init__(self, kind=list):
        self.long, self.short, self.totals = (
            kind([[0.0] * width for _ in range(rows)]) for rows, width in ((5, 3), (5, 3), (2, 3))
        )
        self.long_taken = self.short_taken = kind([98.2])
        self.long_counts, self.short_counts = (1, 1), (0, 0)
        self.tally, self.trace = kind([0] * len(Blocked)), kind([0] * 6)
        self.now = Now()

    def records(self, long_block=PLACED, short_block=PLACED, **changed):
        n = self.numbers | changed
        legs = (
            LegState(sign=sign, blocked=block, qty=n[qty], taken_fills=fills, taken=count)
            for sign, block, qty, (fills, count) in (
                (1, long_block, "long_qty", self.long_counts),
                (-1, short_block, "short_qty", self.short_counts),
            )
        )
        memory = Memory(anchor=n["anchor"], funding_rate=n["funding_rate"])
        for name in ("spacing_pct", "close", "sigma", "equity", "notional"):
            setattr(self.now, name, n[name])
        return only(n, *self.parameters), only(n, *FILTERS), memory, *legs

    def plan(self, **changed):
        p, rules, memory, long, short = self.records(**changed)
        return plan_ladder(
            p, rules, memory, self.now,
            LadderSide(long, self.long_taken, self.long, self.totals[0]),
            LadderSide(short, self.short_taken, self.short, self.totals[1]),
            Plan(self.tally, self.trace),
        )  # fmt: skip

    def state(self):
        parts = [[list(row) for row in part] for part in (self.long, self.short, self.totals)]
        return [*parts, [self.now.q, self.now.shift], list(self.tally)]


class SheetLadder(Ladder):
    """The same by way of a sheet."""

    def __init__(self, rule=plan_bar):
        self.rule = rule
        super().__init__(np.array)
        self.memory = bytearray(SHEET.itemsize)
        self.sheet = np.frombuffer(self.memory, SHEET)[0]
        self.totals, self.tally = self.sheet["totals"], self.sheet["tally"]
        self.trace = np.zeros(6, np.uint8)

    def plan(self, **changed):
        p, rules, memory, long, short = self.records(**changed)
        records = {"p": p, "rules": rules, "memory": memory, "long": long, "short": short, "now": self.now}
        for name, record in records.items():
            for number in SHEET[name].names:
                if hasattr(record, number):
                    self.sheet[name][number] = getattr(record, number)
        changes = self.rule(
            np.frombuffer(self.memory), self.long_taken, self.long, self.short_taken, self.short, self.trace
        )
        self.now.q, self.now.shift = self.sheet["now"]["q"], self.sheet["now"]["shift"]
        return changes


def one_side(sign, **numbers):
    """What `plan_side` makes of the side of a `Ladder`."""
    n = Ladder.numbers | numbers
    limit = n["max_inventory"] * n["equity"]
    mid, position = n["close"], n["long_qty"] - n["short_qty"]
    q, shift, half = centre_grid(mid, n["sigma"], position, limit / mid, n["gamma"], n["kappa"], n["horizon"])
    orders, tally, totals = [[0.0] * 3 for _ in range(5)], [0] * len(Blocked), [0.0] * 3
    held = n["long_qty"] if sign > 0 else n["short_qty"]
    taken = int(sign > 0)
    changes = plan_side(
        sign,
        only(n, "levels", "nudge_pct", "keep_price", "keep_qty"),
        only(n, *FILTERS),
        Now(close=mid, spacing_pct=n["spacing_pct"]),
        LadderSide(LegState(taken_fills=taken, taken=taken), [98.2], orders, totals),
        Layout(
            centre=n["anchor"] + shift,
            edge=mid + shift - sign * half,
            notional=n["notional"] * funding_tilt(n["funding_rate"], sign, n["funding_tilt"]),
            capacity=limit - held * mid,
        ),
        tally,
    )
    return changes, orders, tally, totals, [q, shift]


def test_ladder_is_both_sides_around_one_centre():
    ladder = Ladder()
    assert ladder.plan() == 3
    (longs, long_orders, long_tally, long_totals, centre), (shorts, short_orders, short_tally, short_totals, _) = (
        one_side(1),
        one_side(-1),
    )
    assert longs and shorts
    assert ladder.state() == [
        long_orders,
        short_orders,
        [long_totals, short_totals],
        centre,
        [one + other for one, other in zip(long_tally, short_tally, strict=True)],
    ]
    assert list(ladder.trace) == [4 * Blocked.OCCUPIED] + [PLACE] * 5
    # LONG pays the funding: 750 a level against 1,250; the first buy is occupied by the fill at 98.2
    assert [round(price * qty) for price, qty in zip(*long_orders[:2], strict=True)] == [0, 750, 750]
    assert [round(price * qty) for price, qty in zip(*short_orders[:2], strict=True)] == [1250, 1250, 1250]


@pytest.mark.parametrize(
    ("sign", "edge", "notional", "capacity"),
    [(1, 98.0, 750.0, 4_598.0), (-1, 101.0, 1_250.0, 4_899.5)],  # 5,000 less 4 * 100.5, and less 1 * 100.5
)
def test_layout_of_a_side_by_hand(sign, edge, notional, capacity):
    # the reservation price is 100.5 - 1, and the levels keep 1.5 from it; LONG pays the funding
    now, memory = Now(close=100.5, shift=-1.0, notional=1_000.0), Memory(anchor=103.0, funding_rate=0.0001)
    leg = LegState(qty=4.0 if sign > 0 else 1.0)
    tilted = SimpleNamespace(funding_tilt=0.25)
    assert lay_out(sign, tilted, memory, now, leg, 5_000.0, 1.5) == (102.0, edge, notional, capacity)
    doubled = SimpleNamespace(funding_tilt=0.5)
    assert lay_out(sign, doubled, memory, now, leg, 5_000.0, 1.5).notional == 2.0 * notional - 1_000.0


@pytest.mark.parametrize(
    ("anchor", "close", "side", "first"), [(102.0, 101.5, "long", 100.15), (100.0 / 1.02, 98.5, "short", 99.85)]
)
def test_level_on_a_round_number_is_placed_beside_it(anchor, close, side, first):
    # one spacing from the centre lies 100: a buy goes 0.15 % above it and a sell 0.15 % below
    ladder = Ladder()
    ladder.long_counts = (0, 0)
    ladder.plan(anchor=anchor, close=close, gamma=0.0)
    assert getattr(ladder, side)[0][0] == pytest.approx(first, rel=1e-12)


def test_levels_keep_half_the_spread_from_the_reservation_price():
    # half of 2/20 of 100 is 5: buys from 95 and sells from 105 on, of 98.04, 96.12, 94.23 and 102, 104.04, 106.12
    ladder = Ladder()
    ladder.long_counts = (0, 0)
    ladder.plan(close=100.0, gamma=0.0, kappa=20.0)
    inside = [Blocked.INSIDE_SPREAD] * 2 + [Blocked.PLACED]
    assert (list(ladder.long[4]), list(ladder.short[4])) == (inside, inside)


def test_a_sheet_holds_the_numbers_of_a_ladder():
    # The first fill of each side lies near its first level, the other price cools near its second one.
    by_name, by_sheet = Ladder(), SheetLadder()
    for ladder, kind in ((by_name, list), (by_sheet, np.array)):
        ladder.long_taken, ladder.short_taken = kind([98.2, 96.2]), kind([102.5, 104.5])
        ladder.long_counts = ladder.short_counts = (1, 2)
    assert by_sheet.plan() == by_name.plan()
    assert by_sheet.state() == by_name.state()
    assert list(by_sheet.trace) == by_name.trace
    assert by_name.tally[Blocked.OCCUPIED] == by_name.tally[Blocked.COOLING] == 2


def test_a_bar_is_written_and_the_finds_are_read_where_the_sheet_has_them():
    memory = bytearray(SHEET.itemsize)
    sheet = np.frombuffer(memory, SHEET)[0]
    write_bar(memory, 0, 0.5, 1.5, 2, 3, 4, 5.5, 6, 7, 8, 9.5, 10.5, 11.5, 12.5, 13.5, 14.5)
    assert (sheet.memory.anchor, sheet.memory.funding_rate) == (0.5, 1.5)
    for leg, numbers in ((sheet.long, (2, 3, 4, 5.5)), (sheet.short, (6, 7, 8, 9.5))):
        assert (leg.blocked, leg.taken_fills, leg.taken, leg.qty) == numbers
    now = sheet.now
    assert (now.spacing_pct, now.close, now.sigma, now.equity, now.notional) == (10.5, 11.5, 12.5, 13.5, 14.5)
    now["q"], now["shift"], sheet["totals"][:] = -1.0, -2.0, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert read_found(memory, FOUND_AT) == (-1.0, -2.0)
    assert read_totals(memory, LONG_TOTALS_AT) == (1.0, 2.0, 3.0)
    assert read_totals(memory, SHORT_TOTALS_AT) == (4.0, 5.0, 6.0)


@pytest.mark.parametrize(
    ("record", "source"), [("p", GridConfig), ("rules", Market), ("memory", Memory), ("long", LegState), ("now", Now)]
)
def test_a_sheet_has_numbers_of_its_records_in_their_kinds(record, source):
    kinds = get_type_hints(source)
    names = SHEET[record].names
    for name in names:
        assert (SHEET[record][name].kind, SHEET[record][name].itemsize) == ("i" if kinds[name] is int else "f", 8)
    if record in ("p", "rules"):
        assert set(names) == {name for name, kind in kinds.items() if kind in (int, float)}


def test_a_plan_without_a_trace_is_the_same():
    traced, untraced = Ladder(), Ladder()
    untraced.trace = []
    assert untraced.plan() == traced.plan() == 3
    assert untraced.state() == traced.state()


@pytest.mark.parametrize("held", ["long_qty", "short_qty"])
def test_what_a_side_holds_is_taken_from_what_it_may(held):
    # At most 0.5 * 2,000 = 1,000 a side, of which 9 * 100.5 = 904.5 are held; a level is 100.
    ladder = Ladder()
    ladder.plan(**{"long_qty": 0.0, "short_qty": 0.0, held: 9.0}, equity=2_000.0, notional=100.0, funding_rate=0.0)
    full, other = (ladder.long, ladder.short) if held == "long_qty" else (ladder.short, ladder.long)
    assert list(full[4])[1:] == [Blocked.MAX_INVENTORY] * 2
    assert list(other[4])[1:] == [PLACED] * 2


def test_nothing_changes_the_second_time():
    ladder = Ladder()
    ladder.plan()
    before = ladder.state()
    assert ladder.plan() == 0
    assert [row[:3] for row in ladder.state()[:2]] == [row[:3] for row in before[:2]]
    assert [list(part[3]) for part in (ladder.long, ladder.short)] == [[KEEP] * 3] * 2


@pytest.mark.parametrize(("blocks", "changed"), [((HALT, PLACED), 2), ((PLACED, REGIME), 1), ((VAR, VAR), 0)])
def test_blocked_side_keeps_what_rests_and_is_counted(blocks, changed):
    ladder = Ladder()
    ladder.plan()
    before = ladder.state()
    ladder.tally[:] = [0] * len(Blocked)
    moved = ladder.plan(long_block=blocks[0], short_block=blocks[1], anchor=101.0)
    assert moved == changed
    for part, old, block in zip((ladder.long, ladder.short), before, blocks, strict=False):
        if block != PLACED:
            assert part[:3] == old[:3]
            assert (part[3], part[4]) == ([KEEP] * 3, [block] * 3)
    assert sum(ladder.tally) == 6
    for reason in set(blocks) - {PLACED}:
        assert ladder.tally[reason] == 3 * blocks.count(reason)


def test_compiled_ladder_is_the_same_to_the_last_bit():
    pytest.importorskip("numba")
    rng = np.random.default_rng(5)
    plain, quick = Ladder(), SheetLadder(compiled(plan_bar, MADE_OF))
    for anchor, spacing, mid, sigma, long_qty, short_qty, block in rng.uniform(0.0, 1.0, (500, 7)).tolist():
        numbers = {
            "anchor": 98.0 + 4.0 * anchor,
            "spacing_pct": 0.01 + 0.01 * spacing,
            "close": 98.0 + 4.0 * mid,
            "sigma": 0.01 * sigma,
            "long_qty": 40.0 * long_qty,
            "short_qty": 40.0 * short_qty,
            "nudge_pct": 0.004 * spacing,
            "funding_tilt": sigma,
        }
        blocks = {"long_block": REGIME if block < 0.2 else PLACED, "short_block": HALT if block > 0.8 else PLACED}
        assert plain.plan(**blocks, **numbers) == quick.plan(**blocks, **numbers)
        assert plain.state() == quick.state()
        assert list(plain.trace) == list(quick.trace)


# --- the totals of a ladder


@pytest.mark.parametrize(
    ("sign", "prices", "qtys", "totals"),
    [
        (1, [98.0, 97.0, 96.0], [2.0, 1.0, 0.5], [341.0, 3, 98.0]),  # 196 + 97 + 48
        (1, [96.0, 98.0, 97.0], [0.5, 2.0, 1.0], [341.0, 3, 98.0]),  # whatever their order
        (-1, [102.0, 103.0, 104.0], [2.0, 1.0, 0.5], [359.0, 3, 102.0]),  # 204 + 103 + 52
        (-1, [104.0, 103.0, 102.0], [0.5, 1.0, 2.0], [359.0, 3, 102.0]),
        (1, [0.0, 97.0, 0.0], [2.0, 1.0, 0.5], [97.0, 1, 97.0]),  # a qty without a price is what rested once
        (-1, [0.0, 103.0, 104.0], [2.0, 1.0, 0.5], [155.0, 2, 103.0]),
        (1, [0.0, 0.0, 0.0], [2.0, 1.0, 0.5], [0.0, 0, 0.0]),
        (-1, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0, 0.0]),
        (1, [], [], [0.0, 0, 0.0]),
        (1, [98.0, 98.0], [2.0, 1.0], [294.0, 2, 98.0]),
        (-1, [102.0, 102.0], [2.0, 1.0], [306.0, 2, 102.0]),
        (1, [0.5, 0.25], [0.5, 2.0], [0.75, 2, 0.5]),  # prices below one
        (-1, [0.5, 0.25], [0.5, 2.0], [0.75, 2, 0.25]),
    ],
)
def test_totals_are_notional_number_and_the_price_met_first(sign, prices, qtys, totals):
    found = list(UNTOUCHED)
    ladder_totals(sign, len(prices), prices, qtys, found)
    assert found == totals


@pytest.mark.parametrize(
    ("sign", "totals", "noted"),
    [
        (1, (341.0, 3.0, 98.0), (341.0, 3, 98.0)),
        (-1, (5.5, 1.0, 0.5), (5.5, 1, 0.5)),
        (1, (0.0, 0.0, 0.0), (0.0, 0, -math.inf)),  # no market falls to the first buy where there is none
        (-1, (0.0, 0.0, 0.0), (0.0, 0, math.inf)),
    ],
)
def test_a_leg_notes_the_totals_of_its_entries(sign, totals, noted):
    leg = LegState(sign=sign)
    take_totals(leg, totals)
    assert (leg.entry_notional, leg.entry_count, leg.first_entry) == noted


def test_totals_are_of_the_first_levels_only():
    found = list(UNTOUCHED)
    ladder_totals(-1, 2, [103.0, 104.0, 102.0], [1.0, 1.0, 1.0], found)
    assert found == [207.0, 2, 103.0]


# --- the centre of the grid


@pytest.mark.parametrize(
    ("position", "q", "shift"),
    # -q * (5/100) * (0.002*100)^2 * 96 = -q * 0.05 * 0.04 * 96 = -q * 0.192
    [(0.0, 0.0, 0.0), (1.0, 0.5, -0.096), (-1.0, -0.5, 0.096), (2.0, 1.0, -0.192), (9.0, 1.0, -0.192)],
)
def test_centre_by_hand(position, q, shift):
    got_q, got_shift, half_spread = centre_grid(100.0, 0.002, position, 2.0, 5.0, 1_000.0, 96)
    assert got_q == q
    assert got_shift == pytest.approx(shift, rel=1e-11, abs=1e-15)
    # half of 0.192 + (2/0.05)*ln(1 + 0.05/10) = 0.192 + 40 * 0.00498754151
    assert half_spread == pytest.approx(0.5 * (0.192 + 0.1995016604), rel=1e-9)


@pytest.mark.parametrize(("position", "q", "shift"), [(0.1, 1.0, -0.192), (-0.1, -1.0, 0.192), (0.0, 0.0, 0.0)])
def test_centre_where_nothing_may_be_held(position, q, shift):
    got_q, got_shift, _ = centre_grid(100.0, 0.002, position, 0.0, 5.0, 1_000.0, 96)
    assert (got_q, got_shift) == (q, pytest.approx(shift, rel=1e-11, abs=1e-15))


def test_centre_in_a_quiet_market_without_risk_aversion():
    # no variance, no skew; half of 2/kappa of the price
    assert centre_grid(200.0, 0.0, 1.0, 2.0, 0.0, 1_000.0, 96) == (0.5, 0.0, pytest.approx(0.2, rel=1e-15))


def test_centre_is_that_of_the_inventory_model_in_price_units():
    # a mid of 40,000: sigma 0.003 is 120, gamma 5 is 0.000125, kappa 1,000 is 0.025
    q, shift, half_spread = centre_grid(40_000.0, 0.003, -0.3, 1.2, 5.0, 1_000.0, 96)
    assert q == normalized_inventory(-0.3, 1.2) == -0.25
    # 0.25 * 0.000125 * 14,400 * 96 = 43.2
    assert shift == pytest.approx(43.2, rel=1e-9)
    assert 40_000.0 + shift == pytest.approx(reservation_price(40_000.0, -0.25, 0.000125, 120.0, 96), rel=1e-15)
    # 172.8 + 16,000 * ln(1.005) = 172.8 + 79.8006641
    assert half_spread == pytest.approx(0.5 * (172.8 + 79.8006641), rel=1e-8)
    assert half_spread == pytest.approx(0.5 * optimal_spread(0.000125, 120.0, 96, 0.025), rel=1e-15)


def centre_into(mid, sigma, net, most, gamma, kappa, horizon, out):
    """Set `out` to the centre: compiled rules fill arrays."""
    out[0], out[1], out[2] = centre_grid(mid, sigma, net, most, gamma, kappa, horizon)


def test_compiled_centre_and_totals_are_the_same_to_the_last_bit():
    np = pytest.importorskip("numpy")
    pytest.importorskip("numba")
    rng = np.random.default_rng(3)
    fast_centre, fast_totals = compiled(centre_into, MADE_OF), compiled(ladder_totals, MADE_OF)
    centre = np.zeros(3)
    for position, share, gamma, kappa, *prices in rng.uniform(0.0, 1.0, (300, 8)).tolist():
        numbers = (100.0 * share, 0.02 * position, position - 0.5, 0.4 * share, 20.0 * gamma, 1.0 + 5_000.0 * kappa, 96)
        fast_centre(*numbers, centre)
        assert tuple(centre.tolist()) == centre_grid(*numbers)
        prices = [price if price > 0.3 else 0.0 for price in prices]
        for sign in (1, -1):
            fast, plain = np.zeros(3), [0.0] * 3
            fast_totals(sign, 4, np.array(prices), np.array(prices[::-1]), fast)
            ladder_totals(sign, 4, prices, prices[::-1], plain)
            assert fast.tolist() == plain


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
