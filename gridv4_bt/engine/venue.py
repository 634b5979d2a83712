"""The matching of one account through a bar, phase by phase: a phase ends for all symbols before the next begins.

The phases: liquidation at the open, market orders, entries, stops or liquidation, exits. Of a symbol, the orders of the
grid's ladder are matched before its single orders.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book
from gridv4_bt.engine.liquidation import is_safe, is_safe_at_open, liquidate, liquidation_range
from gridv4_bt.engine.matching import fill_entries, fill_exits, fill_market_orders, fill_stops
from gridv4_bt.engine.orders import SingleOrders
from gridv4_bt.engine.state import INFINITY


class Divisible(Protocol):
    """A book whose bar can be matched in parts."""

    bar: Bar

    def parts(self) -> Sequence[Bar]:
        """Return the bars to match one after another in place of the whole bar, at least one."""

    def stand_at(self, part: Bar | None) -> None:
        """Match against a part of the bar from now on, or with None against the whole."""


B = TypeVar("B", bound=Divisible)
M = TypeVar("M", bound=Book)


def moments(fresh: Sequence[B]) -> list[tuple[int, list[tuple[B, Bar]]]]:
    """Return the parts of the books' new bars in order of time: (open time, [(book, part), ...])."""
    parts: dict[int, list[tuple[B, Bar]]] = {}
    for book in fresh:
        if book.bar.volume > 0.0:
            for part in book.parts():
                parts.setdefault(part.time, []).append((book, part))
    return sorted(parts.items(), key=lambda moment: moment[0])


def timeline(fresh: Sequence[B]) -> Iterator[list[B]]:
    """Move the books from part to part of their new bars and yield, at each, those with volume in it."""
    found = moments(fresh)
    if not found:
        yield []  # nothing is traded, but the mark may liquidate
    for _, parts in found:
        yield stand_at(parts)
    for book in fresh:
        book.stand_at(None)


def stand_at(parts: Sequence[tuple[B, Bar]]) -> list[B]:
    """Move books to parts of their bars and return those with volume in them."""
    for book, part in parts:
        book.stand_at(part)
    return [book for book, part in parts if part.volume > 0.0]


class Venue(Generic[M]):
    """The matching engine of one account.

    Parameters
    ----------
    singles : the account's single orders.
    liquidation_fee : fraction of the notional.
    report : called with a book after each phase that may have executed its ladder's orders, and after a liquidation.
    """

    def __init__(
        self, account: Account, singles: SingleOrders, liquidation_fee: float, report: Callable[[M], None]
    ) -> None:
        self.account = account
        self.singles = singles
        self.books: tuple[M, ...] = ()
        self._liquidation_fee = liquidation_fee
        self._report = report

    def open(self, books: Sequence[M]) -> None:
        """Liquidate at the open where needed, then fill market orders (phases 1 and 2)."""
        for book in self.books:
            book.state.fresh = book in books
        if not is_safe(self.account, self.books) and not is_safe_at_open(self.account, self.books):
            self.liquidate()  # before any order of the account
        for book in books:
            fill_market_orders(book, book.long)
            fill_market_orders(book, book.short)
            self._report(book)
            self.singles.fill_market_orders(book)

    def trade(self, books: Sequence[M]) -> None:
        """Fill entries, stops and exits, and liquidate where needed (phases 3 to 5)."""
        singles = self.singles
        safe = is_safe(self.account, self.books)
        for book in books:
            limits = self._limits(book, safe)
            fill_entries(book, book.long, *limits)
            fill_entries(book, book.short, *limits)
            self._report(book)
            singles.fill_entries(book, *limits)
        safe = is_safe(self.account, self.books)
        for book in books:
            # A stop the market meets before the liquidation price may save the account.
            limits = self._limits(book, safe)
            fill_stops(book, book.long, *limits)
            fill_stops(book, book.short, *limits)
            self._report(book)
            singles.fill_stops(book, *limits)
        # A stop may save the account, or ruin it by leaving the other leg without its hedge.
        if (not safe or any(leg.leg.stopped for book in books for leg in book.legs)) and not is_safe(
            self.account, self.books
        ):
            self.liquidate()
        for book in books:
            fill_exits(book, book.long)
            fill_exits(book, book.short)
            self._report(book)
            singles.fill_exits(book)
            book.orders_changed()

    def _limits(self, book: M, safe: bool) -> tuple[float, float]:
        if safe:
            return 0.0, INFINITY
        return liquidation_range(self.account, self.books, book.state.place, worst=True)

    def liquidate(self) -> None:
        """Close everything and cancel all orders."""
        liquidate(self.account, self.books, self._liquidation_fee)
        self.singles.cancel_all()
        for book in self.books:
            self._report(book)
            book.orders_changed()
