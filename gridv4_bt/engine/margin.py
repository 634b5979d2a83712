"""Cross margin: what positions and opening orders bind, and what may still be opened. All amounts are quote."""

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.ladder import Blocked
from gridv4_bt.engine.matching import Book, Leg


def position_notional(book: Book, price: float) -> float:
    """Return the notional of both legs at a price."""
    return (book.long.tracker.qty + book.short.tracker.qty) * price


def add_maintenance(total: float, book: Book, price: float) -> float:
    """Return `total` plus the maintenance margin of each leg at a price.

    The legs are added one after another: a sum over books has the same bits as one over all legs.
    """
    for leg in book.legs:
        if leg.tracker.ids:
            total += maintenance_margin(leg.tracker.qty * price, book.market.brackets)
    return total


def capacity(max_notional: float, leg: Leg, price: float, ordered: float) -> float:
    """Return the notional by which a leg and its opening orders may still grow.

    Parameters
    ----------
    max_notional : of a leg with its opening orders at the leverage chosen.
    ordered : notional of the leg's opening single orders; the resting entries of its ladder are counted here.
    """
    return max_notional - (leg.bound_notional(price) + ordered)


def opening_limit(notional: float, capacity: float, free_margin: float, leverage: float) -> Blocked | None:
    """Return the limit that an opening order exceeds, or None.

    Parameters
    ----------
    capacity : notional by which the leg may still grow.
    free_margin : equity that neither positions nor opening orders bind.
    """
    if notional > capacity:
        return Blocked.MAX_POSITION
    if notional / leverage > free_margin:
        return Blocked.MARGIN
    return None
