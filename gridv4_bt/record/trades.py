"""trades.csv: one row for each closing execution. Times are ISO 8601 UTC."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import iso_seconds
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.errors import DataError
from gridv4_bt.record.run_files import read_text
from gridv4_bt.record.run_record import SymbolRecord

TRADE_COLUMNS = (
    "trade_id", "symbol", "side", "label", "regime", "open_time", "close_time", "qty", "entry", "exit",
    "gross", "fees", "funding", "net",
)  # fmt: skip
_NUMBERS = ("qty", "entry", "exit", "gross", "fees", "funding", "net")


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


def read_trades(path: Path) -> list[dict[str, Any]]:
    """Return the rows as dictionaries by column, with their numbers counted from 1.

    Raises
    ------
    DataError
        The file is missing, damaged, or cannot be read.
    """
    text = read_text(path)
    reader = csv.DictReader(text.splitlines())
    absent = [name for name in TRADE_COLUMNS if name not in (reader.fieldnames or ())]
    if absent:
        raise DataError(f"{path}: damaged: no column {absent[0]}")
    if not text.endswith("\n"):
        raise DataError(f"{path}: damaged: ends within a row")
    trades = []
    for number, row in enumerate(reader, start=1):
        if None in row or None in row.values():
            raise DataError(f"{path}: damaged: row {number} has not as many cells as the header")
        try:
            row |= {name: float(row[name]) for name in _NUMBERS}
            row |= {name: _time(row[name]) for name in ("open_time", "close_time")}
        except ValueError as error:
            raise DataError(f"{path}: damaged: row {number}: {error}") from None
        trades.append(row | {"number": number})
    return trades


def _time(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ms")
