"""Steps 8 and 9 of `GridStrategyV4.next` on the records of a sweep: the ladder's entries and the fills' exits."""

from gridv4_bt.core.kelly import kelly_multiplier
from gridv4_bt.engine.exits import exits_stay, shared_slack, wanted_exit
from gridv4_bt.engine.guards import COOLDOWN_FACTOR, cools_down, entry_blocks
from gridv4_bt.engine.ladder import PLACED, plan_ladder
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.optimise.kernel.exchange import rest_entries
from gridv4_bt.optimise.kernel.fills import cancel_entries, note_first_exit, take_totals

NEVER = 2**62


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
            window=p.kelly_window,
            min_trades=p.kelly_min_trades,
            floor=p.kelly_floor,
            cap=p.kelly_cap,
        )
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
