"""What buying the same symbols and holding them would have made: the benchmark of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridv4_bt.metrics.exposure import notionals
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
from gridv4_bt.record.run_record import SymbolRecord


def hold_curve(
    records: Sequence[SymbolRecord], times: Array, start: float, fee: float, exposure: float = 1.0
) -> Array | None:
    """Return the equity at each of the times of a wallet that buys all symbols in equal parts and holds them.

    Each is bought once, at the close of its own first traded bar, for `exposure` of its part of the wallet, and pays
    `fee` (fraction of the notional); the rest stays cash. It pays no funding, as who holds the coins themselves. None
    where the run kept no prices.
    """
    priced = [record for record in records if len(record.close) and len(record.close) == len(record.log)]
    if not priced or not len(times):
        return None
    part = start * exposure / len(priced)
    equity = np.full(len(times), start * (1.0 - exposure))
    for record in priced:
        rows = record.rows(times)
        value = part * (1.0 - fee) * record.close[np.maximum(rows, 0)] / record.close[0]
        equity += np.where(rows >= 0, value, part)
    return equity


def mean_exposure(run: WholeRun) -> float:
    """Return the mean of LONG plus SHORT notional over the equity, of all bars of the run."""
    times, equity = run.curve
    if not len(times):
        return 0.0
    long, short = notionals(run.records, times)
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
        curve = hold_curve(run.records, times, run.wallet.start, run.wallet.taker_fee, exposure)
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
