"""Endpoints of the account: trades, income, balance, positions and modes."""

from typing import Any

from gridv4_bt.exchange import payloads
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.endpoints.paths import between, books, endpoint, page, window
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.params import Params
from gridv4_bt.exchange.payloads import number


@endpoint("GET", "v1/userTrades", weight=5)
def user_trades(exchange: Exchange, params: Params) -> Any:
    """List trades by cursor or by time."""
    symbol = exchange.book(params.text("symbol")).symbol
    order_id = params.integer("orderId")
    rows = page(
        exchange,
        params,
        exchange.ledger.trades,
        "fromId",
        500,
        lambda trade: trade.symbol == symbol and order_id in (None, trade.order_id),
    )
    market = exchange.books[symbol].market
    return [payloads.trade_payload(trade, market) for trade in rows]


@endpoint("GET", "v1/income", weight=30)
def income(exchange: Exchange, params: Params) -> Any:
    """List movements of the wallet by page and time."""
    symbol, kind = params.values.get("symbol"), params.values.get("incomeType")
    number_of_page = params.integer("page", 1, 1)
    limit = params.integer("limit", 100, 1, 1000)
    rows = [
        one
        for one in between(exchange.ledger.incomes, *window(exchange, params))
        if symbol in (None, "", one.symbol) and kind in (None, "", one.type)
    ]
    return [payloads.income_payload(one) for one in rows[(number_of_page - 1) * limit : number_of_page * limit]]


@endpoint("GET", "v2/account", "v3/account", weight=5)
def account(exchange: Exchange, params: Params) -> Any:
    """Return balances, margins and positions."""
    return payloads.account_payload(exchange)


@endpoint("GET", "v2/balance", "v3/balance", weight=5)
def balance(exchange: Exchange, params: Params) -> Any:
    """Return the balances."""
    return payloads.balance_payload(exchange)


@endpoint("GET", "v3/positionRisk", weight=5)
def position_risk(exchange: Exchange, params: Params) -> Any:
    """Return the positions that are or were open."""
    return [row for book in books(exchange, params) for row in payloads.position_payloads(exchange, book)]


@endpoint("GET", "v2/positionRisk", weight=5)
def position_risk_v2(exchange: Exchange, params: Params) -> Any:
    """Return all positions, with leverage and margin type."""
    return [row for book in books(exchange, params) for row in payloads.position_payloads(exchange, book, 2)]


@endpoint("GET", "v1/positionSide/dual", weight=30)
def position_mode(exchange: Exchange, params: Params) -> Any:
    """Return whether the account is in hedge mode."""
    return {"dualSidePosition": exchange.hedge_mode}


@endpoint("POST", "v1/positionSide/dual")
def set_position_mode(exchange: Exchange, params: Params) -> Any:
    """Set hedge or one-way mode."""
    params.text("dualSidePosition")
    exchange.set_hedge_mode(params.flag("dualSidePosition"))
    return {"code": 200, "msg": "success"}


@endpoint("POST", "v1/marginType")
def set_margin_type(exchange: Exchange, params: Params) -> Any:
    """Set cross or isolated margin."""
    kind = params.text("marginType", None, ("ISOLATED", "CROSSED"))
    exchange.set_margin_type(params.text("symbol"), kind == "ISOLATED")
    return {"code": 200, "msg": "success"}


@endpoint("POST", "v1/leverage")
def set_leverage(exchange: Exchange, params: Params) -> Any:
    """Set the initial leverage."""
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
    """Return leverage and margin type of symbols."""
    return [
        {
            "symbol": book.symbol,
            "marginType": "ISOLATED" if book.symbol in exchange.isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": int(book.leverage),
            "maxNotionalValue": number(book.max_notional),
        }
        for book in books(exchange, params)
    ]


@endpoint("GET", "v1/accountConfig", weight=5)
def account_config(exchange: Exchange, params: Params) -> Any:
    """Return the modes of the account."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": exchange.hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


@endpoint("GET", "v1/commissionRate", weight=20)
def commission_rate(exchange: Exchange, params: Params) -> Any:
    """Return the fees of a symbol."""
    config = exchange.config
    return {
        "symbol": exchange.book(params.text("symbol")).symbol,
        "makerCommissionRate": number(config.maker_fee),
        "takerCommissionRate": number(config.taker_fee),
    }


@endpoint("GET", "v1/leverageBracket")
def leverage_bracket(exchange: Exchange, params: Params) -> Any:
    """Return the notional brackets."""
    return [payloads.bracket_payload(book.market) for book in books(exchange, params)]
