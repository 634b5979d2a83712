"""What the exchange has executed in one bar, booked as the simulated exchange would have booked it.

The executions of a bar enter the books in the order of the simulated exchange (market closes, entries, stops, exits)
and not in the order of their times: so the same executions give the same fills, ids and wallet, and a live session
can be held against its backtest fill by fill.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.matching import Book, Leg
from gridv4_bt.engine.types import LOT_NOISE, TradeLabel
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, Standing

#: How the exchange names its own orders that close a position by force.
FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
#: Spacing of a fill that no grid of ours has placed, if its leg has none to take over.
_UNKNOWN_SPACING = 0.01


@dataclass(slots=True)
class Part:
    """All executions of one order within one bar."""

    order: Order | None  #: None for an order that is not ours
    first: Execution
    qty: float = 0.0
    price: float = 0.0  #: mean, weighted by quantity
    fee: float = 0.0

    def bar_time(self, now: int) -> int:
        """Return the open time of the bar it fell into; `now` is that of the bar being booked. Both ms."""
        return min(self.first.time // BAR_MS * BAR_MS, now)

    def add(self, execution: Execution) -> None:
        """Take one more execution in."""
        total = self.qty + execution.qty
        if self.qty == 0.0:
            self.price = execution.price
        elif execution.price != self.price:  # equal prices stay exactly what they are
            self.price = (self.price * self.qty + execution.price * execution.qty) / total
        self.qty = total
        self.fee += execution.fee


class BarBooking:
    """Books the executions of one symbol's bar, one phase after another."""

    def __init__(self, book: Book, orders: OrderRegistry, executions: Sequence[Execution]) -> None:
        self._book = book
        self._account = book.account
        self._orders = orders
        self.notices: list[str] = []  #: what a person should know
        self._parts: dict[Purpose | None, list[Part]] = defaultdict(list)
        found: dict[tuple, Part] = {}
        for execution in executions:
            order = orders.get(execution.order_id)
            whose = (execution.foreign, execution.side, execution.is_buy) if order is None else (order.id,)
            if whose not in found:
                found[whose] = Part(order, execution)
                self._parts[None if order is None else order.key.purpose].append(found[whose])
            found[whose].add(execution)
        for parts in self._parts.values():
            parts.sort(key=_canonical)

    def closes(self) -> None:
        """Phase 2 of the simulated exchange: closes at market."""
        for part in self._parts[Purpose.CLOSE]:
            leg = self._book.leg(part.order.key.side)
            label = TradeLabel(part.order.label)
            left = self._close_fill(leg, part.order.key.ref, part.qty, part, label)
            self._close_oldest(leg, left, part, label)

    def entries(self) -> None:
        """Phase 3: every execution of an entry opens a fill."""
        for part in self._parts[Purpose.ENTRY]:
            order = part.order
            leg = self._book.leg(order.key.side)
            self._open(leg, part, order.spacing_pct)
            i = order.key.ref - 1
            if self._orders.current(order.key) is order and i < leg.levels and leg.prices[i] > 0.0:
                leg.qtys[i] -= part.qty
                if order.standing is Standing.DONE or leg.qtys[i] <= LOT_NOISE * order.qty:
                    leg.prices[i] = 0.0
                leg.entries_changed()

    def stops(self) -> None:
        """Phase 4: a stop closes what its leg held when the market met it."""
        leaving = self._leaving_by_exit()
        for part in self._parts[Purpose.STOP]:
            leg = self._book.leg(part.order.key.side)
            tracker = leg.tracker
            held = {fill_id: tracker.qtys[i] - leaving[fill_id] for i, fill_id in enumerate(tracker.ids)}
            met = [tracker.ids[i] for i in self._book.stoppable(leg, part.price)]
            shares = {fill_id: held[fill_id] for fill_id in met}
            left = part.qty - plain_sum(shares.values())
            if abs(left) > LOT_NOISE * part.qty:  # it has met other fills than a bar can tell: the oldest first
                shares, left = _oldest_first(held, part.qty)
            for fill_id, qty in shares.items():
                self._close_fill(leg, fill_id, qty, part, TradeLabel.STOP2)
            self._close_oldest(leg, left if left > LOT_NOISE * part.qty else 0.0, part, TradeLabel.STOP2)
            leg.stop = None

    def exits(self) -> None:
        """Phase 5: take profits; after them what others have done to the account."""
        for part in self._parts[Purpose.EXIT]:
            leg = self._book.leg(part.order.key.side)
            left = self._close_fill(leg, part.order.key.ref, part.qty, part, TradeLabel.GRID)
            self._close_oldest(leg, left, part, TradeLabel.GRID)
        for part in self._parts[None]:
            self._book_foreign(part)
        self._book.orders_changed()

    # ---

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
            self._open(leg, part, max(leg.tracker.spacings, default=_UNKNOWN_SPACING))
            self.notices.append(f"adopted as a fill of ours: {what}")
            return
        forced = name.startswith(FORCED)
        self._close_oldest(leg, part.qty, part, TradeLabel.LIQUIDATION if forced else TradeLabel.MANUAL)
        self._account.liquidations += forced
        self.notices.append(f"{'closed by force' if forced else 'closed by somebody else'}: {what}")

    def _open(self, leg: Leg, part: Part, spacing_pct: float) -> None:
        self._account.book_open(
            self._book.symbol,
            leg.tracker,
            part.qty,
            part.price,
            part.bar_time(self._book.bar.time),
            self._book.regime,
            spacing_pct,
            part.fee,
            part.first.maker,
        )

    def _close_fill(self, leg: Leg, fill_id: int, qty: float, part: Part, label: TradeLabel) -> float:
        """Close a fill as far as it reaches and return what is left of the quantity."""
        tracker = leg.tracker
        if fill_id not in tracker.ids:
            return qty
        index = tracker.ids.index(fill_id)
        closed = tracker.close(index, min(qty, tracker.qtys[index]))
        self._account.book_close(
            self._book.symbol,
            leg.side,
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
        """Close a quantity that belongs to no fill of its own, the oldest fills first."""
        while qty > 0.0 and leg.tracker.ids:
            qty = self._close_fill(leg, leg.tracker.ids[0], qty, part, label)
        if qty > 0.0:
            self.notices.append(f"{self._book.symbol} {leg.side.name}: {qty:g} closed at the exchange, never held here")
            self._account.wallet -= part.fee * (qty / part.qty)
            self._account.fees += part.fee * (qty / part.qty)


def book_bars(bookings: Sequence[BarBooking]) -> None:
    """Book all symbols' bars; phase by phase, because the wallet is shared."""
    for phase in (BarBooking.closes, BarBooking.entries, BarBooking.stops, BarBooking.exits):
        for booking in bookings:
            phase(booking)


def _oldest_first(held: Mapping[int, float], qty: float) -> tuple[dict[int, float], float]:
    """Share a quantity among fills, oldest first; return the shares and what is left over."""
    shares: dict[int, float] = {}
    for fill_id, most in held.items():
        if most > 0.0 and qty > 0.0:
            shares[fill_id] = min(most, qty)
            qty -= shares[fill_id]
    return shares, qty


def _canonical(part: Part) -> tuple:
    """Return the place of an order among those of its purpose: LONG first; levels outwards, fills as they came."""
    if part.order is None:
        return (-int(part.first.side), part.first.trade_id)
    side, purpose, ref = part.order.key[1:]
    generation = parse_id(part.order.id).generation
    return (-int(side), generation, ref) if purpose is Purpose.CLOSE else (-int(side), ref, generation)
