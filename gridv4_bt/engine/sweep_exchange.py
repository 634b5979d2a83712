"""The simulated exchange of a sweep: `HedgeBroker` and its `Book` for one symbol, on the records of `sweep_state`.

The rules are those of `gridv4_bt.engine.matching`, `liquidation` and `position`; here is only who calls them when.
"""

from gridv4_bt.core.risk import maintenance_margin, safe_interval
from gridv4_bt.engine.ladder import MARGIN, MAX_POSITION, PLACE, PLACED, REPLACE, ladder_totals
from gridv4_bt.engine.liquidation import (
    bankruptcy_price,
    excess_at,
    is_unhedged,
    price_at_open,
    reserve_at_worst,
    takeover_price,
)
from gridv4_bt.engine.matching import (
    INFINITY,
    market_price,
    stop_hit,
    stop_met,
    stop_price,
    stop_takes,
    touches,
    trades_through,
)
from gridv4_bt.engine.position import (
    LOT_NOISE,
    fee_of,
    part_of,
    realized_pnl,
    settle_fills,
    sum_fills,
    takes_all,
    unrealized_pnl,
)
from gridv4_bt.engine.sweep_state import GRID, LIQUIDATION, STOP2

# --- one bar ----------------------------------------------------------------------------------------


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


def note_prices(wallet, long, short):
    """Note the prices at which a limit order can fill."""
    note_first_exit(long)
    note_first_exit(short)
    wallet.buy_below = max(long.leg.first_entry, short.leg.first_exit)
    wallet.sell_above = min(short.leg.first_entry, long.leg.first_exit)
    wallet.market_orders = long.leg.closes + short.leg.closes
    wallet.orders_changed = 0


def note_first_exit(side):
    """Find the exit that the market meets first, and count them."""
    leg = side.leg
    first, count = leg.sign * INFINITY, 0
    for i in range(leg.fills):
        price = side.fills[i].exit
        if price > 0.0:
            count += 1
            first = min(first, price) if leg.sign > 0 else max(first, price)
    leg.first_exit, leg.exit_count = first, count


def order_matters(p, bar, leg):
    """Tell whether the bar reaches a stop and an exit of a leg."""
    return (
        bar.traded
        and leg.has_stop
        and stop_hit(leg.sign, leg.stop, bar.low, bar.high)
        and fills(p, leg.sign < 0, leg.first_exit, bar.low, bar.high)
    )


def fills(p, is_buy, price, low, high):
    """Tell whether a bar fills a limit order."""
    if p.through:
        return trades_through(is_buy, price, low, high)
    return touches(is_buy, price, low, high)


def revalue(wallet, close, long, short):
    """Value the account at a close."""
    wallet.value, wallet.held_notional = wallet.wallet, 0.0
    if long.fills or short.fills:
        wallet.value += unrealized(long, close) + unrealized(short, close)
        wallet.held_notional = (long.qty + short.qty) * close


def unrealized(leg, price):
    """Return the unrealised PnL of a leg."""
    return unrealized_pnl(leg.sign, leg.qty, leg.cost, price)


# --- matching, phase by phase -----------------------------------------------------------------------


def match(p, wallet, bar, brackets, long, short, news):
    """Match one bar; one without volume fills nothing, but the mark may liquidate."""
    if not is_safe(wallet, bar, brackets, long.leg, short.leg) and not is_safe_at_open(
        wallet, bar, brackets, long.leg, short.leg
    ):
        liquidate(p, wallet, bar, brackets, long, short, news)
    down, up = 0.0, INFINITY
    if bar.traded:
        fill_market_orders(p, wallet, bar, long, news)
        fill_market_orders(p, wallet, bar, short, news)
        if not is_safe(wallet, bar, brackets, long.leg, short.leg):
            down, up = liquidation_range(wallet, brackets, long.leg, short.leg)
        fill_entries(p, wallet, bar, down, up, long)
        fill_entries(p, wallet, bar, down, up, short)
    safe = is_safe(wallet, bar, brackets, long.leg, short.leg)
    stopped = 0
    if bar.traded:
        down, up = 0.0, INFINITY
        if not safe:
            down, up = liquidation_range(wallet, brackets, long.leg, short.leg)
        fill_stops(p, wallet, bar, down, up, long, news)
        fill_stops(p, wallet, bar, down, up, short, news)
        stopped = long.leg.stopped + short.leg.stopped
    if (not safe or stopped) and not is_safe(wallet, bar, brackets, long.leg, short.leg):
        liquidate(p, wallet, bar, brackets, long, short, news)
    if bar.traded:
        fill_exits(p, wallet, bar, long, news)
        fill_exits(p, wallet, bar, short, news)
    note_prices(wallet, long, short)


