"""Faults by script and at random; what they are to a client is in `test_errors`."""

import json

import pytest
from paper_exchange import STILL

from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.faults import KINDS, make_faults, random_faults, read_faults
from gridv4_bt.exchange.messages import Request

TIME = Request("GET", "/fapi/v1/time")


def faulty(rest, count=10):
    """Return for each of so many requests for the time whether it got a fault."""
    return [rest.api.respond(TIME).status != 200 for _ in range(count)]


def test_skip_and_times(rest):
    rest.faults({"on": "time", "kind": "unavailable", "skip": 2, "times": 3})
    assert faulty(rest) == [False] * 2 + [True] * 3 + [False] * 5


def test_rule_is_about_its_path_and_method(rest):
    rest.faults({"on": "POST /fapi/v1/time", "kind": "unavailable"}, {"on": "klines", "kind": "unavailable"})
    assert not any(faulty(rest))


def test_probability_is_the_same_with_the_same_seed(rest):
    def drawn(seed):
        rest.faults({"kind": "unavailable", "times": 0, "probability": 0.5}, seed=seed)
        return faulty(rest, 60)

    assert drawn(1) == drawn(1) != drawn(2)
    assert 15 < sum(drawn(1)) < 45


def test_random_faults_hit_about_the_share_wanted(rest):
    rest.api.faults = random_faults(3, 0.2)
    plain = b'{"serverTime":%d}' % rest.exchange.now
    hit = 0
    for _ in range(500):
        response = rest.api.respond(TIME)
        hit += response.status != 200 or response.share < 1.0 or response.body != plain
    assert 60 < hit < 140


def test_stale_and_short_lists_of_open_orders(rest):
    rest.limit("BUY", "LONG", 1.0, 98.0)
    before = rest.get("openOrders")
    rest.limit("BUY", "LONG", 1.0, 97.0)
    rest.faults({"on": "openOrders", "kind": "stale_orders"}, {"on": "openOrders", "kind": "short_orders"})
    assert rest.get("openOrders") == before
    assert [one["price"] for one in rest.get("openOrders")] == ["98"]
    assert [one["price"] for one in rest.get("openOrders")] == ["98", "97"]


def test_trades_come_late_and_pages_twice(rest):
    for _ in range(3):
        rest.market("BUY", "LONG", 1.0)
        rest.advance()
    rest.faults(
        {"on": "userTrades", "kind": "late_trades", "ms": 900_001}, {"on": "userTrades", "kind": "same_page", "skip": 1}
    )
    assert [one["id"] for one in rest.get("userTrades", symbol="TESTUSDT")] == [1, 2]
    first = rest.get("userTrades", symbol="TESTUSDT", fromId=1, limit=2)
    assert rest.get("userTrades", symbol="TESTUSDT", fromId=3, limit=2) == first
    assert [one["id"] for one in rest.get("userTrades", symbol="TESTUSDT", fromId=3, limit=2)] == [3]


def test_order_is_filled_in_part_while_it_is_cancelled(rest):
    number = rest.limit("BUY", "LONG", 1.0, 98.0)["orderId"]
    rest.faults({"on": "DELETE /fapi/v1/order", "kind": "partial_cancel", "share": 0.3})
    answer = rest.delete("order", symbol="TESTUSDT", orderId=number)
    assert (answer["status"], answer["executedQty"]) == ("CANCELED", "0.3")
    [trade] = rest.get("userTrades", symbol="TESTUSDT")
    assert (trade["price"], trade["qty"], trade["maker"]) == ("98", "0.3", True)


def test_the_first_order_of_a_batch_is_filled_in_part_while_it_is_cancelled(rest):
    numbers = [str(rest.limit("BUY", "LONG", 1.0, price)["orderId"]) for price in (98.0, 97.0)]
    rest.faults({"on": "DELETE /fapi/v1/batchOrders", "kind": "partial_cancel", "share": 0.3})
    answers = rest.delete("batchOrders", symbol="TESTUSDT", orderidlist=f"[{','.join(numbers)}]")
    assert [answer["executedQty"] for answer in answers] == ["0.3", "0"]
    assert [trade["qty"] for trade in rest.get("userTrades", symbol="TESTUSDT")] == ["0.3"]


