"""Targets, sizers and close() on a hedge book; the price is 100 and nothing costs anything unless said."""

import backtrader as bt
import pytest
from scripted import FREE, Scripted, candle_feed, flat, new_cerebro

from gridv4_bt.errors import ConfigError

LIMIT = bt.Order.Limit


def legs(done):
    return tuple(done.broker.getposition(done.strategy.data, side).size for side in ("LONG", "SHORT"))


def target(kind, value, **order):
    return lambda strategy: getattr(strategy, f"order_target_{kind}")(target=value, **order)


def at(bars, action):
    return dict.fromkeys(bars, action)


def rising(prices):
    """Bars that open at the close before."""
    opens = [prices[0], *prices[:-1]]
    return [(o, max(o, c), min(o, c), c) for o, c in zip(opens, prices, strict=True)]


# --- targets of the net position


@pytest.mark.parametrize(
    ("order", "size"),
    [
        (target("size", 3.0), 3.0),
        (target("value", 500.0), 5.0),
        (target("percent", 0.5), 50.0),
        (target("size", -3.0), -3.0),
        (target("value", -500.0), -5.0),
        (target("percent", -0.25), -25.0),
        (target("value", 500.0, price=125.0), 4.0),
    ],
)
def test_target_is_reached_and_kept(run, order, size):
    done = run(at((1, 2, 3, 4), order), flat(8), broker=FREE)
    assert done.strategy.position.size == size
    assert len(done.strategy.executions()) == 1


def test_target_in_percent_is_of_the_equity_at_the_price_now(run):
    # 100 coins at 50 are the half of 10,000; at 80 they are 8,000 of 13,000, of which 6,500 are wanted: 81.25
    done = run({1: target("percent", 0.5), 4: target("percent", 0.5)}, rising([50, 50, 50, 80, 80, 80]), broker=FREE)
    assert done.strategy.position.size == 81.25
    assert done.broker.getvalue() == 13_000.0


@pytest.mark.parametrize(("first", "second"), [(3.0, -2.0), (-3.0, 2.0)])
def test_target_beyond_zero_closes_one_leg_and_opens_the_other(run, first, second):
    done = run({1: target("size", first), 3: target("size", second)}, flat(6), broker=FREE)
    assert sum(legs(done)) == second
    assert 0.0 in legs(done)


def test_whole_equity_can_change_sides_without_leverage(run):
    done = run({1: target("percent", 1.0), 3: target("percent", -1.0)}, flat(6), broker=FREE | {"leverage": 1})
    assert legs(done) == (0.0, -100.0)


def test_target_0_closes_all(run):
    for kind in ("size", "value", "percent"):
        done = run({1: target("size", 2.5), 3: target(kind, 0.0), 4: target(kind, 0.0)}, flat(6), broker=FREE)
        assert legs(done) == (0.0, 0.0)
        assert len(done.strategy.executions()) == 2


def test_target_is_that_of_the_net_while_both_legs_are_held(run):
    def both(strategy):
        strategy.buy(size=8.0, positionSide="LONG")
        strategy.sell(size=3.0, positionSide="SHORT")

    assert legs(run({1: both, 3: target("size", 7.0)}, flat(6), broker=FREE)) == (8.0, -1.0)
    assert legs(run({1: both, 3: target("size", -4.0)}, flat(6), broker=FREE)) == (0.0, -4.0)


def test_target_is_rounded_down_to_the_lot(run):
    # 1,000 / 300 = 3.3333
    assert legs(run({1: target("value", 1_000.0)}, flat(4, 300.0), broker=FREE)) == (3.333, 0.0)


def test_what_is_missing_may_be_too_small_for_an_order(run):
    # 5 USDT is the least to open, a lot the least to close
    script = {1: target("size", 1.0), 3: target("size", 1.049), 4: target("size", 0.9999), 5: target("size", 0.998)}
    done = run(script, flat(8), broker=FREE)
    assert [size for _, size, _ in done.strategy.executions()] == [1.0, -0.002]
    assert "Rejected" not in done.strategy.statuses()


def test_target_below_the_least_order_is_refused_with_its_code(run):
    assert run({1: target("value", 3.0)}, flat(3)).strategy.reasons()[0].startswith("-4164")
    assert run({1: target("size", 0.0001)}, flat(3)).strategy.reasons()[0].startswith("-4004")


def test_target_beyond_the_margin_is_refused_with_its_code(run):
    done = run({1: target("percent", 5.1)}, flat(3), broker=FREE)
    assert done.strategy.reasons() == ["-2019 Margin is insufficient."]


def test_target_may_be_a_limit_order(run):
    done = run({1: target("value", 450.0, price=90.0, exectype=LIMIT)}, [*flat(2), (95, 96, 89, 95)], broker=FREE)
    assert done.strategy.executions() == [(3, 5.0, 90.0)]


# --- targets of one leg


