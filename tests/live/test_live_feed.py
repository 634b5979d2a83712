"""Closed candles only, each once, in order; late ones are waited for, missing ones named."""

import math

import backtrader as bt
import ccxt
import pytest

from feeds.exchange import MarketDataClient
from feeds.live import BAR_MS, SETTLE_MS, CandleSource, CandleSteps, ClosedCandle, LiveFeed
from gridv4_bt.core.time import HOUR_MS

T0 = 1_700_000_100_000 // BAR_MS * BAR_MS


class Steps:
    """A clock that waits by moving on."""

    def __init__(self, now: int, end: int) -> None:
        self.time, self.end, self.ended = now, end, False

    def now(self) -> int:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += round(1000 * seconds)

    def wait_until(self, time_ms: int) -> bool:
        if time_ms > self.end:
            self.ended = True
            return False
        self.time = max(self.time, time_ms)
        return True


class Client:
    """The public market of an exchange: the last candle is always the one that is still forming."""

    id = "binanceusdm"
    apiKey = ""
    last_json_response = last_http_response = last_response_headers = None
    enableLastJsonResponse = False

    def __init__(self, clock: Steps) -> None:
        self.clock = clock
        self.late: dict[int, int] = {}  # ms by which the candle of a time appears late
        self.missing: set[int] = set()
        self.settlements: list[tuple[int, float, str | None]] = []
        self.asked: list[tuple[int, int]] = []

    def load_markets(self):
        market = {"id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT"}
        market |= {"swap": True, "linear": True}
        return {"BTC/USDT:USDT": market}

    def milliseconds(self):
        return self.clock.now()

    def fetch_time(self):
        return self.clock.now()

    def fetch_ohlcv(self, symbol, timeframe, since, limit, params):
        self.asked.append((since, limit))
        found = []
        for time in range(since, min(params["until"] + 1, self.clock.now()), BAR_MS):
            if time in self.missing or self.clock.now() < time + self.late.get(time, 0):
                continue
            open_ = 100.0 + (time - T0) // BAR_MS
            found.append([time, open_, open_ + 1, open_ - 1, open_ + 0.5, 3.0])
        return found[:limit]

    def fetch_funding_rate_history(self, symbol, since, limit):
        return [
            {"timestamp": time, "fundingRate": rate, "info": {"markPrice": mark}}
            for time, rate, mark in self.settlements
            if time >= since
        ][:limit]


