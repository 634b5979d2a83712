"""StopTrail and StopTrailLimit, LONG and SHORT: a bar is met by the trigger before it, then its best price moves it.

2 behind the price, placed in a bar that closes at 100; fees and slippage are 0 where nothing else is said. Cases of
SHORT are those of LONG with every price p as 200 - p.
"""

import backtrader as bt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linked_orders import SIDES, traded

TRAIL, TRAIL_LIMIT = bt.Order.StopTrail, bt.Order.StopTrailLimit
BEFORE = [(100, 100.5, 99.5, 100)] * 2


def held_with(**terms):
    """Open at bar 1, and trail from bar 2 on."""
    terms = {"exectype": TRAIL, "trailamount": 2.0} | terms
    return {1: lambda s: s.name(entry=s.open()), 2: lambda s: s.name(trail=s.shut(**terms))}


def trail_of(done):
    return [event[::3] for event in done.events if event[1] == "trail"]


CASES = {
    # name: (bars from the third on, bar and price of the stop)
    "at its first trigger": ([(100, 101, 98, 99)], [(3, 98.0)]),
    "never within 2": ([(100, 101, 99, 100), (100, 101, 99.5, 100)], []),
    "high first moves it for the next bar": ([(100, 104, 99, 103), (103, 103, 102, 102)], [(4, 102.0)]),
    # bar 3 itself would reach 102 if the high came first; it is met by 98, then moved, and the open executes it
    "a close beyond the moved trigger": ([(100, 104, 99, 100), (100, 101, 99, 100)], [(4, 100.0)]),
    "low and high in one bar: the trigger before": ([(100, 110, 97, 109)], [(3, 98.0)]),
    "open beyond the trigger": ([(95, 96, 94, 95)], [(3, 95.0)]),
    "never back": ([(100, 104, 99, 103), (103, 103.5, 102.5, 103), (103, 103, 102, 102)], [(5, 102.0)]),
    "a bar without trades moves nothing": ([(100, 110, 99, 100, 0), (100, 101, 98, 100)], [(4, 98.0)]),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES)
def test_stop_trail(case, side):
    bars, expected = CASES[case]
    done = traded(held_with(), [*BEFORE, *bars], side)
    assert trail_of(done) == expected
    assert done.held() == (0.0 if expected else 1.0)


@pytest.mark.parametrize("side", SIDES)
def test_finer_bars_move_it_one_after_another(side):
    # 98; the first finer bar moves it to 102, the second meets that
    parts = [(100, 104, 100, 103), (103, 103, 101, 102), (102, 102, 101, 102)]
    bars = [*BEFORE, (100, 104, 100, 102)]
    assert trail_of(traded(held_with(), bars, side, {"intrabar": "detail"}, detail={3: parts})) == [(3, 102.0)]
    assert trail_of(traded(held_with(), bars, side, {"intrabar": "pessimistic"}, detail={3: parts})) == []


def test_percent_is_of_the_best_price_and_rounded_away_from_it():
    # 100 less 1.333 % is 98.667: 98.66; 103.37 less 1.333 % is 101.992...: 101.99
    script = held_with(trailamount=None, trailpercent=0.01333)
    assert trail_of(traded(script, [*BEFORE, (100, 101, 98.66, 99)])) == [(3, 98.66)]
    assert trail_of(traded(script, [*BEFORE, (100, 103.37, 99, 103), (103, 103, 101.99, 102)])) == [(4, 101.99)]


def test_percent_of_a_short():
    # 100 and 1.333 %: 101.333, 101.34
    script = held_with(trailamount=None, trailpercent=0.01333)
    done = traded(script, [*BEFORE, (100, 101, 98.66, 99)], "SHORT")
    assert trail_of(done) == [(3, 98.66)]


@pytest.mark.parametrize("side", SIDES)
def test_price_is_where_it_begins_to_trail(side):
    # behind 101: 99
    assert trail_of(traded(held_with(price=101.0), [*BEFORE, (100, 100.5, 99, 99.5)], side)) == [(3, 99.0)]


