"""Trials in the compiled kernel, equal to those in Backtrader and many times as fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.optimise.cerebro import still_market
from gridv4_bt.optimise.figures import Evaluation, of_sweep
from gridv4_bt.optimise.sweep_wallet import SweepWallet
from gridv4_bt.optimise.sweeps import SweepMarket, sweep


@dataclass(frozen=True)
class SweptMarket:
    """Trials in the compiled kernel, equal to those in Backtrader."""

    wallet: SweepWallet
    cash: float

    @classmethod
    def of(cls, feeds: Sequence[CandleFeed], cash: float) -> SweptMarket:
        """Return the market of the feeds that one wallet trades."""
        return cls(SweepWallet.of([SweepMarket.of(feed) for feed in feeds]), cash)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        load_kernel(len(self.wallet.markets) > 1)
        self.wallet.prepare(configs)

    def evaluate(self, config: GridConfig) -> Evaluation:
        [result] = sweep(self.wallet, [config], self.cash)
        return of_sweep(result)


@cache
def load_kernel(several: bool) -> None:
    """Compile or load the kernel for one symbol or several by a run of one day, so that the forks need not."""
    market = SweepMarket.of(still_market())
    others = [replace(market, symbol=f"{market.symbol}2")] if several else []
    list(sweep([market, *others], [GridConfig()]))
