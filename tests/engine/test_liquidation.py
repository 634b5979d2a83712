"""Cross margin: maintenance 1 % of the notional unless a test says otherwise."""

import pytest
from both_legs import fill_market_orders, fill_stops
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridv4_bt.core.risk import Bracket, maintenance_margin
from gridv4_bt.engine.book import Entry, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.liquidation import (
    bankruptcy_price,
    excess,
    excess_at,
    is_safe,
    is_safe_at_open,
    is_unhedged,
    liquidate,
    liquidation_range,
    price_at_open,
    reserve_at_worst,
    takeover_price,
    worst_excess,
)
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def hold(book, side, qty, price):
    """Open a fill without a fee."""
    return book.account.open_fill(book.symbol, book.leg(side).tracker, qty, price, 0, 0, 0.01, 0.0, True)


def closed_at(exchange):
    return {(trade.symbol, trade.side): trade.exit for trade in exchange.account.closed}


def assert_flat_and_conserved(exchange):
    account = exchange.account
    assert all(leg.tracker.ids == [] for book in exchange.books for leg in book.legs)
    assert all(leg.resting_orders() == 0 for book in exchange.books for leg in book.legs)
    moved = abs(account.start) + abs(account.gross) + account.fees
    identity = account.start + account.gross - account.fees - account.funding
    assert account.wallet == pytest.approx(identity, rel=1e-9, abs=1e-9 * moved)
    assert account.wallet >= -1e-9 * moved
    assert {trade.label for trade in account.closed} == {TradeLabel.LIQUIDATION}
    assert account.liquidations == 1


def test_excess_is_unrealised_less_the_margin_of_each_leg(make_exchange):
    tiers = (Bracket(0, 1_000, 0.01, 0), Bracket(1_000, 1e9, 0.02, 10))
    book = make_exchange(brackets=tiers).book
    hold(book, LONG, 20.0, 100.0)
    hold(book, SHORT, 5.0, 100.0)
    # at 90: -200 + 50; 1800 * 2 % - 10 = 26; 450 * 1 % = 4.5
    assert excess(book, 90.0) == pytest.approx(-150.0 - 30.5)


# --- the rules on plain numbers


def test_excess_of_two_legs_on_plain_numbers():
    rates = (Bracket(0.0, 1e12, 0.1, 0.0),)
    # at 110: 0.5*110 - 50 = 5, margin 5.5; 75 - 0.5*110 = 20, margin 5.5
    assert excess_at(110.0, 0.5, 50.0, 0.5, 75.0, rates) == pytest.approx(14.0)
    assert excess_at(110.0, 0.5, 50.0, 0.0, 0.0, rates) == pytest.approx(-0.5)
    assert excess_at(110.0, 0.0, 0.0, 0.5, 75.0, rates) == pytest.approx(14.5)


def test_a_leg_without_quantity_counts_nothing():
    assert excess_at(110.0, 0.0, 7.0, 0.0, 9.0, (Bracket(0.0, 1e12, 0.1, 0.0),)) == 0.0


@pytest.mark.parametrize(
    ("long", "short", "reserve"),
    [
        ((3.0, 300.0), (1.0, 120.0), -44.0),  # 2 net at 90: 180 - 300 + 120; margin 0.1 * 4 * 110
        ((1.0, 100.0), (3.0, 300.0), -64.0),  # 2 net short at 110: -220 - 100 + 300; margin 44
    ],
)
def test_reserve_takes_the_worse_extreme_and_the_margin_of_the_high(long, short, reserve):
    assert reserve_at_worst(90.0, 110.0, 0.1, *long, *short) == pytest.approx(reserve)


@pytest.mark.parametrize(("open_", "mark"), [(100.0, 100.0), (80.0, 90.0), (120.0, 110.0)])
def test_mark_at_the_open_lies_within_its_range(open_, mark):
    assert price_at_open(open_, 90.0, 110.0) == mark


