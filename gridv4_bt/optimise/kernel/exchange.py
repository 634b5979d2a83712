"""The simulated exchange of a sweep: `HedgeBroker.next` for one symbol, on the records of `state`."""

from gridv4_bt.engine.account import settle_funding
from gridv4_bt.engine.liquidation import is_safe
from gridv4_bt.engine.margin import revalue
from gridv4_bt.engine.matching import is_idle, order_matters
from gridv4_bt.optimise.kernel.matching import match


def next_bar(book, memory, rate, liquidation_fee):
    """Settle the funding due at the bar's open, match the bar if it reaches anything, and value the account."""
    account, books = book.account, (book,)
    if rate == rate:  # not NaN: a settlement is due
        for side in (book.long, book.short):
            if side.leg.fills:
                settle_funding(account, side.leg, side.fills, book.bar.mark, rate)
        memory.funding_rate = rate
        memory.settlements += 1
    book.state.fresh = book.bar.volume > 0.0
    busy = not is_idle(book)
    safe = is_safe(account, books)
    if busy or not safe:
        if (busy and not safe) or order_matters(book):
            account.ambiguous_bars += 1
        match(book, liquidation_fee)
    revalue(account, books)
