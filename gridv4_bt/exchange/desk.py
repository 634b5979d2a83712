"""Where requests arrive: limits, signature and time are checked, the exchange is asked, the answer is written.

The desk knows nothing of sockets: it turns the parts of a request into a `Reply`. Paths under `/gridv4/` control the
exchange itself; Binance has none of them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gridv4_bt.exchange import control
from gridv4_bt.exchange.endpoints import ENDPOINTS, Endpoint
from gridv4_bt.exchange.errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.limits import Limits, TooMany
from gridv4_bt.exchange.params import Params, check_signature, check_timestamp

KEY, SECRET = "paper", "paper-secret"


@dataclass(slots=True)
class Reply:
    """What is sent back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    share: float = 1.0  #: of the body that is sent before the connection is cut; 1 sends all, 0 not even a header
    delay: float = 0.0  #: seconds before it is sent


class Desk:
    """The front of one exchange.

    Parameters
    ----------
    now : is called before every request, to let time go on; the desk of a stepped exchange has none.
    """

    def __init__(
        self, exchange: Exchange, key: str = KEY, secret: str = SECRET, limits: Limits | None = None,
        now: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.limits = limits or Limits()
        self._key, self._secret = key, secret
        self._go_on = now

    def respond(self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]) -> Reply:
        """Return the reply to a request; query and body as they were sent, without ? and undecoded."""
        if self._go_on is not None:
            self._go_on()
        if path.startswith(control.PREFIX):
            return _json_reply(*control.respond(self, method, path, body))
        endpoint = ENDPOINTS.get((method, path))
        if endpoint is None:
            return _error_reply(ApiError(-5000, path))
        return self._serve(endpoint, path, query, body, headers)

    def _serve(self, endpoint: Endpoint, path: str, query: str, body: str, headers: Mapping[str, str]) -> Reply:
        exchange = self.exchange
        told: dict[str, str] = {}
        try:
            params = Params(query, body)
            told = self.limits.spend(endpoint.weight(params), endpoint.orders(params), exchange.now)
            if endpoint.signed:
                check_signature(query, body, headers, self._key, self._secret)
                check_timestamp(params, exchange.now)
            answer = endpoint.handler(exchange, params)
        except TooMany as error:
            return _error_reply(error, {"Retry-After": str(error.wait)})
        except ApiError as error:
            return _error_reply(error, told)
        if path == "/fapi/v1/exchangeInfo":
            answer["rateLimits"] = self.limits.rows()
        return _json_reply(200, answer, told)


def _json_reply(status: int, answer: Any, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(answer, separators=(",", ":")).encode(), headers or {})


def _error_reply(error: ApiError, headers: dict[str, str] | None = None) -> Reply:
    return _json_reply(error.status, {"code": error.code, "msg": error.text}, headers)
