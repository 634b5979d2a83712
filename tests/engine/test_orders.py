"""Single orders: the order in which a bar fills them, one-way orders, and a share of the volume."""

from dataclasses import replace

import pytest
from scripted import TEST

from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs
from gridv4_bt.engine.labels import MANUAL
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.orders import (
    OrderType,
    Refusal,
    SingleOrder,
    SingleOrders,
    close_oldest,
    closing_refusal,
    filter_refusal,
    leg_of,
    opening_refusal,
    opens,
    order_price,
    stoppable,
)
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.trailing import Trail
from gridv4_bt.engine.types import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
LIMIT, MARKET, STOP_MARKET, STOP = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP_MARKET, OrderType.STOP
MARKET_RULES = load_market("ETHUSDT")


class Told:
    """Keeps executions as (name of the order, signed qty, price), and refusals."""

    def __init__(self):
        self.fills, self.refusals, self.gone, self.costs = [], [], [], []
        self.reports = 0

    def executed(self, order, book):
        self.reports += 1
        for execution in book.account.executions:
            self.fills.append((order.reference, execution.side.name, execution.opens, execution.qty, execution.price))
            self.costs.append((order.reference, execution.maker, execution.fee))
        book.account.executions.clear()

    def refused(self, order, refusal):
        self.refusals.append((order.reference, refusal.code))

    def triggered(self, order):
        self.gone.append(("triggered", order.reference))

    def cancelled(self, order):
        self.gone.append(("cancelled", order.reference))

    def trailed(self, order):
        self.gone.append(("trailed", order.reference))

    def expired(self, order):
        self.gone.append(("expired", order.reference))


class Api:
    """A book with single orders, and given bars."""

    def __init__(self, participation=float("inf"), costs=(0.0, 0.0, 0.0)):
        self.told = Told()
        self.orders = SingleOrders(self.told, participation)
        self.book = Book(MARKET_RULES, Account(1e6), Costs(*costs))

    def rest(self, name, side, is_buy, price=0.0, qty=1.0, type=LIMIT, reduce_only=False, trigger=None):
        trigger = price if trigger is None else trigger
        self.orders.alive.append(
            SingleOrder("ETHUSDT", side, is_buy, type, qty, price, trigger, reduce_only=reduce_only, reference=name)
        )

    def bar(self, time, low, high, open_=100.0, volume=1e9, limits=()):
        self.book.bar = Bar(time, open_, high, low, open_, volume)
        self.book.long.leg.stopped = self.book.short.leg.stopped = 0
        self.orders.fill_market_orders(self.book)
        self.orders.fill_entries(self.book, *limits)
        self.orders.fill_stops(self.book, *limits)
        self.orders.fill_exits(self.book)

    def hold(self, side, qty, price=100.0, time=0):
        """Open a fill before the first bar, without an order."""
        leg = self.book.leg(side)
        self.book.account.open_fill("ETHUSDT", leg.tracker, qty, price, time, 0, 0.01, 0.0, True)
        self.book.account.executions.clear()

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


def test_each_symbol_has_its_own_share_and_a_new_one_every_bar():
    api = Api(participation=0.5)
    other = Book(load_market("BTCUSDT"), api.book.account, Costs(0.0, 0.0, 0.0))
    for number in (1, 2):
        api.rest("eth", LONG, True, 99.0, qty=3.0)
        api.orders.alive.append(SingleOrder("BTCUSDT", LONG, True, LIMIT, 2.0, 99.0, reference="btc"))
        for book, volume in ((api.book, 4.0), (other, 2.0)):
            book.bar = Bar(number, 100.0, 100.0, 98.0, 99.0, volume)
            api.orders.fill_entries(book)
        # 2 of the 3 and 1 of the 2
        assert [(name, qty) for name, _, _, qty, _ in api.told.fills] == [("eth", 2.0), ("btc", 1.0)]
        api.told.fills.clear()
        api.orders.alive.clear()


def test_entries_and_exits_share_one_volume():
    api = Api(participation=0.5)
    api.hold(LONG, 5.0)
    api.rest("entry", LONG, True, 99.0, qty=3.0)
    api.rest("exit", LONG, False, 101.0, qty=4.0)
    api.bar(1, 98.0, 102.0, volume=10.0)
    assert [(name, qty) for name, _, _, qty, _ in api.told.fills] == [("entry", 3.0), ("exit", 2.0)]


def test_without_a_share_a_bar_fills_any_quantity():
    orders = SingleOrders(Told())
    book = Book(MARKET_RULES, Account(1e6), Costs(0.0, 0.0, 0.0))
    orders.alive.append(SingleOrder("ETHUSDT", LONG, True, LIMIT, 1e3, 99.0))
    book.bar = Bar(1, 100.0, 100.0, 98.0, 99.0, 1e-3)
    orders.fill_entries(book)
    assert book.long.tracker.qty == 1e3


