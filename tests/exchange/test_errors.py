"""Every refusal reaches the user of ccxt as the exception that production raises."""

import random

import ccxt
import pytest

from gridv4_bt.exchange.endpoints import ENDPOINTS
from gridv4_bt.exchange.limits import Limits

S = "TEST/USDT:USDT"

#: code, exception: of the linear markets, as the unmodified client raises them.
CLASSES = {
    -1021: ccxt.InvalidNonce, -5028: ccxt.BadRequest,
    -1022: ccxt.AuthenticationError, -2014: ccxt.AuthenticationError, -2015: ccxt.AuthenticationError,
    -1000: ccxt.OperationFailed, -1001: ccxt.OperationFailed, -1006: ccxt.OperationFailed, -1007: ccxt.RequestTimeout,
    -1008: ccxt.OperationFailed, -2010: ccxt.InvalidOrder, -2011: ccxt.OrderNotFound, -2013: ccxt.OrderNotFound,
    -2018: ccxt.InsufficientFunds, -2019: ccxt.InsufficientFunds, -2024: ccxt.InsufficientFunds,
    -2020: ccxt.OperationFailed, -2023: ccxt.OperationFailed,
    -2021: ccxt.OrderImmediatelyFillable, -4142: ccxt.OrderImmediatelyFillable,
    -2022: ccxt.InvalidOrder, -4118: ccxt.OperationRejected, -2025: ccxt.OperationRejected,
    -4045: ccxt.OperationRejected, -2027: ccxt.OperationRejected, -2028: ccxt.OperationRejected,
    -4059: ccxt.OperationRejected, -4046: ccxt.MarginModeAlreadySet, -4067: ccxt.OperationRejected,
    -4068: ccxt.OperationRejected, -4047: ccxt.OperationRejected, -4048: ccxt.OperationRejected,
    -4531: ccxt.OperationRejected, -4061: ccxt.OperationRejected,
    -1106: ccxt.BadRequest, -1102: ccxt.BadRequest, -1116: ccxt.BadRequest, -1128: ccxt.BadRequest,
    -1130: ccxt.BadRequest, -4060: ccxt.BadRequest,
    -1111: ccxt.BadRequest, -4014: ccxt.BadRequest, -4023: ccxt.BadRequest, -4003: ccxt.BadRequest,
    -4004: ccxt.BadRequest, -4005: ccxt.BadRequest, -4013: ccxt.BadRequest, -4016: ccxt.BadRequest,
    -4024: ccxt.BadRequest, -4131: ccxt.OperationRejected, -4164: ccxt.InvalidOrder, -4116: ccxt.InvalidOrder,
    -5021: ccxt.OrderNotFillable, -5022: ccxt.OrderNotFillable, -5027: ccxt.OperationRejected,
    -4087: ccxt.PermissionDenied, -4088: ccxt.PermissionDenied, -4192: ccxt.PermissionDenied,
    -4400: ccxt.PermissionDenied, -4120: ccxt.InvalidOrder,
}  # fmt: skip


def raised(client, action):
    with pytest.raises(ccxt.BaseError) as error:
        action(client)
    return error.value


def order(client, side="buy", qty=1.0, price=99.0, leg="LONG", kind="limit", **params):
    return client.create_order(S, kind, side, qty, price, {"positionSide": leg} | params)


def test_every_code_is_the_exception_of_production(paper):
    found = {}
    for code in CLASSES:
        paper.faults({"on": "POST /fapi/v1/order", "kind": "error", "code": code})
        error = raised(paper.client, order)
        assert f'"code":{code}' in str(error)
        found[code] = type(error)
    assert found == CLASSES


def test_unknown_code_is_a_plain_exchange_error(paper):
    paper.faults({"kind": "error", "code": -1000, "text": "?", "status": 400})
    assert isinstance(raised(paper.client, order), ccxt.OperationFailed)


