"""Sides, fills and closed trades."""

from enum import IntEnum
from typing import NamedTuple

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.position import net_pnl


class PositionSide(IntEnum):
    """Binance's ``positionSide``; the value is `side_sign`, the sign of the profit when the price rises."""

    LONG = 1
    SHORT = -1


class Fill(NamedTuple):
    """One entry that is still open, wholly or in part."""

    id: int  #: unique in the account; also the Backtrader ``tradeid``
    qty: float  #: base units still open
    price: float  #: entry price
    time: int  #: open time of the bar it filled in, ms
    regime: int  #: `Regime` code of the last decision before it filled
    spacing_pct: float  #: spacing of the ladder that placed its order, fraction of price
    funding: float  #: funding paid so far for the open qty, quote; negative if received
    fee: float  #: entry fee that belongs to the open qty, quote
    closed_qty: float = 0.0  #: base units that parts closed before have taken
    closed_net: float = 0.0  #: what they have brought after fees and funding, quote


class ClosedTrade(NamedTuple):
    """The closing of one fill or of a part of it; a fill closed in parts gives several."""

    trade_id: int  #: id of the fill
    symbol: str
    side: PositionSide
    label: TradeLabel
    regime: int  #: `Regime` code of the fill
    open_time: int  #: ms
    close_time: int  #: ms
    qty: float  #: base units closed
    entry: float  #: price
    exit: float  #: price
    gross: float  #: quote, before fees and funding
    fees: float  #: quote, of the exit and this part's share of the entry
    funding: float  #: quote, paid while open by the closed qty
    bullet_qty: float = 0.0  #: base units of all parts of the fill, on the closing of its last part; 0 on earlier ones
    bullet_net: float = 0.0  #: what they have brought after fees and funding, quote; set as `bullet_qty`

    @property
    def net(self) -> float:
        """Profit after fees and funding, quote."""
        return net_pnl(self.gross, self.fees, self.funding)
