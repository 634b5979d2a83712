"""The entries of one side, kept in step with what rests at the exchange."""

from collections import Counter

from gridv4_bt.engine.compiled import buffer, compiled
from gridv4_bt.engine.ladder import CANCEL, KEEP, PLACE, PLACED, Blocked, plan_side
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Entry, Leg


class SideInputs:
    """What the ladder of one side depends on at one bar. Prices and notionals in quote."""

    __slots__ = ("centre", "spacing_pct", "last_price", "edge", "notional", "room")

    centre: float  #: anchor moved by the inventory skew
    spacing_pct: float  #: fraction of the price
    last_price: float  #: latest close
    edge: float  #: nearest price the optimal spread allows
    notional: float  #: of one level
    room: float  #: what the side may still take


class SidePlan:
    """Plan of one side: which orders are wanted, and the reason for every level without one."""

    def __init__(self, leg: Leg, market: Market, levels: int, keep_price: float, keep_qty: float) -> None:
        self._leg = leg
        self._levels = levels
        self._plan_side = compiled(plan_side)
        self._fixed = (market.tick, market.step, market.min_qty, market.min_notional, keep_price, keep_qty)
        self._standing_prices = buffer(levels)
        self._standing_qtys = buffer(levels)
        self._actions = buffer(levels, whole=True)
        self._codes = buffer(levels, whole=True)
        self._tally = buffer(len(Blocked), whole=True)
        self._blocked: Counter[Blocked] = Counter()
        self._block: Blocked | None = None
        self._fills = self._cooling = buffer(1)
        self._fill_count = self._cooling_count = 0
        self.standing = 0  #: how many entries should rest; another number at the exchange means to look around
        self.look_around([])

    def look_around(self, cooling: list[float]) -> None:
        """Take in the side's fills, its resting entries and the prices that are `cooling`."""
        fills, entries, sign = self._leg.tracker.prices, self._leg.entries, self._leg.sign
        self._fills, self._fill_count = _filled(fills), len(fills)
        self._cooling, self._cooling_count = _filled(cooling), len(cooling)
        self.standing = len(entries)
        for i in range(self._levels):
            entry = entries.get(-sign * (i + 1))
            self._standing_prices[i] = 0.0 if entry is None else entry.price
            self._standing_qtys[i] = 0.0 if entry is None else entry.qty

    def block(self, reason: Blocked) -> bool:
        """Count a bar without any entry for one reason; False if that was so at the last bar already."""
        self._blocked[reason] += self._levels
        if self._block is reason:
            return False
        self._block = reason
        self.standing = 0
        for i in range(self._levels):
            self._standing_prices[i] = 0.0
        return True

    def changes(self, new: SideInputs) -> tuple[list[int], dict[int, Entry]] | None:
        """Return the levels whose order has to be cancelled and the entries to place; None if all may stay."""
        self._block = None
        sign = self._leg.sign
        changed = self._plan_side(
            sign, self._levels, new.centre, new.spacing_pct, new.last_price, new.edge, new.notional, new.room,
            *self._fixed, self._fills, self._fill_count, self._cooling, self._cooling_count,
            self._standing_prices, self._standing_qtys, self._actions, self._codes, self._tally,
        )  # fmt: skip
        if not changed:
            return None
        cancel: list[int] = []
        place: dict[int, Entry] = {}
        for i, action in enumerate(list(self._actions)):
            if action == KEEP:
                continue
            level = -sign * (i + 1)
            if action != PLACE:
                cancel.append(level)
            if action != CANCEL:
                price, qty = float(self._standing_prices[i]), float(self._standing_qtys[i])
                place[level] = Entry(price, qty, new.spacing_pct)
        self.standing += len(place) - len(cancel)
        return cancel, place

    def refused(self, levels: dict[int, str]) -> None:
        """Note which of the entries to place the broker refused; they are wanted again at the next bar."""
        self.standing -= len(levels)
        for level in levels:
            self._standing_prices[abs(level) - 1] = 0.0
            self._tally[PLACED] -= 1
            self._tally[Blocked.MARGIN] += 1

    def reasons(self) -> Counter[Blocked]:
        """Return the level-bars without an order so far, by reason."""
        total = Counter({reason: int(self._tally[reason]) for reason in Blocked if reason != PLACED})
        return +(total + self._blocked)


def _filled(values: list[float]):
    """Return the values in a buffer; one element more, because an empty array has no type to compile for."""
    array = buffer(len(values) + 1)
    for i, value in enumerate(values):
        array[i] = value
    return array
