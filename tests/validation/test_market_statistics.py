"""Statistics of a market on bars worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gridv4_bt.validation import market_statistics as statistics
from gridv4_bt.validation.market_statistics import as_table, autocorrelation, average, fast_moves, hill, measure


def test_the_tail_index_of_pareto_quantiles():
    """Of sizes 1, 2, 4, 8 the three largest are on average ln 2 * (1 + 2 + 3) / 3 above the fourth."""
    assert hill(np.array([8.0, 1.0, 2.0, 4.0, 0.5]), 3) == pytest.approx(1 / (2 * math.log(2)))


def test_a_fall_that_comes_back():
    """The second bar falls 0.05 and closes at -0.01, 0.02 above the level at -0.03; later ones are at 0.01 and 0."""
    close = np.array([0.0, -0.01, 0.01, 0.0, 0.0, 0.0, 0.0])
    moves = fast_moves(close + 0.001, close - np.array([0, 0.04, 0, 0, 0, 0, 0]), close, 0.03, -1)
    assert moves.count == 1
    assert moves.per_year == pytest.approx(35_040 / 6)
    assert moves.back[:3] == pytest.approx((0.02, 0.04, 0.03))
    assert math.isnan(moves.back[3])  # there are no 16 bars after it


def test_a_rise_that_goes_on():
    close = np.array([0.0, 0.04, 0.06])
    moves = fast_moves(close, close - 0.1, close, 0.03, 1)
    assert moves.count == 1
    assert moves.back[:2] == pytest.approx((-0.01, -0.03))


def test_the_range_is_measured_in_the_sigma_that_was_known_before():
    """96 returns of +0.01 and -0.01 in turns deviate by 0.01 * sqrt(96 / 95); the next bar has a range of 0.03."""
    close = np.zeros(98)
    close[1::2] = 0.01
    high, low = close.copy(), close.copy()
    high[97] += 0.02
    low[97] -= 0.01
    assert statistics.range_to_sigma(high, low, close) == pytest.approx([3.0 / math.sqrt(96 / 95)])


def test_autocorrelation():
    """Of 1, -1, 1, -1 three products of -1 stand against four of 1."""
    assert autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), 1) == -0.75


@pytest.fixture(scope="module")
def market():
    """Four weeks; the returns alternate, twice as large from 14:00 to 15:00, half as large at weekends."""
    times = pd.date_range("2024-01-01", periods=28 * 96, freq="15min", tz="UTC")
    sizes = np.where(times.hour == 14, 0.002, 0.001) * np.where(times.day_of_week >= 5, 0.5, 1.0)
    growing = 1.0 + 1e-6 * np.arange(len(times))  # no two bars are quite the same
    close = 100.0 * np.exp(np.cumsum(growing * sizes * np.where(np.arange(len(times)) % 2, 1.0, -1.0)))
    candles = pd.DataFrame({"time": times, "high": close * 1.001 * growing, "low": close * 0.999, "close": close})
    candles["volume"] = 1.0 + np.arange(len(times))
    settled = pd.date_range("2023-12-31", periods=30 * 3, freq="8h", tz="UTC")
    rates = np.where(np.arange(len(settled)) % 3, 0.0001, -0.0002)
    return measure(candles, pd.DataFrame({"time": settled, "rate": rates}))


def test_the_patterns_of_day_and_week(market):
    assert market.hourly[14] == pytest.approx(48 / 25, rel=1e-3)
    assert market.hourly[3] == pytest.approx(24 / 25, rel=1e-3)
    assert market.weekend == pytest.approx(0.5, rel=1e-2)


def test_settlements_outside_of_the_candles_do_not_count(market):
    assert market.funding.negative == pytest.approx(1 / 3)
    assert market.funding.at_interest == pytest.approx(2 / 3)
    assert market.funding.mean == pytest.approx(0.0)


def test_the_mean_of_markets_weighs_fast_moves_by_their_number(market):
    one, two = (
        SimpleNamespace(**vars(market) | {"moves": {(0.03, -1): moves}, "volatility": volatility})
        for volatility, moves in (
            (0.2, statistics.FastMoves(1, 1.0, (0.04,) * 4)),
            (0.4, statistics.FastMoves(3, 3.0, (0.0,) * 4)),
        )
    )
    both = average([one, two])
    assert both.volatility == pytest.approx(0.3)
    assert both.moves[0.03, -1] == statistics.FastMoves(4, 2.0, (0.01,) * 4)


def test_the_table_has_a_column_for_each_market(market):
    lines = as_table({"A": market, "B": market}).splitlines()
    assert lines[0] == "| | A | B |"
    assert lines[2] == "| bars | 2,688 | 2,688 |"
    assert len({line.count("|") for line in lines[2:]}) == 1
