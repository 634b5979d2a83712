"""What the eleven steps do: Backtrader, live and the compiled sweep run this one text.

It works on the records of `gridv4_bt.engine.state`: on plain objects in a backtest and live, on numpy records where a
sweep compiles it. What it orders goes through `strategies.orders`, whose functions a sweep replaces by its own.
"""

from collections.abc import MutableSequence, Sequence

from gridv4_bt.config import GridConfig
from gridv4_bt.core.grid import grid_spacing, round_down
from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.core.risk import Bracket, portfolio_var
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.engine.exits import exits_stay, shared_slack, wanted_exit
from gridv4_bt.engine.guards import (
    beyond_stop1,
    cooldown_end,
    entry_blocks,
    liquidation_distances,
    must_delever,
    must_halt,
    stays_halted,
    stop1_qty,
    stop2_price,
    trailed,
)
from gridv4_bt.engine.labels import DELEVER, GRID, MARGIN_CALL, OFFSET, PRUNED, STOP1, STOP2
from gridv4_bt.engine.ladder import PLACED
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.pruning import (
    NEVER,
    deviates,
    gap_price,
    latest_time,
    may_prune,
    offsets,
    prune_reason,
    underwater_price,
)
from gridv4_bt.engine.state import INFINITY, NO_REGIME, NO_STOP, STOPS_KEPT, Kelly, LegState, Memory, Now
from gridv4_bt.engine.whole_account import (
    begin_margin_call,
    next_worst,
    next_worst_of_leg,
    place_of,
    take_off,
    unrealized_of,
)
from strategies.ladder_plan import LadderPlan
from strategies.orders import (
    SymbolOrders,
    books_of,
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
    sigma_of,
)
from strategies.side import Side

# --- before the steps -------------------------------------------------------------------------------


def begin_bar(memory: Memory, now: Now) -> None:
    """Count the bar, and begin the day's profit anew on a new UTC day."""
    memory.bar += 1
    day = now.time // DAY_MS
    if day != memory.day:
        memory.day = day
        memory.realized_today = 0.0


def earn(memory: Memory, net: float, closed_at: int) -> None:
    """Add a closed trade of the account to the day's profit, if it was closed in a bar of this UTC day."""
    if closed_at // DAY_MS == memory.day:
        memory.realized_today += net


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
    """Take in a closing of the symbol: Kelly's return, the level that cools, the stop that is over.

    Parameters
    ----------
    label : the closing's place in `LABELS`.
    net : after fees and funding, quote.
    bullet_qty, bullet_net : of all parts of the fill if this is its last one, base units and quote, else 0: Kelly
        counts a fill closed in parts once.
    kelly, returns : of the regime in which it was opened.

    Returns False if there is no room to remember the level (in a sweep).
    """
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
        count_stop(p, memory)
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


def count_stop(p: GridConfig, memory: Memory) -> None:
    """Count a stop and note how long the cooldown lasts."""
    memory.stop_bars[memory.stops % STOPS_KEPT] = memory.bar
    memory.stops += 1
    note_cooldown(p, memory)


def note_cooldown(p: GridConfig, memory: Memory) -> None:
    """Note the bar before which the stops so far make orders smaller."""
    earliest = memory.stop_bars[(memory.stops - 1 - p.cooldown_stops) % STOPS_KEPT]
    memory.cools_until = cooldown_end(memory.stops, earliest, p.cooldown_stops, p.cooldown_bars)


def refresh(p: GridConfig, side: Side) -> None:
    """Notice fills and closings since the last bar."""
    leg, fills = side.leg, side.fills
    leg.changed = leg.look_again = 0
    leg.exit_slack = -1.0
    if leg.fills == 0:
        leg.stage1_done = 0
    leg.latest_time = latest_time(fills.time[0], p.max_age_hours) if leg.fills else NEVER
    leg.gap_trigger = leg.under_water = -leg.sign * INFINITY
    for i in range(leg.fills):
        gap = gap_price(leg.sign, fills.price[i], fills.spacing_pct[i], p.gap_spacings)
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


