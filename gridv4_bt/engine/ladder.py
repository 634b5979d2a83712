"""Which entries a side of the grid wants, level by level, and which resting orders change for it.

The records are those of the steps, see `gridv4_bt.engine.state`: objects, or numpy records where
`gridv4_bt.compiled` compiles these functions.
"""

from collections.abc import MutableSequence, Sequence
from enum import IntEnum
from typing import NamedTuple

from gridv4_bt.config import GridConfig
from gridv4_bt.core.funding import funding_tilt
from gridv4_bt.core.grid import ROUND_NUMBER_PCT, level_price, nudge_round_number, round_down, round_up
from gridv4_bt.core.inventory import fill_decay, normalized_inventory, optimal_spread, reservation_price
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.quick_price import quick_order_price
from gridv4_bt.engine.state import INFINITY, LegState, Memory, Now


class Blocked(IntEnum):
    """Why a level has no resting entry; PLACED is the one that has."""

    PLACED = 0
    HALT = 1  #: circuit breaker
    VAR = 2  #: value-at-risk limit
    REGIME = 3  #: the regime does not let this side add
    CROSSES = 4  #: the level lies beyond the last price
    INSIDE_SPREAD = 5  #: nearer to the reservation price than half the optimal spread
    OCCUPIED = 6  #: an open fill lies there
    COOLING = 7  #: a fill was cut there at a loss a few bars ago
    MIN_QTY = 8  #: below the market's least quantity
    MIN_NOTIONAL = 9  #: below the market's least notional
    MAX_INVENTORY = 10  #: the side would hold more than it may
    MARGIN = 11  #: refused by the exchange: margin is insufficient (-2019)
    MAX_POSITION = 12  #: refused by the exchange: above the largest position at this leverage (-2027)
    SAME_PRICE = 13  #: a level nearer to the price rests at this very price
    CAP = 14  #: a cap of the account would be exceeded if all resting orders were filled
    PAUSED = 15  #: a person has paused the side
    MISMATCH = 16  #: exchange and bot have differed on the leg at the latest close


# Plain ints, so that the rule compiles.
PLACED = int(Blocked.PLACED)
CROSSES = int(Blocked.CROSSES)
INSIDE_SPREAD = int(Blocked.INSIDE_SPREAD)
OCCUPIED = int(Blocked.OCCUPIED)
COOLING = int(Blocked.COOLING)
MIN_QTY = int(Blocked.MIN_QTY)
MIN_NOTIONAL = int(Blocked.MIN_NOTIONAL)
MAX_INVENTORY = int(Blocked.MAX_INVENTORY)
MARGIN = int(Blocked.MARGIN)
MAX_POSITION = int(Blocked.MAX_POSITION)
SAME_PRICE = int(Blocked.SAME_PRICE)
CAP = int(Blocked.CAP)
HALT = int(Blocked.HALT)
VAR = int(Blocked.VAR)
REGIME = int(Blocked.REGIME)
PAUSED = int(Blocked.PAUSED)
MISMATCH = int(Blocked.MISMATCH)


def skew_centre(
    mid: float, sigma: float, position: float, max_position: float, gamma: float, horizon: float
) -> tuple[float, float]:
    """Return normalized inventory, and reservation price minus mid in price units; see `centre_grid`."""
    q = normalized_inventory(position, max_position)
    return q, reservation_price(mid, q, gamma / mid, sigma * mid, horizon) - mid


def centre_grid(
    mid: float, sigma: float, position: float, max_position: float, gamma: float, kappa: float, horizon: float
) -> tuple[float, float, float]:
    """Return normalized inventory, reservation price minus mid, and half the optimal spread in price units.

    `sigma` is per bar and dimensionless, `gamma` and `kappa` are dimensionless: scaled by the price they fit
    every symbol. `position` and `max_position` are base units.
    """
    q, shift = skew_centre(mid, sigma, position, max_position, gamma, horizon)
    return q, shift, 0.5 * optimal_spread(gamma / mid, sigma * mid, horizon, kappa / mid)


def order_price(side_sign: int, raw: float, tick: float, nudge_pct: float = ROUND_NUMBER_PCT) -> float:
    """Return the price an entry is sent with: `raw` off round numbers, then on the tick.

    LONG (+1) buys and rounds down, SHORT (-1) sells and rounds up. One that was moved away from a round number is
    rounded away from it too.
    """
    price = nudge_round_number(raw, side_sign > 0, nudge_pct)
    down = side_sign > 0 if price == raw else price < raw
    return round_down(price, tick) if down else round_up(price, tick)


