"""The eleven steps, one behaviour a test, on a market that stands still until the test moves it.

`still()`: price 10,000, ATR 20, z, sigma and slopes 0, so a grid spacing is 1 % = 100, stage 1 lies 80 and stage 2
120 from the average, deviance begins at 60 from KAMA. A zero rate in the data (`unfunded`) keeps the funding tilt out.
"""

import json
import math

import pandas as pd
import pytest

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.core.risk import Bracket
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.state import STOPS_KEPT
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError
from presets import BUSY
from strategies import steps
from strategies.grid_v4 import STEPS, GridStrategyV4
from strategies.snapshot import restore_snapshot, take_snapshot

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
START_MS = 1_704_067_200_000
BAR_MS = 900_000
FLAT = (10_000, 10_010, 9_990, 10_000)
DROP = (10_000, 10_000, 9_930, 9_930)  # ATR (13*20 + 70)/14 = 23.571
BACK = (9_930, 10_000, 9_930, 10_000)


def rates(*rows):
    """Funding from (row of the candles, rate)."""
    return pd.DataFrame(
        {
            "time": [pd.Timestamp(START_MS + row * BAR_MS, unit="ms", tz="UTC") for row, _ in rows],
            "rate": [float(rate) for _, rate in rows],
        }
    )


UNFUNDED = rates((0, 0))


def hold(*fills, row=110, age=0):
    """A script that opens fills at a row, as if `age` bars ago: (side, price, qty, spacing_pct) each, no fee."""

    def script(strategy, now):
        if now == row:
            for side, price, qty, spacing in fills:
                leg = strategy.broker.leg(strategy.feed, side)
                strategy.broker.account.open_fill(
                    "BTCUSDT", leg.tracker, qty, price, START_MS + (row - age) * BAR_MS, 0, spacing, 0.0, True
                )

    return script


def earn(*trades, row=110, then=None):
    """A script that books finished trades at a row: (side, entry, exit, qty, regime) each, no fees; `then` follows."""

    def script(strategy, now):
        if now == row:
            account = strategy.broker.account
            for side, entry, leave, qty, regime in trades:
                tracker = strategy.broker.leg(strategy.feed, side).tracker
                time = START_MS + row * BAR_MS
                account.open_fill("BTCUSDT", tracker, qty, entry, time, regime, 0.01, 0.0, True)
                index = len(tracker) - 1
                account.close_fill("BTCUSDT", tracker, index, qty, leave, time, TradeLabel.GRID, 0.0, True)
        if then is not None:
            then(strategy, now)

    return script


def labels_closing(moment, side):
    return [label for _, _, label in moment.after[side].closes]


# --- the quiet ladder


def test_the_buys_of_a_quiet_market(trade, still):
    # 10,000/1.01^n is 9900.99, 9802.96, 9705.90, 9609.80, 9514.66, 9420.45, ...; the first four lie nearer than 0.15 %
    # above a multiple of 100, so they move to 1.0015 times it and then up to the tick; the others down.
    run = trade(still(), funding=UNFUNDED)
    buys = [run.at(110).after[LONG].entries[-n][0] for n in range(1, 7)]
    assert buys == [9_914.9, 9_814.7, 9_714.6, 9_614.4, 9_514.6, 9_420.4]


def test_the_sells_of_a_quiet_market(trade, still):
    # 10,000*1.01^n: 10100, 10201, 10303.01, 10406.04, ...; multiples of 1,000 are far until 1.01^9 = 10936.85 and
    # 1.01^10 = 11046.22 (11,000*1.0015 = 11016.5 is nearer to it than the level).
    run = trade(still(), funding=UNFUNDED)
    sells = [run.at(110).after[SHORT].entries[n][0] for n in (1, 2, 3, 4, 9, 10)]
    assert sells == [10_100.0, 10_201.0, 10_303.1, 10_406.1, 10_936.9, 11_046.3]


def test_size_is_five_percent_of_equity_down_to_the_step(trade, still):
    run = trade(still(), funding=UNFUNDED)
    assert run.at(110).after[LONG].entries[-1][1] == 0.050  # 500/9914.8 = 0.05043
    assert run.at(110).after[SHORT].entries[1][1] == 0.049  # 500/10100 = 0.04950


def test_a_level_below_the_least_notional_is_counted_not_placed(trade, still, plain_market):
    run = trade(still(121), cash=1_000.0, market=plain_market(min_notional=50.0), funding=UNFUNDED)
    assert run.at(110).after[LONG].entries == {}  # 0.005*9914.8 = 49.6
    # 25 bars from row 96 on; sells: 50/10100 -> 0.004, all below 50 as well
    assert run.strategy.blocked_reasons() == {"min_notional": 25 * 20}


