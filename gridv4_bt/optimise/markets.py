"""A symbol in a window, ready for trials: in Backtrader, or compiled."""

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
from gridv4_bt.engine.warm_up import LONGEST_MEMORY_BARS
from gridv4_bt.errors import DataError
from gridv4_bt.optimise.cerebro import compile_rules
from gridv4_bt.optimise.figures import Evaluation, of_run
from gridv4_bt.optimise.space import Space


class TrialMarket(Protocol):
    """The data of one symbol and window, on which trials run. It can be pickled."""

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute what these configs share, once, before the trials are distributed."""

    def evaluate(self, config: GridConfig) -> Evaluation:
        """Run one parameter set from the window's first bar to its last, with a wallet of its own."""


#: Trials whose windows began without earlier bars are other trials: a search of them does not go on with these.
_WARMED_UP = b"windows are warmed up by the bars before them"
#: By symbol and name of the window.
Markets = Mapping[tuple[str, str], TrialMarket]


@dataclass(frozen=True)
class BacktraderMarket:
    """Trials as `run_backtest.py` runs them."""

    data: SymbolData
    first: date | None
    last: date | None
    cash: float
    warm_up: int = LONGEST_MEMORY_BARS  #: bars before the window that are read and not traded, if there are so many

    @cached_property
    def feed(self) -> CandleFeed:
        """The window's bars, and those before it that warm it up."""
        [feed] = make_feeds([self.data], start=self.first, end=self.last, warm_up=self.warm_up)
        return feed

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        compile_rules()
        _ = self.feed

    def evaluate(self, config: GridConfig) -> Evaluation:
        return of_run(run(make_cerebro([self.feed], config, self.cash)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "feed"}


def load_symbols(space: Space, given: Mapping[str, SymbolData]) -> tuple[list[SymbolData], str]:
    """Read and check all files once; return them, and a name for their content.

    `given` is the data of symbols, by their name, that is not in the space's files.

    Raises
    ------
    DataError
        A file is missing or damaged.
    """
    loaded, digest = [], hashlib.sha256(_WARMED_UP)
    for symbol in space.symbols:
        own = SymbolData(symbol.name, symbol.candles, symbol.funding, symbol.mark)
        if symbol.candles is None and symbol.name not in given:
            raise DataError(f"{symbol.name}: the space names no candles of it. Name them, or give them with --data.")
        [feed] = make_feeds([given.get(symbol.name, own)])
        loaded.append(SymbolData(symbol.name, feed.candles, feed.p.funding, feed.p.mark))
        for table in (feed.candles, feed.p.funding, feed.p.mark):
            for column in ("time", "open", "high", "low", "close", "volume", "rate"):
                values = getattr(table, column, None)
                digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())
    return loaded, digest.hexdigest()[:16]


def make_market(
    data: SymbolData,
    first: date | None,
    last: date | None,
    cash: float,
    engine: str,
    warm_up: int = LONGEST_MEMORY_BARS,
) -> TrialMarket:
    """Return a symbol's market between two days; up to `warm_up` bars before them warm it up and are not traded.

    Raises
    ------
    DataError
        There is no bar between them.
    """
    market = BacktraderMarket(data, first, last, cash, warm_up)
    if engine == "backtrader":
        return market
    from gridv4_bt.optimise.compiled_trials import SweptMarket  # loading the compiler takes a second

    return SweptMarket.of(market.feed, cash)
