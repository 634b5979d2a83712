"""Executions booked bar by bar give what the simulated exchange gives from the same orders, to the bit."""

import copy
import json

from both_legs import PHASES
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.live import _book_state, _restore_book
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs, Entry, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.booking import BarBooking, book_bars
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus

COSTS = Costs(0.0002, 0.0005, 0.0002)
SYMBOL = "BTCUSDT"


def make_book() -> Book:
    return Book(load_market(SYMBOL), Account(10_000.0), COSTS)


def orders_of(book: Book) -> tuple[OrderRegistry, dict]:
    """Return the orders that stand for a book, as the api would have placed them, by what they do."""
    orders, by_work, number = OrderRegistry(), {}, 0

    def add(key: OrderKey, qty: float, price: float, label: str = "", spacing: float = 0.0):
        nonlocal number
        number += 1
        order = Order(make_id("g4", key, number), key, qty, price, spacing, label, status=OrderStatus.OPEN)
        orders.add(order)
        by_work[key[1:], label] = order

    for leg in book.legs:
        for close in leg.closes:
            add(OrderKey(SYMBOL, leg.side, Purpose.CLOSE, close.fill_id), close.qty, 0.0, str(close.label))
        for level, entry in leg.entries.items():
            add(OrderKey(SYMBOL, leg.side, Purpose.ENTRY, abs(level)), entry.qty, entry.price, "", entry.spacing_pct)
        for fill_id, price in leg.exits.items():
            add(OrderKey(SYMBOL, leg.side, Purpose.EXIT, fill_id), 1.0, price)
        if leg.stop is not None:
            add(OrderKey(SYMBOL, leg.side, Purpose.STOP, 0), float("inf"), leg.stop)
    return orders, by_work


def simulate(book: Book, bar: Bar, by_work: dict) -> list[Execution]:
    """Match a bar and return the executions as an exchange reports them: by order, a stop's for the whole leg."""
    book.bar = bar
    found = []
    levels = {(leg.side, entry.price): abs(level) for leg in book.legs for level, entry in leg.entries.items()}
    for phase in PHASES:
        phase(book)
        for one in book.account.executions:
            if one.opens:
                work = (one.side, Purpose.ENTRY, levels[one.side, one.price]), ""
            elif one.label is TradeLabel.STOP2:
                work = (one.side, Purpose.STOP, 0), ""
            elif one.label is TradeLabel.GRID:
                work = (one.side, Purpose.EXIT, one.fill_id), ""
            else:
                work = (one.side, Purpose.CLOSE, one.fill_id), str(one.label)
            is_buy = one.opens == (one.side is PositionSide.LONG)
            done = (one.qty, one.price, one.fee, one.maker, bar.time)
            found.append(Execution(len(found), by_work[work].id, SYMBOL, one.side, is_buy, *done))
        book.account.executions.clear()
    return found


lots = st.integers(1, 9).map(lambda n: n / 1000)


@st.composite
def scenes(draw):
    """A book with fills and orders around 100 and a bar that may reach any of them."""
    book = make_book()
    for leg in book.legs:
        for _ in range(draw(st.integers(0, 3))):
            price = float(draw(st.integers(80, 120)))
            book.account.open_fill(SYMBOL, leg.tracker, draw(lots), price, 0, 0, 0.01, 0.0002, True)
        ids, qtys = list(leg.tracker.ids), list(leg.tracker.qtys)
        for fill_id, qty in zip(ids, qtys, strict=True):
            if draw(st.integers(0, 3)) == 0:
                part = draw(st.sampled_from([qty, round(qty / 2, 3) or qty]))
                label = draw(st.sampled_from([TradeLabel.STOP1, TradeLabel.OLDEST]))
                leg.closes.append(MarketClose(fill_id, part, label))
            leg.exits[fill_id] = float(100 + leg.sign * draw(st.integers(1, 15)))
        if ids and draw(st.booleans()):
            leg.stop = float(100 - leg.sign * draw(st.integers(1, 15)))
        near = draw(st.integers(1, 3))
        for level in range(1, draw(st.integers(0, 4)) + 1):
            price = float(100 - leg.sign * (near + 2 * level))
            leg.place(-leg.sign * level, Entry(price, draw(lots), 0.01 * level))
    book.account.executions.clear()
    book.orders_changed()
    low, high = 100.0 - draw(st.integers(0, 18)), 100.0 + draw(st.integers(0, 18))
    open_ = draw(st.sampled_from([low, 100.0, high]))
    return book, Bar(900_000, open_, high, low, 100.0, 5.0, low, high, 100.0)


