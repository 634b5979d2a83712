"""What the steps order in a sweep: the functions of `strategies.orders` on the kernel's records.

The book is `BookRecords`. The text of the steps that calls them is `strategies.steps`.
"""

from gridv4_bt.engine import liquidation
from gridv4_bt.engine.ladder import PLACED, plan_ladder, take_totals
from gridv4_bt.engine.margin import add_maintenance, refusal_of, refuse_entries
from gridv4_bt.engine.matching import note_first_exit, order_close
from gridv4_bt.optimise.kernel.record_access import drop_entries


def books_of(book):
    """Return the books of all symbols of the account: a sweep has one."""
    return (book,)


def sigma_of(p, now, book, other):
    """Return the volatility of the symbol."""
    return now.sigma


def close_at_market(book, side, index, qty, label):
    """Close part of a fill at the next open, as far as it is not being closed already."""
    order_close(book, side, index, qty, label)


def cancel_entries(book, side):
    """Cancel all resting entries of a side."""
    drop_entries(side)
    book.state.orders_changed = 1


def set_stop(book, side, price):
    """Place the stop that closes the whole leg, or cancel it (NaN)."""
    leg = side.leg
    leg.has_stop = price == price
    if leg.has_stop:
        leg.stop = price


def maintenance(book, brackets, close, long, short):
    """Return the maintenance margin of the account at a close."""
    return add_maintenance(0.0, book, close)


def liquidation_range(book, brackets, long, short):
    """Return the prices (down, up) at which the account is liquidated; they move when the rules, fills or wallet do."""
    account = book.account
    if account.range_stale or account.wallet != account.range_wallet:
        account.range_stale, account.range_wallet = 0, account.wallet
        account.range_down, account.range_up = liquidation.liquidation_range(account, (book,), book.state.place, False)
    return account.range_down, account.range_up


def plan_entries(p, rules, memory, now, long, short, plan):
    """Plan the entries of both sides, note q and shift, and return which sides' orders change (see `plan_ladder`)."""
    changed = plan_ladder(p, rules, memory, now, long, short, plan)
    if changed & 1:
        take_totals(long.leg, long.totals)
    if changed & 2:
        take_totals(short.leg, short.totals)
    return changed


def confirm_regime(book, regime):
    """Name the regime that new fills will carry."""
    book.state.regime = regime


def rest_entries(p, rules, now, book, long, short, plan):
    """Place the planned entries but for those that the exchange refuses."""
    book.state.orders_changed = 1
    if refuse_entries(book.account, (book,), book, rules.max_notional, p.leverage):
        for side in (long, short):
            for i in range(p.levels):
                reason = refusal_of(side, i)
                if reason != PLACED:
                    plan.tally[PLACED] -= 1
                    plan.tally[reason] += 1


def count_exits(side):
    """Return how many fills have an exit."""
    return side.leg.exit_count


def load_exits(side):
    """Leave the exits where they are: a fill's record holds its own."""


def place_exits(book, side):
    """Note which exit the market meets first."""
    note_first_exit(side)
    book.state.orders_changed = 1


def make_room(side):
    """Return whether there is room for one more level that cools."""
    return side.leg.cooling < len(side.cooling)
