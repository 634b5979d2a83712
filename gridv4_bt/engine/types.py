"""Sides, fills, closed trades, and the fills of one leg."""

from enum import IntEnum
from typing import NamedTuple

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.position import (
    LOT_NOISE,
    net_pnl,
    part_of,
    settle_fills,
    sum_fills,
    takes_all,
    unrealized_pnl,
    worst_fill,
)

__all__ = ["LOT_NOISE", "ClosedTrade", "Fill", "PositionSide", "PositionTracker", "TradeLabel"]


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

    @property
    def net(self) -> float:
        """Profit after fees and funding, quote."""
        return net_pnl(self.gross, self.fees, self.funding)


class PositionTracker:
    """The open fills of one positionSide of one symbol, oldest first.

    Fills are kept as columns (``ids``, ``qtys``, ``prices``, ...), one list for each field of `Fill`, because the rules
    that run every bar work on flat arrays. ``qty`` and ``cost`` are summed anew at every change, so they never drift;
    ``version`` counts the changes.
    """

    __slots__ = (
        "cost",
        "fees",
        "fundings",
        "ids",
        "prices",
        "qty",
        "qtys",
        "regimes",
        "side",
        "sign",
        "spacings",
        "times",
        "version",
    )  # fmt: skip

    def __init__(self, side: PositionSide) -> None:
        self.side = side
        self.sign = int(side)
        self.ids: list[int] = []
        self.qtys: list[float] = []
        self.prices: list[float] = []
        self.times: list[int] = []
        self.regimes: list[int] = []
        self.spacings: list[float] = []
        self.fundings: list[float] = []
        self.fees: list[float] = []
        self.qty = 0.0  #: base units held
        self.cost = 0.0  #: sum of qty*price, quote
        self.version = 0

    def __len__(self) -> int:
        return len(self.ids)

    def fill(self, index: int) -> Fill:
        """Return the fill at an index of the columns."""
        return Fill(
            self.ids[index],
            self.qtys[index],
            self.prices[index],
            self.times[index],
            self.regimes[index],
            self.spacings[index],
            self.fundings[index],
            self.fees[index],
        )

    @property
    def fills(self) -> list[Fill]:
        """All open fills, oldest first."""
        return [self.fill(index) for index in range(len(self.ids))]

    @property
    def average(self) -> float:
        """Average entry price; NaN when nothing is held."""
        return self.cost / self.qty if self.qty > 0.0 else float("nan")

    def unrealized(self, price: float) -> float:
        """Return the unrealised PnL at a price, before the cost of closing, quote."""
        return unrealized_pnl(self.sign, self.qty, self.cost, price)

    def worst(self, price: float) -> int:
        """Return the index of the fill with the largest loss in quote at a price; of equals the oldest."""
        return worst_fill(self.sign, price, self.prices, self.qtys, len(self.ids))

    def add(self, fill: Fill) -> None:
        """Append a new fill.

        Raises
        ------
        ValueError
            The quantity or the price is not above zero.
        """
        if not fill.qty > 0.0 or not fill.price > 0.0:
            raise ValueError(f"fill {fill.id}: qty {fill.qty} and price {fill.price} must be above 0")
        self.ids.append(fill.id)
        self.qtys.append(fill.qty)
        self.prices.append(fill.price)
        self.times.append(fill.time)
        self.regimes.append(fill.regime)
        self.spacings.append(fill.spacing_pct)
        self.fundings.append(fill.funding)
        self.fees.append(fill.fee)
        self._sum()

    def close(self, index: int, qty: float) -> Fill:
        """Take `qty` out of the fill at `index` and return the closed part.

        A qty within `LOT_NOISE` of the whole fill closes the whole fill. Its entry fee and funding are shared in
        proportion; the last part takes the rest.

        Raises
        ------
        ValueError
            `qty` is not above 0, or more than is open.
        """
        open_qty = self.qtys[index]
        if not 0.0 < qty <= open_qty * (1.0 + LOT_NOISE):
            raise ValueError(f"fill {self.ids[index]}: cannot close {qty} of {open_qty}")
        whole = self.fill(index)
        if takes_all(qty, open_qty):
            for column in self._columns():
                del column[index]
            self._sum()
            return whole
        part = Fill(
            whole.id,
            qty,
            whole.price,
            whole.time,
            whole.regime,
            whole.spacing_pct,
            part_of(whole.funding, qty, open_qty),
            part_of(whole.fee, qty, open_qty),
        )
        self.qtys[index] = open_qty - qty
        self.fundings[index] = whole.funding - part.funding
        self.fees[index] = whole.fee - part.fee
        self._sum()
        return part

    def settle_funding(self, mark: float, rate: float) -> float:
        """Charge ``side_sign*qty*mark*rate`` to every fill and return the sum, quote; negative means received."""
        return settle_fills(self.sign, mark, rate, self.qtys, self.fundings, len(self.qtys))

    def _columns(self) -> tuple[list[int] | list[float], ...]:
        return (self.ids, self.qtys, self.prices, self.times, self.regimes, self.spacings, self.fundings, self.fees)

    def _sum(self) -> None:
        self.qty, self.cost = sum_fills(self.qtys, self.prices, len(self.qtys))
        self.version += 1
