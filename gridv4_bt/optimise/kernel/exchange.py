"""The simulated exchange of a sweep: `HedgeBroker` for one symbol, on the records of `state`."""

from gridv4_bt.engine.matching import stop_hit
from gridv4_bt.engine.position import settle_fills
from gridv4_bt.optimise.kernel.matching import fills, is_safe, match, note_prices, unrealized


def next_bar(p, wallet, memory, bar, rate, brackets, long, short, news):
    """Settle the funding due at the bar's open, match the bar if it reaches anything, and value the account."""
    if rate == rate:  # not NaN: a settlement is due
        settle_funding(wallet, bar, rate, long)
        settle_funding(wallet, bar, rate, short)
        memory.funding_rate = rate
        memory.settlements += 1
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
    """Return whether the bar reaches no order of ours, or nothing was traded in it."""
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
    """Return whether the bar reaches a stop and an exit of a leg."""
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