def test_a_level_below_the_least_quantity_is_counted_not_placed(trade, still, plain_market):
    run = trade(still(121), cash=1_000.0, market=plain_market(min_qty=0.01), funding=UNFUNDED)
    assert run.strategy.blocked_reasons() == {"min_qty": 25 * 20}


@pytest.mark.parametrize(("warm_up", "bars"), [(0, 121 - 96), (50, 121 - 96), (100, 21), (120, 1), (121, 0)])
def test_trading_begins_after_the_warm_up(trade, still, warm_up, bars):
    # without one after the 96 returns of sigma
    assert len(trade(still(121), warm_up=warm_up).log()) == bars


def test_bad_parameters_are_refused_before_the_run(trade, still):
    with pytest.raises(ConfigError, match="stop1_atr"):
        trade(still(), stop1_atr=7.0)


def test_a_symbol_without_a_feed_is_refused_with_the_names_there_are(trade, still):
    with pytest.raises(ConfigError, match="no feed named ETHUSDT"):
        trade(still(), symbol="ETHUSDT")


# --- 1. regime


def test_the_regime_of_the_bar_before_decides(trade, still):
    # The drop moves KAMA by (2/3)^2*70 = 31.1 = -1.3 ATR: a breakout. It blocks the bar after it, not its own.
    run = trade(still(110, then=[DROP, BACK, FLAT, FLAT]), funding=UNFUNDED)
    assert [run.at(row).log["regime"] for row in (109, 110, 111, 112)] == [0, 0, -2, 0]
    assert [bool(run.at(row).after[SHORT].entries) for row in (109, 110, 111, 112)] == [True, True, False, True]


def test_a_breakout_leaves_exits_and_stops(trade, still):
    run = trade(still(110, then=[DROP, BACK, FLAT]), funding=UNFUNDED, script=hold((LONG, 9_960, 0.1, 0.01), row=109))
    blocked = run.at(111).after[LONG]
    assert blocked.entries == {}
    assert list(blocked.exits.values()) == [10_059.6] and blocked.stop is not None


def test_a_trend_lets_only_its_own_side_add(trade, sample):
    run = trade(sample.candles, funding=sample.funding)
    free = [now for now in run.moments if not now.log["halted"] and now.log["var"] <= 0.05 * now.log["equity"]]
    allowed = {0: {LONG, SHORT}, 1: {LONG}, -1: {SHORT}, 2: set(), -2: set()}
    for regime, sides in allowed.items():
        bars = [now for now in free if now.regime_before == regime]
        assert bars, regime
        for side in (LONG, SHORT):
            assert any(now.after[side].entries for now in bars) == (side in sides)


def test_without_regime_filter_both_sides_add_in_a_breakout(trade, still):
    run = trade(still(110, then=[DROP, BACK, FLAT]), funding=UNFUNDED, regime="none")
    assert run.at(111).regime_before == -2 and run.at(111).log["regime"] == 0
    assert run.at(111).after[LONG].entries and run.at(111).after[SHORT].entries


def test_a_volatility_window_shorter_than_the_regimes_warm_up(trade, random_bars):
    run = trade(random_bars(bars=60), sigma_bars=5)
    assert run.moments[0].log["regime"] == 0  # not known yet


# --- 2. circuit breaker


def crash(still):
    """Row 110 falls from 10,000 to 9,800 and stays there: z = (9800 - 9990)/((13*20 + 200)/14) = -5.8."""
    return still(110, then=[(10_000, 10_000, 9_800, 9_800)] + [(9_800, 9_810, 9_790, 9_800)] * 30)


def halted_by_hand():
    """z of the crash worked out: n bars after it, SMA20 = 9800 + 10*(19 - n) and ATR goes on by Wilder's rule."""
    halted, state, atr = [], False, (13 * 20 + 200) / 14
    for n in range(31):
        z = -10 * max(19 - n, 0) / atr
        state = z <= -1 if state else z < -3
        halted.append(state)
        atr = (13 * atr + 20) / 14
    return halted


def test_halt_below_minus_three_until_above_minus_one(trade, still):
    run = trade(crash(still), funding=UNFUNDED)
    by_hand = halted_by_hand()
    assert 10 < by_hand.count(True) < 20
    assert [bool(run.at(110 + n).log["halted"]) for n in range(31)] == by_hand
    assert run.strategy.memory.halts == 1


def test_a_halt_cancels_entries_and_keeps_exits_and_stops(trade, still):
    run = trade(crash(still), funding=UNFUNDED, regime="none")
    before, after = run.at(110).before[LONG], run.at(110).after[LONG]
    assert len(before.entries) == 8 and after.entries == {}  # 9914.8 and 9814.7 filled in the crash
    assert run.at(110).after[SHORT].entries == {}
    assert len(after.fills) == len(after.exits) == 2 and after.stop is not None


