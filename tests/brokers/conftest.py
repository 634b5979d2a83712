import backtrader as bt
import pytest
from scripted import Run, Scripted, candle_feed, new_cerebro


@pytest.fixture(scope="session")
def run():
    """Run a script (or a strategy class) over bars (or feeds) with a HedgeBroker."""

    def run_script(script, bars, *, broker=None, funding=None, analyzers=(), observers=(), **cerebro_options):
        feeds = bars if isinstance(bars[0], bt.AbstractDataBase) else [candle_feed(bars, funding=funding)]
        cerebro = new_cerebro(feeds, broker, **cerebro_options)
        if isinstance(script, type):
            cerebro.addstrategy(script)
        else:
            cerebro.addstrategy(Scripted, script=script)
        for analyzer, options in analyzers:
            cerebro.addanalyzer(analyzer, **options)
        for observer, options in observers:
            cerebro.addobserver(observer, **options)
        strategies = cerebro.run()
        return Run(cerebro, strategies[0], strategies)

    return run_script
