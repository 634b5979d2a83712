import numpy as np
import pandas as pd
import pytest

from feeds.candles import read_candles, read_funding
from feeds.synthetic import NOTICE, SYMBOL, sample_market


@pytest.fixture(scope="module")
def year():
    return sample_market()


def test_it_says_that_it_is_invented():
    assert "SYNTHETIC" in NOTICE and "SAMPLE" in SYMBOL


def test_the_files_checks_accept_it(year):
    assert len(read_candles(year.candles)) == 365 * 96
    assert len(read_candles(year.minutes, interval="1m")) == 365 * 1440
    assert len(read_funding(year.funding)) == 365 * 3
    assert str(year.candles.time.iloc[0]) == "2024-01-01 00:00:00+00:00"


def test_a_seed_names_a_market():
    first, again, other = sample_market(7, 5), sample_market(7, 5), sample_market(8, 5)
    pd.testing.assert_frame_equal(first.minutes, again.minutes)
    pd.testing.assert_frame_equal(first.funding, again.funding)
    assert not first.candles.close.equals(other.candles.close)


def test_the_default_market_stays_what_it_is(year):
    """Figures in the documentation rest on it: a change of the generator is a new sample market."""
    assert (year.candles.close * 10).round().astype(int).sum() == 12_235_371_894
    assert (year.minutes.volume * 1000).round().astype(int).sum() == 53_879_455_773
    assert year.funding.rate.sum() == pytest.approx(0.08752412, abs=1e-9)


def test_length_and_start_are_parameters():
    market = sample_market(days=2, start="2021-06-05")
    assert len(market.candles) == 192 and len(market.minutes) == 2880 and len(market.funding) == 6
    assert market.candles.time.iloc[-1] == pd.Timestamp("2021-06-06 23:45", tz="UTC")


def test_quarters_are_made_of_their_minutes(year):
    minutes = year.minutes.groupby(year.minutes.index // 15)
    expected = minutes.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    for column in ("open", "high", "low", "close"):
        assert (year.candles[column].to_numpy() == expected[column].to_numpy()).all()
    np.testing.assert_allclose(year.candles.volume, expected.volume, rtol=1e-12)


def test_prices_lie_on_the_tick_and_begin_near_40000(year):
    for column in ("open", "high", "low", "close"):
        ticks = year.minutes[column].to_numpy() * 10
        assert np.abs(ticks - np.rint(ticks)).max() < 1e-6
    assert year.candles.open.iloc[0] == 40_000


def test_it_looks_like_a_market(year):
    close = year.candles.close
    returns = np.log(close).diff()
    assert 0.45 < returns.std() * np.sqrt(35_040) < 0.70
    assert 0.5 < close.iloc[-1] / 40_000 < 2
    assert returns.kurt() > 5  # fat tails
    assert returns.abs().autocorr(1) > 0.2 and returns.abs().autocorr(96) > 0.05  # clusters, and the time of day
    assert abs(returns.autocorr(1)) < 0.05  # direction cannot be read off the last bar
    assert np.corrcoef(returns.abs()[1:], year.candles.volume[1:])[0, 1] > 0.3
    by_hour = returns.abs().groupby(year.candles.time.dt.hour).mean()
    assert by_hour[14] > 1.3 * by_hour[4]


def test_it_crashes_a_few_times_a_year(year):
    six_hours = np.log(year.candles.close).diff(24)
    crashes = 0
    quiet_until = 0
    for bar in np.flatnonzero(six_hours < -0.08):
        crashes += bar >= quiet_until
        quiet_until = bar + 192
    assert 2 <= crashes <= 4
    assert six_hours.min() > -0.25


def test_funding_follows_the_exchange_formula_and_momentum(year):
    rate = year.funding.rate
    assert rate.abs().max() <= 0.003
    assert 0.3 < (rate == 0.0001).mean() < 0.9
    by_day = np.log(year.candles.close).diff(96).iloc[::32].reset_index(drop=True)
    assert rate.corr(by_day) > 0.2
