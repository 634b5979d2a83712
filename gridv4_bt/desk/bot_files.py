"""The files of one bot, read as far as they have changed."""

import csv
import threading
import tomllib
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig, make_config
from gridv4_bt.desk.line_index import LineIndex
from gridv4_bt.engine.market import Market, load_market
from gridv4_bt.errors import GridV4Error
from gridv4_bt.live.order_log import order_log_files
from gridv4_bt.live.session_status import equity_rows, events_of, last_lines, read_state, read_status

_CANDLES = 400_000  # bytes of the end of a file of candles, some 5,000 of them
_EVENTS = 262_144  # bytes of the end of the events
_MOST_EVENTS = 4_000_000  # at most so many, for what happened since a time
_BLOCK = 1_000_000  # bytes of the curve taken up at a time
STALE_MINUTES = 20.0  #: without a decision a bot is stale, as in `gridv4 status`
_WATCHED = ("heartbeat.json", "equity.csv", "orders.jsonl", "events.jsonl", "commands")


class BotFiles:
    """One state directory.

    Parameters
    ----------
    folder : it is read only; another process writes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guard = threading.RLock()
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._curve = Curve(folder / "equity.csv")
        self.fills = LineIndex(lambda: order_log_files(folder), b'"kind": "fill"')
        self.funding = LineIndex(lambda: order_log_files(folder), b'"kind": "funding"')

    def version(self) -> str:
        """Return a text that changes when the bot has written something."""
        return "-".join(str(_stamp(self.folder / name)) for name in _WATCHED)

    def status(self) -> dict[str, Any] | None:
        """Return what `gridv4 status` says; None before the first decision."""
        try:
            return read_status(self.folder, STALE_MINUTES)
        except (OSError, ValueError):
            return None

    def state(self) -> dict[str, Any]:
        """Return the state saved last, empty before the first one."""
        found: dict[str, Any] = self._fresh("state.json", lambda path: read_state(path.parent)) or {}
        return found

    def config(self) -> GridConfig:
        """Return the parameters of the bot."""
        found: GridConfig = self._fresh("config.toml", _read_config) or GridConfig()
        return found

    def market(self, symbol: str) -> Market | None:
        """Return filters and brackets of a symbol, None if they are not known."""
        try:
            path = self.folder / "markets.json"
            return load_market(symbol, path if path.is_file() else None)
        except GridV4Error:
            return None

    def symbols(self) -> list[str]:
        """Return the symbols that the bot trades or has traded."""
        books = (self.state().get("broker") or {}).get("books", {})
        return list(books) or sorted(
            path.name.removeprefix("candles-").removesuffix(".csv") for path in self.folder.glob("candles-*.csv")
        )

    def candles(self, symbol: str, count: int) -> list[list[Any]]:
        """Return the latest candles: time as text, open, high, low, close, volume."""
        rows: list[list[Any]] = self._fresh(f"candles-{symbol}.csv", _read_candles) or []
        return rows[-count:]

    def close(self, symbol: str) -> float | None:
        """Return the close of the latest candle."""
        rows = self.candles(symbol, 1)
        return rows[-1][4] if rows else None

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times, ms, and equity of all decided bars."""
        with self.guard:
            return self._curve.read()

    def rows(self, reach: int = 65_536) -> list[dict[str, str]]:
        """Return the latest rows of equity.csv by column, oldest first."""
        return equity_rows(self.folder / "equity.csv", reach)

    def row_at(self, bar: str, symbol: str) -> dict[str, str] | None:
        """Return the row of a bar, by its open time as text; of any bar of the bot's life."""
        path = self.folder / "equity.csv"
        reach = 65_536
        while True:
            rows = self.rows(reach)
            if not rows or rows[0]["time"] <= bar or reach >= path.stat().st_size:
                return next((row for row in rows if row["time"] == bar and row.get("symbol", symbol) == symbol), None)
            reach *= 8

    def events(self) -> list[dict[str, Any]]:
        """Return the latest events, oldest first; not to be changed."""
        return self._fresh("events.jsonl", lambda path: list(events_of(last_lines(path, _EVENTS)))) or []

    def order_events(self, since: str | None = None) -> list[dict[str, Any]]:
        """Return the latest events of orders, oldest first; all that were written from a time on, if it is given."""
        path, reach = self.folder / "orders.jsonl", _EVENTS
        while path.is_file():
            found = list(events_of(last_lines(path, reach)))
            if since is None:
                return found
            if reach >= _MOST_EVENTS or path.stat().st_size <= reach or (found and found[0].get("at", "") < since):
                return [one for one in found if one.get("at", "") >= since]
            reach *= 4
        return []

    def decision(self, symbol: str, bar: str | None = None) -> dict[str, Any] | None:
        """Return what was decided at a bar, by its open time; None: the latest one. None if it is not on record."""
        path = self.folder / "events.jsonl"
        if bar is None:
            return next((one for one in reversed(self.events()) if _is_decision(one, symbol)), None)
        for number in range(6):
            path = self.folder / ("events.jsonl" if number == 0 else f"events.jsonl.{number}")
            if not path.is_file():
                return None
            with path.open("rb") as file:
                lines = [line for line in file if b'"kind": "decision"' in line and bar.encode() in line]
            texts = [line.decode("utf-8", "replace") for line in reversed(lines)]
            found = next((one for one in events_of(texts) if _is_decision(one, symbol) and one["bar"] == bar), None)
            if found is not None:
                return found
        return None

    def trades(self) -> list[dict[str, str]]:
        """Return the rows of trades.csv."""
        return self._fresh("trades.csv", _read_trades) or []

    def _fresh(self, name: str, read: Any) -> Any:
        """Return what a file says, read again only after it has changed; what was read last where it cannot be read."""
        path = self.folder / name
        stamp = _stamp(path)
        with self.guard:
            if name not in self._kept or self._kept[name][0] != stamp:
                try:
                    self._kept[name] = stamp, read(path)
                except (OSError, ValueError, GridV4Error):
                    self._kept[name] = stamp, self._kept.get(name, (None, None))[1]
            return self._kept[name][1]


