"""`run_backtest.py --symbol`: downloaded once, then traded without a network."""

import json
import sys

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
