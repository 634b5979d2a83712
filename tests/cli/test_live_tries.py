"""`run_live.py` as a careful user tries it: what is missing, full, damaged, changed or done at the wrong moment."""

import http.server
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

import filelock
from typer.testing import CliRunner

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli import live as command
from gridv4_bt.config import load_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.ids import parse_id
from gridv4_bt.live.keys import KEY, SECRET
from gridv4_bt.live.monitor import NOTIFY

SCRIPT = Path(__file__).resolve().parents[2] / "run_live.py"


@pytest.fixture(scope="module")
def candles():
    return sample_market(days=14)


@pytest.fixture
def exchange(candles):
    """A local exchange that waits to be told, with a bit more history than a session reads."""
    data = [SymbolData(SYMBOL, candles.candles.iloc[:1_130], candles.funding)]
    feeds = make_feeds(data)
    api = open_api(feeds, load_config(BUSY_FILE, []), start_ms=int(feeds[0].candles.time[1_100]))
    with ServerThread(api) as server:
        server.api = api
        yield server


@pytest.fixture
def run(exchange, tmp_path):
    """``run("--once")`` trades at the exchange and gives exit code and all that was said."""

    def call(*words, symbol=SYMBOL, state="state"):
        place = ["--endpoint", exchange.url, "--symbol", symbol, "--state-dir", tmp_path / state]
        result = CliRunner().invoke(command.app, list(map(str, [*place, "--config", BUSY_FILE, *words])))
        return result.exit_code, result.output + (f" {result.exception}" if result.exception else "")

    return call


def open_orders(exchange) -> list:
    orders = exchange.api.exchange.order_records.open_orders()
    return [name for order in orders if (name := parse_id(order.client_id)) is not None]


def alerts(folder) -> list[str]:
    lines = (folder / "orders.jsonl").read_text().splitlines()
    return [event["what"] for event in map(json.loads, lines) if event["kind"] == "alert"]


