"""`--strategy`: a strategy of the user's own in the commands, its run made again, its refusals and its failures."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import run_inside

from gridv4_bt.__main__ import main
from gridv4_bt.api import load_run
from gridv4_bt.audit.session import read_session
from gridv4_bt.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
CROSS = f"{ROOT}/examples/moving_average_cross.py:MovingAverageCross"
SHORT = ("--strategy", CROSS, "--set", "fast=24", "--set", "slow=96", "--to", "2024-02-15", "--quiet")
BREAKS = """import backtrader as bt


class Breaks(bt.Strategy):
    def next(self):
        if len(self) == 100:
            self.data.close[10_000_000]
"""


def command(*words, cwd=ROOT):
    done = run_inside(main, *words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def process(*words, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-m", "gridv4_bt", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cross"
    code, _, told = process("backtest", *SHORT, "--out", folder)
    assert code == 0, told
    return folder


def test_equity_has_no_column_of_the_grid(ran):
    header, first = list(csv.reader((ran / "equity.csv").read_text().splitlines()))[:2]
    assert header == [
        "time", "equity", "wallet", "unrealized", "long_qty", "short_qty", "margin_ratio", "liquidation_down",
        "liquidation_up",
    ]  # fmt: skip
    assert "nan" not in first


def test_the_page_has_neither_ladder_nor_why(ran):
    page = (ran / "report.html").read_text(encoding="utf-8")
    body = page[page.index("<body") : page.index("<script")] if "<script" in page else page
    assert "<h1>MovingAverageCross, SAMPLEUSDT</h1>" in body
    for words in ('id="why"', "Why did it do this", "a click asks why", "Levels without an order", "By level"):
        assert words not in body
    assert "<td>24</td>" in body.replace(' class=""', "")  # its own parameters are shown


def test_the_summary_says_nothing_of_halts_and_levels(ran):
    summary = json.loads((ran / "summary.json").read_text())
    assert summary["strategy"] == "MovingAverageCross"
    assert not {"halts", "stops", "margin_calls", "blocked", "departs_from_definition"} & set(summary)
    assert summary["max_margin_ratio"] > 0.0


def test_the_config_of_a_run_makes_it_again_and_compare_finds_it_identical(ran, tmp_path):
    code, _, told = command(
        "backtest", "--config", ran / "config.toml", "--to", "2024-02-15", "--quiet", "--out", tmp_path / "x"
    )
    assert code == 0, told
    assert (tmp_path / "x" / "trades.csv").read_bytes() == (ran / "trades.csv").read_bytes()
    code, text, _ = command("compare", ran, tmp_path / "x")
    assert code == 0 and "identical" in text


def test_a_run_is_opened_from_its_folder_without_its_strategy(ran):
    run = load_run(ran)
    assert run.strategy.params == {"fast": 24, "slow": 96, "share": 0.5, "stop_pct": 0.04}
    assert len(run.trades) == run.summary["trades"] > 0
    assert run.report(ran.parent / "again.html").read_bytes() == (ran / "report.html").read_bytes()


def test_optimize_tries_the_parameters_of_the_class(tmp_path):
    words = ("--strategy", CROSS, "--to", "2024-02-15", "--quiet", "--out", tmp_path / "o")
    code, _, told = command("backtest", *words, "--optimize", "fast=24,48", "--optimize", "leverage=2,5")
    assert code == 0, told
    rows = list(csv.DictReader((tmp_path / "o" / "trials.csv").read_text().splitlines()))
    assert {(row["fast"], row["leverage"]) for row in rows} == {
        ("24", "2.0"),
        ("24", "5.0"),
        ("48", "2.0"),
        ("48", "5.0"),
    }
    assert not any(row["error"] for row in rows)
    assert "[MovingAverageCross]\nfast = " in (tmp_path / "o" / "best.toml").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--strategy", "none.py:A"), "no such file"),
        (("--strategy", CROSS, "--set", "fats=3"), "did you mean fast?"),
        (("--strategy", CROSS, "--to", "2024-01-03"), "288 bars are too few: MovingAverageCross needs 481"),
        (("--strategy", CROSS, "--set", "fast=slow"), "expected a whole number"),
        (("--strategy", CROSS, "--optimize", "levels=3,4"), "levels: no parameter of MovingAverageCross"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(words, told, tmp_path):
    code, _, error = command("backtest", *words, "--out", tmp_path / "no")
    assert (code, len(error.strip().splitlines())) == (2, 1)
    assert told in error and not (tmp_path / "no").exists()


def test_a_strategy_that_fails_ends_with_1_and_its_line(tmp_path):
    file = tmp_path / "breaks.py"
    file.write_text(BREAKS)
    code, _, error = command("backtest", "--strategy", f"{file}:Breaks", "--out", tmp_path / "no", "--quiet")
    assert code == 1 and f"Breaks failed at {file} line 7 (self.data.close[10_000_000]): IndexError" in error
    assert not (tmp_path / "no").exists()


def test_a_decision_by_later_bars_is_found(tmp_path):
    file = tmp_path / "peeks.py"
    file.write_text(
        "import backtrader as bt\n\n\nclass Peeks(bt.Strategy):\n    def next(self):\n        if len(self) == 30:\n"
        "            bars = float(len(self.data.close.array))  # also those to come\n"
        "            self.buy(size=0.5, exectype=bt.Order.Limit, price=bars, positionSide='LONG')\n"
    )
    words = ("--cuts", 2, "--to", "2024-01-10", "--quiet")
    code, _, error = command("bias", "lookahead", "--strategy", f"{file}:Peeks", *words)
    assert code == 1 and "look-ahead found" in error
    assert "the strategy's orders: LONG open order 1: buy 0.5 Limit at 960.0" in error
    code, _, error = command("bias", "lookahead", *SHORT[:6], *words)
    assert code == 0, error


def test_a_strategy_is_cut_where_its_indicators_are_known():
    words = (
        "bias",
        "lookahead",
        "--strategy",
        CROSS,
        "--cuts",
        2,
        "--to",
        "2024-01-07",
    )  # 672 bars, 480 for the slow average
    code, told, error = command(*words)
    assert code == 0, error
    assert "all 4 cuts decide as the whole run does" in " ".join(told.split())


def test_a_session_keeps_its_strategy_and_no_other_continues_it(tmp_path):
    state = tmp_path / "state"
    paper = ("live", "--paper", "--once", "--quiet", "--state-dir", state)
    code, _, error = process(*paper, "--strategy", CROSS, "--set", "fast=24")
    assert code == 0, error
    code, _, error = process(*paper)
    assert code == 0, error
    kept = (state / "config.toml").read_text()
    assert f'strategy = "{CROSS}"' in kept and "fast = 24\nslow = 480\n" in kept
    other = CROSS.replace("moving_average_cross.py:MovingAverageCross", "hedged_holding.py:HedgedHolding")
    code, _, error = process(*paper, "--strategy", other)
    assert code == 2 and "does not continue; name another --state-dir" in error
    with pytest.raises(DataError, match="strategies of your own have traded there"):
        read_session(state)
