"""A wallet and the symbols it trades in a window, ready for trials: in Backtrader, or compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from feeds.candles import CandleFeed
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import end_ms, time_ms
from gridv4_bt.engine.warm_up import LONGEST_MEMORY_BARS
from gridv4_bt.errors import DataError
from gridv4_bt.optimise.cerebro import compile_rules
from gridv4_bt.optimise.figures import Evaluation, of_run
from gridv4_bt.optimise.space import Space


class TrialMarket(Protocol):
    """The data of one wallet and window, on which trials run. It can be pickled."""

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute what these configs share, once, before the trials are distributed."""

    def evaluate(self, config: GridConfig) -> Evaluation:
        """Run one parameter set from the window's first bar to its last."""


MOST_NAMED = 3  #: symbols in the name of a wallet

#: Trials without what this names are other trials: a search of them does not go on with these.
_MADE_WITH = b"windows are warmed up by the bars before them; independent bets are counted"
#: By names of the wallet and of the window.
Markets = Mapping[tuple[str, str], TrialMarket]


@dataclass(frozen=True)
class SymbolGroup:
    """Symbols that trade with one wallet."""

    name: str
    symbols: tuple[SymbolData, ...]

    def within(self, first: date | None, last: date | None) -> tuple[SymbolData, ...]:
        """Return the symbols that have bars between two days."""
        return tuple(
            one
            for one in self.symbols
            if (last is None or one.candles.time[0] <= end_ms(last))
            and (first is None or one.candles.time[-1] >= time_ms(first))
        )


def wallet_groups(space: Space, symbols: Sequence[SymbolData], use: str = "search") -> list[SymbolGroup]:
    """Return the symbols of one use, in the order of the space, by the wallets they trade with."""
    wanted = tuple(data for data, one in zip(symbols, space.symbols, strict=True) if one.use == use)
    if space.wallet == "each" or len(wanted) < 2:
        return [SymbolGroup(data.symbol, (data,)) for data in wanted]
    return [SymbolGroup(wallet_name([data.symbol for data in wanted]), wanted)]


def wallet_name(symbols: Sequence[str]) -> str:
    """Return what a wallet of several symbols is called."""
    if len(symbols) <= MOST_NAMED:
        return "+".join(symbols)
    return f"{'+'.join(symbols[:MOST_NAMED])} and {len(symbols) - MOST_NAMED} more"


@dataclass(frozen=True)
class BacktraderMarket:
    """Trials as `run_backtest.py` runs them."""

    symbols: tuple[SymbolData, ...]
    first: date | None
    last: date | None
    cash: float
    warm_up: int = LONGEST_MEMORY_BARS  #: bars before the window that are read and not traded, if there are so many

    @cached_property
    def feeds(self) -> list[CandleFeed]:
        """The window's bars, and those before it that warm it up."""
        return make_feeds(self.symbols, start=self.first, end=self.last, warm_up=self.warm_up)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        compile_rules()
        _ = self.feeds

    def evaluate(self, config: GridConfig) -> Evaluation:
        return of_run(run(make_cerebro(self.feeds, config, self.cash)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "feeds"}


def load_symbols(space: Space, given: Mapping[str, SymbolData]) -> tuple[list[SymbolData], str]:
    """Read and check all files once; return them, and a name for the content of those the search sees.

    `given` is the data of symbols, by their name, that is not in the space's files.

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    loaded, digest = [], hashlib.sha256(_MADE_WITH)
    for symbol in space.symbols:
        own = SymbolData(symbol.name, symbol.candles, symbol.funding, symbol.mark)
        if symbol.candles is None and symbol.name not in given:
            raise DataError(f"{symbol.name}: the space names no candles of it. Name them, or give them with --data.")
        [feed] = make_feeds([given.get(symbol.name, own)])
        loaded.append(SymbolData(symbol.name, feed.candles, feed.p.funding, feed.p.mark))
        for table in (feed.candles, feed.p.funding, feed.p.mark) if symbol.use == "search" else ():
            for column in ("time", "open", "high", "low", "close", "volume", "rate"):
                values = getattr(table, column, None)
                digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())
    return loaded, digest.hexdigest()[:16]


def make_market(
    symbols: Sequence[SymbolData],
    first: date | None,
    last: date | None,
    cash: float,
    engine: str,
    warm_up: int = LONGEST_MEMORY_BARS,
) -> TrialMarket:
    """Return the market of a wallet between two days; up to `warm_up` bars before them warm it up and are not traded.

    Raises
    ------
    DataError
        A symbol has no bar between them.
    """
    market = BacktraderMarket(tuple(symbols), first, last, cash, warm_up)
    if engine == "backtrader":
        return market
    from gridv4_bt.optimise.compiled_trials import SweptMarket  # loading the compiler takes a second

    return SweptMarket.of(market.feeds, cash)
