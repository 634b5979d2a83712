"""How far the price went against fills and for them: worked by hand, and fills against cycles."""

import math

import numpy as np
import pytest
from made_runs import BAR, SHORT, START_MS, closed, placed, record, still_open
from small_run import small_run

from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.metrics.cycles import cycle_figures, leg_cycles
from gridv4_bt.metrics.entries import fill_table
from gridv4_bt.metrics.excursions import excursion_figures, excursions

CLOSES = [100.0, 99.0, 98.0, 101.0, 102.0]
HIGHS = [100.5, 100.2, 99.5, 103.0, 104.0]
LOWS = [99.5, 98.0, 96.0, 97.0, 101.0]


def of(*trades, open_fills=(), **columns):
    run = record(CLOSES, HIGHS, LOWS, trades=trades, open_fills=open_fills, **columns)
    return excursions(run, fill_table(run))


@pytest.mark.parametrize(
    ("label", "exit", "adverse", "favourable"),
    [
        # In at 99 in bar 1, out in bar 3. Bar 1 counts with its low 98, bar 2 wholly: 96 to 99.5.
        (TradeLabel.GAP, 97.5, 3.0, 0.5),  # at the open of bar 3: neither its low nor its high
        (TradeLabel.GRID, 102.0, 3.0, 3.0),  # at its limit inside bar 3: not its high of 103
        (TradeLabel.STOP2, 95.0, 4.0, 0.5),  # at the stop's price
    ],
)
def test_a_fill_is_held_from_the_low_of_its_first_bar_to_the_price_of_its_closing(label, exit, adverse, favourable):
    found = of(closed(99.0, exit, opened=1, closes=3, label=label))
    assert (found.adverse[0], found.favourable[0]) == pytest.approx((adverse, favourable))


def test_an_exit_at_its_limit_counts_the_low_of_its_bar_which_may_have_come_first():
    found = of(closed(99.0, 103.0, opened=2, closes=3))
    assert found.adverse[0] == 99.0 - 96.0
    run = record([100.0, 100.0, 100.0], [101.0] * 3, [99.0, 99.5, 98.0], trades=[closed(opened=1, closes=2)])
    assert excursions(run, fill_table(run)).adverse[0] == 2.0


def test_a_short_is_hurt_by_highs():
    found = of(closed(100.0, 101.0, side=SHORT, opened=1, closes=3, label=TradeLabel.OLDEST))
    assert (found.adverse[0], found.favourable[0]) == (1.0, 4.0)


def test_a_fill_still_open_is_held_to_the_end():
    found = of(open_fills=[still_open(99.0, opened=1)])
    assert (found.adverse[0], found.favourable[0]) == (3.0, 5.0)


def test_a_fill_with_a_part_still_open_is_held_to_the_end():
    found = of(closed(99.0, 100.0, opened=1, closes=2, qty=0.5), open_fills=[still_open(99.0, opened=1)])
    assert (found.adverse[0], found.favourable[0]) == (3.0, 5.0)


@pytest.mark.parametrize("bar", [1, -1])  # the second lies before the run's first bar
def test_a_fill_stopped_in_its_own_bar_lost_no_more_than_the_stop(bar):
    found = of(closed(99.0, 98.5, opened=bar, closes=bar, label=TradeLabel.STOP2), closed(id=2))
    assert (found.adverse[0], found.favourable[0]) == (0.5, 0.0)


def test_an_exit_at_its_limit_before_the_first_bar_counts_no_bar():
    found = of(closed(103.0, 104.0, opened=-2, closes=-1), closed(id=2))
    assert (found.adverse[0], found.favourable[0]) == (0.0, 1.0)


