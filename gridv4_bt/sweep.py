"""Many parameter sets over one market, or several in one wallet, at compiled speed, for scripts.

    [feed] = make_feeds([SymbolData("BTCUSDT", candles, funding)])
    market = SweepMarket.of(feed)
    for result in sweep(market, configs, cash=10_000.0, threads=2):
        print(result.net_return, result.max_drawdown, result.label_trades)

Several symbols share one wallet in `sweep(SweepWallet.of([btc, eth]), configs)`. Every result equals the run in
Backtrader with the same data, config and cash: the same trades, the same equity at every bar. What cannot be swept (the
inside of bars, strategies, brokers and analyzers of one's own) is a run of `gridv4_bt.backtest`.
"""

from gridv4_bt.optimise.sweep_market import SweepMarket
from gridv4_bt.optimise.sweep_wallet import SweepWallet
from gridv4_bt.optimise.sweeps import SweepResult, SymbolResult, check_sweepable, sweep

__all__ = ["SweepMarket", "SweepResult", "SweepWallet", "SymbolResult", "check_sweepable", "sweep"]
