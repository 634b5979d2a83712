"""The records of a run as pandas tables, as a notebook reads them: UTC times, names in place of codes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gridv4_bt.core.grid import ROUND_NUMBER_PCT
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.ladder import CANCEL, KEEP, PLACE, REPLACE, TRACE_ACTIONS
from gridv4_bt.metrics.performance import drawdowns
from gridv4_bt.metrics.whole_run import wallet_curve
from gridv4_bt.record.run_record import SymbolRecord
from gridv4_bt.record.trades import TRADE_COLUMNS
from gridv4_bt.report.page_data import BLOCKED, entry_price, tick_history, ticks_by_row

#: Columns of the log that are the account's, the same for every symbol.
OF_ACCOUNT = ("equity", "wallet", "unrealized", "margin_ratio")
ACTIONS = {PLACE: "placed", REPLACE: "replaced", CANCEL: "cancelled"}


def utc(times_ms: Sequence[float] | np.ndarray) -> pd.DatetimeIndex:
    """Return times in ms as UTC times."""
    return pd.DatetimeIndex(np.asarray(times_ms, dtype=np.int64).astype("datetime64[ms]")).tz_localize("UTC")


def trades_frame(records: Sequence[SymbolRecord]) -> pd.DataFrame:
    """Return one row a closing, the columns of trades.csv, by `close_time`; the parts of one fill share `trade_id`."""
    trades = sorted((trade for record in records for trade in record.trades), key=lambda trade: trade.close_time)
    columns = {name: [getattr(trade, name) for trade in trades] for name in TRADE_COLUMNS}
    columns["side"] = [trade.side.name for trade in trades]
    columns["label"] = [str(trade.label) for trade in trades]
    columns["regime"] = [Regime(trade.regime).name for trade in trades]
    columns["open_time"], index = utc(columns["open_time"]), utc(columns.pop("close_time")).rename("close_time")
    return pd.DataFrame(columns, index=index)


def equity_frame(records: Sequence[SymbolRecord], start_equity: float) -> pd.DataFrame:
    """Return equity, wallet, unrealised profit and drawdown (a fraction) of the account at every bar."""
    times, equity = wallet_curve(records)
    columns = {name: wallet_curve(records, name)[1] for name in OF_ACCOUNT}
    return pd.DataFrame(columns | {"drawdown": drawdowns(equity, start_equity)}, index=utc(times).rename("time"))


def decisions_frame(records: Sequence[SymbolRecord]) -> pd.DataFrame:
    """Return one row a bar and symbol: regime, halt, signals, ladder and what is held, as decided at its close."""
    return _joined([_decisions(record) for record in records])


def _decisions(record: SymbolRecord) -> pd.DataFrame:
    names = [name for name in LOG_COLUMNS if name not in ("time", *OF_ACCOUNT)]
    columns = {"symbol": [record.symbol] * len(record.log)} | {name: record.column(name) for name in names}
    codes = record.column("regime")
    known = {code.value: code.name for code in Regime}
    columns["regime"] = [known.get(int(code), "") if code == code else None for code in codes]
    columns["halted"] = record.column("halted") > 0.0
    for name in ("close", "kama", "atr"):
        if len(getattr(record, name)) == len(record.log):
            columns[name] = getattr(record, name)
    frame = pd.DataFrame(columns, index=utc(record.column("time")).rename("time"))
    return frame.dropna(axis="columns", how="all")


def orders_frame(records: Sequence[SymbolRecord]) -> pd.DataFrame:
    """Return one row for each entry that was placed, replaced or cancelled at a bar's close.

    `level` counts from the centre, `price` is that of the order (NaN for a cancelled one), `reason` why it was.
    """
    return _joined([_orders(record) for record in records])


def _orders(record: SymbolRecord) -> pd.DataFrame:
    names = ("symbol", "side", "level", "action", "price", "reason")
    if not record.ladder.size:
        return pd.DataFrame({name: [] for name in names}, index=utc([]).rename("time"))
    ladder = np.asarray(record.ladder)
    levels, actions = ladder.shape[1] // 2, ladder % TRACE_ACTIONS
    rows, places = np.nonzero(actions != KEEP)
    signs, level = np.where(places < levels, 1, -1), places % levels + 1
    taken = actions[rows, places]
    ticks = ticks_by_row(record.column("time"), tick_history(record))[rows]
    centre, spacing = record.column("centre")[rows], record.column("spacing_pct")[rows]
    nudge = record.departures.get("nudge_pct", ROUND_NUMBER_PCT)
    given = zip(*(one.tolist() for one in (taken, signs, level, centre, spacing, ticks)), strict=True)
    prices = [
        np.nan if action == CANCEL else entry_price(side, number, middle, step, tick, nudge)
        for action, side, number, middle, step, tick in given
    ]
    codes = ladder[rows, places] // TRACE_ACTIONS
    columns = {
        "symbol": [record.symbol] * len(rows),
        "side": np.where(signs > 0, "LONG", "SHORT"),
        "level": level,
        "action": [ACTIONS[action] for action in taken.tolist()],
        "price": prices,
        "reason": [BLOCKED[code] if action == CANCEL else "" for action, code in zip(taken, codes, strict=True)],
    }
    return pd.DataFrame(columns, index=utc(record.column("time")[rows]).rename("time"))


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if len(frames) == 1:
        return frames[0]
    return pd.concat(frames).sort_index(kind="stable")
