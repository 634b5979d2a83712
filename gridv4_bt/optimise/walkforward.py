"""Walk-forward: search the training days of each fold, trade its test days with the best trial, join the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import DAY_MS, end_ms, time_ms
from gridv4_bt.engine.warm_up import span_warm_up
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.folds import Fold, walk_forward_folds
from gridv4_bt.optimise.markets import Markets, make_market, wallet_groups
from gridv4_bt.optimise.space import DateWindow, Space
from gridv4_bt.optimise.study import Search, best_of, portfolio
from gridv4_bt.optimise.workers import Values, Workers

SCHEMES = ("anchored", "rolling")

#: Shows the progress of a search with a title.
Watch = Callable[[Search, str], None]


@dataclass(frozen=True)
class FoldResult:
    """One fold: the parameters chosen on its training days, and their returns on its test days."""

    fold: Fold
    params: Values | None  #: None: nothing kept the limits, so nothing was traded
    objective: float | None  #: the first one, on the training days
    days: NDArray[np.int64]
    returns: NDArray[np.float64]  #: on the test days, the mean of the wallets

    @property
    def total(self) -> float:
        """Compound return on the test days."""
        return float(np.prod(1.0 + self.returns) - 1.0)


def make_markets(
    space: Space, symbols: Sequence[SymbolData], windows: Iterable[DateWindow], engine: str, use: str = "search"
) -> Markets:
    """Return the markets of the wallets of one use in some windows, the first window's first.

    A symbol is in the windows in which it has bars; a wallet that the search sees must have some in all.
    """
    varied = {name: one.choices or (one.low, one.high) for name, one in space.parameters.items()}
    # Not validated: what is fixed may fit only with values that are searched.
    warm_up = span_warm_up(GridConfig().model_copy(update=space.fixed), varied)
    markets = {}
    for window in windows:
        for group in wallet_groups(space, symbols, use):
            traded = group.within(window.first, window.last)
            if use == "search" and not traded:
                traded = group.symbols  # which is refused with the reason
            if traded:
                market = make_market(traded, window.first, window.last, space.cash, engine, warm_up)
                markets[group.name, window.name] = market
    return markets


def main_span(space: Space, symbols: Sequence[SymbolData]) -> tuple[int, int]:
    """Return the first and the last day (since 1970) of the first search window on which all wallets can trade.

    Symbols that share a wallet may begin and end at other days; one of them is enough.

    Raises
    ------
    DataError
        There is none.
    """
    window = space.search_windows[0]
    groups = [group.symbols for group in wallet_groups(space, symbols)]
    first = max(min(-(-int(data.candles.time[0]) // DAY_MS) for data in group) for group in groups)
    last = min(
        max((int(data.candles.time[-1]) + data.candles.interval_ms) // DAY_MS - 1 for data in group) for group in groups
    )
    if window.first is not None:
        first = max(first, -(-time_ms(window.first) // DAY_MS))
    if window.last is not None:
        last = min(last, end_ms(window.last) // DAY_MS - 1)
    if first > last:
        raise DataError(f"window {window.name}: the symbols have no whole day in common")
    return first, last


def folds_of(space: Space, symbols: Sequence[SymbolData], scheme: str) -> list[Fold]:
    """Return the folds of the first search window.

    Raises
    ------
    ConfigError
        The window is too short for them.
    """
    folds = space.folds
    try:
        return walk_forward_folds(*main_span(space, symbols), folds.count, scheme, folds.purge_days, folds.train_share)
    except ValueError as error:
        raise ConfigError(f"folds: {error}; give fewer folds or a longer first window") from None


def walk_forward(
    space: Space, symbols: Sequence[SymbolData], scheme: str, storage: str, data: str, workers: Workers, watch: Watch
) -> list[FoldResult]:
    """Search and trade every fold of a scheme, one after another."""
    results = []
    for number, fold in enumerate(folds_of(space, symbols, scheme), 1):
        train, test = (_window(space, *days) for days in (fold.train, fold.test))
        name = f"{train.first} to {train.last}"
        past = space.model_copy(
            update={
                "windows": (train,),
                "limits": tuple(limit for limit in space.limits if limit.window in (None, train.name)),
                "search": space.search.model_copy(update={"trials": space.folds.trials or space.search.trials}),
            }
        )
        engine = space.search.engine
        search = Search(past, make_markets(past, symbols, past.windows, engine), storage, name, data)
        watch(search, f"{scheme} fold {number}")
        best = best_of(past, search.trials)
        days = np.arange(fold.test[0], fold.test[1] + 1)
        returns = np.zeros(len(days))
        if best:
            markets = make_markets(past, symbols, (test,), engine)
            [(_, result)] = workers.evaluate(markets, [space.values(best[0].params)])
            if isinstance(result, str):
                raise DataError(f"{scheme} fold {number}: its test failed: {result} Fewer folds have longer tests.")
            traded, made = portfolio(list(markets), result)
            returns[traded - fold.test[0]] = made
        chosen = best[0] if best else None
        results.append(FoldResult(fold, chosen and chosen.params, chosen and chosen.objectives[0], days, returns))
    return results


def _window(space: Space, first: int, last: int) -> DateWindow:
    """Return the days as a window that has the name of the one they are part of, so that its limits hold."""
    return DateWindow(name=space.search_windows[0].name, **{"from": day_of(first), "to": day_of(last)})


def day_of(day: int) -> date:
    """Return a day counted since 1970 as a date."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date()
