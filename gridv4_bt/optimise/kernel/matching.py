"""Matching one bar in a sweep, in the order of `gridv4_bt.engine.venue`.

A bar that reaches no order does not come here, so this function is called and not copied into the kernel.
"""

from gridv4_bt.engine.liquidation import is_safe, is_safe_at_open, liquidate, liquidation_range
from gridv4_bt.engine.matching import fill_entries, fill_exits, fill_market_orders, fill_stops
from gridv4_bt.engine.state import INFINITY


def match(book, liquidation_fee):
    """Match one bar; one without volume fills nothing, but the mark may liquidate."""
    account, long, short, books = book.account, book.long, book.short, (book,)
    if not is_safe(account, books) and not is_safe_at_open(account, books):
        liquidate(account, books, liquidation_fee)
    down, up, traded = 0.0, INFINITY, book.bar.volume > 0.0
    if traded:
        fill_market_orders(book, long)
        fill_market_orders(book, short)
        if not is_safe(account, books):
            down, up = liquidation_range(account, books, book.state.place, True)
        fill_entries(book, long, down, up)
        fill_entries(book, short, down, up)
    safe = is_safe(account, books)
    stopped = 0
    if traded:
        down, up = 0.0, INFINITY
        if not safe:
            down, up = liquidation_range(account, books, book.state.place, True)
        fill_stops(book, long, down, up)
        fill_stops(book, short, down, up)
        stopped = long.leg.stopped + short.leg.stopped
    if (not safe or stopped) and not is_safe(account, books):
        liquidate(account, books, liquidation_fee)
    if traded:
        fill_exits(book, long)
        fill_exits(book, short)
    book.state.orders_changed = 1
