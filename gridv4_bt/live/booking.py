"""The booking of a bar's executions in the order of the simulated exchange.

A bar's executions are booked by phase (market closes, entries, stops, exits) and not by time, as in a backtest: the
same executions give the same fills, ids and wallet, so a live session can be compared with its backtest fill by fill.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.orders import OrderType, stoppable
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.ids import OrderKey, Purpose
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus

#: Prefixes of the client order ids under which the exchange closes a position by force.
FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
#: Spacing of an adopted fill, fraction of the price, if its leg has no fill whose spacing it could take.
_UNKNOWN_SPACING = 0.01


@dataclass(slots=True)
class Part:
    """All executions of one order within one bar."""

    first: Execution
    qty: float = 0.0
    price: float = 0.0  #: mean, weighted by quantity
    fee: float = 0.0

    def bar_time(self, now: int) -> int:
        """Return the open time of the bar of the first execution; `now` is that of the bar being booked. Both ms."""
        return min(self.first.time // BAR_MS * BAR_MS, now)

    def add(self, execution: Execution) -> None:
        """Add an execution."""
        total = self.qty + execution.qty
        if self.qty == 0.0:
            self.price = execution.price
        elif execution.price != self.price:  # a mean of equal prices would differ in the last bits
            self.price = (self.price * self.qty + execution.price * execution.qty) / total
        self.qty = total
        self.fee += execution.fee


@dataclass(slots=True)
class OwnPart(Part):
    """All executions of one order of the bot within one bar."""

    order: Order = field(kw_only=True)


#: ``tell(order_id, book)`` hears of each strategy's own order that was booked; its executions are the account's.
Tell = Callable[[str, Book], None]


def _tell_nobody(order_id: str, book: Book) -> None:
    """Leave the executions to whoever reports those of the book."""


class BarBooking:
    """Books the executions of one symbol's bar, one phase after another."""

    def __init__(
        self, book: Book, orders: OrderRegistry, executions: Sequence[Execution], tell: Tell = _tell_nobody
    ) -> None:
        self._book = book
        self._account = book.account
        self._orders = orders
        self._tell = tell
        self.notices: list[str] = []  #: messages for a person
        self.is_forced = False  #: whether the exchange has closed something by force
        self.traded_by_others: set[PositionSide] = set()  #: legs, but for what the exchange has closed by force
        own: dict[str, OwnPart] = {}
        foreign: dict[tuple[str, PositionSide, bool], Part] = {}
        for execution in executions:
            order = orders.get(execution.order_id)
            part: Part
            if order is None:
                whose = (execution.foreign, execution.side, execution.is_buy)
                part = foreign.setdefault(whose, Part(execution))
            else:
                part = own.setdefault(order.id, OwnPart(execution, order=order))
            part.add(execution)
        self._parts: dict[Purpose, list[OwnPart]] = defaultdict(list)
        grids = [part for part in own.values() if part.order.single is None]
        for own_part in sorted(grids, key=_rank):
            self._parts[own_part.order.key.purpose].append(own_part)
        self._singles = sorted((part for part in own.values() if part.order.single is not None), key=_single_rank)
        self._foreign = sorted(foreign.values(), key=lambda part: (-int(part.first.side), part.first.trade_id))

    def closes(self) -> None:
        """Book phase 2 of the simulated exchange: closes at market."""
        for part in self._parts[Purpose.CLOSE]:
            leg = self._book.leg(part.order.key.side)
            label = TradeLabel(part.order.label)
            left = self._close_fill(leg, part.order.key.ref, part.qty, part, label)
            self._close_oldest(leg, left, part, label)
        self._book_singles(OrderType.MARKET)

    def entries(self) -> None:
        """Book phase 3: every executed entry opens a fill."""
        for part in self._parts[Purpose.ENTRY]:
            order = part.order
            leg = self._book.leg(order.key.side)
            self._open(leg, part, order.spacing_pct)
            i = order.key.ref - 1
            if self._orders.current(order.key) is order and i < leg.levels and leg.prices[i] > 0.0:
                leg.qtys[i] -= part.qty
                if order.status is OrderStatus.DONE or leg.qtys[i] <= LOT_NOISE * order.qty:
                    leg.prices[i] = 0.0
                leg.entries_changed()
        self._book_singles(OrderType.LIMIT, OrderType.STOP, opens=True)

    def stops(self) -> None:
        """Book phase 4: a stop closes what its leg held when it was triggered."""
        leaving = self._leaving_by_exit()
        for part in self._parts[Purpose.STOP]:
            leg = self._book.leg(part.order.key.side)
            tracker = leg.tracker
            held = {fill_id: tracker.qtys[i] - leaving[fill_id] for i, fill_id in enumerate(tracker.ids)}
            met = [tracker.ids[i] for i in stoppable(self._book, leg, part.price)]
            shares = {fill_id: held[fill_id] for fill_id in met if held[fill_id] > 0.0}
            left = part.qty - plain_sum(shares.values())
            if abs(left) > LOT_NOISE * part.qty:  # the bar does not say which fills it closed: the oldest first
                shares, left = _oldest_first(held, part.qty)
            for fill_id, qty in shares.items():
                self._close_fill(leg, fill_id, qty, part, TradeLabel.STOP2)
            self._close_oldest(leg, left if left > LOT_NOISE * part.qty else 0.0, part, TradeLabel.STOP2)
            leg.stop = None
        self._book_singles(OrderType.STOP_MARKET)

    def exits(self) -> None:
        """Book phase 5: take profits, other limit orders, then the executions of foreign orders."""
        for part in self._parts[Purpose.EXIT]:
            leg = self._book.leg(part.order.key.side)
            left = self._close_fill(leg, part.order.key.ref, part.qty, part, TradeLabel.GRID)
            self._close_oldest(leg, left, part, TradeLabel.GRID)
        self._book_singles(OrderType.STOP, OrderType.LIMIT)
        for foreign in self._foreign:
            self._book_foreign(foreign)
        self._book.orders_changed()

    # ---

    def _book_singles(self, *types: OrderType, opens: bool | None = None) -> None:
        """Book the strategy's own orders of some types, all or only those that open, and tell of each."""
        for part in list(self._singles):
            order = part.order
            kind = order.single and order.single.type
            if kind not in types or opens not in (None, order.key.purpose.opens):
                continue
            self._singles.remove(part)
            others = self._account.executions[:]
            self._account.executions.clear()
            leg = self._book.leg(order.key.side)
            if order.key.purpose.opens:
                self._open(leg, part, 0.0)
            else:
                self._close_oldest(leg, part.qty, part, TradeLabel.MANUAL)
            self._tell(order.id, self._book)
            self._account.executions[:0] = others

    def _leaving_by_exit(self) -> Mapping[int, float]:
        leaving: dict[int, float] = defaultdict(float)
        for part in self._parts[Purpose.EXIT]:
            leaving[part.order.key.ref] += part.qty
        return leaving

    def _book_foreign(self, part: Part) -> None:
        leg = self._book.leg(part.first.side)
        name = part.first.foreign
        what = f"{self._book.symbol} {leg.side.name} {part.qty:g} at {part.price:g} by {name or 'an unknown order'}"
        if part.first.opens:
            self.traded_by_others.add(leg.side)
            self._open(leg, part, max(leg.tracker.spacings, default=_UNKNOWN_SPACING))
            self.notices.append(f"adopted as a fill of ours: {what}")
            return
        forced = name.startswith(FORCED)
        self._close_oldest(leg, part.qty, part, TradeLabel.LIQUIDATION if forced else TradeLabel.MANUAL)
        self._account.liquidations += forced
        self.is_forced |= forced
        if not forced:
            self.traded_by_others.add(leg.side)
        self.notices.append(f"{'closed by force' if forced else 'closed by somebody else'}: {what}")

    def _open(self, leg: Leg, part: Part, spacing_pct: float) -> None:
        self._account.book_open(
            self._book.symbol,
            leg.tracker,
            part.qty,
            part.price,
            part.bar_time(self._book.bar.time),
            self._book.state.regime,
            spacing_pct,
            part.fee,
            part.first.maker,
        )

    def _close_fill(self, leg: Leg, fill_id: int, qty: float, part: Part, label: TradeLabel) -> float:
        """Close up to a quantity of a fill and return the rest of the quantity."""
        tracker = leg.tracker
        if fill_id not in tracker.ids:
            return qty
        index = tracker.ids.index(fill_id)
        closed = tracker.close(index, min(qty, tracker.qtys[index]))
        self._account.book_close(
            self._book.symbol,
            tracker,
            closed,
            part.price,
            part.bar_time(self._book.bar.time),
            label,
            part.fee * (closed.qty / part.qty),
            part.first.maker,
        )
        if fill_id not in tracker.ids:
            leg.forget(fill_id)
        left = qty - closed.qty
        return left if left > LOT_NOISE * qty else 0.0

    def _close_oldest(self, leg: Leg, qty: float, part: Part, label: TradeLabel) -> None:
        """Close a quantity that belongs to no particular fill, the oldest fills first."""
        while qty > 0.0 and leg.tracker.ids:
            qty = self._close_fill(leg, leg.tracker.ids[0], qty, part, label)
        if qty > 0.0:
            self.notices.append(f"{self._book.symbol} {leg.side.name}: {qty:g} closed at the exchange, never held here")
            self._account.wallet -= part.fee * (qty / part.qty)
            self._account.fees += part.fee * (qty / part.qty)