def make(now: int, bars: int, **params):
    """Return a feed of which `bars` more candles close after `now`, its client and what was logged."""
    clock = Steps(now, now // BAR_MS * BAR_MS + bars * BAR_MS + SETTLE_MS)
    client, log = Client(clock), []
    source = CandleSource(
        MarketDataClient(client, clock.sleep), "BTC/USDT:USDT", clock, lambda kind, **fields: log.append((kind, fields))
    )
    feed = LiveFeed(source=source, name="BTCUSDT", **params)
    feed.setenvironment(bt.Cerebro())
    return feed, client, log


def bars_of(feed) -> list[ClosedCandle]:
    """Return what the feed delivers, with whether each bar was current."""
    feed._start()
    found = []
    while (loaded := feed.load()) is not False:
        if loaded is None:  # nothing yet
            continue
        line = feed.lines
        time = round((line.datetime[0] - 719_163) * 86_400_000)
        candle = ClosedCandle(time, *(getattr(line, name)[0] for name in ClosedCandle._fields[1:]))
        found.append((candle, feed.is_current))
    return found


def test_history_then_every_closed_bar_once():
    feed, client, _ = make(T0 + 5 * BAR_MS + 60_000, 3)
    feed.warm_up_bars = 4
    found = bars_of(feed)
    times = [(candle.time - T0) // BAR_MS for candle, _ in found]
    assert times == [1, 2, 3, 4, 5, 6, 7]
    # Only the newest closed bar is to be traded on.
    assert [current for _, current in found] == [False, False, False, True, True, True, True]


def test_live_is_announced_with_the_last_closed_bar_not_before():
    feed, _, _ = make(T0 + 5 * BAR_MS + 60_000, 1)
    feed.warm_up_bars = 3
    feed._start()
    announced = []
    while feed.load():
        announced.append([status for status, *_ in feed.get_notifications()])
    assert [feed.LIVE in one for one in announced] == [False, False, True, False]


def test_a_late_candle_is_waited_for_and_told():
    feed, client, log = make(T0 + 5 * BAR_MS, 2)
    client.late[T0 + 5 * BAR_MS] = BAR_MS + 20_000
    times = [(candle.time - T0) // BAR_MS for candle, _ in bars_of(feed)]
    assert times == [4, 5, 6]
    assert ("candle_late" in [kind for kind, _ in log]) and "candle_missing" not in [kind for kind, _ in log]


def test_a_candle_that_never_comes_is_passed_over_and_told():
    feed, client, log = make(T0 + 5 * BAR_MS, 3, patience=60.0)
    client.missing.add(T0 + 5 * BAR_MS)
    times = [(candle.time - T0) // BAR_MS for candle, _ in bars_of(feed)]
    assert times == [4, 6, 7]
    assert "candle_missing" in [kind for kind, _ in log]


def test_candles_of_an_earlier_session_are_not_asked_for_again():
    known = [ClosedCandle(T0 + n * BAR_MS, 1.0, 2.0, 0.5, 1.5, 1.0) for n in range(4)]
    feed, client, _ = make(T0 + 6 * BAR_MS, 0, since=T0, known=known)
    found = [candle for candle, _ in bars_of(feed)]
    assert [candle.open for candle in found] == [1.0] * 4 + [104.0, 105.0]
    assert client.asked[0][0] == T0 + 4 * BAR_MS


def test_funding_stands_at_the_bar_at_whose_open_it_was_settled():
    hour = -(-T0 // HOUR_MS) * HOUR_MS
    feed, client, _ = make(hour + 2 * BAR_MS, 0)
    client.settlements = [(hour - 8 * HOUR_MS, 0.5, "1"), (hour + 7, 0.001, "123.5"), (hour + 8 * HOUR_MS, 0.5, "1")]
    feed.warm_up_bars = 4
    found = {candle.time: candle for candle, _ in bars_of(feed)}
    assert (found[hour].funding, found[hour].mark) == (0.001, 123.5)
    assert all(math.isnan(candle.funding) for time, candle in found.items() if time != hour)


def test_a_candle_that_comes_after_the_next_one_is_delivered_before_it():
    feed, client, _ = make(T0 + 5 * BAR_MS, 3, patience=60.0)
    client.late[T0 + 5 * BAR_MS] = 2 * BAR_MS
    found = bars_of(feed)
    assert [(candle.time - T0) // BAR_MS for candle, _ in found] == [4, 5, 6, 7]
    assert [current for _, current in found] == [True, False, True, True]


def test_the_bar_that_is_still_forming_is_never_delivered():
    feed, _, _ = make(T0 + 5 * BAR_MS + BAR_MS - 1, 0)
    feed.warm_up_bars = 2
    assert [(candle.time - T0) // BAR_MS for candle, _ in bars_of(feed)] == [3, 4]


def pair(failure):
    """Return two feeds that wait for each other, where the second's exchange fails from now on, and its requests."""
    together = CandleSteps()
    first, _, _ = make(T0 + 5 * BAR_MS, 3, steps=together)
    clock, asked = first.p.source.clock, []
    client = Client(clock)
    source = CandleSource(MarketDataClient(client, clock.sleep), "BTC/USDT:USDT", clock, lambda kind, **fields: None)
    second = LiveFeed(source=source, name="ETHUSDT", steps=together)
    second.setenvironment(bt.Cerebro())
    for feed in (first, second):
        feed._start()
        assert feed.load()

    def fail(*arguments):
        asked.append(clock.now())
        client.last_response_headers = {"Retry-After": "600"}
        raise failure

    client.fetch_ohlcv = fail
    return first, second, asked


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("failure", "requests"), [(ccxt.ExchangeNotAvailable("503"), 7), (ccxt.RateLimitExceeded("429"), 1)]
)
def test_a_feed_whose_requests_fail_holds_up_another_for_20_seconds_and_asks_no_more_than_it_may(
    failure, requests, order
):
    first, second, asked = pair(failure)
    loaded = {feed: feed.load() for feed in (first, second)[::order]}
    assert loaded[first] is True and loaded[second] is None
    clock = first.p.source.clock
    assert clock.now() == T0 + 6 * BAR_MS + SETTLE_MS + 20_000
    assert len(asked) == requests
    before = clock.now()
    assert second.next(datamaster=first) is None and clock.now() == before  # it is not waited for once more


@pytest.mark.parametrize("pause", [3, 10])
def test_after_an_outage_all_bars_come_and_only_the_last_is_current(pause):
    feed, client, _ = make(T0 + 5 * BAR_MS, pause + 1)
    feed._start()
    feed.load()
    feed.p.source.clock.time += pause * BAR_MS  # the machine slept
    found = []
    while feed.load():
        found.append(((round((feed.lines.datetime[0] - 719_163) * 86_400_000) - T0) // BAR_MS, feed.is_current))
    assert [number for number, _ in found] == list(range(5, 6 + pause))
    assert [current for _, current in found][: pause - 1] == [False] * (pause - 1)
