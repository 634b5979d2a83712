"""The records of a run as plain arrays and tuples, which can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.mixture import STATES
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.packed_rows import PackedRows
from gridv4_bt.engine.types import ClosedTrade, Fill

_NOTHING = np.empty(0)


@dataclass
class SymbolRecord:
    """The record of one symbol."""

    symbol: str
    rules: str  #: dates and sources of the market's filters and brackets, those in force at the end
    bars: int  #: of the span, also those it warms up on; not those before it
    log: PackedRows | NDArray[np.float64]
    """Shape (bars traded, len(LOG_COLUMNS)); NaN what a strategy without a grid has not."""

    close: NDArray[np.float64]  #: close price at each row of the log; empty when the run kept no history
    ladder: PackedRows | NDArray[np.uint8]
    """Shape (bars traded, 2*levels): `trace` of `gridv4_bt.engine.ladder.plan_ladder`."""

    funding: NDArray[np.float64]  #: shape (settlements, 3): time, funding paid so far by open LONG, SHORT fills
    trades: list[ClosedTrade]  #: closings, in their order; see `gridv4_bt.metrics.trading.whole_trades`
    open_fills: list[tuple[str, Fill]] = field(default_factory=list)  #: positionSide and fill, left at the end
    halts: int = 0
    stops: int = 0
    margin_calls: int = 0
    min_liquidation_distance: float = float("inf")
    blocked: dict[str, int] = field(default_factory=dict)  #: level-bars without an order, by reason
    warnings: dict[str, int] = field(default_factory=dict)
    open: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `close`
    high: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `close`
    low: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `close`
    volume: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `close`, base units
    kama: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `close`; empty without a grid
    atr: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)  #: as `kama`
    settled: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)
    """Funding that one base unit held LONG pays at each row, quote; empty when the data brings no funding."""

    posteriors: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, len(STATES))))
    """Shape (bars traded, 5): how probable the mixture held each of `STATES` at the bar before, which is what step 1
    reads; empty without regime gmm."""

    synthetic_share: float = 0.0  #: share of the settlements whose rate is synthetic though the data bring funding
    departures: dict[str, float] = field(default_factory=dict)  #: defined parameters of another value than defined
    ticks: list[tuple[int, float]] = field(default_factory=list)  #: from when (ms) on which price step ruled

    def column(self, name: str, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return one column of the log by its name in `LOG_COLUMNS`, all of it or these rows."""
        return self.log[rows, LOG_COLUMNS.index(name)]

    def rows(self, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of the bar in which each time lies, -1 before the first."""
        return self.column("time").searchsorted(times_ms, side="right") - 1


@dataclass
class WalletRecord:
    """The shared wallet's totals at the end of a run, quote."""

    start: float
    wallet: float
    equity: float
    gross: float
    fees: float
    funding: float
    liquidations: int
    maker_executions: int
    taker_executions: int
    ambiguous_bars: int  #: in which the unknown order of prices decided what fills
    maker_fee: float = 0.0  #: fraction of the notional
    taker_fee: float = 0.0  #: fraction of the notional
    slippage: float = 0.0  #: of market orders, fraction of the price
