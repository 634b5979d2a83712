"""What README and documentation show works as it stands there: their Python, in its order, and their commands.

The pages for a new user are run one after another by `.ci/doc_commands.py`, from an installed wheel.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from busy import BUSY_FILE
from in_process import run_inside

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import main as program
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli import backtest, live
from gridv4_bt.config import load_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.server import ServerThread

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md", ROOT / "docs" / "backtest.md", ROOT / "docs" / "optimise.md", ROOT / "docs" / "scripts.md",
    ROOT / "docs" / "live.md",
)  # fmt: skip
#: Commands that are not run here, each with the reason.
LEFT_OUT = {
    "make": "sets up an environment, which this suite runs in",
    "pip": "sets up an environment",
    "gridv4 optimize --space presets/spaces/btc.toml": "searches an hour on data that is not here",
    "gridv4 exchange": "serves until it is stopped; tests/cli/test_exchange_command.py does that",
    "gridv4 backtest --config busy": "a year; .ci/doc_commands.py does it",
    "gridv4 live --paper": "two days; .ci/doc_commands.py does it",
    "gridv4 init": ".ci/doc_commands.py does it",
    "run_live.py --paper": "a month takes a minute; tests/cli/test_live_paper.py does two days",
    "run_live.py --endpoint": "needs a second window; tests/cli/test_live_tries.py has it",
    "gridv4 audit": "needs a session; tests/cli/test_audit_command.py has one",
    "run_backtest.py --session": "needs a session; tests/cli/test_audit_command.py has one",
}
#: Commands that need a network or a key, and the exit code with which they end without.
NEEDS = {"run_backtest.py --symbol": 1, "gridv4 data download": 1, "run_live.py --symbol": 2}


def blocks(page, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def commands():
    """Return every command line of the pages as a list of words."""
    lines = [line for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def plain(words):
    """Return a command as the tables above name it."""
    return " ".join(words).replace(".venv/bin/", "").replace("python run_", "run_")


def listed(words, table):
    return next((found for start, found in table.items() if plain(words).startswith(start)), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("readme")
    market = sample_market(days=46)  # `bias warmup` wants 4,000 bars and some to trade
    for name in ("BTCUSDT", "ETHUSDT"):
        market.candles.to_parquet(folder / f"{name}-15m.parquet")
        market.candles.to_csv(folder / f"{name}-15m.csv", index=False)
    market.funding.to_parquet(folder / "BTCUSDT-funding.parquet")
    (folder / "presets").mkdir()
    (folder / "presets" / "busy.toml").write_text(BUSY_FILE.read_text())
    (folder / "mine.toml").write_text("gamma = 2.0\n")
    for name in ("run_backtest.py", "run_live.py"):
        (folder / name).write_text((ROOT / name).read_text())
    return folder


#: The entry points of the programs of the pages, which do no more than to call them.
PROGRAMS = {"gridv4": program, "run_backtest.py": backtest.main, "run_live.py": live.main}


def run(words, folder):
    """Run a command of the pages in this process: `.ci/doc_commands.py` runs those for a new user in their own."""
    name, *words = [word for word in words if not word.endswith("python")]
    return run_inside(PROGRAMS[name.removeprefix(".venv/bin/")], *words, cwd=folder)


def run_without_network(words, folder):
    here = {"gridv4": [sys.executable, "-m", "gridv4_bt"], "python": [sys.executable]}
    words = [*here[words[0].removeprefix(".venv/bin/")], *words[1:]]
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = os.environ | nowhere | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    environment = {name: value for name, value in environment.items() if not name.startswith("BINANCE_")}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_tables_name_commands_that_are_there():
    shown = [plain(words) for words in commands()]
    assert len(shown) > 15
    for start in (*LEFT_OUT, *NEEDS):
        assert any(line.startswith(start) for line in shown), start


@pytest.mark.parametrize(
    "words", [w for w in commands() if not listed(w, LEFT_OUT) and not listed(w, NEEDS)], ids=plain
)
def test_a_command_does_what_it_says(words, folder):
    for name in ("runs/a", "runs/b"):
        if name in words and not (folder / name).exists():
            done = run(["python", "run_backtest.py", "--data", "BTCUSDT-15m.csv", "--out", name, "--no-report"], folder)
            assert done.returncode == 0, done.stderr
    if "lookahead" in words:
        words = [*words, "--cuts", "2"]
    done = run(words, folder)
    # `bias warmup` may rightly find that a short history decides otherwise.
    assert done.returncode in ((0, 1) if "warmup" in words else (0,)), done.stderr


@pytest.mark.parametrize("words", [words for words in commands() if listed(words, NEEDS)], ids=plain)
def test_a_command_that_needs_more_says_so_in_one_line(words, folder):
    done = run_without_network(words, folder)
    assert done.returncode == listed(words, NEEDS), done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_the_python_of_the_page_for_backtrader_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for block in blocks(ROOT / "docs" / "backtrader.md", "python"):
        exec(compile(block, "backtrader.md", "exec"), names)
    assert {trade.side.name for trade in names["cerebro"].broker.account.closed} == {"LONG"}


def test_the_python_of_the_page_on_live_trading_trades(folder, monkeypatch):
    monkeypatch.chdir(folder)
    market = sample_market(days=12)
    feeds = make_feeds([SymbolData("BTCUSDT", market.candles, market.funding)])
    [block] = blocks(ROOT / "docs" / "live.md", "python")
    names: dict[str, object] = {}
    with ServerThread(open_api(feeds, load_config(BUSY_FILE), start_ms=int(feeds[0].candles.time[-30]))) as server:
        exec(compile(block.replace("http://127.0.0.1:8899", server.url), "live.md", "exec"), names)
    assert names["cerebro"].broker.account.closed


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_python_runs_in_the_order_of_the_page(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    market = sample_market(days=12)
    feeds = make_feeds([SymbolData("BTCUSDT", market.candles, market.funding)])
    start = int(feeds[0].candles.time[-20])  # the live script trades the hours after it
    names: dict[str, object] = {}
    ran = blocks(ROOT / "docs" / "scripts.md", "python")
    assert set(blocks(ROOT / "README.md", "python")) <= set(ran)
    with ServerThread(open_api(feeds, load_config(BUSY_FILE), start_ms=start)) as server:
        for block in ran:
            exec(compile(block.replace("http://127.0.0.1:8899", server.url), "scripts.md", "exec"), names)
    assert len(ran) >= 5
    assert (folder / "run.png").stat().st_size > 1_000
    assert "sharpe" in names["strategy"].analyzers.riskratios.get_analysis()
