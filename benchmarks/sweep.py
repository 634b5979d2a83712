"""How fast parameter sets are tried, as ratios within one run: `python benchmarks/sweep.py [--years N] [--sets N]`.

(a) GridStrategyV4 in Backtrader, whole: feed, indicators, broker, eleven steps, recorder, metrics
(b) the compiled sweep: the same eleven steps over shared arrays, one thread
(c) the same, two threads

(a) and (b) are CPU seconds a bar with the busy preset and with the defaults, medians of alternating rounds, as machines
are noisy; the defaults trade rarely and get all years of SOL, so that there are fills to compare. (b) and (c) are
parameter sets a second by the clock, of sets drawn at random around both, with KAMA, and with no regime. What is
prepared once for all sets, and what is compiled once for all runs, is told apart. The same through optstrategy, ours
and Backtrader's own, are the tables of `benchmarks/optstrategy.py`, which follow. Real candles are used when
../shared/data is there, else the synthetic market.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import optstrategy
from backtest import BUSY_CONFIG, YEAR, deeds, load, seconds

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.sweep import SweepMarket, sweep

CASH = 10_000.0
#: Runs one short sweep; its time is the start of Python, the imports and, with an empty cache, the compilation.
ONE_SWEEP = """
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import GridConfig
from gridv4_bt.sweep import SweepMarket, sweep
market = sample_market(days=5)
[feed] = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)])
list(sweep(SweepMarket.of(feed), [GridConfig()]))
"""


def busy_sets(count: int) -> list[GridConfig]:
    """Return parameter sets around the busy preset, always the same ones."""
    draw = random.Random(4)
    return [
        BUSY_CONFIG.model_copy(
            update={
                "regime": draw.choice(("kama", "kama", "none")),
                "k": draw.uniform(1.0, 5.0),
                "floor_pct": draw.uniform(0.004, 0.02),
                "levels": draw.randint(4, 12),
                "gamma": draw.uniform(0.5, 20.0),
                "order_pct": draw.uniform(0.02, 0.1),
                "stop1_atr": draw.uniform(3.0, 6.0),
                "stop2_atr": draw.uniform(6.5, 12.0),
                "trend_slope": draw.uniform(0.02, 0.1),
                "var_pct": draw.uniform(0.02, 0.1),
            }
        )
        for _ in range(count)
    ]


def rare_sets(count: int) -> list[GridConfig]:
    """Return parameter sets around the defaults, such as a search of `presets/spaces` tries, always the same ones."""
    draw = random.Random(4)
    return [
        GridConfig(
            regime=draw.choice(("kama", "none")),
            k=draw.uniform(0.4, 1.3),
            floor_pct=draw.uniform(0.002, 0.007),
            levels=draw.randint(8, 20),
            gamma=draw.uniform(0.3, 3.0),
            kappa=draw.uniform(20.0, 60.0),
        )
        for _ in range(count)
    ]


def sets_a_second(market: SweepMarket, sets: Sequence[GridConfig], threads: int) -> tuple[float, float]:
    """Return how many sets are tried a second by the clock, and a second of CPU time."""
    began, busy = time.perf_counter(), time.process_time()
    done = sum(1 for _ in sweep(market, sets, CASH, threads))
    return done / (time.perf_counter() - began), done / (time.process_time() - busy)


def start(cache: str | None = None) -> float:
    """Return the CPU seconds of a first sweep in a process of its own, with an empty cache if one is named."""
    environment = os.environ | ({"XDG_CACHE_HOME": cache} if cache else {})
    before = os.times()
    subprocess.run([sys.executable, "-c", ONE_SWEEP], check=True, env=environment)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def alternating(works: Sequence[Callable[[], Any]], rounds: int) -> list[list[Any]]:
    """Return what each piece of work measures in alternating rounds."""
    results = [[work() for work in works] for _ in range(rounds)]
    return [list(column) for column in zip(*results, strict=True)]


def compare(name: str, data: SymbolData, config: GridConfig, rounds: int) -> None:
    """Print what a bar takes in Backtrader and in a sweep, and whether both end in the same equity."""
    bars = len(data.candles)
    market = SweepMarket.of(make_feeds([data])[0])
    market.prepare([config])

    def in_backtrader() -> float:
        return run(make_cerebro(make_feeds([data]), config, CASH)).summary["end_equity"]

    [result] = sweep(market, [config], CASH)
    same = result.end_equity == in_backtrader()
    backtrader, compiled = alternating(
        (
            lambda: seconds(in_backtrader) / bars,
            lambda: seconds(lambda: list(sweep(market, [config] * 5, CASH))) / 5 / bars,
        ),
        rounds,
    )
    ratio = statistics.median(slow / fast for slow, fast in zip(backtrader, compiled, strict=True))
    print(
        f"{name}, {data.symbol}, {bars:,} bars of 15 minutes: {deeds(result.fills, result.stops, result.label_trades)}"
    )
    print(f"  (a) {statistics.median(backtrader) * 1e9:9,.0f} ns  GridStrategyV4 in Backtrader")
    print(f"  (b) {statistics.median(compiled) * 1e9:9,.0f} ns  sweep; best {min(compiled) * 1e9:,.0f} ns")
    print(f"      {1e-6 / statistics.median(compiled):9.2f} million bars a second   reach: at least 1.2")
    print(f"      {statistics.median(compiled) * YEAR * 1e3:9.1f} ms a coin-year   reach: at most 30")
    print(f"  (a)/(b) {ratio:6.0f}   reach: at least 50; the same end equity: {'yes' if same else 'NO'}")


def rates(market: SweepMarket, sets: Sequence[GridConfig], rounds: int) -> None:
    """Print how many sets are tried a second with one thread and with two."""
    market.prepare(sets)
    results = list(sweep(market, sets, CASH))
    closings = sum((Counter(result.label_trades) for result in results), Counter())
    print(f"  {deeds(sum(one.fills for one in results), sum(one.stops for one in results), closings)}")
    one, two = alternating((lambda: sets_a_second(market, sets, 1), lambda: sets_a_second(market, sets, 2)), rounds)
    for text, found in (("(b) one thread ", one), ("(c) two threads", two)):
        clock, busy = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"  {text} {clock:6.1f} sets/s, {busy:6.1f} sets a CPU second")
    clock, busy = (
        statistics.median(fast[way] / slow[way] for slow, fast in zip(one, two, strict=True)) for way in (0, 1)
    )
    print(
        f"  (c)/(b) {clock:5.2f} by the clock   reach: at least 1.8, on two cores with nothing else to do "
        f"(load now {os.getloadavg()[0]:.1f})"
    )
    print(f"          {busy:5.2f} by CPU time   1 means that the threads do not hinder each other")


def main() -> None:
    """Print the table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=1, help="of 35,040 bars each")
    parser.add_argument("--sets", type=int, default=60, help="drawn at random")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="time the first compilation too, about a minute")
    arguments = parser.parse_args()
    symbol, candles, funding = load()
    data = SymbolData(symbol, candles.iloc[: arguments.years * YEAR], funding)
    if arguments.compile:
        with tempfile.TemporaryDirectory() as cache:
            print(f"first start, compiling: {start(cache):.1f} s CPU")
    start()  # compiles where that was never done before
    print(f"first sweep of a process, compiled before: {start():.1f} s CPU, imports included")
    began = time.process_time()
    market = SweepMarket.of(make_feeds([data])[0])
    market.prepare([BUSY_CONFIG])
    prepared = time.process_time() - began
    print(f"preparing the market, once for all sets: {prepared / arguments.years:.3f} s CPU a year")
    print(f"CPU time a bar, median of {arguments.rounds} rounds:")
    compare("busy preset", data, BUSY_CONFIG, arguments.rounds)
    compare("defaults", SymbolData(*load("SOLUSDT")), GridConfig(), arguments.rounds)
    for name, sets in (("busy preset", busy_sets(arguments.sets)), ("defaults", rare_sets(arguments.sets))):
        print(f"{len(sets)} random sets around the {name}, {arguments.years} year(s), by the clock and by CPU time:")
        rates(market, sets, arguments.rounds)
    print("parameter sets through optstrategy:")
    optstrategy.report()


if __name__ == "__main__":
    main()
