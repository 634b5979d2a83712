"""A strategy of the user's own trades live by `buy`, `sell`, `close` and `cancel`, and as in its backtest."""

import atexit
from datetime import timedelta

import backtrader as bt
import numpy as np
import pytest
from live_market import InProcess, events

from brokers.hedge import HedgeBroker
from feeds.synthetic import SYMBOL
from gridv4_bt.backtest import make_feeds
from gridv4_bt.config import backtrader_params
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.command_files import Action, Command, write_command
from gridv4_bt.live.ids import Purpose, parse_id

NAME = "SAMPLE/USDT:USDT"
SCENE = {"bars": 40, "settings": ()}
SHORT = {"bars": 10, "settings": ()}  #: for what happens in the first bars
NO_NUMBERS = dict.fromkeys(("qty", "entry", "exit", "gross", "fees", "funding", "bullet_qty", "bullet_net"), 0.0)


class Scripted(bt.Strategy):
    """Does what its plan says at the bars it names, counted from the first that may be traded."""

    params = (("plan", {}), ("first", 0))

    def __init__(self):
        self.told, self.bar, self.placed = [], -1, {}

    def notify_order(self, order):
        names = bt.Order.Status
        self.told.append((self.bar, order.ref, names[order.status], order.executed.size, order.executed.price))

    def next(self):
        now = bt.num2date(self.data.datetime[0]).timestamp() * 1000
        if now < self.p.first:
            return
        self.bar += 1
        if self.bar in self.p.plan:
            self.p.plan[self.bar](self)


def begin(scene):
    """Let a script trade in a scene."""
    scene.told = lambda title, text: scene.alerts.append(f"{title}: {text}")
    scene.begin = scene.exchange.now // BAR_MS * BAR_MS - BAR_MS  # of the candle that is closed at the start
    return scene


@pytest.fixture
def scene(market):
    return begin(market(**SCENE))


@pytest.fixture
def short_scene(market):
    return begin(market(**SHORT))


def exchange_params(scene):
    values = scene.config.model_dump()
    return {name: values[name] for name, _ in backtrader_params("exchange")}


def script(scene, url, plan, kind=Scripted, **session):
    cerebro = bt.Cerebro(stdstats=False)
    store = scene.store(url)
    broker = store.getbroker(state_dir=scene.folder, notify=scene.told, bot="mine", **session, **exchange_params(scene))
    cerebro.setbroker(broker)
    cerebro.adddata(store.getdata(NAME, name=SYMBOL))
    cerebro.addstrategy(kind, plan=plan, first=scene.begin)
    return store, cerebro


def run_live(scene, plan, **session):
    with InProcess(scene.api) as server:
        _, cerebro = script(scene, server.url, plan, **session)
        [strategy] = cerebro.run()
    return strategy, cerebro.broker


def run_backtest(scene, plan):
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(HedgeBroker(cash=10_000.0, **exchange_params(scene)))
    [feed] = make_feeds(scene.data)
    cerebro.adddata(feed)
    cerebro.addstrategy(Scripted, plan=plan, first=scene.begin)
    [strategy] = cerebro.run()
    return strategy, cerebro.broker


def at(strategy, factor):
    """Return a price on the tick, as a multiple of the close."""
    return round(strategy.data.close[0] * factor, 1)


def keep(name, place):
    """Return a step that keeps an order under a name."""
    return lambda strategy: strategy.placed.__setitem__(name, place(strategy))


PLAN = {
    0: keep("open", lambda s: s.buy(size=0.02, positionSide="LONG")),
    2: keep("exit", lambda s: s.sell(size=0.01, price=at(s, 1.001), exectype=bt.Order.Limit, positionSide="LONG")),
    3: keep("entry", lambda s: s.buy(size=0.01, price=at(s, 0.999), exectype=bt.Order.Limit, positionSide="LONG")),
    5: keep("short", lambda s: s.sell(size=0.03, positionSide="SHORT")),
    7: keep("stop", lambda s: s.buy(size=0.03, price=at(s, 1.002), exectype=bt.Order.Stop, positionSide="SHORT")),
    8: keep("never", lambda s: s.buy(size=0.01, price=at(s, 0.5), exectype=bt.Order.Limit, positionSide="LONG")),
    12: lambda s: s.cancel(s.placed["never"]),
    14: keep("limit", lambda s: s.buy(
        size=0.01, price=at(s, 1.001), plimit=at(s, 1.004), exectype=bt.Order.StopLimit, positionSide="LONG")),
    25: lambda s: s.close(positionSide="LONG"),
    30: lambda s: s.close(positionSide="SHORT"),
}  # fmt: skip


