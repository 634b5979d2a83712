"""Cross margin: what positions and opening orders bind, and what may still be opened. All amounts are quote."""

from collections.abc import Sequence

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.book_access import entries_changed
from gridv4_bt.engine.ladder import MARGIN, MAX_POSITION, PLACE, PLACED, REPLACE
from gridv4_bt.engine.leg import unrealized
from gridv4_bt.engine.state import LegState


def revalue(account: Account, books: Sequence[Book]) -> None:
    """Value the account at the last closes: equity, and the notional of all positions."""
    account.value, account.held_notional = account.wallet, 0.0
    for book in books:
        long, short, close = book.long.leg, book.short.leg, book.bar.close
        if long.fills or short.fills:
            account.value += unrealized(long, close) + unrealized(short, close)
            account.held_notional += position_notional(book, close)


def position_notional(book: Book, price: float) -> float:
    """Return the notional of both legs at a price."""
    return (book.long.leg.qty + book.short.leg.qty) * price


def add_maintenance(total: float, book: Book, price: float) -> float:
    """Return `total` plus the maintenance margin of each leg at a price.

    The legs are added one after another: a sum over books has the same bits as one over all legs.
    """
    long, short = book.long.leg, book.short.leg
    if long.fills:
        total += maintenance_margin(long.qty * price, book.brackets)
    if short.fills:
        total += maintenance_margin(short.qty * price, book.brackets)
    return total


def free_margin(account: Account, books: Sequence[Book], leverage: float) -> float:
    """Return the equity that is not initial margin of positions or opening orders."""
    notional = account.held_notional
    for book in books:
        long, short = book.long.leg, book.short.leg
        notional += (long.entry_notional + short.entry_notional) + (long.ordered + short.ordered)
    return account.value - notional / leverage


def capacity(max_notional: float, leg: LegState, price: float) -> float:
    """Return the notional by which a leg and its opening orders may still grow.

    Parameters
    ----------
    max_notional : of a leg with its opening orders at the leverage chosen.
    """
    return max_notional - (leg.qty * price + leg.entry_notional + leg.ordered)


def opening_limit(notional: float, capacity: float, free_margin: float, leverage: float) -> int:
    """Return the limit that an opening order exceeds, MAX_POSITION or MARGIN, or PLACED.

    Parameters
    ----------
    capacity : notional by which the leg may still grow.
    free_margin : equity that neither positions nor opening orders bind.
    """
    if notional > capacity:
        return MAX_POSITION
    if notional / leverage > free_margin:
        return MARGIN
    return PLACED


def refuse_entries(account: Account, books: Sequence[Book], book: Book, max_notional: float, leverage: float) -> bool:
    """Empty the levels of a symbol whose new order the exchange refuses; return whether any may be empty now.

    LONG comes before SHORT, the nearest level first. The reason stands in the level's row of codes.
    """
    long, short, close = book.long, book.short, book.bar.close
    free_long, free_short = capacity(max_notional, long.leg, close), capacity(max_notional, short.leg, close)
    free = free_margin(account, books, leverage)
    if free_long >= 0.0 and free_short >= 0.0 and free >= 0.0:
        return False
    free_long, free = without_new_orders(long, free_long, free, leverage)
    free_short, free = without_new_orders(short, free_short, free, leverage)
    free = refuse_side(long, free_long, free, leverage)
    refuse_side(short, free_short, free, leverage)
    return True


def is_new(side: Leg, i: int) -> bool:
    """Return whether a level has an order that did not rest before."""
    return side.orders[3][i] == PLACE or side.orders[3][i] == REPLACE


def without_new_orders(side: Leg, capacity: float, free: float, leverage: float) -> tuple[float, float]:
    """Return capacity and free margin as they are without a side's new orders."""
    for i in range(len(side.orders[0])):
        if is_new(side, i):
            notional = side.orders[0][i] * side.orders[1][i]
            free += notional / leverage
            capacity += notional
    return capacity, free


def refuse_side(side: Leg, capacity: float, free: float, leverage: float) -> float:
    """Empty the levels of a side whose new order does not fit, and return the margin that is still free."""
    for i in range(len(side.orders[0])):
        if is_new(side, i):
            notional = side.orders[0][i] * side.orders[1][i]
            limit = opening_limit(notional, capacity, free, leverage)
            if limit == PLACED:
                capacity -= notional
                free -= notional / leverage
            else:
                side.orders[0][i], side.orders[4][i] = 0.0, limit
    entries_changed(side)
    return free


def refusal_of(side: Leg, i: int) -> int:
    """Return why a level's new order was refused, or PLACED."""
    code = int(side.orders[4][i])
    return code if code in (MARGIN, MAX_POSITION) else PLACED
