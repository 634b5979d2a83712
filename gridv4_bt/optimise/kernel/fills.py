"""Opening, closing and cancelling on the records of a sweep: `Account`, `PositionTracker` and `Leg` without objects.

These functions are called from many places and seldom, so they are not copied into the kernel.
"""

from gridv4_bt.engine.ladder import ladder_totals
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.engine.position import fee_of, part_of, realized_pnl, sum_fills, takes_all


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


def cancel_orders(wallet, side):
    """Take all orders of a side away."""
    drop_entries(wallet, side)
    for i in range(side.leg.fills):
        side.fills[i].exit = 0.0
    side.leg.closes = 0
    side.leg.has_stop = 0


def drop_entries(wallet, side):
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
