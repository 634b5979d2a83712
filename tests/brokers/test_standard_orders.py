"""Orders of any Backtrader strategy. Fees: maker 0.02 %, taker 0.05 %; slippage 0.02 %."""

from datetime import timedelta

import backtrader as bt
import pytest
from scripted import FREE, flat

from gridv4_bt.engine.types import PositionSide

LIMIT, STOP, STOP_LIMIT = bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit
BAR_94_TO_102 = (98.0, 102.0, 94.0, 98.0)


def buy(size=1.0, **order):
    return lambda strategy: strategy.buy(size=size, **order)


def sell(size=1.0, **order):
    return lambda strategy: strategy.sell(size=size, **order)


def both(*actions):
    def all_of_them(strategy):
        for action in actions:
            action(strategy)

    return all_of_them


# --- market


def test_market_order_fills_at_the_next_open_with_slippage_and_taker_fee(run):
    done = run({1: buy()}, flat(3))
    assert done.strategy.executions() == [(2, 1.0, pytest.approx(100.02))]
    assert done.strategy.statuses() == ["Submitted", "Accepted", "Completed"]
    assert done.account.wallet == pytest.approx(10_000 - 100.02 * 0.0005)


def test_short_opens_below_the_open(run):
    done = run({1: sell(positionSide="SHORT")}, flat(3))
    assert done.strategy.executions() == [(2, -1.0, pytest.approx(99.98))]
    assert done.broker.getposition(done.strategy.data).size == -1.0


def test_order_without_size_takes_the_sizers_one(run):
    done = run({1: lambda strategy: strategy.buy()}, flat(3))
    assert done.broker.getposition(done.strategy.data).size == 1


# --- limit


@pytest.mark.parametrize(
    ("order", "bar", "size", "price"),
    [
        (buy(exectype=LIMIT, price=98.0), (95, 96, 94, 95), 1.0, 98.0),
        (sell(exectype=LIMIT, price=102.0, positionSide="SHORT"), (105, 106, 104, 105), -1.0, 102.0),
    ],
)
def test_limit_fills_at_its_price_without_gap_improvement_as_maker(run, order, bar, size, price):
    done = run({1: order}, [*flat(1), bar, bar])
    assert done.strategy.executions() == [(2, size, price)]
    assert done.account.fees == pytest.approx(price * 0.0002)


def test_limit_out_of_reach_keeps_standing(run):
    done = run({1: buy(exectype=LIMIT, price=90.0)}, [*flat(4), (95, 96, 90, 95)])
    assert done.strategy.executions() == [(5, 1.0, 90.0)]


def test_limit_placed_through_the_market_pays_the_taker_fee(run):
    done = run({1: buy(exectype=LIMIT, price=101.0)}, flat(3))
    assert done.strategy.executions() == [(2, 1.0, 101.0)]
    assert done.account.fees == pytest.approx(101.0 * 0.0005)


def test_fill_rule_through_holds_for_standard_orders_too(run):
    script = {1: buy(exectype=LIMIT, price=99.0)}
    assert run(script, flat(4)).strategy.executions() == [(2, 1.0, 99.0)]
    assert run(script, flat(4), broker={"fill_rule": "through"}).strategy.executions() == []


def test_bar_without_volume_fills_nothing(run):
    bars = [*flat(1), (100, 100, 100, 100, 0), *flat(2)]
    assert run({1: buy()}, bars).strategy.executions() == [(3, 1.0, pytest.approx(100.02))]


# --- stop


@pytest.mark.parametrize(
    ("bar", "price"),
    [((100, 101, 94, 99), 94.981), ((93, 94, 92, 93), 92.9814)],  # 95 or the open of 93, less 0.02 %
)
def test_stop_closes_at_the_worse_of_stop_and_open(run, bar, price):
    script = {1: buy(), 2: sell(exectype=STOP, price=95.0, positionSide="LONG")}
    done = run(script, [*flat(3), bar])
    assert done.strategy.executions()[1] == (4, -1.0, pytest.approx(price))
    assert done.account.closed[0].fees == pytest.approx((100.02 + price) * 0.0005)


@pytest.mark.parametrize(("bar", "price"), [((100, 106, 99, 105), 105.021), ((107, 108, 106, 107), 107.0214)])
def test_stop_may_open_a_leg_on_a_breakout(run, bar, price):
    done = run({1: buy(exectype=STOP, price=105.0)}, [*flat(2), bar])
    assert done.strategy.executions() == [(3, 1.0, pytest.approx(price))]


