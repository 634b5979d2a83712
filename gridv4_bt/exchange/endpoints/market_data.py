"""Public endpoints: time, markets, candles, prices and funding."""

from typing import Any

from feeds.tables import interval_ms
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import DataError
from gridv4_bt.exchange import payloads
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.endpoints.paths import books, endpoint, without_symbol
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.payloads import number


def _kline_weight(params: Params) -> int:
    limit = params.integer("limit", 500)
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


@endpoint("GET", "v1/ping", signed=False)
def ping(exchange: Exchange, params: Params) -> Any:
    """Return an empty object."""
    return {}


@endpoint("GET", "v1/time", signed=False)
def time(exchange: Exchange, params: Params) -> Any:
    """Return the server's time."""
    return {"serverTime": exchange.now}


@endpoint("GET", "v1/exchangeInfo", signed=False)
def exchange_info(exchange: Exchange, params: Params) -> Any:
    """List the symbols with their filters."""
    return {
        "timezone": "UTC",
        "serverTime": exchange.now,
        "futuresType": "U_MARGINED",
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [payloads.symbol_payload(book.market) for book in exchange.books.values()],
    }


@endpoint("GET", "v1/klines", weight=_kline_weight, signed=False)
def klines(exchange: Exchange, params: Params) -> Any:
    """Return candles, the one that is still open last."""
    book = exchange.book(params.text("symbol"))
    try:
        step = interval_ms(params.text("interval"))
    except DataError:
        raise ApiError(-1120) from None
    if step % book.interval:
        raise ApiError(-1120)
    limit = params.integer("limit", 500, 1, 1500)
    last = min(params.integer("endTime", exchange.now), exchange.now)
    first = params.integer("startTime")
    if first is None:
        first = last // step * step - (limit - 1) * step
    else:
        last = min(last, -(-first // step) * step + (limit - 1) * step)
    rows = book.candles(step, first, last, exchange.replay.over)
    replay = exchange.replay
    if (
        not replay.over and replay.moment_end <= exchange.now
    ):  # in real time a minute is known only a second or so after its end
        ends = rows[:, 0] + step
        rows = rows[(ends < replay.moment_end) | (ends > exchange.now)]
    return [
        [
            int(time),
            number(open_),
            number(high),
            number(low),
            number(close),
            number(volume),
            int(time) + step - 1,
            number(volume * close),
            0,
            "0",
            "0",
            "0",
        ]
        for time, open_, high, low, close, volume in rows.tolist()
    ]


@endpoint("GET", "v1/premiumIndex", weight=without_symbol(1, 10), signed=False)
def premium_index(exchange: Exchange, params: Params) -> Any:
    """Return mark price and funding; the rate is the latest settled one, as the next one lies in the future."""
    rows = []
    for book in books(exchange, params):
        rows.append(
            {
                "symbol": book.symbol,
                "markPrice": number(book.price),
                "indexPrice": number(book.price),
                "estimatedSettlePrice": number(book.price),
                "lastFundingRate": number(book.settled[-1].rate if book.settled else 0.0),
                "interestRate": "0.00010000",
                "nextFundingTime": book.next_settlement(exchange.now),
                "time": exchange.now,
            }
        )
    return _one_or_all(rows, params)


@endpoint("GET", "v1/fundingRate", weight=0, signed=False)
def funding_rate(exchange: Exchange, params: Params) -> Any:
    """Return funding settlements: the first from `startTime` on, or without it the latest."""
    limit = params.integer("limit", 100, 1, 1000)
    first, last = params.integer("startTime"), params.integer("endTime", exchange.now)
    rows: list[dict[str, Any]] = [
        {"symbol": book.symbol, "fundingTime": one.time, "fundingRate": number(one.rate), "markPrice": number(one.mark)}
        for book in books(exchange, params)
        for one in book.settled
        if (first or 0) <= one.time <= last
    ]
    rows.sort(key=lambda row: row["fundingTime"])
    return rows[-limit:] if first is None else rows[:limit]


@endpoint("GET", "v1/ticker/bookTicker", weight=without_symbol(2, 5), signed=False)
def book_ticker(exchange: Exchange, params: Params) -> Any:
    """Return bid and ask; both are the last price."""
    rows = [
        {
            "symbol": book.symbol,
            "bidPrice": number(book.price),
            "bidQty": "1",
            "askPrice": number(book.price),
            "askQty": "1",
            "time": exchange.now,
            "lastUpdateId": exchange.now,
        }
        for book in books(exchange, params)
    ]
    return _one_or_all(rows, params)


@endpoint("GET", "v1/ticker/price", "v2/ticker/price", weight=without_symbol(1, 2), signed=False)
def ticker_price(exchange: Exchange, params: Params) -> Any:
    """Return the last price."""
    rows = [
        {"symbol": book.symbol, "price": number(book.price), "time": exchange.now} for book in books(exchange, params)
    ]
    return _one_or_all(rows, params)


@endpoint("GET", "v1/ticker/24hr", weight=without_symbol(1, 40), signed=False)
def ticker_day(exchange: Exchange, params: Params) -> Any:
    """Return prices and volume of the last 24 hours."""
    rows = []
    for book in books(exchange, params):
        bars = book.candles(book.interval, exchange.now - DAY_MS, exchange.now, exchange.replay.over).tolist()
        volume, value = plain_sum(bar[5] for bar in bars), plain_sum(bar[5] * bar[4] for bar in bars)
        opened = bars[0][1]
        rows.append(
            {
                "symbol": book.symbol,
                "priceChange": number(book.price - opened),
                "priceChangePercent": number(100.0 * (book.price / opened - 1.0)),
                "weightedAvgPrice": number(value / volume if volume else book.price),
                "lastPrice": number(book.price),
                "lastQty": "0",
                "openPrice": number(opened),
                "highPrice": number(max(bar[2] for bar in bars)),
                "lowPrice": number(min(bar[3] for bar in bars)),
                "volume": number(volume),
                "quoteVolume": number(value),
                "openTime": int(bars[0][0]),
                "closeTime": exchange.now,
                "firstId": 0,
                "lastId": 0,
                "count": 0,
            }
        )
    return _one_or_all(rows, params)


def _one_or_all(rows: list[dict[str, Any]], params: Params) -> Any:
    return rows[0] if params.values.get("symbol") else rows
