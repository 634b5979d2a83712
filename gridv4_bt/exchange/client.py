"""The real ccxt clients, connected to a local exchange and to nothing else.

ccxt chooses its exceptions by the address of the exchange, so its addresses are not changed: its HTTP session sends
requests for Binance to the local server and refuses every other host.
"""

import http.client
import json
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt
import requests
import yarl
from requests.adapters import BaseAdapter, HTTPAdapter

from gridv4_bt.exchange.api import KEY, SECRET

BINANCE = ("fapi.binance.com",)
OPTIONS: Mapping[str, Any] = {
    "defaultType": "swap",
    "defaultSubType": "linear",
    "fetchMarkets": {"types": ["linear"]},
    "fetchCurrencies": False,
    "fetchMargins": False,
    "recvWindow": 5_000,
    "adjustForTimeDifference": False,
    "fetchOpenOrders": {"warnWithoutSymbol": False},
    "maxRetriesOnFailure": 0,
}


class Rewire(HTTPAdapter):
    """An HTTP adapter that sends the requests of one host to another server."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, unchanged but for its host."""
        parts = urlsplit(request.url)
        request.url = self._base + parts.path + (f"?{parts.query}" if parts.query else "")
        options["proxies"] = {}
        return super().send(request, **options)


class NoNet(BaseAdapter):
    """An HTTP adapter that refuses to connect, as on a machine without a network."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Raise ConnectionError."""
        raise requests.ConnectionError(f"no network: {request.url}")

    def close(self) -> None:
        """Do nothing."""


def wired_session(base: str | None, hosts: Collection[str] = BINANCE) -> requests.Session:
    """Return a session that sends requests for `hosts` to the server at `base`, if any, and refuses all others."""
    session = requests.Session()
    session.trust_env = False
    for prefix in ("https://", "http://"):
        session.mount(prefix, NoNet())
    for host in hosts if base else ():
        session.mount(f"https://{host}/", Rewire(base))
    return session


class WiredAsyncSession:
    """The same as an aiohttp session, for ccxt's asynchronous clients; create it inside a running loop."""

    def __init__(self, base: str, hosts: Collection[str] = BINANCE) -> None:
        self._session = aiohttp.ClientSession(trust_env=False)
        self._base = base
        self._hosts = frozenset(hosts)
        self.headers = self._session.headers

    def _request(self, method: str, url: Any, **options: Any) -> Any:
        if url.host not in self._hosts or url.scheme != "https":
            raise aiohttp.ClientConnectionError(f"no network: {url}")
        options["proxy"] = None
        return self._session.request(method, yarl.URL(self._base + url.raw_path_qs, encoded=True), **options)

    def get(self, url: Any, **options: Any) -> Any:
        """Send a GET request."""
        return self._request("GET", url, **options)

    def post(self, url: Any, **options: Any) -> Any:
        """Send a POST request."""
        return self._request("POST", url, **options)

    def put(self, url: Any, **options: Any) -> Any:
        """Send a PUT request."""
        return self._request("PUT", url, **options)

    def delete(self, url: Any, **options: Any) -> Any:
        """Send a DELETE request."""
        return self._request("DELETE", url, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class ServerClock:
    """The clock of a local exchange, which it also advances.

    It is asked many times a bar, so it uses the plain HTTP client of Python. Its methods raise OSError if there is no
    answer, and ValueError or LookupError if it is not that of a local exchange.
    """

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=600)
        weakref.finalize(self, self._connection.close)

    def now(self) -> int:
        """Return the exchange's time, ms."""
        return self.state()["time"]

    def sleep(self, seconds: float) -> None:
        """Advance the exchange's time."""
        self._ask("POST", "advance", {"ms": round(seconds * 1000)})

    def next_bar(self, bars: int = 1) -> dict[str, Any]:
        """Advance the exchange to the next open, `bars` times, and return its state."""
        return self._ask("POST", "advance", {"bars": bars})

    def advance_to(self, time_ms: int) -> dict[str, Any]:
        """Advance the exchange to a time, ms, or to the end of its candles, and return its state."""
        return self._ask("POST", "advance", {"until": time_ms})

    def state(self) -> dict[str, Any]:
        """Return the state of the exchange (see `gridv4_bt.exchange.control`)."""
        return self._ask("GET", "state", {})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(body) if method == "POST" else None
        try:
            self._connection.request(method, f"/gridv4/{path}", text, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = json.loads(answer.read())
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()  # the next request opens a new one
            raise ConnectionError(str(error)) from error
        if answer.status != 200:
            raise ValueError(content["error"])
        return content


def sync_client(
    base: str, clock: Callable[[], int] | None = None, key: str = KEY, secret: str = SECRET, **settings: Any
) -> ccxt.binanceusdm:
    """Return ccxt's client, connected to a local exchange.

    Parameters
    ----------
    base : address of the server.
    clock : the exchange's time in ms, where it is not real time. ccxt's own rate limiter, which waits in real time, is
        then off; the limits of the exchange still apply.
    settings : further settings of ccxt.
    """
    config = _settings(key, secret, clock) | settings
    config["session"] = wired_session(base)
    return _with_clock(ccxt.binanceusdm(config), clock)


@asynccontextmanager
async def async_client(
    base: str, clock: Callable[[], int] | None = None, key: str = KEY, secret: str = SECRET, **settings: Any
) -> AsyncIterator[Any]:
    """Yield ccxt's asynchronous client, connected to a local exchange, and close it afterwards; see `sync_client`."""
    import ccxt.async_support

    config = _settings(key, secret, clock) | settings
    session = WiredAsyncSession(base)
    client = _with_clock(ccxt.async_support.binanceusdm(config | {"session": session}), clock)
    try:
        yield client
    finally:
        await client.close()
        await session.close()


def _settings(key: str, secret: str, clock: Callable[[], int] | None) -> dict[str, Any]:
    return {
        "apiKey": key,
        "secret": secret,
        "timeout": 10_000,
        "enableRateLimit": clock is None,
        "options": dict(OPTIONS),
    }


def _with_clock(client: Any, clock: Callable[[], int] | None) -> Any:
    if clock is not None:
        client.milliseconds = clock
    return client
