"""Two symbols in one wallet live: the same as the backtest of both, and each goes on when the other cannot."""

import json
from collections import Counter
from datetime import datetime
from operator import itemgetter

import pytest
from live_market import LIVELY, InProcess, differences, events, rows, run_until_killed

from feeds.live import SETTLE_MS
from feeds.synthetic import SYMBOL
from gridv4_bt.audit.audit import audit
from gridv4_bt.config import load_config
from gridv4_bt.core.time import BAR_MS, DAY_MS, iso, time_ms
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.messages import error_response, json_response
from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades

SECOND = "ETHUSDT"
THIRD = "SOLUSDT"
#: Small steps and large orders, so that the rules of the whole account act within a day.
ROUGH = (
    "floor_pct=0.002", "k=0.3", "levels=10", "order_pct=0.8", "max_inventory=8", "leverage=20", "var_pct=0.2",
    "stop1_atr=2", "stop2_atr=3", "offset_spacings=2", "gap_spacings=0", "deviance_atr=0", "margin_call=0.02",
    "margin_target=0.014", "regime=none", "kappa=1e6", "gamma=0.2", "delever_share=0.08", "reopen_bars=0",
)  # fmt: skip
ORDER = itemgetter("close_time", "trade_id", "label")
TOGETHER_MS = 20_000  # for which feeds wait for each other


@pytest.fixture
def pair(market):
    """A market of two symbols: ``pair(bars=..., faults=[...])``."""
    return lambda **more: market(second=SECOND, **more)


@pytest.fixture
def trio(market):
    """A market of three symbols: ``trio(bars=..., faults=[...])``."""
    return lambda **more: market(second=SECOND, third=THIRD, **more)


def unequal(scene, folder) -> list[str]:
    """Return where the files of a session differ from those of the backtest of the same candles."""
    backtest_of(scene, folder)
    names = ("trades.csv", "equity.csv")
    return [one for name in names for one in differences(rows(scene.folder / name), rows(folder / name))]


def backtest_of(scene, folder):
    """Write the files of the backtest of a session."""
    records, _ = scene.backtest()
    assert all(record.trades for record in records)
    write_trades(folder / "trades.csv", records)
    write_equity(folder / "equity.csv", records)


def same_in_any_order(scene, folder) -> bool:
    """Compare as `unequal`; the closings of one bar are in the order of booking live, by symbol in a backtest."""
    backtest_of(scene, folder)
    trades = [sorted(rows(of / "trades.csv"), key=ORDER) for of in (scene.folder, folder)]
    equity = [rows(of / "equity.csv") for of in (scene.folder, folder)]
    return differences(*trades) == differences(*equity) == []


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


def test_symbols_with_parameters_of_their_own_live_equal_their_backtest(pair, tmp_path):
    scene = pair(settings=(*LIVELY, f"{SECOND}.k=0.6", f"{SECOND}.levels=6", f"{SECOND}.regime=none"))
    session = scene.live()
    assert unequal(scene, tmp_path) == []
    assert {trade.symbol for trade in session.broker.account.closed} == {SYMBOL, SECOND}
    assert [one.levels for one in load_config(scene.folder / "config.toml").variants] == [4, 6]
    assert audit(scene.folder).is_identical


def test_stopped_and_started_again_in_the_middle_they_go_on_as_if_nothing_had_happened(pair, tmp_path):
    scene = pair()
    with InProcess(scene.api) as server:
        for until in (13, 8, None):  # once between the two symbols of a bar
            with scene.session(server.url, until) as session:
                run_until_killed(session)
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


def late(scene, bar, seconds, *symbols):
    """Return the open time of a bar and a way to answer that hides its candles for some seconds after the close."""
    time = scene.exchange.now // BAR_MS * BAR_MS + bar * BAR_MS

    def answer(request, serve):
        reply = serve()
        if request.path.endswith("/klines") and request.params.values["symbol"] in symbols:  # noqa: SIM102
            if time + BAR_MS <= scene.exchange.now < time + BAR_MS + 1_000 * seconds:
                return json_response(200, [row for row in json.loads(reply.body) if row[0] != time])
        return reply

    return time, answer


