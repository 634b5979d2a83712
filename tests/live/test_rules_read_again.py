"""Filters, brackets, leverage and modes are read again daily, and when an answer contradicts them."""

from dataclasses import replace

import pytest
from live_market import InProcess, events

from feeds.synthetic import SYMBOL
from gridv4_bt.errors import LiveError
from gridv4_bt.exchange.faults import Fault, Faults

ACROSS_MIDNIGHT = {"bars": 24, "first": 4_600}  # the sixth decision is the first of a day


def changed_market(scene):
    """Change the exchange's filters and brackets as it may any day."""
    book = scene.exchange.books[SYMBOL]
    stricter = [row._replace(rate=row.rate * 1.5, amount=row.amount * 1.5) for row in book.market.brackets]
    book.rules_changed(replace(book.market, brackets=tuple(stricter)))
    return book.market


def test_once_a_day_and_the_books_follow(market):
    """Before: the brackets of the start were used for months."""
    scene = market(**ACROSS_MIDNIGHT)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        before = session.reconciler.executor.markets[SYMBOL]
        changed = server.call(lambda: changed_market(scene))
        server.call(lambda: scene.exchange.set_leverage(SYMBOL, 3))
        session.run()
        assert len(events(scene, "rules_read")) == 1
        assert session.reconciler.executor.markets[SYMBOL].brackets == changed.brackets != before.brackets
        assert session.broker.books[0].market.brackets == changed.brackets
    [alert] = [text for text in scene.alerts if "rules changed" in text]
    assert f"the filters or brackets of {SYMBOL} have changed" in alert
    assert f"{SYMBOL} has leverage 3, not {scene.config.leverage:g}; it is set back" in alert
    assert scene.exchange.books[SYMBOL].leverage == scene.config.leverage


def test_after_a_refusal_that_contradicts_them(market):
    paths = ("POST /fapi/v1/batchOrders", "POST /fapi/v1/order")  # an order refused in a batch is sent again alone
    scene = market(bars=6, first=4_640, faults=[{"kind": "error", "code": -2027, "on": on, "times": 1} for on in paths])
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        server.call(lambda: changed_market(scene))
        session.run()
    assert [event["changed"] for event in events(scene, "rules_read")] == [True]
    assert any("rules changed" in text for text in scene.alerts)


def test_without_an_answer_it_is_tried_again_at_the_next_candle(market):
    scene = market(**ACROSS_MIDNIGHT)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        scene.api.faults = Faults([Fault(kind="gateway", on="/fapi/v1/leverageBracket", times=7)])
        session.run()
    assert len(events(scene, "rules_read")) == 1
    assert any("rules unread" in text for text in scene.alerts)


def test_a_position_mode_that_was_changed_needs_a_person(market):
    scene = market(**ACROSS_MIDNIGHT)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        session.reconciler.executor.is_hedged = lambda: False
        with pytest.raises(LiveError, match="position mode was changed"):
            session.run()
