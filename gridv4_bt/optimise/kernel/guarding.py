"""Steps 1 to 7 of `GridStrategyV4.next` on the records of a sweep, one function a step.

The rules are those of `gridv4_bt.engine.guards` and `pruning`, which the strategy calls as well; here is their order.
"""

from gridv4_bt.core.grid import grid_spacing
from gridv4_bt.core.risk import portfolio_var
from gridv4_bt.engine.guards import beyond_stop1, must_delever, must_halt, stays_halted, stop1_qty, stop2_price, trailed
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.engine.position import realized_pnl, worst_fill
from gridv4_bt.engine.pruning import FUNDING_SHARE, MAX_AGE_MS, deviates, offset_index, prune_reason
from gridv4_bt.optimise.kernel.exchange import maintenance
from gridv4_bt.optimise.kernel.fills import cancel_entries, close_at_market
from gridv4_bt.optimise.kernel.matching import liquidation_range, unrealized
from gridv4_bt.optimise.kernel.reading import count_stop
from gridv4_bt.optimise.kernel.state import DELEVER, MARGIN_CALL, NO_REGIME, OFFSET, PRUNED, STOP1, STOP2


def update_regime(p, now):
    """1. The regime of the bar before decides who may add now."""
    if p.source == NO_REGIME:
        now.regime = 0


def check_circuit_breaker(wallet, now, long, short):
    """2. Halt on a crash by z-score; exits and stops stay."""
    if wallet.halted:
        if not stays_halted(now.z):
            wallet.halted = 0
            wallet.anchored = 0
    elif must_halt(now.z):
        wallet.halted = 1
        wallet.halts += 1
        cancel_entries(wallet, long)
        cancel_entries(wallet, short)


def check_stop_loss(p, rules, wallet, now, side):
    """3. Half of a leg on a close beyond stage 1, all of it at the resting stop of stage 2."""
    leg = side.leg
    if leg.fills == 0:
        leg.stage1_done = 0
        return
    average = leg.cost / leg.qty
    if not beyond_stop1(leg.sign, average, now.close, now.atr, p.stop1_atr):
        leg.stage1_done = 0
    elif not leg.stage1_done:
        leg.stage1_done = 1
        count_stop(wallet)
        for i in range(leg.fills):
            close_at_market(wallet, side, i, stop1_qty(side.fills[i].qty, rules.step), STOP1)
    # Without any range a stop at the average would fire on the spot; the one before stays.
    if now.atr > 0.0:
        rest_stop(wallet, now, side, stop2_price(leg.sign, average, now.atr, p.stop2_atr, rules.tick))


def rest_stop(wallet, now, side, price):
    """Let a stop stand; where the market is through it already, close at once."""
    leg = side.leg
    leg.stop_rests = 1
    if leg.sign * (now.close - price) > 0.0:
        leg.has_stop, leg.stop = 1, price
        return
    leg.has_stop = 0
    for i in range(leg.fills):
        close_at_market(wallet, side, i, side.fills[i].qty, STOP2)


def check_liquidation(p, wallet, now, brackets, long, short):
    """4. Margin call: close the worst fills before the exchange does."""
    now.maintenance = 0.0
    now.liquidation_down = now.liquidation_up = INFINITY
    if not long.leg.fills and not short.leg.fills:
        return
    now.maintenance = maintenance(brackets, now.close, long.leg, short.leg)
    if wallet.range_stale or wallet.wallet != wallet.range_wallet:
        wallet.range_stale, wallet.range_wallet = 0, wallet.wallet
        wallet.range_down, wallet.range_up = liquidation_range(wallet, brackets, long.leg, short.leg)
    if wallet.range_down > 0.0:
        now.liquidation_down = 1.0 - wallet.range_down / now.close
    now.liquidation_up = wallet.range_up / now.close - 1.0
    distance = min(now.liquidation_down, now.liquidation_up)
    wallet.min_distance = min(wallet.min_distance, distance)
    if distance < p.liquidation_warning:
        wallet.liquidation_near += 1
    if now.maintenance <= p.margin_call * now.equity:
        return
    wallet.margin_calls += 1
    deleverage(wallet, now, now.maintenance - p.margin_target * max(now.equity, 0.0), long, short)


def deleverage(wallet, now, excess, long, short):
    """Close the worst fills, LONG before SHORT where they are equal, until they bind `excess` less."""
    rate = now.maintenance / ((long.leg.qty + short.leg.qty) * now.close)
    last_pnl, last_place = -INFINITY, -1
    while excess > 0.0:
        # Of those not taken yet the least by (pnl, place): what a stable sort gives next.
        pnl, place = INFINITY, -1
        for i in range(long.leg.fills + short.leg.fills):
            if i < long.leg.fills:
                value = fill_pnl(long, i, now.close)
            else:
                value = fill_pnl(short, i - long.leg.fills, now.close)
            if (value > last_pnl or (value == last_pnl and i > last_place)) and value < pnl:
                pnl, place = value, i
        if place < 0:
            return
        side = long if place < long.leg.fills else short
        index = place if place < long.leg.fills else place - long.leg.fills
        close_at_market(wallet, side, index, side.fills[index].qty, MARGIN_CALL)
        excess -= rate * side.fills[index].qty * now.close
        last_pnl, last_place = pnl, place


