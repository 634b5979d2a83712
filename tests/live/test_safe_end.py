"""However a session ends, entries are taken back and stops stay, unless its key is dead."""

import json

import pytest
from live_market import LIVELY, InProcess, events, run_until_killed

from feeds.synthetic import SYMBOL
from gridv4_bt.audit.audit import audit
from gridv4_bt.audit.causes import Cause
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.ids import parse_id
from gridv4_bt.live.logger import SessionLog
from strategies.grid_v4 import GridStrategyV4

END = 20  #: bars, after which both legs hold something


def purposes(scene):
    return {str(parse_id(order.client_id).purpose) for order in scene.exchange.order_records.open_orders()}


def bare(scene):
    """Return the legs that hold something and have no stop."""
    algos = scene.exchange.order_records.open_algos()
    stopped = {algo.position_side for algo in algos}
    legs = scene.exchange.books[SYMBOL].legs
    return [leg.side.name for leg in legs if leg.tracker.ids and leg.side.name not in stopped]


def take_stops(scene):
    """Cancel all stops, as the exchange or a hand may."""
    for algo in scene.exchange.order_records.open_algos():
        scene.exchange.cancel_algo(algo)


def full_disk(monkeypatch, scene, session):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SessionLog, "event", full)
    monkeypatch.setattr(session.journal, "write", full)
    monkeypatch.setattr(session._file, "save", full)


