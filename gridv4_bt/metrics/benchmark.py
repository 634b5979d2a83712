"""What buying the same symbols and holding them would have made: the benchmark of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridv4_bt.metrics.performance import (
    Array,
    annual_return,
    calmar,
    daily_returns,
    drawdowns,
    sharpe,
    sortino,
    volatility,
)
from gridv4_bt.metrics.whole_run import WholeRun


def hold_curve(run: WholeRun, exposure: float = 1.0) -> Array | None:
    """Return the equity, at the times of the run's curve, of its wallet if it buys all symbols and holds them.

    It buys them in equal parts, each once, at the close of its own first traded bar, for `exposure` of its part of the
    wallet, and pays the taker fee; the rest stays cash. It pays no funding, as who holds the coins themselves. None
    where the run kept no prices.
    """
    priced = [
        (record, rows)
        for record, rows in zip(run.records, run.rows, strict=True)
        if len(record.close) and len(record.close) == len(record.log)
    ]
    times, start = run.curve[0], run.wallet.start
    if not priced or not len(times):
        return None
    part = start * exposure / len(priced)
    equity = np.full(len(times), start * (1.0 - exposure))
    for record, rows in priced:
        value = part * (1.0 - run.wallet.taker_fee) * record.close[np.maximum(rows, 0)] / record.close[0]
        equity += np.where(rows >= 0, value, part)
    return equity


def mean_exposure(run: WholeRun) -> float:
    """Return the mean of LONG plus SHORT notional over the equity, of all bars of the run."""
    times, equity = run.curve
    if not len(times):
        return 0.0
    long, short = run.notionals
    solvent = equity > 0.0
    return float(np.mean((long + short)[solvent] / equity[solvent])) if solvent.any() else 0.0


def benchmark(run: WholeRun) -> dict[str, Any]:
    """Return the figures of holding: with the whole wallet (1x), with the run's own mean exposure, and by symbol.

    ``symbols`` is the change of each symbol's price from its first traded close to its last.
    """
    times, _ = run.curve
    found: dict[str, Any] = {}
    exposures = {"hold": 1.0, "hold_same_exposure": mean_exposure(run)}
    for name, exposure in exposures.items():
        curve = hold_curve(run, exposure)
        if curve is not None:
            found[name] = {"exposure": exposure} | _figures(times, curve, run.wallet.start)
    if found:
        found["symbols"] = {
            record.symbol: float(record.close[-1] / record.close[0] - 1.0)
            for record in run.records
            if len(record.close)
        }
    return found


def _figures(times: Array, equity: Array, start: float) -> dict[str, float | None]:
    days, daily = daily_returns(times, equity, start)
    annual = annual_return(start, float(equity[-1]), float(len(days)))
    deepest = float(np.max(drawdowns(equity, start)))
    return {
        "net_return": float(equity[-1] / start - 1.0),
        "annual_return": annual,
        "max_drawdown": deepest,
        "volatility": volatility(daily),
        "sharpe": sharpe(daily),
        "sortino": sortino(daily),
        "calmar": calmar(annual, deepest),
    }