def test_target_of_a_leg_leaves_the_other_alone(run):
    script = {
        1: target("size", 4.0, positionSide="LONG"),
        2: target("value", -300.0, positionSide="SHORT"),
        3: target("percent", 0.02, positionSide="LONG"),
    }
    assert legs(run(script, flat(6), broker=FREE)) == (2.0, -3.0)


def test_target_of_a_short_leg_is_its_size_with_either_sign(run):
    for size in (-3.0, 3.0):
        done = run(at((1, 2, 3), target("size", size, positionSide="SHORT")), flat(5), broker=FREE)
        assert legs(done) == (0.0, -3.0)


def test_target_of_a_leg_in_params(run):
    assert legs(run({1: target("size", 2.0, params={"positionSide": "SHORT"})}, flat(4), broker=FREE)) == (0.0, -2.0)


def test_leg_ends_at_0_and_never_beyond(run):
    script = {1: target("size", -3.0, positionSide="SHORT"), 3: target("size", 0.0, positionSide="SHORT")}
    assert legs(run(script, flat(6), broker=FREE)) == (0.0, 0.0)
    with pytest.raises(ConfigError, match="a LONG leg is 0 or more"):
        run({1: target("size", -1.0, positionSide="LONG")}, flat(3))


def test_target_of_a_side_that_there_is_not_is_refused(run):
    assert run({1: target("size", 1.0, positionSide="BOTH")}, flat(3)).strategy.reasons()[0].startswith("-4060")


# --- a netting strategy: orders without positionSide


def test_sell_larger_than_the_long_closes_it_and_opens_a_short(run):
    done = run({1: lambda s: s.buy(size=2.0), 3: lambda s: s.sell(size=5.0)}, flat(5), broker=FREE)
    assert legs(done) == (0.0, -3.0)
    assert [size for _, size, _ in done.strategy.executions()] == [2.0, -2.0, -3.0]
    assert done.strategy.statuses()[-2:] == ["Partial", "Completed"]
    assert [trade.qty for trade in done.account.closed] == [2.0]


def test_never_where_a_leg_is_named(run):
    done = run({1: lambda s: s.buy(size=2.0), 3: lambda s: s.sell(size=5.0, positionSide="LONG")}, flat(5))
    assert legs(done) == (2.0, 0.0)
    assert done.strategy.reasons()[0].startswith("-2022")


@pytest.mark.parametrize("kind", [LIMIT, bt.Order.Stop])
def test_resting_order_turns_the_position_too(run, kind):
    price = 105.0 if kind == LIMIT else 95.0
    script = {1: lambda s: s.buy(size=2.0), 2: lambda s: s.sell(size=3.0, exectype=kind, price=price)}
    assert legs(run(script, [*flat(3), (100, 106, 94, 100)], broker=FREE)) == (0.0, -1.0)


def test_execution_names_its_leg_and_the_position_after_it(run):
    seen = []

    class Turning(bt.Strategy):
        def next(self):
            if len(self) == 1:
                self.buy(size=2.0)
            if len(self) == 3:
                self.sell(size=5.0)

        def notify_order(self, order):
            if order.status in (order.Partial, order.Completed):
                [bit] = order.executed.iterpending()
                seen.append((order, order.info.positionSide, bit.opened, bit.closed, bit.psize))

    run(Turning, flat(5), broker=FREE)
    assert [row[1:] for row in seen] == [("LONG", 2.0, 0.0, 2.0), ("LONG", 0.0, -2.0, 0.0), ("SHORT", -3.0, 0.0, -3.0)]
    assert [order.info.positionSide for order, *_ in seen] == ["LONG", "LONG", "SHORT"]  # also later


def test_margin_counts_what_turns_and_not_what_closes(run):
    # at leverage 1 all is bound: 50 short need the margin that closing the 100 sets free, 101 more than there is
    start = {1: lambda s: s.buy(size=100.0)}
    done = run(start | {3: lambda s: s.sell(size=150.0)}, flat(5), broker=FREE | {"leverage": 1})
    assert legs(done) == (0.0, -50.0)
    done = run(start | {3: lambda s: s.sell(size=201.0)}, flat(5), broker=FREE | {"leverage": 1})
    assert done.strategy.reasons() == ["-2019 Margin is insufficient."]


def test_what_is_closing_already_is_not_there_to_be_closed_again(run):
    def twice(strategy):
        strategy.close()
        strategy.sell(size=101.0)

    done = run({1: lambda s: s.buy(size=100.0), 3: twice}, flat(5), broker=FREE | {"leverage": 1})
    assert [reason[:5] for reason in done.strategy.reasons()] == ["-2019"]
    assert legs(done) == (0.0, 0.0)


# --- sizers


def sized(sizer, script, bars=None, broker=None, **options):
    cerebro = new_cerebro([candle_feed(bars or flat(6, 300.0))], FREE | (broker or {}))
    cerebro.addsizer(sizer, **options)
    cerebro.addstrategy(Scripted, script=script)
    [strategy] = cerebro.run()
    return strategy


