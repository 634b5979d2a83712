"""The order of events across the symbols of one wallet."""

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs, Entry, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.matching import is_idle
from gridv4_bt.engine.orders import OrderType, SingleOrder, SingleOrders
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.venue import Venue, moments, timeline


class Parted(Book):
    """A book whose bar has the given parts."""

    def __init__(self, symbol, account, parts, volume=1.0):
        super().__init__(load_market(symbol), account, Costs(0.0, 0.0, 0.0))
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
        self.names, self.gone = [], []

    def cancelled(self, order):
        self.gone.append(order.reference)

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


def two_symbols():
    """A venue with two books, each with 1 LONG and 1 SHORT at 100, and the list of what it reports."""
    account, told = Account(1e6), []

    def report(book):
        told.append((book.symbol, [(one.side.name, one.opens, one.price) for one in account.executions]))
        account.executions.clear()

    venue = Venue(account, SingleOrders(Silent()), 0.0, report)
    venue.books = books = tuple(Parted(symbol, account, [bar(0)]) for symbol in ("BTCUSDT", "ETHUSDT"))
    for place, book in enumerate(books):
        book.state.place = place
        for leg in book.legs:
            account.open_fill(book.symbol, leg.tracker, 1.0, 100.0, 0, 0, 0.01, 0.0, True)
        book.stand_at(bar(1, 90.0, 110.0))
        book.orders_changed()
    account.executions.clear()
    return venue, books, told


def test_market_orders_of_both_legs_close_at_the_open_of_their_symbol():
    venue, (btc, eth), told = two_symbols()
    for book in (btc, eth):
        for leg in book.legs:
            leg.closes.append(MarketClose(leg.tracker.ids[0], 1.0, TradeLabel.GAP))
    venue.open([eth])
    assert told == [("ETHUSDT", [("LONG", False, 100.0), ("SHORT", False, 100.0)])]
    assert (bool(btc.state.fresh), bool(eth.state.fresh)) == (False, True)
    venue.open([btc])
    assert told[1:] == [("BTCUSDT", [("LONG", False, 100.0), ("SHORT", False, 100.0)])]
    assert (bool(btc.state.fresh), bool(eth.state.fresh)) == (True, False)


def test_a_phase_ends_for_all_symbols_before_the_next_begins():
    venue, books, told = two_symbols()
    for book in books:
        long, short = book.legs
        long.place(-1, Entry(95.0, 1.0, 0.01))
        short.place(1, Entry(104.0, 1.0, 0.01))
        long.exits[long.tracker.ids[0]] = 108.0
        short.stop = 106.0
        book.orders_changed()
        assert not is_idle(book)
    venue.trade(books)
    entries = [("LONG", True, 95.0), ("SHORT", True, 104.0)]
    stops = [("SHORT", False, 106.0)] * 2
    exits = [("LONG", False, 108.0)]
    assert told == [(name, events) for events in (entries, stops, exits) for name in ("BTCUSDT", "ETHUSDT")]
    assert [book.state.orders_changed for book in books] == [1, 1]


def test_exits_of_both_legs_are_filled():
    venue, (btc, _), told = two_symbols()
    for leg, price in zip(btc.legs, (108.0, 92.0), strict=True):
        leg.exits[leg.tracker.ids[0]] = price
    venue.trade([btc])
    assert told[-1] == ("BTCUSDT", [("LONG", False, 108.0), ("SHORT", False, 92.0)])


def test_single_stops_come_after_those_of_the_ladder_and_before_all_exits():
    venue, (btc, _), told = two_symbols()
    btc.short.stop = 104.0
    btc.long.exits[btc.long.tracker.ids[0]] = 108.0
    stop = SingleOrder("BTCUSDT", PositionSide.LONG, True, OrderType.STOP_MARKET, 2.0, trigger=106.0, reference="stop")
    venue.singles.alive.append(stop)
    venue.trade([btc])
    # the entries' phase reports nothing, then the ladder's stop, the single one, and the exit of the fill before
    assert [events for _, events in told] == [[], [("SHORT", False, 104.0)], [("LONG", False, 108.0)]]
    assert (btc.long.tracker.prices, venue.singles.alive) == ([106.0], [])


def test_prices_below_one_are_traded():
    venue, books, _ = two_symbols()
    for book in books:
        book.stand_at(Bar(1, 0.5, 0.6, 0.4, 0.5, 1.0, mark_low=0.4, mark_high=0.6, mark_close=0.5))
        book.long.place(-1, Entry(0.45, 1.0, 0.01))
        book.long.tracker.close(0, 1.0)
    venue.trade(books)
    assert [book.long.tracker.prices for book in books] == [[0.45]] * 2


# --- liquidation, at a maintenance margin of less than 1 %


def venue_of(wallet, held, stop=None):
    """A venue with one book of fills (side, qty) at 100, and a stop of LONG."""
    account = Account(wallet)
    book = Parted("ETHUSDT", account, [bar(0)])
    for side, qty in held:
        account.open_fill("ETHUSDT", book.leg(side).tracker, qty, 100.0, 0, 0, 0.01, 0.0, True)
    book.long.stop = stop
    venue = Venue(account, SingleOrders(Silent()), 0.0, lambda book: book.account.executions.clear())
    venue.books = (book,)
    return venue, book, account


