"""Alerts, heartbeat, figures."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from live_market import Market, events

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.tracker import PositionTracker
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.monitor import Limits, Monitor, notifier, send_test
from gridv4_bt.live.prometheus import serve_metrics

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
    monitor.bar("BTCUSDT", CALM, 10, 0)
    monitor.bar("BTCUSDT", CALM | change, 20, 0)
    assert told == ([f"GridStrategyV4: {alert}"] if alert else [])


def test_many_failed_requests_are_told(watched):
    monitor, told, _ = watched
    monitor.bar("BTCUSDT", CALM, 100, 0)
    monitor.bar("BTCUSDT", CALM, 140, 7)
    assert told == []
    monitor.bar("BTCUSDT", CALM, 180, 20)
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


@pytest.fixture
def scraped():
    """scraped(monitor, books) -> the lines that Prometheus gets."""
    pytest.importorskip("prometheus_client")
    import socket

    def scrape(monitor, *books):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        end = serve_metrics(monitor, port, *books)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
            with pytest.raises(ConfigError, match="choose another port"):
                serve_metrics(monitor, port)
        finally:
            end()
        return text.splitlines()

    return scrape


def test_metrics_of_two_symbols_do_not_overwrite_each_other(watched, scraped):
    monitor, _, _ = watched
    monitor.bar("BTCUSDT", CALM | {"long_qty": 0.5}, 10, 0)
    monitor.bar("ETHUSDT", CALM | {"long_qty": 2.0}, 11, 0)
    lines = scraped(monitor)
    assert "gridv4_equity 100.0" in lines
    assert 'gridv4_long_qty{symbol="BTCUSDT"} 0.5' in lines
    assert 'gridv4_long_qty{symbol="ETHUSDT"} 2.0' in lines


def test_metrics_count_fills_and_add_up_what_closings_have_brought(watched, scraped):
    monitor, _, _ = watched
    for side in ("LONG", "LONG", "SHORT"):
        monitor.event("fill", symbol="BTCUSDT", side=side)
    # LONG 2 bought at 100 and sold at 110: 20 gross, fees 0.2 % of 200 and 220, no funding.
    account, leg = Account(1_000.0), PositionTracker(PositionSide.LONG)
    account.open_fill("BTCUSDT", leg, 2.0, 100.0, 0, 0, 0.01, 0.002, maker=True)
    account.close_fill("BTCUSDT", leg, 0, 2.0, 110.0, 1, TradeLabel.GRID, 0.002, maker=True)
    lines = scraped(monitor, lambda: account)
    assert 'gridv4_fills_total{side="LONG",symbol="BTCUSDT"} 2.0' in lines
    assert 'gridv4_fills_total{side="SHORT",symbol="BTCUSDT"} 1.0' in lines
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(found['gridv4_closed_closings{symbol="BTCUSDT"}']) == 1.0
    assert float(found['gridv4_closed_fees{symbol="BTCUSDT"}']) == pytest.approx(0.84)
    assert float(found['gridv4_closed_net{symbol="BTCUSDT"}']) == pytest.approx(19.16)
    assert float(found["gridv4_account_fees"]) == pytest.approx(0.84)


class Receiver(BaseHTTPRequestHandler):
    """A service that takes the messages sent to /good and refuses the token of all others."""

    taken = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.path == "/good"
        if good:
            self.taken.append(json.loads(body)["message"])
        self.send_response(200 if good else 401)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
def test_a_test_message_is_sent_to_each_address_and_a_dead_one_is_told(capfd):
    pytest.importorskip("apprise")
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"json://127.0.0.1:{server.server_port}"
        assert send_test(f"{place}/good {place}/dead-secret-token") == [True, False]
        server.shutdown()
    assert Receiver.taken == ["This address receives the alerts of a bot."]
    assert "secret" not in "".join(capfd.readouterr())


def test_an_address_that_nobody_understands_is_named_by_its_number_only():
    pytest.importorskip("apprise")
    with pytest.raises(ConfigError, match="number 1") as error, notifier("nonsense-with-secret"):
        pass
    assert "secret" not in str(error.value)


def test_every_alert_that_was_sent_is_in_the_record(tmp_path):
    """Margin, drawdown and a near liquidation are found by the monitor itself: no event of the session says so."""
    market = Market(tmp_path / "bot", bars=8)
    limits = Limits(margin_ratio=1e-9)
    with ServerThread(market.api) as server, market.session(server.url, limits=limits) as session:
        session.run()
    sent = [f"{one['title']}: {one['text']}" for one in events(market, "alerted")]
    assert sent == market.alerts and "GridStrategyV4: margin: ratio 0.00" in sent
