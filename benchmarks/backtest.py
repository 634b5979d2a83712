"""How long a backtest takes, as ratios within one run: `python benchmarks/backtest.py [--years N]`.

(a) stock Backtrader, empty next(), PandasData, default Cerebro
(b) stock Backtrader, BackBroker, 20 limit orders cancelled and replaced every bar
(c) GridStrategyV4, whole: feed, indicators, broker, eleven steps, recorder, metrics; the steps compiled, as
    `gridv4 backtest` runs them once `gridv4 compile` was called
(d) a plain-Python loop without any framework that keeps, matches and rebuilds such a ladder
(e) as (c), with the default parameters, which trade rarely; (c) has those of `presets/busy.toml`
(p) as (c), the steps in plain Python, as where anything watches them at every bar

Times are CPU seconds, medians of alternating rounds, because machines are noisy. Real BTC candles are used
when ../shared/data is there, else the synthetic market. (b) takes minutes and gigabytes, as it keeps a copy of every
order it ever made: it runs once, in a process of its own, over one year at most.
"""

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import backtrader as bt
import pandas as pd

from brokers.hedge import HedgeBroker
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.optimise.compiled_broker import CompiledBroker, compile_steps
from presets import BUSY

YEAR = 35_040
BUSY_CONFIG = load_config(BUSY)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def load(symbol: str = "BTCUSDT") -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Return symbol, candles and funding of a real market, or of the synthetic one where it is not at hand."""
    candles = SHARED / "candles" / f"{symbol}-15m.parquet"
    if candles.exists():
        return symbol, pd.read_parquet(candles), pd.read_parquet(SHARED / "funding" / f"{symbol}-funding.parquet")
    market = sample_market(days=4 * 365)
    return SYMBOL, market.candles, market.funding


class Empty(bt.Strategy):
    """(a)."""

    def next(self) -> None:
        pass


class Replacing(bt.Strategy):
    """(b): 10 buys below and 10 sells above, all of them new every bar."""

    def __init__(self) -> None:
        self.resting: list[bt.Order] = []

    def next(self) -> None:
        for order in self.resting:
            self.cancel(order)
        close = self.data.close[0]
        self.resting = []
        for level in range(1, 11):
            step = 1.01**level
            self.resting.append(self.buy(exectype=bt.Order.Limit, price=close / step, size=0.001))
            self.resting.append(self.sell(exectype=bt.Order.Limit, price=close * step, size=0.001))


def stock(strategy: type[bt.Strategy], candles: pd.DataFrame) -> None:
    """Run a strategy the way Backtrader's own documentation does."""
    frame = candles.set_index("time")
    frame.index = frame.index.tz_localize(None)
    cerebro = bt.Cerebro()
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(strategy)
    cerebro.run()


def ours(
    symbol: str,
    candles: pd.DataFrame,
    funding: pd.DataFrame,
    config: GridConfig = BUSY_CONFIG,
    broker: type[HedgeBroker] = CompiledBroker,
) -> dict:
    """Do (c), with the default parameters (e), with a `HedgeBroker` (p); return the summary."""
    feeds = make_feeds([SymbolData(symbol, candles, funding)])
    cerebro = make_cerebro(feeds, config, 10_000.0, broker=broker)
    summary = run(cerebro).summary
    assert broker is HedgeBroker or cerebro.broker.is_compiled
    return summary


