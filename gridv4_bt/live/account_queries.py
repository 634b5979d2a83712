"""Read-only queries about the account: its modes, orders, trades, income and positions."""

from functools import partial
from typing import Any, NamedTuple

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Connection, Refused, Unreachable, first_field
from gridv4_bt.live.error_codes import Reaction

_TRADES_PAGE = _INCOME_PAGE = _ORDERS_PAGE = 1000  # the exchange's limits

#: Kinds of income that positions bring; all others are payments into the wallet and out of it.
_OF_TRADING = ("REALIZED_PNL", "COMMISSION", "FUNDING_FEE", "INSURANCE_CLEAR")

RawAnswer = dict[str, Any]  #: an answer as Binance gives it: ccxt's ``info``


class Trade(NamedTuple):
    """One trade of the account, as the exchange reports it."""

    id: int
    order_id: str  #: the exchange's
    side: PositionSide | None  #: None for a trade made in one-way mode
    is_buy: bool
    qty: float
    price: float
    fee: float
    fee_asset: str
    maker: bool
    time: int


class Position(NamedTuple):
    """One positionSide of a symbol, as the exchange reports it."""

    qty: float  #: base units, 0 or more
    entry: float  #: average entry price
    liquidation: float  #: liquidation price, 0 for none
    mark: float = 0.0  #: mark price, 0 if it is not said


NO_POSITION = Position(0.0, 0.0, 0.0)


class Income(NamedTuple):
    """One payment to or from the account."""

    symbol: str
    time: int  #: ms
    amount: float  #: quote; negative if the account paid
    trade_id: int = 0  #: of the trade it belongs to, 0 for none
    kind: str = ""  #: the exchange's incomeType