# --- which leg an order is of


@pytest.mark.parametrize(
    ("held", "is_buy", "reduce_only", "leg", "adds"),
    [
        ((), True, False, LONG, True),
        ((), False, False, SHORT, True),
        ((LONG,), True, False, LONG, True),
        ((LONG,), False, False, LONG, False),  # it closes the opposite leg first
        ((SHORT,), True, False, SHORT, False),
        ((SHORT,), False, False, SHORT, True),
        ((), True, True, SHORT, False),  # it never opens
        ((), False, True, LONG, False),
    ],
)
def test_an_order_of_one_way_mode_is_of_the_leg_that_it_closes_or_else_opens(held, is_buy, reduce_only, leg, adds):
    api = Api()
    for side in held:
        api.hold(side, 1.0)
    given = order(MARKET, is_buy, side=None, reduce_only=reduce_only)
    assert (leg_of(given, api.book).side, opens(given, api.book)) == (leg, adds)


@pytest.mark.parametrize(("side", "is_buy", "adds"), [(LONG, True, True), (LONG, False, False), (SHORT, True, False)])
def test_an_order_of_a_position_side_is_of_that_leg_whatever_is_held(side, is_buy, adds):
    api = Api()
    api.hold(LONG, 1.0)
    api.hold(SHORT, 1.0)
    given = order(MARKET, is_buy, side=side)
    assert (leg_of(given, api.book).side, opens(given, api.book)) == (side, adds)


def test_a_new_order_is_a_plain_one():
    given = SingleOrder("TEST", LONG, True, MARKET, 2.0)
    assert (given.price, given.trigger, given.reduce_only, given.reference) == (0.0, 0.0, False, None)
    assert (given.marketable, given.triggered_at, given.remaining) == (False, -1, 2.0)


# --- what is refused


def test_a_refusal_reads_as_the_exchange_writes_it():
    assert str(Refusal(-2019, "Margin is insufficient.")) == "-2019 Margin is insufficient."
    assert str(filter_refusal(order(MARKET, qty=0.0005), TEST, 100.0)) == (
        "-4004 Quantity less than min quantity. It is 0.001"
    )
    assert str(filter_refusal(order(MARKET, qty=0.0015), TEST, 100.0)) == (
        "-1111 Precision is over the maximum defined for this asset.: qty 0.0015 is no multiple of 0.001"
    )
    assert str(filter_refusal(order(LIMIT, price=99.995), TEST, 100.0)) == (
        "-4014 Price not increased by tick size.: 99.995 is no multiple of 0.01"
    )
    assert str(filter_refusal(order(STOP_MARKET, trigger=99.0), TEST, 100.0)) == (
        "-2021 Order would immediately trigger. The price is 100.0"
    )
    api = Api()
    api.hold(LONG, 1.0)
    assert str(closing_refusal(order(MARKET, False, 2.0), api.book)) == (
        "-2022 ReduceOnly Order is rejected. The leg holds 1.0"
    )


def order(type, is_buy=True, qty=1.0, price=0.0, trigger=0.0, side=LONG, reduce_only=False):
    return SingleOrder("TEST", side, is_buy, type, qty, price, trigger, reduce_only=reduce_only)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (order(MARKET, qty=0.001), None),  # the least quantity
        (order(MARKET, qty=0.0009), -4004),
        (order(MARKET, qty=float("nan")), -4004),
        (order(MARKET, qty=0.0015), -1111),
        (order(MARKET, qty=0.3), None),  # 0.3/0.001 is 299.99999999999994
        (order(LIMIT, price=99.99), None),
        (order(LIMIT, price=0.0), -4013),
        (order(LIMIT, price=-1.0), -4013),
        (order(LIMIT, price=99.995), -4014),
        (order(STOP_MARKET, trigger=100.01), None),
        (order(STOP_MARKET, trigger=100.0), -2021),  # a buy's stop must lie above the price
        (order(STOP_MARKET, trigger=99.99), -2021),
        (order(STOP_MARKET, False, trigger=99.99), None),
        (order(STOP_MARKET, False, trigger=100.0), -2021),
        (order(STOP_MARKET, False, trigger=100.01), -2021),
        (order(STOP, price=101.0, trigger=0.0), -4013),
        (order(STOP, price=0.0, trigger=101.0), -4013),
        (order(STOP, price=100.5, trigger=101.0), None),
        (order(STOP, price=100.5, trigger=99.0), -2021),
    ],
)
def test_filters_at_a_last_price_of_100(given, code):
    refusal = filter_refusal(given, TEST, 100.0)
    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("is_buy", "price", "marketable"),
    [(True, 100.0, True), (True, 99.99, False), (False, 100.0, True), (False, 100.01, False)],
)
def test_a_limit_at_or_through_the_market_is_marketable(is_buy, price, marketable):
    given = order(LIMIT, is_buy, price=price)
    assert filter_refusal(given, TEST, 100.0) is None
    assert given.marketable is marketable


