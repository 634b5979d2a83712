"""What the steps order, and what they ask the broker: one function each, over `brokers.base.HedgeModeBroker`.

A compiled sweep replaces each of them by its own, see `gridv4_bt.optimise.kernel`; the steps are one text for both.
"""

from collections.abc import Sequence

import backtrader as bt

from gridv4_bt.config import GridConfig
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import note_first_exit
from gridv4_bt.engine.state import Memory, Now
from strategies.ladder_plan import LadderPlan
from strategies.side import Side


class SymbolOrders:
    """The orders of one symbol at its broker."""

    __slots__ = ("broker", "feed", "regime", "strategy", "symbol")

    def __init__(self, strategy: bt.Strategy, feed: bt.AbstractDataBase) -> None:
        self.strategy = strategy
        self.broker = strategy.broker
        self.feed = feed
        self.symbol: str = self.broker.state(feed).market.symbol
        self.regime: int | None = None  #: that the broker was told last


def books_of(book: SymbolOrders) -> Sequence[Book]:
    """Return the books of all symbols of the account that hold anything, and maybe others, to be read only."""
    books: Sequence[Book] = book.broker.held
    return books


def sigma_of(p: GridConfig, now: Now, book: SymbolOrders, other: Book) -> float:
    """Return the volatility of a symbol of the account over `p.sigma_bars` of its own closes up to this step."""
    if other.symbol == book.symbol:
        return now.sigma
    sigma: float = book.broker.sigma(other, p.sigma_bars)
    return sigma


def close_at_market(book: SymbolOrders, side: Side, index: int, qty: float, label: int) -> None:
    """Close part of a fill at the next open, as far as it is not being closed already."""
    book.broker.close_fill(book.feed, side.side, side.fills.id[index], qty, LABELS[label])


def cancel_entries(book: SymbolOrders, side: Side) -> None:
    """Cancel all resting entries of a side."""
    book.broker.cancel_entries(book.feed, side.side)


def set_stop(book: SymbolOrders, side: Side, price: float) -> None:
    """Place the stop that closes the whole leg, or cancel it (`NO_STOP`)."""
    book.broker.set_stop(book.feed, side.side, price if price == price else None)


def maintenance(book: SymbolOrders, brackets: Sequence[Bracket], close: float, long: Side, short: Side) -> float:
    """Return the maintenance margin of the account, quote."""
    required: float = book.broker.maintenance_margin()
    return required


def liquidation_range(book: SymbolOrders, brackets: Sequence[Bracket], long: Side, short: Side) -> tuple[float, float]:
    """Return the prices (down, up) at which the account is liquidated; 0 and infinity for none."""
    prices: tuple[float, float] = book.broker.liquidation_range(book.feed)
    return prices


def plan_entries(
    p: GridConfig, rules: Market, memory: Memory, now: Now, long: Side, short: Side, plan: LadderPlan
) -> int:
    """Plan the entries of both sides, note q and shift, and return which sides' orders change (see `plan_ladder`)."""
    return plan.change(memory, now, long, short)


def confirm_regime(book: SymbolOrders, regime: int) -> None:
    """Name the regime that new fills will carry."""
    if regime != book.regime:
        book.regime = regime
        book.broker.confirm(book.feed, book.strategy, regime)


def rest_entries(
    p: GridConfig, rules: Market, now: Now, book: SymbolOrders, long: Side, short: Side, plan: LadderPlan
) -> None:
    """Place the planned entries but for those that the exchange refuses."""
    refused = book.broker.rest_entries(book.feed)
    if refused:
        plan.refused(refused)


def count_exits(side: Side) -> int:
    """Return how many fills have an exit; an exchange may drop one."""
    return len(side.book.exits)


def load_exits(side: Side) -> None:
    """Bring the prices of the resting exits to their fills."""
    resting = side.book.exits
    side.fills.exit = [resting.get(fill_id, 0.0) for fill_id in side.fills.id]


def place_exits(book: SymbolOrders, side: Side) -> None:
    """Place the exits that the fills' column holds, and note which the market meets first."""
    exits = dict(zip(side.fills.id, side.fills.exit, strict=True))
    book.broker.set_exits(book.feed, side.side, exits)
    note_first_exit(side.book)


def make_room(side: Side) -> bool:
    """Make room for one more level that cools."""
    return side.make_room()