def test_after_a_halt_the_ladder_starts_anew_at_the_close(trade, still):
    run = trade(crash(still), funding=UNFUNDED, regime="none")
    resumed = 110 + halted_by_hand().index(False)
    assert run.at(resumed - 1).log["anchor"] == 10_000
    assert run.at(resumed).log["anchor"] == 9_800
    assert run.at(resumed).after[LONG].entries


def test_every_halted_bar_counts_each_level_once(trade, still):
    run = trade(crash(still), funding=UNFUNDED, regime="none")
    assert run.strategy.blocked_reasons()["halt"] == 20 * halted_by_hand().count(True)


# --- 3. stops


@pytest.mark.parametrize(("side", "prices"), [(LONG, (10_090, 10_086)), (SHORT, (9_910, 9_914))])
def test_stage_1_closes_half_of_the_leg_from_the_fill_that_loses_most(trade, still, side, prices):
    fills = [(side, price, qty, 0.01) for price, qty in zip(prices, (0.1, 0.05), strict=True)]
    run = trade(still(), funding=UNFUNDED, script=hold(*fills))
    assert [(qty, label) for _, qty, label in run.at(110).after[side].closes] == [(0.075, "stop1")]
    trade_ = run.trades[0]
    assert trade_.exit == pytest.approx(10_000 * (1 - side * 0.0002), rel=1e-15)
    assert (trade_.label, trade_.qty, trade_.close_time) == ("stop1", 0.075, START_MS + 111 * BAR_MS)


def test_half_of_an_odd_lot_is_rounded_up(trade, still):
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_090, 0.005, 0.01)))
    assert [qty for _, qty, _ in run.at(110).after[LONG].closes] == [0.003]


def test_stage_1_needs_a_close_beyond_it(trade, still):
    # ATR 30: stage 1 is 120 below 10,110, at 9,990. The wicks reach 9,985, the close stays at 10,000.
    run = trade(still(130, half=15.0), funding=UNFUNDED, script=hold((LONG, 10_110, 0.1, 0.01)), stop2_atr=40.0)
    assert run.at(110).atr == 30 and not run.trades


def test_stage_1_fires_once_until_a_close_comes_back_inside(trade, still):
    up, down = (10_000, 10_020, 10_000, 10_015), (10_015, 10_020, 10_000, 10_000)  # true ranges of 20
    candles = still(113, then=[up, down] + [FLAT] * 3)
    run = trade(candles, funding=UNFUNDED, regime="none", script=hold((LONG, 10_090, 0.1, 0.01)))
    assert [(trade.qty, trade.close_time) for trade in run.trades] == [
        (0.05, START_MS + 111 * BAR_MS),
        (0.025, START_MS + 115 * BAR_MS),  # inside at row 113, beyond again at row 114
    ]
    assert run.strategy.memory.stops == 2


UNTRADED = dict(funding=UNFUNDED, regime="none", gamma=0.0, order_pct=0.0001)  # below the least notional: no entries


@pytest.mark.parametrize(
    ("side", "price", "back", "nets"),
    [
        # Stage 1 closes 0.05 at 9,998: -4.6 less a fee of 0.24995. The exit at 10,190.9 brings 5.045 less 0.101909.
        (LONG, 10_090.0, (10_000, 10_195, 9_995, 10_100), (-4.84995, 4.943091)),
        # 0.05 at 10,002: -4.6 less 0.25005. The exit at 9,810.9 brings 4.955 less 0.098109.
        (SHORT, 9_910.0, (10_000, 10_005, 9_805, 9_900), (-4.85005, 4.856891)),
    ],
)
def test_kelly_sees_one_return_of_a_fill_closed_by_stage_1_and_by_its_exit(trade, still, side, price, back, nets):
    script = hold((side, price, 0.1, 0.01))
    run = trade(still(112, then=[back, back]), **UNTRADED, script=script)
    assert [(trade_.label, trade_.net) for trade_ in run.trades] == [
        ("stop1", pytest.approx(nets[0])), ("grid", pytest.approx(nets[1])),
    ]  # fmt: skip
    assert [kelly.returns for kelly in run.strategy.kelly] == [0, 0, 1, 0, 0]
    assert run.strategy.returns[2][0] == pytest.approx(sum(nets) / (price * 0.1))
    assert run.strategy.memory.realized_today == pytest.approx(sum(nets))
    begun = trade(still(112), **UNTRADED, script=script)
    assert [trade_.label for trade_ in begun.trades] == ["stop1"]
    assert not any(kelly.returns for kelly in begun.strategy.kelly)


