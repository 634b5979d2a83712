"""A run's figures under passivbot's names and formulas, for comparison with its results.

Formulas from passivbot's `passivbot-rust/src/analysis.rs` (GitHub, enarjord/passivbot), as of 2026. What differs:
passivbot sees a bar a minute and this the bars of the run; the wallet at a fill is the one at the end of its bar; a
ratio that is not defined is None here and 0 or infinite there. Days are UTC days; "daily" is a day's last equity and
"daily lowest" its lowest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gridv4_bt.core.time import DAY_MS, HOUR_MS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.performance import Array
from gridv4_bt.metrics.whole_run import WholeRun, wallet_curve


class PassivbotFill(NamedTuple):
    """One entry or closing, which passivbot both calls fills."""

    time: int  #: ms
    phase: int  #: within a bar: the exchange's order
    leg: tuple[str, int]  #: symbol and sign of the side
    qty: float  #: base units, negative if it closes
    price: float
    pnl: float  #: before costs, quote
    fee: float  #: of this execution; closings carry their entry's as well, entries of what closed none


def passivbot_metrics(recording: WholeRun) -> dict[str, float | None]:
    """Return the metrics that mean the same here as there; those of fills only for a `HedgeBroker`.

    gain, adg : mean of the last three daily equities over the first one; its n-th root minus 1, n days.
    mdg : median of the daily changes. omega_ratio : their gains over their losses.
    sharpe_ratio : adg over the deviation (ddof 0) of the changes of the daily lowest equity around adg;
        sortino_ratio : adg over the root mean square of those below 0. Neither is annualised.
    expected_shortfall_1pct : mean of the worst 1 % of those changes, positive.
    drawdown_worst, drawdown_worst_mean_1pct : of every bar; mean of the worst 1 % of the days' worst.
    calmar_ratio, sterling_ratio : adg over either.
    equity_choppiness : sum of all absolute daily changes over the absolute change in all.
    equity_jerkiness : mean of abs(second difference) of three daily equities over their mean.
    exponential_fit_error : mean squared error of a straight line through the logarithms of the daily equities.
    peak_recovery_hours_equity : longest time from a high to the next one; one not reached again does not count.
    equity_balance_diff_{neg,pos}_{max,mean} : equity minus wallet over wallet, at the bars below and above 0.
    paper_loss_ratio, exposure_ratio : adg over equity_balance_diff_neg_max, over total_wallet_exposure_max.
    total_wallet_exposure_{max,mean,median} : abs(LONG - SHORT notional) over the wallet.
    adg_pnl, mdg_pnl : mean and median over the days with fills of profit minus fees over the day's last wallet.
    loss_profit_ratio(_long, _short) : sum of all losses over all profits of closings, before costs.
    positions_held_per_day, position_held_hours_{mean,median,max} : a position is a side of a symbol from flat to flat.
    position_unchanged_hours_max : longest time without a fill in a position.
    win_rate : share of the finished positions that gained, before costs.
    volume_pct_per_day_avg : mean over the days with fills of the sum of notional over wallet (a fraction).
    """
    times, equity = recording.curve
    if len(times) < 2:
        return {}
    found = _of_equity(times, equity)
    if recording.is_hedged:
        _, wallet = wallet_curve(recording.records, "wallet")
        found |= _of_wallet(recording, wallet, found["adg"])
        found |= _of_fills(recording, wallet)
    return found


def _of_equity(times: Array, equity: Array) -> dict[str, float | None]:
    days = times.astype(np.int64) // DAY_MS
    first = np.flatnonzero(np.append(True, days[1:] != days[:-1]))
    daily = equity[np.append(first[1:], len(days)) - 1]
    lowest = np.minimum.reduceat(equity, first)
    changes, low_changes = _relative(daily), _relative(lowest)
    peaks = np.maximum.accumulate(equity)
    falls = 1.0 - equity / peaks
    worst = float(falls.max())
    worst_mean = _mean_of_worst(np.maximum.reduceat(falls, first))
    gain, adg = _gain(daily)
    below = low_changes[low_changes < 0.0]
    moved = abs(float(daily[-1] - daily[0]))
    highs = times[equity >= peaks]
    return {
        "gain": gain,
        "adg": adg,
        "mdg": float(np.median(changes)) if len(changes) else None,
        "sharpe_ratio": _over(adg, _root_mean_square(low_changes - adg) if adg is not None else 0.0),
        "sortino_ratio": _over(adg, _root_mean_square(below)),
        "omega_ratio": _over(float(changes[changes >= 0.0].sum()), -float(changes[changes < 0.0].sum())),
        "expected_shortfall_1pct": _mean_of_worst(-low_changes),
        "drawdown_worst": worst,
        "drawdown_worst_mean_1pct": worst_mean,
        "calmar_ratio": _over(adg, worst),
        "sterling_ratio": _over(adg, worst_mean),
        "equity_choppiness": _over(float(np.abs(np.diff(daily)).sum()), moved),
        "equity_jerkiness": _jerkiness(daily),
        "exponential_fit_error": _fit_error(daily),
        "peak_recovery_hours_equity": float(np.diff(highs).max(initial=0.0)) / HOUR_MS,
    }


def _of_wallet(recording: WholeRun, wallet: Array, adg: float | None) -> dict[str, float | None]:
    _, equity = recording.curve
    apart = _shares(equity - wallet, wallet)
    above, below = apart[apart > 0.0], -apart[apart < 0.0]
    paper_loss = float(below.max(initial=0.0))
    found = {
        "equity_balance_diff_neg_max": paper_loss,
        "equity_balance_diff_neg_mean": float(below.mean()) if len(below) else 0.0,
        "equity_balance_diff_pos_max": float(above.max(initial=0.0)),
        "equity_balance_diff_pos_mean": float(above.mean()) if len(above) else 0.0,
        "paper_loss_ratio": _over(adg, paper_loss),
    }
    if any(len(record.close) for record in recording.records):
        long, short = recording.notionals
        net = _shares(np.abs(long - short), wallet)
        found["total_wallet_exposure_max"] = float(net.max())
        found["total_wallet_exposure_mean"] = float(net.mean())
        found["total_wallet_exposure_median"] = float(np.median(net))
        found["exposure_ratio"] = _over(adg, float(net.max()))
    return found


def _of_fills(recording: WholeRun, wallet: Array) -> dict[str, float | None]:
    events = executions(recording)
    if not events:
        return {}
    times, _ = recording.curve
    when = np.array([event.time for event in events])
    wallets = wallet[np.maximum(times.searchsorted(when, side="right") - 1, 0)]
    pnls = np.array([event.pnl for event in events])
    fees = np.array([event.fee for event in events])
    volumes = np.array([abs(event.qty) * event.price for event in events])
    signs = np.array([event.leg[1] for event in events])
    days, first = np.unique(when // DAY_MS, return_index=True)
    last_wallet = wallets[np.append(first[1:], len(events)) - 1]
    of_day = _shares(np.add.reduceat(pnls - fees, first), last_wallet)
    volume = np.add.reduceat(_shares(volumes, wallets), first)
    span = float(times[-1] - times[0]) / DAY_MS
    return {
        "adg_pnl": float(of_day.mean()),
        "mdg_pnl": float(np.median(of_day)),
        "loss_profit_ratio": _losses_of_profits(pnls),
        "loss_profit_ratio_long": _losses_of_profits(pnls[signs > 0]),
        "loss_profit_ratio_short": _losses_of_profits(pnls[signs < 0]),
        **_positions(events, int(times[-1]), span),
        "volume_pct_per_day_avg": float(volume.sum()) / len(days),
    }


def executions(recording: WholeRun) -> list[PassivbotFill]:
    """Return all entries and closings in the order in which the exchange matches them.

    That is by bar, and within a bar market orders, entries, stops, exits.
    """
    events = []
    for record, table in zip(recording.records, recording.fills, strict=True):
        fees: dict[int, float] = {fill.id: fill.fee for _, fill in record.open_fills}
        columns = (table.id, table.time, table.sign, table.qty, table.price)
        for fill, time, sign, qty, price in zip(*(column.tolist() for column in columns), strict=True):
            events.append(PassivbotFill(time, 3, (record.symbol, sign), qty, price, 0.0, fees.get(fill, 0.0)))
        for trade in record.trades:
            phase = _PHASES.get(trade.label, 2)
            leg = (record.symbol, int(trade.side))
            events.append(PassivbotFill(trade.close_time, phase, leg, -trade.qty, trade.exit, trade.gross, trade.fees))
    return sorted(events, key=lambda event: event[:2])


_PHASES = {TradeLabel.STOP2: 4, TradeLabel.LIQUIDATION: 4, TradeLabel.GRID: 5, TradeLabel.MANUAL: 5}


def _positions(events: Sequence[PassivbotFill], end: int, days: float) -> dict[str, float | None]:
    held: dict[tuple[str, int], float] = {}
    began: dict[tuple[str, int], int] = {}
    latest: dict[tuple[str, int], int] = {}
    gained: dict[tuple[str, int], float] = {}
    lengths: list[int] = []
    pauses: list[int] = []
    results: list[float] = []
    for event in events:
        leg = event.leg
        if leg in began:
            pauses.append(event.time - latest[leg])
        else:
            began[leg], held[leg], gained[leg] = event.time, 0.0, 0.0
        latest[leg] = event.time
        held[leg] += event.qty
        gained[leg] += event.pnl
        if event.qty < 0.0 and held[leg] < -event.qty * 1e-9:
            lengths.append(event.time - began.pop(leg))
            results.append(gained[leg])
    for leg, time in began.items():
        lengths.append(end - time)
        pauses.append(end - latest[leg])
    hours = np.array(lengths) / HOUR_MS
    return {
        "positions_held_per_day": len(hours) / days if days > 0.0 else None,
        "position_held_hours_mean": float(hours.mean()),
        "position_held_hours_median": float(np.median(hours)),
        "position_held_hours_max": float(hours.max()),
        "position_unchanged_hours_max": max(pauses, default=0) / HOUR_MS,
        "win_rate": sum(result > 0.0 for result in results) / len(results) if results else None,
    }


def _shares(values: Array, of: Array) -> Array:
    """Return the ratios of two columns, 0 where the divisor is not above 0: a wallet that was liquidated."""
    return np.divide(values, of, out=np.zeros(len(values)), where=of > 0.0)


def _relative(values: Array) -> Array:
    return np.diff(values) / np.maximum(np.abs(values[:-1]), 1e-12)


def _root_mean_square(values: Array) -> float:
    return math.sqrt(float(np.mean(values**2))) if len(values) else 0.0


def _over(value: float | None, divisor: float) -> float | None:
    return value / divisor if value is not None and divisor > 0.0 else None


def _mean_of_worst(losses: Array) -> float:
    if not len(losses):
        return 0.0
    return float(np.mean(np.abs(np.sort(losses)[::-1][: max(int(0.01 * len(losses)), 1)])))


def _gain(daily: Array) -> tuple[float | None, float | None]:
    if len(daily) < 2 or daily[0] <= 0.0:
        return None, None
    end = float(np.mean(daily[-3:]))
    if end <= 0.0:
        return -1.0, -1.0
    gain = end / float(daily[0])
    return gain, gain ** (1.0 / len(daily)) - 1.0


def _jerkiness(daily: Array) -> float | None:
    if len(daily) < 3:
        return None
    mean = np.abs(daily[:-2] + daily[1:-1] + daily[2:]) / 3.0
    bends = np.abs(daily[2:] - 2.0 * daily[1:-1] + daily[:-2])
    return float(np.mean(_shares(bends, mean)))


def _fit_error(daily: Array) -> float | None:
    if len(daily) < 2 or daily.min() <= 0.0:
        return None
    x, y = np.arange(len(daily)) - (len(daily) - 1) / 2.0, np.log(daily)
    slope = float(x @ y) / float(x @ x)
    return float(np.mean((y - y.mean() - slope * x) ** 2))


def _losses_of_profits(pnls: Array) -> float | None:
    return _over(-float(pnls[pnls < 0.0].sum()), float(pnls[pnls > 0.0].sum()))
