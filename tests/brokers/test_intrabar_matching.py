"""The inside of a bar at the exchange: matched as a whole, by its path, or by its finer candles in turn.

Unless a test says otherwise the third bar is the one looked at, nothing costs anything, and a bar written as a list
is one whose finer candles are known.
"""

import math
from collections import Counter
from datetime import datetime

import backtrader as bt
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import (
    FREE,
    QUARTER,
    START_MS,
    Scripted,
    assert_conserved,
    candle_feed,
    detail_frame,
    flat,
    new_cerebro,
    rest_entries,
)

from feeds.candles import CandleFeed
from gridv4_bt.compat import epoch_ms
from gridv4_bt.engine.book import Bar, Entry
from gridv4_bt.engine.intrabar import MODES, path_parts
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
MARKET, LIMIT, STOP, STOP_LIMIT = bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit
MINUTE = 60_000
#: Wallet of 110; 10 LONG from 100 are liquidated at 890 / 9.9 = 89.899, because maintenance is 1 % of the notional.
THIN = FREE | {"cash": 110.0, "leverage": 20.0, "liquidation_fee": 0.005}
DOWN_TO = pytest.approx(890 / 9.9)


def merged(candles):
    """The bar that finer candles make."""
    rows = [(*candle, 1.0)[:5] for candle in candles]
    opens, highs, lows, closes, volumes = zip(*rows, strict=True)
    return opens[0], max(highs), min(lows), closes[-1], sum(volumes)


def feed(*bars, name="TEST", **companions):
    """A feed of bars, of which those that are lists have their finer candles."""
    whole = [merged(bar) if isinstance(bar, list) else bar for bar in bars]
    detail = {number: bar for number, bar in enumerate(bars, 1) if isinstance(bar, list)}
    return candle_feed(whole, name=name, detail=detail or None, **companions)


def by(mode, **broker):
    return FREE | {"intrabar": mode} | broker


def both(*actions):
    def all_of_them(strategy):
        for action in actions:
            action(strategy)

    return all_of_them


def opening(side=LONG, size=1.0, feed=0):
    def order(strategy):
        (strategy.buy if side is LONG else strategy.sell)(data=strategy.datas[feed], size=size, positionSide=side.name)

    return order


def protect(side=LONG, stop=None, exit=None, feed=0):
    """Place a stop of the leg and an exit for each of its fills."""

    def place(strategy):
        broker, data = strategy.broker, strategy.datas[feed]
        broker.set_stop(data, side, stop)
        if exit is not None:
            broker.set_exits(data, side, dict.fromkeys(broker.leg(data, side).tracker.ids, exit))

    return place


def rest(side, *prices, qty=1.0):
    """Place entries at levels 1, 2, ... of a side."""
    entries = {-int(side) * number: Entry(price, qty, 0.01) for number, price in enumerate(prices, 1)}

    def place(strategy):
        strategy.broker.confirm(strategy.data, strategy, 0)
        rest_entries(strategy.broker, strategy.data, side, entries)

    return place


def holding(side=LONG, size=1.0, **orders):
    """Open a leg at the 100 at which the second bar opens, and place its stop and exit after it."""
    return {1: opening(side, size), 2: protect(side, **orders)}


def closings(done):
    return [(str(trade.label), trade.exit) for trade in done.account.closed]


def ms(text):
    return pd.Timestamp(text, tz="UTC").value // 1_000_000


def minute(time):
    """Minutes from the open of the third bar."""
    return (time - START_MS - 2 * QUARTER) / MINUTE


def timed(done):
    return [(minute(trade.close_time), str(trade.label), trade.exit) for trade in done.account.closed]


def held(done, side=LONG, feed=0):
    return done.broker.leg(done.strategy.datas[feed], side)


# --- a bar of 100-110-90-105; held from 100 before it, with a stop at 95 and an exit at 108

HIGH_FIRST = [(100, 110, 100, 109), (109, 109, 90, 91), (91, 105, 91, 105)]
LOW_FIRST = [(100, 100, 90, 91), (91, 110, 91, 109), (109, 109, 104, 105)]
STOPPED, TAKEN = [("stop2", 95.0)], [("grid", 108.0)]


@pytest.mark.parametrize(
    ("mode", "bar", "expected"),
    [
        ("pessimistic", (100, 110, 90, 105), STOPPED),
        ("pessimistic", (100, 110, 90, 95), STOPPED),
        ("path", (100, 110, 90, 105), STOPPED),  # up bar: 100, 90, 110, 105
        ("path", (100, 110, 90, 95), TAKEN),  # down bar: 100, 110, 90, 95
        ("path", (100, 110, 90, 100), STOPPED),  # neither counts as up
        ("pessimistic", HIGH_FIRST, STOPPED),  # who does not look inside does not know
        ("path", HIGH_FIRST, STOPPED),  # an up bar, whatever the minutes say
        ("detail", HIGH_FIRST, TAKEN),
        ("detail", LOW_FIRST, STOPPED),
        ("detail", (100, 110, 90, 95), STOPPED),  # no detail: as a whole
    ],
)
def test_long_with_stop_95_and_exit_108(run, mode, bar, expected):
    done = run(holding(stop=95.0, exit=108.0), [feed(*flat(2), bar)], broker=by(mode))
    assert closings(done) == expected
    assert done.account.wallet == 10_000.0 + (8.0 if expected is TAKEN else -5.0)
    # whichever came first, nothing is left for the other
    assert held(done).tracker.ids == [] and held(done).resting_orders() == 0


@pytest.mark.parametrize(
    ("mode", "bar", "expected"),
    [
        ("pessimistic", (100, 110, 90, 105), [("stop2", 105.0)]),
        ("path", (100, 110, 90, 105), [("grid", 92.0)]),  # up bar: the low of a short's exit is first
        ("path", (100, 110, 90, 95), [("stop2", 105.0)]),
        ("detail", HIGH_FIRST, [("stop2", 105.0)]),
        ("detail", LOW_FIRST, [("grid", 92.0)]),
    ],
)
def test_short_with_stop_105_and_exit_92(run, mode, bar, expected):
    done = run(holding(SHORT, stop=105.0, exit=92.0), [feed(*flat(2), bar)], broker=by(mode))
    assert closings(done) == expected


def test_closing_carries_the_time_of_its_minute_and_the_bar_of_its_notification(run):
    done = run(holding(stop=95.0, exit=108.0), [feed(*flat(2), LOW_FIRST)], broker=by("detail"))
    assert timed(done) == [(0, "stop2", 95.0)]
    done = run(holding(stop=95.0, exit=120.0), [feed(*flat(2), HIGH_FIRST)], broker=by("detail"))
    assert timed(done) == [(5, "stop2", 95.0)]
    assert done.strategy.executions() == [(2, 1.0, 100.0), (3, -1.0, 95.0)]
    [trade] = done.strategy.trades
    assert (trade.baropen, trade.barclose) == (2, 3)


