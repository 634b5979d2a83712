"""A short, lively market, and live sessions on it: inside the process, or behind a real socket."""

import csv
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from busy import BUSY_FILE
from busy_market import busy_market

pytest.importorskip("aiohttp")

from feeds.candles import CandleFeed
from feeds.synthetic import SYMBOL
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import load_config
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.exchange.embedded import EmbeddedClock, embedded_session
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.live.ccxt_store import CCXTStore
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.ids import parse_id
from gridv4_bt.live.paper import PaperClock, gateway_at, gateway_to
from gridv4_bt.live.runner import Session
from gridv4_bt.validation.laws import Laws

#: Small steps, so that much happens in few bars.
LIVELY = ("floor_pct=0.003", "k=0.8", "levels=4")


class InProcess:
    """Stands in the place of a `ServerThread` where the socket is not what a test is about.

    The same client sends the same requests to the same exchange and gets the same answers, at less than half of the
    cost. Both ways trade as the backtest does: `test_live_equals_backtest_fill_for_fill_and_bar_for_bar` without a
    socket, `test_no_lost_answer_changes_what_is_traded` over one.
    """

    url = None  #: of a session: it is led to the exchange itself

    def __init__(self, api):
        self.api = api

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        pass

    def call(self, action):
        """Act on the exchange, as `ServerThread.call` does between two requests."""
        return action()


@dataclass
class Market:
    """A stretch of the busy market, its exchange and what sessions on it have said."""

    folder: object
    bars: int = 36
    first: int = 4_560  # much is traded from here on, and both legs are held for long
    settings: tuple = LIVELY
    watch: float = 0.0  #: seconds between looks inside a candle; 0 where a test is about something else
    by_minute: bool = False
    faults: list = field(default_factory=list)
    alerts: list = field(default_factory=list)
    second: str = ""  #: another symbol in the same wallet: an earlier stretch, at a fifteenth of the price
    third: str = ""  #: and one more, at a three hundredth

    def __post_init__(self):
        self.config = load_config(BUSY_FILE, list(self.settings))
        self.data = self._data()
        feeds = self._minutes() if self.by_minute else make_feeds(self.data)
        start = int(self.data[0].candles["time"].iloc[history_bars(self.config)].timestamp() * 1000)
        rules = {one.symbol: load_market_history(one.symbol) for one in self.data}
        self.exchange = Exchange(feeds, rules, self.config, 10_000.0, start)
        self.laws = Laws(intent)
        faults = Faults([Fault(**rule) for rule in self.faults])
        self.api = Api(self.exchange, faults=faults, observe=self.laws.observe)
        self.stop = threading.Event()

    def _minutes(self):
        """The same stretch by the minute: orders are filled inside the candles too."""
        market = busy_market(days=60)
        end = self.first + history_bars(self.config) + self.bars
        minutes = market.minutes.iloc[15 * self.first : 15 * end].reset_index(drop=True)
        return [CandleFeed(dataname=minutes, funding=market.funding, name=SYMBOL, interval="1m")]

    def _data(self):
        market = busy_market(days=60)
        end = self.first + history_bars(self.config) + self.bars
        candles = market.candles.iloc[self.first : end].reset_index(drop=True)
        data = [SymbolData(SYMBOL, candles, market.funding)]
        for symbol, earlier, share in ((self.second, 2_000, 15.0), (self.third, 3_200, 300.0)):
            if symbol:
                other = market.candles.iloc[self.first - earlier : end - earlier].reset_index(drop=True)
                prices = ["open", "high", "low", "close"]
                other[prices] = (other[prices] / share).round(2)
                other["time"] = candles["time"]
                data.append(SymbolData(symbol, other, market.funding))
        return data

    def backtest(self):
        """Return broker and records of the same stretch in the backtest."""
        cerebro = make_cerebro(make_feeds(self.data), self.config, 10_000.0)
        return run(cerebro).records, cerebro.broker

    def gateway(self, url):
        """Return the gateway to the exchange behind an address, None: inside this process."""
        if url is None:
            clock = PaperClock(EmbeddedClock(self.api), float("inf"), self.stop)
            return gateway_to(embedded_session(self.api), clock, self.stop)
        return gateway_at(url, PaperClock(ServerClock(url), float("inf"), self.stop), self.stop)

    def store(self, url):
        """Return the store of the exchange, as `local_store` does of an address."""
        self.stop.clear()
        return CCXTStore.at(self.gateway(url))

    @contextmanager
    def session(self, url, until=None, **plan):
        """Give a prepared session; `until`: it is asked to stop after so many bars."""
        gateway = replace(self.gateway(url), watch=self.watch)

        def on_bar(symbol):
            if until is not None and one.bars >= until:
                self.stop.set()

        notify = lambda title, text: self.alerts.append(f"{title}: {text}")  # noqa: E731
        symbols = [one.symbol for one in self.data]
        with Session(SessionPlan(symbols, self.config, self.folder, **plan), gateway, notify, on_bar) as one:
            one.prepare()
            yield one
        self.stop.clear()

    def live(self, until=None, between=None, server=InProcess):
        """Run a session to its end and return it; `server` is its way to the exchange."""
        with server(self.api) as way, self.session(way.url, until) as session:
            if between is not None:
                between(session)
            session.run()
            return session


def run_until_killed(session):
    """Trade to the end, and leave everything as a process leaves it that is killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "finish", lambda: None)
        session._cerebro.run()


def intent(client_id):
    """What an order of a bot of ours is for."""
    name = parse_id(client_id)
    return None if name is None else name[:-1]


def events(scene, kind):
    """Return what a session has written of one kind of event, oldest first."""
    lines = (scene.folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(one: str, other: str) -> bool:
    try:
        return bool(np.isclose(float(one or "nan"), float(other or "nan"), rtol=1e-9, atol=1e-9, equal_nan=True))
    except ValueError:
        return one == other


def differences(live: list[dict], backtest: list[dict]) -> list[str]:
    found = [f"{len(live)} rows against {len(backtest)}"] if len(live) != len(backtest) else []
    for number, (one, other) in enumerate(zip(live, backtest, strict=False)):
        found += [f"{number} {name}: {one[name]} {other[name]}" for name in other if not same(one[name], other[name])]
    return found