def contents(book: Book):
    account = book.account
    return (
        [(leg.tracker.fills, leg.exits, leg.stop, leg.entries) for leg in book.legs],
        account.closed,
        account.fills,
        account.maker_executions,
        account.taker_executions,
    )


@settings(max_examples=300, deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_books_equal_the_simulated_ones_whatever_the_order_of_reports(scene, shuffle):
    simulated, bar = scene
    live = copy.deepcopy(simulated)
    orders, by_work = orders_of(simulated)
    executions = simulate(simulated, bar, by_work)
    # What the exchange tells apart is one order at a time; a stop's parts have one price.
    for order in orders:
        order.status = OrderStatus.DONE if any(one.order_id == order.id for one in executions) else OrderStatus.OPEN
    shuffle.shuffle(executions)
    live.bar = bar
    book_bars([BarBooking(live, orders, executions)])
    for leg in live.legs:
        leg.closes.clear()
    for one, other in zip(contents(live)[0], contents(simulated)[0], strict=True):
        assert one[1:] == other[1:]
        for left, right in zip(one[0], other[0], strict=True):
            assert left[:7] == right[:7]
    assert [trade[:11] for trade in live.account.closed] == [trade[:11] for trade in simulated.account.closed]
    assert contents(live)[2:] == contents(simulated)[2:]
    for name in ("wallet", "gross", "fees"):
        one, other = getattr(live.account, name), getattr(simulated.account, name)
        assert abs(one - other) <= 1e-12 * max(abs(other), 1.0)


def one_fill(qty: float = 0.004):
    book = make_book()
    book.account.open_fill(SYMBOL, book.long.tracker, qty, 100.0, 0, 0, 0.01, 0.0002, True)
    book.account.executions.clear()
    book.bar = Bar(900_000, 100.0, 101.0, 99.0, 100.0, 5.0, 99.0, 101.0, 100.0)
    return book


def execution(order_id, qty, price, *, opens, side=PositionSide.LONG, foreign="", number=1, fee=0.0):
    is_buy = opens == (side is PositionSide.LONG)
    return Execution(number, order_id, SYMBOL, side, is_buy, qty, price, fee, True, 900_001, foreign)


def test_the_parts_of_an_order_within_a_bar_are_one_fill_at_their_mean_price():
    book, orders = one_fill(), OrderRegistry()
    book.long.place(-2, Entry(98.0, 0.003, 0.02))
    key = OrderKey(SYMBOL, PositionSide.LONG, Purpose.ENTRY, 2)
    order = Order(make_id("g4", key, 1), key, 0.003, 98.0, 0.02, status=OrderStatus.OPEN)
    orders.add(order)
    parts = [execution(order.id, 0.001, 98.0, opens=True, number=n, fee=fee) for n, fee in ((1, 0.5), (2, 0.25))]
    book_bars([BarBooking(book, orders, parts)])
    fill = book.long.tracker.fills[-1]
    assert (fill.qty, fill.price, fill.spacing_pct, fill.fee, fill.time) == (0.002, 98.0, 0.02, 0.75, 900_000)
    assert abs(book.long.entries[-2].qty - 0.001) < 1e-12  # the rest still stands


def test_a_partly_filled_exit_leaves_the_rest_of_the_fill_with_its_exit():
    book, orders = one_fill(), OrderRegistry()
    book.long.exits[1] = 101.0
    key = OrderKey(SYMBOL, PositionSide.LONG, Purpose.EXIT, 1)
    order = Order(make_id("g4", key, 1), key, 0.004, 101.0, status=OrderStatus.OPEN)
    orders.add(order)
    book_bars([BarBooking(book, orders, [execution(order.id, 0.001, 101.0, opens=False)])])
    assert abs(book.long.tracker.qty - 0.003) < 1e-12
    assert book.long.exits == {1: 101.0}
    assert book.account.closed[0].label is TradeLabel.GRID


def exit_order(book: Book, orders: OrderRegistry, price: float = 101.0) -> Order:
    book.long.exits[1] = price
    key = OrderKey(SYMBOL, PositionSide.LONG, Purpose.EXIT, 1)
    order = Order(make_id("g4", key, 1), key, 0.004, price, status=OrderStatus.OPEN)
    orders.add(order)
    return order


def test_the_parts_of_a_fill_are_one_trade_whatever_restart_lies_between_them():
    before = one_fill()
    order = exit_order(before, orders := OrderRegistry())
    book_bars([BarBooking(before, orders, [execution(order.id, 0.001, 101.0, opens=False, fee=0.5)])])
    [first] = before.account.closed
    assert (first.bullet_qty, first.bullet_net) == (0.0, 0.0)
    state = json.loads(json.dumps(_book_state(before)))
    for saved, qty, net in ((state, 0.004, first.net), (without_closed_parts(state), 0.003, 0.0)):
        after = make_book()
        _restore_book(after, saved)
        after.bar = before.bar
        order = exit_order(after, orders := OrderRegistry())
        book_bars([BarBooking(after, orders, [execution(order.id, 0.003, 101.0, opens=False, fee=0.5)])])
        [last] = after.account.closed
        assert (last.bullet_qty, last.bullet_net) == (qty, net + last.net)


def without_closed_parts(state: dict) -> dict:
    """The state as it was written when a fill did not know its closed parts."""
    legs = [leg | {"fills": [fill[:8] for fill in leg["fills"]]} for leg in state["legs"]]
    return state | {"legs": legs}


def test_a_stop_closes_what_an_exit_of_the_same_bar_has_left():
    """By the minute both can be met within a candle: the exit first, then the stop closes the other fill alone."""
    book = one_fill(0.004)
    book.account.open_fill(SYMBOL, book.long.tracker, 0.009, 100.0, 0, 0, 0.01, 0.0002, True)
    book.long.stop = 99.5
    order = exit_order(book, orders := OrderRegistry())
    key = OrderKey(SYMBOL, PositionSide.LONG, Purpose.STOP, 0)
    orders.add(stop := Order(make_id("g4", key, 2), key, float("inf"), 99.5, status=OrderStatus.DONE))
    done = [
        execution(order.id, 0.004, 101.0, opens=False, number=1),
        execution(stop.id, 0.009, 99.5, opens=False, number=2),
    ]
    book_bars([BarBooking(book, orders, done)])
    closed = sorted((trade.trade_id, str(trade.label), round(trade.qty, 9)) for trade in book.account.closed)
    assert closed == [(1, "grid", 0.004), (2, "stop2", 0.009)]
    assert book.long.tracker.ids == [] and book.long.stop is None


def test_what_others_close_takes_the_oldest_fills_and_is_told():
    book = one_fill(0.004)
    book.account.open_fill(SYMBOL, book.long.tracker, 0.002, 99.0, 0, 0, 0.01, 0.0002, True)
    booking = BarBooking(book, OrderRegistry(), [execution(None, 0.005, 100.0, opens=False, foreign="web_1")])
    book_bars([booking])
    assert [round(fill.qty, 6) for fill in book.long.tracker.fills] == [0.001]
    assert {trade.label for trade in book.account.closed} == {TradeLabel.MANUAL}
    assert "web_1" in booking.notices[0]


def test_a_liquidation_is_labelled_and_counted():
    book = one_fill()
    book_bars([BarBooking(book, OrderRegistry(), [execution(None, 0.004, 90.0, opens=False, foreign="autoclose-1")])])
    assert book.account.closed[0].label is TradeLabel.LIQUIDATION
    assert book.account.liquidations == 1


def test_what_others_open_is_adopted_as_a_fill():
    book = one_fill()
    booking = BarBooking(book, OrderRegistry(), [execution(None, 0.002, 97.0, opens=True, foreign="web_1")])
    book_bars([booking])
    assert book.long.tracker.fills[-1][1:3] == (0.002, 97.0)
    assert "adopted" in booking.notices[0]
