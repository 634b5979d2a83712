"""What a symbol's book knows of its feed."""

import itertools
import math
import statistics

import backtrader as bt
import pytest
from scripted import OTHER, TEST, candle_feed

from brokers.hedge import HedgeBroker

CLOSES = [100.0, 103.0, 99.0, 99.5, 104.0, 101.0, 98.0, 98.0, 102.5, 100.0, 97.0]


class Asking(bt.Strategy):
    """Writes down the volatility of a feed at every bar of the other one."""

    params = (("spans", (3,)),)

    def __init__(self):
        self.said = []

    def prenext(self):
        self.next()

    def next(self):
        book = next(one for one in self.broker.books if one.symbol == "OTHER")
        self.said.append([self.broker.sigma(book, span) for span in self.p.spans])

    def start(self):
        for data in self.datas:
            self.broker.state(data)


def said(options, spans, bars):
    cerebro = bt.Cerebro(stdstats=False, **options)
    cerebro.setbroker(HedgeBroker(markets={"TEST": TEST, "OTHER": OTHER}))
    cerebro.adddata(candle_feed([(100.0, 101.0, 99.0, 100.0)] * bars))
    cerebro.adddata(candle_feed([(close, close + 1.0, close - 1.0, close) for close in CLOSES], name="OTHER"))
    cerebro.addstrategy(Asking, spans=spans)
    [strategy] = cerebro.run()
    return strategy.said


def deviation(closes):
    """Return the sample deviation of the log returns of closes, 0 of fewer than two returns."""
    returns = [math.log(after / before) for before, after in itertools.pairwise(closes)]
    return statistics.stdev(returns) if len(returns) > 1 else 0.0


def test_volatility_is_of_the_closes_so_far():
    expected = [deviation(CLOSES[: bar + 1][-4:]) for bar in range(len(CLOSES))]
    # The feed asked about is over by two bars, and its last closes count on.
    expected += [expected[-1]] * 2
    assert [one for [one] in said({}, (3,), len(CLOSES) + 2)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("options", [{"runonce": False}, {"preload": False, "runonce": False}, {"exactbars": -1}])
@pytest.mark.parametrize("spans", [(2,), (3, 5), (40,)])
def test_volatility_of_bars_that_come_one_by_one_is_the_same_to_the_bit(options, spans):
    assert said(options, spans, len(CLOSES)) == said({}, spans, len(CLOSES))
