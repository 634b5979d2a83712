"""The eleven steps of `GridStrategyV4.next` on the records of `sweep_state`, one function a step.

The rules are those of `gridv4_bt.core`, `gridv4_bt.engine.guards`, `pruning`, `exits` and `ladder`, the very functions
that the strategy calls; here is only their order.
"""

from gridv4_bt.core.grid import grid_spacing
from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.core.regime import ADX_FLOOR, next_state, normalized_slope, veto
from gridv4_bt.core.risk import portfolio_var
from gridv4_bt.engine.exits import exits_stay, shared_slack, wanted_exit
from gridv4_bt.engine.guards import (
    COOLDOWN_FACTOR,
    beyond_stop1,
    cools_down,
    entry_blocks,
    must_delever,
    must_halt,
    stays_halted,
    stop1_qty,
    stop2_price,
    trailed,
)
from gridv4_bt.engine.ladder import PLACED, plan_ladder
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.engine.position import net_pnl, realized_pnl, worst_fill
from gridv4_bt.engine.pruning import (
    FUNDING_SHARE,
    MAX_AGE_MS,
    deviates,
    gap_price,
    offset_index,
    prune_reason,
    underwater_price,
)
from gridv4_bt.engine.sweep_exchange import (
    cancel_entries,
    close_at_market,
    liquidation_range,
    maintenance,
    note_first_exit,
    rest_entries,
    take_totals,
    unrealized,
)
from gridv4_bt.engine.sweep_state import (
    DELEVER,
    GMM_REGIME,
    GRID,
    KAMA_REGIME,
    MARGIN_CALL,
    NO_REGIME,
    OFFSET,
    PRUNED,
    STOP1,
    STOP2,
)

DAY_MS = 86_400_000
NEVER = 2**62


# --- before the steps -------------------------------------------------------------------------------


def read_bar(p, wallet, now, bar, sigma, before, long, short, news, kelly, returns, by_label):
    """Take the closed bar's values and the trades that closed in it."""
    wallet.bar += 1
    now.time, now.close, now.atr, now.z, now.sigma = bar.time, bar.close, bar.atr, bar.z, sigma
    now.equity = wallet.value
    now.kama, now.regime = before.kama, wallet.ruling
    day = bar.time // DAY_MS
    if day != wallet.day:
        wallet.day = day
        wallet.realized_today = 0.0
    for i in range(wallet.news):
        learn(p, wallet, news[i], long, short, kelly, returns, by_label)
    if long.leg.changed:
        refresh(p, wallet, long)
    if short.leg.changed:
        refresh(p, wallet, short)


def learn(p, wallet, trade, long, short, kelly, returns, by_label):
    """Take in a closed trade."""
    net = net_pnl(trade.gross, trade.fees, trade.funding)
    wallet.realized_today += net
    row = trade.regime + 2
    remember(kelly[row], returns[row], net / (trade.entry * trade.qty))
    if trade.side > 0:
        learn_side(p, wallet, trade, net, long)
    else:
        learn_side(p, wallet, trade, net, short)
    wallet.closed += 1
    by_label[trade.label].trades += 1
    by_label[trade.label].net += net
    if net > 0.0:
        wallet.wins += 1
        wallet.profit += net
    else:
        wallet.loss += net


def learn_side(p, wallet, trade, net, side):
    """Close the level of a fill that was cut at a loss, and count a stop of stage 2."""
    leg = side.leg
    if trade.label != GRID and net < 0.0:
        if leg.cooling == len(side.cooling):
            wallet.overflow = 1
            return
        side.cooling[leg.cooling].price = trade.entry
        side.cooling[leg.cooling].until = wallet.bar + p.reopen_bars
        leg.cooling += 1
        leg.look_again = 0
    if trade.label == STOP2 and leg.stop_rests:
        leg.stop_rests = 0
        count_stop(wallet)


def remember(known, returns, value):
    """Append a trade's return to those of its regime and forget the one that no window reaches any more."""
    if known.returns == len(returns):
        for i in range(len(returns) - 1):
            returns[i] = returns[i + 1]
        known.returns -= 1
    returns[known.returns] = value
    known.returns += 1
    known.known = 0


