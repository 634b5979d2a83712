"""How time goes on: by control, with the wall clock, and at the end of the candles."""

import json

import pytest
from paper_exchange import QUARTER, START_MS, STILL, Rest, make_exchange

from gridv4_bt.errors import DataError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.messages import Request
from gridv4_bt.exchange.replay_clock import RunningClock

FALLING = [STILL, (100.0, 100.0, 94.0, 95.0, 10.0), (95.0, 95.0, 90.0, 91.0, 10.0), STILL]


def control(rest, method, path, **body):
    return json.loads(rest.api.respond(Request(method, f"/gridv4/{path}", body=json.dumps(body))).body)


def test_control_calls_let_time_go_on(rest):
    first = START_MS + QUARTER
    assert control(rest, "GET", "state")["time"] == first
    assert control(rest, "POST", "advance", bars=2)["time"] == first + 2 * QUARTER
    assert control(rest, "POST", "advance", ms=1_000)["time"] == first + 2 * QUARTER + 1_000
    state = control(rest, "POST", "advance", until=first + 10 * QUARTER)
    assert (state["time"], state["bar"], state["prices"]) == (first + 10 * QUARTER, 11, {"TESTUSDT": "100"})
    assert rest.get("time")["serverTime"] == first + 10 * QUARTER


def test_time_does_not_go_back(rest):
    before = rest.exchange.now
    rest.exchange.advance(before - 1)
    assert rest.exchange.now == before


def test_bar_happens_when_it_is_over_and_not_before(make_rest):
    rest = make_rest(FALLING)
    rest.limit("BUY", "LONG", 1.0, 97.0)
    rest.exchange.advance(rest.exchange.now + QUARTER - 1)
    assert rest.get("ticker/price", symbol="TESTUSDT")["price"] == "100"
    assert rest.get("userTrades", symbol="TESTUSDT") == []
    rest.exchange.advance(rest.exchange.now + 1)
    assert rest.get("ticker/price", symbol="TESTUSDT")["price"] == "95"
    [trade] = rest.get("userTrades", symbol="TESTUSDT")
    assert trade["time"] == rest.exchange.now - 1


def test_market_stands_still_after_the_last_candle(make_rest):
    rest = make_rest(FALLING)
    rest.exchange.advance(START_MS + 900 * QUARTER)
    assert rest.exchange.now == START_MS + 4 * QUARTER
    assert rest.get("ticker/price", symbol="TESTUSDT")["price"] == "100"
    assert len(rest.get("klines", symbol="TESTUSDT", interval="15m")) == 4
    assert rest.market("BUY", "LONG", 1.0)["status"] == "NEW"
    with pytest.raises(DataError, match="the candles end at 2024-01-01T01:00:00Z"):
        rest.advance()


def test_running_clock_goes_as_fast_as_it_is_told():
    wall = [50.0]
    exchange = make_exchange(FALLING)
    rest = Rest(Api(exchange, go_on=RunningClock(60.0, lambda: wall[0])))
    assert rest.get("time")["serverTime"] == START_MS + QUARTER
    wall[0] += 2.5
    assert rest.get("time")["serverTime"] == START_MS + QUARTER + 150_000
    wall[0] += 1_000.0
    rest.api.tick()
    assert exchange.replay.over


def test_parts_of_a_bar_pass_one_after_another(make_rest):
    bars = [STILL, (100.0, 110.0, 90.0, 105.0, 10.0), STILL]
    rest = make_rest(bars, intrabar="path")
    prices = []
    for _ in range(4):
        prices.append(rest.exchange.books["TESTUSDT"].price)
        rest.exchange.advance(rest.exchange.replay.moment_end)
    assert prices == [100.0, 90.0, 110.0, 105.0]  # what comes next opens at 100, but has not traded yet


def test_between_two_bars_the_close_judges_what_rests_and_the_open_fills_what_takes(make_rest):
    bars = [STILL, STILL, (101.0, 103.0, 101.0, 102.0, 10.0), STILL]
    rest = make_rest(bars, slippage=0.0)
    rest.advance()
    rest.market("BUY", "LONG", 1.0)
    assert rest.limit("SELL", "SHORT", 1.0, 100.5, "GTX")["status"] == "NEW"
    assert rest.limit("SELL", "SHORT", 1.0, 100.0, "GTX")["code"] == -5022
    rest.advance()
    assert [trade["price"] for trade in rest.get("userTrades", symbol="TESTUSDT")] == ["101", "100.5"]


def test_symbols_of_other_lengths_stand_still_one_by_one(make_rest):
    rest = make_rest([[STILL] * 6, FALLING], symbols=("TESTUSDT", "OTHERUSDT"))
    rest.advance(4)
    assert control(rest, "GET", "state")["prices"] == {"TESTUSDT": "100", "OTHERUSDT": "100"}
    assert rest.limit("BUY", "LONG", 1.0, 99.0)["status"] == "NEW"
    terms = {"symbol": "OTHERUSDT", "side": "BUY", "positionSide": "LONG", "type": "MARKET", "quantity": 1}
    assert rest.post("order", **terms)["status"] == "NEW"


def test_start_without_any_bar_is_refused():
    with pytest.raises(DataError, match="no bar from"):
        make_exchange(FALLING, first=50)
