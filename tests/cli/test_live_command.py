"""The command line of `run_live.py`, and that no key ever shows."""

import inspect
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from typer.testing import CliRunner

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli import live as command
from gridv4_bt.config import load_config
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.keys import KEY, SECRET, Keys, read_keys
from gridv4_bt.live.paper import PaperClock, gateway_at
from gridv4_bt.live.runner import Session

SCRIPT = Path(__file__).resolve().parents[2] / "run_live.py"


@pytest.fixture
def short_market(monkeypatch):
    """Let --paper take a few bars of history only."""
    monkeypatch.setattr(command, "with_live_history", lambda config: config)
    monkeypatch.setattr(command, "BARS_A_DAY", 12)


def run(*words: str):
    return CliRunner().invoke(command.app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--paper", "--demo"], "give one"),
        ([], "--symbol is missing"),
        (["--paper", "--speed", "fast"], "--speed fast"),
        (["--paper", "--store", "other"], "own or ccxtbt"),
        (["--paper", "--dead-man", "3"], "15 to 3600"),
        (["--paper", "--cash", "-1"], "--cash"),
        (["--paper", "--set", "leverage=2.5"], "whole numbers"),
    ],
)
def test_a_bad_option_is_refused_with_its_cure(tmp_path, words, message):
    result = run(*words, "--state-dir", tmp_path / "state")
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_without_keys_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.delenv(SECRET, raising=False)
    monkeypatch.chdir(tmp_path)
    result = run("--symbol", "BTCUSDT", "--state-dir", tmp_path / "state")
    assert "no API key" in str(result.exception)


def test_paper_trades_and_goes_on_and_begins_anew(tmp_path, short_market):
    state = tmp_path / "state"
    paper = ("--paper", "--days", 1, "--quiet", "--config", BUSY_FILE, "--state-dir", state)
    first = run(*paper, "--once")
    assert first.exit_code == 0, first.output
    assert len((state / "equity.csv").read_text().splitlines()) == 2
    second = run(*paper)
    assert second.exit_code == 0, second.output
    assert len((state / "equity.csv").read_text().splitlines()) == 14
    third = run(*paper, "--once")
    assert third.exit_code == 0, third.output
    assert len((state / "equity.csv").read_text().splitlines()) == 2
    assert len(list(state.glob("before-*"))) == 1


