"""Backtrader's samples of brackets, OCO and trailing stops, rewritten from its documentation, at both brokers.

They agree where their rules are the same: bars without gaps, one bar to an event. Where the rules differ, a test with
the name that stands in the table of docs/backtrader.md shows both.
"""

import re
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest
from scripted import TEST, candle_feed, flat

from brokers.hedge import HedgeBroker

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backtrader.md"
LIMIT, STOP, TRAIL = bt.Order.Limit, bt.Order.Stop, bt.Order.StopTrail
FEE, CASH = 0.0004, 100_000.0
LOTS = replace(TEST, step=1.0, min_qty=1.0)


class Sample(bt.Strategy):
    """Keeps what was executed and what ended, by bar."""

    def start(self):
        self.executed, self.ended = defaultdict(float), []
        self.names = {}

    def name(self, **orders):
        self.names.update({order.ref: name for name, order in orders.items()})

    def notify_order(self, order):
        for bit in order.executed.iterpending():
            self.executed[len(order.data), round(bit.price, 6)] += bit.size
        if not order.alive():
            self.ended.append((len(order.data), self.names.get(order.ref), order.getstatusname()))


class BracketSample(Sample):
    """The bracket sample: after a cross an entry a little away, with a stop and a target about it."""

    params = (("side", 1), ("manual", False), ("away", 0.005), ("risk", 0.02))

    def __init__(self):
        self.cross = bt.indicators.CrossOver(bt.indicators.SMA(period=5), bt.indicators.SMA(period=15))
        self.last = []

    def next(self):
        if self.position or any(order.alive() for order in self.last) or self.cross[0] * self.p.side <= 0.0:
            return
        close, side = self.data.close[0], self.p.side
        price, stop, limit = (
            round(close * (1 + side * part), 2)
            for part in (-self.p.away, -self.p.away - self.p.risk, -self.p.away + self.p.risk)
        )
        valid, later = timedelta(hours=6), timedelta(days=10)
        if self.p.manual:
            first, second = (self.buy, self.sell) if side > 0 else (self.sell, self.buy)
            parent = first(exectype=LIMIT, price=price, size=10, valid=valid, transmit=False)
            low = second(exectype=STOP, price=stop, size=10, valid=later, parent=parent, transmit=False)
            high = second(exectype=LIMIT, price=limit, size=10, valid=later, parent=parent, transmit=True)
            self.last = [parent, low, high]
        else:
            bracket = self.buy_bracket if side > 0 else self.sell_bracket
            self.last = bracket(
                size=10, price=price, oargs={"valid": valid}, stopprice=stop, stopargs={"valid": later},
                limitprice=limit, limitargs={"valid": later},
            )  # fmt: skip


class OcoSample(Sample):
    """The OCO sample: three entries below the price with three ends, of which one is executed; sold after ten bars."""

    params = (("oco", True),)

    def __init__(self):
        self.cross = bt.indicators.CrossOver(bt.indicators.SMA(period=5), bt.indicators.SMA(period=15))
        self.last, self.since = [], None

    def notify_order(self, order):
        super().notify_order(order)
        if order.status == order.Completed:
            self.since = len(self.data) if order.isbuy() else None

    def next(self):
        if self.since is not None:
            if len(self.data) - self.since == 10:
                self.close()
        elif not any(order.alive() for order in self.last) and self.cross > 0.0:
            close = self.data.close[0]
            terms = [(0.99, 4), (0.985, 8), (0.98, 100)]
            prices = [(round(close * part, 2), timedelta(hours=hours)) for part, hours in terms]
            self.last = []
            for price, valid in prices:
                leader = self.last[0] if self.last else None
                self.last.append(self.buy(exectype=LIMIT, price=price, valid=valid, size=10, oco=leader))


