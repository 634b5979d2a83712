"""A backtest with compiled steps is the plain one to the last bit, and is plain where anything watches it."""

import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
import random_sets
from busy import busy
from in_process import run_inside
from random_sets import random_data, random_set
from same_runs import assert_identical
from wallets import shifted_symbols, with_holes

import gridv4_bt.optimise.compiled_broker as module
import gridv4_bt.optimise.compiled_run as compiled_run
from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.backtest import RunResult, SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.cli.backtest import main as backtest
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.market import MarketHistory, load_market
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.bar_windows import BarWindows
from gridv4_bt.optimise.compiled_broker import CompiledBroker, compile_steps, quickest_broker
from gridv4_bt.optimise.kernel.kernel import new_state
from gridv4_bt.optimise.sweep_market import bars_of, rates_of
from gridv4_bt.own_strategy import OwnStrategy
from strategies.grid_v4 import GridStrategyV4

pytest.importorskip("numba")

#: Debts so large that the account is liquidated, and nothing that cuts early.
RECKLESS = dict(
    regime="none", k=0.3, floor_pct=0.002, gamma=0.5, kappa=1e6, order_pct=1.0, max_inventory=15, kelly_floor=1.0,
    stop1_atr=40, stop2_atr=60, var_pct=10, delever_share=50, z_halt=-50, leverage=20, deviance_atr=0, max_age_hours=0,
    gap_spacings=0, margin_target=0.1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    """The windows on bars and signals, and the rows of the log, are moved on often."""
    monkeypatch.setattr(compiled_run, "BLOCK", 97)


def cerebro_of(data, config: GridConfig, broker=CompiledBroker, cash=10_000.0, strategy=GridStrategyV4) -> bt.Cerebro:
    return make_cerebro(make_feeds(data), config, cash, broker=broker, strategy=strategy)


def both(data: list[SymbolData], config: GridConfig, cash: float = 10_000.0) -> RunResult:
    """Run it compiled and plain, and return what is the same of both."""
    cerebro = cerebro_of(data, config, cash=cash)
    result = run(cerebro)
    assert cerebro.broker.is_compiled
    assert_identical(result, run(cerebro_of(data, config, HedgeBroker, cash)))
    return result


def both_plain(make) -> None:
    """Run Cerebros made with either broker, of which the compiled one is to be plain, and compare them."""
    compiled, plain = make(CompiledBroker), make(HedgeBroker)
    assert_identical(run(compiled), run(plain))
    assert not compiled.broker.is_compiled


def labels(result: RunResult) -> Counter:
    return Counter({label: row["trades"] for label, row in result.summary["by_label"].items()})


@pytest.fixture(scope="module")
def three() -> list[SymbolData]:
    return shifted_symbols(3, 1_200, random.Random(3))


def test_random_parameters_of_one_symbol():
    found = Counter()
    for number in range(6):
        draw = random.Random(number)
        config = random_set(draw, regime=("kama", "none", "gmm")[number % 3])
        found += labels(both([random_data(draw)], config, draw.choice((300.0, 1e4, 1e6))))
    assert found.total() > 300 and len(found) > 6


def test_symbols_of_one_wallet_whose_data_begin_and_end_at_different_bars_and_have_holes():
    found = Counter()
    for number in range(3):
        draw = random.Random(number)
        data = [with_holes(one, draw, 3, 40) for one in shifted_symbols(draw.randint(2, 6), 1_400, draw)]
        config = random_set(draw, regime=("kama", "none")[number % 2], leverage=draw.choice((3, 5, 10)))
        found += labels(both(data, config, 1e5))
    assert found.total() > 300 and found["delisted"] > 0


def test_an_account_that_is_liquidated(monkeypatch):
    monkeypatch.setattr(random_sets, "IS_REAL", False)  # in the busy market these draws come to it
    draw = random.Random(36)
    data = [with_holes(one, draw, 25, 60) for one in shifted_symbols(3, 1_500, draw)]
    data = [replace(one, symbol=name) for one, name in zip(data, ("BTCUSDT", "ETHUSDT", "SOLUSDT"), strict=True)]
    assert both(data, busy(**RECKLESS)).summary["liquidations"] > 0


def test_more_fills_than_there_was_room_for_at_first(monkeypatch):
    monkeypatch.setattr(compiled_run, "ROOM", 0)
    rooms = []
    monkeypatch.setattr(
        compiled_run, "new_state", lambda *given, **named: rooms.append(given[4]) or new_state(*given, **named)
    )
    both(
        [random_data(random.Random(2))],
        busy(k=0.3, floor_pct=0.001, kappa=1e6, order_pct=0.002, var_pct=1.0, levels=10),
    )
    assert rooms[0] == 20 and len(rooms) > 1


def test_rules_that_change_in_the_middle():
    [data] = shifted_symbols(1, 1_200, random.Random(5))
    market = load_market(data.symbol)
    first = int(data.candles["time"].iloc[0].timestamp() * 1_000)
    later = replace(market, tick=market.tick * 10, min_notional=market.min_notional * 20)
    history = MarketHistory(((0, market), (first + 700 * 900_000, later)))
    runs = []
    for broker in (CompiledBroker, HedgeBroker):
        cerebro = cerebro_of([data], busy(k=1.0, floor_pct=0.004), broker)
        cerebro.broker.p.markets = {data.symbol: history}
        runs.append(run(cerebro))
    assert_identical(*runs)
    assert [tick for _, tick in runs[0].records[0].ticks] == [market.tick, later.tick]


@pytest.mark.parametrize("steps", [1, 2, 1_000])
def test_windows_of_any_length_give_the_same_run(three, monkeypatch, steps):
    monkeypatch.setattr(compiled_run, "BLOCK", steps)
    draw = random.Random(8)
    data = [with_holes(one, draw, 3, 40) for one in three]
    assert labels(both(data, busy(k=1.0, floor_pct=0.004, regime="gmm"), 1e5)).total() > 50


def test_a_window_begins_at_the_last_bar_seen_and_holds_those_to_come(three, monkeypatch):
    draw = random.Random(8)
    data = [with_holes(one, draw, 3, 40) for one in three]
    moved, move = Counter(), BarWindows.move

    def checked(windows, state):
        move(windows, state)
        for place, lines in enumerate(windows._lines):
            whole, rows = bars_of(lines.feed), 98
            next_bar = int(state.symbols[place]["next"] - windows.inputs.spans[place]["begin"])
            first = max(next_bar - 1, 0)
            held = slice(place * rows, place * rows + min(rows, len(whole) - first))
            assert windows.inputs.bars[held].tobytes() == whole[first : first + rows].tobytes()
            for name, values in lines.signals._asdict().items():
                np.testing.assert_array_equal(getattr(windows.inputs, name)[held], values[first : first + rows])
            rates = rates_of(lines.feed)
            if rates is not None:
                np.testing.assert_array_equal(windows.inputs.rates[held], rates[first : first + rows])
            moved[place] += first > 0

    monkeypatch.setattr(BarWindows, "move", checked)
    run(cerebro_of(data, busy(k=1.0, floor_pct=0.004)))
    assert min(moved.values()) >= 10


def test_a_symbol_with_too_few_bars_trades_nothing():
    data = shifted_symbols(3, 1_200, random.Random(3))
    short = [replace(data[0], candles=data[0].candles.iloc[:60]), *data[1:]]
    assert [len(record.log) > 0 for record in both(short, busy(k=1.0, floor_pct=0.004)).records] == [False, True, True]
    with pytest.raises(DataError, match="60 bars are too few: warm-up needs 97"):
        run(cerebro_of(short[:1], busy()))


def trades_of(strategy: bt.Strategy) -> list[tuple]:
    """Return what Backtrader made of the executions: every trade of the strategy."""
    return [
        (trade.tradeid, trade.status, trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.dtopen, trade.dtclose)
        for trades in strategy._trades[strategy.feed].values()
        for trade in trades
    ]


def test_after_it_everything_is_where_it_is_after_a_plain_run():
    [data] = shifted_symbols(1, 1_200, random.Random(3))
    config, left = busy(k=1.0, floor_pct=0.004), Counter()
    [record] = run(cerebro_of([data], config)).records
    cuts = [trade.close_time for trade in record.trades if trade.label not in (TradeLabel.GRID, TradeLabel.STOP2)]
    for bars in (
        *range(500, 1_200, 150),
        *data.candles["time"].searchsorted(pd.to_datetime(cuts[:5], unit="ms", utc=True)),
    ):  # just before a market order fills
        cut = [replace(data, candles=data.candles.iloc[:bars])]
        compiled, plain = (cerebro_of(cut, config, broker) for broker in (CompiledBroker, HedgeBroker))
        [one], [other] = compiled.run(), plain.run()
        assert (one.memory, one.now, one.kelly, one.returns) == (other.memory, other.now, other.kelly, other.returns)
        assert one.log.tobytes() == other.log.tobytes() != b""
        assert trades_of(one) == trades_of(other) != []
        assert one.blocked_reasons() == other.blocked_reasons()
        for side, same in zip(one.sides, other.sides, strict=True):
            for leg in (side.leg, same.leg):
                leg.closes = 0  # a plain run has the book's list alone
                if not leg.fills:
                    leg.exit_count, leg.first_exit = 0, 0.0  # looked at no more
            assert side.leg == same.leg
            assert side.tracker.fills == same.tracker.fills
            book, expected = side.book, same.book
            assert (book.entries, book.exits, book.closes) == (expected.entries, expected.exits, expected.closes)
            cooling = slice(0, side.leg.cooling)
            assert side.cooling.price[cooling] == same.cooling.price[cooling]
            assert side.cooling.until[cooling] == same.cooling.until[cooling]
            left.update(
                entries=len(book.entries), exits=len(book.exits), stops=side.leg.has_stop, closes=len(book.closes)
            )
        assert compiled.broker.getposition(compiled.datas[0]).size == plain.broker.getposition(plain.datas[0]).size
        assert vars(compiled.broker.account) == vars(plain.broker.account)
    assert all(left[kind] > 0 for kind in ("entries", "exits", "stops", "closes")), left


def test_each_strategy_hears_of_its_own_executions(three):
    config = busy(k=1.0, floor_pct=0.004)
    compiled, plain = (cerebro_of(three, config, broker).run() for broker in (CompiledBroker, HedgeBroker))
    for one, other in zip(compiled, plain, strict=True):
        assert trades_of(one) == trades_of(other) != []
        assert [list(one._trades[data].values()) != [] for data in one.datas] == [
            data is one.feed for data in one.datas
        ]
        assert [(order.tradeid, order.owner is one) for order in one._orders] == [
            (order.tradeid, True) for order in other._orders
        ]


def test_a_strategy_can_be_sent_to_another_process_after_it(three):
    """As `optstrategy` sends it with optreturn=False and several processes."""
    [strategy] = cerebro_of(three[:1], busy(k=1.0, floor_pct=0.004)).run()
    sent = pickle.loads(pickle.dumps(strategy))
    assert sent.blocked_reasons() == strategy.blocked_reasons()
    assert sent.plan.trace.tobytes() == strategy.plan.trace.tobytes() != b""
    assert sent.log.tobytes() == strategy.log.tobytes() != b""


class Derived(GridStrategyV4):
    """A strategy of a user's own, which may do anything."""


@pytest.mark.parametrize(
    "watch",
    [
        lambda cerebro: cerebro.addanalyzer(bt.analyzers.TradeAnalyzer),
        lambda cerebro: cerebro.addobserver(bt.observers.DrawDown),
        lambda cerebro: cerebro.addwriter(bt.WriterFile, out="/dev/null"),
        lambda cerebro: cerebro.datas[0].addfilter(lambda data: False),
        lambda cerebro: setattr(cerebro.p, "lookahead", 5),
    ],
)
def test_a_run_that_something_watches_or_changes_is_plain(three, watch):
    config = busy(k=1.0, floor_pct=0.004)

    def make(broker):
        cerebro = cerebro_of(three[:1], config, broker)
        watch(cerebro)
        return cerebro

    both_plain(make)


def test_a_feed_that_no_grid_trades_has_steps_of_its_own(three):
    candles = three[0].candles
    time = pd.date_range(candles["time"].iloc[0], periods=3 * len(candles), freq="5min")
    fine = pd.DataFrame({"time": time} | dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0))

    def make(broker):
        cerebro = cerebro_of(three[:1], busy(k=1.0, floor_pct=0.004), broker)
        cerebro.adddata(CandleFeed(dataname=fine, name="WATCHED", interval="5m"))
        return cerebro

    both_plain(make)