def test_fifteen_minutes_are_walked_one_by_one(run):
    # rises by one a minute to 107, falls by two a minute; the exit of 104 is reached in the fourth minute
    closes = [101, 102, 103, 104, 105, 106, 107, 105, 103, 101, 99, 97, 95, 93, 91]
    opens = [100, *closes[:-1]]
    minutes = [(o, max(o, c), min(o, c), c) for o, c in zip(opens, closes, strict=True)]
    for exit_, expected in ((104.0, (3, "grid", 104.0)), (108.0, (12, "stop2", 95.0))):
        done = run(holding(stop=95.0, exit=exit_), [feed(*flat(2), minutes)], broker=by("detail"))
        assert timed(done) == [expected]


def test_stop_of_a_minute_gets_the_worse_of_stop_and_that_minutes_open(run):
    # the bar opens at 100, but the minute in which the stop is met opens at 93: 93 less 1 %
    jump = [(100, 100, 98, 98), (93, 94, 92, 94), (94, 100, 94, 100)]
    for mode, price in (("pessimistic", 94.05), ("path", 94.05), ("detail", 92.07)):
        done = run(holding(stop=95.0), [feed(*flat(2), jump)], broker=by(mode, slippage=0.01))
        assert closings(done) == [("stop2", pytest.approx(price))]


@pytest.mark.parametrize("mode", MODES)
def test_number_of_bars_whose_order_of_prices_decides_is_counted(run, mode):
    # the third bar reaches 95 and 108, the fourth neither, the fifth nothing but the exit of the new fill
    bars = [*flat(2), HIGH_FIRST, (105, 105, 104, 104), (104, 110, 104, 110)]
    done = run(holding(stop=95.0, exit=108.0), [feed(*bars)], broker=by(mode))
    assert done.broker.ambiguous_bars == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("exit_", "count"), [(105.0, 1), (107.0, 0), (None, 0)])
def test_bar_that_would_liquidate_is_counted_if_it_also_reaches_an_order(run, mode, exit_, count):
    # down to 80 and up to 106: the exit at 105 saves the account or comes too late
    bar = [(100, 106, 100, 105), (105, 105, 80, 82), (82, 83, 81, 82)]
    done = run(holding(size=10.0, exit=exit_), [feed(*flat(2), bar)], broker=THIN | {"intrabar": mode})
    assert done.broker.ambiguous_bars == count


# --- bars that have no detail to go by

WHOLE_BY = {
    "no candles": {3: None},
    "torn at the start": {3: [None, *HIGH_FIRST[1:]]},
    "torn at the end": {3: [*HIGH_FIRST[:2], None]},
    "another open": {3: [(100.5, 110, 100, 109), *HIGH_FIRST[1:]]},
    "another high": {3: [(100, 110.5, 100, 109), *HIGH_FIRST[1:]]},
    "another low": {3: [HIGH_FIRST[0], (109, 109, 90.5, 91), HIGH_FIRST[2]]},
    "another close": {3: [*HIGH_FIRST[:2], (91, 105, 91, 104.5)]},
}


@pytest.mark.parametrize("case", WHOLE_BY)
def test_bar_whose_detail_cannot_be_trusted_is_matched_as_a_whole(run, case):
    still = [(100, 101, 99, 100)] * 3
    detail = {1: still, 2: still} | {number: part for number, part in WHOLE_BY[case].items() if part}
    data = candle_feed([*flat(2), merged(HIGH_FIRST)], detail=detail)
    done = run(holding(stop=95.0, exit=108.0), [data], broker=by("detail"))
    assert closings(done) == STOPPED
    assert len(data.warnings) == 1 and "matched as a whole" in data.warnings[0]


def test_detail_is_used_only_where_it_is_asked_for(run):
    done = run(holding(stop=95.0, exit=108.0), [feed(*flat(2), HIGH_FIRST)], broker=FREE)
    assert closings(done) == STOPPED


def test_candles_of_another_bar_are_never_used(run):
    # the hour has the name of its first quarter; 90 is inside the hour, but not inside that quarter
    quarters = [(100, 101, 99, 100)] * 6 + [(100, 101, 90, 100)] + [(100, 101, 99, 100)] * 5
    still = [(100, 101, 99, 100)] * 3
    inside = dict.fromkeys(range(1, 13), still) | {7: [(100, 100, 90, 99), (99, 101, 99, 100), still[0]]}

    def entry(mode):
        cerebro = new_cerebro([], by(mode))
        data = candle_feed(quarters, detail=inside)
        cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=60)
        cerebro.addstrategy(
            Scripted, script={1: lambda s: s.buy(size=1.0, exectype=LIMIT, price=91.0, positionSide="LONG")}
        )
        return cerebro.run()[0].executions()

    assert [price for _, _, price in entry("pessimistic")] == [91.0]
    assert entry("detail") == entry("pessimistic")


# --- entries and what becomes of them in the same bar


@pytest.mark.parametrize("mode", ["path", "detail"])
def test_entry_of_an_early_minute_is_stopped_in_a_later_one(run, mode):
    # 97 is filled on the way down to 96, the stop at 95 is met a candle later
    bar = [(100, 100, 96, 96.5), (96.5, 97, 94, 96), (96, 103, 96, 102)]
    script = {1: opening(), 2: both(protect(stop=95.0), rest(LONG, 97.0))}
    done = run(script, [feed(*flat(2), bar)], broker=by(mode))
    assert [(trade.entry, *closing) for trade, closing in zip(done.account.closed, closings(done), strict=True)] == [
        (100.0, "stop2", 95.0),
        (97.0, "stop2", 95.0),
    ]
    if mode == "detail":
        assert [minute(trade.open_time) for trade in done.account.closed][1] == 0
        assert [minute(trade.close_time) for trade in done.account.closed] == [5, 5]


def test_entry_after_the_stop_stays_and_has_no_stop_until_the_next_decision(run):
    # the stop at 95 is met in the first candle; 93 is filled in the second, 90 in the third
    bar = [(100, 100, 94, 96), (96, 96, 92, 93), (93, 93, 89, 91)]
    script = {1: opening(), 2: both(protect(stop=95.0), rest(LONG, 93.0, 90.0))}
    done = run(script, [feed(*flat(2), bar)], broker=by("detail"))
    assert timed(done) == [(0, "stop2", 95.0)]
    assert [(fill.price, minute(fill.time)) for fill in held(done).tracker.fills] == [(93.0, 5), (90.0, 10)]
    assert held(done).stop is None


