import pytest

from gridv4_bt.core.grid import level_price
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.guards import (
    beyond_stop1,
    cooldown_end,
    entry_blocks,
    margin_ratio,
    must_delever,
    must_halt,
    stays_halted,
    stop1_qty,
    stop2_price,
    trailed,
)
from gridv4_bt.engine.ladder import HALT, PLACED, REGIME, VAR


def test_a_halt_begins_below_minus_three_and_ends_above_minus_one():
    assert [must_halt(z) for z in (-3.01, -3.0, 0.0)] == [True, False, False]
    assert [stays_halted(z) for z in (-3.0, -1.0, -0.99)] == [True, True, False]


def test_other_numbers_than_the_defined_ones():
    assert (must_halt(-3.5, -4.0), must_halt(-2.5, -2.0)) == (False, True)
    assert (stays_halted(-1.5, -2.0), stays_halted(-0.5, 0.0)) == (False, True)
    assert stop1_qty(0.007, 0.001, 0.25) == 0.002
    assert must_delever(-251.0, 10_000.0, 0.05, 0.5) and not must_delever(-400.0, 10_000.0, 0.05, 1.0)
    assert trailed(100.0, 125.0, 0.1, 2, 1, 0.25) == pytest.approx(101.0, rel=1e-12)  # top 121
    assert (cooldown_end(1, 10, 0), cooldown_end(3, 10, 2, 49), cooldown_end(3, 10, 3)) == (58, 59, 0)


@pytest.mark.parametrize("sign, close", [(1, 59.9), (-1, 140.1)])
def test_stage_one_is_more_than_its_atr_from_the_average(sign, close):
    assert beyond_stop1(sign, 100.0, close, 10.0, 4.0)
    assert not beyond_stop1(sign, 100.0, 100.0 - 40.0 * sign, 10.0, 4.0)
    assert not beyond_stop1(-sign, 100.0, close, 10.0, 4.0)


def test_stage_one_closes_half_rounded_up_to_the_step():
    assert stop1_qty(0.007, 0.001) == 0.004
    assert stop1_qty(0.008, 0.001) == 0.004


def test_stage_two_rests_on_the_tick_beyond():
    assert stop2_price(1, 100.0, 1.234, 6.0, 0.1) == 92.5  # 92.596
    assert stop2_price(-1, 100.0, 1.234, 6.0, 0.1) == 107.5  # 107.404


def test_three_quarters_of_the_var_limit_as_loss_cut_the_worst_fill():
    # 0.75 * 5 % of 10,000 = 375
    assert must_delever(-375.1, 10_000.0, 0.05)
    assert not must_delever(-375.0, 10_000.0, 0.05)
    assert not must_delever(0.0, -1.0, 0.05)
    # half of a quarter of 64, without any rounding
    assert not must_delever(-8.0, 64.0, 0.25, 0.5)
    assert must_delever(-8.001, 64.0, 0.25, 0.5)
    assert must_delever(-0.5, 1.0, 0.25)


@pytest.mark.parametrize(
    "close, regime, anchor",
    [
        (120.0, 1, 100.0),  # top = 100 * 1.1^2 = 121
        (125.0, 1, 102.0),  # half of 4 beyond it
        (125.0, 2, 102.0),
        (125.0, 0, 125.0),
        (125.0, -1, 125.0),
        (83.0, 1, 100.0),  # bottom = 100 / 1.21 = 82.6
        (82.0, 1, 82.0),
    ],
)
def test_the_anchor_follows_an_uptrend_and_starts_anew_elsewhere(close, regime, anchor):
    assert trailed(100.0, close, 0.1, 2, regime) == pytest.approx(anchor, rel=1e-12)


@pytest.mark.parametrize("level", [-2, 2])
def test_a_close_exactly_on_the_last_level_is_inside_the_ladder(level):
    assert trailed(100.0, level_price(100.0, 0.1, level), 0.1, 2, 0) == 100.0


@pytest.mark.parametrize(
    ("close", "anchor"), [(109.99, 100.0), (110.00000005, 110.00000005), (90.9, 90.9), (90.92, 100.0)]
)
def test_a_ladder_of_one_level_ends_at_it(close, anchor):
    # 110 and 100 / 1.1 = 90.909
    assert trailed(100.0, close, 0.1, 1, 0) == anchor


@pytest.mark.parametrize(
    "regime, blocks",
    [
        (Regime.NOISE, (PLACED, PLACED)),
        (Regime.UPTREND, (PLACED, REGIME)),
        (Regime.DOWNTREND, (REGIME, PLACED)),
        (Regime.BREAKOUT_UP, (REGIME, REGIME)),
        (Regime.BREAKOUT_DOWN, (REGIME, REGIME)),
    ],
)
def test_who_may_add_by_regime(regime, blocks):
    assert entry_blocks(False, False, int(regime)) == blocks
    assert entry_blocks(False, True, int(regime)) == (VAR, VAR)
    assert entry_blocks(True, True, int(regime)) == (HALT, HALT)


def test_more_than_two_stops_in_48_bars_cool_down():
    assert cooldown_end(2, 10) == 0
    assert cooldown_end(3, 10) == 58  # at bar 57 the stop of bar 10 is one of the last 48 bars, at bar 58 no longer


@pytest.mark.parametrize(
    ("maintenance", "equity", "ratio"),
    [
        (20.0, 100.0, 0.2),
        (0.0, 100.0, 0.0),
        (0.0, 0.0, 0.0),
        (20.0, 0.0, 1.0),
        (20.0, -1.0, 1.0),
        (0.1, 0.5, 0.2),
        (0.1, 0.0, 1.0),
    ],
)
def test_the_margin_ratio_is_always_a_number(maintenance, equity, ratio):
    assert margin_ratio(maintenance, equity) == ratio
