"""The records of a run read back from its folder, for pictures and tables; it holds neither prices nor the ladder."""

from pathlib import Path

import numpy as np
import pandas as pd

from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.columns import EQUITY_COLUMNS, GRID_COLUMNS, LOG_COLUMNS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.errors import DataError
from gridv4_bt.record.bars import with_bars
from gridv4_bt.record.equity import equity_file
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.report.compare import StoredRun
from gridv4_bt.report.run_folder import BARS_FILE


def stored_records(run: StoredRun, folder: Path) -> list[SymbolRecord]:
    """Return a record of each symbol of a run read by `gridv4_bt.report.compare.read_run`.

    Without bars.parquet, which a run with --no-report does not write, they have neither prices nor the ladder.

    Raises
    ------
    DataError
        The equity's file lacks a column, or names an unknown regime or label; bars.parquet is damaged.
    """
    path = equity_file(folder)
    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    absent = [name for name in _columns(run) if name not in rows]
    if absent:
        raise DataError(f"{path}: damaged: no column {absent[0]}")
    symbols = run.summary.get("symbols") or ["DEFAULT"]
    try:
        records = [
            _record(run, rows if "symbol" not in rows else rows[rows["symbol"] == name], name) for name in symbols
        ]
    except (KeyError, ValueError) as error:
        raise DataError(f"{folder}: damaged: {error}") from None
    bars = folder / BARS_FILE
    return with_bars(records, bars) if bars.exists() else records


def _columns(run: StoredRun) -> list[str]:
    """Return the columns that equity.csv of a run must have: without a grid not those that only a grid has."""
    return [name for name in EQUITY_COLUMNS if name not in GRID_COLUMNS or "strategy" not in run.summary]


def _record(run: StoredRun, rows: pd.DataFrame, symbol: str) -> SymbolRecord:
    log = np.full((len(rows), len(LOG_COLUMNS)), np.nan, order="F")
    for name in _columns(run):
        column = rows[name]
        if name == "time":
            values = pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)
        elif name == "regime":
            codes = {code.name: code.value for code in Regime}
            values = np.array([codes[text] for text in column])
        elif name.startswith("liquidation"):
            values = column.fillna(np.inf).to_numpy()  # an empty cell: no such price
        else:
            values = column.to_numpy()
        log[:, LOG_COLUMNS.index(name)] = values
    rules = (run.summary.get("rules") or {}).get(symbol, "")
    empty = np.empty(0)
    return SymbolRecord(
        symbol, rules, len(rows), log, empty, np.empty((0, 0), np.uint8), np.empty((0, 3)), _trades(run, symbol)
    )


def _trades(run: StoredRun, symbol: str) -> list[ClosedTrade]:
    """Return the closings of a symbol; the last of each fill is taken to have closed it."""
    rows = [row for row in run.trades if row["symbol"] == symbol]
    last = {row["trade_id"]: place for place, row in enumerate(rows)}
    parts: dict[str, tuple[float, float]] = {}
    found = []
    for place, row in enumerate(rows):
        qty, net = parts.get(row["trade_id"], (0.0, 0.0))
        parts[row["trade_id"]] = qty + row["qty"], net + row["net"]
        bullet = parts[row["trade_id"]] if last[row["trade_id"]] == place else (0.0, 0.0)
        times = (int(row[name].astype(np.int64)) for name in ("open_time", "close_time"))
        numbers = (row[name] for name in ("qty", "entry", "exit", "gross", "fees", "funding"))
        label, regime = TradeLabel(row["label"]), Regime[row["regime"]].value
        side = PositionSide[row["side"]]
        found.append(ClosedTrade(int(row["trade_id"]), symbol, side, label, regime, *times, *numbers, *bullet))
    return found