def wanted_price(
    side_sign: int, centre: float, spacing_pct: float, i: int, estimate: float, tick: float, nudge_pct: float
) -> float:
    """Return the price of the order of a side's level i + 1, whose own price is known to a hair; 0 for none."""
    price = quick_order_price(side_sign, estimate, tick, nudge_pct) if estimate > 0.0 else 0.0
    if price == 0.0:
        raw = level_price(centre, spacing_pct, -side_sign * (i + 1))
        price = order_price(side_sign, raw, tick, nudge_pct) if raw > 0.0 else 0.0
    return price


def rests_already(prices: Sequence[float], end: int, price: float) -> bool:
    """Return whether any of the prices before index `end` is this one."""
    for i in range(end):  # noqa: SIM110 (a generator does not compile)
        if prices[i] == price:
            return True
    return False


# What to do with a level's resting order.
KEEP, CANCEL, PLACE, REPLACE = range(4)


def change_of(resting: float, resting_qty: float, price: float, qty: float, near: float, alike: float) -> int:
    """Return KEEP, PLACE or REPLACE for a level that wants a price and a quantity; what rests at 0 is no order."""
    if resting == 0.0:
        return PLACE
    return KEEP if is_kept(resting, price, near) and is_kept(resting_qty, qty, alike) else REPLACE


def without_doubles(prices: Sequence[float], i: int, price: float, action: int) -> tuple[int, int]:
    """Return code and action of a level that wants a price, such that no nearer level rests where it will rest."""
    if action == KEEP and rests_already(prices, i, prices[i]):
        action = REPLACE
    if action != KEEP and rests_already(prices, i, price):
        return SAME_PRICE, KEEP
    return PLACED, action


def lies_near(price: float, others: Sequence[float], first: int, end: int, distance: float) -> bool:
    """Return whether any of the prices from index `first` to before `end` is within `distance` of a price."""
    for i in range(first, end):  # noqa: SIM110 (a generator does not compile)
        if abs(others[i] - price) <= distance:
            return True
    return False


def reach_reason(side_sign: int, price: float, last_price: float, edge: float) -> int:
    """Return CROSSES, INSIDE_SPREAD or PLACED for an entry at a price.

    Parameters
    ----------
    last_price : a buy at or above it, or a sell at or below, would cross.
    edge : the nearest price the spread allows (highest buy, lowest sell).
    """
    if side_sign * (last_price - price) <= 0.0:
        return CROSSES
    if side_sign * (edge - price) < 0.0:
        return INSIDE_SPREAD
    return PLACED


def sure_reach_reason(side_sign: int, estimate: float, margin: float, last_price: float, edge: float) -> int:
    """Return the `reach_reason` of every price within a margin of an estimate; PLACED where it may be another one.

    `margin` is above 0 and below `estimate`.
    """
    ahead = side_sign * (last_price - estimate)
    if ahead < -margin:
        return CROSSES
    if ahead > margin and side_sign * (edge - estimate) < -margin:
        return INSIDE_SPREAD
    return PLACED


def surroundings_reason(price: float, spacing_pct: float, taken: Sequence[float], fills: int, count: int) -> int:
    """Return OCCUPIED, COOLING or PLACED for an entry at a price.

    The first `count` of `taken` are the prices of the side's open fills, `fills` of them, and then those of fills
    cut at a loss lately.
    """
    half_spacing = 0.5 * spacing_pct * price
    if lies_near(price, taken, 0, fills, half_spacing):
        return OCCUPIED
    if lies_near(price, taken, fills, count, half_spacing):
        return COOLING
    return PLACED


def size_reason(price: float, qty: float, min_qty: float, min_notional: float, capacity: float) -> int:
    """Return MIN_QTY, MIN_NOTIONAL, MAX_INVENTORY or PLACED for an entry.

    `capacity` is what the side may still take after the levels nearer to the price, quote.
    """
    if qty < min_qty:
        return MIN_QTY
    if qty * price < min_notional:
        return MIN_NOTIONAL
    if qty * price > capacity:
        return MAX_INVENTORY
    return PLACED


def is_kept(resting: float, wanted: float, tolerance: float) -> bool:
    """Return whether a resting price or quantity is near enough to the wanted one to stay."""
    return abs(resting - wanted) <= tolerance


