"""The price after an entry, and what a pruned fill would have earned if held.

Both use later bars, which no decision could know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.engine.labels import CUTS, TradeLabel
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord

#: Bars after an entry at which the price is looked at.
LAGS = (1, 4, 16)
#: Bars a fill that was cut is held on for: a day of 15 minutes.
HOLD_BARS = 96


def adverse_selection(records: Sequence[SymbolRecord], fills: Sequence[FillTable]) -> dict[str, Any]:
    """Return how far the close had moved against the entries 1, 4 and 16 bars after the bar they filled in.

    Mean over the entries of ``side_sign*(price - close)/price``: positive means the market went on against the fill,
    which is what whoever fills a resting order hopes for. Entries too near the end of the data do not count.
    """
    moves: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    counts = {"long": 0, "short": 0}
    for record, table in zip(records, fills, strict=True):
        if not len(record.close):
            continue
        for side, sign in (("long", 1), ("short", -1)):
            chosen = table.sign == sign
            counts[side] += int(chosen.sum())
            for lag in LAGS:
                rows = table.row[chosen] + lag
                known = rows < len(record.close)
                price = table.price[chosen][known]
                moved = sign * (price - record.close[rows[known]]) / price
                moves.setdefault((side, lag), []).append(moved)
                moves.setdefault(("all", lag), []).append(moved)
    counts["all"] = counts["long"] + counts["short"]
    found: dict[str, Any] = {}
    for side, count in counts.items():
        if count:
            found[side] = {"fills": count}
            for lag in LAGS:
                values = np.concatenate(moves[side, lag])
                found[side][f"after_{lag}"] = float(values.mean()) if len(values) else None
    return found


def pruning(records: Sequence[SymbolRecord], fills: Sequence[FillTable], wallet: WalletRecord) -> dict[str, Any]:
    """Return what each pruning method realised, and what holding the same fills for another day would have realised.

    Hypothetical, and known only afterwards: each fill is taken to rest its own take-profit, one spacing from its
    entry, for the 96 bars after the cut, and to be closed at market at the last of their closes, or of the data, if no
    bar reaches it. It pays the fees, the slippage and the funding of that day (where the data brings funding). No other
    guard would have cut it meanwhile, it would not have been liquidated, and the level it occupied would have earned
    nothing: all three flatter holding, or pruning, by what cannot be known.

    ``net`` is what the cut fills realised, costs included, ``held`` what they would have by holding, ``saved`` the
    difference: positive where the cut was better. ``came_back`` is the share that reached the take-profit.
    """
    cuts: dict[TradeLabel, list[tuple[float, float, bool]]] = {}
    for record, table in zip(records, fills, strict=True):
        chosen = [trade for trade in record.trades if trade.label in CUTS]
        if not chosen or not len(record.close):
            continue
        change, reached = hold_on(record, table, chosen, wallet)
        for trade, more, back in zip(chosen, change.tolist(), reached.tolist(), strict=True):
            if more == more:
                cuts.setdefault(trade.label, []).append((trade.net, more, back))
    found = {}
    for label in CUTS:
        if label in cuts:
            nets, changes, reached = zip(*cuts[label], strict=True)
            net, more = math.fsum(nets), math.fsum(changes)
            found[str(label)] = {
                "trades": len(nets),
                "net": net,
                "held": net + more,
                "saved": -more,
                "came_back": sum(reached) / len(nets),
            }
    return found


def hold_on(
    record: SymbolRecord, table: FillTable, trades: Sequence[ClosedTrade], wallet: WalletRecord
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what holding on would have added to the net of each trade, and whether it would have taken profit.

    See `pruning`; only the closed part of the fill counts. NaN for a fill that was no order of the ladder.
    A fill closed at a bar's open could have profited in that bar; one that a stop closed inside it only from the next.
    """
    sign, entry, exit_, qty = (
        np.array([values(trade) for trade in trades], float)
        for values in (lambda t: t.side, lambda t: t.entry, lambda t: t.exit, lambda t: t.qty)
    )
    of = table.index(np.array([trade.trade_id for trade in trades]))
    spacing_pct = table.spacing_pct[of]
    target = entry * (1.0 + sign * spacing_pct)
    closed = record.rows(np.array([trade.close_time for trade in trades]))
    first = closed + np.array([trade.label is TradeLabel.STOP2 for trade in trades])
    final = len(record.close) - 1
    window = first[:, None] + np.arange(HOLD_BARS)
    inside = window <= final
    window = np.minimum(window, final)
    up = sign[:, None] > 0.0
    hits = np.where(up, record.high[window] >= target[:, None], record.low[window] <= target[:, None]) & inside
    reached = hits.any(axis=1)
    last = np.where(reached, window[np.arange(len(window)), hits.argmax(axis=1)], window[:, -1])
    at_market = record.close[last] * (1.0 - sign * wallet.slippage)
    price = np.where(reached, target, at_market)
    fee = np.where(reached, wallet.maker_fee, wallet.taker_fee)
    more = sign * (price - exit_) * qty - qty * (price * fee - exit_ * wallet.taker_fee)
    if len(record.settled):
        paid = np.cumsum(record.settled)
        more -= sign * qty * (paid[last] - paid[closed])
    return np.where(spacing_pct > 0.0, more, np.nan), reached
