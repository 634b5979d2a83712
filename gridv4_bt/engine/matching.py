"""The order book of our own resting orders and the conservative rules by which a bar fills them.

A bar has open, high, low and close but not their order, so wherever the order decides, the
worse one for us is taken. The orders matched are those that stood at the end of the bar before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gridv4_bt.compiled import buffer, plain, table
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.ladder import ladder_totals
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.types import LOT_NOISE, PositionSide, PositionTracker, TradeLabel

INFINITY = float("inf")


# --- the rules, on plain numbers --------------------------------------------------------------------


def touches(is_buy: bool, price: float, low: float, high: float) -> bool:
    """Return whether a bar reaches a limit price: the rule ``fill_rule="touch"``."""
    return low <= price if is_buy else high >= price


def trades_through(is_buy: bool, price: float, low: float, high: float) -> bool:
    """Return whether a bar trades beyond a limit price: the rule ``fill_rule="through"``.

    At the very price other orders may be ahead in the queue.
    """
    return low < price if is_buy else high > price


def stop_hit(side_sign: int, stop: float, low: float, high: float) -> bool:
    """Return whether a bar's wick reaches the stop that closes a LONG (+1) or SHORT (-1) leg."""
    return low <= stop if side_sign > 0 else high >= stop


def market_price(is_buy: bool, price: float, slippage: float) -> float:
    """Return the price of a market order when the market is at `price`."""
    return price * (1.0 + slippage) if is_buy else price * (1.0 - slippage)


def stop_met(side_sign: int, stop: float, open_: float) -> float:
    """Return the price at which the market meets a stop: the worse of stop and open."""
    return min(stop, open_) if side_sign > 0 else max(stop, open_)


def stop_price(side_sign: int, stop: float, open_: float, slippage: float) -> float:
    """Return what a triggered stop gets: the worse of stop and open, then slippage."""
    return market_price(side_sign < 0, stop_met(side_sign, stop, open_), slippage)


def stop_takes(side_sign: int, price: float, entry: float, opened_ms: int, now_ms: int) -> bool:
    """Return whether a stop executed at `price` in the bar `now_ms` closes a fill.

    An entry of this very bar is closed too, unless it would gain by it: its price lies beyond the stop, so the market
    met the stop first and filled it after.
    """
    return opened_ms < now_ms or side_sign * (price - entry) <= 0.0


class FillRule(Protocol):
    """Decide whether a bar fills a resting limit order."""

    def __call__(self, is_buy: bool, price: float, low: float, high: float) -> bool: ...


FILL_RULES: Mapping[str, FillRule] = {"touch": touches, "through": trades_through}


