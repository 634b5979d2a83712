"""How a book of objects keeps fills, exits and closes.

A compiled sweep replaces each of these functions by its own, see `gridv4_bt.optimise.kernel`; the phases that call them
are one text for both.
"""

from gridv4_bt.engine.book import Book, Leg, MarketClose
from gridv4_bt.engine.labels import LABELS


def open_fill(book: Book, side: Leg, qty: float, price: float, spacing_pct: float) -> None:
    """Book an executed entry."""
    book.account.open_fill(
        book.symbol, side.tracker, float(qty), float(price), book.bar.time, book.state.regime, float(spacing_pct),
        book.costs.maker_fee, maker=True,
    )  # fmt: skip


def close_fill(
    book: Book, side: Leg, index: int, qty: float, price: float, label: int, fee_rate: float, maker: bool
) -> None:
    """Book the closing of `qty` of a fill and drop the orders of one that is gone."""
    tracker = side.tracker
    fill_id, before = tracker.ids[index], len(tracker)
    book.account.close_fill(book.symbol, tracker, index, qty, price, book.bar.time, LABELS[label], fee_rate, maker)
    if len(tracker) < before:
        side.forget(fill_id)


def index_of(side: Leg, fill_id: int) -> int:
    """Return where a fill is."""
    return side.fills.id.index(fill_id)


def exit_of(side: Leg, index: int) -> float:
    """Return the price of a fill's exit, 0 without one."""
    return side.exits.get(side.fills.id[index], 0.0)


def entries_changed(side: Leg) -> None:
    """Sum the resting entries of a side up anew."""
    side.entries_changed()


def count_closes(side: Leg) -> int:
    """Return the number of market orders for the next open."""
    return len(side.closes)


def close_of(side: Leg, index: int) -> tuple[int, float, int]:
    """Return fill, quantity and label of a market order for the next open."""
    fill_id, qty, label = side.closes[index]
    return fill_id, qty, label.number


def add_close(side: Leg, fill_id: int, qty: float, label: int) -> None:
    """Add a market order for the next open."""
    side.closes.append(MarketClose(fill_id, qty, LABELS[label]))


def forget_closes(side: Leg) -> None:
    """Forget the market orders, which are executed."""
    side.closes.clear()


def cancel_orders(book: Book) -> None:
    """Take all orders of the symbol away."""
    book.cancel_orders()
