"""The simulated exchange of a sweep: `HedgeBroker` for one symbol, on the records of `gridv4_bt.optimise.kernel.state`."""

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.ladder import MARGIN, MAX_POSITION, PLACE, PLACED, REPLACE
from gridv4_bt.engine.matching import stop_hit
from gridv4_bt.engine.position import settle_fills
from gridv4_bt.optimise.kernel.fills import entries_changed
from gridv4_bt.optimise.kernel.matching import fills, is_safe, match, note_prices, unrealized


def next_bar(p, wallet, bar, rate, brackets, long, short, news):
    """Settle the funding due at the bar's open, match the bar if it reaches anything, and value the account."""
    if rate == rate:  # not NaN: a settlement is due
        settle_funding(wallet, bar, rate, long)
        settle_funding(wallet, bar, rate, short)
        wallet.funding_rate = rate
        wallet.settlements += 1
    busy = not is_idle(wallet, bar, long, short)
    safe = is_safe(wallet, bar, brackets, long.leg, short.leg)
    if busy or not safe:
        if (busy and not safe) or order_matters(p, bar, long.leg) or order_matters(p, bar, short.leg):
            wallet.ambiguous_bars += 1
        match(p, wallet, bar, brackets, long, short, news)
    revalue(wallet, bar.close, long.leg, short.leg)


def settle_funding(wallet, bar, rate, side):
    """Charge a settlement to one side."""
    if side.leg.fills > 0:
        paid = settle_fills(side.leg.sign, bar.mark, rate, side.fills.qty, side.fills.funding, side.leg.fills)
        wallet.wallet -= paid
        wallet.funding += paid


def is_idle(wallet, bar, long, short):
    """Tell that the bar reaches no order of ours, or nothing was traded in it."""
    if not bar.traded:
        return True
    if wallet.orders_changed:
        note_prices(wallet, long, short)
    if wallet.market_orders or bar.low <= wallet.buy_below or bar.high >= wallet.sell_above:
        return False
    if long.leg.has_stop and bar.low <= long.leg.stop:
        return False
    return not (short.leg.has_stop and bar.high >= short.leg.stop)


def order_matters(p, bar, leg):
    """Tell whether the bar reaches a stop and an exit of a leg."""
    return (
        bar.traded
        and leg.has_stop
        and stop_hit(leg.sign, leg.stop, bar.low, bar.high)
        and fills(p, leg.sign < 0, leg.first_exit, bar.low, bar.high)
    )


def revalue(wallet, close, long, short):
    """Value the account at a close."""
    wallet.value, wallet.held_notional = wallet.wallet, 0.0
    if long.fills or short.fills:
        wallet.value += unrealized(long, close) + unrealized(short, close)
        wallet.held_notional = (long.qty + short.qty) * close


def maintenance(brackets, close, long, short):
    """Return the maintenance margin of the account at a close."""
    total = 0.0
    if long.fills:
        total += maintenance_margin(long.qty * close, brackets)
    if short.fills:
        total += maintenance_margin(short.qty * close, brackets)
    return total


# --- the orders of the strategy -------------------------------------------------------------------


def rest_entries(p, rules, wallet, close, long, short, tally):
    """Let the planned entries stand but for those that the exchange refuses."""
    bound_long = long.leg.qty * close + long.leg.entry_notional
    bound_short = short.leg.qty * close + short.leg.entry_notional
    entries = wallet.held_notional + (long.leg.entry_notional + short.leg.entry_notional)
    free = wallet.value - entries / p.leverage
    if max(bound_long, bound_short) > rules.max_notional or free < 0.0:
        room_long, room_short = rules.max_notional - bound_long, rules.max_notional - bound_short
        room_long, free = release(p, long, room_long, free)
        room_short, free = release(p, short, room_short, free)
        free = refuse(p, long, room_long, free, tally)
        refuse(p, short, room_short, free, tally)
    wallet.orders_changed = 1


def is_new(side, i):
    """Tell whether a level has an order that was not there before."""
    return side.orders[3, i] == PLACE or side.orders[3, i] == REPLACE


def release(p, side, room, free):
    """Return room and free margin without the new orders of a side."""
    for i in range(side.orders.shape[1]):
        if is_new(side, i):
            notional = side.orders[0, i] * side.orders[1, i]
            free += notional / p.leverage
            room += notional
    return room, free


def refuse(p, side, room, free, tally):
    """Empty the levels of a side whose new order the exchange refuses, nearest first served; return what is free."""
    for i in range(side.orders.shape[1]):
        if is_new(side, i):
            notional = side.orders[0, i] * side.orders[1, i]
            if notional > room:
                reason = MAX_POSITION
            elif notional / p.leverage > free:
                reason = MARGIN
            else:
                room -= notional
                free -= notional / p.leverage
                continue
            side.orders[0, i] = 0.0
            tally[PLACED] -= 1
            tally[reason] += 1
    entries_changed(side)
    return free
