"""Alerts, heartbeat, figures."""

import json
import urllib.request

import pytest

from gridv4_bt.errors import ConfigError
from gridv4_bt.live.monitor import Limits, Monitor, notifier, serve_metrics

CALM = {
    "time": 1_700_000_000_000, "equity": 100.0, "wallet": 100.0, "unrealized": 0.0, "long_qty": 0.0, "short_qty": 0.0,
    "margin_ratio": 0.0, "liquidation_down": float("inf"), "liquidation_up": float("inf"), "resting_orders": 3.0,
    "regime": 0.0, "halted": 0.0,
}  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched(tmp_path):
    told, clock = [], Clock()
    return Monitor(tmp_path, Limits(), lambda title, text: told.append(title), clock), told, clock


@pytest.mark.parametrize(
    ("change", "alert"),
    [
        ({}, None),
        ({"equity": 89.0}, "drawdown"),
        ({"margin_ratio": 0.6}, "margin"),
        ({"liquidation_down": 0.05}, "liquidation near"),
        ({"liquidation_up": 0.05}, "liquidation near"),
    ],
)
def test_a_bar_beyond_a_limit_is_told(watched, change, alert):
    monitor, told, _ = watched
    monitor.bar(CALM, 10, 0)
    monitor.bar(CALM | change, 20, 0)
    assert told == ([f"GridStrategyV4: {alert}"] if alert else [])


def test_many_failed_requests_are_told(watched):
    monitor, told, _ = watched
    monitor.bar(CALM, 100, 0)
    monitor.bar(CALM, 140, 7)
    assert told == []
    monitor.bar(CALM, 180, 20)
    assert told == ["GridStrategyV4: error rate"]


def test_the_same_is_told_once_an_hour(watched):
    monitor, told, clock = watched
    for clock.now in (0.0, 10.0, 3_599.0, 3_600.0):
        monitor.event("alert", what="adopted", symbol="BTCUSDT")
    monitor.event("alert", what="adopted", symbol="ETHUSDT")
    assert len(told) == 3


@pytest.mark.parametrize(("kind", "what"), [("candle_missing", "stale candle"), ("trades_late", "desync")])
def test_events_that_a_person_should_know(watched, kind, what):
    monitor, told, _ = watched
    monitor.event(kind, symbol="BTCUSDT")
    monitor.event("order", id="x")
    assert told == [f"GridStrategyV4: {what}"]


def test_the_heartbeat_is_written_whole(watched, tmp_path):
    monitor, _, _ = watched
    monitor.beat(bars=7)
    assert json.loads((tmp_path / "heartbeat.json").read_text())["bars"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat.json"]


def test_metrics_are_served_on_this_machine_only(watched):
    pytest.importorskip("prometheus_client")
    monitor, _, _ = watched
    monitor.bar(CALM, 10, 0)
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    end = serve_metrics(monitor, port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        with pytest.raises(ConfigError, match="choose another port"):
            serve_metrics(monitor, port)
    finally:
        end()
    assert "gridv4_equity 100.0" in text


def test_an_address_that_nobody_understands_is_named_by_its_number_only():
    pytest.importorskip("apprise")
    with pytest.raises(ConfigError, match="number 1") as error, notifier("nonsense-with-secret"):
        pass
    assert "secret" not in str(error.value)
