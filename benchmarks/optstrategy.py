"""What a trial costs beside its run, within one run: `python benchmarks/optstrategy.py [--days N] [--trials N]`.

(a) GridStrategyV4 run by run, one Cerebro each, no optstrategy
(b) OptCerebro.optstrategy, one job
(c) the same, two jobs
(d) Backtrader's own optstrategy, one process
(e) the same, two processes

Milliseconds a trial by the clock, and CPU milliseconds of this process and its children, medians of alternating rounds.
The overhead of a trial is (b) - (a). All have the same feed, loaded before, and the same analyzers. With the busy
preset on the last days of BTC, then with the defaults, which trade rarely, on the wildest days of SOL; k varies.
"""

import argparse
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import backtrader as bt
import pandas as pd
from backtest import deeds, load

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.tables import CandleTable, FundingTable
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.compat import FastCerebro
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.metrics.analyzers import RiskRatios
from gridv4_bt.optimise.cerebro import OptCerebro, compile_rules
from presets import BUSY
from strategies.grid_v4 import GridStrategyV4

#: Parameters, and the range of k.
CONFIGS = {"busy preset": (load_config(BUSY), 1.0, 5.0), "defaults": (GridConfig(), 0.4, 1.3)}


def wildest(candles: pd.DataFrame, bars: int) -> pd.DataFrame:
    """Return the stretch of so many bars with the widest range."""
    ranges = candles["high"].rolling(bars).max() / candles["low"].rolling(bars).min()
    end = int(ranges.argmax()) + 1
    return candles.iloc[end - bars : end]


def cpu_seconds() -> float:
    """Return what this process and its finished children have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=14, help="span of a trial")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report(arguments.days, arguments.trials, arguments.rounds)


def report(days: int = 14, trials: int = 20, rounds: int = 5) -> None:
    """Measure and print the tables."""
    compile_rules()
    for name, (config, low, high) in CONFIGS.items():
        symbol, candles, funding = load("BTCUSDT" if name == "busy preset" else "SOLUSDT")
        span = candles.iloc[-96 * days :] if name == "busy preset" else wildest(candles, 96 * days)
        ks = [low + (high - low) * number / trials for number in range(trials)]
        print(f"{symbol}, {days} days of 15 minutes, {trials} trials, median of {rounds} rounds, {name}:")
        _table(SymbolData(symbol, span, funding), config.model_dump(), ks, rounds)


def _table(data: SymbolData, values: dict[str, Any], ks: list[float], rounds: int) -> None:
    [feed] = make_feeds([data])
    tables: tuple[CandleTable, FundingTable] = (feed.candles, feed.p.funding)

    def build(kind: type[bt.Cerebro], **options: object) -> bt.Cerebro:
        cerebro = kind(stdstats=False, **options)
        cerebro.adddata(CandleFeed(dataname=tables[0], funding=tables[1], name=data.symbol))
        cerebro.setbroker(HedgeBroker())
        cerebro.addanalyzer(RiskRatios)
        return cerebro

    def singly() -> list[object]:
        found = []
        for k in ks:
            cerebro = build(FastCerebro)
            cerebro.addstrategy(GridStrategyV4, **values | {"k": k})
            found.append(cerebro.run())
        return found

    def optimised(kind: type[bt.Cerebro], jobs: int, **options: object) -> Callable[[], object]:
        def work() -> object:
            cerebro = build(kind, **options)
            cerebro.optstrategy(GridStrategyV4, **values | {"k": ks})
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
            done = [one for trial in work() for one in trial]
            results = [one.analyzers.riskratios.get_analysis() for one in done]
            spent = time.perf_counter() - clock, cpu_seconds() - cpu
            times[name].append((1e3 * spent[0] / len(ks), 1e3 * spent[1] / len(ks)))
            if name == "a":
                expected = results
                closings = Counter(trade.label for one in done for trade in one.broker.closed_trades())
                fills, stops = sum(one.broker.account.fills for one in done), sum(one.memory.stops for one in done)
            elif results != expected:
                raise SystemExit(f"({name}) gives other results than (a)")
    print(f"  all trials together: {deeds(fills, stops, closings)}")
    print("        clock ms   CPU ms a trial")
    for name, (title, _) in ways.items():
        clock, cpu = (statistics.median(column) for column in zip(*times[name], strict=True))
        print(f"  ({name}) {clock:9.1f} {cpu:8.1f}   {title}")
    overheads = [[after[i] - before[i] for after, before in zip(times["b"], times["a"], strict=True)] for i in range(2)]
    clock, cpu = map(statistics.median, overheads)
    print(f"(b)-(a)  {clock:6.1f} ms by the clock, {cpu:.1f} ms of CPU   reach: below 10")


if __name__ == "__main__":
    main()
