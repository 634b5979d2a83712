import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feeds.candles import read_candles, read_funding
from feeds.synthetic import NOTICE, SYMBOL, sample_market

FOLDER = str(Path(__file__).parent)
#: The processor's extensions that numpy makes use of.
EXTENSIONS = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])


def digest(market):
    """Return a hash of every price, volume and rate of a market."""
    found = hashlib.sha256()
    for frame in (market.candles, market.minutes, market.funding):
        for column in frame.columns.drop("time"):
            found.update(frame[column].to_numpy().tobytes())
    return found.hexdigest()


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
    assert (year.candles.close * 10).round().astype(int).sum() == 13_001_460_345
    assert (year.minutes.volume * 1000).round().astype(int).sum() == 114_491_078_098
    assert year.funding.rate.sum() == pytest.approx(0.07145516, abs=1e-12)


@pytest.mark.skipif(not EXTENSIONS, reason="numpy has one way only to compute logarithms on this processor")
def test_the_bits_do_not_depend_on_the_processor(year):
    """Without the processor's extensions logarithms have other last bits, as in another build of numpy."""
    script = "import test_synthetic as test; print(test.digest(test.sample_market()))"
    changes = {"NPY_DISABLE_CPU_FEATURES": " ".join(EXTENSIONS), "PYTHONPATH": os.pathsep.join((FOLDER, *sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | changes, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(year)


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


def test_it_moves_as_far_as_a_market_does_in_a_year(year):
    close = year.candles.close
    assert 0.25 < close.iloc[-1] / 40_000 < 4  # a year's log return deviates by about 0.7
    assert np.log(year.minutes.high / year.minutes.low).max() < 0.25


def test_the_low_of_the_worst_fall_is_not_its_close(year):
    candles = year.candles
    fall = (candles.low / candles.close.shift()).idxmin()
    assert candles.low[fall] / candles.close[fall - 1] < 0.95
    assert candles.close[fall] > candles.low[fall]


def test_funding_follows_the_exchange_formula_and_momentum(year):
    rate = year.funding.rate
    assert rate.abs().max() <= 0.003
    assert 0.25 < (rate == 0.0001).mean() < 0.55
    by_day = np.log(year.candles.close).diff(288).iloc[::32].reset_index(drop=True)
    assert rate.corr(by_day) > 0.1
    assert (year.funding.time.dt.hour % 8 == 0).all()