@pytest.mark.parametrize(
    ("falls", "open_", "down", "up", "price"),
    [
        (True, 100.0, 95.0, 120.0, 95.0),
        (True, 93.0, 95.0, 120.0, 93.0),  # opened beyond
        (True, 88.0, 90.0, 120.0, 88.0),  # reached by the very low
        (True, 100.0, 80.0, 105.0, 90.0),  # not reached: the low
        (False, 100.0, 95.0, 105.0, 105.0),
        (False, 107.0, 95.0, 105.0, 107.0),
        (False, 112.0, 80.0, 110.0, 112.0),  # reached by the very high
        (False, 100.0, 95.0, 120.0, 110.0),
    ],
)
def test_takeover_is_at_the_liquidation_price_or_at_an_open_beyond(falls, open_, down, up, price):
    assert takeover_price(falls, open_, 90.0, 110.0, down, up) == price


def test_bankruptcy_price_gives_back_what_is_missing():
    # 50 of 10 net are 5 a unit
    assert bankruptcy_price(100.0, -50.0, 10.0) == 105.0
    assert bankruptcy_price(100.0, -50.0, -10.0) == 95.0


@pytest.mark.parametrize(
    ("long", "short", "unhedged"),
    [
        (0.0, 0.0, False),
        (1.0, 1.0, False),
        (1.0, 1.0 + 1e-10, False),
        (1.0, 1.001, True),
        (1.0, 0.0, True),
        (0.0, 1.0, True),
        (1e-8, 0.0, True),
    ],
)
def test_legs_that_differ_by_more_than_float_noise_are_unhedged(long, short, unhedged):
    assert is_unhedged(long, short) is unhedged


# --- the rules applied to books


def test_an_account_that_has_exactly_its_margin_is_not_safe(make_exchange):
    # a margin of half of 100
    exchange = make_exchange(start=50.0, brackets=(Bracket(0.0, 1e12, 0.5, 0.0),))
    hold(exchange.book, LONG, 1.0, 100.0)
    exchange.show(exchange.book, 100, 100, 100, 100)
    exchange.book.state.fresh = 1
    assert not is_safe(exchange.account, exchange.books)
    assert not is_safe_at_open(exchange.account, exchange.books)


def test_a_mark_that_does_not_move_liquidates_downwards(make_exchange):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 89.5, 90, 89, 89)
    exchange.book.bar.mark_low = exchange.book.bar.mark_high = 89.4
    liquidate(exchange.account, exchange.books, 0.0)
    # the liquidation price is 89.899, and the bar opened beyond it
    assert closed_at(exchange) == {("X", LONG): 89.5}


def test_bar_is_judged_at_its_worse_extreme(make_exchange):
    exchange = make_exchange(start=110.0)
    book = exchange.book
    hold(book, SHORT, 10.0, 100.0)
    exchange.show(book, 100, 105, 80, 100)
    # at 105: -50 - 10.5
    assert worst_excess(book) == pytest.approx(-60.5)


@pytest.mark.parametrize(("low", "safe"), [(89.9, True), (89.89, False)])
def test_account_is_safe_down_to_the_liquidation_price(make_exchange, low, safe):
    # 110 + 10*(p - 100) = 0.1p  =>  p = 890 / 9.9 = 89.8990
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 95, 96, low, 95)
    assert is_safe(exchange.account, exchange.books) is safe


def test_market_with_the_highest_rates_is_judged_by_them(make_exchange):
    # a margin of 90 % of 1,000
    exchange = make_exchange(start=899.0, brackets=(Bracket(0.0, 1e12, 0.9, 0.0),))
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 100, 100, 100, 100)
    assert not is_safe(exchange.account, exchange.books)


def test_account_without_position_is_safe_whatever_it_owes(make_exchange):
    exchange = make_exchange(start=-5.0)
    exchange.show(exchange.book, 95, 96, 94, 95)
    assert is_safe(exchange.account, exchange.books)


def test_mark_price_decides_and_not_the_wick_of_the_last(make_exchange):
    exchange = make_exchange(start=110.0)
    book = exchange.book
    hold(book, LONG, 10.0, 100.0)
    exchange.show(book, 95, 96, 50, 95)
    book.bar.mark_low = 94.0
    assert is_safe(exchange.account, exchange.books)


def test_range_is_that_of_the_solver(make_exchange):
    exchange = make_exchange(start=110.0)
    book = exchange.book
    hold(book, LONG, 10.0, 100.0)
    exchange.show(book, 100, 100, 100, 100)
    down, up = liquidation_range(exchange.account, exchange.books, 0, worst=False)
    assert (down, up) == (pytest.approx(890 / 9.9), INFINITY)


