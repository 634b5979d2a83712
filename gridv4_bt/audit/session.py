"""The records of a live or paper session, read from its state directory and checked."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from feeds.tables import CandleTable, FundingTable, MarkTable, read_candles, read_funding
from gridv4_bt.audit.compared_fills import ComparedFill, Payment, merge
from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import BAR_MS, HOUR_MS, time_ms
from gridv4_bt.engine.columns import EQUITY_COLUMNS
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.live.ids import parse_id
from gridv4_bt.live.order_log import read_order_log

_TEXTS = pa_csv.ConvertOptions(column_types={name: pa.string() for name in ("time", "open_time", "close_time")})
_NEEDED = ("orders.jsonl", "equity.csv", "trades.csv", "config.toml", "markets.json")


@dataclass(frozen=True)
class OrderEvent:
    """One line of orders.jsonl or of an archive of it."""

    kind: str
    time: int  #: of the exchange's clock, ms
    fields: Mapping[str, Any]

    @property
    def bar(self) -> int:
        """Open time of the bar that was forming, ms."""
        return self.time // BAR_MS * BAR_MS


@dataclass(frozen=True)
class SessionRecord:
    """All sessions of one bot in one state directory."""

    folder: Path
    place: str  #: where it traded
    config: GridConfig  #: of the newest session; trading begins where the first session began
    wallet: float  #: at the first start, quote
    symbols: tuple[str, ...]
    data: tuple[SymbolData, ...]  #: candles and funding as received
    fills: tuple[ComparedFill, ...]
    payments: tuple[Payment, ...]
    events: tuple[OrderEvent, ...]
    late: Mapping[str, frozenset[int]]  #: bars (ms) that came after the others had decided, by symbol
    transfers: Mapping[int, float]  #: what the wallet was corrected by, quote, by the bar's open time (ms)
    rows: Mapping[str, pd.DataFrame]  #: equity.csv by symbol, times in ms, as index
    closings: int  #: rows of trades.csv

    @property
    def rules(self) -> Path:
        """The file of the markets' filters and brackets that the session used."""
        return self.folder / "markets.json"


def read_session(folder: Path) -> SessionRecord:
    """Read a state directory of `run_live.py`, also while the bot is running.

    Raises
    ------
    DataError
        The folder is no state directory, no bar was decided yet, or a file is damaged; the message names it.
    """
    _check(folder)
    table = _equity(folder / "equity.csv")  # first: what belongs to its last bar is in the other files already
    events = tuple(_events(folder))
    starts = [event.fields for event in events if event.kind == "session" and "wallet" in event.fields]
    if not starts:
        raise DataError(f"{folder / 'orders.jsonl'}: damaged: it does not begin with the start of a session")
    if not all(start.get("grid", True) for start in starts):
        raise DataError(
            f"{folder}: strategies of your own have traded there; only a grid's session has a backtest here"
        )
    symbols = tuple(dict.fromkeys(symbol for start in starts for symbol in start["symbols"]))
    end = int(table.index[-1])
    data = tuple(_data(folder, symbol, end) for symbol in symbols)
    whose = table.get("symbol", pd.Series(symbols[0], table.index))
    numbers = table.drop(columns="symbol", errors="ignore")
    rows = {symbol: numbers[(whose == symbol).to_numpy()] for symbol in symbols}
    closed = pd.to_datetime(_read_csv(folder / "trades.csv")["close_time"], utc=True)
    try:
        config = load_config(folder / "config.toml")
    except ConfigError as error:
        raise DataError(f"{folder}: {error}") from None
    return SessionRecord(
        folder=folder,
        place=str(starts[-1]["place"]),
        config=config.model_copy(update={"warm_up": _warm_up(folder, data, rows)}),
        wallet=float(starts[0]["wallet"]),
        symbols=symbols,
        data=data,
        fills=tuple(fill for fill in _fills(events) if fill.bar <= end),
        payments=tuple(payment for payment in _payments(events) if payment.time <= end),
        events=events,
        late=_late(events, rows),
        transfers=_transfers(events),
        rows=rows,
        closings=int((closed <= pd.Timestamp(end, unit="ms", tz="UTC")).sum()),
    )


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; name a --state-dir")
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing or not any(folder.glob("candles-*.csv")):
        what = missing[0] if missing else "candles-SYMBOL.csv"
        raise DataError(f"{folder}: holds no live session ({what} is missing); name the --state-dir of run_live.py")


def _events(folder: Path) -> Iterator[OrderEvent]:
    for path, lines in read_order_log(folder):
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                yield OrderEvent(fields.pop("kind"), _ms(fields.pop("clock")), fields)
            except (ValueError, LookupError, TypeError, AttributeError):
                if number < len(lines):  # the last one may have been cut by a crash, or is being written
                    raise DataError(f"{path}: damaged: line {number} is none that a session writes") from None


def _equity(path: Path) -> pd.DataFrame:
    """Return the rows of equity.csv as numbers, with the times in ms as index."""
    table = _read_csv(path)
    missing = [name for name in EQUITY_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path}: damaged: column {missing[0]} is missing")
    if table.empty:
        raise DataError(f"{path}: no bar was traded yet; let the session decide at a candle first")
    try:
        table.index = pd.Index(pd.to_datetime(table["time"], utc=True).dt.as_unit("ms").astype(np.int64))
        table["regime"] = table["regime"].map(lambda name: float(Regime[name]))
        names = [name for name in EQUITY_COLUMNS if name != "time"]
        table[names] = table[names].astype(float)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: damaged: {' '.join(str(error).split())}") from None
    return table.drop(columns="time").fillna({"liquidation_down": np.inf, "liquidation_up": np.inf})


