"""Levels of fills, levels reached, pairs: from the trace, against what the exchange really had."""

import math

import backtrader as bt
import numpy as np
import pytest
from busy import BUSY
from made_runs import SHORT, closed, placed, record, recording, still_open, without

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.ladder import KEEP, PLACE, REPLACE, Blocked
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.ladder_use import blocked, reached
from gridv4_bt.metrics.recorder import RunRecorder
from gridv4_bt.metrics.summary import measure
from strategies.grid_v4 import GridStrategyV4


class Noting(GridStrategyV4):
    """Keeps which entries stood at the end of each bar."""

    def start(self):
        super().start()
        self.stood = {}

    def next(self):
        super().next()
        if len(self.log):
            legs = [self.broker.leg(self.feed, side) for side in PositionSide]
            self.stood[self.now.time] = {leg.sign: leg.entries for leg in legs}


@pytest.fixture(scope="module", params=["pessimistic", "path"])
def noted(request):
    """A run on a market that moves, with every entry that ever stood."""
    market = sample_market(days=25)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=1_000_000.0, intrabar=request.param))
    cerebro.adddata(CandleFeed(dataname=market.candles, funding=market.funding, name=SYMBOL))
    cerebro.addstrategy(
        Noting, **BUSY | {"floor_pct": 0.003, "k": 1.0, "gamma": 1.0, "order_pct": 0.01, "intrabar": request.param}
    )
    cerebro.addanalyzer(RunRecorder, _name="record")
    return cerebro.run()[0]


def test_level_and_spacing_of_every_fill_are_those_of_the_order_that_stood(noted):
    record = noted.analyzers.record.record
    table = fill_table(record)
    assert len(table) > 200
    assert set(table.sign) == {1, -1}
    assert len(set(table.level)) > 6
    times = record.column("time")
    for fill in range(len(table)):
        entries = noted.stood[int(times[table.row[fill] - 1])][int(table.sign[fill])]
        entry = entries[int(table.level[fill])]
        assert entry.price == table.price[fill]
        assert entry.spacing_pct == table.spacing_pct[fill]
        assert entry.qty == pytest.approx(table.qty[fill])


def test_the_nets_of_all_levels_sum_to_the_total(noted):
    run = noted.analyzers.record.recording
    found = measure(run, "levels")
    assert math.fsum(level["net"] for level in found.values()) == pytest.approx(math.fsum(t.net for t in run.trades))
    assert sum(level["fills"] for level in found.values()) == len(run.fills[0])
    assert list(found)[:2] == ["-1", "-2"]


def test_pairs_and_shares_fit_the_trades(noted):
    run = noted.analyzers.record.recording
    found = measure(run, "grid")
    home = [trade for trade in run.trades if trade.label is TradeLabel.GRID]
    assert found["pairs"] == len({trade.trade_id for trade in home})
    assert found["pair_profit"] == pytest.approx(sum(trade.net for trade in home) / found["pairs"])
    assert found["profit_of_fill"] == pytest.approx(sum(trade.net for trade in run.trades) / found["fills"])
    # An order is kept a quarter of a spacing off its line, so lines reached are not fills to the last one.
    assert found["reached"]["placed"] == pytest.approx(found["fills"], rel=0.15)


def test_blocked_shares_and_those_with_an_order_are_all_levels(noted):
    found = measure(noted.analyzers.record.recording, "blocked_share")
    codes = np.asarray(noted.analyzers.record.record.ladder) // 4
    assert found["placed"] == pytest.approx(np.mean(codes == Blocked.PLACED))
    assert math.fsum(found.values()) == pytest.approx(1.0)


def test_an_entry_of_ones_own_is_no_order_of_the_ladder():
    run = record(
        [100.0, 99.0, 99.0, 99.0],
        ladder=placed(4, 2),
        trades=[closed(entry=99.6, id=1, opened=1), closed(entry=100.0 / 1.01, id=2, opened=1)],
    )
    table = fill_table(run)
    assert table.level.tolist() == [0, -1]


def test_the_spacing_is_that_of_the_bar_at_which_the_order_was_placed():
    ladder = np.zeros((5, 2), np.uint8)
    ladder[:, 0] = PLACE, KEEP, REPLACE, KEEP, KEEP
    spacing = np.array([0.01, 0.02, 0.03, 0.04, 0.05])
    run = record([100.0] * 5, ladder=ladder, spacing_pct=spacing, open_fills=[still_open(100.0 / 1.03, opened=4)])
    assert fill_table(run).spacing_pct.tolist() == [0.03]


def test_the_market_comes_to_a_line_between_the_close_before_and_its_extreme():
    # lines: LONG 99.01, 98.03, SHORT 101, 102.01
    ladder = without(without(placed(5, 2), 1, 1, Blocked.REGIME), 2, 2, Blocked.HALT)
    run = record(
        closes=[100.0, 98.5, 100.0, 101.5, 101.5],
        lows=[100.0, 98.5, 98.0, 100.0, 101.5],
        highs=[100.0, 100.0, 100.0, 102.5, 102.0],
        ladder=ladder,
    )
    # bar 1 falls to LONG 1; bar 2 from 98.5 to LONG 2, which had none for the regime; bar 3 rises to SHORT 1, halted,
    # and SHORT 2; bar 4 stays below SHORT 2.
    found = reached(run)
    assert found[:, Blocked.PLACED].tolist() == [1, 0, 0, 1]
    assert found[:, Blocked.REGIME].tolist() == [0, 1, 0, 0]
    assert found[:, Blocked.HALT].tolist() == [0, 0, 1, 0]
    assert found.sum() == 4


def test_a_grid_that_filled_nothing_has_no_profit_of_a_pair():
    found = measure(recording(record([100.0] * 5, ladder=placed(5, 2))), "grid")
    assert (found["fills"], found["pair_profit"], found["pairs_of_fills"]) == (0, None, None)


def test_a_level_is_told_how_long_its_fills_were_held():
    """Two fills of LONG 1, held for four and for two bars of a quarter of an hour: 45 minutes on average."""
    trades = [
        closed(100.0 / 1.01, 101.0, id=1, opened=1, closes=5),
        closed(100.0 / 1.01, 101.0, id=2, opened=6, closes=8),
    ]
    found = measure(recording(record([100.0] * 10, ladder=placed(10, 2), trades=trades)), "levels")
    assert (found["-1"]["trades"], found["-1"]["mean_hours"]) == (2, 0.75)


def test_a_level_without_a_closing_has_no_win_rate():
    run = record([100.0] * 4, ladder=placed(4, 1), open_fills=[still_open(101.0, side=SHORT)])
    found = measure(recording(run), "levels")
    assert found["+1"] == {
        "reached": 0,
        "fills": 1,
        "mean_hours": None,
        "trades": 0,
        "win_rate": None,
        "gross": 0.0,
        "fees": 0.0,
        "funding": 0.0,
        "net": 0.0,
    }
    assert blocked([record([100.0])]) == {}