def book_bars(bookings: Sequence[BarBooking]) -> None:
    """Book the bars of all symbols phase by phase, because they share the wallet."""
    for phase in (BarBooking.closes, BarBooking.entries, BarBooking.stops, BarBooking.exits):
        for booking in bookings:
            phase(booking)


def forget_gone_entries(books: Iterable[Book], orders: OrderRegistry) -> None:
    """Forget the entries that the exchange has taken back; they bind no margin any more.

    A liquidation takes back those of every symbol. Of the symbols that decide later they would still be counted.
    """
    for book in books:
        for leg in book.legs:
            for i in range(leg.levels):
                order = orders.current(OrderKey(book.symbol, leg.side, Purpose.ENTRY, i + 1))
                if leg.prices[i] > 0.0 and (order is None or order.status is OrderStatus.DONE):
                    leg.prices[i] = 0.0
            leg.entries_changed()
        book.orders_changed()


def _oldest_first(held: Mapping[int, float], qty: float) -> tuple[dict[int, float], float]:
    """Distribute a quantity over fills, oldest first; return the share of each and the rest."""
    shares: dict[int, float] = {}
    for fill_id, most in held.items():
        if most > 0.0 and qty > 0.0:
            shares[fill_id] = min(most, qty)
            qty -= shares[fill_id]
    return shares, qty


def _rank(part: OwnPart) -> tuple[int, int, int]:
    """Return the rank of an order among those of its purpose: LONG first; levels outwards, fills as they came."""
    side, purpose, ref = part.order.key[1:]
    generation = part.order.generation
    return (-int(side), generation, ref) if purpose is Purpose.CLOSE else (-int(side), ref, generation)


def _single_rank(part: OwnPart) -> tuple[int, float, int]:
    """Return the rank of a strategy's own order among those of its phase.

    At market as they were placed; others LONG first, those that open nearest to the market first.
    """
    order, placed = part.order, int(part.order.exchange_id or 0)
    if order.single is not None and order.single.type is OrderType.MARKET:
        return 0, 0.0, placed
    nearest = (-order.price if order.is_buy else order.price) if order.key.purpose.opens else 0.0
    return -int(order.key.side), nearest, placed
