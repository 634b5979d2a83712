"""The record files of a session: trades and equity as of a backtest, candles and orders as received, events.

The files of a state directory:

==================  ================================================================================================
trades.csv          as a backtest's
equity.csv          as a backtest's, a row for each decided bar
candles-SYMBOL.csv  closed bars as received: time, open, high, low, close, volume
funding-SYMBOL.csv  settlements as received: time, rate, mark
orders.jsonl        every order, refusal, cancel, fill and funding payment, what else an audit needs; see `order_log`
events.jsonl        every event; rotating
config.toml         the parameters
audit.json          what the latest daily audit has found, if it is audited
commands            a person's commands and their answers; see `commands`
==================  ================================================================================================

None of them ever holds a key: events are written field by field, and no request is written.
"""

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from feeds.live import ClosedCandle
from gridv4_bt.core.time import iso
from gridv4_bt.engine.columns import EQUITY_COLUMNS
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.live.command_files import FOLDER as COMMANDS
from gridv4_bt.live.journal import NAME as JOURNAL
from gridv4_bt.live.order_log import NAME as ORDERS
from gridv4_bt.live.order_log import OrderLog, order_log_files
from gridv4_bt.live.private_files import private, write_private
from gridv4_bt.live.received_series import ReceivedSeries
from gridv4_bt.live.session_status import AUDIT
from gridv4_bt.live.state import NAME as STATE
from gridv4_bt.live.state import PREVIOUS, unused
from gridv4_bt.record.equity import equity_rows
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.record.trades import TRADE_COLUMNS, trade_row

_EVENT_BYTES, _EVENT_FILES = 10_000_000, 5
#: Events that are also written to orders.jsonl, because an audit reads them.
_KEPT = {
    "order", "order_failed", "order_adopted", "cancel", "fill", "fee_converted", "funding", "doubt_resolved",
    "leg_in_doubt", "first_stop", "stray_order", "trades_late", "candle_late", "candle_missing", "candle_unavailable",
    "candle_revised", "alert", "audit", "session", "order_vanished", "dead_man_armed", "dead_man_fired", "last_stop",
    "command", "alerted",
}  # fmt: skip
_RECORDS = ("trades.csv", "equity.csv")

logger = logging.getLogger("gridv4.live")


class _EventFile(RotatingFileHandler):
    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        raise  # noqa: PLE0704 (logging calls this in an exception handler): a full disk ends the session


class SessionLog:
    """The record files of one bot in its state directory.

    Parameters
    ----------
    sizes : length of the files in bytes when the restored state was saved; they are cut to it, because the bars after
        it are written again. Empty for a new bot: files of another one are moved aside.
    named : whether equity.csv has a column ``symbol``, as in a backtest of several symbols.
    notice : called with a message for a person for each damaged file.
    """

    def __init__(self, folder: Path, sizes: dict[str, int], named: bool, notice: Callable[[str], None]) -> None:
        self._folder = folder
        self._named = named
        self._notice = notice
        if not sizes:
            move_aside(folder)
        for path in [folder / ORDERS, folder / "events.jsonl"]:
            _mend(path)
        columns = {"trades.csv": TRADE_COLUMNS, "equity.csv": (*EQUITY_COLUMNS, *(["symbol"] if named else []))}
        for name in _RECORDS:
            path = folder / name
            if name in sizes and path.exists() and path.stat().st_size >= sizes[name]:
                os.truncate(path, sizes[name])
            else:
                write_private(path, ",".join(columns[name]) + "\n")
        self._files = {
            name: open(folder / name, "ab", opener=private)  # noqa: SIM115
            for name in _RECORDS
        }
        self._orders = OrderLog(folder)
        self._series: dict[str, ReceivedSeries] = {}
        self._events = logging.Logger("events")  # noqa: LOG001 (a named one would be shared by sessions)
        handler = _EventFile(folder / "events.jsonl", maxBytes=_EVENT_BYTES, backupCount=_EVENT_FILES, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._events.addHandler(handler)

    def sizes(self) -> dict[str, int]:
        """Return the length of the files, bytes."""
        return {name: self._files[name].tell() for name in _RECORDS}

    def trades(self, trades: Sequence[ClosedTrade]) -> None:
        """Append closed trades."""
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(map(trade_row, trades))
        self._write("trades.csv", lines.getvalue().encode())

    def equity(self, record: SymbolRecord) -> None:
        """Append the rows of a record."""
        self._write("equity.csv", equity_rows(record, self._named))

    def candle(self, symbol: str, candle: ClosedCandle) -> None:
        """Write a received candle, unless it is in the files already."""
        self._received(symbol).add(candle)

    def candles(self, symbol: str) -> Iterator[ClosedCandle]:
        """Return the candles received in previous sessions; those of damaged lines are missing."""
        return iter(self._received(symbol).before)

    def event(self, kind: str, **fields: Any) -> None:
        """Write an event."""
        line = json.dumps({"at": iso(int(time.time() * 1000)), "kind": kind} | fields, default=str)
        self._events.info(line)
        if kind in _KEPT:
            self._orders.write(line)
        # A warning is what a person should look at; what the bot sees to itself is told for whoever looks for it.
        level = {"alert": logging.WARNING, "order_failed": logging.INFO, "failure": logging.INFO}.get(
            kind, logging.DEBUG
        )
        if logger.isEnabledFor(level):
            logger.log(level, "%s %s", kind, " ".join(f"{name}={value}" for name, value in fields.items()))

    def close(self) -> None:
        """Close all files."""
        self._orders.close()
        for file in self._files.values():
            file.close()
        for series in self._series.values():
            series.close()
        for handler in list(self._events.handlers):
            handler.close()

    def _write(self, name: str, data: bytes) -> None:
        if data:
            self._files[name].write(data)
            self._files[name].flush()

    def _received(self, symbol: str) -> ReceivedSeries:
        if symbol not in self._series:
            self._series[symbol] = ReceivedSeries(self._folder, symbol, self._notice)
        return self._series[symbol]


def move_aside(folder: Path) -> None:
    """Move the files of previous sessions into a folder ``before-...``."""
    series = _series(folder)
    if not series and not any((folder / name).exists() for name in (STATE, PREVIOUS)):
        return  # no session has received a candle yet
    names = [*_RECORDS, "config.toml", AUDIT, JOURNAL, STATE, PREVIOUS, COMMANDS]
    files = [*order_log_files(folder), *(folder / name for name in names)]
    found = [*series, *(path for path in files if path.exists())]
    target = unused(folder / time.strftime("before-%Y%m%d-%H%M%S", time.gmtime()))
    target.mkdir()
    for path in found:
        os.replace(path, target / path.name)
    logger.warning("the files of an earlier bot are moved to %s", target)


def _series(folder: Path) -> list[Path]:
    return [path for pattern in ("candles-*.csv", "funding-*.csv") for path in folder.glob(pattern)]


def _mend(path: Path) -> None:
    """Remove an incomplete last line, left by a crash or a full disk."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        kept = size = file.seek(0, os.SEEK_END)
        while kept > 0:
            first = max(kept - 65_536, 0)
            file.seek(first)
            newline = file.read(kept - first).rfind(b"\n")
            if newline >= 0:
                kept = first + newline + 1
                break
            kept = first
        if kept < size:
            file.truncate(kept)
