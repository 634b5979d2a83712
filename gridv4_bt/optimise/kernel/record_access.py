"""How a sweep keeps fills, exits and closes: the functions of `gridv4_bt.engine.book_access` on records.

They are called from many places and seldom, so they are not copied into the kernel.
"""

from gridv4_bt.core.bets import begins_bet
from gridv4_bt.engine.account import charge_entry, charge_exit
from gridv4_bt.engine.ladder import ladder_totals, take_totals
from gridv4_bt.engine.leg import sum_up
from gridv4_bt.engine.position import add_part, fee_of, net_pnl, part_of, realized_pnl, takes_all


def open_fill(book, side, qty, price, spacing_pct):
    """Book an executed entry."""
    account, leg = book.account, side.leg
    if leg.fills == len(side.fills):
        account.overflow = 1
        return
    fee = fee_of(qty, price, book.costs.maker_fee)
    charge_entry(account, fee, True)
    if begins_bet(book.bar.time, account.bet_begun):
        account.bets, account.bet_begun = account.bets + 1, book.bar.time
    fill = side.fills[leg.fills]
    fill.id, fill.time, fill.regime = account.fills, book.bar.time, book.state.regime
    fill.qty, fill.price, fill.spacing_pct = qty, price, spacing_pct
    fill.funding, fill.fee, fill.exit = 0.0, fee, 0.0
    fill.closed_qty = fill.closed_net = 0.0
    leg.fills += 1
    sum_up(leg, side.fills)


def close_fill(book, side, index, qty, price, label, fee_rate, maker):
    """Book the closing of `qty` of a fill and write the trade down."""
    account, leg, fill = book.account, side.leg, side.fills[index]
    paid, entry_fee = fill.funding, fill.fee
    whole = takes_all(qty, fill.qty)
    if whole:
        qty = fill.qty
    else:
        paid, entry_fee = part_of(fill.funding, qty, fill.qty), part_of(fill.fee, qty, fill.qty)
    gross = realized_pnl(leg.sign, qty, fill.price, price)
    fee = fee_of(qty, price, fee_rate)
    fees = entry_fee + fee
    charge_exit(account, gross, fee, maker)
    closed_qty, closed_net = add_part(fill.closed_qty, fill.closed_net, qty, net_pnl(gross, fees, paid))
    trade = book.news[account.news]
    trade.place, trade.trade_id, trade.side = book.state.place, fill.id, leg.sign
    trade.label, trade.regime = label, fill.regime
    trade.open_time, trade.close_time = fill.time, book.bar.time
    trade.qty, trade.entry, trade.exit = qty, fill.price, price
    trade.gross, trade.fees, trade.funding = gross, fees, paid
    trade.bullet_qty = trade.bullet_net = 0.0
    account.news += 1

    if whole:
        trade.bullet_qty, trade.bullet_net = closed_qty, closed_net
        for i in range(index, leg.fills - 1):
            side.fills[i] = side.fills[i + 1]
        leg.fills -= 1
        if leg.fills == 0:
            leg.has_stop = 0
    else:
        fill.qty -= qty
        fill.funding -= paid
        fill.fee -= entry_fee
        fill.closed_qty, fill.closed_net = closed_qty, closed_net
    sum_up(leg, side.fills)


def index_of(side, fill_id):
    """Return where a fill is."""
    index = 0
    while side.fills[index].id != fill_id:
        index += 1
    return index


def exit_of(side, index):
    """Return the price of a fill's exit, 0 without one."""
    return side.fills[index].exit


def entries_changed(side):
    """Sum the resting entries of a side up anew."""
    ladder_totals(side.leg.sign, side.orders.shape[1], side.orders[0], side.orders[1], side.totals)
    take_totals(side.leg, side.totals)


def count_closes(side):
    """Return the number of market orders for the next open."""
    return side.leg.closes


def close_of(side, index):
    """Return fill, quantity and label of a market order for the next open."""
    close = side.closes[index]
    return close.fill_id, close.qty, close.label


def add_close(side, fill_id, qty, label):
    """Add a market order for the next open."""
    close = side.closes[side.leg.closes]
    close.fill_id, close.qty, close.label = fill_id, qty, label
    side.leg.closes += 1


def forget_closes(side):
    """Forget the market orders, which are executed."""
    side.leg.closes = 0


def cancel_orders(book):
    """Take all orders of the symbol away."""
    for side in (book.long, book.short):
        drop_entries(side)
        for i in range(side.leg.fills):
            side.fills[i].exit = 0.0
        side.leg.closes = 0
        side.leg.has_stop = 0
    book.state.orders_changed = 1


def drop_entries(side):
    """Take all resting entries of a side away."""
    for i in range(side.orders.shape[1]):
        side.orders[0, i] = 0.0
    entries_changed(side)