def test_a_leg_that_holds_less_refuses_to_close_more():
    api = Api()
    api.hold(LONG, 2.0)
    assert closing_refusal(order(MARKET, False, 2.0), api.book) is None
    assert closing_refusal(order(MARKET, False, 2.0 * (1 + 1e-10)), api.book) is None  # the noise of floats
    assert closing_refusal(order(MARKET, False, 2.001), api.book).code == -2022
    assert closing_refusal(order(MARKET, True, 0.001, side=SHORT), api.book).code == -2022


@pytest.mark.parametrize("held", [1.0 - LOT_NOISE, 1.0])
def test_a_leg_that_lacks_just_the_noise_of_lots_may_be_closed(held):
    api = Api()
    api.hold(LONG, held)
    assert closing_refusal(order(MARKET, False, 1.0), api.book) is None
    assert closing_refusal(order(MARKET, False, held * (1.0 + 2.0 * LOT_NOISE)), api.book).code == -2022


def test_reduce_only_of_one_way_mode_needs_something_held_and_no_more():
    api = Api()
    api.hold(SHORT, 0.001)
    assert closing_refusal(order(MARKET, True, side=None, reduce_only=True), api.book) is None
    api = Api()
    assert closing_refusal(order(MARKET, False, side=None, reduce_only=True), api.book).code == -2022
    api.hold(LONG, 2.0)
    assert closing_refusal(order(MARKET, False, 5.0, side=None, reduce_only=True), api.book) is None


def test_an_opening_order_needs_notional_capacity_and_margin():
    market = replace(
        TEST, brackets=(Bracket(0.0, 5_000.0, 0.01, 0.0), Bracket(5_000.0, 9_000.0, 0.02, 50.0)),
        max_leverages=(20.0, 5.0),
    )  # fmt: skip
    limits = dict(market=market, capacity=1_000.0, free_margin=60.0, leverage=10.0)
    assert opening_refusal(5.0, **limits) is None
    assert opening_refusal(4.99, **limits) == (
        -4164,
        "Order's notional must be no smaller than 5 (unless you choose reduce only).",
        "",
    )
    assert opening_refusal(600.0, **limits) is None
    assert opening_refusal(601.0, **limits) == (-2019, "Margin is insufficient.", "")
    assert opening_refusal(1_001.0, **limits) == (
        -2027,
        "Exceeded the maximum allowable position at current leverage.",
        " Allowed is 5,000",
    )


def test_an_order_above_a_cap_of_the_account_is_not_sent():
    limits = dict(market=TEST, capacity=1_000.0, free_margin=60.0, leverage=10.0)
    assert opening_refusal(50.0, **limits, room=50.0) is None
    assert opening_refusal(51.0, **limits, room=50.0) == (
        -1, "Not sent:", " a cap of the account leaves 50.00, the order has 51.00",
    )  # fmt: skip


# --- what they bind


@pytest.mark.parametrize(("type", "price"), [(MARKET, 100.0), (LIMIT, 98.0), (STOP_MARKET, 103.0), (STOP, 103.0)])
def test_an_open_order_is_valued_at_its_own_price_or_the_last(type, price):
    assert order_price(order(type, price=98.0, trigger=103.0), 100.0) == price


def test_open_notional_counts_what_opens_by_side():
    api = Api()
    api.hold(LONG, 5.0)
    api.rest("buy", LONG, True, 99.0, qty=2.0)
    api.rest("sell", SHORT, False, 101.0, qty=3.0)
    api.rest("exit", LONG, False, 102.0, qty=5.0)
    elsewhere = order(LIMIT, price=50.0)
    api.orders.alive.append(elsewhere)
    assert api.orders.open_notional(api.book, LONG, 100.0) == 198.0
    assert api.orders.open_notional(api.book, SHORT, 100.0) == 303.0
    assert api.orders.open_notional(api.book, None, 100.0) == 501.0


def test_a_liquidation_cancels_all_in_order_of_placement():
    api = Api()
    api.rest("one", LONG, True, 99.0)
    api.rest("two", SHORT, False, 101.0)
    api.orders.cancel_all()
    assert api.orders.alive == []
    assert api.told.gone == [("cancelled", "one"), ("cancelled", "two")]


def test_a_symbol_that_is_gone_takes_its_own_orders_along():
    api = Api()
    api.rest("one", LONG, True, 99.0)
    elsewhere = order(LIMIT, price=50.0)
    api.orders.alive.append(elsewhere)
    api.rest("two", SHORT, False, 101.0)
    api.orders.cancel(api.book)
    assert api.orders.alive == [elsewhere]
    assert api.told.gone == [("cancelled", "one"), ("cancelled", "two")]