def count_stop(wallet):
    """Count a stop and note its bar; the rule of the cooldown asks for the last but two."""
    wallet.stops += 1
    wallet.stop_3, wallet.stop_2, wallet.stop_1 = wallet.stop_2, wallet.stop_1, wallet.bar


def refresh(p, wallet, side):
    """Notice fills and closings since the last bar."""
    leg = side.leg
    leg.changed = leg.look_again = 0
    leg.exit_slack = -1.0
    wallet.range_stale = 1
    leg.gap_trigger = leg.under_water = -leg.sign * INFINITY
    for i in range(leg.fills):
        fill = side.fills[i]
        gap = gap_price(leg.sign, fill.price, fill.spacing_pct)
        water = underwater_price(leg.sign, fill.price, fill.spacing_pct, p.offset_spacings)
        if leg.sign > 0:
            leg.gap_trigger, leg.under_water = max(leg.gap_trigger, gap), max(leg.under_water, water)
        else:
            leg.gap_trigger, leg.under_water = min(leg.gap_trigger, gap), min(leg.under_water, water)


# --- 1 to 7: regime and guards ----------------------------------------------------------------------


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
            leg.sign, now.close, now.time, deviated,
            fill.price, fill.qty, fill.time, fill.spacing_pct, fill.funding,
        )  # fmt: skip
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


# --- 8 and 9: the ladder ----------------------------------------------------------------------------


def generate_grid(p, rules, wallet, now, long, short, kelly, returns, tally, found, trace):
    """8. Centre the ladder by the inventory, size its levels and plan the entries of the sides that may add."""
    long_block, short_block = entry_blocks(wallet.halted != 0, now.var_limited != 0, now.regime)
    block(wallet, long, long_block)
    block(wallet, short, short_block)
    row = now.regime + 2
    now.kelly = kelly_now(p, kelly[row], returns[row])
    cools = cools_down(wallet.stops, wallet.stop_3, wallet.bar)
    now.notional = now.equity * p.order_pct * now.kelly * (COOLDOWN_FACTOR if cools else 1.0)
    wallet.entries_change = plan_ladder(
        long_block, short_block, wallet.anchor, now.spacing_pct, now.close, now.sigma, now.equity,
        long.leg.qty, short.leg.qty, now.notional, wallet.funding_rate,
        p.levels, p.max_inventory, p.gamma, p.kappa, p.horizon,
        rules.tick, rules.step, rules.min_qty, rules.min_notional, p.keep_price, p.keep_qty,
        long.taken, long.leg.taken_fills, long.leg.taken, long.orders,
        short.taken, short.leg.taken_fills, short.leg.taken, short.orders,
        tally, found, trace,
    )  # fmt: skip
    if wallet.entries_change & 1:
        take_totals(long)
    if wallet.entries_change & 2:
        take_totals(short)
    now.q, now.shift = found[0, 0], found[0, 1]
    now.centre = wallet.anchor + now.shift


def block(wallet, side, reason):
    """Cancel the entries of a side that may not add any more, and look around where fills or cooling have changed."""
    leg = side.leg
    if leg.blocked != reason:
        leg.blocked = reason
        if reason != PLACED:
            cancel_entries(wallet, side)
    if wallet.bar >= leg.look_again:
        look_around(wallet, side)


def look_around(wallet, side):
    """Take in a side's fills and the prices that are still cooling, and forget the others."""
    leg, kept = side.leg, 0
    for i in range(leg.fills):
        side.taken[i] = side.fills[i].price
    leg.look_again = NEVER
    for i in range(leg.cooling):
        level = side.cooling[i]
        if level.until > wallet.bar:
            side.cooling[kept] = level
            side.taken[leg.fills + kept] = level.price
            leg.look_again = min(leg.look_again, level.until)
            kept += 1
    leg.cooling = kept
    leg.taken_fills, leg.taken = leg.fills, leg.fills + kept


