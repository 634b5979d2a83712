"""The order of prices inside a bar: its path as three moves, and what the order of prices may change at all.

The laws let a book meet the same bar in three ways: as a whole, by its path, and by finer candles in turn. Fees:
maker 0.02 %, taker 0.05 %; slippage 0.02 %.
"""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.book import Bar, Entry, MarketClose
from gridv4_bt.engine.intrabar import MODES, keep_mark_within, make_up, path_parts
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.matching import order_matters
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
TIME = 900_000


def whole(open_, high, low, close, volume=1.0, **mark):
    mark = {"mark_low": low, "mark_high": high, "mark_close": close} | mark
    return Bar(TIME, *map(float, (open_, high, low, close, volume)), **mark)


def prices(part):
    return part.open, part.high, part.low, part.close


# --- the path


def test_modes_are_those_of_the_parameter():
    assert MODES == ("pessimistic", "path", "detail")
    assert [GridConfig(intrabar=mode).intrabar for mode in MODES] == list(MODES)
    assert GridConfig().intrabar == "pessimistic"


@pytest.mark.parametrize(
    ("bar", "corners"),
    [
        ((100, 110, 90, 105), (100, 90, 110, 105)),  # up: low first
        ((100, 110, 90, 95), (100, 110, 90, 95)),  # down: high first
        ((100, 110, 90, 100), (100, 90, 110, 100)),  # neither counts as up
        ((100, 110, 100, 110), (100, 100, 110, 110)),  # nothing but up
        ((110, 110, 100, 100), (110, 110, 100, 100)),  # nothing but down
        ((100, 110, 100, 105), (100, 100, 110, 105)),  # an up bar without a wick below
        ((100, 100, 100, 100), (100, 100, 100, 100)),
    ],
)
def test_up_bar_runs_to_its_low_first_and_down_bar_to_its_high(bar, corners):
    first, second, third = path_parts(whole(*bar))
    assert (first.open, first.close, second.close, third.close) == corners
    assert (second.open, third.open) == (first.close, second.close)


def test_each_move_is_a_bar_of_its_own_in_one_direction():
    # 100 down to 90, up to 110, down to 105
    assert [prices(part) for part in path_parts(whole(100, 110, 90, 105))] == [
        (100, 100, 90, 90),
        (90, 110, 90, 110),
        (110, 110, 105, 105),
    ]


def test_moves_have_times_of_their_own_and_the_volume_of_the_bar():
    parts = path_parts(whole(100, 110, 90, 105, 7.0))
    assert [part.time for part in parts] == [TIME, TIME + 1, TIME + 2]
    assert [part.volume for part in parts] == [7.0] * 3


def test_bar_itself_stays_as_it_is():
    bar = whole(100, 110, 90, 105)
    path_parts(bar)
    assert bar == whole(100, 110, 90, 105)


def test_without_a_mark_of_its_own_the_mark_takes_the_path_of_the_trades():
    parts = path_parts(whole(100, 110, 90, 105))
    assert [(part.mark_low, part.mark_high, part.mark_close) for part in parts] == [
        (90, 100, 90),
        (90, 110, 110),
        (105, 110, 105),
    ]


def test_mark_extremes_are_reached_in_some_part_and_never_exceeded():
    parts = path_parts(whole(100, 110, 90, 105, mark_low=88.0, mark_high=109.0))
    assert min(part.mark_low for part in parts) == 88.0
    assert max(part.mark_high for part in parts) == 109.0


any_price = st.integers(90, 110).map(float)


@st.composite
def some_bar(draw):
    open_, close = draw(any_price), draw(any_price)
    return whole(open_, max(open_, close, draw(any_price)), min(open_, close, draw(any_price)), close)


@given(some_bar())
def test_path_goes_through_all_prices_of_the_bar_and_no_others(bar):
    parts = path_parts(bar)
    assert (parts[0].open, parts[-1].close) == (bar.open, bar.close)
    assert (max(part.high for part in parts), min(part.low for part in parts)) == (bar.high, bar.low)
    for part in parts:
        assert {part.low, part.high} == {part.open, part.close}
    for before, after in itertools.pairwise(parts):
        assert after.open == before.close


