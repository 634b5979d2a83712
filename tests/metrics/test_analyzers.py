"""The analyzers as a user adds them: to a grid, to a strategy of one's own, at another broker, in optstrategy."""

import inspect

import backtrader as bt
import numpy as np
import pytest
from busy import BUSY
from scripted import FREE, QUARTER, START_MS, TEST, candle_feed, flat

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.compat import FastStrategy
from gridv4_bt.metrics import analyzers as ours
from gridv4_bt.metrics.recorder import RunAnalyzer, RunRecorder
from strategies.grid_v4 import GridStrategyV4

BASES = (ours.RunAnalyzer, ours.GroupAnalyzer)
ALL = [kind for _, kind in inspect.getmembers(ours, inspect.isclass) if issubclass(kind, RunAnalyzer)]
ALL = [kind for kind in ALL if kind not in BASES]
DAYS = 15


def results(strategy) -> dict:
    return {kind.__name__: strategy.analyzers.getbyname(kind.__name__.lower()).get_analysis() for kind in ALL}


def watch(cerebro: bt.Cerebro) -> bt.Cerebro:
    for kind in ALL:
        cerebro.addanalyzer(kind)
    return cerebro


@pytest.fixture(scope="module")
def market():
    return sample_market(days=DAYS)


def grid_cerebro(market) -> bt.Cerebro:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=100_000.0))
    cerebro.adddata(CandleFeed(dataname=market.candles, funding=market.funding, name=SYMBOL))
    return watch(cerebro)


@pytest.fixture(scope="module")
def grid(market):
    cerebro = grid_cerebro(market)
    cerebro.addstrategy(GridStrategyV4, **BUSY | {"levels": 6})
    cerebro.addanalyzer(RunRecorder, _name="record")
    return cerebro.run()[0]


class Trader(bt.Strategy):
    """Buys at bars 2 and 4, closes the older one at bar 6."""

    def next(self):
        if len(self.data) in (2, 4):
            self.buy(size=1.0)
        if len(self.data) == 6:
            self.sell(size=1.0)


class FastTrader(FastStrategy):
    next = Trader.next


BARS = [*flat(4), *flat(2, 102.0), *flat(2, 101.0), *flat(2, 95.0)]


def trader(kind=Trader, broker=None, **options) -> bt.Strategy:
    cerebro = bt.Cerebro(stdstats=False, **options)
    cerebro.adddata(candle_feed(BARS, funding=[(4, 0.001)]))
    cerebro.setbroker(broker or HedgeBroker(cash=1_000.0, markets={"TEST": TEST}, **FREE))
    cerebro.addstrategy(kind)
    return watch(cerebro).run()[0]


def test_a_grid_has_an_analysis_of_everything(grid):
    found = results(grid)
    assert [name for name, analysis in found.items() if not analysis] == []
    closings, still_open = grid.analyzers.record.record.trades, grid.analyzers.record.record.open_fills
    ended = {trade.trade_id for trade in closings} - {fill.id for _, fill in still_open}
    assert sum(group["trades"] for group in found["RunSummary"]["by_label"].values()) == len(closings)
    assert found["RunSummary"]["trades"] == len(ended) > 5
    assert found["EquityDrawdown"]["equity"][-1] == pytest.approx(grid.broker.getvalue())


def test_with_a_grid_no_analyzer_is_called_while_bars_run(grid):
    assert all(analyzer.only_at_end for analyzer in grid.analyzers)


def test_the_summary_is_that_of_the_records(grid):
    recorder = grid.analyzers.record
    summary = ours.summarize_recording(recorder.recording)
    assert results(grid)["RunSummary"] == summary
    assert results(grid)["RiskRatios"] == summary["risk"]
    assert results(grid)["ProfitBreakdown"]["by_level"] == summary["levels"]


@pytest.mark.parametrize("kind", [Trader, FastTrader])
@pytest.mark.parametrize("options", [{}, {"runonce": False}, {"exactbars": 1}], ids=str)
def test_a_strategy_of_ones_own_has_all_but_the_grids_figures(kind, options):
    found = results(trader(kind, **options))
    equity = found["EquityDrawdown"]
    # Bought at 100 in bar 3 and at 102 in bar 5, funding of 0.1 % on 100 in bar 4, the older one sold at 101 in bar 7.
    values = [1_000.0] * 3 + [999.9] + [1_001.9] * 2 + [999.9] * 2 + [993.9] * 2
    assert equity["equity"] == pytest.approx(values)
    assert equity["time"].tolist() == [START_MS + QUARTER * bar for bar in range(10)]
    assert found["ProfitBreakdown"]["by_label"]["manual"]["net"] == pytest.approx(0.9)
    assert set(found["ProfitBreakdown"]) == {"by_label", "by_side"}
    assert found["FundingBySide"]["long"]["net"] == pytest.approx(0.1)
    assert found["HoldingTimes"]["all"]["mean"] == 1.0
    assert found["TradingActivity"]["fills"] == 2
    assert found["RunSummary"]["open_fills"] == 1
    for name in ("GridEfficiency", "PruningCost", "BlockedLevels"):
        assert found[name] == {}


