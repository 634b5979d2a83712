"""OptCerebro: Backtrader's `optstrategy` for runs that are many or long.

    cerebro = OptCerebro(stdstats=False)
    cerebro.adddata(CandleFeed(dataname="BTCUSDT-15m.parquet", name="BTCUSDT"))
    cerebro.setbroker(HedgeBroker(cash=10_000.0))
    cerebro.optstrategy(GridStrategyV4, k=[2, 3, 4], levels=range(5, 11))
    cerebro.addanalyzer(RiskRatios)
    for trial in cerebro.run(maxcpus=2):
        for strategy in trial:
            print(strategy.p.k, strategy.analyzers.riskratios.get_analysis()["sharpe"])

Backtrader takes the whole grid at once, sends every trial a pickled copy of the Cerebro with its data, and keeps all
results in memory; with one process all trials share one broker object. Here a trial is a fork: it shares the data
that was loaded once, is not affected by other trials, and writes its result to disk. Short trials of GridStrategyV4
itself, which leave nothing behind, are done several in a fork.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import backtrader as bt

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.compat import FastCerebro
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.forks import Outcome, forked
from gridv4_bt.optimise.progress import shown
from strategies.grid_v4 import GridStrategyV4

#: A strategy with its arguments and parameters, as Backtrader passes them on.
Variant = tuple[type[bt.Strategy], tuple[Any, ...], dict[str, Any]]


class OptTrial(list):
    """The strategies of one trial: parameters ``p`` and ``analyzers`` of each; none if it failed."""

    def __init__(self, number: int, params: list[dict[str, Any]], strategies: Iterable[Any], error: str | None) -> None:
        super().__init__(strategies)
        self.number = number  #: counted from 0 in the order of the grid
        self.params = params  #: of each strategy, as given to `optstrategy`
        self.error = error  #: why it failed, else None


class OptResults(Sequence):
    """The trials of a run in the order of the grid, read from disk one at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._places: dict[int, int] = {}
        weakref.finalize(self, file.close)

    @classmethod
    def load(cls, path: Path) -> OptResults:
        """Read the trials kept in a file (`optfile`), also one whose run was interrupted."""
        try:
            results = cls(path.open("rb"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        while True:
            place = results._file.tell()
            try:
                results._places[pickle.load(results._file)[0]] = place
            except (EOFError, pickle.UnpicklingError):  # the last one may be half written
                return results

    def append(self, outcome: Outcome) -> None:
        """Write a finished trial."""
        place = self._file.seek(0, os.SEEK_END)
        params = [kwargs for _, _, kwargs in outcome.task]
        try:
            pickle.dump((outcome.number, params, outcome.pickled, outcome.error), self._file)
        except (pickle.PicklingError, AttributeError, TypeError):
            self._file.truncate(place)
            self._file.seek(place)
            params = [{name: repr(value) for name, value in kwargs.items()} for kwargs in params]
            pickle.dump((outcome.number, params, outcome.pickled, outcome.error), self._file)
        self._file.flush()
        self._places[outcome.number] = place

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._read(self._places[sorted(self._places)[index]])

    def __iter__(self) -> Iterator[OptTrial]:
        return (self._read(self._places[number]) for number in sorted(self._places))

    def _read(self, place: int) -> OptTrial:
        self._file.seek(place)
        number, params, pickled, error = pickle.load(self._file)
        return OptTrial(number, params, [] if pickled is None else pickle.loads(pickled), error)


class Grid:
    """All combinations of the values of one strategy's parameters; made one after another, never all at once."""

    def __init__(self, strategy: type[bt.Strategy], args: Iterable[Iterable], kwargs: dict[str, Iterable]) -> None:
        self.strategy = strategy
        self._args = [tuple(values) for values in args]
        self._kwargs = {name: tuple(values) for name, values in kwargs.items()}

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(len(values) for values in (*self._args, *self._kwargs.values()))

    def __iter__(self) -> Iterator[Variant]:
        for args in itertools.product(*self._args):
            for values in itertools.product(*self._kwargs.values()):
                yield self.strategy, args, dict(zip(self._kwargs, values, strict=True))


class OptCerebro(FastCerebro):
    """A Cerebro whose `optstrategy` runs every trial in a fork that shares the data.

    Without `optstrategy` it is a `FastCerebro`. With it `run` returns an `OptResults`: like Backtrader's list of
    lists, but on disk. A trial that fails is an empty `OptTrial` with its ``error``, the others go on. Callbacks
    (`optcallback`) are called here, in the order in which trials finish. The results are the same for any `maxcpus`.

    Parameters beside Cerebro's
    ----------
    optfile : file to keep the results in; by default they go to a nameless one that lives as long as the `OptResults`.
        After Ctrl-C `OptResults.load` reads what had finished.
    progress : show on a terminal how many trials are done.
    """

    params = (("optfile", None), ("progress", True))

    _grids: list[Any] | None = None  # while the trials of a run are at work

    def optstrategy(self, strategy: type[bt.Strategy], *args: Any, **kwargs: Any) -> None:
        """Add a strategy with iterables of the values to try, or single values, as `bt.Cerebro.optstrategy` does."""
        self._dooptimize = True
        self.strats.append(Grid(strategy, self.iterize(args), dict(zip(kwargs, self.iterize(kwargs.values())))))

    def run(self, **kwargs: Any) -> Any:
        """Run, with `optstrategy` once for every combination of values.

        Raises
        ------
        ConfigError
            Whole strategies were asked for (`optreturn=False`); they exist only in the process of their trial.
        """
        if not self._dooptimize:
            return super().run(**kwargs)
        if not kwargs.get("optreturn", self.p.optreturn):
            raise ConfigError("optreturn=False: a trial returns parameters and analyzers; put results in an Analyzer")
        # Backtrader prepares the run as it does for a single one and then asks `runstrategies` for it.
        self._grids, self.strats, self._dooptimize = self.strats, [[self._run_grid]], False
        try:
            return super().run(**kwargs)
        finally:
            self.strats, self._grids, self._dooptimize = self._grids, None, True

    def runstrategies(self, iterstrat: Sequence[Any], predata: bool = False) -> Any:
        """Run one set of strategies, or all trials."""
        if iterstrat == (self._run_grid,):
            return self._run_grid()
        return super().runstrategies(iterstrat, predata)

    def _run_grid(self) -> OptResults:
        grids = self._grids
        if any(isinstance(grid, Grid) and issubclass(grid.strategy, GridStrategyV4) for grid in grids):
            compile_rules()
        preloaded = self.p.optdatas and self._dopreload and self._dorunonce
        if preloaded:
            for data in self.datas:
                data.reset()
                data.extend(size=self.p.lookahead)
                data._start()
                data.preload()

        def work(trial: Sequence[Variant]) -> list[Any]:
            self._dooptimize = True  # Backtrader then returns parameters and analyzers alone
            strategies = super(OptCerebro, self).runstrategies(trial, predata=preloaded)
            for strategy in strategies:
                for analyzer in strategy.analyzers:
                    _release(analyzer)
            return strategies

        path = self.p.optfile
        file = tempfile.TemporaryFile() if path is None else Path(path).open("wb+")  # noqa: SIM115 (the results close it)
        results = OptResults(file)
        total = math.prod(grid.size if isinstance(grid, Grid) else len(grid) for grid in grids)
        try:
            jobs = self.p.maxcpus or os.cpu_count() or 1
            outcomes = forked(work, _combined(grids), jobs, self._leaves_nothing(), total)
            for outcome in shown(outcomes, total, self.p.progress):
                results.append(outcome)
                if self.optcbs:
                    trial = results._read(results._places[outcome.number])
                    for callback in self.optcbs:
                        callback(trial)
        finally:
            if preloaded:
                for data in self.datas:
                    data.stop()
        return results

    def _leaves_nothing(self) -> bool:
        """Return whether all that runs is this project's or Backtrader's own, which keeps nothing from run to run."""
        strategies = {grid.strategy for grid in self._grids if isinstance(grid, Grid)}
        added = [kind for kind, *_ in (*self.analyzers, *self.indicators, *self.sizers.values())]
        added += [kind for _, kind, *_ in self.observers]
        return (
            strategies == {GridStrategyV4}
            and all(isinstance(grid, Grid) for grid in self._grids)
            and type(self.broker) is HedgeBroker
            and all(type(data) is CandleFeed for data in self.datas)
            and all(kind.__module__.split(".")[0] in ("backtrader", "gridv4_bt") for kind in added)
            and not (self.stores or self.writers or self.signals or self._pretimers)
        )


def _combined(grids: Sequence[Iterable[Variant]]) -> Iterator[tuple[Variant, ...]]:
    """Yield every combination of the variants of several strategies; `itertools.product` would make lists first."""
    if not grids:
        yield ()
        return
    for first in grids[0]:
        for others in _combined(grids[1:]):
            yield (first, *others)


def _release(analyzer: bt.Analyzer) -> None:
    """Drop the strategy and data of nested analyzers, which Backtrader does not drop."""
    for child in analyzer._children:
        child.strategy = child._parent = None
        for name in [name for name in vars(child) if name.startswith("data")]:
            setattr(child, name, None)
        _release(child)


@cache
def compile_rules(broker: type[HedgeBroker] = HedgeBroker) -> None:
    """Compile or load the rules of GridStrategyV4 by a run of one day, so that the forks need not."""
    cerebro = FastCerebro(stdstats=False)
    cerebro.adddata(still_market())
    cerebro.setbroker(broker())
    cerebro.addstrategy(GridStrategyV4)
    cerebro.run()


def still_market() -> CandleFeed:
    """Return a feed of constant candles, just long enough to trade in."""
    import pandas as pd

    time = pd.date_range("2024-01-01", periods=120, freq="15min")
    frame = pd.DataFrame({"time": time, "open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1.0})
    return CandleFeed(dataname=frame, name="STILL")
