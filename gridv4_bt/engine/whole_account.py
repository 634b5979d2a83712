"""The account as a whole, at the closes: what all symbols lose, which fill is the worst, what a margin call takes.

Every strategy of an account finds the same here, in any order of the symbols: nothing ordered at a bar counts before it
executes. On objects and on a sweep's records.
"""

from collections.abc import Sequence

from gridv4_bt.core.risk import maintenance_margin
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.leg import unrealized
from gridv4_bt.engine.position import realized_pnl
from gridv4_bt.engine.state import INFINITY, FillColumns, LegState


def unrealized_of(books: Sequence[Book]) -> float:
    """Return the unrealised PnL of all symbols, quote."""
    total = 0.0
    for book in books:
        close = book.bar.close
        total += unrealized(book.long.leg, close) + unrealized(book.short.leg, close)
    return total


def next_worst_of_leg(
    leg: LegState, fills: FillColumns, close: float, pnl: float, fill_id: int
) -> tuple[float, int, int]:
    """Return (unrealised PnL, id, index) of a leg's fill that comes after another: the larger loss, then the lower id.

    Parameters
    ----------
    pnl, fill_id : of the fill before; minus infinity and 0 for none.

    The id is 0 and the index -1 if none is left.
    """
    best, best_id, index = INFINITY, 0, -1
    for i in range(leg.fills):
        value, other = realized_pnl(leg.sign, fills.qty[i], fills.price[i], close), fills.id[i]
        if value < pnl or (value == pnl and other <= fill_id):
            continue
        if value < best or (value == best and other < best_id):
            best, best_id, index = value, other, i
    return best, best_id, index


def next_worst(books: Sequence[Book], pnl: float, fill_id: int) -> tuple[float, int]:
    """Return (unrealised PnL, id) of the account's fill that comes after another, see `next_worst_of_leg`.

    Only symbols that have a bar at this step count: the others can close nothing.
    """
    best, best_id = INFINITY, 0
    for book in books:
        if book.state.has_bar:
            for side in (book.long, book.short):
                value, other, index = next_worst_of_leg(side.leg, side.fills, book.bar.close, pnl, fill_id)
                if index >= 0 and (value < best or (value == best and other < best_id)):
                    best, best_id = value, other
    return best, best_id


def place_of(leg: LegState, fills: FillColumns, fill_id: int) -> int:
    """Return where a fill is in its leg, -1 if it is in another one."""
    for i in range(leg.fills):
        if fills.id[i] == fill_id:
            return i
    return -1


def begin_margin_call(books: Sequence[Book]) -> None:
    """Note what every leg holds before a margin call takes fills off."""
    for book in books:
        book.long.leg.left, book.short.leg.left = book.long.leg.qty, book.short.leg.qty


def take_off(books: Sequence[Book], fill_id: int) -> float:
    """Take a fill off what its leg would hold and return the maintenance margin of all that is left, quote."""
    total = 0.0
    for book in books:
        for side in (book.long, book.short):
            leg, index = side.leg, place_of(side.leg, side.fills, fill_id)
            if index >= 0:
                leg.left -= side.fills.qty[index]
            if leg.left > 0.0:
                total += maintenance_margin(leg.left * book.bar.close, book.brackets)
    return total
