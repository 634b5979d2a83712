"""JSON bodies of responses: orders, trades, balances and markets in the fields of Binance."""

from decimal import Decimal
from functools import cache
from typing import Any

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.order_checks import MAX_LOTS, MAX_MARKET_LOTS, MAX_OPEN_ALGOS, MAX_OPEN_ORDERS, PERCENT_PRICE
from gridv4_bt.exchange.records import AlgoRecord, IncomeRecord, OrderRecord, PositionRecord, TradeRecord
from gridv4_bt.exchange.replay import ReplayBook

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def number(value: float) -> str:
    """Return a float as decimal text without an exponent that reads back as the same float."""
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0") or "0"


@cache
def decimals(step: float) -> int:
    """Return how many decimals a step has: 3 for 0.001."""
    return max(-int(Decimal(number(step)).as_tuple().exponent), 0)


def lots(qty: float, market: Market) -> str:
    """Return a quantity rounded to the decimals of its step, as text; sums of floats are not decimal."""
    return number(round(qty, decimals(market.step)))


def order_payload(order: OrderRecord, market: Market, whole: bool = True) -> dict[str, Any]:
    """Return an order; the response to a POST has no average price and value (`whole` false)."""
    answer = {
        "orderId": order.id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": number(order.price),
        "origQty": lots(order.qty, market),
        "executedQty": lots(order.executed, market),
        "cumQty": lots(order.executed, market),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": number(order.stop_price),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.original_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "updateTime": order.updated,
    }
    if whole:
        answer["time"] = order.time
        answer["avgPrice"] = number(order.quote / order.executed if order.executed else 0.0)
        answer["cumQuote"] = number(order.quote)
    return answer


def algo_payload(algo: AlgoRecord, market: Market) -> dict[str, Any]:
    """Return a conditional order."""
    return {
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": algo.time_in_force,
        "quantity": lots(algo.qty, market),
        "algoStatus": algo.status,
        "actualOrderId": str(algo.actual_order or ""),
        "triggerPrice": number(algo.trigger),
        "price": number(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": False,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.time,
        "updateTime": algo.updated,
        "triggerTime": algo.updated if algo.actual_order else 0,
        "goodTillDate": 0,
    } | ({"callbackRate": number(algo.callback_rate), "activatePrice": None} if algo.callback_rate else {})


def trade_payload(trade: TradeRecord, market: Market) -> dict[str, Any]:
    """Return a trade of the account."""
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "side": trade.side,
        "price": number(trade.price),
        "qty": lots(trade.qty, market),
        "realizedPnl": number(trade.realized),
        "quoteQty": number(trade.price * trade.qty),
        "commission": number(trade.commission),
        "commissionAsset": "USDT",
        "time": trade.time,
        "positionSide": trade.position_side,
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
    }


def income_payload(income: IncomeRecord) -> dict[str, Any]:
    """Return a movement of the wallet; the exchange does not say which positionSide paid funding."""
    return {
        "symbol": income.symbol,
        "incomeType": income.type,
        "income": number(income.amount),
        "asset": "USDT",
        "time": income.time,
        "info": income.info,
        "tranId": income.id,
        "tradeId": str(income.trade_id or ""),
    }


def positions(exchange: Exchange, book: ReplayBook) -> list[tuple[str, float, PositionRecord, float, float]]:
    """Return positionSide, signed quantity, position, unrealised PnL and maintenance margin; BOTH in one-way mode."""
    ledger, symbol = exchange.ledger, book.symbol
    found = []
    for side in (LONG, SHORT):
        position = ledger.position(symbol, side)
        profit = ledger.unrealized(symbol, side, book.price)
        margin = maintenance_margin(position.qty * book.price, book.market.brackets)
        found.append((side.name, int(side) * position.qty, position, profit, margin))
    if exchange.hedge_mode:
        return found
    held = found[1] if found[1][1] else found[0]
    return [("BOTH", *held[1:])]


def position_payloads(exchange: Exchange, book: ReplayBook, version: int = 3) -> list[dict[str, Any]]:
    """Return a symbol's rows of positionRisk; version 3 has only those that are or were open, 2 all, with leverage."""
    down, up = exchange.margins.liquidation_range(book)
    rows = []
    for name, amount, position, profit, margin in positions(exchange, book):
        if version == 3 and not position.updated:
            continue
        limit = down if amount > 0.0 else up
        notional = amount * book.price
        row = {
            "symbol": book.symbol,
            "positionSide": name,
            "positionAmt": lots(amount, book.market),
            "entryPrice": number(position.entry),
            "breakEvenPrice": number(position.entry),
            "markPrice": number(book.price),
            "unRealizedProfit": number(profit),
            "liquidationPrice": number(limit) if amount and limit is not None else "0",
            "isolatedMargin": "0",
            "notional": number(notional),
            "isolatedWallet": "0",
            "updateTime": position.updated,
        }
        if version == 3:
            row |= {
                "marginAsset": "USDT",
                "initialMargin": number(abs(notional) / book.leverage),
                "maintMargin": number(margin),
                "positionInitialMargin": number(abs(notional) / book.leverage),
                "openOrderInitialMargin": "0",
                "adl": 0,
                "bidNotional": "0",
                "askNotional": "0",
            }
        else:
            isolated = book.symbol in exchange.isolated
            row |= {
                "leverage": number(book.leverage),
                "maxNotionalValue": number(book.max_notional),
                "marginType": "isolated" if isolated else "cross",
                "isAutoAddMargin": "false",
            }
        rows.append(row)
    return rows


