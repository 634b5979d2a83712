"""Real time on a public exchange, here one on 127.0.0.1."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from busy import busy
from paper_exchange import Rest

sys.path.append(str(Path(__file__).resolve().parents[1] / "feeds"))  # where the fake exchange is

from fake_exchange import HOUR, MINUTE, FakeExchange, connector, settled, truth

from feeds.exchange import Unavailable
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.control import respond
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.messages import Request
from gridv4_bt.exchange.public_feed import PublicFeed

FIRST = 1_704_067_200_000
HISTORY_MS = 24 * HOUR
NOW = FIRST + HISTORY_MS + 30_000  # half a minute after midnight


@pytest.fixture
def market():
    """Candles of minutes, funding every eight hours, and a clock to be turned."""
    candles = truth(FIRST, HISTORY_MS // MINUTE + 600, MINUTE)
    candles[:, 1:5] = np.round(candles[:, 1:5], 1)
    return FakeExchange(candles, settled(FIRST, 30), candles[:, :5], NOW)


@pytest.fixture
def follow(market):
    """An exchange that follows the market, and a way to let minutes pass."""
    with market.serving() as url:
        feed = PublicFeed(connector(url)("binanceusdm"), ["BTC/USDT:USDT"], lambda: market.now / 1000, HISTORY_MS)
        feeds = feed.feeds()
        exchange = Exchange(feeds, {"BTCUSDT": load_market_history("BTCUSDT")}, busy(), 10_000.0, NOW - 30_000)
        rest = Rest(Api(exchange, go_on=feed))

        def pass_minutes(count, seen=True):
            market.now += count * MINUTE
            if seen:
                feed.fetch()
            rest.api.tick()

        rest.api.tick()
        yield rest, pass_minutes, feed


def row(market, minute):
    """The candle of a minute counted from the last midnight."""
    return [float(value) for value in market.candles[HISTORY_MS // MINUTE + minute, 1:6]]


def test_market_stands_at_the_last_close_and_the_clock_is_the_real_one(market, follow):
    rest, _, _ = follow
    assert rest.get("time")["serverTime"] == NOW
    last = row(market, -1)[3]
    rows = rest.get("klines", symbol="BTCUSDT", interval="1m", limit=2)
    assert [[float(value) for value in one[1:6]] for one in rows] == [row(market, -1), [last] * 4 + [0.0]]
    assert len(rest.get("klines", symbol="BTCUSDT", interval="15m", limit=90)) == 90


def test_closed_minutes_happen_one_after_another(market, follow):
    rest, pass_minutes, _ = follow
    pass_minutes(3)
    rows = rest.get("klines", symbol="BTCUSDT", interval="1m", limit=4)
    assert [[float(value) for value in one[1:6]] for one in rows[:3]] == [row(market, minute) for minute in range(3)]
    assert float(rest.get("ticker/price", symbol="BTCUSDT")["price"]) == row(market, 2)[3]
    assert rest.get("time")["serverTime"] == NOW + 3 * MINUTE


def test_a_bar_is_not_told_before_its_last_minute_is_known(market, follow):
    rest, pass_minutes, feed = follow
    pass_minutes(14)
    pass_minutes(1, seen=False)
    asked = {"symbol": "BTCUSDT", "interval": "15m", "startTime": NOW - 30_000, "limit": 1}
    assert rest.get("klines", **asked) == []
    feed.fetch()
    rest.api.tick()
    [bar] = rest.get("klines", **asked)
    assert float(bar[4]) == row(market, 14)[3]
    assert float(bar[5]) == pytest.approx(sum(row(market, minute)[4] for minute in range(15)))


def test_its_time_goes_on_by_itself_only(follow):
    rest, _, _ = follow
    status, answer = respond(rest.api, Request("GET", "/gridv4/state", "", "", {}))
    assert (status, answer["speed"]) == (200, 1.0)
    status, answer = respond(rest.api, Request("POST", "/gridv4/advance", "", "{}", {}))
    assert status == 400 and "goes on by itself" in answer["error"]


def test_orders_are_matched_by_the_minutes_that_follow(market, follow):
    rest, pass_minutes, _ = follow
    rest.post("positionSide/dual", dualSidePosition="true")
    common = {"symbol": "BTCUSDT", "side": "BUY", "positionSide": "LONG", "quantity": 0.01}
    bought = rest.post("order", type="MARKET", **common)
    assert bought["status"] == "FILLED"
    low = min(row(market, minute)[2] for minute in range(5))
    price = round(low + 0.1, 1)
    assert rest.post("order", type="LIMIT", timeInForce="GTX", price=price, **common)["status"] == "NEW"
    pass_minutes(5)
    trades = rest.get("userTrades", symbol="BTCUSDT")
    assert [float(one["price"]) for one in trades] == [pytest.approx(row(market, -1)[3] * 1.0002), price]


def test_funding_is_charged_when_it_is_published(market, follow):
    rest, pass_minutes, _ = follow
    rest.post("positionSide/dual", dualSidePosition="true")
    rest.post("order", symbol="BTCUSDT", side="BUY", positionSide="LONG", type="MARKET", quantity=0.01)
    settlements = len(rest.exchange.books["BTCUSDT"].settled)
    pass_minutes(8 * HOUR // MINUTE)
    [paid] = rest.get("income", incomeType="FUNDING_FEE")
    assert len(rest.exchange.books["BTCUSDT"].settled) == settlements + 1
    rate = market.funding[market.funding[:, 0].searchsorted(FIRST + HISTORY_MS + HOUR), 1]
    assert float(paid["income"]) == pytest.approx(-0.01 * row(market, 479)[3] * rate, rel=1e-6)


def test_without_answers_time_goes_on_but_no_market(market, follow):
    rest, pass_minutes, feed = follow
    market.fault("klines", 500, times=1_000)
    with pytest.raises(Unavailable):
        pass_minutes(2)
    assert rest.get("time")["serverTime"] == NOW + 2 * MINUTE
    assert float(rest.get("ticker/price", symbol="BTCUSDT")["price"]) == row(market, -1)[3]
    market._faults.clear()
    feed.fetch()
    assert float(rest.get("ticker/price", symbol="BTCUSDT")["price"]) == row(market, 1)[3]


def test_restart_finds_the_minutes_that_were_followed(market, follow):
    rest, pass_minutes, _ = follow
    pass_minutes(3)
    before = rest.get("klines", symbol="BTCUSDT", interval="1m", limit=5)
    rest.api.restart()
    assert rest.get("klines", symbol="BTCUSDT", interval="1m", limit=5) == before


def test_thread_fetches_when_a_minute_has_closed(market, follow):
    rest, _, feed = follow
    market.now = NOW + 31_450  # a twentieth of a second before it asks
    feed.start()
    for _ in range(200):
        rest.api.tick()
        if float(rest.get("ticker/price", symbol="BTCUSDT")["price"]) == row(market, 0)[3]:
            break
        time.sleep(0.01)
    else:
        pytest.fail("no minute came")
    feed.stop()
