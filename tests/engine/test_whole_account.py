"""What all symbols of an account lose together, and which fills go first; by hand."""

import pytest

from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.state import INFINITY, FillColumns, LegState
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.whole_account import begin_margin_call, next_worst, next_worst_of_leg, take_off, unrealized_of

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
#: 1 % up to 1,000; 2.5 % less 15 above.
TWO = (Bracket(0.0, 1_000.0, 0.01, 0.0), Bracket(1_000.0, 1e12, 0.025, 15.0))


@pytest.fixture
def two(make_exchange):
    """X at 95 holds LONG 1 and 2 of 1 and 2 units at 100 and SHORT 3 of 1 at 90; Y at 50 holds SHORT 4 of 2 at 45."""
    exchange = make_exchange(symbols=("X", "Y"), brackets=TWO)
    x, y = exchange.books
    for book, side, qty, price in (
        (x, LONG, 1.0, 100.0),
        (x, LONG, 2.0, 100.0),
        (x, SHORT, 1.0, 90.0),
        (y, SHORT, 2.0, 45.0),
    ):
        exchange.account.open_fill(book.symbol, book.leg(side).tracker, qty, price, 0, 0, 0.01, 0.0, True)
    x.bar.close, y.bar.close = 95.0, 50.0
    return exchange.books


def in_order(books):
    found, pnl, fill_id = [], -INFINITY, 0
    while True:
        pnl, fill_id = next_worst(books, pnl, fill_id)
        if fill_id == 0:
            return found
        found.append((fill_id, pnl))


def test_losses_of_all_symbols_add_up(two):
    # LONG -5 - 10, SHORT -5, the other symbol -10
    assert unrealized_of(two) == -30.0
    assert unrealized_of(two[::-1]) == -30.0


def test_the_worst_fill_loses_most_in_quote_and_of_equals_the_lower_id_is_first(two):
    right = [(2, -10.0), (4, -10.0), (1, -5.0), (3, -5.0)]
    assert in_order(two) == right
    assert in_order(two[::-1]) == right


def test_a_symbol_without_a_bar_has_no_fill_to_close_but_loses_all_the_same(two):
    two[0].state.has_bar = 0
    assert in_order(two) == [(4, -10.0)]
    assert unrealized_of(two) == -30.0


def test_nothing_held_has_no_worst_fill(make_exchange):
    assert in_order(make_exchange().books) == []


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_margin_left_is_that_of_the_brackets_each_leg_then_lies_in(make_exchange, side):
    # four times 500: of 2,000 2.5 % - 15 = 35, of 1,500 22.5, of 1,000 1 % or 2.5 % - 15 = 10, of 500 5
    exchange = make_exchange(brackets=TWO)
    book = exchange.book
    for _ in range(4):
        exchange.account.open_fill(book.symbol, book.leg(side).tracker, 5.0, 100.0, 0, 0, 0.01, 0.0, True)
    book.bar.close = 100.0
    begin_margin_call(exchange.books)
    assert [take_off(exchange.books, fill_id) for fill_id in (0, 1, 2, 3, 4)] == [35.0, 22.5, 10.0, 5.0, 0.0]


def test_a_hedge_binds_the_margin_of_both_legs(two):
    begin_margin_call(two)
    # 285 and 95 of X, 100 of Y at 1 %
    assert take_off(two, 0) == pytest.approx(4.8)
    assert take_off(two, 2) == pytest.approx(2.9)
    assert take_off(two, 4) == pytest.approx(1.9)


def worst_of_leg(sign, close, prices, qtys, ids=(1, 2, 3)):
    none = [0] * len(prices)
    fills = FillColumns([*ids], none, none, qtys, prices, none, none, none, none, none)
    return next_worst_of_leg(LegState(sign=sign, fills=len(prices)), fills, close, -INFINITY, 0)[2]


def test_a_leg_with_no_other_fill_has_no_worst_one(two):
    none = (INFINITY, 0, -1)
    leg, fills = two[0].long.leg, two[0].long.fills
    assert next_worst_of_leg(LegState(), FillColumns(*([] for _ in range(10))), 95.0, -INFINITY, 0) == none
    # of -5 and -10 the last is -5 of fill 1
    assert next_worst_of_leg(leg, fills, 95.0, -10.0, 2) == (-5.0, 1, 0)
    assert next_worst_of_leg(leg, fills, 95.0, -5.0, 1) == none
    assert next_worst(two, INFINITY, 9) == (INFINITY, 0)


def test_the_worst_fill_of_a_leg_is_the_oldest_of_equals():
    prices, qtys = [100.0, 110.0, 90.0], [2.0, 1.0, 2.0]
    assert worst_of_leg(1, 100.0, prices, qtys) == 1
    assert worst_of_leg(-1, 100.0, prices, qtys) == 2
    assert worst_of_leg(1, 100.0, [101.0, 101.0], [1.0, 1.0]) == 0


@pytest.mark.parametrize(("prices", "worst"), [([101.0, 101.0, 101.0], 1), ([102.0, 101.0, 101.0], 0)])
def test_the_lower_id_decides_between_equals_in_whatever_order_they_are_kept(prices, worst):
    assert worst_of_leg(1, 100.0, prices, [1.0, 1.0, 1.0], ids=(3, 1, 2)) == worst