def test_exit_that_empties_the_leg_leaves_no_stop_for_a_later_entry(run):
    # 108 in the first candle; 97 in the second has no stop, though 95 is reached
    script = {1: opening(), 2: both(protect(stop=95.0, exit=108.0), rest(LONG, 97.0))}
    done = run(script, [feed(*flat(2), HIGH_FIRST)], broker=by("detail"))
    assert timed(done) == [(0, "grid", 108.0)]
    assert held(done).tracker.prices == [97.0]


@pytest.mark.parametrize("mode", MODES)
def test_fill_takes_no_profit_before_a_decision_has_placed_its_exit(run, mode):
    # 97 in the first candle, 110 in the second; the decision after the bar sets 98.5, which the next bar reaches
    bar = [(100, 100, 96, 97), (97, 110, 97, 109), (109, 109, 98, 98)]
    script = {1: opening(), 2: both(protect(exit=108.0), rest(LONG, 97.0)), 3: protect(exit=98.5)}
    done = run(script, [feed(*flat(2), bar, (98, 99, 97, 98))], broker=by(mode))
    assert [(trade.entry, trade.exit) for trade in done.account.closed] == [(100.0, 108.0), (97.0, 98.5)]
    assert [bar for bar, size, _ in done.strategy.executions() if size < 0.0] == [3, 4]


def test_resting_closing_limit_takes_a_fill_of_an_earlier_minute_but_not_of_its_own(run):
    # the only fill is sold at the open; 97 is filled with a limit to sell at 99 already standing
    def orders(strategy):
        strategy.sell(size=1.0, exectype=LIMIT, price=99.0, positionSide="LONG")
        strategy.broker.close_fill(strategy.data, LONG, 1, 1.0, TradeLabel.GAP)

    script = {1: opening(), 2: both(orders, rest(LONG, 97.0))}
    once = [(98, 98, 98, 98), (98, 99.5, 96, 98), (98, 98, 98, 98)]
    later = [(98, 98, 96, 97), (97, 99.5, 97, 99), (99, 99, 98, 98)]
    assert closings(run(script, [feed(*flat(2), once)], broker=by("detail"))) == [("gap", 98.0)]
    assert timed(run(script, [feed(*flat(2), later)], broker=by("detail"))) == [(0, "gap", 98.0), (5, "manual", 99.0)]
    assert closings(run(script, [feed(*flat(2), later)], broker=by("pessimistic"))) == [("gap", 98.0)]


def test_exit_of_a_leg_stopped_in_part_may_fill_in_the_next_minute_but_not_in_the_same(run):
    def orders(strategy):
        strategy.sell(size=1.0, exectype=STOP, price=95.0, positionSide="LONG")
        strategy.broker.set_exits(strategy.data, LONG, {1: 102.0, 2: 102.0})

    script = {1: both(opening(), opening()), 2: orders}
    together = [(98, 103, 94, 98), (98, 99, 97, 98), (98, 99, 97, 98)]
    apart = [(98, 99, 94, 98), (98, 103, 97, 98), (98, 99, 97, 98)]
    assert timed(run(script, [feed(*flat(2), together)], broker=by("detail"))) == [(0, "manual", 95.0)]
    assert timed(run(script, [feed(*flat(2), apart)], broker=by("detail"))) == [(0, "manual", 95.0), (5, "grid", 102.0)]


# --- market orders


def test_market_orders_fill_at_the_open_of_the_first_minute_and_only_there(run):
    bar = [(100, 101, 99, 100.5), (102, 103, 101, 102), (104, 105, 103, 104)]
    script = {2: both(opening(), opening(SHORT))}
    done = run(script, [feed(*flat(2), bar)], broker=by("detail", slippage=0.01))
    assert done.strategy.executions() == [(3, 1.0, 101.0), (3, -1.0, 99.0)]
    assert [minute(held(done, side).tracker.times[0]) for side in (LONG, SHORT)] == [0, 0]


def test_market_orders_wait_for_the_first_minute_with_trades(run):
    bar = [(100, 100, 100, 100, 0.0), (102, 103, 101, 102), (104, 105, 103, 104)]
    script = {1: opening(), 2: lambda s: s.broker.close_fill(s.data, LONG, 1, 1.0, TradeLabel.OLDEST)}
    done = run(script, [feed(*flat(2), bar)], broker=by("detail"))
    assert timed(done) == [(5, "oldest", 102.0)]


# --- minutes without volume


def test_minute_without_volume_fills_nothing(run):
    # 108 is quoted in the second candle, but nothing is traded; the stop at 95 is traded in the third
    bar = [(100, 101, 99, 100), (108, 109, 96, 100, 0.0), (100, 100, 94, 94)]
    script = {1: opening(), 2: both(protect(stop=95.0, exit=108.0), rest(LONG, 97.0))}
    done = run(script, [feed(*flat(2), bar)], broker=by("detail"))
    assert timed(done) == [(10, "stop2", 95.0)] * 2
    assert [trade.entry for trade in done.account.closed] == [100.0, 97.0]


@pytest.mark.parametrize("mode", MODES)
def test_bar_without_volume_fills_nothing_in_any_way(run, mode):
    bar = [(100, 100, 90, 91, 0.0), (91, 110, 91, 109, 0.0), (109, 109, 104, 105, 0.0)]
    script = {1: opening(), 2: both(protect(stop=95.0, exit=108.0), rest(LONG, 97.0), opening(SHORT))}
    done = run(script, [feed(*flat(2), bar)], broker=by(mode))
    assert done.account.closed == [] and held(done).tracker.ids == [1]
    assert held(done).resting_orders() == 3


