"""A symbol whose data end while it is held, with another that goes on."""

import backtrader as bt
import pytest
from scripted import OTHER, START_MS, TEST, Scripted, assert_conserved, candle_feed, flat, new_cerebro

from gridv4_bt.engine.delisting import is_delisted

QUARTER = 900_000
COSTS = {"maker_fee": 0.0, "taker_fee": 0.001, "slippage": 0.01, "funding_hours": 24.0}


class Two(bt.Strategy):
    """Holds LONG 2 and SHORT 1 of TEST, with an exit far away, and LONG 1 of OTHER."""

    def __init__(self):
        self.refusals = []
        self.wallets = {}

    def next(self):
        test, other = self.datas
        if len(test) == 1 and len(other) == 1:
            self.buy(data=test, size=2.0)
            self.sell(data=test, size=1.0, positionSide="SHORT")
            self.buy(data=other, size=1.0)
        if len(test) == len(other) == 3:
            self.far = self.sell(data=test, size=1.0, price=500.0, exectype=bt.Order.Limit, positionSide="LONG")
        if len(other) == 6:
            self.late = self.buy(data=test, size=1.0)
        self.wallets[len(other)] = self.broker.getcash()

    def notify_order(self, order):
        if order.status == order.Rejected:
            self.refusals.append(order.info.reason)


def trade(bars_of_test, bars_of_other):
    feeds = [candle_feed(bars_of_test), candle_feed(bars_of_other, name="OTHER")]
    cerebro = new_cerebro(feeds, {**COSTS, "markets": {"TEST": TEST, "OTHER": OTHER}})
    cerebro.addstrategy(Two)
    [strategy] = cerebro.run()
    return strategy, cerebro.broker


def test_a_symbol_that_ended_is_settled_when_another_goes_on():
    """Last close 110, slippage 1 %: LONG 2 gets 108.9, SHORT 1 pays 111.1; both bought and sold at 101 and 99.

    LONG: 2*(108.9 - 101) = 15.8; SHORT: 99 - 111.1 = -12.1; taker fee 0.1 % of 217.8 and of 111.1.
    """
    strategy, broker = trade([*flat(3), (100.0, 111.0, 99.0, 110.0)], flat(8))
    closed = broker.account.closed
    assert [(str(one.label), one.symbol, one.side.name, one.qty, one.exit) for one in closed] == [
        ("delisted", "TEST", "LONG", 2.0, pytest.approx(108.9)),
        ("delisted", "TEST", "SHORT", 1.0, pytest.approx(111.1)),
    ]
    assert [one.close_time for one in closed] == [START_MS + 3 * QUARTER] * 2
    assert [one.gross for one in closed] == pytest.approx([15.8, -12.1])
    assert strategy.wallets[5] - strategy.wallets[4] == pytest.approx(15.8 - 12.1 - 0.2178 - 0.1111)
    assert (broker.account.maker_executions, broker.account.taker_executions) == (0, 5)  # three entries, two closings
    assert broker.getposition(strategy.datas[0]).size == 0.0 and broker.getposition(strategy.datas[1]).size == 1.0
    assert_conserved(broker.account, broker.getvalue([strategy.datas[1]]), broker.getvalue())


def test_its_orders_are_cancelled_and_new_ones_refused():
    strategy, broker = trade(flat(4), flat(8))
    assert strategy.far.status == bt.Order.Canceled
    assert strategy.refusals == ["-4141 Symbol is closed: its data are over"]


def test_the_end_of_the_run_settles_nothing():
    strategy, broker = trade(flat(4), flat(4))
    assert broker.account.closed == [] and broker.getposition(strategy.datas[0], "LONG").size == 2.0


def test_a_symbol_that_begins_later_is_not_over():
    feeds = [candle_feed(flat(6)), candle_feed(flat(2), name="OTHER", start="2024-01-01T01:00Z")]
    cerebro = new_cerebro(feeds, {**COSTS, "markets": {"TEST": TEST, "OTHER": OTHER}})
    cerebro.addstrategy(Scripted, script={1: lambda s: s.buy(size=1.0)})
    cerebro.run()
    assert cerebro.broker.account.closed == []


@pytest.mark.parametrize(("last", "latest", "over"), [(10, 9, False), (10, 10, False), (10, 11, True)])
def test_a_later_bar_of_another_symbol_ends_it(last, latest, over):
    assert is_delisted(last, latest) is over