@pytest.mark.parametrize(
    ("side", "price", "stop", "wick", "exit_"),
    [
        (LONG, 10_050, 9_930.0, (10_000, 10_010, 9_925, 10_000), 9_930 * 0.9998),
        (SHORT, 9_950, 10_070.0, (10_000, 10_075, 9_990, 10_000), 10_070 * 1.0002),
    ],
)
def test_stage_2_rests_six_atr_away_and_closes_all_on_the_wick(trade, still, side, price, stop, wick, exit_):
    candles = still(111, then=[wick, FLAT, FLAT])
    run = trade(candles, funding=UNFUNDED, script=hold((side, price, 0.1, 0.01)))
    assert run.at(110).after[side].stop == stop
    (trade_,) = run.trades
    assert (trade_.label, trade_.qty) == ("stop2", 0.1)
    assert trade_.exit == pytest.approx(exit_, rel=1e-15)
    assert trade_.fees == pytest.approx(0.1 * exit_ * 0.0005, rel=1e-12)
    assert run.strategy.memory.stops == 1


def test_a_market_already_through_the_stop_is_left_at_once(trade, still):
    # Average 10,130: stage 2 would rest at 10,010, above the close of 10,000.
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_130, 0.1, 0.01)))
    assert run.at(110).after[LONG].stop is None
    assert sum(trade.qty for trade in run.trades) == pytest.approx(0.1) and run.trades[-1].label == "stop2"


def test_the_stop_is_measured_from_the_average_entry(trade, still):
    fills = (LONG, 10_040, 0.1, 0.01), (LONG, 10_000, 0.3, 0.01)  # average 10,010
    run = trade(still(), funding=UNFUNDED, script=hold(*fills))
    assert run.at(110).after[LONG].stop == 9_890.0


# --- 4. liquidation check


def steep(plain_market):
    """45 % of the notional as maintenance margin."""
    return plain_market(brackets=(Bracket(0.0, 1e12, 0.45, 0.0),), max_leverages=(5.0,))


def test_a_margin_call_closes_the_worst_fills_down_to_half(trade, still, plain_market):
    # 20 fills of 0.1 = 20,000: margin 9,000 of 10,000 equity. 4,000 are too much, each fill frees 450: nine fills.
    fills = [(LONG, 10_000 + n, 0.1, 0.01) for n in range(1, 21)]
    run = trade(still(), funding=UNFUNDED, market=steep(plain_market), script=hold(*fills))
    assert [trade.label for trade in run.trades] == ["margin_call"] * 9
    assert sorted(trade.entry for trade in run.trades) == [10_000 + n for n in range(12, 21)]
    assert run.strategy.memory.margin_calls == 1


def test_no_margin_call_at_just_below_the_limit(trade, still, plain_market):
    fills = [(LONG, 10_000 + n, 0.1, 0.01) for n in range(1, 18)]  # 17,000: 7,650 of 10,000
    run = trade(still(), funding=UNFUNDED, market=steep(plain_market), script=hold(*fills))
    assert run.strategy.memory.margin_calls == 0 and not run.trades


@pytest.mark.parametrize(("qty", "near"), [(2.0, False), (2.1, True)])
def test_a_near_liquidation_price_warns(trade, still, plain_market, qty, near):
    # 10,000 + qty*(p - 10,000) = 0.45*qty*p: p = 9,090.9 for 2.0 (9.1 % away), 9,523.8 for 2.1 (4.8 %).
    market = steep(plain_market)
    run = trade(still(111), funding=UNFUNDED, market=market, script=hold((LONG, 10_000, qty, 0.01)))
    assert run.strategy.warnings["liquidation_near"] == near
    price = 10_000 * (qty - 1) / (0.55 * qty)
    assert run.strategy.memory.min_distance == pytest.approx(1 - price / 10_000, rel=1e-9)


# --- 5. pruning


def test_deviance_cuts_the_side_the_price_runs_against(trade, still):
    # KAMA of the bar before is 10,000; the close 9,920 is 80 away, 3 ATR are 3*(260 + 80)/14 = 72.9.
    candles = still(111, then=[(10_000, 10_000, 9_920, 9_920), (9_920, 9_930, 9_910, 9_920)])
    run = trade(candles, funding=UNFUNDED, script=hold((LONG, 9_990, 0.1, 0.01), (SHORT, 10_000, 0.1, 0.02)))
    assert labels_closing(run.at(111), LONG) == ["deviance"]
    assert labels_closing(run.at(111), SHORT) == []


def test_deviance_keeps_a_fill_within_three_atr(trade, still):
    # 70 away, 3 ATR are 70.7.
    run = trade(still(111, then=[DROP, BACK]), funding=UNFUNDED, script=hold((LONG, 9_990, 0.1, 0.01)))
    assert labels_closing(run.at(111), LONG) == []


