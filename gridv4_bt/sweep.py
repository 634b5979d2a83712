"""Many parameter sets over one market at compiled speed, for scripts: what `gridv4_bt.backtest` does for one.

    [feed] = make_feeds([SymbolData("BTCUSDT", candles, funding)])
    market = SweepMarket.of(feed)
    for result in sweep(market, configs, cash=10_000.0, threads=2):
        print(result.net_return, result.max_drawdown, result.by_label())

Every result equals the run in Backtrader with the same data, config and cash: the same trades, the same equity at every
bar. What cannot be swept (several symbols in one wallet, the inside of bars, strategies, brokers and analyzers of one's
own) is a run of `gridv4_bt.backtest`.
"""

from gridv4_bt.optimise.sweep_market import SweepMarket
from gridv4_bt.optimise.sweeps import SweepResult, check_sweepable, sweep

__all__ = ["SweepMarket", "SweepResult", "check_sweepable", "sweep"]
