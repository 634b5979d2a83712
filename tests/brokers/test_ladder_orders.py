"""The grid's own orders as ``notify_order`` sees them; maker 0.02 %, taker 0.05 %, slippage 0.02 % unless said."""

import math
from collections import Counter

import backtrader as bt
import pytest
from busy import BUSY
from busy_market import busy_market
from scripted import FREE, Scripted, flat, rest_entries

from brokers.hedge import HedgeBroker
from brokers.ladder_orders import hears_orders
from feeds.candles import CandleFeed
from gridv4_bt.engine.book import Entry
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.types import PositionSide
from strategies.grid_v4 import GridStrategyV4

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
SUBMITTED, ACCEPTED, PARTIAL, COMPLETED, CANCELED = (
    bt.Order.Submitted, bt.Order.Accepted, bt.Order.Partial, bt.Order.Completed, bt.Order.Canceled,
)  # fmt: skip


def ladder(side, entries, cancel=()):
    def place(strategy):
        strategy.broker.confirm(strategy.data, strategy, 0)
        rest_entries(strategy.broker, strategy.data, side, entries, cancel)

    return place


class Listening(Scripted):
    def __init__(self):
        super().__init__()
        self.told = []  # (bar, order, status, created size and price, executed size and price, commission)

    def notify_order(self, order):
        created, executed = order.created, order.executed
        row = (len(self.data), order.ref, order.getstatusname(), created.size, created.price, executed.size)
        self.told.append((*row, executed.price, executed.comm))


@pytest.fixture
def told(run):
    """Run a script and return what was told of its orders, each numbered from 1 as it was first heard of."""

    def told_of(script, bars, **broker):
        class Scripting(Listening):
            params = (("script", script),)

        done = run(Scripting, bars, broker=broker)
        numbers = {}
        return [(bar, numbers.setdefault(ref, len(numbers) + 1), *rest) for bar, ref, *rest in done.strategy.told]

    return told_of


def test_entry_is_told_from_its_placing_to_its_fill(told):
    # placed at bar 1, filled at 99 in bar 2: fee 99 * 2 * 0.02 %
    assert told({1: ladder(LONG, {-1: Entry(99.0, 2.0, 0.01)})}, flat(3)) == [
        (2, 1, "Submitted", 2.0, 99.0, 0, 0.0, 0.0),
        (2, 1, "Accepted", 2.0, 99.0, 0, 0.0, 0.0),
        (2, 1, "Completed", 2.0, 99.0, 2.0, 99.0, pytest.approx(0.0396)),
    ]


def test_replaced_entry_is_cancelled_and_a_kept_one_is_not_mentioned(told):
    script = {
        1: ladder(SHORT, {1: Entry(105.0, 1.0, 0.01), 2: Entry(106.0, 1.0, 0.01)}),
        3: ladder(SHORT, {1: Entry(104.0, 1.0, 0.01)}),
        5: ladder(SHORT, {}, cancel=[1]),
    }
    assert [row[:5] for row in told(script, flat(7))] == [
        (2, 1, "Submitted", -1.0, 105.0),
        (2, 1, "Accepted", -1.0, 105.0),
        (2, 2, "Submitted", -1.0, 106.0),
        (2, 2, "Accepted", -1.0, 106.0),
        (4, 1, "Canceled", -1.0, 105.0),
        (4, 3, "Submitted", -1.0, 104.0),
        (4, 3, "Accepted", -1.0, 104.0),
        (6, 3, "Canceled", -1.0, 104.0),
    ]


def test_stop_of_a_leg_is_one_order_with_an_execution_for_each_fill(told):
    # 1 at 99.5 and 2 at 99; the stop at 95 closes both
    script = {
        1: ladder(LONG, {-1: Entry(99.5, 1.0, 0.01), -2: Entry(99.0, 2.0, 0.01)}),
        2: lambda s: s.broker.set_stop(s.data, LONG, 95.0),
    }
    rows = told(script, [*flat(3), (98, 99, 94, 98)], **FREE)
    assert [row[:7] for row in rows if row[1] == 3] == [
        (3, 3, "Submitted", -3.0, 95.0, 0, 0.0),
        (3, 3, "Accepted", -3.0, 95.0, 0, 0.0),
        (4, 3, "Partial", -3.0, 95.0, -1.0, 95.0),
        (4, 3, "Completed", -3.0, 95.0, -3.0, 95.0),
    ]


