"""What the compiled kernel reads and writes: records of plain numbers, beside those of `gridv4_bt.engine.state`."""

from collections.abc import Sequence
from typing import NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.state import BookState, Kelly, LegState, Memory, Now, dtype_of


def _record(whole: str, real: str) -> np.dtype:
    return np.dtype([(name, "i8") for name in whole.split()] + [(name, "f8") for name in real.split()])


_NUMBERS = {name: kind for name, kind in get_type_hints(GridConfig).items() if kind in (int, float)}

#: The numbers of a `GridConfig`; `through` says that a limit fills only when the market trades through it.
PARAMETERS = np.dtype([(name, "i8" if kind is int else "f8") for name, kind in _NUMBERS.items()] + [("through", "i8")])

#: One bar. `mark` is the price of a settlement at its open.
BAR = _record("time", "open high low close volume mark mark_low mark_high mark_close")

#: The rules of a market from a time on; its brackets are the rows `first` to before `end` of the table of `BRACKET`.
RULES = _record("time first end", "tick step min_qty min_notional max_notional")
BRACKET = np.dtype([(name, "f8") for name in ("floor", "cap", "rate", "amount")])

#: The account, and figures for the summary. Of a step's `news` the first `before_entries` came before any entry filled.
ACCOUNT = _record(
    "fills bets bet_begun maker_executions taker_executions liquidations ambiguous_bars news before_entries closed "
    "first_time first_day last_time range_stale overflow",
    "wallet gross fees funding value held_notional range_wallet range_down range_up max_margin_ratio peak drawdown",
)
#: A symbol: where it is in its bars and rules, what its regime is, and sums for the summary. `row` is that of its last
#: bar, `next` that of the one to come, `rule` that of its rules; its brackets are rows as in `RULES`.
SYMBOL = _record(
    "row next end delisted rule first_bracket end_bracket ruling state trades wins bars_in_market", "sigma profit loss"
)
#: Where a symbol's rows of `Inputs` and of the log begin and end.
SPAN = _record("begin end first first_rule end_rule first_log", "")

NOW, MEMORY, LEG, KELLY, BOOK = (dtype_of(record) for record in (Now, Memory, LegState, Kelly, BookState))
FILL = _record("id time regime", "qty price spacing_pct funding fee closed_qty closed_net exit")
CLOSE = _record("fill_id label", "qty")
COOLING = _record("until", "price")
#: Sums over the closings of a label.
TOTAL = _record("trades", "net")
#: A `ClosedTrade` of the symbol at a place; the label is its place in `LABELS`.
TRADE = _record(
    "place trade_id side label regime open_time close_time", "qty entry exit gross fees funding bullet_qty bullet_net"
)


class SideRecords(NamedTuple):
    """One positionSide: its leg, and as many rows as there is room for."""

    leg: np.record  #: LEG
    fills: NDArray  #: FILL, oldest first; the exit is 0 where none rests
    closes: NDArray  #: CLOSE, market orders for the next open
    cooling: NDArray  #: COOLING, levels closed after a cut
    taken: NDArray[np.float64]  #: prices of the fills and of the levels cooling
    orders: NDArray[np.float64]  #: see `gridv4_bt.engine.ladder.LadderSide`
    totals: NDArray[np.float64]  #: see `gridv4_bt.engine.ladder.ladder_totals`


class BookRecords(NamedTuple):
    """A symbol as the phases of matching see it: `gridv4_bt.engine.book.Book` without objects."""

    costs: np.record  #: PARAMETERS
    account: np.record  #: ACCOUNT
    symbol: np.record  #: SYMBOL
    state: np.record  #: BOOK
    bar: np.record  #: BAR
    brackets: NDArray  #: BRACKET
    long: SideRecords
    short: SideRecords
    news: NDArray  #: TRADE, closed at this step


class BookArrays(NamedTuple):
    """The symbols of the account, a row of each array for each; two, LONG and SHORT, of what a side has."""

    costs: NDArray  #: PARAMETERS, of which the first row counts: what the exchange charges is one for all
    account: NDArray  #: ACCOUNT, one row
    symbol: NDArray  #: SYMBOL
    state: NDArray  #: BOOK
    bar: NDArray  #: BAR, the last one of each symbol
    brackets: NDArray  #: BRACKET, of all symbols
    leg: NDArray  #: LEG
    fills: NDArray  #: FILL
    closes: NDArray  #: CLOSE
    cooling: NDArray  #: COOLING
    taken: NDArray[np.float64]
    orders: NDArray[np.float64]
    totals: NDArray[np.float64]
    news: NDArray  #: TRADE


class OrdersRecords(NamedTuple):
    """What the steps of a symbol order by: `strategies.orders.SymbolOrders` without objects."""

    books: Sequence[BookRecords]  #: of all symbols of the account
    book: BookRecords  #: of the symbol


class Inputs(NamedTuple):
    """What a run reads; the bars of one symbol come after those of another, and so do signals, rules and brackets."""

    parameters: NDArray  #: PARAMETERS, one row a symbol; those of the account are the same in all
    spans: NDArray  #: SPAN, one row a symbol, in the order of their places
    bars: NDArray  #: BAR
    kama: NDArray[np.float64]  #: one a bar, as the other signals; NaN as long as it is not known
    atr: NDArray[np.float64]
    adx: NDArray[np.float64]
    z: NDArray[np.float64]
    sigma: NDArray[np.float64]  #: per bar, dimensionless
    rates: NDArray[np.float64]  #: funding settled at the bar's open, NaN for none
    regimes: NDArray[np.int64]  #: of regime gmm, one a bar; else empty
    rules: NDArray  #: RULES, of a symbol ascending in time
    brackets: NDArray  #: BRACKET


class State(NamedTuple):
    """What a run writes, and all that it remembers between bars; the first index of most arrays is the symbol."""

    account: NDArray  #: ACCOUNT, one row
    symbols: NDArray  #: SYMBOL, one row a symbol, as the next ones
    books: NDArray  #: BOOK
    bars: NDArray  #: BAR
    memory: NDArray  #: MEMORY
    now: NDArray  #: NOW
    legs: NDArray  #: LEG, LONG and SHORT of each symbol, as the next ones
    fills: NDArray  #: FILL
    closes: NDArray  #: CLOSE
    cooling: NDArray  #: COOLING
    taken: NDArray[np.float64]
    orders: NDArray[np.float64]
    totals: NDArray[np.float64]  #: see `gridv4_bt.engine.ladder.ladder_totals`
    tally: NDArray[np.int64]  #: by symbol, as the next ones
    kelly: NDArray  #: KELLY by regime code + 2, as the rows of returns
    returns: NDArray[np.float64]
    by_label: NDArray  #: TOTAL
    trace: NDArray[np.uint8]  #: see `gridv4_bt.engine.ladder.Plan`; rows as of the log
    news: NDArray  #: TRADE, closed at this step
    days: NDArray[np.float64]  #: equity at the last close of each UTC day from the first one traded, NaN for none
    log: NDArray[np.float64]  #: `LOG_COLUMNS` of each bar traded; a single empty row where not asked for
    trades: NDArray  #: TRADE, as many of the closings as there is room for
