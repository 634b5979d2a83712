"""Funding that covers a part of the span: the rest has the synthetic rate, and is named."""

import numpy as np
import pandas as pd
import pytest

from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.core.funding import premium_proxy, synthetic_rate

START_MS = 1_704_067_200_000  # 2024-01-01
HOUR = 3_600_000


def candles(days=3):
    close = 100.0 + np.arange(96 * days) * 0.01
    time = START_MS + 900_000 * np.arange(len(close))
    return pd.DataFrame({"time": time, "open": close, "high": close, "low": close, "close": close, "volume": 1.0})


def settled(hours):
    """Settlements of 0.05 % at some hours; return the funding that the feed of all candles charges, by hour."""
    known = pd.DataFrame({"time": [START_MS + hour * HOUR for hour in hours], "rate": 0.0005})
    [feed] = make_feeds([SymbolData("BTCUSDT", candles(), known)])
    rates = feed.bars()["funding"]
    return {row // 4: rate for row, rate in enumerate(rates.tolist()) if rate == rate}, feed.warnings


def synthetic(hour):
    close = candles().close
    row = hour * 4  # the closes known before this bar: one period of 8 hours, 32 bars
    return synthetic_rate(premium_proxy(close[row - 1], close[max(row - 33, 0)]))


def test_before_the_first_and_after_the_last_settlement_the_rate_is_synthetic():
    rates, warnings = settled([24, 32, 40])
    assert rates == {8: synthetic(8), 16: synthetic(16), 24: 0.0005, 32: 0.0005, 40: 0.0005, 48: synthetic(48),
                     56: synthetic(56), 64: synthetic(64)}  # fmt: skip
    assert warnings == [
        "BTCUSDT: no funding in 2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z; 2024-01-02T16:00:00Z to "
        "2024-01-04T00:00:00Z: the rate is synthetic there"
    ]


def test_the_share_of_synthetic_settlements_is_known():
    """Due at hours 8, 16, ... 64; given are three of the eight, or all."""
    for hours, share in ((range(24, 48, 8), 5 / 8), (range(0, 72, 8), 0.0)):
        known = pd.DataFrame({"time": [START_MS + hour * HOUR for hour in hours], "rate": 0.0005})
        [feed] = make_feeds([SymbolData("BTCUSDT", candles(), known)])
        assert feed.synthetic_share == share


def test_a_hole_between_settlements_is_filled():
    rates, _ = settled([0, 8, 32, 40, 48, 56, 64])
    assert rates[16] == synthetic(16) and rates[24] == synthetic(24) and rates[32] == 0.0005


@pytest.mark.parametrize("hours", [range(0, 72, 8), range(0, 72, 2), range(4, 72, 8)])
def test_funding_without_a_hole_stays_as_it_is(hours):
    rates, _ = settled(hours)
    assert {hour: rate for hour, rate in rates.items() if hour >= 4} == {hour: 0.0005 for hour in hours if hour >= 4}


def test_what_is_charged_at_a_bar_depends_on_nothing_later():
    """Hours up to 16 are the same whether the next settlement is known or not."""
    late, early = settled([0, 8, 32])[0], settled([0, 8])[0]
    assert [late[16], late[24]] == [early[16], early[24]]
