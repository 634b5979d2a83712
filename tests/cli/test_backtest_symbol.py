"""`run_backtest.py --symbol`: downloaded once, then traded without a network."""

import json
import sys

import numpy as np
import pytest
from busy import BUSY_FILE
from test_data_command import SPAN, market  # noqa: F401 (a fixture)

from gridv4_bt.cli import backtest
from gridv4_bt.cli.common import run_app

#: Levels so near that the small moves of the fake exchange fill them.
TRADING = ("--config", BUSY_FILE, "--set", "k=0.5", "--set", "floor_pct=0.001")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """run(option, ...) -> exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        options = (*arguments, *TRADING, "--cache-dir", tmp_path / "cache", "--no-report")
        monkeypatch.setattr(sys, "argv", ["run_backtest.py", *map(str, options)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as end:
            run_app(backtest.app)
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


def test_symbol_is_downloaded_once_and_traded_again_without_a_network(market, run, tmp_path):  # noqa: F811
    code, out, err = run("--symbol", "BTC/USDT:USDT", *SPAN, "--out", tmp_path / "first")
    assert (code, err) == (0, "")
    assert "BTCUSDT: filters" in out  # whose rules they are and of when
    summary = json.loads((tmp_path / "first" / "summary.json").read_text())
    assert (summary["symbols"], summary["bars"]) == (["BTCUSDT"], 3 * 96)
    assert summary["trades"] > 5
    market.base = None
    code, _, err = run("--symbol", "BTC/USDT:USDT", *SPAN, "--out", tmp_path / "second", "--quiet")
    assert (code, err) == (0, "")
    for name in ("trades.csv", "equity.csv"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_bars_before_the_first_day_are_downloaded_and_not_traded(market, run, tmp_path):  # noqa: F811
    span = ("--symbol", "BTC/USDT:USDT", "--from", "2024-01-03", "--to", "2024-01-03")
    code, out, err = run(*span, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["bars"], summary["from"]) == (96, "2024-01-03T00:00:00Z")
    assert "bars of history before --from" not in out  # the two days before are enough


def test_warm_up_bars_before_a_missing_one_are_left_out_where_it_is_refused(market, run, tmp_path):  # noqa: F811
    market.candles = np.delete(market.candles, 100, axis=0)  # at 01:00 of the second day
    span = ("--symbol", "BTC/USDT:USDT", "--from", "2024-01-03", "--to", "2024-01-03")
    code, out, err = run(*span, "--out", tmp_path / "refused")
    assert (code, err) == (0, "")
    notice = "BTCUSDT: 91 bars of history before --from, the indicators need 96: trading begins 5 bars later"
    assert notice in out
    code, out, _ = run(*span, "--out", tmp_path / "filled", "--gaps", "flat")
    assert code == 0 and "bars of history before --from" not in out
    code, _, err = run(*span[:3], "2024-01-02", *span[4:], "--out", tmp_path / "inside")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "2024-01-02T00:45:00Z to 2024-01-02T01:15:00Z (1 missing)" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--symbol", "BTC/USDT:USDT", "--data", "x.csv"), "give either --symbol, or --data"),
        (("--symbol", "BTC/USD:BTC"), "not a linear perpetual"),
        (("--symbol", "BTC/USDT:USDT", "--exchange", "mtgox"), "exchange mtgox is unknown"),
        (("--symbol", "BTC/USDT:USDT", "--from", "2024-02-02", "--to", "2024-02-01"), "is not before --to"),
    ],
)
def test_bad_symbol_ends_with_one_line_and_code_2(market, run, arguments, words, tmp_path):  # noqa: F811
    code, _, err = run(*arguments, "--out", tmp_path / "run")
    assert (code, len(err.splitlines())) == (2, 1)
    assert words in err
    assert not (tmp_path / "run").exists()


def test_no_network_and_nothing_cached_is_said(market, run, tmp_path):  # noqa: F811
    market.base = None
    code, _, err = run("--symbol", "BTC/USDT:USDT", *SPAN, "--out", tmp_path / "run")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "the cache has nothing of it" in err