class TrailSample(Sample):
    """The StopTrail sample: in after a cross, out by a trailing stop."""

    params = (("amount", 2.0), ("limit", False))

    def __init__(self):
        self.cross = bt.indicators.CrossOver(bt.indicators.SMA(period=5), bt.indicators.SMA(period=15))
        self.order = None

    def next(self):
        if not self.position and self.cross > 0.0:
            self.buy(size=10)
            self.order = None
        elif self.position and self.order is None:
            self.order = self.sell(size=10, exectype=TRAIL, trailamount=self.p.amount)


def walk(seed, bars=700, wicks=0.05):
    """Bars that open at the close before; wicks below, none above a rise."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.003, bars))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return list(zip(open_, np.round(high + wicks, 2), np.round(low - wicks, 2), close, strict=True))


def ran(broker, bars, strategy, **options):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(candle_feed(bars, funding=[(1, 0.0)]))
    cerebro.broker = broker
    cerebro.addstrategy(strategy, **options)
    return cerebro.run()[0]


def at_both(bars, strategy, fee=0.0, **options):
    """Return the strategy after a run at our broker and at Backtrader's."""
    ours = HedgeBroker(cash=CASH, leverage=1, slippage=0.0, maker_fee=fee, taker_fee=fee, markets={"TEST": LOTS})
    stock = bt.brokers.BackBroker(cash=CASH)
    stock.setcommission(commission=fee)
    return ran(ours, bars, strategy, **options), ran(stock, bars, strategy, **options)


