"""Liquidation of a cross-margin account: when it happens, and at what prices.

All symbols share the wallet. As the order of prices inside a bar is unknown, all symbols count at their worst price at
the same time: the low or the high of the mark, whichever leaves less.
"""

from collections.abc import Sequence

from gridv4_bt.core.risk import Bracket, maintenance_margin, safe_interval
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.book_access import cancel_orders, close_fill
from gridv4_bt.engine.labels import LIQUIDATION
from gridv4_bt.engine.leg import average_price, unrealized
from gridv4_bt.engine.position import LOT_NOISE, unrealized_pnl
from gridv4_bt.engine.state import INFINITY

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
    long, short = book.long.leg, book.short.leg
    return excess_at(price, long.qty, long.cost, short.qty, short.cost, book.brackets)


def worst_excess(book: Book) -> float:
    """Return the least `excess` within the bar; as it is concave in the price, it is at an extreme."""
    bar = book.bar
    return min(excess(book, bar.mark_low), excess(book, bar.mark_high))


def is_safe(account: Account, books: Sequence[Book]) -> bool:
    """Return whether equity stays above the maintenance margin through the bars of all symbols."""
    # First with the highest rate, that of the last bracket, on everything: cheap, and enough at all but high leverage.
    reserve, flat = account.wallet, True
    for book in books:
        long, short = book.long.leg, book.short.leg
        if long.fills or short.fills:
            flat = False
            bar, rate = book.bar, book.brackets[-1].rate
            reserve += reserve_at_worst(bar.mark_low, bar.mark_high, rate, long.qty, long.cost, short.qty, short.cost)
    if flat or reserve > 0.0:
        return True
    worst = 0.0
    for book in books:
        worst += worst_excess(book)
    return account.wallet + worst > 0.0


def is_safe_at_open(account: Account, books: Sequence[Book]) -> bool:
    """Return whether equity is above the maintenance margin when the new bars open.

    Symbols without a new bar count at their last close.
    """
    equity = account.wallet
    for book in books:
        bar = book.bar
        opened = price_at_open(bar.open, bar.mark_low, bar.mark_high)
        equity += excess(book, opened if book.state.fresh else bar.mark_close)
    return equity > 0.0


def liquidation_range(account: Account, books: Sequence[Book], place: int, worst: bool) -> tuple[float, float]:
    """Return the prices (down, up) of one symbol at which the account is liquidated; 0 and infinity for none.

    Parameters
    ----------
    place : of the symbol's book in `books`.
    worst : the other symbols count at the worst price of their bar, else at their close.
    """
    wallet = account.wallet
    for i in range(len(books)):
        if i != place:
            wallet += worst_excess(books[i]) if worst else excess(books[i], books[i].bar.mark_close)
    long, short, brackets = books[place].long.leg, books[place].short.leg, books[place].brackets
    return safe_interval(wallet, long.qty, average_price(long), short.qty, average_price(short), brackets)


def liquidate(account: Account, books: Sequence[Book], fee_rate: float) -> None:
    """Close everything, cancel all orders and mark the account as liquidated.

    A symbol is closed at its liquidation price, or at the open where the bar opened beyond. The user does not owe what
    the wallet cannot pay: first the fee is cut, then the price is the bankruptcy price, at which the exchange's
    insurance fund takes over.
    """
    for i in range(len(books)):
        bar, state = books[i].bar, books[i].state
        falls = excess(books[i], bar.mark_low) <= excess(books[i], bar.mark_high)
        down, up = liquidation_range(account, books, i, True)
        state.takeover = takeover_price(falls, bar.open, bar.mark_low, bar.mark_high, down, up)
        cancel_orders(books[i])
    equity, notional = account.wallet + pnl_at_takeover(books), 0.0
    for book in books:
        notional += book.long.leg.qty * book.state.takeover
        notional += book.short.leg.qty * book.state.takeover
    if equity < 0.0:
        pay_from_insurance(books, equity)
        equity = 0.0
    takes_all = equity <= fee_rate * notional
    if takes_all:
        fee_rate = equity / notional
    for book in books:
        close_all(book, book.long, fee_rate)
        close_all(book, book.short, fee_rate)
    if takes_all:  # what roundings left, or what the insurance fund pays of a loss that no price could change
        account.gross -= account.wallet
        account.wallet = 0.0
    account.liquidations += 1


def pnl_at_takeover(books: Sequence[Book]) -> float:
    """Return the unrealised PnL of all symbols at their takeover prices, quote."""
    total = 0.0
    for book in books:
        total += unrealized(book.long.leg, book.state.takeover) + unrealized(book.short.leg, book.state.takeover)
    return total


def pay_from_insurance(books: Sequence[Book], equity: float) -> None:
    """Move the takeover price of the symbol that loses most to where closing all leaves equity 0."""
    none = len(books)
    loser, least = none, INFINITY
    for i in range(len(books)):
        long, short = books[i].long.leg, books[i].short.leg
        if is_unhedged(long.qty, short.qty):  # of equal legs no price changes the PnL
            pnl = unrealized(long, books[i].state.takeover) + unrealized(short, books[i].state.takeover)
            if pnl < least:
                loser, least = i, pnl
    if loser != none:
        state, net_qty = books[loser].state, books[loser].long.leg.qty - books[loser].short.leg.qty
        state.takeover = bankruptcy_price(state.takeover, equity, net_qty)


def close_all(book: Book, side: Leg, fee_rate: float) -> None:
    """Close a leg at the takeover price."""
    while side.leg.fills:
        close_fill(book, side, 0, side.fills.qty[0], book.state.takeover, LIQUIDATION, fee_rate, False)
