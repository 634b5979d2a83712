"""Orders through the real ccxt client at the local exchange: as few requests as it takes, and each one answered."""

import json

from live_market import InProcess

from feeds.synthetic import SYMBOL
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange import exchange as exchange_module
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import classify_refusal
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.own_orders import Order, OrderStatus


def entries(prices, qty=0.01):
    keys = [OrderKey(SYMBOL, PositionSide.LONG, Purpose.ENTRY, level) for level in range(1, len(prices) + 1)]
    return [Order(make_id("g4", key, key.ref), key, qty, price) for key, price in zip(keys, prices, strict=True)]


def two(executor):
    last = executor.last_price(SYMBOL)
    return entries([round(last * 0.9, 1), round(last * 0.8, 1)])


def two_open(executor):
    orders = two(executor)
    assert list(executor.place_all(orders)) == []
    return orders


def test_a_refusal_inside_a_batch_is_an_answer_and_not_sent_again(market, monkeypatch):
    monkeypatch.setattr(exchange_module, "MAX_OPEN_ORDERS", 6)
    scene = market(bars=4)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        last = executor.last_price(SYMBOL)
        orders = entries([round(last * (1.0 - 0.01 * level), 1) for level in range(1, 9)])
        before = session.connection.calls
        failed = list(executor.place_all(orders))
        assert session.connection.calls - before == 2
    assert [(order.key.ref, failure.reaction, failure.code) for order, failure in failed] == [
        (7, Reaction.FEWER_ORDERS, -2025),
        (8, Reaction.FEWER_ORDERS, -2025),
    ]
    assert [order.status for order in orders] == [OrderStatus.OPEN] * 6 + [OrderStatus.DONE] * 2


def test_orders_are_taken_back_ten_at_a_time_and_one_that_is_gone_is_asked_for(market):
    scene = market(bars=4)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        last = executor.last_price(SYMBOL)
        orders = entries([round(last * (1.0 - 0.01 * level), 1) for level in range(1, 5)])
        assert list(executor.place_all(orders)) == []
        server.call(lambda: scene.exchange.cancel_all(SYMBOL) or [])
        more = entries([round(last * (1.0 - 0.02 * level), 1) for level in range(1, 13)])
        for order in more:
            order.id += "x"
        assert list(executor.place_all(more)) == []
        before = session.connection.calls
        executor.cancel_all([orders[0], *more])
        # 13 orders: two batches, and for the one that is gone a cancel of its own and the question what became of it
        assert session.connection.calls - before == 4
        assert scene.exchange.order_records.open_orders() == []
    assert {order.status for order in (orders[0], *more)} == {OrderStatus.DONE}
    assert {order.executed for order in more} == {0.0}


def test_orders_of_an_unanswered_batch_of_cancels_are_unknown(market):
    scene = market(bars=4, faults=[{"kind": "gateway", "on": "DELETE /fapi/v1/batchOrders", "times": 0}])
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        orders = two_open(executor)
        executor.cancel_all(orders)
        assert [order.status for order in orders] == [OrderStatus.UNKNOWN] * 2
        executor.cancel_all(orders[:1])  # alone it takes another way
        assert [order.status for order in orders] == [OrderStatus.DONE, OrderStatus.UNKNOWN]


def test_a_refusal_of_a_batch_says_what_it_means():
    failure = classify_refusal({"code": -2019, "msg": "Margin is insufficient."})
    assert (failure.reaction, failure.code, failure.text) == (Reaction.STOP_ADDING, -2019, "Margin is insufficient.")
    assert classify_refusal({"code": "-99999"}).reaction is Reaction.SKIP


def test_an_unknown_outcome_inside_a_batch_is_asked_for_and_not_sent_again(market):
    scene = market(bars=4)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        orders = two(executor)
        serve, sent = scene.api.serve, []

        def unknown(request, skew=0):
            reply = serve(request, skew)
            if request.method == "POST" and "rder" in request.path:
                sent.append(request.path)
            if request.method == "POST" and request.path.endswith("batchOrders"):
                scene.exchange.cancel(scene.exchange.order_records.open_orders()[-1])  # it is gone when it is asked for
                rows = json.loads(reply.body)
                reply.body = json.dumps([rows[0], {"code": -1007, "msg": "Timeout waiting for response."}]).encode()
            return reply

        scene.api.serve = unknown
        assert list(executor.place_all(orders)) == []
        assert sent == ["/fapi/v1/batchOrders"]
        assert [order.status for order in orders] == [OrderStatus.OPEN, OrderStatus.DONE]
        assert len(scene.exchange.order_records.open_orders()) == 1


def test_unknown_orders_missing_in_a_batch_of_cancels_are_queried(market):
    scene = market(bars=4)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        orders = two_open(executor)
        scene.api.faults = Faults([Fault(kind="lost_after", on="DELETE /fapi/v1/batchOrders", times=6)])
        executor.cancel_all(orders)
        executor.cancel_all(orders)
        assert [order.status for order in orders] == [OrderStatus.DONE] * 2


def test_a_ban_is_told_and_not_sat_through_with_an_order_in_hand(market):
    scene = market(bars=12)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        executor = session.reconciler.executor
        [order] = entries([round(executor.last_price(SYMBOL) * 0.9, 1)])
        scene.api.faults = Faults([Fault(kind="banned", on="POST /fapi/v1/order", seconds=3600)])
        before = session.clock.now()
        assert executor.place(order).reaction is Reaction.WAIT
        assert session.clock.now() - before < 1_000
    assert order.status is OrderStatus.DONE and scene.exchange.order_records.open_orders() == []
    assert any("silenced" in alert for alert in scene.alerts)
