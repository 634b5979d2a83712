"""Keywords of buy and sell: those of the exchange are honoured, and none is ignored."""

import logging

import backtrader as bt
import pytest
from scripted import FREE, flat

LIMIT, STOP = bt.Order.Limit, bt.Order.Stop


def buy(size=1.0, **order):
    return lambda strategy: strategy.buy(size=size, **order)


def sell(size=1.0, **order):
    return lambda strategy: strategy.sell(size=size, **order)


def legs(done):
    return tuple(done.broker.getposition(done.strategy.data, side).size for side in ("LONG", "SHORT"))


# --- reduceOnly


def test_reduce_only_never_opens(run):
    done = run({1: buy(reduceOnly=True)}, flat(3))
    assert done.strategy.reasons() == ["-2022 ReduceOnly Order is rejected. The leg holds 0.0"]
    assert legs(done) == (0.0, 0.0)


def test_reduce_only_closes_what_is_held_and_its_rest_is_cancelled(run):
    done = run({1: buy(2.0), 3: sell(5.0, reduceOnly=True)}, flat(5), broker=FREE)
    assert legs(done) == (0.0, 0.0)
    assert done.strategy.statuses()[-2:] == ["Partial", "Canceled"]


def test_reduce_only_of_the_wrong_direction_is_rejected(run):
    done = run({1: buy(2.0), 3: buy(1.0, reduceOnly=True)}, flat(5), broker=FREE)
    assert done.strategy.reasons()[0].startswith("-2022")
    assert legs(done) == (2.0, 0.0)


def test_reduce_only_that_is_false_asks_for_nothing(run):
    assert legs(run({1: buy(reduceOnly=False)}, flat(3))) == (1.0, 0.0)


# --- params, as ccxt's programs send them


def test_params_hold_the_same_keywords(run):
    script = {1: sell(2.0, params={"positionSide": "SHORT"}), 3: buy(1.0, params={"positionSide": "LONG"})}
    assert legs(run(script, flat(5), broker=FREE)) == (1.0, -2.0)


def test_params_and_keywords_may_say_the_same_but_not_otherwise(run):
    same = run({1: buy(positionSide="LONG", params={"positionSide": "LONG"})}, flat(3))
    assert legs(same) == (1.0, 0.0)
    other = run({1: buy(positionSide="LONG", params={"positionSide": "SHORT"})}, flat(3))
    assert other.strategy.reasons()[0].startswith("-1130 Data sent for parameter 'positionSide' is not valid.")


def test_hedged_names_the_leg_by_what_the_order_does(run):
    # ccxt: in hedge mode a reduce-only sell is the LONG's, a plain one the SHORT's
    script = {
        1: buy(2.0, params={"hedged": True}),
        2: sell(3.0, params={"hedged": True}),
        4: sell(1.0, params={"hedged": True, "reduceOnly": True}),
    }
    assert legs(run(script, flat(6), broker=FREE)) == (1.0, -3.0)


def test_client_order_id_is_kept_in_the_orders_info(run):
    placed = []
    run({1: lambda s: placed.append(s.buy(size=1.0, params={"newClientOrderId": "x-1"}))}, flat(3))
    assert placed[0].info.params["newClientOrderId"] == "x-1"


# --- post-only


@pytest.mark.parametrize("words", [{"timeInForce": "GTX"}, {"postOnly": True}, {"params": {"timeInForce": "PO"}}])
def test_post_only_is_refused_rather_than_executed_as_taker(run, words):
    done = run({1: buy(exectype=LIMIT, price=100.5, **words)}, flat(3))
    assert done.strategy.reasons()[0].startswith("-5022")
    rests = run({1: buy(exectype=LIMIT, price=99.0, **words)}, flat(3))
    assert rests.account.fees == pytest.approx(99.0 * 0.0002)


# --- refused