@contextmanager
def started(url, state, *words, **more):
    """A session in a process of its own, an hour of the market in four seconds."""
    options = ["--endpoint", url, "--symbol", SYMBOL, "--speed", "900", "--state-dir", state, "--config", BUSY_FILE]
    options = [str(SCRIPT), *map(str, options), *words]
    with subprocess.Popen(
        [sys.executable, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, process, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)


# --- before anything is sent


def test_an_endpoint_where_nobody_is_is_named_with_its_cure(run, exchange, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    code, said = run("--endpoint", url)
    assert code == 1 and url in said and "gridv4 exchange" in said
    assert "http://127.0.0.1:8899" in run("--endpoint", "127.0.0.1:8899")[1]


def test_a_metrics_port_that_is_taken_is_refused_before_anything_is_sent(run, exchange):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        _, said = run("--metrics", taken.getsockname()[1])
    assert "choose another port" in said
    assert not exchange.api.exchange.hedge_mode  # a session would have switched it on


def test_a_state_directory_that_cannot_be_written_is_refused(run, tmp_path):
    (tmp_path / "state").write_text("a file")
    _, said = run("--once")
    assert "--state-dir" in said and "name a folder that can be written" in said


@pytest.mark.skipif(find_spec("ccxtbt") is not None, reason="the package ccxtbt is installed")
@pytest.mark.parametrize("words", [("--paper",), ("--endpoint", "http://127.0.0.1:1"), ("--demo",), ()])
def test_without_the_package_ccxtbt_its_address_is_named_and_nothing_written(words, tmp_path):
    words = ["--store", "ccxtbt", "--symbol", SYMBOL, "--state-dir", str(tmp_path / "state"), *words]
    result = CliRunner().invoke(command.app, words)
    assert isinstance(result.exception, ConfigError)  # which ends with 2
    assert "git+https://github.com/Dave-Vallance/bt-ccxt-store@390bd304" in str(result.exception)
    assert not (tmp_path / "state").exists()


def test_without_candles_at_the_start_it_ends_with_1_and_the_cure(run, exchange, tmp_path):
    exchange.api.faults = Faults([Fault(kind="gateway", on="/fapi/v1/klines", times=0)])
    code, said = run("--once")
    assert code == 1 and "keeps failing" in said and "start again" in said
    assert "halted" in alerts(tmp_path / "state") and open_orders(exchange) == []


# --- the doctor


def test_the_preflight_check_names_each_thing_that_is_wrong(run, exchange, tmp_path):
    market = exchange.api.exchange
    exchange.call(lambda: market.trade_by_hand(SYMBOL, "BUY", "BOTH", 0.01))
    exchange.call(lambda: setattr(market.books[SYMBOL], "leverage", 3))
    code, said = run("--check", "--set", "order_pct=0.0001")
    assert code == command.FAILED_CHECK
    table = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in said.splitlines() if "│" in line}
    assert table["hedge mode"] == table[f"{SYMBOL} leverage"] == table[f"{SYMBOL} order size"] == "NO"
    assert table["clock"] == table["key may trade"] == table["wallet"] == "ok"


def test_the_preflight_check_leaves_a_state_alone_and_looks_while_a_bot_works(run, exchange, tmp_path):
    assert run("--once")[0] == 0
    state = tmp_path / "state"
    kept = state / "state.json"
    head, rest = kept.read_text().split("\n", 1)
    kept.write_text(json.dumps(json.loads(head) | {"place": "binance"}) + "\n" + rest)  # of another place
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    assert "foreign orders" in run("--check")[1]
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    kept.write_text(head + "\n" + rest)
    code, said = run("--check")  # its orders are known by the bot's name
    assert code == 0, said
    with filelock.FileLock(state / "lock"):
        assert run("--check")[0] == 0
        assert "another bot works here" in run("--once")[1]


# --- between two sessions


def test_other_levels_and_another_symbol_are_taken_up(run, exchange, tmp_path):
    state = tmp_path / "state"
    assert run("--once")[0] == 0
    assert len(open_orders(exchange)) == 20
    exchange.call(lambda: exchange.api.exchange.advance_bars(1))
    assert run("--once", "--set", "levels=4", "--set", "regime=none")[0] == 0
    assert len(open_orders(exchange)) == 8
    exchange.call(lambda: exchange.api.exchange.advance_bars(1))
    assert run("--once", "--set", "levels=12", "--set", "regime=none")[0] == 0
    assert len(open_orders(exchange)) == 24
    code, said = run("--once", symbol="ETHUSDT")
    assert "Try SAMPLE/USDT:USDT" in said
    assert len(open_orders(exchange)) == 24 and (state / "state.json").exists()
    assert run("--flatten")[0] == 0
    assert open_orders(exchange) == []


def test_damaged_states_are_refused_until_a_person_has_looked(run, exchange, tmp_path):
    assert run("--once")[0] == 0
    for name in ("state.json", "state.previous.json"):
        (tmp_path / "state" / name).write_text("[]\n")
    for _ in range(2):
        _, said = run("--once")
        assert "No good state is left" in said
    assert len(open_orders(exchange)) == 20


def test_starts_that_come_to_nothing_leave_no_heap_of_folders(run, exchange, tmp_path):
    for _ in range(2):
        run("--once", symbol="ETHUSDT")
    assert not list((tmp_path / "state").glob("before-*"))


def test_a_line_that_was_cut_is_taken_away_before_the_next_one_is_written(run, exchange, tmp_path):
    assert run("--once")[0] == 0
    state = tmp_path / "state"
    files = [state / "orders.jsonl", state / "events.jsonl", state / f"candles-{SYMBOL}.csv"]
    whole = [path.read_text() for path in files]
    for path, text in zip(files, whole, strict=True):
        path.write_text(text + text.splitlines()[-1][:25])
    exchange.call(lambda: exchange.api.exchange.advance_bars(1))
    assert run("--once")[0] == 0
    for path, text in zip(files, whole, strict=True):
        now = path.read_text()
        assert now.startswith(text) and len(now) > len(text)
        widths = {line.count(",") for line in now.splitlines()} if path.suffix == ".csv" else {0}
        assert len(widths) == 1
    assert all(map(json.loads, files[0].read_text().splitlines()))


def test_too_short_a_history_is_told(run, exchange, tmp_path):
    assert run("--set", "warm_up=1120")[0] == 0  # till the candles end
    assert alerts(tmp_path / "state").count("history_short") == 1


# --- the end


def test_a_signal_during_the_start_ends_it_in_order(exchange, tmp_path):
    state = tmp_path / "state"
    with started(exchange.url, state) as bot:
        wait_for(state / "markets.json", bot)
        bot.send_signal(signal.SIGTERM)
        said, _ = bot.communicate(timeout=60)
    assert bot.returncode == 0, said
    assert open_orders(exchange) == []


def test_the_second_signal_ends_at_once(exchange, tmp_path):
    state = tmp_path / "state"
    exchange.api.faults = Faults([Fault(kind="slow", on="DELETE /fapi/v1/batchOrders", times=0, seconds=6)])
    with started(exchange.url, state) as bot:
        wait_for(state / "heartbeat.json", bot)
        bot.send_signal(signal.SIGINT)
        time.sleep(0.5)
        bot.send_signal(signal.SIGINT)
        said, _ = bot.communicate(timeout=15)
    time.sleep(1.1)  # the exchange answers its last request
    assert bot.returncode == 130, said
    assert "ended at once" in said and "Traceback" not in said


def test_a_full_disk_ends_it_and_once_there_is_room_it_goes_on(exchange, run, tmp_path):
    """The limit of a file's size stands for the disk's."""
    state = tmp_path / "state"
    assert run("--once")[0] == 0
    limit = (state / "events.jsonl").stat().st_size + 3_000
    assert limit < 90_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with started(exchange.url, state, "--speed", "max", preexec_fn=small_files) as bot:
        said, _ = bot.communicate(timeout=60)
    assert bot.returncode == 1
    assert "File too large" in said and "start again" in said and "Traceback" not in said
    assert run("--once")[0] == 0
    assert "state_set_aside" not in alerts(state)


def test_the_last_alert_arrives_although_the_program_ends(exchange, tmp_path):
    """Addresses in .env are read too."""
    pytest.importorskip("apprise")
    pytest.importorskip("dotenv")
    told = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(0.5)  # a slow service
            told.append(json.loads(body)["title"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    exchange.api.faults = Faults(
        [Fault(kind="error", code=-2015, status=401, on="/fapi/v1/positionSide/dual", times=0)]
    )
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        (tmp_path / ".env").write_text(f"{NOTIFY}=json://127.0.0.1:{service.server_address[1]}\n")
        quiet = {name: value for name, value in os.environ.items() if name not in (NOTIFY, KEY, SECRET)}
        with started(exchange.url, tmp_path / "state", cwd=tmp_path, env=quiet) as bot:
            said, _ = bot.communicate(timeout=60)
        service.shutdown()
        thread.join()
    assert bot.returncode == command.NEEDS_A_PERSON, said
    assert "check the key" in said
    assert told == ["GridStrategyV4: halted"]