def fill_pnl(side, index, close):
    """Return the unrealised PnL of one fill."""
    fill = side.fills[index]
    return realized_pnl(side.leg.sign, fill.qty, fill.price, close)


def prune(p, wallet, now, long, short):
    """5. Cut single fills by the five methods, then the worst fill near the VaR limit."""
    if not long.leg.fills and not short.leg.fills:
        return
    prune_side(wallet, now, long)
    prune_side(wallet, now, short)
    if wallet.realized_today > 0.0:
        offset_worst(p, wallet, now, long, short)
    if must_delever(unrealized(long.leg, now.close) + unrealized(short.leg, now.close), now.equity, p.var_pct):
        is_long, index = worst_of(now, long, short)
        side = long if is_long else short
        close_at_market(wallet, side, index, side.fills[index].qty, DELEVER)


def prune_side(wallet, now, side):
    """Cut the fills of a side for which any of the methods 1 to 4 triggers."""
    leg = side.leg
    if not leg.fills:
        return
    deviated = deviates(leg.sign, now.close, now.kama, now.atr)
    if not deviated and not may_prune(wallet, now, side):
        return
    for i in range(leg.fills):
        fill = side.fills[i]
        reason = prune_reason(
            leg.sign, now.close, now.time, deviated, fill.price, fill.qty, fill.time, fill.spacing_pct, fill.funding
        )
        if reason:
            close_at_market(wallet, side, i, fill.qty, PRUNED[reason])


def may_prune(wallet, now, side):
    """Tell whether age, gap or funding may cut any fill; never False when one does."""
    leg = side.leg
    if side.fills[0].time < now.time - MAX_AGE_MS or leg.sign * (now.close - leg.gap_trigger) < 0.0:
        return True
    # What a fill has paid changes with a settlement only.
    if wallet.settlements == leg.settlements_seen:
        return False
    leg.settlements_seen = wallet.settlements
    for i in range(leg.fills):
        fill = side.fills[i]
        if fill.funding > FUNDING_SHARE * fill.spacing_pct * fill.price * fill.qty:
            return True
    return False


def offset_worst(p, wallet, now, long, short):
    """Let today's profit pay for the worst fill under water."""
    if not (is_under_water(long.leg, now.close) or is_under_water(short.leg, now.close)):
        return
    is_long, _ = worst_of(now, long, short)
    side = long if is_long else short
    fills = side.fills
    index = offset_index(
        side.leg.sign, now.close, wallet.realized_today, p.offset_spacings, p.taker_fee,
        fills.price, fills.qty, fills.spacing_pct, fills.funding, fills.fee, side.leg.fills,
    )  # fmt: skip
    if index >= 0:
        close_at_market(wallet, side, index, fills[index].qty, OFFSET)


def is_under_water(leg, close):
    """Tell whether any fill is far enough under water to be offset."""
    return leg.fills > 0 and leg.sign * (close - leg.under_water) <= 0.0


def worst_of(now, long, short):
    """Return the fill that loses most money: whether it is one of LONG, and its index."""
    if not short.leg.fills:
        return True, worst_fill(1, now.close, long.fills.price, long.fills.qty, long.leg.fills)
    worst_short = worst_fill(-1, now.close, short.fills.price, short.fills.qty, short.leg.fills)
    if long.leg.fills:
        worst_long = worst_fill(1, now.close, long.fills.price, long.fills.qty, long.leg.fills)
        if fill_pnl(long, worst_long, now.close) <= fill_pnl(short, worst_short, now.close):
            return True, worst_long
    return False, worst_short


def trail_anchor(p, wallet, now):
    """6. Follow an uptrend that left the ladder; start anew where the ladder was left otherwise."""
    now.spacing_pct = grid_spacing(now.atr, now.close, p.k, p.floor_pct) / now.close
    if not wallet.anchored:
        wallet.anchored, wallet.anchor = 1, now.close
    wallet.anchor = trailed(wallet.anchor, now.close, now.spacing_pct, p.levels, now.regime)


def check_var(p, now, long, short):
    """7. No new entries while a day's value at risk exceeds its limit."""
    net = long.leg.qty - short.leg.qty
    now.var = portfolio_var(net * now.close, now.sigma) if net != 0.0 else 0.0
    now.var_limited = now.var > p.var_pct * now.equity
