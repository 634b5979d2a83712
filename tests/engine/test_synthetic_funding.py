"""Funding rates made from the candles' momentum."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import START_MS

from gridv4_bt.engine.book import Bar
from gridv4_bt.engine.synthetic_funding import SyntheticFunding, synthetic_settlements

BAR_MS = 900_000
HOUR = 3_600_000


def settled(source, closes, start=START_MS):
    """Show bars with these closes to a source; the settlements as (bar number, rate)."""
    before, seen = 0, []
    for number, close in enumerate(closes, start=1):
        bar = Bar(time=start + (number - 1) * BAR_MS, close=close)
        rate = source.rate(before, bar)
        if not math.isnan(rate):
            seen.append((number, rate))
        before = bar.time
    return seen


def test_synthetic_rate_settles_on_the_8_hour_grid():
    # from midnight: 08:00 is bar 33, 16:00 bar 65, midnight bar 97; nothing at the very first bar
    assert [number for number, _ in settled(SyntheticFunding(8.0), [100.0] * 100)] == [33, 65, 97]


def test_grid_is_that_of_the_clock_and_not_of_the_first_bar():
    # from 06:15: 08:00 is bar 8
    seen = settled(SyntheticFunding(8.0), [100.0] * 45, start=START_MS + 6 * HOUR + BAR_MS)
    assert [number for number, _ in seen] == [8, 40]


def test_other_intervals_have_their_own_grid():
    assert [number for number, _ in settled(SyntheticFunding(4.0), [100.0] * 40)] == [17, 33]


def test_flat_market_pays_the_interest_rate():
    assert settled(SyntheticFunding(8.0), [100.0] * 33) == [(33, pytest.approx(0.0001))]


@pytest.mark.parametrize(
    ("last", "rate"),
    [
        (110.0, 0.0015),  # premium 2 % of 10 % = 0.002; interest pulls by 0.0005 at most
        (101.0, 0.0001),  # premium 0.0002 is within reach of the interest of 0.0001
        (90.0, -0.0015),  # premium -0.002 + 0.0005
        (200.0, 0.003),  # premium 0.02 - 0.0005, limited
        (10.0, -0.003),
    ],
)
def test_synthetic_rate_follows_the_return_of_the_last_8_hours(last, rate):
    # settlement at bar 65; the 8 hours before go from the close of bar 32 to that of bar 64
    closes = [50.0] * 31 + [100.0] + [60.0] * 31 + [last, 77.0]
    assert settled(SyntheticFunding(8.0), closes)[1] == (65, pytest.approx(rate))


def test_synthetic_rate_knows_nothing_of_its_own_bar():
    closes = [100.0] * 33
    other = [*closes[:32], 500.0]
    assert settled(SyntheticFunding(8.0), closes) == settled(SyntheticFunding(8.0), other)


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=60), hours=st.sampled_from([0.5, 1, 4, 8, 12]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_all_settlements_at_once_are_those_found_bar_by_bar(gaps, hours, seed):
    times = START_MS + BAR_MS * np.cumsum([7, *gaps])
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.05, len(times))))
    source, before, expected = SyntheticFunding(hours), 0, {}
    for row, (time, close) in enumerate(zip(times.tolist(), closes.tolist(), strict=True)):
        rate = source.rate(before, Bar(time=time, close=close))
        if not math.isnan(rate):
            expected[row] = rate
        before = time
    rows, rates = synthetic_settlements(hours, times, closes)
    assert dict(zip(rows.tolist(), rates.tolist(), strict=True)) == expected


def test_gap_over_a_settlement_settles_at_the_next_bar():
    source = SyntheticFunding(8.0)
    source.rate(0, Bar(time=START_MS + 7 * HOUR, close=100.0))
    assert source.rate(START_MS + 7 * HOUR, Bar(time=START_MS + 9 * HOUR, close=100.0)) == pytest.approx(0.0001)
