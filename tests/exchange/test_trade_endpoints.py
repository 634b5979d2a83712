"""What becomes of orders. Price 100, slippage 0.02 %, taker fee 0.05 %, maker fee 0.02 %."""

import pytest
from paper_exchange import STILL

from gridv4_bt.engine.types import PositionSide

DOWN_TO_94 = (100.0, 101.0, 94.0, 98.0, 1000.0)
UP_TO_103 = (100.0, 103.0, 99.5, 102.0, 1000.0)


def statuses(rest):
    return [order.status for order in rest.exchange.order_records.orders.values()]


def trades(rest, **more):
    return [
        (float(one["price"]), float(one["qty"]), float(one["commission"]), one["maker"])
        for one in rest.get("userTrades", symbol="TESTUSDT", **more)
    ]


def wallet(rest):
    return float(rest.get("account", "v3")["totalWalletBalance"])


def risk(rest):
    return {
        row["positionSide"]: (float(row["positionAmt"]), float(row["entryPrice"]), float(row["unRealizedProfit"]))
        for row in rest.get("positionRisk", "v3")
    }


# --- market


def test_market_order_gets_the_last_price_worse_by_the_slippage_at_once(rest):
    answer = rest.market("BUY", "LONG", 2.0)
    assert (answer["status"], answer["executedQty"]) == ("FILLED", "2")
    assert "avgPrice" not in answer and "cumQuote" not in answer
    order = rest.get("order", symbol="TESTUSDT", orderId=answer["orderId"])
    assert (order["avgPrice"], order["cumQuote"]) == ("100.02", "200.04")
    assert trades(rest) == [(100.02, 2.0, pytest.approx(200.04 * 0.0005), False)]
    assert wallet(rest) == pytest.approx(10_000 - 200.04 * 0.0005)
    assert risk(rest)["LONG"] == (2.0, 100.02, pytest.approx(-0.04))


def test_market_order_waits_while_nothing_is_traded(make_rest):
    quiet = (100.0, 100.0, 100.0, 100.0, 0.0)
    rest = make_rest([STILL, quiet, (101.0, 102.0, 100.0, 101.0, 5.0), STILL])
    assert rest.market("BUY", "LONG", 1.0)["status"] == "NEW"
    rest.advance()
    assert trades(rest) == [(101.0 * 1.0002, 1.0, pytest.approx(101.0 * 1.0002 * 0.0005), False)]


# --- limit


def test_limit_rests_and_the_coming_bar_fills_it_at_its_price_as_maker(make_rest):
    rest = make_rest([STILL, DOWN_TO_94, STILL])
    assert rest.limit("BUY", "LONG", 1.0, 95.0)["status"] == "NEW"
    assert trades(rest) == []
    rest.advance()
    assert trades(rest) == [(95.0, 1.0, pytest.approx(95.0 * 0.0002), True)]
    assert statuses(rest) == ["FILLED"]


def test_limit_that_crosses_is_filled_at_once_at_its_limit_as_taker(rest):
    assert rest.limit("BUY", "LONG", 1.0, 101.0)["status"] == "FILLED"
    assert trades(rest) == [(101.0, 1.0, pytest.approx(101.0 * 0.0005), False)]


@pytest.mark.parametrize(("price", "status"), [(101.0, "FILLED"), (99.0, "EXPIRED")])
def test_immediate_or_cancel(rest, price, status):
    assert rest.limit("BUY", "LONG", 1.0, price, "IOC")["status"] == status
    assert rest.get("openOrders") == []


def test_volume_is_shared_by_a_participation_rate(make_rest):
    bars = [STILL, (100.0, 100.0, 94.0, 98.0, 10.0), (98.0, 98.0, 94.0, 98.0, 100.0), STILL]
    rest = make_rest(bars, participation=0.05)
    number = rest.limit("BUY", "LONG", 2.0, 95.0)["orderId"]
    rest.advance()
    order = rest.get("order", symbol="TESTUSDT", orderId=number)
    assert (order["status"], order["executedQty"]) == ("PARTIALLY_FILLED", "0.5")
    rest.advance()
    assert [qty for _, qty, _, _ in trades(rest)] == [0.5, 1.5]
    assert statuses(rest) == ["FILLED"]