# --- one book, one bar, three ways

SIGNS = st.sampled_from([LONG, SHORT])
#: Price and whether it has an exit, and where, for each fill held.
HELD = st.lists(st.tuples(any_price, st.one_of(st.none(), any_price)), max_size=3)
ENTRIES = st.lists(any_price, max_size=3)
STOP = st.one_of(st.none(), any_price)


@st.composite
def minutes(draw, count=4, direction=None):
    """Finer candles that open where the one before closed; with a direction all of them move that way."""
    at = draw(any_price)
    parts = []
    for number in range(draw(st.integers(1, count))):
        open_, at = at, draw(any_price)
        if direction:
            at = direction * max(direction * at, direction * open_)
            high, low = max(open_, at), min(open_, at)
        else:
            high, low = max(open_, at, draw(any_price)), min(open_, at, draw(any_price))
        parts.append(minute(number, open_, high, low, at))
    return parts


def minute(number, open_, high, low, close, volume=1.0):
    part = whole(open_, high, low, close, volume)
    part.time += 60_000 * number
    return part


def merged(parts):
    """The bar that these finer candles make."""
    high, low = max(part.high for part in parts), min(part.low for part in parts)
    return whole(parts[0].open, high, low, parts[-1].close, sum(part.volume for part in parts))


def not_at_the_stop(entries, stop, parts):
    """Leave out entries at the very price at which the stop fires.

    Under the rule "through" they stay standing in a candle that only touches that price, though the stop has fired.
    """
    return [price for price in entries if price not in (stop, parts[0].open)]


class Meeting:
    """A book of one leg with held fills, entries, exits, a stop and market orders, and what a bar made of it."""

    def __init__(self, exchange, side, held=(), entries=(), stop=None, closes=()):
        self.exchange, self.book, self.side = exchange, exchange.book, side
        self.leg = self.book.leg(side)
        for price, exit_ in held:
            fill = exchange.account.open_fill("X", self.leg.tracker, 1.0, price, 0, 0, 0.01, 0.0, True)
            if exit_ is not None:
                self.leg.exits[fill] = exit_
        for i, price in enumerate(entries, 1):
            self.leg.place(-int(side) * i, Entry(price, 1.0, 0.01))
        self.leg.closes += [MarketClose(self.leg.tracker.ids[i], 0.5, TradeLabel.GAP) for i in closes]
        self.leg.stop = stop

    def meet(self, parts):
        self.book.bar = parts[0]
        self.book.orders_changed()
        for part in parts:
            self.book.bar = part
            self.exchange.match(self.book)
        return self

    def matters(self, bar):
        self.book.bar = bar
        return order_matters(self.book)

    def value(self):
        return self.exchange.account.wallet + self.book.unrealized(self.book.bar.close)

    def outcome(self):
        """What was traded and what is left, but for the order and the times in which it happened."""
        trades = [(str(trade.label), trade.entry, trade.qty, trade.exit) for trade in self.exchange.account.closed]
        fills = [(fill.price, fill.qty) for fill in self.leg.tracker.fills]
        return sorted(trades), sorted(fills), self.leg.entries, pytest.approx(self.value(), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.data(), SIGNS, HELD, ENTRIES, STOP, st.sampled_from([1, -1]), st.sampled_from(["touch", "through"]))
def test_bar_in_one_direction_is_the_same_in_all_three_ways(
    make_exchange, data, side, held, entries, stop, direction, rule
):
    parts = data.draw(minutes(direction=direction))
    entries = not_at_the_stop(entries, stop, parts)
    # an exit behind the open is the one thing that differs, see the next test
    held = [(price, exit_ if exit_ is None or side * (exit_ - parts[0].open) > 0 else None) for price, exit_ in held]
    closes = data.draw(st.lists(st.integers(0, len(held) - 1), max_size=2)) if held else []
    pessimistic, path, detail = (
        Meeting(make_exchange(fill_rule=rule), side, held, entries, stop, closes).meet(way).outcome()
        for way in ([merged(parts)], path_parts(merged(parts)), parts)
    )
    assert pessimistic == path == detail


