"""The conservative rules by which a bar fills our resting orders, and the phases that apply them to one symbol.

A bar has open, high, low and close but not their order, so wherever the order decides, the worse one for us is taken.
The orders matched are those that stood at the end of the bar before. The simulated exchange, the local exchange and the
compiled sweep run this one text: on a `Book` of objects, or on the sweep's records.
"""

from gridv4_bt.engine.book import Book, Costs, Leg
from gridv4_bt.engine.book_access import (
    add_close,
    close_fill,
    close_of,
    count_closes,
    entries_changed,
    exit_of,
    forget_closes,
    index_of,
    open_fill,
)
from gridv4_bt.engine.labels import GRID, STOP2
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.state import INFINITY

# --- the rules, on plain numbers --------------------------------------------------------------------


def touches(is_buy: bool, price: float, low: float, high: float) -> bool:
    """Return whether a bar reaches a limit price: the rule ``fill_rule="touch"``."""
    return low <= price if is_buy else high >= price


def trades_through(is_buy: bool, price: float, low: float, high: float) -> bool:
    """Return whether a bar trades beyond a limit price: the rule ``fill_rule="through"``.

    At the very price other orders may be ahead in the queue.
    """
    return low < price if is_buy else high > price


def stop_hit(side_sign: int, stop: float, low: float, high: float) -> bool:
    """Return whether a bar's wick reaches the stop that closes a LONG (+1) or SHORT (-1) leg."""
    return low <= stop if side_sign > 0 else high >= stop


def market_price(is_buy: bool, price: float, slippage: float) -> float:
    """Return the price of a market order when the market is at `price`."""
    return price * (1.0 + slippage) if is_buy else price * (1.0 - slippage)


def stop_met(side_sign: int, stop: float, open_: float) -> float:
    """Return the price at which the market meets a stop: the worse of stop and open."""
    return min(stop, open_) if side_sign > 0 else max(stop, open_)


def stop_price(side_sign: int, stop: float, open_: float, slippage: float) -> float:
    """Return what a triggered stop gets: the worse of stop and open, then slippage."""
    return market_price(side_sign < 0, stop_met(side_sign, stop, open_), slippage)


def stop_takes(side_sign: int, price: float, entry: float, opened_ms: int, now_ms: int) -> bool:
    """Return whether a stop executed at `price` in the bar `now_ms` closes a fill.

    An entry of this very bar is closed too, unless it would gain by it: its price lies beyond the stop, so the market
    met the stop first and filled it after.
    """
    return opened_ms < now_ms or side_sign * (price - entry) <= 0.0


def fills(costs: Costs, is_buy: bool, price: float, low: float, high: float) -> bool:
    """Return whether a bar fills a resting limit order."""
    if costs.through:
        return trades_through(is_buy, price, low, high)
    return touches(is_buy, price, low, high)


# --- what a bar reaches -----------------------------------------------------------------------------


def note_first_exit(side: Leg) -> None:
    """Count the exits of a leg and find the one that the market meets first."""
    leg = side.leg
    first, count = leg.sign * INFINITY, 0
    for i in range(leg.fills):
        price = exit_of(side, i)
        if price > 0.0:
            count += 1
            first = min(first, price) if leg.sign > 0 else max(first, price)
    leg.first_exit, leg.exit_count = first, count


def note_exits(book: Book) -> None:
    """Note the exits that the market meets first, and how many market orders there are."""
    state, long, short = book.state, book.long, book.short
    state.orders_changed, state.market_orders = 0, 0
    if long.leg.fills:  # without any there is nothing to close
        note_first_exit(long)
        state.market_orders += count_closes(long)
    if short.leg.fills:
        note_first_exit(short)
        state.market_orders += count_closes(short)


def is_idle(book: Book) -> bool:
    """Return whether the bar reaches no order of ours, or nothing was traded in it."""
    bar, state, long, short = book.bar, book.state, book.long.leg, book.short.leg
    if bar.volume == 0.0:
        return True
    if state.orders_changed:
        note_exits(book)
    low, high = bar.low, bar.high
    if state.market_orders or low <= long.first_entry or high >= short.first_entry:
        return False
    if (long.fills and high >= long.first_exit) or (short.fills and low <= short.first_exit):
        return False
    return not ((long.has_stop and low <= long.stop) or (short.has_stop and high >= short.stop))


