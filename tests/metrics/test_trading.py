"""Holding times, activity, costs, funding, exposure and margin of runs made by hand."""

import csv
import math
from collections import Counter

import numpy as np
import pytest
from busy import busy
from hypothesis import given
from hypothesis import strategies as st
from made_runs import LONG, SHORT, closed, record, recording, still_open, wallet

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.exposure import exposure, margin_safety
from gridv4_bt.metrics.summary import summarize
from gridv4_bt.metrics.trading import activity, costs, funding_by_side, grouped, holding, whole_trades
from gridv4_bt.record.trades import write_trades


def test_holding_times_are_hours_between_bars():
    trades = [
        closed(opened=1, closes=5),  # one hour
        closed(opened=0, closes=12, side=SHORT),  # three
        closed(opened=0, closes=20, label=TradeLabel.STOP1),  # five
    ]
    found = holding(trades)
    assert found["all"] == pytest.approx({"mean": 3.0, "median": 3.0, "p95": 4.8, "max": 5.0})
    assert found["by_label"]["stop1"]["mean"] == 5.0
    assert found["by_side"]["long"]["mean"] == 3.0
    assert holding([]) == {}


def two_parts(side):
    """A fill of 2 at 100: stage 1 takes 1 at a loss of 4, its exit the rest at a gain of 5; 0.5 of costs each."""
    sign = int(side)
    first = closed(
        id=7, side=side, qty=1.0, exit=100.0 - 4 * sign, fees=0.5, label=TradeLabel.STOP1, closes=3, bullet=(0.0, 0.0)
    )
    last = closed(id=7, side=side, qty=1.0, exit=100.0 + 5 * sign, fees=0.25, funding=0.25, closes=9, bullet=(2.0, 0.0))
    return [first, last]


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_a_fill_closed_in_parts_is_one_trade_and_two_closings(side):
    [trade] = whole_trades(two_parts(side))
    assert (trade.trade_id, trade.side, trade.qty, trade.entry) == (7, side, 2.0, 100.0)
    assert (trade.gross, trade.fees, trade.funding, trade.net) == (1.0, 0.75, 0.25, 0.0)
    assert trade.close_time - trade.open_time == 8 * 900_000
    found = summarize([record([100.0] * 20, trades=two_parts(side))], wallet())
    # As closings they would be one of two with a profit and a factor of 4.5/4.5; the trade brings nothing.
    assert (found["trades"], found["win_rate"], found["profit_factor"]) == (1, 0.0, None)
    assert {name: group["trades"] for name, group in found["by_label"].items()} == {"grid": 1, "stop1": 1}
    whole = {"trades": 1, "win_rate": 0.0, "gross": 1.0, "fees": 0.75, "funding": 0.25, "net": 0.0}
    assert found["by_side"] == {side.name.lower(): whole} and found["by_regime"] == {"NOISE": whole}


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_a_fill_that_is_still_open_in_part_is_no_trade_yet(side):
    begun = two_parts(side)[:1]
    found = summarize([record([100.0] * 20, trades=begun, open_fills=[still_open(id=7, side=side)])], wallet())
    assert (found["trades"], found["win_rate"], found["profit_factor"]) == (0, None, None)
    assert (found["by_side"], found["by_regime"]) == ({}, {})
    assert found["by_label"]["stop1"]["trades"] == 1


def test_closings_from_a_file_are_whole_where_nothing_of_their_fill_is_open():
    parts = [trade._replace(bullet_qty=0.0, bullet_net=0.0) for trade in two_parts(LONG)]
    other, begun = (closed(id=number, closes=5, bullet=(0.0, 0.0)) for number in (8, 9))
    rows = [parts[0], other, begun, parts[1]]
    assert whole_trades(rows) == []
    assert [(trade.trade_id, trade.qty) for trade in whole_trades(rows, still_open={9})] == [(8, 1.0), (7, 2.0)]