UNKNOWN = {
    "a keyword of nobody": ({"foo": 1}, "-1104 Not all sent parameters were read: foo; known are positionSide"),
    "in small letters": ({"positionside": "LONG"}, "-1104 Not all sent parameters were read: positionside"),
    "in params": ({"params": {"foo": 1}}, "-1104 Not all sent parameters were read: foo"),
    "stop price": ({"params": {"stopPrice": 90.0}}, "-1104 .*: stopPrice; give exectype=bt.Order.Stop"),
    "close position": ({"params": {"closePosition": True}}, "-1104 .*: closePosition; close(positionSide=...)"),
    "leverage": ({"params": {"leverage": 3}}, "-1104 .*: leverage; give the broker leverage"),
    "trailing": ({"params": {"trailingPercent": 1.0}}, "-1104 .*: trailingPercent; give exectype=bt.Order.StopTrail"),
    "cheating": ({"coc": True}, "-1104 .*: coc; a market order fills at the next open"),
    "simulated": ({"simulated": True}, "-1104 .*: simulated"),
    "trade id": ({"tradeid": 7}, "-1104 .*: tradeid; each fill is a trade"),
    "trailing amount": ({"trailamount": 2.0}, "-1106 Parameter 'trailamount' sent when not required"),
    "params that are none": ({"params": "LONG"}, "-1130 Data sent for parameter 'params'"),
    "reduce-only that is a text": ({"reduceOnly": "yes"}, "-1130 Data sent for parameter 'reduceOnly'"),
    "reduce-only of a leg": ({"positionSide": "LONG", "reduceOnly": True}, "-1106 Parameter 'reduceOnly' sent when"),
    "at once or not at all": ({"exectype": LIMIT, "price": 99.0, "timeInForce": "IOC"}, "-1115 Invalid timeInForce"),
    "post-only market order": ({"postOnly": True}, "-1106 Parameter 'timeInForce' sent when not required"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_keyword_that_is_not_read_is_refused(run, case):
    words, reason = UNKNOWN[case]
    done = run({1: buy(**words)}, flat(3))
    assert done.strategy.statuses() == ["Submitted", "Rejected"]
    start, _, rest = reason.partition(" .*")
    [given] = done.strategy.reasons()
    assert given.startswith(start)
    assert rest in given
    assert legs(done) == (0.0, 0.0)


# --- a person is told


def test_a_refusal_is_warned_of_once_by_code_and_the_rest_is_counted(run, caplog):
    script = {bar: buy(1_000.0) for bar in range(1, 5)} | {5: buy(0.1005)}
    with caplog.at_level(logging.WARNING, "gridv4.broker"):
        run(script, flat(7))
    assert [record.getMessage() for record in caplog.records] == [
        "TEST 2024-01-01 00:00:00: buy 1000 Market refused: -2019 Margin is insufficient. "
        "(docs/troubleshooting.md#code-2019)",
        "TEST 2024-01-01 01:00:00: buy 0.1005 Market refused: -1111 Precision is over the maximum defined for this "
        "asset.: qty 0.1005 is no multiple of 0.001 (docs/troubleshooting.md#code-1111)",
        "TEST: 3 more orders refused with -2019",
    ]


def test_a_warning_is_seen_without_any_settings(run, capfd):
    # as in a script of a user, where nobody has configured logging
    logger = logging.getLogger("gridv4.broker")
    handlers, logger.propagate = logging.root.handlers, False
    try:
        run({1: buy(1_000.0)}, flat(3))
    finally:
        logger.propagate = True
    assert "-2019 Margin is insufficient" in capfd.readouterr().err
    assert logging.root.handlers is handlers


# --- how long an order rests


def test_an_order_valid_for_0_is_one_for_the_day_as_documented(run):
    # the first bar opens at 00:00: the 96th is the last of its day
    bars = flat(100)
    bars[97] = (95, 96, 90, 95)
    for valid in (0, bt.Order.DAY, 0.0):
        done = run({1: buy(exectype=LIMIT, price=90.0, valid=valid)}, bars)
        assert done.strategy.orders[-1][:2] == (97, "Expired")
