"""equity.csv: bar by bar, at each the symbols in their order, whatever is made into text at a time."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.errors import DataError
from gridv4_bt.record import equity
from gridv4_bt.record.equity import EQUITY_FILES, read_equity, write_equity
from gridv4_bt.record.run_record import SymbolRecord

FIRST, BAR_MS = 1_704_067_200_000, 900_000  # 2024-01-01


def record(symbol: str, first: int, bars: int) -> SymbolRecord:
    """Bars from a number on, each with the numbers 0, 1, 2, ... as far as a column takes any."""
    log = np.zeros((bars, len(LOG_COLUMNS)), order="F")
    log[:] = np.arange(first, first + bars)[:, None]
    log[:, LOG_COLUMNS.index("time")] = FIRST + BAR_MS * log[:, 0]
    log[:, LOG_COLUMNS.index("regime")] = np.arange(bars) % 5 - 2
    log[:, LOG_COLUMNS.index("halted")] = 0.0
    log[::2, LOG_COLUMNS.index("liquidation_up")] = np.inf
    nothing = np.empty(0)
    return SymbolRecord(symbol, "", bars, log, nothing, np.empty((0, 0), np.uint8), np.empty((0, 3)), [])


@pytest.mark.parametrize("records", [[("A", 0, 100)], [("A", 3, 50), ("B", 0, 90), ("C", 60, 1), ("D", 0, 0)]])
def test_the_file_is_the_same_however_many_bars_are_written_at_a_time(records, tmp_path, monkeypatch):
    written = []
    for block in (7, 10_000):
        monkeypatch.setattr(equity, "BLOCK", block)
        equity.write_equity(tmp_path / "equity.csv", [record(*one) for one in records])
        written.append((tmp_path / "equity.csv").read_bytes())
    assert written[0] == written[1]


def test_rows_come_by_time_then_in_the_order_of_the_symbols(tmp_path):
    equity.write_equity(tmp_path / "equity.csv", [record("B", 1, 2), record("A", 0, 3)])
    with (tmp_path / "equity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["time"], row["symbol"]) for row in rows] == [
        ("2024-01-01T00:00:00Z", "A"),
        ("2024-01-01T00:15:00Z", "B"),
        ("2024-01-01T00:15:00Z", "A"),
        ("2024-01-01T00:30:00Z", "B"),
        ("2024-01-01T00:30:00Z", "A"),
    ]
    assert [row["regime"] for row in rows] == [
        "BREAKOUT_DOWN", "BREAKOUT_DOWN", "DOWNTREND", "DOWNTREND", "NOISE",
    ]  # fmt: skip
    assert [row["liquidation_up"] for row in rows] == ["", "", "1", "2", ""]
    assert [row["resting_orders"] for row in rows] == ["0", "1", "1", "2", "2"]


@pytest.mark.parametrize("records", [[("A", 0, 100)], [("A", 3, 50), ("B", 0, 90), ("C", 60, 1), ("D", 0, 0)]])
def test_the_parquet_file_has_the_rows_of_the_text(records, tmp_path, monkeypatch):
    monkeypatch.setattr(equity, "BLOCK", 7)
    for name in EQUITY_FILES:
        write_equity(tmp_path / name, [record(*one) for one in records])
    text, parquet = pd.read_csv(tmp_path / "equity.csv"), pd.read_parquet(tmp_path / "equity.parquet")
    parquet["time"] = parquet["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    pd.testing.assert_frame_equal(
        parquet.astype({name: str for name in ("regime", "symbol") if name in parquet}), text, check_dtype=False
    )
    for got, wanted in zip(*(read_equity(tmp_path / name) for name in EQUITY_FILES), strict=True):
        assert np.array_equal(got, wanted)


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "equity.parquet"
    write_equity(path, [record("A", 0, 50)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"equity\.parquet: damaged"):
        read_equity(path)
    with pytest.raises(DataError, match=r"equity\.parquet: missing"):
        read_equity(tmp_path / "other" / "equity.parquet")


def test_the_rows_of_a_live_bot_are_those_that_pyarrow_writes():
    draw = np.random.default_rng(1)
    one = record("A", 0, 3_000)
    free = [i for i, name in enumerate(LOG_COLUMNS) if name not in ("time", "regime", "halted", "resting_orders")]
    sizes = 10.0 ** draw.integers(-20, 22, (3_000, len(free)))
    one.log[:, free] = draw.standard_normal((3_000, len(free))) * sizes
    edges = [0.0, -0.0, 1e-6, np.nextafter(1e-6, 0), 1e10, np.nextafter(1e10, 0), 1e-5, 1e22, 5e-324, np.nan, 10_000.0]
    one.log[: len(edges), free] = np.array(edges)[:, None]
    one.log[3::5, LOG_COLUMNS.index("liquidation_up")] = np.inf
    for name in (False, True):
        by_pyarrow = io.BytesIO()
        equity._write_rows(equity._equity_table(one, name, slice(None)), by_pyarrow)
        assert equity.equity_rows(one, name) == by_pyarrow.getvalue()
