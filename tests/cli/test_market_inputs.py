"""Market data as every command takes it: files of any kind, pipes, symbols; and what is said of them."""

import gzip
import json
import os
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from busy import BUSY_FILE
from rich.console import Console
from test_data_command import SPAN, market  # noqa: F401 (a fixture)

from feeds.synthetic import sample_market
from gridv4_bt.__main__ import make_app
from gridv4_bt.backtest import make_feeds
from gridv4_bt.cli import backtest, live
from gridv4_bt.cli.common import run_app
from gridv4_bt.cli.download import Downloads
from gridv4_bt.cli.exchange import _rules as rules_of_exchange
from gridv4_bt.cli.market_options import MarketFiles, pair_files, print_untraded, read_symbols
from gridv4_bt.cli.optimize import _market_data
from gridv4_bt.config import make_config
from gridv4_bt.engine.market import load_market
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.markets import load_symbols
from gridv4_bt.optimise.space import load_space


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """run(app, word, ...) -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    def call(app, *arguments):
        monkeypatch.setattr(sys, "argv", ["gridv4", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_app(app)
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


@pytest.fixture(scope="session")
def sample():
    return sample_market(days=4, start="2024-03-01")


@pytest.fixture
def candles(sample, tmp_path):
    """Writes the sample's candles, changed, to a file."""

    def write(name="BTCUSDT-15m.csv", rows=slice(None), **columns):
        sample.candles.iloc[rows].assign(**columns).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def traded(run, *options):
    code, out, err = run(backtest.app, *options, "--config", BUSY_FILE, "--no-report", "--out", "out")
    assert (code, err) == (0, ""), err
    return out


def test_what_was_understood_of_every_file_is_printed(run, candles, sample, tmp_path):
    sample.funding.to_csv(tmp_path / "BTCUSDT-funding.csv", index=False)
    out = traded(run, "--data", candles(), "--funding", "BTCUSDT-funding.csv")
    assert "BTCUSDT candles: 384 of 15m, 2024-03-01 00:00 to 2024-03-04 23:45 UTC;" in out
    assert "BTCUSDT funding: " in out and "settlements" in out


def test_a_pipe_is_read_once_for_all_modes(run, candles, tmp_path):
    os.mkfifo("pipe")
    text = candles().read_text()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(text))
    writer.start()
    out = traded(run, "--data", "BTCUSDT=pipe", "--intrabar", "all")
    writer.join()
    assert "path" in out and "pessimistic" in out


def test_a_pipe_without_a_name_is_traded_with_cautious_filters_which_is_said(run, candles):
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(candles().read_bytes()))  # little enough for the pipe to hold
    os.close(writing)
    out = traded(run, "--data", f"/dev/fd/{reading}")
    os.close(reading)
    assert "PIPE: no filters known: tick 0.1 by the prices" in out
    assert "a pipe tells no symbol: write --data BTCUSDT=<(...) for those of BTCUSDT" in out


@pytest.mark.parametrize("option", [("--interval", "1h"), ("--resample", "15m")])
def test_a_bar_length_without_files_is_refused(run, option):
    code, _, err = run(backtest.app, *option, "--out", "out")
    assert code == 2 and "--interval and --resample belong to --data" in err and not os.path.exists("out")
    code, _, err = run(backtest.app, *option, "--symbol", "BTCUSDT", "--from", "2024-01-01", "--out", "out")
    assert code == 2 and "--interval and --resample are for --data" in err and not os.path.exists("out")


@pytest.mark.parametrize(
    ("text", "symbol", "path"),
    [
        ("BTCUSDT=a.csv", "BTCUSDT", "a.csv"),
        ("BTC/USDT:USDT=a.csv", "BTCUSDT", "a.csv"),
        ("btcusdt-15m.csv", "BTCUSDT", "btcusdt-15m.csv"),
        ("lake/symbol=ETHUSDT/0.parquet", "ETHUSDT", "lake/symbol=ETHUSDT/0.parquet"),
        ("SOLUSDT=lake/symbol=ETHUSDT/0.parquet", "SOLUSDT", "lake/symbol=ETHUSDT/0.parquet"),
    ],
)
def test_symbol_and_file_are_parted(text, symbol, path):
    [data] = pair_files([text], [], [])
    assert (data.symbol, str(data.candles)) == (symbol, path)


@pytest.mark.parametrize("text", ["/dev/fd/63", "15m.csv", "my candles.csv", "=a.csv", "BTCUSDT="])
def test_a_file_that_tells_no_symbol_needs_one(text):
    with pytest.raises(ConfigError, match="write SYMBOL=|expected FILE or SYMBOL=FILE"):
        pair_files([text], [], [])