def check_circuit_breaker(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """2. Halt on a crash by z-score; exits and stops stay."""
    if memory.halted:
        if not stays_halted(now.z, p.z_resume):
            memory.halted = 0
            memory.anchored = 0
    elif must_halt(now.z, p.z_halt):
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
        count_stop(p, memory)
        reduce_leg(rules, now, book, side, stop1_qty(leg.qty, rules.step, p.stop1_share))
    # Without any range a stop at the average would fire on the spot; the one before stays.
    if now.atr > 0.0:
        rest_stop(now, book, side, stop2_price(leg.sign, average, now.atr, p.stop2_atr, rules.tick))


def reduce_leg(rules: Market, now: Now, book: SymbolOrders, side: Side, qty: float) -> None:
    """Close a quantity of a leg by stage 1: whole fills, those that lose most first, then a part of the next."""
    pnl, fill_id, index = next_worst_of_leg(side.leg, side.fills, now.close, -INFINITY, 0)
    while index >= 0 and qty > 0.0:
        held = side.fills.qty[index]
        if qty < held * (1.0 - LOT_NOISE):
            close_at_market(book, side, index, round_down(qty, rules.step), STOP1)
            return
        close_at_market(book, side, index, held, STOP1)
        qty -= held
        if qty <= LOT_NOISE * held:
            return
        pnl, fill_id, index = next_worst_of_leg(side.leg, side.fills, now.close, pnl, fill_id)


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
    now.liquidation_down, now.liquidation_up = liquidation_distances(down, up, now.close)
    distance = min(now.liquidation_down, now.liquidation_up)
    memory.min_distance = min(memory.min_distance, distance)
    if distance < p.liquidation_warning:
        memory.liquidation_near += 1
    if now.maintenance <= p.margin_call * now.equity:
        return
    call_margin(p, memory, now, book, long, short)


def call_margin(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """Close the account's worst fills until maintenance margin over equity is at most the target; here those of ours.

    The margin of what is left is found anew over the brackets of both legs after each. The strategy that owns the
    worst fill counts the call, so that one of the account counts once.
    """
    books, target = books_of(book), p.margin_target * max(now.equity, 0.0)
    begin_margin_call(books)
    required, pnl, fill_id, is_worst = now.maintenance, -INFINITY, 0, True
    while required > target:
        pnl, fill_id = next_worst(books, pnl, fill_id)
        if fill_id == 0:
            return
        ours = close_if_ours(book, long, short, fill_id, MARGIN_CALL)
        if is_worst and ours:
            memory.margin_calls += 1
        required, is_worst = take_off(books, fill_id), False


def close_if_ours(book: SymbolOrders, long: Side, short: Side, fill_id: int, label: int) -> bool:
    """Close a fill of the account at market, if it is one of ours, and return whether it is."""
    for side in (long, short):
        index = place_of(side.leg, side.fills, fill_id)
        if index >= 0:
            close_at_market(book, side, index, side.fills.qty[index], label)
            return True
    return False


def prune(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """5. Cut single fills by the five methods, then the worst fill near the VaR limit."""
    if long.leg.fills == 0 and short.leg.fills == 0:
        return
    prune_side(p, memory, now, book, long)
    prune_side(p, memory, now, book, short)
    if memory.realized_today > 0.0:
        offset_worst(p, memory, now, book, long, short)
    if must_delever(unrealized_of(books_of(book)), now.equity, p.var_pct, p.delever_share):
        _, worst = next_worst(books_of(book), -INFINITY, 0)
        close_if_ours(book, long, short, worst, DELEVER)


def prune_side(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, side: Side) -> None:
    """Cut the fills of a side for which any of the methods 1 to 4 triggers."""
    leg, fills = side.leg, side.fills
    if leg.fills == 0:
        return
    deviated = deviates(leg.sign, now.close, now.kama, now.atr, p.deviance_atr)
    if not deviated and not may_prune(p, memory, now, leg, fills):
        return
    for i in range(leg.fills):
        reason = prune_reason(
            p, leg.sign, now.close, now.time + BAR_MS, deviated,
            fills.price[i], fills.qty[i], fills.time[i], fills.spacing_pct[i], fills.funding[i],
        )  # fmt: skip
        if reason:
            close_at_market(book, side, i, fills.qty[i], PRUNED[reason])


def offset_worst(p: GridConfig, memory: Memory, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """Close the account's worst fill, if it is ours, is under water and today's profit pays for it."""
    if not (is_under_water(long.leg, now.close) or is_under_water(short.leg, now.close)):
        return
    _, worst = next_worst(books_of(book), -INFINITY, 0)
    for side in (long, short):
        fills, i = side.fills, place_of(side.leg, side.fills, worst)
        if i >= 0 and offsets(
            side.leg.sign, now.close, memory.realized_today, p.offset_spacings, p.taker_fee,
            fills.price[i], fills.qty[i], fills.spacing_pct[i], fills.funding[i], fills.fee[i],
        ):  # fmt: skip
            close_at_market(book, side, i, fills.qty[i], OFFSET)


def trail_anchor(p: GridConfig, memory: Memory, now: Now) -> None:
    """6. Follow an uptrend that left the ladder; start anew where the ladder was left otherwise."""
    now.spacing_pct = grid_spacing(now.atr, now.close, p.k, p.floor_pct) / now.close
    if not memory.anchored:
        memory.anchored, memory.anchor = 1, now.close
    memory.anchor = trailed(memory.anchor, now.close, now.spacing_pct, p.levels, now.regime, p.trail_share)


def check_var(p: GridConfig, now: Now, book: SymbolOrders, long: Side, short: Side) -> None:
    """7. No new entries while the account's value at risk over a day exceeds its limit.

    Symbols crash together: their values at risk are added up.
    """
    now.var = 0.0
    for other in books_of(book):
        net = other.long.leg.qty - other.short.leg.qty
        if net != 0.0:
            now.var += portfolio_var(net * other.bar.close, sigma_of(p, now, book, other), z=p.var_z)
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
    long_block = long.leg.paused or long_block
    short_block = short.leg.paused or short_block
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
    now.notional = (
        now.equity * p.order_pct * now.kelly * (p.cooldown_factor if memory.bar < memory.cools_until else 1.0)
    )
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
        fraction=p.kelly_fraction,
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


def is_under_water(leg: LegState, close: float) -> bool:
    """Return whether any fill is far enough under water to be offset."""
    return leg.fills > 0 and leg.sign * (close - leg.under_water) <= 0.0
