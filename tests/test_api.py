"""What a notebook imports: data in any shape, tables with UTC times and names, runs kept and opened again."""

import ast
import importlib.util
import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from busy import BUSY

from feeds.synthetic import sample_market
from gridv4_bt.api import backtest, load_run, sweep
from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import make_config
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def market():
    return sample_market(days=21, start="2024-03-01")


@pytest.fixture(scope="module")
def run(market):
    return backtest({"BTCUSDT": market.candles}, funding={"BTCUSDT": market.funding}, cash=20_000.0, config=BUSY)


def test_tables_have_utc_times_and_names_for_codes(run):
    for table in (run.trades, run.equity, run.decisions, run.orders):
        assert str(table.index.tz) == "UTC"
        assert len(table) > 20
        assert table.index.is_monotonic_increasing
    assert set(run.trades["side"]) == {"LONG", "SHORT"}
    assert set(run.trades["label"]) <= {str(label) for label in LABELS}
    assert set(run.trades["regime"]) | set(run.decisions["regime"]) <= {regime.name for regime in Regime}
    assert run.decisions["halted"].dtype == bool
    assert str(run.trades["open_time"].dt.tz) == "UTC"


def test_tables_say_what_the_summary_says(run):
    assert run.trades["net"].sum() == pytest.approx(sum(group["net"] for group in run.summary["by_label"].values()))
    assert run.equity["equity"].iloc[-1] == run.summary["end_equity"]
    assert run.equity["drawdown"].max() == run.summary["max_drawdown"]
    assert len(run.decisions) == len(run.records[0].log)


def test_every_entry_filled_at_the_price_of_an_order_that_rested(run):
    orders = run.orders[run.orders["action"] != "cancelled"]
    assert np.isfinite(orders["price"]).all()
    assert run.orders.loc[run.orders["action"] == "cancelled", "reason"].str.len().min() > 0
    for trade in run.trades.itertuples():
        before = orders[(orders.index < trade.open_time) & (orders["side"] == trade.side)]
        assert trade.entry in set(before["price"])


def test_a_run_is_kept_and_opened_again(run, tmp_path):
    folder = run.save(tmp_path / "run")
    again = load_run(folder)
    pd.testing.assert_frame_equal(again.trades, run.trades)
    pd.testing.assert_frame_equal(again.equity, run.equity)
    pd.testing.assert_frame_equal(again.decisions, run.decisions)
    pd.testing.assert_frame_equal(again.orders, run.orders)
    assert again.summary == json.loads(json.dumps(run.summary))
    assert again.config == run.config
    assert repr(again) == repr(run)
    assert again.report() == folder / "report.html"
    assert again.report(tmp_path / "again.html").read_bytes() == (folder / "report.html").read_bytes()
    assert len(again.figure().axes) == len(run.figure().axes)


def test_a_run_without_its_bars_has_tables_and_names_what_is_missing(run, tmp_path):
    folder = run.save(tmp_path / "run")
    (folder / "bars.parquet").unlink()
    again = load_run(folder)
    pd.testing.assert_frame_equal(again.trades, run.trades)
    names = ["regime", "halted", "z", "centre", "long_qty"]
    pd.testing.assert_frame_equal(again.decisions[names], run.decisions[names])
    assert len(again.figure().axes) == len(run.figure().axes)
    with pytest.raises(DataError, match="holds no orders, for want of bars.parquet: run it again without --no-report"):
        _ = again.orders


