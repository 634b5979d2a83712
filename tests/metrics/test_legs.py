"""What each leg made, in parts that add up, and what it still holds."""

import pytest
from made_runs import SHORT, closed, record, still_open, wallet
from small_run import small_run

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.legs import leg_profits, stuck_legs
from gridv4_bt.metrics.trading import whole_trades


def test_the_parts_of_a_leg_add_up_to_its_total():
    trades = [closed(100.0, 103.0, fees=0.2, funding=0.1), closed(100.0, 101.0, id=2, side=SHORT, fees=0.1)]
    run = record([100.0, 101.0, 98.0], trades=trades, open_fills=[still_open(99.0, id=3, qty=2.0, fee=0.05)])
    legs = leg_profits([run], whole_trades(run.trades), wallet())
    long = legs["TEST LONG"]
    assert (long["realized"], long["fees"], long["funding"], long["unrealized"]) == pytest.approx(
        (3.0, 0.25, 0.1, -2.0)
    )
    assert long["total"] == pytest.approx(3.0 - 0.25 - 0.1 - 2.0)
    assert legs["TEST SHORT"]["total"] == pytest.approx(-1.0 - 0.1)
    assert (long["trades"], long["open_qty"]) == (1, 2.0)


def test_slippage_is_what_market_orders_lost_and_exits_pay_none():
    cut = closed(100.0, 99.0, qty=2.0, label=TradeLabel.GAP)  # sold at 99 = price * (1 - 1 %)
    trades = [cut, closed(id=2)]
    legs = leg_profits([record([100.0] * 3, trades=trades)], whole_trades(trades), wallet(slippage=0.01))
    assert legs["TEST LONG"]["slippage"] == pytest.approx(2.0 * (100.0 - 99.0))


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
def test_the_totals_of_all_legs_are_the_change_of_the_equity(symbols):
    summary = small_run(*symbols).summary
    total = sum(leg["total"] for leg in summary["legs"].values())
    assert total == pytest.approx(summary["end_equity"] - summary["start_equity"], abs=1e-6)


def test_a_leg_left_open_is_named_with_its_age_and_its_worst_loss():
    fills = [still_open(100.0, id=1, opened=1), still_open(98.0, id=2, opened=2)]
    run = record([100.0, 99.0, 95.0, 97.0], open_fills=fills)
    stuck = stuck_legs([run])["TEST LONG"]
    assert (stuck["fills"], stuck["qty"], stuck["entry"]) == (2, 2.0, 99.0)
    assert stuck["unrealized"] == pytest.approx(-3.0 - 1.0)
    assert stuck["worst"] == pytest.approx(-5.0 - 3.0)
    assert stuck["age_days"] == pytest.approx(3 / 96)  # from the open of bar 1 to the close of bar 3
    assert stuck_legs([record([100.0])]) == {}