# --- stops


def test_a_stop_gets_the_worse_of_stop_and_open():
    api = Api()
    api.hold(LONG, 2.0)
    api.rest("at the stop", LONG, False, 95.0, type=STOP_MARKET)
    api.bar(1, 94.0, 100.0)
    api.rest("gapped", LONG, False, 95.0, type=STOP_MARKET)
    api.bar(2, 90.0, 93.0, open_=92.0)
    assert [(name, price) for name, *_, price in api.told.fills] == [("at the stop", 95.0), ("gapped", 92.0)]
    assert api.held == (0.0, 0.0)


def test_a_stop_that_opens_fills_at_its_trigger():
    api = Api()
    api.rest("buy stop", LONG, True, 105.0, type=STOP_MARKET)
    api.bar(1, 99.0, 104.99)
    assert api.held == (0.0, 0.0)
    api.bar(2, 99.0, 105.0)
    assert api.told.fills == [("buy stop", "LONG", True, 1.0, 105.0)]


def test_a_stop_of_a_leg_that_holds_less_is_refused():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("stop", LONG, False, 95.0, qty=1.5, type=STOP_MARKET)
    api.bar(1, 94.0, 100.0)
    assert api.told.refusals == [("stop", -2022)]
    assert api.held == (1.0, 0.0)
    assert api.orders.alive == []


def test_a_stop_needs_all_that_it_closes_but_for_the_noise_of_lots():
    for held, refused in ((1.0 - LOT_NOISE, False), (1.0 - 2.0 * LOT_NOISE, True)):
        api = Api()
        api.hold(LONG, held)
        api.rest("stop", LONG, False, 95.0, type=STOP_MARKET)
        api.bar(1, 94.0, 100.0)
        assert (bool(api.told.refusals), api.held[0] == held) == (refused, refused)


def test_a_stop_of_one_leg_stops_that_leg_alone():
    for side, is_buy, trigger in ((LONG, False, 95.0), (SHORT, True, 105.0)):
        api = Api()
        api.hold(LONG, 2.0)
        api.hold(SHORT, 2.0)
        api.rest("stop", side, is_buy, trigger, type=STOP_MARKET)
        api.bar(1, 94.0, 106.0)
        assert [bool(leg.leg.stopped) for leg in api.book.legs] == [side is LONG, side is SHORT]


def test_a_stop_that_opens_stops_no_leg():
    api = Api()
    api.rest("stop", LONG, True, 105.0, type=STOP_MARKET)
    api.rest("one-way", None, True, 105.0, type=STOP_MARKET)
    api.bar(1, 99.0, 106.0)
    assert (api.held, api.book.long.leg.stopped) == ((2.0, 0.0), 0)


def test_stops_are_executed_long_before_short_and_in_order_of_placement():
    api = Api(costs=(0.0, 0.0, 0.01))
    api.hold(LONG, 2.0)
    api.hold(SHORT, 2.0)
    api.rest("short", SHORT, True, 105.0, type=STOP_MARKET)
    api.rest("long far", LONG, False, 94.0, type=STOP_MARKET)
    api.rest("long near", LONG, False, 95.0, type=STOP_MARKET)
    api.bar(1, 90.0, 110.0)
    # slippage of 1 %
    assert [(name, price) for name, *_, price in api.told.fills] == [
        ("long far", pytest.approx(93.06)), ("long near", pytest.approx(94.05)), ("short", pytest.approx(106.05)),
    ]  # fmt: skip
    assert [maker for _, maker, _ in api.told.costs] == [False] * 3


def test_a_stop_closes_the_fills_that_were_met_before_it():
    # of this bar's entries those at 96 and at the stop's own price; the older one in any case
    api = Api()
    for price, time in ((90.0, 0), (96.0, 5), (94.0, 5), (95.0, 5)):
        api.hold(LONG, 1.0, price, time)
    api.book.bar = Bar(5, 100.0, 101.0, 94.0, 95.0, 1.0)
    assert stoppable(api.book, api.book.long, 95.0) == [0, 1, 3]


def test_a_stop_does_not_close_an_entry_of_its_own_bar_that_lies_beyond_it():
    api = Api()
    api.rest("entry", LONG, True, 94.0)
    api.rest("stop", LONG, False, 95.0, type=STOP_MARKET)
    api.bar(1, 93.0, 100.0)
    assert [name for name, *_ in api.told.fills] == ["entry"]
    assert api.told.refusals == [("stop", -2022)]


