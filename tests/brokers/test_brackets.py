"""Brackets, LONG and SHORT: a parent opens a leg, its stop and its limit only close it, and one cancels the other.

Parent 99, stop 95, limit 105, placed in a bar of 100; fees and slippage are 0 where nothing else is said. Cases of
SHORT are those of LONG with every price p as 200 - p.
"""

from datetime import timedelta

import backtrader as bt
import pytest
from linked_orders import SIDES, traded
from scripted import assert_conserved, flat

from gridv4_bt.engine.types import PositionSide

MARKET, LIMIT, STOP, STOP_LIMIT = bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit
TRAIL = bt.Order.StopTrail
OPENS = (100, 101, 98, 100)


def bracket(**terms):
    return lambda strategy: strategy.bracket(**{"price": 99.0, "stopprice": 95.0, "limitprice": 105.0} | terms)


OPENED = (2, "parent", "Completed", 99.0)
CASES = {
    # name: (bars from the second on, what happens)
    "profit": ([OPENS, (100, 106, 99, 104)], [OPENED, (3, "limit", "Completed", 105.0), (3, "stop", "Canceled", None)]),
    "loss": ([OPENS, (100, 101, 94, 96)], [OPENED, (3, "stop", "Completed", 95.0), (3, "limit", "Canceled", None)]),
    "open beyond the stop": (
        [OPENS, (93, 94, 92, 93)],
        [OPENED, (3, "stop", "Completed", 93.0), (3, "limit", "Canceled", None)],
    ),
    "open beyond the limit": (
        [OPENS, (108, 109, 107, 108)],
        [OPENED, (3, "limit", "Completed", 105.0), (3, "stop", "Canceled", None)],
    ),
    "both in one bar: the stop": (
        [OPENS, (100, 106, 94, 100)],
        [OPENED, (3, "stop", "Completed", 95.0), (3, "limit", "Canceled", None)],
    ),
    "stop in the bar of the entry": (
        [(100, 101, 94, 96)],
        [OPENED, (2, "stop", "Completed", 95.0), (2, "limit", "Canceled", None)],
    ),
    "limit from the bar after the entry on": (
        [(100, 106, 98, 104), (104, 105, 103, 104)],
        [OPENED, (3, "limit", "Completed", 105.0), (3, "stop", "Canceled", None)],
    ),
    "all three in one bar: entry and stop": (
        [(100, 106, 94, 100)],
        [OPENED, (2, "stop", "Completed", 95.0), (2, "limit", "Canceled", None)],
    ),
    "never opened": ([(104, 106, 99.5, 104)] * 3, []),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_bracket(case, side):
    bars, expected = CASES[case]
    done = traded({1: bracket()}, [*flat(1), *bars], side)
    assert done.events == expected
    assert done.held() == (1.0 if len(expected) == 1 else 0.0)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("terms", "bars", "expected"),
    [
        # at market at 97: the stop of 95 lies beyond, the bar meets it
        ({"exectype": MARKET}, [(97, 98, 94, 95)], [("parent", 97.0), ("stop", 95.0)]),
        # at market at 94, through the stop of 95 already: closed where it was opened
        ({"exectype": MARKET}, [(94, 96, 93, 95)], [("parent", 94.0), ("stop", 94.0)]),
        # a breakout at 102: the low of 94 may have come after it
        ({"exectype": STOP, "price": 102.0}, [(100, 103, 94, 100)], [("parent", 102.0), ("stop", 95.0)]),
        ({"exectype": STOP, "price": 102.0}, [(100, 106, 96, 100)], [("parent", 102.0)]),
        # a stop-limit parent: triggered in bar 2, filled in bar 3, its limit child from bar 4 on
        (
            {"exectype": STOP_LIMIT, "price": 102.0, "plimit": 101.0},
            [(100, 103, 99, 102), (102, 106, 100, 102), (102, 106, 101, 103)],
            [("parent", 101.0), ("limit", 105.0)],
        ),
        # a stop-limit child: triggered in bar 3, a limit at 94 from bar 4 on
        (
            {"stopexec": STOP_LIMIT, "stopargs": {"plimit": 94.0}},
            [OPENS, (96, 97, 94.5, 95), (95, 96, 94.5, 95)],
            [("parent", 99.0), ("stop", 94.0)],
        ),
        # without a limit child
        ({"limitexec": None}, [OPENS, (100, 106, 99, 100), (100, 101, 95, 96)], [("parent", 99.0), ("stop", 95.0)]),
        # without a stop child
        ({"stopexec": None}, [(100, 106, 90, 100), (100, 106, 90, 100)], [("parent", 99.0), ("limit", 105.0)]),
    ],
)
def test_types_of_parent_and_children(side, terms, bars, expected):
    done = traded({1: bracket(**terms)}, [*flat(1), *bars], side)
    assert [(name, price) for _, name, status, price in done.events if status == "Completed"] == expected


