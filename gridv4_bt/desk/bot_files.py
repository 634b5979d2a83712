"""The files of one bot, read as far as they have changed."""

import csv
import gzip
import threading
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.core.time import iso
from gridv4_bt.desk import event_files
from gridv4_bt.desk.curve import Curve
from gridv4_bt.desk.line_index import LineIndex, RecordIndex
from gridv4_bt.engine.market import Market, load_market
from gridv4_bt.errors import GridV4Error
from gridv4_bt.live.order_log import order_log_files
from gridv4_bt.live.session_status import equity_rows, events_of, lines_back, read_state, read_status

_FEW = 4  # candles
_MOST_ORDER_EVENTS = 4_000_000  # bytes of the end of the record read at most, for what happened since a time
STALE_MINUTES = 20.0  #: without a decision a bot is stale, as in `gridv4 status`
_MARKS = {kind: f'"kind": "{kind}"'.encode() for kind in ("fill", "funding", "alert", "audit")} | {
    "transfer": b'"what": "wallet_differs"'
}
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
        self._kept: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._curve = Curve(folder / "equity.csv")
        record = RecordIndex(lambda: order_log_files(folder), _MARKS)
        self.fills, self.funding = LineIndex.of(record, "fill"), LineIndex.of(record, "funding")
        self.alerts, self.audits = LineIndex.of(record, "alert"), LineIndex.of(record, "audit")
        self.transfers = LineIndex.of(record, "transfer")  #: the alerts that say that something was paid in or out

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
        found: Market | None = self._fresh(
            "markets.json", lambda path: load_market(symbol, path if path.is_file() else None), symbol
        )
        return found

    def symbols(self) -> list[str]:
        """Return the symbols that the bot trades or has traded."""
        books = (self.state().get("broker") or {}).get("books", {})
        return list(books) or sorted(
            path.name.removeprefix("candles-").removesuffix(".csv") for path in self.folder.glob("candles-*.csv")
        )

    def candles(self, symbol: str, count: int) -> list[list[Any]]:
        """Return the latest candles: time as text, open, high, low, close, volume."""
        rows = [line.decode().split(",") for line in islice(lines_back(self.folder / f"candles-{symbol}.csv"), count)]
        whole = [row for row in rows if len(row) >= 6 and row[0][:1].isdigit()]
        return [[row[0], *map(float, row[1:6])] for row in reversed(whole)]

    def close(self, symbol: str, bar: int) -> float | None:
        """Return the close of a bar, by its open time, ms; of the latest one if it is not among the latest few.

        A candle is written before its bar is decided, so the latest one may be newer than the state.
        """
        closes: dict[str, float] = {row[0]: row[4] for row in self.candles(symbol, _FEW)}
        return closes.get(iso(bar), next(reversed(closes.values()), None))

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return times, ms, and equity of all decided bars."""
        with self.guard:
            return self._curve.read()

    def rows(self, reach: int = 65_536) -> list[dict[str, str]]:
        """Return the latest rows of equity.csv by column, oldest first."""
        return equity_rows(self.folder / "equity.csv", reach)

    def row_at(self, bar: str, symbol: str) -> dict[str, str] | None:
        """Return the row of a bar, by its open time as text; of any bar of the bot's life."""
        path, time = self.folder / "equity.csv", bar.encode()
        columns = self._fresh("equity.csv", _read_columns) or []
        for line in lines_back(path):
            if line[: len(time)] < time:
                break
            row = dict(zip(columns, line.decode().split(","), strict=False))
            if row["time"] == bar and row.get("symbol", symbol) == symbol:
                return row
        return None

    def latest_events(self, kinds: Collection[str] = (), since: str = "") -> Iterator[dict[str, Any]]:
        """Yield the latest events of some kinds, or of all, newest first; see `event_files`."""
        return event_files.latest_events(self.folder, kinds, since)

    def order_events(self, since: str) -> list[dict[str, Any]]:
        """Return what the record of the orders says since a time of this machine, oldest first."""
        found = []
        for event in events_of(lines_back(self.folder / "orders.jsonl", _MOST_ORDER_EVENTS)):
            if event.get("at", since) < since:
                break
            found.append(event)
        return found[::-1]

    def decision(self, symbol: str, bar: str | None = None) -> dict[str, Any] | None:
        """Return what was decided at a bar, by its open time; None: the latest one. None if it is not on record."""
        return event_files.decision(self.folder, symbol, bar)

    def trades(self) -> Iterator[dict[str, str]]:
        """Yield the rows of trades.csv."""
        path = self.folder / "trades.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                yield from (row for row in csv.DictReader(file) if None not in row and None not in row.values())

    def trades_back(self, since: str) -> Iterator[dict[str, str]]:
        """Yield the rows of trades.csv from the last one back, of those closed since a time, ISO 8601."""
        columns = self._fresh("trades.csv", _read_columns) or []
        for line in lines_back(self.folder / "trades.csv"):
            row = dict(zip(columns, line.decode().split(","), strict=False))
            if row.get("close_time", "") < since or row["close_time"] == "close_time":
                return
            yield row

    def first_wallet(self) -> float | None:
        """Return the wallet with which the bot has begun, quote; None if that is not on record."""
        found: float | None = self._fresh("config.toml", lambda path: _read_first_wallet(path.parent), "first wallet")
        return found

    def kept(self, name: str, read: Callable[[], Any], of: str) -> Any:
        """Return what is worked out of a file, worked out again only after it has changed; `of` names what it is."""
        return self._fresh(name, lambda path: read(), of)

    def _fresh(self, name: str, read: Callable[[Path], Any], of: str = "") -> Any:
        """Return what a file says, read again only after it has changed; what was read last where it cannot be read."""
        path = self.folder / name
        stamp, key = _stamp(path), (name, of)
        with self.guard:
            if key not in self._kept or self._kept[key][0] != stamp:
                try:
                    self._kept[key] = stamp, read(path)
                except (OSError, ValueError, GridV4Error):
                    self._kept[key] = stamp, self._kept.get(key, (None, None))[1]
            return self._kept[key][1]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _read_config(path: Path) -> GridConfig:
    return load_config(path)


def _read_first_wallet(folder: Path) -> float | None:
    path = order_log_files(folder)[0]
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        event = next(events_of([file.readline()]), {})
    return event.get("wallet") if event.get("kind") == "session" and not event.get("resumed") else None


def _read_columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().split(",")
