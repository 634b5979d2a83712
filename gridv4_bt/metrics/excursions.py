"""How far the price went against each fill and for it while it was held: MAE and MFE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.engine.labels import TradeLabel
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
    adverse, favourable = np.full((2, count), np.nan)
    if count and len(record.close) == len(record.log) > 0:
        adverse, favourable = _in_price(record, fills)
    with np.errstate(divide="ignore", invalid="ignore"):
        spacing = np.where(fills.spacing_pct > 0.0, fills.spacing_pct * fills.price, np.nan)
        wallet = record.column("wallet")[np.maximum(fills.row, 0)] if count else np.empty(0)
        share = np.where(wallet > 0.0, fills.qty / wallet, np.nan)
        return Excursions(
            adverse, favourable, adverse / spacing, favourable / spacing, adverse * share, favourable * share
        )


def _in_price(record: SymbolRecord, fills: FillTable) -> tuple[Array, Array]:
    """Return MAE and MFE in price of one or more fills."""
    high = record.high if len(record.high) else record.close
    low = record.low if len(record.low) else record.close
    last = {trade.trade_id: trade for trade in record.trades}
    for _, fill in record.open_fills:
        last.pop(fill.id, None)
    closed = fills.index(np.array(list(last), np.int64))
    end, at_limit, exit_ = np.full(len(fills), len(high)), np.zeros(len(fills), bool), fills.price.copy()
    end[closed] = record.rows(np.array([trade.close_time for trade in last.values()], np.int64))
    at_limit[closed] = [trade.label in AT_LIMIT for trade in last.values()]
    exit_[closed] = [trade.exit for trade in last.values()]
    first, final = np.maximum(fills.row, 0), np.minimum(end, len(high) - 1)
    lowest, highest = _between(np.minimum, low, first, end), _between(np.maximum, high, first, end)

    def gain(long: Array, short: Array) -> Array:
        """Return what each fill has gained at a price, which may differ for LONG and SHORT."""
        return fills.sign * (np.where(fills.sign > 0, long, short) - fills.price)

    has_later_bars = end > first + 1
    adverse = [
        np.where(end > first, -gain(low[first], high[first]), 0.0),
        np.where(has_later_bars, -gain(lowest, highest), 0.0),
        np.where(at_limit & (end >= first), -gain(low[final], high[final]), 0.0),
        -gain(exit_, exit_),
    ]
    favourable = [np.where(has_later_bars, gain(highest, lowest), 0.0), gain(exit_, exit_)]
    # Adding 0 leaves no zero with a minus sign.
    return np.max(adverse, axis=0, initial=0.0) + 0.0, np.max(favourable, axis=0, initial=0.0) + 0.0


def _between(extreme: np.ufunc, prices: Array, first: NDArray[np.int64], end: NDArray[np.int64]) -> Array:
    """Return the extreme of the prices between two bars, both left out; of bars that are neighbours any price."""
    bounds = np.stack((first + 1, np.maximum(end, first + 1)), axis=1).ravel()
    return extreme.reduceat(np.append(prices, prices[-1]), bounds)[::2]


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