def test_exit_and_market_close_of_a_fill(told):
    script = {
        1: ladder(LONG, {-1: Entry(99.0, 2.0, 0.01)}),
        2: lambda s: s.broker.set_exits(s.data, LONG, {1: 105.0}),
        3: lambda s: s.broker.close_fill(s.data, LONG, 1, 1.5, TradeLabel.OLDEST),
    }
    rows = told(script, [*flat(5), (100, 106, 99, 100), *flat(1)], **FREE)
    assert [row[:7] for row in rows if row[1] > 1] == [
        (3, 2, "Submitted", -2.0, 105.0, 0, 0.0),
        (3, 2, "Accepted", -2.0, 105.0, 0, 0.0),
        (4, 3, "Submitted", -1.5, 100.0, 0, 0.0),
        (4, 3, "Accepted", -1.5, 100.0, 0, 0.0),
        (4, 3, "Completed", -1.5, 100.0, -1.5, 100.0),
        (5, 2, "Canceled", -2.0, 105.0, 0, 0.0),  # what is left to exit is another order
        (5, 4, "Submitted", -0.5, 105.0, 0, 0.0),
        (5, 4, "Accepted", -0.5, 105.0, 0, 0.0),
        (6, 4, "Completed", -0.5, 105.0, -0.5, 105.0),
    ]


def test_liquidation_is_told_as_the_exchanges_own_order_and_the_rest_is_cancelled(told):
    thin = FREE | {"cash": 110.0, "leverage": 20.0, "liquidation_fee": 0.005}
    script = {1: ladder(LONG, {-1: Entry(99.5, 10.0, 0.01), -2: Entry(60.0, 0.1, 0.01)})}
    rows = told(script, [*flat(3), (90, 91, 80, 85), *flat(2, 85.0)], **thin)
    assert [row[1:3] for row in rows[-2:]] == [(3, "Completed"), (2, "Canceled")]


# --- a whole run


def grid(strategy, *analyzers):
    cerebro = bt.Cerebro(stdstats=False)
    market = busy_market(days=25)
    cerebro.adddata(CandleFeed(dataname=market.candles, funding=market.funding, name="BTCUSDT"))
    cerebro.setbroker(HedgeBroker(cash=100_000.0))
    cerebro.addstrategy(strategy, **BUSY)
    for analyzer in analyzers:
        cerebro.addanalyzer(analyzer)
    return cerebro.run()[0]


class ListeningGrid(GridStrategyV4):
    """Keeps what it is told of each order."""

    def __init__(self):
        super().__init__()
        self.statuses, self.bits = {}, []

    def notify_order(self, order):
        self.statuses.setdefault(order.ref, []).append(order.status)
        for bit in order.executed.iterpending():
            self.bits.append((order.tradeid, bit.size, bit.price, bit.comm))


@pytest.fixture(scope="module")
def listening():
    return grid(ListeningGrid)


def test_listening_changes_nothing(listening):
    silent = grid(GridStrategyV4)
    assert listening.broker.account.closed == silent.broker.account.closed
    assert listening.log.tobytes() == silent.log.tobytes()
    assert silent.broker._ladders == {}


def test_every_order_has_a_beginning_and_one_end(listening):
    ends = Counter()
    for statuses in listening.statuses.values():
        if statuses == [COMPLETED]:
            ends["own"] += 1
            continue
        assert statuses[:2] == [SUBMITTED, ACCEPTED]
        rest = [status for status in statuses[2:] if status != PARTIAL]
        assert rest in ([], [COMPLETED], [CANCELED])
        ends[rest[0] if rest else "open"] += 1
    assert ends[COMPLETED] > 50
    assert ends[CANCELED] > 100
    assert ends["own"] == 0  # nothing was liquidated
    assert ends["open"] < 100


def test_executions_are_those_of_the_account(listening):
    account = listening.broker.account
    assert len(listening.bits) == account.maker_executions + account.taker_executions
    held = [fill for side in (LONG, SHORT) for fill in listening.broker.leg(listening.feed, side).tracker.fills]
    unpaid = math.fsum(fill.funding for fill in held)
    assert math.fsum(comm for *_, comm in listening.bits) == pytest.approx(account.fees + account.funding - unpaid)
    for trade in account.closed[:50]:
        sizes = [size for fill, size, *_ in listening.bits if fill == trade.trade_id]
        assert math.fsum(sizes) == pytest.approx(0.0, abs=1e-9)


class OrderCounter(bt.Analyzer):
    """An analyzer of a user's own."""

    def start(self):
        self.rets = Counter()

    def notify_order(self, order):
        self.rets[order.getstatusname()] += 1


def test_analyzer_of_ones_own_hears_them_too(listening):
    counted = grid(GridStrategyV4, OrderCounter).analyzers.ordercounter.get_analysis()
    expected = Counter(bt.Order.Status[status] for statuses in listening.statuses.values() for status in statuses)
    assert counted == expected


def test_backtraders_analyzers_do_not_ask_for_it():
    strategy = grid(GridStrategyV4, bt.analyzers.Transactions, bt.analyzers.PyFolio, bt.analyzers.TradeAnalyzer)
    assert not hears_orders(strategy)
    assert strategy.broker._ladders == {}
