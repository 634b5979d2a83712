"""Endpoints of conditional orders."""

from typing import Any

from gridv4_bt.exchange import payloads
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.endpoints.paths import endpoint, page, without_symbol
from gridv4_bt.exchange.endpoints.trade import common_terms
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.order_records import TRAILING
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.records import AlgoRecord

CALLBACK_RATES = (0.1, 10.0)  #: least and most percent of a trailing stop


@endpoint("POST", "v1/algoOrder", weight=0, orders=1)
def post_algo(exchange: Exchange, params: Params) -> Any:
    """Place a conditional order."""
    params.text("algoType", None, ("CONDITIONAL",))
    closes = params.flag("closePosition")
    if closes and params.values.get("quantity"):
        raise ApiError(-1106, "quantity")
    order_type = params.text("type")
    algo = exchange.place_algo(
        **common_terms(params),
        type=order_type,
        qty=0.0 if closes else params.number("quantity"),
        price=params.number("price") if order_type == "STOP" else 0.0,
        trigger=0.0 if order_type == TRAILING else params.number("triggerPrice"),
        time_in_force=params.text("timeInForce", "GTC"),
        working_type=params.text("workingType", "CONTRACT_PRICE", ("CONTRACT_PRICE", "MARK_PRICE")),
        close_position=closes,
        client_id=params.text("clientAlgoId", ""),
        callback_rate=_callback_rate(params) if order_type == TRAILING else 0.0,
    )
    return _algo(exchange, algo)


def _callback_rate(params: Params) -> float:
    """Return the percent of a trailing stop, in tenths; -2007 beyond those that the exchange takes."""
    if params.values.get("activatePrice") or params.values.get("activationPrice"):
        raise ApiError(-1106, "activatePrice", text="An activation price is not simulated.")
    rate = params.number("callbackRate")
    if not CALLBACK_RATES[0] <= rate <= CALLBACK_RATES[1] or abs(rate * 10.0 - round(rate * 10.0)) > 1e-9:
        raise ApiError(-2007)
    return rate


@endpoint("GET", "v1/algoOrder")
def get_algo(exchange: Exchange, params: Params) -> Any:
    """Return a conditional order."""
    return _algo(exchange, _find_algo(exchange, params, -2013))


@endpoint("DELETE", "v1/algoOrder")
def delete_algo(exchange: Exchange, params: Params) -> Any:
    """Cancel a conditional order."""
    algo = _find_algo(exchange, params, -2011)
    exchange.cancel_algo(algo)
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


@endpoint("DELETE", "v1/algoOpenOrders")
def delete_algos(exchange: Exchange, params: Params) -> Any:
    """Cancel all conditional orders of a symbol."""
    for algo in exchange.order_records.open_algos(exchange.book(params.text("symbol")).symbol):
        exchange.cancel_algo(algo)
    return {"code": "200", "msg": "The operation of cancel all open order is done."}


@endpoint("GET", "v1/openAlgoOrders", weight=without_symbol(1, 40))
def open_algos(exchange: Exchange, params: Params) -> Any:
    """List the open conditional orders."""
    symbol = params.values.get("symbol") or None
    return [
        _algo(exchange, algo) for algo in exchange.order_records.open_algos(symbol and exchange.book(symbol).symbol)
    ]


@endpoint("GET", "v1/allAlgoOrders", weight=5)
def all_algos(exchange: Exchange, params: Params) -> Any:
    """List conditional orders in any state."""
    symbol = exchange.book(params.text("symbol")).symbol
    algos = list(exchange.order_records.algos.values())
    rows = page(exchange, params, algos, "algoId", 500, lambda algo: algo.symbol == symbol)
    return [_algo(exchange, algo) for algo in rows]


def _find_algo(exchange: Exchange, params: Params, missing: int) -> AlgoRecord:
    number, name = params.integer("algoId"), params.values.get("clientAlgoId")
    if number is None and not name:
        raise ApiError(-1102, "algoId' or 'clientAlgoId")
    algo = exchange.order_records.find_algo(number, name)
    if algo is None:
        raise ApiError(missing)
    return algo


def _algo(exchange: Exchange, algo: AlgoRecord) -> dict[str, Any]:
    return payloads.algo_payload(algo, exchange.books[algo.symbol].market)
