"""Trials in the compiled kernel, equal to those in Backtrader and many times as fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.optimise.cerebro import still_market
from gridv4_bt.optimise.figures import Evaluation, of_sweep
from gridv4_bt.optimise.sweeps import SweepMarket, sweep


@dataclass(frozen=True)
class SweptMarket:
    """Trials in the compiled kernel, equal to those in Backtrader."""

    market: SweepMarket
    cash: float

    @classmethod
    def of(cls, feed: CandleFeed, cash: float) -> SweptMarket:
        """Return the market of a feed."""
        return cls(SweepMarket.of(feed), cash)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        load_kernel()
        self.market.prepare(configs)

    def evaluate(self, config: GridConfig) -> Evaluation:
        [result] = sweep(self.market, [config], self.cash)
        return of_sweep(result)


@cache
def load_kernel() -> None:
    """Compile or load the kernel by a run of one day, so that the forks need not."""
    list(sweep(SweepMarket.of(still_market()), [GridConfig()]))
