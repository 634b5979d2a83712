"""The paths under `/gridv4/`, which Binance does not have: they control the local exchange.

| request | body | effect |
|---|---|---|
| GET /gridv4/state | | time, prices and equity |
| POST /gridv4/advance | `{"bars": 1}`, `{"until": ms}` or `{"ms": 60000}` | advances the time, if it is stepped |
| POST /gridv4/trade | `{"symbol", "side", "positionSide", "quantity"}` | a market order of the user |
| POST /gridv4/liquidate | `{"symbol", "positionSide"}` | liquidates one leg |
| POST /gridv4/faults | a script (see `faults`) | sets the faults; `{}` for none |
| POST /gridv4/restart | | loads the state from the database, as after a crash |
"""

import json
from collections.abc import Callable
from typing import Any

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError, GridV4Error
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import make_faults
from gridv4_bt.exchange.front import Front
from gridv4_bt.exchange.messages import Request
from gridv4_bt.exchange.payloads import number, order_payload

PREFIX = "/gridv4/"


def respond(api: Front, request: Request) -> tuple[int, Any]:
    """Return status and body of the response to a control request."""
    action = _ACTIONS.get((request.method, request.path.removeprefix(PREFIX)))
    if action is None:
        return 404, {"error": f"{request.method} {request.path} is unknown"}
    try:
        return 200, action(api, json.loads(request.body) if request.body else {})
    except (ApiError, GridV4Error) as error:
        return 400, {"error": str(error)}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return 400, {"error": f"{request.path}: the body is not what is expected: {error!r}"}


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


def _state(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    return state(api.exchange) | {"speed": api.speed}


def _advance(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    if api.speed:
        raise ConfigError("this market goes on by itself; wait for it")
    if "until" in body:
        exchange.advance(int(body["until"]))
    elif "ms" in body:
        exchange.advance(exchange.now + int(body["ms"]))
    else:
        exchange.advance_bars(int(body.get("bars", 1)))
    return state(exchange)


def _trade(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    order = exchange.trade_by_hand(
        body["symbol"], body["side"], body.get("positionSide", "BOTH"), float(body["quantity"])
    )
    return order_payload(order, exchange.book(order.symbol).market)


def _liquidate(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    exchange = api.exchange
    order = exchange.liquidate_leg(body["symbol"], PositionSide[body["positionSide"]])
    return {} if order is None else order_payload(order, exchange.book(order.symbol).market)


def _set_faults(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    api.faults = make_faults(body)
    return {}


def _restart(api: Front, body: dict[str, Any]) -> dict[str, Any]:
    api.restart()
    return state(api.exchange)


_ACTIONS: dict[tuple[str, str], Callable[[Front, dict[str, Any]], Any]] = {
    ("GET", "state"): _state,
    ("POST", "advance"): _advance,
    ("POST", "trade"): _trade,
    ("POST", "liquidate"): _liquidate,
    ("POST", "faults"): _set_faults,
    ("POST", "restart"): _restart,
}
