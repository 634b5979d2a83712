"""Figures of an equity curve: returns by period, ratios of return and risk, drawdowns and how long they last.

Ratios that are not defined are None. Trades are not used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.time import DAY_MS

DAYS_A_YEAR = 365.0

Array = NDArray[np.float64]


def daily_returns(times: Array, equity: Array, start_equity: float) -> tuple[NDArray[np.int64], Array]:
    """Return the UTC days traded (days since the epoch) and the return of each from day's end to day's end.

    The first day starts at `start_equity`; a day's end is its last bar's close.
    """
    days = np.asarray(times, dtype=np.int64) // DAY_MS
    last = last_of_each(days)
    return days[last], _changes(equity[last], start_equity)


def period_returns(times: Array, equity: Array, start_equity: float, unit: str) -> dict[str, float]:
    """Return the return of each UTC month (`unit` "M", named 2024-01) or year ("Y") in which there is a bar.

    Compounded they are the return of the whole run.
    """
    if not len(times):
        return {}
    periods = np.asarray(times, dtype=np.int64).astype("datetime64[ms]").astype(f"datetime64[{unit}]")
    last = last_of_each(periods)
    returns = _changes(equity[last], start_equity)
    return dict(zip(np.datetime_as_string(periods[last]).tolist(), returns.tolist(), strict=True))


def rolling_returns(returns: Array, days: int) -> Array:
    """Return the compound return of every stretch of so many neighbouring days; empty if there are fewer."""
    if len(returns) < days:
        return np.empty(0)
    worth = np.cumprod(np.concatenate(([1.0], 1.0 + returns)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(worth[:-days] > 0.0, worth[days:] / worth[:-days] - 1.0, 0.0)


def last_of_each(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index of the last of each stretch of equal neighbours."""
    return np.flatnonzero(np.append(keys[1:] != keys[:-1], True)[: len(keys)])


def spells(holds: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each stretch of True begins, and the index after its last."""
    edges = np.diff(np.concatenate(([0], holds.astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _changes(ends: Array, start: float) -> Array:
    before = np.concatenate(([start], ends[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before > 0.0, ends / before - 1.0, 0.0)


def drawdowns(equity: Array, start_equity: float) -> Array:
    """Return how far each point lies below the highest one so far, as a positive fraction of it."""
    return 1.0 - equity / _peaks(equity, start_equity)


def _peaks(equity: Array, start_equity: float) -> Array:
    return np.maximum.accumulate(np.maximum(equity, start_equity))


# --- ratios of daily returns


def volatility(returns: Array) -> float | None:
    """Return the standard deviation (ddof 1) of daily returns, times sqrt(365)."""
    return float(np.std(returns, ddof=1)) * math.sqrt(DAYS_A_YEAR) if len(returns) > 1 else None


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


def omega(returns: Array) -> float | None:
    """Return the sum of the gains over the sum of the losses of daily returns (threshold 0)."""
    losses = -float(np.sum(np.minimum(returns, 0.0)))
    return float(np.sum(np.maximum(returns, 0.0))) / losses if losses > 0.0 else None


def expected_shortfall(returns: Array, share: float = 0.05) -> float | None:
    """Return the mean loss of the worst `share` of daily returns, of the worst one at least; positive is a loss."""
    if not len(returns):
        return None
    worst = np.sort(returns)[: max(int(share * len(returns)), 1)]
    return -float(np.mean(worst))


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


# --- groups of the summary


def returns_by_period(times: Array, equity: Array, start_equity: float) -> dict[str, Any]:
    """Return the returns of all months and years, and the best and worst day and month."""
    if not len(times):
        return {}
    days, daily = daily_returns(times, equity, start_equity)
    months = period_returns(times, equity, start_equity, "M")
    best, worst = int(np.argmax(daily)), int(np.argmin(daily))
    return {
        "days": len(daily),
        "positive_days": float(np.mean(daily > 0.0)),
        "best_day": {"date": _date(days[best]), "return": float(daily[best])},
        "worst_day": {"date": _date(days[worst]), "return": float(daily[worst])},
        "positive_months": sum(change > 0.0 for change in months.values()) / len(months),
        "monthly": months,
        "yearly": period_returns(times, equity, start_equity, "Y"),
    }


def risk(times: Array, equity: Array, start_equity: float) -> dict[str, float | None]:
    """Return the ratios of daily returns, and Calmar and the ulcer index of the curve.

    The ulcer index is the root mean square of the drawdown at every bar (P. Martin, 1987).
    """
    if not len(times):
        return {}
    days, daily = daily_returns(times, equity, start_equity)
    falls = drawdowns(equity, start_equity)
    annual = annual_return(start_equity, float(equity[-1]), float(len(days)))
    return {
        "volatility": volatility(daily),
        "sharpe": sharpe(daily),
        "sortino": sortino(daily),
        "calmar": calmar(annual, float(falls.max())),
        "omega": omega(daily),
        "expected_shortfall_5pct": expected_shortfall(daily, 0.05),
        "expected_shortfall_1pct": expected_shortfall(daily, 0.01),
        "max_drawdown": float(falls.max()),
        "mean_drawdown": float(falls.mean()),
        "ulcer_index": float(np.sqrt(np.mean(falls**2))),
    }


def recovery(times: Array, equity: Array, start_equity: float) -> dict[str, Any]:
    """Return how long the equity lay below its high, in days from that high until it was reached again.

    ``longest_days`` counts a time under water that has not ended; ``current_days`` is that time, 0 at a new high;
    ``mean_days`` is over all ``times`` under water, short ones too; ``under_water`` is the share of bars below the
    high; ``worst`` is the deepest drawdown.
    """
    if not len(times):
        return {}
    peaks = _peaks(equity, start_equity)
    under = equity < peaks
    begins, ends = spells(under)
    final = len(times) - 1
    lengths = (times[np.minimum(ends, final)] - times[np.maximum(begins - 1, 0)]) / DAY_MS
    deepest = int(np.argmax(1.0 - equity / peaks))
    worst = None
    if under[deepest]:
        spell = int(begins.searchsorted(deepest, side="right")) - 1
        high, end = max(int(begins[spell]) - 1, 0), int(ends[spell])
        worst = {
            "from": _date(times[high] // DAY_MS),
            "lowest": _date(times[deepest] // DAY_MS),
            "recovered": _date(times[end] // DAY_MS) if end <= final else None,
            "depth": float(1.0 - equity[deepest] / peaks[deepest]),
            "days": float(lengths[spell]),
        }
    return {
        "longest_days": float(lengths.max(initial=0.0)),
        "current_days": float(lengths[-1]) if under[-1] else 0.0,
        "mean_days": float(lengths.mean()) if len(lengths) else 0.0,
        "times": len(lengths),
        "under_water": float(np.mean(under)),
        "worst": worst,
    }


def _date(day: float) -> str:
    return str(np.datetime64(int(day), "D"))
