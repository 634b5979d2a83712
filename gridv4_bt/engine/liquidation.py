"""Liquidation of a cross-margin account: when it happens, and at what prices.

All symbols share the wallet. As the order of prices inside a bar is unknown, all symbols count at their worst price at
the same time: the low or the high of the mark, whichever leaves less.
"""

from collections.abc import Sequence

from gridv4_bt.core.risk import Bracket, maintenance_margin, safe_interval
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.matching import Book
from gridv4_bt.engine.position import LOT_NOISE, unrealized_pnl
from gridv4_bt.engine.types import TradeLabel

# --- the rules, on plain numbers --------------------------------------------------------------------


def excess_at(
    price: float, long_qty: float, long_cost: float, short_qty: float, short_cost: float, brackets: Sequence[Bracket]
) -> float:
    """Return unrealised PnL minus maintenance margin of two legs at a price, quote."""
    total = 0.0
    if long_qty > 0.0:
        total += unrealized_pnl(1, long_qty, long_cost, price) - maintenance_margin(long_qty * price, brackets)
    if short_qty > 0.0:
        total += unrealized_pnl(-1, short_qty, short_cost, price) - maintenance_margin(short_qty * price, brackets)
    return total


def reserve_at_worst(
    mark_low: float,
    mark_high: float,
    rate: float,
    long_qty: float,
    long_cost: float,
    short_qty: float,
    short_cost: float,
) -> float:
    """Return the least unrealised PnL within a bar minus `rate` times the notional of both legs at its high, quote."""
    net = long_qty - short_qty
    pnl = min(net * mark_low, net * mark_high) - long_cost + short_cost
    return -(rate * (long_qty + short_qty) * mark_high) + pnl


def price_at_open(open_: float, mark_low: float, mark_high: float) -> float:
    """Return the mark price at a bar's open: the open, clamped to the range of the mark."""
    return min(max(open_, mark_low), mark_high)


def takeover_price(falls: bool, open_: float, mark_low: float, mark_high: float, down: float, up: float) -> float:
    """Return the price at which a symbol is liquidated: its liquidation price, or the open where the bar opened beyond.

    `falls`: the low of the mark leaves less than the high. `down` and `up` are the liquidation prices.
    """
    if falls:
        return min(open_, down) if down >= mark_low else mark_low
    return max(open_, up) if up <= mark_high else mark_high


def bankruptcy_price(price: float, equity: float, net_qty: float) -> float:
    """Return the price at which closing a net quantity leaves equity 0, if closing it at `price` leaves `equity`."""
    return price - equity / net_qty


def is_unhedged(long_qty: float, short_qty: float) -> bool:
    """Return whether the legs differ, so that the price decides what closing both brings."""
    return abs(long_qty - short_qty) > LOT_NOISE * long_qty


# --- the rules applied to books ---------------------------------------------------------------------


def excess(book: Book, price: float) -> float:
    """Return unrealised PnL minus maintenance margin of one symbol at a price, quote."""
    long, short = book.long.tracker, book.short.tracker
    return excess_at(price, long.qty, long.cost, short.qty, short.cost, book.market.brackets)


def worst_excess(book: Book) -> float:
    """Return the least `excess` within the bar; as it is concave in the price, it is at an extreme."""
    bar = book.bar
    return min(excess(book, bar.mark_low), excess(book, bar.mark_high))


def is_safe(account: Account, books: Sequence[Book]) -> bool:
    """Return whether equity stays above the maintenance margin through the bars of all symbols."""
    # First with the highest rate, that of the last bracket, on everything: cheap, and enough at all but high leverage.
    reserve = account.wallet
    flat = True
    for book in books:
        long, short = book.long.tracker, book.short.tracker
        if not long.ids and not short.ids:
            continue
        flat = False
        bar, rate = book.bar, book.market.brackets[-1].rate
        reserve += reserve_at_worst(bar.mark_low, bar.mark_high, rate, long.qty, long.cost, short.qty, short.cost)
    if flat or reserve > 0.0:
        return True
    return account.wallet + plain_sum(worst_excess(book) for book in books) > 0.0


def is_safe_at_open(account: Account, books: Sequence[Book], fresh: Sequence[Book]) -> bool:
    """Return whether equity is above the maintenance margin when the new bars open.

    Symbols that are not `fresh` have no new bar and count at their last close.
    """
    equity = account.wallet
    for book in books:
        bar = book.bar
        opened = price_at_open(bar.open, bar.mark_low, bar.mark_high)
        equity += excess(book, opened if book in fresh else bar.mark_close)
    return equity > 0.0


def liquidation_range(account: Account, books: Sequence[Book], book: Book, worst: bool) -> tuple[float, float]:
    """Return the prices (down, up) of one symbol at which the account is liquidated; 0 and infinity for none.

    The other symbols count at the worst price of their bar if `worst`, else at their close.
    """
    wallet = account.wallet
    for other in books:
        if other is not book:
            wallet += worst_excess(other) if worst else excess(other, other.bar.mark_close)
    long, short = book.long.tracker, book.short.tracker
    return safe_interval(
        wallet,
        long.qty,
        long.average if long.ids else 0.0,
        short.qty,
        short.average if short.ids else 0.0,
        book.market.brackets,
    )


def liquidate(account: Account, books: Sequence[Book], fee_rate: float) -> None:
    """Close everything, cancel all orders and mark the account as liquidated.

    A symbol is closed at its liquidation price, or at the open where the bar opened beyond. The user does not owe what
    the wallet cannot pay: first the fee is cut, then the price is the bankruptcy price, at which the exchange's
    insurance fund takes over.
    """
    prices = {}
    for book in books:
        prices[book.symbol] = _price(account, books, book)
        book.cancel_orders()
    equity = account.wallet + plain_sum(book.unrealized(prices[book.symbol]) for book in books)
    notional = plain_sum((leg.tracker.qty * prices[book.symbol]) for book in books for leg in book.legs)
    if equity < 0.0:
        # Of equal legs no price changes the PnL.
        unhedged = [book for book in books if is_unhedged(book.long.tracker.qty, book.short.tracker.qty)]
        if unhedged:
            loser = min(unhedged, key=lambda book: book.unrealized(prices[book.symbol]))
            net_qty = loser.long.tracker.qty - loser.short.tracker.qty
            prices[loser.symbol] = bankruptcy_price(prices[loser.symbol], equity, net_qty)
        equity = 0.0
    fee_rate = min(fee_rate, equity / notional)
    for book in books:
        book.close_all(prices[book.symbol], TradeLabel.LIQUIDATION, fee_rate)
    account.liquidations += 1


def _price(account: Account, books: Sequence[Book], book: Book) -> float:
    bar = book.bar
    falls = excess(book, bar.mark_low) <= excess(book, bar.mark_high)
    down, up = liquidation_range(account, books, book, worst=True)
    return takeover_price(falls, bar.open, bar.mark_low, bar.mark_high, down, up)