def test_oldest_cuts_after_more_than_a_day(trade, still):
    run = trade(still(210), funding=UNFUNDED, script=hold((LONG, 10_000, 0.1, 0.01)))
    assert labels_closing(run.at(205), LONG) == []  # 96 bars at its close: a day to the millisecond
    assert labels_closing(run.at(206), LONG) == ["oldest"]


@pytest.mark.parametrize(("spacing", "cut"), [(0.0016, ["gap"]), (0.0017, [])])
def test_gap_cuts_beyond_three_of_the_fills_own_spacings(trade, still, spacing, cut):
    # 10,050*(1 - 3*0.0016) = 10,001.8 > 10,000 > 9,998.7 = 10,050*(1 - 3*0.0017)
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_050, 0.1, spacing)))
    assert labels_closing(run.at(110), LONG) == cut


@pytest.mark.parametrize(("rate", "cut"), [(0.0051, ["funding"]), (0.0049, [])])
def test_funding_cuts_when_it_ate_half_of_the_expected_profit(trade, still, rate, cut):
    # Expected: 0.01*10,000*0.1 = 10; paid: 0.1*10,000*rate = 5.1 or 4.9.
    run = trade(still(), funding=rates((0, 0), (112, rate)), script=hold((LONG, 10_000, 0.1, 0.01)))
    assert labels_closing(run.at(111), LONG) == []
    assert labels_closing(run.at(112), LONG) == cut


@pytest.mark.parametrize(
    ("profit", "spacing", "cut"),
    [
        (6.6, 0.005, ["offset"]),  # loss 6 + taker fee 0.5 = 6.5; under water from 10,009.7
        (6.4, 0.005, []),
        (20.0, 0.0061, []),  # one spacing under water only below 9,998.6
    ],
)
def test_offset_needs_todays_profit_and_a_spacing_under_water(trade, still, profit, spacing, cut):
    won = (SHORT, 10_100, 10_100 - 10 * profit, 0.1, 0)
    script = earn(won, then=hold((LONG, 10_060, 0.1, spacing)))
    run = trade(still(), funding=UNFUNDED, script=script)
    assert labels_closing(run.at(110), LONG) == cut


def test_offset_forgets_yesterdays_profit(trade, still):
    script = earn((SHORT, 10_100, 9_900, 0.1, 0), row=191, then=hold((LONG, 10_060, 0.1, 0.005), row=192))
    run = trade(still(200), funding=UNFUNDED, script=script)
    assert labels_closing(run.at(192), LONG) == []


@pytest.mark.parametrize(("spacing", "age", "label"), [(0.001, 96, "oldest"), (0.001, 95, "gap")])
def test_age_comes_before_gap(trade, still, spacing, age, label):
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_050, 0.1, spacing), age=age))
    assert labels_closing(run.at(110), LONG) == [label]


def test_deviance_comes_before_age(trade, still):
    candles = still(110, then=[(10_000, 10_000, 9_920, 9_920), (9_920, 9_930, 9_910, 9_920)])
    run = trade(candles, funding=UNFUNDED, script=hold((LONG, 9_990, 0.1, 0.01), age=97))
    assert labels_closing(run.at(110), LONG) == ["deviance"]


@pytest.mark.parametrize(("price", "cut"), [(10_075.2, ["delever"]), (10_074.8, [])])
def test_deleverage_closes_the_worst_fill_at_three_quarters_of_the_limit(trade, still, price, cut):
    # 75 % of 5 % of 10,000 = 375; 5 BTC lose 376 or 374. The larger fill loses more.
    script = hold((LONG, price, 2.0, 0.01), (LONG, price, 3.0, 0.01))
    run = trade(still(111), funding=UNFUNDED, script=script)
    assert labels_closing(run.at(110), LONG) == cut
    assert [qty for _, qty, _ in run.at(110).after[LONG].closes] == [3.0] * len(cut)


@pytest.mark.parametrize("worse", [LONG, SHORT])
def test_deleverage_looks_at_both_sides_for_the_worst_fill(trade, still, worse):
    # 70*3 = 210 on one side, 70*2.5 = 175 on the other: 385 is above 375.
    fills = [(side, 10_000 + side * 70, 3.0 if side == worse else 2.5, 0.01) for side in (LONG, SHORT)]
    run = trade(still(111), funding=UNFUNDED, script=hold(*fills))
    assert labels_closing(run.at(110), worse) == ["delever"]
    assert labels_closing(run.at(110), SHORT if worse == LONG else LONG) == []


def test_an_account_below_zero_trades_on_without_an_error(trade, still):
    def ruin(strategy, row):
        if row == 110:
            strategy.broker.account.wallet = strategy.broker.account.value = -1e-9

    run = trade(still(), funding=UNFUNDED, script=ruin)
    assert run.at(119).after[LONG].entries == {}