TRACE_ACTIONS = 4  #: how many there are: a byte of the trace holds a level's action and code


class LadderSide(NamedTuple):
    """One side as its plan sees it."""

    leg: LegState  #: its `blocked`, `qty`, `taken_fills` and `taken` are read
    taken: Sequence[float]  #: see `surroundings_reason`
    #: Rows of one number for each level: price, qty and spacing_pct of the order that rests, price 0 where none does,
    #: changed to what rests after the actions; then KEEP, CANCEL, PLACE or REPLACE, and the `Blocked` code.
    orders: Sequence[MutableSequence[float]]
    totals: MutableSequence[float]  #: set by `ladder_totals` if an order changes


class Plan(NamedTuple):
    """What the plans of all bars write down."""

    tally: MutableSequence[int]  #: level-bars by `Blocked` code
    #: ``action + TRACE_ACTIONS*code`` of every level in the latest bar, LONG 1..levels, then SHORT 1..levels; one of no
    #: length stays as it is
    trace: MutableSequence[int]


class Layout(NamedTuple):
    """Where the levels of a side lie, and how much they take."""

    centre: float  #: of the geometric ladder
    edge: float  #: nearest price that the spread allows, see `reach_reason`
    notional: float  #: of one level, quote
    capacity: float  #: what the side may still take in all, quote


def plan_side(
    side_sign: int,
    p: GridConfig,
    rules: Market,
    now: Now,
    side: LadderSide,
    layout: Layout,
    tally: MutableSequence[int],
) -> int:
    """Plan the levels of one side, nearest first; return how many orders change.

    A resting order stays within `p.keep_price` of a spacing and `p.keep_qty` of the wanted qty, because every
    replacement costs its place in the queue. `tally` counts the levels by code, on top of what it holds.
    """
    # Compiled code would read a record's number anew at every level, because the orders might share its memory.
    levels, nudge_pct, keep_price, keep_qty = p.levels, p.nudge_pct, p.keep_price, p.keep_qty
    tick, step, min_qty, min_notional = rules.tick, rules.step, rules.min_qty, rules.min_notional
    spacing_pct, last_price = now.spacing_pct, now.close
    taken, fills, count = side.taken, side.leg.taken_fills, side.leg.taken
    centre, edge, notional, capacity = layout
    orders = side.orders
    prices, qtys, spacings, actions, codes = orders[0], orders[1], orders[2], orders[3], orders[4]
    # By so much of the price two levels stay apart, whatever is nudged and kept; two ticks go by rounding.
    apart = (1.0 - 2.0 * keep_price) * spacing_pct - 1.1 * nudge_pct
    changes = 0
    estimate = centre
    growth = 1.0 / (1.0 + spacing_pct) if side_sign > 0 else 1.0 + spacing_pct
    # No order lies farther from its level's estimate: a tick, a nudge and some noise.
    margin_pct, margin_ticks = 1.1 * nudge_pct + 1e-9, 1.1 * tick
    for i in range(levels):
        estimate *= growth
        margin = margin_pct * estimate + margin_ticks
        code = sure_reach_reason(side_sign, estimate, margin, last_price, edge) if estimate > margin else PLACED
        price = qty = 0.0
        if code == PLACED:
            price = wanted_price(side_sign, centre, spacing_pct, i, estimate, tick, nudge_pct)
            # A skew that takes the centre below zero, or a tick too coarse for the level, leaves no price.
            code = reach_reason(side_sign, price, last_price, edge) if price > 0.0 else CROSSES
        if code == PLACED:
            code = surroundings_reason(price, spacing_pct, taken, fills, count)
        if code == PLACED:
            qty = round_down(notional / price, step)
            code = size_reason(price, qty, min_qty, min_notional, capacity)
        action = KEEP
        if code == PLACED:
            near, alike = keep_price * spacing_pct * price, keep_qty * qty
            action = change_of(prices[i], qtys[i], price, qty, near, alike)
            if apart * price <= 2.0 * tick:
                code, action = without_doubles(prices, i, price, action)
        if code == PLACED:
            capacity -= qty * price
            if action != KEEP:
                prices[i] = price
                qtys[i] = qty
                spacings[i] = spacing_pct
        elif prices[i] > 0.0:
            action = CANCEL
            prices[i] = 0.0
        if action != KEEP:
            changes += 1
        actions[i] = action
        codes[i] = code
        tally[code] += 1
    if changes > 0:
        ladder_totals(side_sign, levels, prices, qtys, side.totals)
    return changes


