"""Many symbols traded live through ccxt at the local exchange: calls, weight and time a bar, held against a backtest.

`python benchmarks/live_many.py [--symbols N] [--days N] [--config busy|defaults]`

The symbols are those of ../shared/data and, beyond five, the same ones shifted in time and price: BTCMADE1USDT is no
market. A month of five symbols takes half an hour, a day of twenty some minutes.
"""

import argparse
import logging
import math
import sys
import time
from collections import Counter

import pandas as pd
from backtest import summary_deeds
from live_parity import QUARTER, SHARED, traded
from rich.console import Console

from gridv4_bt.backtest import SymbolData
from gridv4_bt.cli.audit import audit_table
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.core.time import MINUTE_MS
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.exchange.limits import Limits
from presets import BUSY

REAL = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "TRXUSDT")
FIRST = pd.Timestamp("2024-08-01", tz="UTC")  #: four days before a crash
ROUND_TRIP = 0.1  #: seconds that a request takes to the exchange and back, far away from it
BAR_MS = 15 * MINUTE_MS


class Count:
    """What is spent of the exchange's limits, by its own minutes; the exchange itself still counts and refuses."""

    def __init__(self) -> None:
        self.weight: Counter[int] = Counter()
        self.orders: Counter[int] = Counter()
        self.calls: Counter[int] = Counter()
        self.began: dict[int, float] = {}
        self.last: dict[int, float] = {}  #: by bar: when its last order was sent, seconds of the clock
        self.until_last: dict[int, int] = {}  #: by bar: calls up to it
        self.until_first: dict[int, int] = {}  #: by bar: calls before its first order, when all symbols have decided
        spend = Limits.spend

        def counted(limits: Limits, weight: int, orders: int, now: int) -> dict[str, str]:
            minute, bar = now // MINUTE_MS, now // BAR_MS
            self.weight[minute] += weight
            self.orders[minute] += orders
            self.calls[bar] += 1
            self.began.setdefault(bar, time.monotonic())
            if orders and now % BAR_MS < MINUTE_MS:
                self.until_first.setdefault(bar, self.calls[bar] - 1)
                self.last[bar], self.until_last[bar] = time.monotonic(), self.calls[bar]
            return spend(limits, weight, orders, now)

        Limits.spend = counted

    def forget_start(self) -> None:
        """Leave out the bar in which the session was prepared."""
        first = min(self.calls)
        for of_bars in (self.calls, self.began, self.last, self.until_first, self.until_last):
            of_bars.pop(first, None)
        for of_minutes in (self.weight, self.orders):
            for minute in [one for one in of_minutes if one * MINUTE_MS // BAR_MS == first]:
                del of_minutes[minute]


def data_of(count: int, days: int, history: int) -> list[SymbolData]:
    """Return the symbols, with the bars before the first day that warm them up."""
    found = []
    for number in range(count):
        real, copy = REAL[number % len(REAL)], number // len(REAL)
        candles = pd.read_parquet(SHARED / "candles" / f"{real}-15m.parquet")
        first = FIRST - copy * pd.Timedelta(days=11)
        inside = (candles["time"] >= first - history * QUARTER) & (candles["time"] < first + pd.Timedelta(days=days))
        part = candles[inside].reset_index(drop=True)
        part["time"] += FIRST - first
        funding = pd.read_parquet(SHARED / "funding" / f"{real}-funding.parquet")
        found.append(SymbolData(real if not copy else real.replace("USDT", f"MADE{copy}USDT"), part, funding))
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=5)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--config", choices=("busy", "defaults"), default="busy")
    arguments = parser.parse_args()
    logging.getLogger("gridv4.live").setLevel(logging.ERROR)
    console, count = Console(), Count()
    config = load_config(BUSY) if arguments.config == "busy" else GridConfig()
    found, seconds = traded(data_of(arguments.symbols, arguments.days, history_bars(config)), config)
    console.print(audit_table(found, 0.0))
    count.forget_start()
    bars = len(count.calls)
    late = [count.last[bar] - count.began[bar] for bar in count.last]
    decided, calls = (max(part.values(), default=0) for part in (count.until_first, count.until_last))
    console.print(f"compared: {summary_deeds(found.replay.summary)}")
    console.print(
        f"{arguments.symbols} symbols, {bars:,} bars: {sum(count.calls.values()) / bars:.1f} calls and "
        f"{sum(count.weight.values()) / bars:.0f} weight a bar; in the worst minute {max(count.weight.values())} of "
        f"2,400 weight and {max(count.orders.values())} of 1,200 orders; {1000 * seconds / bars:.0f} ms of processor "
        "time a bar"
    )
    console.print(
        f"after a close at most {decided} calls until all have decided and {calls} until the last order, which is "
        f"{decided * ROUND_TRIP:.1f} s and {calls * ROUND_TRIP:.1f} s where a call takes {ROUND_TRIP:g} s; "
        f"{max(late, default=math.nan):.1f} s here"
    )
    sys.exit(0 if found.is_identical else 1)


if __name__ == "__main__":
    main()
