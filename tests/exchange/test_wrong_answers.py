"""Answers that are late, empty, stale or wrong for a while, as the real ccxt client gets them."""

import ccxt
import pytest
from paper_exchange import QUARTER, START_MS

from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.exchange.faults import KINDS, MIXTURES, Fault, random_faults

S = "TEST/USDT:USDT"
LONG = {"positionSide": "LONG"}
MINUTE = 60_000


@pytest.fixture
def held(paper):
    """A LONG of 2.0 at 100 with its stop at 95 and an entry of 1.0 at 98."""
    client = paper.client
    client.create_order(S, "market", "buy", 2.0, None, LONG)
    client.create_order(S, "market", "sell", None, None, LONG | {"triggerPrice": 95.0, "closePosition": True})
    client.create_order(S, "limit", "buy", 1.0, 98.0, LONG | {"newClientOrderId": "e1"})
    return paper


def pass_time(paper, ms):
    paper.server.call(lambda: paper.exchange.advance(paper.exchange.now + ms))


def quantities(paper):
    return [one["contracts"] for one in paper.client.fetch_positions([S])]


def test_positions_are_empty_for_twenty_seconds(held):
    assert quantities(held) == [2.0]
    held.faults({"kind": "empty_positions", "lasts": 20})
    assert quantities(held) == []
    assert held.client.fetch_balance()["info"]["positions"] != []  # the other endpoint shows them
    pass_time(held, 19_999)
    assert quantities(held) == []
    pass_time(held, 1)
    assert quantities(held) == [2.0]


def test_account_and_balance_lack_the_row_of_usdt(held):
    held.faults({"kind": "empty_assets", "times": 2})
    account = held.client.fetch_balance()["info"]
    assert (account["assets"], account["totalWalletBalance"], account["availableBalance"]) == ([], "0", "0")
    assert len(account["positions"]) == 1
    assert held.client.fapiPrivateV3GetBalance() == []
    assert [one["asset"] for one in held.client.fetch_balance()["info"]["assets"]] == ["USDT"]


def test_trades_come_two_bars_late(paper):
    paper.faults({"on": "userTrades", "kind": "late_trades", "bars": 2, "times": 0})
    for _ in range(3):
        paper.client.create_order(S, "market", "buy", 1.0, None, LONG)
        paper.advance()
    # Bought at the open of bars 1, 2 and 3; it is the open of bar 4. What is younger than two bars is not shown.
    assert [one["timestamp"] for one in paper.client.fetch_my_trades(S)] == [START_MS + QUARTER]
    assert quantities(paper) == [3.0]
    paper.advance()
    assert len(paper.client.fetch_my_trades(S)) == 2
    pass_time(paper, 1)
    assert len(paper.client.fetch_my_trades(S)) == 3


def test_trades_are_late_only_as_long_as_the_fault_lasts(paper):
    paper.client.create_order(S, "market", "buy", 1.0, None, LONG)
    paper.faults({"on": "userTrades", "kind": "late_trades", "bars": 4, "lasts": 1_200})
    assert paper.client.fetch_my_trades(S) == []
    paper.advance()
    assert paper.client.fetch_my_trades(S) == []
    pass_time(paper, 300_000)  # 1,200 s have passed
    assert len(paper.client.fetch_my_trades(S)) == 1


def test_clock_of_the_server_steps_forward_for_half_an_hour(paper):
    true = paper.exchange.now
    paper.faults({"on": "/fapi/v1/time", "kind": "clock_step", "ms": 600_000, "lasts": 1_800})
    assert paper.client.fetch_time() == true + 600_000
    with pytest.raises(ccxt.InvalidNonce):  # for every request, not only that one
        paper.client.fetch_balance()
    paper.client.options["timeDifference"] = -600_000
    paper.client.fetch_balance()
    pass_time(paper, 1_800_000)
    assert paper.client.fetch_time() == true + 1_800_000


def test_clock_of_the_client_steps_and_goes_on_with_the_market(paper):
    clock = ServerClock(paper.server.url)
    true = clock.now()
    paper.faults({"on": "/fapi/v1/time", "kind": "clock_step", "ms": -10_800_000, "whose": "client"})
    assert paper.client.fetch_time() == true  # the server is right
    assert clock.now() == true - 10_800_000
    assert clock.advance_to(true - 10_800_000 + MINUTE)["time"] == true - 10_800_000 + MINUTE
    assert paper.exchange.now == true + MINUTE
    clock.close()


