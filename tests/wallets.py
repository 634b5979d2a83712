"""Many symbols for one wallet, made of the few real ones: other bars at the same times, at other prices.

Their names say so: BTCSHIFT3USDT is no market. Where there is no real data they are made of the busy market.
"""

import random
from functools import cache

import pandas as pd
import random_sets
from busy_market import busy_market
from random_sets import BAR, SHARED

from feeds.tables import CandleTable, read_candles
from gridv4_bt.backtest import SymbolData

#: What there is in ../shared, and the first bar that all have.
REAL = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "TRXUSDT")
UNFUNDED = ("ADAUSDT", "TRXUSDT")  #: of which the funding is there for a part of the time only
BEGIN = pd.Timestamp("2022-01-01", tz="UTC")


def shifted_symbols(count: int, bars: int, draw: random.Random, begin: pd.Timestamp = BEGIN) -> list[SymbolData]:
    """Return symbols of up to `bars` bars from a time on, whose data begin and end at different bars."""
    found = []
    for number in range(count):
        real = REAL[number % len(REAL)]
        late, early = (draw.randrange(bars // 3) if number % 3 else 0 for _ in range(2))
        found.append(shifted_symbol(real, number, begin + BAR * late, bars - late - early, draw))
    return found


def shifted_symbol(real: str, number: int, begin: pd.Timestamp, bars: int, draw: random.Random) -> SymbolData:
    """Return bars of a real symbol from anywhere in its history, as if they came later and at other prices."""
    candles = _candles(real, number, random_sets.IS_REAL)
    row, factor = draw.randrange(len(candles) - bars), draw.uniform(0.5, 2.0)
    frame = candles.iloc[row : row + bars].reset_index(drop=True)
    moved = begin - frame["time"].iloc[0]
    frame["time"] += moved
    frame[["open", "high", "low", "close"]] *= factor
    funding = _funding(real, number, random_sets.IS_REAL)
    if funding is not None:
        funding = funding.assign(time=funding["time"] + moved)
    return SymbolData(f"{real.removesuffix('USDT')}SHIFT{number}USDT", frame, funding)


def with_holes(data: SymbolData, draw: random.Random, holes: int, longest: int) -> SymbolData:
    """Return a symbol that misses stretches of bars, as one that was not traded for a while."""
    table, gone = read_candles(data.candles, name=data.symbol), set()
    for _ in range(holes):
        first = draw.randrange(200, len(table))
        gone |= set(range(first, first + draw.randrange(1, longest)))
    kept = [row for row in range(len(table)) if row not in gone]
    columns = {name: getattr(table, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")}
    return SymbolData(data.symbol, CandleTable(table.name, table.interval_ms, **columns), data.funding)


@cache
def _candles(real: str, number: int, is_real: bool) -> pd.DataFrame:
    if not is_real:
        return busy_market(seed=number, days=90).candles
    return pd.read_parquet(SHARED / "candles" / f"{real}-15m.parquet")


@cache
def _funding(real: str, number: int, is_real: bool) -> pd.DataFrame | None:
    """Return the funding of all its bars; None where there is none, so that it is synthetic."""
    if not is_real:
        return busy_market(seed=number, days=90).funding
    if real in UNFUNDED:
        return None
    return pd.read_parquet(SHARED / "funding" / f"{real}-funding.parquet", columns=["time", "rate"])
