"""`--optimize`: parameter values to try, and one backtest for each combination."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from feeds.candles import CandleFeed
from gridv4_bt.backtest import make_cerebro, run
from gridv4_bt.config import OF_ANY_STRATEGY, GridConfig, check_parameter, make_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.cerebro import compile_rules
from gridv4_bt.optimise.compiled_broker import CompiledBroker, compile_steps, quickest_broker
from gridv4_bt.optimise.figures import FIGURES, Evaluation, key_of, of_run
from gridv4_bt.optimise.forks import Outcome, forked
from gridv4_bt.own_strategy import EXCHANGE, OwnStrategy, run_as_toml, whose_parameter

#: At a hundredth of a second each they take three hours.
MOST_TRIALS = 1_000_000
TRIALS_FILE, BEST_FILE = "trials.csv", "best.toml"

Axes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class TrialRow:
    """One trial as it is shown and written."""

    number: int  #: counted from 1 in the order of the grid
    values: dict[str, Any]
    figures: dict[str, float | None]  #: empty if it failed
    error: str


def parse_axes(specs: Sequence[str], own: OwnStrategy | None = None) -> dict[str, list[Any]]:
    """Return the values of each parameter of ``name=a,b,c`` or ``name=lo:hi:step``, both ends included.

    With a strategy of the user's own they are its parameters and those of the exchange.

    Raises
    ------
    ConfigError
        A spec that cannot be read, an unknown name, a value out of bounds, a name or a value twice.
    """
    axes: dict[str, list[Any]] = {}
    for spec in specs:
        name, equals, text = (part.strip() for part in spec.partition("="))
        if not equals or not name or not text:
            raise ConfigError(f"--optimize {spec}: expected name=a,b,c or name=lo:hi:step")
        if name in axes:
            raise ConfigError(f"--optimize {spec}: {name} is given twice; write all its values in one list")
        texts = _range(spec, text) if ":" in text else [part.strip() for part in text.split(",")]
        values = [_checked(spec, name, one, own) for one in texts]
        if len(set(values)) < len(values):
            raise ConfigError(f"--optimize {spec}: a value comes twice")
        axes[name] = values
        _refuse_many(spec, count(axes))
    return axes


def _range(spec: str, text: str) -> list[str]:
    try:
        low, high, step = map(Decimal, text.split(":"))
        if not (low.is_finite() and high.is_finite() and step.is_finite()):
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        raise ConfigError(f"--optimize {spec}: a range is lo:hi:step, three numbers") from None
    if step <= 0 or high < low:
        raise ConfigError(f"--optimize {spec}: a range goes up from lo to hi by a step above 0")
    try:
        values = int((high - low) / step) + 1
    except ArithmeticError:
        values = MOST_TRIALS + 1
    _refuse_many(spec, values)
    return [f"{low + step * index:f}" for index in range(values)]


def _refuse_many(spec: str, trials: int) -> None:
    if trials > MOST_TRIALS:
        raise ConfigError(
            f"--optimize {spec}: more than {MOST_TRIALS:,} trials; take a larger step or fewer parameters"
        )


def _checked(spec: str, name: str, text: str, own: OwnStrategy | None) -> Any:
    try:
        whose, bare = ("", name) if own is None else whose_parameter(own, name, OF_ANY_STRATEGY)
        value = check_parameter(bare, text) if own is None or whose == EXCHANGE else own.value_of(bare, text)
    except ConfigError as error:
        raise ConfigError(f"--optimize {spec}: {error}") from None
    if value == "detail":
        raise ConfigError(f"--optimize {spec}: detail is not for trials; compare with --intrabar all")
    return value


def count(axes: Axes) -> int:
    """Return how many combinations there are."""
    total = 1
    for values in axes.values():
        total *= len(values)
    return total


def combinations(axes: Axes) -> Iterator[dict[str, Any]]:
    """Yield each combination of the values, the last name's first."""
    return (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def run_trials(
    feeds: Sequence[CandleFeed],
    axes: Axes,
    base: GridConfig,
    cash: float,
    rules: Path | None,
    jobs: int,
    own: OwnStrategy | None = None,
) -> Iterator[TrialRow]:
    """Yield every trial as it finishes; one that cannot be run has its reason."""
    compile_rules()
    broker = quickest_broker(own)
    if broker is CompiledBroker:
        compile_steps()  # here, so that no fork loads them

    def work(values: dict[str, Any]) -> Evaluation:
        config, mine = chosen(base, own, values)
        return of_run(run(make_cerebro(feeds, config, cash, rules, broker, own=mine), mine))

    for outcome in forked(work, combinations(axes), jobs):
        yield _row(outcome)


def chosen(
    base: GridConfig, own: OwnStrategy | None, values: Mapping[str, Any]
) -> tuple[GridConfig, OwnStrategy | None]:
    """Return config and strategy of a trial."""
    if own is None:
        return make_config(base.model_dump() | values), None
    taken: dict[str, dict[str, Any]] = {own.name: {}, EXCHANGE: {}}
    for name, value in values.items():
        whose, bare = whose_parameter(own, name, OF_ANY_STRATEGY)
        taken[whose][bare] = value
    return make_config(base.model_dump() | taken[EXCHANGE]), own.with_values(taken[own.name])


def _row(outcome: Outcome) -> TrialRow:
    found = outcome.value
    return TrialRow(outcome.number + 1, outcome.task, {} if found is None else found.figures, outcome.error or "")


def best_first(rows: Sequence[TrialRow], figure: str) -> list[TrialRow]:
    """Return the trials by a figure, equal ones in the order of the grid, those that failed last."""
    return sorted(rows, key=lambda row: (bool(row.error), -key_of(figure, row.figures.get(figure)), row.number))


class TrialsFile:
    """trials.csv in a run's folder: a row as soon as a trial has finished, best first in the end."""

    def __init__(self, folder: Path, axes: Axes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BEST_FILE).unlink(missing_ok=True)
        self._folder, self._axes = folder, axes
        self._file = self._open(folder / TRIALS_FILE)
        self._writer = self._header(self._file)

    def add(self, row: TrialRow) -> None:
        """Write a trial at once, so that an interrupted run keeps it."""
        self._writer.writerow(self._cells(row))
        self._file.flush()

    def finish(self, rows: Sequence[TrialRow], base: GridConfig, own: OwnStrategy | None = None) -> None:
        """Rewrite the rows in order, and write the parameters of the first one to a file of their own."""
        self.close()
        draft = self._folder / f".{TRIALS_FILE}"
        with self._open(draft) as file:
            self._header(file).writerows(map(self._cells, rows))
        os.replace(draft, self._folder / TRIALS_FILE)
        if not rows[0].error:
            best, mine = chosen(base, own, rows[0].values)
            (self._folder / BEST_FILE).write_text(run_as_toml(best, mine), encoding="utf-8")

    def close(self) -> None:
        """Close the file with the rows written so far."""
        self._file.close()

    @staticmethod
    def _open(path: Path) -> Any:
        return path.open("w", newline="", encoding="utf-8")

    def _header(self, file: Any) -> Any:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("trial", *self._axes, *FIGURES, "error"))
        return writer

    def _cells(self, row: TrialRow) -> tuple[Any, ...]:
        figures = (row.figures.get(name) for name in FIGURES)
        return (row.number, *row.values.values(), *("" if value is None else value for value in figures), row.error)
