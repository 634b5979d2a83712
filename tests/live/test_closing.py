"""A leg that a person closes: how much of each fill stays, where exits rest, and what is ordered once."""

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs
from gridv4_bt.engine.market import load_market
from gridv4_bt.live.closing import Closing, exit_at, what_stays

FILLS = {7: 0.010, 8: 0.020, 9: 0.005}  # 0.035 in all, oldest first


@pytest.mark.parametrize(
    ("share", "whole", "stays"),
    [
        (1.0, False, None),
        (0.5, False, {7: 0.0, 8: 0.013, 9: 0.005}),  # 0.0175 is 0.017 in lots: 0.010 and 0.007
        (0.1, False, {7: 0.007, 8: 0.020, 9: 0.005}),
        (0.02, False, {7: 0.010, 8: 0.020, 9: 0.005}),  # 0.0007 is no lot
        (0.5, True, {7: 0.0, 8: 0.020, 9: 0.005}),  # the next fill does not go into the rest whole
        (0.9, True, {7: 0.0, 8: 0.0, 9: 0.005}),
        (0.1, True, {7: 0.010, 8: 0.020, 9: 0.005}),
    ],
)
def test_a_share_closes_lots_of_the_oldest_fills(share, whole, stays):
    assert what_stays(FILLS, share, 0.001, 0.001, whole=whole) == stays


def test_a_share_of_nothing_is_nothing():
    assert what_stays({}, 0.5, 0.001, 0.001, whole=False) == {}


@pytest.mark.parametrize(
    ("sign", "limit", "price"),
    [
        (1, 105.0, 105.0),
        (1, 105.03, 105.1),  # on the tick, not below what was asked for
        (1, 99.0, 100.1),  # the close has passed it: a tick beyond, where it takes nothing
        (1, 0.0, 100.1),
        (-1, 95.0, 95.0),
        (-1, 95.07, 95.0),
        (-1, 101.0, 99.9),
        (-1, 0.0, 99.9),
    ],
)
def test_an_exit_rests_at_the_limit_or_a_tick_beyond_the_close(sign, limit, price):
    assert exit_at(sign, limit, 100.0, 0.1) == pytest.approx(price)


@pytest.fixture
def book():
    book = Book(load_market("BTCUSDT"), Account(10_000.0), Costs(0.0, 0.0, 0.0))
    book.bar = Bar(900_000, close=100.0)
    for qty in (0.010, 0.020):
        book.account.open_fill("BTCUSDT", book.long.tracker, qty, 100.0, 0, 0, 0.01, 0.0, True)
    return book


def ordered(book):
    return [(close.fill_id, close.qty, str(close.label)) for close in book.long.closes]


def test_what_goes_is_ordered_once_however_often_it_is_looked_at(book):
    closing = Closing("a-command", "", {1: 0.0, 2: 0.015})
    for _ in range(3):
        closing.close(book, book.long)
    assert ordered(book) == [(1, 0.010, "manual"), (2, pytest.approx(0.005), "manual")]
    assert not closing.is_done(book.long)


def test_what_was_closed_before_a_restart_is_not_closed_again(book):
    closing = Closing("a-command", "", {1: 0.005, 2: 0.020})
    book.long.tracker.close(0, 0.005)  # booked by the process before
    closing.close(book, book.long)
    assert ordered(book) == [] and closing.is_done(book.long)


def test_what_a_rule_closes_meanwhile_counts(book):
    closing = Closing("a-command", "", {1: 0.004, 2: 0.020})
    closing.close(book, book.long)
    book.long.tracker.close(0, 0.008)
    assert closing.is_done(book.long)


def test_a_whole_leg_takes_fills_along_that_come_later(book):
    closing = Closing("a-command", "")
    closing.close(book, book.long)
    book.account.open_fill("BTCUSDT", book.long.tracker, 0.003, 100.0, 0, 0, 0.01, 0.0, True)
    closing.close(book, book.long)
    assert [fill for fill, *_ in ordered(book)] == [1, 2, 3]


def test_exits_at_a_limit_are_those_of_the_fills_that_go(book):
    book.long.exits = {1: 101.0, 2: 101.0}
    closing = Closing("a-command", "", {1: 0.0, 2: 0.020}, limit=103.0)
    closing.rest_exits(book, book.long, 103.0)
    assert book.long.exits == {1: 103.0, 2: 101.0}
    closing.release_exits(book, book.long)
    assert book.long.exits == {2: 101.0}


def test_it_comes_back_from_the_state_as_it_was():
    for closing in (Closing("a", "2026", {7: 0.5}, 3.0), Closing("b", "2026")):
        assert Closing.from_json(closing.to_json()) == closing
