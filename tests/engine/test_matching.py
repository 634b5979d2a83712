"""Section 5 of the specification, rule by rule. Fees: maker 0.02 %, taker 0.05 %; slippage 0.02 %."""

import copy
import itertools

import pytest
from both_legs import PHASES, fill_entries, fill_exits, fill_market_orders, fill_stops
from hypothesis import given, settings
from hypothesis import strategies as st

from gridv4_bt.engine import matching
from gridv4_bt.engine.book import Bar, Costs, Entry, MarketClose
from gridv4_bt.engine.book_access import cancel_orders
from gridv4_bt.engine.labels import GRID, MANUAL, STOP1, TradeLabel
from gridv4_bt.engine.matching import (
    fills,
    is_idle,
    market_price,
    note_exits,
    note_first_exit,
    order_close,
    order_matters,
    stop_hit,
    stop_price,
    stop_takes,
    touches,
    trades_through,
)
from gridv4_bt.engine.orders import close_oldest
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def hold(exchange, side, qty, price, time=0):
    """Open a fill without a fee, before the first bar."""
    book = exchange.book
    return exchange.account.open_fill(book.symbol, book.leg(side).tracker, qty, price, time, 0, 0.01, 0.0, True)


def trades(exchange):
    return [(trade.side, trade.label, trade.qty, trade.exit) for trade in exchange.account.closed]


# --- the rules on plain numbers


@pytest.mark.parametrize(
    ("is_buy", "price", "touched", "through"),
    [
        (True, 98.9, False, False),
        (True, 99.0, True, False),
        (True, 99.1, True, True),
        (False, 101.1, False, False),
        (False, 101.0, True, False),
        (False, 100.9, True, True),
    ],
)
def test_limit_fills_by_touch_or_only_by_trading_through(is_buy, price, touched, through):
    assert touches(is_buy, price, 99.0, 101.0) is touched
    assert trades_through(is_buy, price, 99.0, 101.0) is through


def test_market_order_pays_slippage():
    assert market_price(True, 100.0, 0.0002) == pytest.approx(100.02)
    assert market_price(False, 100.0, 0.0002) == pytest.approx(99.98)


@pytest.mark.parametrize(
    ("sign", "stop", "hit"), [(1, 99.0, True), (1, 98.9, False), (-1, 101.0, True), (-1, 101.1, False)]
)
def test_stop_is_hit_by_the_wick(sign, stop, hit):
    assert stop_hit(sign, stop, 99.0, 101.0) is hit


@pytest.mark.parametrize(
    ("sign", "stop", "open_", "price"),
    [(1, 95.0, 100.0, 95.0), (1, 95.0, 93.0, 93.0), (-1, 105.0, 100.0, 105.0), (-1, 105.0, 107.0, 107.0)],
)
def test_stop_gets_the_worse_of_stop_and_open_and_then_slippage(sign, stop, open_, price):
    assert stop_price(sign, stop, open_, 0.0) == price
    assert stop_price(sign, stop, open_, 0.01) == pytest.approx(price * (1.0 - sign * 0.01))


@pytest.mark.parametrize(
    ("sign", "entry", "opened", "taken"),
    [
        (1, 90.0, 4, True),  # an older fill always
        (1, 96.0, 5, True),
        (1, 95.0, 5, True),  # at the stop's own price nothing is gained
        (1, 94.9, 5, False),
        (-1, 94.0, 5, True),
        (-1, 95.0, 5, True),
        (-1, 95.1, 5, False),
    ],
)
def test_a_stop_at_95_takes_what_does_not_gain_by_it(sign, entry, opened, taken):
    assert stop_takes(sign, 95.0, entry, opened, 5) is taken


def test_a_new_book_is_idle(exchange):
    book = exchange.book
    book.bar.volume = 1.0
    assert is_idle(book)
    assert (book.state.regime, book.long.leg.stopped, book.short.leg.stopped, book.bar.time) == (0, 0, 0, 0)


# --- phase 2: market orders


def test_market_close_fills_at_the_open_with_slippage_and_taker_fee(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 2.0, 100.0)
    book.long.closes.append(MarketClose(fill, 2.0, TradeLabel.OLDEST))
    exchange.show(book, 90, 91, 89, 90)
    exchange.match(book)
    # 90 * 0.9998 = 89.982; fee 2 * 89.982 * 0.05 %
    [trade] = exchange.account.closed
    assert (trade.label, trade.exit) == (TradeLabel.OLDEST, pytest.approx(89.982))
    assert trade.fees == pytest.approx(0.089982)
    assert exchange.account.wallet == pytest.approx(10_000 - 20.036 - 0.089982)
    assert book.long.closes == []


def test_market_close_of_a_short_buys_above_the_open(exchange):
    book = exchange.book
    fill = hold(exchange, SHORT, 2.0, 100.0)
    book.short.closes.append(MarketClose(fill, 2.0, TradeLabel.GAP))
    exchange.show(book, 90, 91, 89, 90)
    exchange.match(book)
    assert trades(exchange) == [(SHORT, TradeLabel.GAP, 2.0, pytest.approx(90.018))]


def test_partial_market_close_keeps_the_exit_for_the_rest(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 2.0, 100.0)
    book.long.exits[fill] = 101.0
    book.long.stop = 80.0
    book.long.closes.append(MarketClose(fill, 0.5, TradeLabel.STOP1))
    exchange.show(book, 99, 100, 98, 99)
    exchange.match(book)
    assert book.long.exits == {fill: 101.0}
    assert book.long.stop == 80.0
    exchange.show(book, 99, 101, 98, 99)
    exchange.match(book)
    assert trades(exchange)[1] == (LONG, TradeLabel.GRID, 1.5, 101.0)
    assert (book.long.exits, book.long.stop) == ({}, None)


