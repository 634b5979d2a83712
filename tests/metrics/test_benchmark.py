"""Buying and holding the same symbols, by hand."""

import numpy as np
import pytest
from made_runs import BAR, record, recording

from gridv4_bt.metrics.benchmark import benchmark, hold_curve, mean_exposure


def test_a_wallet_that_holds_pays_one_fee_and_follows_the_price():
    curve = hold_curve(recording(record([100.0, 110.0, 90.0]), taker_fee=0.01))
    assert curve == pytest.approx([990.0, 1_089.0, 891.0])


def test_a_part_of_the_wallet_moves_it_by_that_part():
    curve = hold_curve(recording(record([100.0, 110.0, 90.0])), exposure=0.2)
    assert curve == pytest.approx([1_000.0, 1_020.0, 980.0])


def test_a_basket_is_bought_in_equal_parts_each_at_its_own_first_bar():
    late = record([50.0, 100.0])
    late.column("time")[:] += BAR
    curve = hold_curve(recording(record([100.0, 100.0, 100.0]), late))
    assert curve == pytest.approx([1_000.0, 1_000.0, 1_500.0])


def test_without_prices_there_is_no_benchmark():
    one = record([1.0] * 3)
    one.close = np.empty(0)
    assert hold_curve(recording(one)) is None
    assert benchmark(recording(one)) == {}


def test_the_matched_exposure_is_the_mean_over_all_bars():
    run = recording(record([100.0] * 4, long_qty=[0.0, 5.0, 5.0, 0.0], short_qty=[0.0, 0.0, 5.0, 0.0]))
    assert mean_exposure(run) == pytest.approx((0.5 + 1.0) / 4)
    found = benchmark(run)
    assert found["hold_same_exposure"]["exposure"] == pytest.approx(0.375)
    assert found["hold"]["net_return"] == 0.0
    assert found["symbols"] == {"TEST": 0.0}


def test_a_year_that_doubles_grows_100_percent_a_year():
    bars = 365 * 96
    found = benchmark(recording(record(np.linspace(100.0, 200.0, bars))))
    assert found["hold"]["annual_return"] == pytest.approx(1.0)
