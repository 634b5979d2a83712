"""Live sessions through the real ccxt client: equal to the backtest, through faults, kills and other people's hands."""

import json
from itertools import chain, pairwise

import pytest
from live_market import LIVELY, InProcess, differences, rows, run_until_killed

from feeds.synthetic import SYMBOL
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import RECV_WINDOW_MS, Unreachable
from gridv4_bt.live.ids import OrderKey, Purpose, make_id, parse_id
from gridv4_bt.live.own_orders import Order, OrderStatus
from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def held_equals(session, market) -> bool:
    book = market.exchange.books[SYMBOL]
    ours = session.broker.books[0]
    return all(abs(ours.leg(side).tracker.qty - book.leg(side).tracker.qty) < 1e-9 for side in PositionSide)


def test_live_equals_backtest_fill_for_fill_and_bar_for_bar(market, tmp_path):
    scene = market(first=4_640)
    session = scene.live()
    records, broker = scene.backtest()
    write_trades(tmp_path / "trades.csv", records)
    write_equity(tmp_path / "equity.csv", records)
    for name in ("trades.csv", "equity.csv"):
        assert differences(rows(scene.folder / name), rows(tmp_path / name)) == []
    account = session.broker.account
    assert account.fills == broker.account.fills > 8
    assert account.funding == pytest.approx(broker.account.funding, rel=1e-9)
    labels = {trade.label for trade in broker.account.closed}
    assert TradeLabel.GRID in labels and len(labels) > 1  # more than take profits was compared
    assert scene.alerts == []


def test_a_session_that_is_stopped_and_started_again_goes_on_as_if_nothing_had_happened(market, tmp_path):
    scene = market()
    with InProcess(scene.api) as server:
        for until in (10, 3, None):
            with scene.session(server.url, until) as session:
                run_until_killed(session)  # without taking back the entries
                session.save()
    records, _ = scene.backtest()
    assert len(records[0].trades) > 8
    write_trades(tmp_path / "trades.csv", records)
    write_equity(tmp_path / "equity.csv", records)
    for name in ("trades.csv", "equity.csv"):
        assert differences(rows(scene.folder / name), rows(tmp_path / name)) == []


def test_a_fill_closed_in_parts_is_one_trade_for_kelly_over_restarts_too(market):
    scene = market(settings=(*LIVELY, "stop1_atr=1.5"))
    closed = []
    with InProcess(scene.api) as server:
        for until in (25, 9, None):  # stage 1 at bars 22 and 33, the exits of the same fills at bars 28 and 35
            with scene.session(server.url, until) as session:
                run_until_killed(session)
                session.save()
                closed.append(list(session.broker.account.closed))
    state = json.loads((scene.folder / "state.json").read_text())
    returns = state["strategies"][SYMBOL]["snapshot"]["returns"]
    assert all({one.trade_id for one in former} & {one.trade_id for one in later} for former, later in pairwise(closed))
    records, _ = scene.backtest()
    expected = [trade[-2:] for trade in records[0].trades]
    assert [trade[-2:] for trade in chain(*closed)] == [pytest.approx(bullet, rel=1e-9) for bullet in expected]
    assert sum(map(len, returns.values())) == sum(qty > 0.0 for qty, _ in expected) < len(expected)


def test_stopping_takes_back_the_entries_and_leaves_exits_and_stops(market):
    scene = market()
    with InProcess(scene.api) as server, scene.session(server.url, 20) as session:
        session.run()
        orders = [parse_id(order.client_id).purpose for order in scene.exchange.order_records.open_orders()]
        held = [leg for leg in scene.exchange.books[SYMBOL].legs if leg.tracker.ids]
        assert held, "the scene must hold something when it is stopped"
        assert set(orders) == {"X"}
        assert all(leg.stop is not None for leg in held)
    state = json.loads((scene.folder / "state.json").read_text())
    assert state["broker"]["books"][SYMBOL]["legs"]


