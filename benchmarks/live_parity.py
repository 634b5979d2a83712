"""Months traded live through ccxt at the local exchange, held against their backtest.

`python benchmarks/live_parity.py [--days N]`

Three months of the sample market, and BTC and SOL in one wallet from 2022-10-25 to 2022-12-25 (the week of FTX, funding
every two hours) where ../shared/data is there; each with the busy preset, its levels small and near to each other, and
with the defaults. A quarter of an hour each. Under 100 fills prove nothing.
"""

import argparse
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from backtest import summary_deeds
from rich.console import Console

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.audit.audit import Audit, audit
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli.audit import audit_table
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.paper import paper_gateway
from gridv4_bt.live.runner import Session
from presets import BUSY

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CONFIGS = {
    "busy preset, levels near to each other": load_config(BUSY, ["floor_pct=0.003", "k=0.8", "levels=5"]),
    "defaults": GridConfig(),
}
QUARTER = pd.Timedelta(minutes=15)


def cut(candles: pd.DataFrame, start: str, days: int) -> pd.DataFrame:
    """Return the bars of some days and the history before them."""
    first = pd.Timestamp(start, tz="UTC")
    history = max(map(history_bars, CONFIGS.values()))
    begin, end = first - history * QUARTER, first + pd.Timedelta(days=days)
    return candles[(candles["time"] >= begin) & (candles["time"] < end)].reset_index(drop=True)


def sample(days: int) -> list[SymbolData]:
    """Return the sample market from March 2024 on."""
    market = sample_market()
    return [SymbolData(SYMBOL, cut(market.candles, "2024-03-01", days), market.funding)]


def real(days: int) -> list[SymbolData]:
    """Return BTC and SOL from 2022-10-25 on."""
    found = []
    for symbol in ("BTCUSDT", "SOLUSDT"):
        candles = cut(pd.read_parquet(SHARED / "candles" / f"{symbol}-15m.parquet"), "2022-10-25", days)
        mark = SHARED / "mark" / f"{symbol}-mark-1h.parquet"
        funding = pd.read_parquet(SHARED / "funding" / f"{symbol}-funding.parquet")
        found.append(SymbolData(symbol, candles, funding, mark if mark.exists() else None))
    return found


def traded(data: list[SymbolData], config: GridConfig) -> tuple[Audit, float]:
    """Trade a market live, audit the session, and return what that found and the processor time of the trading."""
    feeds = make_feeds(data)
    rules = {feed.p.name: load_market_history(feed.p.name) for feed in feeds}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        plan = SessionPlan(list(rules), config, Path(folder))
        with (
            paper_gateway(feeds, rules, config, 10_000.0, threading.Event()) as place,
            Session(plan, place, lambda title, text: None) as session,
        ):
            session.prepare()
            session.run()
        seconds = time.process_time() - began
        return audit(Path(folder)), seconds


def hold(data: list[SymbolData], config: GridConfig, console: Console) -> bool:
    """Trade, audit and print; return whether live and backtest are the same."""
    found, seconds = traded(data, config)
    console.print(audit_table(found, 0.0))
    console.print(f"compared: {summary_deeds(found.replay.summary)}")
    same = int((found.live == found.backtest).sum())
    worst = max(
        (
            abs(getattr(pair.live, name) / getattr(pair.backtest, name) - 1.0)
            for pair in found.matched
            for name in ("qty", "price", "fee")
        ),
        default=0.0,
    )
    console.print(
        f"equity equal to the bit at {same:,} of {len(found.times):,} bars, at most "
        f"{np.abs(found.live - found.backtest).max():.3g} apart; quantities, prices and fees at most {worst:.1e} of "
        f"themselves; {seconds:.0f} s of processor time"
    )
    return found.is_identical


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=0, help="of each market, in place of 91 and 61")
    days = parser.parse_args().days
    logging.getLogger("gridv4.live").setLevel(logging.ERROR)
    console = Console()
    markets = [sample(days or 91)] + ([real(days or 61)] if SHARED.exists() else [])
    same = []
    for data in markets:
        for name, config in CONFIGS.items():
            console.print(f"{', '.join(one.symbol for one in data)}, {name}:")
            same.append(hold(data, config, console))
    sys.exit(0 if all(same) else 1)


if __name__ == "__main__":
    main()
