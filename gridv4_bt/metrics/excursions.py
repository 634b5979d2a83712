"""How far the price went against each fill and for it while it was held: MAE and MFE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.metrics.entries import FillTable
from gridv4_bt.metrics.performance import Array
from gridv4_bt.record.run_record import SymbolRecord

#: Closings inside a bar at their own limit: the bar's adverse extreme may have come before them.
AT_LIMIT = {TradeLabel.GRID, TradeLabel.MANUAL}


@dataclass(frozen=True)
class Excursions:
    """The excursions of one symbol's fills, in the order of its `FillTable`; NaN where the run kept no prices."""

    adverse: Array  #: MAE: farthest the price went against the fill, in price, 0 or more
    favourable: Array  #: MFE: farthest it went for it, in price, 0 or more
    adverse_levels: Array  #: MAE in spacings of the ladder that placed the fill; NaN if no order of the ladder
    favourable_levels: Array
    adverse_wallet: Array  #: loss at the MAE of the whole quantity, fraction of the wallet at the bar of the entry
    favourable_wallet: Array


def excursions(record: SymbolRecord, fills: FillTable) -> Excursions:
    """Return MAE and MFE of every fill, closed or still open.

    The inside of a bar is unknown, so the worse order counts: of the bar a fill opened in, only the adverse extreme; of
    the bar in which its last part closed, the price of that closing and, where it closed at its own limit, the adverse
    extreme. Parts closed earlier are counted as if held to the end.
    """
    count = len(fills)
    adverse, favourable = np.full(count, np.nan), np.full(count, np.nan)
    if len(record.close) and len(record.close) == len(record.log):
        high = record.high if len(record.high) else record.close
        low = record.low if len(record.low) else record.close
        last = {trade.trade_id: trade for trade in record.trades}
        for _, fill in record.open_fills:
            last.pop(fill.id, None)
        for place in range(count):
            trade = last.get(int(fills.id[place]))
            prices = high, low
            adverse[place], favourable[place] = _of_fill(record, fills, place, trade, prices)
    with np.errstate(divide="ignore", invalid="ignore"):
        spacing = np.where(fills.spacing_pct > 0.0, fills.spacing_pct * fills.price, np.nan)
        wallet = record.column("wallet")[np.maximum(fills.row, 0)] if count else np.empty(0)
        share = np.where(wallet > 0.0, fills.qty / wallet, np.nan)
        return Excursions(
            adverse, favourable, adverse / spacing, favourable / spacing, adverse * share, favourable * share
        )


def _of_fill(
    record: SymbolRecord, fills: FillTable, place: int, trade: ClosedTrade | None, prices: tuple[Array, Array]
) -> tuple[float, float]:
    """Return MAE and MFE of one fill in price; `trade` is its last closing, None while a part is open."""
    high, low = prices
    sign, entry, first = int(fills.sign[place]), float(fills.price[place]), max(int(fills.row[place]), 0)
    against, with_it = (low, high) if sign > 0 else (high, low)
    end = len(high) if trade is None else int(record.rows(np.array([trade.close_time]))[0])
    worst = [0.0, sign * (entry - float(against[first]))] if end > first else [0.0]
    best = [0.0]
    if end > first + 1:
        worst.append(float(np.max(sign * (entry - against[first + 1 : end]))))
        best.append(float(np.max(sign * (with_it[first + 1 : end] - entry))))
    if trade is not None:
        worst.append(sign * (entry - trade.exit))
        best.append(sign * (trade.exit - entry))
        if trade.label in AT_LIMIT and 0 <= end < len(high):
            worst.append(sign * (entry - float(against[end])))
    return max(worst), max(best)


def excursion_figures(records: Sequence[SymbolRecord], fills: Sequence[FillTable]) -> dict[str, Any]:
    """Return mean, median, 95th percentile and largest MAE and MFE of all fills.

    They are in shares of the entry price, in levels, and in shares of the wallet at the entry.
    """
    found = [excursions(record, table) for record, table in zip(records, fills, strict=True)]
    parts = {
        "adverse_price": [one.adverse / table.price for one, table in zip(found, fills, strict=True)],
        "favourable_price": [one.favourable / table.price for one, table in zip(found, fills, strict=True)],
        **{
            name: [getattr(one, name) for one in found]
            for name in ("adverse_levels", "favourable_levels", "adverse_wallet", "favourable_wallet")
        },
    }
    figures: dict[str, Any] = {}
    for name, values_of in parts.items():
        values = np.concatenate([*values_of, np.empty(0)])
        values = values[np.isfinite(values)]
        if len(values):
            figures[name] = {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "p95": float(np.percentile(values, 95)),
                "max": float(values.max()),
            }
    return figures