def test_entries_that_cannot_be_taken_back_are_told(market, monkeypatch):
    monkeypatch.setattr("gridv4_bt.live.safe_end._PAUSES_S", (0.0, 0.0))
    scene = market()
    with InProcess(scene.api) as server, scene.session(server.url, 20) as session:
        run_until_killed(session)
        paths = ("DELETE /fapi/v1/order", "DELETE /fapi/v1/batchOrders")
        scene.api.faults = Faults([Fault(kind="gateway", on=path, times=0) for path in paths])
        with pytest.raises(Unreachable, match="entries could not be cancelled"):
            session.stop_adding()
        scene.api.faults = Faults()
        assert any(parse_id(o.client_id).purpose == "E" for o in scene.exchange.order_records.open_orders())
    with InProcess(scene.api) as server, scene.session(server.url, 1) as session:
        session.run()  # they are known to the next session
    assert not any(parse_id(o.client_id).purpose == "E" for o in scene.exchange.order_records.open_orders())


def test_the_dead_mans_switch_is_called_off_by_an_orderly_stop_only(market):
    scene = market(settings=(*LIVELY, "regime=none"))
    open_purposes = lambda: {parse_id(o.client_id).purpose for o in scene.exchange.order_records.open_orders()}  # noqa: E731
    with InProcess(scene.api) as server:
        with scene.session(server.url, 20) as session:
            session.arm_dead_man_switch(60)
            session.run()
        assert scene.exchange.countdowns == {}
        server.call(lambda: scene.exchange.advance(scene.exchange.now + 300_000))
        assert open_purposes() == {"X"}
        with scene.session(server.url, 2) as session:
            session.arm_dead_man_switch(60)
            run_until_killed(session)  # and then it is gone
            assert "E" in open_purposes() and scene.exchange.countdowns
            session.save()
        server.call(lambda: scene.exchange.advance(scene.exchange.now + 61_000))
        held = [leg for leg in scene.exchange.books[SYMBOL].legs if leg.tracker.ids]
        assert open_purposes() == set() and all(leg.stop is not None for leg in held)
        with scene.session(server.url, 2) as session:
            run_until_killed(session)
            assert "E" in open_purposes()
            assert held_equals(session, scene)


def test_flatten_closes_all_and_leaves_no_open_order(market):
    scene = market()
    with InProcess(scene.api) as server:
        with scene.session(server.url, 20) as session:
            session.run()
        with scene.session(server.url) as session:
            session.flatten()
        book = scene.exchange.books[SYMBOL]
        assert not book.long.tracker.ids and not book.short.tracker.ids
        assert scene.exchange.order_records.open_orders() == []
        with scene.session(server.url) as session:
            session.run()
        assert any(trade.label is TradeLabel.MANUAL for trade in session.broker.account.closed)
        assert held_equals(session, scene)


ORDER = "POST /fapi/v1/order"
LOST = {
    "orders": [
        {"kind": "lost_after", "on": ORDER, "skip": 1, "times": 2},
        {"kind": "lost_before", "on": ORDER, "skip": 2, "times": 2},
        {"kind": "unknown", "on": ORDER, "times": 2},
        {"kind": "unknown", "on": ORDER, "times": 2, "executed": False},
        {"kind": "clock", "on": ORDER, "times": 1},
        {"kind": "lost_after", "on": "DELETE /fapi/v1/order", "times": 3},
        {"kind": "lost_after", "on": "DELETE /fapi/v1/batchOrders", "times": 3},
    ],
    "batches": [
        {"kind": "timeout", "on": "/fapi/v1/batchOrders", "times": 2},
        {"kind": "html", "on": "/fapi/v1/batchOrders", "times": 1},
        {"kind": "cut", "on": "/fapi/v1/batchOrders", "times": 2},
        {"kind": "lost_after", "on": "/fapi/v1/batchOrders", "times": 1},
        {"kind": "unavailable", "on": "/fapi/v1/batchOrders", "times": 1},
    ],
    "stops": [
        {"kind": "lost_after", "on": "/fapi/v1/algoOrder", "times": 3},
        {"kind": "unknown", "on": "/fapi/v1/algoOrder", "times": 2, "executed": False},
        {"kind": "html", "on": "/fapi/v1/algoOrder", "skip": 3, "times": 1},
    ],
    "lists": [
        {"kind": "too_many", "on": "/fapi/v1/openOrders", "times": 1, "seconds": 2},
        {"kind": "stale_orders", "on": "/fapi/v1/openOrders", "skip": 5, "times": 5},
        {"kind": "short_orders", "on": "/fapi/v1/openOrders", "skip": 5, "times": 5, "count": 3},
        {"kind": "same_page", "on": "/fapi/v1/userTrades", "skip": 5, "times": 2},
        {"kind": "late_trades", "on": "/fapi/v1/userTrades", "skip": 15, "times": 2},
    ],
}