# --- 6. trailing and anchor


def ramp(still, step):
    """From 10,000 by `step` a bar, every true range 20."""
    rows = []
    for n in range(12):
        opening, close = 10_000 + n * step, 10_000 + (n + 1) * step
        margin = (20 - abs(step)) / 2
        rows.append((opening, max(opening, close) + margin, min(opening, close) - margin, close))
    return still(110, then=rows)


def test_an_uptrend_above_the_ladder_pulls_the_anchor_by_half_of_the_excess(trade, still):
    # One level: the top is 10,100; the seventh bar closes at 10,105.
    run = trade(ramp(still, 15), funding=UNFUNDED, levels=1)
    assert run.at(115).log["anchor"] == 10_000
    assert run.at(116).log["regime"] == 2
    assert run.at(116).log["anchor"] == pytest.approx(10_002.5, rel=1e-12)


def test_without_an_uptrend_a_ladder_left_upwards_starts_anew(trade, still):
    run = trade(ramp(still, 15), funding=UNFUNDED, levels=1, regime="none")
    assert run.at(116).log["anchor"] == 10_105


def test_a_ladder_left_downwards_starts_anew(trade, still):
    # The bottom is 10,000/1.01 = 9,900.99; the seventh bar closes at 9,895.
    run = trade(ramp(still, -15), funding=UNFUNDED, levels=1)
    assert run.at(115).log["anchor"] == 10_000
    assert run.at(116).log["anchor"] == 9_895


# --- 7. value at risk


@pytest.mark.parametrize(("qty", "blocked"), [(1.6, True), (1.5, False)])
def test_value_at_risk_blocks_new_entries(trade, still, qty, blocked):
    # Closes alternate by r = ln(1.002): sigma = r*sqrt(96/95). VaR of 16,000 is 519, of 15,000 487; the limit is 500.
    rows = [(10_000, 10_020, 10_000, 10_020), (10_020, 10_020, 10_000, 10_000)] * 60
    run = trade(still(1, then=rows), funding=UNFUNDED, regime="none", script=hold((LONG, 10_000, qty, 0.01)))
    moment = run.at(110)
    sigma = math.log(1.002) * math.sqrt(96 / 95)
    assert moment.log["var"] == pytest.approx(qty * moment.close * 1.65 * sigma * math.sqrt(96), rel=1e-9)
    assert (moment.after[SHORT].entries == {}) == blocked
    assert len(moment.after[LONG].exits) == 1


# --- 8. sizes


@pytest.mark.parametrize(("rate", "long_qty", "short_qty"), [(0.0001, 0.037, 0.061), (-0.0001, 0.063, 0.037)])
def test_funding_tilts_the_sizes(trade, still, rate, long_qty, short_qty):
    # 375 and 625 instead of 500: /9914.8 = 0.0378, 0.0630; /10100 = 0.0371, 0.0619
    run = trade(still(), funding=rates((0, rate)))
    assert run.at(110).after[LONG].entries[-1][1] == long_qty
    assert run.at(110).after[SHORT].entries[1][1] == short_qty


@pytest.mark.parametrize(("regime", "qty"), [(0, 0.075), (1, 0.050)])
def test_kelly_counts_the_trades_of_the_regime_that_rules(trade, still, regime, qty):
    # Ten trades win 1 %, ten lose 1/112: K = 0.5*112 - 0.5/0.01 = 6, multiplier 1.5: 750/9914.8 = 0.0756.
    won = [(LONG, 10_000, 10_100, 1.0, regime)] * 10
    lost = [(LONG, 10_000, 10_000 - 10_000 / 112, 1.0, regime)] * 10
    run = trade(still(), funding=UNFUNDED, script=earn(*won, *lost))
    assert run.at(110).after[LONG].entries[-1][1] == qty


def test_three_stops_in_48_bars_halve_the_size(trade, still):
    # Row 110: stage 1 on both sides. Row 112: the wick takes the LONG stop (9,970). Rows 112 to 157 hold all three.
    candles = still(112, then=[(10_000, 10_010, 9_965, 10_000)] + [FLAT] * 60)
    run = trade(candles, funding=UNFUNDED, script=hold((LONG, 10_090, 0.1, 0.01), (SHORT, 9_910, 0.1, 0.01)))
    assert run.strategy.memory.stops == 3
    sizes = {row: run.at(row).after[LONG].entries[-1][1] for row in (111, 112, 157, 158)}
    assert sizes == {111: 0.050, 112: 0.025, 157: 0.025, 158: 0.050}


