"""Fees in other assets, and the differences that are carried out."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from feeds.synthetic import SYMBOL
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Book, Costs, Entry, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.account_queries import Position, Trade
from gridv4_bt.live.connection import Refused
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.order_diff import Unbooked, diff_leg
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus
from gridv4_bt.live.reconciliation import Reconciler

LONG = PositionSide.LONG


def a_reconciler(events, **executor):
    executor = SimpleNamespace(connection=SimpleNamespace(clock=None), **executor)
    return Reconciler(
        executor, SimpleNamespace(last=0, before=[]), "g4", lambda kind, **f: events.append((kind, f)), since=0
    )


def test_commission_in_bnb_is_converted_and_remembered():
    events = []
    prices = {"BNB/USDT:USDT": 600.0}
    reconciler = a_reconciler(events, price=prices.__getitem__)
    trade = Trade(1, "1", LONG, True, 0.01, 50_000.0, 0.0003, "BNB", True, 0)
    assert reconciler._fee(trade) == pytest.approx(0.18)
    assert reconciler.foreign_fees == pytest.approx(0.18)  # it did not leave the USDT wallet
    assert events == [("fee_converted", {"asset": "BNB", "amount": 0.0003, "price": 600.0})]


def test_commission_in_an_asset_without_a_price_is_charged_once_it_has_one():
    prices, events = {}, []

    def price(name):
        if name not in prices:
            raise Refused(Failure(Reaction.BUG, None, "binanceusdm does not have market symbol"))
        return prices[name]

    reconciler = a_reconciler(events, price=price)
    trade = Trade(1, "1", LONG, True, 0.01, 50_000.0, 0.0003, "BFUSD", True, 0)
    assert reconciler._fee(trade) == 0.0 and reconciler.price_fees() == 0.0
    assert reconciler.unpriced == [("BFUSD", 0.0003)]
    assert [fields["what"] for kind, fields in events if kind == "alert"] == ["fee_unpriced"]
    prices["BFUSD/USDT:USDT"] = 600.0
    assert reconciler.price_fees() == pytest.approx(0.18) == reconciler.foreign_fees
    assert reconciler.unpriced == []


class Scene:
    """A LONG leg with a fill, an exit, a stop and two entries, all open at the exchange as wanted."""

    def __init__(self) -> None:
        self.book = Book(load_market("BTCUSDT"), Account(10_000.0), Costs(0.0, 0.0, 0.0))
        self.book.bar = Bar(900_000)
        self.leg = self.book.long
        self.book.account.open_fill("BTCUSDT", self.leg.tracker, 0.01, 100.0, 0, 0, 0.01, 0.0, True)
        self.leg.exits, self.leg.stop = {1: 101.0}, 90.0
        self.leg.place(-1, Entry(99.0, 0.02, 0.01))
        self.leg.place(-2, Entry(98.0, 0.02, 0.01))
        self.orders, self.unbooked, self.number = OrderRegistry(), [], 0
        for order in self.wanted():
            order.status = OrderStatus.OPEN
            self.orders.add(order)

    def new(self, key, qty, price, spacing_pct=0.0, label=""):
        self.number += 1
        return Order(make_id("g4", key, self.number), key, qty, price, spacing_pct, label)

    def change(self):
        return diff_leg(self.book, self.leg, self.orders, Unbooked(self.unbooked, "BTCUSDT"), self.new)

    def wanted(self):
        change = self.change()
        return [change.stop, *change.exits, *change.entries]

    def order(self, purpose, ref):
        return self.orders.current(OrderKey("BTCUSDT", LONG, purpose, ref))

    def execute(self, order, qty):
        order.filled += qty
        self.unbooked.append(Execution(9, order.id, "BTCUSDT", LONG, order.is_buy, qty, order.price, 0.0, True, 1))


def all_of(change):
    stops = [order for order in (change.stop,) if order]
    return stops, change.cancels, change.closes, change.exits, change.entries, change.obsolete_stops


def test_what_stands_as_wanted_is_left_alone():
    assert not any(all_of(Scene().change()))


def test_an_entry_at_another_price_is_cancelled_and_placed_anew():
    scene = Scene()
    before = scene.order(Purpose.ENTRY, 1)
    scene.leg.place(-1, Entry(98.9, 0.02, 0.01))
    change = scene.change()
    assert change.cancels == [before]
    assert [(order.price, order.qty) for order in change.entries] == [(98.9, 0.02)]


def test_a_partly_executed_entry_is_kept_before_and_after_it_is_booked():
    scene = Scene()
    scene.execute(scene.order(Purpose.ENTRY, 1), 0.005)
    assert not any(all_of(scene.change()))
    scene.unbooked.clear()
    scene.leg.qtys[0] = 0.015
    assert not any(all_of(scene.change()))


def test_a_level_whose_entry_has_just_filled_gets_no_second_one():
    scene = Scene()
    entry = scene.order(Purpose.ENTRY, 1)
    scene.execute(entry, 0.02)
    entry.status, entry.executed = OrderStatus.DONE, 0.02
    assert not any(all_of(scene.change()))


def test_a_close_takes_the_exit_away_first_and_leaves_one_for_the_rest():
    scene = Scene()
    exit_ = scene.order(Purpose.EXIT, 1)
    scene.leg.closes.append(MarketClose(1, 0.005, TradeLabel.STOP1))
    change = scene.change()
    assert change.cancels == [exit_]
    assert [order.qty for _, order in change.closes] == [0.005]
    assert [order.qty for order in change.exits] == [0.005]


def test_a_close_never_takes_what_the_exit_has_taken_already():
    scene = Scene()
    scene.execute(scene.order(Purpose.EXIT, 1), 0.004)
    scene.leg.closes.append(MarketClose(1, 0.01, TradeLabel.OLDEST))
    change = scene.change()
    assert [order.qty for _, order in change.closes] == [pytest.approx(0.006)]
    assert change.exits == []


def test_a_close_that_was_sent_is_not_sent_again():
    scene = Scene()
    scene.leg.closes.append(MarketClose(1, 0.01, TradeLabel.OLDEST))
    [(_, order)] = scene.change().closes
    scene.orders.add(order)
    assert scene.change().closes == []


def closed(scene, close, executed):
    """Let the exchange execute a close as far as it can, and tidy up after the bar; return its order."""
    reconciler = a_reconciler([])
    reconciler.orders = scene.orders
    scene.leg.closes.append(close)
    [(_, order)] = scene.change().closes
    scene.orders.add(order)
    order.status, order.executed, order.filled = OrderStatus.DONE, executed, executed
    scene.leg.tracker.close(0, executed)
    reconciler.forget_settled(scene.book)
    return order


def test_the_rest_of_a_close_that_was_executed_in_part_is_sent_again():
    scene = Scene()
    order = closed(scene, MarketClose(1, 0.01, TradeLabel.OLDEST), 0.004)
    assert scene.leg.closes == [MarketClose(1, pytest.approx(0.006), TradeLabel.OLDEST)]
    [(_, again)] = scene.change().closes
    assert again.qty == pytest.approx(0.006) and again.id != order.id


def test_a_close_that_was_executed_is_done():
    scene = Scene()
    order = closed(scene, MarketClose(1, 0.005, TradeLabel.STOP1), 0.005)
    assert scene.leg.closes == [] and scene.orders.get(order.id) is None


def test_a_moved_stop_is_placed_before_the_old_one_goes():
    scene = Scene()
    before = scene.order(Purpose.STOP, 0)
    scene.leg.stop = 91.0
    change = scene.change()
    assert change.stop.price == 91.0 and change.obsolete_stops == [before]


def test_an_intent_that_never_reached_the_exchange_gives_way_to_the_order_before():
    scene = Scene()
    before = scene.order(Purpose.STOP, 0)
    lost = scene.new(before.key, float("inf"), 91.0)
    scene.orders.add(lost)
    lost.status, lost.executed = OrderStatus.DONE, 0.0
    scene.orders.drop(lost)
    assert scene.order(Purpose.STOP, 0) is before


def test_a_mismatch_is_told_although_its_liquidation_price_moves():
    looks = iter(range(100))

    def positions(symbol):
        return {LONG: Position(0.03, 100.0, 50.0 + next(looks)), PositionSide.SHORT: Position(0.0, 0.0, 0.0)}

    reconciler = a_reconciler([], positions=positions, last_trade_id=lambda symbol: 7, trades=lambda symbol, after: [])
    reconciler._clock = SimpleNamespace(sleep=lambda seconds: None)
    [found] = reconciler.mismatches([Scene().book])
    assert (found.side, found.ours, found.theirs.qty) == (LONG, 0.01, 0.03)


def test_trades_of_the_time_in_one_way_mode_are_passed_over(market):
    scene = market(bars=4)
    for side in ("BUY", "SELL"):
        scene.exchange.trade_by_hand(SYMBOL, side, "BOTH", 0.01)
    trades = scene.exchange.ledger.trades
    for i, trade in enumerate(trades):
        trades[i] = replace(trade, time=trade.time - 10 * 86_400_000)
    assert scene.live(until=2).bars == 2