class Curve:
    """Times and equity of equity.csv, of which only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin_anew()

    def read(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times, ms, and equity; of several symbols the latest row of each time."""
        try:
            size = self._path.stat().st_size
            if size < self._offset:  # the bot went on from a state before its last rows
                self._begin_anew()
            if size > self._offset:
                with self._path.open("rb") as file:
                    while True:  # block by block: all at once, the lines of a year take much memory
                        file.seek(self._offset)
                        if not self._take(file.read(_BLOCK)):
                            break
        except OSError:
            pass
        return np.array(self._times, np.int64), np.array(self._equity, np.float64)

    def _begin_anew(self) -> None:
        self._offset = 0
        self._times, self._equity = array("q"), array("d")

    def _take(self, data: bytes) -> bool:
        """Take up the whole rows of a block; return whether there were any."""
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        cells = [line.split(b",", 2) for line in whole.split(b"\n") if line and not line.startswith(b"time")]
        texts = [row[0].decode().removesuffix("Z") for row in cells]
        times = np.array(texts, dtype="datetime64[ms]").astype(np.int64).tolist()
        for time, row in zip(times, cells, strict=True):
            if self._times and self._times[-1] == time:
                self._equity[-1] = float(row[1])
            else:
                self._times.append(time)
                self._equity.append(float(row[1]))
        return bool(whole)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _is_decision(event: dict[str, Any], symbol: str) -> bool:
    return event.get("kind") == "decision" and event.get("symbol") == symbol and "bar" in event


def _read_config(path: Path) -> GridConfig:
    return make_config(tomllib.loads(path.read_text(encoding="utf-8")))


def _read_candles(path: Path) -> list[list[Any]]:
    rows = [line.split(",") for line in last_lines(path, _CANDLES)]
    return [[row[0], *map(float, row[1:6])] for row in rows if len(row) >= 6 and row[0][:1].isdigit()]


def _read_trades(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