def test_market_close_of_the_whole_takes_its_exit_away(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 2.0, 100.0)
    book.long.exits[fill] = 99.5
    book.long.closes.append(MarketClose(fill, 2.0, TradeLabel.DEVIANCE))
    exchange.show(book, 99, 100, 98, 99)
    exchange.match(book)
    assert trades(exchange) == [(LONG, TradeLabel.DEVIANCE, 2.0, pytest.approx(98.9802))]


def test_two_market_closes_of_one_fill_close_no_more_than_it_holds(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 2.0, 100.0)
    book.long.closes += [MarketClose(fill, 0.5, TradeLabel.STOP1), MarketClose(fill, 1.5, TradeLabel.GAP)]
    exchange.show(book, 99, 100, 98, 99)
    exchange.match(book)
    assert [(trade.label, trade.qty) for trade in exchange.account.closed] == [
        (TradeLabel.STOP1, 0.5),
        (TradeLabel.GAP, 1.5),
    ]


# --- phase 3: entries


def test_entry_fills_at_its_price_even_if_the_bar_opens_beyond(exchange):
    book = exchange.book
    book.long.place(-1, Entry(98.0, 1.0, 0.02))
    exchange.show(book, 95, 96, 94, 95)
    exchange.match(book)
    [fill] = book.long.tracker.fills
    # fee 98 * 0.02 %
    assert (fill.qty, fill.price, fill.spacing_pct, fill.fee) == (1.0, 98.0, 0.02, pytest.approx(0.0196))
    assert fill.time == book.bar.time
    assert book.long.entries == {}
    assert (exchange.account.maker_executions, exchange.account.taker_executions) == (1, 0)


def test_short_entry_fills_at_its_price_without_gap_improvement(exchange):
    book = exchange.book
    book.short.place(1, Entry(102.0, 1.0, 0.02))
    exchange.show(book, 105, 106, 104, 105)
    exchange.match(book)
    assert book.short.tracker.prices == [102.0]
    assert book.long.tracker.ids == []


@pytest.mark.parametrize(("rule", "filled"), [("touch", [98.0]), ("through", [])])
def test_entry_at_the_very_low_fills_only_by_touch(rule, filled, make_exchange):
    exchange = make_exchange(fill_rule=rule)
    exchange.book.long.place(-1, Entry(98.0, 1.0, 0.02))
    exchange.show(exchange.book, 99, 100, 98, 99)
    exchange.match(exchange.book)
    assert exchange.book.long.tracker.prices == filled


def test_one_bar_fills_every_entry_it_reaches_nearest_first(exchange):
    book = exchange.book
    for level, price in ((-3, 97.0), (-1, 99.0), (-4, 96.0), (-2, 98.0)):
        book.long.place(level, Entry(price, 1.0, 0.01))
    book.short.place(1, Entry(101.0, 1.0, 0.01))
    book.short.place(2, Entry(102.0, 1.0, 0.01))
    exchange.show(book, 100, 101.5, 97, 100)
    exchange.match(book)
    assert book.long.tracker.prices == [99.0, 98.0, 97.0]
    assert book.short.tracker.prices == [101.0]
    assert (list(book.long.entries), list(book.short.entries)) == ([-4], [2])


def test_fill_carries_the_regime_that_ruled_when_its_order_stood(exchange):
    book = exchange.book
    book.state.regime = -1
    book.long.place(-1, Entry(98.0, 1.0, 0.02))
    exchange.show(book, 99, 100, 98, 99)
    exchange.match(book)
    assert book.long.tracker.regimes == [-1]


def test_buying_for_long_never_closes_short(exchange):
    book = exchange.book
    hold(exchange, SHORT, 1.0, 100.0)
    book.long.place(-1, Entry(98.0, 1.0, 0.02))
    exchange.show(book, 99, 100, 98, 99)
    exchange.match(book)
    assert (book.long.tracker.qty, book.short.tracker.qty) == (1.0, 1.0)
    assert exchange.account.closed == []


def test_bar_without_volume_fills_nothing(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 1.0, 100.0)
    book.long.exits[fill] = 100.0
    book.long.stop = 100.0
    book.long.closes.append(MarketClose(fill, 1.0, TradeLabel.GAP))
    book.long.place(-1, Entry(100.0, 1.0, 0.02))
    exchange.show(book, 100, 100, 100, 100, volume=0)
    exchange.match(book)
    assert (book.long.tracker.ids, exchange.account.closed) == ([fill], [])
    assert (book.long.resting_orders(), book.short.resting_orders()) == (3, 0)
    # and all of it still rests when trading resumes
    exchange.show(book, 100, 100, 100, 100)
    exchange.match(book)
    assert [trade.label for trade in exchange.account.closed] == [TradeLabel.GAP]
    assert book.long.tracker.prices == [100.0]


# --- phase 4: stops


@pytest.mark.parametrize(
    ("open_", "low", "price"),
    [(100, 94, 94.981), (100, 95, 94.981), (93, 92, 92.9814)],  # 95 * 0.9998; opened beyond: 93 * 0.9998
)
def test_stop_closes_the_whole_leg_on_the_wick(exchange, open_, low, price):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    hold(exchange, LONG, 2.0, 98.0)
    hold(exchange, SHORT, 1.0, 100.0)
    book.long.stop = 95.0
    exchange.show(book, open_, 100, low, 99)
    exchange.match(book)
    stop2 = TradeLabel.STOP2
    assert trades(exchange) == [(LONG, stop2, 1.0, pytest.approx(price)), (LONG, stop2, 2.0, pytest.approx(price))]
    assert exchange.account.closed[0].fees == pytest.approx(price * 0.0005)
    assert book.long.stop is None
    assert book.short.tracker.qty == 1.0


def test_stop_of_a_short_fires_on_the_high(exchange):
    book = exchange.book
    hold(exchange, SHORT, 1.0, 100.0)
    book.short.stop = 105.0
    exchange.show(book, 100, 105, 99, 100)
    exchange.match(book)
    assert trades(exchange) == [(SHORT, TradeLabel.STOP2, 1.0, pytest.approx(105.021))]


