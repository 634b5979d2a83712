"""Figures of a run from its equity curve and its trades. Ratios that are not defined are None."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.analysis.recorder import SymbolRecord, WalletRecord
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.types import ClosedTrade

DAY_MS = 86_400_000
DAYS_A_YEAR = 365.0

Array = NDArray[np.float64]


def daily_returns(times: Array, equity: Array, start_equity: float) -> tuple[NDArray[np.int64], Array]:
    """Return the UTC days traded (days since the epoch) and the return of each from day's end to day's end.

    The first day starts at `start_equity`; a day's end is its last bar's close.
    """
    days = np.asarray(times, dtype=np.int64) // DAY_MS
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
    ends = equity[last]
    before = np.concatenate(([start_equity], ends[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(before > 0.0, ends / before - 1.0, 0.0)
    return days[last], returns


def drawdowns(equity: Array, start_equity: float) -> Array:
    """Return how far each point lies below the highest one so far, as a positive fraction of it."""
    peak = np.maximum.accumulate(np.maximum(equity, start_equity))
    return 1.0 - equity / peak


def sharpe(returns: Array) -> float | None:
    """Return mean over standard deviation (ddof 1) of daily returns, times sqrt(365); no risk-free rate."""
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    return float(np.mean(returns)) / deviation * math.sqrt(DAYS_A_YEAR) if deviation > 0.0 else None


def sortino(returns: Array) -> float | None:
    """Return mean over downside deviation (root mean square of the losses, target 0), times sqrt(365)."""
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(np.mean(returns)) / downside * math.sqrt(DAYS_A_YEAR) if downside > 0.0 else None


def annual_return(start_equity: float, end_equity: float, days: float) -> float | None:
    """Return the compound return of a year of 365 days."""
    if days <= 0.0 or end_equity <= 0.0:
        return None if days <= 0.0 else -1.0
    try:
        return (end_equity / start_equity) ** (DAYS_A_YEAR / days) - 1.0
    except OverflowError:
        return None


def calmar(annual: float | None, max_drawdown: float) -> float | None:
    """Return the annual return over the largest drawdown."""
    return annual / max_drawdown if annual is not None and max_drawdown > 0.0 else None


def profit_factor(nets: Sequence[float]) -> float | None:
    """Return the sum of all profits over the sum of all losses."""
    losses = -sum(net for net in nets if net < 0.0)
    return sum(net for net in nets if net > 0.0) / losses if losses > 0.0 else None


def grouped(trades: Iterable[ClosedTrade], key: str) -> dict[str, dict[str, float]]:
    """Return trades, win rate and sums by a field of the trade (label, regime or side), sorted by name."""
    groups: dict[str, list[ClosedTrade]] = {}
    for trade in trades:
        value = getattr(trade, key)
        name = Regime(value).name if key == "regime" else getattr(value, "name", str(value)).lower()
        groups.setdefault(name, []).append(trade)
    return {
        name: {
            "trades": len(group),
            "win_rate": sum(trade.net > 0.0 for trade in group) / len(group),
            "gross": math.fsum(trade.gross for trade in group),
            "fees": math.fsum(trade.fees for trade in group),
            "funding": math.fsum(trade.funding for trade in group),
            "net": math.fsum(trade.net for trade in group),
        }
        for name, group in sorted(groups.items())
    }


def wallet_curve(records: Sequence[SymbolRecord]) -> tuple[Array, Array]:
    """Return times (ms) and equity of the wallet at every bar of any symbol."""
    if len(records) == 1:
        return records[0].column("time"), records[0].column("equity")
    times = np.concatenate([record.column("time") for record in records])
    equity = np.concatenate([record.column("equity") for record in records])
    order = np.argsort(times, kind="stable")
    times, equity = times[order], equity[order]
    last = np.append(times[1:] != times[:-1], True)
    return times[last], equity[last]


def summarize(records: Sequence[SymbolRecord], wallet: WalletRecord) -> dict[str, Any]:
    """Return the content of ``summary.json`` but for the seconds the run took."""
    times, equity = wallet_curve(records)
    trades = [trade for record in records for trade in record.trades]
    nets = [trade.net for trade in trades]
    days, returns = daily_returns(times, equity, wallet.start) if len(times) else ((), np.array([]))
    falls = drawdowns(equity, wallet.start) if len(times) else np.array([0.0])
    annual = annual_return(wallet.start, wallet.equity, float(len(days)))
    executions = wallet.maker_executions + wallet.taker_executions
    in_market = [(record.column("long_qty") > 0) | (record.column("short_qty") > 0) for record in records]
    bars_traded = sum(len(record.log) for record in records)
    max_drawdown = float(np.max(falls))
    summary: dict[str, Any] = {
        "symbols": [record.symbol for record in records],
        "rules": {record.symbol: record.rules for record in records},
        "bars": sum(record.bars for record in records),
        "from": _iso(times[0]) if len(times) else None,
        "to": _iso(times[-1]) if len(times) else None,
        "start_equity": wallet.start,
        "end_equity": wallet.equity,
        "net_return": wallet.equity / wallet.start - 1.0,
        "annual_return": annual,
        "max_drawdown": max_drawdown,
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(annual, max_drawdown),
        "trades": len(trades),
        "win_rate": sum(net > 0.0 for net in nets) / len(nets) if nets else None,
        "profit_factor": profit_factor(nets),
        "gross": wallet.gross,
        "fees": wallet.fees,
        "funding": wallet.funding,
        "unrealized": wallet.equity - wallet.wallet,
        "open_fills": sum(len(record.open_fills) for record in records),
        "by_label": grouped(trades, "label"),
        "by_regime": grouped(trades, "regime"),
        "by_side": grouped(trades, "side"),
        "halts": sum(record.halts for record in records),
        "stops": sum(record.stops for record in records),
        "margin_calls": sum(record.margin_calls for record in records),
        "liquidations": wallet.liquidations,
        "max_margin_ratio": max((float(r.column("margin_ratio").max()) for r in records if len(r.log)), default=0.0),
        "min_liquidation_distance": min(record.min_liquidation_distance for record in records),
        "maker_ratio": wallet.maker_executions / executions if executions else None,
        "time_in_market": float(sum(held.sum() for held in in_market)) / bars_traded if bars_traded else 0.0,
        "ambiguous_bars": wallet.ambiguous_bars,
        "blocked": _added(record.blocked for record in records),
        "warnings": _added(record.warnings for record in records),
    }
    return {name: _json_number(value) for name, value in summary.items()}


def compare_modes(summaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the ways to match the inside of bars change, by mode: figures of the summaries of the same run."""
    labels = ("grid", "stop1", "stop2", "liquidation")
    return {
        summary["intrabar"]: {
            **{name: summary[name] for name in ("end_equity", "net_return", "max_drawdown", "trades", "gross", "fees")},
            **{name: summary["by_label"].get(name, {}).get("trades", 0) for name in labels},
            "ambiguous_bars": summary["ambiguous_bars"],
            "ambiguous_share": summary["ambiguous_bars"] / summary["bars"],
        }
        for summary in summaries
    }


def _iso(time_ms: float) -> str:
    return f"{np.datetime64(int(time_ms), 'ms').astype('datetime64[s]')}Z"


def _added(counters: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counter in counters:
        for name, count in counter.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