def test_range_without_position_is_unlimited(make_exchange):
    exchange = make_exchange()
    assert liquidation_range(exchange.account, exchange.books, 0, worst=True) == (0.0, INFINITY)


def test_range_counts_the_other_symbol_at_its_close_or_at_its_worst(make_exchange):
    exchange = make_exchange(start=150.0, symbols=("X", "Y"))
    first, second = exchange.books
    hold(first, LONG, 10.0, 100.0)
    hold(second, LONG, 10.0, 100.0)
    exchange.show(first, 100, 100, 100, 100)
    exchange.show(second, 100, 100, 94, 98)
    # the other at 98: -20 - 9.8 leaves 120.2; at 94: -60 - 9.4 leaves 80.6
    down, _ = liquidation_range(exchange.account, exchange.books, 0, worst=False)
    assert down == pytest.approx((1_000 - 120.2) / 9.9)
    down, _ = liquidation_range(exchange.account, exchange.books, 0, worst=True)
    assert down == pytest.approx((1_000 - 80.6) / 9.9)


def test_single_long_goes_at_the_solver_price_with_the_liquidation_fee(make_exchange):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 95, 96, 85, 95)
    liquidate(exchange.account, exchange.books, 0.005)
    price = 890 / 9.9
    assert closed_at(exchange) == {("X", LONG): pytest.approx(price)}
    # 1 % of the notional was left, half of it is the fee
    assert exchange.account.wallet == pytest.approx(0.005 * 10 * price)
    assert_flat_and_conserved(exchange)


def test_single_short_goes_at_the_solver_price_above(make_exchange):
    # 110 + 10*(100 - p) = 0.1p  =>  p = 1110 / 10.1
    exchange = make_exchange(start=110.0)
    hold(exchange.book, SHORT, 10.0, 100.0)
    exchange.show(exchange.book, 100, 120, 99, 101)
    liquidate(exchange.account, exchange.books, 0.005)
    assert closed_at(exchange) == {("X", SHORT): pytest.approx(1_110 / 10.1)}
    assert_flat_and_conserved(exchange)


def test_fee_is_cut_to_what_the_wallet_holds(make_exchange):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 95, 96, 85, 95)
    liquidate(exchange.account, exchange.books, 0.0125)  # more than the 1 % that is left
    assert exchange.account.wallet == 0.0
    assert exchange.account.fees == pytest.approx(0.01 * 10 * 890 / 9.9)
    assert_flat_and_conserved(exchange)


def test_gap_beyond_the_liquidation_price_goes_at_the_open(make_exchange):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 89.5, 90, 85, 88)
    liquidate(exchange.account, exchange.books, 0.002)
    # equity 110 - 105, fee 895 * 0.2 %
    assert closed_at(exchange) == {("X", LONG): 89.5}
    assert exchange.account.wallet == pytest.approx(5.0 - 1.79)
    assert_flat_and_conserved(exchange)


@pytest.mark.parametrize(
    ("side", "bar", "price"), [(LONG, (80, 81, 79, 80), 89.0), (SHORT, (130, 131, 129, 130), 111.0)]
)
def test_gap_beyond_bankruptcy_goes_at_the_bankruptcy_price_without_fee(make_exchange, side, bar, price):
    # 110 of loss on 10 held at 100
    exchange = make_exchange(start=110.0)
    hold(exchange.book, side, 10.0, 100.0)
    exchange.show(exchange.book, *bar)
    liquidate(exchange.account, exchange.books, 0.0125)
    assert closed_at(exchange) == {("X", side): pytest.approx(price)}
    assert exchange.account.fees == 0.0
    assert exchange.account.wallet == 0.0
    assert_flat_and_conserved(exchange)


def test_a_liquidation_that_takes_all_leaves_not_even_a_rounding(make_exchange):
    # closed at these odd numbers 4e-14 too little would be left
    exchange = make_exchange(start=99.54)
    hold(exchange.book, LONG, 9.54, 147.74)
    exchange.show(exchange.book, 108.83, 108.83, 108.83, 108.83)
    liquidate(exchange.account, exchange.books, 0.0125)
    assert sum(trade.gross for trade in exchange.account.closed) != -99.54
    assert (exchange.account.wallet, exchange.account.gross) == (0.0, -99.54)
    assert_flat_and_conserved(exchange)


