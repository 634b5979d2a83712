"""Every figure against a hand calculation on a run small enough to see through."""

import math

import numpy as np
import pytest

from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.metrics.recorder import SymbolRecord, WalletRecord
from gridv4_bt.metrics.summary import (
    annual_return,
    calmar,
    daily_returns,
    drawdowns,
    grouped,
    profit_factor,
    sharpe,
    sortino,
    summarize,
    wallet_curve,
)
from gridv4_bt.metrics.trading import whole_trades

HOUR = 3_600_000
DAY = 24 * HOUR


def trade(net: float, side=PositionSide.LONG, label=TradeLabel.GRID, regime=0) -> ClosedTrade:
    return ClosedTrade(1, "BTCUSDT", side, label, regime, 0, HOUR, 1.0, 100.0, 100.0 + net, net, 0.0, 0.0, 1.0, net)


def record(symbol: str, times: list[int], equity: list[float], held: list[float] | None = None) -> SymbolRecord:
    log = np.zeros((len(times), len(LOG_COLUMNS)))
    log[:, LOG_COLUMNS.index("time")] = times
    log[:, LOG_COLUMNS.index("equity")] = equity
    if held is not None:
        log[:, LOG_COLUMNS.index("long_qty")] = held
    rules = "rules of the test"
    return SymbolRecord(symbol, rules, len(times), log, np.empty(0), np.empty((0, 20)), np.empty((0, 3)), [])


def wallet(equity: float, start: float = 100.0) -> WalletRecord:
    return WalletRecord(start, equity, equity, equity - start, 0.0, 0.0, 0, 3, 1, 0)


def test_a_day_runs_from_the_last_bar_of_the_day_before_to_its_own_last_bar():
    times = np.array([0, 12 * HOUR, DAY, DAY + 12 * HOUR, 2 * DAY])
    days, returns = daily_returns(times, np.array([101.0, 110.0, 120.0, 99.0, 99.0]), 100.0)
    assert list(days) == [0, 1, 2]
    assert returns == pytest.approx([0.10, -0.10, 0.0])


def test_a_drawdown_is_measured_from_the_highest_equity_so_far_start_included():
    assert drawdowns(np.array([90.0, 110.0, 88.0, 121.0]), 100.0) == pytest.approx([0.1, 0.0, 0.2, 0.0])


def test_sharpe_is_mean_over_sample_deviation_times_root_365():
    # mean 0.01, deviations -0.01, 0.01, 0 -> variance 0.0002 / 2 = 0.0001
    assert sharpe(np.array([0.0, 0.02, 0.01])) == pytest.approx(0.01 / 0.01 * math.sqrt(365))


def test_sortino_counts_only_losses_in_the_deviation():
    # mean 0.01; downside sqrt((0.02**2) / 4) = 0.01
    assert sortino(np.array([-0.02, 0.02, 0.02, 0.02])) == pytest.approx(math.sqrt(365))


@pytest.mark.parametrize("ratio", [sharpe, sortino])
@pytest.mark.parametrize("returns", [[], [0.01], [0.0, 0.0, 0.0]])
def test_ratios_that_are_not_defined_are_none(ratio, returns):
    assert ratio(np.array(returns)) is None


def test_annual_return_compounds_to_365_days():
    assert annual_return(100.0, 121.0, 730.0) == pytest.approx(0.10)
    assert annual_return(100.0, 0.0, 10.0) == -1.0
    assert annual_return(100.0, 110.0, 0.0) is None


def test_calmar_is_annual_return_over_largest_drawdown():
    assert calmar(0.3, 0.1) == pytest.approx(3.0)
    assert calmar(0.3, 0.0) is None


def test_profit_factor_is_profits_over_losses():
    assert profit_factor([3.0, -1.0, -0.5, 0.0]) == pytest.approx(2.0)
    assert profit_factor([3.0]) is None


def test_trades_are_grouped_by_label_side_and_regime():
    trades = [
        trade(2.0),
        trade(-1.0, PositionSide.SHORT, TradeLabel.STOP2, -1),
        trade(-3.0, PositionSide.SHORT, TradeLabel.STOP2, -2),
    ]
    whole = whole_trades(trades)
    assert grouped(trades, whole, "label")["stop2"]["net"] == -4.0
    assert grouped(trades, whole, "side")["long"] == {
        "trades": 1,
        "win_rate": 1.0,
        "gross": 2.0,
        "fees": 0.0,
        "funding": 0.0,
        "net": 2.0,
    }
    assert sorted(grouped(trades, whole, "regime")) == ["BREAKOUT_DOWN", "DOWNTREND", "NOISE"]


def test_the_wallet_of_several_symbols_has_one_point_for_each_time():
    one = record("BTCUSDT", [0, HOUR], [100.0, 101.0])
    two = record("ETHUSDT", [HOUR, 2 * HOUR], [101.0, 105.0])
    times, equity = wallet_curve([one, two])
    assert list(times) == [0, HOUR, 2 * HOUR]
    assert list(equity) == [100.0, 101.0, 105.0]


def test_where_symbols_have_a_time_in_common_the_last_one_s_value_counts():
    draw = np.random.default_rng(4)
    records, expected = [], {}
    for number in range(5):
        times = np.sort(draw.choice(40, 20, replace=False)) * HOUR
        values = draw.normal(size=20)
        records.append(record(f"{number}USDT", times, values))
        expected |= dict(zip(times.tolist(), values.tolist(), strict=True))
    times, equity = wallet_curve(records)
    assert list(zip(times.tolist(), equity.tolist(), strict=True)) == sorted(expected.items())


def test_the_summary_has_every_figure_the_contract_names():
    one = record("BTCUSDT", [0, HOUR, DAY], [100.0, 90.0, 120.0], [0.0, 1.0, 1.0])
    one.trades.extend([trade(20.0), trade(-10.0)])
    summary = summarize([one], wallet(120.0))
    assert summary["bars"] == 3
    assert summary["net_return"] == pytest.approx(0.2)
    assert summary["max_drawdown"] == pytest.approx(0.1)
    assert summary["win_rate"] == 0.5
    assert summary["profit_factor"] == pytest.approx(2.0)
    assert summary["maker_ratio"] == 0.75
    assert summary["time_in_market"] == pytest.approx(2 / 3)
    assert summary["min_liquidation_distance"] is None  # never anything to liquidate
    names = (
        "bars start_equity end_equity net_return max_drawdown sharpe sortino calmar trades win_rate profit_factor "
        "fees funding by_label by_regime by_side halts stops liquidations max_margin_ratio "
        "min_liquidation_distance maker_ratio time_in_market"
    )
    assert set(names.split()) <= set(summary)


def test_a_run_without_a_single_trade_has_a_summary():
    summary = summarize([record("BTCUSDT", [0], [100.0])], wallet(100.0))
    assert (summary["trades"], summary["win_rate"], summary["profit_factor"]) == (0, None, None)
    assert summary["max_drawdown"] == 0.0