def decided(scene):
    """Return the open times of the bars at which each symbol has decided, by symbol."""
    found = {}
    for row in rows(scene.folder / "equity.csv"):
        found.setdefault(row["symbol"], []).append(time_ms(datetime.fromisoformat(row["time"])))
    return found


def missing(scene):
    """Return time of the bar and of the log (ms after the bar's close) of each symbol that had no bar at a step."""
    return [
        (event["symbol"].partition("/")[0], time, time_ms(datetime.fromisoformat(event["clock"])) - time - BAR_MS)
        for event in events(scene, "candle_missing")
        for time in [time_ms(datetime.fromisoformat(event["time"]))]
    ]


def test_three_symbols_live_equal_their_backtest(trio, tmp_path):
    scene = trio(bars=96, settings=ROUGH)
    session = scene.live()
    assert same_in_any_order(scene, tmp_path)
    assert {trade.symbol for trade in session.broker.account.closed} == {SYMBOL, SECOND, THIRD}
    found = audit(scene.folder)
    assert found.is_identical and len(found.matched) > 170
    assert {"grid", "stop1", "stop2", "offset", "margin_call", "delever"} <= {
        str(trade.label) for trade in session.broker.account.closed
    }


@pytest.mark.parametrize("symbols", [(SYMBOL,), (SECOND,), (THIRD, SYMBOL)])
def test_a_late_candle_is_waited_for_20_seconds_and_the_audit_replays_the_steps(trio, spoilt, symbols):
    scene = trio(bars=30, settings=ROUGH)
    time, answer = late(scene, 9, 60, *symbols)
    spoilt(scene, answer)
    session = scene.live()
    names = {SYMBOL: "SAMPLE", SECOND: "ETH", THIRD: "SOL"}
    found = missing(scene)
    assert {(name, when) for name, when, _ in found} == {(names[symbol], time) for symbol in symbols}
    assert all(TOGETHER_MS <= after <= TOGETHER_MS + 2 * SETTLE_MS for *_, after in found)
    for symbol, times in decided(scene).items():
        span = list(range(times[0], times[-1] + BAR_MS, BAR_MS))
        assert times == [one for one in span if one != time or symbol not in symbols]
        candles = [row["time"] for row in rows(scene.folder / f"candles-{symbol}.csv")]
        assert candles == sorted(candles) and iso(time) in candles
    check_books(scene, session)
    replayed = audit(scene.folder)
    assert replayed.session.late == {symbol: {time} for symbol in symbols}
    assert replayed.differences == [] and replayed.is_identical
    assert len(replayed.matched) > 20


def test_restarted_while_a_symbol_lacks_a_candle_nothing_is_charged_twice_or_forgotten(trio, spoilt):
    scene = trio(bars=56, settings=ROUGH)
    bars = (DAY_MS - scene.exchange.now % DAY_MS) // BAR_MS  # funding is settled at midnight
    time, answer = late(scene, bars, 120, SECOND)
    spoilt(scene, answer)
    with InProcess(scene.api) as server:
        until = 3 * (bars + 1) + 2  # the two that have the candle of the settlement decide
        for stop in (until, None):
            with scene.session(server.url, stop) as session:
                run_until_killed(session)
                session.save()
                if stop:
                    seen = {symbol: one["seen"] for symbol, one in session._decisions.items()}
                    assert session.bars == until and seen[SECOND] < seen[SYMBOL] == seen[THIRD]
    assert [symbol for symbol, times in decided(scene).items() if time not in times] == [SECOND]
    replayed = audit(scene.folder)
    assert any(one.time == time and one.paid for one, _ in replayed.payments)
    assert replayed.is_identical
    assert not any("funding differs" in alert for alert in scene.alerts)
    strategies = session._cerebro.runstrats[0]
    assert len({strategy.memory.realized_today for strategy in strategies}) == 1


