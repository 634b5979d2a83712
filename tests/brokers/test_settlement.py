"""Funding: recorded with the data, or made from the candles' momentum."""

import math

import pandas as pd
import pytest
from scripted import FREE, START, START_MS, candle_feed, candle_frame, flat

from brokers.settlement import SyntheticFunding
from feeds.candles import CandleFeed
from gridv4_bt.engine.matching import Bar

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


# --- synthetic


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


def test_gap_over_a_settlement_settles_at_the_next_bar():
    source = SyntheticFunding(8.0)
    source.rate(0, Bar(time=START_MS + 7 * HOUR, close=100.0))
    assert source.rate(START_MS + 7 * HOUR, Bar(time=START_MS + 9 * HOUR, close=100.0)) == pytest.approx(0.0001)


# --- charged by the broker


def buy_long_sell_short(strategy):
    strategy.buy(size=2.0)
    strategy.sell(size=1.0, positionSide="SHORT")


def test_recorded_rate_is_charged_to_each_leg_at_the_open(run):
    # both legs open at bar 2; 0.1 % at bar 4, which opens at 110: long pays 0.22, short receives 0.11
    bars = [*flat(3), (110.0, 111.0, 109.0, 110.0)]
    done = run({1: buy_long_sell_short}, bars, funding=[(4, 0.001)], broker=FREE)
    assert done.account.funding == pytest.approx(0.11)
    assert done.account.wallet == pytest.approx(9_999.89)
    long, short = (done.broker.leg(done.strategy.data, side).tracker for side in (1, -1))
    assert long.fundings == pytest.approx([0.22])
    assert short.fundings == pytest.approx([-0.11])


def test_settlement_comes_before_the_market_orders_of_its_bar(run):
    done = run({1: lambda s: s.buy(size=1.0)}, flat(4), funding=[(2, 0.001)], broker=FREE)
    assert done.account.funding == 0.0
    closing = {1: lambda s: s.buy(size=1.0), 3: lambda s: s.sell(size=1.0)}
    done = run(closing, flat(5), funding=[(4, 0.001)], broker=FREE)
    assert done.account.funding == pytest.approx(0.1)
    assert done.account.closed[0].funding == pytest.approx(0.1)


def test_recorded_times_need_no_8_hour_grid(run):
    # SOL in November 2022: every two hours, so bars 9, 17 and 25
    funding = [(9, -0.02), (17, -0.02), (25, -0.015)]
    done = run({1: lambda s: s.buy(size=1.0)}, flat(30), funding=funding, broker=FREE)
    assert done.account.funding == pytest.approx(-5.5)
    assert done.broker.state(done.strategy.data).settlements == 3
    assert done.broker.state(done.strategy.data).funding_rate == -0.015


def test_settlement_between_two_bars_belongs_to_the_later_one(run):
    funding = pd.DataFrame({"time": [START + pd.Timedelta(minutes=37)], "rate": [0.001]})
    feed = CandleFeed(dataname=candle_frame(flat(5)), name="TEST", funding=funding)
    rates = {}
    script = {n: lambda s: rates.update({len(s.data): s.broker.state(s.data).settlements}) for n in range(1, 6)}
    run(script, [feed], broker=FREE)
    # 00:37 lies in (00:30, 00:45], the fourth bar
    assert rates == {1: 0, 2: 0, 3: 0, 4: 1, 5: 1}


def test_rate_is_unknown_before_the_first_settlement(run):
    seen = []
    script = {n: lambda s: seen.append(s.broker.state(s.data).funding_rate) for n in (1, 2, 3)}
    run(script, flat(3), funding=[(3, 0.0)], broker=FREE)
    assert math.isnan(seen[0]) and math.isnan(seen[1])
    assert seen[2] == 0.0


def test_settlement_uses_the_mark_price_where_there_is_one(run):
    time = pd.date_range(START, periods=6, freq="15min", unit="ms")
    mark = pd.DataFrame({"time": time, "open": 105.0, "high": 106.0, "low": 104.0, "close": 105.0})
    done = run({1: lambda s: s.buy(size=2.0)}, [candle_feed(flat(6), funding=[(4, 0.001)], mark=mark)], broker=FREE)
    # 2 * 105 * 0.1 %
    assert done.account.funding == pytest.approx(0.21)


def test_settlement_where_the_mark_is_missing_uses_the_open(run):
    time = pd.date_range(START, periods=2, freq="60min", unit="ms")
    mark = pd.DataFrame({"time": time, "open": 105.0, "high": 106.0, "low": 104.0, "close": 105.0})
    done = run({1: lambda s: s.buy(size=2.0)}, [candle_feed(flat(6), funding=[(4, 0.001)], mark=mark)], broker=FREE)
    assert done.account.funding == pytest.approx(0.2)


def test_settlement_happens_in_a_bar_without_volume(run):
    bars = [*flat(3), (100.0, 100.0, 100.0, 100.0, 0.0), *flat(1)]
    done = run({1: lambda s: s.buy(size=1.0)}, bars, funding=[(4, 0.001)], broker=FREE)
    assert done.account.funding == pytest.approx(0.1)


def test_data_without_funding_pays_the_synthetic_rate_every_8_hours(run):
    done = run({1: lambda s: s.buy(size=1.0)}, flat(70), broker=FREE | {"funding_hours": 8.0})
    # bars 33 and 65, 0.01 % of 100 each
    assert done.account.funding == pytest.approx(0.02)
    assert done.broker.state(done.strategy.data).settlements == 2
