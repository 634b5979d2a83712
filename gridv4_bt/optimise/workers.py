"""Workers that evaluate trials: forks on this machine, or a cluster (`optimise.cluster`), with equal results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from gridv4_bt.config import make_config
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.figures import Evaluation
from gridv4_bt.optimise.forks import forked, reason
from gridv4_bt.optimise.markets import Markets

#: Parameter values that differ from the defaults.
Values = dict[str, Any]
#: The evaluation of each market in its order, or why there is none.
Result = list[Evaluation] | str


class Workers(Protocol):
    """Workers that evaluate parameter sets on markets."""

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        """Yield index and result of every set as it finishes."""

    def close(self) -> None:
        """Release the resources of the workers."""


class Forks:
    """Forked processes on this machine."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        prepare(markets, sets)
        for outcome in forked(lambda values: evaluate(markets, values), sets, self.jobs):
            yield outcome.number, outcome.value if outcome.error is None else outcome.error

    def close(self) -> None:
        """Do nothing: forks end with their tasks."""


def evaluate(markets: Markets, values: Values) -> list[Evaluation]:
    """Return the evaluation of a parameter set on each market."""
    config = make_config(values)
    return [market.evaluate(config) for market in markets.values()]


def attempt(markets: Markets, values: Values) -> Result:
    """Return the evaluations of a parameter set, or why there are none."""
    try:
        return evaluate(markets, values)
    except Exception as error:
        return reason(error)


def prepare(markets: Markets, sets: Sequence[Values]) -> None:
    """Prepare every market for the configs; an invalid one is left out and fails as a trial."""
    configs = []
    for values in sets:
        with suppress(ConfigError):
            configs.append(make_config(values))
    for market in markets.values():
        market.prepare(configs)