def test_amended_order_is_another_one_in_the_queue(make_rest):
    rest = make_rest([STILL, DOWN_TO_94, STILL])
    first, second = (rest.limit("BUY", "LONG", 1.0, 96.0)["orderId"] for _ in range(2))
    rest.put("order", symbol="TESTUSDT", orderId=first, side="BUY", quantity=2.0, price=96.0)
    rest.advance()
    assert [one.order_id for one in rest.exchange.ledger.trades] == [second, first]
    assert [one.qty for one in rest.exchange.ledger.trades] == [1.0, 2.0]


def test_post_only_order_amended_through_the_market_is_cancelled(rest):
    number = rest.limit("BUY", "LONG", 1.0, 99.0, "GTX")["orderId"]
    answer = rest.put("order", symbol="TESTUSDT", orderId=number, side="BUY", quantity=1.0, price=100.0)
    assert answer["status"] == "CANCELED"


def test_amended_below_what_is_filled_is_cancelled(make_rest):
    rest = make_rest([STILL, (100.0, 100.0, 94.0, 98.0, 10.0), STILL], participation=0.05)
    number = rest.limit("BUY", "LONG", 2.0, 95.0)["orderId"]
    rest.advance()
    answer = rest.put("order", symbol="TESTUSDT", orderId=number, side="BUY", quantity=0.5, price=95.0)
    assert (answer["status"], answer["executedQty"]) == ("CANCELED", "0.5")


def test_refused_amendment_leaves_the_order_in_its_place(rest):
    number = rest.limit("BUY", "LONG", 1.0, 99.0)["orderId"]
    rest.limit("BUY", "LONG", 1.0, 99.0)
    alive = list(rest.exchange.singles.alive)
    assert rest.put("order", symbol="TESTUSDT", orderId=number, side="BUY", quantity=900.0, price=98.0)["code"] == -2019
    assert rest.exchange.singles.alive == alive


def test_closing_order_larger_than_what_is_left_of_its_leg_is_not_filled(make_rest):
    rest = make_rest([STILL, UP_TO_103, STILL])
    rest.market("BUY", "LONG", 2.0)
    rest.limit("SELL", "LONG", 2.0, 101.0)
    rest.market("SELL", "LONG", 1.0)
    rest.advance()
    assert statuses(rest) == ["FILLED", "NEW", "FILLED"]


def test_canonical_order_of_fills_in_one_bar(make_rest):
    wild = (100.0, 104.0, 95.0, 100.0, 1000.0)
    rest = make_rest([STILL, wild, wild, STILL], slippage=0.0)
    for side, leg in (("BUY", "LONG"), ("SELL", "SHORT")):
        rest.market(side, leg, 5.0)
    rest.limit("BUY", "SHORT", 1.0, 97.0, newClientOrderId="short-exit")
    rest.limit("SELL", "LONG", 1.0, 102.0, newClientOrderId="long-exit")
    rest.limit("SELL", "SHORT", 1.0, 103.0, newClientOrderId="short-far")
    rest.limit("BUY", "LONG", 1.0, 96.0, newClientOrderId="long-far")
    rest.limit("BUY", "LONG", 1.0, 99.0, newClientOrderId="long-near")
    rest.limit("SELL", "SHORT", 1.0, 101.0, newClientOrderId="short-near")
    rest.advance(2)
    names = {order.id: order.client_id for order in rest.exchange.order_records.orders.values()}
    assert [names[trade.order_id] for trade in rest.exchange.ledger.trades][2:] == [
        "long-near",
        "long-far",
        "short-near",
        "short-far",
        "long-exit",
        "short-exit",
    ]
    assert [trade.id for trade in rest.exchange.ledger.trades] == list(range(1, 9))


# --- conditional