def test_each_request_in_a_ban_doubles_it(paper):
    paper.faults({"on": "/fapi/v1/time", "kind": "escalating_ban", "seconds": 60, "most": 300})

    def told():
        with pytest.raises(ccxt.DDoSProtection, match="418"):
            paper.client.fetch_time()
        return paper.client.last_response_headers["Retry-After"]

    assert [told() for _ in range(5)] == ["60", "120", "240", "300", "300"]
    with pytest.raises(ccxt.DDoSProtection):
        paper.client.fetch_open_orders(S)
    pass_time(paper, 299_999)
    assert told() == "300"
    pass_time(paper, 300_000)
    assert paper.client.fetch_time() == paper.exchange.now


def test_ban_grows_to_three_days_at_most(rest):
    rest.faults({"kind": "escalating_ban", "seconds": 3600})
    for _ in range(9):
        rest.get("time")
    assert (rest.status, rest.headers["Retry-After"]) == (418, "259200")
    assert str(rest.exchange.now + 259_200_000) in rest.get("time")["msg"]


def test_any_code_on_any_path_for_some_requests(rest):
    rest.faults(
        {"on": "GET /fapi/v3/account", "kind": "error", "code": -4411, "status": 403, "text": "Sign", "times": 2}
    )
    answers = [(rest.get("account", "v3").get("code"), rest.status) for _ in range(3)]
    assert answers == [(-4411, 403), (-4411, 403), (None, 200)]
    assert "code" not in rest.get("balance", "v3")[0]


@pytest.mark.parametrize("code", [-4140, -4188, -4411, -99_999])
def test_a_code_that_the_exchange_itself_never_uses(rest, code):
    rest.faults({"kind": "error", "code": code})
    assert (rest.get("time")["code"], rest.status) == (code, 400)


def test_only_closes_are_refused(rest):
    rest.faults({"on": "POST /fapi/v1/order", "kind": "error", "code": -4164, "only": "closes"})
    assert rest.market("BUY", "LONG", 2.0)["status"] == "FILLED"
    assert rest.market("SELL", "LONG", 1.0)["code"] == -4164
    assert rest.market("SELL", "LONG", 1.0)["status"] == "FILLED"


def test_an_order_that_exists_is_not_found_for_a_while(held):
    held.faults({"kind": "stale_not_found", "lasts": 60})
    [order] = held.client.fetch_open_orders(S)
    with pytest.raises(ccxt.OrderNotFound, match="-2013"):
        held.client.fetch_order(None, S, {"origClientOrderId": "e1"})
    with pytest.raises(ccxt.OrderNotFound):
        held.client.fetch_order(order["id"], S)
    pass_time(held, MINUTE)
    assert held.client.fetch_order(order["id"], S)["clientOrderId"] == "e1"


def test_an_order_that_does_not_exist_begins_no_fault(rest):
    rest.faults({"kind": "stale_not_found"})
    assert rest.get("order", symbol="TESTUSDT", orderId=1)["code"] == -2013
    number = rest.limit("BUY", "LONG", 1.0, 98.0)["orderId"]
    assert rest.get("order", symbol="TESTUSDT", orderId=number)["code"] == -2013
    assert rest.get("order", symbol="TESTUSDT", orderId=number)["orderId"] == number


def test_a_stop_vanishes_untriggered(held):
    [stop] = held.client.fetch_open_orders(S, params={"trigger": True})
    held.faults({"on": "positionRisk", "kind": "stop_vanishes", "positionSide": "SHORT"})
    assert quantities(held) == [2.0]
    assert len(held.client.fetch_open_orders(S, params={"trigger": True})) == 1  # there is no SHORT stop
    held.faults({"on": "positionRisk", "kind": "stop_vanishes"})
    assert quantities(held) == [2.0]
    assert held.client.fetch_open_orders(S, params={"trigger": True}) == []
    info = held.client.fapiPrivateGetAlgoOrder({"algoId": stop["id"]})
    assert (info["algoStatus"], info["actualOrderId"]) == ("EXPIRED", "")
    # The leg takes a new one.
    held.client.create_order(S, "market", "sell", None, None, LONG | {"triggerPrice": 95.0, "closePosition": True})


