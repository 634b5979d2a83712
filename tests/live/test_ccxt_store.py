"""The store: ccxtbt's interface, and a user's own live script made of it."""

import atexit
import sys
import threading
import types
from dataclasses import replace
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import backtrader as bt
import ccxt
import numpy as np
import pytest
from live_market import LIVELY, differences, rows

from brokers.live import LiveHedgeBroker
from feeds.live import LiveFeed
from feeds.synthetic import SYMBOL
from gridv4_bt.backtest import make_cerebro, make_feeds
from gridv4_bt.config import backtrader_params
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.ccxt_store import CCXTStore
from gridv4_bt.live.ccxtbt_package import ccxtbt_store
from gridv4_bt.live.clock import WallClock
from gridv4_bt.live.gateway import Gateway, SessionPlan
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.paper import local_store
from gridv4_bt.live.runner import Session
from gridv4_bt.record.equity import write_equity
from gridv4_bt.record.trades import write_trades
from strategies.grid_v4 import GridStrategyV4

#: A live session of a script has at least 1,000 bars of history.
SCENE = {"first": 3_740, "settings": (*LIVELY, "warm_up=1000")}
NAME = "SAMPLE/USDT:USDT"


class Client:
    """A scripted ccxt client: a name, then its answer or error."""

    id = "binanceusdm"
    timeframes = {"1m": "1m", "15m": "15m", "1h": "1h", "1d": "1d", "1w": "1w"}
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


# --- requests


def test_the_balance_is_read_as_ccxtbt_reads_it():
    store, client = make(fetch_balance={"free": {"USDT": 70.0}, "total": {"USDT": 100.0, "BNB": None}})
    assert (store._cash, store._value, store.getposition()) == (70.0, 100.0, 100.0)
    assert len(client.calls) == 1  # what was read last
    assert store.get_balance() == (70.0, 100.0)
    assert store.getcash("USDT") == 70.0
    assert store.getposition("USDT") == 100.0
    assert store.getvalue("BNB") == 0.0
    assert store.get_wallet_balance("USDT", {"type": "future"}) == client.answers["fetch_balance"]
    assert client.calls[-1] == ("fetch_balance", {"type": "future"})


def test_an_order_whose_answer_is_lost_is_never_sent_again():
    store, client = make(create_order=ccxt.RequestTimeout("binanceusdm POST"))
    with pytest.raises(ccxt.RequestTimeout):
        store.create_order("BTC/USDT:USDT", "market", "buy", 0.1, None, {})
    assert len(client.calls) == 1


def test_candles_orders_and_private_paths():
    rows = [[0, 1.0, 2.0, 0.5, 1.5, 3.0]]
    store, client = make(
        fetch_ohlcv=rows,
        fetch_open_orders=[],
        fetch_order={"id": "7"},
        cancel_order={"id": "7"},
        fetch_trades=[],
        private_get_account_config={"canTrade": True},
        fapiPrivateV3GetAccount={"assets": []},
    )
    assert store.fetch_ohlcv("BTC/USDT:USDT", "15m", 0, 1) == rows
    assert store.fetch_open_orders() == store.fetch_trades("BTC/USDT:USDT") == []
    assert store.fetch_order("7", "BTC/USDT:USDT") == store.cancel_order("7", "BTC/USDT:USDT") == {"id": "7"}
    assert store.private_end_point("Get", "/account/config", {}) == {"canTrade": True}  # as ccxtbt's broker is asked
    assert store.private_end_point("Get", "fapiPrivateV3GetAccount", {}) == {"assets": []}  # as its store
    with pytest.raises(ConfigError, match="private_end_point"):
        store.private_end_point("Get", "/nowhere", {})
    assert store.exchange is client


def test_a_private_path_that_may_place_an_order_is_sent_once():
    store, client = make(fapiPrivatePostOrder=ccxt.RequestTimeout("binanceusdm POST"))
    with pytest.raises(ccxt.RequestTimeout):
        store.private_end_point("Post", "fapiPrivatePostOrder", {"symbol": "BTCUSDT"})
    assert len(client.calls) == 1