def test_bars_moved_by_those_of_the_first_feed_are_not_all_seen(three):
    holed = with_holes(replace(three[0], funding=None), random.Random(1), 10, 20)

    def make(broker):
        cerebro = cerebro_of([holed, replace(three[0], symbol="ZUSDT")], busy(k=1.0, floor_pct=0.004), broker)
        cerebro.p.oldsync = True
        return cerebro

    both_plain(make)


def test_bars_whose_times_are_moved_to_utc_are_plain(three):
    tokyo = timezone(timedelta(hours=9))
    feed = partial(CandleFeed, tzinput=SimpleNamespace(localize=lambda when: when.replace(tzinfo=tokyo)))
    data = [replace(one, funding=None) for one in three]
    config = busy(k=1.0, floor_pct=0.004)
    both_plain(lambda broker: make_cerebro(make_feeds(data, feed=feed), config, 1e4, broker=broker))


def test_strategies_that_see_the_risk_of_the_account_over_different_windows_are_plain(three):
    config = busy(k=1.0, floor_pct=0.004)

    def make(broker):
        cerebro = cerebro_of(three, config, broker)
        cerebro.strats[1][0][2]["sigma_bars"] = 50
        return cerebro

    both_plain(make)


@pytest.mark.parametrize(("strategy", "intrabar"), [(Derived, "pessimistic"), (GridStrategyV4, "path")])
def test_a_derived_strategy_and_other_matching_are_plain(three, strategy, intrabar):
    config = busy(k=1.0, floor_pct=0.004, intrabar=intrabar)
    both_plain(lambda broker: cerebro_of(three[:1], config, broker, strategy=strategy))