def test_stop_of_a_short_buys(run):
    script = {1: sell(positionSide="SHORT"), 2: buy(exectype=STOP, price=105.0, positionSide="SHORT")}
    done = run(script, [*flat(3), (100, 106, 99, 100)])
    assert done.strategy.executions()[1] == (4, 1.0, pytest.approx(105.021))


# --- stop-limit


def stop_limit(price, limit):
    script = {1: buy()}
    script[2] = sell(exectype=STOP_LIMIT, price=price, plimit=limit, positionSide="LONG")
    return script


def test_triggered_stop_limit_is_a_limit_order_from_the_next_bar_on(run):
    # triggered in bar 4, which also reaches the limit of 96; filled in bar 6
    bars = [*flat(3), (100, 101, 94, 95), (95, 95.5, 94, 95), (95, 97, 94, 96)]
    done = run(stop_limit(95.0, 96.0), bars)
    assert done.strategy.executions()[1] == (6, -1.0, 96.0)
    assert done.account.closed[0].fees == pytest.approx(100.02 * 0.0005 + 96.0 * 0.0002)


def test_stop_limit_whose_limit_lies_beyond_its_stop_is_a_taker(run):
    bars = [*flat(3), (100, 101, 94, 95), (95, 95.5, 94, 95)]
    done = run(stop_limit(95.0, 94.5), bars)
    assert done.strategy.executions()[1] == (5, -1.0, 94.5)
    assert done.account.closed[0].fees == pytest.approx((100.02 + 94.5) * 0.0005)


def test_stop_limit_that_is_never_triggered_never_fills(run):
    assert len(run(stop_limit(90.0, 100.0), flat(8)).strategy.executions()) == 1


def test_stop_limit_without_a_limit_price_takes_its_stop_price(run):
    bars = [*flat(3), (100, 101, 94, 95), (95, 96, 94, 95)]
    assert run(stop_limit(95.0, None), bars).strategy.executions()[1] == (5, -1.0, 95.0)


# --- how long an order rests


@pytest.mark.parametrize(("reached_at", "last"), [(3, "Completed"), (4, "Expired")])
def test_order_is_valid_up_to_and_including_its_last_bar(run, reached_at, last):
    # placed at 00:00 for 30 minutes: the bar of 00:30 is the third
    bars = flat(6)
    bars[reached_at - 1] = (95, 96, 90, 95)
    done = run({1: buy(exectype=LIMIT, price=90.0, valid=timedelta(minutes=30))}, bars)
    assert done.strategy.statuses()[-1] == last


def test_valid_until_a_moment(run):
    def order(strategy):
        until = strategy.data.datetime.datetime() + timedelta(minutes=15)
        strategy.buy(size=1.0, exectype=LIMIT, price=90.0, valid=until)

    done = run({1: order}, [*flat(3), (95, 96, 90, 95)])
    assert done.strategy.orders[-1][:2] == (3, "Expired")
    assert done.broker.available_margin() == 10_000.0


def test_cancelled_order_does_not_fill(run):
    placed, answers = [], []

    def cancel(strategy):
        strategy.cancel(placed[0])
        answers.append(strategy.broker.cancel(placed[0]))

    script = {1: lambda s: placed.append(s.buy(size=1.0, exectype=LIMIT, price=90.0)), 2: cancel}
    done = run(script, [*flat(2), (90, 91, 89, 90)])
    assert done.strategy.statuses() == ["Submitted", "Accepted", "Canceled"]
    assert done.strategy.executions() == []
    assert answers == [False]  # there was nothing left to cancel


# --- positionSide


def test_long_and_short_are_separate_legs(run):
    done = run({1: both(buy(3.0, positionSide="LONG"), sell(1.0, positionSide="SHORT"))}, flat(3), broker=FREE)
    broker, data = done.broker, done.strategy.data
    assert (broker.getposition(data, "LONG").size, broker.getposition(data, "LONG").price) == (3.0, 100.0)
    assert (broker.getposition(data, "SHORT").size, broker.getposition(data, "SHORT").price) == (-1.0, 100.0)
    assert broker.getposition(data, PositionSide.SHORT).size == -1.0
    assert broker.getposition(data).size == 2.0
    assert done.strategy.positions[data].size == 2.0
    assert done.strategy.positionsbyname["TEST"].size == 2.0
    assert done.strategy.position.size == 2.0