def test_owner_trades_by_hand_and_a_leg_is_liquidated(rest):
    rest.market("BUY", "LONG", 2.0)
    rest.faults(
        {
            "on": "positionRisk",
            "kind": "by_hand",
            "symbol": "TESTUSDT",
            "side": "SELL",
            "positionSide": "LONG",
            "quantity": 0.5,
        },
        {"on": "positionRisk", "kind": "liquidated", "symbol": "TESTUSDT", "positionSide": "LONG"},
    )
    assert rest.get("positionRisk", "v3")[0]["positionAmt"] == "1.5"
    assert rest.get("positionRisk", "v3")[0]["positionAmt"] == "0"
    orders = rest.exchange.order_records.orders
    names = [orders[one["orderId"]].client_id for one in rest.get("userTrades", symbol="TESTUSDT")]
    assert names[1].startswith("web_") and names[2].startswith("autoclose-")


def test_overload_spares_what_protects(rest):
    rest.market("BUY", "LONG", 1.0)
    rest.faults({"on": "/fapi/v1/order", "kind": "overloaded", "times": 0})
    assert rest.limit("BUY", "LONG", 1.0, 98.0)["code"] == -1008
    assert rest.market("SELL", "LONG", 1.0)["status"] == "FILLED"
    assert rest.delete("order", symbol="TESTUSDT", orderId=9)["code"] == -2011


def test_restart_keeps_the_account(make_rest):
    rest = make_rest([STILL] * 20)
    rest.market("BUY", "LONG", 1.0)
    rest.limit("BUY", "LONG", 1.0, 98.0)
    rest.advance(3)
    exchange, account = rest.exchange, rest.get("account", "v3")
    rest.faults({"on": "account", "kind": "restart"})
    rest.get("account", "v3")
    assert rest.response.share == 0.0
    assert rest.exchange is not exchange
    assert rest.get("account", "v3") == account
    assert len(rest.get("openOrders")) == 1


def test_every_kind_is_told_and_does_something(rest):
    for kind in KINDS:
        rest.faults({"kind": kind, "symbol": "TESTUSDT", "quantity": 1.0})
        rest.limit("BUY", "LONG", 1.0, 98.0, "GTX")
        rest.get("openOrders")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"fault": [{"kind": "nonsense"}]}, "fault 1: kind 'nonsense' is none of lost_before"),
        ({"fault": [{"kind": "cut"}, {"kind": "cut", "probability": 2}]}, "fault 2: probability"),
        ({"fault": [{"kind": "cut", "often": 2}]}, "fault 1: often"),
        ({"fault": ["cut"]}, "fault is a list"),
        ({"faults": []}, "faults is unknown"),
        ({"fault": 7}, "fault is a list"),
        ({"fault": {"kind": "cut"}}, "fault is a list"),
        ({"seed": "one"}, "seed 'one' is no whole number"),
        ({"random": "often"}, "random 'often' is no share"),
        ({"random": []}, "is no share"),
    ],
)
def test_wrong_scripts_are_refused(script, reason):
    with pytest.raises(ConfigError, match=reason):
        make_faults(script)


def test_scripts_are_read_from_files(tmp_path, rest):
    (tmp_path / "a.toml").write_text('seed = 1\n[[fault]]\nkind = "unavailable"\non = "time"\n')
    (tmp_path / "a.json").write_text(json.dumps({"seed": 1, "random": 0.5}))
    (tmp_path / "bad.toml").write_text("fault = 1 1")
    rest.api.faults = read_faults(tmp_path / "a.toml")
    assert faulty(rest, 2) == [True, False]
    assert isinstance(read_faults(tmp_path / "a.json"), type(rest.api.faults))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 60_000)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 60_000)
    for name in ("bad.toml", "none.toml", "list.json", "deep.json", "deep.toml"):
        with pytest.raises(ConfigError, match=name):
            read_faults(tmp_path / name)


def test_faults_are_set_and_removed_by_a_control_call(rest):
    script = json.dumps({"fault": [{"kind": "unavailable", "times": 0}]})
    assert rest.api.respond(Request("POST", "/gridv4/faults", body=script)).status == 200
    assert all(faulty(rest))
    rest.api.respond(Request("POST", "/gridv4/faults", body="{}"))
    assert not any(faulty(rest))
    assert rest.api.respond(Request("POST", "/gridv4/faults", body='{"fault": [{}]}')).status == 400
    assert rest.api.respond(Request("POST", "/gridv4/nothing")).status == 404
    assert rest.api.respond(Request("POST", "/gridv4/trade", body="{}")).status == 400
    assert isinstance(rest.api, Api)