# --- the resting orders -----------------------------------------------------------------------------


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
        "actions",
        "closes",
        "codes",
        "entry_count",
        "entry_notional",
        "exits",
        "first_entry",
        "levels",
        "orders",
        "prices",
        "qtys",
        "side",
        "sign",
        "spacings",
        "stop",
        "tracker",
    )  # fmt: skip

    def __init__(self, side: PositionSide) -> None:
        self.side = side
        self.sign = int(side)
        self.tracker = PositionTracker(side)
        self._room(0)
        self.exits: dict[int, float] = {}  #: price by fill id; the qty is all that is open of the fill
        self.stop: float | None = None  #: trigger price of the order that closes the whole leg
        self.closes: list[MarketClose] = []  #: market orders for the next open
        self.take_totals((0.0, 0.0, 0.0))

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
        if self.entry_count:
            self.prices[:] = buffer(self.levels)
            self.take_totals((0.0, 0.0, 0.0))

    def entries_changed(self) -> None:
        """Sum the columns up anew."""
        totals = [0.0, 0.0, 0.0]
        ladder_totals(self.sign, self.levels, plain(self.prices), plain(self.qtys), totals)
        self.take_totals(totals)

    def take_totals(self, totals: Sequence[float]) -> None:
        """Note the sums that `ladder_totals` found."""
        self.entry_notional, count, nearest = totals  #: of all resting entries, quote
        self.entry_count = int(count)
        #: the price the market meets first, infinitely far without any entry
        self.first_entry = nearest if count else -self.sign * INFINITY

    def bound_notional(self, price: float) -> float:
        """Return the notional of what is held, at a price, and of the resting entries, quote."""
        return self.tracker.qty * price + self.entry_notional

    def forget(self, fill_id: int) -> None:
        """Drop the exit of a fill that is closed, and the stop if it was the last one."""
        self.exits.pop(fill_id, None)
        if not self.tracker.ids:
            self.stop = None

    def resting_orders(self) -> int:
        """Return the number of open orders of this leg."""
        return self.entry_count + len(self.exits) + (self.stop is not None)

    def first_exit(self) -> float:
        """Return the exit price that the market meets first."""
        if self.sign > 0:
            return min(self.exits.values(), default=INFINITY)
        return max(self.exits.values(), default=-INFINITY)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the exchange and the market take, fractions of the notional or price."""

    maker_fee: float
    taker_fee: float
    slippage: float


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
    """All our orders and fills of one symbol, matched against one bar after another.

    The four phases are separate methods because several symbols share one wallet: every symbol
    passes a phase before any enters the next.
    """

    def __init__(self, market: Market, account: Account, costs: Costs, fills: FillRule) -> None:
        self.market = market
        self.symbol = market.symbol
        self.account = account
        self.costs = costs
        self.fills = fills
        self.long = Leg(PositionSide.LONG)
        self.short = Leg(PositionSide.SHORT)
        self.legs = (self.long, self.short)
        self.bar = Bar()
        self.regime = 0  #: code that ruled when the open orders were confirmed; new fills carry it
        self.stopped: set[PositionSide] = set()  #: legs that a stop closed in this bar
        self._buy_below = -INFINITY
        self._sell_above = INFINITY
        self._market = False

    def leg(self, side: PositionSide) -> Leg:
        """Return the leg of a positionSide."""
        return self.long if side > 0 else self.short

    def orders_changed(self) -> None:
        """Note the prices at which a limit order can fill; call it after any change of the orders."""
        long, short = self.long, self.short
        self._buy_below = long.first_entry
        self._sell_above = short.first_entry
        if short.exits:
            self._buy_below = max(self._buy_below, short.first_exit())
        if long.exits:
            self._sell_above = min(self._sell_above, long.first_exit())
        self._market = bool(long.closes or short.closes)

    def is_idle(self) -> bool:
        """Return whether the bar reaches no order of ours, or nothing was traded in it."""
        bar = self.bar
        if bar.volume == 0.0:
            return True
        if self._market or bar.low <= self._buy_below or bar.high >= self._sell_above:
            return False
        long_stop, short_stop = self.long.stop, self.short.stop
        return (long_stop is None or bar.low > long_stop) and (short_stop is None or bar.high < short_stop)

    def order_matters(self) -> bool:
        """Return whether the order of prices inside the bar decides what fills: it reaches a stop and an exit of a leg.

        Entries need no such knowledge: one nearer than the stop is met before it, one beyond is met after it.
        """
        bar = self.bar
        return bar.volume > 0.0 and any(
            leg.stop is not None
            and stop_hit(leg.sign, leg.stop, bar.low, bar.high)
            and self.fills(leg.sign < 0, leg.first_exit(), bar.low, bar.high)
            for leg in self.legs
        )

    def unrealized(self, price: float) -> float:
        """Return the unrealised PnL of both legs at a price, quote."""
        return self.long.tracker.unrealized(price) + self.short.tracker.unrealized(price)

    def fill_market_orders(self) -> None:
        """Phase 2: market orders at the open."""
        self.stopped.clear()
        for leg in self.legs:
            if not leg.closes:
                continue
            price = market_price(leg.sign < 0, self.bar.open, self.costs.slippage)
            for close in leg.closes:
                index = leg.tracker.ids.index(close.fill_id)
                qty = min(close.qty, leg.tracker.qtys[index])
                self._close(leg, index, qty, price, close.label, maker=False)
            leg.closes.clear()

    def fill_entries(self, down: float = 0.0, up: float = INFINITY) -> None:
        """Phase 3: every entry that the bar reaches, at its limit price, nearest first.

        Only those that the market meets before the liquidation prices `down` and `up`.
        """
        bar = self.bar
        for leg in self.legs:
            is_buy = leg.sign > 0
            if not self.fills(is_buy, leg.first_entry, bar.low, bar.high):
                continue
            prices = plain(leg.prices)
            for i, price in enumerate(prices):
                if price > 0.0 and self.fills(is_buy, price, bar.low, bar.high) and down < price < up:
                    leg.prices[i] = 0.0
                    self.account.open_fill(
                        self.symbol,
                        leg.tracker,
                        float(leg.qtys[i]),
                        price,
                        bar.time,
                        self.regime,
                        float(leg.spacings[i]),
                        self.costs.maker_fee,
                        maker=True,
                    )
            leg.entries_changed()

    def fill_stops(self, down: float = 0.0, up: float = INFINITY) -> None:
        """Phase 4: a stop closes all that its leg held when the market met it, then it is gone.

        Only the stops that the market meets before the liquidation prices `down` and `up`.
        """
        bar = self.bar
        for leg in self.legs:
            stop = leg.stop
            if stop is None or not stop_hit(leg.sign, stop, bar.low, bar.high):
                continue
            if down < stop_met(leg.sign, stop, bar.open) < up:
                price = stop_price(leg.sign, stop, bar.open, self.costs.slippage)
                for fill_id in [leg.tracker.ids[i] for i in self.stoppable(leg, price)]:
                    index = leg.tracker.ids.index(fill_id)
                    self._close(leg, index, leg.tracker.qtys[index], price, TradeLabel.STOP2, maker=False)
                leg.stop = None
                self.stopped.add(leg.side)

    def stoppable(self, leg: Leg, price: float) -> list[int]:
        """Return the indices of the fills that a stop executed at `price` closes."""
        entries = zip(leg.tracker.prices, leg.tracker.times, strict=True)
        return [i for i, entry in enumerate(entries) if stop_takes(leg.sign, price, *entry, self.bar.time)]

    def fill_exits(self) -> None:
        """Phase 5: exits that stood before the bar; none on a side that was stopped in it."""
        bar = self.bar
        for leg in self.legs:
            if leg.side in self.stopped:
                continue
            is_buy = leg.sign < 0
            reached = [fill_id for fill_id, price in leg.exits.items() if self.fills(is_buy, price, bar.low, bar.high)]
            for fill_id in reached:
                index = leg.tracker.ids.index(fill_id)
                price = leg.exits[fill_id]
                self._close(leg, index, leg.tracker.qtys[index], price, TradeLabel.GRID, maker=True)

    def cancel_orders(self) -> None:
        """Take all orders of the symbol away."""
        for leg in self.legs:
            leg.cancel_entries()
            leg.exits.clear()
            leg.closes.clear()
            leg.stop = None

    def close_all(self, price: float, label: TradeLabel, fee_rate: float) -> None:
        """Close both legs at one price with a fee of their own, as a liquidation does."""
        for leg in self.legs:
            while leg.tracker.ids:
                self.account.close_fill(
                    self.symbol, leg.tracker, 0, leg.tracker.qtys[0], price, self.bar.time, label, fee_rate, maker=False
                )

    def close_oldest(self, leg: Leg, qty: float, price: float, label: TradeLabel, *, maker: bool) -> None:
        """Close `qty` of a leg (infinity: all of it), the oldest fills first."""
        while qty > 0.0 and leg.tracker.ids:
            part = min(qty, leg.tracker.qtys[0])
            self._close(leg, 0, part, price, label, maker=maker)
            qty -= part
            if qty < LOT_NOISE * part:
                break

    def _close(self, leg: Leg, index: int, qty: float, price: float, label: TradeLabel, *, maker: bool) -> None:
        fill_id = leg.tracker.ids[index]
        fee_rate = self.costs.maker_fee if maker else self.costs.taker_fee
        before = len(leg.tracker)
        self.account.close_fill(self.symbol, leg.tracker, index, qty, price, self.bar.time, label, fee_rate, maker)
        if len(leg.tracker) < before:
            leg.forget(fill_id)