def kelly_now(p, known, returns):
    """Return the multiplier of a regime, computed anew after each of its trades."""
    if not known.known:
        known.known = 1
        known.multiplier = kelly_multiplier(
            returns[: known.returns],
            window=p.kelly_window, min_trades=p.kelly_min_trades, floor=p.kelly_floor, cap=p.kelly_cap,
        )  # fmt: skip
    return known.multiplier


def match_orders(p, rules, wallet, now, long, short, tally):
    """9. Hand the wanted orders to the exchange, which changes only what differs."""
    wallet.regime = now.regime
    if wallet.entries_change:
        rest_entries(p, rules, wallet, now.close, long, short, tally)
    if long.leg.fills:
        rest_exits(p, rules, wallet, now, long, min(now.shift, 0.0))
    if short.leg.fills:
        rest_exits(p, rules, wallet, now, short, max(now.shift, 0.0))


def rest_exits(p, rules, wallet, now, side, shift):
    """Let every fill have its exit; one within the tolerance stays."""
    leg = side.leg
    if leg.exit_count == leg.fills and exits_stay(
        leg.sign, shift, leg.exit_shift, leg.exit_slack, leg.exit_guard, now.close
    ):
        return
    slack = INFINITY
    for i in range(leg.fills):
        fill = side.fills[i]
        fill.exit, room = wanted_exit(
            leg.sign, fill.price, fill.spacing_pct, shift, p.maker_fee, now.close, rules.tick, p.keep_price, fill.exit
        )
        slack = min(slack, room)
    note_first_exit(side)
    leg.exit_shift, leg.exit_slack, leg.exit_guard = shift, shared_slack(slack, rules.tick), leg.first_exit
    wallet.orders_changed = 1


# --- 11 ---------------------------------------------------------------------------------------------


def log_equity(wallet, now, long, short, row):
    """11. One row with all a person needs to see why; see `LOG_COLUMNS`. An empty row is not asked for."""
    ratio = now.maintenance / now.equity if now.equity > 0.0 else INFINITY
    wallet.max_margin_ratio = max(wallet.max_margin_ratio, ratio)
    if long.leg.fills or short.leg.fills:
        wallet.bars_in_market += 1
    wallet.peak = max(wallet.peak, now.equity)
    if now.equity < wallet.peak:
        wallet.drawdown = max(wallet.drawdown, 1.0 - now.equity / wallet.peak)
    if not len(row):
        return
    row[0], row[1], row[2], row[3] = now.time, now.equity, wallet.wallet, now.equity - wallet.wallet
    row[4], row[5], row[6], row[7] = long.leg.qty, short.leg.qty, now.regime, wallet.halted
    row[8], row[9], row[10], row[11], row[12] = now.z, now.sigma, now.q, wallet.anchor, now.centre
    row[13], row[14], row[15] = now.var, ratio, resting_orders(long) + resting_orders(short)
    row[16], row[17] = now.liquidation_down, now.liquidation_up
    row[18], row[19], row[20] = now.spacing_pct, now.kelly, now.notional


def resting_orders(side):
    """Return how many orders stand for a side."""
    note_first_exit(side)
    return side.leg.entry_count + side.leg.exit_count + side.leg.has_stop


# --- after the steps --------------------------------------------------------------------------------


def note_regime(p, wallet, inputs, i):
    """Note the regime of the bar that is over, for step 1 of the next one."""
    if p.source == KAMA_REGIME:
        bar = inputs.bars[i]
        slope = normalized_slope(bar.kama, inputs.bars[i - 1].kama, bar.atr) if i > 0 else bar.kama
        wallet.state = next_state(wallet.state, slope, p.breakout_slope, p.trend_slope, p.hysteresis)
        wallet.ruling = veto(wallet.state, bar.adx, ADX_FLOOR)
    elif p.source == GMM_REGIME:
        wallet.ruling = inputs.regimes[i]


def keep_trades(wallet, news, trades):
    """Copy the trades closed in the bar, as far as there is room, and make way for the next bar's."""
    before = wallet.closed - wallet.news
    for i in range(wallet.news):
        if before + i < len(trades):
            trades[before + i] = news[i]
    wallet.news = 0
