"""Single orders: all orders but those of the grid's ladder, in the exchange's vocabulary.

They come from other Backtrader strategies or through the exchange's REST interface. The rules and phases are those of
`gridv4_bt.engine.matching`:

* MARKET at the open; LIMIT always at its limit price; STOP_MARKET at the worse of stop and open; a triggered STOP is
  a limit order from the next bar on.
* An order of one positionSide that closes takes the oldest fills first and never turns the leg. Without a positionSide
  (one-way mode) it first closes the opposite leg, then opens its own.
* Within a phase LONG comes before SHORT; entries nearest to the market first, as it meets them; all else in order of
  placement.
* Of a group whose orders cancel each other one fills at most; the stop, where a bar reaches a stop and a limit of it.
* An order that waits for its parent is not matched. In the bar that wakes it a stop may be met, a limit not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from gridv4_bt.core.grid import round_down
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.book_access import close_fill
from gridv4_bt.engine.labels import MANUAL
from gridv4_bt.engine.ladder import CAP, MARGIN, MAX_POSITION
from gridv4_bt.engine.margin import opening_limit
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import fills, market_price, stop_hit, stop_met, stop_price, stop_takes
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.trailing import Trail, limit_behind, trailing_trigger
from gridv4_bt.engine.types import PositionSide


class OrderType(StrEnum):
    """Binance's order types."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP_MARKET = "STOP_MARKET"
    STOP = "STOP"  #: becomes LIMIT when triggered


class Refusal(NamedTuple):
    """The exchange's reason for refusing an order."""

    code: int
    text: str  #: the exchange's words
    detail: str = ""  #: the numbers of this case

    def __str__(self) -> str:
        return f"{self.code} {self.text}{self.detail}"


@dataclass(slots=True, eq=False)
class SingleOrder:
    """An order that is not part of the ladder."""

    symbol: str
    side: PositionSide | None  #: positionSide; None in one-way mode
    is_buy: bool
    type: OrderType
    qty: float  #: base units
    price: float = 0.0  #: limit price
    trigger: float = 0.0  #: stop price
    reduce_only: bool = False  #: of one-way mode: never opens
    reference: Any = None  #: the owner's own object for it
    #: Its limit price was at or through the market when it was placed or triggered, so it pays the taker fee.
    marketable: bool = False
    triggered_at: int = -1  #: open time of the bar that triggered it, ms
    trail: Trail | None = None  #: of a stop whose trigger follows the price
    group: int = 0  #: orders of one number cancel each other; 0: none
    waits: bool = False  #: for its parent's execution
    woken_at: int = -1  #: open time of the bar that executed its parent, ms
    cut_to_leg: bool = False  #: closes what its leg holds at most; the rest expires, as it does at the exchange
    remaining: float = field(init=False)  #: base units not executed yet

    def __post_init__(self) -> None:
        self.remaining = self.qty


class Owner(Protocol):
    """The receiver of events of single orders."""

    def executed(self, order: SingleOrder, book: Book) -> None:
        """Handle and clear `book.account.executions`, all of which are of this order."""

    def refused(self, order: SingleOrder, refusal: Refusal) -> None:
        """Handle an open order that could not be executed and is gone."""

    def triggered(self, order: SingleOrder) -> None:
        """Handle a STOP that has become a limit order."""

    def cancelled(self, order: SingleOrder) -> None:
        """Handle an order that a liquidation has cancelled."""

    def trailed(self, order: SingleOrder) -> None:
        """Handle a trailing stop whose trigger has moved."""

    def expired(self, order: SingleOrder) -> None:
        """Handle an order that is gone because its leg holds nothing that it could close."""


def leg_of(order: SingleOrder, book: Book) -> Leg:
    """Return the leg that an order would open or close now."""
    if order.side is not None:
        return book.leg(order.side)
    own, opposite = (book.long, book.short) if order.is_buy else (book.short, book.long)
    return opposite if opposite.tracker.ids or order.reduce_only else own


def opens(order: SingleOrder, book: Book) -> bool:
    """Return whether an order adds to its leg."""
    return order.is_buy == (leg_of(order, book).side is PositionSide.LONG)


def _is_multiple(value: float, step: float) -> bool:
    return abs(round_down(value, step) - value) <= 1e-9 * value


