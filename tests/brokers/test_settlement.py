"""Funding settlements charged by the broker: recorded with the data, or synthetic."""

import math

import pandas as pd
import pytest
from scripted import FREE, START, candle_feed, candle_frame, flat

from feeds.candles import CandleFeed

BAR_MS = 900_000
HOUR = 3_600_000


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
