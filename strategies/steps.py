"""What the eleven steps do: Backtrader, live and the compiled sweep run this one text.

It works on the records of `gridv4_bt.engine.state`: on plain objects in a backtest and live, on numpy records where a
sweep compiles it. What it orders goes through `strategies.orders`, whose functions a sweep replaces by its own.
"""

from collections.abc import MutableSequence, Sequence

from gridv4_bt.config import GridConfig
from gridv4_bt.core.grid import grid_spacing
from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.core.risk import Bracket, portfolio_var
from gridv4_bt.core.time import DAY_MS
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
from gridv4_bt.engine.labels import DELEVER, GRID, MARGIN_CALL, OFFSET, PRUNED, STOP1, STOP2
from gridv4_bt.engine.ladder import PLACED
from gridv4_bt.engine.leg import unrealized
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.position import realized_pnl, worst_fill
from gridv4_bt.engine.pruning import deviates, gap_price, may_prune, offset_index, prune_reason, underwater_price
from gridv4_bt.engine.state import INFINITY, NO_REGIME, NO_STOP, Kelly, LegState, Memory, Now
from strategies.ladder_plan import LadderPlan
from strategies.orders import (
    SymbolOrders,
    cancel_entries,
    close_at_market,
    confirm_regime,
    count_exits,
    liquidation_range,
    load_exits,
    maintenance,
    make_room,
    place_exits,
    plan_entries,
    rest_entries,
    set_stop,
)
from strategies.side import Side

NEVER = 2**62

# --- before the steps -------------------------------------------------------------------------------


def begin_bar(memory: Memory, now: Now) -> None:
    """Count the bar, and begin the day's profit anew on a new UTC day."""
    memory.bar += 1
    day = now.time // DAY_MS
    if day != memory.day:
        memory.day = day
        memory.realized_today = 0.0


def learn(
    p: GridConfig,
    memory: Memory,
    side: Side,
    label: int,
    entry: float,
    net: float,
    bullet_qty: float,
    bullet_net: float,
    kelly: Kelly,
    returns: MutableSequence[float],
) -> bool:
    """Take in a closing: the day's profit, Kelly's return, the level that cools, the stop that is over.

    Parameters
    ----------
    label : the closing's place in `LABELS`.
    net : after fees and funding, quote.
    bullet_qty, bullet_net : of all parts of the fill if this is its last one, base units and quote, else 0: Kelly
        counts a fill closed in parts once.
    kelly, returns : of the regime in which it was opened.

    Returns False if there is no room to remember the level (in a sweep).
    """
    memory.realized_today += net
    if bullet_qty > 0.0:
        remember(kelly, returns, bullet_net / (entry * bullet_qty))
    leg = side.leg
    if label != GRID and net < 0.0:
        if not make_room(side):
            return False
        side.cooling.price[leg.cooling] = entry
        side.cooling.until[leg.cooling] = memory.bar + p.reopen_bars
        leg.cooling += 1
        leg.look_again = 0
    if label == STOP2 and leg.stop_rests:
        leg.stop_rests = 0
        count_stop(memory)
    return True


def remember(kelly: Kelly, returns: MutableSequence[float], value: float) -> None:
    """Append a trade's return to those of its regime and forget the one that no window reaches any more."""
    if kelly.returns == len(returns):
        for i in range(len(returns) - 1):
            returns[i] = returns[i + 1]
        kelly.returns -= 1
    returns[kelly.returns] = value
    kelly.returns += 1
    kelly.known = 0


def count_stop(memory: Memory) -> None:
    """Count a stop and note its bar; the rule of the cooldown asks for the last but two."""
    memory.stops += 1
    memory.stop_3, memory.stop_2, memory.stop_1 = memory.stop_2, memory.stop_1, memory.bar


def refresh(p: GridConfig, side: Side) -> None:
    """Notice fills and closings since the last bar."""
    leg, fills = side.leg, side.fills
    leg.changed = leg.look_again = 0
    leg.exit_slack = -1.0
    if leg.fills == 0:
        leg.stage1_done = 0
    leg.gap_trigger = leg.under_water = -leg.sign * INFINITY
    for i in range(leg.fills):
        gap = gap_price(leg.sign, fills.price[i], fills.spacing_pct[i])
        water = underwater_price(leg.sign, fills.price[i], fills.spacing_pct[i], p.offset_spacings)
        if leg.sign > 0:
            leg.gap_trigger, leg.under_water = max(leg.gap_trigger, gap), max(leg.under_water, water)
        else:
            leg.gap_trigger, leg.under_water = min(leg.gap_trigger, gap), min(leg.under_water, water)


