"""All our orders and fills of one symbol; `gridv4_bt.engine.matching` fills them bar by bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gridv4_bt.compiled import buffer, plain, table
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import ladder_totals, take_totals
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.state import NO_STOP, BookState
from gridv4_bt.engine.tracker import PositionTracker
from gridv4_bt.engine.types import PositionSide


class Entry(NamedTuple):
    """A resting limit order that adds to a leg."""

    price: float
    qty: float  #: base units
    spacing_pct: float  #: of the grid that placed it; the fill inherits it


class MarketClose(NamedTuple):
    """A market order that closes a fill, or a part of it, at the next open."""

    fill_id: int
    qty: float
    label: TradeLabel


class Leg:
    """One positionSide of one symbol: its open fills and its open orders.

    The entries are rows of `orders` (`prices[i]`, `qtys[i]`, `spacings[i]` belong to level i + 1 of the side; a
    price of 0 is a level without an order), because the ladder's rule plans on them directly; `actions[i]` and
    `codes[i]` are what that rule said last, see `plan_side`. Whoever changes a row calls `entries_changed`.
    """

    __slots__ = (
        "_no_prices",
        "actions",
        "closes",
        "codes",
        "exits",
        "fills",
        "leg",
        "levels",
        "orders",
        "prices",
        "qtys",
        "side",
        "sign",
        "spacings",
        "tracker",
    )  # fmt: skip

    def __init__(self, side: PositionSide) -> None:
        self.side = side
        self.sign = int(side)
        self.tracker = PositionTracker(side)
        self.leg = self.tracker.leg  #: what is held and open, in figures
        self.fills = self.tracker.columns
        self._room(0)
        self.exits: dict[int, float] = {}  #: price by fill id; the qty is all that is open of the fill
        self.closes: list[MarketClose] = []  #: market orders for the next open
        self.take_totals((0.0, 0.0, 0.0))

    @property
    def stop(self) -> float | None:
        """Trigger price of the order that closes the whole leg."""
        return self.leg.stop if self.leg.has_stop else None

    @stop.setter
    def stop(self, price: float | None) -> None:
        self.leg.has_stop = price is not None
        self.leg.stop = NO_STOP if price is None else price

    @property
    def entry_notional(self) -> float:
        """Notional of all resting entries, quote."""
        return self.leg.entry_notional

    @property
    def entry_count(self) -> int:
        """Number of resting entries."""
        return self.leg.entry_count

    @property
    def entries(self) -> dict[int, Entry]:
        """A copy of the resting entries by grid level: negative for LONG, positive for SHORT."""
        return {
            -self.sign * (i + 1): Entry(float(price), float(self.qtys[i]), float(self.spacings[i]))
            for i, price in enumerate(self.prices)
            if price > 0.0
        }

    def reserve(self, levels: int) -> None:
        """Make room for this many levels; `orders` may be another object afterwards."""
        if levels <= self.levels:
            return
        before = self.orders
        self._room(levels)
        for row, old in zip(self.orders, before, strict=True):
            for i, value in enumerate(old):
                row[i] = value

    def _room(self, levels: int) -> None:
        self.levels = levels
        self.orders = table(5, levels)
        self.prices, self.qtys, self.spacings, self.actions, self.codes = self.orders
        self._no_prices = buffer(levels)

    def place(self, level: int, entry: Entry) -> None:
        """Place an entry at a level, in place of the one before."""
        self.reserve(abs(level))
        i = abs(level) - 1
        self.prices[i], self.qtys[i], self.spacings[i] = entry
        self.entries_changed()

    def cancel(self, level: int) -> None:
        """Take the resting entry of a level away."""
        self.prices[abs(level) - 1] = 0.0
        self.entries_changed()

    def cancel_entries(self) -> None:
        """Take all resting entries away."""
        if self.leg.entry_count:
            self.prices[:] = self._no_prices
            self.take_totals((0.0, 0.0, 0.0))

    def entries_changed(self) -> None:
        """Sum the columns up anew."""
        totals = [0.0, 0.0, 0.0]
        ladder_totals(self.sign, self.levels, plain(self.prices), plain(self.qtys), totals)
        self.take_totals(totals)

    def take_totals(self, totals: Sequence[float]) -> None:
        """Note the sums that `ladder_totals` found."""
        take_totals(self.leg, totals)

    def forget(self, fill_id: int) -> None:
        """Drop the exit of a fill that is closed, and the stop if it was the last one."""
        self.exits.pop(fill_id, None)
        if not self.leg.fills:
            self.leg.has_stop = 0

    def resting_orders(self) -> int:
        """Return the number of open orders of this leg."""
        return self.leg.entry_count + len(self.exits) + self.leg.has_stop


@dataclass(frozen=True, slots=True)
class Costs:
    """What the exchange and the market take, fractions of the notional or price, and when a limit order fills."""

    maker_fee: float
    taker_fee: float
    slippage: float
    through: bool = False  #: a limit order fills only when the market trades through its price


@dataclass(slots=True)
class Bar:
    """The bar being matched. Times are open times in ms."""

    time: int = 0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    mark_low: float = 0.0  #: of the mark price where the data has one as fine as the bars, else low
    mark_high: float = 0.0
    mark_close: float = 0.0


class Book:
    """All our orders and fills of one symbol."""

    def __init__(self, market: Market, account: Account, costs: Costs) -> None:
        self.market = market
        self.brackets: Sequence[Bracket] = market.brackets
        self.symbol = market.symbol
        self.account = account
        self.costs = costs
        self.long = Leg(PositionSide.LONG)
        self.short = Leg(PositionSide.SHORT)
        self.legs = (self.long, self.short)
        self.bar = Bar()
        self.state = BookState()

    def leg(self, side: PositionSide) -> Leg:
        """Return the leg of a positionSide."""
        return self.long if side > 0 else self.short

    def orders_changed(self) -> None:
        """Call this after any change of the orders but the entries, whose sums say what the market meets first."""
        self.state.orders_changed = 1

    def cancel_orders(self) -> None:
        """Take all orders of the symbol away."""
        for leg in self.legs:
            leg.cancel_entries()
            leg.exits.clear()
            leg.closes.clear()
            leg.stop = None
        self.orders_changed()

    def unrealized(self, price: float) -> float:
        """Return the unrealised PnL of both legs at a price, quote."""
        return self.long.tracker.unrealized(price) + self.short.tracker.unrealized(price)