def test_an_order_fills_in_part_between_close_and_poll_and_is_then_cancelled(held):
    held.advance()
    held.faults({"on": "GET /fapi/v1/openOrders", "kind": "partial_then_cancel", "share": 0.3, "only": "opens"})
    [order] = held.client.fetch_open_orders(S)
    assert (order["filled"], order["remaining"]) == (0.3, 0.7)
    cancelled = held.client.cancel_order(order["id"], S)
    assert (cancelled["status"], cancelled["filled"]) == ("canceled", 0.3)
    trade = held.client.fetch_my_trades(S)[-1]
    assert (trade["timestamp"], trade["amount"], trade["price"]) == (START_MS + 2 * QUARTER, 0.3, 98.0)
    assert quantities(held) == [2.3]


def test_a_partial_fill_waits_for_an_order_that_it_can_fill(rest):
    rest.faults({"kind": "partial_then_cancel", "only": "closes"})
    rest.limit("BUY", "LONG", 1.0, 98.0)
    rest.get("openOrders")
    rest.market("BUY", "LONG", 1.0)
    rest.limit("SELL", "LONG", 1.0, 102.0)
    assert [one["executedQty"] for one in rest.get("openOrders")] == ["0", "0.5"]


def test_public_trades_are_those_of_closed_candles(make_rest):
    up, down, empty = (100.0, 103.0, 99.0, 102.0, 40.0), (102.0, 104.0, 98.0, 99.0, 8.0), (99.0, 99.0, 99.0, 99.0, 0.0)
    rest = make_rest([up, down, empty, up], first=3)
    third = 299_999  # a third of the quarter of an hour less a millisecond
    rows = rest.get("trades", symbol="TESTUSDT")
    assert [(one["id"], one["time"] - START_MS, one["price"], one["qty"], one["isBuyerMaker"]) for one in rows] == [
        (1, 0, "100", "10", False), (2, third, "99", "10", True), (3, 2 * third + 1, "103", "10", False),
        (4, QUARTER - 1, "102", "10", True), (5, QUARTER, "102", "2", False), (6, QUARTER + third, "104", "2", False),
        (7, QUARTER + 2 * third + 1, "98", "2", True), (8, 2 * QUARTER - 1, "99", "2", False),
    ]  # fmt: skip
    assert [one["id"] for one in rest.get("trades", symbol="TESTUSDT", limit=2)] == [7, 8]

    def ids(**more):
        return [one["a"] for one in rest.get("aggTrades", symbol="TESTUSDT", **more)]

    assert ids() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ids(fromId=3, limit=3) == [3, 4, 5]
    assert ids(startTime=START_MS + 1, endTime=START_MS + QUARTER) == [2, 3, 4, 5]
    assert ids(startTime=START_MS + QUARTER, limit=1) == [5]
    assert ids(endTime=START_MS + 1) == [1]
    assert rest.get("aggTrades", symbol="TESTUSDT", fromId=1, startTime=1)["code"] == -1128
    assert rest.get("trades", symbol="NONE")["code"] == -1121


def test_client_reads_the_last_trade(paper):
    paper.advance()
    last = paper.client.fetch_trades(S, limit=1)[0]
    assert (last["price"], last["timestamp"]) == (100.0, START_MS + 2 * QUARTER - 1)


def test_random_faults_of_all_kinds_come_only_when_asked_for():
    def kinds(mixture):
        faults = random_faults(1, 0.1, mixture)
        return {rule.fault.kind for rule in faults._rules}

    usual, every = map(kinds, MIXTURES)
    new = {
        "empty_positions", "empty_assets", "late_trades", "clock_step", "escalating_ban", "error", "stale_not_found",
        "stop_vanishes", "partial_then_cancel",
    }  # fmt: skip
    assert new & usual == {"late_trades"}
    assert every == usual | new and every <= set(KINDS)


@pytest.mark.parametrize("wrong", [{"kind": "x"}, {"kind": "slow", "seconds": 10**9}, {"kind": "error", "status": 99}])
def test_a_wrong_fault_cannot_be_made(wrong):
    with pytest.raises(ValueError, match="validation error"):
        Fault(**wrong)
