"""Random parameter sets in Backtrader, in the compiled kernel and live: three ways that must trade the same.

python tests/parity_fuzz.py --sets 300 --live 20 --seed 1

A set is run in Backtrader and in the kernel over the same bars of a real market (the busy one where there is none) and
compared to the last bit. The first sets are traded live too: three symbols in one wallet, through the real ccxt
client at the local exchange, against the backtest of all three.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from random_sets import BAR, CRASHES, RULES, SHARED, SYMBOLS, Stretch, random_data, random_set
from same_runs import assert_same

from gridv4_bt.backtest import make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.sweep import SweepMarket, sweep

LIVE_BARS = 120
LIVE_CASH = 10_000.0


@dataclass
class Compared:
    """What was compared, counted."""

    sets: int = 0
    bars: int = 0  #: at which a symbol decided
    fills: int = 0
    open_fills: int = 0
    closings: Counter = field(default_factory=Counter)  #: by label
    blocked: Counter = field(default_factory=Counter)  #: bars of a level without an order, by reason
    others: Counter = field(default_factory=Counter)

    def add(self, config: GridConfig, records: list[SymbolRecord], summary: dict) -> None:
        """Count one backtest."""
        self.sets += 1
        self.bars += sum(len(record.log) for record in records)
        for record in records:
            self.fills += len({t.trade_id for t in record.trades} | {fill.id for _, fill in record.open_fills})
            self.open_fills += len(record.open_fills)
            self.closings.update(str(trade.label) for trade in record.trades)
            self.blocked.update(record.blocked)
        self.others[f"regime {config.regime}"] += 1
        self.others.update({name: summary[name] for name in ("halts", "stops", "margin_calls", "liquidations")})

    def __str__(self) -> str:
        closings, blocked = (", ".join(f"{k} {n:,}" for k, n in c.most_common()) for c in (self.closings, self.blocked))
        others = ", ".join(f"{name} {count:,}" for name, count in sorted(self.others.items()))
        return (
            f"{self.sets} sets, {self.bars:,} bars, {self.fills:,} fills of which {self.open_fills:,} open at the end, "
            f"{self.closings.total():,} closings\n  closings: {closings}\n  no order: {blocked}\n  {others}"
        )


def draw_of(seed: int, number: int) -> random.Random:
    """Return the draws of a set, which do not depend on how many others there are."""
    return random.Random(f"{seed} {number}")


def compare_kernel(seed: int, number: int, compared: Compared, **fixed: object) -> None:
    """Run a set in Backtrader and in the kernel; raise AssertionError where they differ."""
    draw = draw_of(seed, number)
    config = random_set(draw, **fixed)
    data, cash = random_data(draw), draw.choice((300.0, 1e4, 1e4, 1e4, 1e6, 1e7))
    rules = RULES if RULES.exists() else None
    [result] = sweep(SweepMarket.of(make_feeds([data])[0], rules), [config], cash, log=True, closed=True)
    reference = run(make_cerebro(make_feeds([data]), config, cash, rules))
    compared.add(config, reference.records, reference.summary)
    assert_same(result, reference)


def compare_live(seed: int, number: int, compared: Compared, bars: int = LIVE_BARS, **fixed: object) -> None:
    """Trade a set live and in Backtrader, three symbols in one wallet; raise AssertionError where they differ."""
    from live_market import Market, differences, rows

    from gridv4_bt.record.equity import write_equity
    from gridv4_bt.record.trades import write_trades

    draw = draw_of(seed, number)
    config = random_set(draw, **fixed)
    config = config.model_copy(update={"warm_up": history_bars(config) - 1})  # both begin at the same bar
    begin = pd.Timestamp(draw.choice(CRASHES), tz="UTC") - BAR * (history_bars(config) + draw.randrange(bars // 2))

    class RealMarket(Market):
        def _data(self):
            if not SHARED.is_dir():
                return super()._data()
            return [Stretch(symbol, begin, history_bars(config) + bars).data() for symbol in SYMBOLS]

    with tempfile.TemporaryDirectory() as folder:
        settings = tuple(f"{name}={value}" for name, value in config)
        scene = RealMarket(Path(folder) / "state", bars=bars, settings=settings, second=SYMBOLS[1])
        assert scene.config == config
        scene.live()
        cerebro = make_cerebro(make_feeds(scene.data), config, LIVE_CASH)
        backtest = run(cerebro)
        compared.add(config, backtest.records, backtest.summary)
        unequal = []
        for name, write in (("trades.csv", write_trades), ("equity.csv", write_equity)):
            write(Path(folder) / name, backtest.records)
            told, expected = rows(scene.folder / name), rows(Path(folder) / name)
            if write is write_trades:  # a session writes as the market goes, a backtest symbol by symbol within a bar
                told.sort(key=lambda trade: (trade["close_time"], SYMBOLS.index(trade["symbol"])))
            unequal += [f"{name} {one}" for one in differences(told, expected)]
        assert not unequal, "\n".join([*unequal[:10], *scene.alerts[:10]])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sets", type=int, default=300)
    options.add_argument("--live", type=int, default=20, help="how many of them are traded live too")
    options.add_argument("--first", type=int, default=0, help="number of the first set")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    failed = False
    for name, compare, count in (("kernel", compare_kernel, given.sets), ("live", compare_live, given.live)):
        began, compared = time.perf_counter(), Compared()
        for number in range(given.first, given.first + count):
            try:
                compare(given.seed, number, compared)
            except AssertionError as error:
                failed = True
                print(f"{name}: set {number} of seed {given.seed} differs: {error}", flush=True)
        print(f"Backtrader = {name}: {compared}\n  {time.perf_counter() - began:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