def test_finer_candles_are_traded_as_15m_bars_and_coarser_as_they_are(run, candles):
    time = 1_709_251_200_000
    out = traded(run, "--data", candles(time=time + 300_000 * np.arange(384)), "--resample", "15m")
    assert "128 of 15m" not in out and "384 of 5m, made into 15m" in out
    code, _, err = run(backtest.app, "--data", candles(time=time + 3_600_000 * np.arange(384)), "--out", "other")
    assert code == 2 and "looks like 1h candles" in err and "--interval 1h" in err
    out = traded(run, "--data", "BTCUSDT-15m.csv", "--interval", "1h", "--force")
    assert "384 of 1h" in out and "bars of 1h: the definition is of 15m" in out


def test_a_run_without_a_trade_says_what_blocked_it(run, candles):
    out = traded(run, "--data", candles(), "--cash", "10")
    assert "no trade was closed. What blocked most orders: min_qty, smaller than the least quantity (" in out


def test_a_run_that_only_opened_is_not_said_to_be_blocked(run, candles):
    """The first fill lies in bar 223, so nothing can be closed yet."""
    out = traded(run, "--data", candles(rows=slice(0, 223)))
    assert pd.read_csv("out/trades.csv").empty
    assert "no trade was closed: all that was opened is held at the end (1 open fills)" in out


def test_an_unknown_symbol_gets_the_tick_of_its_prices_and_trades(run, candles, sample):
    tiny = {name: sample.candles[name] / 1e9 for name in ("open", "high", "low", "close")}
    rounded = {name: column.round(9) for name, column in tiny.items()}
    out = traded(run, "--data", candles("PEPEUSDT.csv", **rounded))
    assert "PEPEUSDT: no filters known: tick 1e-09 by the prices of the candles" in out
    assert len(pd.read_csv("out/trades.csv")) > 1


def test_a_file_of_brackets_alone_leaves_the_tick_to_the_prices(run, candles, sample, tmp_path):
    tiny = {name: (sample.candles[name] / 1e9).round(9) for name in ("open", "high", "low", "close")}
    tier = {"minNotional": 0, "maxNotional": 5000, "maintenanceMarginRate": 0.01, "maxLeverage": 50}
    (tmp_path / "tiers.json").write_text(json.dumps({"PEPE/USDT:USDT": [tier]}))
    data = candles("PEPEUSDT.csv", **tiny)
    out = traded(run, "--data", data, "--brackets", "tiers.json")
    assert "PEPEUSDT: no filters known: tick 1e-09 by the prices of the candles" in out
    assert len(pd.read_csv("out/trades.csv")) > 1
    [feed] = make_feeds(read_symbols(MarketFiles([str(data)]), Console(quiet=True)))
    with rules_of_exchange([feed], tmp_path / "tiers.json") as path:
        market = load_market("PEPEUSDT", path)
    assert (market.tick, market.brackets[0].cap, market.max_leverages) == (1e-9, 5_000.0, (50.0,))


def test_a_known_symbol_whose_tick_is_as_coarse_as_its_price_is_refused(run, candles, sample):
    tiny = {name: sample.candles[name] / 1e9 for name in ("open", "high", "low", "close")}
    code, _, err = run(backtest.app, "--data", candles(**tiny), "--out", "out")
    assert code == 2 and "BTCUSDT: its tick 0.1 is too coarse" in err and not os.path.exists("out")


def test_no_volume_is_refused(run, candles):
    code, _, err = run(backtest.app, "--data", candles(volume=0.0), "--out", "out")
    assert code == 2 and "the volume is 0 in all" in err and not os.path.exists("out")


def test_a_symbol_that_ends_earlier_is_said_and_settled(run, candles):
    out = traded(run, "--data", candles(), "--data", candles("ETHUSDT-15m.csv", slice(0, 224)))
    assert "ETHUSDT: its data end at 2024-03-03T07:45:00Z and others go on to 2024-03-04T23:45:00Z" in out
    trades = pd.read_csv("out/trades.csv")
    last = trades[trades.symbol == "ETHUSDT"].iloc[-1]
    assert (last.label, last.close_time) == ("delisted", "2024-03-03T07:45:00Z")


def test_the_part_of_the_span_without_funding_is_said_to_be_synthetic(run, candles, sample, tmp_path):
    sample.funding.iloc[6:].to_csv(tmp_path / "BTCUSDT-funding.csv", index=False)
    out = traded(run, "--data", candles(), "--funding", "BTCUSDT-funding.csv")
    assert "BTCUSDT: no funding in 2024-03-01T00:00:00Z to 2024-03-03T00:00:00Z: the rate is synthetic there" in out


def test_a_finished_run_is_not_overwritten_without_force(run, candles):
    data = candles()
    traded(run, "--data", data)
    before = os.stat("out/summary.json").st_mtime_ns
    code, _, err = run(backtest.app, "--data", data, "--out", "out")
    assert code == 2 and "holds a finished run" in err and os.stat("out/summary.json").st_mtime_ns == before
    traded(run, "--data", data, "--force")
    assert os.stat("out/summary.json").st_mtime_ns > before


