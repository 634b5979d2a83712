"""The clock of a local exchange: moved on where it waits to be told, followed where it goes on by itself."""

import threading
import time

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.exchange.replay_clock import RunningClock
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.paper import PaperClock


def serve(go_on=None) -> ServerThread:
    market = sample_market(days=2)
    feeds = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)])
    return ServerThread(open_api(feeds, load_config(BUSY_FILE, []), go_on=go_on))


def test_a_stepped_market_is_moved_on_by_waiting():
    with serve() as server:
        clock = PaperClock(ServerClock(server.url), float("inf"), threading.Event())
        began = clock.now()
        time.sleep(0.05)
        assert clock.now() == began
        assert clock.wait_until(began + 3_600_000)
        assert clock.now() == began + 3_600_000


def test_a_market_that_goes_on_by_itself_is_followed():
    with serve(RunningClock(1_000.0)) as server:
        clock = PaperClock(ServerClock(server.url), float("inf"), threading.Event())
        began, wall = clock.now(), time.monotonic()
        assert clock.wait_until(began + 200_000)
        assert time.monotonic() - wall >= 0.19
        assert began + 200_000 <= clock.now() < began + 20_000_000
        time.sleep(0.02)
        assert clock.now() >= began + 220_000


def test_a_stop_ends_the_waiting_and_so_does_the_end_of_the_candles():
    stop = threading.Event()
    with serve(RunningClock(1.0)) as server:
        clock = PaperClock(ServerClock(server.url), float("inf"), stop)
        threading.Timer(0.1, stop.set).start()
        wall = time.monotonic()
        assert not clock.wait_until(clock.now() + 3_600_000)
        assert time.monotonic() - wall < 5.0
    with serve(RunningClock(1e8)) as server:
        clock = PaperClock(ServerClock(server.url), float("inf"), threading.Event())
        assert not clock.wait_until(clock.now() + 10 * 86_400_000)
        assert clock.ended


def test_an_exchange_that_is_gone_is_told(monkeypatch):
    monkeypatch.setattr("gridv4_bt.live.paper._PATIENCE", (0.01,))
    with serve() as server:
        clock = PaperClock(ServerClock(server.url), float("inf"), threading.Event())
    with pytest.raises(Unreachable, match="the local exchange is gone"):
        clock.wait_until(clock.now() + 60_000)