def test_a_stopped_leg_has_no_exits_in_that_bar():
    api = Api()
    api.hold(LONG, 2.0)
    api.rest("stop", LONG, False, 95.0, type=STOP_MARKET)
    api.rest("exit", LONG, False, 101.0)
    api.bar(1, 94.0, 102.0)
    assert [name for name, *_ in api.told.fills] == ["stop"]
    api.bar(2, 99.0, 102.0)
    assert [name for name, *_ in api.told.fills] == ["stop", "exit"]


def test_a_triggered_stop_limit_rests_from_the_next_bar_on():
    api = Api()
    api.rest("buy", LONG, True, 104.0, type=STOP, trigger=105.0)
    api.bar(1, 99.0, 106.0)
    assert api.told.gone == [("triggered", "buy")]
    [waiting] = api.orders.alive
    assert (waiting.type, waiting.triggered_at, waiting.marketable) == (LIMIT, 1, False)
    api.bar(2, 99.0, 106.0)
    assert api.told.fills == [("buy", "LONG", True, 1.0, 104.0)]


@pytest.mark.parametrize(
    ("is_buy", "trigger", "price", "marketable"),
    [(True, 105.0, 105.0, True), (True, 105.0, 104.99, False), (False, 95.0, 95.0, True), (False, 95.0, 95.01, False)],
)
def test_a_triggered_limit_at_or_through_its_trigger_is_marketable(is_buy, trigger, price, marketable):
    api = Api()
    api.rest("stop", LONG if is_buy else SHORT, is_buy, price, type=STOP, trigger=trigger)
    api.bar(1, 94.0, 106.0)
    assert api.orders.alive[0].marketable is marketable


# --- closing a quantity, the oldest fills first


@pytest.mark.parametrize(
    ("qty", "closed"),
    [
        (-1.0, []),
        (0.0, []),
        (0.5, [0.5]),
        (1.0, [1.0]),
        (1.5, [1.0, 0.5]),
        (1.0 + 0.9 * LOT_NOISE, [1.0]),  # what is left is the noise of lots
        (1.0 + 2.0**-29, [1.0, 2.0**-29]),  # 1.9e-9: more than that
        (float("inf"), [1.0, 2.0]),
    ],
)
@pytest.mark.parametrize(("maker", "rate"), [(True, 0.001), (False, 0.002)])
def test_a_quantity_is_closed_from_the_oldest_fill_on(qty, closed, maker, rate):
    api = Api(costs=(0.001, 0.002, 0.0))
    api.hold(SHORT, 1.0)
    api.hold(SHORT, 2.0)
    close_oldest(api.book, api.book.short, qty, 90.0, MANUAL, maker=maker)
    closings = api.book.account.closed
    assert [trade.qty for trade in closings] == closed
    assert [(trade.exit, trade.gross, trade.fees) for trade in closings] == [
        (90.0, 10.0 * part, pytest.approx(90.0 * part * rate)) for part in closed
    ]


@pytest.mark.parametrize(("rest", "closed"), [(0.9, [1e9]), (1.0, [1e9, 1.0]), (2.0, [1e9, 2.0])])
def test_the_noise_of_lots_is_a_share_of_the_fill(rest, closed):
    api = Api()
    api.hold(LONG, 1e9)
    api.hold(LONG, 5.0)
    close_oldest(api.book, api.book.long, 1e9 + rest, 100.0, MANUAL, maker=True)
    assert [trade.qty for trade in api.book.account.closed] == closed


# --- what a bar reaches


@pytest.mark.parametrize(
    ("side", "is_buy", "reached", "missed"),
    [
        (LONG, True, 98.0, 97.99),
        (SHORT, False, 102.0, 102.01),
        (LONG, False, 102.0, 102.01),
        (SHORT, True, 98.0, 97.99),
    ],
)
@pytest.mark.parametrize("through", [False, True])
def test_a_limit_that_the_bar_does_not_reach_rests(side, is_buy, reached, missed, through):
    api = Api(costs=(0.0, 0.0, 0.0, through))
    api.hold(LONG, 1.0)
    api.hold(SHORT, 1.0)
    for name, price in (("reached", reached), ("missed", missed)):
        api.rest(name, side, is_buy, price, qty=0.5)
    api.bar(1, 98.0, 102.0)
    assert [name for name, *_ in api.told.fills] == ([] if through else ["reached"])


# --- the liquidation prices are the limits of a bar


@pytest.mark.parametrize(("down", "up", "filled"), [(98.0, 102.0, True), (99.0, 102.0, False), (90.0, 99.0, False)])
def test_entries_fill_between_the_liquidation_prices(down, up, filled):
    api = Api()
    api.rest("buy", LONG, True, 99.0)
    api.bar(1, 97.0, 103.0, limits=(down, up))
    assert bool(api.told.fills) is filled