def test_a_run_that_is_stopped_has_the_bars_until_then(three):
    """As a second thread does, or a signal's handler."""

    class Stopped(CompiledBroker):
        def next(self):
            super().next()
            if len(self.cerebro.datas[0]) == 700:
                self.cerebro.runstop()

    result = run(cerebro_of(three[:1], busy(k=1.0, floor_pct=0.004), Stopped))
    whole = run(cerebro_of(three[:1], busy(k=1.0, floor_pct=0.004)))
    [record], [expected] = result.records, whole.records
    assert 500 < len(record.log) < len(expected.log)
    np.testing.assert_array_equal(record.log, expected.log[: len(record.log)])


@pytest.mark.parametrize("has_run", [False, True])
def test_feeds_of_another_cerebro_too_are_read_as_the_one_that_runs_has_loaded_them(three, has_run):
    config = busy(k=1.0, floor_pct=0.004)
    expected = run(cerebro_of(three, config))
    for broker in (CompiledBroker, HedgeBroker):
        feeds = make_feeds(three)
        first, second = (make_cerebro(feeds, config, 1e4, broker=broker) for _ in range(2))
        if has_run:
            assert_identical(run(second), expected)
        [loaded, *_], [read, *_] = first.run(), first.run(preload=False)
        assert loaded.log.tobytes() == read.log.tobytes() == expected.records[0].log.tobytes()


