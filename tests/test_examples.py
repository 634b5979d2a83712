"""The strategies of examples/ on the sample market: they trade as they say, and nothing is held without a stop."""

from datetime import date
from pathlib import Path

import backtrader as bt
import pytest

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.own_strategy import load_strategy

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CASES = {
    "moving_average_cross.py:MovingAverageCross": {"fast": 24, "slow": 96},
    "hedged_holding.py:HedgedHolding": {"average": 480},
    "funding_harvester.py:FundingHarvester": {"large": 0.0002},
}


class Unprotected(bt.Analyzer):
    """The bars, of those after an entry's, at whose end a leg is held without a stop."""

    def start(self):
        self.found, self.before = [], {}

    def next(self):
        broker, data = self.strategy.broker, self.strategy.data
        stops = {one.isbuy() for one in broker.get_orders_open() if one.exectype == bt.Order.Stop}
        leaving = {one.isbuy() for one in broker.get_orders_open() if one.exectype == bt.Order.Market}
        for side in PositionSide:
            held = broker.getposition(data, side).size != 0
            closing = side is PositionSide.SHORT  # a buy
            if held and closing not in stops | leaving:
                self.found.append((len(self.strategy), side.name))


def run_example(name, until="2024-04-30"):
    market = sample_market()
    own = load_strategy(f"{EXAMPLES}/{name}").with_values(CASES[name])
    feeds = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)], end=date.fromisoformat(until), warm_up=0)
    cerebro = make_cerebro(feeds, GridConfig(), 10_000.0, own=own)
    cerebro.addanalyzer(Unprotected, _name="unprotected")
    result = run(cerebro, own)
    return result, cerebro.runstrats[0][0]


@pytest.fixture(scope="module", params=CASES)
def example(request):
    return request.param, *run_example(request.param)


def test_it_trades_and_the_summary_names_it(example):
    name, result, _ = example
    assert result.summary["strategy"] == name.rpartition(":")[2]
    assert result.summary["trades"] >= 3


def test_nothing_is_ever_held_without_a_stop(example):
    *_, strategy = example
    assert strategy.analyzers.unprotected.found == []


def test_the_cross_trades_one_leg():
    result, _ = run_example("moving_average_cross.py:MovingAverageCross")
    assert {trade.side for trade in result.records[0].trades} == {PositionSide.LONG}


def test_the_hedge_is_as_large_as_what_it_hedges():
    result, strategy = run_example("hedged_holding.py:HedgedHolding")
    [record] = result.records
    long, short = record.column("long_qty"), record.column("short_qty")
    both = (long > 0.0) & (short > 0.0)
    assert both.any() and (~both & (long > 0.0)).any()
    assert short[both] == pytest.approx(long[both])


def test_the_harvester_holds_the_side_that_receives():
    result, _ = run_example("funding_harvester.py:FundingHarvester")
    assert result.summary["funding"] < 0.0  # received, all in all