@pytest.mark.parametrize("side", SIDES)
def test_trailing_child_starts_at_the_execution_of_its_parent_and_trails_from_the_next_bar_on(side):
    # entry 99, trigger 97; the high of 101 of bar 2 may be older; bar 3 lifts it to 99, bar 4 meets that
    terms = {"stopexec": TRAIL, "stopprice": None, "stopargs": {"trailamount": 2.0}, "limitexec": None}
    bars = [(100, 101, 98, 100), (99, 101, 97.5, 100), (100, 100.5, 98.5, 99)]
    done = traded({1: bracket(**terms)}, [*flat(1), *bars], side)
    assert done.events == [OPENED, (4, "stop", "Completed", 99.0)]


def test_costs_of_a_bracket_that_is_stopped():
    # 99 as maker, 95 less 0.02 % slippage as taker
    costs = {"maker_fee": 0.0002, "taker_fee": 0.0005, "slippage": 0.0002}
    done = traded({1: bracket()}, [*flat(1), (100, 101, 94, 96)], broker=costs)
    assert done.events[1] == (2, "stop", "Completed", pytest.approx(94.981))
    assert done.broker.account.fees == pytest.approx(99.0 * 0.0002 + 94.981 * 0.0005)
    assert_conserved(done.broker.account, 0.0, done.broker.getvalue())


@pytest.mark.parametrize("side", SIDES)
def test_finer_bars_decide_what_the_bar_leaves_open(side):
    # the entry first, then 106, then 94: the limit is met in a finer bar after that of the entry
    parts = [(100, 100, 98, 99), (99, 106, 99, 105), (105, 105, 94, 95)]
    done = traded({1: bracket()}, [*flat(1), (100, 106, 94, 95)], side, {"intrabar": "detail"}, detail={2: parts})
    assert done.events == [OPENED, (2, "limit", "Completed", 105.0), (2, "stop", "Canceled", None)]


# --- what ends a bracket


def test_cancelling_the_parent_cancels_its_children():
    placed = []
    script = {1: lambda s: placed.extend(bracket(price=90.0, stopprice=85.0)(s)), 2: lambda s: s.cancel(placed[0])}
    done = traded(script, flat(4))
    assert done.events == [(3, name, "Canceled", None) for name in ("parent", "stop", "limit")]


def test_cancelling_one_child_cancels_the_other_as_in_backtrader():
    placed = []
    script = {1: lambda s: placed.extend(bracket()(s)), 3: lambda s: s.cancel(placed[2])}
    done = traded(script, [*flat(1), OPENS, *flat(3)])
    assert done.events == [OPENED, (4, "limit", "Canceled", None), (4, "stop", "Canceled", None)]
    assert done.held() == 1.0


def test_parent_that_expires_cancels_its_children():
    done = traded({1: bracket(price=90.0, stopprice=85.0, valid=timedelta(minutes=15))}, flat(4))
    assert done.events == [
        (3, "parent", "Expired", None),
        (3, "stop", "Canceled", None),
        (3, "limit", "Canceled", None),
    ]


@pytest.mark.parametrize("side", SIDES)
def test_leg_that_another_order_empties_expires_the_children(side):
    script = {1: bracket(), 3: lambda s: s.name(other=s.shut())}
    done = traded(script, [*flat(1), OPENS, *flat(3)], side)
    assert [event[:3] for event in done.events] == [
        (2, "parent", "Completed"),
        (4, "other", "Completed"),
        (4, "stop", "Expired"),
        (4, "limit", "Canceled"),
    ]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("bar", "name", "price"), [((100, 101, 94, 95), "stop", 95.0), ((100, 106, 99, 105), "limit", 105.0)]
)
def test_child_larger_than_what_is_left_closes_that_and_its_rest_expires(side, bar, name, price):
    # 2 opened, 1.5 closed by another order: 0.5 is left for a child of 2
    script = {1: bracket(size=2.0), 3: lambda s: s.name(other=s.shut(size=1.5))}
    done = traded(script, [*flat(1), OPENS, *flat(2), bar], side)
    assert [event for event in done.events if event[1] == name] == [
        (5, name, "Partial", price),
        (5, name, "Expired", None),
    ]
    assert done.held() == 0.0
    assert not done.broker.get_orders_open()


def test_children_leave_the_other_leg_alone():
    script = {1: lambda s: (s.sell(size=3.0, positionSide="SHORT"), bracket()(s))}
    done = traded(script, [*flat(1), OPENS, (100, 101, 94, 96)])
    assert done.broker.leg(done.data, PositionSide.SHORT).tracker.qty == 3.0
    assert done.held() == 0.0