def test_cash_from_outside_a_compiled_run_is_refused(three):
    class Saving(CompiledBroker):
        def next(self):
            if len(self.cerebro.datas[0]) == 300:
                self.add_cash(500.0)
            super().next()

    with pytest.raises(ConfigError, match="come too late in a compiled run: use HedgeBroker"):
        run(cerebro_of(three[:1], busy(), Saving))


def test_a_derived_feed_may_do_anything_and_is_plain(three):
    class Paying(CandleFeed):
        def advance(self, *given, **named):
            super().advance(*given, **named)
            if len(self) == 300:
                self._env.broker.add_cash(500.0)

    feed = partial(Paying, completed=True)
    config = busy(k=1.0, floor_pct=0.004)
    both_plain(lambda broker: make_cerebro(make_feeds(three[:1], feed=feed), config, 1e4, broker=broker))


def test_a_wallet_that_differs_from_the_compiled_one_ends_the_run(three):
    class Wrong(CompiledBroker):
        def report(self):
            super().report()
            self.account.wallet += 0.01

    with pytest.raises(RuntimeError, match=r"the compiled run has .* in the wallet, the account .*; please report it"):
        run(cerebro_of(three[:1], busy(k=1.0, floor_pct=0.004), Wrong))


def test_compiled_steps_are_taken_where_they_are_at_hand(monkeypatch):
    for at_hand, taken in ((True, CompiledBroker), (False, HedgeBroker)):
        monkeypatch.setattr(module, "is_compiled", lambda at_hand=at_hand: at_hand)
        assert quickest_broker() is taken
        assert quickest_broker(OwnStrategy("x.py:Derived", {}, Derived)) is HedgeBroker


def test_the_command_line_writes_the_same_files_and_says_what_would_be_quicker(monkeypatch, tmp_path):
    compile_steps()
    monkeypatch.setattr("gridv4_bt.cli.backtest.WORTH_COMPILING", 0.0)
    files, said = [], []
    for at_hand in (True, False):
        monkeypatch.setattr(module, "is_compiled", lambda at_hand=at_hand: at_hand)
        folder = tmp_path / str(at_hand)
        done = run_inside(
            backtest, "--config", "busy", "--to", "2024-06-30", "--no-report", "--out", folder, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        files.append([(folder / name).read_bytes() for name in ("trades.csv", "equity.csv", "returns.csv")])
        said.append("`gridv4 compile`, once, makes backtests as long as this" in done.stdout)
    assert files[0] == files[1] and len(files[0][0].splitlines()) > 20
    assert said == [False, True]


def test_a_backtest_after_it_was_compiled_needs_no_numba(tmp_path):
    compile_steps()
    words = ["backtest", "--config", "busy", "--to", "2024-06-30", "--no-report", "--out", str(tmp_path / "run")]
    script = (
        f"import sys; sys.argv[1:] = {words}\n"
        "from gridv4_bt.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('gridv4_bt.optimise.compiled_run', 'numba') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "['gridv4_bt.optimise.compiled_run']", done.stderr
