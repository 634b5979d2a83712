"""The whole strategy at the simulated exchange as one compiled function over arrays, for parameter sweeps.

The steps are the text of `strategies.steps`; `HedgeBroker.next` and `match` here are the same phases on objects and on
records. Both call the same rules, in the same order, so a run here and a run in Backtrader end in the same bits.
"""

import math

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compiled import available, compiled
from gridv4_bt.config import GridConfig
from gridv4_bt.core import funding, grid, inventory, kelly, regime, risk
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine import (
    account,
    book_access,
    exits,
    guards,
    labels,
    ladder,
    leg,
    liquidation,
    margin,
    position,
    pruning,
    quick_price,
    whole_account,
)
from gridv4_bt.engine import matching as phases
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import Blocked, Plan
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.state import REGIMES, BookState, LegState, Memory, new_records
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.kernel import exchange, matching, orders, reading, record_access
from gridv4_bt.optimise.kernel import state as records
from gridv4_bt.optimise.kernel.exchange import next_bar
from gridv4_bt.optimise.kernel.reading import keep_trades, log_equity, note_regime, read_bar
from gridv4_bt.optimise.kernel.state import (
    BRACKET,
    CLOSE,
    COOLING,
    FILL,
    KELLY,
    NOW,
    PARAMETERS,
    RULES,
    TOTAL,
    TRADE,
    WALLET,
    BookRecords,
    SideRecords,
    State,
)
from strategies import orders as orders_of_objects
from strategies import steps
from strategies.steps import (
    check_circuit_breaker,
    check_liquidation,
    check_stop_loss,
    check_var,
    generate_grid,
    match_orders,
    prune,
    trail_anchor,
    update_regime,
)

#: The modules whose functions and numbers the kernel is made of, and those that it calls when something happens.
MADE_OF = (
    funding, grid, inventory, kelly, regime, risk, exits, guards, quick_price, ladder, position, leg, pruning, labels,
    margin, whole_account, phases, records, exchange, reading, steps, orders,
)  # fmt: skip
CALLED = (account, record_access, liquidation, matching)


def _replaced(of_objects, of_records, names):
    return tuple((getattr(of_objects, name), getattr(of_records, name)) for name in names.split())


#: What the steps order of a broker and the phases of a book, and what takes its place here.
INSTEAD = _replaced(
    orders_of_objects,
    orders,
    "books_of cancel_entries close_at_market confirm_regime count_exits liquidation_range load_exits maintenance "
    "make_room place_exits plan_entries rest_entries set_stop sigma_of",
) + _replaced(
    book_access,
    record_access,
    "add_close cancel_orders close_fill close_of count_closes entries_changed exit_of forget_closes index_of open_fill",
)


