"""A leg that is opened between two candles has its stop before the next one."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from live_market import InProcess, events, run_until_killed

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.account_queries import Position
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.ids import OrderKey, Purpose, parse_id
from gridv4_bt.live.own_orders import Order, OrderRegistry, OrderStatus
from gridv4_bt.live.protection import Protection


def test_a_leg_opened_inside_a_candle_has_a_stop_within_a_minute(market):
    scene = market(bars=12, watch=60.0)
    seen = []

    def trade() -> None:
        leg = scene.exchange.books[SYMBOL].long
        if leg.tracker.ids:
            seen.append((scene.exchange.now, leg.stop))
        else:
            scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)

    with InProcess(scene.api) as server, scene.session(server.url, 4) as session:
        session.clock.every(60.0, lambda: session.bars == 2 and server.call(trade))
        run_until_killed(session)
    [first] = events(scene, "first_stop")
    assert (first["side"], first["qty"]) == ("LONG", 0.05)
    fill = events(scene, "fill")[0]
    placed = int(datetime.fromisoformat(first["clock"]).timestamp() * 1000)
    assert 0 < placed - fill["time"] <= 120_000
    assert placed // BAR_MS == fill["time"] // BAR_MS  # in the same candle
    assert seen[0][1] == first["price"]
    [[strategy]] = session._cerebro.runstrats
    decided_by = strategy.atr[-2]  # two more bars were decided since
    assert first["price"] == pytest.approx(fill["price"] - 6.0 * decided_by, abs=session.broker.books[0].market.tick)


def test_the_first_stop_gives_way_to_the_one_decided_on_at_the_candle(market):
    scene = market(bars=12, watch=60.0)
    with InProcess(scene.api) as server, scene.session(server.url, 4) as session:
        done = []

        def trade() -> None:
            if session.bars == 2 and not done:
                done.append(server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)))

        session.clock.every(60.0, trade)
        run_until_killed(session)
    leg = session.broker.books[0].long
    assert leg.stop is not None
    stops = [algo for algo in scene.exchange.order_records.open_algos() if algo.position_side == "LONG"]
    assert [algo.trigger for algo in stops] == [pytest.approx(leg.stop)]
    assert scene.exchange.books[SYMBOL].leg(PositionSide.LONG).stop == pytest.approx(leg.stop)


def test_a_leg_opened_right_after_a_restart_has_its_first_stop_too(market):
    scene = market(bars=12, watch=60.0)
    with InProcess(scene.api) as server:
        with scene.session(server.url, 2) as session:
            run_until_killed(session)
            session.save()
        with scene.session(server.url, 1) as session:  # the candle of the last decision is still the newest
            done = []

            def trade() -> None:
                if not done:
                    done.append(server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)))

            session.clock.every(60.0, trade)
            run_until_killed(session)
    [first] = events(scene, "first_stop")
    fill = events(scene, "fill")[0]
    placed = int(datetime.fromisoformat(first["clock"]).timestamp() * 1000)
    assert placed // BAR_MS == fill["time"] // BAR_MS


def test_where_the_price_is_through_the_first_stop_already_it_rests_right_below(market):
    scene = market(bars=12, watch=60.0, faults=[{"kind": "error", "code": -2021, "on": "/fapi/v1/algoOrder"}])
    with InProcess(scene.api) as server, scene.session(server.url, 3) as session:
        seen = []

        def trade() -> None:
            book = scene.exchange.books[SYMBOL]
            if session.bars != 2:
                return
            if not book.long.tracker.ids:
                server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05))
            elif not seen and book.long.stop is not None:
                seen.append(book.long.stop / book.price)

        session.clock.every(60.0, trade)
        run_until_killed(session)
    assert seen == [pytest.approx(0.999, abs=1e-4)]


# --- without a server: what is seen, and what follows

SYMBOL_ = "BTCUSDT"


class Account:
    """An executor that answers what it is told to; `stops` are the rows of open conditional orders."""

    def __init__(self, **held):
        self.held, self.second, self.stops, self.weight = held, held, [], []
        gate = SimpleNamespace(is_open=True)
        self.connection = SimpleNamespace(gate=gate, clock=SimpleNamespace(now=lambda: 60_000))

    def all_positions(self):
        self.weight.append(5)
        return {(SYMBOL_, PositionSide[side]): position for side, position in self.held.items()}

    def quantities(self):
        self.weight.append(5)
        return {(SYMBOL_, PositionSide[side]): position.qty for side, position in self.second.items()}

    def conditional_orders(self, symbol):
        self.weight.append(1)
        return self.stops


def watched(account, orders=True):
    """A protection, the stops it has placed, and its alerts."""
    placed, alerts = [], []
    reconciler = SimpleNamespace(
        executor=account,
        orders=OrderRegistry(),
        has_open_orders=lambda symbol: orders,
        see_conditional=lambda symbol, row: None,
        own_name=parse_id,
        order_sync=SimpleNamespace(rest_stop=lambda symbol, side, price: placed.append((side.name, price)) or True),
    )
    log = lambda kind, **fields: alerts.append(fields["what"]) if kind == "alert" else None  # noqa: E731
    price = lambda symbol, side, position: position.entry - 10.0 * int(side)  # noqa: E731
    return Protection(reconciler, [SYMBOL_], price, 0.10, log), placed, alerts


def stop(side, qty=0.0, closes_all=True, kind="STOP_MARKET"):
    closing = "SELL" if side == "LONG" else "BUY"
    return {
        "positionSide": side, "side": closing, "orderType": kind, "quantity": str(qty), "closePosition": closes_all,
        "clientAlgoId": "by-hand", "algoId": 1,
    }  # fmt: skip


HELD = Position(1.0, 100.0, 0.0, 101.0)


@pytest.mark.parametrize(
    ("rows", "is_bare"),
    [
        ([], True),
        ([stop("LONG")], False),
        ([stop("SHORT")], True),
        ([stop("LONG", 1.0, closes_all=False)], False),
        ([stop("LONG", 0.4, closes_all=False)], True),
        ([stop("LONG", 0.4, closes_all=False), stop("LONG", 0.6, closes_all=False)], False),
        ([stop("LONG", kind="TAKE_PROFIT_MARKET")], True),
        ([stop("LONG", kind="TRAILING_STOP_MARKET")], False),
        ([stop("LONG") | {"side": "BUY"}], True),
    ],
)
def test_a_leg_is_bare_unless_stops_close_all_of_it(rows, is_bare):
    account = Account(LONG=HELD)
    account.stops = rows
    protection, placed, _ = watched(account)
    protection.check()
    assert placed == ([("LONG", 90.0)] if is_bare else [])


def test_one_look_costs_6_of_weight_for_a_symbol():
    account = Account(LONG=HELD, SHORT=HELD)
    account.stops = [stop("LONG"), stop("SHORT")]
    watched(account)[0].check()
    assert sum(account.weight) == 6


def test_where_nothing_is_held_or_ordered_only_positions_are_asked_for():
    account = Account()
    watched(account, orders=False)[0].check()
    assert account.weight == [5]


def test_positions_answered_as_none_are_believed_only_if_the_account_agrees():
    account = Account(LONG=HELD)
    protection, placed, _ = watched(account)
    protection.check()
    account.held = {}
    protection.check()
    assert len(placed) == 2  # it is still held, and bare
    account.second = {}
    protection.check()
    protection.check()
    assert len(placed) == 2
    assert account.weight[-2:] == [5, 1]  # once known, the account is not asked again


def test_in_a_silence_nothing_is_asked():
    account = Account(LONG=HELD)
    account.connection.gate.is_open = False
    watched(account)[0].check()
    assert account.weight == []


@pytest.mark.parametrize(("liquidation", "is_near"), [(92.0, True), (90.0, False), (0.0, False), (109.0, True)])
def test_the_exchanges_own_liquidation_price_is_warned_of(liquidation, is_near):
    account = Account(LONG=Position(1.0, 100.0, liquidation, 101.0))
    account.stops = [stop("LONG")]
    protection, _, alerts = watched(account)
    protection.check()
    assert alerts == (["liquidation_near"] if is_near else [])


def test_where_the_account_does_not_answer_the_other_leg_is_looked_after_and_the_first_counts_as_held():
    account = Account(LONG=HELD)
    account.stops = [stop("LONG")]
    protection, placed, alerts = watched(account)
    protection.check()

    def no_answer():
        raise Unreachable("the account is answered without its assets")

    account.held, account.stops, account.quantities = {"SHORT": HELD}, [], no_answer
    protection.check()
    assert sorted(placed) == [("LONG", 90.0), ("SHORT", 110.0)]
    assert alerts == ["unwatched"]


def test_the_first_stop_gives_way_once_a_strategys_own_stops_cover_the_leg():
    account = Account(LONG=HELD)
    protection, _, _ = watched(account)
    orders, cancelled = protection._orders, []
    protection._reconciler.order_sync.cancel = cancelled.extend
    first = Order("b.BTCUSDT.SL0.1", OrderKey(SYMBOL_, PositionSide.LONG, Purpose.STOP, 0), float("inf"), 90.0)
    first.status = OrderStatus.OPEN
    orders.add(first)
    part = stop("LONG", 0.6, closes_all=False) | {"clientAlgoId": "b.BTCUSDT.RL7.3"}
    account.stops = [stop("LONG"), part]
    protection.check()
    assert cancelled == []
    account.stops = [stop("LONG"), part, part | {"quantity": "0.4"}]
    protection.check()
    assert cancelled == [first]
