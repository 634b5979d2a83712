"""The store keeps ccxtbt's interface."""

import sys
import threading
import types

import ccxt
import pytest

from feeds.live import LiveFeed
from gridv4_bt.errors import ConfigError
from gridv4_bt.live.ccxt_store import CCXTStore, ccxtbt_client
from gridv4_bt.live.clock import WallClock
from gridv4_bt.live.connection import Refused


class Client:
    """A scripted ccxt client: a name, then its answer or error."""

    last_json_response = last_http_response = last_response_headers = None

    def __init__(self, **answers):
        self.answers, self.calls = answers, []

    def __getattr__(self, name):
        if name not in self.__dict__.get("answers", {}):
            raise AttributeError(name)

        def call(*args):
            self.calls.append((name, *args))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def make(**answers) -> tuple[CCXTStore, Client]:
    client = Client(**answers)
    return CCXTStore(client, "USDT", {}, 5, False, clock=WallClock(threading.Event())), client


def test_the_balance_is_read_as_ccxtbt_reads_it():
    store, _ = make(fetch_balance={"free": {"USDT": 70.0}, "total": {"USDT": 100.0}})
    assert store.get_balance() == (70.0, 100.0)
    assert (store._cash, store._value) == (70.0, 100.0)


def test_an_order_whose_answer_is_lost_is_never_sent_again():
    store, client = make(create_order=ccxt.RequestTimeout("binanceusdm POST"))
    with pytest.raises(Refused):
        store.create_order("BTC/USDT:USDT", "market", "buy", 0.1, None, {})
    assert len(client.calls) == 1


def test_candles_orders_and_private_paths():
    rows = [[0, 1.0, 2.0, 0.5, 1.5, 3.0]]
    store, client = make(fetch_ohlcv=rows, fetch_open_orders=[], private_get_account_config={"canTrade": True})
    assert store.fetch_ohlcv("BTC/USDT:USDT", "15m", 0, 1) == rows
    assert store.fetch_open_orders() == []
    assert store.private_end_point("Get", "/account/config", {}) == {"canTrade": True}
    assert store.exchange is client


def test_its_data_is_a_live_feed():
    store, _ = make(load_markets={}, market={"id": "BTCUSDT"})
    data = store.getdata(dataname="BTC/USDT:USDT")
    assert isinstance(data, LiveFeed) and data._name == "BTCUSDT" and data.islive()


def test_an_unknown_exchange_and_a_missing_broker_are_named():
    with pytest.raises(ConfigError, match="unknown to ccxt"):
        CCXTStore("nowhere", "USDT", {})
    store, _ = make()
    with pytest.raises(ConfigError, match="belongs to a session"):
        store.getbroker()
    broker = object()
    assert store.getbroker(broker) is store.getbroker() is broker


def test_the_real_package_lends_its_client_only(monkeypatch):
    with pytest.raises(ConfigError, match="not on the package index"):
        ccxtbt_client("USDT", {})
    made = []

    class Store:
        def __init__(self, exchange, currency, config, retries):
            made.append((exchange, currency, config, retries))
            self.exchange = getattr(ccxt, exchange)(config)
            if "secret" in config:
                self.exchange.fetch_balance()  # as the package does, and it cannot be told of the demo environment

    monkeypatch.setitem(sys.modules, "ccxtbt", types.SimpleNamespace(CCXTStore=Store))
    config = {"apiKey": "k", "secret": "s", "options": {"recvWindow": 5_000}}
    client = ccxtbt_client("USDT", config)
    assert made == [("binanceusdm", "USDT", {"options": {"recvWindow": 5_000}}, 1)]
    assert (client.apiKey, client.secret, client.options["recvWindow"]) == ("k", "s", 5_000)
    assert client.urls["api"]["fapiPrivate"].startswith("https://fapi.binance.com/")
    demo = ccxtbt_client("USDT", config, demo=True)
    assert demo.urls["api"]["fapiPrivate"].startswith("https://demo-fapi.binance.com/")