def test_excursions_are_told_in_levels_and_as_a_share_of_the_wallet():
    run = record(
        CLOSES, HIGHS, LOWS, ladder=placed(5, 2), trades=[closed(99.0990099, 97.0, opened=1, closes=3, qty=2.0)]
    )
    found = excursions(run, fill_table(run))
    spacing = 0.01 * 99.0990099
    assert found.adverse_levels[0] == pytest.approx((99.0990099 - 96.0) / spacing)
    assert found.adverse_wallet[0] == pytest.approx((99.0990099 - 96.0) * 2.0 / 1_000.0)
    figures = excursion_figures([run], [fill_table(run)])
    assert figures["adverse_levels"]["max"] == pytest.approx(found.adverse_levels[0])
    assert figures["adverse_price"]["max"] == pytest.approx(found.adverse[0] / fill_table(run).price[0])
    assert figures["favourable_price"]["median"] == pytest.approx(found.favourable[0] / fill_table(run).price[0])


def test_a_run_without_prices_has_none():
    run = record(CLOSES, trades=[closed()])
    run.close = np.empty(0)
    assert math.isnan(excursions(run, fill_table(run)).adverse[0])


# --- cycles


def test_a_cycle_lasts_from_flat_to_flat():
    trades = [
        closed(99.0, 100.0, id=1, opened=1, closes=3),
        closed(98.0, 100.0, id=2, opened=2, closes=4, label=TradeLabel.GAP),
        closed(101.0, 102.0, id=3, opened=4, closes=5),  # fills in the bar at whose open the leg became flat
    ]
    run = record([*CLOSES, 103.0], [*HIGHS, 104.0], [*LOWS, 102.0], trades=trades)
    first, second = leg_cycles(run, fill_table(run))
    assert (first.fills, first.first_time, first.last_time) == (2, START_MS + BAR, START_MS + 4 * BAR)
    assert first.net == pytest.approx(1.0 + 2.0)
    assert first.most == pytest.approx(99.0 + 98.0)
    assert first.adverse == pytest.approx(98.5 - 96.0)  # both held in bar 2, at 98.5 on average
    assert first.adverse_wallet == pytest.approx(2.0 * 2.5 / 1_000.0)
    assert second.fills == 1


def test_an_entry_in_the_bar_of_an_exit_belongs_to_the_same_cycle():
    trades = [closed(99.0, 100.0, id=1, opened=1, closes=3), closed(98.0, 100.0, id=2, opened=3, closes=4)]
    run = record(CLOSES, HIGHS, LOWS, trades=trades)
    assert [one.fills for one in leg_cycles(run, fill_table(run))] == [2]


def test_the_sides_have_their_own_cycles_and_an_open_one_has_no_end():
    run = record(CLOSES, HIGHS, LOWS, trades=[closed(side=SHORT)], open_fills=[still_open(id=2)])
    long, short = leg_cycles(run, fill_table(run))
    assert (long.last_time, short.fills) == (None, 1)
    figures = cycle_figures([run], [fill_table(run)])
    assert (figures["cycles"], figures["open"]) == (2, 1)


def test_a_cycle_before_the_first_bar_has_the_prices_of_its_closings():
    trades = [closed(103.0, 104.0, opened=-2, closes=-1), closed(99.0, 97.5, id=2, closes=3, label=TradeLabel.GAP)]
    run = record(CLOSES, HIGHS, LOWS, trades=trades)
    before, inside = leg_cycles(run, fill_table(run))
    assert (before.adverse, before.favourable) == (0.0, 1.0)
    assert (inside.adverse, inside.favourable) == (3.0, 0.5)


def test_a_cycle_is_open_while_a_part_of_a_fill_is_held():
    part = closed(100.0, 101.0, id=1, opened=1, closes=2, qty=0.5)
    run = record(CLOSES, HIGHS, LOWS, trades=[part], open_fills=[still_open(100.0, id=1, qty=1.5)])
    [cycle] = leg_cycles(run, fill_table(run))
    assert (cycle.last_time, cycle.fills, cycle.most) == (None, 1, 200.0)
    assert cycle.adverse_wallet == pytest.approx(2.0 * (100.0 - 96.0) / 1_000.0)  # all of it was held in bar 2
    assert cycle.favourable_wallet == pytest.approx(1.5 * (104.0 - 100.0) / 1_000.0)