@pytest.mark.parametrize(("way", "label"), [("whole", "stop2"), ("path", "grid")])
def test_whole_bar_stops_even_where_the_open_was_beyond_the_exit(exchange, way, label):
    # opens at 109 above the exit of 108 and falls through the stop at 95: the open is certain to be first
    bar = whole(109, 109, 90, 90)
    done = Meeting(exchange, LONG, [(100.0, 108.0)], stop=95.0).meet([bar] if way == "whole" else path_parts(bar))
    assert [trade.label for trade in done.exchange.account.closed] == [label]


@settings(max_examples=100, deadline=None)
@given(minutes(), SIGNS, HELD, ENTRIES, STOP, st.sampled_from(["touch", "through"]))
def test_where_the_order_does_not_matter_every_order_gives_the_same(
    make_exchange, parts, side, held, entries, stop, rule
):
    bar, entries = merged(parts), not_at_the_stop(entries, stop, parts)
    if Meeting(make_exchange(fill_rule=rule), side, held, entries, stop).matters(bar):
        return
    pessimistic, path, detail = (
        Meeting(make_exchange(fill_rule=rule), side, held, entries, stop).meet(way).outcome()
        for way in ([bar], path_parts(bar), parts)
    )
    assert pessimistic == path == detail


@settings(max_examples=100, deadline=None)
@given(minutes(), SIGNS, HELD, ENTRIES, STOP)
def test_without_an_exit_the_order_of_prices_changes_nothing(make_exchange, parts, side, held, entries, stop):
    # whatever way the market takes to a stop, it meets the entries before the stop first and the others after it
    held = [(price, None) for price, _ in held]
    pessimistic, path, detail = (
        Meeting(make_exchange(), side, held, entries, stop).meet(way).outcome()
        for way in ([merged(parts)], path_parts(merged(parts)), parts)
    )
    assert pessimistic == path == detail


# --- the whole bar is the worst for a fill with an exit and a stop, as long as the market does not jump


@settings(max_examples=150, deadline=None)
@given(minutes(count=6), SIGNS, st.integers(1, 8), st.integers(1, 8))
def test_whole_bar_is_never_better_than_its_minutes(make_exchange, parts, side, to_exit, to_stop):
    held, stop = [(100.0, 100.0 + side * to_exit)], 100.0 - side * to_stop
    pessimistic = Meeting(make_exchange(), side, held, stop=stop).meet([merged(parts)]).value()
    for way in (parts, path_parts(merged(parts))):
        assert pessimistic <= Meeting(make_exchange(), side, held, stop=stop).meet(way).value() + 1e-9


def test_jump_over_the_stop_inside_the_bar_is_worse_than_the_whole_bar_tells(make_exchange):
    # 100 to 98, then trading goes on at 92: the stop at 95 gets 92 less 0.02 %; the whole bar gives it 95 less 0.02 %
    parts = [minute(0, 100, 100, 98, 98), minute(1, 92, 93, 92, 93)]
    ways = {"whole": [merged(parts)], "minutes": parts}
    exits = {
        name: Meeting(make_exchange(), LONG, [(100.0, 108.0)], stop=95.0).meet(way).exchange.account.closed[0].exit
        for name, way in ways.items()
    }
    assert exits == {"whole": pytest.approx(94.981), "minutes": pytest.approx(91.9816)}


