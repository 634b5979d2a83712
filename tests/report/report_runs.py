"""Runs that the tests of the report show."""

import json
import re
from typing import Any

import numpy as np
from small_run import CONFIG, small_run

from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import KEEP, PLACE, REPLACE, TRACE_ACTIONS, Blocked
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.report.packing import from_text, unpack

__all__ = ["CONFIG", "empty_record", "long_record", "packed", "small_run", "summary_of"]

BAR_MS = 900_000


def empty_record(symbol: str = "BTCUSDT", rows: int = 0) -> SymbolRecord:
    """A record of bars in which nothing happened, or of no bar."""
    log = np.zeros((rows, len(LOG_COLUMNS)))
    log[:, LOG_COLUMNS.index("time")] = 1_700_000_100_000 + BAR_MS * np.arange(rows)
    log[:, LOG_COLUMNS.index("equity")] = log[:, LOG_COLUMNS.index("wallet")] = 1_000.0
    return SymbolRecord(symbol, "rules of the test", rows, log, np.empty(0), np.empty((0, 20)), np.empty((0, 3)), [])


def long_record(rows: int = 162_000, levels: int = 10, trades: int = 5_000) -> SymbolRecord:
    """A record as long and as restless as the longest there is, without a run."""
    rng = np.random.default_rng(7)
    walk = 60_000.0 * np.exp(np.cumsum(0.0025 * rng.standard_normal(rows)) * 0.2)
    close = np.round(walk, 1)
    held = np.repeat(np.maximum(rng.integers(-3, 3, rows // 60 + 1), 0), 60)[:rows] * 0.002  # a third of the time
    columns = {
        "time": 1_633_132_800_000 + BAR_MS * np.arange(rows),
        "equity": 10_000.0 + np.cumsum(np.where(held > 0.0, rng.standard_normal(rows), 0.0)),
        "wallet": 10_000.0 + np.repeat(np.cumsum(rng.standard_normal(rows // 60 + 1)), 60)[:rows],
        "long_qty": held,
        "regime": np.repeat(rng.integers(-2, 3, rows // 20 + 1), 20)[:rows],
        "z": np.cumsum(rng.standard_normal(rows)) * 0.02 + 0.4 * rng.standard_normal(rows),
        "sigma": 0.003 * np.exp(0.05 * np.cumsum(rng.standard_normal(rows)) / 20.0),
        "anchor": np.repeat(close[::40], 40)[:rows],
        "centre": np.repeat(close[::40], 40)[:rows] + np.where(held > 0.0, rng.standard_normal(rows), 0.0),
        "liquidation_down": np.where(held > 0.0, 2.0 + rng.standard_normal(rows) * 0.01, np.inf),
        "liquidation_up": np.inf,
        "spacing_pct": np.maximum(0.01, 0.01 + 0.0002 * rng.standard_normal(rows)),
        "kelly": np.repeat(rng.random(rows // 60 + 1), 60)[:rows],
        "notional": 500.0 + np.where(held > 0.0, rng.standard_normal(rows), 0.0),
        "var": held * 600.0 * (1.0 + 0.01 * rng.standard_normal(rows)),
    }
    log = np.zeros((rows, len(LOG_COLUMNS)))
    for name, values in columns.items():
        log[:, LOG_COLUMNS.index(name)] = values
    open_side = np.repeat(rng.integers(0, 3, rows // 20 + 1), 20)[:rows, np.newaxis] > 0
    actions = np.where(rng.random((rows, 2 * levels)) < 0.08, REPLACE, KEEP)
    actions[::20] = PLACE
    ladder = np.where(open_side, actions, KEEP + TRACE_ACTIONS * Blocked.REGIME).astype(np.uint8)
    closed = []
    for number, row in enumerate(np.sort(rng.integers(0, rows - 100, trades)).tolist(), start=1):
        entry = float(close[row])
        change = float(rng.standard_normal())
        times = (int(columns["time"][row]), int(columns["time"][row + int(rng.integers(1, 99))]))
        closed.append(
            ClosedTrade(
                number,
                "BTCUSDT",
                PositionSide.LONG,
                TradeLabel.GRID,
                0,
                *times,
                0.002,
                entry,
                entry + change,
                0.002 * change,
                0.05,
                0.01 * change,
            )
        )
    record = SymbolRecord("BTCUSDT", "rules", rows, log, close, ladder, np.empty((0, 3)), closed)
    record.open = np.concatenate(([close[0]], close[:-1])) + np.round(rng.random(rows), 1)
    record.high = np.maximum(record.open, close) + np.round(np.abs(rng.standard_normal(rows)) * 60.0, 1)
    record.low = np.minimum(record.open, close) - np.round(np.abs(rng.standard_normal(rows)) * 60.0, 1)
    return record


def packed(page: str) -> tuple[dict[str, Any], bytes]:
    """Return what a page computes with: the description and the columns' bytes."""
    block = re.search(r'<script type="application/octet-stream" id="data">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    return unpack(from_text(block[1]))


def summary_of(**figures: Any) -> dict[str, Any]:
    """A summary with little in it."""
    return json.loads(json.dumps({"start_equity": 1_000.0, "end_equity": 1_000.0, "net_return": 0.0} | figures))