class Crash(Exception):
    """The end of the process in the middle of a step."""


def test_killed_between_the_symbols_of_a_step_the_others_still_learn_what_was_closed_in_it(trio, tmp_path):
    scene = trio(bars=60, settings=ROUGH)
    records, _ = scene.backtest()
    first = min(record.column("time")[0] for record in records)
    cuts = [trade for one in records if one.symbol != SECOND for trade in one.trades if trade.label != "grid"]
    # Bars in which a symbol closes at a loss that has not decided yet when the process ends.
    crashes = sorted({int(trade.close_time - first) // BAR_MS + 1 for trade in cuts if trade.net < 0.0})[1:3]
    with InProcess(scene.api) as server:
        for bar in (*crashes, None):
            with scene.session(server.url) as session:
                if bar is None:
                    session.run()
                    break

                def die(symbol, session=session, bars=bar):
                    decision = session._decisions.get(SECOND)
                    if decision and decision["snapshot"]["count"] == bars:
                        raise Crash

                session._on_bar = die
                with pytest.raises(Crash):
                    run_until_killed(session)
                assert {symbol: one["snapshot"]["count"] - bar for symbol, one in session._decisions.items()} == {
                    SECOND: 0, SYMBOL: -1, THIRD: -1,
                }  # fmt: skip
                assert session.saved is None or session.saved["broker"]["closed"]["before"] > 0
    assert same_in_any_order(scene, tmp_path)


def test_a_candle_within_20_seconds_of_the_others_is_in_the_step(trio, spoilt, tmp_path):
    scene = trio(bars=30, settings=ROUGH)
    _, answer = late(scene, 5, 15, SECOND)
    spoilt(scene, answer)
    scene.live()
    assert missing(scene) == [] and len(events(scene, "candle_late")) == 1
    assert same_in_any_order(scene, tmp_path)


def test_while_nobody_has_a_candle_all_wait_for_it(trio, spoilt, tmp_path):
    scene = trio(bars=30, settings=ROUGH)
    _, answer = late(scene, 5, 200, SYMBOL, SECOND, THIRD)
    spoilt(scene, answer)
    scene.live()
    assert missing(scene) == [] and len(events(scene, "candle_late")) == 3
    assert same_in_any_order(scene, tmp_path)


def test_a_step_that_nobody_took_is_an_outage_and_not_replayed(trio, spoilt):
    scene = trio(bars=12)
    time, answer = late(scene, 5, 400, SYMBOL, SECOND, THIRD)
    spoilt(scene, answer)
    scene.live()
    assert len(missing(scene)) == 3
    assert all(time not in times for times in decided(scene).values())
    assert audit(scene.folder).session.late == {}


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
    with InProcess(scene.api) as server:
        with scene.session(server.url, 4) as session:
            run_until_killed(session)
            session.reconciler.funding.settled(SECOND, scene.exchange.now // BAR_MS * BAR_MS, 3.0)
            session.save()
        del scene.data[1:]
        with scene.session(server.url, 3) as session:
            run_until_killed(session)
    assert session.bars == 3
    assert any("funding differs" in alert and SECOND in alert for alert in scene.alerts)
    assert session.broker.account.funding == pytest.approx(-3.0)


def test_orders_of_a_symbol_that_is_traded_no_more_are_told_of(pair):
    scene = pair(bars=12)
    with InProcess(scene.api) as server:
        with scene.session(server.url, 4) as session:
            run_until_killed(session)
            session.save()
        assert scene.exchange.order_records.open_orders(SECOND)
        with scene.session(server.url):
            assert scene.alerts == []
        del scene.data[1:]
        with scene.session(server.url):
            assert any("left alone" in alert and SECOND in alert for alert in scene.alerts)
