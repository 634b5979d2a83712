"""What is refused is answered as the refusal means."""

import json
from dataclasses import replace

import pytest

from feeds.synthetic import SYMBOL
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange import exchange as exchange_module
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.ids import Purpose, parse_id


def events(scene, kind):
    lines = (scene.folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def standing(scene, purpose):
    names = [(parse_id(order.client_id), order) for order in scene.exchange.registry.open_orders()]
    return [(name, order) for name, order in names if name.purpose is purpose]


def test_filters_that_change_are_read_again_and_obeyed(market):
    scene = market(bars=20)
    with ServerThread(scene.desk) as server:
        with scene.session(server.url, 6) as session:
            session._cerebro.run()
            session.save()
        book = scene.exchange.books[SYMBOL]
        coarser = replace(book.market, tick=50 * book.market.tick)
        before = {order.id for order in scene.exchange.registry.open_orders()}
        with scene.session(server.url, 8) as session:
            server.call(lambda: book.rules_changed(coarser))
            session._cerebro.run()
        refused = [event for event in events(scene, "failure") if event["code"] == -4014]
        assert refused, "an order on the old tick must have been sent"
        assert [event["changed"] for event in events(scene, "rules_read")] == [True]
        assert events(scene, "order_failed") == []
        assert session.broker.books()[0].market.tick == coarser.tick
        fresh = [order for order in scene.exchange.registry.open_orders() if order.id not in before]
        assert fresh
        for order in fresh:
            assert order.price / coarser.tick == pytest.approx(round(order.price / coarser.tick), abs=1e-6)


def test_where_the_exchange_takes_no_more_orders_the_farthest_entries_give_way(market, monkeypatch):
    monkeypatch.setattr(exchange_module, "MAX_OPEN_ORDERS", 6)
    scene = market()
    with ServerThread(scene.desk) as server, scene.session(server.url, 28) as session:
        session._cerebro.run()
    book = scene.exchange.books[SYMBOL]
    fills = sum(len(leg.tracker.ids) for leg in session.broker.books()[0].legs)
    assert fills and any("order refused" in alert for alert in scene.alerts)
    exits = standing(scene, Purpose.EXIT)
    assert sum(order.qty for _, order in exits) == pytest.approx(book.long.tracker.qty + book.short.tracker.qty)
    levels = [name.ref for name, _ in standing(scene, Purpose.ENTRY)]
    assert levels and max(levels) < 4


def test_a_leg_is_closed_in_a_book_too_thin_for_market_orders(market):
    scene = market()
    with ServerThread(scene.desk) as server:
        with scene.session(server.url, 20) as session:
            session.run()
        book = scene.exchange.books[SYMBOL]
        held = [side for side in PositionSide if book.leg(side).tracker.ids]
        assert held
        rule = Fault(kind="error", code=-4131, on="POST /fapi/v1/order", times=1)
        scene.desk.faults = Faults([rule])
        with scene.session(server.url) as session:
            session.flatten()
        assert not book.long.tracker.ids and not book.short.tracker.ids
        assert [event["price"] > 0.0 for event in events(scene, "order") if event.get("label") == "manual"] == [
            True, *[False] * (len(held) - 1)
        ]  # fmt: skip
