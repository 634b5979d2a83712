"""The order of events across the symbols of one wallet."""

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.matching import FILL_RULES, Bar, Book, Costs, Entry
from gridv4_bt.engine.orders import OrderType, SingleOrder, SingleOrders
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.venue import Venue, moments, timeline


class Parted(Book):
    """A book whose bar has the given parts."""

    def __init__(self, symbol, account, parts, volume=1.0):
        super().__init__(load_market(symbol), account, Costs(0.0, 0.0, 0.0), FILL_RULES["touch"])
        self.given = parts
        self.whole = self.bar = Bar(parts[0].time, 100.0, 110.0, 90.0, 100.0, volume)

    def parts(self):
        return self.given

    def stand_at(self, part):
        self.bar = part or self.whole


def bar(time, low=99.0, high=101.0, volume=1.0):
    return Bar(time, 100.0, high, low, 100.0, volume, mark_low=low, mark_high=high, mark_close=100.0)


class Silent:
    def __init__(self):
        self.names = []

    def executed(self, order, book):
        self.names.append(order.reference)
        book.account.executions.clear()


def test_parts_of_all_symbols_come_in_order_of_time_and_the_whole_bar_comes_back_at_the_end():
    account = Account(1e6)
    fine = Parted("BTCUSDT", account, [bar(0), bar(1, volume=0.0), bar(2)])
    coarse = Parted("ETHUSDT", account, [bar(0)])
    assert [time for time, _ in moments([fine, coarse])] == [0, 1, 2]
    seen = [([book.symbol for book in books], fine.bar.time) for books in timeline([fine, coarse])]
    assert seen == [(["BTCUSDT", "ETHUSDT"], 0), ([], 1), (["BTCUSDT"], 2)]
    assert fine.bar is fine.whole


def test_bar_without_volume_is_one_moment_in_which_nothing_trades():
    book = Parted("BTCUSDT", Account(1e6), [bar(0)], volume=0.0)
    assert moments([book]) == []
    assert list(timeline([book])) == [[]]


def test_the_ladder_of_a_symbol_has_its_turn_before_the_single_orders_and_entries_before_exits():
    account, told = Account(1e6), Silent()
    singles = SingleOrders(told)
    book = Parted("BTCUSDT", account, [bar(0)])

    def report(_):
        told.names += [f"ladder {one.price:g}" for one in account.executions]
        account.executions.clear()

    venue = Venue(account, singles, 0.0, report)
    venue.books = (book,)
    book.stand_at(bar(0))
    book.long.place(-1, Entry(99.0, 1.0, 0.01))
    for name, is_buy, type, price in (
        ("exit", False, OrderType.LIMIT, 101.0),
        ("entry", True, OrderType.LIMIT, 99.5),
        ("market", True, OrderType.MARKET, 0.0),
    ):
        singles.alive.append(SingleOrder("BTCUSDT", PositionSide.LONG, is_buy, type, 1.0, price, reference=name))
    book.orders_changed()
    venue.open([book])
    assert told.names == ["market"]
    book.stand_at(bar(900_000))
    venue.trade([book])
    assert told.names == ["market", "ladder 99", "entry", "exit"]
    assert book.long.tracker.qty == pytest.approx(2.0)
