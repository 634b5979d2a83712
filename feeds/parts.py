"""One file's table under check: its columns by field, and where its rows came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from feeds.layouts import ColumnLayout
from feeds.number_texts import Ambiguous, decimal_mark, floats_of
from feeds.source_columns import Column, as_series, cells, number_array
from feeds.times import BadTime, Times, read_times
from gridv4_bt.errors import DataError

#: Name of a source that belongs to somebody else, whose numbers are copied.
FRAME = "DataFrame"


@dataclass(frozen=True)
class FilePart:
    """The time and the wanted fields of one file."""

    #: the file, for messages
    name: str
    #: a column a field, as they were written; "clock" where the time of day stands by itself
    columns: Mapping[str, Column]
    layout: ColumnLayout
    #: what was understood of the file, for the screen
    facts: list[str]
    #: what the file calls the fields
    titles: Mapping[str, str] = field(default_factory=dict)
    #: returns the line of a text file, from 1, of a row, from 0
    line_of: Callable[[int], int] | None = None

    def __len__(self) -> int:
        return len(self.columns["time"])

    def at(self, row: int) -> str:
        """Return the place of a row for messages: file, row from 1, and the line where it is not the next one."""
        line = self.line_of(row) if self.line_of is not None else row + 2
        return f"{self.name}: row {row + 1}" + (f" (line {line})" if line != row + 2 else "")

    def raw(self, column: str, row: int) -> str:
        """Return a cell as text."""
        return str(as_series(self.columns[column]).iloc[row])

    def times(self) -> Times:
        """Return the times.

        Raises
        ------
        DataError
            One is no time, or they are local.
        """
        column = self.columns["time"]
        if "clock" in self.columns:
            day, clock = (as_series(one).astype(str).str.strip() for one in (column, self.columns["clock"]))
            column = day + " " + clock
        try:
            times = read_times(column)
        except BadTime as bad:
            cell = as_series(column).iloc[[bad.row]]
            text = "" if cell.isna().any() else str(cell.iloc[0])
            reason, cure = bad.reason, bad.cure
            if text.strip().lower() == str(self.titles.get("time", "time")).lower():
                reason, cure = "is a header again", "Delete the row: files were joined with their headers."
            shown = f"time {text!r}" if text.strip() else "time"
            raise DataError(f"{self.at(bad.row)}: {shown} {reason}. {cure}") from None
        if self.layout.local and times.naive:
            raise DataError(
                f"{self.name}: the column {self.titles.get('time', 'time')!r} holds local times, which are ambiguous "
                "when clocks are put back. Export the times in UTC."
            )
        return times

    def numbers(self, fields: tuple[str, ...]) -> tuple[dict[str, np.ndarray], str]:
        """Return the fields as floats, NaN for what is no number, and the decimal mark."""
        found, texts = {}, {}
        for name in fields:
            numbers = number_array(self.columns[name], copy=self.name == FRAME)
            if numbers is None:
                texts[name] = cells(self.columns[name])
            else:
                found[name] = numbers
        mark = "."
        if texts:
            try:
                mark = decimal_mark(text for column in texts.values() for text in column if isinstance(text, str))
            except Ambiguous as reason:
                raise DataError(
                    f"{self.name}: {reason}. Save the file with decimal points and without thousands."
                ) from None
        found |= {name: floats_of(column, mark) for name, column in texts.items()}
        if self.layout.percent and "rate" in found and "%" not in str(cells(self.columns["rate"][:1])):
            found["rate"] = found["rate"] / 100.0
        return found, mark