class AccountQueries:
    """Queries about one bot's account.

    Every method may raise `Unreachable` (no answer), `Refused` (the exchange refuses) and `LiveError` (a person is
    needed).
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._client = connection.client
        self._unified: dict[str, str] = {}  # ccxt's symbol by the exchange's

    def is_hedged(self) -> bool:
        """Return whether the account is in hedge mode."""
        return bool(self.connection.call(self._client.fetch_position_mode)["hedged"])

    def symbol_config(self, symbol: str) -> RawAnswer:
        """Return a symbol's configuration, with marginType and leverage."""
        request = {"symbol": symbol}
        rows: list[RawAnswer] = self.connection.call(lambda: self._client.fapiPrivateGetSymbolConfig(request))
        return next(row for row in rows if row["symbol"] == symbol)

    def unified_symbol(self, symbol: str) -> str:
        """Return ccxt's unified symbol of the exchange's: BTC/USDT:USDT for BTCUSDT."""
        if symbol not in self._unified:
            by_id = self._client.markets_by_id or {}
            found = [market for market in by_id.get(symbol, ()) if market["swap"] and market["linear"]]
            if not found:
                raise LiveError(f"the exchange does not list {symbol} as a linear perpetual")
            self._unified[symbol] = found[0]["symbol"]
        return self._unified[symbol]

    def open_orders(self, symbol: str) -> dict[str, RawAnswer]:
        """Return the raw open orders of a symbol, conditional ones included, by client order id."""
        conditional = {str(row["clientAlgoId"]): row for row in self.conditional_orders(symbol)}
        return self.plain_orders(symbol) | conditional

    def plain_orders(self, symbol: str) -> dict[str, RawAnswer]:
        """Return the raw open orders of a symbol that are not conditional, by client order id."""
        request = {"symbol": symbol}
        rows: list[RawAnswer] = self.connection.call(lambda: self._client.fapiPrivateGetOpenOrders(request))
        return {str(row["clientOrderId"]): row for row in rows}

    def conditional_orders(self, symbol: str) -> list[RawAnswer]:
        """Return the raw open conditional orders of a symbol."""
        request = {"symbol": symbol}
        rows: list[RawAnswer] = self.connection.call(lambda: self._client.fapiPrivateGetOpenAlgoOrders(request))
        return rows

    def all_orders(self, symbol: str, since: int) -> list[RawAnswer]:
        """Return the raw plain orders of a symbol since a time (ms), open or not, up to 1,000."""
        request = {"symbol": symbol, "startTime": since, "limit": _ORDERS_PAGE}
        rows: list[RawAnswer] = self.connection.call(lambda: self._client.fapiPrivateGetAllOrders(request))
        return rows

    def order_info(self, symbol: str, order_id: str) -> RawAnswer | None:
        """Return the raw order of the exchange's order id, None if the exchange does not know it (any more)."""
        name = self.unified_symbol(symbol)
        try:
            order: RawAnswer = self.connection.call(lambda: self._client.fetch_order(order_id, name))["info"]
            return order
        except Refused as refused:
            if refused.failure.reaction is Reaction.GONE:
                return None
            raise

    def trades(self, symbol: str, after: int) -> list[Trade]:
        """Return the account's trades of a symbol with ids above `after`, oldest first."""
        found: dict[int, Trade] = {}
        name = self.unified_symbol(symbol)
        start = after + 1
        while True:
            params = {"fromId": start, "limit": _TRADES_PAGE}
            page = self.connection.call(partial(self._client.fetch_my_trades, name, params=params))
            fresh = [trade for trade in map(_trade, page) if trade.id >= start]
            found.update((trade.id, trade) for trade in fresh)
            if len(page) < _TRADES_PAGE or not fresh:
                return [found[trade_id] for trade_id in sorted(found)]
            start = max(found) + 1

    def last_trade_id(self, symbol: str) -> int:
        """Return the id of the account's newest trade of a symbol, -1 if there is none in the last week."""
        page = self.connection.call(lambda: self._client.fetch_my_trades(self.unified_symbol(symbol)))
        return max((int(trade["info"]["id"]) for trade in page), default=-1)

    def funding_income(self, since: int) -> list[Income]:
        """Return the funding payments of all symbols since a time (ms), oldest first."""
        return self._income("FUNDING_FEE", since)

    def liquidation_fees(self, since: int) -> list[Income]:
        """Return the fees of liquidations of all symbols since a time (ms), oldest first; no trade shows them."""
        return self._income("INSURANCE_CLEAR", since)

    def transfers(self, since: int) -> float:
        """Return what has been paid into the wallet or out of it since a time (ms), apart from trading, quote."""
        return plain_sum(row.amount for row in self._income("", since) if row.kind not in _OF_TRADING)

    def _income(self, kind: str, since: int) -> list[Income]:
        """Return the rows of a kind, of all kinds if it is empty, oldest first; those of USDT alone."""
        found: dict[tuple[str, str, str], dict[str, Any]] = {}
        while True:
            request = {"startTime": since, "limit": _INCOME_PAGE} | ({"incomeType": kind} if kind else {})
            page = self.connection.call(partial(self._client.fapiPrivateGetIncome, request))
            known = len(found)
            found.update(((row["tranId"], row["symbol"], row["income"]), row) for row in page)
            if len(page) < _INCOME_PAGE or len(found) == known:
                rows = sorted(found.values(), key=lambda row: int(row["time"]))
                return [
                    Income(
                        row["symbol"],
                        int(row["time"]),
                        float(row["income"]),
                        int(row.get("tradeId") or 0),
                        row["incomeType"],
                    )
                    for row in rows
                    if row.get("asset", "USDT") == "USDT"
                ]
            since = max(int(row["time"]) for row in page)  # rows of one time may lie on both sides of a page

    def positions(self, symbol: str) -> dict[PositionSide, Position]:
        """Return the positions of a symbol, by side."""
        rows = self._position_rows({"symbol": symbol})
        return {side: rows.get((symbol, side), NO_POSITION) for side in PositionSide}

    def all_positions(self) -> dict[tuple[str, PositionSide], Position]:
        """Return the positions of all symbols, in one request."""
        return self._position_rows({})

    def _position_rows(self, request: dict[str, str]) -> dict[tuple[str, PositionSide], Position]:
        rows: list[RawAnswer] = self.connection.call(lambda: self._client.fapiPrivateV3GetPositionRisk(request))
        return {
            (row["symbol"], PositionSide[row["positionSide"]]): Position(
                abs(float(row["positionAmt"])),
                float(row["entryPrice"]),
                float(first_field(row, "liquidationPrice") or 0.0),
                float(first_field(row, "markPrice") or 0.0),
            )
            for row in rows
            if row["positionSide"] in PositionSide.__members__
        }

    def wallet(self, asset: str = "USDT") -> float | None:
        """Return the wallet balance of the margin asset, without unrealised PnL; None if the answer has no row of it.

        A missing row is no answer: the exchange gives such accounts when it is in trouble.
        """
        answer = self.connection.call(self._client.fetch_balance)
        rows = answer["info"].get("assets", ())
        return next((float(row["walletBalance"]) for row in rows if row["asset"] == asset), None)

    def balance(self, asset: str = "USDT") -> float | None:
        """Return the wallet balance as another endpoint gives it, None if the answer has no row of the asset."""
        rows: list[RawAnswer] = self.connection.call(self._client.fapiPrivateV3GetBalance)
        return next((float(row["balance"]) for row in rows if row["asset"] == asset), None)

    def quantities(self) -> dict[tuple[str, PositionSide], float]:
        """Return the quantities held by symbol and side, base units, as the account's endpoint gives them.

        Raises
        ------
        Unreachable
            The answer has no row of the margin asset, so it says nothing of positions either.
        """
        info = self.connection.call(self._client.fetch_balance)["info"]
        if not info.get("assets"):
            raise Unreachable("the account is answered without its assets")
        return {
            (row["symbol"], PositionSide[row["positionSide"]]): abs(float(row["positionAmt"]))
            for row in info.get("positions", ())
            if row["positionSide"] in PositionSide.__members__
        }

    def price(self, name: str) -> float:
        """Return the last price of ccxt's unified symbol."""
        return float(self.connection.call(lambda: self._client.fetch_ticker(name), is_public=True)["last"])

    def last_price(self, symbol: str) -> float:
        """Return the last price of the exchange's symbol."""
        return self.price(self.unified_symbol(symbol))


def _trade(answer: RawAnswer) -> Trade:
    info = answer["info"]
    return Trade(
        id=int(info["id"]),
        order_id=str(info["orderId"]),
        side=PositionSide.__members__.get(info["positionSide"]),
        is_buy=info["side"] == "BUY",
        qty=float(info["qty"]),
        price=float(info["price"]),
        fee=float(info["commission"]),
        fee_asset=info["commissionAsset"],
        maker=str(info["maker"]).lower() == "true",
        time=int(info["time"]),
    )
