"""The state of an exchange in a SQLite file: all changes of one request are written in one transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gridv4_bt.engine.types import Fill, PositionSide
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.records import AlgoRecord, IncomeRecord, OrderRecord, PositionRecord, TradeRecord

TABLES = ("orders", "algos", "trades", "incomes")


class Database:
    """One account's database; a process that is killed between two requests loses nothing.

    Raises
    ------
    ConfigError
        The file cannot be opened or is no database of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.1)
            try:
                self._prepare()
            except sqlite3.Error:
                self.close()
                raise
        except sqlite3.Error as error:
            raise ConfigError(f"--database {path}: {error}. Give another file, or stop who uses it.") from None
        self._kept = {"trades": 0, "incomes": 0}

    def load(self, exchange: Exchange) -> bool:
        """Load the saved state into a new exchange; False if there is none."""
        try:
            [content] = self._base.execute("SELECT content FROM state").fetchone() or [None]
            if content is None:
                return False
            rows = {
                table: [json.loads(row) for (row,) in self._base.execute(f"SELECT content FROM {table} ORDER BY id")]
                for table in TABLES
            }
        except (sqlite3.Error, ValueError) as error:
            raise ConfigError(f"--database {self.path}: {error}. Give another file.") from None
        restore(exchange, json.loads(content), rows)
        self._note(exchange)
        return True

    def save(self, exchange: Exchange, whole: bool = False) -> None:
        """Write what has changed since the last time, or the whole of an exchange that was not saved before.

        Raises
        ------
        sqlite3.Error
            It cannot be written; the file is unchanged.
        """
        ledger = exchange.ledger
        with self._base:
            self._base.execute("BEGIN")
            records = exchange.order_records
            if whole:
                for order in records.orders.values():
                    records.note_change(order)
                for algo in records.algos.values():
                    records.note_change(algo)
            for (table, number), record in records.changed.items():
                self._put(table, number, asdict(record))
            for table, number in records.gone:
                self._base.execute(f"DELETE FROM {table} WHERE id = ?", (number,))
            for table, rows in (("trades", ledger.trades), ("incomes", ledger.incomes)):
                for row in rows[self._kept[table] :]:
                    self._put(table, row.id, asdict(row))
            self._put("state", 1, snapshot(exchange))
        self._note(exchange)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _prepare(self) -> None:
        self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._base.execute("PRAGMA journal_mode=WAL")
        # Survives the end of the process; only the end of the machine could lose the last requests.
        self._base.execute("PRAGMA synchronous=NORMAL")
        with self._base:
            self._base.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                self._base.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, content TEXT)")
            self._base.execute("CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, content TEXT)")

    def _put(self, table: str, number: int, content: dict[str, Any]) -> None:
        text = json.dumps(content, separators=(",", ":"))
        self._base.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (number, text))

    def _note(self, exchange: Exchange) -> None:
        self._kept = {"trades": len(exchange.ledger.trades), "incomes": len(exchange.ledger.incomes)}
        exchange.order_records.mark_stored()


def snapshot(exchange: Exchange) -> dict[str, Any]:
    """Return the state beside the records: time, modes, leverage, fills and totals."""
    replay = exchange.replay
    return {
        "now": exchange.now,
        "barTime": replay.time,
        "moment": replay.moment,
        "over": replay.over,
        "hedge": exchange.hedge_mode,
        "isolated": sorted(exchange.isolated),
        "countdowns": exchange.countdowns,
        "ids": exchange.order_records.ids,
        "account": exchange.account.totals(),
        "symbols": {symbol: _symbol_state(exchange, symbol) for symbol in exchange.books},
    }


def _symbol_state(exchange: Exchange, symbol: str) -> dict[str, Any]:
    book = exchange.books[symbol]
    state: dict[str, Any] = {"leverage": book.leverage}
    for leg in book.legs:
        position = exchange.ledger.position(symbol, leg.side)
        state[leg.side.name] = {
            "fills": [list(fill) for fill in leg.tracker.fills],
            "position": [position.qty, position.entry, position.updated],
        }
    return state


def restore(exchange: Exchange, state: Mapping[str, Any], rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Load a saved state into a new exchange; `rows` are its orders, algos, trades and incomes.

    Raises
    ------
    ConfigError
        The state belongs to other candles.
    """
    exchange.replay.seek(state["barTime"], state["moment"])
    if state["over"] and not exchange.replay.over:
        exchange.replay.forward()
    if set(state["symbols"]) != set(exchange.books) or exchange.replay.time != state["barTime"]:
        raise ConfigError("the database belongs to other candles: give the same files, or another --database")
    exchange.now = state["now"]
    exchange.hedge_mode = state["hedge"]
    exchange.isolated = set(state["isolated"])
    exchange.countdowns = dict(state["countdowns"])
    positions = {}
    for symbol, kept in state["symbols"].items():
        book = exchange.books[symbol]
        book.leverage = kept["leverage"]
        for leg in book.legs:
            for fill in kept[leg.side.name]["fills"]:
                leg.tracker.add(Fill(*fill))
            positions[symbol, leg.side] = PositionRecord(*kept[leg.side.name]["position"])
    exchange.account.restore(state["account"])
    exchange.ledger.restore(
        [TradeRecord(**row) for row in rows["trades"]], [IncomeRecord(**row) for row in rows["incomes"]], positions
    )
    exchange.order_records.restore(
        [OrderRecord(**row) for row in rows["orders"]],
        [AlgoRecord(**row) for row in rows["algos"]],
        state["ids"],
        lambda symbol, side: exchange.books[symbol].leg(PositionSide(side)),
    )
