"""A run's folder: summary.json, trades.csv, equity.csv, returns.csv, config.toml, overview.png and report.html.

Times are ISO 8601 UTC. Everything is written to a folder beside the target first and moved into place
at the end, so that a full disk or Ctrl-C leaves no half-written run behind.
"""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from gridv4_bt.config import GridConfig, config_as_toml
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import iso_seconds
from gridv4_bt.engine.columns import EQUITY_COLUMNS
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.errors import ConfigError
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.metrics.summary import daily_returns, wallet_curve
from gridv4_bt.report.overview import plot_overview
from gridv4_bt.report.page import write_report

TRADE_COLUMNS = (
    "trade_id", "symbol", "side", "label", "regime", "open_time", "close_time", "qty", "entry", "exit",
    "gross", "fees", "funding", "net",
)  # fmt: skip
RUN_FILES = ("summary.json", "trades.csv", "equity.csv", "returns.csv", "config.toml", "overview.png", "report.html")


def check_folder(folder: Path, known: Sequence[str] = RUN_FILES) -> None:
    """Refuse a target that is a file, or a folder that holds anything but an earlier run, whose files are `known`.

    Raises
    ------
    ConfigError
        Naming what is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    foreign = sorted(path.name for path in folder.glob("*") if path.name not in known) if folder.is_dir() else []
    if foreign:
        raise ConfigError(f"--out {folder}: holds other files ({foreign[0]}); name a new or empty folder")


def write_run(
    folder: Path, records: Sequence[SymbolRecord], summary: dict[str, Any], config: GridConfig, plot: bool
) -> None:
    """Write all files of a run. `plot` adds the picture and the page."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (draft / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        (draft / "config.toml").write_text(config_as_toml(config), encoding="utf-8")
        write_trades(draft / "trades.csv", records)
        write_equity(draft / "equity.csv", records)
        write_returns(draft / "returns.csv", records, summary["start_equity"])
        if plot:
            plot_overview(records, summary, draft / "overview.png")
            write_report(draft / "report.html", records, summary, config)
        folder.mkdir(exist_ok=True)
        for name in RUN_FILES:
            if (draft / name).exists():
                os.replace(draft / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_trades(path: Path, records: Sequence[SymbolRecord]) -> None:
    """Write one row for each closing execution, in the order they closed."""
    trades = [trade for record in records for trade in record.trades]
    trades.sort(key=lambda trade: trade.close_time)  # stable: one symbol's order is kept
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TRADE_COLUMNS)
        writer.writerows(map(trade_row, trades))


def trade_row(trade: ClosedTrade) -> tuple[Any, ...]:
    """Return one row of trades.csv, in the order of `TRADE_COLUMNS`."""
    return (
        trade.trade_id, trade.symbol, trade.side.name, trade.label, Regime(trade.regime).name,
        iso_seconds(trade.open_time), iso_seconds(trade.close_time), trade.qty, trade.entry, trade.exit,
        trade.gross, trade.fees, trade.funding, trade.net,
    )  # fmt: skip


def write_equity(path: Path, records: Sequence[SymbolRecord]) -> None:
    """Write one row a bar; with several symbols one row a bar and symbol, its name in a last column."""
    header = list(EQUITY_COLUMNS) + (["symbol"] if len(records) > 1 else [])
    tables = [_equity_table(record, len(records) > 1) for record in records]
    table = pa.concat_tables(tables)
    if len(records) > 1:
        table = table.sort_by("time")
    with path.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        _write_rows(table, file)


def equity_rows(record: SymbolRecord, name: bool) -> bytes:
    """Return the rows of a record as they stand in equity.csv, with the symbol in a last column if `name`."""
    rows = io.BytesIO()
    _write_rows(_equity_table(record, name), rows)
    return rows.getvalue()


def _write_rows(table: pa.Table, file: BinaryIO) -> None:
    pa_csv.write_csv(table, file, pa_csv.WriteOptions(include_header=False, quoting_style="none"))


def write_returns(path: Path, records: Sequence[SymbolRecord], start_equity: float) -> None:
    """Write date and return of each UTC day traded, a fraction, for pyfolio, quantstats and the like.

    ``pandas.read_csv(path, index_col=0, parse_dates=True)["return"]`` is what they take.
    """
    days, returns = daily_returns(*wallet_curve(records), start_equity)
    dates = np.datetime_as_string(days.astype("datetime64[D]"))
    rows = "".join(f"{date},{change!r}\n" for date, change in zip(dates.tolist(), returns.tolist(), strict=True))
    path.write_text("date,return\n" + rows, encoding="utf-8")


def _equity_table(record: SymbolRecord, name: bool) -> pa.Table:
    columns: dict[str, Any] = {}
    for column in EQUITY_COLUMNS:
        values = record.column(column)
        if column == "time":
            seconds = values.astype(np.int64).astype("datetime64[ms]")
            columns[column] = np.char.add(np.datetime_as_string(seconds, unit="s"), "Z")
        elif column == "regime":
            names = {code.value: code.name for code in Regime}
            columns[column] = [names[int(code)] for code in values]
        elif column in ("halted", "resting_orders"):
            columns[column] = values.astype(np.int64)
        elif column in ("liquidation_down", "liquidation_up"):
            columns[column] = pa.array(values, mask=np.isinf(values))  # an empty cell: no such price
        else:
            columns[column] = values
    if name:
        columns["symbol"] = [record.symbol] * len(record.log)
    return pa.table(columns)
