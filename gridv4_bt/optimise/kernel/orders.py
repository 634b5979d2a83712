"""What the steps order in a sweep: the functions of `strategies.orders` on the kernel's records.

Their first argument is `OrdersRecords`. The text of the steps that calls them is `strategies.steps`.
"""

from gridv4_bt.engine import liquidation
from gridv4_bt.engine.ladder import PLACED, note_refusal, plan_ladder, take_totals
from gridv4_bt.engine.margin import add_maintenance, refusal_of, refuse_entries
from gridv4_bt.engine.matching import note_first_exit, order_close
from gridv4_bt.optimise.kernel.record_access import drop_entries


def books_of(orders):
    """Return the books of all symbols of the account."""
    return orders.books


def sigma_of(p, now, orders, other):
    """Return the volatility of a symbol of the account over its own closes up to this step."""
    return other.symbol.sigma


def close_at_market(orders, side, index, qty, label):
    """Close part of a fill at the next open, as far as it is not being closed already."""
    order_close(orders.book, side, index, qty, label)


def cancel_entries(orders, side):
    """Cancel all resting entries of a side."""
    drop_entries(side)


def set_stop(orders, side, price):
    """Place the stop that closes the whole leg, or cancel it (NaN)."""
    leg = side.leg
    leg.has_stop = price == price
    if leg.has_stop:
        leg.stop = price


def maintenance(orders, brackets, close, long, short):
    """Return the maintenance margin of the account at the closes."""
    total = 0.0
    for book in orders.books:
        total = add_maintenance(total, book, book.bar.close)
    return total


def liquidation_range(orders, brackets, long, short):
    """Return the prices (down, up) at which the account is liquidated.

    Those of a single symbol move only when the rules, fills or wallet do.
    """
    books, book = orders.books, orders.book
    account, place = book.account, book.state.place
    if len(books) > 1:
        return liquidation.liquidation_range(account, books, place, False)
    if account.range_stale or account.wallet != account.range_wallet:
        account.range_stale, account.range_wallet = 0, account.wallet
        account.range_down, account.range_up = liquidation.liquidation_range(account, books, place, False)
    return account.range_down, account.range_up


def plan_entries(p, rules, memory, now, long, short, plan):
    """Plan the entries of both sides, note q and shift, and return which sides' orders change (see `plan_ladder`)."""
    changed = plan_ladder(p, rules, memory, now, long, short, plan)
    if changed & 1:
        take_totals(long.leg, long.totals)
    if changed & 2:
        take_totals(short.leg, short.totals)
    return changed


def confirm_regime(orders, regime):
    """Name the regime that new fills will carry."""
    orders.book.state.regime = regime


def rest_entries(p, rules, now, orders, long, short, plan):
    """Place the planned entries but for those that the exchange refuses."""
    book = orders.book
    if refuse_entries(book.account, orders.books, book, rules.max_notional, p):
        for side in (long, short):
            for i in range(p.levels):
                reason = refusal_of(side, i)
                if reason != PLACED:
                    note_refusal(plan, i if side.leg.sign > 0 else p.levels + i, reason)


def count_exits(side):
    """Return how many fills have an exit."""
    return side.leg.exit_count


def load_exits(side):
    """Leave the exits where they are: a fill's record holds its own."""


def place_exits(orders, side):
    """Note which exit the market meets first."""
    note_first_exit(side)
    orders.book.state.orders_changed = 1


def make_room(side):
    """Return whether there is room for one more level that cools."""
    return side.leg.cooling < len(side.cooling)
