"""Cross margin: what positions and opening orders bind, and what may still be opened. All amounts are quote."""

from collections.abc import Sequence
from typing import Protocol

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.book_access import entries_changed
from gridv4_bt.engine.ladder import CAP, MARGIN, MAX_POSITION, PLACE, PLACED, REPLACE
from gridv4_bt.engine.leg import unrealized
from gridv4_bt.engine.state import INFINITY, LegState


class AccountTerms(Protocol):
    """The account's leverage and caps (`gridv4_bt.config`): multiples of the equity, 0 for none."""

    leverage: float
    cap_leg: float
    cap_symbol: float
    cap_side: float
    cap_gross: float
    cap_net: float


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


def exposure(leg: LegState, price: float) -> float:
    """Return the notional of a leg if all its opening orders were filled."""
    return leg.qty * price + leg.entry_notional + leg.ordered


def has_caps(p: AccountTerms) -> bool:
    """Return whether any cap is set."""
    return p.cap_leg + p.cap_symbol + p.cap_side + p.cap_gross + p.cap_net > 0.0


def room(account: Account, books: Sequence[Book], book: Book, sign: int, p: AccountTerms) -> float:
    """Return the notional by which one side of a symbol may grow until a cap is met; infinity without caps.

    All opening orders count as filled, but those of the other side not in its favour: the net of a side is what it
    would have if only its own were filled.

    Parameters
    ----------
    sign : 1 for LONG, -1 for SHORT.
    """
    own = opposite = held = 0.0
    for other in books:
        price = other.bar.close
        long, short = exposure(other.long.leg, price), exposure(other.short.leg, price)
        own += long if sign > 0 else short
        opposite += short if sign > 0 else long
        held += (other.short.leg.qty if sign > 0 else other.long.leg.qty) * price
    close = book.bar.close
    leg = exposure(book.long.leg if sign > 0 else book.short.leg, close)
    symbol = exposure(book.long.leg, close) + exposure(book.short.leg, close)
    least = below_cap(INFINITY, p.cap_leg, account.value, leg)
    least = below_cap(least, p.cap_symbol, account.value, symbol)
    least = below_cap(least, p.cap_side, account.value, own)
    least = below_cap(least, p.cap_gross, account.value, own + opposite)
    return below_cap(least, p.cap_net, account.value, own - held)


def below_cap(least: float, cap: float, equity: float, used: float) -> float:
    """Return `least`, or what a cap leaves if that is less. All but the cap are quote."""
    if cap == 0.0:
        return least
    return min(least, cap * equity - used)


def opening_limit(notional: float, capacity: float, room: float, free_margin: float, leverage: float) -> int:
    """Return the limit that an opening order exceeds, CAP, MAX_POSITION or MARGIN, or PLACED.

    Parameters
    ----------
    capacity : notional by which the leg may still grow at this leverage.
    room : notional by which it may grow until a cap is met.
    free_margin : equity that neither positions nor opening orders bind.
    """
    if notional > room:
        return CAP
    if notional > capacity:
        return MAX_POSITION
    if notional / leverage > free_margin:
        return MARGIN
    return PLACED


def refuse_entries(account: Account, books: Sequence[Book], book: Book, max_notional: float, p: AccountTerms) -> bool:
    """Empty the levels of a symbol whose new order is refused; return whether any may be empty now.

    The exchange refuses what exceeds margin or the largest position, the account's caps what would exceed them if all
    resting orders were filled. LONG comes before SHORT, the nearest level first. The reason stands in the level's row
    of codes.
    """
    long, short, close = book.long, book.short, book.bar.close
    free_long, free_short = capacity(max_notional, long.leg, close), capacity(max_notional, short.leg, close)
    free = free_margin(account, books, p.leverage)
    capped = has_caps(p)
    fits = not capped or (room(account, books, book, 1, p) >= 0.0 and room(account, books, book, -1, p) >= 0.0)
    if fits and free_long >= 0.0 and free_short >= 0.0 and free >= 0.0:
        return False
    free_long, free = without_new_orders(long, free_long, free, p.leverage)
    free_short, free = without_new_orders(short, free_short, free, p.leverage)
    below = room(account, books, book, 1, p) if capped else INFINITY
    free = refuse_side(long, free_long, below, free, p.leverage)
    below = room(account, books, book, -1, p) if capped else INFINITY
    refuse_side(short, free_short, below, free, p.leverage)
    return True


def is_new(side: Leg, i: int) -> bool:
    """Return whether a level has an order that did not rest before."""
    return side.orders[3][i] == PLACE or side.orders[3][i] == REPLACE


def without_new_orders(side: Leg, capacity: float, free: float, leverage: float) -> tuple[float, float]:
    """Take a side's new orders off its entries; return capacity and free margin as they are then."""
    for i in range(len(side.orders[0])):
        if is_new(side, i):
            notional = side.orders[0][i] * side.orders[1][i]
            free += notional / leverage
            capacity += notional
            side.leg.entry_notional -= notional
    return capacity, free


def refuse_side(side: Leg, capacity: float, room: float, free: float, leverage: float) -> float:
    """Empty the levels of a side whose new order does not fit, and return the margin that is still free."""
    for i in range(len(side.orders[0])):
        if is_new(side, i):
            notional = side.orders[0][i] * side.orders[1][i]
            limit = opening_limit(notional, capacity, room, free, leverage)
            if limit == PLACED:
                capacity -= notional
                room -= notional
                free -= notional / leverage
            else:
                side.orders[0][i], side.orders[4][i] = 0.0, limit
    entries_changed(side)
    return free


def refusal_of(side: Leg, i: int) -> int:
    """Return why a level's new order was refused, or PLACED."""
    code = int(side.orders[4][i])
    return code if code in (CAP, MARGIN, MAX_POSITION) else PLACED
