"""The entries of one side: planned level by level, and only the levels that could have changed."""

from collections import Counter
from math import inf

from gridv4_bt.core.grid import ROUND_NUMBER_PCT, level_price, nudge_window, round_down, round_up
from gridv4_bt.engine.ladder import (
    CROSSES,
    MARGIN,
    MIN_NOTIONAL,
    MIN_QTY,
    PLACED,
    Blocked,
    distance_window,
    is_kept,
    order_price,
    reach_reason,
    size_reason,
    surroundings_reason,
)
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Entry, Leg

# The windows hold while the spacing stays within these factors of the one they were made with.
_NARROWER, _WIDER = 0.8, 1.25
# Clear of float noise where a size lies exactly on the border of what is kept.
_GRAIN = 1e-8


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
    """Plan of one side: which orders are wanted, and the reason for every level without one.

    Each level remembers the window of raw prices in which its surroundings (round number, fills, cooling
    levels) stay the same, and the window of sizes in which its order stays. A bar looks again only at
    the levels that left theirs; `forget` empties all windows, and doing that at every bar gives the same
    orders and reasons, only slower.
    """

    def __init__(self, leg: Leg, market: Market, levels: int, keep_price: float, keep_qty: float) -> None:
        self._leg = leg
        self._sign = leg.sign
        self._levels = levels
        self._market = market
        self._keep_price = keep_price
        self._keep_qty = keep_qty
        self._reasons: Counter[int] = Counter()
        self._codes = [PLACED] * levels
        self._bars = 0
        self._block: Blocked | None = None
        self._spacing = 0.0
        self._cooling: list[float] = []
        # Surroundings of each level: window of raw prices, the price the nudge holds it at (0: none), code.
        self._low = [0.0] * levels
        self._high = [0.0] * levels
        self._held = [0.0] * levels
        self._near = [PLACED] * levels
        # Size of each level: price of its resting order (0: none), qty that the window of notional / price is
        # made for, that window.
        self._standing = [0.0] * levels
        self._sized = [0.0] * levels
        self._least = [0.0] * levels
        self._most = [0.0] * levels
        self._settled = [False] * levels

    def forget(self, cooling: list[float]) -> None:
        """Look at all levels anew at the next bar: fills or the prices that are `cooling` have changed."""
        self._cooling = cooling
        self._low = [0.0] * self._levels
        self._high = [0.0] * self._levels

    def block(self, reason: Blocked) -> bool:
        """Count a bar without any entry for one reason; False if that was so at the last bar already."""
        news = self._block is not reason
        if news:
            self._set_codes([int(reason)] * self._levels)
            self._block = reason
            self._settled = [False] * self._levels
        self._bars += 1
        return news

    def changes(self, new: SideInputs) -> tuple[list[int], dict[int, Entry]]:
        """Return the levels whose order has to be cancelled and the entries to place, by level."""
        spacing, sign, levels = new.spacing_pct, self._sign, self._levels
        self._block = None
        if not _NARROWER * self._spacing <= spacing <= _WIDER * self._spacing:
            self._spacing = spacing
            self.forget(self._cooling)
        cancel: list[int] = []
        place: dict[int, Entry] = {}
        codes = list(self._codes)
        first = self._blocked_by_reach(new, codes, cancel)
        centre, notional, tick = new.centre, new.notional, self._market.tick
        # A side that cannot fill up needs no account of what each level takes.
        room = new.room if (levels - first) * notional > new.room else inf
        nearer = 1.0 / (1.0 + self._keep_price * spacing)
        farther = 1.0 / (1.0 - self._keep_price * spacing)
        low, high, held, standing = self._low, self._high, self._held, self._standing
        least, most, settled = self._least, self._most, self._settled
        for i in range(first, levels):
            raw = level_price(centre, spacing, -sign * (i + 1))
            if low[i] < raw < high[i]:
                price = held[i] or raw
                if settled[i] and room == inf and least[i] * price <= notional < most[i] * price:
                    rest = standing[i]
                    if rest == 0.0 or rest * nearer + tick <= price <= rest * farther - tick:
                        continue
                if not held[i]:
                    price = round_down(raw, tick) if sign > 0 else round_up(raw, tick)
            else:
                price = self._survey(i, raw, spacing)
            codes[i], taken = self._settle(i, price, new, room, cancel, place)
            room -= taken
        if codes != self._codes:
            self._set_codes(codes)
        self._bars += 1
        return cancel, place

    def refused(self, levels: dict[int, str]) -> None:
        """Note which of the entries to place the broker refused; they are wanted again at the next bar."""
        codes = list(self._codes)
        for level in levels:
            i = abs(level) - 1
            codes[i] = MARGIN
            self._settled[i] = False
        self._bars -= 1
        self._set_codes(codes)
        self._bars += 1

    def reasons(self) -> Counter[Blocked]:
        """Return the level-bars without an order so far, by reason."""
        self._set_codes(self._codes)
        return Counter({Blocked(code): count for code, count in self._reasons.items()})

    def _blocked_by_reach(self, new: SideInputs, codes: list[int], cancel: list[int]) -> int:
        """Set the codes of the levels that cross or lie inside the spread; return the first other one.

        Prices go away from the market level by level, so these come first.
        """
        sign, tick, last_price, edge = self._sign, self._market.tick, new.last_price, new.edge
        # Mostly the raw price is so far from both borders that nudge and tick cannot matter.
        clear = ROUND_NUMBER_PCT * last_price + 3.0 * tick
        for i in range(self._levels):
            price = level_price(new.centre, new.spacing_pct, -sign * (i + 1))
            if price > 0.0 and (abs(price - last_price) <= clear or abs(price - edge) <= clear):
                price = order_price(sign, price, tick)
            code = reach_reason(sign, price, last_price, edge)
            if code == PLACED and price > 0.0:
                return i
            codes[i] = code or CROSSES
            self._settled[i] = False
            if -sign * (i + 1) in self._leg.entries:
                cancel.append(-sign * (i + 1))
        return self._levels

    def _survey(self, i: int, raw: float, spacing_pct: float) -> float:
        """Look at a level's surroundings, note the window in which they stay the same, return its price."""
        spacing, tick = self._spacing, self._market.tick
        price = order_price(self._sign, raw, tick)
        low, high, held = nudge_window(raw)
        fills, cooling = self._leg.tracker.prices, self._cooling
        for others in (fills, cooling):
            if others:
                near_low, near_high = distance_window(
                    price, others, len(others), 0.5 * _NARROWER * spacing, 0.5 * _WIDER * spacing
                )
                if not held:
                    low, high = max(low, near_low + tick), min(high, near_high - tick)
                elif not near_low < price < near_high:
                    low = high = 0.0
        if not low < raw < high:
            # Undecided between near and far: a raw price that moves in later must not pass for known.
            low = high = 0.0
        self._low[i], self._high[i] = low, high
        self._held[i] = price if held else 0.0
        self._near[i] = surroundings_reason(price, spacing_pct, fills, len(fills), cooling, len(cooling))
        self._sized[i] = 0.0
        return price

    def _settle(
        self, i: int, price: float, new: SideInputs, room: float, cancel: list[int], place: dict[int, Entry]
    ) -> tuple[int, float]:
        """Decide on the order of a level at a price; return its code and the notional it takes."""
        market = self._market
        level = -self._sign * (i + 1)
        standing = self._leg.entries.get(level)
        if price <= 0.0:  # the tick is too coarse for a level this low
            if standing is not None:
                cancel.append(level)
            self._settled[i] = False
            return CROSSES, 0.0
        self._settled[i] = room == inf
        code, qty = self._near[i], 0.0
        if code == PLACED:
            qty = round_down(new.notional / price, market.step)
            code = size_reason(price, qty, market.min_qty, market.min_notional, room)
        if code != PLACED:
            if standing is not None:
                cancel.append(level)
            self._standing[i] = 0.0
            self._watch_small_size(i, price, code)
            return code, 0.0
        entry = standing
        if (
            entry is None
            or not is_kept(entry.price, price, self._keep_price * new.spacing_pct * price)
            or not is_kept(entry.qty, qty, self._keep_qty * qty)
        ):
            if entry is not None:
                cancel.append(level)
            place[level] = entry = Entry(price, qty, new.spacing_pct)
        self._standing[i] = entry.price
        if entry.qty != self._sized[i]:
            self._watch_size(i, price, entry.qty)
        return PLACED, qty * price

    def _watch_size(self, i: int, price: float, qty: float) -> None:
        """Note the window of notional / price in which an order of this qty stays."""
        market = self._market
        grain = _GRAIN + 2.0 * market.tick / price
        cheapest = self._held[i] or max(self._low[i], 0.5 * price)
        smallest = max(qty / (1.0 + self._keep_qty), market.min_notional / cheapest) * (1.0 + grain)
        largest = qty / (1.0 - self._keep_qty) * (1.0 - grain)
        self._least[i] = round_up(max(smallest, market.min_qty), market.step) * (1.0 + grain)
        self._most[i] = (round_down(largest, market.step) + market.step) * (1.0 - grain)
        self._sized[i] = qty

    def _watch_small_size(self, i: int, price: float, code: int) -> None:
        """Note the window of notional / price in which a level stays without an order."""
        market = self._market
        grain = _GRAIN + 2.0 * market.tick / price
        least, most = 0.0, inf
        if code == MIN_QTY:
            most = market.min_qty
        elif code == MIN_NOTIONAL:
            dearest = (self._held[i] or self._high[i]) * (1.0 + grain)
            least = market.min_qty
            most = round_up(market.min_notional / dearest * (1.0 - grain), market.step) if dearest else 0.0
        self._least[i] = least * (1.0 + grain)
        self._most[i] = most * (1.0 - grain)
        self._sized[i] = 0.0

    def _set_codes(self, codes: list[int]) -> None:
        bars = self._bars
        if bars:
            for code in self._codes:
                if code != PLACED:
                    self._reasons[code] += bars
        self._bars = 0
        self._codes = codes
