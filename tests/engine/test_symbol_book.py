"""One symbol bar after bar: its rules by date, its funding, its mark and the parts of its bars."""

import math
from dataclasses import replace

import pytest
from scripted import TEST

from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Costs
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.symbol_book import SymbolBook
from gridv4_bt.engine.types import PositionSide

HOUR = 3_600_000
NAN = math.nan
#: A leg may hold 1,000 at a leverage of 50 and 5,000 at one of 10.
TIERS = (Bracket(0.0, 1_000.0, 0.01, 0.0), Bracket(1_000.0, 5_000.0, 0.02, 10.0))
TIERED = replace(TEST, brackets=TIERS, max_leverages=(50.0, 10.0))


class Shown(SymbolBook):
    """A book whose mark price at the open is given."""

    mark = NAN

    def mark_at_open(self):
        return self.mark


class Finer:
    """Finer candles that are the same for every bar."""

    def __init__(self, parts, has_mark=False):
        self.parts, self.has_mark = parts, has_mark

    def inside(self, time_ms):
        return self.parts


def make(intrabar="pessimistic", leverage=10.0, has_funding=True, detail=None, history=((0, TEST),), time_ms=0):
    costs = Costs(0.0, 0.0, 0.0)
    return Shown(
        MarketHistory(history), Account(1_000.0), costs, 8.0, intrabar, leverage,
        has_funding=has_funding, detail=detail, time_ms=time_ms,
    )  # fmt: skip


def hold(book, side, qty):
    book.account.open_fill("TEST", book.leg(side).tracker, qty, 100.0, 0, 0, 0.01, 0.0, True)


def take(book, time_ms=HOUR, rate=NAN):
    book.take_bar(time_ms, 100.0, 110.0, 90.0, 105.0, 7.0, rate)


def test_no_settlement_is_known_at_the_start():
    book = make()
    assert book.settlements == 0
    assert math.isnan(book.funding_rate)


def test_a_bar_without_a_mark_of_its_own_has_that_of_its_trades():
    book = make()
    take(book)
    assert book.bar == Bar(HOUR, 100.0, 110.0, 90.0, 105.0, 7.0, mark_low=90.0, mark_high=110.0, mark_close=105.0)


@pytest.mark.parametrize(
    ("low", "high", "known"), [(95.0, 108.0, (95.0, 108.0)), (NAN, 108.0, (90.0, 110.0)), (95.0, NAN, (90.0, 110.0))]
)
def test_a_mark_replaces_the_extremes_and_a_gap_in_it_does_not(low, high, known):
    book = make()
    take(book)
    book.take_mark(low, high)
    assert (book.bar.mark_low, book.bar.mark_high) == known


def test_a_settlement_is_charged_at_the_open_or_at_the_mark():
    book = make()
    hold(book, PositionSide.LONG, 2.0)
    take(book, rate=0.001)
    # 2 * 100 * 0.1 %
    assert book.account.funding == pytest.approx(0.2)
    book.mark = 110.0
    take(book, 2 * HOUR, rate=0.001)
    assert book.account.funding == pytest.approx(0.2 + 0.22)
    assert (book.settlements, book.funding_rate) == (2, 0.001)


def test_a_short_receives_what_a_long_pays():
    book = make()
    hold(book, PositionSide.SHORT, 2.0)
    take(book, rate=0.001)
    assert book.account.wallet == pytest.approx(1_000.2)


def test_a_bar_without_a_rate_settles_nothing():
    book = make()
    take(book, rate=0.001)
    take(book, 2 * HOUR)
    assert (book.settlements, book.funding_rate) == (1, 0.001)


def test_funding_is_synthetic_where_the_data_has_none():
    book = make(has_funding=False)
    for hour in (7, 8):
        take(book, hour * HOUR, rate=0.5)
    # 08:00 is a time of settlement; the close has not moved, so it is the interest alone.
    assert (book.settlements, book.funding_rate) == (1, pytest.approx(0.0001))


