"""A run of a few weeks in which everything happens, for tests that need a real one."""

from functools import cache

from busy import busy

from feeds.synthetic import sample_market
from gridv4_bt.backtest import RunResult, SymbolData, make_cerebro, make_feeds, run

CONFIG = busy(levels=6, order_pct=0.2, k=1.5, floor_pct=0.006)


@cache
def small_run(*symbols: str) -> RunResult:
    """Three weeks of the sample market, traded under each of the names."""
    market = sample_market(days=21, start="2024-03-01")
    feeds = make_feeds([SymbolData(symbol, market.candles, market.funding) for symbol in symbols])
    return run(make_cerebro(feeds, CONFIG, 20_000.0))