def assert_same(live, broker, backtest, simulated, at_least):
    """Trades and notifications of both are the same, bar by bar; there are `at_least` so many trades."""
    trades, expected = list(broker.closed_trades()), list(simulated.closed_trades())
    assert len(expected) >= at_least
    assert len(trades) == len(expected)
    for one, other in zip(trades, expected, strict=True):
        assert one._replace(**NO_NUMBERS) == other._replace(**NO_NUMBERS)
        assert [getattr(one, name) for name in NO_NUMBERS] == pytest.approx(
            [getattr(other, name) for name in NO_NUMBERS], rel=1e-9, abs=1e-9
        )
    assert [(bar, status) for bar, _, status, *_ in live.told] == [
        (bar, status) for bar, _, status, *_ in backtest.told
    ]
    numbers = [[executed for *_, size, price in one.told for executed in (size, price)] for one in (live, backtest)]
    assert numbers[0] == pytest.approx(numbers[1])


def test_it_trades_as_in_its_backtest(scene):
    live, broker = run_live(scene, PLAN, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, PLAN)
    assert_same(live, broker, backtest, simulated, at_least=5)


def net(size, **order):
    """Return a step that buys, or with a negative size sells, as a strategy for a netting broker does."""
    return lambda s: s.buy(size=size, **order) if size > 0 else s.sell(size=-size, **order)


def test_an_order_without_a_leg_closes_one_and_opens_the_other_as_in_the_backtest(scene):
    plan = {0: net(0.02), 3: net(-0.05), 6: net(0.04), 9: net(-0.01), 12: lambda s: s.close()}
    live, broker = run_live(scene, plan, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, plan)
    assert_same(live, broker, backtest, simulated, at_least=3)
    assert {one.side for one in broker.closed_trades()} == set(PositionSide)


def test_where_the_exchange_takes_only_the_part_that_closes_the_rest_is_cancelled(market):
    refused = {"kind": "error", "code": -2019, "on": "POST /fapi/v1/order", "only": "opens", "skip": 1}
    scene = begin(market(**SHORT, faults=[refused]))
    plan = {0: lambda s: s.buy(size=0.02, positionSide="LONG"), 3: net(-0.05)}
    strategy, broker = run_live(scene, plan, bare_stop=0.5)
    assert [status for _, _, status, *_ in strategy.told][3:] == ["Submitted", "Accepted", "Partial", "Canceled"]
    assert (broker.getposition(strategy.data, "LONG").size, broker.getposition(strategy.data, "SHORT").size) == (0, 0)
    assert any("order refused" in alert for alert in scene.alerts)


class Random:
    """Draws what to do at each bar: the same for the same seed and bar, whatever happened before."""

    def __init__(self, seed):
        self.seed = seed

    def __contains__(self, bar):
        return 0 <= bar < 34

    def __getitem__(self, bar):
        def act(strategy):
            draw = np.random.default_rng([self.seed, bar])
            for _ in range(draw.integers(0, 3)):
                self.order(strategy, draw)
            resting = [one for one in strategy.broker.get_orders_open() if one.exectype != bt.Order.Market]
            if draw.random() < 0.15 and resting:
                strategy.cancel(resting[0])

        return act

    def order(self, strategy, draw):
        place = strategy.buy if draw.random() < 0.5 else strategy.sell
        words = {"size": round(0.005 * draw.integers(1, 6), 3)}
        words["exectype"] = kind = [bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit][
            draw.integers(0, 4)
        ]
        if kind != bt.Order.Market or draw.random() < 0.7:  # the leg of one that rests is chosen when it is placed
            words["positionSide"] = ["LONG", "SHORT"][draw.integers(0, 2)]
        away = draw.uniform(0.0005, 0.004) * (1.0 if place == strategy.buy else -1.0)
        if (
            kind == bt.Order.Limit
        ):  # one that crosses the market is executed at once live, at the next bar in a backtest
            words["price"] = at(strategy, 1.0 - away)
        elif kind != bt.Order.Market:
            words["price"] = at(strategy, 1.0 + away)
        if kind == bt.Order.StopLimit:
            words["plimit"] = at(strategy, 1.0 + away + draw.uniform(-0.002, 0.002))
        place(**words)


