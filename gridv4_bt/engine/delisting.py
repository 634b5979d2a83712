"""What happens to a symbol whose data end while it is held, as when an exchange delists it."""

from gridv4_bt.engine.book import Book
from gridv4_bt.engine.book_access import cancel_orders, close_fill
from gridv4_bt.engine.labels import DELISTED
from gridv4_bt.engine.matching import market_price


def is_delisted(last_ms: float, latest_ms: float) -> bool:
    """Return whether a symbol whose last bar opens at `last_ms` is over when a bar of another opens at `latest_ms`.

    The end of a run is none: no later bar of any symbol comes.
    """
    return latest_ms > last_ms


def settle_delisted(book: Book) -> None:
    """Close both legs at the last close, worse by the slippage, with the taker fee, and cancel all orders.

    The trades have the time of the symbol's last bar.
    """
    cancel_orders(book)
    long, short, costs, close = book.long, book.short, book.costs, book.bar.close
    price = market_price(False, close, costs.slippage)
    while long.leg.fills:
        close_fill(book, long, 0, long.fills.qty[0], price, DELISTED, costs.taker_fee, False)
    price = market_price(True, close, costs.slippage)
    while short.leg.fills:
        close_fill(book, short, 0, short.fills.qty[0], price, DELISTED, costs.taker_fee, False)
