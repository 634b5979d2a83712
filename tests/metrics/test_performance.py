"""What an equity curve says, against calculations by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_runs import DAY, HOUR, START_MS

from gridv4_bt.metrics.performance import (
    daily_returns,
    expected_shortfall,
    omega,
    period_returns,
    recovery,
    returns_by_period,
    risk,
    sharpe,
    sortino,
    volatility,
)

CURVES = arrays(float, st.integers(1, 60), elements=st.floats(1.0, 1e6))


def hourly(count: int, first: int = START_MS) -> np.ndarray:
    return first + np.arange(count, dtype=float) * HOUR


def test_volatility_is_the_sample_deviation_of_a_year():
    # mean 0.01, deviations -0.01, 0.01, 0 -> variance 0.0002 / 2 = 0.0001
    assert volatility(np.array([0.0, 0.02, 0.01])) == pytest.approx(0.01 * math.sqrt(365))


def test_omega_is_gains_over_losses():
    assert omega(np.array([0.03, -0.01, 0.01, -0.01])) == pytest.approx(2.0)
    assert omega(np.array([0.03, 0.0])) is None


def test_expected_shortfall_is_the_mean_of_the_worst_days_as_a_loss():
    returns = np.array([-0.05, -0.03] + [0.01] * 38)
    assert expected_shortfall(returns, 0.05) == pytest.approx(0.04)  # two of forty
    assert expected_shortfall(returns, 0.01) == pytest.approx(0.05)  # at least one
    assert expected_shortfall(np.array([])) is None


def test_a_month_runs_from_the_end_of_the_one_before():
    times = START_MS + np.array([0, 30, 31, 59, 400]) * DAY  # 1, 31 January, 1, 29 February 2024, 4 February 2025
    equity = np.array([100.0, 110.0, 99.0, 121.0, 60.5])
    monthly = period_returns(times, equity, 100.0, "M")
    assert monthly == pytest.approx({"2024-01": 0.1, "2024-02": 0.1, "2025-02": -0.5})
    assert period_returns(times, equity, 100.0, "Y") == pytest.approx({"2024": 0.21, "2025": -0.5})


@given(CURVES, st.floats(1.0, 1e6), st.sampled_from(["M", "Y"]))
def test_the_returns_of_months_and_years_compound_to_the_total(equity, start, unit):
    times = START_MS + np.arange(len(equity), dtype=float) * 5 * DAY
    growth = math.prod(1.0 + change for change in period_returns(times, equity, start, unit).values())
    assert growth == pytest.approx(equity[-1] / start, rel=1e-9)


@given(CURVES, st.floats(1.0, 1e6))
def test_the_returns_of_days_compound_to_the_total(equity, start):
    _, returns = daily_returns(hourly(len(equity)), equity, start)
    assert np.prod(1.0 + returns) == pytest.approx(equity[-1] / start, rel=1e-9)


def test_best_and_worst_day_have_their_dates():
    times = START_MS + np.array([0, 1, 2]) * DAY
    found = returns_by_period(times, np.array([110.0, 99.0, 99.0]), 100.0)
    assert found["best_day"] == {"date": "2024-01-01", "return": pytest.approx(0.1)}
    assert found["worst_day"] == {"date": "2024-01-02", "return": pytest.approx(-0.1)}
    assert found["positive_days"] == pytest.approx(1 / 3)
    assert found["positive_months"] == 0.0


def test_time_below_the_high_counts_from_the_high_to_its_return():
    #                  high       high           high  below until the end
    equity = np.array([110.0, 100.0, 110.0, 120.0, 90.0, 119.0, 120.0, 119.0])
    found = recovery(hourly(8), equity, 100.0)
    assert found["times"] == 3
    assert found["longest_days"] == pytest.approx(3 / 24)
    assert found["current_days"] == pytest.approx(1 / 24)
    assert found["mean_days"] == pytest.approx((2 + 3 + 1) / 3 / 24)
    assert found["under_water"] == pytest.approx(4 / 8)
    day = "2024-01-01"
    assert found["worst"] == {"from": day, "lowest": day, "recovered": day, "depth": 0.25, "days": 3 / 24}


def test_a_high_not_reached_again_has_no_date_of_recovery():
    found = recovery(START_MS + np.arange(3.0) * DAY, np.array([100.0, 80.0, 90.0]), 100.0)
    assert found["worst"]["recovered"] is None
    assert (found["worst"]["from"], found["worst"]["lowest"]) == ("2024-01-01", "2024-01-02")
    assert found["longest_days"] == found["current_days"] == 2.0


def test_a_curve_that_only_rises_is_never_below_its_high():
    found = recovery(hourly(3), np.array([100.0, 100.0, 101.0]), 100.0)
    assert (found["times"], found["longest_days"], found["mean_days"], found["worst"]) == (0, 0.0, 0.0, None)


@given(CURVES, st.floats(1.0, 1e6))
def test_time_below_the_high_is_what_a_loop_counts(equity, start):
    times = hourly(len(equity))
    high, since, longest = start, times[0], 0.0
    for hour, value in enumerate(equity):
        was_below = hour > 0 and equity[hour - 1] < high
        if value < high or was_below:
            longest = max(longest, times[hour] - since)
        if value >= high:
            high, since = value, times[hour]
    assert recovery(times, equity, start)["longest_days"] == pytest.approx(longest / DAY)


def test_risk_takes_the_ulcer_index_of_every_bar():
    equity = np.array([100.0, 90.0, 80.0, 100.0])
    found = risk(hourly(4), equity, 100.0)
    assert found["ulcer_index"] == pytest.approx(math.sqrt((0.01 + 0.04) / 4))
    assert found["mean_drawdown"] == pytest.approx(0.3 / 4)
    assert found["max_drawdown"] == pytest.approx(0.2)
    assert found["omega"] is None  # a single day


def test_an_account_that_is_lost_has_figures():
    found = risk(START_MS + np.arange(3.0) * DAY, np.array([50.0, 0.0, 0.0]), 100.0)
    assert found["max_drawdown"] == 1.0
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_ratios_are_those_of_empyrical():
    empyrical = pytest.importorskip("empyrical")
    returns = np.random.default_rng(3).normal(0.0005, 0.01, 500)
    assert sharpe(returns) == pytest.approx(empyrical.sharpe_ratio(returns, annualization=365))
    assert sortino(returns) == pytest.approx(empyrical.sortino_ratio(returns, annualization=365))
    assert volatility(returns) == pytest.approx(empyrical.annual_volatility(returns, annualization=365))
    assert omega(returns) == pytest.approx(empyrical.omega_ratio(returns))
    assert expected_shortfall(returns, 0.05) == pytest.approx(-empyrical.conditional_value_at_risk(returns, 0.05))
    equity = 100.0 * np.cumprod(1.0 + returns)
    found = risk(START_MS + np.arange(500.0) * DAY, equity, 100.0)
    assert found["max_drawdown"] == pytest.approx(-empyrical.max_drawdown(returns))
    assert found["calmar"] == pytest.approx(empyrical.calmar_ratio(returns, annualization=365))
