"""Runs made by hand, small enough to see through, for the metrics."""

from collections.abc import Sequence

import numpy as np

from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import PLACE, TRACE_ACTIONS, Blocked
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from gridv4_bt.metrics.whole_run import WholeRun
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord

HOUR = 3_600_000
DAY = 24 * HOUR
BAR = HOUR // 4
START_MS = 1_704_067_200_000  # 2024-01-01
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def closed(
    entry=100.0, exit=101.0, *, id=1, side=LONG, label=TradeLabel.GRID, opened=1, closes=2, qty=1.0, fees=0.0,
    funding=0.0, regime=0, bullet=None,
) -> ClosedTrade:  # fmt: skip
    """A closing by the numbers of its bars: of a whole fill, or with what `bullet` says of all its parts (qty, net)."""
    gross = int(side) * (exit - entry) * qty
    times = START_MS + opened * BAR, START_MS + closes * BAR
    bullet = (qty, gross - fees - funding) if bullet is None else bullet
    return ClosedTrade(id, "TEST", side, label, regime, *times, qty, entry, exit, gross, fees, funding, *bullet)


def still_open(price=100.0, *, id=1, side=LONG, opened=1, qty=1.0, fee=0.0, funding=0.0) -> tuple[str, Fill]:
    return side.name, Fill(id, qty, price, START_MS + opened * BAR, 0, 0.01, funding, fee)


def placed(bars: int, levels: int) -> np.ndarray:
    """A trace in which every level has an order from the first bar on."""
    trace = np.zeros((bars, 2 * levels), np.uint8)
    trace[0] = PLACE
    return trace


def without(trace: np.ndarray, row: int, column: int, reason: Blocked) -> np.ndarray:
    """The trace with a level that has no order at a bar for some reason."""
    trace[row, column] = TRACE_ACTIONS * reason
    return trace


def record(
    closes: Sequence[float], highs=None, lows=None, *, ladder=None, trades=(), open_fills=(), settled=(), **columns
) -> SymbolRecord:
    """A symbol's record; centre 100 and spacing 1 % unless other columns of the log are given."""
    close = np.array(closes, float)
    log = np.zeros((len(close), len(LOG_COLUMNS)))
    values = {"equity": 1_000.0, "wallet": 1_000.0, "centre": 100.0, "spacing_pct": 0.01} | columns
    values["time"] = START_MS + np.arange(len(close)) * BAR
    for name, value in values.items():
        log[:, LOG_COLUMNS.index(name)] = value
    high = close if highs is None else np.array(highs, float)
    low = close if lows is None else np.array(lows, float)
    trace = np.empty((len(close), 0), np.uint8) if ladder is None else ladder
    return SymbolRecord(
        "TEST", "", len(close), log, close, trace, np.empty((0, 3)), list(trades), list(open_fills),
        high=high, low=low, settled=np.array(settled, float),
    )  # fmt: skip


def wallet(start=1_000.0, equity=1_000.0, **changes) -> WalletRecord:
    return WalletRecord(start, equity, equity, equity - start, 0.0, 0.0, 0, 3, 1, 0, **changes)


def recording(*records: SymbolRecord, **changes) -> WholeRun:
    return WholeRun(list(records), wallet(**changes))
