"""Checks of new orders: position mode, client id, filters, margin. Each raises `ApiError`."""

import re
from collections.abc import Iterable

from gridv4_bt.engine.orders import (
    OrderType,
    Refusal,
    SingleOrder,
    closing_refusal,
    filter_refusal,
    leg_of,
    opening_refusal,
    opens,
    order_price,
)
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.account_margin import Margins
from gridv4_bt.exchange.api_errors import ApiError
from gridv4_bt.exchange.records import AlgoRecord, OrderRecord
from gridv4_bt.exchange.replay import ReplayBook

CONDITIONAL_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
MAX_OPEN_ORDERS = 200  #: of a symbol
MAX_OPEN_ALGOS = 100  #: of a symbol
MAX_LOTS = 10_000_000  #: of a limit order, in steps; the exchange has a number of its own for every symbol
MAX_MARKET_LOTS = 5_000_000  #: of a market order, in steps
PERCENT_PRICE = 0.05  #: how far a limit order may cross the market
CLIENT_ID = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")


def leg_side(position_side: str, reduce_only: bool, hedge_mode: bool) -> PositionSide | None:
    """Return the leg that an order names, None in one-way mode; an error if it does not fit the mode."""
    if (position_side == "BOTH") == hedge_mode:
        raise ApiError(-4061)
    if hedge_mode and reduce_only:
        raise ApiError(-1106, "reduceonly")
    return None if position_side == "BOTH" else PositionSide[position_side]


def check_client_id(client_id: str, open_orders: Iterable[OrderRecord | AlgoRecord]) -> None:
    """Check that a client id is well-formed and that no open order has it."""
    if client_id and not CLIENT_ID.fullmatch(client_id):
        raise ApiError(-4015)
    if client_id and any(one.client_id == client_id for one in open_orders):
        raise ApiError(-4116)


def check_shape(single: SingleOrder, book: ReplayBook) -> None:
    """Check an order against the symbol's filters."""
    market = book.market
    if not single.qty > 0.0:
        raise ApiError(-4003)
    if single.qty > market.step * (MAX_MARKET_LOTS if single.type is OrderType.MARKET else MAX_LOTS):
        raise ApiError(-4005)
    _refuse(filter_refusal(single, market, book.price))
    if single.type is OrderType.LIMIT:
        highest, lowest = book.price * (1.0 + PERCENT_PRICE), book.price * (1.0 - PERCENT_PRICE)
        if single.is_buy and single.price > highest:
            raise ApiError(-4016, f"{highest:g}")
        if not single.is_buy and single.price < lowest:
            raise ApiError(-4024, f"{lowest:g}")


def check_funds(single: SingleOrder, book: ReplayBook, margins: Margins) -> None:
    """Check that the account can open or close what an order wants."""
    leg = leg_of(single, book)
    qty = single.qty
    if not opens(single, book):
        _refuse(closing_refusal(single, book))
        qty -= leg.tracker.qty
        if single.side is not None or single.reduce_only or qty <= 0.0:
            return
        leg = book.long if single.is_buy else book.short
    notional = qty * order_price(single, book.price)
    _refuse(opening_refusal(notional, book.market, margins.capacity(book, leg), margins.free, book.leverage))


def _refuse(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise ApiError(refusal.code, text=refusal.text)
