"""The paths of the REST interface: what each asks of the exchange, its weight, and whether it must be signed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from feeds.tables import DAY_MS, interval_ms
from gridv4_bt.errors import DataError
from gridv4_bt.exchange import answers
from gridv4_bt.exchange.answers import number
from gridv4_bt.exchange.checks import CONDITIONAL_TYPES
from gridv4_bt.exchange.errors import ApiError
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.records import AlgoOrder, Order

Handler = Callable[[Exchange, Params], Any]
WEEK_MS = 7 * DAY_MS
TRADES_KEPT = 90 * DAY_MS
MOST_IN_A_BATCH = 5


@dataclass(frozen=True)
class Endpoint:
    """One path with one method."""

    handler: Handler
    weight: Callable[[Params], int]
    signed: bool
    orders: Callable[[Params], int]


ENDPOINTS: dict[tuple[str, str], Endpoint] = {}


def endpoint(
    method: str, *paths: str, weight: int | Callable[[Params], int] = 1, signed: bool = True,
    orders: int | Callable[[Params], int] = 0,
) -> Callable[[Handler], Handler]:  # fmt: skip
    """Serve paths with the function below; `weight` and `orders` count against the limits."""

    def serve(handler: Handler) -> Handler:
        for path in paths:
            ENDPOINTS[method, f"/fapi/{path}"] = Endpoint(handler, _counter(weight), signed, _counter(orders))
        return handler

    return serve


def _counter(value: int | Callable[[Params], int]) -> Callable[[Params], int]:
    return value if callable(value) else lambda params: value


def _without_symbol(alone: int, all_of_them: int) -> Callable[[Params], int]:
    return lambda params: alone if params.values.get("symbol") else all_of_them


def _kline_weight(params: Params) -> int:
    limit = params.integer("limit", 500)
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _batch_size(params: Params) -> int:
    try:
        return max(len(json.loads(params.values.get("batchOrders", "[]"))), 1)
    except (ValueError, TypeError):
        return 1


# --- market data


@endpoint("GET", "v1/ping", signed=False)
def ping(exchange: Exchange, params: Params) -> Any:
    return {}


@endpoint("GET", "v1/time", signed=False)
def time(exchange: Exchange, params: Params) -> Any:
    return {"serverTime": exchange.now}


@endpoint("GET", "v1/exchangeInfo", signed=False)
def exchange_info(exchange: Exchange, params: Params) -> Any:
    return {
        "timezone": "UTC",
        "serverTime": exchange.now,
        "futuresType": "U_MARGINED",
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [answers.symbol_answer(book.market) for book in exchange.books.values()],
    }


@endpoint("GET", "v1/klines", weight=_kline_weight, signed=False)
def klines(exchange: Exchange, params: Params) -> Any:
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
    rows = book.candles(step, first, last, exchange.tape.over)
    return [
        [int(time), number(open_), number(high), number(low), number(close), number(volume), int(time) + step - 1,
         number(volume * close), 0, "0", "0", "0"]
        for time, open_, high, low, close, volume in rows.tolist()
    ]  # fmt: skip


@endpoint("GET", "v1/premiumIndex", weight=_without_symbol(1, 10), signed=False)
def premium_index(exchange: Exchange, params: Params) -> Any:
    """The rate is the latest that was settled: the estimate of the next one would be known from the future here."""
    rows = []
    for book in _books(exchange, params):
        rows.append({
            "symbol": book.symbol,
            "markPrice": number(book.price),
            "indexPrice": number(book.price),
            "estimatedSettlePrice": number(book.price),
            "lastFundingRate": number(book.settled[-1].rate if book.settled else 0.0),
            "interestRate": "0.00010000",
            "nextFundingTime": book.next_settlement(exchange.now),
            "time": exchange.now,
        })  # fmt: skip
    return _one_or_all(rows, params)


@endpoint("GET", "v1/fundingRate", weight=0, signed=False)
def funding_rate(exchange: Exchange, params: Params) -> Any:
    limit = params.integer("limit", 100, 1, 1000)
    first, last = params.integer("startTime"), params.integer("endTime", exchange.now)
    rows = [
        {"symbol": book.symbol, "fundingTime": one.time, "fundingRate": number(one.rate), "markPrice": number(one.mark)}
        for book in _books(exchange, params)
        for one in book.settled
        if (first or 0) <= one.time <= last
    ]
    rows.sort(key=lambda row: row["fundingTime"])
    return rows[-limit:] if first is None else rows[:limit]


@endpoint("GET", "v1/ticker/bookTicker", weight=_without_symbol(2, 5), signed=False)
def book_ticker(exchange: Exchange, params: Params) -> Any:
    rows = [
        {"symbol": book.symbol, "bidPrice": number(book.price), "bidQty": "1", "askPrice": number(book.price),
         "askQty": "1", "time": exchange.now, "lastUpdateId": exchange.now}
        for book in _books(exchange, params)
    ]  # fmt: skip
    return _one_or_all(rows, params)


@endpoint("GET", "v1/ticker/price", "v2/ticker/price", weight=_without_symbol(1, 2), signed=False)
def ticker_price(exchange: Exchange, params: Params) -> Any:
    rows = [
        {"symbol": book.symbol, "price": number(book.price), "time": exchange.now} for book in _books(exchange, params)
    ]
    return _one_or_all(rows, params)


@endpoint("GET", "v1/ticker/24hr", weight=_without_symbol(1, 40), signed=False)
def ticker_day(exchange: Exchange, params: Params) -> Any:
    rows = []
    for book in _books(exchange, params):
        bars = book.candles(book.interval, exchange.now - DAY_MS, exchange.now, exchange.tape.over).tolist()
        volume, value = sum(bar[5] for bar in bars), sum(bar[5] * bar[4] for bar in bars)
        opened = bars[0][1]
        rows.append({
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
        })  # fmt: skip
    return _one_or_all(rows, params)


def _books(exchange: Exchange, params: Params) -> list:
    symbol = params.values.get("symbol")
    return [exchange.book(symbol)] if symbol else list(exchange.books.values())


def _one_or_all(rows: list[dict], params: Params) -> Any:
    return rows[0] if params.values.get("symbol") else rows


# --- orders


@endpoint("POST", "v1/order", weight=0, orders=1)
def post_order(exchange: Exchange, params: Params) -> Any:
    return _order(exchange, _place(exchange, params), whole=False)


@endpoint("POST", "v1/order/test", weight=0)
def test_order(exchange: Exchange, params: Params) -> Any:
    _order_terms(params)
    return {}


def _order_terms(params: Params) -> dict[str, Any]:
    type = params.text("type")
    if type in CONDITIONAL_TYPES:
        raise ApiError(-4120)
    terms = _common_terms(params) | {"type": type, "qty": params.number("quantity"), "price": 0.0}
    terms["client_id"] = params.text("newClientOrderId", "")
    terms["time_in_force"] = "GTC"
    if type == "LIMIT":
        terms["time_in_force"] = params.text("timeInForce", None, ("GTC", "IOC", "FOK", "GTX"), -1115)
        terms["price"] = params.number("price")
    elif params.values.get("price"):
        raise ApiError(-1106, "price")
    return terms


def _common_terms(params: Params) -> dict[str, Any]:
    return {
        "symbol": params.text("symbol"),
        "side": params.text("side", None, ("BUY", "SELL"), -1117),
        "position_side": params.text("positionSide", "BOTH", ("LONG", "SHORT", "BOTH"), -4060),
        "reduce_only": params.flag("reduceOnly"),
    }


def _place(exchange: Exchange, params: Params) -> Order:
    return exchange.place(**_order_terms(params))


@endpoint("PUT", "v1/order", weight=0, orders=1)
def put_order(exchange: Exchange, params: Params) -> Any:
    order = _find(exchange, params)
    side = params.text("side", None, ("BUY", "SELL"), -1117)
    exchange.amend(order, side, params.number("quantity"), params.number("price"))
    return _order(exchange, order, whole=False)


@endpoint("GET", "v1/order")
def get_order(exchange: Exchange, params: Params) -> Any:
    return _order(exchange, _find(exchange, params))


@endpoint("GET", "v1/openOrder")
def get_open_order(exchange: Exchange, params: Params) -> Any:
    order = _find(exchange, params)
    if not order.is_open:
        raise ApiError(-2013)
    return _order(exchange, order)


@endpoint("DELETE", "v1/order")
def delete_order(exchange: Exchange, params: Params) -> Any:
    order = _find(exchange, params, -2011)
    exchange.cancel(order)
    return _order(exchange, order, whole=False)


@endpoint("POST", "v1/batchOrders", weight=5, orders=_batch_size)
def post_batch(exchange: Exchange, params: Params) -> Any:
    return _each(params, lambda one: post_order(exchange, one))


@endpoint("PUT", "v1/batchOrders", weight=5, orders=_batch_size)
def put_batch(exchange: Exchange, params: Params) -> Any:
    return _each(params, lambda one: put_order(exchange, one))


@endpoint("DELETE", "v1/batchOrders")
def delete_batch(exchange: Exchange, params: Params) -> Any:
    symbol = params.text("symbol")
    numbers, names = params.values.get("orderidlist") or params.values.get("orderIdList"), None
    if not numbers:
        numbers, names = None, params.values.get("origclientorderidlist") or params.text("origClientOrderIdList")
    name = "orderId" if numbers else "origClientOrderId"
    found = []
    for value in _json_list(numbers or names)[:10]:
        one = Params("", "")
        one.values = {"symbol": symbol, name: str(value)}
        found.append(_or_error(lambda one: delete_order(exchange, one), one))
    return found


def _each(params: Params, handle: Callable[[Params], Any]) -> list[Any]:
    orders = _json_list(params.text("batchOrders"))
    if not 1 <= len(orders) <= MOST_IN_A_BATCH:
        raise ApiError(-1130, "batchOrders")
    found = []
    for order in orders:
        one = Params("", "")
        one.values = {name: str(value) for name, value in order.items()}
        found.append(_or_error(handle, one))
    return found


def _or_error(handle: Callable[[Params], Any], params: Params) -> Any:
    try:
        return handle(params)
    except ApiError as error:
        return {"code": error.code, "msg": error.text}


def _json_list(text: str) -> list:
    try:
        content = json.loads(text)
    except ValueError:
        raise ApiError(-1130, "list") from None
    if not isinstance(content, list):
        raise ApiError(-1130, "list")
    return content


@endpoint("DELETE", "v1/allOpenOrders")
def delete_all(exchange: Exchange, params: Params) -> Any:
    exchange.cancel_all(exchange.book(params.text("symbol")).symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


@endpoint("POST", "v1/countdownCancelAll", weight=10)
def countdown(exchange: Exchange, params: Params) -> Any:
    symbol = exchange.book(params.text("symbol")).symbol
    wait = params.integer("countdownTime")
    if wait is None:
        raise ApiError(-1102, "countdownTime")
    exchange.countdowns.pop(symbol, None)
    if wait:
        exchange.countdowns[symbol] = exchange.now + wait
    return {"symbol": symbol, "countdownTime": str(wait)}


@endpoint("GET", "v1/openOrders", weight=_without_symbol(1, 40))
def open_orders(exchange: Exchange, params: Params) -> Any:
    symbol = params.values.get("symbol") or None
    return [_order(exchange, order) for order in exchange.registry.open_orders(symbol and exchange.book(symbol).symbol)]


@endpoint("GET", "v1/allOrders", weight=5)
def all_orders(exchange: Exchange, params: Params) -> Any:
    symbol = exchange.book(params.text("symbol")).symbol
    found = [order for order in exchange.registry.orders.values() if order.symbol == symbol]
    return [_order(exchange, order) for order in _page(exchange, params, found, "orderId", 500)]


def _find(exchange: Exchange, params: Params, missing: int = -2013) -> Order:
    symbol = exchange.book(params.text("symbol")).symbol
    number, name = params.integer("orderId"), params.values.get("origClientOrderId")
    if number is None and not name:
        raise ApiError(-1102, "orderId' or 'origClientOrderId")
    order = exchange.registry.find(symbol, number, name, exchange.now)
    if order is None:
        raise ApiError(missing)
    return order


def _order(exchange: Exchange, order: Order, whole: bool = True) -> dict[str, Any]:
    return answers.order_answer(order, exchange.books[order.symbol].market, whole)


# --- conditional orders


@endpoint("POST", "v1/algoOrder", weight=0, orders=1)
def post_algo(exchange: Exchange, params: Params) -> Any:
    params.text("algoType", None, ("CONDITIONAL",))
    closes = params.flag("closePosition")
    if closes and params.values.get("quantity"):
        raise ApiError(-1106, "quantity")
    type = params.text("type")
    algo = exchange.place_algo(
        **_common_terms(params),
        type=type,
        qty=0.0 if closes else params.number("quantity"),
        price=params.number("price") if type == "STOP" else 0.0,
        trigger=params.number("triggerPrice"),
        time_in_force=params.text("timeInForce", "GTC"),
        working_type=params.text("workingType", "CONTRACT_PRICE", ("CONTRACT_PRICE", "MARK_PRICE")),
        close_position=closes,
        client_id=params.text("clientAlgoId", ""),
    )
    return _algo(exchange, algo)


@endpoint("GET", "v1/algoOrder")
def get_algo(exchange: Exchange, params: Params) -> Any:
    return _algo(exchange, _find_algo(exchange, params, -2013))


@endpoint("DELETE", "v1/algoOrder")
def delete_algo(exchange: Exchange, params: Params) -> Any:
    algo = _find_algo(exchange, params, -2011)
    exchange.cancel_algo(algo)
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


@endpoint("DELETE", "v1/algoOpenOrders")
def delete_algos(exchange: Exchange, params: Params) -> Any:
    for algo in exchange.registry.open_algos(exchange.book(params.text("symbol")).symbol):
        exchange.cancel_algo(algo)
    return {"code": "200", "msg": "The operation of cancel all open order is done."}


@endpoint("GET", "v1/openAlgoOrders", weight=_without_symbol(1, 40))
def open_algos(exchange: Exchange, params: Params) -> Any:
    symbol = params.values.get("symbol") or None
    return [_algo(exchange, algo) for algo in exchange.registry.open_algos(symbol and exchange.book(symbol).symbol)]


@endpoint("GET", "v1/allAlgoOrders", weight=5)
def all_algos(exchange: Exchange, params: Params) -> Any:
    symbol = exchange.book(params.text("symbol")).symbol
    found = [algo for algo in exchange.registry.algos.values() if algo.symbol == symbol]
    return [_algo(exchange, algo) for algo in _page(exchange, params, found, "algoId", 500)]


def _find_algo(exchange: Exchange, params: Params, missing: int) -> AlgoOrder:
    number, name = params.integer("algoId"), params.values.get("clientAlgoId")
    if number is None and not name:
        raise ApiError(-1102, "algoId' or 'clientAlgoId")
    algo = exchange.registry.find_algo(number, name)
    if algo is None:
        raise ApiError(missing)
    return algo


def _algo(exchange: Exchange, algo: AlgoOrder) -> dict[str, Any]:
    return answers.algo_answer(algo, exchange.books[algo.symbol].market)


# --- account


@endpoint("GET", "v1/userTrades", weight=5)
def user_trades(exchange: Exchange, params: Params) -> Any:
    symbol = exchange.book(params.text("symbol")).symbol
    trades = [trade for trade in exchange.ledger.trades if trade.symbol == symbol]
    order_id = params.integer("orderId")
    if order_id is not None:
        trades = [trade for trade in trades if trade.order_id == order_id]
    market = exchange.books[symbol].market
    return [answers.trade_answer(trade, market) for trade in _page(exchange, params, trades, "fromId", 500)]


@endpoint("GET", "v1/income", weight=30)
def income(exchange: Exchange, params: Params) -> Any:
    symbol, kind = params.values.get("symbol"), params.values.get("incomeType")
    rows = [
        one for one in exchange.ledger.incomes if symbol in (None, "", one.symbol) and kind in (None, "", one.type)
    ]
    page = params.integer("page", 1, 1)
    limit = params.integer("limit", 100, 1, 1000)
    first, last = _window(exchange, params)
    rows = [one for one in rows if first <= one.time <= last]
    return [answers.income_answer(one) for one in rows[(page - 1) * limit : page * limit]]


def _window(exchange: Exchange, params: Params) -> tuple[int, int]:
    """Return the span of time asked for: a week at most, the last one by default, nothing older than is kept."""
    first, last = params.integer("startTime"), params.integer("endTime")
    if first is None:
        first = (exchange.now if last is None else last) - WEEK_MS
    if last is None:
        last = min(first + WEEK_MS, exchange.now)
    if last < first or last - first > WEEK_MS:
        raise ApiError(-1128)
    return max(first, exchange.now - TRADES_KEPT), last


def _page(exchange: Exchange, params: Params, rows: Sequence, cursor: str, usual: int) -> Sequence:
    """Return rows by cursor (ids from there on), or by time; of more than fit the first ones of a cursor or a start."""
    limit = params.integer("limit", usual, 1, 1000)
    start = params.integer(cursor) if cursor == "fromId" or cursor in params.values else None
    timed = params.values.get("startTime") or params.values.get("endTime")
    if start is not None:
        if timed:
            raise ApiError(-1128)
        return [row for row in rows if row.id >= start and row.time >= exchange.now - TRADES_KEPT][:limit]
    first, last = _window(exchange, params)
    rows = [row for row in rows if first <= row.time <= last]
    return rows[:limit] if params.values.get("startTime") else rows[-limit:]


@endpoint("GET", "v2/account", "v3/account", weight=5)
def account(exchange: Exchange, params: Params) -> Any:
    return answers.account_answer(exchange)


@endpoint("GET", "v2/balance", "v3/balance", weight=5)
def balance(exchange: Exchange, params: Params) -> Any:
    return answers.balance_answer(exchange)


@endpoint("GET", "v3/positionRisk", weight=5)
def position_risk(exchange: Exchange, params: Params) -> Any:
    return [row for book in _books(exchange, params) for row in answers.position_answers(exchange, book)]


@endpoint("GET", "v2/positionRisk", weight=5)
def position_risk_v2(exchange: Exchange, params: Params) -> Any:
    return [row for book in _books(exchange, params) for row in answers.position_answers(exchange, book, 2)]


@endpoint("GET", "v1/positionSide/dual", weight=30)
def position_mode(exchange: Exchange, params: Params) -> Any:
    return {"dualSidePosition": exchange.hedge_mode}


@endpoint("POST", "v1/positionSide/dual")
def set_position_mode(exchange: Exchange, params: Params) -> Any:
    params.text("dualSidePosition")
    exchange.set_hedge_mode(params.flag("dualSidePosition"))
    return {"code": 200, "msg": "success"}


@endpoint("POST", "v1/marginType")
def set_margin_type(exchange: Exchange, params: Params) -> Any:
    kind = params.text("marginType", None, ("ISOLATED", "CROSSED"))
    exchange.set_margin_type(params.text("symbol"), kind == "ISOLATED")
    return {"code": 200, "msg": "success"}


@endpoint("POST", "v1/leverage")
def set_leverage(exchange: Exchange, params: Params) -> Any:
    book = exchange.book(params.text("symbol"))
    leverage = params.integer("leverage")
    if leverage is None:
        raise ApiError(-1102, "leverage")
    if leverage < 1:
        raise ApiError(-4028, leverage)
    exchange.set_leverage(book.symbol, leverage)
    return {"leverage": leverage, "maxNotionalValue": number(book.max_notional), "symbol": book.symbol}


@endpoint("GET", "v1/symbolConfig", weight=5)
def symbol_config(exchange: Exchange, params: Params) -> Any:
    return [
        {"symbol": book.symbol, "marginType": "ISOLATED" if book.symbol in exchange.isolated else "CROSSED",
         "isAutoAddMargin": False, "leverage": int(book.leverage), "maxNotionalValue": number(book.max_notional)}
        for book in _books(exchange, params)
    ]  # fmt: skip


@endpoint("GET", "v1/accountConfig", weight=5)
def account_config(exchange: Exchange, params: Params) -> Any:
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
        "dualSidePosition": exchange.hedge_mode, "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1,
    }  # fmt: skip


@endpoint("GET", "v1/commissionRate", weight=20)
def commission_rate(exchange: Exchange, params: Params) -> Any:
    config = exchange.config
    return {
        "symbol": exchange.book(params.text("symbol")).symbol,
        "makerCommissionRate": number(config.maker_fee),
        "takerCommissionRate": number(config.taker_fee),
    }


@endpoint("GET", "v1/leverageBracket")
def leverage_bracket(exchange: Exchange, params: Params) -> Any:
    return [answers.bracket_answer(book.market) for book in _books(exchange, params)]
