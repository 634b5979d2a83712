"""Paper trading: the real ccxt client against a local exchange, whose clock the session advances."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from feeds.candles import CandleFeed
from feeds.live import SETTLE_MS
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import MINUTE_MS
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.exchange.api import KEY, SECRET, Api
from gridv4_bt.exchange.client import ServerClock, wired_session
from gridv4_bt.exchange.database import Database
from gridv4_bt.exchange.embedded import EmbeddedClock, embedded_session
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.live.ccxt_client import make_client
from gridv4_bt.live.ccxt_store import CCXTStore
from gridv4_bt.live.clock import Clock, PeriodicTask, WallClock
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.gateway import Gateway
from gridv4_bt.live.keys import Keys
from gridv4_bt.live.logger import move_aside

_KEYS = Keys(KEY, SECRET)
_MARKET = "exchange.sqlite"  # the account of the local exchange
_PATIENCE = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds


class PaperClock:
    """The clock of a local exchange; waiting advances it, unless it runs by itself.

    Parameters
    ----------
    exchange : its own clock.
    speed : how many times faster than real time it is advanced; infinity never waits.
    """

    def __init__(self, exchange: ServerClock | EmbeddedClock, speed: float, stop: threading.Event) -> None:
        self.on_step: Callable[[], bool] = lambda: True  # its time is the exchange's
        self._server = exchange
        self._speed = speed
        self._stop = stop
        self._over = False
        self._tasks: list[PeriodicTask] = []
        state = self._server.state()
        self._now = int(state["time"])
        self._runs = state["speed"] > 0.0  # by itself
        if self._runs:
            self._speed = state["speed"]

    @property
    def ended(self) -> bool:
        """Return whether the session is to stop or the candles have ended."""
        return self._stop.is_set() or self._over

    def now(self) -> int:
        """Return the exchange's time, ms UTC."""
        if self._runs:
            self._now = int(self._ask(self._server.state)["time"])
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance the market by some seconds."""
        until = self.now() + round(1000 * seconds)
        while self._now < until:
            tasks = [task for task in self._tasks if task.in_pauses and not task.is_running]
            before = self._now
            self._advance(min([until, *(max(round(task.due), self._now + 1) for task in tasks)]))
            if self._now == before:  # the candles have ended, or the session is to stop
                break
            for task in tasks:
                task.run_if_due(self._time)

    def every(self, seconds: float, task: Callable[[], None], in_pauses: bool = False) -> None:
        """Run a task at an interval while waiting."""
        pause = round(1000 * seconds)
        self._tasks.append(PeriodicTask(pause, task, self._now + pause, in_pauses))

    def wait_until(self, time_ms: int) -> bool:
        """Advance the market to a time; return False if the session is to stop or the candles end before."""
        while self._now < time_ms and not self.ended:
            part: float = time_ms - self._now
            if self._speed != float("inf"):
                part = min(part, MINUTE_MS)
            for task in self._tasks:
                task.run_if_due(self._time)
                if not task.is_running:
                    part = min(part, task.due - self._now)
            part = min(part, time_ms - self._now)
            if part <= 0:  # a task has waited for the exchange
                continue
            self._stop.wait(part / 1000.0 / self._speed)
            before = self._now
            self._advance(self._now + round(part))
            if self._now == before:  # the last candle has closed, and may still be read
                self._over = time_ms > self._now + SETTLE_MS
                break
        return not self.ended

    def _time(self) -> int:
        return self._now

    def _advance(self, until: int) -> None:
        if not self._runs:
            self._now = int(self._ask(lambda: self._server.advance_to(until))["time"])
            return
        while True:
            state = self._ask(self._server.state)
            self._now = int(state["time"])
            left = (until - self._now) / 1000.0 / self._speed
            if left <= 0.0 or state["over"] or self._stop.wait(min(left, 1.0)):
                return

    def _ask(self, question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        for pause in _PATIENCE:
            try:
                return question()
            except (OSError, ValueError):
                time.sleep(pause)  # the exchange may be restarting
        try:
            return question()
        except OSError:
            raise Unreachable("the local exchange is gone") from None


@contextmanager
def paper_gateway(
    feeds: Sequence[CandleFeed],
    rules: Mapping[str, MarketHistory],
    config: GridConfig,
    cash: float,
    stop: threading.Event,
    speed: float = float("inf"),
    folder: Path | None = None,
    anew: GridConfig | None = None,
) -> Iterator[Gateway]:
    """Make recorded candles an exchange inside this process and yield the gateway to it.

    Trading begins once the history is long enough for the indicators.

    Parameters
    ----------
    folder : state directory; a market that was left there goes on, one that has ended is replaced by a new one.
    anew : config of a new market, where another one than that of a market that goes on.

    Raises
    ------
    DataError
        The candles are too few.
    """
    bars = min(len(feed.candles) for feed in feeds)
    needed = history_bars(config)
    if bars <= needed:
        raise DataError(f"{bars} bars are too few: {needed} warm up the indicators before trading begins")
    start = max(int(feed.candles.time[needed]) for feed in feeds)
    exchange = Exchange(feeds, rules, config, cash, start)
    store = None
    if folder is not None:
        store, goes_on = _open(folder, exchange)
        if not goes_on and anew is not None:
            exchange = Exchange(feeds, rules, anew, cash, start)
    try:
        api = Api(exchange, store=store)
        yield gateway_to(embedded_session(api), PaperClock(EmbeddedClock(api), speed, stop), stop)
    finally:
        if store is not None:
            store.close()


def _open(folder: Path, exchange: Exchange) -> tuple[Database, bool]:
    """Return the database of the market, and whether the market in it goes on.

    The files of a bot whose market has ended or is gone are moved aside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _MARKET
    if path.exists():
        store = Database(path)
        probe = exchange.anew()
        try:
            store.load(probe)
        except ConfigError:
            store.close()
            raise ConfigError(
                f"{path}: belongs to other candles: give the same --symbol, --from and --days to go on with it, or "
                "another --state-dir"
            ) from None
        if not probe.replay.over:
            return store, True
        store.close()
        path.unlink()
    move_aside(folder)
    return Database(path), False


def server_gateway(url: str, keys: Keys, stop: threading.Event) -> Gateway:
    """Return the gateway to any server that speaks Binance's REST, on this machine's clock set by its own."""
    client = make_client(keys, wired_session(url))
    client.enableRateLimit = True
    return Gateway(url, client, WallClock(stop), stop)


def gateway_at(url: str, clock: Clock, stop: threading.Event, keys: Keys = _KEYS, name: str = "paper") -> Gateway:
    """Return the gateway to a local exchange behind a socket."""
    return gateway_to(wired_session(url), clock, stop, keys, name)


def gateway_to(
    session: requests.Session, clock: Clock, stop: threading.Event, keys: Keys = _KEYS, name: str = "paper"
) -> Gateway:
    """Return the gateway to a local exchange; `session` leads to it."""
    client = make_client(keys, session)
    client.milliseconds = clock.now
    return Gateway(name, client, clock, stop)


def local_store(url: str, speed: float = float("inf")) -> CCXTStore:
    """Return the store of a local exchange behind a socket, for a script that is to trade live later.

    Parameters
    ----------
    speed : how many times faster than real time its market goes on; infinity never waits.
    """
    stop = threading.Event()
    return CCXTStore.at(gateway_at(url, PaperClock(ServerClock(url), speed, stop), stop, name=url))
