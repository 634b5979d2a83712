"""The steps on hand-made records, with a broker that only takes notes."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from busy import busy
from hypothesis import given, settings
from hypothesis import strategies as st

from gridv4_bt.config import GridConfig
from gridv4_bt.core.risk import Bracket
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Book, Costs
from gridv4_bt.engine.labels import GRID, STOP1, STOP2, TradeLabel
from gridv4_bt.engine.ladder import HALT, PLACED, REGIME
from gridv4_bt.engine.market import load_market
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.state import STOPS_KEPT, Kelly, Memory, Now
from gridv4_bt.engine.types import Fill, PositionSide
from strategies import steps
from strategies.orders import SymbolOrders
from strategies.side import Side

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
OLDEST = TradeLabel.OLDEST.number
INF = math.inf
DAY = 86_400_000
RULES = load_market("BTCUSDT")  # tick 0.1, step 0.001


class Broker:
    """Keeps what it is asked for, and answers with given numbers."""

    def __init__(self, books, maintenance=0.0, liquidation=(0.0, INF)):
        self.books = self.held = books
        self.maintenance, self.liquidation = maintenance, liquidation
        self.closes, self.cancelled, self.stops = [], [], []
        self.confirmed, self.rested, self.exits = [], 0, []

    def state(self, feed):
        return self.books[0]

    def sigma(self, book, bars):
        return {"ETHUSDT": 0.02}[book.symbol]

    def close_fill(self, feed, side, fill_id, qty, label):
        self.closes.append((side.name, fill_id, qty, str(label)))

    def cancel_entries(self, feed, side):
        self.cancelled.append(side.name)

    def set_stop(self, feed, side, price):
        self.stops.append((side.name, price))

    def maintenance_margin(self):
        return self.maintenance

    def liquidation_range(self, feed):
        return self.liquidation

    def confirm(self, feed, strategy, regime):
        self.confirmed.append(regime)

    def rest_entries(self, feed):
        self.rested += 1
        return {}

    def set_exits(self, feed, side, exits):
        self.books[0].leg(side).exits = exits
        self.exits.append((side.name, exits))


class World:
    """Both sides of one symbol. Fills are (qty, price), of age 0 and a spacing of 1 %; ids count from 1, LONG first."""

    def __init__(self, long=(), short=(), p=None, others=(), rules=RULES, **answers):
        self.account = Account(1_000.0)
        self.symbol = Book(rules, self.account, Costs(0.0, 0.0, 0.0))
        self.broker = Broker((self.symbol, *others), **answers)
        self.book = SymbolOrders(SimpleNamespace(broker=self.broker), None)
        self.p, self.memory, self.now = p or busy(), Memory(), Now(close=100.0, equity=1_000.0, kama=100.0, atr=10.0)
        self.long, self.short = Side(self.symbol.long), Side(self.symbol.short)
        self.kelly, self.returns = [Kelly() for _ in range(5)], [[0.0] * 3 for _ in range(5)]
        fill_id = 0
        for side, fills in ((self.long, long), (self.short, short)):
            for qty, price in fills:
                fill_id += 1
                side.tracker.add(Fill(fill_id, qty, price, 0, 0, 0.01, 0.0, 0.0))
            side.reserve()
            steps.refresh(self.p, side)

    def check_liquidation(self):
        self.symbol.bar.close = self.now.close
        steps.check_liquidation(self.p, self.memory, self.now, self.book, (), self.long, self.short)

    def generate_grid(self, changes=0):
        plan = SimpleNamespace(change=lambda *bar: changes)
        steps.generate_grid(
            self.p, RULES, self.memory, self.now, self.book, self.long, self.short, self.kelly, self.returns, plan
        )

    def match_orders(self):
        steps.match_orders(self.p, RULES, self.memory, self.now, self.book, self.long, self.short, None)

    def check_var(self):
        self.symbol.bar.close = self.now.close
        steps.check_var(self.p, self.now, self.book, self.long, self.short)

    def prune(self):
        self.symbol.bar.close = self.now.close
        steps.prune(self.p, self.memory, self.now, self.book, self.long, self.short)


# --- before the steps


def test_a_new_utc_day_begins_with_no_profit():
    memory = Memory(bar=7, day=1, realized_today=5.0)
    steps.begin_bar(memory, Now(time=2 * DAY - 1))
    assert (memory.bar, memory.day, memory.realized_today) == (8, 1, 5.0)
    steps.begin_bar(memory, Now(time=2 * DAY))
    assert (memory.bar, memory.day, memory.realized_today) == (9, 2, 0.0)


def learn(label, net, cooling=0, stop_rests=1, bullet=None):
    """Take in a closing of 2 at 100 at bar 10, of the whole fill if no `bullet` is given."""
    world = World()
    memory, kelly, returns = Memory(bar=10, realized_today=1.0), Kelly(known=1), [0.0] * 3
    world.long.leg.stop_rests, world.long.leg.look_again = stop_rests, 99
    for _ in range(cooling):
        world.long.make_room()
        world.long.leg.cooling += 1
    bullet = (2.0, net) if bullet is None else bullet
    assert steps.learn(world.p, memory, world.long, label, 100.0, net, *bullet, kelly, returns)
    return world, memory, kelly, returns


def test_a_closed_trade_counts_for_kelly():
    _, memory, kelly, returns = learn(GRID, 4.0)
    # 4 / (2*100)
    assert (kelly.returns, kelly.known, returns) == (1, 0, [0.02, 0.0, 0.0])


@pytest.mark.parametrize(("bullet", "kept"), [((0.0, 0.0), 0), ((5.0, -10.0), 1)])
def test_kelly_counts_a_fill_closed_in_parts_once_with_all_of_them(bullet, kept):
    world, memory, kelly, returns = learn(STOP1, -4.0, bullet=bullet)
    # -10 / (5*100)
    assert (kelly.returns, returns) == (kept, [-0.02 if kept else 0.0, 0.0, 0.0])


def test_the_last_part_of_a_small_fill_counts_too():
    _, _, kelly, returns = learn(GRID, 4.0, bullet=(0.5, 1.0))
    # 1 / (0.5*100)
    assert (kelly.returns, returns) == (1, [0.02, 0.0, 0.0])


def test_a_trade_without_room_for_its_level_is_not_taken_in(monkeypatch):
    world, memory = World(), Memory()
    monkeypatch.setattr(steps, "make_room", lambda side: False)
    taken = steps.learn(world.p, memory, world.long, STOP1, 100.0, -4.0, 0.0, 0.0, Kelly(), [0.0])
    assert (taken, world.long.leg.cooling) == (False, 0)


def test_a_level_cut_at_a_loss_cools():
    world, *_ = learn(OLDEST, -4.0, cooling=1)
    leg, cooling = world.long.leg, world.long.cooling
    assert (leg.cooling, leg.look_again) == (2, 0)
    assert (cooling.price[1], cooling.until[1]) == (100.0, 10 + world.p.reopen_bars)


@pytest.mark.parametrize(("label", "net"), [(OLDEST, 0.0), (OLDEST, 4.0), (GRID, -4.0)])
def test_a_level_left_at_a_profit_or_by_its_exit_does_not_cool(label, net):
    world, *_ = learn(label, net)
    assert (world.long.leg.cooling, world.long.leg.look_again) == (0, 99)


@pytest.mark.parametrize(("label", "rests", "stops"), [(STOP2, 1, 1), (STOP2, 0, 0), (STOP1, 1, 0)])
def test_stage_2_counts_when_it_is_executed_and_once_for_the_whole_leg(label, rests, stops):
    world, memory, *_ = learn(label, 1.0, stop_rests=rests)
    assert memory.stops == stops
    assert world.long.leg.stop_rests == (0 if stops else rests)


def test_the_oldest_return_makes_room_for_a_new_one():
    kelly, returns = Kelly(returns=3, known=1), [0.1, 0.2, 0.3]
    steps.remember(kelly, returns, 0.4)
    assert (returns, kelly.returns, kelly.known) == ([0.2, 0.3, 0.4], 3, 0)


def stopped(*bars, **changes):
    """Remember stops at these bars."""
    memory = Memory()
    for memory.bar in bars:
        steps.count_stop(busy(**changes), memory)
    return memory


def test_the_bars_of_the_latest_stops_are_kept():
    assert (stopped(5, 7, 9).stops, stopped(5, 7, 9).stop_bars[:4]) == (3, [5, 7, 9, 0])
    memory = stopped(*range(1, STOPS_KEPT + 2))  # one more than there is room for
    assert (memory.stops, memory.stop_bars[:2]) == (STOPS_KEPT + 1, [STOPS_KEPT + 1, 2])


@pytest.mark.parametrize(
    ("changes", "bars", "at", "cools"),
    [
        ({}, (10, 11, 12), 57, True),  # of more than 2 stops the first lies 47 bars back
        ({}, (10, 11, 12), 58, False),
        ({}, (11, 12), 12, False),
        ({}, (1, 2, 10, 11, 12), 57, True),  # the last three count
        ({}, (1, 2, 9, 11, 12), 57, False),
        ({"cooldown_bars": 49}, (10, 11, 12), 58, True),
        ({"cooldown_stops": 3}, (10, 11, 12), 57, False),
        ({"cooldown_stops": 3}, (10, 11, 12, 13), 57, True),
        ({"cooldown_stops": 0}, (10,), 57, True),
        ({"cooldown_stops": 20}, tuple(range(1, 30)), 56, True),  # the last 21 are those of the bars 9 to 29
        ({"cooldown_stops": 20}, tuple(range(1, 30)), 57, False),
    ],
)
def test_stops_make_orders_smaller_for_a_while(changes, bars, at, cools):
    world = World(p=busy(**changes))
    world.memory, world.memory.bar = stopped(*bars, **changes), at
    world.generate_grid()
    assert world.now.notional == 50.0 * (0.5 if cools else 1.0)


def test_the_cooldowns_factor():
    world = World(p=busy(cooldown_factor=0.2))
    world.memory = stopped(1, 2, 3)
    world.generate_grid()
    assert world.now.notional == 1_000.0 * 0.05 * 0.2


def test_the_nearest_trigger_of_all_fills_is_kept():
    world = World(long=[(1.0, 100.0), (1.0, 200.0)], short=[(1.0, 100.0), (1.0, 200.0)])
    # a gap is 3 spacings of 1 %; an offset begins 1 spacing under water
    assert (world.long.leg.gap_trigger, world.long.leg.under_water) == pytest.approx((194.0, 198.0))
    assert (world.short.leg.gap_trigger, world.short.leg.under_water) == pytest.approx((103.0, 101.0))
    assert (world.long.leg.changed, world.long.leg.look_again, world.long.leg.exit_slack) == (0, 0, -1.0)


def test_what_the_steps_know_of_a_leg_is_found_anew_after_a_change():
    world = World(long=[(1.0, 100.0), (1.0, 100.0)])
    leg = world.long.leg
    world.long.fills.time[:] = [1_000, 2_000]
    leg.changed, leg.look_again, leg.exit_slack, leg.stage1_done = 1, 7, 0.5, 1
    steps.refresh(world.p, world.long)
    assert (leg.changed, leg.look_again, leg.exit_slack, leg.stage1_done) == (0, 0, -1.0, 1)
    assert leg.latest_time == 1_000 + DAY  # of the oldest fill


def test_a_side_without_fills_has_no_trigger():
    world = World()
    assert world.long.leg.latest_time == world.short.leg.latest_time == steps.NEVER
    assert (world.long.leg.gap_trigger, world.long.leg.under_water) == (-INF, -INF)
    assert (world.short.leg.gap_trigger, world.short.leg.under_water) == (INF, INF)


# --- 1 and 2


@pytest.mark.parametrize(("source", "regime"), [(0, 0), (1, -2), (2, -2)])
def test_without_a_filter_every_regime_is_noise(source, regime):
    now = Now(regime=-2)
    steps.update_regime(Memory(source=source), now)
    assert now.regime == regime


@pytest.mark.parametrize(
    ("halted", "z", "after", "halts", "anchored", "cancelled"),
    [(0, -2.9, 0, 0, 1, []), (0, -3.1, 1, 1, 1, ["LONG", "SHORT"]), (1, -3.1, 1, 0, 1, []), (1, -0.9, 0, 0, 0, [])],
)
def test_a_halt_begins_and_ends(halted, z, after, halts, anchored, cancelled):
    world = World()
    memory = Memory(halted=halted, anchored=1)
    steps.check_circuit_breaker(world.p, memory, Now(z=z), world.book, world.long, world.short)
    assert (memory.halted, memory.halts, memory.anchored) == (after, halts, anchored)
    assert world.broker.cancelled == cancelled


# --- 3


def stop_loss(world, close, atr=1.0):
    world.now.close, world.now.atr = close, atr
    steps.check_stop_loss(world.p, RULES, world.memory, world.now, world.book, world.long, world.short)


def test_both_stages_are_measured_from_the_average_entry():
    # average 105; stage 1 at 4 ATR, stage 2 at 6
    world = World(long=[(1.0, 100.0), (1.0, 110.0)])
    stop_loss(world, 101.0)
    assert world.broker.closes == []
    assert world.broker.stops == [("LONG", 99.0)]
    stop_loss(world, 100.9)
    assert world.broker.closes == [("LONG", 2, 1.0, "stop1")]
    assert (world.memory.stops, world.long.leg.stage1_done, world.long.leg.stop_rests) == (1, 1, 1)


@pytest.mark.parametrize(
    ("qtys", "closes"),
    [
        ((0.004,), [(1, 0.002)]),
        ((0.003,), [(1, 0.002)]),  # half of the lots, rounded up
        ((0.001, 0.001, 0.001), [(1, 0.001), (2, 0.001)]),  # rounded once, not three times
        ((0.005, 0.003), [(1, 0.004)]),
        ((0.002, 0.006), [(2, 0.004)]),
        ((0.003, 0.003), [(1, 0.003)]),  # of equal losses the older
        ((0.3, 0.2, 0.1), [(1, 0.3)]),
        ((0.1, 0.2, 0.3), [(3, 0.3)]),
        ((0.1, 0.1, 0.1, 0.1, 0.3), [(5, 0.3), (1, 0.05)]),
    ],
)
@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_stage_1_closes_half_of_the_leg_the_largest_losses_first(side, qtys, closes):
    world = World(**{side.lower(): [(qty, 100.0) for qty in qtys]})
    stop_loss(world, 95.0 if side == "LONG" else 105.0)
    assert world.broker.closes == [(side, fill_id, qty, "stop1") for fill_id, qty in closes]


def test_the_share_of_stage_1_is_a_parameter():
    world = World(long=[(1.0, 100.0), (1.0, 100.0)], p=busy(stop1_share=0.75))
    stop_loss(world, 95.0)
    assert world.broker.closes == [("LONG", 1, 1.0, "stop1"), ("LONG", 2, 0.5, "stop1")]


def test_stage_1_waits_for_a_close_inside():
    world = World(short=[(1.0, 100.0)])
    for close, stops in ((104.1, 1), (104.2, 1), (103.0, 1), (104.1, 2)):
        stop_loss(world, close)
        assert world.memory.stops == stops


def test_an_empty_leg_may_be_stopped_anew():
    world = World()
    world.long.leg.stage1_done = 1
    steps.refresh(world.p, world.long)
    stop_loss(world, 100.0)
    assert (world.long.leg.stage1_done, world.broker.stops) == (0, [])


def test_without_any_range_the_stop_before_stays():
    world = World(long=[(1.0, 100.0)])
    stop_loss(world, 100.0, atr=0.0)
    assert world.broker.stops == []


def test_a_range_far_below_one_is_a_range():
    world = World(short=[(1.0, 100.0)])
    stop_loss(world, 100.0, atr=0.1)
    assert world.broker.stops == [("SHORT", 100.6)]


@pytest.mark.parametrize("close", [94.1, 94.5])
def test_a_close_less_than_one_before_stage_2_leaves_its_stop_resting(close):
    world = World(long=[(1.0, 100.0)])
    world.long.leg.stage1_done = 1
    stop_loss(world, close)
    assert (world.broker.stops, world.broker.closes) == ([("LONG", 94.0)], [])


@pytest.mark.parametrize(
    ("qty", "closes"),
    [
        (0.0, []),
        (0.5, [(1, 0.5)]),
        (2e9 * (1.0 - 1.1e-9), [(1, 1_999_999_997.8)]),  # all but a little more than the noise of lots
        (2e9 * (1.0 - LOT_NOISE), [(1, 2e9)]),
        (2e9, [(1, 2e9)]),
        (2e9 + 2.0, [(1, 2e9)]),  # the rest is just the noise of the first
        (2e9 + 2.5, [(1, 2e9), (2, 2.5)]),
        (3e9, [(1, 2e9), (2, 1e9)]),
        (9e9, [(1, 2e9), (2, 1e9)]),  # no more than there is
    ],
)
def test_a_leg_is_reduced_by_whole_fills_and_then_a_part_but_for_noise(qty, closes):
    world = World(long=[(2e9, 100.0), (1e9, 100.0)])
    world.now.close = 90.0
    steps.reduce_leg(RULES, world.now, world.book, world.long, qty)
    assert world.broker.closes == [
        ("LONG", fill_id, pytest.approx(part, rel=1e-15), "stop1") for fill_id, part in closes
    ]


@pytest.mark.parametrize("close", [94.0, 93.9])
def test_a_close_on_or_through_stage_2_leaves_at_once(close):
    world = World(long=[(1.0, 100.0), (2.0, 100.0)])
    world.long.leg.stage1_done = 1
    stop_loss(world, close)
    assert world.broker.stops == [("LONG", None)]
    assert world.broker.closes == [("LONG", 1, 1.0, "stop2"), ("LONG", 2, 2.0, "stop2")]


# --- 4


def test_distances_to_the_liquidation_prices():
    world = World(long=[(1.0, 100.0)], liquidation=(80.0, 130.0))
    world.check_liquidation()
    assert (world.now.liquidation_down, world.now.liquidation_up) == pytest.approx((0.2, 0.3))
    assert world.memory.min_distance == pytest.approx(0.2)
    assert world.memory.liquidation_near == 0


def test_distances_of_a_price_below_one():
    world = World(long=[(1.0, 1.0)], liquidation=(0.8, 1.3))
    world.now.close = 1.0
    world.check_liquidation()
    assert (world.now.liquidation_down, world.now.liquidation_up) == pytest.approx((0.2, 0.3))


def test_the_least_distance_is_kept_and_a_near_one_warns():
    world = World(long=[(1.0, 100.0)], liquidation=(0.0, 104.0))
    world.check_liquidation()
    assert (world.now.liquidation_down, world.now.liquidation_up) == (INF, pytest.approx(0.04))
    assert (world.memory.min_distance, world.memory.liquidation_near) == (pytest.approx(0.04), 1)
    world.broker.liquidation = (90.0, INF)
    world.check_liquidation()
    assert (world.memory.min_distance, world.memory.liquidation_near) == (pytest.approx(0.04), 1)


def test_a_distance_of_the_warning_itself_is_not_near():
    world = World(long=[(1.0, 100.0)], liquidation=(0.0, 150.0))
    world.p = busy(liquidation_warning=0.5)
    world.check_liquidation()
    assert world.memory.liquidation_near == 0


@pytest.mark.parametrize(("alone", "maintenance"), [(1, 0.0), (0, 70.0)])
def test_a_flat_symbol_knows_the_margin_of_its_wallet_only_where_it_shares_it(alone, maintenance):
    world = World(maintenance=70.0, liquidation=(1.0, 2.0))
    world.memory.alone, world.now.maintenance = alone, 5.0
    world.check_liquidation()
    assert (world.now.maintenance, world.now.liquidation_down, world.now.liquidation_up) == (maintenance, INF, INF)


def test_one_side_alone_is_not_flat():
    for held in ({"long": [(1.0, 100.0)]}, {"short": [(1.0, 100.0)]}):
        world = World(maintenance=70.0, liquidation=(90.0, 110.0), **held)
        world.check_liquidation()
        assert world.now.maintenance == 70.0
        assert world.memory.min_distance == pytest.approx(0.1)


#: 1 % up to 1,000; 2.5 % less 15 above.
STEEP = replace(
    RULES, brackets=(Bracket(0.0, 1_000.0, 0.01, 0.0), Bracket(1_000.0, 1e12, 0.025, 15.0)), max_leverages=(50.0, 20.0)
)
TIGHT = busy(margin_call=0.2, margin_target=0.1)


@pytest.mark.parametrize(
    ("side", "entries"), [("LONG", (101.0, 104.0, 102.0, 103.0)), ("SHORT", (99.0, 96.0, 98.0, 97.0))]
)
def test_a_margin_call_finds_the_margin_anew_after_each_closing(side, entries):
    # 4 * 500 bind 35 of an equity of 100; the target is 10. After one 22.5 are bound, after two 10: at the mean rate of
    # 1.75 % three would go.
    world = World(**{side.lower(): [(5.0, price) for price in entries]}, p=TIGHT, rules=STEEP, maintenance=35.0)
    world.now.equity = 100.0
    world.check_liquidation()
    assert world.memory.margin_calls == 1
    assert world.broker.closes == [(side, 2, 5.0, "margin_call"), (side, 4, 5.0, "margin_call")]


def test_a_margin_call_counts_each_leg_of_a_hedge_in_its_own_bracket():
    # LONG 1,500: 22.5, SHORT 500: 5, of an equity of 100; without the SHORT 22.5, then LONG 1,000: 10
    world = World(
        long=[(5.0, 101.0), (5.0, 101.0), (5.0, 101.0)], short=[(5.0, 98.0)], p=TIGHT, rules=STEEP, maintenance=27.5
    )
    world.now.equity = 100.0
    world.check_liquidation()
    assert [close[:2] for close in world.broker.closes] == [("SHORT", 4), ("LONG", 1)]


def other_symbol(**held):
    """Return the book of ETHUSDT at 50 with LONG or SHORT of (id, qty, price)."""
    book = Book(load_market("ETHUSDT"), Account(1_000.0), Costs(0.0, 0.0, 0.0))
    book.bar.close = 50.0
    for side, (fill_id, qty, price) in held.items():
        leg = book.long if side == "long" else book.short
        leg.tracker.add(Fill(fill_id, qty, price, 0, 0, 0.01, 0.0, 0.0))
    return book


def test_a_margin_call_of_the_account_takes_the_worst_of_all_symbols_and_each_closes_its_own():
    # ours lose 20 and 5, the other's 10 units 100; all bind 500 * 1 % + 500 * 1 % + 500 * 0.5 % = 12.5
    other = other_symbol(long=(9, 10.0, 60.0))
    world = World(long=[(5.0, 104.0), (5.0, 101.0)], p=TIGHT, rules=STEEP, others=[other], maintenance=15.0)
    world.now.equity = 60.0
    world.check_liquidation()
    # the other goes first and leaves 1,000: 10; then ours of 20 and 5 are left: 5 of 6
    assert world.broker.closes == [("LONG", 1, 5.0, "margin_call")]
    other.state.has_bar = 0  # it can close nothing, so ours must go
    world.broker.closes.clear()
    world.check_liquidation()
    assert world.broker.closes == [("LONG", 1, 5.0, "margin_call"), ("LONG", 2, 5.0, "margin_call")]


@pytest.mark.parametrize(
    ("entry", "theirs", "calls"),
    [
        (104.0, 60.0, 0),  # ours lose 20, the other's 100: its strategy counts the call
        (130.0, 60.0, 1),  # 150 and 100
        (120.0, 60.0, 1),  # of equals the lower id
    ],
)
@pytest.mark.parametrize("side", ["long", "short"])
def test_a_margin_call_is_counted_by_the_owner_of_the_worst_fill(side, entry, theirs, calls):
    sign = 1.0 if side == "long" else -1.0
    other = other_symbol(**{side: (9, 10.0, 50.0 + sign * (theirs - 50.0))})
    world = World(
        **{side: [(5.0, 100.0 + sign * (entry - 100.0))]}, p=TIGHT, rules=STEEP, others=[other], maintenance=15.0
    )
    world.now.equity = 20.0  # both go
    world.check_liquidation()
    assert world.memory.margin_calls == calls
    assert world.broker.closes == [(side.upper(), 1, 5.0, "margin_call")]


@pytest.mark.parametrize("side", ["long", "short"])
def test_a_symbol_without_a_bar_loses_and_binds_but_its_fills_are_not_the_worst(side):
    sign = 1.0 if side == "long" else -1.0
    other = other_symbol(**{side: (9, 10.0, 50.0 + sign * 4.0)})  # loses 40 of 1,000, and 37.5 is the limit
    other.state.has_bar = 0
    world = World(**{side: [(1.0, 100.0 + sign * 1.0)]}, others=[other], p=busy(gap_spacings=0.0))
    world.prune()
    assert world.broker.closes == [(side.upper(), 1, 1.0, "delever")]
    other.state.has_bar = 1
    world.broker.closes.clear()
    world.prune()
    assert world.broker.closes == []


def test_a_strategy_that_decides_later_counts_todays_closings_and_not_yesterdays():
    memory, now = Memory(), Now(time=DAY - BAR_MS)
    steps.begin_bar(memory, now)
    steps.earn(memory, 1.0, DAY - BAR_MS)
    now.time = DAY + 8 * BAR_MS  # its next bar
    steps.begin_bar(memory, now)
    for net, closed_at in ((2.0, DAY - BAR_MS), (4.0, DAY), (8.0, DAY + 8 * BAR_MS)):
        steps.earn(memory, net, closed_at)
    assert memory.realized_today == 12.0


def test_an_account_below_zero_closes_everything():
    world = World(long=[(1.0, 110.0)], short=[(1.0, 90.0)], maintenance=1.0)
    world.now.equity = -50.0
    world.check_liquidation()
    assert [close[:2] for close in world.broker.closes] == [("LONG", 1), ("SHORT", 2)]


def test_exactly_at_the_limit_there_is_no_margin_call():
    world = World(long=[(1.0, 110.0)], maintenance=800.0)
    world.check_liquidation()
    assert (world.memory.margin_calls, world.broker.closes) == (0, [])


# --- 5


def test_a_flat_symbol_prunes_nothing():
    world = World()
    world.memory.realized_today = 5.0
    world.prune()
    assert world.broker.closes == []


@pytest.mark.parametrize(("time", "closes"), [(DAY - BAR_MS, []), (DAY - BAR_MS + 1, [("LONG", 1, 1.0, "oldest")])])
def test_age(time, closes):
    world = World(long=[(1.0, 100.0)])
    world.now.time = time
    world.prune()
    assert world.broker.closes == closes


@pytest.mark.parametrize(("side", "close"), [("LONG", 96.99), ("SHORT", 103.01)])
def test_gap(side, close):
    for price, closes in ((round(close), []), (close, [(side, 1, 1.0, "gap")])):
        world = World(**{side.lower(): [(1.0, 100.0)]})
        world.now.close = float(price)
        world.prune()
        assert world.broker.closes == closes


def test_deviance_cuts_all_of_its_side_and_none_of_the_other():
    world = World(long=[(1.0, 100.0), (2.0, 100.0)], short=[(1.0, 100.0)])
    world.now.kama, world.now.atr = 104.0, 1.0
    world.prune()
    assert world.broker.closes == [("LONG", 1, 1.0, "deviance"), ("LONG", 2, 2.0, "deviance")]


@pytest.mark.parametrize(("paid", "closes"), [(1.0, []), (1.01, [("LONG", 1, 2.0, "funding")])])
def test_funding_is_looked_at_after_each_settlement(paid, closes):
    # half of 0.01 * 100 * 2
    world = World(long=[(2.0, 100.0)])
    world.long.fills.funding[0] = paid
    world.prune()
    assert world.broker.closes == []
    world.memory.settlements = 1
    world.prune()
    assert (world.broker.closes, world.long.leg.settlements_seen) == (closes, 1)


def test_no_fill_is_looked_at_while_none_can_be_cut():
    # of 2 at 100 with a spacing of 1 %: age 24 h at the close, gap at 97, half of the profit is 1
    world = World(long=[(1.0, 100.0), (2.0, 100.0)])
    world.now.time, world.now.close = DAY - BAR_MS, 97.0
    world.long.fills.funding[1] = 1.0
    world.memory.settlements = 1
    assert not steps.may_prune(world.p, world.memory, world.now, world.long.leg, world.long.fills)
    world.memory.settlements = 2
    world.long.fills.funding[1] = 1.01
    assert steps.may_prune(world.p, world.memory, world.now, world.long.leg, world.long.fills)


#: Around each method's threshold: qty, price, age in days, spacing, share of the expected profit paid as funding.
any_fill = st.tuples(
    st.floats(0.1, 10.0), st.floats(95.0, 105.0), st.floats(0.0, 1.1), st.floats(0.005, 0.05), st.floats(-0.6, 0.6)
)


@given(st.sampled_from([LONG, SHORT]), st.lists(any_fill, min_size=1, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
def test_fills_are_cut_as_if_each_was_looked_at_at_every_bar(side, fills, data):
    begin, close = 2 * DAY, st.floats(85.0, 115.0)
    seen = World(), World()
    for world in seen:
        chosen = world.long if side > 0 else world.short
        for number, (qty, price, age, spacing, paid) in enumerate(sorted(fills, key=lambda fill: -fill[2]), 1):
            opened = begin - int(age * DAY)
            chosen.tracker.add(Fill(number, qty, price, opened, 0, spacing, paid * spacing * price * qty, 0.0))
        chosen.reserve()
        steps.refresh(world.p, chosen)
        world.now.equity, world.memory.settlements = 1e12, 1
    for bar in range(3):  # there is a settlement before the first only
        price = data.draw(close)
        for world in seen:
            world.now.time, world.now.close, world.now.kama = begin + bar * 900_000, price, price
        seen[0].prune()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "may_prune", lambda *looked_at: True)
            seen[1].prune()
        assert seen[0].broker.closes == seen[1].broker.closes
        if seen[0].broker.closes:
            return


#: What cuts a fill of 2 at 100 with a spacing of 1 %, by label: parameter, a value at which it no longer cuts LONG and
#: SHORT, and the bar's numbers, those against the price for LONG.
CUTS = {
    "deviance": ("deviance_atr", 5.0, dict(kama=104.0, atr=1.0)),  # 4 ATR
    "oldest": ("max_age_hours", 25.0, dict(time=25 * 3_600_000 - BAR_MS)),
    "gap": ("gap_spacings", 4.0, dict(close=96.5, atr=10.0)),  # 3.5 spacings
    "funding": ("funding_share", 0.75, dict()),  # 1.4 of 2 paid
    "offset": ("offset_spacings", 1.6, dict(close=98.5)),  # 1.5 spacings
}


def cut(label, side, value):
    """Prune a fill in the bar of `CUTS` with a value of its parameter and return the labels of what is closed."""
    name, _, numbers = CUTS[label]
    world = World(**{side.lower(): [(2.0, 100.0)]}, p=busy(**{name: value}))
    mirrored = {key: 200.0 - number for key, number in numbers.items() if side == "SHORT" and key in ("kama", "close")}
    for key, number in (numbers | mirrored).items():
        setattr(world.now, key, number)
    world.now.equity = 1e6
    fills = (world.long if side == "LONG" else world.short).fills
    fills.funding[0], world.memory.settlements = (1.4, 1) if label == "funding" else (0.0, 0)
    world.memory.realized_today = 100.0 if label == "offset" else 0.0
    world.prune()
    assert all(one[:3] == (side, 1, 2.0) for one in world.broker.closes)
    return [one[3] for one in world.broker.closes]


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("label", CUTS)
def test_each_method_cuts_beyond_its_parameter_and_0_switches_it_off(label, side):
    name, wider, _ = CUTS[label]
    default = GridConfig.model_fields[name].default
    assert cut(label, side, default) == [label]
    assert cut(label, side, wider) == []
    assert cut(label, side, 0.0) == []
    assert cut(label, side, 1e-6) == [label]


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_a_method_switched_off_leaves_the_next_one_at_work(side):
    world = World(**{side.lower(): [(2.0, 100.0)]}, p=busy(deviance_atr=0.0, max_age_hours=0.0))
    world.now.time, world.now.kama, world.now.atr = 2 * DAY, 100.0, 1.0
    world.now.close = 96.5 if side == "LONG" else 103.5
    world.prune()
    assert world.broker.closes == [(side, 1, 2.0, "gap")]


@pytest.mark.parametrize(("profit", "closes"), [(4.0, []), (5.0, [("SHORT", 2, 2.0, "offset")])])
def test_offset_takes_the_worst_of_both_sides(profit, closes):
    # at 100 LONG loses 3, SHORT 4 and the taker fee of 200
    world = World(long=[(1.0, 103.0)], short=[(2.0, 98.0)])
    world.memory.realized_today = profit
    world.now.equity = 1e6
    world.prune()
    assert world.broker.closes == closes


def test_offset_needs_a_profit_today():
    world = World(long=[(1.0, 103.0)])
    world.long.fills.funding[0] = -100.0
    world.now.equity = 1e6
    world.prune()
    assert world.broker.closes == []
    world.memory.realized_today = 0.01
    world.prune()
    assert world.broker.closes == [("LONG", 1, 1.0, "offset")]


def test_delever_takes_the_worst_fill_of_both_sides():
    # 75 % of var_pct of 100
    world = World(long=[(1.0, 102.0), (1.0, 102.5)], short=[(1.0, 98.5)])
    world.now.equity = 100.0
    limit = 0.75 * world.p.var_pct * 100.0
    assert limit < 6.0
    world.prune()
    assert world.broker.closes[-1] == ("LONG", 2, 1.0, "delever")


# --- 6 to 8


def test_the_anchor_is_the_close_at_the_start_and_stays():
    world = World()
    world.p = busy(k=3.0, floor_pct=0.01, levels=5)
    for close, anchor in ((100.0, 100.0), (101.0, 100.0)):
        world.now.close, world.now.atr = close, 0.5
        steps.trail_anchor(world.p, world.memory, world.now)
        assert (world.memory.anchored, world.memory.anchor) == (1, anchor)
    # 3 * 0.5 above 1 % of 101
    assert world.now.spacing_pct == pytest.approx(1.5 / 101.0)


@pytest.mark.parametrize(("regime", "close", "anchor"), [(0, 103.0, 103.0), (1, 103.0, 101.0), (-1, 98.0, 98.0)])
def test_the_anchor_follows_the_close_out_of_the_ladder(regime, close, anchor):
    # one level of 1 %: the top is 101, the bottom 99.0099; an uptrend is followed by half of what is beyond
    world = World(p=busy(k=0.1, floor_pct=0.01, levels=1))
    world.memory.anchored, world.memory.anchor = 1, 100.0
    world.now.regime, world.now.close, world.now.atr = regime, close, 0.5
    steps.trail_anchor(world.p, world.memory, world.now)
    assert world.memory.anchor == pytest.approx(anchor, rel=1e-12)


@pytest.mark.parametrize("held", [{"long": (9, 2.0, 60.0)}, {"short": (9, 2.0, 40.0)}])
def test_values_at_risk_of_all_symbols_add_up(held):
    other = other_symbol(**held)
    world = World(short=[(2.0, 100.0)], others=[other])
    world.now.sigma = 0.01
    world.check_var()
    # 200 at 1 % and 100 at the 2 % of the other: long or short, they crash together
    assert world.now.var == pytest.approx((200.0 * 0.01 + 100.0 * 0.02) * 1.65 * math.sqrt(96))


@pytest.mark.parametrize(
    ("ours", "theirs", "closes"),
    [
        (19.0, 18.5, []),  # 75 % of 5 % of 1,000 is 37.5, and each by itself is far below
        (19.0, 18.6, [1]),
        (18.6, 19.0, []),  # the worst is the other's to close
        (18.8, 18.8, [1]),  # of equals the lower id
    ],
)
def test_losses_of_all_symbols_count_for_the_deleverage_and_the_owner_of_the_worst_closes_it(ours, theirs, closes):
    other = other_symbol(long=(9, 1.0, 50.0 + theirs))
    world = World(long=[(1.0, 100.0 + ours)], others=[other], p=busy(gap_spacings=0.0))
    world.prune()
    assert [close[1] for close in world.broker.closes] == closes
    assert {close[3] for close in world.broker.closes} <= {"delever"}


def test_profit_of_all_symbols_offsets_the_worst_fill_of_the_account():
    world = World(long=[(1.0, 102.0)], others=[other_symbol(long=(9, 1.0, 51.0))], p=busy(taker_fee=0.0))
    world.memory.realized_today = 2.01  # ours loses 2, the other 1
    world.prune()
    assert world.broker.closes == [("LONG", 1, 1.0, "offset")]
    world = World(long=[(1.0, 102.0)], others=[other_symbol(long=(9, 1.0, 53.0))], p=busy(taker_fee=0.0))
    world.memory.realized_today = 100.0  # the other loses 3 and is for its own strategy to close
    world.prune()
    assert world.broker.closes == []


def test_a_closing_of_another_symbol_counts_for_the_day_it_was_made_on():
    memory = Memory(day=1, realized_today=1.0)
    steps.earn(memory, 4.0, 2 * DAY - BAR_MS)
    steps.earn(memory, 8.0, DAY - BAR_MS)
    assert memory.realized_today == 5.0


def test_value_at_risk_is_that_of_the_net_position():
    world = World(long=[(3.0, 100.0)], short=[(1.0, 100.0)])
    world.now.sigma = 0.01
    world.check_var()
    assert world.now.var == pytest.approx(200.0 * 1.65 * 0.01 * math.sqrt(96))
    assert world.now.var_limited == (world.now.var > world.p.var_pct * 1_000.0)


@pytest.mark.parametrize(("equity", "limited"), [(1.0, 1), (1e6, 0)])
def test_value_at_risk_limits_above_its_share_of_equity(equity, limited):
    world = World(long=[(3.0, 100.0)])
    world.now.sigma, world.now.equity = 0.01, equity
    world.check_var()
    assert world.now.var_limited == limited


def test_a_value_at_risk_just_at_its_limit_is_within_it():
    world = World(long=[(3.0, 100.0)])
    world.now.sigma = 0.01
    world.check_var()
    world.now.equity = world.now.var / world.p.var_pct
    assert world.p.var_pct * world.now.equity == world.now.var
    world.check_var()
    assert not world.now.var_limited


def test_equal_legs_have_no_value_at_risk_even_if_sigma_is_unknown():
    world = World(long=[(1.0, 100.0)], short=[(1.0, 90.0)])
    world.now.sigma = math.nan
    world.check_var()
    assert (world.now.var, world.now.var_limited) == (0.0, 0)


@pytest.mark.parametrize(
    ("before", "reason", "cancelled"), [(PLACED, HALT, 1), (HALT, HALT, 0), (HALT, REGIME, 1), (HALT, PLACED, 0)]
)
@pytest.mark.parametrize("side", [LONG, SHORT])
def test_entries_are_cancelled_when_the_reason_against_them_changes(side, before, reason, cancelled):
    world = World()
    leg = world.symbol.leg(side).leg
    leg.blocked = before
    world.memory.halted = reason == HALT
    world.now.regime = -int(side) if reason == REGIME else 0  # a trend: only the other side may add
    world.generate_grid()
    assert world.broker.cancelled.count(side.name) == cancelled
    assert leg.blocked == reason


@pytest.mark.parametrize(("bar", "looked"), [(6, False), (7, True), (8, True)])
@pytest.mark.parametrize("side", ["long", "short"])
def test_the_surroundings_are_looked_at_when_they_change(side, bar, looked):
    world = World(**{side: [(1.0, 100.0)]})
    leg = getattr(world, side).leg
    world.memory.bar, leg.look_again = bar, 7
    world.generate_grid()
    assert (leg.taken == 1) is looked


def test_levels_that_have_cooled_down_are_forgotten():
    world = World(long=[(1.0, 100.0), (1.0, 101.0)])
    side, leg = world.long, world.long.leg
    for price, until in ((90.0, 8), (91.0, 7), (92.0, 9)):
        side.make_room()
        side.cooling.price[leg.cooling], side.cooling.until[leg.cooling] = price, until
        leg.cooling += 1
    world.memory.bar = 7
    steps.look_around(world.memory, side)
    assert (leg.cooling, leg.taken_fills, leg.taken, leg.look_again) == (2, 2, 4, 8)
    assert list(side.taken[:4]) == [100.0, 101.0, 90.0, 92.0]
    assert (side.cooling.price[:2], side.cooling.until[:2]) == ([90.0, 92.0], [8, 9])


def test_nothing_that_cools_needs_no_other_look():
    world = World()
    steps.look_around(world.memory, world.long)
    assert (world.long.leg.look_again, world.long.leg.taken) == (steps.NEVER, 0)


def test_kelly_is_computed_anew_after_a_trade_only():
    world = World()
    world.p = busy(kelly_min_trades=2, kelly_window=2, kelly_floor=0.25, kelly_cap=2.0)
    world.kelly[2] = Kelly(returns=2)  # of NOISE, whose code is 0

    def kelly_of(returns):
        world.returns[2] = returns
        world.generate_grid()
        return world.now.kelly

    # half of the trades win 4 %, half lose 2 %: 0.25*(0.5/0.02 - 0.5/0.04) = 3.125, at most 2
    assert kelly_of([0.04, -0.02, 9.0]) == 2.0
    assert kelly_of([-1.0, -1.0, 9.0]) == 2.0
    world.kelly[2].known = 0
    assert kelly_of([-1.0, -1.0, 9.0]) == 0.25


@pytest.mark.parametrize("changes", [0, 1, 2, 3])
def test_the_centre_is_the_anchor_and_the_shift_of_the_inventory(changes):
    world = World()
    world.memory.anchor, world.now.shift = 103.0, -1.5
    world.generate_grid(changes)
    assert (world.now.centre, world.memory.entries_change) == (101.5, changes)


def test_a_level_is_a_share_of_equity_times_kelly():
    world = World(p=busy(order_pct=0.1))
    world.now.regime = 1
    world.kelly[3] = Kelly(known=1, multiplier=0.5)  # of UPTREND, whose code is 1
    world.generate_grid()
    assert (world.now.kelly, world.now.notional) == (0.5, 50.0)


# --- 9


def test_the_regime_is_named_once_until_it_changes():
    world = World()
    for world.now.regime in (0, 0, -1, -1, 0):
        world.match_orders()
    assert world.broker.confirmed == [0, -1, 0]


@pytest.mark.parametrize(("changes", "rested"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_entries_are_handed_over_when_any_changes(changes, rested):
    world = World()
    world.memory.entries_change = changes
    world.match_orders()
    assert world.broker.rested == rested


@pytest.mark.parametrize(
    ("shift", "long_exit", "short_exit"),
    # the targets are 101 and 99; a shift may only bring an exit nearer
    [(0.0, 101.0, 99.0), (-0.4, 100.6, 99.0), (0.4, 101.0, 99.4)],
)
def test_every_fill_has_its_exit_moved_only_towards_the_price(shift, long_exit, short_exit):
    world = World(long=[(1.0, 100.0)], short=[(1.0, 100.0)])
    world.now.shift = shift
    world.match_orders()
    assert world.broker.exits == [("LONG", {1: long_exit}), ("SHORT", {2: short_exit})]
    assert (world.long.leg.exit_shift, world.short.leg.exit_shift) == (min(shift, 0.0), max(shift, 0.0))


@pytest.mark.parametrize("side", ["long", "short"])
def test_what_an_exit_was_placed_with_is_kept(side):
    # a quarter of the smaller spacing, 1 (0.99 of the SHORT at 99), less two ticks of 0.1, may be used up
    sign = 1.0 if side == "long" else -1.0
    world = World(**{side: [(1.0, 100.0), (1.0, 100.0 + sign)]})
    world.now.shift = -0.1 * sign
    world.match_orders()
    leg = getattr(world, side).leg
    assert (leg.exit_shift, leg.exit_guard) == (-0.1 * sign, 100.0 + 0.9 * sign)
    assert (leg.exit_slack, leg.exit_count) == (pytest.approx(0.05 if sign > 0 else 0.0475), 2)
    world.now.shift = -0.14 * sign  # moved by 0.04
    world.match_orders()
    assert len(world.broker.exits) == 1
    world.now.shift = -0.16 * sign
    world.match_orders()
    assert len(world.broker.exits) == 2


def test_an_exit_within_the_tolerance_stays_while_another_is_placed():
    world = World(long=[(1.0, 100.0), (1.0, 90.0)])
    world.now.close = 85.0
    world.symbol.long.exits = {1: 101.2}
    world.match_orders()
    # 90 * 1.01 = 90.9
    assert world.broker.exits == [("LONG", {1: 101.2, 2: 90.9})]


def test_an_exit_that_is_missing_is_placed_again():
    world = World(long=[(1.0, 100.0), (1.0, 101.0)])
    world.match_orders()
    del world.symbol.long.exits[2]
    world.match_orders()
    assert world.broker.exits[1] == ("LONG", {1: 101.0, 2: 102.1})


# --- what they ask of a side


@pytest.mark.parametrize(("close", "under"), [(99.0, True), (99.01, False), (98.0, True)])
def test_under_water_begins_at_its_price(close, under):
    world = World(long=[(1.0, 100.0)])
    assert steps.is_under_water(world.long.leg, close) is under
    assert not steps.is_under_water(world.short.leg, close)