def filter_refusal(order: SingleOrder, market: Market, last_price: float) -> Refusal | None:
    """Return why an order breaks the market's filters, or None; set `marketable` of a limit order."""
    qty = order.qty
    if not qty >= market.min_qty:
        return Refusal(-4004, "Quantity less than min quantity.", f" It is {market.min_qty}")
    if not _is_multiple(qty, market.step):
        detail = f": qty {qty} is no multiple of {market.step}"
        return Refusal(-1111, "Precision is over the maximum defined for this asset.", detail)
    for given in _prices(order):
        if not given > 0.0:
            return Refusal(-4013, "Price less than min price.")
        if not _is_multiple(given, market.tick):
            detail = f": {given} is no multiple of {market.tick}"
            return Refusal(-4014, "Price not increased by tick size.", detail)
    if order.type in (OrderType.STOP_MARKET, OrderType.STOP):
        ahead = order.trigger - last_price
        if ahead <= 0.0 if order.is_buy else ahead >= 0.0:
            return Refusal(-2021, "Order would immediately trigger.", f" The price is {last_price}")
    if order.type is OrderType.LIMIT:
        order.marketable = order.price >= last_price if order.is_buy else order.price <= last_price
    return None


def closing_refusal(order: SingleOrder, book: Book) -> Refusal | None:
    """Return why a closing order is refused, or None."""
    held = leg_of(order, book).tracker.qty
    enough = held > 0.0 if order.side is None else held >= order.qty * (1.0 - LOT_NOISE)
    return None if enough else Refusal(-2022, "ReduceOnly Order is rejected.", f" The leg holds {held}")


def opening_refusal(
    notional: float, market: Market, capacity: float, free_margin: float, leverage: float, room: float = INFINITY
) -> Refusal | None:
    """Return why an opening order is refused, or None. Amounts are quote.

    Parameters
    ----------
    notional : of the order.
    capacity : notional by which the leg may grow at this leverage.
    free_margin : equity that no position or opening order uses.
    room : notional by which the leg may grow until a cap of the account is met; the exchange has none.
    """
    if notional < market.min_notional:
        least = f"{market.min_notional:g} (unless you choose reduce only)."
        return Refusal(-4164, f"Order's notional must be no smaller than {least}")
    limit = opening_limit(notional, capacity, room, free_margin, leverage)
    if limit == CAP:
        return Refusal(
            -1, "Not sent:", f" a cap of the account leaves {max(room, 0.0):,.2f}, the order has {notional:,.2f}"
        )
    if limit == MAX_POSITION:
        text = "Exceeded the maximum allowable position at current leverage."
        return Refusal(-2027, text, f" Allowed is {market.max_notional(leverage):,.0f}")
    if limit == MARGIN:
        return Refusal(-2019, "Margin is insufficient.")
    return None