@pytest.mark.parametrize(("leverage", "most"), [(50.0, 1_000.0), (10.0, 5_000.0), (51.0, 0.0)])
def test_the_leverage_decides_how_large_a_leg_may_grow(leverage, most):
    assert make(leverage=leverage, history=((0, TIERED),)).max_notional == most


def test_rules_are_those_of_their_time():
    history = ((0, TEST), (2 * HOUR, TIERED))
    assert make(history=history, time_ms=2 * HOUR).market is TIERED
    book = make(history=history)
    take(book, 2 * HOUR - 1)
    assert (book.market, book.max_notional) == (TEST, 1e12)
    take(book, 2 * HOUR)
    assert (book.market, book.max_notional, book.brackets) == (TIERED, 5_000.0, TIERS)


def test_a_book_begins_with_the_first_rules():
    costs = Costs(0.0, 0.0, 0.0)
    history = MarketHistory(((0, TEST), (1, TIERED)))
    assert Shown(history, Account(1.0), costs, 8.0, "pessimistic", 1.0, has_funding=True).market is TEST


def test_rules_that_changed_in_a_gap_of_the_bars_are_obeyed_after_it():
    book = make(history=((0, TEST), (2 * HOUR, TIERED), (4 * HOUR, TEST)))
    take(book, HOUR)
    take(book, 3 * HOUR)
    assert book.market is TIERED
    take(book, 5 * HOUR)
    assert book.market is TEST


def test_rules_may_change_at_once_and_for_good():
    book = make(history=((0, TEST), (3 * HOUR, TEST)))
    take(book)
    book.rules_changed(TIERED)
    assert (book.market, book.max_notional) == (TIERED, 5_000.0)
    take(book, 3 * HOUR)
    assert book.market is TIERED


def test_a_pessimistic_bar_has_no_parts():
    book = make()
    take(book)
    assert book.parts() == [book.bar]


def test_a_path_has_three_parts():
    book = make("path")
    take(book)
    assert [(part.open, part.close) for part in book.parts()] == [(100.0, 90.0), (90.0, 110.0), (110.0, 105.0)]


def finer(low=90.0):
    """Two candles that make up the bar of `take`, with marks that leave its range."""
    return [
        Bar(HOUR, 100.0, 104.0, low, 95.0, 3.0, 80.0, 104.0, 95.0),
        Bar(HOUR + 1, 95.0, 110.0, 95.0, 105.0, 4.0, 95.0, 120.0, 105.0),
    ]


@pytest.mark.parametrize("has_mark", [False, True])
def test_details_are_matched_within_the_mark_of_their_bar(has_mark):
    book = make("detail", detail=Finer(finer(), has_mark))
    take(book)
    book.take_mark(92.0, 108.0)
    parts = book.parts()
    assert [(part.mark_low, part.mark_high) for part in parts] == [(92.0, 104.0), (95.0, 108.0)]
    assert [part.time for part in parts] == [HOUR, HOUR + 1]


def test_details_with_a_mark_of_their_own_keep_it():
    parts = finer()
    parts[0].mark_low, parts[1].mark_high = 93.0, 107.0
    book = make("detail", detail=Finer(parts, has_mark=True))
    take(book)
    assert [(part.mark_low, part.mark_high) for part in book.parts()] == [(93.0, 104.0), (95.0, 107.0)]


@pytest.mark.parametrize("parts", [[], finer(low=90.5)])
def test_details_that_do_not_make_up_the_bar_are_not_used(parts):
    book = make("detail", detail=Finer(parts))
    take(book)
    assert book.parts() == [book.bar]


def test_details_are_used_by_their_own_mode_alone():
    book = make("pessimistic", detail=Finer(finer()))
    take(book)
    assert book.parts() == [book.bar]
    book = make("detail")
    take(book)
    assert book.parts() == [book.bar]


def test_a_book_is_matched_against_a_part_and_then_against_the_whole_again():
    book = make()
    take(book)
    whole, part = book.bar, Bar(HOUR, 1.0, 1.0, 1.0, 1.0, 1.0)
    book.stand_at(part)
    assert book.bar is part
    book.stand_at(None)
    assert book.bar is whole