def events(state: Path, kind: str) -> list[dict]:
    lines = (state / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def test_once_decides_at_one_candle_and_leaves_its_orders(tmp_path, short_market):
    state = tmp_path / "state"
    result = run("--paper", "--days", 1, "--once", "--config", BUSY_FILE, "--state-dir", state)
    assert result.exit_code == 0, result.output
    assert "\n1 bars traded" in result.output
    assert events(state, "order") and not events(state, "cancel")


def test_the_package_ccxtbt_trades_on_paper_too(tmp_path, short_market):
    pytest.importorskip("ccxtbt")
    state = tmp_path / "state"
    result = run("--paper", "--days", 1, "--once", "--store", "ccxtbt", "--config", BUSY_FILE, "--state-dir", state)
    assert result.exit_code == 0, result.output
    assert "\n1 bars traded" in result.output


def test_a_session_that_goes_on_keeps_its_parameters(tmp_path, short_market):
    state = tmp_path / "state"
    used = lambda: load_config(state / "config.toml")  # noqa: E731
    paper = ("--paper", "--days", 1, "--once", "--state-dir", state)
    first = run(*paper, "--quiet", "--config", BUSY_FILE, "--set", "levels=7")
    assert first.exit_code == 0, first.output
    began = load_config(BUSY_FILE, ["levels=7"])
    assert used() == began
    # Nothing is named: all is kept, and listed.
    second = run(*paper)
    assert second.exit_code == 0, second.output
    assert used() == began
    assert "--new-defaults takes today's defaults" in " ".join(second.output.split())
    default = load_config()
    assert f"│ levels │ 7 │ {default.levels} │" in " ".join(second.output.split())
    [event] = events(state, "parameters")
    assert event["kept"]["levels"] == [7, default.levels]
    assert set(event["kept"]) == {name for name, value in began if value != getattr(default, name)}
    # What is named counts, and is kept from then on.
    third = run(*paper, "--quiet", "--set", "levels=9")
    assert third.exit_code == 0, third.output
    assert used() == began.model_copy(update={"levels": 9})
    # Today's defaults for all that is not named.
    fourth = run(*paper, "--quiet", "--set", "k=2.5", "--new-defaults")
    assert fourth.exit_code == 0, fourth.output
    assert used() == load_config(None, ["k=2.5"])
    assert len(events(state, "parameters")) == 2  # of the second and third start: the fourth kept nothing


def test_a_paper_market_that_begins_anew_takes_todays_defaults(tmp_path, short_market):
    state = tmp_path / "state"
    paper = ("--paper", "--days", 1, "--state-dir", state)
    assert run(*paper, "--quiet", "--config", BUSY_FILE).exit_code == 0  # to the end of the market
    again = run(*paper, "--once")
    assert again.exit_code == 0, again.output
    assert "--new-defaults" not in again.output
    assert load_config(state / "config.toml") == load_config()


def test_a_file_of_removed_parameters_ends_with_2_and_changes_nothing(tmp_path, short_market):
    state = tmp_path / "state"
    paper = ("--paper", "--days", 1, "--once", "--quiet", "--state-dir", state)
    assert run(*paper, "--config", BUSY_FILE).exit_code == 0
    file = state / "config.toml"
    file.write_text(file.read_text() + "grid_step = 2.0\n")
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    for more in ((), ("--check",)):
        result = run(*paper, *more)
        assert isinstance(result.exception, ConfigError)  # which ends with 2
        assert str(file) in str(result.exception) and "grid_step" in str(result.exception)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    assert run(*paper, "--new-defaults").exit_code == 0
    assert load_config(file) == load_config()


def test_the_preflight_check_looks_and_changes_nothing(tmp_path, short_market):
    result = run("--paper", "--check", "--state-dir", tmp_path / "state")
    assert result.exit_code == 0  # the paper account starts in one-way mode, which the bot sees to itself
    assert "the bot switches it on at its start" in " ".join(result.output.split())
    assert "nothing was changed" in result.output
    assert not (tmp_path / "state" / "state.json").exists()


def test_ctrl_c_saves_and_ends_with_0(tmp_path):
    state = tmp_path / "state"
    options = ["--paper", "--speed", "900", "--days", "2", "--config", BUSY_FILE, "--state-dir", state]
    words = [sys.executable, str(SCRIPT), *map(str, options)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90.0
        while not (state / "heartbeat.json").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors[-2000:]
    assert "Traceback" not in errors
    assert (state / "state.json").exists()


# --- secrets

MINE = Keys("KEYKEYKEYKEY0123456789", "SECRETSECRET9876543210")


def test_no_key_is_in_any_file_log_alert_or_error(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("gridv4.live").propagate = True
    config = load_config(BUSY_FILE, ["floor_pct=0.003", "k=0.8"])
    market = sample_market(days=5)
    data = [SymbolData(SYMBOL, market.candles.iloc[:112].reset_index(drop=True), market.funding)]
    feeds = make_feeds(data)
    exchange = Exchange(feeds, {SYMBOL: load_market_history(SYMBOL)}, config, 10_000.0, int(feeds[0].candles.time[97]))
    kinds = ("lost_after", "html", "unknown", "cut", "gateway", "clock", "unavailable")
    faults = Faults([Fault(kind=kind, times=0, probability=0.03) for kind in kinds], seed=3)
    alerts = []
    with ServerThread(Api(exchange, key=MINE.key, secret=MINE.secret, faults=faults)) as server:
        stop = threading.Event()
        place = gateway_at(server.url, PaperClock(ServerClock(server.url), float("inf"), stop), stop, MINE)
        plan = SessionPlan([SYMBOL], config, tmp_path / "state")
        with Session(plan, place, lambda title, text: alerts.append(title + text)) as session:
            session.prepare()
            with suppress(Unreachable):  # the market's clock stands at its end: the last orders may stay unknown
                session.run()
            assert session.connection.failures > 3
            told = [repr(session.__dict__), repr(session.connection.__dict__), repr(place), str(MINE), f"{MINE!r}"]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (tmp_path / "state").rglob("*.*")]
    own = [record.getMessage() for record in caplog.records if record.name.startswith("gridv4")]
    for text in [*texts, *alerts, *told, *own]:
        assert MINE.key not in text and MINE.secret not in text and "signature" not in text


def test_keys_come_from_the_environment_or_a_file_and_by_no_option(tmp_path, monkeypatch):
    pytest.importorskip("dotenv")
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.delenv(SECRET, raising=False)
    (tmp_path / ".env").write_text(f"{KEY}=abc\n{SECRET}=def\n")
    assert tuple(read_keys(tmp_path)) == ("abc", "def")
    monkeypatch.setenv(KEY, "other")
    monkeypatch.setenv(SECRET, "one")
    assert tuple(read_keys(tmp_path)) == ("other", "one")
    assert not [name for name in inspect.signature(command.live).parameters if "key" in name or "secret" in name]