def _data(folder: Path, symbol: str, end: int) -> SymbolData:
    """Return the data received of a symbol up to the bar of the last decision, whose open time is `end`."""
    path = folder / f"candles-{symbol}.csv"
    if not path.is_file():
        raise DataError(f"{folder}: holds no candles of {symbol}, which the session traded; the folder is not whole")
    try:
        candles = _received(_read_csv(path), symbol, end)
        funding, mark = _settlements(folder / f"funding-{symbol}.csv", int(candles.time[0]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return SymbolData(symbol, candles, funding, mark)


def _received(frame: pd.DataFrame, symbol: str, end: int) -> CandleTable:
    """Return checked candles; bars that the session never received stay missing, as they were for it."""
    table = read_candles(frame, gaps="flat", name=symbol)
    times = [time_ms(datetime.fromisoformat(text)) for text in frame["time"]]
    kept = np.isin(table.time, times) & (table.time <= end)
    columns = {name: getattr(table, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")}
    return replace(table, **columns, filled=0)


def _settlements(path: Path, first: int) -> tuple[FundingTable, MarkTable | None]:
    """Return settlements and the mark prices they were charged at, from the bar that opens at `first` on."""
    frame = _read_csv(path) if path.is_file() else pd.DataFrame()
    if frame.empty:  # none yet, which is not the same as a market without any: that one has a synthetic rate
        return FundingTable(np.array([first]), np.array([np.nan])), None
    funding = read_funding(frame)
    mark = frame["mark"].to_numpy(float)
    known = ~np.isnan(mark)
    if not known.any():
        return funding, None
    marks = [mark[known]] * 4
    return funding, MarkTable(8 * HOUR_MS, funding.time[known], *marks)


def _fills(events: tuple[OrderEvent, ...]) -> list[ComparedFill]:
    trades = {}  # a trade is told again after a crash; the last time is when it entered the books
    for event in events:
        if event.kind == "fill":
            trades[event.fields["symbol"], event.fields["trade"]] = event
    return merge(map(_fill, trades.values()), lambda fill: (fill.symbol, fill.bar, fill.side, fill.is_buy, fill.order))


def _fill(event: OrderEvent) -> ComparedFill:
    fields = event.fields
    name = parse_id(fields["order"])
    bar = fields["time"] // BAR_MS * BAR_MS
    return ComparedFill(
        symbol=fields["symbol"], side=PositionSide[fields["side"]], purpose=name.purpose if name else None,
        ref=name.ref if name else 0, bar=bar, qty=fields["qty"], price=fields["price"], fee=fields["fee"],
        maker=fields["maker"], is_buy=fields["buy"], order=fields["order"], booked=max(bar, event.bar - BAR_MS),
    )  # fmt: skip


def _payments(events: tuple[OrderEvent, ...]) -> list[Payment]:
    found: dict[tuple[str, int], Payment] = {}
    for event in events:
        one = event.fields
        if event.kind == "funding":
            found[one["symbol"], one["time"]] = Payment(one["symbol"], one["time"], one["rate"], one["paid"])
        elif event.kind == "alert" and one.get("what") == "funding_differs":
            key = one["symbol"], one["time"]
            computed = found.get(key, Payment(*key, math.nan, 0.0))
            found[key] = replace(computed, paid=one["paid"])
    return list(found.values())


def _late(events: tuple[OrderEvent, ...], rows: Mapping[str, pd.DataFrame]) -> dict[str, frozenset[int]]:
    """Return the bars that a symbol did not have at a step at which others decided, by symbol.

    Where nobody decided, the session did not take the step at all: that is an outage.
    """
    found: dict[str, set[int]] = {}
    for event in events:
        if event.kind == "candle_missing":
            symbol, time = exchange_symbol(event.fields["symbol"]), _ms(event.fields["time"])
            if time not in rows[symbol].index and any(time in other.index for other in rows.values()):
                found.setdefault(symbol, set()).add(time)
    return {symbol: frozenset(times) for symbol, times in found.items()}


def _transfers(events: tuple[OrderEvent, ...]) -> dict[int, float]:
    return {
        event.bar - BAR_MS: event.fields["difference"]
        for event in events
        if event.kind == "alert" and event.fields.get("what") == "wallet_differs"
    }


def _warm_up(folder: Path, data: tuple[SymbolData, ...], rows: Mapping[str, pd.DataFrame]) -> int:
    """Return how many bars of history there were before the first decision."""
    counts = []
    for one in data:
        if len(rows[one.symbol]):
            counts.append(int(one.candles.time.searchsorted(rows[one.symbol].index[0])))
    if not counts:
        raise DataError(f"{folder / 'equity.csv'}: damaged: it has no row of {' or '.join(one.symbol for one in data)}")
    return min(counts)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a file to the end of its last whole line: a session may be writing to it."""
    try:
        content = path.read_bytes()
        whole = io.BytesIO(content[: content.rfind(b"\n") + 1])
        return pa_csv.read_csv(whole, convert_options=_TEXTS).to_pandas()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged: {' '.join(str(error).split())}") from None


def _ms(text: str) -> int:
    return time_ms(datetime.fromisoformat(text))
