"""Brackets and OCO live: kept by our side, journaled before anything is sent, and found again after a kill."""

import backtrader as bt
import pytest
from live_market import InProcess, events
from test_own_strategies import SCENE, assert_same, at, begin, kill, open_ids, run_backtest, run_live, script, until

from feeds.synthetic import SYMBOL
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.live.ids import Purpose, parse_id

LIMIT, STOP = bt.Order.Limit, bt.Order.Stop


@pytest.fixture
def scene(market):
    return begin(market(**SCENE))


def bracket(side, away, size=0.02, **terms):
    """Open a leg with a stop and a limit so far away."""

    def order(strategy):
        sign = 1 if side == "LONG" else -1
        place = strategy.buy_bracket if side == "LONG" else strategy.sell_bracket
        words = {"exectype": bt.Order.Market, "stopprice": at(strategy, 1 - sign * away)}
        words["limitprice"] = at(strategy, 1 + sign * away)
        place(size=size, positionSide=side, **words | terms)

    return order


def group(side, away):
    """Close a leg by a stop or a limit, whichever comes first."""

    def order(strategy):
        sign = 1 if side == "LONG" else -1
        place = strategy.sell if side == "LONG" else strategy.buy
        words = {"size": 0.02, "positionSide": side}
        stop = place(exectype=STOP, price=at(strategy, 1 - sign * away), **words)
        place(exectype=LIMIT, price=at(strategy, 1 + sign * away), oco=stop, **words)

    return order


def test_brackets_trade_as_in_their_backtest(scene):
    plan = {
        0: bracket("LONG", 0.003),
        1: bracket("SHORT", 0.003),
        20: bracket("LONG", 0.004),
        21: bracket("SHORT", 0.004),
    }
    live, broker = run_live(scene, plan, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, plan)
    for one in (live, backtest):  # within a bar, live the cancellations come last
        one.told.sort(key=lambda told: (told[0], told[2], told[4]))
    assert_same(live, broker, backtest, simulated, at_least=3)
    assert {"Canceled", "Completed"} <= {status for _, _, status, *_ in live.told}


def test_groups_trade_as_in_their_backtest(scene):
    plan = {
        0: lambda s: (s.buy(size=0.02, positionSide="LONG"), s.sell(size=0.02, positionSide="SHORT")),
        1: group("LONG", 0.003),
        2: group("SHORT", 0.003),
        15: lambda s: s.buy(size=0.02, positionSide="LONG"),
        16: group("LONG", 0.002),
    }
    live, broker = run_live(scene, plan, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, plan)
    for one in (live, backtest):  # within a bar, live the cancellations come last
        one.told.sort(key=lambda told: (told[0], told[2], told[4]))
    assert_same(live, broker, backtest, simulated, at_least=3)
    assert [status for _, _, status, *_ in live.told].count("Canceled") >= 2


def test_stop_that_the_price_has_passed_when_its_parent_is_booked_closes_at_market(scene):
    # in its backtest the bar of the entry meets the stop
    live, broker = run_live(scene, {13: bracket("SHORT", 0.004)}, bare_stop=0.5)
    _, simulated = run_backtest(scene, {13: bracket("SHORT", 0.004)})
    [trade], [expected] = broker.closed_trades(), simulated.closed_trades()
    assert (trade.entry, trade.qty) == (expected.entry, expected.qty)
    assert trade.close_time == expected.close_time + BAR_MS
    assert [status for _, _, status, *_ in live.told].count("Completed") == 2
    types = {order.type for order in scene.exchange.order_records.orders.values()}
    assert types == {"MARKET", "LIMIT"}
    assert open_ids(scene) == []


def sent(scene):
    """Ids of all orders that were sent, of strategies, in order."""
    return [event["id"] for event in events(scene, "order") if parse_id(event["id"]).purpose is not Purpose.STOP]


def children(scene):
    """Purposes of the strategies' orders that rest at the exchange."""
    return sorted(parse_id(one).purpose for one in open_ids(scene))


def in_two_processes(scene, plan, first, second, between=lambda server: None):
    """Run a plan, kill the process after so many bars, and run another without one; return its strategy."""
    with InProcess(scene.api) as server:
        store, cerebro = script(scene, server.url, plan, bare_stop=0.5)
        until(cerebro, first)
        cerebro.run()
        kill(store)
        between(server)
        scene.begin = scene.exchange.now // BAR_MS * BAR_MS
        store, cerebro = script(scene, server.url, {}, bare_stop=0.5)
        until(cerebro, second)
        [strategy, _] = cerebro.run()
        kill(store)
    return strategy


def test_children_are_sent_by_the_process_after_the_one_that_was_killed_before_the_parents_execution_was_booked(scene):
    # ordered at the first bar, executed at once; the second bar, which books that, belongs to the second process
    strategy = in_two_processes(scene, {0: bracket("LONG", 0.2)}, first=1, second=3)
    assert children(scene) == [Purpose.REDUCE, Purpose.REDUCE]
    assert len(sent(scene)) == len(set(sent(scene))) == 3
    assert strategy.broker.getposition(strategy.data, "LONG").size == pytest.approx(0.02)
    assert [status for _, _, status, *_ in strategy.told].count("Completed") == 1


