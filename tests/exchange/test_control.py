"""The control pages: closed to web pages, and odd input is a 400 that changes nothing."""

import json
import random

import pytest
import requests
from paper_exchange import Rest, make_exchange

from gridv4_bt.exchange import control
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.database import snapshot
from gridv4_bt.exchange.endpoints import ENDPOINTS
from gridv4_bt.exchange.faults import KINDS
from gridv4_bt.exchange.limits import Limits
from gridv4_bt.exchange.messages import Request
from gridv4_bt.exchange.server import ServerThread

PAGES = [path for method, path in control._ACTIONS if method == "POST"]


@pytest.fixture
def served():
    api = Api(make_exchange())
    with ServerThread(api) as server:
        yield server.url


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8899"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "["}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:3000", "Origin": "http://localhost:3000"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize(("method", "page"), [("GET", "state"), ("POST", "advance"), ("POST", "faults")])
def test_control_pages_refuse_a_foreign_host_or_origin(served, headers, status, method, page):
    answer = requests.request(method, f"{served}/gridv4/{page}", headers=headers, data="{}", timeout=5)
    if headers.get("Host") == "[" and answer.status_code == 400:
        return  # refused by the HTTP parser already
    assert answer.status_code == status


def test_a_web_page_can_neither_trade_nor_advance(served):
    before = requests.get(f"{served}/gridv4/state", timeout=5).json()
    for page in PAGES:
        answer = requests.post(f"{served}/gridv4/{page}", headers={"Origin": "https://evil.example"}, timeout=5)
        assert answer.status_code == 403
    assert requests.get(f"{served}/gridv4/state", timeout=5).json() == before


@pytest.mark.parametrize(
    ("page", "body"),
    [
        ("advance", "[]"), ("advance", "null"), ("advance", "1"), ("advance", '"x"'), ("advance", "{"),
        ("advance", '{"bars": -1}'), ("advance", '{"bars": 1.5}'), ("advance", '{"bars": true}'),
        ("advance", '{"bars": "2"}'), ("advance", '{"bars": null}'), ("advance", '{"bars": NaN}'),
        ("advance", '{"until": 1e400}'), ("advance", '{"until": -5}'), ("advance", '{"ms": {}}'),
        ("advance", '{"ms": Infinity}'), ("advance", '{"hours": 3}'), ("advance", '{"ms": 1' + "0" * 5_000 + "}"),
        ("trade", "[1]"), ("trade", '{"symbol": [], "side": "BUY", "quantity": 1}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "LONG", "positionSide": "LONG", "quantity": 1}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "BUY", "positionSide": "UP", "quantity": 1}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "quantity": NaN}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "quantity": 1e308}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "quantity": -1}'),
        ("trade", '{"symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "quantity": {}}'),
        ("liquidate", '{"symbol": "TESTUSDT", "positionSide": "BOTH"}'), ("liquidate", '{"positionSide": "LONG"}'),
        ("liquidate", '{"symbol": {}, "positionSide": []}'), ("faults", "[[]]"), ("faults", '{"fault": 5}'),
        ("faults", '{"fault": [5]}'), ("faults", '{"random": 1e999}'), ("faults", '{"random": NaN}'),
        ("faults", '{"random": {}}'), ("faults", '{"random": 0.1, "mixture": "odd"}'),
        ("faults", '{"random": 0.1, "mixture": []}'), ("faults", '{"fault": [{"kind": []}]}'),
        ("faults", '{"fault": [{"kind": "slow", "seconds": 1e30}]}'),
        ("faults", '{"fault": [{"kind": "error", "status": 999}]}'),
        ("faults", '{"fault": [{"kind": "error", "code": 1e99}]}'), ("restart", "[" * 100_000),
    ],
)  # fmt: skip
def test_odd_input_is_a_400_and_changes_nothing(rest, page, body):
    before = json.dumps(snapshot(rest.exchange))
    response = rest.api.respond(Request("POST", f"/gridv4/{page}", body=body))
    assert (response.status, list(json.loads(response.body))) == (400, ["error"])
    assert json.dumps(snapshot(rest.exchange)) == before


VALUES = (
    None, True, False, 0, -1, 1, 2.5, 1e308, -1e308, 10**30, float("nan"), float("inf"), "", "x", "BUY", "LONG",
    "TESTUSDT", "slow", "²", "\x00", "\ud800", [], [1], {}, {"a": []},
)  # fmt: skip
NAMES = (
    "bars", "until", "ms", "symbol", "side", "positionSide", "quantity", "seed", "fault", "random", "mixture", "kind",
    "on", "skip", "times", "probability", "seconds", "lasts", "most", "code", "status", "text", "count", "share",
)  # fmt: skip
TEXTS = (
    "", "x", "-1", "0", "1", "1e308", "nan", "inf", "9" * 30, "²", "TESTUSDT", "BUY", "SELL", "LONG", "LIMIT", "MARKET",
    "STOP_MARKET", "GTX", "[1]", "[{}]", "[[]]", "{}", "true", "15m", "100", "CONDITIONAL", "\x00",
)  # fmt: skip
PARAMETERS = (
    "symbol", "side", "positionSide", "type", "quantity", "price", "timeInForce", "limit", "startTime", "endTime",
    "fromId", "orderId", "batchOrders", "orderidlist", "interval", "page", "countdownTime", "leverage", "algoType",
    "triggerPrice", "closePosition", "newClientOrderId", "algoId", "recvWindow", "reduceOnly",
)  # fmt: skip


def odd_body(rng):
    """A JSON text that may be anything."""
    names = rng.sample(NAMES, rng.randrange(0, 6))
    body = {name: rng.choice(VALUES) for name in names}
    if rng.random() < 0.4:
        rule = {name: rng.choice(VALUES) for name in rng.sample(NAMES, 4)}
        body = {"fault": [rule | {"kind": rng.choice(list(KINDS))}]}
    text = json.dumps(rng.choice((body, body, body, [body], rng.choice(VALUES))))
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.1 else text


@pytest.mark.parametrize("seed", range(3))
def test_no_input_of_a_control_page_is_a_500(seed):
    rng = random.Random(seed)
    api = Api(make_exchange())
    rest = Rest(api)
    rest.post("positionSide/dual", dualSidePosition="true")
    seen = set()
    for _ in range(1_500):
        method, page = rng.choice((*((("POST", page) for page in PAGES)), ("GET", "state"), ("PUT", "x")))
        response = api.respond(Request(method, f"/gridv4/{page}", body=odd_body(rng)))
        json.loads(response.body)
        seen.add(response.status)
        rest.limit("BUY", "LONG", 1.0, 98.0)  # faults that were set do no harm either
        assert rest.status < 600
    assert seen == {200, 400, 404}


@pytest.mark.parametrize("seed", range(3))
def test_no_odd_parameter_of_a_signed_request_fails_inside(rest, seed):
    rng = random.Random(seed)
    none = float("inf")
    rest.api.limits = Limits(none, none, none)
    for _ in range(1_500):
        method, path = rng.choice(list(ENDPOINTS))
        _, _, version, name = path.split("/", 3)
        given = {name: rng.choice(TEXTS) for name in rng.sample(PARAMETERS, rng.randrange(8))}
        if rng.random() < 0.7:
            given["symbol"] = "TESTUSDT"
        rest.ask(method, name, version, **given)
        assert rest.status < 500