def test_position_of_nothing_is_empty(run):
    done = run({}, flat(2))
    for side in ("LONG", "SHORT", None):
        position = done.broker.getposition(done.strategy.data, side)
        assert (position.size, position.price) == (0.0, 0.0)


def test_position_side_may_be_given_as_the_enum(run):
    done = run({1: sell(positionSide=PositionSide.SHORT)}, flat(3))
    assert done.broker.getposition(done.strategy.data, "SHORT").size == -1.0


def test_without_side_a_flat_account_opens(run):
    assert run({1: buy()}, flat(3)).strategy.position.size == 1.0
    assert run({1: sell()}, flat(3)).strategy.position.size == -1.0


@pytest.mark.parametrize(("first", "second"), [(buy(2.0), sell(2.0)), (sell(2.0), buy(2.0))])
def test_without_side_an_order_reduces_the_opposite_leg_first(run, first, second):
    done = run({1: first, 3: second}, flat(5))
    assert len(done.account.closed) == 1
    assert done.strategy.position.size == 0.0


def test_close_closes_what_is_open(run):
    done = run({1: sell(2.0), 3: lambda strategy: strategy.close()}, flat(5), broker=FREE)
    assert done.strategy.position.size == 0.0
    assert [trade.qty for trade in done.account.closed] == [2.0]


# --- closing


def test_closing_takes_the_oldest_fills_first_and_tells_of_each(run):
    # 1 at 100, 2 at 101, 3 at 102; 4 closed at 110 with one notification for each fill
    opens = [(price, price + 1, price - 1, price) for price in (99.0, 100.0, 101.0, 102.0, 102.0, 110.0)]
    done = run({1: buy(1.0), 2: buy(2.0), 3: buy(3.0), 5: sell(4.0)}, opens, broker=FREE)
    closing = done.strategy.orders[-3:]
    assert [(status, executed) for _, status, executed, _ in closing] == [
        ("Partial", (-1.0, 110.0)),
        ("Partial", (-2.0, 110.0)),
        ("Completed", (-1.0, 110.0)),
    ]
    # the first two are whole trades: 1 * 10 and 2 * 9
    assert [(trade.tradeid, trade.pnl) for trade in done.strategy.trades] == [(1, 10.0), (2, 18.0)]
    assert done.broker.leg(done.strategy.data, PositionSide.LONG).tracker.qtys == [2.0]


def test_order_larger_than_its_leg_is_reduce_only_and_rejected(run):
    done = run({1: buy(), 3: sell(2.0, positionSide="LONG")}, flat(5))
    assert [reason[:5] for reason in done.strategy.reasons()] == ["-2022"]
    assert done.strategy.position.size == 1.0


def test_leg_that_shrank_before_the_order_executes_rejects_it(run):
    done = run({1: buy(), 3: both(sell(positionSide="LONG"), sell(positionSide="LONG"))}, flat(5))
    assert len(done.account.closed) == 1
    assert done.strategy.statuses()[-1] == "Rejected"
    assert done.strategy.reasons()[0].startswith("-2022")


def test_leg_built_of_decimal_lots_closes_without_dust(run):
    done = run({1: buy(0.1), 2: buy(0.2), 4: sell(0.3)}, flat(6))
    assert len(done.strategy.trades) == 2
    assert done.broker.leg(done.strategy.data, PositionSide.LONG).tracker.ids == []
    assert done.strategy.statuses()[-1] == "Completed"


def test_closing_may_be_smaller_than_the_least_notional(run):
    done = run({1: buy(), 3: sell(0.01, positionSide="LONG")}, flat(5))
    assert done.strategy.position.size == pytest.approx(0.99)


def test_fill_of_this_bar_takes_no_profit_in_it(run):
    # 2 held; bar 4 closes 1 at its open, adds 1 at 98, and reaches 102, where 2 are to be closed
    orders = both(
        sell(1.0, positionSide="LONG"),
        buy(1.0, exectype=LIMIT, price=98.0, positionSide="LONG"),
        sell(2.0, exectype=LIMIT, price=102.0, positionSide="LONG"),
    )
    done = run({1: buy(2.0), 3: orders}, [*flat(3), (100, 103, 97, 100), (100, 103, 99, 100)], broker=FREE)
    assert done.strategy.executions()[1:] == [(4, -1.0, 100.0), (4, 1.0, 98.0), (5, -1.0, 102.0), (5, -1.0, 102.0)]


