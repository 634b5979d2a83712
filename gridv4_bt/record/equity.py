"""equity.csv, or equity.parquet in its place: one row a bar. Times are UTC, in the text ISO 8601.

A run is written and read by pyarrow. A live bot, which writes a row at a time, makes the same text without it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.columns import EQUITY_COLUMNS, GRID_COLUMNS
from gridv4_bt.engine.packed_rows import BLOCK
from gridv4_bt.errors import DataError
from gridv4_bt.record.run_record import SymbolRecord

if TYPE_CHECKING:
    import pyarrow as pa

EQUITY_FILES = ("equity.csv", "equity.parquet")  #: of a run; it has one of them


def equity_file(folder: Path) -> Path:
    """Return the file of `EQUITY_FILES` that a run's folder has; equity.csv if it has none."""
    text, parquet = (folder / name for name in EQUITY_FILES)
    return parquet if parquet.exists() and not text.exists() else text


def write_equity(path: Path, records: Sequence[SymbolRecord]) -> None:
    """Write one row a bar; with several symbols one row a bar and symbol, its name in a last column.

    The ending of the name, .csv or .parquet, says in which format.
    The columns that only a grid has are left out of a run without one.
    """
    if path.suffix == ".parquet":
        _write_parquet(path, records)
        return
    header = list(_columns_of(records[0])) + (["symbol"] if len(records) > 1 else [])
    with path.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        for table in _blocks(records, _equity_table):
            _write_rows(table, file)


def _write_parquet(path: Path, records: Sequence[SymbolRecord]) -> None:
    import pyarrow.parquet as pa_parquet

    writer = None
    try:
        for table in _blocks(records, _typed_table):
            writer = writer or pa_parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _blocks(
    records: Sequence[SymbolRecord], make: Callable[[SymbolRecord, bool, slice], pa.Table]
) -> Iterator[pa.Table]:
    """Yield the rows of some thousand bars at a time, so that a long run takes no more memory for it than a short one.

    There is one block at least.
    """
    import pyarrow as pa

    from gridv4_bt.record.arrow import numbers

    several = len(records) > 1
    all_times = [record.column("time") for record in records]
    begins = np.unique(np.concatenate([times[::BLOCK] for times in all_times]))
    for begin, end in itertools.pairwise([*(begins if len(begins) else [0.0]), np.inf]):
        rows = [slice(*times.searchsorted([begin, end])) for times in all_times]
        tables = [make(record, several, some) for record, some in zip(records, rows, strict=True)]
        table = pa.concat_tables([one for one in tables if len(one)] or tables[:1])
        if several:  # bar by bar, at each the symbols in their order
            order = np.concatenate([times[some] for times, some in zip(all_times, rows, strict=True)])
            table = table.take(numbers(np.argsort(order, kind="stable")))
        yield table


def is_of_grid(record: SymbolRecord) -> bool:
    """Return whether a grid made a record: another strategy knows no regime."""
    return not np.isnan(record.column("regime", slice(1))).any()


def _columns_of(record: SymbolRecord) -> tuple[str, ...]:
    without = () if is_of_grid(record) else GRID_COLUMNS
    return tuple(name for name in EQUITY_COLUMNS if name not in without)


def equity_rows(record: SymbolRecord, name: bool) -> bytes:
    """Return the rows of a record for equity.csv, with the symbol in a last column if `name`."""
    columns = _equity_columns(record, slice(None))
    columns["time"] = np.char.add(np.datetime_as_string(columns["time"].astype("datetime64[ms]"), unit="s"), "Z")
    if "regime" in columns:
        columns["regime"] = np.array(_REGIMES)[columns["regime"]]
    if name:
        columns["symbol"] = np.full(len(columns["time"]), record.symbol)
    for column in _PRICES:
        columns[column] = np.where(np.isinf(columns[column]), "", list(map(_text, columns[column])))
    texts = [list(map(_text, values)) for values in columns.values()]
    return "".join(",".join(row) + "\n" for row in zip(*texts, strict=True)).encode()


def _text(value: Any) -> str:
    """Return the text of a value as pyarrow writes it."""
    if not isinstance(value, float):
        return str(value)
    if value == 0.0 or 1e-6 <= abs(value) < 1e10 or not np.isfinite(value):
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def _write_rows(table: pa.Table, file: BinaryIO) -> None:
    import pyarrow.csv as pa_csv

    pa_csv.write_csv(table, file, pa_csv.WriteOptions(include_header=False, quoting_style="none"))


