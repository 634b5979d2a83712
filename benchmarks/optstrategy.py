"""What a trial costs beside its run, within one run: `python benchmarks/optstrategy.py [--days N] [--trials N]`.

(a) GridStrategyV4 run by run, one Cerebro each, no optstrategy
(b) OptCerebro.optstrategy, one job
(c) the same, two jobs
(d) Backtrader's own optstrategy, one process
(e) the same, two processes

Milliseconds a trial by the clock, and CPU milliseconds of this process and its children, medians of alternating rounds.
The overhead of a trial is (b) - (a). All have the same feed, loaded before, and the same analyzers.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import backtrader as bt
from backtest import load

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.tables import CandleTable, FundingTable
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.compat import FastCerebro
from gridv4_bt.config import load_config
from gridv4_bt.metrics.analyzers import RiskRatios
from gridv4_bt.optimise.cerebro import OptCerebro, compile_rules
from presets import BUSY
from strategies.grid_v4 import GridStrategyV4

BUSY_VALUES = load_config(BUSY).model_dump()


def cpu_seconds() -> float:
    """Return what this process and its finished children have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=14, help="span of a trial")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report(arguments.days, arguments.trials, arguments.rounds)


def report(days: int = 14, trials: int = 20, rounds: int = 5) -> None:
    """Measure and print the table."""
    symbol, candles, funding = load()
    [feed] = make_feeds([SymbolData(symbol, candles.iloc[-96 * days :], funding)])
    tables: tuple[CandleTable, FundingTable] = (feed.candles, feed.p.funding)
    ks = [1.0 + 4.0 * number / trials for number in range(trials)]
    compile_rules()

    def build(kind: type[bt.Cerebro], **options: object) -> bt.Cerebro:
        cerebro = kind(stdstats=False, **options)
        cerebro.adddata(CandleFeed(dataname=tables[0], funding=tables[1], name=symbol))
        cerebro.setbroker(HedgeBroker())
        cerebro.addanalyzer(RiskRatios)
        return cerebro

    def singly() -> list[object]:
        found = []
        for k in ks:
            cerebro = build(FastCerebro)
            cerebro.addstrategy(GridStrategyV4, **BUSY_VALUES | {"k": k})
            found.append(cerebro.run())
        return found

    def optimised(kind: type[bt.Cerebro], jobs: int, **options: object) -> Callable[[], object]:
        def work() -> object:
            cerebro = build(kind, **options)
            cerebro.optstrategy(GridStrategyV4, **BUSY_VALUES | {"k": ks})
            return cerebro.run(maxcpus=jobs)

        return work

    ways = {
        "a": ("run by run", singly),
        "b": ("OptCerebro.optstrategy, 1 job", optimised(OptCerebro, 1, progress=False)),
        "c": ("OptCerebro.optstrategy, 2 jobs", optimised(OptCerebro, 2, progress=False)),
        "d": ("Backtrader's optstrategy, 1 process", optimised(bt.Cerebro, 1)),
        "e": ("Backtrader's optstrategy, 2 processes", optimised(bt.Cerebro, 2)),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (_, work) in ways.items():
            clock, cpu = time.perf_counter(), cpu_seconds()
            results = [[one.analyzers.riskratios.get_analysis() for one in trial] for trial in work()]
            spent = time.perf_counter() - clock, cpu_seconds() - cpu
            times[name].append((1e3 * spent[0] / len(ks), 1e3 * spent[1] / len(ks)))
            if name == "a":
                expected = results
            elif results != expected:
                raise SystemExit(f"({name}) gives other results than (a)")
    print(f"{symbol}, {days} days of 15 minutes, {trials} trials, median of {rounds} rounds:")
    print("        clock ms   CPU ms a trial")
    for name, (title, _) in ways.items():
        clock, cpu = (statistics.median(column) for column in zip(*times[name], strict=True))
        print(f"  ({name}) {clock:9.1f} {cpu:8.1f}   {title}")
    overheads = [[after[i] - before[i] for after, before in zip(times["b"], times["a"], strict=True)] for i in range(2)]
    clock, cpu = map(statistics.median, overheads)
    print(f"(b)-(a)  {clock:6.1f} ms by the clock, {cpu:.1f} ms of CPU   reach: below 20")


if __name__ == "__main__":
    main()
