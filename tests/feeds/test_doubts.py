"""Data that would give a wrong result without a word."""

import numpy as np
import pandas as pd
import pytest

from feeds.doubts import doubts, funding_doubts
from feeds.tables import FundingTable
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.errors import DataError

START_MS = 1_704_067_200_000
HOUR = 3_600_000


def candles(bars=100, **columns):
    close = 100.0 + np.arange(bars) % 7
    time = START_MS + 900_000 * np.arange(bars)
    frame = pd.DataFrame(
        {"time": time, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}
    )
    return frame.assign(**columns)


def doubted(*frames):
    names = ("BTCUSDT", "ETHUSDT")
    return doubts(make_feeds([SymbolData(name, frame) for name, frame in zip(names, frames, strict=False)]))


def test_sound_data_give_no_doubt():
    assert doubted(candles(), candles()) == []


def test_no_volume_at_all_is_refused():
    with pytest.raises(DataError, match="BTCUSDT: the volume is 0 in all 100 bars in which the price moved"):
        doubted(candles(volume=0.0))


def test_some_bars_without_volume_are_said():
    volume = np.where(np.arange(100) < 3, 0.0, 5.0)
    assert doubted(candles(volume=volume)) == [
        "BTCUSDT: 3 bars have no volume though their price moved: nothing fills in them"
    ]


def test_a_still_market_needs_no_volume():
    still = candles().assign(open=100.0, high=100.0, low=100.0, close=100.0, volume=0.0)
    assert doubted(still) == []


def test_data_that_end_earlier_are_said():
    [text] = doubted(candles(), candles(60))
    assert text.startswith("ETHUSDT: its data end at 2024-01-01T14:45:00Z and others go on to 2024-01-02T00:45:00Z")


def funding(hours, rates):
    times = START_MS + np.asarray(HOUR * np.asarray(hours), np.int64)
    return FundingTable(times, np.broadcast_to(np.asarray(rates, float), times.shape))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (funding(range(0, 240, 8), 0.0001), []),
        (funding(range(0, 240, 8), 0.01), ["the median funding rate is 1.00% a settlement"]),
        (funding(range(0, 240, 8), [-0.02] + [0.0001] * 29), []),  # one wild settlement
        (funding(range(100), np.arange(100) // 8 * 1e-5), ["changes every 8 hours at most"]),
        (funding(range(100), np.arange(100) // 4 * 1e-5), ["changes every 4 hours at most"]),
        (funding(range(100), np.arange(100) * 1e-6), []),  # an exchange that settles hourly
        (funding(range(0, 200, 2), 0.0001), []),
        # Settled in every bar of 15 minutes: 32 rows for one; hourly rates four times; rates that no exchange has.
        (
            funding(np.arange(400) / 4, np.arange(400) // 32 * 1e-5),
            ["changes every 8 hours at most: if the rows repeat one settlement, 32 times too much"],
        ),
        (
            funding(np.arange(400) / 4, np.arange(400) // 4 * 1e-6),
            ["every hour at most: if the rows repeat one settlement, 4 times"],
        ),
        (funding(np.arange(400) / 4, np.arange(400) * 1e-7), ["settled every 15m, and no exchange settles more than"]),
    ],
)
def test_rates_in_percent_and_rates_repeated_are_told(table, words):
    found = funding_doubts("BTCUSDT", table)
    assert len(found) == len(words) and all(word in text for word, text in zip(words, found, strict=True))