@pytest.mark.parametrize("seed", range(4))
def test_random_orders_live_are_those_of_the_backtest(market, seed):
    scene = begin(market(**SCENE | {"first": 3_000 + 700 * seed}))
    live, broker = run_live(scene, Random(seed), bare_stop=0.9)
    backtest, simulated = run_backtest(scene, Random(seed))
    assert_same(live, broker, backtest, simulated, at_least=5)


# --- what only a live session has


def open_ids(scene):
    """Client ids of the open orders at the exchange, conditional ones too, without the first stops."""
    records = scene.exchange.order_records
    ids = [one.client_id for one in (*records.open_orders(), *records.open_algos())]
    return [one for one in ids if parse_id(one).purpose is not Purpose.STOP]


def kill(store):
    """Leave everything as a process leaves it that is killed."""
    atexit.unregister(store.stop)
    store._session.close()


class Dies(bt.Strategy):
    """Raises in the middle of a bar's orders: as if the process ended there."""

    params = (("plan", {}), ("first", 0), ("at", 3), ("after", 1))

    def __init__(self):
        self.told, self.bar = [], -1

    def notify_order(self, order):
        self.told.append((order.ref, order.getstatusname(), order.info.id))

    def next(self):
        if bt.num2date(self.data.datetime[0]).timestamp() * 1000 < self.p.first:
            return
        self.bar += 1
        orders = 0
        if self.p.first and self.bar == self.p.at:
            for price in (0.97, 0.96):
                if orders == self.p.after:
                    raise KeyboardInterrupt
                self.buy(size=0.01, price=at(self, price), exectype=bt.Order.Limit, positionSide="LONG")
                orders += 1


def run_and_die(scene, url, **params):
    store, cerebro = script(scene, url, {}, kind=Dies)
    cerebro.strats[0][0][2].update(params)
    with pytest.raises(KeyboardInterrupt):
        cerebro.run()
    kill(store)


@pytest.mark.parametrize("after", [0, 1])
def test_a_bar_that_is_decided_again_after_a_kill_orders_nothing_twice(scene, after):
    with InProcess(scene.api) as server:
        run_and_die(scene, server.url, after=after)
        sent = open_ids(scene)
        assert len(sent) == after
        scene.begin += 3 * BAR_MS  # the bar at which it died is the first of the new process
        store, cerebro = script(scene, server.url, {}, kind=Dies)
        cerebro.strats[0][0][2].update(after=5, at=0)
        until(cerebro, 2)
        [again, _] = cerebro.run()
        kill(store)
    ids = [event["id"] for event in events(scene, "order") if parse_id(event["id"]).purpose is Purpose.OPEN]
    assert len(ids) == len(set(ids)) == 2
    assert set(sent) <= set(ids)
    assert [status for _, status, _ in again.told].count("Accepted") == 2


def until(cerebro, bars):
    """Let a Cerebro's session be killed after so many bars of it."""
    cerebro.addstrategy(Ends, bars=bars)
    cerebro.broker.stop = lambda: None


class Ends(bt.Strategy):
    """Ends the run, without the broker's own end, after so many bars."""

    params = (("bars", 1),)

    def next(self):
        self.p.bars -= self.data.is_current
        if not self.p.bars:
            self.env.runstop()


