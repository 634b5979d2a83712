"""Tables in text files: CSV however separated, headed and encoded, and the JSON of exchanges."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from feeds.layouts import HIVE_KEYS, ColumnLayout, NoLayout, is_number, layout_of, nameless_layout
from feeds.parts import FilePart
from gridv4_bt.errors import DataError

_HEAD = 1 << 16  # bytes in which the first rows lie
_HEAD_LINES = 40
_SEPARATORS = (";", "\t", "|", ",")
_NAMES = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip


def read_text(name: str, data: bytes, fields: Sequence[str]) -> FilePart:
    """Return the time and `fields` of a text file.

    Raises
    ------
    DataError
        It holds no such table; the message says what it is instead, where that can be told.
    """
    data, encoding = _as_utf8(name, data)
    if not data or data.isspace():
        raise DataError(f"{name}: the file is empty. Download it again.")
    start = data[:64].lstrip()
    if start[:1] in (b"{", b"["):
        return _from_json(name, data, fields)
    _refuse_no_table(name, start, data)
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    table = _Sheet(name, data, fields)
    return table.part(encoding)


def _as_utf8(name: str, data: bytes) -> tuple[bytes, str]:
    """Return a text in UTF-8, and the name of the encoding it had if that was another."""
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            if encoding == "utf-8":
                return data[len(bom) :], ""
            break
    else:
        head = data[:_HEAD]
        if data.isascii() and b"\0" not in head:
            return data, ""
        zeros = head.count(b"\0")
        if zeros and (found := _wide(head)):
            encoding = found
        elif zeros:
            raise DataError(f"{name}: cannot be read: it is no text. Give .csv, .csv.gz, .zip, .feather or .parquet.")
        else:
            try:
                data.decode()
                return data, ""
            except UnicodeDecodeError:
                encoding = "cp1252"
    try:
        text = data.decode(encoding, "replace" if encoding == "cp1252" else "strict")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: cannot be read: damaged {encoding.upper()} at byte {error.start}. Save it as UTF-8."
        ) from None
    return text.encode(), encoding.upper()


def _wide(head: bytes) -> str:
    """Return which UTF-16 without a mark a text is in, by the zeros in one half of its bytes, "" for neither."""
    first, second = (half.count(b"\0") * 10 for half in (head[::2], head[1::2]))
    if second > 9 * (len(head) // 2) and not first:
        return "utf-16-le"
    return "utf-16-be" if first > 9 * (len(head) // 2) and not second else ""


def _refuse_no_table(name: str, start: bytes, data: bytes) -> None:
    if start.startswith(b"<") and not start.startswith((b"<DATE", b"<TICKER", b"<TIME")):
        said = re.search(rb"<(?:Message|Code|title)>([^<]{1,100})", data[:_HEAD], re.IGNORECASE)
        text = f" ({said[1].decode(errors='replace').strip()})" if said else ""
        raise DataError(f"{name}: is a web page or an error answer{text}, no data. Download the file again.")
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{name}: is a pointer of Git LFS, no data. Run git lfs pull.")


class _Sheet:
    """Rows of text with the place of the first one."""

    def __init__(self, name: str, data: bytes, fields: Sequence[str]) -> None:
        self.name, self.data, self.fields = name, data, fields
        head = data[:_HEAD].decode(errors="replace").splitlines(keepends=True)
        if len(data) > _HEAD and len(head) > 1:
            head.pop()
        self.head = head
        lines = [(number, line) for number, line in enumerate(head) if line.strip()][:_HEAD_LINES]
        found, self.parted = self._named(lines) or self._nameless(lines), _NAMES
        if found is None:
            lines = [(number, re.sub(r"[ \t]+", "\t", line.strip())) for number, line in lines]
            found = self._named(lines, ("\t",))
            if found is None:
                self._refuse(lines)
            self.parted = {"\t": "blanks"}
            # Times with a blank between day and clock are two columns now, and so is their name.
            self.data = re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", data))
            self.head = self.data[:_HEAD].decode(errors="replace").splitlines(keepends=True)
        self.separator, self.first, self.names, self.layout = found
        self.begin = sum(len(line.encode()) for line in self.head[: self.first])

    def _named(self, lines: Sequence[tuple[int, str]], separators: Sequence[str] = _SEPARATORS) -> Any:
        for separator in separators:
            rows = _split([line for _, line in lines], separator)
            for i, row in enumerate(rows[:20]):
                # All of a table's rows have as many cells, which a line before it has not.
                if len(row) < 2 or not any(map(str.strip, row)) or (is_number(row[0]) and row[0].strip()):
                    continue
                sample = rows[i + 1] if i + 1 < len(rows) else []
                try:
                    layout = layout_of([cell.strip() for cell in row], sample, self.fields)
                except NoLayout:
                    continue
                return separator, lines[i][0] + 1, [cell.strip() for cell in row], layout
        return None

    def _nameless(self, lines: Sequence[tuple[int, str]]) -> Any:
        for separator in _SEPARATORS:
            rows = _split([line for _, line in lines], separator)
            for i, row in enumerate(rows[:3]):
                if len(row) > 1 and (layout := nameless_layout(row, self.fields)) is not None:
                    return separator, lines[i][0], [], layout
                if row and not row[0].lstrip().startswith(("#", "http", "sep=", "//")):
                    break
        return None

    def _refuse(self, lines: Sequence[tuple[int, str]]) -> None:
        """Say what is missing of the first line that may name columns."""
        line = lines[0][1] if lines else ""
        if lines and self.head:
            line = self.head[lines[0][0]]
        names = max((_split([line], separator)[0] for separator in _SEPARATORS), key=len)
        names = [cell.strip() for cell in names]
        try:
            layout_of(names, [""] * len(names), self.fields)
        except NoLayout as reason:
            raise DataError(f"{self.name}: {reason}") from None
        raise DataError(f"{self.name}: no rows. Download the file again.")

    def part(self, encoding: str) -> FilePart:
        """Return the wanted columns."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        rest = memoryview(self.data)[self.begin :]
        first = _split(self.head[self.first : self.first + _HEAD_LINES], self.separator)
        first = [row for row in first if any(map(str.strip, row))]
        if not first:
            raise DataError(f"{self.name}: no rows. Download the file again.")
        width = self._width(first)
        self._refuse_several_symbols(first)
        columns = [f"{place}" for place in range(width)]
        places = dict(self.layout.columns)
        if self.layout.clock is not None:
            places["clock"] = self.layout.clock
        time = first[0][places["time"]].strip() if places["time"] < len(first[0]) else ""
        # A time that is no plain number is kept as it is written, to be read by our rules and shown in messages.
        texts = [places["time"]] if not time.replace(".", "", 1).isdigit() else []
        texts += [self.layout.clock] if self.layout.clock is not None else []
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(rest),
                arrow_csv.ReadOptions(column_names=columns, use_threads=False, block_size=16 << 20),
                arrow_csv.ParseOptions(delimiter=self.separator),
                arrow_csv.ConvertOptions(
                    include_columns=sorted({f"{place}" for place in places.values()}),
                    column_types={f"{place}": pa.string() for place in texts},
                    auto_dict_encode=False,
                    timestamp_parsers=[],
                ),
            )
        except (pa.ArrowException, ValueError, OverflowError) as error:
            self._refuse_ragged(rest, width)
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{self.name}: cannot be read ({reason}). The file is damaged: download it again."
            ) from None
        named = [self.names[place] for place in self.layout.columns.values()] if self.names else []
        facts = [f"columns {', '.join(named)}" if named else f"no header, columns {_ranges(self.layout)}"]
        facts += [f"parted by {self.parted[self.separator]}"] * (self.separator != ",") + [encoding] * bool(encoding)
        shown = {field: self.names[place] for field, place in self.layout.columns.items()} if self.names else {}
        by_field = {field: table.column(f"{place}") for field, place in places.items()}
        return FilePart(self.name, by_field, self.layout, facts, shown, self._line_of)

    def _width(self, rows: Sequence[Sequence[str]]) -> int:
        """Return the number of cells of most rows; refuse decimal commas between commas."""
        counts = [len(row) for row in rows]
        width, named = max(set(counts), key=counts.count), len(self.names)
        if not named or width == named:
            return width
        if width == named + 1 and all(row[0].strip().isdigit() for row in rows if len(row) == width):
            self._shift(rows[0])  # numbers of rows, which R writes without a name
            return width
        spare = [row[named:] for row in rows if len(row) > named]
        if all(not cell.strip() for row in spare for cell in row):
            return max(width, named) if width > named else named if not any(spare) else width
        if self.separator == "," and width > named:
            raise DataError(
                f"{self.name}: row 1: has {len(rows[0])} values under {named} names: decimal commas cannot be told "
                "from the commas between the columns. Save the file with semicolons, or with decimal points."
            )
        raise DataError(f"{self.name}: row 1: has {len(rows[0])} values under {named} names. Download the file again.")

    def _shift(self, sample: Sequence[str]) -> None:
        """Put a column without a name before the others."""
        self.names = ["row", *self.names]
        self.layout = layout_of(self.names, sample, self.fields)

    def _refuse_several_symbols(self, rows: Sequence[Sequence[str]]) -> None:
        """Refuse rows of several symbols, as a database gives them; the first rows and the last one are looked at."""
        place = next((i for i, name in enumerate(self.names) if name.lower() in HIVE_KEYS), None)
        if place is None:
            return
        last = _split([self.data[-4096:].decode(errors="replace").strip().rpartition("\n")[2]], self.separator)
        found = sorted({row[place].strip() for row in [*rows, *last] if len(row) > place})
        if len(found) > 1:
            raise DataError(
                f"{self.name}: holds several symbols ({', '.join(found[:3])}) in the column {self.names[place]!r}. "
                "Write a file for each."
            )

    def _refuse_ragged(self, rest: memoryview, width: int) -> None:
        """Name the first row that has more or fewer cells than the others."""
        row = 0
        try:
            for cells in csv.reader(io.StringIO(str(rest, "utf-8", "replace"), newline=""), delimiter=self.separator):
                if not cells:
                    continue
                row += 1
                if len(cells) != width:
                    text = self.separator.join(cells)[:60]
                    raise DataError(
                        f"{self.name}: row {row}{self._line_text(row - 1)}: has {len(cells)} values and not {width}: "
                        f"{text!r}. Delete the row if it is no data, such as a total; else the file is damaged: "
                        "download it again."
                    )
        except csv.Error:
            return

    def _line_of(self, row: int) -> int:
        """Return the line of the file, from 1, that holds a row, from 0."""
        count = -1
        for number, line in enumerate(io.BytesIO(self.data[self.begin :]), self.first + 1):
            count += bool(line.strip())
            if count == row:
                return number
        return 0

    def _line_text(self, row: int) -> str:
        line = self._line_of(row)
        return f" (line {line})" if line != row + 2 else ""


