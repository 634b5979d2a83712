"""Public trades: what the recorded candles say of them.

A closed candle with volume is shown as four trades of a quarter of its volume each: its open, its two extremes (the one
against its direction first) and its close.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.endpoints.paths import endpoint
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.payloads import number
from gridv4_bt.exchange.replay import ReplayBook

_OF_A_CANDLE = 4


class MarketTrade(NamedTuple):
    """One trade of the market."""

    id: int
    time: int  #: ms
    price: float
    qty: float  #: base units
    sold: bool  #: whether the taker sold, so that the buyer was the maker


@endpoint("GET", "v1/trades", weight=5, signed=False)
def trades(exchange: Exchange, params: Params) -> Any:
    """List the latest trades of the market, oldest first."""
    book = exchange.book(params.text("symbol"))
    limit = params.integer("limit", 500, 1, 1000)
    return [
        {
            "id": one.id,
            "price": number(one.price),
            "qty": number(one.qty),
            "quoteQty": number(one.price * one.qty),
            "time": one.time,
            "isBuyerMaker": one.sold,
            "isRPITrade": False,
        }
        for one in _latest(exchange, book, limit)
    ]


@endpoint("GET", "v1/aggTrades", weight=20, signed=False)
def aggregate_trades(exchange: Exchange, params: Params) -> Any:
    """List trades of the market from an id on, of a time window, or the latest, oldest first."""
    book = exchange.book(params.text("symbol"))
    limit = params.integer("limit", 500, 1, 1000)
    first_id, first, last = params.integer("fromId"), params.integer("startTime"), params.integer("endTime")
    if first_id is not None and (first is not None or last is not None):
        raise ApiError(-1128)
    if first is not None and last is not None and not first <= last <= first + HOUR_MS:
        raise ApiError(-1128)
    if first_id is not None:
        begins = book.first_time + (max(first_id, 1) - 1) // _OF_A_CANDLE * book.interval
        ends = begins + (limit // _OF_A_CANDLE + 1) * book.interval
        rows = [one for one in _between(exchange, book, begins, ends) if one.id >= first_id][:limit]
    elif first is not None:
        ends = min(exchange.now if last is None else last, first + limit * book.interval)
        rows = [one for one in _between(exchange, book, first, ends) if first <= one.time <= ends][:limit]
    elif last is not None:
        rows = [one for one in _between(exchange, book, last - HOUR_MS, last) if one.time <= last][-limit:]
    else:
        rows = _latest(exchange, book, limit)
    return [
        {
            "a": one.id,
            "p": number(one.price),
            "q": number(one.qty),
            "f": one.id,
            "l": one.id,
            "T": one.time,
            "m": one.sold,
        }
        for one in rows
    ]


def _latest(exchange: Exchange, book: ReplayBook, limit: int) -> list[MarketTrade]:
    """Return the last trades; candles without volume may leave fewer than the limit."""
    span = (limit // _OF_A_CANDLE + 2) * book.interval
    return list(_between(exchange, book, exchange.now - span, exchange.now))[-limit:]


def _between(exchange: Exchange, book: ReplayBook, first: int, last: int) -> Iterator[MarketTrade]:
    """Yield the trades of the closed candles that reach into a time window, ms."""
    replay, length = exchange.replay, book.interval
    known = exchange.now if replay.over else min(exchange.now, replay.time)
    for time, open_, high, low, close, volume in book.candles(length, first - length, last, replay.over).tolist():
        opened = int(time)
        if not volume or opened + length > known:
            continue
        row = (opened - book.first_time) // length
        prices = (open_, low, high, close) if close >= open_ else (open_, high, low, close)
        before = open_
        for part, price in enumerate(prices):
            at = opened + part * (length - 1) // (_OF_A_CANDLE - 1)
            yield MarketTrade(_OF_A_CANDLE * row + part + 1, at, price, volume / _OF_A_CANDLE, price < before)
            before = price
