"""optstrategy with OptCerebro: as Backtrader users know it, and the same for any number of jobs."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import backtrader as bt
import pandas as pd
import pytest
from busy import BUSY

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.synthetic import sample_market
from gridv4_bt.compat import FastCerebro
from gridv4_bt.errors import ConfigError
from gridv4_bt.metrics.analyzers import RiskRatios, RunSummary
from gridv4_bt.optimise.cerebro import OptCerebro, OptResults
from strategies.grid_v4 import GridStrategyV4

ROOT = Path(__file__).resolve().parents[2]
KS = [1.5, 3.0, 5.0]


@pytest.fixture(scope="module")
def market():
    return sample_market(days=6, start="2024-03-01")


class Trades(bt.Analyzer):
    """An analyzer of a user's own."""

    def start(self):
        self.seen = []

    def notify_trade(self, trade):
        self.seen.append((trade.size, trade.price, trade.pnlcomm))

    def get_analysis(self):
        return {"trades": self.seen}


def build(market, cerebro=None, broker=None):
    cerebro = cerebro if cerebro is not None else OptCerebro(stdstats=False)
    cerebro.adddata(CandleFeed(dataname=market.candles, funding=market.funding, name="SAMPLEUSDT"))
    cerebro.setbroker(broker if broker is not None else HedgeBroker(cash=20_000.0))
    for analyzer in (RiskRatios, RunSummary, Trades, bt.analyzers.TradeAnalyzer, bt.analyzers.SharpeRatio):
        cerebro.addanalyzer(analyzer)
    return cerebro


def analyses(strategies):
    return [[analyzer.get_analysis() for analyzer in strategy.analyzers] for strategy in strategies]


def test_trials_are_what_single_runs_are_for_any_number_of_jobs(market, monkeypatch):
    plain = []
    for k in KS:
        cerebro = build(market, FastCerebro(stdstats=False))
        cerebro.addstrategy(GridStrategyV4, **BUSY | {"k": k, "levels": 4})
        plain.append(analyses(cerebro.run()))
    assert len({str(one) for one in plain}) == len(KS)
    assert all(trades["trades"] for [[_, _, trades, *_]] in plain)
    for jobs, leaves_nothing in itertools.product((1, 2, 4), (False, True)):
        monkeypatch.setattr(OptCerebro, "_leaves_nothing", lambda _, answer=leaves_nothing: answer)
        cerebro = build(market)
        cerebro.optstrategy(GridStrategyV4, **BUSY | {"k": KS, "levels": 4})
        results = cerebro.run(maxcpus=jobs)
        assert [analyses(trial) for trial in results] == plain
        assert [trial.params for trial in results] == [[BUSY | {"k": k, "levels": 4}] for k in KS]
        assert [[strategy.p.k for strategy in trial] for trial in results] == [[k] for k in KS]
        assert [trial.error for trial in results] == [None] * len(KS)


@pytest.mark.parametrize(
    ("analyzers", "forks"), [((RiskRatios, bt.analyzers.SharpeRatio), 2), ((RiskRatios, Trades), 3)]
)
def test_only_what_is_known_to_leave_nothing_shares_a_fork(market, monkeypatch, analyzers, forks):
    made, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: made.append(fork()) or made[-1])
    cerebro = OptCerebro(stdstats=False)
    cerebro.adddata(CandleFeed(dataname=market.candles.iloc[:200], name="SAMPLEUSDT"))
    cerebro.setbroker(HedgeBroker())
    for analyzer in analyzers:
        cerebro.addanalyzer(analyzer)
    cerebro.optstrategy(GridStrategyV4, **BUSY | {"k": KS})
    assert [trial.error for trial in cerebro.run(maxcpus=1)] == [None] * len(KS)
    assert len(made) == forks


