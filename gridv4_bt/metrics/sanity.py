"""Flags: what makes a result less than it looks, each as one sentence."""

from __future__ import annotations

import math

import numpy as np

from gridv4_bt.core.time import iso_seconds
from gridv4_bt.metrics.performance import annual_return, daily_returns, sharpe
from gridv4_bt.metrics.whole_run import WholeRun

#: Fewer trades or days than these say little about the next ones.
FEW_TRADES, FEW_DAYS = 30, 90.0
#: Return a year and Sharpe ratio that no strategy keeps.
ABSURD_RETURN, ABSURD_SHARPE = 10.0, 5.0
#: An entry of more than this share of its bar's volume would have moved the market.
THIN_SHARE = 0.05
#: Days whose sum is compared with the whole profit.
BEST_DAYS = 10
#: Share of bars in which the order of prices decided, from which the result hangs on it.
AMBIGUOUS_SHARE = 0.01


def sanity_flags(run: WholeRun) -> list[str]:
    """Return a sentence for each reason to doubt the result; none if there is none."""
    found = [_liquidated(run), _few_trades(run), _short(run), _absurd(run), _best_days(run)]
    if run.is_hedged:
        found += [_funding(run), _thin_bars(run), _ambiguous(run), _breach(run)]
    return [text for text in found if text]


def _liquidated(run: WholeRun) -> str:
    return "The account was liquidated." if run.wallet.liquidations else ""


def _few_trades(run: WholeRun) -> str:
    count = len(run.whole_trades)
    if not run.is_hedged or count >= FEW_TRADES:
        return ""
    if not count:
        return "No trade was closed, so there is nothing to judge."
    return f"Few trades: {count} say{'s' * (count == 1)} little about the next ones (fewer than {FEW_TRADES})."


def _short(run: WholeRun) -> str:
    if run.days >= FEW_DAYS or not run.days:
        return ""
    many = "" if round(run.days) == 1 else "s"
    return f"Short: {run.days:.0f} day{many}, one kind of market (fewer than {FEW_DAYS:.0f})."


def _absurd(run: WholeRun) -> str:
    times, equity = run.curve
    if run.days < FEW_DAYS:  # a year, or a ratio, of so few days says nothing anyway
        return ""
    days, daily = daily_returns(times, equity, run.wallet.start)
    year = annual_return(run.wallet.start, float(equity[-1]), float(len(days)))
    if year is not None and year > ABSURD_RETURN:
        return f"Absurd: {_percent(year)} a year. Look for an error in the data or the costs."
    ratio = sharpe(daily)
    if ratio is not None and ratio > ABSURD_SHARPE:
        return f"Absurd: a Sharpe ratio of {ratio:.1f}. Look for an error in the data or the costs."
    return ""


def _best_days(run: WholeRun) -> str:
    times, equity = run.curve
    if not len(times):
        return ""
    days, _ = daily_returns(times, equity, run.wallet.start)
    if len(days) <= 3 * BEST_DAYS:
        return ""
    ends = np.append(np.flatnonzero(np.diff(np.asarray(times, np.int64) // 86_400_000)), len(times) - 1)
    gains = np.diff(np.concatenate(([run.wallet.start], equity[ends])))
    profit = float(gains.sum())
    best = math.fsum(sorted(gains.tolist())[-BEST_DAYS:])
    if profit <= 0.0 or best <= 0.5 * profit:
        return ""
    share = "More than all" if best > profit else f"{_percent(best / profit)}"
    return f"{share} of the profit comes from the {BEST_DAYS} best of {len(days):,} days."


def _funding(run: WholeRun) -> str:
    missing = [record.symbol for record in run.records if len(record.close) and not len(record.settled)]
    parts = {record.symbol: record.synthetic_share for record in run.records if record.synthetic_share > 0.0}
    holes = [f"for {_percent(share, 0 if share >= 0.01 else 2)} of {symbol}'s" for symbol, share in parts.items()]
    told = [f"for {', '.join(missing)}"] * bool(missing) + holes
    return f"Synthetic funding: no rates were given {', '.join(told)}; a formula stands in for them." if told else ""


def _thin_bars(run: WholeRun) -> str:
    count, worst, where = 0, 0.0, ""
    for record, table in zip(run.records, run.fills, strict=True):
        if len(record.volume) != len(record.log) or not len(table):
            continue
        volume = record.volume[np.maximum(table.row, 0)]
        share = np.divide(table.qty, volume, out=np.full(len(table), np.inf), where=volume > 0.0)
        count += int(np.sum(share > THIN_SHARE))
        if share.max() > worst:
            worst, where = float(share.max()), iso_seconds(int(table.time[share.argmax()]))
    if not count:
        return ""
    most = (
        f"up to {_percent(worst)} of the volume at {where[:16].replace('T', ' ')}"
        if math.isfinite(worst)
        else "in a bar without volume"
    )
    return f"Thin bars: {count} entries took more than {_percent(THIN_SHARE)} of their bar's volume, {most}."


def _ambiguous(run: WholeRun) -> str:
    bars = sum(record.bars for record in run.records)
    share = run.wallet.ambiguous_bars / bars if bars else 0.0
    if share <= AMBIGUOUS_SHARE:
        return ""
    bars = _percent(share, 1)
    return f"In {bars} of the bars the unknown order of prices decided what filled: compare with --intrabar all."


def _breach(run: WholeRun) -> str:
    ratio = max(
        (float(np.nanmax(r.column("margin_ratio"), initial=0.0)) for r in run.records if len(r.log)), default=0.0
    )
    return f"Margin: maintenance reached {_percent(ratio)} of the equity." if ratio >= 0.5 else ""


def _percent(share: float, digits: int = 0) -> str:
    return f"{100.0 * share:,.{digits}f} %"
