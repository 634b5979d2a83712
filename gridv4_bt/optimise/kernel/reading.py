"""What the strategy of a sweep takes in before its steps and notes after them, on the records of `state`."""

from gridv4_bt.core.regime import next_state, normalized_slope, veto
from gridv4_bt.engine.guards import margin_ratio
from gridv4_bt.engine.matching import note_first_exit
from gridv4_bt.engine.position import net_pnl
from gridv4_bt.engine.state import GMM_REGIME, KAMA_REGIME
from strategies.steps import begin_bar, earn, learn, refresh


def count_news(account, symbols, by_label, news, trades):
    """Add the closings of a step to the sums for the summary, and keep them as far as there is room."""
    for k in range(account.news):
        trade = news[k]
        net = net_pnl(trade.gross, trade.fees, trade.funding)
        count(symbols[trade.place], by_label[trade.place, trade.label], net, trade.bullet_qty, trade.bullet_net)
        if account.closed < len(trades):
            trades[account.closed] = trade
        account.closed += 1


def count(symbol, total, net, bullet_qty, bullet_net):
    """Add a closing to the sums of its label, and the trade to those of the summary if it closes the last part."""
    total.trades += 1
    total.net += net
    if bullet_qty > 0.0:
        symbol.trades += 1
        if bullet_net > 0.0:
            symbol.wins += 1
            symbol.profit += bullet_net
        else:
            symbol.loss += bullet_net


def hear(p, account, memory, now, place, long, short, news, kelly, returns):
    """Begin a bar of a symbol and take in the closings of the step."""
    begin_bar(memory, now)
    for k in range(account.news):
        trade = news[k]
        net = net_pnl(trade.gross, trade.fees, trade.funding)
        earn(memory, net, trade.close_time)
        if trade.place != place:
            continue
        side = long if trade.side > 0 else short
        row = trade.regime + 2
        if not learn(
            p, memory, side, trade.label, trade.entry, net, trade.bullet_qty, trade.bullet_net, kelly[row], returns[row]
        ):
            account.overflow = 1


def hear_without_bar(p, account, memory, now, time, place, long, short, news, kelly, returns):
    """Take in the closings of a step at which a symbol decides nothing, as if at its next bar.

    A strategy in Backtrader hears of them there. They are the same then: a day's profit begins anew on a new day, and
    until that bar nothing else happens to the symbol.
    """
    now.time = time
    hear(p, account, memory, now, place, long, short, news, kelly, returns)
    memory.bar -= 1


def read_bar(p, account, memory, now, inputs, book, long, short):
    """Take the values of a symbol's bar that is closed."""
    row = book.symbol.row
    now.time, now.close, now.atr, now.z = book.bar.time, book.bar.close, inputs.atr[row], inputs.z[row]
    now.sigma, now.equity = book.symbol.sigma, account.value
    now.kama, now.regime = inputs.kama[row - 1], book.symbol.ruling


def look_at_legs(p, account, long, short):
    """Notice what the exchange has executed in both legs of a symbol."""
    if long.leg.changed:
        account.range_stale = 1
        refresh(p, long)
    if short.leg.changed:
        account.range_stale = 1
        refresh(p, short)


# --- after the steps ------------------------------------------------------------------------------


def log_equity(account, symbol, memory, now, long, short, row):
    """11. One row with all a person needs to see why; see `LOG_COLUMNS`. An empty row is not asked for."""
    ratio = margin_ratio(now.maintenance, now.equity)
    account.max_margin_ratio = max(account.max_margin_ratio, ratio)
    if long.leg.fills or short.leg.fills:
        symbol.bars_in_market += 1
    account.peak = max(account.peak, now.equity)
    if now.equity < account.peak:
        account.drawdown = max(account.drawdown, 1.0 - now.equity / account.peak)
    if not len(row):
        return
    row[0], row[1], row[2], row[3] = now.time, now.equity, account.wallet, now.equity - account.wallet
    row[4], row[5], row[6], row[7] = long.leg.qty, short.leg.qty, now.regime, memory.halted
    row[8], row[9], row[10], row[11], row[12] = now.z, now.sigma, now.q, memory.anchor, now.centre
    row[13], row[14], row[15] = now.var, ratio, resting_orders(long) + resting_orders(short)
    row[16], row[17] = now.liquidation_down, now.liquidation_up
    row[18], row[19], row[20] = now.spacing_pct, now.kelly, now.notional


def resting_orders(side):
    """Return the number of open orders of a side."""
    note_first_exit(side)
    return side.leg.entry_count + side.leg.exit_count + side.leg.has_stop


def note_regime(p, symbol, memory, inputs, first):
    """Note the regime of the bar that is over, for step 1 of the next one; `first` is the symbol's first row."""
    row = symbol.row
    if memory.source == KAMA_REGIME:
        kama = inputs.kama[row]
        slope = normalized_slope(kama, inputs.kama[row - 1], inputs.atr[row]) if row > first else kama
        symbol.state = next_state(symbol.state, slope, p.breakout_slope, p.trend_slope, p.hysteresis)
        symbol.ruling = veto(symbol.state, inputs.adx[row], p.adx_min)
    elif memory.source == GMM_REGIME:
        symbol.ruling = inputs.regimes[row]