@pytest.mark.parametrize("stops", [3, 30])
def test_the_stops_of_a_session_that_goes_on_still_count(trade, still, stops):
    strategy = trade(still()).strategy
    bars = range(7, 7 + stops)
    for strategy.memory.bar in bars:
        steps.count_stop(strategy.config, strategy.memory)
    snapshot = json.loads(json.dumps(take_snapshot(strategy)))
    assert snapshot["stop_bars"] == list(bars)[-STOPS_KEPT:]
    kept, strategy.memory.stop_bars = strategy.memory.stop_bars, [0] * STOPS_KEPT
    cools_until, strategy.memory.cools_until = strategy.memory.cools_until, 0
    restore_snapshot(strategy, snapshot)
    assert strategy.memory.cools_until == cools_until == 7 + stops - 3 + 48
    assert (strategy.memory.stops, strategy.memory.stop_bars) == (stops, kept)


def test_a_side_never_holds_more_than_its_share(trade, still):
    # 9,400 of 10,000 are held: one order of 0.05*9914.8 = 495.7 fits, the second would need 490.7 of 104.3.
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_010, 0.94, 0.01)))
    assert set(run.at(110).after[LONG].entries) == {-1}
    assert len(run.at(110).after[SHORT].entries) == 10


# --- 8/9. occupied, cooling, kept


def test_nothing_is_placed_where_a_fill_lies(trade, still):
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 9_860, 0.01, 0.05)))
    # 9,860 is 54.8 below the first level (half a spacing: 49.6) and 45.3 above the second (49.1).
    assert {-1, -2, -3} & set(run.at(110).after[LONG].entries) == {-1, -3}


def test_a_fill_of_the_other_side_occupies_nothing(trade, still):
    run = trade(still(), funding=UNFUNDED, script=hold((SHORT, 9_920, 0.01, 0.05)))
    assert -1 in run.at(110).after[LONG].entries


def test_a_level_stays_closed_for_four_bars_after_a_cut_at_a_loss(trade, still):
    # The fill at 9,960 occupies level -1 (9,914.8). The drop to 9,930 is beyond 3 of its spacings (9,933.1): sold at
    # the open of row 112. Rows 112 to 115 are the four bars.
    candles = still(111, then=[DROP, BACK] + [FLAT] * 8)
    run = trade(candles, funding=UNFUNDED, regime="none", script=hold((LONG, 9_960, 0.1, 0.0009)))
    assert [(trade.label, trade.close_time) for trade in run.trades] == [("gap", START_MS + 112 * BAR_MS)]
    resting = [-1 in run.at(row).after[LONG].entries for row in range(110, 118)]
    assert resting == [False] * 6 + [True] * 2


def test_a_level_is_open_again_at_once_after_its_profit(trade, still):
    # Filled at 9,914.9 in row 110, sold at its target 10,014.1 in row 112.
    candles = still(110, then=[(10_000, 10_010, 9_910, 10_000), FLAT, (10_000, 10_020, 9_990, 10_000), FLAT])
    run = trade(candles, funding=UNFUNDED, regime="none")
    assert [-1 in run.at(row).after[LONG].entries for row in (109, 110, 111, 112)] == [True, False, False, True]
    assert [(trade.label, trade.exit) for trade in run.trades] == [("grid", 10_014.1)]


def test_the_exit_of_a_fill_is_one_spacing_away(trade, still):
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 9_914.8, 0.1, 0.01), (SHORT, 10_100, 0.1, 0.01)))
    assert list(run.at(110).after[LONG].exits.values()) == [10_014.0]  # 10,013.948 up to the tick
    assert list(run.at(110).after[SHORT].exits.values()) == [9_999.0]  # 10,100*0.99


def test_an_exit_past_its_target_rests_one_tick_beyond_and_follows_the_price_back(trade, still):
    # Target 10,014; the bar closes at 10,100, then 10,050, then below the target.
    rows = [(10_000, 10_110, 9_990, 10_100), (10_100, 10_100, 10_040, 10_050), (10_050, 10_050, 10_000, 10_000)]
    run = trade(still(110, then=rows), funding=UNFUNDED, regime="none", script=hold((LONG, 9_914.8, 0.1, 0.01)))
    assert list(run.at(110).after[LONG].exits.values()) == [10_100.1]
    assert list(run.at(111).after[LONG].exits.values()) == [10_050.1]


def test_a_small_drift_keeps_the_resting_orders(trade, still):
    # Wider bars: ATR rises from 20, so spacing from 1 % only when 3 ATR > 100; the ladder stands untouched before.
    candles = still(110, then=[(10_000, 10_015, 9_985, 10_000)] * 5)
    run = trade(candles, funding=UNFUNDED)
    assert run.at(114).after[LONG].entries == run.at(109).after[LONG].entries