def test_exit_in_a_minute_without_trades_is_better_in_the_whole_bar(make_exchange):
    # quoted at 108 but nothing traded there: the bar as a whole does not know
    parts = [minute(0, 100, 100, 99, 99), minute(1, 108, 108, 108, 108, volume=0.0), minute(2, 99, 99, 98, 98)]
    whole_bar = Meeting(make_exchange(), LONG, [(100.0, 108.0)], stop=95.0).meet([merged(parts)])
    by_minute = Meeting(make_exchange(), LONG, [(100.0, 108.0)], stop=95.0).meet(parts)
    assert [trade.exit for trade in whole_bar.exchange.account.closed] == [108.0]
    assert by_minute.exchange.account.closed == []


def test_exit_that_empties_the_leg_takes_its_stop_along(make_exchange):
    # so fills and trades may be the same and yet the stop that is left not; the next decision places it anew
    held, entries = [(100.0, 103.0)], [97.0]
    bar = whole(100, 104, 96, 99)  # down: 103 is met first, then 97; the stop at 95 is not met at all
    ways = [Meeting(make_exchange(), LONG, held, entries, stop=95.0).meet(way) for way in ([bar], path_parts(bar))]
    assert ways[0].outcome() == ways[1].outcome()
    assert [way.leg.stop for way in ways] == [95.0, None]


def test_entry_of_a_leg_that_an_exit_has_emptied_is_not_stopped(make_exchange):
    # 108 first: the leg is flat and has no stop when 97 is reached; the other way round 97 is stopped at 95
    held, entries = [(100.0, 108.0)], [97.0]
    down = Meeting(make_exchange(), LONG, held, entries, stop=95.0).meet(path_parts(whole(100, 110, 90, 92)))
    assert [fill.price for fill in down.leg.tracker.fills] == [97.0]
    assert down.leg.stop is None
    up = Meeting(make_exchange(), LONG, held, entries, stop=95.0).meet(path_parts(whole(100, 110, 90, 105)))
    assert [(trade.entry, trade.label) for trade in up.exchange.account.closed] == [
        (100.0, TradeLabel.STOP2),
        (97.0, TradeLabel.STOP2),
    ]


# --- finer candles and their bar


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"open": 101.0}, False), ({"high": 111.0}, False), ({"low": 89.0}, False), ({"close": 104.0}, False)],
)
def test_parts_make_up_a_bar_of_the_same_four_prices(change, same):
    parts = [whole(100, 104, 95, 96), whole(96, 110, 90, 105)]
    assert make_up(parts, replace(whole(100, 110, 90, 105), **change)) is same


def test_the_last_of_many_parts_closes_the_bar():
    assert make_up([whole(100, 104, 95, 96), whole(96, 110, 90, 91), whole(91, 105, 91, 105)], whole(100, 110, 90, 105))


@pytest.mark.parametrize(
    ("mark", "shared"),
    [
        ((88.0, 112.0), [(88.0, 100.0), (88.0, 112.0), (105.0, 112.0)]),  # beyond the trades
        ((95.0, 103.0), [(95.0, 100.0), (95.0, 103.0), (103.0, 103.0)]),  # within them
    ],
)
def test_the_moves_to_the_extremes_have_those_of_the_mark(mark, shared):
    # 100 down to 90, up to 110, down to 105
    parts = path_parts(whole(100, 110, 90, 105, mark_low=mark[0], mark_high=mark[1]))
    assert [(part.mark_low, part.mark_high) for part in parts] == shared


def test_marks_of_parts_are_clamped_to_the_mark_of_their_bar():
    parts = [whole(100, 104, 80, 96), whole(96, 120, 90, 105)]
    keep_mark_within(whole(100, 120, 80, 105, mark_low=92.0, mark_high=108.0), parts)
    assert [(part.mark_low, part.mark_high) for part in parts] == [(92.0, 104.0), (92.0, 108.0)]


def test_marks_beyond_the_mark_of_their_bar_end_at_its_other_side():
    parts = [whole(100, 104, 100, 104), whole(80, 85, 80, 85)]
    keep_mark_within(whole(100, 104, 80, 85, mark_low=90.0, mark_high=95.0), parts)
    assert [(part.mark_low, part.mark_high) for part in parts] == [(95.0, 95.0), (90.0, 90.0)]
