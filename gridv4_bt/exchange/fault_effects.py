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
from gridv4_bt.exchange.records import OrderRecord

_PAGE = b"<html><head><title>Error</title></head><body><center><h1>%s</h1></center></body></html>"


def applies(exchange: Exchange, fault: Fault, request: Request) -> bool:
    """Return whether a kind of fault can apply to a request."""
    values = request.params.values
    if fault.kind == "post_only":
        return values.get("timeInForce") == "GTX"
    if fault.kind == "overloaded":
        closes = (values.get("positionSide"), values.get("side")) in (("LONG", "SELL"), ("SHORT", "BUY"))
        return request.method != "DELETE" and not closes and values.get("reduceOnly") != "true"
    if fault.kind == "partial_cancel":
        return _order_of(exchange, values) is not None
    return True


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
    error = ApiError(code, "", text=text, status=status) if text else ApiError(code, *[""] * 3, status=status)
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


def _order_of(exchange: Exchange, values: dict[str, str]) -> OrderRecord | None:
    """Return the open order that a request names, of a batch the first one."""
    number = values.get("orderId") or values.get("orderidlist", "").strip("[]").partition(",")[0]
    order_id = int(number) if number.isdigit() else None
    client_id = values.get("origClientOrderId")
    order = exchange.order_records.find(values.get("symbol", ""), order_id, client_id, exchange.now)
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
    _edit(response, lambda rows: [row for row in rows if row["time"] < api.exchange.now - fault.ms])


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
_UNLESS_EXECUTED = ("unknown", "timeout", "bus")
_BEFORE = {
    "lost_before": _lose, "unavailable": _refuse, "overloaded": _refuse, "too_many": _refuse, "banned": _refuse,
    "error": _refuse, "post_only": _refuse, "gateway": _web_page, "firewall": _web_page, "restart": _restart,
    "by_hand": _trade_by_hand, "liquidated": _liquidate, "partial_cancel": _fill_part,
}  # fmt: skip
_AFTER = {
    "lost_after": _lose_answer, "cut": _cut, "slow": _delay, "html": _html, "stale_orders": _last_page,
    "same_page": _last_page, "short_orders": _without_newest, "late_trades": _without_late,
    "early_candle": _without_wicks,
}  # fmt: skip
