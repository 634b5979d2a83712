"""What is found in data before a run."""

import pandas as pd
import pytest
from fake_exchange import HOUR, MINUTE, QUARTER, settled, truth

from feeds.quality import examine
from feeds.series import Series
from feeds.tables import read_candles, read_funding, read_mark

FIRST = 1_704_067_200_000
DAY = 96


@pytest.fixture
def candles():
    return Series("candles", QUARTER).table(truth(FIRST, 2 * DAY))


@pytest.fixture
def funding():
    return Series("funding").table(settled(FIRST, 6))


def found(*arguments, **options):
    return {check.name: (check.count, check.first) for check in examine("BTCUSDT", *arguments, **options).found}


def at(bar):
    return FIRST + bar * QUARTER


def test_nothing_is_found_in_good_data(candles, funding):
    quality = examine("BTCUSDT", candles, funding, candles)
    assert quality.found == [] and len(quality.checks) == 12
    assert (quality.bars, quality.span) == (2 * DAY, (FIRST, at(2 * DAY - 1)))


def test_checked_tables_are_examined_too(candles, funding):
    mark = candles.drop(columns="volume")
    assert found(read_candles(candles), read_funding(funding), read_mark(mark)) == {}


def test_gaps_duplicates_and_order(candles):
    missing = candles.drop(index=[10, 11, 50])
    assert found(missing) == {"gaps": (2, at(12))}
    assert examine("", missing).checks[0].detail == "3 bars missing"
    twice = pd.concat([candles.iloc[:6], candles.iloc[5:]])
    assert found(twice) == {"duplicate times": (1, at(5))}
    assert "times out of order" in found(candles.iloc[::-1])


def test_bars_off_the_grid(candles):
    candles.loc[7, "time"] += MINUTE
    assert found(candles)["bars off the grid"] == (1, at(7) + MINUTE)


def test_prices_that_contradict_each_other(candles):
    candles.loc[7, "high"] = candles.loc[7, "low"] - 1
    candles.loc[9, "low"] = 0.0
    assert found(candles)["prices that contradict each other"] == (2, at(7))


def test_outages_are_counted_once_each(candles):
    for bars in (slice(20, 23), slice(40, 40)):
        candles.loc[bars, ["open", "high", "low", "close"]] = 40_000.0
        candles.loc[bars, "volume"] = 0.0
    quality = examine("", candles)
    [check] = [check for check in quality.checks if check.name.startswith("outages")]
    assert (check.count, check.first, check.detail) == (2, at(20), "5 bars")


def test_jumps_up_and_down(candles):
    candles.loc[30, "high"] = candles.loc[29, "close"] * 1.16
    candles.loc[60, "low"] = candles.loc[59, "close"] / 1.2
    assert found(candles) == {"jumps beyond 15%": (2, at(30))}
    assert found(candles, jump=0.18) == {"jumps beyond 18%": (1, at(60))}


def test_a_settlement_that_is_missing(candles, funding):
    assert found(candles, funding.drop(index=[2])) == {"no funding for more than 8 hours": (1, FIRST + 8 * HOUR)}
    assert found(candles, funding.iloc[:3]) == {"no funding for more than 8 hours": (1, FIRST + 16 * HOUR)}


def test_a_settlement_between_two_opens(candles, funding):
    funding.loc[2, "time"] += 5 * MINUTE
    late = int(FIRST + 16 * HOUR + 5 * MINUTE)
    assert found(candles, funding)["settlements outside of any bar's open"] == (1, late)


def test_an_extreme_rate(candles, funding):
    funding.loc[3, "rate"] = -0.025
    assert found(candles, funding)["funding rates beyond 2 %"] == (1, FIRST + 24 * HOUR)


def test_marks_that_are_missing_or_far(candles):
    mark = candles.drop(columns="volume").drop(index=[4, 5])
    mark.loc[50, "close"] *= 1.06
    assert found(candles, None, mark) == {
        "bars without a mark price": (2, at(4)),
        "mark price more than 5% from the last price": (1, at(50)),
    }


def test_gaps_of_a_coarser_mark(candles):
    mark = candles.iloc[::4].drop(columns="volume")
    assert found(candles, None, mark) == {}
    assert found(candles, None, mark.drop(index=[16])) == {"gaps of the mark price": (1, at(20))}


def test_no_bars(candles):
    assert found(candles.iloc[:0]) == {"no bars": (1, None)}