def test_bars_of_another_run_are_refused(run, market, tmp_path):
    folder = run.save(tmp_path / "run")
    other = backtest({"BTCUSDT": market.candles}, end="2024-03-08", config=BUSY).save(tmp_path / "other")
    (folder / "bars.parquet").write_bytes((other / "bars.parquet").read_bytes())
    with pytest.raises(DataError, match="bars.parquet: damaged: .* bars of BTCUSDT, equity.csv has"):
        load_run(folder)
    (folder / "bars.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="bars.parquet: damaged"):
        load_run(folder)


def test_a_run_of_two_symbols_is_opened_again(market, tmp_path):
    both = backtest({"BTCUSDT": market.candles, "ETHUSDT": market.candles}, end="2024-03-08", config=BUSY)
    again = load_run(both.save(tmp_path / "two"))
    assert set(again.decisions["symbol"]) == {"BTCUSDT", "ETHUSDT"}
    pd.testing.assert_frame_equal(again.equity, both.equity)
    pd.testing.assert_frame_equal(again.trades, both.trades)
    pd.testing.assert_frame_equal(again.orders, both.orders)
    assert again.report(tmp_path / "again.html").read_bytes() == both.report(tmp_path / "both.html").read_bytes()


def test_a_run_shows_itself_in_one_line_and_in_a_notebook(run, tmp_path):
    assert repr(run).startswith("<Run BTCUSDT 2024-03-0")
    assert len(repr(run)) < 100 and "\n" not in repr(run)
    assert f"{run.summary['trades']} trades" in repr(run)
    card = run._repr_html_()
    assert "BTCUSDT" in card and "largest drawdown" in card and "<script" not in card
    assert run.report(tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_data_comes_in_any_shape(market, tmp_path):
    file = tmp_path / "BTCUSDT-15m.csv"
    market.candles.to_csv(file, index=False)
    frame = market.candles.copy()
    frame.attrs["symbol"] = "BTCUSDT"
    given = (file, str(file), frame, [file], {"BTCUSDT": frame}, SymbolData("BTCUSDT", file))
    runs = [backtest(data, end="2024-03-06", **BUSY) for data in given]
    assert {repr(one) for one in runs} == {repr(runs[0])}
    assert all(one.trades.equals(runs[0].trades) for one in runs)


def test_days_and_times_may_be_text(market):
    data = {"BTCUSDT": market.candles}
    text = backtest(data, start="2024-03-05", end="2024-03-07", **BUSY)
    days = backtest(data, start=date(2024, 3, 5), end=date(2024, 3, 7), **BUSY)
    assert text.equity.equals(days.equity)
    assert (str(text.equity.index[0]), str(text.equity.index[-1])) == (
        "2024-03-05 00:00:00+00:00", "2024-03-07 23:45:00+00:00",
    )  # fmt: skip
    noon = backtest(data, start="2024-03-05T12:00", end="2024-03-07", **BUSY)
    assert str(noon.equity.index[0]) == "2024-03-05 12:00:00+00:00"


def test_parameters_by_name_win_over_the_config(market, tmp_path):
    (tmp_path / "mine.toml").write_text("levels = 6\nk = 2.0\n")
    for config in (tmp_path / "mine.toml", {"levels": 6, "k": 2.0}, make_config({"levels": 6, "k": 2.0})):
        made = backtest({"BTCUSDT": market.candles}, end="2024-03-05", config=config, levels=4).config
        assert (made.levels, made.k) == (4, 2.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda data: backtest(data, levles=4), ConfigError, "levles: unknown parameter; did you mean levels"),
        (lambda data: backtest(data, start="yesterday"), ConfigError, "start yesterday: write a day like 2024-01-31"),
        (lambda data: backtest(data, cash=-1.0), ConfigError, "cash -1.0: must be a number above 0"),
        (lambda data: backtest(data, gaps="skip"), ConfigError, "gaps skip: refuse or flat"),
        (lambda data: backtest(7), ConfigError, "data: a symbol, a file, a DataFrame, or several; not int"),
        (
            lambda data: backtest(data, funding={"X": data}),
            ConfigError,
            "funding X: no data for it; symbols are BTCUSDT",
        ),
        (lambda data: backtest("nowhere.csv"), DataError, "nowhere.csv"),
        (lambda data: sweep(data, {}), ConfigError, "grid: name at least one parameter"),
        (lambda data: sweep(data, {"k": [1.0]}, rank="luck"), ConfigError, "rank luck: one of net_return"),
        (lambda data: load_run("nowhere"), DataError, "nowhere: no such folder"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(market, call, error, words):
    with pytest.raises(error, match=words):
        call({"BTCUSDT": market.candles})


def test_a_sweep_puts_the_best_first_and_equals_its_backtests(market):
    pytest.importorskip("numba")
    data = {"BTCUSDT": market.candles}
    found = sweep(data, {"k": [1.0, 2.0], "levels": [4, 6]}, end="2024-03-10", config=BUSY)
    assert len(found.table) == 4
    assert found.table["net_return"].is_monotonic_decreasing
    again = backtest(data, end="2024-03-10", config=found.best)
    assert again.summary["net_return"] == found.table["net_return"].iloc[0]
    assert (found.best.k, found.best.levels) == tuple(found.table.loc[0, ["k", "levels"]])
    by_drawdown = sweep(data, {"levels": [4, 6]}, end="2024-03-10", config=BUSY, rank="max_drawdown")
    assert by_drawdown.table["max_drawdown"].is_monotonic_increasing
    assert repr(found).startswith("<SweepRun 4 parameter sets")
    with pytest.raises(ConfigError, match="one symbol"):
        sweep({"BTCUSDT": market.candles, "ETHUSDT": market.candles}, {"k": [1.0]}, config=BUSY)


# --- notebooks: `make check-all` runs them


def notebook_code(path):
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / ".ci" / "notebooks.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    return runner.code_of(path)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_holds_code_that_compiles_and_no_results(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    assert all(cell.get("outputs", []) == [] for cell in document["cells"])
    for code in notebook_code(path):
        ast.parse(code)
