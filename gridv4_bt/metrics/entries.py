"""The entries of a run, one row each: where they filled, at which level of the ladder and with which spacing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.grid import level_price
from gridv4_bt.engine.ladder import PLACE, PLACED, REPLACE, TRACE_ACTIONS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.record.run_record import SymbolRecord


@dataclass(frozen=True)
class FillTable:
    """The entries of one symbol in the order they filled, as columns."""

    id: NDArray[np.int64]
    sign: NDArray[np.int64]  #: +1 LONG, -1 SHORT
    time: NDArray[np.int64]  #: ms
    row: NDArray[np.int64]  #: of the record's log: the bar it filled in
    price: NDArray[np.float64]
    qty: NDArray[np.float64]  #: base units, all that filled
    level: NDArray[np.int64]  #: of the ladder: negative for LONG, positive for SHORT, 0 if no order of the ladder
    spacing_pct: NDArray[np.float64]  #: it was placed with, fraction of the price; 0 if no order of the ladder

    def __len__(self) -> int:
        return len(self.id)

    def index(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of fills by their ids, which must exist."""
        return self.id.searchsorted(ids)

    def take(self, places: NDArray[np.int64]) -> FillTable:
        """Return the table of some of the fills, in the order of their places."""
        return FillTable(*(getattr(self, column.name)[places] for column in fields(self)))


def fill_table(record: SymbolRecord) -> FillTable:
    """Return all entries of a symbol, closed since or still open."""
    parts = [(t.trade_id, int(t.side), t.open_time, t.entry, t.qty) for t in record.trades]
    parts += [(f.id, int(PositionSide[name]), f.time, f.price, f.qty) for name, f in record.open_fills]
    ids = np.array([part[0] for part in parts], np.int64)
    unique, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    sign, time, price = (np.array([parts[i][n] for i in first], kind) for n, kind in ((1, int), (2, int), (3, float)))
    qty = np.zeros(len(unique))
    np.add.at(qty, inverse, [part[4] for part in parts])
    row = record.rows(time)
    level, spacing_pct = _levels(record, row, sign, price)
    return FillTable(unique, sign, time, row, price, qty, level, spacing_pct)


def _levels(
    record: SymbolRecord, row: NDArray[np.int64], sign: NDArray[np.int64], price: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find each fill's level and spacing in the trace.

    A level of the trace with the code PLACED is one with an order that rests until the next bar. The prices of a
    side's orders lie in the order of their levels and a bar reaches the nearest first, so the n-th fill of a bar is
    the n-th order that rested before it. Its spacing is that of the bar at which the order was placed. A price
    more than half a spacing off that level's is no order of the ladder.
    """
    level = np.zeros(len(row), np.int64)
    spacing_pct = np.zeros(len(row))
    if not record.ladder.size:
        return level, spacing_pct
    ladder = np.asarray(record.ladder)
    levels = ladder.shape[1] // 2
    placements: dict[int, NDArray[np.int64]] = {}
    centres, spacings = record.column("centre"), record.column("spacing_pct")
    resting: list[int] = []
    before = (-1, 0)
    for fill, (at, side) in enumerate(zip(row.tolist(), sign.tolist(), strict=True)):
        if at < 1:
            continue
        offset = 0 if side > 0 else levels
        if (at, side) != before:
            before = (at, side)
            codes = ladder[at - 1, offset : offset + levels] // TRACE_ACTIONS
            resting = np.flatnonzero(codes == PLACED).tolist()
        if not resting:
            continue
        column = resting[0]
        if column + offset not in placements:
            actions = ladder[:, column + offset] % TRACE_ACTIONS
            placements[column + offset] = np.flatnonzero((actions == PLACE) | (actions == REPLACE))
        rows = placements[column + offset]
        placed = int(rows[rows.searchsorted(at) - 1])
        found = -side * (column + 1)
        line = level_price(centres[placed], spacings[placed], found)
        if abs(price[fill] - line) <= 0.5 * spacings[placed] * line:
            resting.pop(0)
            level[fill] = found
            spacing_pct[fill] = spacings[placed]
    return level, spacing_pct
