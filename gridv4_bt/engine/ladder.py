"""Which entries a side of the grid wants, level by level, and which resting orders change for it.

Plain numbers and flat arrays only: `gridv4_bt.compiled` compiles these functions where it can.
"""

from collections.abc import MutableSequence, Sequence
from enum import IntEnum

from gridv4_bt.core.funding import funding_tilt
from gridv4_bt.core.grid import level_price, nudge_round_number, round_down, round_up
from gridv4_bt.core.inventory import normalized_inventory, optimal_spread, reservation_price
from gridv4_bt.engine.quick_price import quick_order_price
from gridv4_bt.engine.state import INFINITY, LegState


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
HALT = int(Blocked.HALT)
VAR = int(Blocked.VAR)
REGIME = int(Blocked.REGIME)


def centre_grid(
    mid: float, sigma: float, position: float, max_position: float, gamma: float, kappa: float, horizon: float
) -> tuple[float, float, float]:
    """Return normalized inventory, reservation price minus mid, and half the optimal spread in price units.

    `sigma` is per bar and dimensionless, `gamma` and `kappa` are dimensionless: scaled by the price they fit
    every symbol. `position` and `max_position` are base units.
    """
    q = normalized_inventory(position, max_position)
    absolute = sigma * mid
    shift = reservation_price(mid, q, gamma / mid, absolute, horizon) - mid
    return q, shift, 0.5 * optimal_spread(gamma / mid, absolute, horizon, kappa / mid)


def order_price(side_sign: int, raw: float, tick: float) -> float:
    """Return the price an entry is sent with: `raw` off round numbers, then on the tick.

    LONG (+1) buys and rounds down, SHORT (-1) sells and rounds up.
    """
    if side_sign > 0:
        return round_down(nudge_round_number(raw, True), tick)
    return round_up(nudge_round_number(raw, False), tick)


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


# What to do with a level's resting order.
KEEP, CANCEL, PLACE, REPLACE = range(4)
TRACE_ACTIONS = 4  #: how many there are: a byte of the trace holds a level's action and code


def plan_side(
    side_sign: int,
    levels: int,
    centre: float,
    spacing_pct: float,
    last_price: float,
    edge: float,
    notional: float,
    capacity: float,
    tick: float,
    step: float,
    min_qty: float,
    min_notional: float,
    keep_price: float,
    keep_qty: float,
    taken: Sequence[float],
    fills: int,
    count: int,
    orders: Sequence[MutableSequence[float]],
    tally: MutableSequence[int],
    totals: MutableSequence[float],
) -> int:
    """Plan the levels 1..`levels` of one side, nearest first; return how many orders change.

    Parameters
    ----------
    side_sign : +1 for the buys below the centre that open LONG, -1 for the sells above that open SHORT.
    centre, spacing_pct : of the geometric ladder.
    last_price, edge : see `reach_reason`.
    notional, capacity : of one level, and what the side may still take in all, quote.
    tick, step, min_qty, min_notional : the market's filters.
    keep_price, keep_qty : a resting order stays within this fraction of a spacing and of the wanted qty,
        because every replacement costs its place in the queue.
    taken, fills, count : see `surroundings_reason`.
    orders : rows of one number for each level: price, qty and spacing_pct of the order that rests, price 0 where
        none does, changed to what rests after the actions; then KEEP, CANCEL, PLACE or REPLACE, and the
        `Blocked` code, set for each level.
    tally : counts the levels by code, on top of what it holds.
    totals : set by `ladder_totals` if an order changes.
    """
    prices, qtys, spacings, actions, codes = orders[0], orders[1], orders[2], orders[3], orders[4]
    changes = 0
    estimate = centre
    growth = 1.0 / (1.0 + spacing_pct) if side_sign > 0 else 1.0 + spacing_pct
    for i in range(levels):
        estimate *= growth
        price = quick_order_price(side_sign, estimate, tick) if estimate > 0.0 else 0.0
        if price == 0.0:
            raw = level_price(centre, spacing_pct, -side_sign * (i + 1))
            price = order_price(side_sign, raw, tick) if raw > 0.0 else 0.0
        # A skew that takes the centre below zero, or a tick too coarse for the level, leaves no price.
        code = reach_reason(side_sign, price, last_price, edge) if price > 0.0 else CROSSES
        qty = 0.0
        if code == PLACED:
            code = surroundings_reason(price, spacing_pct, taken, fills, count)
        if code == PLACED:
            qty = round_down(notional / price, step)
            code = size_reason(price, qty, min_qty, min_notional, capacity)
        action = KEEP
        if code == PLACED:
            capacity -= qty * price
            near = is_kept(prices[i], price, keep_price * spacing_pct * price)
            if prices[i] == 0.0:
                action = PLACE
            elif not near or not is_kept(qtys[i], qty, keep_qty * qty):
                action = REPLACE
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
        ladder_totals(side_sign, levels, prices, qtys, totals)
    return changes


