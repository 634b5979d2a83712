"""The summary of a run: every figure of ``summary.json``. What is not defined is None.

Of several symbols ``bars``, ``halts``, ``stops``, ``blocked`` and ``warnings`` are sums over symbols, each of which has
its own bars, z-score and stops; ``margin_calls`` and ``liquidations`` are those of the account, each counted once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gridv4_bt.core.time import iso_seconds
from gridv4_bt.metrics.benchmark import benchmark
from gridv4_bt.metrics.co_movement import co_movement
from gridv4_bt.metrics.cycles import cycle_figures
from gridv4_bt.metrics.excursions import excursion_figures
from gridv4_bt.metrics.exposure import exposure, margin_safety
from gridv4_bt.metrics.hindsight import adverse_selection, pruning
from gridv4_bt.metrics.ladder_use import blocked, grid_efficiency, levels
from gridv4_bt.metrics.legs import leg_profits, stuck_legs
from gridv4_bt.metrics.passivbot import passivbot_metrics
from gridv4_bt.metrics.performance import (
    annual_return,
    calmar,
    daily_returns,
    drawdowns,
    recovery,
    returns_by_period,
    risk,
    sharpe,
    sortino,
)
from gridv4_bt.metrics.sanity import sanity_flags
from gridv4_bt.metrics.trading import activity, costs, funding_by_side, grouped, holding, profit_factor
from gridv4_bt.metrics.whole_run import WholeRun, wallet_curve
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord

__all__ = [
    "GROUPS", "compare_modes", "daily_returns", "drawdowns", "finite", "grouped", "measure", "summarize",
    "summarize_recording", "wallet_curve",
]  # fmt: skip

#: The groups of the summary beyond its first figures, by name: what makes them of a recording.
GROUPS: Mapping[str, Callable[[WholeRun], dict[str, Any]]] = {
    "returns": lambda run: returns_by_period(*run.curve, run.wallet.start),
    "risk": lambda run: risk(*run.curve, run.wallet.start),
    "recovery": lambda run: recovery(*run.curve, run.wallet.start),
    "benchmark": benchmark,
    "legs": lambda run: leg_profits(run.records, run.whole_trades, run.wallet),
    "open_legs": lambda run: stuck_legs(run.records),
    "exposure": exposure,
    "margin": lambda run: margin_safety(run.records),
    "co_movement": lambda run: co_movement(run.records, run.fills),
    "activity": lambda run: activity(run.trades, run.fills, run.wallet, run.days, _mean(run.curve[1])),
    "cycles": lambda run: cycle_figures(run.records, run.fills),
    "excursions": lambda run: excursion_figures(run.records, run.fills),
    "holding": lambda run: holding(run.trades),
    "costs": lambda run: costs(run.records),
    "funding_by_side": lambda run: funding_by_side(run.records),
    "adverse_selection": lambda run: adverse_selection(run.records, run.fills),
    "pruning": lambda run: pruning(run.records, run.fills, run.wallet),
    "grid": lambda run: grid_efficiency(run.records, run.fills, run.reached, run.days),
    "levels": lambda run: levels(run.records, run.fills, run.reached, run.whole_trades),
    "blocked_share": lambda run: blocked(run.records),
    "passivbot": passivbot_metrics,
}

#: Those that need no more than the equity, and those that only a grid has.
_OF_EQUITY = {"returns", "risk", "recovery", "benchmark", "passivbot"}
_OF_GRID = {"pruning", "grid", "levels", "blocked_share"}
#: What only a grid has of the first figures, and of groups.
_FIRST_OF_GRID = {"halts", "stops", "margin_calls", "blocked", "warnings", "departs_from_definition"}
_PARTS_OF_GRID = {
    "costs": {"grid_profit", "fees_of_grid_profit", "funding_of_grid_profit"},
    "cycles": {"by_deepest"},
    "excursions": {"adverse_levels", "favourable_levels"},
}


def measure(recording: WholeRun, group: str) -> dict[str, Any]:
    """Return one of `GROUPS`; empty if the run has nothing of the kind."""
    if (group not in _OF_EQUITY and not recording.is_hedged) or (group in _OF_GRID and not recording.is_grid):
        return {}
    found = finite(GROUPS[group](recording))
    left_out = set() if recording.is_grid else _PARTS_OF_GRID.get(group, set())
    return {name: value for name, value in found.items() if name not in left_out}


def summarize(records: Sequence[SymbolRecord], wallet: WalletRecord) -> dict[str, Any]:
    """Return the content of ``summary.json`` but for the seconds the run took."""
    return summarize_recording(WholeRun(records, wallet))


def summarize_recording(recording: WholeRun) -> dict[str, Any]:
    """Return the figures of any run, those of trades only of one at a `HedgeBroker`."""
    summary = _of_equity(recording) | (_of_trades(recording) if recording.is_hedged else {})
    if not recording.is_grid:
        summary = {name: value for name, value in summary.items() if name not in _FIRST_OF_GRID}
    groups = {group: measure(recording, group) for group in GROUPS}
    return finite(summary) | {"flags": sanity_flags(recording)} | groups


def _of_equity(recording: WholeRun) -> dict[str, Any]:
    records, wallet = recording.records, recording.wallet
    times, equity = recording.curve
    days, returns = daily_returns(times, equity, wallet.start) if len(times) else ((), np.array([]))
    falls = drawdowns(equity, wallet.start) if len(times) else np.array([0.0])
    annual = annual_return(wallet.start, wallet.equity, float(len(days)))
    max_drawdown = float(np.max(falls))
    return {
        "symbols": [record.symbol for record in records],
        "rules": {record.symbol: record.rules for record in records},
        "bars": sum(record.bars for record in records),
        "from": iso_seconds(times[0]) if len(times) else None,
        "to": iso_seconds(times[-1]) if len(times) else None,
        "start_equity": wallet.start,
        "end_equity": wallet.equity,
        "net_return": wallet.equity / wallet.start - 1.0,
        "annual_return": annual,
        "max_drawdown": max_drawdown,
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(annual, max_drawdown),
    }


def _of_trades(recording: WholeRun) -> dict[str, Any]:
    records, wallet, closings, whole = recording.records, recording.wallet, recording.trades, recording.whole_trades
    nets = [trade.net for trade in whole]
    executions = wallet.maker_executions + wallet.taker_executions
    in_market = [(record.column("long_qty") > 0) | (record.column("short_qty") > 0) for record in records]
    bars_traded = sum(len(record.log) for record in records)
    return {
        "trades": len(nets),
        "win_rate": sum(net > 0.0 for net in nets) / len(nets) if nets else None,
        "profit_factor": profit_factor(nets),
        "gross": wallet.gross,
        "fees": wallet.fees,
        "funding": wallet.funding,
        "unrealized": wallet.equity - wallet.wallet,
        "open_fills": sum(len(record.open_fills) for record in records),
        "by_label": grouped(closings, whole, "label"),
        "by_regime": grouped(closings, whole, "regime") if recording.is_grid else {},
        "by_side": grouped(closings, whole, "side"),
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
        "departs_from_definition": _departures(records),
    }


def _departures(records: Sequence[SymbolRecord]) -> dict[str, float]:
    """Return what departs from the definition; by names like ``BTCUSDT.k`` where the symbols differ."""
    found = {}
    for record in records:
        for name, value in record.departures.items():
            is_common = all(other.departures.get(name) == value for other in records)
            found[name if is_common else f"{record.symbol}.{name}"] = value
    return found


def compare_modes(summaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return figures of the summaries of one run matched in several intrabar modes, by mode."""
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


def finite(value: Any) -> Any:
    """Return the value with every number that is not finite, however deep, as None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _added(counters: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counter in counters:
        for name, count in counter.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
