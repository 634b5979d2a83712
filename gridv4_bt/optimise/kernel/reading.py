"""What the strategy of a sweep takes in before its steps and notes after them, on the records of `state`."""

from gridv4_bt.core.regime import ADX_FLOOR, next_state, normalized_slope, veto
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.matching import INFINITY
from gridv4_bt.engine.position import net_pnl
from gridv4_bt.engine.pruning import gap_price, underwater_price
from gridv4_bt.optimise.kernel.fills import note_first_exit
from gridv4_bt.optimise.kernel.state import GMM_REGIME, GRID, KAMA_REGIME, STOP2


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


# --- after the steps ------------------------------------------------------------------------------


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
