from types import SimpleNamespace

import pytest
from both_legs import fill_entries, fill_exits, fill_market_orders, fill_stops

from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Costs
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import is_idle

MAKER, TAKER, SLIPPAGE = 0.0002, 0.0005, 0.0002
FLAT = (Bracket(0.0, 1e12, 0.01, 0.0),)


@pytest.fixture
def exchange():
    """An account of 10,000 with the book of one symbol."""
    return new_exchange()


@pytest.fixture(scope="session")
def make_exchange():
    """Make an account with the books of several symbols, a fill rule, costs or brackets."""
    return new_exchange


def new_exchange(start=10_000.0, fill_rule="touch", symbols=("X",), costs=None, brackets=FLAT):
    account = Account(start)
    costs = costs or Costs(MAKER, TAKER, SLIPPAGE, fill_rule == "through")
    leverages = (50.0,) * len(brackets)
    books = []
    for symbol in symbols:
        market = Market(symbol, 0.01, 0.001, 0.001, 5.0, brackets, leverages, "test")
        books.append(Book(market, account, costs))
    return SimpleNamespace(account=account, books=books, book=books[0], show=show, match=match)


def show(book, open_, high, low, close, volume=1.0):
    """Give a book its next 15-minute bar."""
    bar = book.bar
    bar.time += 900_000
    bar.open, bar.high, bar.low, bar.close, bar.volume = map(float, (open_, high, low, close, volume))
    bar.mark_low, bar.mark_high, bar.mark_close = bar.low, bar.high, bar.close
    book.orders_changed()


def match(book):
    """The phases of a single symbol as the broker walks through them, without liquidation."""
    if is_idle(book):
        return
    fill_market_orders(book)
    fill_entries(book)
    fill_stops(book)
    fill_exits(book)
    book.orders_changed()