def trade(inputs, state):
    """Run one parameter set over all bars; stop early if the state has no room for the fills (`overflow`)."""
    p, wallet, memory, now = inputs.parameters[0], state.wallet[0], state.memory[0], state.now[0]
    book_state = state.book[0]
    bars, news, plan = inputs.bars, state.news, Plan(state.tally, state.trace)
    kelly, returns, by_label = state.kelly, state.returns, state.by_label
    legs, totals = state.legs, state.totals
    long = SideRecords(
        legs[0], state.fills[0], state.closes[0], state.cooling[0], state.taken[0], state.orders[0], totals[0]
    )
    short = SideRecords(
        legs[1], state.fills[1], state.closes[1], state.cooling[1], state.taken[1], state.orders[1], totals[1]
    )
    rule = 0
    rules = inputs.rules[0]
    brackets = inputs.brackets[rules.first : rules.end]
    first_day = bars[inputs.first].time // DAY_MS
    for i in range(len(bars)):
        bar = bars[i]
        while rule + 1 < len(inputs.rules) and inputs.rules[rule + 1].time <= bar.time:
            rule += 1
            rules = inputs.rules[rule]
            brackets = inputs.brackets[rules.first : rules.end]
            wallet.range_stale = 1
        book = BookRecords(p, wallet, book_state, bar, brackets, long, short, news)
        next_bar(book, memory, inputs.rates[i], p.liquidation_fee)
        if i >= inputs.first:
            read_bar(p, wallet, memory, now, bar, inputs, i, long, short, news, kelly, returns, by_label)
            update_regime(memory, now)  # 1
            check_circuit_breaker(p, memory, now, book, long, short)  # 2
            check_stop_loss(p, rules, memory, now, book, long, short)  # 3
            check_liquidation(p, memory, now, book, brackets, long, short)  # 4
            prune(p, memory, now, book, long, short)  # 5
            trail_anchor(p, memory, now)  # 6
            check_var(p, now, book, long, short)  # 7
            generate_grid(p, rules, memory, now, book, long, short, kelly, returns, plan)  # 8
            match_orders(p, rules, memory, now, book, long, short, plan)  # 9
            # 10: the exchange has settled, and every fill holds what it has paid.
            log_equity(wallet, memory, now, long, short, state.log[min(i - inputs.first, len(state.log) - 1)])  # 11
            state.days[bar.time // DAY_MS - first_day] = now.equity
            keep_trades(wallet, news, state.trades)
        if wallet.overflow:
            return
        note_regime(p, wallet, memory, inputs, i)


def kernel():
    """Return `trade` compiled; it holds no lock of Python, so several may run at a time.

    Raises
    ------
    ConfigError
        numba is not installed.
    """
    if not available():
        raise ConfigError("a sweep needs numba, which is not installed: pip install 'gridstrategy-v4[fast]'")
    return compiled(trade, MADE_OF, CALLED, nogil=True, instead=INSTEAD)


def new_state(config: GridConfig, cash: float, days: int, log_shape: tuple[int, int], room: int, trades: int) -> State:
    """Return the state of an account before its first bar.

    Parameters
    ----------
    days : UTC days from the first bar traded to the last.
    log_shape : rows and columns of the log; a single empty row for none.
    room : open fills a side, and levels cooling.
    trades : closings to keep.
    """
    state = State(
        wallet=np.zeros(1, WALLET),
        book=new_records(BookState, 1),
        memory=new_records(Memory, 1),
        now=np.zeros(1, NOW),
        legs=new_records(LegState, 2),
        fills=np.zeros((2, room), FILL),
        closes=np.zeros((2, 2 * room), CLOSE),
        cooling=np.zeros((2, room), COOLING),
        taken=np.zeros((2, 2 * room)),
        orders=np.zeros((2, 5, config.levels)),
        totals=np.zeros((2, 3)),
        tally=np.zeros(len(Blocked), np.int64),
        trace=np.zeros(0, np.uint8),  # of no length: nothing is traced
        kelly=np.zeros(5, KELLY),
        returns=np.zeros((5, config.kelly_window)),
        news=np.zeros(8 * room, TRADE),
        by_label=np.zeros(len(LABELS), TOTAL),
        days=np.full(days, np.nan),
        log=np.zeros(log_shape),
        trades=np.zeros(trades, TRADE),
    )
    wallet = state.wallet
    wallet["wallet"] = wallet["value"] = wallet["peak"] = cash
    state.memory["source"] = REGIMES.index(config.regime)
    state.legs["sign"] = 1, -1
    state.legs["first_entry"] = -math.inf, math.inf
    return state


def parameters(config: GridConfig) -> NDArray:
    """Return the numbers of a config as the kernel reads them."""
    row = np.zeros(1, PARAMETERS)
    for name in PARAMETERS.names:
        if hasattr(config, name):
            row[name] = getattr(config, name)
    row["through"] = config.fill_rule == "through"
    return row


def rules_of(history: MarketHistory, leverage: float) -> tuple[NDArray, NDArray]:
    """Return a market's rules by date and all their brackets, as the kernel reads them."""
    rules = np.zeros(len(history.changes), RULES)
    rows = []
    for rule, (time, market) in zip(rules, history.changes, strict=True):
        rule["time"], rule["first"] = time, len(rows)
        rows.extend(tuple(bracket) for bracket in market.brackets)
        rule["end"] = len(rows)
        rule["tick"], rule["step"] = market.tick, market.step
        rule["min_qty"], rule["min_notional"] = market.min_qty, market.min_notional
        rule["max_notional"] = market.max_notional(leverage)
    return rules, np.array(rows, BRACKET)
