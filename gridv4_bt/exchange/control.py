"""The paths that Binance does not have: how its owner tells the local exchange what to do.

| request | body | effect |
|---|---|---|
| GET /gridv4/state | | where the market stands |
| POST /gridv4/advance | `{"bars": 1}`, `{"until": ms}` or `{"ms": 60000}` | lets time go on |
| POST /gridv4/trade | `{"symbol", "side", "positionSide", "quantity"}` | a market order by the owner's hand |
| POST /gridv4/liquidate | `{"symbol", "positionSide"}` | the exchange takes one leg over |
"""

import json
from collections.abc import Callable
from typing import Any

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import DataError
from gridv4_bt.exchange.answers import number, order_answer
from gridv4_bt.exchange.errors import ApiError
from gridv4_bt.exchange.exchange import Exchange

PREFIX = "/gridv4/"


def respond(desk, method: str, path: str, body: str) -> tuple[int, Any]:
    """Return status and answer of a control request."""
    action = _ACTIONS.get((method, path.removeprefix(PREFIX)))
    if action is None:
        return 404, {"error": f"{method} {path} is unknown"}
    try:
        wanted = json.loads(body) if body else {}
        return 200, action(desk.exchange, wanted)
    except (ApiError, DataError) as error:
        return 400, {"error": str(error)}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return 400, {"error": f"{path}: the body is not what is expected: {error!r}"}


def state(exchange: Exchange, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return where the market and the account stand."""
    return {
        "time": exchange.now,
        "bar": exchange.tape.bar,
        "barTime": exchange.tape.time,
        "interval": exchange.tape.interval,
        "over": exchange.tape.over,
        "prices": {symbol: number(book.price) for symbol, book in exchange.books.items()},
        "wallet": number(exchange.ledger.wallet),
        "equity": number(exchange.margins.equity),
        "liquidations": exchange.account.liquidations,
    }


def advance(exchange: Exchange, wanted: dict[str, Any]) -> dict[str, Any]:
    """Let time go on by whole bars, up to a time, or by a span."""
    if "until" in wanted:
        exchange.advance(int(wanted["until"]))
    elif "ms" in wanted:
        exchange.advance(exchange.now + int(wanted["ms"]))
    else:
        exchange.advance_bars(int(wanted.get("bars", 1)))
    return state(exchange)


def trade(exchange: Exchange, wanted: dict[str, Any]) -> dict[str, Any]:
    """Trade by hand."""
    order = exchange.trade_by_hand(
        wanted["symbol"], wanted["side"], wanted.get("positionSide", "BOTH"), float(wanted["quantity"])
    )
    return order_answer(order, exchange.book(order.symbol).market)


def liquidate(exchange: Exchange, wanted: dict[str, Any]) -> dict[str, Any]:
    """Liquidate one leg."""
    order = exchange.liquidate_leg(wanted["symbol"], PositionSide[wanted["positionSide"]])
    return {} if order is None else order_answer(order, exchange.book(order.symbol).market)


_ACTIONS: dict[tuple[str, str], Callable[[Exchange, dict[str, Any]], Any]] = {
    ("GET", "state"): state,
    ("POST", "advance"): advance,
    ("POST", "trade"): trade,
    ("POST", "liquidate"): liquidate,
}
