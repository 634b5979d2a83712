"""Endpoints of orders, single and in batches, and of the dead man's switch."""

import json
from collections.abc import Callable
from typing import Any

from gridv4_bt.exchange import payloads
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.endpoints.paths import endpoint, page, without_symbol
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.order_checks import CONDITIONAL_TYPES
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.records import OrderRecord

MOST_IN_A_BATCH = 5
MOST_CANCELLED = 10  #: in a batch


def _batch_size(params: Params) -> int:
    try:
        return max(len(json.loads(params.values.get("batchOrders", "[]"))), 1)
    except (ValueError, TypeError):
        return 1


@endpoint("POST", "v1/order", weight=0, orders=1)
def post_order(exchange: Exchange, params: Params) -> Any:
    """Place an order."""
    return _order(exchange, _place(exchange, params), whole=False)


@endpoint("POST", "v1/order/test", weight=0)
def test_order(exchange: Exchange, params: Params) -> Any:
    """Check the parameters of an order without placing it."""
    _order_terms(params)
    return {}


def _order_terms(params: Params) -> dict[str, Any]:
    order_type = params.text("type")
    if order_type in CONDITIONAL_TYPES:
        raise ApiError(-4120)
    terms = common_terms(params) | {"type": order_type, "qty": params.number("quantity"), "price": 0.0}
    terms["client_id"] = params.text("newClientOrderId", "")
    terms["time_in_force"] = "GTC"
    if order_type == "LIMIT":
        terms["time_in_force"] = params.text("timeInForce", None, ("GTC", "IOC", "FOK", "GTX"), -1115)
        terms["price"] = params.number("price")
    elif params.values.get("price"):
        raise ApiError(-1106, "price")
    return terms


def common_terms(params: Params) -> dict[str, Any]:
    """Return the parameters that all orders have: symbol, side, positionSide, reduceOnly."""
    return {
        "symbol": params.text("symbol"),
        "side": params.text("side", None, ("BUY", "SELL"), -1117),
        "position_side": params.text("positionSide", "BOTH", ("LONG", "SHORT", "BOTH"), -4060),
        "reduce_only": params.flag("reduceOnly"),
    }


def _place(exchange: Exchange, params: Params) -> OrderRecord:
    return exchange.place(**_order_terms(params))


@endpoint("PUT", "v1/order", weight=0, orders=1)
def put_order(exchange: Exchange, params: Params) -> Any:
    """Amend an order."""
    order = _find(exchange, params)
    side = params.text("side", None, ("BUY", "SELL"), -1117)
    exchange.amend(order, side, params.number("quantity"), params.number("price"))
    return _order(exchange, order, whole=False)


@endpoint("GET", "v1/order")
def get_order(exchange: Exchange, params: Params) -> Any:
    """Return an order."""
    return _order(exchange, _find(exchange, params))


@endpoint("GET", "v1/openOrder")
def get_open_order(exchange: Exchange, params: Params) -> Any:
    """Return an open order."""
    order = _find(exchange, params)
    if not order.is_open:
        raise ApiError(-2013)
    return _order(exchange, order)


@endpoint("DELETE", "v1/order")
def delete_order(exchange: Exchange, params: Params) -> Any:
    """Cancel an order."""
    order = _find(exchange, params, -2011)
    exchange.cancel(order)
    return _order(exchange, order, whole=False)


@endpoint("POST", "v1/batchOrders", weight=5, orders=_batch_size)
def post_batch(exchange: Exchange, params: Params) -> Any:
    """Place up to five orders; each succeeds or fails by itself."""
    return _each(params, lambda one: post_order(exchange, one))


@endpoint("PUT", "v1/batchOrders", weight=5, orders=_batch_size)
def put_batch(exchange: Exchange, params: Params) -> Any:
    """Amend up to five orders; each succeeds or fails by itself."""
    return _each(params, lambda one: put_order(exchange, one))


@endpoint("DELETE", "v1/batchOrders")
def delete_batch(exchange: Exchange, params: Params) -> Any:
    """Cancel up to ten orders; each succeeds or fails by itself."""
    symbol, values = params.text("symbol"), params.values
    numbers = values.get("orderidlist") or values.get("orderIdList")
    name = "orderId" if numbers else "origClientOrderId"
    listed = numbers or values.get("origclientorderidlist") or params.text("origClientOrderIdList")
    return [
        _or_error(lambda one: delete_order(exchange, one), _params({"symbol": symbol, name: value}))
        for value in _json_list(listed)[:MOST_CANCELLED]
    ]


def _each(params: Params, handle: Callable[[Params], Any]) -> list[Any]:
    orders = _json_list(params.text("batchOrders"))
    if not 1 <= len(orders) <= MOST_IN_A_BATCH:
        raise ApiError(-1130, "batchOrders")
    return [_or_error(handle, _params(order)) for order in orders]


def _or_error(handle: Callable[[Params], Any], params: Params) -> Any:
    try:
        return handle(params)
    except ApiError as error:
        return {"code": error.code, "msg": error.text}


def _json_list(text: str) -> list[Any]:
    try:
        content = json.loads(text)
    except ValueError:
        raise ApiError(-1130, "list") from None
    if not isinstance(content, list):
        raise ApiError(-1130, "list")
    return content


def _params(values: Any) -> Params:
    if not isinstance(values, dict):
        raise ApiError(-1130, "list")
    params = Params("", "")
    params.values = {name: str(value) for name, value in values.items()}
    return params


@endpoint("DELETE", "v1/allOpenOrders")
def delete_all(exchange: Exchange, params: Params) -> Any:
    """Cancel all open orders of a symbol, but not conditional ones."""
    exchange.cancel_all(exchange.book(params.text("symbol")).symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


@endpoint("POST", "v1/countdownCancelAll", weight=10)
def countdown(exchange: Exchange, params: Params) -> Any:
    """Start, renew or stop the dead man's switch of a symbol."""
    symbol = exchange.book(params.text("symbol")).symbol
    wait = params.integer("countdownTime")
    if wait is None:
        raise ApiError(-1102, "countdownTime")
    exchange.countdowns.pop(symbol, None)
    if wait:
        exchange.countdowns[symbol] = exchange.now + wait
    return {"symbol": symbol, "countdownTime": str(wait)}


@endpoint("GET", "v1/openOrders", weight=without_symbol(1, 40))
def open_orders(exchange: Exchange, params: Params) -> Any:
    """List the open orders."""
    symbol = params.values.get("symbol") or None
    return [
        _order(exchange, order) for order in exchange.order_records.open_orders(symbol and exchange.book(symbol).symbol)
    ]


@endpoint("GET", "v1/allOrders", weight=5)
def all_orders(exchange: Exchange, params: Params) -> Any:
    """List orders in any state."""
    symbol = exchange.book(params.text("symbol")).symbol
    orders = list(exchange.order_records.orders.values())
    rows = page(exchange, params, orders, "orderId", 500, lambda order: order.symbol == symbol)
    return [_order(exchange, order) for order in rows]


def _find(exchange: Exchange, params: Params, missing: int = -2013) -> OrderRecord:
    symbol = exchange.book(params.text("symbol")).symbol
    number, name = params.integer("orderId"), params.values.get("origClientOrderId")
    if number is None and not name:
        raise ApiError(-1102, "orderId' or 'origClientOrderId")
    order = exchange.order_records.find(symbol, number, name, exchange.now)
    if order is None:
        raise ApiError(missing)
    return order


def _order(exchange: Exchange, order: OrderRecord, whole: bool = True) -> dict[str, Any]:
    return payloads.order_payload(order, exchange.books[order.symbol].market, whole)
