"""Matching the bars of a step in a sweep, in the order of `gridv4_bt.engine.venue`.

A step that reaches no order does not come here, so this function is called and not copied into the kernel.
"""

from gridv4_bt.engine.liquidation import is_safe, is_safe_at_open, liquidate, liquidation_range
from gridv4_bt.engine.matching import fill_entries, fill_exits, fill_market_orders, fill_stops
from gridv4_bt.engine.state import INFINITY


def match(account, books, liquidation_fee):
    """Match the bars phase by phase; one without volume fills nothing, but the mark may liquidate."""
    if not is_safe(account, books) and not is_safe_at_open(account, books):
        liquidate(account, books, liquidation_fee)
    for book in books:
        if book.state.fresh:
            fill_market_orders(book, book.long)
            fill_market_orders(book, book.short)
    account.before_entries = account.news
    safe = is_safe(account, books)
    for book in books:
        if book.state.fresh:
            down, up = limits(account, books, book.state.place, safe)
            fill_entries(book, book.long, down, up)
            fill_entries(book, book.short, down, up)
    safe = is_safe(account, books)
    stopped = 0
    for book in books:
        if book.state.fresh:
            down, up = limits(account, books, book.state.place, safe)
            fill_stops(book, book.long, down, up)
            fill_stops(book, book.short, down, up)
            stopped += book.long.leg.stopped + book.short.leg.stopped
    if (not safe or stopped) and not is_safe(account, books):
        liquidate(account, books, liquidation_fee)
    for book in books:
        if book.state.fresh:
            fill_exits(book, book.long)
            fill_exits(book, book.short)
            book.state.orders_changed = 1


def limits(account, books, place, safe):
    """Return the prices (down, up) of a symbol beyond which no order executes: the account is liquidated there."""
    if safe:
        return 0.0, INFINITY
    return liquidation_range(account, books, place, True)
