"""What came after: adverse selection, and what fills that were cut would have become."""

import numpy as np
import pytest
from made_runs import LONG, SHORT, closed, placed, record, still_open, wallet

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.hindsight import HOLD_BARS, adverse_selection, pruning

# Levels at 100*1.01^-1 = 99.0099 and 100*1.01 = 101; the first bar places the orders, the second fills one.
ENTRY = 100.0 / 1.01
BARS = 1 + 1 + 1 + HOLD_BARS + 20


def prune(closes, trade, highs=None, lows=None, settled=(), **costs):
    run = record(closes, highs, lows, ladder=placed(len(closes), 1), trades=[trade], settled=settled)
    return pruning([run], [fill_table(run)], wallet(**costs))


def test_a_move_against_the_fill_is_positive():
    closes = [100.0, 99.0, 98.0, 97.0, 97.0, 96.0] + [99.5] * 20
    run = record(
        closes,
        trades=[closed(entry=100.0, id=1, opened=1, closes=3), closed(entry=100.0, id=1, opened=1, closes=5)],
        open_fills=[still_open(100.0, id=2, side=SHORT, opened=3), still_open(100.0, id=3, opened=24)],
    )
    found = adverse_selection([run], [fill_table(run)])
    # LONG at bar 1: closes of bars 2, 5 and 17; the one at bar 24 has one bar more. SHORT at bar 3.
    assert found["long"]["fills"] == 2
    assert found["long"]["after_1"] == pytest.approx((0.02 + 0.005) / 2)
    assert found["long"]["after_4"] == pytest.approx(0.04)
    assert found["long"]["after_16"] == pytest.approx(0.005)
    assert found["short"]["after_1"] == pytest.approx(-0.03)
    assert found["all"]["after_1"] == pytest.approx((0.02 + 0.005 - 0.03) / 3)


def test_a_side_without_fills_is_absent():
    run = record([100.0] * 3, trades=[closed()])
    assert set(adverse_selection([run], [fill_table(run)])) == {"long", "all"}


def test_a_cut_fill_that_comes_back_would_have_closed_at_its_own_exit():
    closes = [100.0, 98.0, 97.0] + [97.0] * (BARS - 3)
    highs = np.array(closes)
    highs[10] = 100.0  # its exit is one spacing above 99.0099: 100
    trade = closed(ENTRY, 97.0, label=TradeLabel.DEVIANCE, opened=1, closes=3, fees=0.5, qty=2.0)
    found = prune(closes, trade, highs=highs, maker_fee=0.001, taker_fee=0.01)["deviance"]
    net = 2.0 * (97.0 - ENTRY) - 0.5
    # held: the exit at 100, a maker fee there in place of the taker fee at 97
    held = 2.0 * (100.0 - ENTRY) - (0.5 - 2.0 * 97.0 * 0.01) - 2.0 * 100.0 * 0.001
    assert found == pytest.approx({"trades": 1, "net": net, "held": held, "saved": net - held, "came_back": 1.0})


def test_a_cut_fill_that_does_not_come_back_is_sold_at_market_96_bars_later():
    closes = [100.0, 98.0, 97.0] + [97.0] * HOLD_BARS + [200.0] * 20
    closes[2 + HOLD_BARS] = 90.0  # cut at the open of bar 3, so bar 98 is the 96th
    trade = closed(ENTRY, 97.0, label=TradeLabel.OLDEST, opened=1, closes=3)
    found = prune(closes, trade, taker_fee=0.01, slippage=0.001)["oldest"]
    price = 90.0 * 0.999
    assert found["saved"] == pytest.approx((97.0 - price) - 0.01 * (97.0 - price))
    assert found["came_back"] == 0.0


def test_a_short_is_the_mirror():
    closes = [100.0, 102.0, 103.0] + [103.0] * (BARS - 3)
    lows = np.array(closes)
    lows[5] = 99.99  # entry 101, exit 101*0.99 = 99.99
    trade = closed(101.0, 103.0, side=SHORT, label=TradeLabel.GAP, opened=1, closes=3)
    found = prune(closes, trade, lows=lows)["gap"]
    assert found["net"] == pytest.approx(-2.0)
    assert found["held"] == pytest.approx(1.01)


def test_holding_on_pays_the_funding_of_the_day():
    settled = np.zeros(BARS)
    settled[[3, 4, 2 + HOLD_BARS, 3 + HOLD_BARS]] = [8.0, 0.25, 0.5, 8.0]  # the first was paid, the last is too late
    trade = closed(ENTRY, 97.0, label=TradeLabel.FUNDING, opened=1, closes=3, qty=2.0)
    found = prune([100.0, 98.0] + [97.0] * (BARS - 2), trade, settled=settled)["funding"]
    assert found["saved"] == pytest.approx(2.0 * 0.75)


def test_a_stop_inside_a_bar_leaves_that_bars_high_alone():
    closes = [100.0, 98.0, 98.0, 97.0] + [97.0] * (BARS - 4)
    highs = np.array(closes)
    highs[3] = 101.0
    stopped = closed(ENTRY, 97.0, label=TradeLabel.STOP2, opened=1, closes=3)
    cut = stopped._replace(label=TradeLabel.STOP1)
    assert prune(closes, stopped, highs=highs)["stop2"]["came_back"] == 0.0
    assert prune(closes, cut, highs=highs)["stop1"]["came_back"] == 1.0


def test_at_the_end_of_the_data_the_last_close_counts():
    trade = closed(ENTRY, 97.0, label=TradeLabel.DEVIANCE, opened=1, closes=3)
    assert prune([100.0, 98.0, 97.0, 97.0, 95.0], trade)["deviance"]["saved"] == pytest.approx(2.0)


@pytest.mark.parametrize("label", [TradeLabel.GRID, TradeLabel.MANUAL, TradeLabel.LIQUIDATION])
def test_what_no_method_cut_is_left_out(label):
    assert prune([100.0, 98.0, 97.0, 97.0], closed(ENTRY, 97.0, label=label, closes=3)) == {}


def test_a_part_closed_fill_is_one_entry():
    run = record([100.0] * 4, trades=[closed(id=7, qty=0.25), closed(id=7, qty=0.5)], open_fills=[still_open(id=7)])
    table = fill_table(run)
    assert (len(table), table.qty.tolist(), table.sign.tolist()) == (1, [1.75], [int(LONG)])
