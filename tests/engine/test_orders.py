"""Single orders: the order in which a bar fills them, one-way orders, and a share of the volume."""

import pytest

from gridv4_bt.engine.account import Account
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.matching import FILL_RULES, Bar, Book, Costs
from gridv4_bt.engine.orders import OrderType, SingleOrder, SingleOrders
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
LIMIT, MARKET, STOP_MARKET = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP_MARKET
MARKET_RULES = load_market("ETHUSDT")


class Told:
    """Keeps executions as (name of the order, signed qty, price), and refusals."""

    def __init__(self):
        self.fills, self.refusals = [], []

    def executed(self, order, book):
        for execution in book.account.executions:
            self.fills.append((order.reference, execution.side.name, execution.opens, execution.qty, execution.price))
        book.account.executions.clear()

    def refused(self, order, refusal):
        self.refusals.append((order.reference, refusal.code))


class Api:
    """A book with single orders, and given bars."""

    def __init__(self, participation=float("inf")):
        self.told = Told()
        self.orders = SingleOrders(self.told, participation)
        self.book = Book(MARKET_RULES, Account(1e6), Costs(0.0, 0.0, 0.0), FILL_RULES["touch"])

    def rest(self, name, side, is_buy, price=0.0, qty=1.0, type=LIMIT, reduce_only=False):
        self.orders.alive.append(
            SingleOrder("ETHUSDT", side, is_buy, type, qty, price, price, reduce_only=reduce_only, reference=name)
        )

    def bar(self, time, low, high, open_=100.0, volume=1e9):
        self.book.bar = Bar(time, open_, high, low, open_, volume)
        self.book.stopped.clear()
        for phase in ("fill_market_orders", "fill_entries", "fill_stops", "fill_exits"):
            getattr(self.orders, phase)(self.book)

    @property
    def held(self):
        return self.book.long.tracker.qty, self.book.short.tracker.qty


def test_entries_are_filled_long_before_short_and_nearest_first_whatever_the_order_of_placement():
    api = Api()
    api.rest("short far", SHORT, False, 109.0)
    api.rest("long far", LONG, True, 91.0)
    api.rest("short near", SHORT, False, 101.0)
    api.rest("long near", LONG, True, 99.0)
    api.rest("long near, later", LONG, True, 99.0)
    api.bar(1, 90.0, 110.0)
    assert [name for name, *_ in api.told.fills] == [
        "long near",
        "long near, later",
        "long far",
        "short near",
        "short far",
    ]


def test_exits_are_filled_long_before_short_and_in_order_of_placement():
    api = Api()
    for name, side, is_buy in (("long", LONG, True), ("short", SHORT, False)):
        api.rest(name, side, is_buy, qty=2.0, type=MARKET)
    api.bar(1, 100.0, 100.0)
    api.told.fills.clear()
    api.rest("short exit", SHORT, True, 99.0)
    api.rest("long far", LONG, False, 102.0)
    api.rest("long near", LONG, False, 101.0)
    api.bar(2, 90.0, 110.0)
    assert [name for name, *_ in api.told.fills] == ["long far", "long near", "short exit"]
    assert api.held == (0.0, 1.0)


def test_one_way_order_closes_the_opposite_leg_and_opens_its_own_with_the_rest():
    api = Api()
    api.rest("sell", None, False, qty=1.0, type=MARKET)
    api.bar(1, 100.0, 100.0)
    assert api.held == (0.0, 1.0)
    api.rest("buy", None, True, 99.0, qty=3.0)
    api.bar(2, 98.0, 100.0)
    assert api.told.fills[1:] == [("buy", "SHORT", False, 1.0, 99.0), ("buy", "LONG", True, 2.0, 99.0)]
    assert api.held == (2.0, 0.0)


def test_reduce_only_order_of_one_way_mode_never_opens():
    api = Api()
    api.rest("sell", None, False, qty=1.0, type=MARKET)
    api.rest("buy", None, True, qty=3.0, type=MARKET, reduce_only=True)
    api.rest("buy again", None, True, qty=1.0, type=MARKET, reduce_only=True)
    api.bar(1, 100.0, 100.0)
    assert api.held == (0.0, 0.0)
    assert api.told.refusals == [("buy again", -2022)]


def test_one_way_stop_turns_the_position():
    api = Api()
    api.rest("buy", None, True, qty=1.0, type=MARKET)
    api.bar(1, 100.0, 100.0)
    api.rest("stop", None, False, 95.0, qty=1.5, type=STOP_MARKET)
    api.bar(2, 94.0, 100.0)
    assert api.held == (0.0, 0.5)


def test_resting_limits_share_a_part_of_the_volume_in_lots_and_the_remainder_rests():
    # 10 % of 25.006 is 2.5006; the lot is 0.001
    api = Api(participation=0.1)
    api.rest("near", LONG, True, 99.0, qty=2.0)
    api.rest("far", LONG, True, 98.0, qty=2.0)
    api.bar(1, 97.0, 100.0, volume=25.006)
    assert [(name, qty) for name, _, _, qty, _ in api.told.fills] == [("near", 2.0), ("far", pytest.approx(0.5))]
    api.bar(2, 97.0, 100.0, volume=100.0)
    assert [(name, qty) for name, _, _, qty, _ in api.told.fills][2:] == [("far", pytest.approx(1.5))]
    assert api.orders.alive == []


def test_market_orders_take_no_notice_of_the_share():
    api = Api(participation=0.1)
    api.rest("buy", LONG, True, qty=5.0, type=MARKET)
    api.bar(1, 100.0, 100.0, volume=1.0)
    assert api.held == (5.0, 0.0)
