"""One exchange account through a bar: every symbol passes a phase before any enters the next.

The order of events is that of the specification: the account may be taken over at the open, market orders, entries,
stops or liquidation, exits. The grid's ladder of a symbol has its turn before the single orders of it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.liquidation import is_safe, is_safe_at_open, liquidate, liquidation_range
from gridv4_bt.engine.matching import INFINITY, Bar, Book
from gridv4_bt.engine.orders import SingleOrders


class Divisible(Protocol):
    """A book whose bar may be matched in parts."""

    bar: Bar

    def parts(self) -> Sequence[Bar]:
        """Return the bars to match one after another in place of the whole, at least one."""

    def stand_at(self, part: Bar | None) -> None:
        """Match against a part from now on, or against the whole again."""


B = TypeVar("B", bound=Divisible)


def moments(fresh: Sequence[B]) -> list[tuple[int, list[tuple[B, Bar]]]]:
    """Return what is matched one after another in the new bars of some books: its open time, and the parts by book."""
    parts: dict[int, list[tuple[B, Bar]]] = {}
    for book in fresh:
        if book.bar.volume > 0.0:
            for part in book.parts():
                parts.setdefault(part.time, []).append((book, part))
    return sorted(parts.items(), key=lambda moment: moment[0])


def timeline(fresh: Sequence[B]) -> Iterator[list[B]]:
    """Let the books stand at one part of their new bars after another; give those that trade in it."""
    found = moments(fresh)
    if not found:
        yield []  # nothing is traded, but the mark may liquidate
    for _, parts in found:
        yield stand_at(parts)
    for book in fresh:
        book.stand_at(None)


def stand_at(parts: Sequence[tuple[B, Bar]]) -> list[B]:
    """Let the books stand at their parts and return those that trade in them."""
    for book, part in parts:
        book.stand_at(part)
    return [book for book, part in parts if part.volume > 0.0]


class Venue:
    """The books of one account.

    Parameters
    ----------
    report : is called when orders of a book's ladder, or a liquidation, may have been executed.
    """

    def __init__(
        self, account: Account, singles: SingleOrders, liquidation_fee: float, report: Callable[[Book], None]
    ) -> None:
        self.account = account
        self.singles = singles
        self.books: tuple[Book, ...] = ()
        self._liquidation_fee = liquidation_fee
        self._report = report

    def open(self, books: Sequence[Book]) -> None:
        """Phases 1 and 2 of the books that trade: the exchange takes over, or market orders have their turn."""
        if not is_safe(self.account, self.books) and not is_safe_at_open(self.account, self.books, books):
            self._liquidate()  # before any order of ours
        for book in books:
            book.fill_market_orders()
            self._report(book)
            self.singles.fill_market_orders(book)

    def trade(self, books: Sequence[Book]) -> None:
        """Phases 3 to 5 of the books that trade: what happens inside the bar."""
        singles = self.singles
        safe = is_safe(self.account, self.books)
        for book in books:
            limits = self._limits(book, safe)
            book.fill_entries(*limits)
            self._report(book)
            singles.fill_entries(book, *limits)
        safe = is_safe(self.account, self.books)
        for book in books:
            # A stop the market meets before the liquidation price may save the account.
            limits = self._limits(book, safe)
            book.fill_stops(*limits)
            self._report(book)
            singles.fill_stops(book, *limits)
        # A stop may save the account, or ruin it by leaving the other leg without its hedge.
        if (not safe or any(book.stopped for book in books)) and not is_safe(self.account, self.books):
            self._liquidate()
        for book in books:
            book.fill_exits()
            self._report(book)
            singles.fill_exits(book)
            book.orders_changed()

    def _limits(self, book: Book, safe: bool) -> tuple[float, float]:
        return (0.0, INFINITY) if safe else liquidation_range(self.account, self.books, book, worst=True)

    def _liquidate(self) -> None:
        liquidate(self.account, self.books, self._liquidation_fee)
        self.singles.cancel_all()
        for book in self.books:
            self._report(book)
            book.orders_changed()