def test_stop_closes_the_entries_of_its_own_bar_too(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    book.long.place(-1, Entry(97.0, 1.0, 0.01))
    exchange.show(book, 100, 100, 94, 99)
    exchange.match(book)
    assert [(trade.entry, trade.label) for trade in exchange.account.closed] == [
        (100.0, TradeLabel.STOP2),
        (97.0, TradeLabel.STOP2),
    ]
    assert book.long.tracker.ids == []


def test_entry_beyond_the_stop_is_met_after_it_and_does_not_gain_by_it(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    book.long.place(-1, Entry(94.5, 1.0, 0.01))
    exchange.show(book, 100, 100, 94, 99)
    exchange.match(book)
    assert [trade.entry for trade in exchange.account.closed] == [100.0]
    assert (book.long.tracker.prices, book.long.stop) == ([94.5], None)


def test_entry_beyond_the_stop_is_closed_where_the_bar_opens_beyond_both(exchange):
    book = exchange.book
    book.long.stop = 95.0
    book.long.place(-1, Entry(94.5, 1.0, 0.01))
    exchange.show(book, 93, 94, 92, 93)
    exchange.match(book)
    assert trades(exchange) == [(LONG, TradeLabel.STOP2, 1.0, pytest.approx(92.9814))]


def test_entry_beyond_the_liquidation_price_does_not_fill(exchange):
    book = exchange.book
    book.long.place(-1, Entry(97.0, 1.0, 0.01))
    book.long.place(-2, Entry(94.0, 1.0, 0.01))
    exchange.show(book, 100, 100, 90, 92)
    fill_entries(book, down=95.0)
    assert book.long.tracker.prices == [97.0]


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_an_entry_just_at_the_liquidation_price_comes_too_late(exchange, side):
    leg = exchange.book.leg(side)
    leg.place(1, Entry(95.0 if side is LONG else 105.0, 1.0, 0.01))
    exchange.show(exchange.book, 100, 110, 90, 100)
    fill_entries(exchange.book, down=95.0, up=105.0)
    assert leg.tracker.prices == []
    fill_entries(exchange.book, down=94.9, up=105.1)
    assert len(leg.tracker.prices) == 1


def test_an_entry_that_is_filled_rests_no_more(exchange):
    leg = exchange.book.long
    leg.place(-1, Entry(97.0, 1.0, 0.01))
    leg.place(-2, Entry(94.0, 2.0, 0.01))
    exchange.show(exchange.book, 100, 100, 95, 96)
    fill_entries(exchange.book)
    assert (leg.entry_count, leg.leg.first_entry, leg.entry_notional) == (1, 94.0, 188.0)


def test_prices_far_below_one_are_prices(exchange):
    # without liquidation prices everything above 0 lies between them
    book = exchange.book
    hold(exchange, LONG, 1.0, 0.5)
    book.long.place(-1, Entry(0.45, 1.0, 0.01))
    book.long.stop = 0.44
    exchange.show(book, 0.5, 0.5, 0.4, 0.4)
    fill_entries(book)
    assert book.long.tracker.prices == [0.5, 0.45]
    fill_stops(book)
    assert trades(exchange) == [(LONG, TradeLabel.STOP2, 1.0, pytest.approx(0.44 * 0.9998))] * 2


@pytest.mark.parametrize(
    ("side", "stop", "beyond", "met", "price"),
    [(LONG, 95.0, 94.5, 97.0, 95.0 * 0.9998), (SHORT, 105.0, 105.5, 103.0, 105.0 * 1.0002)],
)
def test_a_stop_takes_what_was_met_before_it_in_whatever_order_the_fills_are_kept(
    exchange, side, stop, beyond, met, price
):
    # a single order fills after the ladder, though the market may have met it first
    book = exchange.book
    exchange.show(book, 100, 107, 93, 100)
    for entry in (beyond, met, beyond):
        hold(exchange, side, 1.0, entry, time=book.bar.time)
    leg = book.leg(side)
    leg.stop = stop
    fill_stops(book)
    assert [(trade.entry, trade.exit) for trade in exchange.account.closed] == [(met, pytest.approx(price))]
    assert (leg.tracker.prices, leg.stop, leg.leg.stopped) == ([beyond, beyond], None, 1)


def test_without_liquidation_prices_every_price_above_zero_lies_between_them(exchange):
    book = exchange.book
    book.long.place(-1, Entry(0.45, 1.0, 0.01))
    book.long.stop = 0.44
    exchange.show(book, 0.5, 0.5, 0.4, 0.4)
    matching.fill_entries(book, book.long)
    assert book.long.tracker.prices == [0.45]
    matching.fill_stops(book, book.long)
    assert book.long.tracker.prices == []


def test_stop_comes_before_the_exit_of_the_same_bar(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    book.long.exits[fill] = 102.0
    exchange.show(book, 100, 103, 94, 102)
    exchange.match(book)
    assert [trade.label for trade in exchange.account.closed] == [TradeLabel.STOP2]


def test_stop_beyond_the_liquidation_price_does_not_fill(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    exchange.show(book, 100, 100, 90, 92)
    fill_market_orders(book)
    fill_stops(book, down=96.0)
    assert exchange.account.closed == []
    fill_stops(book, down=94.0)
    assert [trade.label for trade in exchange.account.closed] == [TradeLabel.STOP2]


def test_stop_that_the_open_jumps_over_with_the_liquidation_price_does_not_fill(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    exchange.show(book, 93, 94, 90, 92)
    fill_market_orders(book)
    fill_stops(book, down=94.0)
    assert exchange.account.closed == []


# --- phase 5: exits


def test_exit_of_a_side_stopped_in_the_bar_does_not_fill(exchange):
    # a stop of another kind of order may have left a part of the leg
    book = exchange.book
    long, short = hold(exchange, LONG, 1.0, 100.0), hold(exchange, SHORT, 1.0, 100.0)
    book.long.exits[long] = 101.0
    book.short.exits[short] = 99.0
    exchange.show(book, 100, 101, 99, 100)
    fill_market_orders(book)
    book.long.leg.stopped = 1
    fill_exits(book)
    assert [trade.side for trade in exchange.account.closed] == [SHORT]
    # and in the next bar it does
    exchange.show(book, 100, 101, 99, 100)
    exchange.match(book)
    assert [trade.side for trade in exchange.account.closed] == [SHORT, LONG]


def test_an_exit_far_below_one_is_an_exit(exchange):
    book = exchange.book
    long, short = hold(exchange, LONG, 1.0, 0.5), hold(exchange, SHORT, 1.0, 0.5)
    book.long.exits, book.short.exits = {long: 0.51}, {short: 0.49}
    exchange.show(book, 0.5, 0.505, 0.495, 0.5)
    assert is_idle(book)
    assert [(leg.leg.exit_count, leg.leg.first_exit) for leg in book.legs] == [(1, 0.51), (1, 0.49)]
    exchange.show(book, 0.5, 0.51, 0.49, 0.5)
    exchange.match(book)
    assert trades(exchange) == [(LONG, TradeLabel.GRID, 1.0, 0.51), (SHORT, TradeLabel.GRID, 1.0, 0.49)]


def test_exit_takes_all_of_its_fill_at_its_limit_price(exchange):
    book = exchange.book
    first = hold(exchange, LONG, 1.0, 100.0)
    hold(exchange, LONG, 2.0, 99.0)
    book.long.exits[first] = 101.0
    exchange.show(book, 103, 104, 102, 103)
    exchange.match(book)
    # at 101 although it opened at 103; maker fee 101 * 0.02 %
    assert trades(exchange) == [(LONG, TradeLabel.GRID, 1.0, 101.0)]
    assert exchange.account.closed[0].fees == pytest.approx(0.0202)
    assert book.long.tracker.prices == [99.0]


@pytest.mark.parametrize(("rule", "count"), [("touch", 1), ("through", 0)])
def test_exit_obeys_the_fill_rule(rule, count, make_exchange):
    exchange = make_exchange(fill_rule=rule)
    fill = hold(exchange, SHORT, 1.0, 100.0)
    exchange.book.short.exits[fill] = 99.0
    exchange.show(exchange.book, 100, 101, 99, 100)
    exchange.match(exchange.book)
    assert len(exchange.account.closed) == count


def test_fill_opened_in_a_bar_takes_no_profit_in_it(exchange):
    book = exchange.book
    book.long.place(-1, Entry(98.0, 1.0, 0.01))
    exchange.show(book, 100, 105, 97, 104)
    exchange.match(book)
    assert book.long.tracker.prices == [98.0]
    assert exchange.account.closed == []


def test_entries_and_exits_are_maker_and_all_else_is_taker(exchange):
    book, account = exchange.book, exchange.account
    first, second, _ = (hold(exchange, LONG, 1.0, 100.0) for _ in range(3))
    account.maker_executions = 0
    book.long.closes = [MarketClose(first, 1.0, TradeLabel.GAP)]
    book.long.exits = {second: 101.0}
    book.short.place(1, Entry(101.0, 1.0, 0.01))
    exchange.show(book, 100, 102, 99, 100)
    exchange.match(book)
    assert (account.maker_executions, account.taker_executions) == (2, 1)
    book.long.stop = 95.0
    exchange.show(book, 96, 96, 94, 95)
    exchange.match(book)
    assert (account.maker_executions, account.taker_executions) == (2, 2)


def test_two_exits_of_one_bar(exchange):
    book = exchange.book
    first, second = hold(exchange, LONG, 1.0, 100.0), hold(exchange, SHORT, 2.0, 100.0)
    book.long.exits[first] = 101.0
    book.short.exits[second] = 99.0
    exchange.show(book, 100, 101, 99, 100)
    exchange.match(book)
    assert trades(exchange) == [(LONG, TradeLabel.GRID, 1.0, 101.0), (SHORT, TradeLabel.GRID, 2.0, 99.0)]


def test_stop_of_one_side_leaves_the_exits_of_the_other(exchange):
    book = exchange.book
    long, short = hold(exchange, LONG, 1.0, 100.0), hold(exchange, SHORT, 1.0, 100.0)
    book.long.exits[long] = 101.0
    book.short.exits[short] = 99.0
    book.long.stop = 95.0
    exchange.show(book, 100, 101, 94, 95)
    exchange.match(book)
    assert [(trade.side, trade.label) for trade in exchange.account.closed] == [
        (LONG, TradeLabel.STOP2),
        (SHORT, TradeLabel.GRID),
    ]


# --- the book


def test_a_new_book_holds_its_market_account_and_costs_and_no_orders(exchange):
    book = exchange.book
    market = book.market
    assert (book.symbol, market.symbol, book.brackets) == ("X", "X", market.brackets)
    assert (book.account, book.costs) == (exchange.account, Costs(0.0002, 0.0005, 0.0002, False))
    assert book.legs == (book.long, book.short)
    for leg, side in ((book.long, LONG), (book.short, SHORT)):
        assert (leg.side, leg.sign, leg.leg.sign, leg.tracker.side) == (side, int(side), int(side), side)
        assert (leg.levels, leg.entries, leg.exits, leg.closes, leg.stop) == (0, {}, {}, [], None)
        assert (leg.entry_notional, leg.entry_count, leg.resting_orders()) == (0.0, 0, 0)
        assert leg.leg is leg.tracker.leg and leg.fills is leg.tracker.columns
        assert book.leg(side) is leg


def test_costs_fill_by_touch_unless_told_otherwise():
    assert Costs(0.0, 0.0, 0.0).through is False


def test_a_stop_is_a_price_or_none(exchange):
    leg = exchange.book.long
    leg.stop = 95.0
    assert (leg.stop, leg.leg.stop, leg.leg.has_stop) == (95.0, 95.0, 1)
    leg.stop = None
    assert (leg.stop, leg.leg.has_stop) == (None, 0)
    assert leg.leg.stop != leg.leg.stop  # NaN, which no price reaches


def test_a_fill_that_is_gone_takes_its_exit_along_and_the_last_one_the_stop(exchange):
    leg = exchange.book.long
    first, second = hold(exchange, LONG, 1.0, 100.0), hold(exchange, LONG, 1.0, 99.0)
    leg.exits, leg.stop = {first: 101.0, second: 100.0}, 90.0
    leg.tracker.close(0, 1.0)
    leg.forget(first)
    assert (leg.exits, leg.stop) == ({second: 100.0}, 90.0)
    leg.tracker.close(0, 1.0)
    leg.forget(second)
    assert (leg.exits, leg.stop) == ({}, None)


def test_unrealized_is_that_of_both_legs(exchange):
    hold(exchange, LONG, 2.0, 100.0)
    hold(exchange, SHORT, 1.0, 103.0)
    # -10 and +8
    assert exchange.book.unrealized(95.0) == -2.0


def test_close_oldest_takes_the_first_fills_first(exchange):
    book = exchange.book
    hold(exchange, LONG, 0.1, 100.0)
    hold(exchange, LONG, 0.2, 99.0)
    hold(exchange, LONG, 0.3, 98.0)
    close_oldest(book, book.long, 0.4, 100.0, MANUAL, maker=False)
    assert [(trade.entry, trade.qty) for trade in exchange.account.closed] == [
        (100.0, 0.1),
        (99.0, 0.2),
        (98.0, pytest.approx(0.1)),
    ]
    assert book.long.tracker.qtys == pytest.approx([0.2])


def test_close_oldest_leaves_no_dust_of_summed_lots(exchange):
    # 0.1 + 0.2 is 0.30000000000000004 in floats
    book = exchange.book
    hold(exchange, LONG, 0.1, 100.0)
    hold(exchange, LONG, 0.2, 99.0)
    close_oldest(book, book.long, 0.1 + 0.2, 100.0, MANUAL, maker=False)
    assert (len(exchange.account.closed), book.long.tracker.ids) == (2, [])


def test_cancel_orders_cancels_every_open_order(exchange):
    book = exchange.book
    fill = hold(exchange, LONG, 1.0, 100.0)
    book.long.place(-1, Entry(98.0, 1.0, 0.01))
    book.long.exits[fill] = 101.0
    book.long.stop = 90.0
    book.long.closes.append(MarketClose(fill, 1.0, TradeLabel.GAP))
    book.short.place(1, Entry(102.0, 1.0, 0.01))
    exchange.show(book, 100, 103, 80, 100)
    assert not is_idle(book)
    cancel_orders(book)
    assert is_idle(book)
    assert (book.long.resting_orders(), book.short.resting_orders()) == (0, 0)
    assert (book.long.closes, book.long.entry_notional) == ([], 0.0)


def test_entry_notional_is_that_of_the_resting_entries(exchange):
    leg = exchange.book.long
    leg.place(-1, Entry(98.0, 2.0, 0.01))
    leg.place(-2, Entry(97.0, 1.0, 0.01))
    assert leg.entry_notional == pytest.approx(293.0)
    leg.cancel(-1)
    assert leg.entry_notional == pytest.approx(97.0)


@pytest.mark.parametrize(("side", "first"), [(LONG, 99.0), (SHORT, 97.0)])
def test_first_entry_is_the_one_the_market_meets_first(exchange, side, first):
    leg = exchange.book.leg(side)
    assert leg.leg.first_entry == -int(side) * INFINITY
    for level, price in enumerate((98.0, 99.0, 97.0), start=1):
        leg.place(level, Entry(price, 1.0, 0.01))
    assert leg.leg.first_entry == first
    leg.cancel(2 if side is LONG else 3)
    assert leg.leg.first_entry == 98.0
    leg.cancel_entries()
    assert leg.leg.first_entry == -int(side) * INFINITY


# --- the columns of a leg


def columns(leg):
    return [list(map(float, column)) for column in (leg.prices, leg.qtys, leg.spacings)]


def test_more_room_keeps_what_rests(exchange):
    leg = exchange.book.long
    leg.reserve(2)
    leg.place(-1, Entry(98.0, 2.0, 0.01))
    leg.place(-2, Entry(97.0, 1.0, 0.02))
    leg.reserve(4)
    assert leg.levels == 4
    assert columns(leg) == [[98.0, 97.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0], [0.01, 0.02, 0.0, 0.0]]
    assert (leg.entry_notional, leg.entry_count, leg.leg.first_entry) == (293.0, 2, 98.0)


def test_less_room_than_there_is_changes_nothing(exchange):
    leg = exchange.book.short
    leg.place(3, Entry(102.0, 1.0, 0.01))
    held = leg.prices
    for levels in (1, 3):
        leg.reserve(levels)
        assert (leg.levels, leg.entries) == (3, {3: Entry(102.0, 1.0, 0.01)})
        assert leg.prices is held


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_entry_beyond_the_room_makes_its_own(exchange, side):
    leg, sign = exchange.book.leg(side), int(side)
    leg.place(-sign, Entry(100.0, 1.0, 0.01))
    leg.place(-3 * sign, Entry(100.0 - 3 * sign, 2.0, 0.03))
    assert leg.levels == 3
    assert leg.entries == {-sign: Entry(100.0, 1.0, 0.01), -3 * sign: Entry(100.0 - 3 * sign, 2.0, 0.03)}
    # 100 + 2 * 97, or 100 + 2 * 103
    assert (leg.entry_notional, leg.entry_count, leg.leg.first_entry) == (300.0 - 6 * sign, 2, 100.0)


def test_columns_of_two_legs_are_not_shared(exchange):
    exchange.book.long.place(-1, Entry(98.0, 2.0, 0.01))
    exchange.book.short.reserve(1)
    assert columns(exchange.book.short) == [[0.0]] * 3
    assert columns(exchange.book.long) == [[98.0], [2.0], [0.01]]


def test_entry_takes_the_place_of_the_one_before(exchange):
    leg = exchange.book.long
    leg.place(-1, Entry(98.0, 2.0, 0.01))
    leg.place(-1, Entry(97.0, 3.0, 0.02))
    assert leg.entries == {-1: Entry(97.0, 3.0, 0.02)}
    assert (leg.entry_notional, leg.entry_count, leg.leg.first_entry) == (291.0, 1, 97.0)


def test_entries_are_a_copy_of_plain_floats(exchange):
    leg = exchange.book.long
    leg.place(-1, Entry(98.0, 2.0, 0.01))
    seen = leg.entries
    assert {type(number) for entry in seen.values() for number in entry} == {float}
    seen.clear()
    assert leg.entries == {-1: Entry(98.0, 2.0, 0.01)}
    before = leg.entries
    leg.place(-2, Entry(97.0, 1.0, 0.01))
    leg.cancel(-1)
    assert before == {-1: Entry(98.0, 2.0, 0.01)}
    assert leg.entries == {-2: Entry(97.0, 1.0, 0.01)}


def test_whoever_changes_a_column_sums_it_up_anew(exchange):
    leg = exchange.book.short
    leg.reserve(3)
    leg.prices[1], leg.qtys[1], leg.spacings[1] = 102.0, 0.5, 0.01
    leg.prices[2], leg.qtys[2], leg.spacings[2] = 103.0, 2.0, 0.01
    leg.entries_changed()
    assert leg.entries == {2: Entry(102.0, 0.5, 0.01), 3: Entry(103.0, 2.0, 0.01)}
    assert (leg.entry_notional, leg.entry_count, leg.leg.first_entry) == (257.0, 2, 102.0)


def test_totals_are_taken_as_they_are(exchange):
    long, short = exchange.book.legs
    long.take_totals([293.0, 2.0, 98.0])
    assert (long.entry_notional, long.entry_count, long.leg.first_entry) == (293.0, 2, 98.0)
    for leg, far in ((long, -INFINITY), (short, INFINITY)):
        leg.take_totals([0.0, 0.0, 0.0])
        assert (leg.entry_notional, leg.entry_count, leg.leg.first_entry) == (0.0, 0, far)


def test_resting_orders_are_entries_exits_and_the_stop(exchange):
    leg = exchange.book.long
    first, second = hold(exchange, LONG, 1.0, 100.0), hold(exchange, LONG, 1.0, 99.0)
    assert leg.resting_orders() == 0
    leg.place(-1, Entry(98.0, 1.0, 0.01))
    leg.place(-3, Entry(96.0, 1.0, 0.01))
    leg.exits |= {first: 101.0, second: 100.0}
    leg.stop = 90.0
    assert leg.resting_orders() == 5
    leg.cancel_entries()
    assert leg.resting_orders() == 3
    assert (leg.entries, leg.entry_notional, len(leg.exits), leg.stop) == ({}, 0.0, 2, 90.0)


# --- laws

prices = st.sampled_from([float(price) for price in range(90, 111)])
orders = st.tuples(st.sampled_from(["place", "place", "cancel", "exit", "stop", "close"]), prices, st.integers(1, 4))


@st.composite
def bars(draw):
    open_, close = draw(prices), draw(prices)
    high = max(open_, close, draw(prices))
    low = min(open_, close, draw(prices))
    return open_, high, low, close, draw(st.sampled_from([0.0, 1.0, 1.0, 1.0]))


streams = st.lists(st.tuples(st.lists(st.tuples(st.booleans(), orders), max_size=5), bars()), max_size=12)


def apply(exchange, leg, kind, price, number):
    """Change the open orders of one leg as a strategy might."""
    tracker = leg.tracker
    level = -leg.sign * number
    if kind == "place":
        if level in leg.entries:
            leg.cancel(level)
        leg.place(level, Entry(price, 1.0, 0.01))
    elif kind == "cancel" and leg.entries:
        leg.cancel(next(iter(leg.entries)))
    elif kind == "exit" and tracker.ids:
        leg.exits[tracker.ids[number % len(tracker)]] = price
    elif kind == "stop":
        leg.stop = price if tracker.ids else None
    elif kind == "close" and tracker.ids and not leg.closes:
        index = number % len(tracker)
        leg.closes.append(MarketClose(tracker.ids[index], tracker.qtys[index] / number, TradeLabel.GAP))


def state(book):
    legs = [(leg.tracker.fills, leg.entries, leg.exits, leg.stop, leg.closes) for leg in book.legs]
    return copy.deepcopy(legs), book.account.wallet


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["touch", "through"]), streams)
def test_bar_called_idle_is_one_in_which_nothing_would_fill(make_exchange, rule, stream):
    exchange = make_exchange(fill_rule=rule)
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    hold(exchange, SHORT, 2.0, 100.0)
    for changes, bar in stream:
        for is_long, (kind, price, number) in changes:
            apply(exchange, book.long if is_long else book.short, kind, price, number)
        exchange.show(book, *bar)
        before = state(book)
        idle = is_idle(book)
        if bar[4] > 0.0:  # asked of every phase, whatever is_idle says
            for phase in PHASES:
                phase(book)
        book.orders_changed()
        if idle:
            assert state(book) == before


def brute_force(book, bar, rule):
    """What a bar does to a book, in the words of the specification: (side, event, qty, price) in order."""
    open_, high, low, _, volume = bar
    if volume == 0.0:
        return []
    events = []
    for leg in book.legs:
        sign, slip = leg.sign, 1.0 - 0.0002 * leg.sign
        open_fills = {fill.id: fill.qty for fill in leg.tracker.fills}
        before = set(open_fills)
        for close in leg.closes:
            events.append((leg.side, close.label, close.qty, open_ * slip))
            open_fills[close.fill_id] -= close.qty
        open_fills = {key: qty for key, qty in open_fills.items() if qty > 1e-12}
        strict = rule == "through"
        reach_down = (lambda p: low < p) if strict else (lambda p: low <= p)
        reach_up = (lambda p: high > p) if strict else (lambda p: high >= p)
        enters, leaves = (reach_down, reach_up) if sign > 0 else (reach_up, reach_down)
        for level in sorted(leg.entries, key=abs):
            entry = leg.entries[level]
            if enters(entry.price):
                events.append((leg.side, "entry", entry.qty, entry.price))
                open_fills[level, entry.price] = entry.qty
        stop = leg.stop if before & set(open_fills) or not before else None
        if stop is not None and (low <= stop if sign > 0 else high >= stop):
            price = slip * (min(stop, open_) if sign > 0 else max(stop, open_))
            for fill, qty in open_fills.items():
                if not isinstance(fill, tuple) or sign * (price - fill[1]) <= 0.0:
                    events.append((leg.side, TradeLabel.STOP2, qty, price))
            continue
        for fill_id, price in sorted(leg.exits.items()):  # the oldest fill first
            if fill_id in open_fills and leaves(price):
                events.append((leg.side, TradeLabel.GRID, open_fills[fill_id], price))
    return events


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["touch", "through"]), streams)
def test_every_bar_does_what_the_specification_says(make_exchange, rule, stream):
    exchange = make_exchange(fill_rule=rule)
    book, account = exchange.book, exchange.account
    hold(exchange, LONG, 1.0, 100.0)
    hold(exchange, SHORT, 2.0, 100.0)
    for changes, bar in stream:
        for is_long, (kind, price, number) in changes:
            apply(exchange, book.long if is_long else book.short, kind, price, number)
        expected = brute_force(book, bar, rule)
        account.executions.clear()
        exchange.show(book, *bar)
        exchange.match(book)
        done = [
            (each.side, "entry" if each.opens else each.label, pytest.approx(each.qty), pytest.approx(each.price))
            for each in account.executions
        ]
        assert sorted(expected, key=lambda event: event[0]) == sorted(done, key=lambda event: event[0])
        identity = account.start + account.gross - account.fees - account.funding
        assert account.wallet == pytest.approx(identity, rel=1e-9)


def test_books_of_one_account_share_the_wallet(make_exchange):
    exchange = make_exchange(symbols=("X", "Y"))
    for book in exchange.books:
        book.long.place(-1, Entry(100.0, 1.0, 0.01))
        exchange.show(book, 100, 101, 99, 100)
        exchange.match(book)
    # twice 100 * 0.02 %
    assert exchange.account.wallet == pytest.approx(9_999.96)


@pytest.mark.parametrize(("through", "rule"), [(False, touches), (True, trades_through)])
def test_the_costs_say_which_rule_fills_a_limit_order(through, rule):
    costs = Costs(0.0, 0.0, 0.0, through)
    for is_buy, price in itertools.product((True, False), (98.9, 99.0, 99.1, 100.9, 101.0, 101.1)):
        assert fills(costs, is_buy, price, 99.0, 101.0) is rule(is_buy, price, 99.0, 101.0)


# --- does the order of prices inside the bar decide what fills? the bar: 90 to 110


@pytest.mark.parametrize(
    ("side", "stop", "exit_", "matters"),
    [
        (LONG, 95.0, 108.0, True),
        (LONG, 95.0, 110.0, True),  # the very high
        (LONG, 90.0, 108.0, True),  # the very low
        (LONG, 89.9, 108.0, False),  # never stopped
        (LONG, 95.0, 110.1, False),  # never at its exit
        (LONG, 95.0, None, False),
        (LONG, None, 108.0, False),
        (SHORT, 105.0, 92.0, True),
        (SHORT, 110.0, 90.0, True),
        (SHORT, 110.1, 92.0, False),
        (SHORT, 105.0, 89.9, False),
        (SHORT, None, 92.0, False),
    ],
)
def test_order_of_prices_matters_to_a_leg_with_stop_and_exit_within_the_bar(exchange, side, stop, exit_, matters):
    book = exchange.book
    fill = hold(exchange, side, 1.0, 100.0)
    leg = book.leg(side)
    leg.stop = stop
    if exit_ is not None:
        leg.exits[fill] = exit_
    exchange.show(book, 100, 110, 90, 105)
    assert order_matters(book) is matters


def test_order_matters_to_each_leg_by_itself(exchange):
    # the stop of one leg and the exit of the other are no either-or
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    book.short.exits[hold(exchange, SHORT, 1.0, 100.0)] = 92.0
    exchange.show(book, 100, 110, 90, 105)
    assert not order_matters(book)
    book.short.stop = 105.0
    assert order_matters(book)


def test_one_exit_of_several_within_the_bar_is_enough(exchange):
    book = exchange.book
    fills = [hold(exchange, LONG, 1.0, 100.0) for _ in range(3)]
    book.long.exits |= dict(zip(fills, (115.0, 108.0, 120.0), strict=True))
    book.long.stop = 95.0
    exchange.show(book, 100, 110, 90, 105)
    assert order_matters(book)


@pytest.mark.parametrize(("rule", "matters"), [("touch", True), ("through", False)])
def test_exit_at_the_very_high_matters_only_if_a_touch_fills(rule, matters, make_exchange):
    exchange = make_exchange(fill_rule=rule)
    book = exchange.book
    book.long.exits[hold(exchange, LONG, 1.0, 100.0)] = 110.0
    book.long.stop = 95.0
    exchange.show(book, 100, 110, 90, 105)
    assert order_matters(book) is matters


def test_no_order_of_prices_matters_to_a_book_without_orders(exchange):
    hold(exchange, LONG, 1.0, 100.0)
    exchange.show(exchange.book, 100, 110, 90, 105)
    assert not order_matters(exchange.book)


def test_order_of_prices_does_not_matter_where_nothing_is_traded(exchange):
    book = exchange.book
    book.long.exits[hold(exchange, LONG, 1.0, 100.0)] = 108.0
    book.long.stop = 95.0
    exchange.show(book, 100, 110, 90, 105, volume=0)
    assert not order_matters(book)


def test_order_of_prices_does_not_matter_to_entries_and_a_stop(exchange):
    # 97 is met before 95 on every way down and 94 after it: see tests/engine/test_intrabar.py
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    book.long.stop = 95.0
    book.long.place(-1, Entry(97.0, 1.0, 0.01))
    book.long.place(-2, Entry(94.0, 1.0, 0.01))
    exchange.show(book, 100, 110, 90, 105)
    assert not order_matters(book)


# --- what may be ordered, and what rests


def test_a_fill_that_is_being_closed_whole_is_not_closed_again(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    assert order_close(book, book.long, 0, 0.4, STOP1) is True
    assert order_close(book, book.long, 0, 1.0, GRID) is True  # the rest of it
    assert order_close(book, book.long, 0, 1.0, GRID) is False
    assert [(close.qty, close.label) for close in book.long.closes] == [
        (0.4, TradeLabel.STOP1), (pytest.approx(0.6), TradeLabel.GRID),
    ]  # fmt: skip


@pytest.mark.parametrize(("asked", "closed"), [(1e9, []), (0.5e9, [1.0])])
def test_a_rest_within_the_noise_of_what_is_asked_is_not_closed(exchange, asked, closed):
    # of 2 units 1 is being closed; 1e-9 of a thousand million is the other one
    book = exchange.book
    hold(exchange, LONG, 2.0, 100.0)
    order_close(book, book.long, 0, 1.0, STOP1)
    assert order_close(book, book.long, 0, asked, GRID) is bool(closed)
    assert [close.qty for close in book.long.closes[1:]] == closed


def test_what_is_being_closed_of_one_fill_says_nothing_about_another(exchange):
    book = exchange.book
    first, second = hold(exchange, LONG, 1.0, 100.0), hold(exchange, LONG, 1.0, 100.0)
    assert order_close(book, book.long, 0, 1.0, STOP1)
    assert order_close(book, book.long, 1, 1.0, STOP1)
    assert [(close.fill_id, close.qty) for close in book.long.closes] == [(first, 1.0), (second, 1.0)]


def test_a_close_that_was_ordered_makes_the_next_bar_busy(exchange):
    book = exchange.book
    hold(exchange, LONG, 1.0, 100.0)
    exchange.show(book, 100, 100, 100, 100)
    assert is_idle(book)
    order_close(book, book.long, 0, 1.0, GRID)
    assert not is_idle(book)


def test_exits_are_counted_and_the_one_that_the_market_meets_first_is_known(exchange):
    book = exchange.book
    first, second, _ = (hold(exchange, LONG, 1.0, 100.0) for _ in range(3))
    book.long.exits = {first: 103.0, second: 102.0}
    note_first_exit(book.long)
    assert (book.long.leg.exit_count, book.long.leg.first_exit) == (2, 102.0)


@pytest.mark.parametrize(
    ("held", "noted"),
    [((), (0.0, 0.0, 0)), ((LONG,), (103.0, 0.0, 1)), ((SHORT,), (0.0, 97.0, 2)), ((LONG, SHORT), (103.0, 97.0, 3))],
)
def test_the_exits_that_the_market_meets_first_and_the_market_orders_are_noted(exchange, held, noted):
    book = exchange.book
    for side, exits, closes in ((LONG, (104.0, 103.0), 1), (SHORT, (96.0, 97.0), 2)):
        if side in held:
            leg = book.leg(side)
            leg.exits = {hold(exchange, side, 1.0, 100.0): price for price in exits}
            leg.closes = [MarketClose(next(iter(leg.exits)), 0.1, TradeLabel.GAP)] * closes
    note_exits(book)
    first_exits = book.long.leg.first_exit, book.short.leg.first_exit
    assert (*first_exits, book.state.market_orders, book.state.orders_changed) == (*noted, 0)


@pytest.mark.parametrize(
    ("low", "high", "idle"),
    [(95.1, 104.9, True), (95.0, 104.9, False), (95.1, 105.0, False), (90.0, 104.9, False), (95.1, 110.0, False)],
)
@pytest.mark.parametrize("orders", ["entries", "exits", "stops"])
def test_a_bar_is_idle_that_touches_no_order(exchange, orders, low, high, idle):
    # an order at 95 below the market and one at 105 above it
    book = exchange.book
    if orders == "entries":
        book.long.place(-1, Entry(95.0, 1.0, 0.01))
        book.short.place(1, Entry(105.0, 1.0, 0.01))
    else:
        long, short = hold(exchange, LONG, 1.0, 100.0), hold(exchange, SHORT, 1.0, 100.0)
        if orders == "exits":
            book.long.exits, book.short.exits = {long: 105.0}, {short: 95.0}
        else:
            book.long.stop, book.short.stop = 95.0, 105.0
    exchange.show(book, 100, high, low, 100)
    assert is_idle(book) is idle


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_a_stop_that_is_met_just_at_the_liquidation_price_comes_too_late(exchange, side):
    book = exchange.book
    hold(exchange, side, 1.0, 100.0)
    leg = book.leg(side)
    leg.stop = 95.0 if side is LONG else 105.0
    exchange.show(book, 100, 110, 90, 100)
    fill_stops(book, down=95.0, up=105.0)
    assert len(leg.tracker) == 1
    fill_stops(book, down=94.9, up=105.1)
    assert len(leg.tracker) == 0


def test_a_price_below_one_is_an_entry_too(exchange):
    leg = exchange.book.long
    leg.place(-1, Entry(0.5, 2.0, 0.01))
    assert leg.entries == {-1: Entry(0.5, 2.0, 0.01)}


def test_a_bar_begins_with_nothing():
    assert Bar() == Bar(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