def test_stop_that_closes_the_position(make_rest):
    rest = make_rest([STILL, DOWN_TO_94, STILL])
    rest.market("BUY", "LONG", 2.0)
    algo = rest.stop("SELL", "LONG", 95.0)
    assert (algo["algoStatus"], algo["closePosition"]) == ("NEW", True)
    assert rest.get("openOrders") == []
    assert [one["algoId"] for one in rest.get("openAlgoOrders")] == [algo["algoId"]]
    rest.advance()
    assert trades(rest)[1] == (pytest.approx(95.0 * 0.9998), 2.0, pytest.approx(190 * 0.9998 * 0.0005), False)
    done = rest.get("algoOrder", algoId=algo["algoId"])
    assert done["algoStatus"] == "FINISHED"
    order = rest.get("order", symbol="TESTUSDT", orderId=done["actualOrderId"])
    assert (order["status"], order["type"], order["origType"]) == ("FILLED", "MARKET", "STOP_MARKET")
    assert order["clientOrderId"] == algo["clientAlgoId"]
    assert risk(rest)["LONG"][0] == 0.0


def test_stop_of_a_leg_expires_when_the_leg_is_emptied(rest):
    rest.market("BUY", "LONG", 2.0)
    algo = rest.stop("SELL", "LONG", 95.0)
    rest.market("SELL", "LONG", 2.0)
    assert rest.get("algoOrder", algoId=algo["algoId"])["algoStatus"] == "EXPIRED"
    assert rest.delete("algoOrder", algoId=algo["algoId"])["code"] == -2011


def trailing(rest, rate, side="SELL", **more):
    return rest.post(
        "algoOrder", algoType="CONDITIONAL", symbol="TESTUSDT", side=side, positionSide="LONG",
        type="TRAILING_STOP_MARKET", quantity="1", callbackRate=rate, **more,
    )  # fmt: skip


def test_trailing_stop_is_met_by_its_trigger_before_the_bar_then_moved(make_rest):
    # 2 % behind 100: 98; behind the high of 103: 100.94, which the bar after meets
    rest = make_rest([STILL, UP_TO_103, (102.0, 102.5, 100.5, 101.0, 1000.0), STILL])
    rest.market("BUY", "LONG", 1.0)
    algo = trailing(rest, "2.0")
    assert (algo["orderType"], algo["triggerPrice"], algo["callbackRate"]) == ("TRAILING_STOP_MARKET", "98", "2")
    rest.advance()
    assert rest.get("algoOrder", algoId=algo["algoId"])["triggerPrice"] == "100.94"
    rest.advance()
    assert trades(rest)[1][0] == pytest.approx(100.94 * 0.9998)
    assert rest.get("algoOrder", algoId=algo["algoId"])["algoStatus"] == "FINISHED"


@pytest.mark.parametrize("rate", ["0.05", "10.5", "0.15"])
def test_trailing_stop_takes_tenths_of_a_percent_up_to_ten(rest, rate):
    assert trailing(rest, rate)["code"] == -2007


def test_triggered_stop_limit_is_a_limit_order_from_the_next_bar_on(make_rest):
    rest = make_rest([STILL, DOWN_TO_94, (95.0, 97.0, 95.0, 96.0, 10.0), STILL])
    rest.market("BUY", "LONG", 1.0)
    algo = rest.stop("SELL", "LONG", 95.0, 1.0, "STOP", price=96.0)
    rest.advance()
    [order] = rest.get("openOrders", symbol="TESTUSDT")
    assert (order["type"], order["price"], order["clientOrderId"]) == ("LIMIT", "96", algo["clientAlgoId"])
    rest.advance()
    assert trades(rest)[1][:2] == (96.0, 1.0)


def test_stop_of_a_quantity_and_cancelling_all_of_them(rest):
    rest.market("SELL", "SHORT", 2.0)
    rest.stop("BUY", "SHORT", 105.0, 1.0)
    rest.stop("BUY", "SHORT", 106.0)
    assert len(rest.get("openAlgoOrders", symbol="TESTUSDT")) == 2
    rest.delete("allOpenOrders", symbol="TESTUSDT")
    assert len(rest.get("openAlgoOrders", symbol="TESTUSDT")) == 2
    rest.delete("algoOpenOrders", symbol="TESTUSDT")
    assert rest.get("openAlgoOrders") == []
    assert {one["algoStatus"] for one in rest.get("allAlgoOrders", symbol="TESTUSDT")} == {"CANCELED"}