def _equity_table(record: SymbolRecord, name: bool, rows: slice) -> pa.Table:
    """Return the rows with times and names as texts."""
    import pyarrow as pa

    columns = _arrow_columns(record, name, rows)
    columns["time"] = _time_texts(record.column("time", rows).astype(np.int64).tobytes())
    for column in {"regime", "symbol"} & columns.keys():
        columns[column] = columns[column].dictionary_decode()
    return pa.table(columns)


@lru_cache(maxsize=1)
def _time_texts(times: bytes) -> pa.Array:
    """Return the texts of times (int64, ms); symbols that are written one after another have them in common."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from gridv4_bt.record.arrow import numbers

    moments = numbers(np.frombuffer(times, np.int64), pa.timestamp("ms"))
    return pc.strftime(moments.cast(pa.timestamp("s"), safe=False), "%Y-%m-%dT%H:%M:%SZ")


def _typed_table(record: SymbolRecord, name: bool, rows: slice) -> pa.Table:
    """Return the rows with times as times and names by their number, which Parquet keeps so."""
    import pyarrow as pa

    columns = _arrow_columns(record, name, rows)
    columns["time"] = columns["time"].cast(pa.timestamp("ms", "UTC"))
    for column in {"regime", "symbol"} & columns.keys():  # of all names those that occur
        columns[column] = columns[column].dictionary_decode().dictionary_encode()
    return pa.table(columns).unify_dictionaries()


def _arrow_columns(record: SymbolRecord, name: bool, rows: slice) -> dict[str, pa.Array]:
    import pyarrow as pa

    from gridv4_bt.record.arrow import names, numbers

    values = _equity_columns(record, rows)
    columns = {column: numbers(one) for column, one in values.items()}
    columns["time"] = numbers(values["time"], pa.timestamp("ms"))
    for column in _PRICES:  # its cells are empty where there is no such price
        columns[column] = numbers(values[column], missing=np.isinf(values[column]))
    if "regime" in values:
        columns["regime"] = names(values["regime"], _REGIMES)
    if name:
        columns["symbol"] = names(np.zeros(len(values["time"]), np.int32), [record.symbol])
    return columns


def _equity_columns(record: SymbolRecord, rows: slice) -> dict[str, NDArray[Any]]:
    """Return the columns as numbers: times in ms, and the place of each regime in `_REGIMES`."""
    columns: dict[str, NDArray[Any]] = {}
    for column in _columns_of(record):
        values = record.column(column, rows)
        if column in ("time", "regime", "halted", "resting_orders"):
            values = values.astype(np.int64)
        columns[column] = values - _LOWEST if column == "regime" else values
    return columns


_PRICES = ("liquidation_down", "liquidation_up")  #: infinite where there is no such price
#: Names of the regimes from the lowest code on.
_LOWEST = min(Regime)
_REGIMES = [Regime(code).name for code in sorted(Regime)]


def read_equity(path: Path) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Return times (ms) and equity of all rows; with several symbols there is one of each at a time.

    Raises
    ------
    DataError
        The file is missing, damaged, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    if path.suffix == ".parquet":
        times, equity = _read_parquet(path)
        _check_order(path, times, equity)
        return times, equity
    columns = {"time": pa.string(), "equity": pa.float64()}
    options = pa_csv.ConvertOptions(column_types=columns, include_columns=list(columns), strings_can_be_null=False)
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 1, 0))
            whole = file.read() == b"\n"
        table = pa_csv.read_csv(path, convert_options=options)
        times = np.array([text.removesuffix("Z") for text in table["time"].to_pylist()], dtype="datetime64[ms]")
        equity = table["equity"].to_numpy()
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a run's folder holds it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    if not whole:
        raise DataError(f"{path}: damaged: ends within a row")
    _check_order(path, times, equity)
    return times, equity


def _read_parquet(path: Path) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    try:
        table = pa_parquet.read_table(path, columns=["time", "equity"])
        return table["time"].cast(pa.int64()).to_numpy().astype("datetime64[ms]"), table["equity"].to_numpy()
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a run's folder holds it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or str(error).splitlines()[0]})") from None
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged: {str(error).splitlines()[0]}") from None


def _check_order(path: Path, times: NDArray[np.datetime64], equity: NDArray[np.float64]) -> None:
    if np.any(times[1:] < times[:-1]) or np.isnan(equity).any() or np.isnat(times).any():
        raise DataError(f"{path}: damaged: times that do not rise or cells that are empty")