class SingleOrders:
    """The open single orders of an account; `alive` is in order of placement.

    Parameters
    ----------
    owner : receives executions, refusals and cancellations.
    participation : share of a bar's volume that limit orders can fill, in order of matching; infinity is no limit.
    """

    def __init__(self, owner: Owner, participation: float = INFINITY) -> None:
        self.alive: list[SingleOrder] = []
        self._owner = owner
        self._participation = participation
        self._left: dict[str, float] = {}  # base units that the bar's volume can still fill, by symbol

    def open_notional(self, book: Book, side: PositionSide | None, last_price: float) -> float:
        """Return the notional of the open orders that open in a symbol, or in one side of it, quote."""
        return plain_sum(
            order_price(order, last_price) * order.remaining
            for order in self.alive
            if order.symbol == book.symbol and opens(order, book) and side in (None, leg_of(order, book).side)
        )

    def cancel_all(self) -> None:
        """Cancel all orders, as a liquidation does."""
        while self.alive:  # one may take others along
            self._owner.cancelled(self.alive.pop(0))

    def cancel(self, book: Book) -> None:
        """Cancel the open orders of a symbol."""
        for order in [order for order in self.alive if order.symbol == book.symbol]:
            if order in self.alive:  # another may have taken it along
                self.alive.remove(order)
                self._owner.cancelled(order)

    def fill_market_orders(self, book: Book) -> None:
        """Fill market orders at the open (phase 2)."""
        for order in self._of(book, OrderType.MARKET):
            if order in self.alive:
                self.execute_at_market(order, book)

    def execute_at_market(self, order: SingleOrder, book: Book) -> None:
        """Fill an open order at the bar's open, worse by the slippage."""
        price = market_price(order.is_buy, book.bar.open, book.costs.slippage)
        self.execute(order, book, price, order.remaining, maker=False)

    def fill_entries(self, book: Book, down: float = 0.0, up: float = INFINITY) -> None:
        """Fill limit orders that open (phase 3), as far as the liquidation prices `down` and `up`."""
        if not self.alive:
            return
        self._left[book.symbol] = self._participation * book.bar.volume
        entries = [order for order in self._of(book, OrderType.LIMIT) if opens(order, book)]
        for order in sorted(entries, key=_distance):
            if self._reached(order, book) and down < order.price < up and not self._yields(order, book):
                self._execute_limit(order, book)

    def fill_stops(self, book: Book, down: float = 0.0, up: float = INFINITY) -> None:
        """Trigger stops (phase 4) that the market meets before the liquidation prices `down` and `up`.

        A triggered STOP is a limit order from the next bar on.
        """
        if not self.alive:
            return
        met: set[SingleOrder] = set()
        # An executed stop may wake another, which this bar may meet too.
        while fresh := [order for order in self._of(book, OrderType.STOP_MARKET, OrderType.STOP) if order not in met]:
            met.update(fresh)
            for order in self._by_leg(book, fresh):
                if order in self.alive and self._stop_reached(order, book, down, up):
                    self._trigger(order, book)
        self._trail(book)

    def _stop_reached(self, order: SingleOrder, book: Book, down: float, up: float) -> bool:
        bar, stop, sign = book.bar, order.trigger, -1 if order.is_buy else 1
        return stop_hit(sign, stop, bar.low, bar.high) and down < stop_met(sign, stop, bar.open) < up

    def _trigger(self, order: SingleOrder, book: Book) -> None:
        """Execute a stop that the bar has reached, or make it a limit order."""
        bar, stop, sign = book.bar, order.trigger, -1 if order.is_buy else 1
        if order.type is OrderType.STOP:
            order.type = OrderType.LIMIT
            order.triggered_at = bar.time
            order.marketable = sign * (stop - order.price) >= 0.0
            self._owner.triggered(order)
            return
        price, qty = stop_price(sign, stop, bar.open, book.costs.slippage), order.remaining
        if not opens(order, book):
            leg = leg_of(order, book)
            leg.leg.stopped = 1
            held = plain_sum(leg.tracker.qtys[i] for i in stoppable(book, leg, price))
            if order.cut_to_leg:
                qty = min(qty, held)
            elif order.side is not None and held < order.remaining * (1.0 - LOT_NOISE):
                self._refuse(order, leg, held)
                return
        if qty > 0.0:
            self.execute(order, book, price, qty, maker=False)
        if order.cut_to_leg and order in self.alive:
            self._expire(order)

    def _trail(self, book: Book) -> None:
        """Let trailing stops follow the bar's favourable extreme.

        Not in the bar that woke one: the extreme may be older than the execution of its parent.
        """
        bar, tick = book.bar, book.market.tick
        for order in self._of(book, OrderType.STOP_MARKET, OrderType.STOP):
            if order.trail is None or order.woken_at == bar.time:
                continue
            trigger = trailing_trigger(order.trail, order.is_buy, bar.low if order.is_buy else bar.high, tick)
            if trigger < order.trigger if order.is_buy else trigger > order.trigger:
                start_trailing(order, trigger, tick)
                self._owner.trailed(order)

    def fill_exits(self, book: Book) -> None:
        """Fill limit orders that close (phase 5), if their fills are older than the bar and the leg was not stopped."""
        if not self.alive:
            return
        for order in self._by_leg(book, self._of(book, OrderType.LIMIT)):
            leg = leg_of(order, book)
            if opens(order, book) or leg.leg.stopped or self._yields(order, book) or not self._reached(order, book):
                continue
            tracker = leg.tracker
            times = zip(tracker.qtys, tracker.times, strict=True)
            older = plain_sum(qty for qty, time in times if time < book.bar.time)
            cut = order.side is None or order.cut_to_leg
            needed = min(order.remaining, tracker.qty) if cut else order.remaining
            if older > 0.0 and older >= needed * (1.0 - LOT_NOISE):
                self._execute_limit(order, book)
        if self.alive:
            for leg in book.legs:
                if not leg.tracker.ids:
                    self.expire_with(leg, book.symbol)  # also what the ladder's orders have emptied

    def execute(self, order: SingleOrder, book: Book, price: float, qty: float, *, maker: bool) -> None:
        """Fill `qty` of an open order at a price, or refuse it if its leg holds less than it closes."""
        leg = leg_of(order, book)
        to_open, rest_expires = qty, False
        if not opens(order, book):
            held = leg.tracker.qty
            if order.cut_to_leg and held > 0.0:
                rest_expires = held < qty * (1.0 - LOT_NOISE)
                qty = min(qty, held)
            elif (held < qty * (1.0 - LOT_NOISE) and order.side is not None) or held == 0.0:
                self._refuse(order, leg, held)
                return
            close_oldest(book, leg, min(qty, held), price, MANUAL, maker=maker)
            to_open = 0.0 if order.side is not None or order.reduce_only else qty - held
        if to_open > LOT_NOISE * qty:
            rate = book.costs.maker_fee if maker else book.costs.taker_fee
            leg = book.long if order.is_buy else book.short
            book.account.open_fill(
                book.symbol, leg.tracker, to_open, price, book.bar.time, book.state.regime, 0.0, rate, maker
            )
        order.remaining -= qty
        if order.remaining < LOT_NOISE * order.qty or rest_expires:
            self.alive.remove(order)
        closed = book.leg(order.side) if order.side is not None else leg
        self._owner.executed(order, book)
        if not closed.tracker.ids:
            self.expire_with(closed, book.symbol)

    def expire_with(self, leg: Leg, symbol: str) -> None:
        """Expire the orders that may close only what a leg holds, which has become empty."""
        for order in [order for order in self.alive if order.cut_to_leg and not order.waits]:
            if order in self.alive and order.symbol == symbol and order.side is leg.side:
                self._expire(order)

    # ---

    def _execute_limit(self, order: SingleOrder, book: Book) -> None:
        qty = order.remaining
        left = self._left[book.symbol]
        if left < qty:
            qty = round_down(left, book.market.step)
        if qty > 0.0:
            self._left[book.symbol] = left - qty
            self.execute(order, book, order.price, qty, maker=not order.marketable)

    def _of(self, book: Book, *types: OrderType) -> list[SingleOrder]:
        return [
            order for order in self.alive if order.symbol == book.symbol and order.type in types and not order.waits
        ]

    def _by_leg(self, book: Book, orders: Iterable[SingleOrder]) -> list[SingleOrder]:
        return sorted(orders, key=lambda order: -leg_of(order, book).sign)

    def _reached(self, order: SingleOrder, book: Book) -> bool:
        bar = book.bar
        if bar.time in (order.triggered_at, order.woken_at):
            return False
        return fills(book.costs, order.is_buy, order.price, bar.low, bar.high)

    def _yields(self, order: SingleOrder, book: Book) -> bool:
        """Return whether an order is cancelled by the bar, or will be by a stop of its group that the bar reaches."""
        return order not in self.alive or (
            order.group != 0
            and any(
                other.group == order.group and self._stop_reached(other, book, 0.0, INFINITY)
                for other in self._of(book, OrderType.STOP_MARKET, OrderType.STOP)
            )
        )

    def _expire(self, order: SingleOrder) -> None:
        self.alive.remove(order)
        self._owner.expired(order)

    def _refuse(self, order: SingleOrder, leg: Leg, held: float) -> None:
        self.alive.remove(order)
        detail = f" {leg.side.name} holds {held}"
        self._owner.refused(order, Refusal(-2022, "ReduceOnly Order is rejected.", detail))