def account_payload(exchange: Exchange) -> dict[str, Any]:
    """Return the account of `/fapi/v3/account`."""
    ledger = exchange.ledger
    books = exchange.books.values()
    profit = plain_sum(row[3] for book in books for row in positions(exchange, book))
    maintenance = plain_sum(exchange.margins.maintenance(book) for book in books)
    held = plain_sum(exchange.margins.of_positions(book) for book in books)
    ordered = plain_sum(exchange.margins.of_orders(book) for book in books)
    totals = {
        "InitialMargin": held + ordered,
        "MaintMargin": maintenance,
        "WalletBalance": ledger.wallet,
        "UnrealizedProfit": profit,
        "MarginBalance": ledger.wallet + profit,
        "PositionInitialMargin": held,
        "OpenOrderInitialMargin": ordered,
        "CrossWalletBalance": ledger.wallet,
        "CrossUnPnl": profit,
    }
    free = max(exchange.margins.free, 0.0)
    asset: dict[str, Any] = {name[0].lower() + name[1:]: number(value) for name, value in totals.items()}
    asset = {"asset": "USDT"} | asset | {"availableBalance": number(free), "maxWithdrawAmount": number(free)}
    asset["updateTime"] = ledger.incomes[-1].time
    answer = {f"total{name}": number(value) for name, value in totals.items()}
    rows = []
    for book in books:
        for name, amount, position, unrealized, margin in positions(exchange, book):
            if not position.updated:
                continue
            notional = amount * book.price
            rows.append(
                {
                    "symbol": book.symbol,
                    "positionSide": name,
                    "positionAmt": lots(amount, book.market),
                    "unrealizedProfit": number(unrealized),
                    "isolatedMargin": "0",
                    "notional": number(notional),
                    "isolatedWallet": "0",
                    "initialMargin": number(abs(notional) / book.leverage),
                    "maintMargin": number(margin),
                    "updateTime": position.updated,
                }
            )
    return answer | {
        "availableBalance": number(free),
        "maxWithdrawAmount": number(free),
        "assets": [asset],
        "positions": rows,
    }


def balance_payload(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the balances of `/fapi/v3/balance`."""
    account = account_payload(exchange)
    [asset] = account["assets"]
    return [
        {
            "accountAlias": "paper",
            "asset": "USDT",
            "balance": asset["walletBalance"],
            "crossWalletBalance": asset["crossWalletBalance"],
            "crossUnPnl": asset["crossUnPnl"],
            "availableBalance": asset["availableBalance"],
            "maxWithdrawAmount": asset["maxWithdrawAmount"],
            "marginAvailable": True,
            "updateTime": asset["updateTime"],
        }
    ]


def symbol_payload(market: Market) -> dict[str, Any]:
    """Return a symbol's entry of exchangeInfo."""
    base = market.symbol.removesuffix("USDT")
    tick, step = number(market.tick), number(market.step)
    return {
        "symbol": market.symbol,
        "pair": market.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": decimals(market.tick),
        "quantityPrecision": decimals(market.step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": number(market.min_qty), "maxQty": number(market.step * MAX_LOTS),
             "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": number(market.min_qty),
             "maxQty": number(market.step * MAX_MARKET_LOTS), "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": MAX_OPEN_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MAX_OPEN_ALGOS},
            {"filterType": "MIN_NOTIONAL", "notional": number(market.min_notional)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": number(1.0 + PERCENT_PRICE),
             "multiplierDown": number(1.0 - PERCENT_PRICE), "multiplierDecimal": "4"},
        ],
        # ccxt refuses types that are not named here before asking; the exchange refuses them itself.
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                       "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }  # fmt: skip


def bracket_payload(market: Market) -> dict[str, Any]:
    """Return a symbol's notional brackets."""
    rows = zip(market.brackets, market.max_leverages, strict=True)
    return {
        "symbol": market.symbol,
        "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": index,
                "initialLeverage": int(leverage),
                "notionalCap": row.cap,
                "notionalFloor": row.floor,
                "maintMarginRatio": row.rate,
                "cum": row.amount,
            }
            for index, (row, leverage) in enumerate(rows, start=1)
        ],
    }