def test_positions_and_margin_of_a_strategy_of_ones_own():
    found = results(trader())
    assert found["ExposureLevels"]["long"]["max"] == pytest.approx(204.0 / 1_001.9)
    assert found["ExposureLevels"]["held"] == pytest.approx(0.8)
    # maintenance is 1 % of the notional: highest with two units at 102
    assert found["MarginSafety"]["ratio"]["max"] == pytest.approx(2.04 / 1_001.9)
    assert found["RunSummary"]["max_margin_ratio"] == pytest.approx(2.04 / 1_001.9)
    assert found["AdverseSelection"]["long"]["after_1"] == pytest.approx((0.0 + 0.0) / 2)
    assert found["AdverseSelection"]["long"]["after_4"] == pytest.approx((-0.01 + 0.07 / 1.02) / 2)


def test_a_liquidation_price_is_seen_from_every_bar():
    class Deep(bt.Strategy):
        def next(self):
            if len(self.data) == 2:
                self.buy(size=40.0)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(candle_feed(flat(6)))
    cerebro.setbroker(HedgeBroker(cash=1_000.0, markets={"TEST": TEST}, **FREE))
    cerebro.addstrategy(Deep)
    found = watch(cerebro).run()[0].analyzers.marginsafety.get_analysis()
    # 1000 + 40*(p - 100) = 0.01*40*p at p = 3000/39.6
    assert found["distance"]["min"] == pytest.approx(1.0 - 3_000 / 39.6 / 100)
    assert found["priced"] == 1.0


def test_at_another_broker_there_are_the_figures_of_the_equity():
    found = results(trader(broker=bt.brokers.BackBroker(cash=1_000.0)))
    there = {name for name, analysis in found.items() if analysis}
    assert there == {
        "EquityDrawdown",
        "PassivbotMetrics",
        "RecoveryTimes",
        "ReturnsByPeriod",
        "RiskRatios",
        "RunSummary",
    }
    assert "win_rate" not in found["RunSummary"]


def test_two_symbols_of_one_strategy_are_told_apart():
    class Both(bt.Strategy):
        def next(self):
            if len(self) == 2:
                for data in self.datas:
                    self.buy(data=data, size=1.0)

    cerebro = bt.Cerebro(stdstats=False)
    for name in ("TEST", "OTHER"):
        cerebro.adddata(candle_feed(flat(6), name=name))
    cerebro.setbroker(HedgeBroker(cash=1_000.0, markets={"TEST": TEST}, **FREE))
    cerebro.addstrategy(Both)
    cerebro.addanalyzer(RunRecorder)
    strategy = watch(cerebro).run()[0]
    records = strategy.analyzers.runrecorder.recording.records
    assert [record.symbol for record in records] == ["TEST", "OTHER"]
    assert [record.column("long_qty").tolist() for record in records] == [[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]] * 2
    assert results(strategy)["ExposureLevels"]["long"]["max"] == pytest.approx(0.2)


def equal(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("processes", [1, 2])
def test_trials_of_optstrategy_have_the_analyses_of_direct_runs(market, grid, processes):
    cerebro = grid_cerebro(market)
    cerebro.optstrategy(GridStrategyV4, **BUSY | {"levels": [4, 6]})
    cerebro.addanalyzer(RunRecorder, _name="record")
    trials = [trial for (trial,) in cerebro.run(maxcpus=processes)]
    assert [trial.p.levels for trial in trials] == [4, 6]
    assert equal(results(trials[1]), results(grid))
    assert not equal(results(trials[0]), results(grid))
    again = ours.summarize_recording(trials[1].analyzers.record.recording)
    assert again == results(grid)["RunSummary"]


def test_a_run_that_ends_before_it_trades_has_analyses(market):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker())
    cerebro.adddata(CandleFeed(dataname=market.candles.iloc[:90], name=SYMBOL))
    cerebro.addstrategy(GridStrategyV4, **BUSY)
    found = results(watch(cerebro).run()[0])
    assert found["RiskRatios"] == found["PassivbotMetrics"] == {}
    assert (found["RunSummary"]["trades"], found["RunSummary"]["max_drawdown"]) == (0, 0.0)


def test_the_wallets_of_two_grids_are_one(market):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=100_000.0))
    for name, first in (("ONEUSDT", 0), ("TWOUSDT", 200)):
        cerebro.adddata(CandleFeed(dataname=market.candles.iloc[first:].reset_index(drop=True), name=name))
        cerebro.addstrategy(GridStrategyV4, symbol=name, **BUSY)
    one, two = watch(cerebro).run()
    ends = {results(strategy)["EquityDrawdown"]["equity"][-1] for strategy in (one, two)}
    assert ends == {one.broker.getvalue()}
    assert results(one)["RunSummary"]["symbols"] == ["ONEUSDT"]