def test_an_entry_that_the_exchange_dropped_is_placed_again(trade, still):
    def drop(strategy, row):
        if row == 110:
            strategy.broker.leg(strategy.feed, LONG).cancel(-3)

    run = trade(still(), funding=UNFUNDED, script=drop)
    assert run.at(109).after[LONG].entries == run.at(110).after[LONG].entries


def test_an_exit_that_the_exchange_dropped_is_placed_again(trade, still):
    def drop(strategy, row):
        hold((LONG, 10_000, 0.1, 0.01))(strategy, row)
        if row == 112:
            strategy.broker.leg(strategy.feed, LONG).exits.clear()

    run = trade(still(), funding=UNFUNDED, script=drop)
    assert list(run.at(112).after[LONG].exits.values()) == [10_100.0]


def test_a_tick_too_coarse_for_low_levels_leaves_them_out(trade, random_bars, plain_market):
    market = plain_market(tick=0.0001, step=1.0, min_qty=1.0)
    candles = random_bars(bars=600, step=0.05, price=0.0005, tick=1e-7)
    run = trade(candles, market=market, regime="none", var_pct=10.0)
    assert all(price > 0 for now in run.moments for price, _ in now.after[LONG].entries.values())


def test_a_fill_carries_regime_and_spacing_of_the_bar_its_order_stood(trade, sample):
    run = trade(sample.candles.iloc[:2_000], funding=sample.funding)
    seen = 0
    for before, now in zip(run.moments, run.moments[1:], strict=False):
        held = {fill.id for sign in (1, -1) for fill in before.before[sign].fills}
        for sign in (1, -1):
            for fill in now.before[sign].fills:
                if fill.id not in held:
                    seen += 1
                    assert fill.regime == before.log["regime"] and fill.time == now.time
                    assert fill.spacing_pct >= 0.01 * (1 - 1e-12)
                    assert any(entry[0] == fill.price for entry in before.after[sign].entries.values())
    assert seen > 20


# --- 10 and 11


def test_the_funding_of_every_settlement_is_recorded(trade, still):
    script = hold((LONG, 10_000, 0.1, 0.05), (SHORT, 10_000, 0.2, 0.05))
    run = trade(still(), funding=rates((0, 0), (112, 0.001), (114, 0.001)), script=script)
    times = [START_MS + row * BAR_MS for row in (112, 114)]
    # LONG pays 0.1*10,000*0.001 = 1 a settlement, SHORT receives 2.
    assert list(run.strategy.funding_log[-6:]) == pytest.approx([times[0], 1, -2, times[1], 2, -4], rel=1e-12)


def test_every_traded_bar_has_one_row(trade, still):
    log = trade(still(120), funding=UNFUNDED).log()
    assert list(log["time"]) == [START_MS + row * BAR_MS for row in range(96, 120)]


def test_a_row_tells_what_stands(trade, still):
    run = trade(still(), funding=UNFUNDED, script=hold((LONG, 10_000, 0.1, 0.01)))
    row = run.at(112).log
    assert row["resting_orders"] == 20 + 2  # ten entries a side, an exit and a stop
    assert row["margin_ratio"] == pytest.approx(0.1 * 10_000 * 0.004 / 10_000)
    assert (row["long_qty"], row["short_qty"], row["q"]) == (0.1, 0.0, pytest.approx(0.1))


# --- a strategy of one's own


class Noting(GridStrategyV4):
    """Notes each step that it takes."""

    def start(self):
        self.taken = []
        super().start()


def noted(name):
    def step(self):
        self.taken.append(name)
        getattr(super(Noting, self), name)()

    return step


def test_a_step_that_a_subclass_overrides_is_called_in_its_place_at_every_bar(random_bars):
    candles = random_bars(bars=300)
    runs = []
    for own in (GridStrategyV4, type("All", (Noting,), {name: noted(name) for name in STEPS})):
        cerebro = make_cerebro(make_feeds([SymbolData("BTCUSDT", candles)]), load_config(BUSY), 10_000.0, strategy=own)
        [strategy] = cerebro.run()
        runs.append(strategy)
    plain, noting = runs
    assert noting.log.tobytes() == plain.log.tobytes()
    assert noting.taken == list(STEPS) * len(plain.log)


def test_a_step_that_is_replaced_in_the_class_itself_is_called(random_bars, monkeypatch):
    times = []
    monkeypatch.setattr(GridStrategyV4, "record_funding", lambda self: times.append(self.now.time))
    cerebro = make_cerebro(make_feeds([SymbolData("BTCUSDT", random_bars(bars=300))]), load_config(BUSY), 10_000.0)
    [strategy] = cerebro.run()
    assert times == strategy.log[:, 0].astype(int).tolist()
