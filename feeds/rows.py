"""The rows of a source, all of its files together, and the errors that name a bad one by its own file and row."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from feeds.files import Content, contents, files_at
from feeds.layouts import ColumnLayout, NoLayout, layout_of, symbol_of, tells_symbol
from feeds.parts import FRAME, FilePart
from feeds.source_columns import Column, checked, is_frame
from feeds.texts import read_text
from feeds.times import Times, put_back, put_forward
from gridv4_bt.core.time import iso
from gridv4_bt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "str | Path | pd.DataFrame"

_MOST_ROWS = 100_000_000
#: Words in the names of files of other kinds that lie in the same folder.
_OTHERS = ("funding", "mark", "index", "premium", "metrics", "trades", "depth", "liquidation")
_INTERVAL = re.compile(r"[-_, ](\d+[mhd])(?=[-_., ]|$)")


class Rows:
    """Times and numbers of a source, in order of time where it has several files.

    Attributes
    ----------
    where: the source, for messages
    path: its path; None for a DataFrame
    time: int64 ms UTC
    numbers: float64 by field
    facts: what was understood, for the screen
    """

    def __init__(self, source: Source, kind: str, fields: tuple[str, ...], interval: str = "") -> None:
        self.path = None if is_frame(source) else source
        self._parts = _parts_of(source, kind, fields, interval)
        self.where = self._parts[0].name if self.path is None else str(self.path)
        times = [part.times() for part in self._parts]
        found = [part.numbers(fields) for part in self._parts]
        self.facts = self._facts(times, {mark for _, mark in found})
        self._naive = times[0].naive
        self.time = np.concatenate([one.ms for one in times]) if len(times) > 1 else times[0].ms
        self.numbers = {
            field: np.concatenate([values[field] for values, _ in found]) if len(found) > 1 else found[0][0][field]
            for field in fields
        }
        self._starts = np.cumsum([0, *map(len, self._parts)])
        self._row: np.ndarray | None = None  # rows of the source in our order, where that is another
        self._put_in_order(times)

    def at(self, row: int) -> str:
        """Return the place of a row for messages."""
        part, own = self._part_of(row)
        return part.at(own)

    def raw(self, column: str, row: int) -> str:
        """Return a cell of the source as text."""
        part, own = self._part_of(row)
        return part.raw(column, own)

    def refuse(self, bad: np.ndarray, reason: Callable[[int], str], cure: str) -> None:
        """Raise for the first row where `bad` is true; `reason` words it for that row."""
        if not bad.any():
            return
        row = int(bad.argmax())
        others = int(bad.sum()) - 1
        more = f" (and {others} more such rows)" if others else ""
        raise DataError(f"{self.at(row)}, {iso(self.time[row])}: {reason(row)}{more}. {cure}")

    def check_order(self, cure: str) -> None:
        """Refuse times that do not rise from row to row."""
        step = np.diff(self.time, prepend=self.time[0] - 1)
        if (step == 0).sum() * 2 > len(step):
            row, count = int((step == 0).argmax()), int((step == 0).sum())
            raise DataError(
                f"{self.at(row)}, {iso(self.time[row])}: the same time as the row before, as in {count:,} of "
                f"{len(step):,} rows: the times have lost digits, or their hours and minutes, in a spreadsheet. "
                "Download the file again, and do not save it there."
            )
        if self._naive and (step <= 0).any() and put_back(self.time, int(np.median(step[1:]))) is not None:
            cure = "These look like local times when clocks are put back: export the times in UTC."
        self.refuse(
            step <= 0,
            lambda row: "the same time as the row before" if step[row] == 0 else "earlier than the row before",
            cure,
        )

    def lost_hour(self, usual: int) -> int | None:
        """Return the first row, from 0, before which times without a zone lack the hour that clocks leave out."""
        return put_forward(self.time, usual) if self._naive else None

    def _part_of(self, row: int) -> tuple[FilePart, int]:
        if self._row is not None:
            row = int(self._row[row])
        place = int(self._starts.searchsorted(row, side="right")) - 1
        return self._parts[place], row - int(self._starts[place])

    def _facts(self, times: Sequence[Times], marks: set[str]) -> list[str]:
        first = self._parts[0]
        facts = list(first.facts)
        units = sorted({one.unit for one in times})
        zone = "no zone written: taken as UTC" if times[0].naive else "UTC"
        facts.append(f"times: {' and '.join(units)}, {zone}")
        if "," in marks:
            facts.append("decimal commas")
        if first.layout.percent:
            facts.append("rates in percent")
        if len(self._parts) > 1:
            facts.append(f"{len(self._parts):,} files")
        return facts

    def _put_in_order(self, times: Sequence[Times]) -> None:
        """Bring files into their order, and rows that are newest first; drop rows that two files share."""
        if self.path is None or (len(times) == 1 and not (len(self.time) > 1 and self.time[1] < self.time[0])):
            return  # the usual case; what is wrong in it is found by check_order
        order = []
        for start, one in zip(self._starts, times, strict=False):
            rows = np.arange(start, start + len(one.ms))
            step = np.diff(one.ms)
            if len(step) and (step < 0).all():
                rows = rows[::-1]
                if "newest row first" not in self.facts:
                    self.facts.append("newest row first")
            elif len(times) > 1 and (step <= 0).any():
                bad = int((step <= 0).argmax()) + 1
                raise DataError(
                    f"{self.at(int(start) + bad)}, {iso(one.ms[bad])}: not later than the row before. Sort the file."
                )
            order.append(rows)
        if len(order) == 1 and (len(order[0]) < 2 or order[0][0] < order[0][-1]):
            return
        row = np.concatenate(order)
        row = row[np.argsort(self.time[row], kind="stable")]
        again = np.flatnonzero(np.diff(self.time[row]) == 0) + 1
        self._row = row
        for values in self.numbers.values():
            ordered = values[row]
            differs = again[
                (ordered[again] != ordered[again - 1]) & ~(np.isnan(ordered[again]) & np.isnan(ordered[again - 1]))
            ]
            if len(differs):
                both = " and ".join(self.at(int(one)) for one in (differs[0] - 1, differs[0]))
                raise DataError(f"{both}: the same time with different values. Leave one of the files out.")
        self._row = np.delete(row, again)
        if len(again):
            self.facts.append(f"{len(again):,} rows in two files taken once")
        self.time = self.time[self._row]
        self.numbers = {field: values[self._row] for field, values in self.numbers.items()}


def symbol_at(path: Path) -> str:
    """Return the symbol of a file, or of all files of a folder or pattern.

    Raises
    ------
    DataError
        They are of several symbols, or nothing is there.
    """
    named = symbol_of(str(path))
    if "*" not in named and "?" not in named and not os.path.isdir(path):  # noqa: PTH112 (of any text, without an error)
        return named
    found = sorted({symbol_of(str(one)) for one in files_at(path)}, key=lambda one: (not tells_symbol(one), one))
    if sum(map(tells_symbol, found)) > 1:
        raise DataError(
            f"{path}: holds several symbols ({', '.join(found[:4])}). Name the files of one, such as {found[0]}*."
        )
    return found[0]


def _parts_of(source: Source, kind: str, fields: tuple[str, ...], interval: str) -> list[FilePart]:
    if is_frame(source):
        return [_of_frame(source, fields)]
    if not isinstance(source, str | Path):
        raise DataError(f"a {type(source).__name__} is no data source: give a path or a DataFrame")

    def keep(paths: list[Path]) -> list[Path]:
        return _of_kind(paths, kind, interval)

    try:
        return [_read(content, fields) for content in contents(Path(source), keep)]
    except MemoryError:
        raise DataError(f"{source}: does not fit into the memory. Give a shorter span.") from None


def _of_kind(paths: list[Path], kind: str, interval: str) -> list[Path]:
    """Return those of several files that are of a kind and an interval, by their names; refuse several symbols."""
    symbols = sorted(filter(tells_symbol, {symbol_of(str(one)) for one in paths}))
    if len(symbols) > 1:
        raise DataError(
            f"{paths[0].parent}: holds several symbols ({', '.join(symbols[:4])}). Name the files of one, such as "
            f"{symbols[0]}*."
        )
    words = (kind,) if kind in ("funding", "mark") else ()
    own = [one for one in paths if any(word in one.name.lower() for word in words)]
    if not own:
        own = [one for one in paths if not any(word in one.name.lower() for word in _OTHERS)] or paths
    lengths = {one: match[1] for one in own if (match := _INTERVAL.search(one.name))}
    if interval in lengths.values() and len(set(lengths.values())) > 1:
        own = [one for one in own if lengths.get(one) == interval]
    return own


def _of_frame(frame: pd.DataFrame, fields: tuple[str, ...]) -> FilePart:
    import pandas as pd

    if "time" not in frame.columns and (frame.index.name or isinstance(frame.index, pd.DatetimeIndex)):
        frame = frame.rename_axis(frame.index.name or "time").reset_index()
    names = [str(name) for name in frame.columns]
    sample = [str(value) for value in frame.iloc[0]] if len(frame) else [""] * len(names)
    return _named(FRAME, [frame.iloc[:, place] for place in range(len(names))], names, sample, fields)


def _named(
    name: str, columns: Sequence[Column], names: Sequence[str], sample: Sequence[str], fields: tuple[str, ...]
) -> FilePart:
    layout = _layout(name, names, sample, fields)
    if not len(columns[0]):
        raise DataError(f"{name}: no rows. Download the file again.")
    by_field = {field: columns[place] for field, place in layout.columns.items()}
    if layout.clock is not None:
        by_field["clock"] = columns[layout.clock]
    titles = {field: names[place] for field, place in layout.columns.items()}
    return FilePart(name, by_field, layout, [f"columns {', '.join(titles.values())}"], titles)


def _layout(name: str, names: Sequence[str], sample: Sequence[str], fields: tuple[str, ...]) -> ColumnLayout:
    try:
        return layout_of(names, sample, fields)
    except NoLayout as reason:
        raise DataError(f"{name}: {reason}") from None


def _read(content: Content, fields: tuple[str, ...]) -> FilePart:
    facts = [content.packing] if content.packing else []
    if content.kind == "text":
        part = read_text(content.name, content.data, fields)
        part.facts[:0] = facts
        return part
    import pyarrow as pa

    try:
        part = _of_arrow(content, fields)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{content.name}: cannot be read ({reason}). The file is damaged: download it again.") from None
    pa.default_memory_pool().release_unused()  # it would keep what the file took when it was unpacked
    part.facts[:0] = [*facts, content.kind.capitalize()]
    return part


def _of_arrow(content: Content, fields: tuple[str, ...]) -> FilePart:
    """Return the wanted columns of a Parquet or Feather file; no other is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import feather

    source = str(content.file) if content.file is not None else pa.BufferReader(content.data)
    if content.kind == "parquet":
        with pq.ParquetFile(source) as file:
            names, rows = list(file.schema_arrow.names), file.metadata.num_rows
            _refuse_rows(content.name, rows)
            sample = _sample(names, fields, lambda: next(file.iter_batches(batch_size=1), None))
            table = file.read(columns=_chosen(content.name, names, sample, fields), use_threads=False)
    else:
        table = feather.read_table(source, memory_map=False)
        _refuse_rows(content.name, table.num_rows)
        names = list(table.column_names)
        sample = _sample(names, fields, lambda: table.slice(0, 1).to_batches()[0] if len(table) else None)
        table = table.select(_chosen(content.name, names, sample, fields))
    chosen = table.column_names
    columns = [checked(column) for column in table.columns]
    return _named(content.name, columns, chosen, [sample[names.index(one)] for one in chosen], fields)


def _refuse_rows(name: str, rows: int) -> None:
    if rows > _MOST_ROWS:
        raise DataError(f"{name}: says it has {rows:,} rows, at most {_MOST_ROWS:,} are read. Give a shorter span.")


def _sample(names: list[str], fields: tuple[str, ...], first: Callable[[], Any]) -> list[str]:
    """Return the first row as texts; it is not read where the names say all."""
    if {"time", *fields} <= set(names):
        return ["0000000000"] * len(names)
    batch = first()
    return [str(column[0]) for column in batch.columns] if batch is not None else [""] * len(names)


def _chosen(name: str, names: list[str], sample: list[str], fields: tuple[str, ...]) -> list[str]:
    """Return the names of the columns to read."""
    layout = _layout(name, names, sample, fields)
    places = {*layout.columns.values(), *(() if layout.clock is None else (layout.clock,))}
    extra = {"open", "high", "low", "close"} & set(names) if "rate" in fields else set()
    return list(dict.fromkeys([*(names[place] for place in sorted(places)), *sorted(extra)]))
