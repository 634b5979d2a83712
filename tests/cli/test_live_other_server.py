"""`--endpoint` takes any server that speaks Binance's REST: its clock, the user's keys, and what it lacks is named."""

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from live_market import Market
from typer.testing import CliRunner

from feeds.synthetic import SYMBOL
from gridv4_bt.cli import live as command
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.control import PREFIX
from gridv4_bt.exchange.messages import Response
from gridv4_bt.exchange.replay_clock import RunningClock
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.clock import WallClock
from gridv4_bt.live.keys import KEY, SECRET

MINE = ("my-key", "my-secret")
#: Of what a session needs before the first close; then it decides.
SECONDS_LEFT = 12


class OtherServer(Api):
    """An exchange that runs in real time, has no control pages, and lacks some paths."""

    lacks: tuple[str, ...] = ()

    def respond(self, request):
        if request.path.startswith((PREFIX, *self.lacks)):
            return Response(404, b"<html>not found</html>", {"Content-Type": "text/html"})
        return super().respond(request)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Seconds before the close of a candle, with keys of its own."""
    scene = Market(tmp_path / "unused", bars=12)
    scene.exchange.advance(scene.exchange.now + BAR_MS - 1000 * SECONDS_LEFT)
    api = OtherServer(scene.exchange, *MINE, go_on=RunningClock(1.0))
    monkeypatch.setenv(KEY, MINE[0])
    monkeypatch.setenv(SECRET, MINE[1])
    monkeypatch.setattr(command, "with_live_history", lambda config: config)
    with ServerThread(api) as thread:
        yield api, thread.url


def trade(url, folder, *words):
    paper = ("--config", str(BUSY_FILE), "--set", "regime=none", "--quiet", "--state-dir", str(folder))
    return CliRunner().invoke(command.app, ["--endpoint", url, "--symbol", SYMBOL, "--once", *paper, *words])


def test_it_is_traded_by_its_own_clock_with_the_users_keys(server, tmp_path):
    api, url = server
    result = trade(url, tmp_path / "state")
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "state" / "equity.csv").read_text().splitlines()) == 2
    assert len(api.exchange.order_records.open_orders()) > 5


def test_what_it_lacks_is_named_before_anything_is_sent(server, tmp_path):
    api, url = server
    api.lacks = ("/fapi/v1/openAlgoOrders", "/fapi/v1/countdownCancelAll")
    result = trade(url, tmp_path / "state")
    assert isinstance(result.exception, ConfigError)
    assert "it lacks GET /fapi/v1/openAlgoOrders, which a session needs" in str(result.exception)
    assert not api.exchange.order_records.orders


def test_a_wrong_key_is_said(server, tmp_path, monkeypatch):
    _, url = server
    monkeypatch.setenv(SECRET, "another")
    result = trade(url, tmp_path / "state")
    assert isinstance(result.exception, ConfigError) and "does not answer as Binance's REST does" in str(
        result.exception
    )


def test_a_server_of_another_kind_is_said(server, tmp_path, monkeypatch):
    monkeypatch.setattr(WallClock, "sleep", lambda clock, seconds: None)  # between the tries
    api, url = server
    api.lacks = ("/",)
    result = trade(url, tmp_path / "state")
    assert isinstance(result.exception, ConfigError) and "does not answer as Binance's REST does" in str(
        result.exception
    )