def test_orders_of_the_process_before_are_handed_to_their_strategy(scene):
    plan = {
        0: lambda s: s.buy(size=0.02, positionSide="LONG"),
        2: lambda s: s.sell(size=0.02, price=at(s, 0.9), exectype=bt.Order.Stop, positionSide="LONG"),
        3: lambda s: s.buy(size=0.01, price=at(s, 0.8), exectype=bt.Order.Limit, positionSide="LONG"),
    }
    with InProcess(scene.api) as server:
        store, cerebro = script(scene, server.url, plan)
        until(cerebro, 5)
        cerebro.run()
        kill(store)
        before = open_ids(scene)
        assert len(before) == 2
        scene.begin = scene.exchange.now // BAR_MS * BAR_MS  # the plan of the next one begins a bar later
        store, cerebro = script(scene, server.url, {3: lambda s: [s.cancel(one) for one in s.broker.get_orders_open()]})
        until(cerebro, 6)
        [strategy, _] = cerebro.run()
        kill(store)
    assert [(status, size) for _, _, status, size, _ in strategy.told] == [
        ("Submitted", 0), ("Accepted", 0), ("Submitted", 0), ("Accepted", 0), ("Canceled", 0), ("Canceled", 0),
    ]  # fmt: skip
    assert open_ids(scene) == []
    assert strategy.getposition(strategy.data).size == pytest.approx(0.02)


def test_the_end_takes_back_what_opens_and_leaves_what_closes(short_scene):
    plan = {
        0: lambda s: s.buy(size=0.02, positionSide="LONG"),
        2: lambda s: s.buy(size=0.01, price=at(s, 1.5), exectype=bt.Order.Stop, positionSide="LONG"),
        3: lambda s: s.buy(size=0.01, price=at(s, 0.8), exectype=bt.Order.Limit, positionSide="LONG"),
        4: lambda s: s.sell(size=0.01, price=at(s, 1.4), exectype=bt.Order.Limit, positionSide="LONG"),
        5: lambda s: s.sell(size=0.01, price=at(s, 0.7), exectype=bt.Order.Stop, positionSide="LONG"),
    }
    run_live(short_scene, plan)
    assert sorted(parse_id(one).purpose for one in open_ids(short_scene)) == [Purpose.REDUCE, Purpose.REDUCE]
    assert short_scene.exchange.books[SYMBOL].long.stop is not None  # half of the leg has no stop of the strategy's


def test_a_leg_without_a_stop_gets_one_at_the_distance_the_user_chose(short_scene):
    run_live(short_scene, {0: lambda s: s.buy(size=0.02, positionSide="LONG")}, bare_stop=0.2)
    [first] = events(short_scene, "first_stop")
    fill = events(short_scene, "fill")[0]
    assert first["price"] == pytest.approx(0.8 * fill["price"], rel=0.01)


def test_what_is_executed_before_a_cancel_is_told_first(short_scene):
    """The exchange fills a part and the rest is cancelled; both are told at the next bar, the execution first."""
    entry = keep("entry", lambda s: s.buy(size=0.02, price=at(s, 0.9), exectype=bt.Order.Limit, positionSide="LONG"))

    def cancel(strategy):
        [order] = short_scene.exchange.order_records.open_orders()
        short_scene.exchange.fill_part(order, 0.5)
        strategy.cancel(strategy.placed["entry"])

    strategy, _ = run_live(short_scene, {0: entry, 2: cancel})
    assert [(bar, status, size) for bar, _, status, size, _ in strategy.told] == [
        (0, "Submitted", 0), (0, "Accepted", 0), (2, "Partial", 0.01), (2, "Canceled", 0.01),
    ]  # fmt: skip


def test_an_order_that_is_valid_until_a_time_is_cancelled_then(short_scene):
    entry = lambda s: s.buy(  # noqa: E731
        size=0.02, price=at(s, 0.9), exectype=bt.Order.Limit, positionSide="LONG", valid=timedelta(minutes=31)
    )
    strategy, _ = run_live(short_scene, {0: entry})
    backtest, _ = run_backtest(short_scene, {0: entry})
    assert [(bar, status) for bar, _, status, *_ in strategy.told][:2] == [(0, "Submitted"), (0, "Accepted")]
    assert strategy.told[-1][2] == backtest.told[-1][2] == "Expired"
    assert strategy.told[-1][0] - backtest.told[-1][0] in (0, 1)
    assert open_ids(short_scene) == []