def test_strategy_sees_the_trigger_move():
    seen = []
    script = held_with()
    script |= {n: lambda s: seen.append(s.broker.get_orders_open()[0].created.price) for n in (3, 4)}
    traded(script, [*BEFORE, (100, 104, 99, 103), (103, 105, 103, 104)])
    assert seen == [102.0, 103.0]


def test_costs_are_those_of_a_stop():
    # 98 less 0.02 %, taker
    costs = {"taker_fee": 0.0005, "slippage": 0.0002}
    done = traded(held_with(), [*BEFORE, (100, 101, 98, 99)], broker=costs)
    assert trail_of(done) == [(3, pytest.approx(97.9804))]
    assert done.broker.account.closed[0].fees == pytest.approx((100.02 + 97.9804) * 0.0005)


@pytest.mark.parametrize("side", SIDES)
def test_it_may_open_a_leg(side):
    # to sell 2 above the lowest price: 102, after the low of 97: 99
    def order(strategy):
        strategy.name(trail=strategy.open(exectype=TRAIL, trailamount=2.0))

    bars = [(100, 101, 97, 98), (98, 99, 97.5, 99)]
    assert trail_of(traded({2: order}, [*BEFORE, *bars], side)) == [(4, 99.0)]


# --- with a limit price


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        # trigger 98, limit 97.5, one bar later
        ([(100, 100.5, 98, 98.5), (98.5, 99, 98, 98.5)], [(4, 97.5)]),
        ([(97, 97.2, 96, 97), (97, 97.4, 96, 97), (97, 97.5, 96, 97)], [(5, 97.5)]),
        # both follow the high of 104: 102 and 101.5
        ([(100, 104, 99, 103), (103, 103, 102, 102.5), (102.5, 103, 101, 102)], [(5, 101.5)]),
    ],
)
def test_stop_trail_limit(side, bars, expected):
    # Backtrader keeps the limit as far from the trigger as plimit is from price.
    script = held_with(exectype=TRAIL_LIMIT, price=100.0, plimit=99.5)
    assert trail_of(traded(script, [*BEFORE, *bars], side)) == expected


def test_stop_trail_limit_without_price_counts_from_the_close():
    script = held_with(exectype=TRAIL_LIMIT, plimit=99.5)
    done = traded(script, [*BEFORE, (100, 100.5, 98, 98.5), (98.5, 99, 98, 98.5)])
    assert trail_of(done) == [(4, 97.5)]


# --- refusals

REFUSED = {
    "nothing to trail by": ({"trailamount": None}, "-1102 Mandatory parameter 'trailamount' was not sent."),
    "two distances": ({"trailpercent": 0.01}, "-1128 Combination of optional parameters invalid."),
    "below zero": ({"trailamount": -1.0}, "-1130 Data sent for parameter 'trailamount' is not valid."),
    "no number": ({"trailamount": float("nan")}, "-1130"),
    "percent as a whole number": ({"trailamount": None, "trailpercent": 2.0}, "-1130"),
    "trigger that is through": ({"price": 105.0}, "-2021 Order would immediately trigger."),
    "more than the price": ({"trailamount": 101.0}, "-4013 Price less than min price."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    terms, reason = REFUSED[case]
    done = traded(held_with(**terms), [*BEFORE, (100, 101, 99, 100)])
    assert [one[: len(reason)] for one in done.reasons()] == [reason]


@given(
    moves=st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=25),
    distance=st.integers(1, 6),
    side=st.sampled_from(SIDES),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_better_than_the_best_price_before_the_bar_less_the_distance(moves, distance, side):
    bars, close = list(BEFORE), 100
    for move, above, below in moves:
        open_, close = close, close + move
        bars.append((open_, max(open_, close) + above, min(open_, close) - below, close))
    done = traded(held_with(trailamount=float(distance)), bars, side)
    # The oracle: what is known before each bar.
    best, expected = 100.0, []
    for number, (open_, high, low, _) in enumerate(bars[2:], start=3):
        trigger = best - distance
        if low <= trigger:
            expected = [(number, float(min(open_, trigger)))]
            break
        best = max(best, high)
    assert trail_of(done) == expected