def test_leg_stopped_in_a_bar_takes_no_profit_in_it(run):
    orders = both(
        sell(1.0, exectype=LIMIT, price=102.0, positionSide="LONG"),
        sell(1.0, exectype=STOP, price=95.0, positionSide="LONG"),
    )
    done = run({1: buy(2.0), 3: orders}, [*flat(3), BAR_94_TO_102, BAR_94_TO_102], broker=FREE)
    assert done.strategy.executions()[1:] == [(4, -1.0, 95.0), (5, -1.0, 102.0)]


def test_stop_of_one_leg_leaves_the_profit_of_the_other(run):
    orders = both(
        buy(1.0, exectype=LIMIT, price=95.0, positionSide="SHORT"),
        sell(1.0, exectype=STOP, price=95.0, positionSide="LONG"),
    )
    script = {1: both(buy(positionSide="LONG"), sell(positionSide="SHORT")), 3: orders}
    done = run(script, [*flat(3), BAR_94_TO_102], broker=FREE)
    assert done.strategy.executions()[2:] == [(4, -1.0, 95.0), (4, 1.0, 95.0)]


# --- refusals

REFUSED = {
    "margin": (buy(500.001), "-2019 Margin is insufficient"),  # 5 * 10,000 buys 500 at 100
    "margin of a limit": (buy(600.0, exectype=LIMIT, price=90.0), "-2019"),
    "nothing to close": (sell(positionSide="LONG"), "-2022 ReduceOnly Order is rejected"),
    "least notional": (buy(0.049), "-4164 Order's notional must be no smaller than 5"),
    "step": (buy(0.1005), "-1111 Precision is over the maximum"),
    "least quantity": (buy(0.0009), "-4004 Quantity less than min quantity"),
    "price": (buy(exectype=LIMIT, price=-1.0), "-4013 Price less than min price"),
    "tick": (buy(exectype=LIMIT, price=90.005), "-4014 Price not increased by tick size"),
    "tick of the limit": (buy(exectype=bt.Order.StopLimit, price=102.0, plimit=103.001), "-4014"),
    "stop that is through": (buy(exectype=STOP, price=100.0), "-2021 Order would immediately trigger"),
    "stop of a sell that is through": (sell(exectype=STOP, price=100.5, positionSide="SHORT"), "-2021"),
    "at the close": (buy(exectype=bt.Order.Close), "-1116 Invalid orderType"),
    "side of the other mode": (buy(positionSide="BOTH"), "-4060 Invalid position side 'BOTH'"),
    "side in small letters": (buy(positionSide="long"), "-4060"),
    "side that is a number": (buy(positionSide=2), "-4060"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_exchange_refuses(run, case):
    order, reason = REFUSED[case]
    done = run({1: order}, flat(4))
    assert done.strategy.statuses() == ["Submitted", "Rejected"]
    assert done.strategy.reasons()[0].startswith(reason)
    assert (done.account.wallet, done.broker.available_margin()) == (10_000.0, 10_000.0)


def test_margin_is_refused_above_all_that_is_free_and_not_at_it(run):
    assert run({1: buy(500.0)}, flat(3)).strategy.statuses()[-1] == "Completed"


def test_standing_order_binds_margin_until_it_is_cancelled(run):
    placed = []
    script = {
        1: lambda s: placed.append(s.buy(size=400.0, exectype=LIMIT, price=90.0)),  # binds 7,200
        2: buy(150.0, exectype=LIMIT, price=95.0),  # asks for 2,850
        3: lambda s: s.cancel(placed[0]),
        4: buy(150.0, exectype=LIMIT, price=95.0),
    }
    done = run(script, flat(6))
    assert [reason[:5] for reason in done.strategy.reasons()] == ["-2019"]
    assert done.broker.available_margin() == pytest.approx(10_000 - 2_850)


def test_open_legs_bind_margin_at_the_close(run):
    # 3 and 1 at a close of 110 with leverage 5, and 20 won by the hedge
    script = {1: both(buy(3.0), sell(1.0, positionSide="SHORT"))}
    done = run(script, [*flat(2), (100, 111, 99, 110)], broker=FREE)
    assert done.broker.available_margin() == pytest.approx(10_020 - 440 / 5)
