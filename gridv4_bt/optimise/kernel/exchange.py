"""The simulated exchange of a sweep: `HedgeBroker.next` on the records of `state`."""

from gridv4_bt.engine.account import settle_funding
from gridv4_bt.engine.delisting import is_delisted, settle_delisted
from gridv4_bt.engine.liquidation import is_safe
from gridv4_bt.engine.margin import revalue
from gridv4_bt.engine.matching import is_idle, order_matters
from gridv4_bt.optimise.kernel.matching import match

NEVER = 2**62  #: ms, later than any bar


def next_time(inputs, books):
    """Return when the next bar of any symbol opens, ms; `NEVER` after the last one."""
    time = NEVER
    for book in books:
        if book.symbol.next < book.symbol.end:
            time = min(time, inputs.bars[book.symbol.next].time)
    return time


def next_bars(inputs, books, time, memory, bars):
    """Take in the bars of a time and settle the funding due at their open; return whether one reaches an order.

    Parameters
    ----------
    memory, bars : MEMORY and BAR of each symbol.
    """
    busy = False
    for i in range(len(books)):
        symbol, state = books[i].symbol, books[i].state
        state.has_bar = symbol.next < symbol.end and inputs.bars[symbol.next].time == time
        if state.has_bar:
            take_bar(inputs, books[i].account, symbol, bars, i)
            settle(books[i], memory[i], inputs.rates[symbol.row])
            state.fresh = bars[i].volume > 0.0
            if not busy:
                busy = not is_idle(books[i])
        else:
            stand_still(bars[i])
            state.fresh = 0
    return busy


def settle_ended(books, time):
    """Settle the symbols whose data were over before the bars of a time."""
    for book in books:
        symbol = book.symbol
        if symbol.next >= symbol.end and not symbol.delisted and is_delisted(book.bar.time, time):
            symbol.delisted = 1
            settle_delisted(book)


def take_bar(inputs, account, symbol, bars, place):
    """Move a symbol on to its next bar, and to the rules in force at it."""
    row = symbol.next
    symbol.row, symbol.next = row, row + 1
    copy_bar(inputs.bars[row], bars[place])
    symbol.sigma = inputs.sigma[row]
    span = inputs.spans[place]
    while symbol.rule + 1 < span.end_rule and inputs.rules[symbol.rule + 1].time <= bars[place].time:
        obey(inputs, account, symbol, symbol.rule + 1)


def obey(inputs, account, symbol, rule):
    """Obey a row of the rules from now on."""
    account.range_stale, symbol.rule = 1, rule
    symbol.first_bracket, symbol.end_bracket = inputs.rules[rule].first, inputs.rules[rule].end


def copy_bar(bar, to):
    """Copy a bar, number by number: a record as a whole would be copied byte by byte."""
    to.time, to.open, to.high, to.low, to.close = bar.time, bar.open, bar.high, bar.low, bar.close
    to.volume, to.mark = bar.volume, bar.mark
    to.mark_low, to.mark_high, to.mark_close = bar.mark_low, bar.mark_high, bar.mark_close


def stand_still(bar):
    """Let a symbol without a bar at this step count with its last close: the range of the bar before is over."""
    bar.open = bar.high = bar.low = bar.close
    bar.mark_low = bar.mark_high = bar.mark_close


def settle(book, memory, rate):
    """Charge the funding due at the bar's open; NaN for none."""
    if rate == rate:
        for side in (book.long, book.short):
            if side.leg.fills:
                settle_funding(book.account, side.leg, side.fills, book.bar.mark, rate)
        memory.funding_rate = rate
        memory.settlements += 1


def match_bars(account, books, busy, liquidation_fee):
    """Match the bars if they reach anything, and value the account."""
    safe = is_safe(account, books)
    if busy or not safe:
        account.ambiguous_bars += (busy and not safe) or any_order_matters(books)
        match(account, books, liquidation_fee)
    revalue(account, books)


def any_order_matters(books):
    """Return whether the order of prices inside a new bar of any symbol decides what fills."""
    for book in books:  # noqa: SIM110 (a generator does not compile)
        if book.state.has_bar and order_matters(book):
            return True
    return False
