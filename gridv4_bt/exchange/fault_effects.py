"""The effect of each kind of fault: on the request before the exchange gets it, or on its response."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault
from gridv4_bt.exchange.front import Front
from gridv4_bt.exchange.messages import Request, Response, error_response
from gridv4_bt.exchange.records import CLOSING, AlgoRecord, OrderRecord

_PAGE = b"<html><head><title>Error</title></head><body><center><h1>%s</h1></center></body></html>"


def applies(exchange: Exchange, fault: Fault, request: Request) -> bool:
    """Return whether a kind of fault can apply to a request."""
    if fault.kind == "partial_then_cancel":
        return request.method == "GET" and _oldest_open(exchange, fault) is not None
    values = request.params.values
    if fault.only and (request.method != "POST" or _closes(values) != (fault.only == "closes")):
        return False
    check = _APPLIES.get(fault.kind)
    return check is None or check(exchange, fault, request, values)


def _closes(values: dict[str, str]) -> bool:
    """Return whether the order that a request describes closes a leg."""
    return (values.get("positionSide"), values.get("side")) in CLOSING or values.get("reduceOnly") == "true"


def apply_fault(api: Front, fault: Fault, request: Request) -> Response:
    """Return the response to a request with a fault."""
    if fault.kind in _BEFORE:
        response = _BEFORE[fault.kind](api, fault, request)
        return api.serve(request) if response is None else response
    if fault.kind in _UNLESS_EXECUTED:
        if fault.executed:
            api.serve(request)
        return _refused(fault)
    response = api.serve(request, fault.ms if fault.kind == "clock" else 0)
    _AFTER.get(fault.kind, _as_it_is)(api, fault, request, response)
    return response


# --- before the exchange gets the request; None serves it as usual


def _refused(fault: Fault) -> Response:
    code, text, status = _REFUSALS.get(fault.kind, (fault.code, fault.text, fault.status))
    error = ApiError(code, *[""] * 3, text=text, status=status)
    headers = {"Retry-After": str(fault.seconds)} if error.status in (418, 429) else {}
    return error_response(error, headers)


def _refuse(api: Front, fault: Fault, request: Request) -> Response:
    return _refused(fault)


def _web_page(api: Front, fault: Fault, request: Request) -> Response:
    status = fault.status or {"gateway": 502, "firewall": 403}[fault.kind]
    return Response(status, _PAGE % str(status).encode(), {"Content-Type": "text/html"})


def _lose(api: Front, fault: Fault, request: Request) -> Response:
    return Response(200, b"", share=0.0)


def _restart(api: Front, fault: Fault, request: Request) -> Response:
    api.restart()
    return _lose(api, fault, request)


def _trade_by_hand(api: Front, fault: Fault, request: Request) -> None:
    with suppress(ApiError):  # an order that the exchange refuses changes nothing
        api.exchange.trade_by_hand(fault.symbol, fault.side, fault.position_side, fault.quantity)


def _liquidate(api: Front, fault: Fault, request: Request) -> None:
    api.exchange.liquidate_leg(fault.symbol, PositionSide[fault.position_side])


def _fill_part(api: Front, fault: Fault, request: Request) -> None:
    order = _order_of(api.exchange, request.params.values)
    if order is not None:  # else the fault does not apply
        api.exchange.fill_part(order, fault.share)


def _fill_oldest(api: Front, fault: Fault, request: Request) -> None:
    order = _oldest_open(api.exchange, fault)
    if order is not None:
        api.exchange.fill_part(order, fault.share)


def _lose_stop(api: Front, fault: Fault, request: Request) -> None:
    algo = _oldest_stop(api.exchange, fault)
    if algo is not None:
        api.exchange.expire_algo(algo)


def _ban(api: Front, fault: Fault, request: Request) -> None:
    api.limits.ban(fault.seconds, fault.most, api.exchange.now)  # which refuses this request too


def _step_clock(api: Front, fault: Fault, request: Request) -> None:
    api.clocks.step(fault.whose, fault.ms, api.exchange.now + 1000 * fault.lasts if fault.lasts else None)


def _hide(api: Front, fault: Fault, request: Request) -> Response:
    return error_response(ApiError(-2013))


def _oldest_open(exchange: Exchange, fault: Fault) -> OrderRecord | None:
    """Return the oldest open limit order that a fault can fill in part."""
    given = fault.model_fields_set
    for order in exchange.order_records.open_orders(fault.symbol or None):
        if (
            ("side" not in given or order.side == fault.side)
            and ("position_side" not in given or order.position_side == fault.position_side)
            and (not fault.only or order.closes == (fault.only == "closes"))
            and exchange.can_fill_part(order, fault.share)
        ):
            return order
    return None


def _oldest_stop(exchange: Exchange, fault: Fault) -> AlgoRecord | None:
    """Return the oldest conditional order that a fault can end."""
    for algo in exchange.order_records.open_algos(fault.symbol or None):
        if "position_side" not in fault.model_fields_set or algo.position_side == fault.position_side:
            return algo
    return None


def _asks_for_order(exchange: Exchange, values: dict[str, str], path: str) -> bool:
    """Return whether a request asks for one order that exists."""
    if path.endswith("/algoOrder"):
        number = values.get("algoId", "")
        algo_id = int(number) if number.isdecimal() else None
        return exchange.order_records.find_algo(algo_id, values.get("clientAlgoId")) is not None
    return path.endswith(("/order", "/openOrder")) and _find(exchange, values) is not None


def _find(exchange: Exchange, values: dict[str, str]) -> OrderRecord | None:
    """Return the order that a request names, of a batch the first one."""
    number = values.get("orderId") or values.get("orderidlist", "").strip("[]").partition(",")[0]
    order_id = int(number) if number.isdecimal() else None
    client_id = values.get("origClientOrderId")
    return exchange.order_records.find(values.get("symbol", ""), order_id, client_id, exchange.now)


def _order_of(exchange: Exchange, values: dict[str, str]) -> OrderRecord | None:
    """Return the open order that a request names, of a batch the first one."""
    order = _find(exchange, values)
    return order if order is not None and order.is_open else None


# --- on the response


def _as_it_is(api: Front, fault: Fault, request: Request, response: Response) -> None:
    return


def _lose_answer(api: Front, fault: Fault, request: Request, response: Response) -> None:
    response.share = 0.0


def _cut(api: Front, fault: Fault, request: Request, response: Response) -> None:
    response.share = fault.share


def _delay(api: Front, fault: Fault, request: Request, response: Response) -> None:
    response.delay = fault.seconds


def _html(api: Front, fault: Fault, request: Request, response: Response) -> None:
    response.status, response.body = 200, _PAGE % b"200"
    response.headers["Content-Type"] = "text/html"


def _last_page(api: Front, fault: Fault, request: Request, response: Response) -> None:
    if response.status == 200:
        response.body = api.pages.get(request.path, b"[]")


def _without_newest(api: Front, fault: Fault, request: Request, response: Response) -> None:
    _edit(response, lambda rows: rows[: -fault.count])


def _without_late(api: Front, fault: Fault, request: Request, response: Response) -> None:
    late = fault.bars * api.exchange.replay.interval or fault.ms
    _edit(response, lambda rows: [row for row in rows if row["time"] < api.exchange.now - late])


def _without_positions(api: Front, fault: Fault, request: Request, response: Response) -> None:
    _edit(response, lambda rows: [])


def _without_assets(api: Front, fault: Fault, request: Request, response: Response) -> None:
    if response.status != 200:
        return
    content: Any = json.loads(response.body)
    if isinstance(content, list):
        content = []
    else:
        content |= {name: "0" for name in content if name.startswith("total") or name in _FREE} | {"assets": []}
    response.body = json.dumps(content, separators=(",", ":")).encode()


def _without_wicks(api: Front, fault: Fault, request: Request, response: Response) -> None:
    def shorten(rows: list[Any]) -> list[Any]:
        closed = [row for row in rows if row[6] < api.exchange.now]
        for row in closed[-1:]:
            row[2], row[3] = max(row[1], row[4], key=float), min(row[1], row[4], key=float)
        return rows

    _edit(response, shorten)


def _edit(response: Response, change: Callable[[list[Any]], list[Any]]) -> None:
    content: Any = json.loads(response.body)
    if isinstance(content, list):
        response.body = json.dumps(change(content), separators=(",", ":")).encode()


_REFUSALS = {
    "unknown": (-1000, "Unknown error, please check your request or try again later.", 503),
    "timeout": (-1007, "", 408),
    "bus": (-1006, "", 0),
    "unavailable": (-1001, "Service Unavailable.", 503),
    "overloaded": (-1008, "", 503),
    "too_many": (-1003, "Too many requests; current limit is 2400 requests per minute.", 429),
    "banned": (-1003, "Way too many requests; IP banned.", 418),
    "post_only": (-5022, "", 400),
}
_FREE = ("availableBalance", "maxWithdrawAmount")
_APPLIES: dict[str, Callable[[Exchange, Fault, Request, dict[str, str]], bool]] = {
    "post_only": lambda exchange, fault, request, values: values.get("timeInForce") == "GTX",
    "overloaded": lambda exchange, fault, request, values: request.method != "DELETE" and not _closes(values),
    "partial_cancel": lambda exchange, fault, request, values: _order_of(exchange, values) is not None,
    "empty_positions": lambda exchange, fault, request, values: request.path.endswith("/positionRisk"),
    "empty_assets": lambda exchange, fault, request, values: request.path.endswith(("/account", "/balance")),
    "stale_not_found": lambda exchange, fault, request, values: (
        request.method == "GET" and _asks_for_order(exchange, values, request.path)
    ),
    "stop_vanishes": lambda exchange, fault, request, values: _oldest_stop(exchange, fault) is not None,
}
_UNLESS_EXECUTED = ("unknown", "timeout", "bus")
_BEFORE = {
    "lost_before": _lose, "unavailable": _refuse, "overloaded": _refuse, "too_many": _refuse, "banned": _refuse,
    "error": _refuse, "post_only": _refuse, "gateway": _web_page, "firewall": _web_page, "restart": _restart,
    "by_hand": _trade_by_hand, "liquidated": _liquidate, "partial_cancel": _fill_part,
    "partial_then_cancel": _fill_oldest, "stop_vanishes": _lose_stop, "escalating_ban": _ban,
    "clock_step": _step_clock, "stale_not_found": _hide,
}  # fmt: skip
_AFTER = {
    "lost_after": _lose_answer, "cut": _cut, "slow": _delay, "html": _html, "stale_orders": _last_page,
    "same_page": _last_page, "short_orders": _without_newest, "late_trades": _without_late,
    "early_candle": _without_wicks, "empty_positions": _without_positions, "empty_assets": _without_assets,
}  # fmt: skip
