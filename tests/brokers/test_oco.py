"""OCO, LONG and SHORT: of the orders of a group one is executed at most; its execution or end cancels the others.

Fees and slippage are 0. Cases of SHORT are those of LONG with every price p as 200 - p.
"""

from datetime import timedelta

import backtrader as bt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linked_orders import SIDES, traded
from scripted import assert_conserved, flat

LIMIT, STOP = bt.Order.Limit, bt.Order.Stop


def entries(strategy):
    """Buy at 98, or at 96 within 30 minutes, or on a breakout at 104."""
    near = strategy.open(exectype=LIMIT, price=98.0)
    far = strategy.open(exectype=LIMIT, price=96.0, oco=near)
    breakout = strategy.open(exectype=STOP, price=104.0, oco=near)
    strategy.name(near=near, far=far, breakout=breakout)
    return near, far, breakout


def gone(bar, *names):
    return [(bar, name, "Canceled", None) for name in names]


CASES = {
    "none is reached": ([(100, 103, 99, 100)] * 2, []),
    "the nearest": ([(100, 101, 97, 98)], [(2, "near", "Completed", 98.0), *gone(2, "far", "breakout")]),
    "two of a bar: the one that the market meets first": (
        [(100, 101, 95, 98)],
        [(2, "near", "Completed", 98.0), *gone(2, "far", "breakout")],
    ),
    "a limit and a stop of a bar: the stop, which is dearer": (
        [(100, 105, 97, 98)],
        [(2, "breakout", "Completed", 104.0), *gone(2, "near", "far")],
    ),
    "the breakout": ([(100, 105, 99, 104)], [(2, "breakout", "Completed", 104.0), *gone(2, "near", "far")]),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_one_of_a_group_is_executed(case, side):
    bars, expected = CASES[case]
    done = traded({1: entries}, [*flat(1), *bars, (100, 110, 90, 100)], side)
    first = [event for event in done.events if event[0] == 2]
    assert first == expected
    assert sum(status == "Completed" for _, _, status, _ in done.events) == 1
    assert done.held() == 1.0


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("bar", "name", "price"),
    [((100, 106, 99, 104), "profit", 105.0), ((100, 101, 94, 96), "loss", 95.0), ((100, 106, 94, 100), "loss", 95.0)],
)
def test_exits_as_a_group(side, bar, name, price):
    def exits(strategy):
        loss = strategy.shut(exectype=STOP, price=95.0)
        strategy.name(loss=loss, profit=strategy.shut(exectype=LIMIT, price=105.0, oco=loss))

    done = traded({1: lambda s: s.name(entry=s.open()), 2: exits}, [*flat(2), bar], side)
    other = {"loss": "profit", "profit": "loss"}[name]
    assert done.events[1:] == [(3, name, "Completed", price), (3, other, "Canceled", None)]


def test_cancelling_one_cancels_the_others():
    placed = []
    done = traded({1: lambda s: placed.extend(entries(s)), 2: lambda s: s.cancel(placed[1])}, flat(3))
    assert done.events == gone(3, "far", "near", "breakout")


def test_expiry_of_one_cancels_the_others():
    def pair(strategy):
        first = strategy.open(exectype=LIMIT, price=90.0)
        strategy.name(
            first=first, second=strategy.open(exectype=LIMIT, price=89.0, oco=first, valid=timedelta(minutes=15))
        )

    done = traded({1: pair}, flat(4))
    assert done.events == [(3, "second", "Expired", None), (3, "first", "Canceled", None)]


def test_refused_order_does_not_join_and_the_others_stay():
    def pair(strategy):
        first = strategy.open(exectype=LIMIT, price=98.0)
        strategy.name(first=first, second=strategy.open(exectype=LIMIT, price=90.001, oco=first))

    done = traded({1: pair}, [*flat(1), (100, 101, 97, 100)])
    assert done.events == [(2, "second", "Rejected", None), (2, "first", "Completed", 98.0)]


def test_order_that_names_one_that_is_over_is_refused():
    placed = []
    script = {1: lambda s: placed.append(s.open()), 3: lambda s: s.open(exectype=LIMIT, price=98.0, oco=placed[0])}
    [reason] = traded(script, flat(5)).reasons()
    assert reason.startswith("-2011 Unknown order sent. The order of oco= is over")


def test_parent_of_a_bracket_in_a_group():
    # the bracket's parent is cancelled by the other entry, its children with it
    def both(strategy):
        breakout = strategy.open(exectype=STOP, price=104.0)
        strategy.name(breakout=breakout)
        strategy.bracket(price=98.0, stopprice=95.0, limitprice=105.0, oargs={"oco": breakout})

    done = traded({1: both}, [*flat(1), (100, 105, 99, 104)])
    assert done.events == [(2, "breakout", "Completed", 104.0), *gone(2, "parent", "stop", "limit")]


PRICES = st.integers(90, 110)


@given(
    orders=st.lists(st.tuples(st.sampled_from(["open", "shut"]), st.booleans(), PRICES), min_size=2, max_size=6),
    bars=st.lists(st.tuples(PRICES, PRICES, PRICES), min_size=1, max_size=8),
    side=st.sampled_from(SIDES),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_group_never_fills_two_and_money_is_conserved(orders, bars, side):
    def place(strategy):
        leader = None
        for do, stops, price in orders:
            order = getattr(strategy, do)(exectype=STOP if stops else LIMIT, price=float(price), oco=leader)
            if order.alive():
                leader = leader or order

    rows = [(open_, max(open_, a, b), min(open_, a, b), a) for open_, a, b in bars]
    costs = {"maker_fee": 0.0002, "taker_fee": 0.0005, "slippage": 0.0002}
    done = traded({1: lambda s: s.open(size=10.0), 2: place}, [*flat(2), *rows], side, costs)
    ends = [status for _, status, *_ in done.orders]
    assert ends.count("Completed") <= 2  # the first order, and one of the group
    assert ends.count("Completed") == 2 or not set(ends) & {"Canceled"}
    [value], account = [done.broker.getvalue()], done.broker.account
    assert_conserved(account, done.broker.getvalue([done.data]), value)