def plain_loop(candles: pd.DataFrame) -> float:
    """(d): entries, exits and a ladder of 10 levels a side, rebuilt every bar, kept where near enough."""
    highs, lows, closes = (candles[name].tolist() for name in ("high", "low", "close"))
    wallet, anchor, average_range = 10_000.0, closes[0], highs[0] - lows[0]
    entries: dict[int, tuple[float, float]] = {}
    fills: list[tuple[int, float, float, float]] = []
    for high, low, close in zip(highs, lows, closes, strict=True):
        for level in [n for n, (price, _) in entries.items() if (low <= price if n < 0 else high >= price)]:
            price, qty = entries.pop(level)
            sign = 1 if level < 0 else -1
            wallet -= 0.0002 * price * qty
            fills.append((sign, price, qty, price * (1.0 + sign * 0.01)))
        kept = []
        for fill in fills:
            sign, price, qty, target = fill
            if high >= target if sign > 0 else low <= target:
                wallet += sign * (target - price) * qty - 0.0002 * target * qty
            else:
                kept.append(fill)
        fills = kept[-20:]
        average_range += ((high - low) - average_range) / 14.0
        spacing = max(3.0 * average_range / close, 0.01)
        if not anchor * (1.0 + spacing) ** -10 < close < anchor * (1.0 + spacing) ** 10:
            anchor = close
        qty = round(0.05 * wallet / close, 3)
        for level in (*range(-10, 0), *range(1, 11)):
            price = round(anchor * (1.0 + spacing) ** level, 1)
            if price >= close if level < 0 else price <= close:
                entries.pop(level, None)
                continue
            resting = entries.get(level)
            if resting is None or abs(resting[0] - price) > 0.25 * spacing * price:
                entries[level] = (price, qty)
    return wallet


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds a piece of work takes."""
    gc.collect()  # what the work before left behind is not this one's
    began = time.process_time()
    work()
    return time.process_time() - began


def in_own_process(part: str) -> float:
    """Return what a process of its own prints: ``compile``, ``memory`` or ``replacing``, see `main`."""
    done = subprocess.run([sys.executable, __file__, "--only", part], capture_output=True, text=True, check=True)
    return float(done.stdout)


def deeds(fills: float, stops: int, closings: dict[str, int]) -> str:
    """Return what a run did, for who reads its time; `closings` by label."""
    cuts = sum(count for label, count in closings.items() if label not in ("grid", "stop1", "stop2"))
    few = " (under 100 fills prove nothing)" if fills < 100 else ""
    return f"{fills:,} fills{few}, {stops} stops, {cuts} cuts"


def summary_deeds(summary: dict) -> str:
    """Return what the run of a summary did."""
    labels = {label: row["trades"] for label, row in summary["by_label"].items()}
    return deeds(summary["activity"]["fills"], summary["stops"], labels)


def main() -> None:
    """Print the table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=1, help="span of (a), (c) and (d)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("compile", "memory", "replacing"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only == "compile":
        compile_steps()
        print(0.0)
        return
    memory = None
    if not arguments.only:  # before anything is loaded here: a child starts with its parent's peak
        in_own_process("compile")
        memory = in_own_process("memory")
    symbol, candles, funding = load()
    if arguments.only == "memory":
        ours(symbol, candles, funding)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0)
        return
    if arguments.only == "replacing":
        print(seconds(lambda: stock(Replacing, candles.iloc[:YEAR])) / min(YEAR, len(candles)))
        return
    span = candles.iloc[: arguments.years * YEAR]
    bars = len(span)
    times: dict[str, list[float]] = {"a": [], "c": [], "d": [], "e": [], "p": []}

    def measure(rounds: int) -> None:
        for _ in range(rounds):
            times["a"].append(seconds(lambda: stock(Empty, span)))
            times["c"].append(seconds(lambda: ours(symbol, span, funding)))
            times["d"].append(seconds(lambda: plain_loop(span)))
            times["e"].append(seconds(lambda: ours(symbol, span, funding, GridConfig())))
            times["p"].append(seconds(lambda: ours(symbol, span, funding, broker=HedgeBroker)))

    counts = {
        name: ours(symbol, span, funding, config)  # compiles the rules where that was never done before
        for name, config in (("c", BUSY_CONFIG), ("e", GridConfig()))
    }
    ours(symbol, span, funding, broker=HedgeBroker)
    measure(arguments.rounds)
    times["b"] = [in_own_process("replacing") * bars]
    measure(arguments.rounds)
    per_bar = {name: statistics.median(values) / bars * 1e6 for name, values in times.items()}

    def ratio(upper: str, lower: str) -> float:
        return statistics.median(above / below for above, below in zip(times[upper], times[lower], strict=True))

    print(f"{symbol}, {bars:,} bars of 15 minutes, median of {2 * arguments.rounds} rounds, CPU time a bar:")
    for name, text in (
        ("a", "stock Backtrader, empty strategy"),
        ("b", "stock Backtrader, 20 orders replaced a bar, first year, once"),
        ("c", f"GridStrategyV4, whole, busy preset: {summary_deeds(counts['c'])}"),
        ("d", "plain-Python ladder, no framework"),
        ("e", f"GridStrategyV4, whole, defaults: {summary_deeds(counts['e'])}"),
        ("p", "as (c), the steps in plain Python"),
    ):
        print(f"  ({name}) {per_bar[name]:10.1f} us  {text}")
    print(f"(c)/(a)  {ratio('c', 'a'):6.2f}   reach: at most 0.50; (e)/(a) {ratio('e', 'a'):.2f}")
    print(f"(b)/(c)  {per_bar['b'] / per_bar['c']:6.0f}   reach: at least 100")
    print(f"(c)/(d)  {ratio('c', 'd'):6.2f}   reach: at most 1; (p)/(d) {ratio('p', 'd'):.2f}")
    # On the synthetic market, whose years differ less than real ones in how many orders they need.
    print("time a bar by length of the run on the synthetic market, relative to one year:")
    sample = sample_market(days=4 * 365)
    spans = [sample.candles.iloc[: years * YEAR] for years in (1, 2, 4)]
    costs = [
        [seconds(lambda part=part: ours(SYMBOL, part, sample.funding)) / len(part) for part in spans]
        for _ in range(arguments.rounds)
    ]
    for index, part in enumerate(spans):
        print(f"  {len(part) // YEAR} years  {statistics.median(row[index] / row[0] for row in costs):5.2f}")
    print(f"peak memory of (c) over {len(candles):,} bars: {memory:.0f} MB   reach: below 600")


if __name__ == "__main__":
    main()
