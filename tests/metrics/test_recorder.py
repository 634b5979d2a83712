"""The recorder takes over what strategy and feeds keep, without a second copy of it."""

import backtrader as bt
import numpy as np
import pytest
from busy import BUSY

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.metrics.recorder import RunRecorder
from strategies.grid_v4 import GridStrategyV4


@pytest.fixture(scope="module")
def cerebro():
    market = sample_market(days=8)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=100_000.0))
    cerebro.adddata(CandleFeed(dataname=market.candles, funding=market.funding, name=SYMBOL))
    cerebro.addstrategy(GridStrategyV4, **BUSY | {"levels": 6})
    cerebro.addanalyzer(RunRecorder, _name="record")
    return cerebro


def kept(record) -> list[np.ndarray]:
    """Return what a record has of every bar."""
    return [record.log, record.ladder, record.close, record.high, record.volume, record.kama, record.atr]


def test_log_and_prices_are_those_of_strategy_and_feed_and_take_no_memory_of_their_own(cerebro):
    [strategy] = cerebro.run()
    record = strategy.analyzers.record.record
    rows = len(record.log)
    assert record.log is strategy.log and record.ladder is strategy.plan.trace
    assert strategy.log.last()[0] == record.column("time")[-1]
    assert strategy.data.close.array[-rows:].tolist() == record.close.tolist()
    assert strategy.kama.array[-rows:].tolist() == record.kama.tolist()
    assert not any(values.flags.owndata for values in kept(record)[2:])
    assert not any(values.flags.writeable for values in kept(record)[2:])


def test_a_second_run_leaves_the_record_of_the_first_as_it_was(cerebro):
    [first] = cerebro.run()
    record = first.analyzers.record.record
    before = [np.array(values) for values in kept(record)]
    cerebro.broker.setcash(50_000.0)
    [second] = cerebro.run()
    assert second.analyzers.record.record.column("wallet")[0] < record.column("wallet")[0]
    assert all(np.array_equal(now, then) for now, then in zip(kept(record), before, strict=True))
