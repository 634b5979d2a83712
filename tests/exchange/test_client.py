"""The real ccxt clients, sync and async, trade through a socket."""

import asyncio

import ccxt
import pytest
import requests
from paper_exchange import QUARTER, START_MS, STILL, make_exchange

from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import ServerClock, async_client, sync_client, wired_session
from gridv4_bt.exchange.server import ServerThread

S = "TEST/USDT:USDT"
MARKET = [
    STILL,
    STILL,
    (100.0, 102.0, 96.0, 101.0, 50.0),  # fills the entry at 98
    (101.0, 104.0, 100.0, 103.0, 50.0),  # and its exit at 103
    (103.0, 103.0, 90.0, 92.0, 50.0),  # triggers the stop at 95
    *[(92.0, 92.0, 92.0, 92.0, 10.0)] * 10,
]


@pytest.fixture
def served():
    exchange = make_exchange(MARKET, funding=[(0, 0.0), (3, 0.001)], slippage=0.0)
    with ServerThread(Api(exchange)) as server:
        yield server.url


def test_sync_client_trades_a_grid_level_and_a_stop(served):
    clock = ServerClock(served)
    client = sync_client(served, clock.now)
    market = client.load_markets()[S]
    assert (market["precision"]["price"], market["limits"]["cost"]["min"]) == (0.01, 5.0)
    assert client.fetch_time() == START_MS + QUARTER
    client.set_position_mode(True)
    assert client.fetch_position_mode(S)["hedged"] is True
    client.set_leverage(10, S)
    assert client.fetch_leverage(S)["longLeverage"] == 10
    assert client.fetch_margin_mode(S)["marginMode"] == "cross"
    assert client.fetch_trading_fee(S)["maker"] == 0.0002
    assert client.fetch_leverage_tiers([S])[S][0]["maintenanceMarginRate"] == 0.01

    long = {"positionSide": "LONG"}
    entry = client.create_order(S, "limit", "buy", 2.0, 98.0, long | {"timeInForce": "GTX", "newClientOrderId": "e1"})
    assert (entry["status"], entry["clientOrderId"]) == ("open", "e1")
    client.create_order(S, "market", "sell", None, None, long | {"triggerPrice": 95.0, "closePosition": True})
    clock.next_bar(2)
    assert client.fetch_open_orders(S) == []
    assert client.fetch_order(None, S, {"origClientOrderId": "e1"})["average"] == 98.0
    [position] = client.fetch_positions([S])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 2.0, 98.0)
    [funding] = client.fetch_funding_history(S)
    assert funding["amount"] == pytest.approx(-2.0 * 101.0 * 0.001)

    client.create_order(S, "limit", "sell", 1.0, 103.0, long | {"timeInForce": "GTX"})
    clock.next_bar(2)
    found = [(trade["side"], trade["price"], trade["amount"]) for trade in client.fetch_my_trades(S)]
    assert found == [("buy", 98.0, 2.0), ("sell", 103.0, 1.0), ("sell", 95.0, 1.0)]
    assert client.fetch_positions([S]) == []
    balance = client.fetch_balance()
    wallet = 10_000 + 5.0 - 3.0 - 2 * 101 * 0.001 - 0.0002 * (196 + 103) - 0.0005 * 95
    assert balance["USDT"]["total"] == pytest.approx(wallet)
    client.session.close()
    clock.close()


def test_async_client_trades_cancels_and_amends(served):
    async def trade():
        clock = ServerClock(served)
        async with async_client(served, clock.now) as client:
            await client.load_markets()
            await client.set_position_mode(True)
            orders = await client.create_orders(
                [
                    {
                        "symbol": S,
                        "type": "limit",
                        "side": "buy",
                        "amount": 1.0,
                        "price": price,
                        "params": {"positionSide": "LONG"},
                    }
                    for price in (97.0, 96.0, 95.0)
                ]
            )
            assert len(orders) == 3
            amended = await client.edit_order(orders[0]["id"], S, "limit", "buy", 2.0, 97.5)
            assert (amended["amount"], amended["price"]) == (2.0, 97.5)
            await client.cancel_order(orders[1]["id"], S)
            with pytest.raises(ccxt.OrderNotFound):
                await client.cancel_order(orders[1]["id"], S)
            assert len(await client.fetch_open_orders(S)) == 2
            await client.cancel_all_orders(S)
            assert await client.fetch_open_orders(S) == []
            await client.create_order(S, "market", "sell", 1.0, None, {"positionSide": "SHORT"})
            [position] = await client.fetch_positions([S])
            assert (position["side"], position["contracts"]) == ("short", 1.0)
        clock.close()

    asyncio.run(trade())