def test_a_cycle_of_one_fill_has_the_excursions_of_the_fill():
    [record_] = small_run("BTCUSDT").records
    table = fill_table(record_)
    found = excursions(record_, table)
    single = [one for one in leg_cycles(record_, table) if one.fills == 1]
    assert len(single) > 3
    for one in single:
        [place] = np.flatnonzero((table.time == one.first_time) & (table.sign == int(one.side)))
        assert one.adverse == pytest.approx(found.adverse[place])
        assert one.favourable == pytest.approx(found.favourable[place])
        assert one.adverse_wallet == pytest.approx(found.adverse_wallet[place])


def lot_by_lot(record_, cycle, lots):
    """MAE and MFE in price, worst loss and largest notional of a cycle, by walking its bars over its parts of fills."""
    sign, first = int(cycle.side), min(opened for opened, *_ in lots)
    adverse, favourable, worst, most = [0.0], [0.0], [0.0], [0.0]
    for bar in range(first, min(max(closes for _, closes, *_ in lots) + 1, len(record_.log))):
        against, with_it = (record_.low, record_.high)[::sign]
        held = [lot for lot in lots if lot[0] <= bar and (bar < lot[1] or (bar == lot[1] and lot[2]))]
        if held:
            qty, cost = sum(lot[3] for lot in held), sum(lot[3] * lot[4] for lot in held)
            adverse.append(sign * (cost / qty - against[bar]))
            worst.append(adverse[-1] * qty)
            most.append(cost)
        after = [lot for lot in held if bar < lot[1]]
        if after and bar > first:
            average = sum(lot[3] * lot[4] for lot in after) / sum(lot[3] for lot in after)
            favourable.append(sign * (with_it[bar] - average))
    for *_, qty, entry, exit_ in lots:
        if exit_ is not None:
            adverse.append(sign * (entry - exit_))
            favourable.append(sign * (exit_ - entry))
            worst.append(adverse[-1] * qty)
    return max(adverse), max(favourable), max(worst), max(most)


def test_cycles_of_several_fills_are_those_of_a_walk_over_their_bars():
    [record_] = small_run("BTCUSDT").records
    cycles = leg_cycles(record_, fill_table(record_))
    row = {time: place for place, time in enumerate(record_.column("time").tolist())}
    lots = {(cycle.side, cycle.first_time): [] for cycle in cycles}
    for trade in record_.trades:
        began = max(
            cycle.first_time for cycle in cycles if cycle.side is trade.side and cycle.first_time <= trade.open_time
        )
        at_its_end = trade.label in (TradeLabel.GRID, TradeLabel.MANUAL) or trade.open_time == trade.close_time
        times = row[trade.open_time], row[trade.close_time]
        lots[trade.side, began].append((*times, at_its_end, trade.qty, trade.entry, trade.exit))
    several = [cycle for cycle in cycles if cycle.fills > 1 and cycle.last_time is not None]
    assert len(several) > 3
    for cycle in several:
        adverse, favourable, worst, most = lot_by_lot(record_, cycle, lots[cycle.side, cycle.first_time])
        assert (cycle.adverse, cycle.favourable, cycle.most) == pytest.approx((adverse, favourable, most))
        assert cycle.adverse_wallet == pytest.approx(worst / record_.column("wallet")[row[cycle.first_time]])


def test_cycles_hold_every_fill_once_and_their_net_is_that_of_the_closings():
    result = small_run("BTCUSDT")
    [record_] = result.records
    cycles = leg_cycles(record_, fill_table(record_))
    assert sum(one.fills for one in cycles) == len(fill_table(record_))
    assert sum(one.net for one in cycles) == pytest.approx(sum(trade.net for trade in record_.trades))
    by_deepest = result.summary["cycles"]["by_deepest"]
    assert sum(group["cycles"] for group in by_deepest.values()) == len(cycles)