def test_children_that_were_sent_by_a_killed_process_are_not_sent_twice(scene):
    # the state is that of the bar before the children were sent: the process was killed before it could save
    saved = []
    plan = {0: lambda s: (bracket("LONG", 0.2)(s), saved.append((scene.folder / "state.json").read_bytes()))}

    def put_back(server):
        (scene.folder / "state.json").write_bytes(saved[0])

    strategy = in_two_processes(scene, plan, first=2, second=2, between=put_back)
    assert children(scene) == [Purpose.REDUCE, Purpose.REDUCE]
    assert len(sent(scene)) == len(set(sent(scene))) == 3
    assert len(strategy.broker.get_orders_open()) == 2


def test_execution_of_one_child_cancels_the_other_in_the_process_after(scene):
    # both children rest when the first process dies; the limit is executed while none runs
    strategy = in_two_processes(
        scene, {0: bracket("LONG", 0.2, stopprice=1_000.0, limitexec=LIMIT)}, first=3, second=4,
        between=lambda server: close_by_limit(scene),
    )  # fmt: skip
    assert children(scene) == []
    told = [status for _, _, status, *_ in strategy.told]
    assert told.count("Completed") == 1
    assert told.count("Canceled") == 1


@pytest.mark.parametrize("executed", ["limit", "none"])
def test_group_is_known_to_the_process_after(scene, executed):
    plan = {0: lambda s: s.buy(size=0.02, positionSide="LONG"), 1: group("LONG", 0.2)}
    strategy = in_two_processes(
        scene, plan, first=3, second=4, between=lambda server: close_by_limit(scene) if executed == "limit" else None
    )
    told = [status for _, _, status, *_ in strategy.told]
    if executed == "limit":
        assert (told.count("Completed"), told.count("Canceled")) == (1, 1)
        assert children(scene) == []
    else:
        assert children(scene) == [Purpose.REDUCE, Purpose.REDUCE]
        [stop, limit] = strategy.broker.get_orders_open()
        assert limit.oco == stop


def test_stop_child_stays_where_the_exchange_has_cancelled_the_limit(scene):
    # as the dead man's switch does, which leaves conditional orders
    strategy, _ = run_live(scene, {0: bracket("LONG", 0.2), 4: lambda s: scene.exchange.cancel_all(SYMBOL)})
    assert [status for _, _, status, *_ in strategy.told].count("Canceled") == 1
    [stop] = strategy.broker.get_orders_open()
    assert stop.exectype == STOP
    assert children(scene) == [Purpose.REDUCE]


def test_cancelling_a_child_that_waits_takes_the_bracket_back(scene):
    placed = []
    plan = {
        0: lambda s: placed.extend(
            s.buy_bracket(size=0.02, price=at(s, 0.9), stopprice=at(s, 0.8), limitprice=at(s, 1.2), positionSide="LONG")
        ),
        2: lambda s: s.cancel(placed[2]),
    }
    strategy, broker = run_live(scene, plan, bare_stop=0.5)
    assert [status for _, _, status, *_ in strategy.told].count("Canceled") == 3
    assert open_ids(scene) == []
    assert broker.exchange.own_orders() == {}


def close_by_limit(scene):
    """Let the exchange execute the resting limit child: its price is where the market is."""
    [order] = scene.exchange.order_records.open_orders(SYMBOL)
    book = scene.exchange.books[SYMBOL]
    scene.exchange.amend(order, order.side, order.qty, round(book.price * 1.0001, 1))


def test_parent_that_is_refused_leaves_nothing_behind(market):
    refused = {"kind": "error", "code": -2019, "on": "POST /fapi/v1/order", "only": "opens"}
    scene = begin(market(**SCENE, faults=[refused]))
    strategy, broker = run_live(scene, {0: bracket("LONG", 0.2)}, bare_stop=0.5)
    assert [status for _, _, status, *_ in strategy.told] == ["Submitted"] * 3 + ["Rejected"] * 3
    assert broker.exchange.own_orders() == {}
    assert open_ids(scene) == []


def test_end_of_a_session_takes_the_parent_back_and_the_next_one_its_children(scene):
    plan = {1: lambda s: bracket("LONG", 0.2, exectype=LIMIT, price=at(s, 0.9))(s)}
    with InProcess(scene.api) as server:
        store, cerebro = script(scene, server.url, plan)
        cerebro.addstrategy(Stops, bars=4)
        cerebro.run()
        assert open_ids(scene) == []
        scene.begin = scene.exchange.now // BAR_MS * BAR_MS
        store, cerebro = script(scene, server.url, {})
        until(cerebro, 3)
        [strategy, _] = cerebro.run()
        kill(store)
    assert strategy.broker.exchange.own_orders() == {}
    assert strategy.broker.get_orders_open() == []
    assert len(sent(scene)) == 1


class Stops(bt.Strategy):
    """Ends the session in order after so many bars."""

    params = (("bars", 1),)

    def next(self):
        self.p.bars -= self.data.is_current
        if not self.p.bars:
            self.env.runstop()
