"""Every question about the account: its modes, orders, trades, income and positions. Nothing here changes anything."""

from typing import Any, NamedTuple

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Connection, Refused, answer_of
from gridv4_bt.live.failures import Reaction

_TRADES_PAGE = _INCOME_PAGE = 1000  # the exchange's limits


class Trade(NamedTuple):
    """One trade of the account as the exchange tells it; the order is known by the exchange's id alone."""

    id: int
    number: str  #: of the order
    side: PositionSide | None  #: None for a trade of the time when the account was in one-way mode
    is_buy: bool
    qty: float
    price: float
    fee: float
    fee_asset: str
    maker: bool
    time: int


class Holding(NamedTuple):
    """One positionSide of a symbol as the exchange tells it."""

    qty: float  #: base units, 0 or more
    entry: float  #: average entry price
    liquidation: float  #: price at which the exchange liquidates, 0 for none


class Income(NamedTuple):
    """One payment to the account, or from it."""

    symbol: str
    time: int  #: ms
    amount: float  #: quote; negative if it was paid


class AccountQuestions:
    """The account of one bot at the exchange, as far as it can be asked.

    All may raise `Unreachable` (no answer), `Refused` (the answer is no) and `LiveError` (a person is needed).
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._client = connection.client
        self._unified: dict[str, str] = {}  # ccxt's symbol by the exchange's

    def is_hedged(self) -> bool:
        """Tell whether LONG and SHORT are kept apart."""
        return bool(self.connection.ask(self._client.fetch_position_mode)["hedged"])

    def symbol_config(self, symbol: str) -> dict[str, Any]:
        """Return marginType and leverage of a symbol."""
        answer = self.connection.ask(lambda: self._client.fapiPrivateGetSymbolConfig({"symbol": symbol}))
        return next(item for item in answer if item["symbol"] == symbol)

    def unified(self, symbol: str) -> str:
        """Return ccxt's name of a symbol."""
        if symbol not in self._unified:
            by_id = self._client.markets_by_id or {}
            found = [market for market in by_id.get(symbol, ()) if market["swap"] and market["linear"]]
            if not found:
                raise LiveError(f"the exchange does not list {symbol} as a linear perpetual")
            self._unified[symbol] = found[0]["symbol"]
        return self._unified[symbol]

    def open_ids(self, symbol: str) -> dict[str, dict[str, Any]]:
        """Return all open orders of a symbol, conditional ones too, by client order id, as raw answers."""
        name = self.unified(symbol)
        ask = self.connection.ask
        plain = ask(lambda: self._client.fetch_open_orders(name))
        conditional = ask(lambda: self._client.fetch_open_orders(name, params={"trigger": True}))
        return {str(order["clientOrderId"]): order["info"] for order in [*plain, *conditional]}

    def order_info(self, symbol: str, number: str) -> dict[str, Any] | None:
        """Return the raw order of an exchange's order id, None if it is not known (any more)."""
        try:
            return self.connection.ask(lambda: self._client.fetch_order(number, self.unified(symbol)))["info"]
        except Refused as refused:
            if refused.failure.reaction is Reaction.GONE:
                return None
            raise

    def trades(self, symbol: str, after: int) -> list[Trade]:
        """Return the account's trades with ids above `after`, oldest first."""
        found: dict[int, Trade] = {}
        name = self.unified(symbol)
        start = after + 1
        while True:
            params = {"fromId": start, "limit": _TRADES_PAGE}
            page = self.connection.ask(lambda params=params: self._client.fetch_my_trades(name, params=params))
            fresh = [trade for trade in map(_trade, page) if trade.id >= start]
            found.update((trade.id, trade) for trade in fresh)
            if len(page) < _TRADES_PAGE or not fresh:
                return [found[number] for number in sorted(found)]
            start = max(found) + 1

    def last_trade_id(self, symbol: str) -> int:
        """Return the id of the account's newest trade of a symbol, -1 without any in the last week."""
        page = self.connection.ask(lambda: self._client.fetch_my_trades(self.unified(symbol)))
        return max((int(trade["info"]["id"]) for trade in page), default=-1)

    def funding_income(self, since: int) -> list[Income]:
        """Return the funding of all symbols from a time (ms) on, oldest first."""
        found: dict[tuple[str, str, str], dict[str, Any]] = {}
        while True:
            request = {"incomeType": "FUNDING_FEE", "startTime": since, "limit": _INCOME_PAGE}
            page = self.connection.ask(lambda request=request: self._client.fapiPrivateGetIncome(request))
            known = len(found)
            found.update(((row["tranId"], row["symbol"], row["income"]), row) for row in page)
            if len(page) < _INCOME_PAGE or len(found) == known:
                rows = sorted(found.values(), key=lambda row: int(row["time"]))
                return [Income(row["symbol"], int(row["time"]), float(row["income"])) for row in rows]
            since = max(int(row["time"]) for row in page)  # rows of one moment may lie on both sides of a page

    def holdings(self, symbol: str) -> dict[PositionSide, Holding]:
        """Return what is held of a symbol, by leg."""
        name = self.unified(symbol)
        answer = self.connection.ask(lambda: self._client.fetch_positions([name]))
        legs = {side: Holding(0.0, 0.0, 0.0) for side in PositionSide}
        for position in answer:
            info = position["info"]
            if info["symbol"] != symbol or info["positionSide"] not in PositionSide.__members__:
                continue
            side = PositionSide[info["positionSide"]]
            liquidation = float(answer_of(info, "liquidationPrice") or 0.0)
            legs[side] = Holding(abs(float(info["positionAmt"])), float(info["entryPrice"]), liquidation)
        return legs

    def wallet(self, asset: str = "USDT") -> float:
        """Return the wallet balance of the margin asset, without unrealised PnL."""
        answer = self.connection.ask(self._client.fetch_balance)
        for row in answer["info"].get("assets", ()):
            if row["asset"] == asset:
                return float(row["walletBalance"])
        return 0.0

    def price(self, name: str) -> float:
        """Return the latest price of a market in ccxt's name."""
        return float(self.connection.ask(lambda: self._client.fetch_ticker(name))["last"])

    def last_price(self, symbol: str) -> float:
        """Return the latest price of a symbol of ours."""
        return self.price(self.unified(symbol))


def _trade(answer: dict[str, Any]) -> Trade:
    info = answer["info"]
    return Trade(
        id=int(info["id"]),
        number=str(info["orderId"]),
        side=PositionSide.__members__.get(info["positionSide"]),
        is_buy=info["side"] == "BUY",
        qty=float(info["qty"]),
        price=float(info["price"]),
        fee=float(info["commission"]),
        fee_asset=info["commissionAsset"],
        maker=str(info["maker"]).lower() == "true",
        time=int(info["time"]),
    )
