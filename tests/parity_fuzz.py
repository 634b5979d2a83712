"""Random parameter sets in Backtrader, plain and compiled, in a sweep and live: four ways that must trade the same.

python tests/parity_fuzz.py --sets 300 --wallets 30 --live 20 --cut 20 --seed 2

A set is run in Backtrader, there with compiled steps, and in a sweep over the same bars of a real market (the busy one
where there is none) and compared to the last bit; then sets over several symbols that share one wallet, and sets close
to the busy preset over years of five symbols (`--years`). The first sets are traded live too: three symbols in one
wallet, through the real ccxt client at the local exchange, against the backtest of all three. Then runs are repeated on
data that ends early: with every number of the definition moved at once, and with each of them alone.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it takes the code of this checkout

import backtrader as bt
import pandas as pd
import random_sets
from busy import busy
from random_sets import BAR, CRASHES, DEFINED, SYMBOLS, Stretch, moved_set, random_data, random_set
from same_runs import assert_identical, assert_same
from wallets import REAL, UNFUNDED, shifted_symbols, with_holes

from brokers.hedge import HedgeBroker
from gridv4_bt.backtest import RunResult, SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import MarketHistory, load_market_history
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.metrics.recorder import SymbolRecord
from gridv4_bt.optimise.compiled_broker import CompiledBroker
from gridv4_bt.sweep import SweepMarket, SweepWallet, sweep
from gridv4_bt.validation.bias import CutRun, lookahead, tables

FIRST_YEAR = pd.Timestamp("2022-01-01", tz="UTC")
YEAR_BARS = 35_040
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
    rules = random_sets.rules()
    [result] = sweep(SweepMarket.of(make_feeds([data])[0], rules), [config], cash, log=True, closed=True)
    reference = run(make_cerebro(make_feeds([data]), config, cash, rules))
    compared.add(config, reference.records, reference.summary)
    assert_same(result, reference)
    assert_identical(compiled_run(make_cerebro(make_feeds([data]), config, cash, rules, CompiledBroker)), reference)


def compare_wallet(seed: int, number: int, compared: Compared, **fixed: object) -> None:
    """Run a set over several symbols in one wallet in both; raise AssertionError where they differ."""
    draw = draw_of(seed, number)
    config = random_set(draw, leverage=draw.choice((1, 3, 5, 10)), **fixed)
    data = shifted_symbols(draw.randint(2, 20), draw.randint(600, 2_400), draw)
    if draw.random() < 0.3:
        data = [with_holes(one, draw, 5, 60) for one in data]
    _compare_wallet(data, config, draw.choice((1e4, 1e5, 1e6)), compared)


def compare_years(seed: int, number: int, compared: Compared) -> None:
    """Run a set close to the busy preset over three years of five symbols in one wallet in both."""
    draw = draw_of(seed, number)
    config, data = near_busy(draw), []
    for symbol in REAL:  # their data begin and end up to a month apart
        late, early = (draw.randrange(3_000) for _ in range(2))
        one = Stretch(symbol, FIRST_YEAR + BAR * late, 3 * YEAR_BARS - late - early).data()
        data.append(replace(one, funding=None) if symbol in UNFUNDED else one)
    dated = {symbol: load_market_history(symbol, random_sets.rules()) for symbol in SYMBOLS}
    _compare_wallet(data, config, 1e5, compared, dated)


def near_busy(draw: random.Random) -> GridConfig:
    """Return the busy preset with what a search varies."""
    stop = draw.uniform(3.0, 8.0)
    return busy(
        regime=draw.choice(("kama", "kama", "none")), k=draw.uniform(1.0, 4.0), floor_pct=draw.uniform(0.004, 0.015),
        levels=draw.randint(4, 15), gamma=draw.uniform(0.5, 10.0), kappa=draw.uniform(50.0, 2_000.0),
        order_pct=draw.uniform(0.01, 0.1), stop1_atr=stop, stop2_atr=stop * draw.uniform(1.2, 2.0),
        var_pct=draw.uniform(0.02, 0.3), trend_slope=draw.uniform(0.02, 0.1), leverage=draw.choice((3, 5, 10)),
        deviance_atr=draw.choice((0.0, 3.0, 5.0)), max_age_hours=draw.choice((0.0, 12.0, 24.0)),
    )  # fmt: skip


def _compare_wallet(
    data: list[SymbolData],
    config: GridConfig,
    cash: float,
    compared: Compared,
    dated: Mapping[str, MarketHistory] = MappingProxyType({}),
) -> None:
    markets = {one.symbol: dated.get(one.symbol) or load_market_history(one.symbol) for one in data}
    wallet = SweepWallet.of([SweepMarket.of(feed, markets[feed.p.name]) for feed in make_feeds(data)])
    [result] = sweep(wallet, [config], cash, log=True, closed=True)
    plain, compiled = (
        make_cerebro(make_feeds(data), config, cash, broker=kind) for kind in (HedgeBroker, CompiledBroker)
    )
    plain.broker.p.markets = compiled.broker.p.markets = markets
    reference = run(plain)
    compared.add(config, reference.records, reference.summary)
    assert_same(result, reference)
    assert_identical(compiled_run(compiled), reference)


def compiled_run(cerebro: bt.Cerebro) -> RunResult:
    """Run a Cerebro whose `CompiledBroker` compiles its steps."""
    result = run(cerebro)
    assert cerebro.broker.is_compiled
    return result


def compare_live(seed: int, number: int, compared: Compared, bars: int = LIVE_BARS, **fixed: object) -> None:
    """Trade a set live and in Backtrader, three symbols in one wallet; raise AssertionError where they differ."""
    from live_market import Market, differences, rows

    from gridv4_bt.record.equity import write_equity
    from gridv4_bt.record.trades import write_trades

    draw = draw_of(seed, number)
    config = random_set(draw, **fixed)
    config = config.model_copy(update={"warm_up": history_bars(config) - 1})  # both begin at the same bar
    begin = pd.Timestamp(draw.choice(CRASHES), tz="UTC") - BAR * (history_bars(config) + draw.randrange(LIVE_BARS // 2))

    class RealMarket(Market):
        def _data(self):
            if not random_sets.IS_REAL:
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


def cut_and_rerun(draw: random.Random, config: GridConfig, cuts: int = 5) -> list[CutRun]:
    """Run a config again on data that ends early, at twice as many bars as `cuts`."""
    rules = random_sets.rules()
    data = tables(make_feeds([random_data(draw)]))
    return lookahead(data, lambda some: make_cerebro(make_feeds(some), config, 1e4, rules), cuts, draw.randrange(1_000))


def compare_cuts(seed: int, number: int) -> list[CutRun]:
    """Cut and rerun a set in which every number of the definition is moved."""
    draw = draw_of(seed, number)
    return cut_and_rerun(draw, moved_set(draw))


def compare_cuts_of(seed: int, name: str) -> list[CutRun]:
    """Cut and rerun the busy preset with one number of the definition moved."""
    draw = random.Random(f"{seed} {name}")
    return cut_and_rerun(draw, busy(**{name: getattr(moved_set(draw), name)}))


def rerun_all(seed: int, sets: int) -> bool:
    """Cut and rerun, print what was compared and return whether a decision differs."""
    began = time.perf_counter()
    runs = [(f"set {number}", compare_cuts(seed, number)) for number in range(sets)]
    runs += [(name, compare_cuts_of(seed, name)) for name in DEFINED]
    differing = [(name, run.difference) for name, cuts in runs for run in cuts if run.difference is not None]
    for name, difference in differing:
        print(f"cut and rerun: {name} of seed {seed} differs: {difference}")
    cuts, bars = sum(len(cuts) for _, cuts in runs), sum(run.bars for _, cuts in runs for run in cuts)
    seconds = time.perf_counter() - began
    print(f"Cut and rerun: every number of the definition moved in {sets} sets, one of them in {len(runs) - sets}")
    print(f"  {cuts:,} cuts, decisions at {bars:,} bars compared, {len(differing)} differences\n  {seconds:.0f} s")
    return bool(differing)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sets", type=int, default=300)
    options.add_argument("--wallets", type=int, default=30, help="how many over several symbols in one wallet")
    options.add_argument("--years", type=int, default=0, help="how many over three years of five symbols")
    options.add_argument("--live", type=int, default=20, help="how many of them are traded live too")
    options.add_argument("--cut", type=int, default=20, help="how many sets are run again on cut data")
    options.add_argument("--first", type=int, default=0, help="number of the first set")
    options.add_argument("--seed", type=int, default=2)
    given = options.parse_args()
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)  # refusals of post-only orders are part of it
    failed = False
    for name, compare, count in (
        ("kernel", compare_kernel, given.sets),
        ("kernel, several symbols in one wallet", compare_wallet, given.wallets),
        ("kernel, years of five symbols in one wallet", compare_years, given.years),
        ("live", compare_live, given.live),
    ):
        if not count:
            continue
        began, compared = time.perf_counter(), Compared()
        for number in range(given.first, given.first + count):
            try:
                compare(given.seed, number, compared)
            except AssertionError as error:
                failed = True
                print(f"{name}: set {number} of seed {given.seed} differs: {error}", flush=True)
        print(f"Backtrader = {name}: {compared}\n  {time.perf_counter() - began:.0f} s", flush=True)
    if given.cut:
        failed |= rerun_all(given.seed, given.cut)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
