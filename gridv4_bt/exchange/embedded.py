"""A local exchange inside the client's process: the requests and answers of the server, without a socket."""

import io
import json
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from gridv4_bt.exchange import control
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import BINANCE, wired_session
from gridv4_bt.exchange.messages import Request, Response


class EmbeddedAdapter(BaseAdapter):
    """An HTTP adapter that hands requests to an `Api`."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Return the exchange's response.

        Raises
        ------
        requests.ConnectionError
            The exchange cuts the connection.
        """
        parts = urlsplit(str(request.url))
        body = request.body or ""
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        response = self._api.respond(Request(str(request.method), parts.path, parts.query, text, request.headers))
        if response.delay:
            time.sleep(response.delay)
        if response.share < 1.0:
            raise requests.ConnectionError("the connection was cut", request=request)
        return _received(request, response)

    def close(self) -> None:
        """Do nothing."""


def embedded_session(api: Api) -> requests.Session:
    """Return a session that hands requests for Binance to an exchange in this process and refuses all others."""
    session = wired_session(None)
    for host in BINANCE:
        session.mount(f"https://{host}/", EmbeddedAdapter(api))
    return session


class EmbeddedClock:
    """The clock of an exchange in this process; see `gridv4_bt.exchange.client.ServerClock`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def state(self) -> dict[str, Any]:
        """Return the state of the exchange (see `gridv4_bt.exchange.control`)."""
        return self._ask("GET", "state")

    def advance_to(self, time_ms: int) -> dict[str, Any]:
        """Advance the exchange to a time, ms, or to the end of its candles, and return its state."""
        return self._ask("POST", "advance", f'{{"until":{time_ms}}}')

    def _ask(self, method: str, path: str, body: str = "") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._api.respond(Request(method, control.PREFIX + path, "", body)).body)
        return answer


def _received(request: requests.PreparedRequest, response: Response) -> requests.Response:
    answer = requests.Response()
    answer.request, answer.url = request, str(request.url)
    answer.status_code, answer.reason = response.status, ""
    answer.headers = CaseInsensitiveDict({"Content-Type": "application/json"} | response.headers)
    answer.encoding, answer.raw = "utf-8", io.BytesIO(response.body)
    return answer
