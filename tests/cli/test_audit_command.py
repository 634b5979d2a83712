"""`gridv4 audit` and `run_backtest.py --session` as a user meets them."""

import csv
import json
import shutil
import sys

import pytest
from live_market import Market

from gridv4_bt.__main__ import main as gridv4
from gridv4_bt.cli.backtest import main as run_backtest


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """State directory of a session in which somebody traded by hand."""
    by_hand = {
        "kind": "by_hand",
        "on": "GET /fapi/v1/openOrders",
        "skip": 20,
        "symbol": "SAMPLEUSDT",
        "side": "BUY",
        "positionSide": "LONG",
        "quantity": 0.02,
    }
    scene = Market(tmp_path_factory.mktemp("cli") / "state", faults=[by_hand])
    scene.live()
    return scene.folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command line and return exit code, output and errors."""

    def run(entry, *words):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            entry()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_table_chart_and_list_of_differences(command, state):
    code, out, err = command(gridv4, "audit", "--state-dir", state, "--max-drift", 0.5)
    assert code == 0 and err == ""
    assert "manual_trade" in out and "equity at the end" in out
    assert (state / "audit.png").read_bytes()[:4] == b"\x89PNG"
    with (state / "audit.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["differs"], first["cause"], first["follows"], first["purpose"]) == (
        "extra",
        "manual_trade",
        "False",
        "foreign",
    )
    assert first["live_qty"] == "0.02" and first["backtest_qty"] == ""


def test_the_audit_as_json(command, state, tmp_path):
    words = ("--state-dir", state, "--max-drift", 0.5, "--out", tmp_path / "a.png", "--json")
    code, out, err = command(gridv4, "audit", *words)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(found) == {
        "place", "symbols", "bars", "fills", "fees", "funding", "equity", "drift", "max_drift", "identical", "causes",
    }  # fmt: skip
    fills = found["fills"]
    assert (
        fills["matched"] + fills["extra"] == fills["live"] and fills["matched"] + fills["missed"] == fills["backtest"]
    )
    assert found["causes"]["manual_trade"]["own"] >= 1 and found["identical"] is False


def test_exit_code_1_beyond_the_bound(command, state, tmp_path):
    code, out, err = command(
        gridv4, "audit", "--state-dir", state, "--max-drift", 1e-7, "--out", tmp_path / "a.png", "--quiet"
    )
    assert code == 1 and out == "" and "drift apart by" in err
    assert (tmp_path / "a.png").exists() and (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--state-dir", "nowhere"), "no such folder"),
        (("--max-drift", -1), "--max-drift"),
        (("--out", "picture.jpg"), "ends in .png"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, state, words, message):
    given = words if "--state-dir" in words else ("--state-dir", state, *words)
    code, out, err = command(gridv4, "audit", *given)
    assert code == 2 and message in err and err.count("\n") == 1


def test_a_session_is_backtested_from_its_folder(command, state, tmp_path):
    out = tmp_path / "run"
    code, _, err = command(run_backtest, "--session", state, "--out", out, "--no-report", "--quiet")
    assert code == 0, err
    with (out / "equity.csv").open() as ours, (state / "equity.csv").open() as theirs:
        ours, theirs = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    assert [row["time"] for row in ours] == [row["time"] for row in theirs]
    assert ours[0] == theirs[0] and ours[-1]["equity"] != theirs[-1]["equity"]  # somebody traded by hand


def test_a_session_brings_its_own_data(command, state):
    code, _, err = command(run_backtest, "--session", state, "--data", "candles.csv")
    assert code == 2 and "--session brings its own market data" in err


def test_a_folder_that_is_no_session(command, tmp_path):
    shutil.copy(__file__, tmp_path)
    code, _, err = command(run_backtest, "--session", tmp_path)
    assert code == 2 and "holds no live session" in err
