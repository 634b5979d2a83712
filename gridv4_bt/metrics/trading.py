"""Trading activity, holding times, fees and funding of a run. Money is quote."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from gridv4_bt.core.regime import Regime
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord


def profit_factor(nets: Sequence[float]) -> float | None:
    """Return the sum of all profits over the sum of all losses."""
    losses = -plain_sum(net for net in nets if net < 0.0)
    return plain_sum(net for net in nets if net > 0.0) / losses if losses > 0.0 else None


@dataclass(frozen=True, slots=True)
class WholeTrade:
    """A fill that is closed, with the sums of its parts. Money is quote."""

    trade_id: int  #: id of the fill
    symbol: str
    side: PositionSide
    regime: int  #: `Regime` code of the fill
    open_time: int  #: ms
    close_time: int  #: of the last part, ms
    qty: float  #: base units
    entry: float  #: price
    gross: float  #: before fees and funding
    fees: float
    funding: float
    net: float


#: What closings and whole trades share is all that grouping them needs.
_Trade = TypeVar("_Trade", ClosedTrade, WholeTrade)


def whole_trades(closings: Iterable[ClosedTrade], still_open: Collection[int] | None = None) -> list[WholeTrade]:
    """Return the fills that are closed, in the order of their last parts: a fill closed in parts is one trade.

    Parameters
    ----------
    still_open : ids of the fills of which a part is still held, where the closings do not say which part was a fill's
        last one because they were read from trades.csv. None: they say it.
    """
    closings = list(closings)
    if still_open is None:
        is_last = [closing.bullet_qty > 0.0 for closing in closings]
    else:
        latest = {closing.trade_id: place for place, closing in enumerate(closings)}
        lasts = {place for trade_id, place in latest.items() if trade_id not in still_open}
        is_last = [place in lasts for place in range(len(closings))]
    parts: dict[int, list[ClosedTrade]] = {}
    whole = []
    for closing, ends in zip(closings, is_last, strict=True):
        parts.setdefault(closing.trade_id, []).append(closing)
        if ends:
            whole.append(_sum_up(parts.pop(closing.trade_id)))
    return whole


def _sum_up(parts: Sequence[ClosedTrade]) -> WholeTrade:
    last = parts[-1]
    sums = (plain_sum(getattr(part, name) for part in parts) for name in ("gross", "fees", "funding", "net"))
    qty = plain_sum(part.qty for part in parts)
    return WholeTrade(
        last.trade_id, last.symbol, last.side, last.regime, last.open_time, last.close_time, qty, last.entry, *sums
    )


def by_label(trade: ClosedTrade) -> str:
    """Return the label a fill or a part of it was closed under."""
    return str(trade.label)


def by_side(trade: ClosedTrade | WholeTrade) -> str:
    """Return the side of a trade: long or short."""
    return trade.side.name.lower()


def by_regime(trade: ClosedTrade | WholeTrade) -> str:
    """Return the regime a trade was opened in."""
    return Regime(trade.regime).name


def collect(trades: Iterable[_Trade], key: Callable[[_Trade], Any]) -> dict[Any, list[_Trade]]:
    """Return the trades by a key, sorted by it."""
    groups: dict[Any, list[_Trade]] = {}
    for trade in trades:
        groups.setdefault(key(trade), []).append(trade)
    return dict(sorted(groups.items()))


def totals(trades: Sequence[ClosedTrade] | Sequence[WholeTrade]) -> dict[str, float]:
    """Return number, win rate and sums of one or more closings or trades."""
    return {
        "trades": len(trades),
        "win_rate": sum(trade.net > 0.0 for trade in trades) / len(trades),
        "gross": math.fsum(trade.gross for trade in trades),
        "fees": math.fsum(trade.fees for trade in trades),
        "funding": math.fsum(trade.funding for trade in trades),
        "net": math.fsum(trade.net for trade in trades),
    }


def grouped(closings: Sequence[ClosedTrade], whole: Sequence[WholeTrade], key: str) -> dict[str, dict[str, float]]:
    """Return number, win rate and sums by ``label``, ``regime`` or ``side``, sorted by name.

    By label they are those of the closings, as the parts of a fill may have several; else of the whole trades.
    """
    if key == "label":
        return {name: totals(group) for name, group in collect(closings, by_label).items()}
    keys = {"regime": by_regime, "side": by_side}
    return {name: totals(group) for name, group in collect(whole, keys[key]).items()}


def holding(trades: Sequence[ClosedTrade]) -> dict[str, Any]:
    """Return how long fills were held until a part of them closed, in hours, of all closings, by label and by side.

    Times are those of the bars, so a fill closed in the bar after its own was held for one bar.
    """
    if not trades:
        return {}
    return {
        "all": _hours(trades),
        "by_label": {name: _hours(group) for name, group in collect(trades, by_label).items()},
        "by_side": {name: _hours(group) for name, group in collect(trades, by_side).items()},
    }


def _hours(trades: Sequence[ClosedTrade]) -> dict[str, float]:
    hours = np.array([trade.close_time - trade.open_time for trade in trades]) / HOUR_MS
    return {
        "mean": float(hours.mean()),
        "median": float(np.median(hours)),
        "p95": float(np.percentile(hours, 95)),
        "max": float(hours.max()),
    }


def activity(
    trades: Sequence[ClosedTrade], fills: Sequence[FillTable], wallet: WalletRecord, days: float, mean_equity: float
) -> dict[str, float | None]:
    """Return how much was traded. `days` is the length of the run.

    ``turnover_per_day`` is the notional of all entries and closings of a day over the mean equity.
    """
    if not days > 0.0:
        return {}
    count = sum(map(len, fills))
    volume = math.fsum(float(table.price @ table.qty) for table in fills)
    volume += math.fsum(trade.exit * trade.qty for trade in trades)
    executions = wallet.maker_executions + wallet.taker_executions
    return {
        "fills": count,
        "fills_per_day": count / days,
        "closings_per_day": len(trades) / days,
        "turnover_per_day": volume / days / mean_equity if mean_equity > 0.0 else None,
        "maker_ratio": wallet.maker_executions / executions if executions else None,
    }


def costs(records: Sequence[SymbolRecord]) -> dict[str, float | None]:
    """Return fees and funding, those of open fills too, against what was earned before them.

    ``gross_profit`` is the sum of all closings that gained before costs, ``grid_profit`` that of the label grid;
    ``fee_drag`` is all fees over the first, ``fees_of_grid_profit`` and ``funding_of_grid_profit`` over the second.
    """
    trades = [trade for record in records for trade in record.trades]
    fills = [fill for record in records for _, fill in record.open_fills]
    fees = math.fsum(trade.fees for trade in trades) + math.fsum(fill.fee for fill in fills)
    funding = math.fsum(trade.funding for trade in trades) + math.fsum(fill.funding for fill in fills)
    profit, grid = math.fsum(trade.gross for trade in trades if trade.gross > 0.0), grid_profit(trades)
    return {
        "gross_profit": profit,
        "grid_profit": grid,
        "fees": fees,
        "funding": funding,
        "fee_drag": fees / profit if profit > 0.0 else None,
        "fees_of_grid_profit": fees / grid if grid > 0.0 else None,
        "funding_of_grid_profit": funding / grid if grid > 0.0 else None,
    }


def grid_profit(trades: Iterable[ClosedTrade]) -> float:
    """Return what the exits of the grid earned before costs."""
    return math.fsum(trade.gross for trade in trades if trade.label is TradeLabel.GRID)


def funding_by_side(records: Sequence[SymbolRecord]) -> dict[str, dict[str, float | None]]:
    """Return the funding of LONG and SHORT: what fills paid, what others received, and the difference.

    Open fills are among them. ``of_grid_profit`` is the difference over what the exits of the side's grid earned
    before costs.
    """
    found = {}
    for side in (PositionSide.LONG, PositionSide.SHORT):
        trades = [trade for record in records for trade in record.trades if trade.side is side]
        amounts = [trade.funding for trade in trades]
        amounts += [fill.funding for record in records for name, fill in record.open_fills if name == side.name]
        if amounts:
            net, profit = math.fsum(amounts), grid_profit(trades)
            found[side.name.lower()] = {
                "paid": math.fsum(amount for amount in amounts if amount > 0.0),
                "received": -math.fsum(amount for amount in amounts if amount < 0.0),
                "net": net,
                "of_grid_profit": net / profit if profit > 0.0 else None,
            }
    return found
