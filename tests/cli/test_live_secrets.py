"""A start by keys in a process of its own: neither key nor secret nor signature shows, whatever happens to it."""

import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.keys import KEY, SECRET
from gridv4_bt.live.monitor import NOTIFY

ROOT = Path(__file__).resolve().parents[2]
MY_KEY, MY_SECRET = "KEYKEYKEYKEY0123456789", "SECRETSECRET9876543210"
#: `run_live.py` with everything logged that logs, and a wire to the address given in place of the network.
PROGRAM = """
import logging, os
logging.basicConfig(level=logging.DEBUG)
from gridv4_bt.cli import live
from gridv4_bt.exchange.client import wired_session
from gridv4_bt.live.ccxt_client import make_client
from gridv4_bt.live.runner import Session
live.make_client = lambda keys, demo=False: make_client(keys, wired_session(os.environ["WIRED_TO"] or None))
{more}
live.main()
"""
BUG = """
def bug(self):
    self.gateway.client.session = wired_session(None)
    self.gateway.client.fetch_balance()
Session.run = bug
"""


@pytest.fixture
def exchange():
    """A local exchange that knows my key, and spoils some answers."""
    market = sample_market(days=12)
    feeds = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)])
    api = open_api(feeds, load_config(BUSY_FILE, []), start_ms=int(feeds[0].candles.time[1_100]))
    api._key, api._secret = MY_KEY, MY_SECRET
    kinds = ("lost_after", "html", "unknown", "cut", "gateway", "unavailable")
    api.faults = Faults([Fault(kind=kind, times=1, on="*", skip=7 + 3 * n) for n, kind in enumerate(kinds)])
    with ServerThread(api) as server:
        yield server


@pytest.fixture
def told():
    """A service for alerts: its address and what was sent to it."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        yield f"json://127.0.0.1:{service.server_address[1]}", bodies
        service.shutdown()
        thread.join()


@contextmanager
def started(folder, *words, url="", more="", **variables):
    options = ["--symbol", SYMBOL, "--config", str(BUSY_FILE), *words]
    command = [sys.executable, "-X", "dev", "-c", PROGRAM.format(more=more), *options]
    kept = {name: value for name, value in os.environ.items() if name not in (KEY, SECRET, NOTIFY)}
    variables = kept | {"PYTHONPATH": str(ROOT), "WIRED_TO": url} | variables
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def process_list(process) -> str:
    """Return what anybody on the machine sees of a process and its children."""
    seen = []
    waiting = [process.pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        for name in ("cmdline", "comm"):
            seen.append((folder / name).read_bytes().replace(b"\0", b" ").decode())
        for task in (folder / "task").iterdir():
            waiting.extend((task / "children").read_text().split())
    if shutil.which("ps"):
        seen.append(subprocess.run(["ps", "-ef", "ww"], capture_output=True, text=True).stdout)
    return "\n".join(seen)


def written(folder) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and path.name != ".env"]


def check(*texts: str) -> None:
    for text in texts:
        for secret in (MY_KEY, MY_SECRET, "signature="):
            assert secret not in text


def test_nothing_shows_while_a_session_trades(exchange, told, tmp_path):
    pytest.importorskip("apprise")
    pytest.importorskip("prometheus_client")
    if not Path("/proc/self/task").is_dir():
        pytest.skip("no /proc on this machine")
    address, alerts = told
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {KEY: MY_KEY, SECRET: MY_SECRET, NOTIFY: address}
    with started(tmp_path, "--metrics", str(port), url=exchange.url, **variables) as bot:
        beat = tmp_path / "data" / "live_state" / "heartbeat.json"
        until = time.monotonic() + 240.0
        while not beat.exists() and bot.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        seen = process_list(bot)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            metrics = answer.read().decode()
        bot.send_signal(signal.SIGTERM)
        said, _ = bot.communicate(timeout=240)
    assert bot.returncode == 0, said[-3000:]
    assert "failure" in said and SYMBOL in seen and "gridv4_equity" in metrics
    check(said, seen, metrics, *alerts, *written(tmp_path))


def test_nothing_shows_without_a_network(told, tmp_path):
    pytest.importorskip("dotenv")
    pytest.importorskip("apprise")
    address, alerts = told
    (tmp_path / ".env").write_text(f"{KEY}={MY_KEY}\n{SECRET}={MY_SECRET}\n{NOTIFY}={address}\n")
    with started(tmp_path, more="from feeds import patience; patience._FIRST_PAUSE = 0.01") as bot:
        said, _ = bot.communicate(timeout=240)
    assert bot.returncode == 1
    assert "the exchange does not answer" in said and "check the network" in said and "Traceback" not in said
    check(said, *alerts, *written(tmp_path))


def test_nothing_shows_in_the_trace_of_a_bug(exchange, told, tmp_path):
    pytest.importorskip("apprise")
    address, alerts = told
    variables = {KEY: MY_KEY, SECRET: MY_SECRET, NOTIFY: address}
    with started(tmp_path, url=exchange.url, more=BUG, **variables) as bot:
        said, _ = bot.communicate(timeout=240)
    assert bot.returncode == 1
    assert "Traceback" in said and "in fetch_balance" in said and "This is a bug" in said
    assert any("halted" in alert for alert in alerts)
    check(said, *alerts, *written(tmp_path))