# --- batches and the dead man's switch


def test_batch_tells_of_each_order(rest):
    terms = {"symbol": "TESTUSDT", "side": "BUY", "positionSide": "LONG", "type": "LIMIT", "timeInForce": "GTC"}
    answer = rest.post(
        "batchOrders",
        batchOrders=[terms | {"quantity": "1", "price": "99"}, terms | {"quantity": "0.01", "price": "99"}],
    )
    assert (answer[0]["status"], answer[1]["code"]) == ("NEW", -4164)
    gone = rest.delete("batchOrders", symbol="TESTUSDT", orderIdList=[answer[0]["orderId"], 99])
    assert (gone[0]["status"], gone[1]["code"]) == ("CANCELED", -2011)
    assert rest.post("batchOrders", batchOrders=[terms] * 6)["code"] == -1130


def test_countdown_cancels_the_symbols_orders_unless_it_is_renewed(rest):
    rest.limit("BUY", "LONG", 1.0, 99.0)
    rest.market("BUY", "LONG", 1.0)
    rest.stop("SELL", "LONG", 95.0)
    rest.post("countdownCancelAll", symbol="TESTUSDT", countdownTime=120_000)
    rest.exchange.advance(rest.exchange.now + 100_000)
    rest.post("countdownCancelAll", symbol="TESTUSDT", countdownTime=120_000)
    rest.exchange.advance(rest.exchange.now + 100_000)
    assert len(rest.get("openOrders")) == 1
    rest.exchange.advance(rest.exchange.now + 20_000)
    assert rest.get("openOrders") == []
    assert len(rest.get("openAlgoOrders")) == 1
    rest.limit("BUY", "LONG", 1.0, 99.0)
    rest.advance(3)
    assert len(rest.get("openOrders")) == 1


def test_countdown_of_zero_stops_it(rest):
    rest.limit("BUY", "LONG", 1.0, 99.0)
    for wait in (1_000, 0):
        rest.post("countdownCancelAll", symbol="TESTUSDT", countdownTime=wait)
    rest.advance()
    assert len(rest.get("openOrders")) == 1


# --- positions and money


def test_partial_close_keeps_the_average_entry_and_realises_against_it(make_rest):
    bars = [STILL, (100.0, 110.0, 100.0, 110.0, 1000.0), (110.0, 120.0, 110.0, 120.0, 1000.0), STILL]
    rest = make_rest(bars, slippage=0.0, taker_fee=0.0)
    rest.market("BUY", "LONG", 1.0)
    rest.advance()
    rest.market("BUY", "LONG", 1.0)
    rest.advance()
    rest.market("SELL", "LONG", 1.0)
    # bought at 100 and 110: 105; sold at the open of 100, with a last price of 120
    assert risk(rest)["LONG"][:2] == (1.0, 105.0)
    assert float(rest.get("userTrades", symbol="TESTUSDT")[-1]["realizedPnl"]) == pytest.approx(-5.0)
    assert rest.exchange.account.wallet == pytest.approx(10_000.0)  # the engine closed the fill at 100
    assert wallet(rest) == pytest.approx(9_995.0)
    assert rest.exchange.margins.equity == pytest.approx(10_010.0)


def test_funding_is_one_row_of_income_without_a_leg(make_rest):
    rest = make_rest([STILL] * 5, funding=[(0, 0.0), (2, 0.001)], slippage=0.0)
    rest.market("BUY", "LONG", 3.0)
    rest.market("SELL", "SHORT", 1.0)
    rest.advance()
    [row] = rest.get("income", incomeType="FUNDING_FEE")
    assert (row["symbol"], float(row["income"])) == ("TESTUSDT", pytest.approx(-0.2))
    assert "positionSide" not in row


