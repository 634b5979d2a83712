"""The paths under `/gridv4/`, which Binance does not have: they control the local exchange.

| request | body | effect |
|---|---|---|
| GET /gridv4/state | | time, prices and equity |
| POST /gridv4/advance | `{"bars": 1}`, `{"until": ms}` or `{"ms": 60000}` | advances the time, if it is stepped |
| POST /gridv4/trade | `{"symbol", "side", "positionSide", "quantity"}` | a market order of the user |
| POST /gridv4/liquidate | `{"symbol", "positionSide"}` | liquidates one leg |
| POST /gridv4/faults | a script (see `faults`) | sets the faults; `{}` for none |
| POST /gridv4/restart | | loads the state from the database, as after a crash |

`time` and `until` are on the client's clock, which is wrong during a `clock_step` of the client. A request with a Host
other than this machine or an Origin other than this server is refused with 403, so that no web page can send one.
"""

import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError, GridV4Error
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import make_faults
from gridv4_bt.exchange.front import Front
from gridv4_bt.exchange.messages import Request
from gridv4_bt.exchange.payloads import number, order_payload

PREFIX = "/gridv4/"
_HERE = ("127.0.0.1", "localhost", "::1")
_LATEST_MS = 1 << 53  # times beyond are no whole numbers in JSON


def respond(api: Front, request: Request) -> tuple[int, Any]:
    """Return status and body of the response to a control request."""
    if not _is_local(request):
        return 403, {"error": "control requests are taken from programs on this machine only"}
    action = _ACTIONS.get((request.method, request.path.removeprefix(PREFIX)))
    if action is None:
        return 404, {"error": f"{request.method} {request.path} is unknown"}
    try:
        body = json.loads(request.body) if request.body else {}
        if not isinstance(body, dict):
            raise ConfigError("the body is no JSON object")
        return 200, action(api, body)
    except (ApiError, GridV4Error) as error:
        return 400, {"error": str(error)}
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        return 400, {"error": f"{request.path}: the body is not what is expected: {error!r}"}


def _is_local(request: Request) -> bool:
    """Return whether a request is for this machine and not from a web page of another server."""
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if host is not None and _host_name(host) not in _HERE:
        return False  # a page whose name has come to mean this machine
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return False
    return origin is None or (host is not None and origin.lower() == f"http://{host.lower()}")


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _whole(body: dict[str, Any], name: str, high: int = _LATEST_MS) -> int:
    """Return a whole number of at least 0."""
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not 0 <= value <= high:
        raise ConfigError(f"{name} {str(value)[:40]}: must be a whole number from 0 to {high}")
    if value != int(value):
        raise ConfigError(f"{name} {value}: must be a whole number")
    return int(value)


def _one_of(body: dict[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = body.get(name, default)
    if value not in allowed:
        raise ConfigError(f"{name} {str(value)[:40]!r}: must be one of {', '.join(allowed)}")
    return value


def state(exchange: Exchange) -> dict[str, Any]:
    """Return the time, the last prices and the worth of the account."""
    return {
        "time": exchange.now,
        "bar": exchange.replay.bar,
        "barTime": exchange.replay.time,
        "interval": exchange.replay.interval,
        "over": exchange.replay.over,
        "prices": {symbol: number(book.price) for symbol, book in exchange.books.items()},
        "wallet": number(exchange.ledger.wallet),
        "equity": number(exchange.margins.equity),
        "liquidations": exchange.account.liquidations,
    }


def _shown(api: Front) -> dict[str, Any]:
    """Return the state with the time of the client's clock."""
    now = api.exchange.now
    return state(api.exchange) | {"time": now + api.clocks.ahead("client", now)}


def _state(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    return _shown(api) | {"speed": api.speed}


def _advance(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    if api.speed:
        raise ConfigError("this market goes on by itself; wait for it")
    if unknown := set(body) - {"until", "ms", "bars"}:
        raise ConfigError(f"{', '.join(sorted(unknown))[:40]} is unknown; give bars, until or ms")
    if "until" in body:
        exchange.advance(_whole(body, "until") - api.clocks.ahead("client", exchange.now))
    elif "ms" in body:
        exchange.advance(exchange.now + _whole(body, "ms"))
    else:
        exchange.advance_bars(_whole({"bars": 1} | body, "bars"))
    return _shown(api)


def _trade(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    quantity = body["quantity"]
    if isinstance(quantity, bool) or not math.isfinite(float(quantity)):
        raise ConfigError(f"quantity {quantity}: must be a number")
    order = exchange.trade_by_hand(
        exchange.book(body["symbol"]).symbol,
        _one_of(body, "side", ("BUY", "SELL")),
        _one_of(body, "positionSide", ("LONG", "SHORT", "BOTH"), "BOTH"),
        float(quantity),
    )
    return order_payload(order, exchange.book(order.symbol).market)


def _liquidate(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    symbol = exchange.book(body["symbol"]).symbol
    order = exchange.liquidate_leg(symbol, PositionSide[_one_of(body, "positionSide", ("LONG", "SHORT"))])
    return {} if order is None else order_payload(order, exchange.book(order.symbol).market)


def _set_faults(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    api.faults = make_faults(body)
    return {}


def _restart(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    api.restart()
    return _shown(api)


_ACTIONS: dict[tuple[str, str], Callable[[Front, dict[str, Any]], Any]] = {
    ("GET", "state"): _state,
    ("POST", "advance"): _advance,
    ("POST", "trade"): _trade,
    ("POST", "liquidate"): _liquidate,
    ("POST", "faults"): _set_faults,
    ("POST", "restart"): _restart,
}
