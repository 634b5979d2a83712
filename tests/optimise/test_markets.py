"""The markets on which trials run: each window is traded from its first day."""

from datetime import date

import numpy as np
import pytest
from busy import busy
from fake_market import space

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData
from gridv4_bt.core.time import DAY_MS, time_ms
from gridv4_bt.optimise.markets import make_market
from gridv4_bt.optimise.walkforward import make_markets

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def sample() -> SymbolData:
    market = sample_market(days=25)
    return SymbolData(SYMBOL, market.candles, market.funding)


@pytest.mark.parametrize("days", [1, 8])
def test_a_window_is_traded_from_its_first_day_to_its_last_by_both_engines(sample, days):
    first, last = date(2024, 1, 11), date(2024, 1, 10 + days)
    backtrader, swept = (
        make_market(sample, first, last, 10_000.0, engine).evaluate(busy()) for engine in ("backtrader", "sweep")
    )
    # Without the bars before it a single day has no bar to trade: the volatility needs 96.
    day = time_ms(first) // DAY_MS
    assert backtrader.days.tolist() == swept.days.tolist() == list(range(day, day + days))
    np.testing.assert_array_equal(backtrader.returns, swept.returns)
    assert backtrader.figures == swept.figures


def test_all_trials_of_a_search_take_the_warm_up_of_the_longest(sample):
    searched = space(fixed={"sigma_bars": 192}, parameters={"warm_up": {"low": 0, "high": 20_000}})
    for market in make_markets(searched, [sample], searched.windows, "backtrader").values():
        assert market.warm_up == 20_001
    for market in make_markets(space(), [sample], space().windows, "backtrader").values():
        assert market.warm_up == 10_000