def test_without_liquidation_prices_every_price_above_zero_lies_between_them():
    api = Api()
    api.rest("entry", LONG, True, 0.45)
    api.rest("stop", LONG, False, 0.44, type=STOP_MARKET)
    api.book.bar = Bar(1, 0.5, 0.5, 0.4, 0.4, 1e9)
    api.orders.fill_entries(api.book)
    api.orders.fill_stops(api.book)
    assert [name for name, *_ in api.told.fills] == ["entry", "stop"]


@pytest.mark.parametrize(
    ("open_", "down", "up", "filled"),
    [(100.0, 94.0, 105.0, True), (100.0, 95.0, 105.0, False), (94.5, 94.5, 105.0, False), (100.0, 90.0, 95.0, False)],
)
def test_stops_are_met_between_the_liquidation_prices(open_, down, up, filled):
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("stop", LONG, False, 95.0, type=STOP_MARKET)
    api.bar(1, 93.0, 103.0, open_=open_, limits=(down, up))
    assert bool(api.told.fills) is filled


def test_a_buy_stop_meets_the_open_where_the_bar_opens_above_it():
    api = Api()
    api.hold(SHORT, 1.0)
    api.rest("stop", SHORT, True, 105.0, type=STOP_MARKET)
    api.bar(1, 104.0, 108.0, open_=107.0, limits=(0.0, 107.0))
    assert api.told.fills == []
    api.bar(2, 104.0, 108.0, open_=107.0, limits=(0.0, 107.01))
    assert api.told.fills == [("stop", "SHORT", False, 1.0, 107.0)]


# --- exits, fees and remainders


def test_an_exit_needs_fills_that_are_older_than_the_bar():
    api = Api()
    api.hold(LONG, 1.0, time=0)
    api.rest("entry", LONG, True, 99.0)
    api.rest("exit", LONG, False, 101.0, qty=2.0)
    api.bar(1, 98.0, 102.0)
    assert api.held == (2.0, 0.0)  # 1 of the 2 is of this bar
    api.bar(2, 100.0, 102.0)
    assert api.held == (0.0, 0.0)


def test_an_exit_of_one_way_mode_closes_what_is_held_and_opens_the_rest():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("sell", None, False, 101.0, qty=3.0)
    api.bar(1, 100.0, 102.0)
    assert api.held == (0.0, 2.0)


def test_limits_pay_the_maker_fee_unless_marketable_and_all_else_the_taker_fee():
    api = Api(costs=(0.001, 0.002, 0.01))
    api.rest("limit", LONG, True, 99.0)
    api.rest("marketable", LONG, True, 99.0)
    api.orders.alive[1].marketable = True
    api.rest("market", LONG, True, type=MARKET)
    api.bar(1, 98.0, 102.0)
    # the market order pays 100 * 1.01 = 101 and 0.2 % of it
    assert api.told.costs == [
        ("market", False, pytest.approx(0.202)),
        ("limit", True, pytest.approx(0.099)),
        ("marketable", False, pytest.approx(0.198)),
    ]


def test_an_order_of_one_leg_that_holds_less_is_refused_at_execution():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("sell", LONG, False, qty=1.5, type=MARKET)
    api.rest("sell all", LONG, False, qty=1.0, type=MARKET)
    api.rest("sell again", LONG, False, qty=1.0, type=MARKET)
    api.bar(1, 100.0, 100.0)
    assert api.told.refusals == [("sell", -2022), ("sell again", -2022)]
    assert api.held == (0.0, 0.0)


def test_a_remainder_of_float_noise_does_not_rest():
    api = Api()
    api.rest("buy", LONG, True, 99.0, qty=0.013)
    [one] = api.orders.alive
    api.orders.execute(one, api.book, 99.0, 0.007, maker=True)
    assert one.remaining == pytest.approx(0.006)
    api.orders.execute(one, api.book, 99.0, 0.006, maker=True)  # leaves 8.7e-19
    assert api.orders.alive == []


def noisy_lots():
    """Return quantities (all, part) whose difference is exactly the noise of all of them."""
    for count in range(6_800_000, 6_900_000):
        whole = count * 2.0**-53 / LOT_NOISE
        if LOT_NOISE * whole == count * 2.0**-53 and whole - (whole - LOT_NOISE * whole) == LOT_NOISE * whole:
            return whole, whole - LOT_NOISE * whole
    raise AssertionError


def test_a_rest_of_just_the_noise_opens_nothing_and_rests_once_more():
    whole, part = noisy_lots()
    api = Api()
    api.hold(SHORT, part)
    api.rest("buy", None, True, 99.0, qty=whole)
    api.orders.execute(api.orders.alive[0], api.book, 99.0, whole, maker=True)
    assert api.held == (0.0, 0.0)
    api.rest("buy", LONG, True, 99.0, qty=whole)
    api.orders.execute(api.orders.alive[0], api.book, 99.0, part, maker=True)
    assert len(api.orders.alive) == 1