@pytest.mark.parametrize(("of_the_bar", "of_the_candles"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_fills_where_either_the_bar_or_its_candles_say_that_nothing_was_traded(run, of_the_bar, of_the_candles):
    # a limit that is far away keeps the exchange from passing the bar over
    candles = [(*candle, of_the_candles) for candle in HIGH_FIRST]
    data = candle_feed([*flat(2), (*merged(HIGH_FIRST)[:4], of_the_bar)], detail={3: candles})
    script = holding(stop=95.0, exit=108.0)
    script[2] = both(script[2], lambda s: s.buy(size=0.1, exectype=LIMIT, price=50.0, positionSide="LONG"))
    done = run(script, [data], broker=by("detail"))
    assert done.account.closed == [] and held(done).resting_orders() == 2


@pytest.mark.parametrize("mode", MODES)
def test_minute_without_volume_liquidates_all_the_same(run, mode):
    # 85 is below the liquidation price of 89.9, whether anything is traded there or not
    bar = [(95, 96, 94, 95), (95, 95, 85, 95, 0.0), (95, 96, 94, 95)]
    done = run({1: opening(size=10.0)}, [feed(*flat(2), bar)], broker=THIN | {"intrabar": mode})
    assert done.broker.liquidations() == 1


# --- stop-limit orders


def stop_limit(stop, limit):
    return {
        1: opening(),
        2: lambda s: s.sell(size=1.0, exectype=STOP_LIMIT, price=stop, plimit=limit, positionSide="LONG"),
    }


@pytest.mark.parametrize(
    ("mode", "at"),
    [
        ("pessimistic", 4),  # triggered in the third bar, a limit order from the fourth on
        ("path", 3),  # an up bar: triggered on the way down, filled on the way up
        ("detail", 3),
    ],
)
def test_stop_limit_triggered_in_one_minute_may_fill_in_the_next(run, mode, at):
    bar = [(100, 100, 94, 94.5), (94.5, 97, 94.5, 96.5), (96.5, 101, 96, 101)]
    done = run(stop_limit(95.0, 96.0), [feed(*flat(2), bar, (101, 102, 100, 101))], broker=by(mode))
    assert done.strategy.executions()[1:] == [(at, -1.0, 96.0)]
    if mode == "detail":
        assert timed(done) == [(5, "manual", 96.0)]


def test_stop_limit_does_not_fill_in_the_minute_that_triggers_it(run):
    # 96 is above the first candle's close, but the candle does not show what came first
    bar = [(100, 100, 94, 95.5), (95.5, 95.8, 95, 95.5), (95.5, 95.9, 95, 95.5)]
    done = run(stop_limit(95.0, 96.0), [feed(*flat(2), bar, (96, 97, 95, 96))], broker=by("detail"))
    assert done.strategy.executions()[1:] == [(4, -1.0, 96.0)]


# --- funding


@pytest.mark.parametrize("mode", MODES)
def test_funding_is_charged_once_a_bar_to_what_was_held_at_its_open(run, mode):
    # 1 % of 100 for the fill held; the entry of the bar itself pays nothing, though the exit comes last
    bar = [(100, 100, 96, 97), (97, 100, 97, 99), (99, 109, 99, 109)]
    script = {1: opening(), 2: both(protect(exit=108.0), rest(LONG, 97.0))}
    data = feed(*flat(2), bar, *flat(1, 109.0), funding=[(3, 0.01)])
    done = run(script, [data], broker=by(mode))
    assert done.account.funding == pytest.approx(1.0)
    assert done.broker.state(done.strategy.data).settlements == 1
    assert closings(done) == [("grid", 108.0)]
    assert done.account.closed[0].funding == pytest.approx(1.0)
    assert held(done).tracker.fundings == [0.0]


@pytest.mark.parametrize("mode", MODES)
def test_synthetic_funding_does_not_depend_on_the_way_to_match(run, mode):
    candles = [[(100, 100, 99, 99), (99, 102, 99, 101), (101, 101, 100, 100)]] * 40
    done = run({1: opening()}, [feed(*candles)], broker=by(mode, funding_hours=4.0))
    assert done.broker.state(done.strategy.data).settlements == 2
    assert done.account.funding == pytest.approx(2 * 100.0 * 0.0001)


# --- liquidation


def test_account_is_liquidated_in_the_minute_that_gets_there(run):
    bar = [(95, 96, 91, 92), (92, 92, 85, 86), (86, 95, 86, 95)]
    script = {1: opening(size=10.0), 2: rest(LONG, 50.0, qty=0.1)}
    done = run(script, [feed(*flat(2), bar)], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == [(5, "liquidation", DOWN_TO)]
    assert (done.broker.liquidations(), held(done).resting_orders()) == (1, 0)
    # no more of the bar is traded: the fee of 0.5 % is all that has gone besides
    assert done.account.wallet == pytest.approx(110.0 + 10 * (890 / 9.9 - 100) - 0.005 * 10 * 890 / 9.9)


def test_minute_that_opens_beyond_liquidation_takes_over_before_its_orders(run):
    # 80 is beyond the bankruptcy at 89: the account is gone there, though the same minute rises to the exit of 97
    bar = [(95, 96, 94, 95), (80, 98, 79, 97), (97, 97, 95, 95)]
    script = holding(size=10.0, exit=97.0)
    done = run(script, [feed(*flat(2), bar)], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == [(5, "liquidation", pytest.approx(89.0))]
    assert done.account.wallet == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_stop_of_an_earlier_minute_saves_the_account(run, mode):
    bar = [(95, 96, 91, 92), (92, 92, 80, 81), (81, 83, 81, 82)]
    done = run(holding(size=10.0, stop=92.0), [feed(*flat(2), bar)], broker=THIN | {"intrabar": mode})
    assert (done.broker.liquidations(), closings(done)) == (0, [("stop2", 92.0)])
    assert done.account.wallet == pytest.approx(30.0)


def test_stop_of_a_later_minute_does_not(run):
    # first down to 85, then trading goes on at 95: the stop at 92 is never reached with anything held
    bar = [(95, 95, 93, 93), (88, 96, 85, 95), (95, 96, 91, 92)]
    done = run(holding(size=10.0, stop=92.0), [feed(*flat(2), bar)], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == [(5, "liquidation", pytest.approx(89.0))]


@pytest.mark.parametrize(
    ("mode", "bar", "liquidations"),
    [
        ("pessimistic", [(100, 106, 100, 105), (105, 105, 80, 82), (82, 83, 81, 82)], 1),
        ("path", [(100, 106, 100, 105), (105, 105, 80, 82), (82, 83, 81, 82)], 0),  # a down bar: high first
        ("detail", [(100, 106, 100, 105), (105, 105, 80, 82), (82, 83, 81, 82)], 0),
        ("detail", [(100, 100, 80, 82), (82, 106, 82, 105), (105, 105, 81, 82)], 1),
    ],
)
def test_exit_of_an_earlier_minute_saves_the_account(run, mode, bar, liquidations):
    done = run(holding(size=10.0, exit=105.0), [feed(*flat(2), bar)], broker=THIN | {"intrabar": mode})
    assert done.broker.liquidations() == liquidations
    if not liquidations:
        assert done.account.wallet == pytest.approx(160.0)


@pytest.mark.parametrize(
    ("mode", "bar", "ruined"),
    [
        ("pessimistic", [(100, 125, 100, 124), (124, 124, 96, 96), (96, 96, 94, 95)], True),
        ("detail", [(100, 125, 100, 124), (124, 124, 96, 96), (96, 96, 94, 95)], False),
        ("detail", [(100, 100, 94, 95), (95, 125, 95, 124), (124, 124, 95, 95)], True),
    ],
)
def test_stop_takes_the_hedge_away_before_the_rise_or_after_it(run, mode, bar, ruined):
    # 10 LONG stopped at 95 (-50), 10 SHORT alone: gone at 60 + 10*(100 - p) = 0.1p, which is 104.95
    script = {1: both(opening(size=10.0), opening(SHORT, 10.0)), 2: protect(stop=95.0)}
    done = run(script, [feed(*flat(2), bar)], broker=THIN | {"intrabar": mode})
    assert closings(done)[0] == ("stop2", 95.0)
    assert closings(done)[1:] == ([("liquidation", pytest.approx(1_060 / 10.1))] if ruined else [])
    assert done.broker.getvalue() == pytest.approx(1_060 / 10.1 * 0.05 if ruined else 110.0)


# --- liquidation by the mark


def mark(*candles, bars=2):
    """A mark at 99 to 101 in the first bars, then candles that share out the third one."""
    still = [(100, 101, 99, 100)] * len(candles)
    return detail_frame(dict.fromkeys(range(1, bars + 1), still) | {bars + 1: list(candles)})


CALM = [(100, 101, 99, 100)] * 3
FALLEN = (100, 100, 80, 100)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_account_is_liquidated_in_the_minute_in_which_the_mark_gets_there(run, number):
    # the trades never leave 99 to 101
    candles = [FALLEN if i == number else CALM[0] for i in range(3)]
    done = run(
        {1: opening(size=10.0)}, [feed(*flat(2), CALM, mark=mark(*candles))], broker=THIN | {"intrabar": "detail"}
    )
    assert timed(done) == [(5 * number, "liquidation", DOWN_TO)]


def test_mark_that_keeps_still_keeps_the_account(run):
    bar = [(100, 101, 99, 100), (100, 100, 80, 100), (100, 101, 99, 100)]
    data = feed(*flat(2), bar, mark=mark(*CALM))
    done = run({1: opening(size=10.0)}, [data], broker=THIN | {"intrabar": "detail"})
    assert done.broker.liquidations() == 0


@pytest.mark.parametrize(("number", "expected"), [(1, [(0, "stop2", 92.0)]), (0, [(0, "liquidation", DOWN_TO)])])
def test_stop_of_a_minute_before_the_mark_falls_saves_the_account(run, number, expected):
    # the trades reach 92 in the first candle; the mark falls in the same one or in the one after it
    bar = [(95, 95, 91, 95), (95, 96, 94, 95), (95, 96, 94, 95)]
    if number == 0:
        bar[0], bar[1] = bar[1], bar[0]
    candles = [FALLEN if i == number else CALM[0] for i in range(3)]
    data = feed(*flat(2), bar, mark=mark(*candles))
    done = run(holding(size=10.0, stop=92.0), [data], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == expected


def test_mark_liquidates_in_a_minute_without_trades(run):
    bar = [(100, 101, 99, 100), (100, 100, 100, 100, 0.0), (100, 101, 99, 100)]
    data = feed(*flat(2), bar, mark=mark(CALM[0], FALLEN, CALM[0]))
    done = run({1: opening(size=10.0)}, [data], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == [(5, "liquidation", DOWN_TO)]


@pytest.mark.parametrize("mode", MODES)
def test_mark_coarser_than_the_parts_does_not_fall_before_the_price_has_met_the_stop(run, mode):
    # mark and trades fall to 80 alike, the stop at 92 is on the way: as a whole it saves the account, see above
    bar = [(95, 96, 94, 95), (95, 95, 80, 81), (81, 83, 81, 82)]
    data = feed(*flat(2), bar, mark=mark((95, 96, 79.9, 82)))
    done = run(holding(size=10.0, stop=92.0), [data], broker=THIN | {"intrabar": mode})
    assert closings(done) == [("stop2", 92.0)]


@pytest.mark.parametrize(("mode", "minutes"), [("pessimistic", 0), ("path", None), ("detail", 5)])
def test_mark_coarser_than_the_parts_liquidates_where_the_price_has_its_own_low(run, mode, minutes):
    # the trades do not go below 94, the mark of the whole bar does
    bar = [(100, 101, 99, 100), (100, 100, 94, 95), (95, 100, 95, 100)]
    data = feed(*flat(2), bar, mark=mark((100, 101, 85, 100)))
    done = run({1: opening(size=10.0)}, [data], broker=THIN | {"intrabar": mode})
    assert closings(done) == [("liquidation", DOWN_TO)]
    if minutes is not None:
        assert timed(done)[0][0] == minutes


@pytest.mark.parametrize("ordered", [False, True])
def test_unrelated_order_does_not_decide_about_a_liquidation(run, ordered):
    # the trades dip to 80 in a minute of which the mark is not known; in the bar it was never below 99
    bar = [(100, 101, 99, 100), (100, 100, 80, 100), (100, 101, 99, 100)]
    data = feed(*flat(2), bar, mark=mark(CALM[0], None, CALM[0]))
    script = {1: opening(size=10.0)}
    if ordered:
        script[2] = rest(LONG, 99.5, qty=0.1)
    done = run(script, [data], broker=THIN | {"intrabar": "detail"})
    assert done.broker.liquidations() == 0


# --- several symbols in one wallet


#: 10 of each held from 100 with 110 in the wallet; TEST falls to 88 in its second candle of 5 minutes.
FALLING = [(100, 101, 100, 100), (100, 100, 88, 89), (89, 90, 88, 89)]


def rising(candle):
    """A bar of OTHER in candles of 3 minutes that reaches 110 in one of them."""
    still = (100, 100, 100, 100)
    return [(100, 110, 100, 100) if i == candle else still for i in range(5)]


def two(test, other, mode="detail"):
    """Hold 10 of TEST and 10 of OTHER with an exit at 110, which brings 100."""
    feeds = [feed(*flat(2), test), feed(*flat(2), other, name="OTHER")]
    script = {1: both(opening(size=10.0), opening(size=10.0, feed=1)), 2: protect(exit=110.0, feed=1)}
    return script, feeds, THIN | {"intrabar": mode}


@pytest.mark.parametrize(
    ("candle", "saved"),
    [(0, True), (1, True), (2, False), (4, False)],  # 110 from minute 3 on is in time, from minute 6 on too late
)
def test_profit_of_one_symbol_saves_the_other_if_its_minute_is_earlier(run, candle, saved):
    script, feeds, broker = two(FALLING, rising(candle))
    done = run(script, feeds, broker=broker)
    if saved:
        assert [(trade.symbol, minute(trade.close_time)) for trade in done.account.closed] == [("OTHER", 3 * candle)]
        assert (done.broker.liquidations(), done.account.wallet) == (0, 210.0)
    else:
        assert {(trade.symbol, str(trade.label)) for trade in done.account.closed} == {
            ("TEST", "liquidation"),
            ("OTHER", "liquidation"),
        }
        assert {minute(trade.close_time) for trade in done.account.closed if trade.symbol == "TEST"} == {5}


def test_as_a_whole_the_profit_always_comes_too_late(run):
    script, feeds, broker = two(FALLING, rising(0), mode="pessimistic")
    assert run(script, feeds, broker=broker).broker.liquidations() == 1


def test_symbol_without_detail_is_matched_as_a_whole_at_the_first_minute(run):
    script, feeds, broker = two(FALLING, merged(rising(4)))
    done = run(script, feeds, broker=broker)
    assert [(trade.symbol, minute(trade.close_time)) for trade in done.account.closed] == [("OTHER", 0)]
    assert done.account.wallet == 210.0


def test_symbol_with_torn_detail_trades_beside_one_whose_detail_is_whole(run):
    # TEST has no candle of minute 5 and is matched as a whole: it falls at the first minute
    feeds = [
        candle_feed([*flat(2), merged(FALLING), merged(CALM)], detail={3: [FALLING[0], None, FALLING[2]], 4: CALM}),
        feed(*flat(2), rising(1), *flat(1), name="OTHER"),
    ]
    script, _, broker = two(FALLING, rising(1))
    done = run(script, feeds, broker=broker)
    assert done.broker.liquidations() == 1
    assert {minute(trade.close_time) for trade in done.account.closed if trade.symbol == "TEST"} == {0}


@pytest.mark.parametrize("volume", [1.0, 0.0])
def test_symbol_whose_first_minutes_have_no_trades_is_not_ahead_of_its_time(run, volume):
    # the other symbol is at its first minute; TEST falls later and meets its stop at 92, which leaves 30 of 110
    bar = [(95, 95, 95, 95, volume), (95, 96, 80, 81), (81, 82, 80.5, 82)]
    script = holding(size=10.0, stop=92.0)
    script[1] = both(script[1], lambda s: s.broker.state(s.datas[1]).market)
    done = run(script, [feed(*flat(2), bar), feed(*flat(3), name="OTHER")], broker=THIN | {"intrabar": "detail"})
    assert timed(done) == [(5, "stop2", 92.0)]
    assert done.account.wallet == pytest.approx(30.0)


def test_closings_of_several_symbols_are_in_the_order_of_their_minutes(run):
    test = [(100, 101, 99, 100), (100, 106, 100, 105), (105, 106, 104, 105)]  # 105 in minute 5
    other = [(100, 101, 99, 100)] * 2 + [(100, 101, 99, 100), (100, 106, 100, 105), (105, 105, 104, 104)]  # minute 9
    early = [(100, 106, 100, 105)] + [(105, 105, 104, 105)] * 4  # minute 0
    script = {1: both(opening(), opening(feed=1)), 2: both(protect(exit=105.0), protect(exit=105.0, feed=1))}
    for bar, order in ((other, ["TEST", "OTHER"]), (early, ["OTHER", "TEST"])):
        feeds = [feed(*flat(2), test), feed(*flat(2), bar, name="OTHER")]
        done = run(script, feeds, broker=by("detail"))
        assert [trade.symbol for trade in done.account.closed] == order
        assert done.account.wallet == 10_010.0


def test_path_of_several_symbols_is_walked_together(run):
    # both are down bars: high, low; the exit of OTHER on its way up comes before the fall of TEST
    script, feeds, broker = two((100, 101, 88, 89), (100, 110, 99, 99), mode="path")
    done = run(script, feeds, broker=broker)
    assert (done.broker.liquidations(), done.account.wallet) == (0, 210.0)


# --- laws: any orders, any candles

KINDS = ["market", "limit", "stop", "stop limit", "entry", "exit", "leg stop", "close"]
CHOICES = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([LONG, SHORT]), st.booleans(), st.integers(-6, 6), st.integers(1, 4)
)
DECISIONS = st.lists(st.lists(CHOICES, max_size=4), max_size=12)


class Deciding(Scripted):
    """Carries out a list of choices, one list a bar, and looks at the books at every bar."""

    params = (("choices", ()),)

    def next(self):
        super().next()
        broker, data = self.broker, self.data
        trackers = [broker.leg(data, side).tracker for side in (LONG, SHORT)]
        unrealized = math.fsum(tracker.unrealized(data.close[0]) for tracker in trackers)
        assert_conserved(broker.account, unrealized, broker.getvalue())
        assert all(qty > 0.0 for tracker in trackers for qty in tracker.qtys)
        broker.confirm(data, self, 0)
        if len(data) <= len(self.p.choices):
            for choice in self.p.choices[len(data) - 1]:
                self.carry_out(*choice)

    def carry_out(self, kind, side, opens, offset, number):
        broker, data = self.broker, self.data
        leg = broker.leg(data, side)
        price = max(data.close[0] + offset, 1.0)
        types = {"market": MARKET, "limit": LIMIT, "stop": STOP, "stop limit": STOP_LIMIT}
        if kind in types:
            order = self.buy if (side is LONG) == opens else self.sell
            order(size=number / 4, price=price, plimit=price, exectype=types[kind], positionSide=side.name)
        elif kind == "entry":
            level = -int(side) * number
            rest_entries(broker, data, side, {level: Entry(price, number / 4, 0.01)}, set(leg.entries) & {level})
        elif kind == "exit":
            broker.set_exits(data, side, leg.exits | dict.fromkeys(leg.tracker.ids[:number], price))
        elif kind == "leg stop":
            broker.set_stop(data, side, price)
        elif leg.tracker.ids:
            broker.close_fill(data, side, leg.tracker.ids[number % len(leg.tracker)], number / 4, TradeLabel.MANUAL)


@st.composite
def walks(draw, candles=3, bars=12):
    """Bars of some finer candles each, jumps and candles without volume among them."""
    at, found = 100.0, []
    for _ in range(draw(st.integers(4, bars))):
        inside = []
        for _ in range(candles):
            jump, move, up, down, volume = draw(
                st.tuples(
                    st.sampled_from([0, 0, 0, 2, -3]),
                    st.integers(-4, 4),
                    st.integers(0, 3),
                    st.integers(0, 3),
                    st.sampled_from([0.0, 1.0, 1.0, 1.0]),
                )
            )
            open_ = max(at + jump, 20.0)
            at = max(open_ + move, 20.0)
            inside.append((open_, max(open_, at) + up, min(open_, at) - down, at, volume))
        found.append(inside)
    return found


def decide(data, choices, broker, **options):
    cerebro = new_cerebro([data], broker, **options)
    cerebro.addstrategy(Deciding, choices=choices)
    [strategy] = cerebro.run()
    return cerebro.broker, strategy


def told(broker, strategy):
    return strategy.values, strategy.orders, broker.account.closed, broker.ambiguous_bars  # noqa: PD011


RANDOM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=25, **RANDOM)
@given(
    walks(), DECISIONS, st.floats(-0.003, 0.003), st.sampled_from([20.0, 100.0, 10_000.0]),
    st.sampled_from(["touch", "through"]),
)  # fmt: skip
def test_money_is_conserved_and_no_leg_is_negative_in_any_way(bars, choices, rate, cash, fill_rule):
    funding = [(number, rate) for number in range(2, len(bars), 3)]
    for mode in MODES:
        settings_ = {"cash": cash, "fill_rule": fill_rule, "intrabar": mode, "leverage": 20.0}
        broker, strategy = decide(feed(*bars, funding=funding), choices, settings_)
        # every bar was checked on its way; Backtrader's own trades agree at the end
        trades = [trade for kept in strategy._trades[strategy.data].values() for trade in kept]
        trackers = [broker.leg(strategy.data, side).tracker for side in (LONG, SHORT)]
        unpaid = math.fsum(paid for tracker in trackers for paid in tracker.fundings)
        net = math.fsum(trade.pnlcomm for trade in trades)
        account = broker.account
        assert account.wallet == pytest.approx(cash + net - unpaid, rel=1e-9, abs=1e-9 * cash)
        assert sum(trade.isopen for trade in trades) == sum(len(tracker) for tracker in trackers)


@settings(max_examples=25, **RANDOM)
@given(walks(candles=1), DECISIONS, st.sampled_from([100.0, 10_000.0]), st.sampled_from(["touch", "through"]))
def test_detail_that_is_the_path_gives_the_path(bars, choices, cash, fill_rule):
    whole = [bar for [bar] in bars]
    moves = []
    for open_, high, low, close, volume in whole:
        parts = path_parts(Bar(0, open_, high, low, close, volume, low, high, close))
        moves.append([(part.open, part.high, part.low, part.close, part.volume) for part in parts])
    outcomes = []
    for mode, data, length in (("path", candle_feed(whole), 1), ("detail", feed(*moves), 5 * MINUTE)):
        broker, strategy = decide(
            data, choices, {"cash": cash, "fill_rule": fill_rule, "leverage": 20.0, "intrabar": mode}
        )
        closed = [
            trade._replace(
                open_time=(trade.open_time // QUARTER, trade.open_time % QUARTER // length),
                close_time=(trade.close_time // QUARTER, trade.close_time % QUARTER // length),
            )
            for trade in broker.account.closed
        ]
        outcomes.append((strategy.values, strategy.orders, closed, broker.ambiguous_bars))  # noqa: PD011
    assert outcomes[0] == outcomes[1]


@settings(max_examples=8, **RANDOM)
@given(walks(bars=8), DECISIONS, st.sampled_from(MODES))
def test_way_in_which_backtrader_runs_changes_nothing(bars, choices, mode):
    settings_ = {"cash": 200.0, "leverage": 20.0, "intrabar": mode}
    vectorised = told(*decide(feed(*bars), choices, settings_))
    assert told(*decide(feed(*bars), choices, settings_, runonce=False)) == vectorised
    assert told(*decide(feed(*bars), choices, settings_, preload=False, runonce=False)) == vectorised
    assert told(*decide(feed(*bars), choices, settings_, exactbars=1)) == vectorised


@pytest.mark.parametrize("mode", MODES)
def test_second_run_of_the_same_cerebro_tells_the_same(mode):
    bars = [*flat(2), HIGH_FIRST, LOW_FIRST, *[[(105, 107, 104, 106), (106, 106, 99, 100), (100, 101, 96, 97)]] * 8]
    choices = [[("market", side, True, 0, 3) for side in (LONG, SHORT)]]
    choices += [[("entry", LONG, True, -3, 1), ("exit", LONG, True, 4, 2), ("leg stop", SHORT, True, 5, 1)]] * 10
    cerebro = new_cerebro([feed(*bars)], {"intrabar": mode})
    cerebro.addstrategy(Deciding, choices=choices)
    first = told(cerebro.broker, cerebro.run()[0])
    second = told(cerebro.broker, cerebro.run()[0])
    assert first[:1] + first[2:] == second[:1] + second[2:]
    assert [order[:3] for order in first[1]] == [order[:3] for order in second[1]]
    assert len(first[2]) == 5


# --- an independent oracle: section 5 of the specification for one leg, in its own words


class Oracle:
    """One leg that walks from candle to candle by the five rules; funding and liquidation aside."""

    def __init__(self, side, maker, taker, slippage):
        self.sign, self.maker, self.taker, self.slippage = int(side), maker, taker, slippage
        self.fills = []  # oldest first: qty, price, candle it was opened in, exit price or None
        self.entries = {}  # price and qty by level
        self.stop = None
        self.closes = []  # fill and qty of market orders
        self.told = []  # time, signed change of the leg, price
        self.paid = self.earned = 0.0

    def reaches(self, is_buy, price, low, high):
        return low <= price if is_buy else high >= price

    def walk(self, time, open_, high, low, close, volume):
        if volume == 0.0:
            return  # a candle with zero volume fills nothing
        is_long = self.sign > 0
        # 2. market orders at the open, worse by the slippage
        worse = 1.0 - self.sign * self.slippage
        for fill, qty in self.closes:
            self.reduce(time, fill, qty, open_ * worse, self.taker)
        self.closes = []
        # 3. entries, always at the limit price
        for level in sorted(self.entries, key=abs):
            price, qty = self.entries[level]
            if self.reaches(is_long, price, low, high):
                del self.entries[level]
                self.fills.append({"qty": qty, "price": price, "time": time, "exit": None})
                self.told.append((time, qty, price))
                self.paid += qty * price * self.maker
        # 4. the stop, at the worse of stop and open, on everything held including this candle's entries; those
        # beyond it were met after it and are not closed with a profit
        stopped = self.stop is not None and self.reaches(not is_long, -self.stop, -high, -low)
        if stopped:
            price = (min if is_long else max)(self.stop, open_) * worse
            for fill in list(self.fills):
                if fill["time"] < time or self.sign * (price - fill["price"]) <= 0.0:
                    self.reduce(time, fill, fill["qty"], price, self.taker)
            self.stop = None
            return  # an exit whose side was stopped does not fill
        # 5. exits of fills that stood before, at their limit price
        for fill in list(self.fills):
            if fill["exit"] is not None and self.reaches(not is_long, fill["exit"], low, high):
                self.reduce(time, fill, fill["qty"], fill["exit"], self.maker)

    def reduce(self, time, fill, qty, price, fee):
        self.told.append((time, -qty, price))
        self.earned += self.sign * (price - fill["price"]) * qty
        self.paid += qty * price * fee
        fill["qty"] -= qty
        if fill["qty"] == 0.0:
            self.fills.remove(fill)
        if not self.fills:
            self.stop = None  # there is nothing left to stop

    def close_at_market(self, index, qty):
        fill = self.fills[index]
        qty = min(qty, fill["qty"] - sum(other for each, other in self.closes if each is fill))
        if qty > 0.0:
            self.closes.append((fill, qty))


class Compared(Scripted):
    """Lets an oracle walk the same candles and compares each bar; then gives both the same orders."""

    params = (("candles", None), ("decide", None), ("oracles", ()))

    def next(self):
        broker, data = self.broker, self.data
        for candle in self.p.candles(data, len(data)):
            for oracle in self.p.oracles:
                oracle.walk(*candle)
        for oracle in self.p.oracles:
            tracker = broker.leg(data, PositionSide(oracle.sign)).tracker
            seen = list(zip(tracker.qtys, tracker.prices, tracker.times, strict=True))
            assert seen == [(fill["qty"], fill["price"], fill["time"]) for fill in oracle.fills]
        broker.confirm(data, self, 0)
        for oracle in self.p.oracles:
            self.p.decide(self, oracle, broker.leg(data, PositionSide(oracle.sign)))

    def rest(self, oracle, level, price, qty):
        side, data = PositionSide(oracle.sign), self.data
        before = {level} & set(oracle.entries)
        rest_entries(self.broker, data, side, {level: Entry(price, qty, 0.01)}, before)
        oracle.entries[level] = (price, qty)

    def exits(self, oracle, prices):
        """Exits of the fills by their index, oldest first."""
        leg = self.broker.leg(self.data, PositionSide(oracle.sign))
        self.broker.set_exits(self.data, leg.side, {leg.tracker.ids[i]: price for i, price in prices.items()})
        for i, fill in enumerate(oracle.fills):
            fill["exit"] = prices.get(i)

    def stop_at(self, oracle, price):
        self.broker.set_stop(self.data, PositionSide(oracle.sign), price)
        oracle.stop = price

    def close(self, oracle, index, qty):
        leg = self.broker.leg(self.data, PositionSide(oracle.sign))
        self.broker.close_fill(self.data, leg.side, leg.tracker.ids[index], qty, TradeLabel.MANUAL)
        oracle.close_at_market(index, qty)


def compare(data, candles, decide, sides=(LONG,), **broker):
    """Run a strategy beside its oracles and compare all that was executed and the wallet."""
    costs = {"maker_fee": 0.0002, "taker_fee": 0.0005, "slippage": 0.0002, "funding_hours": 24.0}
    oracles = tuple(Oracle(side, 0.0002, 0.0005, 0.0002) for side in sides)
    cerebro = new_cerebro([data], costs | {"cash": 1e7, "intrabar": "detail"} | broker)
    cerebro.addstrategy(Compared, candles=candles, decide=decide, oracles=oracles)
    cerebro.run()
    account = cerebro.broker.account
    for oracle in oracles:
        expected = [told for told in oracle.told if told[1] < 0.0]
        trades = [trade for trade in account.closed if int(trade.side) == oracle.sign]
        assert [(trade.close_time, -trade.qty, trade.exit) for trade in trades] == expected
    assert account.gross == pytest.approx(math.fsum(oracle.earned for oracle in oracles), rel=1e-9, abs=1e-6)
    assert account.fees == pytest.approx(math.fsum(oracle.paid for oracle in oracles), rel=1e-9, abs=1e-9)
    return account


ORDERS = st.lists(
    st.tuples(st.sampled_from(["entry", "entry", "exits", "stop", "close"]), st.integers(-5, 5), st.integers(1, 4)),
    max_size=4,
)


@settings(max_examples=30, **RANDOM)
@given(walks(candles=5, bars=8), st.lists(ORDERS, min_size=8, max_size=8), st.sampled_from([LONG, SHORT]))
def test_minutes_are_matched_as_the_oracle_does(bars, orders, side):
    def candles(data, number):
        first = START_MS + (number - 1) * QUARTER
        return [(first + i * 3 * MINUTE, *candle) for i, candle in enumerate(bars[number - 1])]

    def decide(strategy, oracle, leg):
        close = strategy.data.close[0]
        for kind, offset, number in orders[len(strategy.data) - 1]:
            if kind == "entry":
                strategy.rest(oracle, -oracle.sign * number, close + offset, number / 2)
            elif kind == "exits":
                strategy.exits(oracle, {i: close + offset + i for i in range(min(number, len(oracle.fills)))})
            elif kind == "stop":
                strategy.stop_at(oracle, close + offset)
            elif oracle.fills:
                strategy.close(oracle, number % len(oracle.fills), number / 4)

    compare(feed(*bars), candles, decide, sides=(side,))


def test_a_real_month_is_matched_as_the_oracle_does(shared_data):
    # both legs: two entries a side 0.3 % apart, exits at 0.6 %, a stop 0.8 % from the average
    path = shared_data / "candles" / "BTCUSDT-1m-2025-01-27_2025-02-26.parquet"
    minutes = pd.read_parquet(path)
    times = minutes["time"].astype("int64").tolist()
    rows = zip(times, *(minutes[name].tolist() for name in ("open", "high", "low", "close", "volume")), strict=True)
    by_time = dict(zip(times, rows, strict=True))
    data = CandleFeed(
        dataname=shared_data / "candles" / "BTCUSDT-15m.parquet",
        name="TEST",
        detail=path,
        fromdate=datetime(2025, 1, 27, 13, 0),
        todate=datetime(2025, 2, 26, 13, 0),
    )
    # the first bar begins two minutes before its candles, the last one after them, and one contradicts its own
    whole = {ms("2025-01-27 13:00"), ms("2025-01-29 01:30"), ms("2025-02-26 13:00")}

    def candles(data, number):
        time = epoch_ms(data.datetime[0])
        if time in whole:
            return [(time, data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])]
        return [by_time[time + i * MINUTE] for i in range(15)]

    def decide(strategy, oracle, leg):
        sign, close, fills = oracle.sign, strategy.data.close[0], oracle.fills
        for number in (1, 2):
            strategy.rest(oracle, -sign * number, round(close * (1.0 - sign * 0.003 * number), 1), 0.25)
        if fills:
            strategy.exits(oracle, {i: round(fill["price"] * (1.0 + sign * 0.006), 1) for i, fill in enumerate(fills)})
            average = sum(fill["price"] for fill in fills) / len(fills)
            strategy.stop_at(oracle, round(average * (1.0 - sign * 0.008), 1))
            if len(strategy.data) % 50 == 0:
                strategy.close(oracle, 0, 0.125)

    account = compare(data, candles, decide, sides=(LONG, SHORT))
    labels = Counter(str(trade.label) for trade in account.closed)
    assert labels["grid"] > 300 and labels["stop2"] > 300 and labels["manual"] > 20, labels


def test_way_to_match_that_there_is_not_is_refused(run):
    with pytest.raises(ConfigError, match="intrabar: 'nonsense' is none of pessimistic, path, detail"):
        run({}, flat(2), broker={"intrabar": "nonsense"})
