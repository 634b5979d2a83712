"""What positions and opening orders bind, and what may still be opened."""

import pytest
from scripted import TEST

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Costs, Entry
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.margin import add_maintenance, capacity, free_margin, opening_limit, position_notional, revalue


@pytest.fixture
def book():
    """2 LONG and 3 SHORT at 100."""
    made = Book(TEST, Account(10_000.0), Costs(0.0, 0.0, 0.0))
    for leg, qty in ((made.long, 2.0), (made.short, 3.0)):
        made.account.open_fill(made.symbol, leg.tracker, qty, 100.0, 0, 0, 0.0, 0.0, maker=True)
    return made


def test_both_legs_bind_margin_and_do_not_offset_each_other(book):
    assert position_notional(book, 110.0) == 5.0 * 110.0


def test_maintenance_is_that_of_each_leg_by_itself(book):
    rate = TEST.brackets[0].rate
    assert add_maintenance(7.0, book, 110.0) == pytest.approx(7.0 + rate * 220.0 + rate * 330.0)


def test_capacity_is_what_position_entries_and_orders_leave(book):
    book.long.place(-1, Entry(90.0, 1.0, 0.01))
    book.long.leg.ordered = 50.0
    # 1,000 - 2*110 held - 90 resting - 50 ordered
    assert capacity(1_000.0, book.long.leg, 110.0) == 640.0


def test_entries_and_single_orders_of_both_legs_bind_margin(book):
    account = book.account
    book.bar.close = 100.0
    revalue(account, [book])
    before = free_margin(account, [book], 5.0)
    book.long.place(-1, Entry(90.0, 1.0, 0.01))
    book.short.place(1, Entry(110.0, 2.0, 0.01))
    book.long.leg.ordered, book.short.leg.ordered = 50.0, 30.0
    # 90 and 220 resting, 50 and 30 ordered, at leverage 5
    assert before - free_margin(account, [book], 5.0) == pytest.approx(390.0 / 5.0)


@pytest.mark.parametrize(
    ("notional", "limit"), [(100.0, Blocked.PLACED), (100.1, Blocked.MARGIN), (200.1, Blocked.MAX_POSITION)]
)
def test_an_order_may_use_all_of_both_limits_and_no_more(notional, limit):
    assert opening_limit(notional, capacity=200.0, free_margin=20.0, leverage=5.0) == limit


def test_an_order_that_fills_the_capacity_exactly_is_within_it():
    assert opening_limit(200.0, capacity=200.0, free_margin=100.0, leverage=5.0) == Blocked.PLACED
