"""A column of a source as it was written: an Arrow column of a file, or a pandas one of a DataFrame.

pandas takes 45 MB, so numbers and times of a file are read without it; it is loaded where a column has anything else.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Column: TypeAlias = "pa.ChunkedArray | pd.Series"


def is_frame(source: object) -> bool:
    """Return whether a source is a DataFrame; none is where pandas is not loaded."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


def checked(column: pa.ChunkedArray) -> Column:
    """Return a column of a Parquet or Feather file, as pandas has it if it is neither numbers nor times nor texts.

    Raises
    ------
    ArrowException, ValueError, OverflowError
        It is damaged.
    """
    import pyarrow as pa

    column.validate(full=True)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_timestamp, is_text)
    return column if any(kind(column.type) for kind in kinds) else as_series(column)


def is_arrow(column: Column) -> bool:
    """Return whether a column is one of Arrow."""
    return hasattr(column, "chunks")


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow column of this kind holds texts."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def as_series(column: Column) -> pd.Series:
    """Return a column as pandas has it."""
    if not is_arrow(column):
        return column
    import pyarrow as pa

    return pa.table({"": column}).to_pandas(ignore_metadata=True)[""]


def cells(column: Column) -> list[Any]:
    """Return a column's cells, None or NaN for those that are empty."""
    return column.to_pylist() if is_arrow(column) and is_text(column.type) else as_series(column).tolist()


def array_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers as an array, which shares its memory where that is one piece without gaps."""
    if column.null_count or not column.num_chunks:
        return column.to_numpy()  # loads pandas
    pieces = [np.from_dlpack(chunk) for chunk in column.chunks]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def number_array(column: Column, copy: bool) -> np.ndarray | None:
    """Return a column as floats, NaN for what is missing; None if it has anything but numbers."""
    if is_arrow(column):
        import pyarrow as pa

        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        return array_of(column).astype(np.float64, copy=False) if is_number else None
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return None
    return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=copy)


def whole_numbers(column: Column) -> np.ndarray | None:
    """Return a column of whole numbers as int64; None if it is another or a number is missing."""
    if is_arrow(column):
        import pyarrow as pa

        is_whole = pa.types.is_signed_integer(column.type) and not column.null_count
        return array_of(column).astype(np.int64, copy=False) if is_whole else None
    return column.to_numpy(dtype=np.int64) if column.dtype.kind == "i" else None
