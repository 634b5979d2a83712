"""The API of the local exchange: it checks limits, signature and timestamp, and calls the endpoint.

It opens no sockets: it turns a `Request` into a `Response`. Paths under `/gridv4/`, which Binance does not have,
control the exchange itself.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.warm_up import REPLAY_BARS
from gridv4_bt.exchange import control, fault_effects
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.database import Database
from gridv4_bt.exchange.endpoints import ENDPOINTS
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.limits import Limits, TooMany
from gridv4_bt.exchange.messages import Request, Response, error_response, json_response, unavailable
from gridv4_bt.exchange.params import check_signature, check_timestamp
from gridv4_bt.exchange.wrong_clocks import WrongClocks

KEY, SECRET = "paper", "paper-secret"
_PAGED = ("/fapi/v1/openOrders", "/fapi/v1/userTrades", "/fapi/v1/income")
_LOG = logging.getLogger(__name__)


class Api:
    """The API of one exchange.

    Parameters
    ----------
    key, secret : with which requests must be signed.
    limits : of requests and orders; by default the exchange's own.
    store : where the state is saved after each request; a state in it is loaded first.
    faults : faults to apply to requests.
    observe : called after every request, those of control included, with the exchange, the request and its response.
    go_on : called with the exchange before every request to advance its time; its `speed`, if it has one, is in seconds
        of the market per second. Without it the exchange is advanced by control requests.
    """

    def __init__(
        self,
        exchange: Exchange,
        key: str = KEY,
        secret: str = SECRET,
        limits: Limits | None = None,
        store: Database | None = None,
        faults: Faults | None = None,
        go_on: Callable[[Exchange], None] | None = None,
        observe: Callable[[Exchange, Request, Response], None] | None = None,
    ) -> None:
        self.exchange = exchange
        self.limits = limits or Limits()
        self.faults = faults or Faults()
        self.pages: dict[str, bytes] = {}  #: last answer of each path that lists orders, trades or income
        self._key, self._secret = key, secret
        self._store = store
        self._go_on = go_on
        self._observe = observe
        self.clocks = WrongClocks()
        if store is not None and not store.load(exchange):
            store.save(exchange)
        self._saved = self._progress()

    @property
    def speed(self) -> float:
        """Seconds of the market per second, 0 if control requests advance it."""
        return getattr(self._go_on, "speed", 0.0)

    def respond(self, request: Request) -> Response:
        """Return the response to a request, after saving what the request changed."""
        response = self._respond(request)
        if self._observe is not None:
            self._observe(self.exchange, request, response)
        return response

    def _respond(self, request: Request) -> Response:
        self.tick()
        if request.path.startswith(control.PREFIX):
            response = json_response(*control.respond(self, request))
        else:
            fault = self._draw(request)
            response = self.serve(request) if fault is None else fault_effects.apply_fault(self, fault, request)
            if fault is None and request.path in _PAGED and response.status == 200:
                self.pages[request.path] = response.body
        if request.method != "GET" or self.exchange.order_records.changed or self._saved != self._progress():
            return response if self._save() else unavailable()
        return response

    def _draw(self, request: Request) -> Fault | None:
        """Return the fault of a request; inside a ban there is none, each request is refused alike."""
        exchange = self.exchange
        if self.limits.banned(exchange.now):
            return None
        return self.faults.draw(
            request.method, request.path, lambda fault: fault_effects.applies(exchange, fault, request), exchange.now
        )

    def tick(self) -> None:
        """Advance the time and save what that has changed."""
        if self._go_on is not None:
            self._go_on(self.exchange)
            if self._saved != self._progress():
                self._save()

    def serve(self, request: Request, skew: int = 0) -> Response:
        """Return the exchange's response; `skew` is by how much its clock is ahead for this request, ms."""
        exchange = self.exchange
        skew += self.clocks.ahead("server", exchange.now)
        endpoint = ENDPOINTS.get((request.method, request.path))
        if endpoint is None:
            return error_response(ApiError(-5000, request.path))
        headers: dict[str, str] = {}
        try:
            params = request.params
            headers = self.limits.spend(endpoint.weight(params), endpoint.orders(params), exchange.now)
            if endpoint.signed:
                check_signature(request.query, request.body, request.headers, self._key, self._secret)
                check_timestamp(params, exchange.now + skew)
            answer = endpoint.handler(exchange, params)
        except TooMany as error:
            return error_response(error, {"Retry-After": str(error.wait)})
        except ApiError as error:
            return error_response(error, headers)
        if request.path.endswith("/exchangeInfo"):
            answer["rateLimits"] = self.limits.rows()
        if request.path.endswith("/time"):
            answer["serverTime"] += skew
        return json_response(200, answer, headers)

    def restart(self) -> None:
        """Drop the state in memory and load the saved one, as a new process would."""
        if self._store is not None:
            self._reload(self._store)
            return
        with closing(Database(Path(":memory:"))) as store:
            store.save(self.exchange, whole=True)
            self._reload(store)

    def _reload(self, store: Database) -> None:
        self.exchange = self.exchange.anew()
        store.load(self.exchange)
        self._saved = self._progress()

    def close(self) -> None:
        """Close the database."""
        if self._store is not None:
            self._store.close()

    def _progress(self) -> tuple[int, int, bool, int]:
        replay = self.exchange.replay
        return replay.bar, replay.moment, replay.over, len(self.exchange.ledger.incomes)

    def _save(self) -> bool:
        try:
            if self._store is None:
                self.exchange.order_records.mark_stored()
            else:
                self._store.save(self.exchange)
        except sqlite3.Error as error:
            _LOG.error("the state cannot be kept (%s); the last request is undone. Is the disk full?", error)
            self.restart()
            return False
        self._saved = self._progress()
        return True


def open_api(
    feeds: Sequence[CandleFeed],
    config: GridConfig,
    *,
    cash: float = 10_000.0,
    start_ms: int | None = None,
    rules: Path | None = None,
    participation: float = INFINITY,
    database: Path | None = None,
    faults: Faults | None = None,
    limits: Limits | None = None,
    go_on: Callable[[Exchange], None] | None = None,
) -> Api:
    """Return the API of a local exchange that replays candles.

    Parameters
    ----------
    start_ms : where trading begins, UTC; by default after `REPLAY_BARS` bars, or half of them if there are fewer than
        twice as many.
    rules : a file of brackets or filters in place of the packaged table (see `load_market_history`).
    database : file of the state; a session saved in it goes on.
    The others are those of `Exchange` and `Api`.

    Raises
    ------
    ConfigError, DataError, MarketError
        The candles, the rules or the database do not fit.
    """
    if start_ms is None:
        times = feeds[0].candles.time
        start_ms = int(times[min(REPLAY_BARS, len(times) // 2)])
    markets = {feed.p.name: load_market_history(feed.p.name, rules) for feed in feeds}
    exchange = Exchange(feeds, markets, config, cash, start_ms, participation)
    store = Database(database) if database is not None else None
    return Api(exchange, limits=limits, store=store, faults=faults, go_on=go_on)
