"""Records of orders, trades, income and positions, in Binance's vocabulary."""

from dataclasses import dataclass

NEW, PARTIALLY_FILLED, FILLED = "NEW", "PARTIALLY_FILLED", "FILLED"
CANCELED, EXPIRED, REJECTED, FINISHED = "CANCELED", "EXPIRED", "REJECTED", "FINISHED"
OPEN_STATUSES = (NEW, PARTIALLY_FILLED)
#: positionSide and side of the orders that close a leg, in hedge mode.
CLOSING = frozenset({("LONG", "SELL"), ("SHORT", "BUY")})


@dataclass(slots=True)
class OrderRecord:
    """An order of `/fapi/v1/order`."""

    id: int
    client_id: str
    symbol: str
    side: str  #: BUY or SELL
    position_side: str  #: LONG, SHORT or BOTH
    type: str
    time_in_force: str
    qty: float  #: base units
    price: float
    time: int  #: ms
    updated: int  #: ms
    turn: int  #: rank among the open orders: the smaller one is matched first
    original_type: str = ""  #: type of the conditional order it comes from
    stop_price: float = 0.0
    reduce_only: bool = False
    close_position: bool = False
    status: str = NEW
    executed: float = 0.0  #: base units
    remaining: float = 0.0  #: base units not executed yet, not rounded
    quote: float = 0.0  #: sum of price*qty executed, quote
    marketable: bool = False  #: crossed the market when placed: pays as a taker
    triggered_at: int = -1  #: open time of the bar that triggered its stop, ms

    @property
    def is_open(self) -> bool:
        """Whether it can still be executed."""
        return self.status in OPEN_STATUSES

    @property
    def closes(self) -> bool:
        """Whether it can only close a leg."""
        return self.reduce_only or (self.position_side, self.side) in CLOSING


@dataclass(slots=True)
class AlgoRecord:
    """A conditional order of `/fapi/v1/algoOrder`, until it is triggered."""

    id: int
    client_id: str
    symbol: str
    side: str
    position_side: str
    type: str  #: STOP_MARKET, STOP or TRAILING_STOP_MARKET
    time_in_force: str
    qty: float  #: base units; 0 closes the whole position
    price: float
    trigger: float
    working_type: str
    time: int  #: ms
    updated: int  #: ms
    turn: int
    reduce_only: bool = False
    close_position: bool = False
    status: str = NEW
    actual_order: int = 0  #: id of the order it became when triggered
    callback_rate: float = 0.0  #: percent that a trailing stop stays behind the best price

    @property
    def is_open(self) -> bool:
        """Whether it can still be triggered."""
        return self.status == NEW


@dataclass(slots=True)
class TradeRecord:
    """One execution of an order."""

    id: int
    order_id: int
    symbol: str
    side: str
    position_side: str
    price: float
    qty: float  #: base units
    realized: float  #: quote, against the average entry price
    commission: float  #: quote
    maker: bool
    time: int  #: ms


@dataclass(slots=True)
class IncomeRecord:
    """One movement of the wallet."""

    id: int  #: tranId
    type: str  #: TRANSFER, REALIZED_PNL, COMMISSION, FUNDING_FEE or INSURANCE_CLEAR
    symbol: str
    amount: float  #: quote
    info: str
    trade_id: int  #: 0 for none
    time: int  #: ms


@dataclass(slots=True)
class PositionRecord:
    """One positionSide of one symbol."""

    qty: float = 0.0  #: base units, never negative
    entry: float = 0.0  #: average entry price; a partial close does not change it
    updated: int = 0  #: ms
