"""Two symbols in one wallet live: the same as the backtest of both, and each goes on when the other cannot."""

import json
from collections import Counter

import pytest
from live_market import differences, rows

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS, iso
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.messages import error_response, json_response
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades

SECOND = "ETHUSDT"


@pytest.fixture
def pair(market):
    """A market of two symbols: ``pair(bars=..., faults=[...])``."""
    return lambda **more: market(second=SECOND, **more)


def unequal(scene, folder) -> list[str]:
    """Return where the files of a session differ from those of the backtest of the same candles."""
    records, _ = scene.backtest()
    assert all(record.trades for record in records)
    write_trades(folder / "trades.csv", records)
    write_equity(folder / "equity.csv", records)
    names = ("trades.csv", "equity.csv")
    return [one for name in names for one in differences(rows(scene.folder / name), rows(folder / name))]


def check_books(scene, session) -> None:
    """Books and exchange hold the same, and what is held has a stop."""
    for ours in session.broker.books:
        theirs = scene.exchange.books[ours.symbol]
        for side in PositionSide:
            assert ours.leg(side).tracker.qty == pytest.approx(theirs.leg(side).tracker.qty, abs=1e-9)
            assert (theirs.leg(side).stop is not None) == bool(theirs.leg(side).tracker.ids)


def test_two_symbols_live_equal_their_backtest(pair, tmp_path):
    scene = pair()
    session = scene.live()
    assert unequal(scene, tmp_path) == []
    assert {trade.symbol for trade in session.broker.account.closed} == {SYMBOL, SECOND}
    assert scene.alerts == []


def test_stopped_and_started_again_in_the_middle_they_go_on_as_if_nothing_had_happened(pair, tmp_path):
    scene = pair()
    with ServerThread(scene.api) as server:
        for until in (13, 8, None):  # once between the two symbols of a bar
            with scene.session(server.url, until) as session:
                session._cerebro.run()
                session.save()
    assert unequal(scene, tmp_path) == []


def test_a_candle_that_comes_late_holds_up_both_and_changes_nothing(pair, tmp_path):
    late = Fault(kind="error", status=503, code=-1008, on="/fapi/v1/klines", skip=9, times=2)
    scene = pair(bars=12)
    scene.api.faults = Faults([late])
    scene.live()
    assert unequal(scene, tmp_path) == []


@pytest.fixture
def spoilt(monkeypatch):
    """Change what the exchange answers: ``spoilt(scene, lambda request, serve: ...)``."""

    def spoil(scene, answer):
        serve = scene.api.serve
        monkeypatch.setattr(scene.api, "serve", lambda request, skew=0: answer(request, lambda: serve(request, skew)))

    return spoil


def test_a_candle_that_is_missing_of_one_symbol_is_taken_in_later_and_the_other_goes_on(pair, spoilt):
    scene = pair(bars=24)
    gone = scene.exchange.now // BAR_MS * BAR_MS + 9 * BAR_MS

    def answer(request, serve):
        hidden = request.path.endswith("/klines") and request.params.values["symbol"] == SECOND
        if hidden and gone + BAR_MS <= scene.exchange.now < gone + BAR_MS + 400_000:
            return json_response(200, [])
        return serve()

    spoilt(scene, answer)
    session = scene.live()
    decided = Counter(row["symbol"] for row in rows(scene.folder / "equity.csv"))
    assert decided[SYMBOL] >= 24 and decided[SECOND] == decided[SYMBOL] - 1
    assert any("stale candle" in alert and "ETH" in alert for alert in scene.alerts)
    assert iso(gone) in {row["time"] for row in rows(scene.folder / f"candles-{SECOND}.csv")}
    check_books(scene, session)


def test_one_symbol_that_may_not_be_traded_leaves_the_other_alone(pair, spoilt):
    scene = pair(bars=24)
    refused = ApiError(-4400)

    def answer(request, serve):
        if request.method == "POST" and SECOND in request.body and "rder" in request.path:
            return error_response(refused)
        return serve()

    spoilt(scene, answer)
    session = scene.live()
    traded = {trade.symbol for trade in session.broker.account.closed}
    assert traded == {SYMBOL}
    assert any("entries refused" in alert and SECOND in alert for alert in scene.alerts)
    check_books(scene, session)


def test_a_symbol_without_its_first_candle_leaves_the_other_alone(pair, spoilt):
    scene = pair(bars=8)
    first = scene.exchange.now // BAR_MS * BAR_MS

    def answer(request, serve):
        reply = serve()
        is_second = request.path.endswith("/klines") and request.params.values["symbol"] == SECOND
        if is_second and scene.exchange.now < first + 2 * BAR_MS:
            return json_response(200, [row for row in json.loads(reply.body) if row[0] < first - BAR_MS])
        return reply

    spoilt(scene, answer)
    session = scene.live()
    assert session.bars >= 8
    check_books(scene, session)


def test_funding_of_a_symbol_that_is_traded_no_more_is_corrected_in_the_wallet(pair):
    scene = pair(bars=12)
    with ServerThread(scene.api) as server:
        with scene.session(server.url, 4) as session:
            session._cerebro.run()
            session.reconciler.funding.settled(SECOND, scene.exchange.now // BAR_MS * BAR_MS, 3.0)
            session.save()
        del scene.data[1:]
        with scene.session(server.url, 3) as session:
            session._cerebro.run()
    assert session.bars == 3
    assert any("funding differs" in alert and SECOND in alert for alert in scene.alerts)
    assert session.broker.account.funding == pytest.approx(-3.0)


def test_orders_of_a_symbol_that_is_traded_no_more_are_told_of(pair):
    scene = pair(bars=12)
    with ServerThread(scene.api) as server:
        with scene.session(server.url, 4) as session:
            session._cerebro.run()
            session.save()
        assert scene.exchange.order_records.open_orders(SECOND)
        with scene.session(server.url):
            assert scene.alerts == []
        del scene.data[1:]
        with scene.session(server.url):
            assert any("left alone" in alert and SECOND in alert for alert in scene.alerts)