class Counting(bt.brokers.BackBroker):
    """A broker that keeps state where it does not belong."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def start(self):
        super().start()
        self.runs.append(1)
        self.setcash(1_000.0 * len(self.runs))


class Holding(bt.Strategy):
    params = (("size", 1), ("offset", 0))

    def __init__(self):
        if self.p.size == 13:
            raise ValueError("unlucky")
        if self.p.size == 0:
            raise bt.errors.StrategySkipError

    def next(self):
        if len(self) == 3 + self.p.offset:
            self.buy(size=self.p.size)


class Value(bt.Analyzer):
    def stop(self):
        self.value = self.strategy.broker.getvalue()

    def get_analysis(self):
        return {"value": self.value}


def frame():
    closes = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    index = pd.date_range("2024-01-01", periods=6, freq="D")
    return pd.DataFrame({"open": closes, "high": closes, "low": closes, "close": closes, "volume": 1.0}, index=index)


def plain_cerebro(broker=None, **options):
    cerebro = OptCerebro(stdstats=False, **options)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame()))
    if broker is not None:
        cerebro.setbroker(broker)
    cerebro.addanalyzer(Value)
    return cerebro


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("options", [{}, {"runonce": False}, {"preload": False}, {"exactbars": 1}])
def test_state_of_a_broker_never_reaches_another_trial(jobs, options):
    cerebro = plain_cerebro(Counting(), **options)
    cerebro.optstrategy(Holding, size=[1, 2, 3])
    # Bought at 13, worth 15 at the end; each trial has the 1,000 of a first run.
    assert [trial[0].analyzers.value.get_analysis()["value"] for trial in cerebro.run(maxcpus=jobs)] == [
        1_002.0,
        1_004.0,
        1_006.0,
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_others_go_on(jobs):
    cerebro = plain_cerebro()
    cerebro.optstrategy(Holding, size=[1, 13, 0, 2])
    results = cerebro.run(maxcpus=jobs)
    assert [trial.error for trial in results] == [None, "ValueError: unlucky", None, None]
    assert [len(trial) for trial in results] == [1, 0, 0, 1]  # a skipped strategy leaves an empty trial
    assert results[1].params == [{"size": 13}]


def test_two_strategies_are_tried_in_all_combinations_like_backtrader_does():
    cerebro = plain_cerebro()
    cerebro.optstrategy(Holding, size=[1, 2])
    cerebro.addstrategy(Holding, size=5)
    cerebro.optstrategy(Holding, size=range(3, 5), offset=1)
    results = cerebro.run(maxcpus=1)
    sizes = [[strategy.p.size for strategy in trial] for trial in results]
    assert sizes == [[1, 5, 3], [1, 5, 4], [2, 5, 3], [2, 5, 4]]
    assert results[-1].number == 3 and len(results[1:3]) == 2


def test_callbacks_see_every_trial_once():
    seen = []
    cerebro = plain_cerebro()
    cerebro.optstrategy(Holding, size=[1, 2, 13])
    cerebro.optcallback(lambda trial: seen.append((trial.number, len(trial))))
    cerebro.run(maxcpus=2)
    assert sorted(seen) == [(0, 1), (1, 1), (2, 0)]


def test_a_grid_larger_than_any_memory_starts_at_once(tmp_path):
    class Enough(Exception):
        pass

    cerebro = plain_cerebro(optfile=tmp_path / "trials")
    numbers = range(1, 100)
    cerebro.optstrategy(Holding, size=numbers, offset=numbers)
    cerebro.optstrategy(Holding, size=numbers, offset=numbers)
    cerebro.optstrategy(Holding, size=numbers, offset=numbers)
    seen = itertools.count(1)

    def stop(trial):
        if next(seen) == 3:
            raise Enough

    cerebro.optcallback(stop)
    with pytest.raises(Enough):
        cerebro.run(maxcpus=1)
    assert [trial.params[2]["offset"] for trial in OptResults.load(tmp_path / "trials")] == [1, 2, 3]


def test_local_classes_that_do_not_pickle_fail_with_a_reason():
    class Local(Holding):
        pass

    cerebro = plain_cerebro()
    cerebro.optstrategy(Local, size=[1])
    [trial] = cerebro.run(maxcpus=1)
    assert "pickle" in trial.error.lower()


def test_whole_strategies_cannot_be_had():
    cerebro = plain_cerebro()
    cerebro.optstrategy(Holding, size=[1])
    with pytest.raises(ConfigError, match="optreturn=False"):
        cerebro.run(maxcpus=1, optreturn=False)


def test_without_optstrategy_it_is_a_cerebro():
    cerebro = plain_cerebro()
    cerebro.addstrategy(Holding, size=2)
    [strategy] = cerebro.run()
    assert strategy.analyzers.value.get_analysis() == {"value": 10_004.0}


SCRIPT = """
import sys, time
import backtrader as bt
import pandas as pd
from gridv4_bt.optimise.cerebro import OptCerebro

class Slow(bt.Strategy):
    params = (("k", 0),)
    def next(self):
        time.sleep(0.0 if self.p.k < 3 else 60.0)

class Own(bt.Analyzer):
    def get_analysis(self):
        return self.kept
    def stop(self):
        self.kept = {"k": self.strategy.p.k}

if __name__ == "__main__":
    index = pd.date_range("2024-01-01", periods=4, freq="D")
    frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=index)
    cerebro = OptCerebro(stdstats=False, optfile=sys.argv[1])
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addanalyzer(Own)
    cerebro.optstrategy(Slow, k=range(int(sys.argv[2])))
    cerebro.optcallback(lambda trial: print(trial.number, flush=True))
    for trial in cerebro.run(maxcpus=2):
        print("got", trial[0].p.k, trial[0].analyzers.own.get_analysis())
"""


def test_a_users_own_script_keeps_what_is_finished_after_ctrl_c(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "trials")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([*command, "2"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == ["got 0 {'k': 0}", "got 1 {'k': 1}"]
    process = subprocess.Popen([*command, "9"], env=environment, stdout=subprocess.PIPE, text=True)
    finished = sorted(process.stdout.readline().strip() for _ in range(3))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert finished == ["0", "1", "2"]
    # Whoever reads them needs no class of the script for the parameters.
    sizes = OptResults.load(tmp_path / "trials")
    assert len(sizes) == 3
