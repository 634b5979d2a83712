"""A leg that is opened between two candles has its stop before the next one."""

from datetime import datetime

import pytest
from live_market import events

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.server import ServerThread


def test_a_leg_opened_inside_a_candle_has_a_stop_within_a_minute(market):
    scene = market(bars=12, watch=60.0)
    seen = []

    def trade() -> None:
        leg = scene.exchange.books[SYMBOL].long
        if leg.tracker.ids:
            seen.append((scene.exchange.now, leg.stop))
        else:
            scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)

    with ServerThread(scene.api) as server, scene.session(server.url, 4) as session:
        session.clock.every(60.0, lambda: session.bars == 2 and server.call(trade))
        session._cerebro.run()
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
    with ServerThread(scene.api) as server, scene.session(server.url, 4) as session:
        done = []

        def trade() -> None:
            if session.bars == 2 and not done:
                done.append(server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)))

        session.clock.every(60.0, trade)
        session._cerebro.run()
    leg = session.broker.books[0].long
    assert leg.stop is not None
    stops = [algo for algo in scene.exchange.order_records.open_algos() if algo.position_side == "LONG"]
    assert [algo.trigger for algo in stops] == [pytest.approx(leg.stop)]
    assert scene.exchange.books[SYMBOL].leg(PositionSide.LONG).stop == pytest.approx(leg.stop)


def test_a_leg_opened_right_after_a_restart_has_its_first_stop_too(market):
    scene = market(bars=12, watch=60.0)
    with ServerThread(scene.api) as server:
        with scene.session(server.url, 2) as session:
            session._cerebro.run()
            session.save()
        with scene.session(server.url, 1) as session:  # the candle of the last decision is still the newest
            done = []

            def trade() -> None:
                if not done:
                    done.append(server.call(lambda: scene.exchange.trade_by_hand(SYMBOL, "BUY", "LONG", 0.05)))

            session.clock.every(60.0, trade)
            session._cerebro.run()
    [first] = events(scene, "first_stop")
    fill = events(scene, "fill")[0]
    placed = int(datetime.fromisoformat(first["clock"]).timestamp() * 1000)
    assert placed // BAR_MS == fill["time"] // BAR_MS


def test_where_the_price_is_through_the_first_stop_already_it_rests_right_below(market):
    scene = market(bars=12, watch=60.0, faults=[{"kind": "error", "code": -2021, "on": "/fapi/v1/algoOrder"}])
    with ServerThread(scene.api) as server, scene.session(server.url, 3) as session:
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
        session._cerebro.run()
    assert seen == [pytest.approx(0.999, abs=1e-4)]
