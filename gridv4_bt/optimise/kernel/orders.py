"""What the steps order in a sweep: the functions of `strategies.orders` on the kernel's records.

The book is the record `WALLET`. The text of the steps that calls them is `strategies.steps`.
"""

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.ladder import MARGIN, MAX_POSITION, PLACE, PLACED, REPLACE, plan_ladder
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.optimise.kernel.fills import drop_entries, entries_changed, note_first_exit, take_totals
from gridv4_bt.optimise.kernel.matching import range_of


def close_at_market(wallet, side, index, qty, label):
    """Close part of a fill at the next open, as far as it is not being closed already."""
    leg, fill = side.leg, side.fills[index]
    pending = 0.0
    for i in range(leg.closes):
        if side.closes[i].fill_id == fill.id:
            pending += side.closes[i].qty
    free = fill.qty - pending
    if free <= LOT_NOISE * qty:
        return
    close = side.closes[leg.closes]
    close.fill_id, close.label, close.qty = fill.id, label, min(qty, free)
    leg.closes += 1
    wallet.orders_changed = 1


def cancel_entries(wallet, side):
    """Cancel all resting entries of a side."""
    drop_entries(wallet, side)


def set_stop(wallet, side, price):
    """Place the stop that closes the whole leg, or cancel it (NaN)."""
    leg = side.leg
    leg.has_stop = price == price
    if leg.has_stop:
        leg.stop = price


def maintenance(wallet, brackets, close, long, short):
    """Return the maintenance margin of the account at a close."""
    total = 0.0
    if long.leg.fills:
        total += maintenance_margin(long.leg.qty * close, brackets)
    if short.leg.fills:
        total += maintenance_margin(short.leg.qty * close, brackets)
    return total


def liquidation_range(wallet, brackets, long, short):
    """Return the prices (down, up) at which the account is liquidated; they move when the rules, fills or wallet do."""
    if wallet.range_stale or wallet.wallet != wallet.range_wallet:
        wallet.range_stale, wallet.range_wallet = 0, wallet.wallet
        wallet.range_down, wallet.range_up = range_of(wallet, brackets, long.leg, short.leg)
    return wallet.range_down, wallet.range_up


def plan_entries(p, rules, memory, now, long, short, plan):
    """Plan the entries of both sides, note q and shift, and return which sides' orders change (see `plan_ladder`)."""
    changed = plan_ladder(p, rules, memory, now, long, short, plan)
    if changed & 1:
        take_totals(long)
    if changed & 2:
        take_totals(short)
    return changed


def confirm_regime(wallet, regime):
    """Name the regime that new fills will carry."""
    wallet.regime = regime


def rest_entries(p, rules, now, wallet, long, short, plan):
    """Place the planned entries but for those that the exchange refuses."""
    close, tally = now.close, plan.tally
    bound_long = long.leg.qty * close + long.leg.entry_notional
    bound_short = short.leg.qty * close + short.leg.entry_notional
    entries = wallet.held_notional + (long.leg.entry_notional + short.leg.entry_notional)
    free = wallet.value - entries / p.leverage
    if max(bound_long, bound_short) > rules.max_notional or free < 0.0:
        capacity_long, capacity_short = rules.max_notional - bound_long, rules.max_notional - bound_short
        capacity_long, free = release(p, long, capacity_long, free)
        capacity_short, free = release(p, short, capacity_short, free)
        free = refuse(p, long, capacity_long, free, tally)
        refuse(p, short, capacity_short, free, tally)
    wallet.orders_changed = 1


def is_new(side, i):
    """Return whether a level has an order that was not there before."""
    return side.orders[3, i] == PLACE or side.orders[3, i] == REPLACE


def release(p, side, capacity, free):
    """Return capacity and free margin without the new orders of a side."""
    for i in range(side.orders.shape[1]):
        if is_new(side, i):
            notional = side.orders[0, i] * side.orders[1, i]
            free += notional / p.leverage
            capacity += notional
    return capacity, free


def refuse(p, side, capacity, free, tally):
    """Empty the levels of a side whose new order the exchange refuses, nearest first served; return what is free."""
    for i in range(side.orders.shape[1]):
        if is_new(side, i):
            notional = side.orders[0, i] * side.orders[1, i]
            if notional > capacity:
                reason = MAX_POSITION
            elif notional / p.leverage > free:
                reason = MARGIN
            else:
                capacity -= notional
                free -= notional / p.leverage
                continue
            side.orders[0, i] = 0.0
            tally[PLACED] -= 1
            tally[reason] += 1
    entries_changed(side)
    return free


def count_exits(side):
    """Return how many fills have an exit."""
    return side.leg.exit_count


def load_exits(side):
    """Leave the exits where they are: a fill's record holds its own."""


def place_exits(wallet, side):
    """Note which exit the market meets first."""
    note_first_exit(side)
    wallet.orders_changed = 1


def make_room(side):
    """Return whether there is room for one more level that cools."""
    return side.leg.cooling < len(side.cooling)