def start_trailing(order: SingleOrder, trigger: float, tick: float) -> None:
    """Set the trigger of a trailing stop, and the limit price that follows it."""
    order.trigger = trigger
    if order.trail is not None and order.type is OrderType.STOP:
        order.price = limit_behind(order.trail, order.is_buy, trigger, tick)


def stoppable(book: Book, leg: Leg, price: float) -> list[int]:
    """Return the indices of the fills that a stop executed at `price` closes."""
    entries = zip(leg.tracker.prices, leg.tracker.times, strict=True)
    return [i for i, entry in enumerate(entries) if stop_takes(leg.sign, price, *entry, book.bar.time)]


def close_oldest(book: Book, leg: Leg, qty: float, price: float, label: int, *, maker: bool) -> None:
    """Close `qty` of a leg (infinity: all of it), the oldest fills first."""
    fee_rate = book.costs.maker_fee if maker else book.costs.taker_fee
    while qty > 0.0 and leg.tracker.ids:
        part = min(qty, leg.tracker.qtys[0])
        close_fill(book, leg, 0, part, price, label, fee_rate, maker)
        qty -= part
        if qty < LOT_NOISE * part:
            break


def order_price(order: SingleOrder, last_price: float) -> float:
    """Return the price at which an open order is valued."""
    if order.type is OrderType.MARKET:
        return last_price
    return order.price if order.type is OrderType.LIMIT else order.trigger


def _distance(order: SingleOrder) -> tuple[bool, float]:
    """Return a key that sorts entries LONG before SHORT, then nearest to the market first."""
    return not order.is_buy, -order.price if order.is_buy else order.price


def _prices(order: SingleOrder) -> list[float]:
    return {
        OrderType.MARKET: [],
        OrderType.LIMIT: [order.price],
        OrderType.STOP_MARKET: [order.trigger],
        OrderType.STOP: [order.trigger, order.price],
    }[order.type]
