"""Matching one bar in a sweep: the phases of `Book`, and the liquidation, in the order of `HedgeBroker`.

The rules are those of `gridv4_bt.engine.matching` and `liquidation`; here is only who calls them when. A bar that
reaches no order does not come here, so these functions are called and not copied into the kernel.
"""

from gridv4_bt.core.risk import safe_interval
from gridv4_bt.engine.labels import GRID, LIQUIDATION, STOP2
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
from gridv4_bt.engine.position import unrealized_pnl
from gridv4_bt.optimise.kernel.fills import (
    cancel_orders,
    close_fill,
    entries_changed,
    index_of,
    note_first_exit,
    open_fill,
)


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
            down, up = range_of(wallet, brackets, long.leg, short.leg)
        fill_entries(p, wallet, bar, down, up, long)
        fill_entries(p, wallet, bar, down, up, short)
    safe = is_safe(wallet, bar, brackets, long.leg, short.leg)
    stopped = 0
    if bar.traded:
        down, up = 0.0, INFINITY
        if not safe:
            down, up = range_of(wallet, brackets, long.leg, short.leg)
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


def fills(p, is_buy, price, low, high):
    """Return whether a bar fills a limit order."""
    if p.through:
        return trades_through(is_buy, price, low, high)
    return touches(is_buy, price, low, high)


def note_prices(wallet, long, short):
    """Note the prices at which a limit order can fill."""
    note_first_exit(long)
    note_first_exit(short)
    wallet.buy_below = max(long.leg.first_entry, short.leg.first_exit)
    wallet.sell_above = min(short.leg.first_entry, long.leg.first_exit)
    wallet.market_orders = long.leg.closes + short.leg.closes
    wallet.orders_changed = 0


# --- liquidation ----------------------------------------------------------------------------------


def is_safe(wallet, bar, brackets, long, short):
    """Return whether the wallet stays above the maintenance margin through the bar."""
    if not long.fills and not short.fills:
        return True
    rate = brackets[len(brackets) - 1].rate
    reserve = reserve_at_worst(bar.mark_low, bar.mark_high, rate, long.qty, long.cost, short.qty, short.cost)
    if wallet.wallet + reserve > 0.0:
        return True
    worst = min(excess(brackets, long, short, bar.mark_low), excess(brackets, long, short, bar.mark_high))
    return wallet.wallet + worst > 0.0


def is_safe_at_open(wallet, bar, brackets, long, short):
    """Return whether the wallet is above the maintenance margin when the bar opens."""
    opened = price_at_open(bar.open, bar.mark_low, bar.mark_high) if bar.traded else bar.close
    return wallet.wallet + excess(brackets, long, short, opened) > 0.0


def excess(brackets, long, short, price):
    """Return unrealised PnL minus maintenance margin at a price."""
    return excess_at(price, long.qty, long.cost, short.qty, short.cost, brackets)


def range_of(wallet, brackets, long, short):
    """Return the prices (down, up) at which the account is liquidated; 0 and infinity for none."""
    return safe_interval(wallet.wallet, long.qty, average(long), short.qty, average(short), brackets)


def average(leg):
    """Return the average entry of a leg, 0 when nothing is held."""
    return leg.cost / leg.qty if leg.fills else 0.0


def liquidate(p, wallet, bar, brackets, long, short, news):
    """Close everything, cancel all orders and count the liquidation (see `gridv4_bt.engine.liquidation.liquidate`)."""
    low, high = bar.mark_low, bar.mark_high
    falls = excess(brackets, long.leg, short.leg, low) <= excess(brackets, long.leg, short.leg, high)
    down, up = range_of(wallet, brackets, long.leg, short.leg)
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


def unrealized(leg, price):
    """Return the unrealised PnL of a leg."""
    return unrealized_pnl(leg.sign, leg.qty, leg.cost, price)
