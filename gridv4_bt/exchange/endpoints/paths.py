"""The table of endpoints, and what several of them share: symbols, time windows and pages."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.records import AlgoRecord, IncomeRecord, OrderRecord, TradeRecord
from gridv4_bt.exchange.replay import ReplayBook

T = TypeVar("T", OrderRecord, AlgoRecord, TradeRecord, IncomeRecord)
Handler = Callable[[Exchange, Params], Any]
WEEK_MS = 7 * DAY_MS
TRADES_KEPT = 90 * DAY_MS


@dataclass(frozen=True)
class Endpoint:
    """The handler of one method and path."""

    handler: Handler
    weight: Callable[[Params], int]
    signed: bool
    orders: Callable[[Params], int]


ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(
    method: str,
    *paths: str,
    weight: int | Callable[[Params], int] = 1,
    signed: bool = True,
    orders: int | Callable[[Params], int] = 0,
) -> Callable[[Handler], Handler]:
    """Register a handler for some paths; `weight` and `orders` count against the rate limits."""

    def serve(handler: Handler) -> Handler:
        for path in paths:
            ENDPOINTS[method, f"/fapi/{path}"] = Endpoint(handler, _counter(weight), signed, _counter(orders))
        return handler

    return serve


def _counter(value: int | Callable[[Params], int]) -> Callable[[Params], int]:
    return value if callable(value) else lambda params: value


def without_symbol(alone: int, all_of_them: int) -> Callable[[Params], int]:
    """Return the weight of a request: one for a single symbol, another for all."""
    return lambda params: alone if params.values.get("symbol") else all_of_them


def books(exchange: Exchange, params: Params) -> list[ReplayBook]:
    """Return the book of the `symbol` parameter, or all books."""
    symbol = params.values.get("symbol")
    return [exchange.book(symbol)] if symbol else list(exchange.books.values())


def window(exchange: Exchange, params: Params) -> tuple[int, int]:
    """Return the time window of a request, ms: a week at most, the last one by default, no older than `TRADES_KEPT`."""
    first, last = params.integer("startTime"), params.integer("endTime")
    if first is None:
        first = (exchange.now if last is None else last) - WEEK_MS
    if last is None:
        last = min(first + WEEK_MS, exchange.now)
    if last < first or last - first > WEEK_MS:
        raise ApiError(-1128)
    return max(first, exchange.now - TRADES_KEPT), last


def between(rows: Sequence[T], first: int, last: int) -> Sequence[T]:
    """Return the rows of a time window, both ends included; `rows` are in order of time."""
    begin = bisect_left(rows, first, key=lambda row: row.time)
    return rows[begin : bisect_right(rows, last, key=lambda row: row.time)]


def page(
    exchange: Exchange, params: Params, rows: Sequence[T], cursor: str, usual: int, fits: Callable[[T], bool]
) -> list[T]:
    """Return one page of the rows that fit: the first from an id or `startTime` on, or without a start the last.

    `rows` are in order of id and of time; `usual` is the default limit.
    """
    limit = params.integer("limit", usual, 1, 1000)
    start = params.integer(cursor)
    timed = params.values.get("startTime") or params.values.get("endTime")
    if start is not None and timed:
        raise ApiError(-1128)
    if start is not None:
        later = (rows[index] for index in range(bisect_left(rows, start, key=lambda row: row.id), len(rows)))
        return list(islice((row for row in later if fits(row) and row.time >= exchange.now - TRADES_KEPT), limit))
    found = [row for row in between(rows, *window(exchange, params)) if fits(row)]
    return found[:limit] if params.values.get("startTime") else found[-limit:]
