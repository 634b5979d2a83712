"""bars.parquet: what a run knows of each bar and equity.csv does not hold; with it a run's folder opens whole.

One row a bar and symbol, the symbols one after another: candles, KAMA, ATR, spacing, size and the trace of every level
of the ladder. What a symbol has but once (fills still open, settlements, counts) stands in the file's metadata as JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gridv4_bt.core.mixture import STATES
from gridv4_bt.engine.columns import EQUITY_COLUMNS, LOG_COLUMNS
from gridv4_bt.engine.types import Fill
from gridv4_bt.errors import DataError
from gridv4_bt.record.arrow import names, numbers
from gridv4_bt.record.equity import is_of_grid
from gridv4_bt.record.run_record import SymbolRecord

#: Columns of the log that equity.csv has not, and series of the record that have a value for every bar.
LOGGED = [name for name in LOG_COLUMNS if name not in EQUITY_COLUMNS]
SERIES = ("open", "high", "low", "close", "volume", "kama", "atr", "settled")
#: What a symbol has but once.
ONCE = (
    "bars", "halts", "stops", "margin_calls", "min_liquidation_distance", "synthetic_share", "blocked", "warnings",
    "departures",
)  # fmt: skip
_KEY = b"gridv4"


def write_bars(path: Path, records: Sequence[SymbolRecord]) -> None:
    """Write the bars of all symbols."""
    tables = [pa.table(_columns(record)) for record in records]
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    table = table.replace_schema_metadata({_KEY: json.dumps([_once(record) for record in records])})
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    # Arrow 16 cannot read such a column where not all symbols have one.
    split = {name: "BYTE_STREAM_SPLIT" for name in floats if not table.column(name).null_count}
    pq.write_table(table, path, compression="zstd", use_dictionary=others, column_encoding=split)


def with_bars(records: Sequence[SymbolRecord], path: Path) -> list[SymbolRecord]:
    """Return the records of a run's CSV files completed by its bars.

    Raises
    ------
    DataError
        The file is damaged, or does not belong to them.
    """
    try:
        table = pq.read_table(path)
        once = json.loads((table.schema.metadata or {})[_KEY])
        symbols = table.column("symbol").to_numpy()
        found = [
            _completed(record, table.filter(pa.array(symbols == record.symbol)), values)
            for record, values in zip(records, once, strict=True)
        ]
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    return found


def _columns(record: SymbolRecord) -> dict[str, pa.Array]:
    rows = len(record.log)
    logged = LOGGED if is_of_grid(record) else ()
    columns: dict[str, NDArray[Any]] = {name: record.column(name) for name in logged}
    columns |= {name: getattr(record, name) for name in SERIES if len(getattr(record, name)) == rows}
    if len(record.ladder) == rows:
        columns |= {f"level{place}": codes for place, codes in enumerate(np.asarray(record.ladder).T)}
    if len(record.posteriors) == rows:
        columns |= {f"state{code}": values for code, values in zip(STATES, record.posteriors.T, strict=True)}
    symbol = names(np.zeros(rows, np.int32), [record.symbol])
    return {"symbol": symbol} | {name: numbers(values) for name, values in columns.items()}


def _once(record: SymbolRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ONCE} | {
        "symbol": record.symbol,
        "ticks": record.ticks,
        "funding": record.funding.tolist(),
        "open_fills": [[side, *fill] for side, fill in record.open_fills],
    }


def _completed(record: SymbolRecord, table: pa.Table, values: dict[str, Any]) -> SymbolRecord:
    if values["symbol"] != record.symbol or len(table) != len(record.log):
        raise ValueError(
            f"{len(table)} bars of {values['symbol']}, equity.csv has {len(record.log)} of {record.symbol}"
        )
    # A column is empty where the symbol has no such values.
    given = {name: table.column(name) for name in table.column_names if not table.column(name).null_count}
    log = np.array(record.log, order="F")
    for name in (one for one in LOGGED if one in given):  # a run without a grid has none
        log[:, LOG_COLUMNS.index(name)] = given[name].to_numpy()

    def together(names: Sequence[str], empty: np.ndarray) -> np.ndarray:
        return np.column_stack([given[name].to_numpy() for name in names]) if names and names[0] in given else empty

    return replace(
        record,
        log=log,
        ladder=together([name for name in given if name.startswith("level")], record.ladder),
        posteriors=together([f"state{code}" for code in STATES], record.posteriors),
        funding=np.array(values["funding"]).reshape(-1, 3),
        ticks=[(int(time), float(tick)) for time, tick in values["ticks"]],
        open_fills=[(side, Fill(*fill)) for side, *fill in values["open_fills"]],
        **{name: given[name].to_numpy() for name in SERIES if name in given},
        **{name: values[name] for name in ONCE},
    )
