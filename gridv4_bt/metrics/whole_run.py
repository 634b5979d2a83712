"""The recording of a run, with the values that several metrics need computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.types import ClosedTrade
from gridv4_bt.metrics.entries import FillTable, fill_table
from gridv4_bt.metrics.ladder_use import reached
from gridv4_bt.metrics.performance import Array
from gridv4_bt.metrics.trading import WholeTrade, whole_trades
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord


@dataclass
class WholeRun:
    """The records of all symbols of a run, and of its wallet."""

    records: Sequence[SymbolRecord]
    wallet: WalletRecord
    is_grid: bool = True  #: made by a GridStrategyV4
    is_hedged: bool = True  #: traded at a `HedgeBroker`; else there is the equity and nothing more

    @cached_property
    def curve(self) -> tuple[Array, Array]:
        """Times (ms) and equity of the wallet at every bar of any symbol."""
        return wallet_curve(self.records)

    @cached_property
    def rows(self) -> list[NDArray[np.int64]]:
        """The latest row of each symbol's log at every time of `curve`, -1 before its first."""
        return [record.rows(self.curve[0]) for record in self.records]

    @cached_property
    def notionals(self) -> tuple[Array, Array]:
        """The notional held LONG and SHORT in all symbols at the latest closes, at every time of `curve`, quote."""
        return notionals(self.records, self.rows)

    @cached_property
    def fills(self) -> list[FillTable]:
        """The entries of each symbol."""
        return [fill_table(record) for record in self.records]

    @cached_property
    def reached(self) -> list[NDArray[np.int64]]:
        """How often the market came to each level of each symbol; see `gridv4_bt.metrics.ladder_use.reached`."""
        return [reached(record) for record in self.records]

    @cached_property
    def trades(self) -> list[ClosedTrade]:
        """The closings of all symbols, those of one symbol after those of another."""
        return [trade for record in self.records for trade in record.trades]

    @cached_property
    def whole_trades(self) -> list[WholeTrade]:
        """The fills of all symbols that are closed, in the order of `trades`."""
        return whole_trades(self.trades)

    @cached_property
    def bar_ms(self) -> float:
        """The length of a bar, ms: the median distance of two bars' times."""
        times = self.curve[0]
        return float(np.median(np.diff(times))) if len(times) > 1 else 0.0

    @property
    def days(self) -> float:
        """The length of the run, its last bar included."""
        times = self.curve[0]
        return (float(times[-1] - times[0]) + self.bar_ms) / DAY_MS if len(times) else 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the values that can be computed again."""
        names = ("records", "wallet", "is_grid", "is_hedged")
        return {name: getattr(self, name) for name in names}


def notionals(records: Sequence[SymbolRecord], rows: Sequence[NDArray[np.int64]]) -> tuple[Array, Array]:
    """Return the notional held LONG and SHORT in all symbols at the rows of each, -1 before its first, quote."""
    long, short = np.zeros((2, len(rows[0])))
    for record, at in zip(records, rows, strict=True):
        if not len(record.close):
            continue
        known = at >= 0
        for total, column in ((long, "long_qty"), (short, "short_qty")):
            total[known] += (record.column(column) * record.close)[at[known]]
    return long, short


def wallet_curve(records: Sequence[SymbolRecord], column: str = "equity") -> tuple[Array, Array]:
    """Return times (ms) and equity of the wallet, or another column it has, at every bar of any symbol."""
    if len(records) == 1:
        return records[0].column("time"), records[0].column(column)
    own_times = [record.column("time") for record in records]
    times = reduce(np.union1d, own_times)
    values = np.empty(len(times))
    for record, own in zip(records, own_times, strict=True):  # at one time the last symbol has seen all of them
        values[times.searchsorted(own)] = record.column(column)
    return times, values