def fill_market_orders(p, wallet, bar, side, news):
    """Phase 2: market orders at the open."""
    leg = side.leg
    leg.stopped = 0
    price = market_price(leg.sign < 0, bar.open, p.slippage)
    for i in range(leg.closes):
        close = side.closes[i]
        index = index_of(side, close.fill_id)
        qty = min(close.qty, side.fills[index].qty)
        close_fill(wallet, side, news, index, qty, price, bar.time, close.label, p.taker_fee, False)
    leg.closes = 0


def fill_entries(p, wallet, bar, down, up, side):
    """Phase 3: every entry that the bar reaches before the liquidation prices, at its limit price, nearest first."""
    leg, prices = side.leg, side.orders[0]
    is_buy = leg.sign > 0
    if not fills(p, is_buy, leg.first_entry, bar.low, bar.high):
        return
    for i in range(len(prices)):
        price = prices[i]
        if price > 0.0 and fills(p, is_buy, price, bar.low, bar.high) and down < price < up:
            prices[i] = 0.0
            open_fill(wallet, side, side.orders[1, i], price, bar.time, side.orders[2, i], p.maker_fee)
    entries_changed(side)


def fill_stops(p, wallet, bar, down, up, side, news):
    """Phase 4: a stop met before the liquidation prices closes what its leg held when the market met it."""
    leg = side.leg
    if not leg.has_stop or not stop_hit(leg.sign, leg.stop, bar.low, bar.high):
        return
    if down < stop_met(leg.sign, leg.stop, bar.open) < up:
        price = stop_price(leg.sign, leg.stop, bar.open, p.slippage)
        i = 0
        while i < leg.fills:
            fill = side.fills[i]
            if stop_takes(leg.sign, price, fill.price, fill.time, bar.time):
                close_fill(wallet, side, news, i, fill.qty, price, bar.time, STOP2, p.taker_fee, False)
            else:
                i += 1
        leg.has_stop = 0
        leg.stopped = 1


def fill_exits(p, wallet, bar, side, news):
    """Phase 5: exits that stood before the bar; none on a side that was stopped in it."""
    leg = side.leg
    if leg.stopped:
        return
    i = 0
    while i < leg.fills:
        fill = side.fills[i]
        if fill.exit > 0.0 and fills(p, leg.sign < 0, fill.exit, bar.low, bar.high):
            close_fill(wallet, side, news, i, fill.qty, fill.exit, bar.time, GRID, p.maker_fee, True)
        else:
            i += 1


# --- liquidation ------------------------------------------------------------------------------------


def excess(brackets, long, short, price):
    """Return unrealised PnL minus maintenance margin at a price."""
    return excess_at(price, long.qty, long.cost, short.qty, short.cost, brackets)


def is_safe(wallet, bar, brackets, long, short):
    """Tell whether the wallet stays above the maintenance margin through the bar."""
    if not long.fills and not short.fills:
        return True
    rate = brackets[len(brackets) - 1].rate
    reserve = reserve_at_worst(bar.mark_low, bar.mark_high, rate, long.qty, long.cost, short.qty, short.cost)
    if wallet.wallet + reserve > 0.0:
        return True
    worst = min(excess(brackets, long, short, bar.mark_low), excess(brackets, long, short, bar.mark_high))
    return wallet.wallet + worst > 0.0


def is_safe_at_open(wallet, bar, brackets, long, short):
    """Tell whether the wallet is above the maintenance margin when the bar opens."""
    opened = price_at_open(bar.open, bar.mark_low, bar.mark_high) if bar.traded else bar.close
    return wallet.wallet + excess(brackets, long, short, opened) > 0.0


def liquidation_range(wallet, brackets, long, short):
    """Return the prices (down, up) at which the account is liquidated; 0 and infinity for none."""
    return safe_interval(wallet.wallet, long.qty, average(long), short.qty, average(short), brackets)


def average(leg):
    """Return the average entry of a leg, 0 when nothing is held."""
    return leg.cost / leg.qty if leg.fills else 0.0


def liquidate(p, wallet, bar, brackets, long, short, news):
    """Close everything, cancel all orders and count the liquidation (see `gridv4_bt.engine.liquidation.liquidate`)."""
    low, high = bar.mark_low, bar.mark_high
    falls = excess(brackets, long.leg, short.leg, low) <= excess(brackets, long.leg, short.leg, high)
    down, up = liquidation_range(wallet, brackets, long.leg, short.leg)
    price = takeover_price(falls, bar.open, low, high, down, up)
    cancel_orders(wallet, long)
    cancel_orders(wallet, short)
    equity = wallet.wallet + (unrealized(long.leg, price) + unrealized(short.leg, price))
    notional = long.leg.qty * price + short.leg.qty * price
    if equity < 0.0:
        if is_unhedged(long.leg.qty, short.leg.qty):
            price = bankruptcy_price(price, equity, long.leg.qty - short.leg.qty)
        equity = 0.0
    fee_rate = min(p.liquidation_fee, equity / notional)
    close_all(wallet, bar, long, price, fee_rate, news)
    close_all(wallet, bar, short, price, fee_rate, news)
    wallet.liquidations += 1


