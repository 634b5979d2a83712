"""The whole strategy at the simulated exchange as one compiled function over arrays, for parameter sweeps.

The steps are the text of `strategies.steps`; `HedgeBroker.next` and `match` here are the same phases on objects and on
records. Both call the same rules, in the same order, so a run here and a run in Backtrader end in the same bits.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gridv4_bt import config as config_module
from gridv4_bt.compiled import available, compiled
from gridv4_bt.config import GridConfig
from gridv4_bt.core import bets, funding, grid, inventory, kelly, regime, risk
from gridv4_bt.core import time as times
from gridv4_bt.engine import (
    account,
    book_access,
    delisting,
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
from gridv4_bt.engine import state as engine_state
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.state import REGIMES, BookState, LegState, Memory, new_records
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.kernel import decision, exchange, matching, orders, reading, record_access, sequence
from gridv4_bt.optimise.kernel import state as records
from gridv4_bt.optimise.kernel.exchange import NEVER, next_time
from gridv4_bt.optimise.kernel.sequence import advance, begin
from gridv4_bt.optimise.kernel.state import (
    ACCOUNT,
    BAR,
    BRACKET,
    CLOSE,
    COOLING,
    FILL,
    KELLY,
    NOW,
    PARAMETERS,
    RULES,
    SYMBOL,
    TOTAL,
    TRADE,
    Inputs,
    State,
)
from strategies import orders as orders_of_objects
from strategies import steps

#: The modules whose functions and numbers the kernel is made of, and those that it calls when something happens.
MADE_OF = (
    funding, grid, inventory, kelly, regime, risk, exits, guards, quick_price, ladder, position, leg, pruning, labels,
    margin, whole_account, phases, records, exchange, reading, decision, sequence, steps, orders, engine_state,
    config_module, times,
)  # fmt: skip
CALLED = (bets, account, record_access, liquidation, matching, delisting)


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


def trade(inputs, state, several):
    """Run one parameter set over all bars; stop early if the state has no room for the fills (`overflow`).

    `several` is None where there is one symbol: compiled for it alone the code is faster.
    """
    books = begin(inputs, state, several)
    time = next_time(inputs, books)
    while time != NEVER and not state.account[0].overflow:
        advance(inputs, state, books, time)
        time = next_time(inputs, books)


def step(inputs, state):
    """Do one step of what `trade` does: the bars of the next time of all symbols, also where there is only one."""
    books = begin(inputs, state, True)
    advance(inputs, state, books, next_time(inputs, books))


def kernel():
    """Return `trade` compiled; it holds no lock of Python, so several may run at a time.

    Raises
    ------
    ConfigError
        numba is not installed, or told not to compile.
    """
    if not available():
        raise ConfigError(
            "a sweep needs numba, which is not installed (pip install 'gridstrategy-v4[fast]') or disabled by "
            "NUMBA_DISABLE_JIT"
        )
    return _compiled(trade, nogil=True)


def stepper(inputs: Inputs, state: State) -> Callable[[], int]:
    """Return `step` compiled, for the arrays of a run, which must stay where they are."""
    return _compiled(step).bind(inputs, state)


def is_compiled() -> bool:
    """Return whether the machine code of `step` is in the cache, so that it need not be compiled."""
    return available() and _compiled(step).is_at_hand()


def _compiled(rule, nogil=False):
    return compiled(rule, MADE_OF, CALLED, nogil, INSTEAD, ("gridv4_bt.optimise.kernel.books",))


def new_state(
    configs: Sequence[GridConfig], cash: float, days: int, log: NDArray, room: int, trades: int, traced: bool = False
) -> State:
    """Return the state of an account before its first bar.

    Parameters
    ----------
    configs : of the symbols that share the wallet.
    days : UTC days from the first bar traded to the last.
    log : to be filled.
    room : open fills a side, and levels cooling.
    trades : closings to keep.
    traced : whether to trace the plan of each row of the log.
    """
    symbols = len(configs)
    sides, levels = 2 * symbols, max(config.levels for config in configs)
    state = State(
        account=np.zeros(1, ACCOUNT),
        symbols=np.zeros(symbols, SYMBOL),
        books=new_records(BookState, symbols),
        bars=np.zeros(symbols, BAR),
        memory=new_records(Memory, symbols),
        now=np.zeros(symbols, NOW),
        legs=new_records(LegState, sides),
        fills=np.zeros((sides, room), FILL),
        closes=np.zeros((sides, 2 * room), CLOSE),
        cooling=np.zeros((sides, room), COOLING),
        taken=np.zeros((sides, 2 * room)),
        orders=np.zeros((sides, 5, levels)),
        totals=np.zeros((sides, 3)),
        tally=np.zeros((symbols, len(Blocked)), np.int64),
        kelly=np.zeros((symbols, 5), KELLY),
        returns=np.zeros((symbols, 5, max(config.kelly_window for config in configs))),
        by_label=np.zeros((symbols, len(LABELS)), TOTAL),
        trace=np.zeros((len(log), 2 * levels if traced else 0), np.uint8),
        news=np.zeros(8 * room * symbols, TRADE),
        days=np.full(days, np.nan),
        log=log,
        trades=np.zeros(trades, TRADE),
    )
    account = state.account
    account["wallet"] = account["value"] = account["peak"] = cash
    state.books["place"] = np.arange(symbols)
    state.memory["source"] = [REGIMES.index(config.regime) for config in configs]
    state.memory["alone"] = symbols == 1
    state.legs["sign"] = np.tile((1, -1), symbols)
    state.legs["first_entry"] = np.tile((-math.inf, math.inf), symbols)
    return state


def parameters(configs: Sequence[GridConfig]) -> NDArray:
    """Return the numbers of configs as the kernel reads them, a row each."""
    rows = np.zeros(len(configs), PARAMETERS)
    for name in PARAMETERS.names:
        if name in GridConfig.model_fields:
            rows[name] = [getattr(config, name) for config in configs]
    rows["through"] = [config.fill_rule == "through" for config in configs]
    return rows


def rules_of(histories: Sequence[MarketHistory], leverage: float) -> tuple[list[int], NDArray, NDArray]:
    """Return the rules by date of one market after another, where each one's end, and all their brackets."""
    changes = [change for history in histories for change in history.changes]
    rules = np.zeros(len(changes), RULES)
    rows = []
    for rule, (time, market) in zip(rules, changes, strict=True):
        rule["time"], rule["first"] = time, len(rows)
        rows.extend(tuple(bracket) for bracket in market.brackets)
        rule["end"] = len(rows)
        rule["tick"], rule["step"] = market.tick, market.step
        rule["min_qty"], rule["min_notional"] = market.min_qty, market.min_notional
        rule["max_notional"] = market.max_notional(leverage)
    ends = list(itertools.accumulate(len(history.changes) for history in histories))
    return ends, rules, np.array(rows, BRACKET)