@pytest.mark.parametrize(
    ("sizer", "options", "size"),
    [
        (bt.sizers.PercentSizer, {"percents": 10}, 3.333),  # 1,000 / 300
        (bt.sizers.AllInSizer, {}, 33.333),
        (bt.sizers.PercentSizerInt, {"percents": 10}, 3.0),
        (bt.sizers.AllInSizerInt, {}, 33.0),
        (bt.sizers.FixedSize, {"stake": 1.23456}, 1.234),
        (bt.sizers.FixedSize, {"stake": 9, "tranches": 3}, 3.0),
        (bt.sizers.FixedReverser, {"stake": 2.5}, 2.5),
        (bt.sizers.FixedSizeTarget, {"stake": 4}, 4.0),
    ],
)
def test_sizers_size_is_rounded_down_to_the_lot(sizer, options, size):
    assert sized(sizer, {1: lambda s: s.buy()}, **options).position.size == size
    assert sized(sizer, {1: lambda s: s.sell()}, **options).position.size == -size


@pytest.mark.parametrize("sizer", [bt.sizers.AllInSizer, bt.sizers.FixedSize])
def test_sizers_size_is_cut_to_what_margin_allows_and_that_is_said(sizer, caplog):
    options = {"percents": 900} if sizer is bt.sizers.AllInSizer else {"stake": 300}
    strategy = sized(sizer, {1: lambda s: s.buy()}, broker={"leverage": 3}, **options)
    assert strategy.position.size == 100.0
    assert f"the sizer's {300:g} is cut to 100, all that margin allows" in caplog.text


def test_sizers_size_of_which_nothing_is_left_is_refused_with_its_code():
    script = {1: lambda s: s.buy(size=33.333), 3: lambda s: s.buy()}
    strategy = sized(bt.sizers.FixedSize, script, broker={"leverage": 1}, stake=5)
    assert [reason[:5] for reason in strategy.reasons()] == ["-2019"]
    assert [reason[:5] for reason in sized(bt.sizers.FixedSize, {1: lambda s: s.buy()}, stake=0.0004).reasons()] == [
        "-4004"
    ]


def test_reverser_turns_the_position():
    strategy = sized(bt.sizers.FixedReverser, {1: lambda s: s.buy(), 3: lambda s: s.sell()}, stake=2)
    assert strategy.position.size == -2.0


def test_getsizing_gives_the_size_that_will_be_ordered():
    sizes = []
    sized(bt.sizers.PercentSizer, {1: lambda s: sizes.append(s.getsizing())}, percents=10)
    assert sizes == [3.333]


# --- close


def test_close_of_the_only_leg_never_opens_the_other(run):
    def twice(strategy):
        strategy.close()
        strategy.close()

    done = run({1: lambda s: s.buy(size=2.0), 3: twice}, flat(6), broker=FREE)
    assert legs(done) == (0.0, 0.0)
    assert [reason[:5] for reason in done.strategy.reasons()] == ["-2022"]


def test_close_of_nothing_is_nothing(run):
    answers = []
    run({1: lambda s: answers.append(s.close())}, flat(2))
    assert answers == [None]


def both(strategy):
    strategy.buy(size=5.0, positionSide="LONG")
    strategy.sell(size=5.0, positionSide="SHORT")


def test_close_says_which_leg_it_needs_while_both_are_held(run, caplog):
    done = run({1: both, 3: lambda s: s.close()}, flat(5), broker=FREE)
    assert legs(done) == (5.0, -5.0)
    [reason] = done.strategy.reasons()
    assert reason.startswith("-4061")
    assert "close(positionSide='LONG') or close(positionSide='SHORT')" in reason
    assert reason in caplog.text


@pytest.mark.parametrize(("side", "left"), [("LONG", (0.0, -5.0)), ("SHORT", (5.0, 0.0))])
def test_close_of_a_leg_that_is_named(run, side, left):
    done = run({1: both, 3: lambda s: s.close(positionSide=side)}, flat(5), broker=FREE)
    assert legs(done) == left


def test_close_may_be_partial_and_at_a_limit(run):
    script = {1: both, 3: lambda s: s.close(size=2.0, exectype=LIMIT, price=101.0, positionSide="LONG")}
    assert legs(run(script, flat(5), broker=FREE)) == (3.0, -5.0)


def test_close_by_ccxts_words(run):
    done = run({1: lambda s: s.buy(size=2.0), 3: lambda s: s.close(params={"reduceOnly": True})}, flat(5), broker=FREE)
    assert legs(done) == (0.0, 0.0)


def test_with_backtraders_own_broker_all_of_it_is_as_it_was():
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(candle_feed(flat(8)))
    script = {1: target("value", 500.0), 3: target("size", -2), 5: lambda s: s.close(), 7: lambda s: s.buy()}
    cerebro.addstrategy(Scripted, script=script)
    [strategy] = cerebro.run()
    assert [size for _, size, _ in strategy.executions()] == [5, -7, 2, 1]