def test_an_exit_needs_older_fills_of_all_that_it_closes_but_for_the_noise_of_lots():
    for older, filled in ((1.0 - LOT_NOISE, True), (1.0 - 2.0 * LOT_NOISE, False)):
        api = Api()
        api.hold(LONG, older)
        api.hold(LONG, 1.0, time=1)
        api.rest("exit", LONG, False, 101.0)
        api.bar(1, 98.0, 102.0)
        assert bool(api.told.fills) is filled


@pytest.mark.parametrize(("qty", "filled"), [(1.0, True), (5.0, False)])
def test_an_exit_of_one_way_mode_needs_older_fills_of_what_is_held_at_most(qty, filled):
    api = Api()
    api.hold(LONG, 1.0)
    api.hold(LONG, 1.0, time=1)
    api.rest("sell", None, False, 101.0, qty=qty)
    api.bar(1, 98.0, 102.0)
    assert bool(api.told.fills) is filled


def test_an_exit_without_any_older_fill_waits():
    api = Api()
    api.hold(LONG, 1.0, time=1)
    api.rest("exit", LONG, False, 101.0)
    api.rest("reduce", None, False, 101.0, reduce_only=True)
    api.bar(1, 98.0, 102.0)
    assert (api.told.fills, api.told.refusals, len(api.orders.alive)) == ([], [], 2)


def test_a_reduce_only_limit_waits_for_something_to_reduce():
    api = Api()
    api.rest("reduce", None, False, 101.0, reduce_only=True)
    api.bar(1, 98.0, 102.0)
    assert (api.told.refusals, len(api.orders.alive)) == ([], 1)
    api.hold(LONG, 0.5)
    api.bar(2, 98.0, 102.0)
    assert api.told.fills == [("reduce", "LONG", False, 0.5, 101.0)]


def test_what_a_tiny_order_opens_is_more_than_noise():
    api = Api()
    api.hold(SHORT, 0.0001)
    api.rest("buy", None, True, qty=0.0001001, type=MARKET)
    api.bar(1, 100.0, 100.0)
    assert api.held == (pytest.approx(1e-7), 0.0)


def test_fills_carry_time_regime_and_fee_and_closings_the_label_manual():
    api = Api(costs=(0.001, 0.002, 0.0))
    api.book.state.regime = -1
    api.rest("buy", LONG, True, 99.0, qty=2.0)
    api.bar(7, 98.0, 100.0)
    [fill] = api.book.long.tracker.fills
    assert (fill.time, fill.regime, fill.spacing_pct, fill.fee) == (7, -1, 0.0, pytest.approx(0.198))
    api.rest("sell", LONG, False, qty=0.5, type=MARKET)
    api.bar(8, 100.0, 100.0)
    [trade] = api.book.account.closed
    assert (str(trade.label), trade.qty, trade.exit, trade.close_time) == ("manual", 0.5, 100.0, 8)
    # half of a share of 2 of the entry's fee, and 50 * 0.2 %
    assert trade.fees == pytest.approx(0.0495 + 0.1)


def test_no_fill_is_opened_for_float_noise():
    api = Api()
    api.hold(SHORT, 0.006)
    api.rest("buy", None, True, qty=0.013 - 0.007, type=MARKET)
    api.bar(1, 100.0, 100.0)
    assert [execution[1:3] for execution in api.told.fills] == [("SHORT", False)]
    assert api.held == (0.0, 0.0)


def test_a_share_below_one_lot_fills_nothing():
    api = Api(participation=0.1)
    api.rest("buy", LONG, True, 99.0)
    api.bar(1, 98.0, 100.0, volume=0.009)
    assert (api.told.fills, api.told.reports) == ([], 0)
    [buy] = api.orders.alive
    assert buy.remaining == 1.0


def test_a_leg_that_lacks_only_the_noise_of_its_lots_is_closed():
    api = Api()
    api.hold(LONG, 1.0 * (1.0 - LOT_NOISE))
    api.rest("close", LONG, False, type=MARKET)
    api.bar(1, 100.0, 100.0)
    assert (api.told.refusals, api.held[0]) == ([], 0.0)


# --- orders that follow the price, wait for a parent, cancel each other, or close what is left


def test_trailing_stop_is_met_by_the_trigger_before_the_bar_and_moved_by_the_bar():
    # 98, then 102 after the high of 104; a STOP's limit price stays 0.5 behind
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("market", LONG, False, 0.0, type=STOP_MARKET, trigger=98.0)
    api.rest("limit", LONG, False, 97.5, type=STOP, trigger=98.0)
    market, limit = api.orders.alive
    market.trail, limit.trail = Trail(2.0), Trail(0.0, 0.02, 0.5)
    api.bar(1, 99.0, 104.0)
    assert (market.trigger, limit.trigger, limit.price) == (102.0, 101.92, 101.42)
    assert api.told.gone == [("trailed", "market"), ("trailed", "limit")]
    api.bar(2, 101.95, 103.0, open_=103.0)
    assert [(name, price) for name, *_, price in api.told.fills] == [("market", 102.0)]


