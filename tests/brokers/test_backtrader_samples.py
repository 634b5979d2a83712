"""Strategies as Backtrader's documentation writes them: its own broker and ours agree where their rules are the same.

That is without leverage and funding, with market orders at the next open, one fee, and lots of one coin.
"""

from collections import defaultdict
from dataclasses import replace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from scripted import OTHER, TEST, candle_feed

from brokers.hedge import HedgeBroker

FEE = 0.0004
CASH = 100_000.0
LOTS = {market.symbol: replace(market, step=1.0, min_qty=1.0) for market in (TEST, OTHER)}


def walk(bars, seed):
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, bars))), 2)
    open_ = np.round(np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0.0, 0.0005, bars)), 2)
    high, low = np.maximum(open_, close) + 0.05, np.minimum(open_, close) - 0.05
    return list(zip(open_, high, low, close, strict=True))


class Sample(bt.Strategy):
    """Keeps what was executed by bar, the equity at each bar and the net of all trades."""

    def start(self):
        self.executions, self.equity, self.ended = defaultdict(float), [], []

    def notify_order(self, order):
        for bit in order.executed.iterpending():
            self.executions[len(order.data), order.data._name, bit.price] += bit.size

    def notify_trade(self, trade):
        if trade.isclosed:
            self.ended.append(trade.pnlcomm)

    def note(self):
        self.equity.append(self.broker.getvalue())


class CrossOver(Sample):
    """The quickstart's: one order at a time, in and out by a moving average."""

    params = (("period", 15),)

    def __init__(self):
        self.sma = bt.indicators.SMA(self.data, period=self.p.period)
        self.order = None

    def notify_order(self, order):
        super().notify_order(order)
        if not order.alive():
            self.order = None

    def next(self):
        self.note()
        if self.order:
            return
        if not self.position:
            if self.data.close[0] > self.sma[0]:
                self.order = self.buy()
        elif self.data.close[0] < self.sma[0]:
            self.order = self.sell()


class Reversing(Sample):
    """Always in the market: a cross turns the position by closing it and opening the other in the same bar."""

    def __init__(self):
        self.cross = bt.indicators.CrossOver(bt.indicators.SMA(period=5), bt.indicators.SMA(period=20))

    def next(self):
        self.note()
        if self.cross > 0:
            if self.position:
                self.close()
            self.buy(size=30)
        elif self.cross < 0:
            if self.position:
                self.close()
            self.sell(size=30)


class ReversingBySize(Sample):
    """The same with one order of twice the size, by the reverser of the sizers."""

    def __init__(self):
        self.cross = bt.indicators.CrossOver(bt.indicators.SMA(period=5), bt.indicators.SMA(period=20))

    def next(self):
        self.note()
        if self.cross > 0:
            self.buy()
        elif self.cross < 0:
            self.sell()


class Target(Sample):
    """The order-target sample: up and down through a position, by the bar of the day."""

    params = (("kind", "size"), ("scale", 1.0), ("sides", 1))

    def next(self):
        self.note()
        step = len(self) % 40
        value = (20 - abs(step - 20)) * self.p.scale
        if self.p.sides == 2 and len(self) // 40 % 2:
            value = -value
        getattr(self, f"order_target_{self.p.kind}")(target=value)


class LongOnly(bt.Sizer):
    """The documentation's sizer that never sells short."""

    params = (("stake", 20),)

    def _getsizing(self, comminfo, cash, data, isbuy):
        if isbuy:
            return self.p.stake
        position = self.broker.getposition(data)
        return self.p.stake if position.size else 0


class ByPrice(Sample):
    """Buys and sells by the bar before, with the sizes of a sizer."""

    def next(self):
        self.note()
        if len(self) % 7 == 0:
            if self.data.close[0] > self.data.close[-1]:
                self.buy()
            else:
                self.sell()


class MultiData(Sample):
    """The multi-data sample: signals of the second feed are traded in the first, and the other way round."""

    def __init__(self):
        self.signals = [
            (self.data0, bt.indicators.CrossOver(self.data1, bt.indicators.SMA(self.data1, period=15))),
            (self.data1, bt.indicators.CrossOver(self.data0, bt.indicators.SMA(self.data0, period=10))),
        ]

    def next(self):
        self.note()
        for data, cross in self.signals:
            position = self.getposition(data)
            if cross > 0.0 and not position:
                self.buy(data=data, size=40)
            elif cross < 0.0 and position:
                self.close(data=data)


class Ranking(Sample):
    """A rebalance over all feeds: the stronger one is held, and the weaker one short."""

    def next(self):
        self.note()
        if len(self) % 25:
            return
        ranked = sorted(self.datas, key=lambda data: data.close[0] / data.close[-20])
        self.order_target_percent(ranked[0], target=-0.2)
        self.order_target_percent(ranked[-1], target=0.3)


SAMPLES = {
    "moving average": (CrossOver, {}, None),
    "moving average, ten lots": (CrossOver, {}, (bt.sizers.FixedSize, {"stake": 10})),
    "close and turn": (Reversing, {}, None),
    "turn by size": (ReversingBySize, {}, (bt.sizers.FixedReverser, {"stake": 25})),
    "target size": (Target, {"kind": "size", "scale": 5}, None),
    "target size of both sides": (Target, {"kind": "size", "scale": 5, "sides": 2}, None),
    "target value": (Target, {"kind": "value", "scale": 2_000.0}, None),
    "target value of both sides": (Target, {"kind": "value", "scale": 2_000.0, "sides": 2}, None),
    "target percent": (Target, {"kind": "percent", "scale": 0.02}, None),
    "target percent of both sides": (Target, {"kind": "percent", "scale": 0.02, "sides": 2}, None),
    "sizer of one's own": (ByPrice, {}, (LongOnly, {})),
    "percent sizer": (CrossOver, {}, (bt.sizers.PercentSizerInt, {"percents": 30})),
    "two feeds": (MultiData, {}, None),
    "ranking of two feeds": (Ranking, {}, None),
}


def ran(broker, sample, options, sizer):
    cerebro = bt.Cerebro(stdstats=False)
    for name, seed in (("TEST", 1), ("OTHER", 2)):
        cerebro.adddata(candle_feed(walk(600, seed), name=name, funding=[(1, 0.0)]))
    cerebro.broker = broker
    if sizer is not None:
        cerebro.addsizer(sizer[0], **sizer[1])
    cerebro.addstrategy(sample, **options)
    return cerebro.run()[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_the_same_at_both_brokers(name):
    ours = ran(
        HedgeBroker(cash=CASH, leverage=1, slippage=0.0, maker_fee=FEE, taker_fee=FEE, markets=LOTS), *SAMPLES[name]
    )
    stock = bt.brokers.BackBroker(cash=CASH)
    stock.setcommission(commission=FEE)
    theirs = ran(stock, *SAMPLES[name])
    assert dict(ours.executions) == pytest.approx(dict(theirs.executions))
    assert len(ours.executions) > 15
    assert ours.equity == pytest.approx(theirs.equity, rel=1e-9)
    assert pd.Series(ours.equity).std() > 1.0
    positions = [[strategy.getposition(data).size for data in strategy.datas] for strategy in (ours, theirs)]
    assert positions[0] == positions[1]
