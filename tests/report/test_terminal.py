"""What a terminal shows: no line wider than 80 columns, nothing missing, nothing printed that a run has not got."""

import io

import pandas as pd
import pytest
from made_runs import closed, placed, record, recording, wallet
from rich.console import Console

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.summary import compare_modes, summarize, summarize_recording
from gridv4_bt.report.run_folder import RUN_FILES, write_returns
from gridv4_bt.report.terminal import print_result, print_run_files


def printed(summary, details=False) -> str:
    file = io.StringIO()
    print_result(summary, Console(file=file, width=80), details)
    return file.getvalue()


@pytest.fixture(scope="module")
def summary() -> dict:
    trades = [
        closed(100.0 / 1.01, 100.0, id=1, opened=1, closes=9, fees=0.05),
        closed(100.0 / 1.01, 95.0, id=2, opened=10, closes=12, label=TradeLabel.DEVIANCE, regime=-2),
    ]
    run = record([100.0] * 400, ladder=placed(400, 2), trades=trades)
    run.blocked = {"regime": 12_345_678, "min_qty": 3}
    return summarize([run], wallet())


def test_tables_fit_80_columns_and_show_the_groups(summary):
    text = printed(summary, details=True)
    assert max(map(len, text.splitlines())) <= 80
    for words in ("net return", "risk and exposure", "closed by label", "hindsight", "by level", "came there"):
        assert words in text
    assert "…" not in text


def test_the_result_comes_first_and_fits_one_screen(summary):
    text = printed(summary)
    lines = text.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert lines[0].startswith("TEST   2024-01-01 00:00 to 2024-01-05")
    assert lines[1].startswith("Neither made nor lost anything") or lines[1].startswith(("Made", "Lost"))
    for words in ("largest drawdown", "Grid made most (+0.94 in 1 closing); deviance lost most", "! Few trades: 2 say"):
        assert words in text, words
    assert "closed by label" not in text
    assert printed(summary, details=True).startswith(text)


def test_a_liquidation_is_said_before_anything_else(summary):
    assert printed(summary | {"liquidations": 1}).startswith("LIQUIDATED 1x")


def test_files_are_named_with_links(tmp_path):
    (tmp_path / "report.html").touch()
    file = io.StringIO()
    print_run_files(tmp_path, Console(file=file, width=80, force_terminal=True))
    text = file.getvalue()
    assert (tmp_path / "report.html").as_uri() in text and "trades.csv" not in text


def test_the_modes_stand_side_by_side(summary):
    modes = compare_modes([summary | {"intrabar": name} for name in ("pessimistic", "path", "detail")])
    text = printed(summary | {"by_intrabar": modes})
    assert "pessimistic" in text
    assert "bars of uncertain order" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_that_departs_from_the_definition_says_so_in_one_line(summary):
    assert summary["departs_from_definition"] == {} and "definition" not in printed(summary)
    text = printed(summary | {"departs_from_definition": {"er_bars": 12, "z_halt": -4.0}})
    assert "departs from the definition: er_bars = 12 (10), z_halt = -4 (-3)" in text.splitlines()


def test_a_run_without_a_trade_is_printed():
    text = printed(summarize([record([100.0] * 3, ladder=placed(3, 2))], wallet()))
    assert "closed by label" not in text


def test_a_run_without_a_grid_is_printed():
    run = recording(record([100.0] * 30, trades=[closed(label=TradeLabel.MANUAL)]))
    run.is_grid = False
    text = printed(summarize_recording(run), details=True)
    assert "manual" in text
    assert "ladder" not in text


def test_returns_csv_is_what_pyfolio_and_quantstats_take(tmp_path):
    days = 5
    bars = days * 96
    equity = [1_000.0] * 96 + [1_100.0] * 96 + [990.0] * (bars - 192)
    run = record([100.0] * bars, equity=equity)
    write_returns(tmp_path / "returns.csv", [run], 1_000.0)
    series = pd.read_csv(tmp_path / "returns.csv", index_col=0, parse_dates=True)["return"]
    assert isinstance(series.index, pd.DatetimeIndex)
    assert series.tolist() == pytest.approx([0.0, 0.1, -0.1, 0.0, 0.0])
    assert str(series.index[0].date()) == "2024-01-01"
    assert (series.index[-1] - series.index[0]).days == days - 1
    assert "returns.csv" in RUN_FILES
