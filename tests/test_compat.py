"""What is adapted in Backtrader changes no result."""

import datetime as dt
import itertools
import pickle
import warnings

import backtrader as bt
import pandas as pd
import pytest
from scripted import START, candle_feed, flat

from gridv4_bt.compat import Count, FastCerebro, FastIndicator, FastStrategy, LineReader, UtcDatetime, product

BARS = [(100.0 + i, 103.0 + i, 98.0 + i, 101.0 + i, 10.0 * i + 1.0) for i in range(12)]


class Reading(bt.Strategy):
    """Compares what readers say with the lines themselves, at bars of its choice."""

    params = (("skip", ()),)

    def __init__(self):
        bt.indicators.SimpleMovingAverage(self.data.close, period=2)  # `next` from bar 2 on

    def start(self):
        lines = self.data.lines
        self.reader = LineReader(lines.open, lines.close, lines.volume, before=[lines.close])
        self.read = []

    def next(self):
        data = self.data
        if len(data) in self.p.skip:
            return
        self.read.append(len(data))
        assert self.reader.read() == (data.open[0], data.close[0], data.volume[0], data.close[-1])


@pytest.mark.parametrize("mode", [{}, {"runonce": False}, {"preload": False}, {"exactbars": 1}, {"exactbars": -1}])
@pytest.mark.parametrize("skip", [(), (2, 3, 6, 9, 10)])
def test_reader_says_what_the_lines_say_also_after_bars_it_did_not_see(mode, skip):
    cerebro = bt.Cerebro(stdstats=False, **mode)
    cerebro.adddata(candle_feed(BARS))
    cerebro.addstrategy(Reading, skip=skip)
    [strategy] = cerebro.run()
    assert strategy.read == [number for number in range(2, len(BARS) + 1) if number not in skip]


class Computed(FastIndicator):
    """Counts how often it has computed, as one with a memory would go on from bar to bar."""

    lines = ("times",)
    count = 0

    def next(self):
        self.count += 1
        self.lines.times[0] = self.count

    def once(self, start, end):
        for bar in range(start, end):
            self.count += 1
            self.lines.times.array[bar] = self.count


class Computing(bt.Strategy):
    def __init__(self):
        self.made = [Computed(data) for data in self.datas]
        self.seen = [{} for _ in self.datas]

    def prenext(self):
        for made, data, seen in zip(self.made, self.datas, self.seen, strict=True):
            if len(data):
                seen[len(data)] = made[0]

    next = prenext


# With exactbars=1 Backtrader itself fails on feeds that begin at different times.
@pytest.mark.parametrize("mode", [{}, {"runonce": False}, {"preload": False}, {"exactbars": -1}])
def test_an_indicator_computes_a_bar_once_however_often_another_feed_moves_on(mode):
    cerebro = bt.Cerebro(stdstats=False, **mode)
    for name, hours in (("EARLY", 0), ("LATE", 1)):  # twelve bars each, of which eight are of both
        cerebro.adddata(candle_feed(BARS, name, start=START + pd.Timedelta(hours=hours)))
    cerebro.addstrategy(Computing)
    [strategy] = cerebro.run()
    assert strategy.seen == [{bar: bar for bar in range(1, len(BARS) + 1)}] * 2


def test_reader_asked_twice_at_a_bar_says_the_same():
    class Twice(bt.Strategy):
        def next(self):
            if len(self) == 1:
                self.reader = LineReader(self.data.lines.close)
            assert self.reader.read() == self.reader.read() == (self.data.close[0],)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(candle_feed(BARS))
    cerebro.addstrategy(Twice)
    cerebro.run()


class Events(FastStrategy):
    """Writes down all that Cerebro tells it."""

    def __init__(self):
        self.sma = bt.indicators.SimpleMovingAverage(self.data.close, period=3)
        self.seen = []

    def start(self):
        if self.cerebro.p.cheat_on_open:
            self.add_timer(when=dt.time(1, 0), cheat=True)

    def next_open(self):
        self.seen.append(("open", len(self)))

    def notify_timer(self, timer, when, *args, **kwargs):
        self.seen.append(("timer", len(self)))

    def notify_cashvalue(self, cash, value):
        self.seen.append(("cash", cash, value))

    def prenext(self):
        self.seen.append(("prenext", len(self)))

    def next(self):
        if len(self) == 4:
            self.buy(size=1.0)
        at = [(len(data), data.datetime[0], data.close[0]) for data in self.datas]
        self.seen.append((len(self), self.datetime[0], at, self.sma[0]))

    def notify_order(self, order):
        self.seen.append(("order", order.status, order.executed.price))


def events(cerebro, feeds, *observers):
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.addstrategy(Events)
    for observer in observers:
        cerebro.addobserver(observer)
    [strategy] = cerebro.run()
    return strategy.seen


@pytest.mark.parametrize("observers", [(), (bt.observers.Broker, bt.observers.BuySell)])
@pytest.mark.parametrize("options", [{}, {"cheat_on_open": True}])
def test_fast_cerebro_tells_a_strategy_the_same_in_the_same_order(options, observers):
    def feeds(count):
        later = [(open_ + 50.0, high + 50.0, low + 50.0, close + 50.0, 5.0) for open_, high, low, close, _ in BARS]
        hours = candle_feed(later, name="HOURS")
        hours.resample(timeframe=bt.TimeFrame.Minutes, compression=60)
        begun = START + dt.timedelta(minutes=45)  # three bars later, and it ends four bars later
        late = candle_feed(later, name="LATE", start=begun)
        return [candle_feed(BARS), candle_feed(flat(9), name="SHORT"), late, hours][:count]

    for count in (1, 2, 3, 4):
        plain = events(bt.Cerebro(stdstats=False, **options), feeds(count), *observers)
        assert events(FastCerebro(stdstats=False, **options), feeds(count), *observers) == plain
        assert any(event[0] == "order" for event in plain)


def test_fast_cerebro_stops_when_told():
    class Stopping(FastStrategy):
        def next(self):
            if len(self) == 3:
                self.env.runstop()

    cerebro = FastCerebro(stdstats=False)
    cerebro.adddata(candle_feed(BARS))
    cerebro.addstrategy(Stopping)
    [strategy] = cerebro.run()
    assert len(strategy) == 3


# --- a Python newer than Backtrader --------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1_700_000_000.25])
def test_the_deprecated_clock_says_what_it_has_always_said(seconds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = dt.datetime.utcfromtimestamp(seconds)
        now = dt.datetime.utcnow()
    assert UtcDatetime.utcfromtimestamp(seconds) == expected
    assert abs(UtcDatetime.utcnow() - now) < dt.timedelta(minutes=1)
    assert type(UtcDatetime.utcnow()) is dt.datetime


def test_counts_and_combinations_go_on_where_they_were_pickled():
    count = Count(3)
    assert [next(count), next(count)] == [3, 4]
    assert next(pickle.loads(pickle.dumps(count))) == 5
    pairs = product("ab", [1, 2])
    next(pairs)
    assert list(pickle.loads(pickle.dumps(pairs))) == list(itertools.product("ab", [1, 2]))[1:]
