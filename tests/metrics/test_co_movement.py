"""How alike the symbols' days were, and how many bets the fills were."""

import numpy as np
import pytest
from made_runs import DAY, SHORT, closed, record, recording, still_open
from small_run import small_run

from gridv4_bt.metrics.co_movement import co_movement, daily_profits

A_DAY = 96  #: bars


def days(*closes: float, **more):
    """A symbol that closes each day at a price."""
    return record(np.repeat(closes, A_DAY), **more)


def of(*records):
    run = recording(*records)
    return co_movement(run.records, run.fills)


def test_ten_copies_of_one_series_are_one_bet():
    trades = [closed(100.0, 103.0, opened=1, closes=4), closed(103.0, 101.0, id=2, opened=A_DAY, closes=A_DAY + 4)]
    found = of(*(days(100.0, 103.0, 101.0, 104.0, trades=trades) for _ in range(10)))
    assert found["bets"] == 2 - 1  # the second fill comes a bar less than a day after the first
    for what in ("prices", "profits"):
        assert found[what] == pytest.approx({"correlation": 1.0, "effective": 1.0})


def test_symbols_that_do_not_move_together_count_each():
    # log changes (1, 1, -1, -1) and (1, -1, 1, -1): correlation 0
    one, other = ([100.0 * np.exp(0.01 * step) for step in np.cumsum((0, *moves))] for moves in
                  ((1, 1, -1, -1), (1, -1, 1, -1)))  # fmt: skip
    assert of(days(*one), days(*other))["prices"] == pytest.approx({"correlation": 0.0, "effective": 2.0}, abs=1e-9)


def test_half_correlated_symbols_are_four_thirds():
    # (1, 1, 1, -1, -1, -1) and (1, 1, -1, 1, -1, -1)... by hand: sum of products 2 of 6
    one, other = ([100.0 * np.exp(0.01 * step) for step in np.cumsum((0, *moves))] for moves in
                  ((1, 1, 1, -1, -1, -1), (1, 1, -1, 1, -1, -1)))  # fmt: skip
    assert of(days(*one), days(*other))["prices"] == pytest.approx({"correlation": 1 / 3, "effective": 1.5})


def test_symbols_that_hedge_each_other_are_as_many_as_they_are():
    up, down = days(100.0, 101.0, 100.0), days(100.0, 100.0 / 1.01, 100.0)
    assert of(up, down)["prices"] == pytest.approx({"correlation": -1.0, "effective": 2.0})


def test_only_days_that_both_have_are_compared():
    long = days(100.0, 105.0, 101.0, 104.0, 102.0)
    late = days(101.0, 104.0, 102.0)
    late.log[:, 0] += 2 * DAY  # the same prices from the third day on
    assert of(long, late)["prices"] == pytest.approx({"correlation": 1.0, "effective": 1.0})


def test_a_profit_comes_on_the_days_the_price_moves_and_not_when_it_is_taken():
    # LONG 1 at 100 over two nights: closes 102, 101, taken at 101 on the third day; SHORT of the other the same way
    trade = closed(100.0, 101.0, opened=1, closes=2 * A_DAY + 1)
    other = closed(100.0, 99.0, side=SHORT, opened=1, closes=2 * A_DAY + 1)
    found = of(days(102.0, 101.0, 101.0, trades=[trade]), days(98.0, 99.0, 99.0, trades=[other]))
    assert found["profits"]["correlation"] == pytest.approx(1.0)


def test_what_is_still_open_counts():
    held = days(102.0, 99.0, 104.0, open_fills=[still_open(100.0)])
    taken = days(102.0, 99.0, 104.0, trades=[closed(100.0, 104.0, opened=1, closes=2 * A_DAY + 5)])
    assert of(held, taken)["profits"]["correlation"] == pytest.approx(1.0)


def test_nothing_is_said_of_one_symbol_or_of_one_that_never_traded():
    trade = closed(100.0, 103.0, opened=1, closes=4)
    assert of(days(100.0, 101.0, 102.5)) == {"bets": 0, "prices": {}, "profits": {}}
    found = of(days(100.0, 101.0, 100.0, trades=[trade]), days(100.0, 101.0, 100.0))
    assert found["profits"] == {} and found["prices"]["effective"] == pytest.approx(1.0)


def test_the_daily_profits_of_a_run_add_up_to_the_change_of_its_equity():
    run = small_run("BTCUSDT", "ETHUSDT")
    total = sum(float(daily_profits(one)[1].sum()) for one in run.records)
    owed = sum(fill.fee + fill.funding for one in run.records for _, fill in one.open_fills)
    change = run.summary["end_equity"] - run.summary["start_equity"]
    assert total - owed == pytest.approx(change, abs=1e-6) and run.summary["trades"] > 10