@pytest.mark.parametrize(
    ("fault", "exception", "executed"),
    [
        ({"kind": "too_many", "seconds": 7}, ccxt.DDoSProtection, False),
        ({"kind": "banned", "seconds": 120}, ccxt.DDoSProtection, False),
        ({"kind": "error", "code": -1015, "text": "Too many new orders."}, ccxt.DDoSProtection, False),
        ({"kind": "error", "code": -1003, "text": "Too many requests.", "status": 400}, ccxt.RateLimitExceeded, False),
        ({"kind": "unknown"}, ccxt.OperationFailed, True),
        ({"kind": "unknown", "executed": False}, ccxt.OperationFailed, False),
        ({"kind": "timeout"}, ccxt.RequestTimeout, True),
        ({"kind": "unavailable"}, ccxt.OperationFailed, False),
        ({"kind": "overloaded"}, ccxt.OperationFailed, False),
        ({"kind": "bus"}, ccxt.OperationFailed, True),
        ({"kind": "error", "code": -1001}, ccxt.OperationFailed, False),
        ({"kind": "gateway"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "gateway", "status": 504}, ccxt.RequestTimeout, False),
        ({"kind": "firewall"}, ccxt.ExchangeNotAvailable, False),
        ({"kind": "lost_before"}, ccxt.NetworkError, False),
        ({"kind": "lost_after"}, ccxt.NetworkError, True),
        ({"kind": "cut"}, ccxt.NetworkError, True),
        ({"kind": "slow", "seconds": 2}, ccxt.RequestTimeout, True),
        ({"kind": "post_only"}, ccxt.OrderNotFillable, False),
        ({"kind": "restart"}, ccxt.NetworkError, False),
        ({"kind": "clock"}, ccxt.InvalidNonce, False),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else None,
)  # fmt: skip
def test_fault_is_the_exception_of_production_and_the_order_lives_or_not(paper, fault, exception, executed):
    paper.client.timeout = 500
    paper.faults({"on": "POST /fapi/v1/order"} | fault)
    error = raised(paper.client, lambda client: order(client, timeInForce="GTX", newClientOrderId="mine"))
    assert isinstance(error, exception)
    if "seconds" in fault and fault["kind"] != "slow":
        assert paper.client.last_response_headers["Retry-After"] == str(fault["seconds"])
    assert [one["clientOrderId"] for one in paper.client.fetch_open_orders(S)] == (["mine"] if executed else [])
    order(paper.client, newClientOrderId="next")  # it was one request only


def test_web_page_with_status_200_gives_an_order_without_id_that_lives(paper):
    paper.faults({"on": "POST /fapi/v1/order", "kind": "html"})
    assert order(paper.client)["id"] is None
    assert len(paper.client.fetch_open_orders(S)) == 1


# --- the refusals that follow from a rule


def limit(**terms):
    return lambda client: order(client, **terms)


def after(*actions):
    def all_of_them(client):
        for action in actions[:-1]:
            action(client)
        return actions[-1](client)

    return all_of_them


market = limit(kind="market", price=None)
stop = limit(side="sell", kind="market", price=None, qty=None, triggerPrice=95.0, closePosition=True)
RULES = {
    "too large for the margin": (limit(qty=600.0), -2019),
    "larger than an order may be": (limit(qty=1e11), -4005),
    "closes more than is held": (limit(side="sell", price=101.0), -2022),
    "least notional": (limit(qty=0.01), -4164),
    "crosses as post-only": (limit(price=100.0, timeInForce="GTX"), -5022),
    "cannot be filled at once": (limit(timeInForce="FOK"), -5021),
    "stop that is through": (limit(kind="market", price=None, triggerPrice=99.0), -2021),
    "second stop of a leg": (after(market, stop, stop), -4130),
    "too far above the market": (limit(price=106.0), -4016),
    "too far below the market": (after(market, limit(side="sell", price=94.0)), -4024),
    "client id of an open order": (after(limit(newClientOrderId="a"), limit(newClientOrderId="a")), -4116),
    "malformed client id": (limit(newClientOrderId="a b"), -4015),
    "leg of the other mode": (limit(leg="BOTH"), -4061),
    "no leg at all": (limit(leg="UP"), -4060),
    "reduceOnly in hedge mode": (limit(reduceOnly="true"), -1106),
    "conditional type here": (
        lambda c: c.fapiPrivatePostOrder({"symbol": "TESTUSDT", "side": "BUY", "type": "STOP_MARKET", "quantity": 1}),
        -4120,
    ),
    "no such type": (
        lambda c: c.fapiPrivatePostOrder({"symbol": "TESTUSDT", "side": "BUY", "type": "X", "quantity": 1}), -1116,
    ),
    "type that is not simulated": (
        limit(side="sell", kind="market", price=None, takeProfitPrice=110.0), -1116,
    ),
    "no quantity": (lambda c: c.fapiPrivatePostOrder({"symbol": "TESTUSDT", "side": "BUY", "type": "MARKET"}), -1102),
    "finer than the lot": (
        lambda c: c.fapiPrivatePostOrder({
            "symbol": "TESTUSDT", "side": "BUY", "type": "MARKET", "quantity": "1.0005", "positionSide": "LONG",
        }), -1111,
    ),
    "finer than the tick": (
        lambda c: c.fapiPrivatePostOrder({
            "symbol": "TESTUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "99.005",
            "timeInForce": "GTC", "positionSide": "LONG",
        }), -4014,
    ),
    "unknown order cancelled": (lambda c: c.cancel_order("77", S), -2011),
    "order cancelled twice": (lambda c: [c.cancel_order(order(c)["id"], S)] * 2 and c.cancel_order("1", S), -2011),
    "unknown order asked for": (lambda c: c.fetch_order("77", S), -2013),
    "mode that is set": (lambda c: c.set_position_mode(True), -4059),
    "mode with an order": (after(limit(), lambda c: c.set_position_mode(False)), -4067),
    "mode with a position": (after(market, lambda c: c.set_position_mode(False)), -4068),
    "margin type that is set": (lambda c: c.set_margin_mode("cross", S), -4046),
    "margin type with an order": (after(limit(), lambda c: c.set_margin_mode("isolated", S)), -4047),
    "margin type with a position": (after(market, lambda c: c.set_margin_mode("isolated", S)), -4048),
    "order on isolated margin": (after(lambda c: c.set_margin_mode("isolated", S), limit()), -1130),
    "leverage there is not": (lambda c: c.set_leverage(60, S), -4028),
    "leverage too low for what is open": (after(limit(qty=400.0), lambda c: c.set_leverage(2, S)), -2028),
    "amended to what it is": (lambda c: c.edit_order(order(c)["id"], S, "limit", "buy", 1.0, 99.0), -5027),
    "cursor and time": (lambda c: c.fetch_my_trades(S, since=c.milliseconds(), params={"fromId": 1}), -1128),
    "interval there is not": (lambda c: c.fetch_ohlcv(S, "1m"), -1120),
    "no such symbol": (lambda c: c.fapiPublicGetKlines({"symbol": "NONE", "interval": "15m"}), -1121),
    "no such path": (lambda c: c.fapiPublicGetDepth({"symbol": "TESTUSDT"}), -5000),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_exchange_refuses(paper, case):
    action, code = RULES[case]
    error = raised(paper.client, action)
    assert f'"code":{code},' in str(error)
    assert type(error) is CLASSES.get(code, type(error))


def test_two_hundred_orders_of_a_symbol_are_the_most(rest):
    for number in range(200):
        assert "orderId" in rest.limit("BUY", "LONG", 0.1, 90.0)
        rest.api.limits = Limits()
    assert rest.limit("BUY", "LONG", 0.1, 90.0)["code"] == -2025


def test_beyond_the_bracket_of_the_leverage(make_rest):
    rest = make_rest(cash=1e13, leverage=1.0)
    assert rest.limit("BUY", "LONG", 9_000.0, 99.0)["status"] == "NEW"
    rest.exchange.books["TESTUSDT"].max_notional = 1_000_000.0
    assert rest.limit("BUY", "LONG", 9_000.0, 99.0)["code"] == -2027


# --- who asks, and when


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"key": "other"}, -2015, 401),
        ({"key": ""}, -2014, 401),
        ({"secret": "other"}, -1022, 400),
        ({"skew": -5_001}, -1021, 400),
        ({"skew": 1_000}, -1021, 400),
        ({"skew": -5_000}, None, 200),
        ({"skew": 999}, None, 200),
    ],
)
def test_requests_are_signed_and_fresh(rest, change, code, status):
    for name, value in change.items():
        setattr(rest, name, value)
    assert rest.get("openOrders", symbol="TESTUSDT") == [] if code is None else rest.get("openOrders")["code"] == code
    assert rest.status == status


