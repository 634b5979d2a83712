"""How the REST interface is put together: paths with their weight, and what several of them share."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.replay import ReplayBook

Handler = Callable[[Exchange, Params], Any]
WEEK_MS = 7 * DAY_MS
TRADES_KEPT = 90 * DAY_MS


@dataclass(frozen=True)
class Endpoint:
    """One path with one method."""

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
    """Serve paths with the function below; `weight` and `orders` count against the limits."""

    def serve(handler: Handler) -> Handler:
        for path in paths:
            ENDPOINTS[method, f"/fapi/{path}"] = Endpoint(handler, _counter(weight), signed, _counter(orders))
        return handler

    return serve


def _counter(value: int | Callable[[Params], int]) -> Callable[[Params], int]:
    return value if callable(value) else lambda params: value


def without_symbol(alone: int, all_of_them: int) -> Callable[[Params], int]:
    """Weigh a request for one symbol and one for all of them."""
    return lambda params: alone if params.values.get("symbol") else all_of_them


def books(exchange: Exchange, params: Params) -> list[ReplayBook]:
    """Return the book that is asked for, or all."""
    symbol = params.values.get("symbol")
    return [exchange.book(symbol)] if symbol else list(exchange.books.values())


def window(exchange: Exchange, params: Params) -> tuple[int, int]:
    """Return the span of time asked for: a week at most, the last one by default, nothing older than is kept."""
    first, last = params.integer("startTime"), params.integer("endTime")
    if first is None:
        first = (exchange.now if last is None else last) - WEEK_MS
    if last is None:
        last = min(first + WEEK_MS, exchange.now)
    if last < first or last - first > WEEK_MS:
        raise ApiError(-1128)
    return max(first, exchange.now - TRADES_KEPT), last


def between(rows: Sequence, first: int, last: int) -> Sequence:
    """Return the rows of a span of time; they are in order of time."""
    begin = bisect_left(rows, first, key=lambda row: row.time)
    return rows[begin : bisect_right(rows, last, key=lambda row: row.time)]


def page(
    exchange: Exchange, params: Params, rows: Sequence, cursor: str, usual: int, fits: Callable[[Any], bool]
) -> list:
    """Return the rows that fit, from an id on or of a span of time; of too many the first, without any start the last.

    The rows are in order of id and of time.
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
