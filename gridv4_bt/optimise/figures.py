"""The figures by which trials are judged, the same from a run in Backtrader and from a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.backtest import RunResult
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.metrics.performance import annual_return, calmar, sharpe, sortino
from gridv4_bt.metrics.summary import daily_returns, finite, wallet_curve
from gridv4_bt.record.run_record import SymbolRecord

if TYPE_CHECKING:
    from gridv4_bt.optimise.sweeps import SweepResult

#: Names of ``summary.json``, and the number of independent bets; whether more is better. None: a ratio is not defined.
FIGURES: Mapping[str, bool] = {
    "net_return": True, "annual_return": True, "sharpe": True, "sortino": True, "calmar": True, "max_drawdown": False,
    "profit_factor": True, "win_rate": True, "trades": True, "bets": True, "fills_per_day": True, "fees": False,
    "funding": False, "maker_ratio": True, "time_in_market": False, "halts": False, "stops": False,
    "margin_calls": False, "liquidations": False, "max_margin_ratio": False, "min_liquidation_distance": True,
}  # fmt: skip

#: Of these, fractions, which are written as percent.
SHARES = {
    "net_return", "annual_return", "max_drawdown", "win_rate", "maker_ratio", "time_in_market", "max_margin_ratio",
    "min_liquidation_distance",
}  # fmt: skip

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """The figures of one parameter set in one wallet."""

    figures: Figures
    days: NDArray[np.int64]  #: UTC days traded, since 1970
    returns: NDArray[np.float64]  #: of each of them
    fills: NDArray[np.int64] | None = None  #: entries on each of them; None: of a sweep, which does not keep them


def of_run(result: RunResult) -> Evaluation:
    """Return the evaluation of a run in Backtrader."""
    summary: dict[str, Any] = result.summary | {
        "fills_per_day": result.summary["activity"].get("fills_per_day"),
        "bets": result.summary["co_movement"]["bets"],
    }
    days, returns = daily_returns(*wallet_curve(result.records), summary["start_equity"])
    filled = np.array(_fill_times(result.records), np.int64) // DAY_MS
    fills = np.bincount(days.searchsorted(filled), minlength=len(days))
    return Evaluation({name: summary.get(name) for name in FIGURES}, days, returns, fills)


def _fill_times(records: Sequence[SymbolRecord]) -> list[int]:
    """Return when each fill of a run came, ms."""
    closed = {trade.trade_id: trade.open_time for record in records for trade in record.trades}
    still_open = {fill.id: fill.time for record in records for _, fill in record.open_fills}
    return list((closed | still_open).values())


def of_sweep(result: SweepResult) -> Evaluation:
    """Return the evaluation of a compiled run."""
    days, returns = result.days, result.daily_returns
    annual = annual_return(result.start_equity, result.end_equity, float(len(days)))
    executions = result.maker_executions + result.taker_executions
    figures = {
        "net_return": result.net_return,
        "annual_return": annual,
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(annual, result.max_drawdown),
        "max_drawdown": result.max_drawdown,
        "profit_factor": result.profit_factor,
        "win_rate": result.win_rate,
        "trades": result.trades,
        "bets": result.bets,
        "fills_per_day": result.fills / result.length_days,
        "fees": result.fees,
        "funding": result.funding,
        "maker_ratio": result.maker_executions / executions if executions else None,
        "time_in_market": result.bars_in_market / result.bars,
        "halts": result.halts,
        "stops": result.stops,
        "margin_calls": result.margin_calls,
        "liquidations": result.liquidations,
        "max_margin_ratio": result.max_margin_ratio,
        "min_liquidation_distance": result.min_liquidation_distance,
    }
    return Evaluation(finite(figures), days, returns)


def key_of(figure: str, value: float | None) -> float:
    """Return a number that is the larger the better the figure is; one that is not defined is the worst."""
    if value is None or math.isnan(value):
        return -math.inf
    return value if FIGURES[figure] else -value