def order_matters(book: Book) -> bool:
    """Return whether the order of prices inside the bar decides what fills: it reaches a stop and an exit of a leg.

    Entries need no such knowledge: one nearer than the stop is met before it, one beyond is met after it.
    """
    if book.bar.volume == 0.0:
        return False
    if book.state.orders_changed:
        note_exits(book)
    return stop_and_exit(book, book.long) or stop_and_exit(book, book.short)


def stop_and_exit(book: Book, side: Leg) -> bool:
    """Return whether the bar reaches a stop and an exit of a leg."""
    bar, leg = book.bar, side.leg
    if not leg.has_stop or not stop_hit(leg.sign, leg.stop, bar.low, bar.high):
        return False
    return fills(book.costs, leg.sign < 0, leg.first_exit, bar.low, bar.high)


# --- the phases of one side; every symbol of the wallet passes one before any enters the next -------------


def fill_market_orders(book: Book, side: Leg) -> None:
    """Phase 2: market orders at the open."""
    leg = side.leg
    leg.stopped = 0
    count = count_closes(side)
    if count == 0:
        return
    price = market_price(leg.sign < 0, book.bar.open, book.costs.slippage)
    for i in range(count):
        fill_id, qty, label = close_of(side, i)
        index = index_of(side, fill_id)
        qty = min(qty, side.fills.qty[index])
        close_fill(book, side, index, qty, price, label, book.costs.taker_fee, False)
    forget_closes(side)


def fill_entries(book: Book, side: Leg, down: float = 0.0, up: float = INFINITY) -> None:
    """Phase 3: every entry that the bar reaches, at its limit price, nearest first.

    Only those that the market meets before the liquidation prices `down` and `up`.
    """
    bar, leg, prices = book.bar, side.leg, side.orders[0]
    is_buy = leg.sign > 0
    if not fills(book.costs, is_buy, leg.first_entry, bar.low, bar.high):
        return
    for i in range(len(prices)):
        price = prices[i]
        if price > 0.0 and fills(book.costs, is_buy, price, bar.low, bar.high) and down < price < up:
            prices[i] = 0.0
            open_fill(book, side, side.orders[1][i], price, side.orders[2][i])
    entries_changed(side)


def fill_stops(book: Book, side: Leg, down: float = 0.0, up: float = INFINITY) -> None:
    """Phase 4: a stop closes all that its leg held when the market met it, then it is gone.

    Only one that the market meets before the liquidation prices `down` and `up`.
    """
    bar, leg, held = book.bar, side.leg, side.fills
    if not leg.has_stop or not stop_hit(leg.sign, leg.stop, bar.low, bar.high):
        return
    if down < stop_met(leg.sign, leg.stop, bar.open) < up:
        price = stop_price(leg.sign, leg.stop, bar.open, book.costs.slippage)
        i = 0
        while i < leg.fills:
            if stop_takes(leg.sign, price, held.price[i], held.time[i], bar.time):
                close_fill(book, side, i, held.qty[i], price, STOP2, book.costs.taker_fee, False)
            else:
                i += 1
        leg.has_stop = 0
        leg.stopped = 1


def fill_exits(book: Book, side: Leg) -> None:
    """Phase 5: exits that stood before the bar; none on a side that was stopped in it."""
    bar, leg = book.bar, side.leg
    if leg.stopped:
        return
    i = 0
    while i < leg.fills:
        price = exit_of(side, i)
        if price > 0.0 and fills(book.costs, leg.sign < 0, price, bar.low, bar.high):
            close_fill(book, side, i, side.fills.qty[i], price, GRID, book.costs.maker_fee, True)
        else:
            i += 1


# --- what may be ordered ------------------------------------------------------------------------------


def order_close(book: Book, side: Leg, index: int, qty: float, label: int) -> bool:
    """Close part of a fill at the next open; return False if the whole fill is being closed already."""
    fill_id, pending = side.fills.id[index], 0.0
    for i in range(count_closes(side)):
        closing, part, _ = close_of(side, i)
        if closing == fill_id:
            pending += part
    free = side.fills.qty[index] - pending
    if free <= LOT_NOISE * qty:
        return False
    add_close(side, fill_id, min(qty, free), label)
    book.state.orders_changed = 1
    return True
