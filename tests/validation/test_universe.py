"""What markets were like before a date, and what a wallet can trade of them."""

import numpy as np
import pandas as pd
import pytest
from scripted import TEST

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.validation.universe import least_notional, market_figures, wallet_fit

BEGIN = int(pd.Timestamp("2024-01-01", tz="UTC").timestamp() * 1000)


def candles(days=4):
    """Days of which each has a range of 2 % and one bar that falls 4 % from the close before; volume 10 a bar."""
    count = days * DAY_MS // BAR_MS
    close = np.full(count, 100.0)
    high, low = close.copy(), close.copy()
    high[::96], low[48::96] = 101.0, 96.0
    time = BEGIN + BAR_MS * np.arange(count)
    return pd.DataFrame({"time": time, "open": close, "high": high, "low": low, "close": close, "volume": 10.0})


def test_figures_by_hand():
    funding = pd.DataFrame({"time": BEGIN + 8 * 3_600_000 * np.arange(1, 12), "rate": 0.0001})
    feed = CandleFeed(dataname=candles(), funding=funding, name="TEST")
    found = market_figures(feed, TEST, GridConfig(floor_pct=0.004), BEGIN + 4 * DAY_MS, days=2)
    assert (found.symbol, found.days) == ("TEST", 4)
    assert found.range == pytest.approx(101.0 / 96.0 - 1.0)
    assert found.tail_moves == pytest.approx(2 / 2 * 365)  # a day has one
    assert found.spacing_ticks == pytest.approx(0.4 / TEST.tick)
    assert found.volume == pytest.approx(96 * 10 * 100.0)
    assert found.funding == pytest.approx(3 * 0.0001 * 365)


@pytest.mark.parametrize("cut", [1, 50, 96, 200])
def test_what_comes_after_the_date_changes_nothing(cut):
    table = candles()
    at = BEGIN + 4 * DAY_MS - cut * BAR_MS
    other = table.copy()
    other.loc[len(table) - cut :, ["open", "high", "low", "close"]] *= 3.0
    feeds = [CandleFeed(dataname=one, name="TEST") for one in (table, other, table.iloc[: len(table) - cut])]
    found = [market_figures(feed, TEST, GridConfig(), at, days=1) for feed in feeds]
    assert str(found[0]) == str(found[1]) == str(found[2])


def test_less_than_a_day_says_nothing():
    feed = CandleFeed(dataname=candles(), name="TEST")
    with pytest.raises(ValueError, match="less than a day"):
        market_figures(feed, TEST, GridConfig(), BEGIN + DAY_MS - BAR_MS, days=30)


def test_the_smallest_order_is_what_both_filters_take():
    # 5 USDT at 300 are 0.0167, so 0.017 of a step of 0.001
    market = TEST.__class__(**{**vars(TEST), "step": 0.001, "min_qty": 0.001, "min_notional": 5.0})
    assert least_notional(market, 300.0) == pytest.approx(0.017 * 300.0)
    market = TEST.__class__(**{**vars(TEST), "step": 0.001, "min_qty": 0.05, "min_notional": 5.0})
    assert least_notional(market, 300.0) == pytest.approx(0.05 * 300.0)


@pytest.mark.parametrize(("wallet", "verdict"), [(99.0, "none"), (101.0, "some"), (1_200.0, "all")])
def test_a_wallet_trades_none_some_or_all_of_the_orders(wallet, verdict):
    """A level of 5 % of 100 is 5; of it 0.25 (Kelly), 0.5 (cooldown), 0.75 (funding) leave 0.47, so 1,067 is needed."""
    market = TEST.__class__(**{**vars(TEST), "step": 0.0001, "min_qty": 0.0001, "min_notional": 5.0})
    fit = wallet_fit("TEST", market, 100.0, wallet, GridConfig())
    assert fit.verdict == verdict
    assert fit.needed == pytest.approx(5.0 / (0.05 * 0.25 * 0.5 * 0.75))