def test_window_is_the_requests_own(rest):
    rest.skew = -9_000
    assert rest.get("openOrders", recvWindow=10_000) == []
    assert rest.get("openOrders", recvWindow=60_001)["code"] == -1130


# --- nonsense

NONSENSE = ("", " ", "x", "-1", "0", "1e999", "nan", "true", "[]", "[1]", "[{}]", "{}", "9" * 30, "\u00e9")
NAMES = (
    "symbol", "side", "positionSide", "type", "quantity", "price", "timeInForce", "triggerPrice", "algoType", "orderId",
    "origClientOrderId", "newClientOrderId", "clientAlgoId", "algoId", "startTime", "endTime", "limit", "fromId",
    "page", "interval", "leverage", "marginType", "dualSidePosition", "countdownTime", "batchOrders", "orderIdList",
    "origClientOrderIdList", "closePosition", "reduceOnly", "recvWindow", "workingType",
)  # fmt: skip
SENSE = {
    "symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "type": "LIMIT", "quantity": 1, "price": 99.0,
    "timeInForce": "GTC", "triggerPrice": 95.0, "algoType": "CONDITIONAL", "interval": "15m", "marginType": "CROSSED",
    "dualSidePosition": "true", "countdownTime": 1000, "leverage": 5,
}  # fmt: skip


@pytest.mark.parametrize("route", sorted(ENDPOINTS), ids=" ".join)
def test_nonsense_is_answered_and_not_understood(rest, route):
    method, path = route
    _, _, version, name = path.split("/", 3)
    rng = random.Random(path)
    rest.api.limits = Limits(*[float("inf")] * 3)
    for _ in range(60):
        params = {field: value for field, value in SENSE.items() if rng.random() < 0.8}
        params |= {field: rng.choice(NONSENSE) for field in rng.sample(NAMES, rng.randrange(3))}
        answer = rest.ask(method, name, version, **params)
        assert isinstance(answer, dict | list) and rest.status in (200, 400, 401)
        assert rest.status == 200 or answer["code"] < -1000
