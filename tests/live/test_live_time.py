"""Clocks that step: no forming candle is ever traded on, and no bar is missed because of this machine's clock."""

import threading
from itertools import pairwise

import live_market
import pytest
from live_market import InProcess, differences, events, rows

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS, HOUR_MS, MINUTE_MS
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.live import clock as clock_module
from gridv4_bt.live.clock import WallClock
from gridv4_bt.live.paper import PaperClock
from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades


class SteppedClock(PaperClock):
    """A machine's clock at a local exchange: it steps, and notices that within a minute of waiting, as `WallClock`."""

    def __init__(self, *args):
        super().__init__(*args)
        self.step = self.noticed = self.ahead = 0
        self.notices = True

    def machine(self):
        return super().now() + self.step

    def now(self):
        return self.machine() - self.ahead

    def sleep(self, seconds):
        if seconds > 0.0:
            self._advance(super().now() + round(1000 * seconds))

    def wait_until(self, time_ms):
        while not self.ended:
            if self.notices and self.step != self.noticed and self.on_step():
                self.noticed = self.step
            left = time_ms - self.now()
            if left <= 0:
                return True
            before = super().now()
            if not super().wait_until(before + min(left, MINUTE_MS)) or super().now() == before:
                break  # the candles have ended
        return not self.ended


def stepped(scene, monkeypatch, at, seconds, notices=True):
    """Run a session whose machine's clock steps after a bar; return it."""
    monkeypatch.setattr(live_market, "PaperClock", SteppedClock)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        clock = session.clock
        clock.notices = notices
        session.gateway.client.milliseconds = clock.machine

        def on_bar(symbol):
            if session.bars == at:
                clock.step = 1000 * seconds

        session._on_bar = on_bar
        session.run()
        return session


def unequal(scene, folder):
    """Return where the session differs from its backtest."""
    records, _ = scene.backtest()
    write_trades(folder / "trades.csv", records)
    write_equity(folder / "equity.csv", records)
    return [
        text
        for name in ("trades.csv", "equity.csv")
        for text in differences(rows(scene.folder / name), rows(folder / name))
    ]


@pytest.mark.parametrize("notices", [True, False], ids=["noticed at once", "at the candle"])
@pytest.mark.parametrize("seconds", [600, 3_600, -30])
def test_a_clock_that_steps_changes_nothing_that_is_traded(market, tmp_path, monkeypatch, seconds, notices):
    """Before: at +600 s a forming candle was traded on, at +3,600 s an empty one was in the indicators for good."""
    scene = market(bars=24, first=4_640)
    stepped(scene, monkeypatch, 8, seconds, notices)
    assert unequal(scene, tmp_path) == []
    [alert] = [text for text in scene.alerts if "clock stepped" in text]
    assert f"seconds {float(seconds)}" in alert


def test_a_clock_that_steps_back_makes_nobody_blind(market, tmp_path, monkeypatch):
    """Before: at -10,800 s no bar was decided for 3 1/4 hours, without an alert."""
    scene = market(bars=24, first=4_640)
    stepped(scene, monkeypatch, 8, -10_800)
    assert unequal(scene, tmp_path) == []
    assert any("clock stepped" in text and "seconds -10800.0" in text for text in scene.alerts)


def test_a_step_that_nobody_notices_is_found_within_the_hour(market, monkeypatch):
    """Without a monotonic clock: /time is asked once an hour; the bars of that hour at most are missing."""
    scene = market(bars=24, first=4_640)
    stepped(scene, monkeypatch, 8, -10_800, notices=False)
    times = [row["time"] for row in rows(scene.folder / "equity.csv")]
    assert len(times) >= 24 - 5
    assert any("clock stepped" in text for text in scene.alerts)


def test_a_step_while_the_exchange_tells_no_time_is_asked_about_until_it_does(market, tmp_path, monkeypatch):
    scene = market(bars=24, first=4_640)
    monkeypatch.setattr(live_market, "PaperClock", SteppedClock)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        session.gateway.client.milliseconds = session.clock.machine

        def on_bar(symbol):
            if session.bars == 8:
                session.clock.step = 600_000
                scene.api.faults = Faults([Fault(kind="gateway", on="/fapi/v1/time", times=4)])

        session._on_bar = on_bar
        session.run()
    assert unequal(scene, tmp_path) == []
    assert len([text for text in scene.alerts if "clock stepped" in text]) == 1


def test_no_candle_is_asked_for_before_its_close_by_the_exchanges_time(market, monkeypatch):
    """A forming candle is not even received: what is closed is known before the candle is asked for."""
    scene = market(bars=24, first=4_640)
    stepped(scene, monkeypatch, 8, 600, notices=False)
    times = {row["time"] for row in rows(scene.folder / f"candles-{SYMBOL}.csv")}
    assert len(times) == len(rows(scene.folder / f"candles-{SYMBOL}.csv"))
    assert events(scene, "candle_revised") == []


class FakeTime:
    """Wall and monotonic clock of a machine; waiting passes time."""

    def __init__(self):
        self.wall, self.mono = 1_700_000_000.0, 50.0

    def time(self):
        return self.wall

    def monotonic(self):
        return self.mono

    def pass_(self, seconds):
        self.wall += seconds
        self.mono += seconds


@pytest.fixture
def machine(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(clock_module, "time", fake)
    return fake


@pytest.mark.parametrize(("step", "called"), [(600.0, 1), (-10_800.0, 1), (0.4, 0), (0.0, 0)])
def test_the_wall_clock_notices_a_step_against_the_monotonic_one(machine, monkeypatch, step, called):
    stop, calls = threading.Event(), []
    clock = WallClock(stop)

    def wait(seconds):
        machine.pass_(seconds)
        if not waited:
            machine.wall += step
        waited.append(seconds)
        return False

    def on_step():
        calls.append(clock.now())
        clock.ahead += round(1000 * step)  # as the exchange's clock says
        return True

    waited = []
    clock.on_step = on_step
    monkeypatch.setattr(stop, "wait", wait)
    began = machine.mono
    assert clock.wait_until(clock.now() + 900_000)
    assert len(calls) == called
    assert machine.mono - began == pytest.approx(900.0, abs=0.5)
    assert max(waited) <= 60.0


def test_a_step_is_asked_about_again_without_an_answer(machine, monkeypatch):
    stop, calls = threading.Event(), []
    clock = WallClock(stop)
    clock.on_step = lambda: calls.append(1) or len(calls) > 2
    monkeypatch.setattr(stop, "wait", machine.pass_)
    machine.wall += 100.0
    assert clock.wait_until(clock.now() + 600_000)
    assert len(calls) == 3


def test_the_hourly_look_is_one_request_of_weight_1(market):
    scene = market(bars=24, first=4_640)
    with InProcess(scene.api) as server, scene.session(server.url) as session:
        asked = []
        inner = session.connection.check_clock
        session.connection.check_clock = lambda: asked.append(session.clock.now()) or inner()
        session.run()
    gaps = [later - one for one, later in pairwise(asked)]
    assert len(asked) >= 5 and all(HOUR_MS <= gap < HOUR_MS + BAR_MS for gap in gaps)