def shown(venue, book, low, high, open_=100.0):
    book.stand_at(Bar(1, open_, high, low, open_, 1.0, mark_low=low, mark_high=high, mark_close=open_))
    book.orders_changed()
    venue.open([book])
    opened = venue.account.liquidations
    venue.trade([book])
    return opened, venue.account.liquidations


@pytest.mark.parametrize(
    ("low", "open_", "liquidations"), [(96.0, 100.0, (0, 0)), (94.0, 100.0, (0, 1)), (94.0, 94.5, (1, 1))]
)
def test_a_leg_is_liquidated_in_the_bar_or_at_its_open(low, open_, liquidations):
    # 50 of wallet are lost at 95
    venue, book, account = venue_of(50.0, [(PositionSide.LONG, 10.0)])
    assert shown(venue, book, low, 101.0, open_) == liquidations
    assert bool(book.long.tracker.ids) is (liquidations[1] == 0)


def test_a_stop_before_the_liquidation_price_saves_the_account():
    venue, book, account = venue_of(50.0, [(PositionSide.LONG, 10.0)], stop=97.0)
    assert shown(venue, book, 90.0, 101.0) == (0, 0)
    assert account.wallet == pytest.approx(50.0 - 30.0)


def test_a_stop_that_takes_the_hedge_away_may_ruin_the_account():
    # hedged and safe; the stop loses 50 of 100, then the short loses 300 at the high
    venue, book, account = venue_of(100.0, [(PositionSide.LONG, 10.0), (PositionSide.SHORT, 10.0)], stop=95.0)
    assert shown(venue, book, 94.0, 130.0) == (0, 1)


def test_a_hedged_account_is_safe():
    venue, book, account = venue_of(100.0, [(PositionSide.LONG, 10.0), (PositionSide.SHORT, 10.0)])
    assert shown(venue, book, 94.0, 130.0) == (0, 0)


def test_exits_of_the_ladder_are_filled_and_reported():
    venue, book, account = venue_of(1_000.0, [(PositionSide.LONG, 1.0)])
    book.long.exits[1] = 101.0
    assert shown(venue, book, 99.0, 102.0) == (0, 0)
    assert [(trade.exit, trade.gross) for trade in account.closed] == [(101.0, 1.0)]
    assert account.executions == []
    assert is_idle(book)  # the exit is gone


def test_what_a_liquidation_closes_is_reported():
    venue, book, account = venue_of(50.0, [(PositionSide.LONG, 10.0)])
    account.executions.clear()
    shown(venue, book, 94.0, 101.0)
    assert (account.liquidations, account.executions) == (1, [])


def test_a_stop_counts_only_where_the_worst_of_the_other_symbols_leaves_the_account():
    # 150 of wallet. With the other symbol at its low of 94 the account is liquidated at about 92, at its close of 98
    # it would be at 88: a stop at 90 comes too late.
    account = Account(150.0)
    books = tuple(Parted(symbol, account, [bar(0)]) for symbol in ("BTCUSDT", "ETHUSDT"))
    told = []
    venue = Venue(account, SingleOrders(Silent()), 0.0, lambda book: told.append(book.symbol))
    venue.books = books
    for place, (book, low, close) in enumerate(zip(books, (85.0, 94.0), (90.0, 98.0), strict=True)):
        book.state.place = place
        account.open_fill(book.symbol, book.long.tracker, 10.0, 100.0, 0, 0, 0.01, 0.0, True)
        book.stand_at(Bar(1, 100.0, 101.0, low, close, 1.0, mark_low=low, mark_high=101.0, mark_close=close))
    books[0].long.stop = 90.0
    venue.trade(books)
    assert {str(trade.label) for trade in account.closed} == {"liquidation"}
    assert account.closed[0].exit == pytest.approx(92.0, abs=0.5)


def test_a_liquidation_between_the_bars_cancels_and_reports_all():
    account, told = Account(100.0), []
    singles = SingleOrders(Silent())

    def report(book):
        told.extend(one.symbol for one in account.executions)
        account.executions.clear()

    venue = Venue(account, singles, 0.0, report)
    venue.books = books = tuple(Parted(symbol, account, [bar(0)]) for symbol in ("BTCUSDT", "ETHUSDT"))
    for place, book in enumerate(books):
        book.state.place = place
        account.open_fill(book.symbol, book.long.tracker, 10.0, 100.0, 0, 0, 0.01, 0.0, True)
        book.stand_at(bar(1))
    account.executions.clear()
    singles.alive.append(
        SingleOrder("BTCUSDT", PositionSide.LONG, True, OrderType.LIMIT, 1.0, 90.0, reference="single")
    )
    books[1].stand_at(Bar(2, 80.0, 81.0, 79.0, 80.0, 1.0, mark_low=79.0, mark_high=81.0, mark_close=80.0))
    venue.open([])
    assert told == ["BTCUSDT", "ETHUSDT"]
    assert (account.liquidations, singles.alive, singles._owner.gone) == (1, [], ["single"])
    assert all(is_idle(book) for book in books)
