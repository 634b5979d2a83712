"""Longer bars out of bars that are named by their opening: the exchange's hours, seen when they are over."""

from datetime import datetime, timedelta

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from scripted import FREE, START, candle_feed, candle_frame, new_cerebro

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.errors import ConfigError

MINUTES, DAYS, WEEKS, MONTHS, YEARS = (
    bt.TimeFrame.Minutes, bt.TimeFrame.Days, bt.TimeFrame.Weeks, bt.TimeFrame.Months, bt.TimeFrame.Years,
)  # fmt: skip
QUARTER = timedelta(minutes=15)
FIELDS = ["open", "high", "low", "close", "volume"]


def walk(bars, start=START, seed=1):
    """Candles of a random walk, as a frame."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 + np.cumsum(rng.normal(0.0, 0.3, bars)), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close) + 0.1, np.minimum(open_, close) - 0.1
    return candle_frame(list(zip(open_, high, low, close, rng.integers(1, 9, bars).astype(float), strict=True)), start)


def oracle(frame, rule):
    """The longer bars of pandas, by their opening; only those that the candles cover whole."""
    indexed = frame.set_index(frame["time"].dt.tz_localize(None))
    columns = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return indexed.resample(rule, label="left", closed="left").agg(columns)


class Watching(bt.Strategy):
    """Keeps, at each of its bars, the time of the first feed and the bar of the last one."""

    def __init__(self):
        self.seen = []

    def prenext(self):
        self.next()

    def next(self):
        data = self.datas[-1]
        if len(data) and len(self.data):
            row = [getattr(data, name)[0] for name in FIELDS]
            self.seen.append((self.data.datetime.datetime(0), data.datetime.datetime(0), row))


def watched(cerebro):
    cerebro.addstrategy(Watching)
    return cerebro.run()[0].seen


def by_copy(frame, timeframe, compression, **options):
    cerebro = bt.Cerebro(stdstats=False, **options)
    feed = CandleFeed(dataname=frame, name="TEST")
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=timeframe, compression=compression)
    return watched(cerebro)


def by_feed(frame, timeframe, compression, **options):
    """Two feeds of the same candles, one of them resampled: that runs vectorised, with all bars loaded."""
    cerebro = bt.Cerebro(stdstats=False, **options)
    cerebro.adddata(CandleFeed(dataname=frame, name="TEST"))
    longer = CandleFeed(dataname=frame, name="LONGER")
    longer.resample(timeframe=timeframe, compression=compression)
    cerebro.adddata(longer)
    return watched(cerebro)


@pytest.mark.parametrize(
    ("way", "options"),
    [
        *[(way, options) for way in (by_copy, by_feed) for options in ({}, {"runonce": False}, {"preload": False})],
        (by_copy, {"exactbars": 1}),
    ],
)
@pytest.mark.parametrize(
    ("timeframe", "compression", "rule"),
    [(MINUTES, 60, "1h"), (MINUTES, 30, "30min"), (MINUTES, 240, "4h"), (MINUTES, 1440, "1D"), (DAYS, 1, "1D")],
)
def test_longer_bar_is_seen_with_the_last_bar_within_it_and_named_by_its_opening(
    way, timeframe, compression, rule, options
):
    frame = walk(600)
    true = oracle(frame, rule)
    length = pd.Timedelta(rule).to_pytimedelta()
    seen = way(frame, timeframe, compression, **options)
    assert len(seen) == 600 - length // QUARTER + 1
    for now, name, row in seen:
        closed = now + QUARTER
        last = datetime.combine(closed.date(), datetime.min.time())
        last += (closed - last) // length * length - length  # the last longer bar that is over now
        assert name == last
        assert row == pytest.approx(true.loc[name].tolist())


@pytest.mark.parametrize("options", [{}, {"runonce": False}])
def test_hours_may_be_made_of_a_market_that_is_resampled_itself(options):
    frame = walk(200)
    cerebro = bt.Cerebro(stdstats=False, **options)
    feed = CandleFeed(dataname=frame, name="TEST")
    cerebro.resampledata(feed, timeframe=MINUTES, compression=30)
    cerebro.resampledata(feed, timeframe=MINUTES, compression=60)
    true = oracle(frame, "1h")
    seen = watched(cerebro)
    assert len(seen) == 99
    for now, name, row in seen:
        assert name == (now + timedelta(minutes=30)).replace(minute=0) - timedelta(hours=1)
        assert row == pytest.approx(true.loc[name].tolist())


@pytest.mark.parametrize(
    ("timeframe", "rule", "first"),
    [(WEEKS, "W-MON", datetime(2024, 1, 1)), (MONTHS, "MS", datetime(2024, 1, 1)), (YEARS, "YS", None)],
)
def test_weeks_begin_on_monday_and_months_on_the_first(timeframe, rule, first):
    frame = walk(96 * 65)  # to the 5th of March
    rows = {name: row for _, name, row in by_copy(frame, timeframe, 1)}
    if first is None:
        assert rows == {}  # the year is not over
        return
    true = oracle(frame, rule).iloc[: len(rows)]
    assert min(rows) == first
    assert len(rows) == (9 if timeframe == WEEKS else 2)
    for name, row in true.iterrows():
        assert rows[name.to_pydatetime()] == pytest.approx(row.tolist())


def test_bars_that_the_candles_cover_only_in_part_are_left_out():
    frame = walk(20, start=START + pd.Timedelta(minutes=30))  # 00:30 to 05:15
    assert sorted({name.hour for _, name, _ in by_copy(frame, MINUTES, 60)}) == [1, 2, 3, 4]


def test_hours_of_a_symbol_that_starts_later_are_not_seen_before_their_time():
    early, late = walk(40), walk(20, start=START + pd.Timedelta(minutes=45), seed=2)
    for preload in (True, False):
        cerebro = bt.Cerebro(stdstats=False, preload=preload)
        cerebro.adddata(CandleFeed(dataname=early, name="EARLY"))
        longer = CandleFeed(dataname=late, name="LATE")
        longer.resample(timeframe=MINUTES, compression=60)
        cerebro.adddata(longer)
        for now, name, _ in watched(cerebro):
            assert name + timedelta(hours=1) <= now + QUARTER or now == START.to_pydatetime().replace(tzinfo=None)


def test_second_run_of_the_same_cerebro_gives_the_same_hours():
    cerebro = bt.Cerebro(stdstats=False)
    feed = CandleFeed(dataname=walk(90), name="TEST")
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=MINUTES, compression=60)
    cerebro.addstrategy(Watching)
    assert cerebro.run()[0].seen == cerebro.run()[0].seen


# --- a resampled market


class Holding(bt.Strategy):
    def next(self):
        if len(self) == 1:
            self.buy(size=1.0)


def test_market_of_hours_is_matched_by_them_and_pays_their_funding():
    # 1 % at 02:00 and at 02:30: bars 9 and 11; bought at 01:00
    frame = walk(24)
    cerebro = new_cerebro([], FREE)
    funding = pd.DataFrame({"time": [START + pd.Timedelta(hours=h) for h in (2, 2.5)], "rate": [0.01, 0.01]})
    mark = frame[["time", "open", "high", "low", "close"]]
    cerebro.resampledata(
        CandleFeed(dataname=frame, name="TEST", funding=funding, mark=mark), timeframe=MINUTES, compression=60
    )
    cerebro.addstrategy(Holding)
    [strategy] = cerebro.run()
    hours = oracle(frame, "1h")
    [fill] = cerebro.broker.leg(strategy.data, 1).tracker.fills
    assert fill.price == hours["open"].iloc[1]
    assert fill.funding == pytest.approx(0.02 * hours["open"].iloc[2])
    extremes = strategy.data.mark_high[0], strategy.data.mark_low[0]
    assert extremes == (hours["high"].iloc[-1], hours["low"].iloc[-1])


def test_bars_that_a_sweep_reads_of_a_resampled_feed_are_the_hours():
    feed = CandleFeed(dataname=walk(24), name="TEST")
    feed.resample(timeframe=MINUTES, compression=60)
    times = pd.to_datetime(feed.bars()["time"], unit="ms")
    assert list(times) == list(oracle(walk(24), "1h").index)


# --- data for signals is no market


class Trading(bt.Strategy):
    def __init__(self):
        self.positions_seen = []

    def next(self):
        self.positions_seen.append([self.getposition(data).size for data in self.datas])
        if len(self.data) == 8:
            self.buy(size=1.0)


def signalling(make):
    cerebro = new_cerebro([], FREE)
    feed = CandleFeed(dataname=walk(24), name="TEST")
    cerebro.adddata(feed)
    getattr(cerebro, make)(feed, timeframe=MINUTES, compression=60)
    return cerebro


@pytest.mark.parametrize("make", ["resampledata", "replaydata"])
def test_copy_for_signals_has_no_position_and_no_book(make):
    cerebro = signalling(make)
    cerebro.addstrategy(Trading)
    [strategy] = cerebro.run()
    assert strategy.positions_seen[-1] == [1.0, 0.0]
    assert [book.symbol for book in cerebro.broker.books] == ["TEST"]


def test_order_on_a_copy_for_signals_names_the_feed_to_trade():
    cerebro = signalling("resampledata")

    class OnTheCopy(bt.Strategy):
        def next(self):
            self.buy(data=self.data1, size=1.0)

    cerebro.addstrategy(OnTheCopy)
    with pytest.raises(ConfigError, match="copy for signals and no market of its own: trade the feed of TEST"):
        cerebro.run()


@pytest.mark.parametrize("first", [0, 1])
def test_feed_that_is_resampled_beside_that_of_its_symbol_is_no_market_either(first):
    cerebro = new_cerebro([], FREE)
    longer = CandleFeed(dataname=walk(24), name="TEST")
    longer.resample(timeframe=MINUTES, compression=60)
    for feed in (CandleFeed(dataname=walk(24), name="TEST"), longer):
        cerebro.adddata(feed)

    class LookingAtAll(bt.Strategy):
        def next(self):
            for place in (first, 1 - first):
                self.getposition(self.datas[place])
            if len(self.data) == 8:
                self.buy(data=self.datas[first], size=1.0)

    cerebro.addstrategy(LookingAtAll)
    if first == 1:
        with pytest.raises(ConfigError, match="no market of its own"):
            cerebro.run()
        return
    [strategy] = cerebro.run()
    assert [strategy.getposition(data).size for data in strategy.datas] == [1.0, 0.0]


# --- replay


class Replayed(bt.Strategy):
    """Orders at a certain tick and keeps the growing bars."""

    def __init__(self):
        self.bars, self.fills = [], []

    def next(self):
        now = self.data.datetime.datetime(0)
        self.bars.append((now, len(self.data), [getattr(self.data, name)[0] for name in FIELDS]))
        if now.hour == 2 and now.minute == 15:
            self.buy(size=1.0)
            self.buy(size=2.0, exectype=bt.Order.Limit, price=round(self.data.close[0] - 0.5, 1))

    def notify_order(self, order):
        if order.status == order.Completed:
            self.fills.append((self.data.datetime.datetime(0), order.executed.size, order.executed.price))


def replayed(frame, broker):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.replaydata(CandleFeed(dataname=frame, name="BTCUSDT"), timeframe=MINUTES, compression=60)
    cerebro.setbroker(broker)
    cerebro.addstrategy(Replayed)
    return cerebro.run()[0]


def test_replayed_hour_grows_by_each_bar_and_ends_with_the_exchanges_hour():
    frame = walk(96)
    strategy = replayed(frame, HedgeBroker())
    indexed = frame.set_index(frame["time"].dt.tz_localize(None))
    assert [now for now, _, _ in strategy.bars] == list(indexed.index)
    for now, length, row in strategy.bars:
        part = indexed[(indexed.index >= now.replace(minute=0)) & (indexed.index <= now)]
        assert length == now.hour + 1
        expected = [part.open.iloc[0], part.high.max(), part.low.min(), part.close.iloc[-1], part.volume.sum()]
        assert row == pytest.approx(expected)


def test_orders_meet_the_next_tick_as_with_backtraders_broker():
    frame = walk(96, seed=3)
    ours = replayed(frame, HedgeBroker(slippage=0.0, cash=100_000.0)).fills
    stock = replayed(frame, bt.brokers.BackBroker(cash=100_000.0)).fills
    assert len(ours) == 2
    assert [fill[:2] for fill in ours] == [fill[:2] for fill in stock]
    tick = frame.iloc[10]  # 02:30
    assert ours[0] == (tick["time"].to_pydatetime().replace(tzinfo=None), 1.0, tick["open"])


def test_touch_within_a_replayed_hour_fills():
    # the second quarter dips to 95 and comes back
    bars = [(100, 101, 99, 100)] * 4 + [(100, 101, 99, 100), (100, 101, 95, 100), *[(100, 101, 99, 100)] * 6]
    cerebro = new_cerebro([], FREE)
    cerebro.replaydata(candle_feed(bars), timeframe=MINUTES, compression=60)
    fills = []

    class Resting(bt.Strategy):
        def next(self):
            if len(fills) == 0 and len(self.broker.get_orders_open()) == 0:
                self.buy(size=1.0, exectype=bt.Order.Limit, price=96.0)

        def notify_order(self, order):
            if order.status == order.Completed:
                fills.append((self.data.datetime.datetime(0).strftime("%H:%M"), order.executed.price))

    cerebro.addstrategy(Resting)
    cerebro.run()
    assert fills == [("01:15", 96.0)]


def test_replayed_market_pays_funding_at_the_tick_of_its_settlement():
    cerebro = new_cerebro([], FREE)
    feed = candle_feed([(100, 101, 99, 100)] * 12, funding=[(7, 0.01)])  # 01:30
    cerebro.replaydata(feed, timeframe=MINUTES, compression=60)
    paid = []

    class Paying(bt.Strategy):
        def next(self):
            if len(paid) == 0:
                self.buy(size=1.0)
            paid.append(self.broker.account.funding)

    cerebro.addstrategy(Paying)
    cerebro.run()
    assert paid == [0.0] * 6 + [1.0] * 6


# --- refused

REFUSED = {
    "no part of a day": (dict(timeframe=MINUTES, compression=50), "a day has no whole number of them"),
    "no multiple": (dict(timeframe=MINUTES, compression=20), "cannot be made of bars of 15 minutes"),
    "three days": (dict(timeframe=DAYS, compression=3), "come one at a time"),
    "seconds": (dict(timeframe=bt.TimeFrame.Seconds, compression=30), "shorter than the feed's bars"),
    "the right edge": (dict(timeframe=MINUTES, compression=60, rightedge=True), "named by its opening"),
    "no edges": (dict(timeframe=MINUTES, compression=60, bar2edge=False), "the exchange's bounds"),
    "shifted": (dict(timeframe=MINUTES, compression=60, boundoff=5), "the exchange's bounds"),
}


@pytest.mark.parametrize("make", ["resampledata", "replaydata"])
@pytest.mark.parametrize("case", REFUSED)
def test_bars_that_the_exchange_does_not_have_are_refused(case, make):
    options, words = REFUSED[case]
    with pytest.raises(ConfigError, match=words):
        getattr(bt.Cerebro(), make)(candle_feed([(100, 101, 99, 100)] * 4), **options)


def test_what_is_the_rule_anyway_may_be_asked_for():
    feed = candle_feed([(100, 101, 99, 100)] * 4)
    bt.Cerebro().resampledata(feed, timeframe=MINUTES, compression=60, bar2edge=True, rightedge=False)


def test_replayed_bars_and_weeks_are_not_put_together_further():
    for make, options, words in (
        ("replaydata", dict(timeframe=MINUTES, compression=30), "is replayed"),
        ("resampledata", dict(timeframe=WEEKS, compression=1), "resample the feed of the file"),
    ):
        cerebro = bt.Cerebro()
        feed = candle_feed([(100, 101, 99, 100)] * 4)
        getattr(cerebro, make)(feed, **options)
        with pytest.raises(ConfigError, match=words):
            cerebro.resampledata(feed, timeframe=MONTHS, compression=1)


def test_feed_is_resampled_once():
    feed = candle_feed([(100, 101, 99, 100)] * 4)
    feed.resample(timeframe=MINUTES, compression=30)
    with pytest.raises(ConfigError, match="resampled already"):
        feed.replay(timeframe=MINUTES, compression=60)


def test_old_order_of_feeds_is_refused():
    cerebro = bt.Cerebro(oldsync=True)
    cerebro.resampledata(candle_feed([(100, 101, 99, 100)] * 4), timeframe=MINUTES, compression=60)
    with pytest.raises(ConfigError, match="oldsync"):
        cerebro.run()


def test_memory_of_single_bars_is_refused_where_a_bar_would_have_to_wait():
    with pytest.raises(ConfigError, match="exactbars=1 keeps no bar"):
        by_feed(walk(20), MINUTES, 60, exactbars=1)