def plan_ladder(
    p: GridConfig, rules: Market, memory: Memory, now: Now, long: LadderSide, short: LadderSide, plan: Plan
) -> int:
    """Centre the grid and plan both sides; return 1 if LONG orders change, 2 if SHORT ones, 3 if both do.

    A side whose leg is blocked keeps what rests. The inventory and its shift of the centre are noted in `now`.
    """
    limit = p.max_inventory * now.equity
    position, half_spread = long.leg.qty - short.leg.qty, 0.0
    if long.leg.blocked == PLACED or short.leg.blocked == PLACED:
        kappa = fill_decay(now.sigma, p.kappa, p.spread_sigmas)
        now.q, now.shift, half_spread = centre_grid(
            now.close, now.sigma, position, limit / now.close, p.gamma, kappa, p.horizon
        )
    else:  # no level needs the spread, whose logarithm takes as long as three levels
        now.q, now.shift = skew_centre(now.close, now.sigma, position, limit / now.close, p.gamma, p.horizon)
    changed = 0
    if long.leg.blocked == PLACED:
        layout = lay_out(1, p, memory, now, long.leg, limit, half_spread)
        if plan_side(1, p, rules, now, long, layout, plan.tally):
            changed += 1
    else:
        keep_side(p.levels, long, plan.tally)
    if short.leg.blocked == PLACED:
        layout = lay_out(-1, p, memory, now, short.leg, limit, half_spread)
        if plan_side(-1, p, rules, now, short, layout, plan.tally):
            changed += 2
    else:
        keep_side(p.levels, short, plan.tally)
    trace = plan.trace
    for i in range(p.levels if len(trace) > 0 else 0):
        trace[i] = int(long.orders[3][i] + TRACE_ACTIONS * long.orders[4][i])
        trace[p.levels + i] = int(short.orders[3][i] + TRACE_ACTIONS * short.orders[4][i])
    return changed


def note_refusal(plan: Plan, place: int, reason: int) -> None:
    """Count a planned entry that was refused under the reason; `place` is its level's in the trace."""
    plan.tally[PLACED] -= 1
    plan.tally[reason] += 1
    if len(plan.trace) > 0:
        plan.trace[place] = CANCEL + TRACE_ACTIONS * reason


def lay_out(
    side_sign: int, p: GridConfig, memory: Memory, now: Now, leg: LegState, limit: float, half_spread: float
) -> Layout:
    """Return where the levels of a side lie and how much they take.

    `limit` is what the side may hold, quote, and `half_spread` the distance that the levels keep from the reservation
    price.
    """
    return Layout(
        centre=memory.anchor + now.shift,
        edge=now.close + now.shift - side_sign * half_spread,
        notional=now.notional * funding_tilt(memory.funding_rate, side_sign, p.funding_tilt),
        capacity=limit - leg.qty * now.close,
    )


def keep_side(levels: int, side: LadderSide, tally: MutableSequence[int]) -> None:
    """Plan nothing on a side: every level keeps what rests there and is counted under the side's `Blocked` code."""
    actions, codes, code = side.orders[3], side.orders[4], side.leg.blocked
    for i in range(levels):
        actions[i] = KEEP
        codes[i] = code
    tally[code] += levels


def ladder_totals(
    side_sign: int, levels: int, prices: Sequence[float], qtys: Sequence[float], totals: MutableSequence[float]
) -> None:
    """Set `totals` to the notional of the resting entries, their number, and the price the market meets first.

    That price is the highest of the buys (`side_sign` +1) or the lowest of the sells (-1), 0 without any.
    """
    notional = nearest = 0.0
    count = 0
    for i in range(levels):
        if prices[i] > 0.0:
            notional += prices[i] * qtys[i]
            if count == 0 or side_sign * (prices[i] - nearest) > 0.0:
                nearest = prices[i]
            count += 1
    totals[0] = notional
    totals[1] = count
    totals[2] = nearest


def take_totals(leg: LegState, totals: Sequence[float]) -> None:
    """Note the sums that `ladder_totals` found; without any entry the first is infinitely far."""
    leg.entry_notional, leg.entry_count = totals[0], int(totals[1])
    leg.first_entry = totals[2] if leg.entry_count else -leg.sign * INFINITY