def test_hedged_book_goes_at_the_price_where_both_margins_are_missed(make_exchange):
    exchange = make_exchange(start=50.0)
    book = exchange.book
    hold(book, LONG, 10.0, 100.0)
    hold(book, SHORT, 4.0, 100.0)
    exchange.show(book, 100, 101, 90, 95)
    # 50 + 6*(p - 100) = 0.14p
    liquidate(exchange.account, exchange.books, 0.0)
    price = pytest.approx(550 / 5.86)
    assert closed_at(exchange) == {("X", LONG): price, ("X", SHORT): price}
    assert exchange.account.wallet == pytest.approx(0.14 * 550 / 5.86)
    assert_flat_and_conserved(exchange)


def test_two_symbols_on_one_wallet_go_together_each_at_its_own_price(make_exchange):
    exchange = make_exchange(start=150.0, symbols=("X", "Y"))
    first, second = exchange.books
    hold(first, LONG, 10.0, 100.0)
    hold(second, LONG, 10.0, 100.0)
    exchange.show(first, 100, 100, 92, 95)  # at the low -80 - 9.2
    exchange.show(second, 100, 100, 94, 95)  # at the low -60 - 9.4
    assert not is_safe(exchange.account, exchange.books)
    liquidate(exchange.account, exchange.books, 0.0)
    # X with Y at 94: 150 - 69.4 + 10*(p - 100) = 0.1p; Y with X at 92: 150 - 89.2 + ...
    assert closed_at(exchange) == {("X", LONG): pytest.approx(919.4 / 9.9), ("Y", LONG): pytest.approx(939.2 / 9.9)}
    assert_flat_and_conserved(exchange)


def test_what_the_wallet_cannot_pay_is_given_back_at_the_symbol_that_lost_it(make_exchange):
    # X loses 10,000 of 5,000; Y has the larger quantity and is at its entry
    exchange = make_exchange(start=5_000.0, symbols=("X", "Y"))
    first, second = exchange.books
    hold(first, LONG, 1.0, 50_000.0)
    hold(second, SHORT, 1_000_000.0, 0.01)
    exchange.show(first, 40_000, 40_000, 40_000, 40_000)
    exchange.show(second, 0.01, 0.01, 0.01, 0.01)
    liquidate(exchange.account, exchange.books, 0.0125)
    assert closed_at(exchange) == {("X", LONG): pytest.approx(45_000), ("Y", SHORT): pytest.approx(0.01)}
    assert exchange.account.wallet == 0.0
    assert_flat_and_conserved(exchange)


def two_at(make_exchange, start, x, y):
    """An account of two symbols whose bars stand still: (price, LONG qty, SHORT qty) of each, all opened at 100."""
    exchange = make_exchange(start=start, symbols=("X", "Y"))
    for book, (price, long, short) in zip(exchange.books, (x, y), strict=True):
        for side, qty in ((LONG, long), (SHORT, short)):
            if qty:
                hold(book, side, qty, 100.0)
        exchange.show(book, price, price, price, price)
    return exchange


def test_both_legs_of_a_symbol_decide_whether_it_lost_most(make_exchange):
    # X: -200 + 100; Y: -150. Of 200 all and 50 more are lost: 5 on each of Y's 10 are given back.
    exchange = two_at(make_exchange, 200.0, (80.0, 10.0, 5.0), (85.0, 10.0, 0.0))
    liquidate(exchange.account, exchange.books, 0.0125)
    assert closed_at(exchange) == {("X", LONG): 80.0, ("X", SHORT): 80.0, ("Y", LONG): pytest.approx(90.0)}


def test_of_symbols_that_lost_the_same_the_first_is_given_back(make_exchange):
    exchange = two_at(make_exchange, 350.0, (80.0, 10.0, 0.0), (80.0, 10.0, 0.0))
    liquidate(exchange.account, exchange.books, 0.0125)
    assert closed_at(exchange) == {("X", LONG): pytest.approx(85.0), ("Y", LONG): 80.0}


def test_a_wallet_that_can_pay_all_is_given_nothing_and_keeps_the_rest(make_exchange):
    # opened at 89.05: 109.5 of 110 are lost
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 89.05, 89.05, 89.05, 89.05)
    liquidate(exchange.account, exchange.books, 0.0001)
    assert closed_at(exchange) == {("X", LONG): 89.05}
    assert exchange.account.wallet == pytest.approx(0.5 - 0.08905)
    assert (exchange.account.maker_executions, exchange.account.taker_executions) == (1, 1)


