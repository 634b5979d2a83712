"""What is refused is answered as the refusal means."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from live_market import InProcess, events, run_until_killed

from feeds.synthetic import SYMBOL
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs, Entry, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import LiveError
from gridv4_bt.exchange import exchange as exchange_module
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.messages import error_response
from gridv4_bt.live.account_queries import Position
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure
from gridv4_bt.live.ids import OrderKey, Purpose, parse_id
from gridv4_bt.live.order_diff import Unbooked
from gridv4_bt.live.order_sync import OrderSync
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus


def open_for(scene, purpose):
    names = [(parse_id(order.client_id), order) for order in scene.exchange.order_records.open_orders()]
    return [(name, order) for name, order in names if name.purpose is purpose]


def test_filters_that_change_are_read_again_and_obeyed(market):
    scene = market(bars=20)
    with InProcess(scene.api) as server:
        with scene.session(server.url, 6) as session:
            run_until_killed(session)
            session.save()
        book = scene.exchange.books[SYMBOL]
        coarser = replace(book.market, tick=50 * book.market.tick)
        before = {order.id for order in scene.exchange.order_records.open_orders()}
        with scene.session(server.url, 8) as session:
            server.call(lambda: book.rules_changed(coarser))
            run_until_killed(session)
        refused = [event for event in events(scene, "failure") if event["code"] == -4014]
        assert refused, "an order on the old tick must have been sent"
        assert [event["changed"] for event in events(scene, "rules_read")] == [True]
        assert events(scene, "order_failed") == []
        assert session.broker.books[0].market.tick == coarser.tick
        fresh = [order for order in scene.exchange.order_records.open_orders() if order.id not in before]
        assert fresh
        for order in fresh:
            assert order.price / coarser.tick == pytest.approx(round(order.price / coarser.tick), abs=1e-6)


def test_where_the_exchange_takes_no_more_orders_the_farthest_entries_give_way(market, monkeypatch):
    monkeypatch.setattr(exchange_module, "MAX_OPEN_ORDERS", 6)
    scene = market()
    with InProcess(scene.api) as server, scene.session(server.url, 28) as session:
        run_until_killed(session)
    book = scene.exchange.books[SYMBOL]
    fills = sum(len(leg.tracker.ids) for leg in session.broker.books[0].legs)
    assert fills and any("order refused" in alert for alert in scene.alerts)
    exits = open_for(scene, Purpose.EXIT)
    assert sum(order.qty for _, order in exits) == pytest.approx(book.long.tracker.qty + book.short.tracker.qty)
    levels = [name.ref for name, _ in open_for(scene, Purpose.ENTRY)]
    assert levels and max(levels) < 4


def test_a_leg_is_closed_in_a_book_too_thin_for_market_orders(market):
    scene = market()
    with InProcess(scene.api) as server:
        with scene.session(server.url, 20) as session:
            session.run()
        book = scene.exchange.books[SYMBOL]
        held = [side for side in PositionSide if book.leg(side).tracker.ids]
        assert held
        rule = Fault(kind="error", code=-4131, on="POST /fapi/v1/order", times=1)
        scene.api.faults = Faults([rule])
        with scene.session(server.url) as session:
            session.flatten()
        assert not book.long.tracker.ids and not book.short.tracker.ids
        assert [event["price"] > 0.0 for event in events(scene, "order") if event.get("label") == "manual"] == [
            True,
            *[False] * (len(held) - 1),
        ]


def flattened_against(market, answer):
    """Hold something, flatten it at an exchange of which `answer(request, serve)` answers; return scene and error."""
    scene = market()
    with InProcess(scene.api) as server:
        with scene.session(server.url, 20) as session:
            session.run()
        serve = scene.api.serve
        scene.api.serve = lambda request, skew=0: answer(scene, request, lambda: serve(request, skew))
        with scene.session(server.url) as session, pytest.raises(LiveError) as failed:
            session.flatten()
        scene.api.serve = serve
    return scene, str(failed.value)


def is_close(request):
    return request.method == "POST" and request.path == "/fapi/v1/order" and "type=MARKET" in request.body


def check_protected(scene):
    held = [leg for leg in map(scene.exchange.books[SYMBOL].leg, PositionSide) if leg.tracker.ids]
    assert held
    assert all(leg.stop is not None for leg in held)


def test_a_leg_whose_close_is_refused_keeps_its_stop(market):
    def answer(scene, request, serve):
        return error_response(ApiError(-4164, text="too small")) if is_close(request) else serve()

    scene, text = flattened_against(market, answer)
    assert "-4164" in text
    check_protected(scene)


def test_a_leg_that_was_closed_in_part_only_is_not_said_to_be_flat(market):
    def answer(scene, request, serve):
        if is_close(request):  # an entry is filled just before
            side = request.params.values["positionSide"]
            scene.exchange.trade_by_hand(SYMBOL, "BUY" if side == "LONG" else "SELL", side, 0.01)
        return serve()

    scene, text = flattened_against(market, answer)
    assert "still holds" in text
    check_protected(scene)


class InstantExecutor:
    """An executor whose orders are all accepted and whose cancels all succeed.

    `held` and `second` are the quantity of every leg by the positions and by the account.
    """

    held = second = 0.0

    def positions(self, symbol):
        return {side: Position(self.held, 100.0, 0.0) for side in PositionSide}

    def quantities(self):
        return {(SYMBOL, side): self.second for side in PositionSide}

    def place_all(self, orders):
        for order in orders:
            order.status = OrderStatus.OPEN
        return []

    def place(self, order):
        order.status = OrderStatus.OPEN

    def refresh(self, order):
        pass

    def cancel_all(self, orders):
        for order in orders:
            order.status, order.executed = OrderStatus.DONE, order.filled


@pytest.fixture
def leg():
    """A LONG leg of two fills whose stop is open."""
    book = Book(load_market(SYMBOL), Account(10_000.0), Costs(0.0, 0.0, 0.0))
    book.bar = Bar(900_000)
    for qty in (0.01, 0.004):
        book.account.open_fill(SYMBOL, book.long.tracker, qty, 100.0, 0, 0, 0.01, 0.0, True)
    book.long.stop = 90.0
    scene = SimpleNamespace(book=book, leg=book.long, orders=OrderRegistry(), executor=InstantExecutor())
    journal = SimpleNamespace(write=lambda records: None)
    scene.order_sync = OrderSync(scene.executor, journal, "g4", scene.orders, lambda kind, **fields: None)
    scene.carry_out = lambda *executions: scene.order_sync.carry_out(book, Unbooked(list(executions), SYMBOL))
    scene.carry_out()
    [scene.stop] = scene.orders.of(SYMBOL, PositionSide.LONG, Purpose.STOP)
    return scene


def test_a_close_of_which_some_trades_are_late_does_not_take_the_stop_of_what_is_left(leg):
    leg.leg.closes.append(MarketClose(1, 0.01, TradeLabel.OLDEST))
    leg.carry_out()
    [close] = leg.orders.of(SYMBOL, PositionSide.LONG, Purpose.CLOSE)
    close.status, close.executed, close.filled = OrderStatus.DONE, 0.01, 0.006
    leg.leg.tracker.close(0, 0.006)  # 0.004 of it are booked later; the fill of 0.004 stays
    leg.carry_out()
    assert leg.stop.status is OrderStatus.OPEN


def test_what_an_exit_took_before_is_not_taken_from_a_close_again(leg):
    leg.leg.exits[1] = 101.0
    leg.carry_out()
    [exit_] = leg.orders.of(SYMBOL, PositionSide.LONG, Purpose.EXIT)
    exit_.filled = 0.003
    leg.leg.tracker.close(0, 0.003)
    leg.leg.closes.append(MarketClose(1, 0.007, TradeLabel.OLDEST))
    taken = leg.executor.cancel_all

    def fills_meanwhile(orders):
        taken(orders)
        if exit_ in orders:
            exit_.executed = 0.005

    leg.executor.cancel_all = fills_meanwhile
    leg.carry_out()
    [close] = leg.orders.of(SYMBOL, PositionSide.LONG, Purpose.CLOSE)
    assert close.qty == pytest.approx(0.005)


def test_a_stop_stays_where_the_leg_was_opened_again_after_the_candle(leg):
    opened = Execution(1, None, SYMBOL, PositionSide.LONG, True, 0.01, 100.0, 0.0, True, 900_001)
    for _ in range(2):
        leg.leg.tracker.close(0, leg.leg.tracker.qtys[0])
    leg.leg.stop = None
    leg.carry_out(opened)
    assert leg.stop.status is OrderStatus.OPEN
    leg.carry_out()
    assert leg.stop.status is OrderStatus.DONE


def test_a_bridge_that_a_killed_process_has_left_makes_room_for_the_new_one(leg):
    """The exchange allows one stop for a whole leg, so another bridges the time between the old one and the new one."""
    old = Order("g4.X.SL1.9", OrderKey(SYMBOL, PositionSide.LONG, Purpose.STOP, 1), 0.014, 91.0)
    old.status = OrderStatus.OPEN
    leg.orders.add(old)
    placed = leg.executor.place

    def allows_one(order):
        others = [one for one in leg.orders.of(SYMBOL, PositionSide.LONG, Purpose.STOP) if one is not order]
        open_now = [one for one in others if one.status is OrderStatus.OPEN]
        assert not any(one.key == order.key and math.isfinite(one.qty) for one in open_now)
        if math.isinf(order.qty) and any(math.isinf(one.qty) for one in open_now):
            order.status, order.executed = OrderStatus.DONE, 0.0
            return Failure(Reaction.SKIP, -4130, "one is open")
        return placed(order)

    leg.executor.place = allows_one
    leg.leg.stop = 92.0
    leg.carry_out()
    stops = leg.orders.of(SYMBOL, PositionSide.LONG, Purpose.STOP)
    assert [(one.price, one.qty) for one in stops if one.status is OrderStatus.OPEN] == [(92.0, float("inf"))]
    assert (old.status, leg.stop.status) == (OrderStatus.DONE, OrderStatus.DONE)


@pytest.mark.parametrize(("held", "second"), [(0.014, 0.0), (0.0, 0.014), (0.014, 0.014)])
def test_no_stop_is_cancelled_while_positions_or_account_show_a_quantity(leg, held, second):
    """Late trades: by the books the leg is flat, at the exchange it is not."""
    leg.executor.held, leg.executor.second = held, second
    for _ in range(2):
        leg.leg.tracker.close(0, leg.leg.tracker.qtys[0])
    leg.leg.stop = None
    leg.carry_out()
    assert leg.stop.status is OrderStatus.OPEN
    leg.executor.held = leg.executor.second = 0.0
    leg.carry_out()
    assert leg.stop.status is OrderStatus.DONE


class RefusingExecutor(InstantExecutor):
    """An executor that refuses what a set of purposes names."""

    def __init__(self, *purposes):
        self.purposes = purposes

    def place_all(self, orders):
        for order in orders:
            failure = self.place(order)
            if failure is not None:
                yield order, failure

    def place(self, order):
        if order.key.purpose in self.purposes:
            order.status, order.executed = OrderStatus.DONE, 0.0
            return Failure(Reaction.SKIP, -4016, "limit price can not be higher")
        order.status = OrderStatus.OPEN
        return None


@pytest.fixture
def refused(leg):
    """The LONG leg at an exchange that refuses closes, exits and entries; `alerts` are what a person is told."""
    leg.alerts = []
    leg.order_sync._log = lambda kind, **fields: leg.alerts.append(fields) if kind == "alert" else None
    leg.order_sync._executor = RefusingExecutor(Purpose.CLOSE, Purpose.EXIT, Purpose.ENTRY)
    return leg


@pytest.mark.parametrize("label", [TradeLabel.STOP1, TradeLabel.MARGIN_CALL, TradeLabel.OLDEST])
def test_a_close_that_did_not_happen_reaches_a_person(refused, label):
    refused.leg.closes.append(MarketClose(1, 0.01, label))
    refused.carry_out()
    [alert] = [alert for alert in refused.alerts if alert["what"] == "close_refused"]
    assert (alert["side"], alert["fill"], alert["label"], alert["qty"]) == ("LONG", 1, str(label), 0.01)
    assert refused.stop.status is OrderStatus.OPEN
    assert refused.leg.closes == []  # decided anew at the next bar


def test_orders_refused_three_bars_running_reach_a_person_once(refused):
    for bar in range(5):
        refused.book.bar = Bar(bar * 900_000)
        refused.leg.exits[1] = 101.0
        refused.leg.place(-1, Entry(95.0, 0.01, 0.01))
        refused.carry_out()
    said = [alert["what"] for alert in refused.alerts if alert["what"].endswith("again")]
    assert said == ["exits_refused_again", "entries_refused_again"]


def test_a_bar_without_a_refusal_begins_the_count_anew(refused):
    for bar in range(5):
        refused.book.bar = Bar(bar * 900_000)
        refused.order_sync._executor.purposes = () if bar == 2 else (Purpose.ENTRY,)
        refused.leg.place(-1, Entry(95.0 - bar, 0.01, 0.01))
        refused.carry_out()
    assert [alert["what"] for alert in refused.alerts if alert["what"].endswith("again")] == []