SAMPLES = {
    "bracket": (BracketSample, {}, 0.05),
    "bracket, short": (BracketSample, {"side": -1}, 0.05),
    "bracket of single orders": (BracketSample, {"manual": True}, 0.05),
    "bracket of single orders, short": (BracketSample, {"manual": True, "side": -1}, 0.05),
    "oco": (OcoSample, {}, 0.05),
    "stop trail": (TrailSample, {}, 0.0),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_the_same_at_both_brokers(name):
    sample, options, wicks = SAMPLES[name]
    executed = 0
    for seed in range(3):
        ours, theirs = at_both(walk(seed, wicks=wicks), sample, FEE, **options)
        assert dict(ours.executed) == pytest.approx(dict(theirs.executed))
        assert sorted(map(str, ours.ended)) == sorted(map(str, theirs.ended))
        assert ours.broker.getvalue() == pytest.approx(theirs.broker.getvalue(), rel=1e-9)
        executed += len(ours.executed)
    assert executed > 15


# --- where the rules differ: (bars, what is done at bar 1), what Backtrader does, what we do


class Doing(Sample):
    params = (("script", None),)

    def next(self):
        if (action := self.p.script.get(len(self.data))) is not None:
            action(self)


def differ(bars, script):
    """Return what is executed, as (bar, price, size), at our broker and at Backtrader's."""
    ours, theirs = at_both(bars, Doing, script=script)
    return [sorted((*key, size) for key, size in one.executed.items()) for one in (ours, theirs)]


def bracket(**terms):
    terms = {"size": 1, "price": 99.0, "stopprice": 95.0, "limitprice": 105.0} | terms
    return {1: lambda s: s.buy_bracket(**terms)}


def held_with(**terms):
    return {1: lambda s: s.buy(size=1), 2: lambda s: s.sell(size=1, **terms)}


QUIET = (100, 100.5, 99.5, 100)


def test_stop_in_the_bar_of_the_entry():
    ours, theirs = differ([QUIET, (100, 101, 94, 97), (97, 98, 96, 97)], bracket())
    assert ours == [(2, 95.0, -1.0), (2, 99.0, 1.0)]
    assert theirs == [(2, 99.0, 1.0)]


def test_limit_child_at_its_price():
    ours, theirs = differ([QUIET, (100, 101, 98, 100), (108, 109, 107, 108)], bracket())
    assert ours == [(2, 99.0, 1.0), (3, 105.0, -1.0)]
    assert theirs == [(2, 99.0, 1.0), (3, 108.0, -1.0)]


def test_trailing_by_the_best_price():
    # the high of 104 moves the stop to 102, the close of 101 to 99
    bars = [QUIET, QUIET, (100, 104, 99.5, 102.5), (102.5, 103, 101.8, 102)]
    ours, theirs = differ(bars, held_with(exectype=TRAIL, trailamount=2.0))
    assert ours == [(2, 100.0, 1.0), (4, 102.0, -1.0)]
    assert theirs == [(2, 100.0, 1.0)]


def test_trailing_limit_one_bar_after_the_trigger():
    bars = [QUIET, QUIET, (100, 100, 97, 99), (99, 99, 97, 98)]
    terms = {"exectype": bt.Order.StopTrailLimit, "trailamount": 2.0, "price": 100.0, "plimit": 99.5}
    ours, theirs = differ(bars, held_with(**terms))
    assert ours == [(2, 100.0, 1.0), (4, 97.5, -1.0)]
    assert theirs == [(2, 100.0, 1.0), (3, 98.0, -1.0)]


def test_percent_on_the_tick():
    bars = [QUIET, QUIET, (100, 100, 98.66, 99)]
    ours, theirs = differ(bars, held_with(exectype=TRAIL, trailpercent=0.01333))
    assert ours == [(2, 100.0, 1.0), (3, 98.66, -1.0)]
    assert theirs == [(2, 100.0, 1.0), (3, 98.667, -1.0)]


def test_group_of_which_a_bar_reaches_two():
    def pair(strategy):
        first = strategy.buy(size=1, exectype=LIMIT, price=98.0)
        strategy.buy(size=1, exectype=STOP, price=104.0, oco=first)

    ours, theirs = differ([QUIET, (100, 105, 97, 100)], {1: pair})
    assert ours == [(2, 104.0, 1.0)]
    assert theirs == [(2, 98.0, 1.0)]


def test_child_whose_leg_is_gone():
    script = bracket() | {2: lambda s: s.sell(size=1)}
    ours, theirs = differ([QUIET, (100, 101, 98, 100), QUIET, (100, 101, 94, 96)], script)
    assert ours == [(2, 99.0, 1.0), (3, 100.0, -1.0)]
    assert theirs == [(2, 99.0, 1.0), (3, 100.0, -1.0), (4, 95.0, -1.0)]  # turns the position


def test_bracket_with_a_refused_child():
    # the stop of 99.5 lies through the entry of 99
    ours, theirs = differ([QUIET, (100, 101, 98, 99), (99, 99.2, 98.5, 99)], bracket(stopprice=99.5))
    assert ours == []
    assert theirs == [(2, 99.0, 1.0), (3, 99.0, -1.0)]


def test_trailing_child_from_its_parents_price():
    # 2 behind 99, where Backtrader has 2 behind the close of the order, 98 already when the parent is executed at 97
    terms = dict(price=97.0, stopprice=None, stopexec=TRAIL, stopargs={"trailamount": 2.0}, limitexec=None)
    ours, theirs = differ([QUIET, (100, 100, 96.5, 97), (97, 97, 96, 97)], bracket(**terms))
    assert ours == [(2, 97.0, 1.0)]
    assert theirs == [(2, 97.0, 1.0), (3, 97.0, -1.0)]


def test_child_of_a_parent_that_is_over():
    placed = []
    script = {
        1: lambda s: placed.append(s.buy(size=1)),
        3: lambda s: s.sell(size=1, exectype=STOP, price=95.0, parent=placed[-1]),
    }
    ours, theirs = at_both([*flat(3), (100, 101, 94, 96)], Doing, script=script)
    assert [status for *_, status in ours.ended] == ["Completed", "Rejected"]
    assert [status for *_, status in theirs.ended] == ["Completed"]  # accepted, and never met


def differences():
    return re.findall(r"^\| .+ \| .+ \| .+ \| .+ \| `(test_\w+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_difference_has_its_row_in_the_documentation():
    tests = {name for name in globals() if name.startswith("test_")}
    general = {"test_sample_is_the_same_at_both_brokers", "test_every_difference_has_its_row_in_the_documentation"}
    assert set(differences()) == tests - general
