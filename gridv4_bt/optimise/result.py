"""A whole search from space to verdict: trials, walk-forward, finalists in Backtrader, guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.backtest import SymbolData
from gridv4_bt.config import GridConfig, make_config
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import GridV4Error
from gridv4_bt.metrics.performance import sharpe
from gridv4_bt.optimise.figures import Evaluation, Figures
from gridv4_bt.optimise.guards import Guards, Verdict, judge, measure, neighbours_of, nothing_fits
from gridv4_bt.optimise.markets import Markets, load_symbols
from gridv4_bt.optimise.space import Limit, Space
from gridv4_bt.optimise.study import Search, Trial, best_of, named, portfolio, violations
from gridv4_bt.optimise.symbol_classes import with_classes
from gridv4_bt.optimise.walkforward import SCHEMES, FoldResult, Watch, folds_of, make_markets, walk_forward
from gridv4_bt.optimise.workers import Result as Evaluations
from gridv4_bt.optimise.workers import Values, Workers


@dataclass(frozen=True)
class YearRecord:
    """What a wallet made in a calendar year, or in the part of it that is in a window."""

    year: int
    is_searched: bool
    total: float  #: compound return
    sharpe: float | None
    fills: int


@dataclass(frozen=True)
class Finalist:
    """One of the best trials, run again in Backtrader on all windows and symbols, the unseen ones too."""

    trial: Trial
    figures: dict[str, Figures]  #: by ``WALLET in WINDOW``, of Backtrader
    difference: float | None  #: largest relative difference of an end equity from the sweep's; None without a sweep
    tests: dict[str, tuple[float, list[str]]]  #: return (mean of the wallets) and broken limits by test window
    held_out: dict[str, float]  #: return (mean of the wallets) of the test symbols, by window
    curves: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]  #: days and daily returns by window
    years: dict[str, list[YearRecord]]  #: by wallet, of the first search window and the test windows

    def is_searched(self, cell: str) -> bool:
        """Return whether the search has seen a ``WALLET in WINDOW``."""
        return cell in self.trial.figures


@dataclass(frozen=True)
class SearchResult:
    """The result of a search: trials, folds, finalists, guards and verdict."""

    space: Space
    trials: list[Trial]
    best: list[Trial]  #: that keep all limits, best first
    finalists: list[Finalist]
    neighbours: list[tuple[Values, float | None]]  #: of the winner, with the first objective; None: unfit
    folds: dict[str, list[FoldResult]]  #: by scheme
    guards: Guards | None
    verdict: Verdict
    study: Any  #: Optuna's


@dataclass(frozen=True)
class LoadedSpace:
    """A space with its data."""

    space: Space
    symbols: list[SymbolData]
    data: str  #: a name for the data's content


def load_data(space: Space, given: Mapping[str, SymbolData] | None = None) -> LoadedSpace:
    """Read the data of a space, and check that its windows and folds lie within.

    `given` is the data of symbols, by their name, that is not in the space's files.

    Raises
    ------
    ConfigError, DataError
        They do not, or a file cannot be trusted.
    """
    symbols, data = load_symbols(space, given or {})
    space = with_classes(space, symbols)
    for scheme in SCHEMES:
        folds_of(space, symbols, scheme)
    for market in _all_markets(space, symbols).values():
        market.prepare([])
    return LoadedSpace(space, symbols, data)


def _all_markets(space: Space, symbols: Sequence[SymbolData]) -> Markets:
    """Return the markets of all wallets in all windows for Backtrader, those of the test symbols last."""
    seen, held_out = (make_markets(space, symbols, space.windows, "backtrader", use) for use in ("search", "test"))
    return {**seen, **held_out}


def run_search(loaded: LoadedSpace, storage: str, workers: Workers, checkers: Workers, watch: Watch) -> SearchResult:
    """Run or resume the search of a space, and judge its result.

    Parameters
    ----------
    storage : SQLAlchemy URL.
    workers : evaluate the trials.
    checkers : run the finalists again in Backtrader.
    watch : lets a search run and shows it.

    Raises
    ------
    ConfigError
        The storage cannot be used, or holds another space.
    """
    space, symbols, data = loaded.space, loaded.symbols, loaded.data
    engine = space.search.engine
    search = Search(space, make_markets(space, symbols, space.search_windows, engine), storage, "search", data)
    watch(search, "search")
    best = best_of(space, search.trials)
    if not best:
        return SearchResult(space, search.trials, [], [], [], {}, None, _why_none(search.trials), search.study)
    folds = {scheme: walk_forward(space, symbols, scheme, storage, data, workers, watch) for scheme in SCHEMES}
    nearby = neighbours_of(space, best[0].params)
    results = dict(workers.evaluate(search.markets, [space.values(params) for params in nearby]))
    neighbours = [
        (params, _objective(space, list(search.markets), results[index])) for index, params in enumerate(nearby)
    ]
    chosen = best[: space.search.finalists]
    finalists = _finalists(space, chosen, _all_markets(space, symbols), checkers)
    guards = measure(space, search.trials, best[0], [value for _, value in neighbours], folds)
    winner = finalists[0]
    verdict = judge(_compound(best[0].returns), guards, folds, winner.tests, winner.held_out, winner.difference)
    return SearchResult(space, search.trials, best, finalists, neighbours, folds, guards, verdict, search.study)


def _why_none(trials: Sequence[Trial]) -> Verdict:
    errors = [trial.error for trial in trials if trial.error is not None]
    if len(errors) == len(trials):
        return nothing_fits(f"all {len(trials):,} trials failed, the first: {errors[0]}")
    return nothing_fits(f"none of {len(trials):,} trials keeps all limits.")


def _objective(space: Space, cells: list[tuple[str, str]], result: Evaluations) -> float | None:
    if isinstance(result, str):
        return None
    figures = [one.figures for one in result]
    broken = violations(space, named(cells, figures))
    return None if any(value > 0.0 for value in broken.values()) else space.objectives[0].value(figures)


def _finalists(
    space: Space, chosen: Sequence[Trial], markets: Mapping[tuple[str, str], Any], checkers: Workers
) -> list[Finalist]:
    """Run the chosen trials in Backtrader, a task for each market: they are few and slow."""
    done: dict[tuple[str, str], dict[int, Evaluations]] = {}
    sets = [space.values(trial.params) for trial in chosen]
    for cell, market in markets.items():
        done[cell] = dict(checkers.evaluate({cell: market}, sets))
    finalists = []
    for index, trial in enumerate(chosen):
        evaluations: dict[tuple[str, str], Evaluation] = {}
        for cell, results in done.items():
            result = results[index]
            if isinstance(result, str):
                raise GridV4Error(f"trial {trial.number + 1} cannot be run in Backtrader: {result}")
            evaluations[cell] = result[0]
        finalists.append(_finalist(space, trial, evaluations))
    return finalists


def _finalist(space: Space, trial: Trial, evaluations: dict[tuple[str, str], Evaluation]) -> Finalist:
    figures = named(evaluations, (one.figures for one in evaluations.values()))
    difference = None
    if space.search.engine == "sweep":
        difference = max(
            abs(figures[cell]["net_return"] - swept["net_return"]) / (1.0 + abs(swept["net_return"]))
            for cell, swept in trial.figures.items()
        )
    searched = {cell[0] for cell in evaluations if named([cell], [{}]).keys() <= trial.figures.keys()}
    curves, held_out = {}, {}
    for window in space.windows:
        cells = [cell for cell in evaluations if cell[1] == window.name]
        seen = [cell for cell in cells if cell[0] in searched]
        curves[window.name] = portfolio(seen, [evaluations[cell] for cell in seen])
        if others := [cell for cell in cells if cell[0] not in searched]:
            held_out[window.name] = _compound(portfolio(others, [evaluations[cell] for cell in others])[1])
    tests = {}
    for window in space.test_windows:
        # Limits hold everywhere, those of a single window only there.
        kept: list[Limit] = [limit for limit in space.limits if limit.window is None]
        broken = [
            f"{limit.words} ({wallet})"
            for limit in kept
            for (wallet, name), one in evaluations.items()
            if name == window.name and wallet in searched and limit.violation(one.figures[limit.figure]) > 0.0
        ]
        tests[window.name] = (_compound(curves[window.name][1]), broken)
    return Finalist(trial, figures, difference, tests, held_out, curves, _years(space, evaluations, searched))


def _years(
    space: Space, evaluations: Mapping[tuple[str, str], Evaluation], searched: set[str]
) -> dict[str, list[YearRecord]]:
    """Return the record of each wallet by year; a year that the search saw a part of has a row for each part."""
    found: dict[str, list[YearRecord]] = {}
    for window in (space.search_windows[0], *space.test_windows):
        for (wallet, name), one in evaluations.items():
            if name != window.name or one.fills is None:
                continue
            years = (one.days * DAY_MS).astype("datetime64[ms]").astype("datetime64[Y]")
            for year in np.unique(years):
                here = years == year
                found.setdefault(wallet, []).append(
                    YearRecord(
                        year.astype(int).item() + 1970,
                        window.use == "search" and wallet in searched,
                        _compound(one.returns[here]),
                        sharpe(one.returns[here]),
                        int(one.fills[here].sum()),
                    )
                )
    return found


def _compound(returns: NDArray[np.float64]) -> float:
    return float(np.prod(1.0 + returns) - 1.0)


def config_of(space: Space, trial: Trial) -> GridConfig:
    """Return the config of a trial."""
    return make_config(space.values(trial.params))