def test_orders_on_history_are_not_sent(short_scene):
    short_scene.begin = 0  # from the first bar of the history on
    strategy, _ = run_live(short_scene, {0: lambda s: s.buy(size=0.02, positionSide="LONG")})
    assert [status for _, _, status, *_ in strategy.told] == ["Submitted", "Rejected"]
    assert short_scene.exchange.order_records.orders == {}


def test_an_id_of_the_users_own_is_refused(short_scene):
    order = keep("order", lambda s: s.buy(size=0.02, positionSide="LONG", clientOrderId="mine"))
    strategy, _ = run_live(short_scene, {0: order})
    assert "made of what they ask for" in strategy.placed["order"].info.reason


def test_a_close_that_the_exchange_refuses_is_rejected_and_alerted(market):
    refused = {"kind": "error", "code": -4164, "on": "POST /fapi/v1/order", "only": "closes"}
    scene = begin(market(**SHORT, faults=[refused]))
    plan = {0: lambda s: s.buy(size=0.02, positionSide="LONG"), 3: lambda s: s.close()}
    strategy, _ = run_live(scene, plan)
    assert [status for _, _, status, *_ in strategy.told][-2:] == ["Submitted", "Rejected"]
    assert any("close refused" in alert for alert in scene.alerts)
    assert strategy.getposition(strategy.data).size == pytest.approx(0.02)


def test_an_answer_that_never_came_is_resolved_at_the_next_bar(market):
    lost = {"kind": "lost_after", "on": "POST /fapi/v1/order", "times": 1}
    scene = begin(market(**SCENE, faults=[lost]))
    strategy, broker = run_live(scene, PLAN, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, PLAN)
    assert_same(strategy, broker, backtest, simulated, at_least=5)


def test_a_grid_beside_it_is_not_told_of_its_orders_and_a_resampled_feed_gives_signals(scene):
    hourly = []

    class Hourly(Scripted):
        def next(self):
            super().next()
            hourly.append(len(self.datas[1]))

    with InProcess(scene.api) as server:
        store, cerebro = script(scene, server.url, PLAN, kind=Hourly, bare_stop=0.5)
        cerebro.resampledata(cerebro.datas[0], timeframe=bt.TimeFrame.Minutes, compression=60)
        [live] = cerebro.run()
    backtest, simulated = run_backtest(scene, PLAN)
    assert_same(live, cerebro.broker, backtest, simulated, at_least=5)
    assert hourly[-1] - hourly[0] >= 9


def trail(strategy, share=0.002, **order):
    """Close LONG by a stop that trails."""
    return strategy.sell(exectype=bt.Order.StopTrail, trailpercent=share, positionSide="LONG", **order)


def test_a_trailing_stop_trades_as_in_its_backtest(scene):
    plan = {
        0: lambda s: s.buy(size=0.02, positionSide="LONG"),
        2: lambda s: trail(s, size=0.01),
        4: lambda s: trail(s, 0.004, size=0.01),
        5: lambda s: s.sell(size=0.03, positionSide="SHORT"),
        6: lambda s: s.buy(
            size=0.03, exectype=bt.Order.StopTrail, trailpercent=0.003, positionSide="SHORT"),
    }  # fmt: skip
    live, broker = run_live(scene, plan, bare_stop=0.5)
    backtest, simulated = run_backtest(scene, plan)
    assert_same(live, broker, backtest, simulated, at_least=3)
    algos = scene.exchange.order_records.algos.values()
    assert [algo.callback_rate for algo in algos if algo.type == "TRAILING_STOP_MARKET"] == [0.2, 0.4, 0.3]


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"exectype": bt.Order.StopTrail, "trailamount": 5.0}, "-1106"),
        ({"exectype": bt.Order.StopTrail, "trailpercent": 0.0015}, "-2007"),
        ({"exectype": bt.Order.StopTrail, "trailpercent": 0.2}, "-2007"),
        ({"exectype": bt.Order.StopTrailLimit, "trailpercent": 0.01}, "-1116"),
    ],
)
def test_what_the_exchanges_trailing_stop_has_not_is_refused(short_scene, terms, code):
    refused = []
    plan = {0: lambda s: s.buy(size=0.02), 2: lambda s: refused.append(s.sell(size=0.01, positionSide="LONG", **terms))}
    run_live(short_scene, plan, bare_stop=0.5)
    assert refused[0].status == bt.Order.Rejected
    assert refused[0].info.reason.startswith(code)