# --- the steps --------------------------------------------------------------------------------------


def update_regime(memory: Memory, now: Now) -> None:
    """1. The regime of the bar before decides who may add now."""
    if memory.source == NO_REGIME:
        now.regime = 0


def check_circuit_breaker(memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """2. Halt on a crash by z-score; exits and stops stay."""
    if memory.halted:
        if not stays_halted(now.z):
            memory.halted = 0
            memory.anchored = 0
    elif must_halt(now.z):
        memory.halted = 1
        memory.halts += 1
        cancel_entries(book, long)
        cancel_entries(book, short)


def check_stop_loss(
    p: GridConfig, rules: Market, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side
) -> None:
    """3. Half of a leg on a close beyond stage 1, all of it at the resting stop of stage 2."""
    if long.leg.fills:
        stop_leg(p, rules, memory, now, book, long)
    if short.leg.fills:
        stop_leg(p, rules, memory, now, book, short)


def stop_leg(p: GridConfig, rules: Market, memory: Memory, now: Now, book: SymbolOrders, side: Side) -> None:
    """Close a share of a leg beyond stage 1, once until the price has come back, and move the stop of stage 2."""
    leg = side.leg
    average = leg.cost / leg.qty
    if not beyond_stop1(leg.sign, average, now.close, now.atr, p.stop1_atr):
        leg.stage1_done = 0
    elif not leg.stage1_done:
        leg.stage1_done = 1
        count_stop(memory)
        for i in range(leg.fills):
            close_at_market(book, side, i, stop1_qty(side.fills.qty[i], rules.step), STOP1)
    # Without any range a stop at the average would fire on the spot; the one before stays.
    if now.atr > 0.0:
        rest_stop(now, book, side, stop2_price(leg.sign, average, now.atr, p.stop2_atr, rules.tick))


def rest_stop(now: Now, book: SymbolOrders, side: Side, price: float) -> None:
    """Place the stop of a leg; where the market is through it already, an exchange would refuse it: close at once."""
    leg = side.leg
    leg.stop_rests = 1
    if leg.sign * (now.close - price) > 0.0:
        set_stop(book, side, price)
        return
    set_stop(book, side, NO_STOP)
    for i in range(leg.fills):
        close_at_market(book, side, i, side.fills.qty[i], STOP2)


def check_liquidation(
    p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, brackets: Sequence[Bracket], long: Side, short: Side
) -> None:
    """4. Margin call: close the worst fills before the exchange does."""
    now.maintenance = 0.0
    now.liquidation_down = now.liquidation_up = INFINITY
    flat = long.leg.fills == 0 and short.leg.fills == 0
    if flat and memory.alone:
        return
    now.maintenance = maintenance(book, brackets, now.close, long, short)
    if flat:
        return  # other symbols of the wallet bind margin, but there is nothing to close here
    down, up = liquidation_range(book, brackets, long, short)
    if down > 0.0:
        now.liquidation_down = 1.0 - down / now.close
    now.liquidation_up = up / now.close - 1.0
    distance = min(now.liquidation_down, now.liquidation_up)
    memory.min_distance = min(memory.min_distance, distance)
    if distance < p.liquidation_warning:
        memory.liquidation_near += 1
    if now.maintenance <= p.margin_call * now.equity:
        return
    memory.margin_calls += 1
    deleverage(now, book, now.maintenance - p.margin_target * max(now.equity, 0.0), long, short)


def deleverage(now: Now, book: SymbolOrders, excess: float, long: Side, short: Side) -> None:
    """Close the worst fills, LONG before SHORT where they are equal, until they bind `excess` less.

    Each close frees the maintenance margin of its notional at the mean rate of both legs.
    """
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
        close_at_market(book, side, index, side.fills.qty[index], MARGIN_CALL)
        excess -= rate * side.fills.qty[index] * now.close
        last_pnl, last_place = pnl, place


def prune(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """5. Cut single fills by the five methods, then the worst fill near the VaR limit."""
    if long.leg.fills == 0 and short.leg.fills == 0:
        return
    prune_side(memory, now, book, long)
    prune_side(memory, now, book, short)
    if memory.realized_today > 0.0:
        offset_worst(p, memory, now, book, long, short)
    if must_delever(unrealized(long.leg, now.close) + unrealized(short.leg, now.close), now.equity, p.var_pct):
        is_long, index = worst_of(now, long, short)
        side = long if is_long else short
        close_at_market(book, side, index, side.fills.qty[index], DELEVER)


def prune_side(memory: Memory, now: Now, book: SymbolOrders, side: Side) -> None:
    """Cut the fills of a side for which any of the methods 1 to 4 triggers."""
    leg, fills = side.leg, side.fills
    if leg.fills == 0:
        return
    deviated = deviates(leg.sign, now.close, now.kama, now.atr)
    if not deviated and not may_prune(memory, now, leg, fills):
        return
    for i in range(leg.fills):
        reason = prune_reason(
            leg.sign, now.close, now.time, deviated,
            fills.price[i], fills.qty[i], fills.time[i], fills.spacing_pct[i], fills.funding[i],
        )  # fmt: skip
        if reason:
            close_at_market(book, side, i, fills.qty[i], PRUNED[reason])


def offset_worst(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """Close the worst fill under water if today's profit pays for it."""
    if not (is_under_water(long.leg, now.close) or is_under_water(short.leg, now.close)):
        return
    is_long, _ = worst_of(now, long, short)
    side = long if is_long else short
    fills = side.fills
    index = offset_index(
        side.leg.sign, now.close, memory.realized_today, p.offset_spacings, p.taker_fee,
        fills.price, fills.qty, fills.spacing_pct, fills.funding, fills.fee, side.leg.fills,
    )  # fmt: skip
    if index >= 0:
        close_at_market(book, side, index, fills.qty[index], OFFSET)


def trail_anchor(p: GridConfig, memory: Memory, now: Now) -> None:
    """6. Follow an uptrend that left the ladder; start anew where the ladder was left otherwise."""
    now.spacing_pct = grid_spacing(now.atr, now.close, p.k, p.floor_pct) / now.close
    if not memory.anchored:
        memory.anchored, memory.anchor = 1, now.close
    memory.anchor = trailed(memory.anchor, now.close, now.spacing_pct, p.levels, now.regime)


def check_var(p: GridConfig, now: Now, long: Side, short: Side) -> None:
    """7. No new entries while a day's value at risk exceeds its limit."""
    net = long.leg.qty - short.leg.qty
    now.var = portfolio_var(net * now.close, now.sigma) if net != 0.0 else 0.0
    now.var_limited = now.var > p.var_pct * now.equity


def generate_grid(
    p: GridConfig,
    rules: Market,
    memory: Memory,
    now: Now,
    book: SymbolOrders,
    long: Side,
    short: Side,
    kelly: Sequence[Kelly],
    returns: Sequence[MutableSequence[float]],
    plan: LadderPlan,
) -> None:
    """8. Centre the ladder by the inventory, size its levels and plan the entries of the sides that may add.

    Parameters
    ----------
    kelly, returns : by regime code + 2.
    plan : what `plan_entries` keeps.
    """
    long_block, short_block = entry_blocks(memory.halted != 0, now.var_limited != 0, now.regime)
    if long.leg.blocked != long_block:
        block(book, long, long_block)
    if short.leg.blocked != short_block:
        block(book, short, short_block)
    if memory.bar >= long.leg.look_again:
        look_around(memory, long)
    if memory.bar >= short.leg.look_again:
        look_around(memory, short)
    row = now.regime + 2
    if not kelly[row].known:
        find_kelly(p, kelly[row], returns[row])
    now.kelly = kelly[row].multiplier
    cools = cools_down(memory.stops, memory.stop_3, memory.bar)
    now.notional = now.equity * p.order_pct * now.kelly * (COOLDOWN_FACTOR if cools else 1.0)
    memory.entries_change = plan_entries(p, rules, memory, now, long, short, plan)
    now.centre = memory.anchor + now.shift


def block(book: SymbolOrders, side: Side, reason: int) -> None:
    """Note why a side may not add any more, and cancel its entries; or that it may again."""
    side.leg.blocked = reason
    if reason != PLACED:
        cancel_entries(book, side)


def look_around(memory: Memory, side: Side) -> None:
    """Take in a side's fills and the prices that are still cooling, and forget the others."""
    leg, cooling, kept = side.leg, side.cooling, 0
    for i in range(leg.fills):
        side.taken[i] = side.fills.price[i]
    leg.look_again = NEVER
    for i in range(leg.cooling):
        if cooling.until[i] > memory.bar:
            cooling.price[kept], cooling.until[kept] = cooling.price[i], cooling.until[i]
            side.taken[leg.fills + kept] = cooling.price[i]
            leg.look_again = min(leg.look_again, cooling.until[i])
            kept += 1
    leg.cooling = kept
    leg.taken_fills, leg.taken = leg.fills, leg.fills + kept


def find_kelly(p: GridConfig, kelly: Kelly, returns: Sequence[float]) -> None:
    """Compute the multiplier of a regime anew, after one of its trades."""
    kelly.known = 1
    kelly.multiplier = kelly_multiplier(
        returns[: kelly.returns],
        window=p.kelly_window,
        min_trades=p.kelly_min_trades,
        floor=p.kelly_floor,
        cap=p.kelly_cap,
    )


def match_orders(
    p: GridConfig,
    rules: Market,
    memory: Memory,
    now: Now,
    book: SymbolOrders,
    long: Side,
    short: Side,
    plan: LadderPlan,
) -> None:
    """9. Hand the wanted orders to the exchange, which changes only what differs."""
    confirm_regime(book, now.regime)
    if memory.entries_change:
        rest_entries(p, rules, now, book, long, short, plan)
    if long.leg.fills:
        rest_exits(p, rules, now, book, long, min(now.shift, 0.0))
    if short.leg.fills:
        rest_exits(p, rules, now, book, short, max(now.shift, 0.0))


def rest_exits(p: GridConfig, rules: Market, now: Now, book: SymbolOrders, side: Side, shift: float) -> None:
    """Give every fill its exit; one within the tolerance stays."""
    leg, fills = side.leg, side.fills
    if count_exits(side) == leg.fills and exits_stay(
        leg.sign, shift, leg.exit_shift, leg.exit_slack, leg.exit_guard, now.close
    ):
        return
    load_exits(side)
    slack = INFINITY
    for i in range(leg.fills):
        fills.exit[i], least = wanted_exit(
            leg.sign, fills.price[i], fills.spacing_pct[i], shift, p.maker_fee, now.close, rules.tick,
            p.keep_price, fills.exit[i],
        )  # fmt: skip
        slack = min(slack, least)
    place_exits(book, side)
    leg.exit_shift, leg.exit_slack, leg.exit_guard = shift, shared_slack(slack, rules.tick), leg.first_exit


# --- what they ask of a side ------------------------------------------------------------------------


def fill_pnl(side: Side, index: int, close: float) -> float:
    """Return the unrealised PnL of one fill, quote."""
    return realized_pnl(side.leg.sign, side.fills.qty[index], side.fills.price[index], close)


def is_under_water(leg: LegState, close: float) -> bool:
    """Return whether any fill is far enough under water to be offset."""
    return leg.fills > 0 and leg.sign * (close - leg.under_water) <= 0.0


def worst_of(now: Now, long: Side, short: Side) -> tuple[bool, int]:
    """Return the fill that loses most money: whether it is one of LONG, and its index."""
    if not short.leg.fills:
        return True, worst_fill(1, now.close, long.fills.price, long.fills.qty, long.leg.fills)
    worst_short = worst_fill(-1, now.close, short.fills.price, short.fills.qty, short.leg.fills)
    if long.leg.fills:
        worst_long = worst_fill(1, now.close, long.fills.price, long.fills.qty, long.leg.fills)
        if fill_pnl(long, worst_long, now.close) <= fill_pnl(short, worst_short, now.close):
            return True, worst_long
    return False, worst_short