def test_the_summary_is_what_the_rows_of_trades_csv_say(tmp_path):
    market = sample_market(days=40)
    config = busy(stop1_atr=1.5, k=0.8, floor_pct=0.003)
    result = run(make_cerebro(make_feeds([SymbolData(SYMBOL, market.candles, market.funding)]), config, 10_000.0))
    write_trades(tmp_path / "trades.csv", result.records)
    still = {fill.id for one in result.records for _, fill in one.open_fills}
    fills = {}
    with (tmp_path / "trades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        fills.setdefault(int(row["trade_id"]), []).append(row)
    nets = {
        (fill, parts[0]["side"].lower(), parts[0]["regime"]): sum(float(part["net"]) for part in parts)
        for fill, parts in fills.items()
        if fill not in still
    }
    found = result.summary
    assert len(rows) > len(nets) + 5  # there are fills closed in parts
    won = sum(net for net in nets.values() if net > 0.0)
    assert found["trades"] == len(nets)
    assert found["win_rate"] == sum(net > 0.0 for net in nets.values()) / len(nets)
    assert found["profit_factor"] == pytest.approx(won / (won - sum(nets.values())))
    for place, group in ((1, "by_side"), (2, "by_regime")):
        assert set(found[group]) == {key[place] for key in nets}
        for name, figures in found[group].items():
            own = [net for key, net in nets.items() if key[place] == name]
            assert figures["trades"] == len(own)
            assert figures["net"] == pytest.approx(sum(own))
    labels = Counter(row["label"] for row in rows)
    assert {name: group["trades"] for name, group in found["by_label"].items()} == labels


def test_activity_counts_a_fill_once_and_the_notional_of_both_ways():
    run = record(
        [100.0] * 96,
        trades=[closed(id=1, qty=0.5), closed(id=1, qty=0.5, exit=102.0, closes=3)],
        open_fills=[still_open(90.0, id=2, qty=2.0, opened=5)],
    )
    found = activity(run.trades, [fill_table(run)], wallet(), days=2.0, mean_equity=1_000.0)
    assert (found["fills"], found["fills_per_day"], found["closings_per_day"]) == (2, 1.0, 1.0)
    assert found["turnover_per_day"] == pytest.approx((100.0 + 180.0 + 50.5 + 51.0) / 2 / 1_000)
    assert found["maker_ratio"] == 0.75


def test_fee_drag_is_fees_over_the_gross_of_the_winners():
    run = record(
        [100.0] * 4,
        trades=[
            closed(exit=104.0, fees=0.5, funding=0.1),
            closed(exit=101.0, fees=0.5, label=TradeLabel.OFFSET),
            closed(exit=97.0, fees=1.0, funding=-0.3, label=TradeLabel.GAP),
        ],
        open_fills=[still_open(fee=0.5, funding=0.2)],
    )
    found = costs([run])
    assert found == pytest.approx(
        {
            "gross_profit": 5.0,
            "grid_profit": 4.0,
            "fees": 2.5,
            "funding": 0.0,
            "fee_drag": 0.5,
            "fees_of_grid_profit": 0.625,
            "funding_of_grid_profit": 0.0,
        }
    )


def test_funding_is_told_apart_by_side_and_by_direction():
    run = record(
        [100.0] * 4,
        trades=[closed(exit=102.0, funding=0.5), closed(funding=-0.25), closed(exit=99.0, side=SHORT, funding=-1.0)],
        open_fills=[still_open(funding=0.75)],
    )
    found = funding_by_side([run])
    assert found["long"] == pytest.approx({"paid": 1.25, "received": 0.25, "net": 1.0, "of_grid_profit": 1 / 3})
    assert found["short"] == pytest.approx({"paid": 0.0, "received": 1.0, "net": -1.0, "of_grid_profit": -1.0})
    assert funding_by_side([record([100.0])]) == {}


TRADES = st.lists(
    st.builds(
        closed,
        exit=st.floats(50.0, 150.0),
        side=st.sampled_from([LONG, SHORT]),
        label=st.sampled_from(TradeLabel),
        regime=st.sampled_from([0, 1, -1, 2, -2]),
        fees=st.floats(0.0, 1.0),
        funding=st.floats(-1.0, 1.0),
    ),
    max_size=30,
)


@given(TRADES, st.sampled_from(["label", "regime", "side"]))
def test_the_nets_of_all_groups_sum_to_the_total(trades, key):
    groups = grouped(trades, whole_trades(trades), key)
    assert math.fsum(group["net"] for group in groups.values()) == pytest.approx(sum(t.net for t in trades), abs=1e-9)
    assert sum(group["trades"] for group in groups.values()) == len(trades)


def test_exposure_is_notional_over_equity():
    run = record(
        [100.0, 110.0, 100.0, 100.0],
        equity=[1_000.0, 1_000.0, 500.0, 1_000.0],
        long_qty=[0.0, 2.0, 2.0, 0.0],
        short_qty=[0.0, 0.0, 1.0, 0.0],
    )
    found = exposure(recording(run))
    # LONG 0, 0.22, 0.4, 0; SHORT 0, 0, 0.2, 0
    assert found["long"] == pytest.approx({"mean": 0.155, "max": 0.4})
    assert found["short"] == pytest.approx({"mean": 0.05, "max": 0.2})
    assert found["net"] == pytest.approx({"mean": 0.105, "min": 0.0, "max": 0.22})
    assert found["gross"] == pytest.approx({"mean": 0.205, "max": 0.6})
    assert found["gross_when_held"] == pytest.approx(0.41)
    assert (found["held"], found["hedged"]) == (0.5, 0.25)


def test_exposure_of_two_symbols_is_added_up():
    one, two = (record([100.0] * 2, long_qty=1.0) for _ in range(2))
    found = exposure(recording(one, two))
    assert found["long"] == pytest.approx({"mean": 0.2, "max": 0.2})


def test_margin_is_looked_at_while_something_is_held():
    far = np.inf
    run = record(
        [100.0] * 4,
        long_qty=[0.0, 1.0, 1.0, 1.0],
        margin_ratio=[0.0, 0.1, 0.2, 0.3],
        liquidation_down=[far, 0.5, 0.4, far],
        liquidation_up=[far, 0.8, far, far],
    )
    found = margin_safety([run])
    assert found["ratio"] == pytest.approx({"max": 0.3, "p99": 0.298, "mean": 0.2})
    assert found["distance"] == pytest.approx({"min": 0.4, "p01": 0.401, "mean": 0.45})
    assert found["priced"] == pytest.approx(2 / 3)
    assert margin_safety([record([100.0] * 4)]) == {}