NO_ORDER = ccxt.OrderNotFound('binanceusdm {"code":-2011,"msg":"Unknown order sent."}')
FAILING = [
    ("cancel_order", NO_ORDER, lambda store: store.cancel_order("7", NAME)),
    ("create_order", ccxt.InsufficientFunds("-2019"), lambda store: store.create_order(NAME, "market", "buy", 9.0)),
    ("fetch_trades", ccxt.BadSymbol("NO/USDT"), lambda store: store.fetch_trades("NO/USDT")),
    ("fetch_order", ccxt.NetworkError("down"), lambda store: store.fetch_order("7", NAME)),
]


@pytest.mark.parametrize(("name", "error", "call"), FAILING, ids=[name for name, *_ in FAILING])
def test_a_request_that_fails_raises_ccxts_own_exception(name, error, call):
    store, _ = make(**{name: error})
    store.connection.attempts = 1
    with pytest.raises(type(error)) as raised:
        call(store)
    assert raised.value is error


def test_while_the_exchange_wants_silence_an_order_raises_ccxts_exception_of_a_rate_limit():
    store, client = make(
        create_order=ccxt.DDoSProtection('binanceusdm 418 {"code":-1003,"msg":"IP banned until 9999999999999."}')
    )
    for _ in range(2):
        with pytest.raises((ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
            store.create_order(NAME, "market", "buy", 0.1)
    assert len(client.calls) == 1


def test_the_broker_answers_what_ccxtbts_programs_ask_it():
    balance = {"free": {"USDT": 70.0}, "total": {"USDT": 100.0, "BNB": None}}
    store, client = make(fetch_balance=balance, private_get_account={"a": 1}, fapiprivate_get_accountconfig={"b": 2})
    broker = store.getbroker()
    assert broker.get_balance() == (70.0, 100.0)
    assert broker.get_wallet_balance("USDT", {"type": "future"}) == (70.0, 100.0)
    assert client.calls[-1] == ("fetch_balance", {"type": "future"})
    assert broker.get_wallet_balance("BNB") == broker.get_wallet_balance("LTC") == (0.0, 0.0)
    assert broker.private_end_point(type="Get", endpoint="/account", params={}) == {"a": 1}
    assert broker.private_end_point("Get", "accountConfig", {}, prefix="fapi") == {"b": 2}
    assert (broker.currency, broker.store) == ("USDT", store)


def test_a_second_store_is_a_second_account():
    first, second = make()[0], make()[0]
    assert first is not second
    assert first.exchange is not second.exchange


@pytest.mark.parametrize(
    ("timeframe", "compression", "name"),
    [
        (bt.TimeFrame.Minutes, 1, "1m"),
        (bt.TimeFrame.Minutes, 60, "1h"),
        (bt.TimeFrame.Days, 1, "1d"),
        (bt.TimeFrame.Weeks, 1, "1w"),
    ],
)
def test_the_names_of_candle_lengths_are_ccxts(timeframe, compression, name):
    assert make()[0].get_granularity(timeframe, compression) == name


# --- what is refused, and the way it names

REFUSED = [
    (lambda store: CCXTStore("nowhere", "USDT", {}), "unknown to ccxt"),
    (lambda store: CCXTStore("binanceusdm", {}, 5), "exchange, currency, config, retries"),
    (lambda store: CCXTStore(Client(), "USDT", {}, 0), "retries: 1 or more"),
    (lambda store: store.get_granularity(bt.TimeFrame.Minutes, 7), "no candles of 7 .*it has 1m, 15m"),
    (lambda store: store.get_granularity(bt.TimeFrame.Minutes, 30), "no candles of 30"),
    (lambda store: store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Weeks, compression=1), "resampledata"),
    (lambda store: store.getdata("BTC/USDT", drop_newest=False), "still forming"),
    (lambda store: store.getdata("BTC/USDT", fetch_ohlcv_params={"partial": True}), "store.fetch_ohlcv"),
    (lambda store: store.getdata("BTC/USDT", ohlcv_limit=0), "ohlcv_limit: 1 or more"),
    (lambda store: store.getdata("BTC/USDT", limit=5), "getdata has no limit"),
    (lambda store: store.getbroker(bot="My bot"), "1 to 6 of a-z and 0-9"),
    (lambda store: store.getbroker(dead_man=5), "15 to 3600"),
    (lambda store: store.getbroker(foreign_orders="keep"), "refuse, adopt, cancel"),
    (lambda store: store.getbroker(cash=100.0), "getbroker has no cash"),
    (lambda store: store.getbroker(broker_mapping={"order_types": {bt.Order.Stop: "trailing"}}), "stop_market"),
    (lambda store: store.getbroker(broker_mapping={"order_types": {bt.Order.Close: "market"}}), "leave it out"),
    (lambda store: store.getbroker(broker_mapping={"types": {}}), "broker_mapping has no types"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_honoured_is_refused(call, said):
    with pytest.raises(ConfigError, match=said):
        call(make()[0])


def test_live_feeds_of_two_lengths_are_refused_and_history_is_not():
    store, _ = make()
    store.getdata("BTC/USDT:USDT")
    assert store.getdata("BTC/USDT:USDT", timeframe=bt.TimeFrame.Days, compression=1, historical=True).bar_ms
    with pytest.raises(ConfigError, match="resampledata"):
        store.getdata("BTC/USDT:USDT", timeframe=bt.TimeFrame.Minutes, compression=1)


def test_the_mapping_that_ccxtbts_samples_pass_is_taken():
    types = {
        bt.Order.Market: "market",
        bt.Order.Limit: "limit",
        bt.Order.Stop: "stop-loss",
        bt.Order.StopLimit: "stop limit",
    }
    answers = {"closed_order": {"key": "status", "value": "closed"}, "canceled_order": {"key": "result", "value": 1}}
    broker = make()[0].getbroker(broker_mapping={"order_types": types, "mappings": answers})
    assert isinstance(broker, CCXTStore.BrokerCls) and issubclass(CCXTStore.BrokerCls, LiveHedgeBroker)


def test_its_data_is_a_live_feed():
    store, _ = make()
    data = store.getdata(dataname="BTC/USDT:USDT", ohlcv_limit=50, drop_newest=True)
    assert isinstance(data, CCXTStore.DataCls) and CCXTStore.DataCls is LiveFeed
    assert (data._name, data._dataname, data.islive(), data.warm_up_bars) == ("BTCUSDT", "BTC/USDT:USDT", True, 50)
    assert store.getdata("BTC/USDT:USDT", backfill_start=True).warm_up_bars == 1_000  # what one request may have
    assert not store.getdata("BTC/USDT:USDT", historical=True).islive()


# --- at a local exchange


class Seen(bt.Strategy):
    """Notes the bars it sees."""

    def __init__(self):
        self.times = []

    def next(self):
        self.times.append(int(self.data.datetime.datetime(0).replace(tzinfo=UTC).timestamp() * 1000))


@pytest.mark.parametrize(("minutes", "bars", "early"), [(15, 40, 0), (60, 10, 0), (15, 40, 60_000), (60, 10, 899_999)])
def test_history_runs_from_the_first_open_at_or_after_its_date_to_the_last_closed_candle(market, minutes, bars, early):
    scene = market(bars=12)
    length = minutes * 60_000
    now = scene.exchange.now // length * length
    begin = now - bars * length
    with ServerThread(scene.api) as server:
        store = local_store(server.url)
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.adddata(
            store.getdata(
                NAME,
                name=SYMBOL,
                compression=minutes,
                fromdate=datetime.fromtimestamp((begin - early) / 1000, UTC),
                historical=True,
            )
        )
        cerebro.addstrategy(Seen)
        [seen] = cerebro.run()
    assert seen.times == list(range(begin, now, length))


def script(store, scene, strategy=GridStrategyV4, **session):
    """A user's own live script."""
    values = scene.config.model_dump()
    exchange = {name: values[name] for name, _ in backtrader_params("exchange")}
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(state_dir=scene.folder, notify=scene.told, **session, **exchange))
    cerebro.adddata(store.getdata(NAME, name=SYMBOL))
    cerebro.addstrategy(strategy, **values)
    return cerebro


@pytest.fixture
def scene(market):
    scene = market(**SCENE)
    scene.told = lambda title, text: scene.alerts.append(f"{title}: {text}")
    return scene


def assert_as_in_the_backtest(scene, folder):
    records, _ = scene.backtest()
    assert len(records[0].trades) > 8
    write_trades(folder / "trades.csv", records)
    write_equity(folder / "equity.csv", records)
    for name in ("trades.csv", "equity.csv"):
        assert differences(rows(scene.folder / name), rows(folder / name)) == []


def test_a_script_of_a_dozen_lines_trades_as_the_backtest_does_and_ends_safely(scene, tmp_path):
    with ServerThread(scene.api) as server:
        cerebro = script(local_store(server.url), scene, bot="mine")
        cerebro.run()
    assert_as_in_the_backtest(scene, tmp_path)
    purposes = {one.client_id.split(".")[2][0] for one in scene.exchange.order_records.open_orders()}
    assert Purpose.ENTRY not in purposes
    assert all(one.client_id.startswith("mine.") for one in scene.exchange.order_records.open_orders())
    assert scene.exchange.countdowns == {}


class Listening(GridStrategyV4):
    """Notes what it is told of its orders."""

    def start(self):
        super().start()
        self.told = []

    def notify_order(self, order):
        self.told.append((order.getstatusname(), order.size, order.executed.size, order.executed.price))


def test_a_grid_hears_of_its_own_orders_as_in_the_backtest(scene):
    with ServerThread(scene.api) as server:
        [live] = script(local_store(server.url), scene, Listening, bot="mine").run()
    cerebro = make_cerebro(make_feeds(scene.data), scene.config, 10_000.0)
    cerebro.strats = []
    cerebro.addstrategy(Listening, **scene.config.model_dump())
    [backtest] = cerebro.run()
    assert {status for status, *_ in live.told} >= {"Submitted", "Accepted", "Canceled", "Completed"}
    assert len(live.told) > 300
    assert np.array([told[1:] for told in live.told]) == pytest.approx(np.array([one[1:] for one in backtest.told]))
    assert [told[0] for told in live.told] == [told[0] for told in backtest.told]


class Failing(GridStrategyV4):
    """A strategy with a bug that shows while it has entries at the exchange."""

    entries = 0

    def log_equity(self):
        super().log_equity()
        if self.entries:
            raise ZeroDivisionError
        self.entries = sum(side.book.entry_count for side in self.sides)


def test_a_script_that_fails_leaves_no_entries_once_the_program_ends(scene):
    with ServerThread(scene.api) as server:
        store = local_store(server.url)
        with pytest.raises(ZeroDivisionError):
            script(store, scene, Failing, bot="mine").run()
        assert any(".E" in one.client_id for one in scene.exchange.order_records.open_orders())
        store.stop()  # as at the end of the program
        held = [leg for leg in scene.exchange.books[SYMBOL].legs if leg.tracker.ids]
        assert not any(".E" in one.client_id for one in scene.exchange.order_records.open_orders())
        assert all(leg.stop is not None for leg in held)


def test_a_script_goes_on_where_the_one_before_was_killed(scene, tmp_path, monkeypatch):
    class Killed(GridStrategyV4):
        """Ends at its tenth decision."""

        def next(self):
            super().next()
            if self.memory.bar == 10:
                self.env.runstop()

    with ServerThread(scene.api) as server:
        store = local_store(server.url)
        first = script(store, scene, Killed, bot="mine", dead_man=0)
        monkeypatch.setattr(first.broker, "stop", lambda: None)
        first.run()
        atexit.unregister(store.stop)  # nor does it end safely
        store._session.close()
        script(local_store(server.url), scene).run()
    assert_as_in_the_backtest(scene, tmp_path)
    assert all(one.client_id.startswith("mine.") for one in scene.exchange.order_records.open_orders())


def test_a_state_directory_in_use_is_refused(scene):
    busy = pytest.raises(ConfigError, match="another bot works here")
    with ServerThread(scene.api) as server, scene.session(server.url), busy:
        script(local_store(server.url), scene).run()


# --- the real package


def place(scene, url):
    store = local_store(url)
    return Gateway("paper", store.exchange, store.clock, store.gateway.stop, watch=0.0)


def test_without_the_package_its_address_is_named(scene):
    if find_spec("ccxtbt") is not None:
        pytest.skip("the package ccxtbt is installed")
    with pytest.raises(ConfigError, match="bt_ccxt_store @ git"):
        ccxtbt_store(replace(make()[0].gateway))


def test_the_package_gets_the_way_to_the_exchange_at_once_and_keys_and_demo_mode_later(monkeypatch):
    class Store:
        """As the package's: a singleton that asks for the balance at once, if it has a secret."""

        def __init__(self, exchange, currency, config, retries):
            assert "secret" not in config and "apiKey" not in config
            self.exchange = getattr(ccxt, exchange)(config)

        @classmethod
        def getdata(cls, *args, **params):
            return cls.DataCls(*args, **params)

        @classmethod
        def getbroker(cls, *args, **params):
            return cls.BrokerCls(*args, **params)

    package = types.ModuleType("ccxtbt")
    package.CCXTStore, package.__spec__ = Store, ModuleSpec("ccxtbt", None)
    monkeypatch.setitem(sys.modules, "ccxtbt", package)
    own = ccxt.binanceusdm({"apiKey": "k", "secret": "s", "options": {"recvWindow": 5_000}})
    stop = threading.Event()
    gateway, store = ccxtbt_store(Gateway("demo", own, WallClock(stop), stop), demo=True)
    client = gateway.client
    assert client is store.exchange and client is not own and client.session is own.session
    assert (client.apiKey, client.secret, client.options["recvWindow"]) == ("k", "s", 5_000)
    assert client.urls["api"]["fapiPrivate"].startswith("https://demo-fapi.binance.com/")
    data, broker = store.getdata("BTC/USDT:USDT"), store.getbroker()
    assert isinstance(data, LiveFeed) and isinstance(broker, LiveHedgeBroker)
    assert data.p.source._exchange._connection is gateway.connection  # not the package's own requests


def test_the_real_package_gives_the_client_and_our_feed_and_broker_trade(scene, tmp_path):
    package = pytest.importorskip("ccxtbt")
    with ServerThread(scene.api) as server:
        gateway, store = ccxtbt_store(place(scene, server.url))
        assert isinstance(store, package.CCXTStore) and gateway.client is store.exchange
        plan = SessionPlan([SYMBOL], scene.config, scene.folder)
        with Session(plan, gateway, scene.told, store=store) as session:
            session.prepare()
            assert isinstance(session._cerebro.broker, LiveHedgeBroker)
            session.run()
    assert_as_in_the_backtest(scene, tmp_path)


def test_the_real_packages_retry_is_never_used(scene, monkeypatch):
    package = pytest.importorskip("ccxtbt")
    with ServerThread(scene.api) as server:
        gateway, store = ccxtbt_store(place(scene, server.url))
        for name in ("create_order", "cancel_order", "fetch_order", "fetch_open_orders", "fetch_ohlcv"):
            monkeypatch.setattr(package.CCXTStore, name, lambda *args, **more: 1 // 0)
        plan = SessionPlan([SYMBOL], scene.config, scene.folder)
        with Session(plan, gateway, scene.told, store=store) as session:
            session.prepare()
            session.run()
    assert session.broker.account.fills > 8


CALLS = {
    "get_granularity": (bt.TimeFrame.Minutes, 15),
    "fetch_trades": (NAME,),
    "fetch_ohlcv": (NAME, "15m", None, 3),
    "fetch_open_orders": (NAME,),
    "get_wallet_balance": ("USDT", {}),
    "getposition": (),
    "private_end_point": ("Get", "fapiPrivateV3GetAccount", {}),
}


def test_the_same_calls_have_the_same_answers_as_the_real_package(scene):
    pytest.importorskip("ccxtbt")
    with ServerThread(scene.api) as server:
        gateway, theirs = ccxtbt_store(place(scene, server.url))
        theirs.exchange.rateLimit = 0  # its pause before each request
        theirs.get_balance()
        ours = CCXTStore.at(gateway)
        gateway.client.set_position_mode(True)
        for name, words in CALLS.items():
            assert getattr(ours, name)(*words) == getattr(theirs, name)(*words), name
        price = float(ours.fetch_ohlcv(NAME, "15m", None, 1)[0][4]) * 0.9
        sent = []
        for store in (ours, theirs):
            params = {"positionSide": "LONG"}
            order = store.create_order(NAME, "limit", "buy", 0.05, round(price, 1), params)
            found = store.fetch_order(order["id"], NAME)
            cancelled = store.cancel_order(order["id"], NAME)
            sent.append(
                [(one["status"], one["side"], one["price"], one["amount"]) for one in (order, found, cancelled)]
            )
        assert sent[0] == sent[1]
        assert ours._cash == theirs._cash and ours._value == theirs._value