def test_trailing_stop_of_a_short_follows_lows_alone():
    # 98 after the low of 96; the low of 97 would be 99
    api = Api()
    api.hold(SHORT, 1.0)
    api.rest("stop", SHORT, True, type=STOP_MARKET, trigger=102.0)
    [stop] = api.orders.alive
    stop.trail = Trail(2.0)
    for time, low, trigger in ((1, 100.5, 102.0), (2, 96.0, 98.0), (3, 97.0, 98.0)):
        api.bar(time, low, low + 0.5, open_=low)
        assert stop.trigger == trigger
    assert api.told.gone == [("trailed", "stop")]


def test_trailing_stop_does_not_follow_the_bar_that_woke_it():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("stop", LONG, False, type=STOP_MARKET, trigger=90.0)
    [stop] = api.orders.alive
    stop.trail, stop.woken_at = Trail(2.0), 1
    api.bar(1, 99.0, 104.0)
    assert stop.trigger == 90.0


@pytest.mark.parametrize(("waits", "woken_at", "fills"), [(True, -1, []), (False, 1, ["stop"]), (False, 0, ["stop"])])
def test_child_is_matched_once_it_is_woken(waits, woken_at, fills):
    api = Api()
    api.hold(LONG, 2.0)
    api.rest("stop", LONG, False, 95.0, type=STOP_MARKET)
    api.rest("limit", LONG, False, 105.0)
    for order in api.orders.alive:
        order.waits, order.woken_at = waits, woken_at
    api.bar(1, 94.0, 104.0)
    assert [name for name, *_ in api.told.fills] == fills


def test_limit_is_not_filled_in_the_bar_that_wakes_it():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("limit", LONG, False, 105.0)
    api.orders.alive[0].woken_at = 1
    api.bar(1, 100.0, 106.0)
    assert api.told.fills == []
    api.bar(2, 100.0, 106.0)
    assert len(api.told.fills) == 1


@pytest.mark.parametrize(("other", "fills"), [(7, ["stop"]), (8, ["entry", "stop"])])
def test_limit_leaves_the_bar_to_the_stop_of_its_group(other, fills):
    api = Api()
    api.rest("entry", LONG, True, 98.0)
    api.rest("stop", LONG, True, 104.0, type=STOP_MARKET)
    entry, stop = api.orders.alive
    entry.group, stop.group = 7, other
    api.bar(1, 97.0, 105.0)
    assert [name for name, *_ in api.told.fills] == fills


@pytest.mark.parametrize(("price", "type"), [(105.0, LIMIT), (95.0, STOP_MARKET), (0.0, MARKET)])
def test_order_that_is_cut_to_its_leg_closes_what_is_left(price, type):
    # 3 ordered, 1 held
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("cut", LONG, False, price, qty=3.0, type=type)
    api.orders.alive[0].cut_to_leg = True
    api.bar(1, 94.0 if type is STOP_MARKET else 99.0, 106.0)
    assert [(name, qty) for name, *_, qty, _ in api.told.fills] == [("cut", 1.0)]
    assert api.orders.alive == []
    assert api.told.refusals == []


def test_stop_that_is_cut_to_its_leg_leaves_an_entry_beyond_it_and_expires():
    api = Api()
    api.hold(LONG, 1.0)
    api.rest("entry", LONG, True, 94.0)
    api.rest("cut", LONG, False, 95.0, qty=2.0, type=STOP_MARKET)
    api.orders.alive[1].cut_to_leg = True
    api.bar(1, 93.0, 101.0)
    assert [(name, qty) for name, *_, qty, _ in api.told.fills] == [("entry", 1.0), ("cut", 1.0)]
    assert (api.held, api.orders.alive) == ((1.0, 0.0), [])


@pytest.mark.parametrize("by", ["an order", "the ladder"])
def test_order_that_is_cut_to_its_leg_expires_when_others_empty_it(by):
    api = Api()
    api.hold(LONG, 1.0)
    if by == "an order":
        api.rest("other", LONG, False, type=MARKET)
    api.rest("cut", LONG, False, 105.0)
    api.rest("cut of the other leg", SHORT, True, 90.0)
    api.hold(SHORT, 1.0)
    for order in api.orders.alive[-2:]:
        order.cut_to_leg = True
    if by == "the ladder":
        close_oldest(api.book, api.book.long, 1.0, 100.0, 0, maker=True)
        api.book.account.executions.clear()
    api.bar(1, 99.0, 101.0)
    assert ("expired", "cut") in api.told.gone
    assert [order.reference for order in api.orders.alive] == ["cut of the other leg"]