@pytest.mark.parametrize("words", [["bias", "lookahead", "--cuts", "1"], ["regimes"]])
def test_the_other_commands_take_symbols_and_files_as_the_backtest_does(market, run, words, tmp_path):  # noqa: F811
    span = ("--from", "2024-01-02", "--to", "2024-01-03")
    cached = ("--symbol", "BTC/USDT:USDT", "--cache-dir", tmp_path / "cache")
    if words[0] == "regimes":
        span = (*SPAN, "--set", "gmm_window=480", "--quiet")
        code, _, err = run(make_app(words), *words, *cached, *span)
        assert code == 2 and "bars" in err  # too few for the mixture, and read
        return
    code, out, err = run(make_app(words), *words, *cached, *span)
    assert (code, err) == (0, "") and "no look-ahead found" in out
    code, _, err = run(make_app(words), *words, *cached, "--data", "x.csv")
    assert code == 2 and "give either --symbol, or --data" in err


def test_the_local_exchange_has_the_tick_of_an_unknown_symbols_prices(candles, sample):
    tiny = {name: (sample.candles[name] / 1e9).round(9) for name in ("open", "high", "low", "close")}
    feeds = make_feeds(read_symbols(MarketFiles([str(candles("PEPEUSDT.csv", **tiny))]), Console(quiet=True)))
    with rules_of_exchange(feeds, None) as path:
        market = load_market("PEPEUSDT", path)
        assert (market.tick, market.step, market.min_notional) == (1e-9, 0.001, 5.0)
        assert market.brackets == load_market("PEPEUSDT").brackets
    with rules_of_exchange([], None) as path:
        assert path is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--data", "BTCUSDT=/dev/zero"), "is neither a file nor a pipe"),
        (("--symbol", "BTCUSDT", "--interval", "1h"), "--interval and --resample belong to --data"),
        (("--resample", "15m"), "--interval and --resample belong to --data"),
        (("--data", "BTCUSDT-15m.csv"), "384 bars are too few"),
    ],
)
def test_a_paper_market_that_is_refused_leaves_no_folder(run, candles, options, words):
    candles()
    code, _, err = run(live.app, "--paper", *options, "--state-dir", "data/new")
    assert code == 2 and words in err and err.count("\n") == 1 and not os.path.exists("data")


def searched(tmp_path, more=""):
    """A space of one symbol without files and two windows."""
    path = tmp_path / "space.toml"
    windows = "".join(
        f'[[windows]]\nname = "{use}"\nfrom = {day}\nto = {day}\nuse = "{use}"\n'
        for day, use in (("2024-01-02", "search"), ("2024-01-03", "test"))
    )
    path.write_text(
        f'[[symbols]]\nname = "BTCUSDT"\n{more}{windows}[[objectives]]\nfigure = "sharpe"\n'
        "[parameters]\nk = {low = 0.4, high = 1.3}\n"
    )
    return load_space(path)


def test_a_search_downloads_the_days_of_all_windows_of_a_symbol_without_files(market, tmp_path):  # noqa: F811
    space = searched(tmp_path)
    downloads = Downloads(cache_dir=tmp_path / "cache")
    found, given = _market_data(space, MarketFiles(), downloads, "", "", Console(quiet=True))
    assert found == space and list(given) == ["BTCUSDT"]
    assert len(given["BTCUSDT"].candles) == 3 * 96  # from the listing, for the warm-up, to the last window's end
    [symbol], _ = load_symbols(found, given)
    assert (symbol.symbol, len(symbol.candles)) == ("BTCUSDT", 3 * 96)


def test_files_take_the_place_of_a_searchs_symbols(candles, tmp_path):
    files = MarketFiles([f"ETHUSDT={candles()}"])
    found, given = _market_data(searched(tmp_path), files, Downloads(), "", "", Console(quiet=True))
    assert [one.name for one in found.symbols] == list(given) == ["ETHUSDT"]


def test_a_search_with_files_of_its_own_needs_neither(tmp_path):
    space = searched(tmp_path, 'candles = "a.csv"\n')
    assert _market_data(space, MarketFiles(), Downloads(), "", "", Console(quiet=True)) == (space, {})
    for unused in (MarketFiles(funding=["f.csv"]), MarketFiles(mark=["m.csv"]), MarketFiles(resample="15m")):
        with pytest.raises(ConfigError, match="belong to --data; the space names its files"):
            _market_data(space, unused, Downloads(), "", "", Console(quiet=True))


def test_a_symbol_without_candles_is_refused_in_python_too(tmp_path):
    with pytest.raises(DataError, match="BTCUSDT: the space names no candles of it"):
        load_symbols(searched(tmp_path), {})


def test_a_symbol_with_parameters_of_its_own_that_is_not_traded_is_named(capsys):
    parameters = make_config({"SOLUSDT.k": 2.0, "SOLUSD.k": 3.0})
    print_untraded(parameters, ["BTCUSDT", "SOLUSDT"], Console(width=200))
    said = capsys.readouterr().out
    assert said == "parameters of SOLUSD are not used: traded here are BTCUSDT, SOLUSDT\n"
    print_untraded(make_config({"k": 2.0}), ["BTCUSDT"], Console(width=200))
    assert capsys.readouterr().out == ""
