"""What each leg (a symbol and a side) made, in parts that add up, and what it still holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade, Fill, PositionSide
from gridv4_bt.metrics.trading import WholeTrade
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord

#: Closings that pay no slippage: at their limit, or at the price the exchange closes at.
_NO_SLIPPAGE = {TradeLabel.GRID, TradeLabel.LIQUIDATION, TradeLabel.MANUAL}


def leg_profits(
    records: Sequence[SymbolRecord], whole: Sequence[WholeTrade], wallet: WalletRecord
) -> dict[str, dict[str, Any]]:
    """Return the profit of each leg that traded, by ``SYMBOL LONG`` or ``SYMBOL SHORT``. Money is quote.

    ``realized`` (price moves of what closed) - ``fees`` - ``funding`` + ``unrealized`` = ``total``; the totals of all
    legs are the change of the equity. Fees and funding are those of open fills too. ``slippage`` is part of
    ``realized``: what market and stop orders lost against the price they were sent at.
    """
    found = {}
    for record in records:
        for side in (PositionSide.LONG, PositionSide.SHORT):
            trades = [trade for trade in record.trades if trade.side is side]
            fills = [fill for name, fill in record.open_fills if name == side.name]
            if trades or fills:
                closed = [trade for trade in whole if trade.symbol == record.symbol and trade.side is side]
                found[f"{record.symbol} {side.name}"] = _leg(record, side, trades, closed, fills, wallet.slippage)
    return found


def _leg(
    record: SymbolRecord,
    side: PositionSide,
    trades: Sequence[ClosedTrade],
    whole: Sequence[WholeTrade],
    fills: Sequence[Fill],
    slippage: float,
) -> dict[str, Any]:
    realized = math.fsum(trade.gross for trade in trades)
    fees = math.fsum(trade.fees for trade in trades) + math.fsum(fill.fee for fill in fills)
    funding = math.fsum(trade.funding for trade in trades) + math.fsum(fill.funding for fill in fills)
    mark = float(record.close[-1]) if len(record.close) else math.nan
    unrealized = math.fsum(side * (mark - fill.price) * fill.qty for fill in fills)
    return {
        "realized": realized,
        "fees": fees,
        "funding": funding,
        "unrealized": unrealized,
        "total": realized - fees - funding + unrealized,
        "slippage": math.fsum(
            trade.exit * trade.qty * slippage / (1.0 - side * slippage)
            for trade in trades
            if trade.label not in _NO_SLIPPAGE
        ),
        "trades": len(whole),
        "win_rate": sum(trade.net > 0.0 for trade in whole) / len(whole) if whole else None,
        "open_qty": math.fsum(fill.qty for fill in fills),
    }


def stuck_legs(records: Sequence[SymbolRecord]) -> dict[str, dict[str, Any]]:
    """Return each leg that is open at the end: fills, quantity, average entry, age in days, unrealised now and worst.

    ``age_days`` is that of its oldest fill at the close of the last bar, ``worst`` the lowest unrealised profit that
    today's open fills had together at any close since the oldest of them opened.
    """
    found = {}
    for record in records:
        times = record.column("time")
        if not len(times):
            continue
        interval = float(times[-1] - times[-2]) if len(times) > 1 else 0.0
        for side in (PositionSide.LONG, PositionSide.SHORT):
            fills = [fill for name, fill in record.open_fills if name == side.name]
            if not fills:
                continue
            qty = math.fsum(fill.qty for fill in fills)
            cost = math.fsum(fill.qty * fill.price for fill in fills)
            oldest = min(fill.time for fill in fills)
            path = _unrealized_path(record, side, fills)
            found[f"{record.symbol} {side.name}"] = {
                "fills": len(fills),
                "qty": qty,
                "entry": cost / qty,
                "age_days": (float(times[-1]) + interval - oldest) / DAY_MS,
                "unrealized": float(path[-1]) if len(path) else None,
                "worst": float(path.min()) if len(path) else None,
            }
    return found


def _unrealized_path(record: SymbolRecord, side: PositionSide, fills: Sequence[Fill]) -> np.ndarray:
    """Return the unrealised profit of the fills at every close since the oldest of them opened."""
    if not len(record.close):
        return np.empty(0)
    rows = np.maximum(record.rows(np.array([fill.time for fill in fills])), 0)
    first = int(rows.min())
    close = record.close[first:]
    total = np.zeros(len(close))
    for row, fill in zip(rows.tolist(), fills, strict=True):
        total[row - first :] += side * (close[row - first :] - fill.price) * fill.qty
    return total