def test_async_client_sees_broken_connections_as_in_production(served):
    async def trade(kind):
        requests.post(f"{served}/gridv4/faults", json={"fault": [{"on": "POST /fapi/v1/order", "kind": kind}]})
        clock = ServerClock(served)
        async with async_client(served, clock.now) as client:
            await client.load_markets()
            with pytest.raises(ccxt.BaseError) as error:
                await client.create_order(S, "limit", "buy", 1.0, 98.0)
        clock.close()
        return type(error.value)

    assert asyncio.run(trade("lost_after")) is ccxt.ExchangeNotAvailable
    assert asyncio.run(trade("cut")) is ccxt.ExchangeError  # a trap: it is no OperationFailed


def test_every_other_host_is_blocked(served):
    client = sync_client(served)
    client.options["fetchCurrencies"] = True  # asks api.binance.com
    with pytest.raises(ccxt.NetworkError):
        client.fetch_currencies()
    for address in ("https://example.org/", "http://example.org/", "https://fapi.binance.com.example.org/"):
        with pytest.raises(requests.ConnectionError, match="no network"):
            client.session.get(address)
    client.session.close()
    with pytest.raises(requests.ConnectionError, match="no network"):
        wired_session(None).get("https://fapi.binance.com/fapi/v1/time")


def test_async_client_is_blocked_too(served):
    async def ask():
        async with async_client(served) as client:
            client.options["fetchCurrencies"] = True
            with pytest.raises(ccxt.NetworkError):
                await client.fetch_currencies()

    asyncio.run(ask())


def test_clock_of_a_stepped_exchange(served):
    clock = ServerClock(served)
    assert clock.now() == START_MS + QUARTER
    clock.sleep(90.0)
    assert clock.now() == START_MS + QUARTER + 90_000
    assert clock.next_bar()["time"] == START_MS + 2 * QUARTER
    assert clock.next_bar(12)["over"] is False
    with pytest.raises(ValueError, match="the candles end at"):
        clock.next_bar(3)
    assert clock.state()["over"] is True
    clock.close()


def test_client_that_asks_for_the_time_recovers_from_a_wrong_clock(served):
    clock = ServerClock(served)
    client = sync_client(served, clock.now)
    client.load_markets()
    requests.post(f"{served}/gridv4/faults", json={"fault": [{"kind": "clock", "ms": 30_000, "times": 0}]})
    with pytest.raises(ccxt.InvalidNonce):
        client.fetch_open_orders(S)
    client.load_time_difference()
    assert client.fetch_open_orders(S) == []
    client.session.close()
    clock.close()


def test_calls_of_a_bot_beside_trading(served):
    clock = ServerClock(served)
    client = sync_client(served, clock.now)
    client.load_markets()
    client.set_position_mode(True)
    long = {"positionSide": "LONG"}
    placed = [client.create_order(S, "limit", "buy", 1.0, price, long)["id"] for price in (97.0, 96.0, 95.0)]
    # what is cancelled already is silently missing
    client.cancel_order(placed[0], S)
    assert [order["status"] for order in client.cancel_orders(placed[:2], S)] == ["canceled"]
    stop = client.create_order(S, "market", "buy", 1.0, None, {"positionSide": "LONG", "triggerPrice": 105.0})
    assert client.fetch_order(stop["id"], S, {"trigger": True})["status"] == "open"
    assert client.cancel_order(stop["id"], S, {"trigger": True})["id"] == stop["id"]
    assert client.fetch_open_orders(S, params={"trigger": True}) == []
    assert [order["status"] for order in client.fetch_orders(S)] == ["canceled", "canceled", "open"]
    client.fapiPrivatePostCountdownCancelAll({"symbol": "TESTUSDT", "countdownTime": 60_000})
    clock.sleep(60.0)
    assert client.fetch_order(placed[2], S)["status"] == "canceled"
    client.create_order(S, "market", "buy", 1.0, None, {"hedged": True})
    client.create_order(S, "market", "sell", 1.0, None, {"hedged": True, "reduceOnly": True})
    assert [trade["side"] for trade in client.fetch_my_trades(S, since=START_MS)] == ["buy", "sell"]
    assert client.fetch_my_trades(S, params={"fromId": 2})[0]["id"] == "2"
    assert client.fetch_positions([S], {"method": "account"})[0]["contracts"] == 0.0
    assert client.fetch_bids_asks([S])[S]["bid"] == 100.0
    assert client.fetch_funding_rate_history(S)[0]["fundingRate"] == 0.0
    assert client.fetch_trading_fees()[S]["taker"] is not None
    assert client.fetch_ohlcv(S, "1h")[0][4] == 100.0
    with pytest.raises(ccxt.BadRequest):  # the raw reduceOnly of hedge mode
        client.create_order(S, "market", "sell", 1.0, None, {"positionSide": "LONG", "reduceOnly": True})
    client.session.close()
    clock.close()