def plan_ladder(
    long_block: int,
    short_block: int,
    anchor: float,
    spacing_pct: float,
    mid: float,
    sigma: float,
    equity: float,
    long_qty: float,
    short_qty: float,
    notional: float,
    funding_rate: float,
    levels: int,
    max_inventory: float,
    gamma: float,
    kappa: float,
    horizon: float,
    tick: float,
    step: float,
    min_qty: float,
    min_notional: float,
    keep_price: float,
    keep_qty: float,
    long_taken: Sequence[float],
    long_fills: int,
    long_count: int,
    long_orders: Sequence[MutableSequence[float]],
    short_taken: Sequence[float],
    short_fills: int,
    short_count: int,
    short_orders: Sequence[MutableSequence[float]],
    tally: MutableSequence[int],
    found: Sequence[MutableSequence[float]],
    trace: MutableSequence[int],
) -> int:
    """Centre the grid and plan both sides; return 1 if LONG orders change, 2 if SHORT ones, 3 if both do.

    One call for everything, because entering compiled code costs more than a side's plan.

    Parameters
    ----------
    long_block, short_block : PLACED for a side that may add; else the reason, and the side keeps what rests.
    anchor, mid : price the grid hangs on, and the last price.
    sigma : per bar, dimensionless.
    equity : quote; a side may hold `max_inventory` times as much.
    long_qty, short_qty : held, base units.
    notional : of one level before the tilt by the latest `funding_rate`.
    found : rows: q, shift and half spread of `centre_grid`; totals of LONG; totals of SHORT (`ladder_totals`).
    trace : set to ``action + TRACE_ACTIONS*code`` of every level: LONG 1..levels, then SHORT 1..levels; one of no
        length stays as it is.
    The others are those of `centre_grid` and `plan_side`.
    """
    limit = max_inventory * equity
    q, shift, half_spread = centre_grid(mid, sigma, long_qty - short_qty, limit / mid, gamma, kappa, horizon)
    found[0][0], found[0][1], found[0][2] = q, shift, half_spread
    centre = anchor + shift
    reservation = mid + shift
    changed = 0
    if long_block == PLACED:
        if plan_side(
            1, levels, centre, spacing_pct, mid, reservation - half_spread,
            notional * funding_tilt(funding_rate, 1), limit - long_qty * mid,
            tick, step, min_qty, min_notional, keep_price, keep_qty,
            long_taken, long_fills, long_count, long_orders, tally, found[1],
        ):  # fmt: skip
            changed += 1
    else:
        keep_side(levels, long_block, long_orders, tally)
    if short_block == PLACED:
        if plan_side(
            -1, levels, centre, spacing_pct, mid, reservation + half_spread,
            notional * funding_tilt(funding_rate, -1), limit - short_qty * mid,
            tick, step, min_qty, min_notional, keep_price, keep_qty,
            short_taken, short_fills, short_count, short_orders, tally, found[2],
        ):  # fmt: skip
            changed += 2
    else:
        keep_side(levels, short_block, short_orders, tally)
    for i in range(levels if len(trace) > 0 else 0):
        trace[i] = int(long_orders[3][i] + TRACE_ACTIONS * long_orders[4][i])
        trace[levels + i] = int(short_orders[3][i] + TRACE_ACTIONS * short_orders[4][i])
    return changed


# Where `plan_bar` finds its numbers: those of the bar, and those that stay from bar to bar.
BAR_NUMBERS = 15
SETTINGS = 11
SHEET = BAR_NUMBERS + SETTINGS


def plan_bar(
    sheet: Sequence[float],
    long_taken: Sequence[float],
    long_orders: Sequence[MutableSequence[float]],
    short_taken: Sequence[float],
    short_orders: Sequence[MutableSequence[float]],
    tally: MutableSequence[int],
    found: Sequence[MutableSequence[float]],
    trace: MutableSequence[int],
) -> int:
    """`plan_ladder` with its numbers on one sheet, because entering compiled code costs by the argument.

    The sheet holds, in the order of that function's parameters, long_block to funding_rate, then long_fills,
    long_count, short_fills, short_count, then levels to keep_qty.
    """
    s = sheet
    return plan_ladder(
        int(s[0]), int(s[1]), s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10],
        int(s[15]), s[16], s[17], s[18], s[19], s[20], s[21], s[22], s[23], s[24], s[25],
        long_taken, int(s[11]), int(s[12]), long_orders, short_taken, int(s[13]), int(s[14]), short_orders,
        tally, found, trace,
    )  # fmt: skip


def keep_side(levels: int, code: int, orders: Sequence[MutableSequence[float]], tally: MutableSequence[int]) -> None:
    """Plan nothing on a side: every level keeps what rests there and is counted under one `Blocked` code."""
    actions, codes = orders[3], orders[4]
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