def test_bracket_without_position_side_opens_one_leg_and_never_turns_it():
    def order(strategy):
        strategy.name(**dict(zip(("parent", "stop", "limit"), strategy.buy_bracket(
            size=1.0, price=99.0, stopprice=95.0, limitprice=105.0), strict=True)))  # fmt: skip

    done = traded({1: order}, [*flat(1), OPENS, (100, 101, 94, 96)])
    assert [event[1:] for event in done.events] == [
        ("parent", "Completed", 99.0), ("stop", "Completed", 95.0), ("limit", "Canceled", None),
    ]  # fmt: skip
    assert done.position.size == 0.0


def test_liquidation_ends_the_bracket():
    # 490 at 99 with 10,000: nothing is left at about 79.4
    done = traded({1: bracket(size=490.0, stopprice=70.0)}, [*flat(1), OPENS, (100, 100, 60, 60)])
    assert [(name, status) for _, name, status, _ in done.events if name] == [
        ("parent", "Completed"), ("stop", "Canceled"), ("limit", "Canceled"),
    ]  # fmt: skip
    assert done.broker.liquidations() == 1


# --- parent and transmit


def test_order_that_is_not_transmitted_waits_unseen():
    done = traded({1: lambda s: s.buy(size=1.0, transmit=False)}, flat(5))
    assert done.orders == []
    assert done.broker.get_orders_open() == []


def test_cancelling_what_was_not_transmitted_takes_the_bracket_back():
    def order(strategy):
        parent = strategy.buy(size=1.0, exectype=LIMIT, price=99.0, transmit=False)
        child = strategy.sell(size=1.0, exectype=STOP, price=95.0, parent=parent, transmit=False)
        strategy.name(parent=parent, child=child)
        strategy.cancel(parent)

    done = traded({1: order}, flat(4))
    assert [event[1:3] for event in done.events] == [("parent", "Canceled"), ("child", "Canceled")]


def test_child_may_be_added_while_its_parent_is_open():
    placed = []
    script = {
        1: lambda s: placed.append(s.buy(size=1.0, exectype=LIMIT, price=98.0)),
        2: lambda s: s.name(late=s.sell(size=1.0, exectype=STOP, price=95.0, parent=placed[0])),
    }
    done = traded(script, [*flat(2), (100, 101, 94, 95)])
    assert done.events[1] == (3, "late", "Completed", 95.0)


def test_children_that_wait_bind_no_margin_and_are_open_orders():
    seen = []
    script = {1: bracket(), 2: lambda s: seen.append((s.broker.available_margin(), len(s.broker.get_orders_open())))}
    traded(script, [*flat(1), (104, 105, 100, 104), *flat(1)])
    assert seen == [(10_000.0 - 99.0 / 5, 3)]


# --- refusals


def child_of(parent, child, **how):
    def order(strategy):
        first = strategy.buy(size=1.0, positionSide="LONG", transmit=False, **parent)
        getattr(strategy, how.get("do", "sell"))(size=1.0, parent=first, **child)

    return order


def grandchild(strategy):
    first, stop, _ = strategy.buy_bracket(size=1.0, price=99.0, stopprice=95.0, limitprice=105.0)
    strategy.sell(size=1.0, exectype=LIMIT, price=106.0, parent=stop)


REFUSED = {
    "stop through its parent's price": (bracket(stopprice=99.0), 3, "-2021 Order would immediately trigger"),
    "one on no tick": (bracket(limitprice=105.001), 3, "-4014 Price not increased by tick size"),
    "no margin for the parent": (bracket(size=600.0), 3, "-2019 Margin is insufficient"),
    "child that opens": (child_of({}, {"exectype": STOP, "price": 105.0}, do="buy"), 2, "-2022"),
    "child on the other leg": (child_of({}, {"exectype": STOP, "price": 95.0, "positionSide": "SHORT"}), 2, "-2022"),
    "child of a child": (grandchild, 1, "-1116"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bracket_of_which_one_order_is_refused_is_refused_as_a_whole(case):
    order, rejected, reason = REFUSED[case]
    done = traded({1: order}, flat(3))
    assert len(done.reasons()) == rejected
    assert all(one.startswith(reason) for one in done.reasons())


def test_parent_that_closes_is_refused():
    def order(strategy):
        parent = strategy.sell(size=1.0, positionSide="LONG", transmit=False)
        strategy.buy(size=1.0, positionSide="LONG", exectype=STOP, price=105.0, parent=parent)

    done = traded({1: lambda s: s.buy(size=1.0), 3: order}, flat(5))
    assert [reason[:5] for reason in done.reasons()] == ["-2022"] * 2


def test_child_of_a_parent_that_is_over_is_refused():
    placed = []
    script = {
        1: lambda s: placed.append(s.buy(size=1.0)),
        3: lambda s: s.sell(size=1.0, exectype=STOP, price=95.0, parent=placed[0]),
    }
    [reason] = traded(script, flat(5)).reasons()
    assert reason.startswith("-2011 Unknown order sent. The parent is over")
