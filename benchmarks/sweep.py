"""How fast parameter sets are tried, as ratios within one run: `python benchmarks/sweep.py [--years N] [--sets N]`.

(a) GridStrategyV4 in Backtrader, whole: feed, indicators, broker, eleven steps, recorder, metrics
(b) the compiled sweep: the same eleven steps over shared arrays, one thread
(c) the same, two threads
(d) a compiled ladder that matches, keeps and rebuilds orders like those of the busy preset, without any of the rules

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

import numba
import numpy as np
import optstrategy
import pandas as pd
from backtest import BUSY_CONFIG, YEAR, deeds, load, seconds

from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.sweep import SweepMarket, SweepWallet, sweep

CASH = 10_000.0
FIRST_DAY = pd.Timestamp("2022-01-01", tz="UTC")
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


def bare_ladder(highs, lows, closes):
    """Do what `backtest.plain_loop` does, over arrays: ten levels a side, a spacing of 1 % or 3 ATR, exits at 1 %."""
    wallet, anchor, average_range = 10_000.0, closes[0], highs[0] - lows[0]
    prices, qtys, fills, held = np.zeros((2, 10)), np.zeros((2, 10)), np.zeros((20, 4)), 0
    for t in range(len(closes)):
        high, low, close = highs[t], lows[t], closes[t]
        for side in range(2):
            sign = 1.0 - 2.0 * side
            for i in range(10):
                price, qty = prices[side, i], qtys[side, i]
                if price > 0.0 and (low <= price if side == 0 else high >= price) and held < 20:
                    prices[side, i] = 0.0
                    wallet -= 0.0002 * price * qty
                    fills[held, 0], fills[held, 1], fills[held, 2] = sign, price, qty
                    fills[held, 3] = price * (1.0 + sign * 0.01)
                    held += 1
        kept = 0
        for j in range(held):
            sign, price, qty, target = fills[j, 0], fills[j, 1], fills[j, 2], fills[j, 3]
            if high >= target if sign > 0.0 else low <= target:
                wallet += sign * (target - price) * qty - 0.0002 * target * qty
            else:
                fills[kept, 0], fills[kept, 1], fills[kept, 2], fills[kept, 3] = sign, price, qty, target
                kept += 1
        held = kept
        average_range += ((high - low) - average_range) / 14.0
        spacing = max(3.0 * average_range / close, 0.01)
        if not anchor * (1.0 + spacing) ** -10.0 < close < anchor * (1.0 + spacing) ** 10.0:
            anchor = close
        qty = np.floor(0.05 * wallet / close * 1_000.0 + 0.5) / 1_000.0
        for side in range(2):
            growth = 1.0 / (1.0 + spacing) if side == 0 else 1.0 + spacing
            level = anchor
            for i in range(10):
                level *= growth
                price = np.floor(level * 10.0 + 0.5) / 10.0
                if price >= close if side == 0 else price <= close:
                    prices[side, i] = 0.0
                elif prices[side, i] == 0.0 or abs(prices[side, i] - price) > 0.25 * spacing * price:
                    prices[side, i], qtys[side, i] = price, qty
    return wallet


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


def sets_a_second(market: SweepMarket | SweepWallet, sets: Sequence[GridConfig], threads: int) -> tuple[float, float]:
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

    ladder = numba.njit(bare_ladder)
    columns = [market.bars[name].copy() for name in ("high", "low", "close")]
    ladder(*columns)
    [result] = sweep(market, [config], CASH)
    same = result.end_equity == in_backtrader()
    backtrader, compiled, bare = alternating(
        (
            lambda: seconds(in_backtrader) / bars,
            lambda: seconds(lambda: list(sweep(market, [config] * 5, CASH))) / 5 / bars,
            lambda: seconds(lambda: [ladder(*columns) for _ in range(20)]) / 20 / bars,
        ),
        rounds,
    )
    times = statistics.median(ours / least for ours, least in zip(compiled, bare, strict=True))
    ratio = statistics.median(slow / fast for slow, fast in zip(backtrader, compiled, strict=True))
    print(
        f"{name}, {data.symbol}, {bars:,} bars of 15 minutes: {deeds(result.fills, result.stops, result.label_trades)}"
    )
    print(f"  (a) {statistics.median(backtrader) * 1e9:9,.0f} ns  GridStrategyV4 in Backtrader")
    print(f"  (b) {statistics.median(compiled) * 1e9:9,.0f} ns  sweep; best {min(compiled) * 1e9:,.0f} ns")
    print(f"      {1e-6 / statistics.median(compiled):9.2f} million bars a second   reach: at least 1.2")
    print(f"      {statistics.median(compiled) * YEAR * 1e3:9.1f} ms a coin-year   reach: at most 30")
    print(f"  (d) {statistics.median(bare) * 1e9:9,.0f} ns  a ladder of 10 levels a side without the rules")
    print(f"  (b)/(d) {times:6.1f}   reach: at most 4 with the busy preset")
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


def wallet_rates(years: int, sets: Sequence[GridConfig], rounds: int) -> None:
    """Print how many sets are tried a second on symbols that share a wallet, and what a bar of a symbol takes."""
    data = []
    for symbol in dict.fromkeys(load(name)[0] for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")):
        _, candles, funding = load(symbol)
        first = int(candles["time"].searchsorted(FIRST_DAY))
        data.append(SymbolData(symbol, candles.iloc[first : first + years * YEAR].reset_index(drop=True), funding))
    wallet = SweepWallet.of([SweepMarket.of(feed) for feed in make_feeds(data)])
    wallet.prepare(sets)
    alone = SweepWallet.of(wallet.markets[:1])
    (together, single) = alternating(
        (lambda: sets_a_second(wallet, sets, 1), lambda: sets_a_second(alone, sets, 1)), rounds
    )
    clock, busy = (statistics.median(column) for column in zip(*together, strict=True))
    bars = years * YEAR
    print(f"  {', '.join(one.symbol for one in wallet.markets)}: {clock:.1f} sets/s, {busy:.1f} sets a CPU second")
    print(
        f"  a bar of a symbol: {1e9 / busy / bars / len(data):,.0f} ns, "
        f"alone {1e9 / statistics.median(found[1] for found in single) / bars:,.0f} ns"
    )


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
        print("  several symbols in one wallet:")
        wallet_rates(arguments.years, sets, arguments.rounds)
    print("parameter sets through optstrategy:")
    optstrategy.report()


if __name__ == "__main__":
    main()