def test_every_open_order_is_cancelled(make_exchange):
    exchange = make_exchange(start=110.0)
    book = exchange.book
    fill = hold(book, LONG, 10.0, 100.0)
    book.long.exits[fill] = 101.0
    book.long.stop = 50.0
    book.long.closes.append(MarketClose(fill, 1.0, TradeLabel.GAP))
    book.short.place(1, Entry(120.0, 1.0, 0.01))
    exchange.show(book, 95, 96, 85, 95)
    liquidate(exchange.account, exchange.books, 0.0125)
    assert book.long.closes == []
    assert_flat_and_conserved(exchange)


def test_stop_nearer_than_liquidation_saves_the_account(make_exchange):
    exchange = make_exchange(start=110.0)
    book = exchange.book
    hold(book, LONG, 10.0, 100.0)
    book.long.stop = 92.0
    exchange.show(book, 95, 96, 80, 82)
    assert not is_safe(exchange.account, exchange.books)
    fill_market_orders(book)
    fill_stops(book, *liquidation_range(exchange.account, exchange.books, 0, worst=True))
    assert is_safe(exchange.account, exchange.books)
    # 92 * 0.9998 = 91.9816; loss 80.184, fee 919.816 * 0.05 %
    assert exchange.account.wallet == pytest.approx(110 - 80.184 - 0.459908)


@pytest.mark.parametrize(("open_", "safe"), [(90.0, True), (89.8, False)])
def test_open_is_safe_above_the_liquidation_price(make_exchange, open_, safe):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, open_, 95, 85, 90)
    exchange.book.state.fresh = 1
    assert is_safe_at_open(exchange.account, exchange.books) is safe


def test_symbol_without_a_new_bar_opens_at_its_last_close(make_exchange):
    exchange = make_exchange(start=110.0)
    hold(exchange.book, LONG, 10.0, 100.0)
    exchange.show(exchange.book, 80, 95, 79, 95)
    assert is_safe_at_open(exchange.account, exchange.books)


# --- laws

TABLES = (
    (Bracket(0.0, 1e12, 0.01, 0.0),),
    (Bracket(0, 1_000, 0.01, 0), Bracket(1_000, 2_000, 0.1, 90), Bracket(2_000, 1e12, 0.9, 1_690)),
)
legs = st.tuples(st.floats(0.0, 50.0) | st.just(0.0), st.floats(80.0, 120.0))


@st.composite
def bars(draw):
    open_, close, one, other = (draw(st.floats(60.0, 150.0)) for _ in range(4))
    return open_, max(open_, close, one, other), min(open_, close, one, other), close


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(TABLES), st.floats(1.0, 5_000.0), st.lists(st.tuples(legs, legs, bars()), min_size=1, max_size=3)
)
def test_liquidation_is_due_as_the_margins_say_and_leaves_a_wallet_that_owes_nothing(
    make_exchange, brackets, wallet, symbols
):
    names = "XYZ"[: len(symbols)]
    exchange = make_exchange(start=wallet, symbols=names, brackets=brackets)
    due = wallet
    for book, (long, short, bar) in zip(exchange.books, symbols, strict=True):
        for side, (qty, entry) in ((LONG, long), (SHORT, short)):
            if qty > 0.01:
                hold(book, side, qty, entry)
        exchange.show(book, *bar)
        at = []
        for price in (bar[1], bar[2]):
            at.append(0.0)
            for side, (qty, entry) in ((1, long), (-1, short)):
                if qty > 0.01:
                    at[-1] += side * (price - entry) * qty - maintenance_margin(qty * price, brackets)
        due += min(at)
    held = any(book.long.tracker.ids or book.short.tracker.ids for book in exchange.books)
    assume(abs(due) > 1e-6)
    assert is_safe(exchange.account, exchange.books) is (due > 0.0 or not held)
    if due > 0.0 or not held:
        return
    nets = [abs(book.long.tracker.qty - book.short.tracker.qty) for book in exchange.books]
    assume(max(nets) > 0.01)  # a perfect hedge has no bankruptcy price
    liquidate(exchange.account, exchange.books, 0.0125)
    assert_flat_and_conserved(exchange)