def _split(lines: Sequence[str], separator: str) -> list[list[str]]:
    rows = []
    for line in lines:  # one by one: a quote that is never closed would swallow the rest
        try:
            rows.append(next(csv.reader([line], delimiter=separator, skipinitialspace=True), []))
        except csv.Error:
            rows.append([])
    return rows


def _ranges(layout: ColumnLayout) -> str:
    return ", ".join(f"{place + 1} {field}" for field, place in layout.columns.items())


def _from_json(name: str, data: bytes, fields: Sequence[str]) -> FilePart:
    """Return the table of an exchange's answer: a list of rows, or of objects with names."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{name}: cannot be read as JSON ({reason}). Download the file again.") from None
    rows = _rows_in(content)
    if rows is None or (not rows and isinstance(content, dict)):
        said = " ".join(json.dumps(content)[:200].split()) if isinstance(content, dict) else "no list of rows"
        raise DataError(f"{name}: is an answer without data: {said}. Download the file again.")
    if not rows:
        raise DataError(f"{name}: no rows. Download the file again.")
    names = list(rows[0]) if isinstance(rows[0], dict) else []
    kinds = {type(row) for row in rows}
    if len(kinds) > 1 or not kinds <= {dict, list}:
        raise DataError(f"{name}: its rows are of several kinds. Give a list of rows as the exchange sends it.")
    if not names and len({len(row) for row in rows}) > 1:
        raise DataError(f"{name}: its rows have different numbers of values. Download the file again.")
    sample = [_cell(rows[0][key]) for key in names] if names else [_cell(value) for value in rows[0]]
    try:
        layout = layout_of(names, sample, fields) if names else nameless_layout(sample, fields)
    except NoLayout as reason:
        raise DataError(f"{name}: {reason}") from None
    if layout is None:
        raise DataError(f"{name}: its rows are not {', '.join(('time', *fields))}. Give what the exchange sends.")
    keys: dict[str, Any] = {field: names[place] if names else place for field, place in layout.columns.items()}
    cells = {field: [row.get(key) if names else row[key] for row in rows] for field, key in keys.items()}
    facts = ["JSON", f"names {', '.join(keys.values())}" if names else f"columns {_ranges(layout)}"]
    import pandas as pd

    columns = {field: pd.Series(values, dtype=object).map(_plain).infer_objects() for field, values in cells.items()}
    return FilePart(name, columns, layout, facts, keys if names else {})


def _rows_in(content: Any) -> list[Any] | None:
    """Return the rows of an answer, which Bybit and OKX wrap."""
    for key in ("", "result", "results", "data", "list", "rows"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    return content if isinstance(content, list) else None


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """Return a cell that is a number or a text, nothing for what is neither."""
    return (
        value
        if isinstance(value, str | int | float) and not isinstance(value, bool) and abs(_size(value)) < 2**63
        else None
    )


def _size(value: str | float) -> float:
    return value if isinstance(value, int | float) and value == value else 0