def test_account_that_cannot_keep_its_margin_is_liquidated(make_rest):
    crash = (100.0, 100.0, 50.0, 60.0, 1000.0)
    rest = make_rest([STILL, crash, STILL], slippage=0.0, taker_fee=0.0, liquidation_fee=0.0)
    rest.market("BUY", "LONG", 400.0)
    rest.limit("BUY", "LONG", 1.0, 40.0)
    rest.advance()
    # 10,000 + 400*(p - 100) = 0.01*400*p at p = 30,000/396
    price = 30_000.0 / 396.0
    last = rest.get("userTrades", symbol="TESTUSDT")[-1]
    assert (float(last["price"]), float(last["qty"])) == (pytest.approx(price), 400.0)
    order = rest.get("order", symbol="TESTUSDT", orderId=last["orderId"])
    assert order["clientOrderId"].startswith("autoclose-")
    assert statuses(rest) == ["FILLED", "EXPIRED", "FILLED"]
    assert wallet(rest) == pytest.approx(10_000 + 400 * (price - 100))


def test_liquidation_fee_is_a_row_of_income(rest):
    rest.market("BUY", "LONG", 1.0)
    rest.exchange.liquidate_leg("TESTUSDT", PositionSide.LONG)
    [row] = rest.get("income", incomeType="INSURANCE_CLEAR")
    assert float(row["income"]) == pytest.approx(-1.25)
    assert rest.exchange.liquidate_leg("TESTUSDT", PositionSide.LONG) is None


def test_one_way_mode_has_one_position_that_turns(rest):
    rest.post("positionSide/dual", dualSidePosition="false")
    rest.market("BUY", "BOTH", 1.0)
    rest.market("SELL", "BOTH", 3.0)
    assert risk(rest) == {"BOTH": (-2.0, pytest.approx(99.98), pytest.approx(-0.04))}
    assert rest.market("SELL", "BOTH", 1.0, reduceOnly="true")["code"] == -2022
    answer = rest.market("BUY", "BOTH", 5.0, reduceOnly="true")
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "2")
    assert rest.get("account", "v3")["positions"][0]["positionAmt"] == "0"


def test_leverage_binds_margin_of_positions_and_orders(rest):
    rest.post("leverage", symbol="TESTUSDT", leverage=10)
    rest.market("BUY", "LONG", 10.0)
    rest.limit("BUY", "LONG", 10.0, 90.0)
    account = rest.get("account", "v3")
    assert float(account["totalPositionInitialMargin"]) == pytest.approx(100.0)
    assert float(account["totalOpenOrderInitialMargin"]) == pytest.approx(90.0)
    assert float(account["availableBalance"]) == pytest.approx(rest.exchange.margins.equity - 190.0)
    assert rest.get("symbolConfig", symbol="TESTUSDT")[0]["leverage"] == 10


# --- what is remembered


def test_orders_are_forgotten_as_at_the_exchange(make_rest):
    rest = make_rest([STILL] * 9_000)
    cancelled = rest.limit("BUY", "LONG", 1.0, 99.0, newClientOrderId="c")["orderId"]
    rest.delete("order", symbol="TESTUSDT", origClientOrderId="c")
    filled = rest.market("BUY", "LONG", 1.0)["orderId"]
    day = 96
    rest.advance(3 * day)
    assert rest.get("order", symbol="TESTUSDT", orderId=cancelled)["status"] == "CANCELED"
    rest.advance()
    assert rest.get("order", symbol="TESTUSDT", orderId=cancelled)["code"] == -2013
    assert rest.get("order", symbol="TESTUSDT", orderId=filled)["status"] == "FILLED"
    rest.advance(87 * day)
    assert rest.get("order", symbol="TESTUSDT", orderId=filled)["code"] == -2013


def test_client_id_may_be_used_again_and_finds_the_newest(rest):
    first = rest.limit("BUY", "LONG", 1.0, 99.0, newClientOrderId="x")["orderId"]
    rest.delete("order", symbol="TESTUSDT", orderId=first)
    second = rest.limit("BUY", "LONG", 1.0, 98.0, newClientOrderId="x")["orderId"]
    assert rest.get("order", symbol="TESTUSDT", origClientOrderId="x")["orderId"] == second
