"""Funding computed for each fill is held against what the exchange has charged."""

import pytest

from feeds.synthetic import SYMBOL
from feeds.tables import FUNDING_JITTER_MS
from gridv4_bt.live.account_queries import Income
from gridv4_bt.live.funding_check import FundingCheck

EIGHT = 8 * 3_600_000


class Answers:
    """An executor that tells the income it is given, from a time on."""

    def __init__(self, *rows) -> None:
        self.rows, self.asked = list(rows), []

    def funding_income(self, since):
        self.asked.append(since)
        return [row for row in self.rows if row.time >= since]


def test_what_agrees_is_asked_for_once():
    answers = Answers(Income("A", EIGHT + 20, -1.5), Income("A", EIGHT + 20, 0.25), Income("B", EIGHT, 9.0))
    check = FundingCheck(answers)
    check.settled("A", EIGHT, 1.25)  # LONG and SHORT have a row each
    assert check.differences() == []
    assert check.differences() == []
    assert answers.asked == [EIGHT - FUNDING_JITTER_MS]


def test_a_difference_counts_when_it_is_seen_twice():
    check = FundingCheck(Answers(Income("A", EIGHT, -1.5)))
    check.settled("A", EIGHT, 1.0)
    check.settled("B", EIGHT, 0.0)
    assert check.differences() == []
    assert check.differences() == [("A", EIGHT, 1.0, 1.5)]
    assert check.differences() == []


def test_a_row_that_comes_late_is_waited_for():
    answers = Answers()
    check = FundingCheck(answers)
    check.settled("A", EIGHT, 1.0)
    assert check.differences() == []
    answers.rows.append(Income("A", EIGHT + 5_000, -1.0))
    assert check.differences() == []
    assert check.to_json() == []


def test_a_payment_never_made_is_given_back():
    check = FundingCheck(Answers())
    check.settled("A", EIGHT, 1.0)
    check.differences()
    assert check.differences() == [("A", EIGHT, 1.0, 0.0)]


def test_open_settlements_survive_the_process():
    answers = Answers(Income("A", EIGHT, -1.0))
    check = FundingCheck(answers)
    check.settled("A", EIGHT, 1.0)
    other = FundingCheck(answers)
    other.load(check.to_json())
    assert other.differences() == [] and other.to_json() == [] and len(answers.asked) == 1


def test_the_books_follow_the_exchanges_income(market):
    """The exchange charges half as much again as the rate says: wallet, totals and every fill's share follow."""
    scene = market(bars=60)
    earn = scene.exchange.ledger.earn

    def dearer(type, amount, *more):
        return earn(type, amount * 1.5 if type == "FUNDING_FEE" else amount, *more)

    scene.exchange.ledger.earn = dearer
    session = scene.live()
    account = session.broker.account
    paid = -sum(one.amount for one in scene.exchange.ledger.incomes if one.type == "FUNDING_FEE")
    assert paid != 0.0
    assert account.funding == pytest.approx(paid, abs=1e-6)
    assert account.start == 10_000.0  # it was not taken for a transfer
    book = session.broker.books[0]
    of_fills = sum(sum(leg.tracker.fundings) for leg in book.legs) + sum(trade.funding for trade in account.closed)
    assert of_fills == pytest.approx(paid, abs=1e-6)
    assert any("funding differs" in alert and SYMBOL in alert for alert in scene.alerts)