@pytest.mark.parametrize("faults", LOST.values(), ids=LOST)
def test_no_lost_answer_changes_what_is_traded(market, tmp_path, faults):
    """An order is found by its id, or sent again with it: the same trades as without the faults, over a real socket."""
    scene = market(bars=24, faults=faults)
    session = scene.live(server=ServerThread)
    assert session.connection.failures > 0
    records, _ = scene.backtest()
    assert len(records[0].trades) > 3
    write_trades(tmp_path / "trades.csv", records)
    assert differences(rows(scene.folder / "trades.csv"), rows(tmp_path / "trades.csv")) == []
    assert held_equals(session, scene)


def test_what_somebody_does_by_hand_is_adopted_and_told(market):
    hand = {
        "kind": "by_hand",
        "on": "/fapi/v1/klines",
        "skip": 5,
        "symbol": SYMBOL,
        "side": "BUY",
        "positionSide": "LONG",
        "quantity": 0.05,
    }
    # While the bot finds out whose trade it is, the exchange does not answer: the trade must not be lost.
    silent = {"kind": "gateway", "on": "GET /fapi/v1/order", "times": 6}
    scene = market(bars=10, faults=[hand, silent])
    session = scene.live()
    assert held_equals(session, scene)
    assert session.broker.account.fees == pytest.approx(scene.exchange.account.fees, abs=1e-9)
    assert any("adopted" in alert for alert in scene.alerts)
    assert any("unreachable" in alert for alert in scene.alerts)


def test_a_leg_that_is_liquidated_is_gone_from_the_books(market):
    taken = {"kind": "liquidated", "on": "/fapi/v1/klines", "skip": 20, "symbol": SYMBOL, "positionSide": "SHORT"}
    scene = market(bars=24, faults=[taken | {"positionSide": "LONG"}, taken])
    session = scene.live()
    assert held_equals(session, scene)
    assert any(trade.label is TradeLabel.LIQUIDATION for trade in session.broker.account.closed)
    assert session.broker.account.liquidations > 0


def test_the_fee_of_a_liquidation_is_booked_with_it(market):
    taken = {"kind": "liquidated", "on": "/fapi/v1/klines", "skip": 20, "symbol": SYMBOL, "positionSide": "SHORT"}
    scene = market(bars=24, faults=[taken | {"positionSide": "LONG"}, taken])
    session = scene.live()
    charged = [one.amount for one in scene.exchange.ledger.incomes if one.type == "INSURANCE_CLEAR"]
    forced = [one for one in session.broker.account.closed if one.label is TradeLabel.LIQUIDATION]
    # 1.25 % of the notional; the maker fee of the entry is in the closing's fees too
    entries = sum(0.0002 * one.qty * one.entry for one in forced)
    assert sum(one.fees for one in forced) - entries == pytest.approx(-sum(charged), rel=1e-6)
    assert session.broker.account.fees == pytest.approx(scene.exchange.account.fees, abs=1e-6)
    assert not any("wallet differs" in alert for alert in scene.alerts)


def test_a_transfer_is_followed_and_told(market):
    scene = market(bars=12)

    def pay_in() -> None:
        scene.exchange.account.wallet += 500.0
        scene.exchange.ledger.earn("TRANSFER", 500.0, scene.exchange.now)

    with InProcess(scene.api) as server:
        with scene.session(server.url, 3) as session:
            session.run()
        server.call(pay_in)
        with scene.session(server.url) as session:
            session.run()
    account = session.broker.account
    assert account.start == pytest.approx(10_500.0, abs=0.01)
    assert account.wallet == pytest.approx(account.start + account.gross - account.fees - account.funding, abs=1e-6)
    assert any("wallet differs" in alert for alert in scene.alerts)