def close_all(wallet, bar, side, price, fee_rate, news):
    """Close a leg at one price."""
    while side.leg.fills > 0:
        qty = side.fills[0].qty
        close_fill(wallet, side, news, 0, qty, price, bar.time, LIQUIDATION, fee_rate, False)


def cancel_orders(wallet, side):
    """Take all orders of a side away."""
    cancel_entries(wallet, side)
    for i in range(side.leg.fills):
        side.fills[i].exit = 0.0
    side.leg.closes = 0
    side.leg.has_stop = 0


def maintenance(brackets, close, long, short):
    """Return the maintenance margin of the account at a close."""
    total = 0.0
    if long.fills:
        total += maintenance_margin(long.qty * close, brackets)
    if short.fills:
        total += maintenance_margin(short.qty * close, brackets)
    return total


# --- fills ------------------------------------------------------------------------------------------


def open_fill(wallet, side, qty, price, time, spacing_pct, fee_rate):
    """Book an entry."""
    leg = side.leg
    if leg.fills == len(side.fills):
        wallet.overflow = 1
        return
    wallet.fills += 1
    fee = fee_of(qty, price, fee_rate)
    fill = side.fills[leg.fills]
    fill.id, fill.time, fill.regime = wallet.fills, time, wallet.regime
    fill.qty, fill.price, fill.spacing_pct = qty, price, spacing_pct
    fill.funding, fill.fee, fill.exit = 0.0, fee, 0.0
    leg.fills += 1
    sum_up(side)
    wallet.wallet -= fee
    wallet.fees += fee
    wallet.maker_executions += 1


def close_fill(wallet, side, news, index, qty, price, time, label, fee_rate, maker):
    """Book the closing of `qty` of a fill and write the trade down."""
    leg, fill = side.leg, side.fills[index]
    paid, entry_fee = fill.funding, fill.fee
    whole = takes_all(qty, fill.qty)
    if whole:
        qty = fill.qty
    else:
        paid, entry_fee = part_of(fill.funding, qty, fill.qty), part_of(fill.fee, qty, fill.qty)
    gross = realized_pnl(leg.sign, qty, fill.price, price)
    fee = fee_of(qty, price, fee_rate)
    wallet.wallet += gross
    wallet.wallet -= fee
    wallet.gross += gross
    wallet.fees += fee
    if maker:
        wallet.maker_executions += 1
    else:
        wallet.taker_executions += 1

    trade = news[wallet.news]
    trade.trade_id, trade.side, trade.label, trade.regime = fill.id, leg.sign, label, fill.regime
    trade.open_time, trade.close_time = fill.time, time
    trade.qty, trade.entry, trade.exit = qty, fill.price, price
    trade.gross, trade.fees, trade.funding = gross, entry_fee + fee, paid
    wallet.news += 1

    if whole:
        for i in range(index, leg.fills - 1):
            side.fills[i] = side.fills[i + 1]
        leg.fills -= 1
        if leg.fills == 0:
            leg.has_stop = 0
    else:
        fill.qty -= qty
        fill.funding -= paid
        fill.fee -= entry_fee
    sum_up(side)


def sum_up(side):
    """Sum the fills of a side anew."""
    leg = side.leg
    leg.qty, leg.cost = sum_fills(side.fills.qty, side.fills.price, leg.fills)
    leg.changed = 1


def index_of(side, fill_id):
    """Return where a fill is."""
    index = 0
    while side.fills[index].id != fill_id:
        index += 1
    return index


# --- what the strategy asks for ---------------------------------------------------------------------


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
    """Take all resting entries of a side away."""
    prices = side.orders[0]
    for i in range(len(prices)):
        prices[i] = 0.0
    entries_changed(side)
    wallet.orders_changed = 1


def entries_changed(side):
    """Sum the resting entries of a side up anew."""
    ladder_totals(side.leg.sign, side.orders.shape[1], side.orders[0], side.orders[1], side.totals)
    take_totals(side)


def take_totals(side):
    """Note the sums that `ladder_totals` found."""
    leg, totals = side.leg, side.totals
    leg.entry_notional, leg.entry_count = totals[0], int(totals[1])
    leg.first_entry = totals[2] if leg.entry_count else -leg.sign * INFINITY


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
