"""passivbot's figures, each by its formula on a run small enough to see through."""

import math

import numpy as np
import pytest
from made_runs import BAR, DAY, LONG, SHORT, closed, record, recording, still_open

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.passivbot import executions, passivbot_metrics

PER_DAY = DAY // BAR
#: Day's lowest and last equity; all other bars stand at the last one of the day before.
DAYS = [(1_000.0, 1_000.0), (970.0, 1_010.0), (990.0, 1_000.0), (980.0, 1_020.0)]


def curve() -> np.ndarray:
    bars, before = [], DAYS[0][1]
    for lowest, last in DAYS:
        bars += [before] * (PER_DAY - 2) + [lowest, last]
        before = last
    return np.array(bars)


@pytest.fixture(scope="module")
def of_equity() -> dict:
    equity = curve()
    return passivbot_metrics(recording(record(np.full(len(equity), 100.0), equity=equity)))


DAILY = np.array([last for _, last in DAYS])
LOWEST = np.array([lowest for lowest, _ in DAYS])
ADG = ((1_010.0 + 1_000.0 + 1_020.0) / 3 / 1_000.0) ** (1 / 4) - 1.0
LOW_CHANGES = LOWEST[1:] / LOWEST[:-1] - 1.0
LINE = np.polyval(np.polyfit(range(4), np.log(DAILY), 1), range(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain", 1.01),
        ("adg", ADG),
        ("mdg", 0.01),  # of 0.01, -0.0099, 0.02
        ("omega_ratio", 0.03 / (10 / 1_010)),
        ("sharpe_ratio", ADG / math.sqrt(np.mean((LOW_CHANGES - ADG) ** 2))),
        ("sortino_ratio", ADG / math.sqrt((0.03**2 + (10 / 990) ** 2) / 2)),
        ("expected_shortfall_1pct", 0.03),
        ("drawdown_worst", 0.03),
        ("drawdown_worst_mean_1pct", 0.03),  # one day of four
        ("calmar_ratio", ADG / 0.03),
        ("sterling_ratio", ADG / 0.03),
        ("equity_choppiness", (10 + 10 + 20) / 20),
        ("equity_jerkiness", (20 / (3_010 / 3) + 30 / (3_030 / 3)) / 2),
        ("exponential_fit_error", np.mean((np.log(DAILY) - LINE) ** 2)),
        ("peak_recovery_hours_equity", 24.5),  # 1,010 stands until bar 94 of day 3, the end of day 4 is the next high
    ],
)  # fmt: skip
def test_of_the_equity(of_equity, name, value):
    assert of_equity[name] == pytest.approx(value, rel=1e-9)


def test_of_equity_against_wallet_and_exposure():
    run = record(
        [100.0] * 4,
        equity=[1_010.0, 990.0, 980.0, 1_000.0],
        wallet=1_000.0,
        long_qty=[1.0, 1.0, 1.0, 0.0],
        short_qty=[0.0, 2.0, 4.0, 0.0],
    )
    found = passivbot_metrics(recording(run))
    assert found["equity_balance_diff_neg_max"] == pytest.approx(0.02)
    assert found["equity_balance_diff_neg_mean"] == pytest.approx(0.015)
    assert found["equity_balance_diff_pos_max"] == found["equity_balance_diff_pos_mean"] == pytest.approx(0.01)
    assert found["total_wallet_exposure_max"] == pytest.approx(0.3)
    assert found["total_wallet_exposure_mean"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.0) / 4)
    assert found["total_wallet_exposure_median"] == pytest.approx(0.1)


@pytest.fixture(scope="module")
def of_fills() -> dict:
    """LONG: two fills, closed after 2 and 6 hours; a second position of 1 hour; SHORT: open for the last 4 hours."""
    trades = [
        closed(100.0, 103.0, id=1, opened=0, closes=8, fees=0.5),
        closed(100.0, 98.0, id=2, opened=4, closes=24, label=TradeLabel.OLDEST, fees=0.5),
        closed(100.0, 98.0, id=3, opened=24, closes=28, label=TradeLabel.STOP1),
        closed(100.0, 99.0, id=4, opened=90, closes=96 + 4, side=SHORT, qty=0.5),
    ]
    fills = [still_open(100.0, id=4, side=SHORT, opened=90, qty=0.5)]
    bars = 96 + 10 + 1
    return passivbot_metrics(recording(record([100.0] * bars, trades=trades, open_fills=fills)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positions_held_per_day", 3 / (106 / 96)),
        ("position_held_hours_mean", (6.0 + 1.0 + 4.0) / 3),
        ("position_held_hours_median", 4.0),
        ("position_held_hours_max", 6.0),
        ("position_unchanged_hours_max", 4.0),  # between the closings of the first two fills
        ("win_rate", 0.5),  # +1 and -2; the SHORT one is not finished
        ("loss_profit_ratio", 4.0 / 3.5),
        ("loss_profit_ratio_long", 4.0 / 3.0),
        ("loss_profit_ratio_short", 0.0),
        ("adg_pnl", ((3.0 - 2.0 - 2.0 - 1.0) + 0.5) / 2 / 1_000),
        ("mdg_pnl", ((3.0 - 2.0 - 2.0 - 1.0) + 0.5) / 2 / 1_000),
        ("volume_pct_per_day_avg", (300 + 103 + 98 + 98 + 100 + 49.5) / 1_000 / 2),
    ],
)
def test_of_the_fills(of_fills, name, value):
    assert of_fills[name] == pytest.approx(value)


def test_a_market_close_at_the_open_ends_a_position_before_the_same_bars_entry():
    trades = [
        closed(id=1, opened=0, closes=4, label=TradeLabel.GAP),
        closed(id=2, opened=4, closes=8, label=TradeLabel.STOP2),
        closed(id=3, opened=8, closes=12),
    ]
    run = recording(record([100.0] * 20, trades=trades))
    # The stop comes after the entry of its bar, so the last two are one position.
    assert [event.qty for event in executions(run)] == [1.0, -1.0, 1.0, 1.0, -1.0, -1.0]
    assert passivbot_metrics(run)["position_held_hours_max"] == 2.0
    assert passivbot_metrics(run)["position_held_hours_median"] == 1.5


def test_a_run_without_fills_has_the_figures_of_its_equity_alone():
    found = passivbot_metrics(recording(record([100.0] * 200)))
    assert found["gain"] == 1.0
    assert found["sharpe_ratio"] is None
    assert "win_rate" not in found
    assert passivbot_metrics(recording(record([100.0]))) == {}


def test_legs_are_positions_of_their_own():
    trades = [closed(id=1, opened=0, closes=8), closed(99.0, 98.0, id=2, side=SHORT, opened=4, closes=12)]
    found = passivbot_metrics(recording(record([100.0] * 20, trades=trades)))
    assert (found["position_held_hours_max"], found["win_rate"]) == (2.0, 1.0)
    assert {event.leg for event in executions(recording(record([100.0] * 20, trades=trades)))} == {
        ("TEST", int(LONG)),
        ("TEST", int(SHORT)),
    }