def test_two_bots_never_work_in_one_state_directory(market):
    scene = market(bars=5)
    with (
        InProcess(scene.api) as server,
        scene.session(server.url),
        pytest.raises(ConfigError, match="another bot works here"),
        scene.session(server.url),
    ):
        pass


def test_an_account_in_one_way_mode_that_is_not_flat_is_refused(market):
    scene = market(bars=5)
    with InProcess(scene.api) as server:
        server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "BOTH", 0.01))
        with pytest.raises(LiveError, match="one-way mode and not flat"), scene.session(server.url):
            pass
        assert scene.exchange.hedge_mode is False


def test_an_order_of_a_killed_process_is_given_up_only_when_it_would_come_too_late(market):
    """An order that was sent just before the kill may still arrive after the next process has queried it."""
    scene = market(bars=12)
    with InProcess(scene.api) as server:
        with scene.session(server.url, 3) as session:
            run_until_killed(session)
            key = OrderKey(SYMBOL, LONG, Purpose.ENTRY, 1)
            lost = Order(make_id(session.bot, key, session.reconciler.order_sync.generation + 1), key, 0.01, 30_000.0)
            session.journal.write([{"orders": [lost.to_json()]}])
        with scene.session(server.url) as session:
            assert session.reconciler.orders.get(lost.id).status is OrderStatus.UNKNOWN
            before = session.clock.now()
            session.reconciler.poll([SYMBOL])
            assert session.clock.now() - before > RECV_WINDOW_MS
            assert session.reconciler.orders.get(lost.id).status is OrderStatus.DONE


def test_a_wrong_key_halts_with_a_cure(market):
    scene = market(bars=5, faults=[{"kind": "error", "code": -2015, "status": 401, "on": "/fapi/v1/leverageBracket"}])
    with InProcess(scene.api) as server, pytest.raises(LiveError, match="check the key"), scene.session(server.url):
        pass


def test_a_clock_that_goes_wrong_at_the_start_is_set_right(market):
    scene = market(bars=3, faults=[{"kind": "clock", "on": "/fapi/v1/leverageBracket", "times": 1}])
    session = scene.live()
    assert session.bars > 0 and session.connection.failures > 0


def test_the_requests_of_a_candle_are_few(market):
    """Klines, two lists of open orders, trades, positions, balance; then what changes."""
    scene = market(bars=12, settings=("levels=10",))
    session = scene.live()
    assert session.connection.calls / session.bars < 16


def test_a_session_stopped_before_its_first_decision_can_be_started_again(market):
    scene = market(bars=6)
    with InProcess(scene.api) as server:
        with scene.session(server.url) as session:
            scene.api.faults = Faults([Fault(kind="gateway", on="GET /fapi/v1/openAlgoOrders", times=0)])
            scene.stop.set()
            session.run()
        assert session.bars == 0
        scene.api.faults = Faults()
        with scene.session(server.url, 2) as session:
            session.run()
    assert session.bars == 2


def test_an_account_answered_without_its_usdt_row_moves_no_wallet(market):
    scene = market(bars=24, faults=[{"kind": "empty_assets", "on": "GET /fapi/v3/account", "skip": 3, "times": 9}])
    session = scene.live()
    account = session.broker.account
    assert account.fills > 3
    assert account.start == 10_000.0
    assert held_equals(session, scene)
    assert any("no wallet" in alert for alert in scene.alerts)
    assert not any("wallet differs" in alert for alert in scene.alerts)


@pytest.mark.parametrize("skip", [1, 10])
def test_positions_answered_as_none_at_all_write_nothing_off(market, skip):
    scene = market(
        bars=24, faults=[{"kind": "empty_positions", "on": "GET /fapi/v3/positionRisk", "skip": skip, "times": 60}]
    )
    session = scene.live()
    assert session.broker.account.fills > 3
    assert held_equals(session, scene)
    assert any("positions contradict" in alert for alert in scene.alerts)
    assert not any("written off" in alert for alert in scene.alerts)