def test_a_trailing_stop_of_the_process_before_is_handed_to_its_strategy(scene):
    plan = {0: lambda s: s.buy(size=0.02, positionSide="LONG"), 2: lambda s: trail(s, 0.05, size=0.02)}
    with InProcess(scene.api) as server:
        store, cerebro = script(scene, server.url, plan)
        until(cerebro, 5)
        cerebro.run()
        kill(store)
        before = open_ids(scene)
        scene.begin = scene.exchange.now // BAR_MS * BAR_MS
        store, cerebro = script(scene, server.url, {3: lambda s: [s.cancel(one) for one in s.broker.get_orders_open()]})
        until(cerebro, 6)
        [strategy, _] = cerebro.run()
        kill(store)
    assert len(before) == 1
    assert [status for _, _, status, *_ in strategy.told] == ["Submitted", "Accepted", "Canceled"]
    assert open_ids(scene) == []


# --- a person has paused it


def paused(scene, action="pause"):
    """Return a step at which a person gives a command; it is obeyed at the next close."""
    number = f"{action}-{len(scene.alerts):06}"
    return lambda _: write_command(scene.folder, Command(number, Action(action), "account", "a test", "2026-01-01"))


def test_a_pause_holds_back_what_adds_and_lets_exits_and_stops_pass(market):
    scene = begin(market(bars=18, settings=()))
    plan = {
        0: keep("open", lambda s: s.buy(size=0.02, positionSide="LONG")),
        1: keep("rests", lambda s: s.buy(size=0.01, price=at(s, 0.5), exectype=bt.Order.Limit, positionSide="LONG")),
        2: paused(scene),
        4: keep("more", lambda s: s.buy(size=0.01, positionSide="LONG")),
        5: keep("short", lambda s: s.sell(size=0.01, price=at(s, 1.5), exectype=bt.Order.Limit, positionSide="SHORT")),
        6: keep("stop", lambda s: s.sell(size=0.01, price=at(s, 0.5), exectype=bt.Order.Stop, positionSide="LONG")),
        7: keep("exit", lambda s: s.sell(size=0.01, positionSide="LONG")),
        9: keep("bracket", lambda s: s.buy_bracket(
            size=0.01, price=at(s, 0.9), stopprice=at(s, 0.8), limitprice=at(s, 1.5), positionSide="LONG")[0]),
        10: paused(scene, "resume"),
        12: keep("again", lambda s: s.buy(size=0.01, positionSide="LONG")),
    }  # fmt: skip
    strategy, broker = run_live(scene, plan)
    status = {name: bt.Order.Status[order.status] for name, order in strategy.placed.items()}
    assert status == {
        "open": "Completed", "rests": "Canceled", "more": "Rejected", "short": "Rejected", "stop": "Accepted",
        "exit": "Completed", "bracket": "Rejected", "again": "Completed",
    }  # fmt: skip
    for name in ("more", "short", "bracket"):
        assert "a person has paused SAMPLEUSDT" in strategy.placed[name].info.reason
    sent = [parse_id(one["id"]) for one in events(scene, "order")]
    assert sum(name.purpose is Purpose.OPEN for name in sent) == 3
    assert broker.books[0].long.tracker.qty == pytest.approx(0.02)


def test_a_flatten_closes_what_a_strategy_of_the_users_own_holds(market):
    scene = begin(market(bars=8, settings=()))
    plan = {
        0: lambda s: s.buy(size=0.02, positionSide="LONG"),
        2: lambda _: write_command(
            scene.folder, Command("flatten-1", Action.FLATTEN, "account", "a test", "2026-01-01"), "account"
        ),
        5: keep("more", lambda s: s.buy(size=0.01, positionSide="LONG")),
    }
    strategy, broker = run_live(scene, plan)
    assert broker.books[0].long.tracker.qty == 0.0
    [trade] = broker.closed_trades()
    assert (trade.qty, str(trade.label)) == (0.02, "manual")
    assert bt.Order.Status[strategy.placed["more"].status] == "Rejected"
