"""What the strategy of a sweep takes in before its steps and notes after them, on the records of `state`."""

from gridv4_bt.core.regime import next_state, normalized_slope, veto
from gridv4_bt.engine.guards import margin_ratio
from gridv4_bt.engine.matching import note_first_exit
from gridv4_bt.engine.position import net_pnl
from gridv4_bt.engine.state import GMM_REGIME, KAMA_REGIME
from strategies.steps import begin_bar, earn, learn, refresh


def read_bar(p, wallet, memory, now, bar, inputs, i, long, short, news, kelly, returns, by_label):
    """Take the values of the closed bar i and the closings in it."""
    now.time, now.close, now.atr, now.z, now.sigma = bar.time, bar.close, inputs.atr[i], inputs.z[i], inputs.sigma[i]
    now.equity = wallet.value
    now.kama, now.regime = inputs.kama[i - 1], wallet.ruling
    begin_bar(memory, now)
    for i in range(wallet.news):
        trade = news[i]
        net = net_pnl(trade.gross, trade.fees, trade.funding)
        side = long if trade.side > 0 else short
        earn(memory, net, trade.close_time)
        row = trade.regime + 2
        if not learn(
            p, memory, side, trade.label, trade.entry, net, trade.bullet_qty, trade.bullet_net, kelly[row], returns[row]
        ):
            wallet.overflow = 1
        count(wallet, by_label[trade.label], net, trade.bullet_qty, trade.bullet_net)
    if long.leg.changed:
        wallet.range_stale = 1
        refresh(p, long)
    if short.leg.changed:
        wallet.range_stale = 1
        refresh(p, short)


def count(wallet, total, net, bullet_qty, bullet_net):
    """Add a closing to the sums of its label, and the trade to those of the summary if it closes the last part."""
    wallet.closed += 1
    total.trades += 1
    total.net += net
    if bullet_qty > 0.0:
        wallet.trades += 1
        if bullet_net > 0.0:
            wallet.wins += 1
            wallet.profit += bullet_net
        else:
            wallet.loss += bullet_net


# --- after the steps ------------------------------------------------------------------------------


def log_equity(wallet, memory, now, long, short, row):
    """11. One row with all a person needs to see why; see `LOG_COLUMNS`. An empty row is not asked for."""
    ratio = margin_ratio(now.maintenance, now.equity)
    wallet.max_margin_ratio = max(wallet.max_margin_ratio, ratio)
    if long.leg.fills or short.leg.fills:
        wallet.bars_in_market += 1
    wallet.peak = max(wallet.peak, now.equity)
    if now.equity < wallet.peak:
        wallet.drawdown = max(wallet.drawdown, 1.0 - now.equity / wallet.peak)
    if not len(row):
        return
    row[0], row[1], row[2], row[3] = now.time, now.equity, wallet.wallet, now.equity - wallet.wallet
    row[4], row[5], row[6], row[7] = long.leg.qty, short.leg.qty, now.regime, memory.halted
    row[8], row[9], row[10], row[11], row[12] = now.z, now.sigma, now.q, memory.anchor, now.centre
    row[13], row[14], row[15] = now.var, ratio, resting_orders(long) + resting_orders(short)
    row[16], row[17] = now.liquidation_down, now.liquidation_up
    row[18], row[19], row[20] = now.spacing_pct, now.kelly, now.notional


def resting_orders(side):
    """Return the number of open orders of a side."""
    note_first_exit(side)
    return side.leg.entry_count + side.leg.exit_count + side.leg.has_stop


def note_regime(p, wallet, memory, inputs, i):
    """Note the regime of the bar that is over, for step 1 of the next one."""
    if memory.source == KAMA_REGIME:
        kama = inputs.kama[i]
        slope = normalized_slope(kama, inputs.kama[i - 1], inputs.atr[i]) if i > 0 else kama
        wallet.state = next_state(wallet.state, slope, p.breakout_slope, p.trend_slope, p.hysteresis)
        wallet.ruling = veto(wallet.state, inputs.adx[i], p.adx_min)
    elif memory.source == GMM_REGIME:
        wallet.ruling = inputs.regimes[i]


def keep_trades(wallet, news, trades):
    """Copy the closings of the bar, as far as there is room, and make way for the next bar's."""
    before = wallet.closed - wallet.news
    for i in range(wallet.news):
        if before + i < len(trades):
            trades[before + i] = news[i]
    wallet.news = 0
