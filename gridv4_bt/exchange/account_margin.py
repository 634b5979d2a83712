"""Equity and margin of an account at the last prices."""

from collections.abc import Mapping

from gridv4_bt.core.risk import liquidation_prices
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine import margin
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.liquidation import excess
from gridv4_bt.engine.orders import SingleOrders
from gridv4_bt.exchange.replay import ReplayBook


class Margins:
    """Cross margin of all symbols of an account; amounts in quote."""

    def __init__(self, account: Account, singles: SingleOrders, books: Mapping[str, ReplayBook]) -> None:
        self._account = account
        self._singles = singles
        self._books = books

    @property
    def equity(self) -> float:
        """Wallet and unrealised PnL."""
        return self._account.wallet + plain_sum(book.unrealized(book.price) for book in self._books.values())

    @property
    def free(self) -> float:
        """Equity that is not used as margin by positions or opening orders: the available balance."""
        return self.equity - plain_sum(self.of_positions(book) + self.of_orders(book) for book in self._books.values())

    def of_positions(self, book: ReplayBook) -> float:
        """Return the initial margin of a symbol's positions."""
        return margin.position_notional(book, book.price) / book.leverage

    def of_orders(self, book: ReplayBook) -> float:
        """Return the initial margin of a symbol's opening orders."""
        return self._singles.open_notional(book, None, book.price) / book.leverage

    def maintenance(self, book: ReplayBook) -> float:
        """Return the maintenance margin of a symbol's positions."""
        return margin.add_maintenance(0.0, book, book.price)

    def capacity(self, book: ReplayBook, leg: Leg) -> float:
        """Return the notional by which a leg and its opening orders may still grow at the leverage chosen."""
        leg.leg.ordered = self._singles.open_notional(book, leg.side, book.price)
        return margin.capacity(book.max_notional, leg.leg, book.price)

    def liquidation_range(self, book: ReplayBook) -> tuple[float | None, float | None]:
        """Return the liquidation prices (down, up) of a symbol, the other symbols at their last prices."""
        others = plain_sum(excess(other, other.price) for other in self._books.values() if other is not book)
        long, short = book.long.tracker, book.short.tracker
        return liquidation_prices(
            self._account.wallet + others,
            long.qty,
            long.average if long.ids else 0.0,
            short.qty,
            short.average if short.ids else 0.0,
            book.market.brackets,
        )
