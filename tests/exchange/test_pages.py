"""What can be read: candles, funding, trades and income by page and time, limits."""

import pytest
from paper_exchange import QUARTER, START_MS, STILL

DAY = 96 * QUARTER


def bars(*closes):
    before = 100.0
    made = []
    for close in closes:
        made.append((before, max(before, close) + 1.0, min(before, close) - 1.0, close, 10.0))
        before = close
    return made


def test_open_candle_tells_nothing_but_its_open(make_rest):
    rest = make_rest(bars(101.0, 105.0, 90.0, 95.0), first=2)
    rows = rest.get("klines", symbol="TESTUSDT", interval="15m")
    assert [row[:6] for row in rows] == [
        [START_MS, "100", "102", "99", "101", "10"],
        [START_MS + QUARTER, "101", "106", "100", "105", "10"],
        [START_MS + 2 * QUARTER, "105", "105", "105", "105", "0"],
    ]
    assert rows[-1][6] == START_MS + 3 * QUARTER - 1
    rest.advance()
    assert rest.get("klines", symbol="TESTUSDT", interval="15m", limit=2)[0][1:6] == ["105", "106", "89", "90", "10"]


def test_candles_by_time_and_longer_ones(make_rest):
    rest = make_rest(bars(*range(101, 121)), first=10)
    ask = {"symbol": "TESTUSDT", "interval": "15m"}
    rows = rest.get("klines", **ask, startTime=START_MS + 1, endTime=START_MS + 3 * QUARTER)
    assert [row[0] for row in rows] == [START_MS + number * QUARTER for number in (1, 2, 3)]
    assert [row[0] for row in rest.get("klines", **ask, startTime=START_MS, limit=2)] == [START_MS, START_MS + QUARTER]
    assert rest.get("klines", **ask, startTime=START_MS + 900 * QUARTER) == []
    hours = rest.get("klines", symbol="TESTUSDT", interval="1h")
    assert [row[1:6] for row in hours] == [
        ["100", "105", "99", "104", "40"],
        ["104", "109", "103", "108", "40"],
        ["108", "111", "107", "110", "20"],
    ]


def test_funding_tells_what_is_settled_and_when_the_next_is_due_but_not_its_rate(make_rest):
    rest = make_rest([STILL] * 10, funding=[(0, 0.0001), (4, 0.002), (8, 0.003)])
    index = rest.get("premiumIndex", symbol="TESTUSDT")
    assert (index["lastFundingRate"], index["nextFundingTime"]) == ("0.0001", START_MS + 4 * QUARTER)
    rest.advance(3)
    assert rest.get("premiumIndex", symbol="TESTUSDT")["lastFundingRate"] == "0.002"
    rows = rest.get("fundingRate", symbol="TESTUSDT")
    assert [(row["fundingTime"], row["fundingRate"]) for row in rows] == [
        (START_MS, "0.0001"),
        (START_MS + 4 * QUARTER, "0.002"),
    ]


def test_answers_before_the_end_of_a_bar_do_not_depend_on_it(make_rest):
    def sent(last):
        rest = make_rest([*bars(101.0, 102.0), (102.0, *last)], first=2)
        rest.market("BUY", "LONG", 1.0)
        paths = ("ticker/24hr", "ticker/bookTicker", "premiumIndex")
        asked = [rest.get(path, symbol="TESTUSDT") for path in paths]
        return [*asked, rest.get("account", "v3"), rest.get("positionRisk", "v3"), rest.get("positionRisk", "v2")]

    assert sent((200.0, 102.0, 150.0, 99.0)) == sent((103.0, 50.0, 60.0, 1.0))


@pytest.fixture
def traded(make_rest):
    """Ten trades, one a day."""
    rest = make_rest([STILL] * 1_100)
    for _ in range(10):
        rest.market("BUY", "LONG", 1.0)
        rest.advance(96)
    return rest


def ids(rest, **more):
    return [one["id"] for one in rest.get("userTrades", symbol="TESTUSDT", **more)]


def test_trades_without_arguments_are_those_of_a_week(traded):
    assert ids(traded) == [4, 5, 6, 7, 8, 9, 10]


def test_trades_by_cursor_know_no_window(traded):
    assert ids(traded, fromId=1, limit=3) == [1, 2, 3]
    assert ids(traded, fromId=9) == [9, 10]
    assert ids(traded, fromId=11) == []


def test_trades_by_time_are_those_of_a_week_at_most(traded):
    first = START_MS + QUARTER
    assert ids(traded, startTime=first) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ids(traded, startTime=first, limit=2) == [1, 2]
    assert ids(traded, startTime=first, endTime=first + DAY) == [1, 2]
    assert traded.get("userTrades", symbol="TESTUSDT", startTime=first, endTime=first + 8 * DAY)["code"] == -1128
    assert traded.get("userTrades", symbol="TESTUSDT", startTime=first, fromId=1)["code"] == -1128


def test_trades_of_one_order(traded):
    assert ids(traded, orderId=5) == [5]


def test_income_by_page_type_and_time(traded):
    rows = traded.get("income", incomeType="COMMISSION")
    assert len(rows) == 7
    assert [row["tranId"] for row in traded.get("income", incomeType="COMMISSION", limit=2, page=2)] == [
        row["tranId"] for row in rows[2:4]
    ]
    [transfer] = traded.get("income", incomeType="TRANSFER", startTime=START_MS)
    assert transfer["income"] == "10000"


def test_weight_is_counted_and_then_refused(rest):
    rest.get("openOrders", symbol="TESTUSDT")
    first = int(rest.headers["X-MBX-USED-WEIGHT-1M"])
    rest.get("openOrders")
    assert int(rest.headers["X-MBX-USED-WEIGHT-1M"]) == first + 40
    while rest.status == 200:
        rest.get("income")
    assert (rest.status, rest.get("time")["code"]) == (429, -1003)
    assert rest.headers["Retry-After"] == "60"
    for _ in range(10):
        rest.get("time")
    assert (rest.status, rest.get("time")["msg"][:30]) == (418, "Way too many requests; IP bann")
    rest.exchange.advance(rest.exchange.now + 120_000)
    assert rest.get("time")["serverTime"] == rest.exchange.now


def test_orders_are_counted_and_then_refused(rest):
    for _ in range(150):
        assert "orderId" in rest.limit("BUY", "LONG", 0.1, 90.0)
    assert (rest.headers["X-MBX-ORDER-COUNT-10S"], rest.headers["X-MBX-ORDER-COUNT-1M"]) == ("150", "150")
    rest.delete("allOpenOrders", symbol="TESTUSDT")
    for _ in range(150):
        rest.limit("BUY", "LONG", 0.1, 90.0)
    refused = rest.limit("BUY", "LONG", 0.1, 90.0)
    assert (rest.status, refused["code"]) == (429, -1015)
    assert rest.get("openOrders", symbol="TESTUSDT") != []
    rest.exchange.advance(rest.exchange.now + 10_000)
    assert "orderId" in rest.limit("BUY", "LONG", 0.1, 90.0) or rest.status == 400