def bug(monkeypatch, scene, session):
    monkeypatch.setattr(GridStrategyV4, "next", lambda self: 1 // 0)


def halt(monkeypatch, scene, session):
    scene.api.faults = Faults([Fault(kind="error", code=-2023, status=400, on="/fapi/v1/userTrades", times=1)])


ENDS = {"disk full": (full_disk, OSError), "bug": (bug, ZeroDivisionError), "exit 3": (halt, LiveError)}


@pytest.mark.parametrize(("cause", "error"), ENDS.values(), ids=ENDS)
def test_every_end_takes_entries_back_and_leaves_no_leg_bare(market, monkeypatch, cause, error):
    """Before: entries stayed armed and the legs bare until the next start."""
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server:
        with scene.session(server.url) as session:

            def on_bar(symbol):
                if session.bars == END:
                    assert {"E", "X"} <= purposes(scene)
                    server.call(lambda: take_stops(scene))
                    cause(monkeypatch, scene, session)

            session._on_bar = on_bar
            with pytest.raises(error):
                session.run()
            assert any(leg.tracker.ids for leg in scene.exchange.books[SYMBOL].legs)
            assert purposes(scene) == {"X"} and bare(scene) == []
            assert session.ending.is_safe and str(session.ending) == "Entries are cancelled; exits and stops stay."
        monkeypatch.undo()
        with scene.session(server.url, 2) as again:
            run_until_killed(again)
            assert "E" in purposes(scene) and bare(scene) == []
            taken_over = [event["id"] for event in events(scene, "order_adopted")]
            assert bool(taken_over) is (error is OSError)  # else the journal knows the stops of the end
            ids = [order.id for order in again.reconciler.orders]
        assert len(ids) == len(set(ids))


def test_the_stop_of_the_end_is_that_of_the_books(market, monkeypatch):
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server, scene.session(server.url, END) as session:
        run_until_killed(session)
        wanted = {leg.side.name: leg.stop for leg in session.broker.books[0].legs if leg.tracker.ids}
        server.call(lambda: take_stops(scene))
        session.stop_adding()
        found = {algo.position_side: algo.trigger for algo in scene.exchange.order_records.open_algos()}
        assert found == pytest.approx(wanted, rel=1e-9) and found


def test_with_a_dead_key_nothing_can_be_done_and_it_says_so(market):
    scene = market(settings=(*LIVELY, "regime=none"))
    dead = [Fault(kind="error", code=-2015, status=401, on=f"{verb} /fapi/", times=0) for verb in ("DELETE", "POST")]
    dead += [Fault(kind="error", code=-2015, status=401, on=on, times=0) for on in ("openOrders", "openAlgoOrders")]
    with InProcess(scene.api) as server, scene.session(server.url) as session:

        def on_bar(symbol):
            if session.bars == END:
                scene.api.faults = Faults(dead)

        session._on_bar = on_bar
        with pytest.raises(LiveError, match="check the key"):
            session.run()
    assert {"E", "X"} <= purposes(scene)
    assert not session.ending.is_safe and "entries could not be cancelled" in str(session.ending)


@pytest.mark.parametrize("is_armed", [False, True])
def test_a_start_that_fails_takes_back_what_the_session_before_has_left(market, is_armed):
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server:
        with scene.session(server.url, END) as session:
            if is_armed:
                session.arm_dead_man_switch()
            run_until_killed(session)
            session.save()  # and then it is gone
        server.call(lambda: (scene.exchange.set_leverage(SYMBOL, 7), take_stops(scene)))
        assert "E" in purposes(scene)
        with pytest.raises(LiveError, match="has leverage 7"), scene.session(server.url):
            pass
    assert purposes(scene) == {"X"} and bare(scene) == []


def test_bad_input_sends_nothing(market):
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server:
        with scene.session(server.url, END) as session:
            run_until_killed(session)
            session.save()
        before = len(scene.exchange.order_records.open_orders())
        scene.config = scene.config.model_copy(update={"leverage": 2.5})
        with pytest.raises(ConfigError, match="whole numbers"), scene.session(server.url):
            pass
    assert len(scene.exchange.order_records.open_orders()) == before


# --- the dead man's switch


def test_exits_are_put_back_at_the_next_start_and_the_audit_names_the_switch(market):
    scene = market(bars=48, settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server:
        with scene.session(server.url, END) as session:
            session.arm_dead_man_switch()
            run_until_killed(session)
            exits = {(key.ref, order.price) for order in session.reconciler.orders if (key := order.key).purpose == "X"}
            assert {"E", "X"} <= purposes(scene) and exits
        server.call(lambda: scene.exchange.advance(scene.exchange.now + 4 * BAR_MS))  # an hour after kill -9
        assert purposes(scene) == set() and bare(scene) == []
        with scene.session(server.url, 1) as session:
            session.arm_dead_man_switch()
            run_until_killed(session)
            assert {"E", "X"} <= purposes(scene)
        with scene.session(server.url) as session:
            session.arm_dead_man_switch()
            session.run()
    [fired] = events(scene, "dead_man_fired")
    assert fired["symbol"] == SYMBOL and fired["since"] < fired["clock"]
    assert any("dead man fired" in alert for alert in scene.alerts)
    found = audit(scene.folder)
    causes = [one.cause for one in found.differences if not one.follows]
    assert Cause.DEAD_MAN in causes and Cause.UNEXPLAINED not in causes


def test_after_an_outage_exits_are_put_back_between_two_candles(market):
    """The renewals fail for a quarter of an hour; the first that succeeds puts the exits back."""
    scene = market(bars=30, settings=(*LIVELY, "regime=none"), watch=20.0)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        session.arm_dead_man_switch(300)

        def on_bar(symbol):
            if session.bars == END:
                rule = Fault(kind="gateway", on="/fapi/v1/countdownCancelAll", times=120)  # six attempts a renewal
                scene.api.faults = Faults([rule])

        session._on_bar = on_bar
        session.run()
    fired = events(scene, "dead_man_fired")
    assert len(fired) == 1
    exits = [e for e in events(scene, "order") if parse_id(e["id"]).purpose == "X" and e["clock"] >= fired[0]["clock"]]
    assert exits and exits[0]["clock"][:16] == fired[0]["clock"][:16]


def test_a_session_without_the_switch_turns_off_that_of_one_that_was_killed(market):
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server:
        with scene.session(server.url, END) as session:
            session.arm_dead_man_switch()
            run_until_killed(session)
        assert scene.exchange.countdowns
        with scene.session(server.url, 2) as session:
            session.run()
    assert scene.exchange.countdowns == {} and events(scene, "dead_man_fired") == []


def test_an_orderly_end_turns_the_switch_off(market):
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server, scene.session(server.url, END) as session:
        session.arm_dead_man_switch()
        assert json.loads((scene.folder / "events.jsonl").read_text().splitlines()[-1])["kind"] == "dead_man_armed"
        session.run()
    assert scene.exchange.countdowns == {}
    assert json.loads((scene.folder / "state.json").read_text())["dead_man"] is None


def test_an_end_with_entries_left_leaves_the_switch_on(market, monkeypatch):
    monkeypatch.setattr("gridv4_bt.live.safe_end._PAUSES_S", (0.0, 0.0))
    scene = market(settings=(*LIVELY, "regime=none"))
    with InProcess(scene.api) as server, scene.session(server.url, END) as session:
        session.arm_dead_man_switch()
        run_until_killed(session)
        paths = ("DELETE /fapi/v1/order", "DELETE /fapi/v1/batchOrders")
        scene.api.faults = Faults([Fault(kind="gateway", on=path, times=0) for path in paths])
        session.end()
        assert session.ending.entries > 0 and scene.exchange.countdowns


@pytest.mark.parametrize(("words", "armed"), [([], True), (["--dead-man", "0"], False), (["--once"], False)])
def test_it_is_on_by_default(market, words, armed, tmp_path):
    from busy import BUSY_FILE
    from typer.testing import CliRunner

    from gridv4_bt.cli import live as command

    scene = market(bars=4)
    with ServerThread(scene.api) as server:
        place = [
            "--endpoint",
            server.url,
            "--symbol",
            SYMBOL,
            "--state-dir",
            str(scene.folder),
            "--config",
            str(BUSY_FILE),
        ]
        result = CliRunner().invoke(command.app, [*place, *words])
    assert result.exit_code == 0, result.output
    assert bool(events(scene, "dead_man_armed")) is armed
    assert ("should this bot be gone for 600 s" in " ".join(result.output.split())) is armed
