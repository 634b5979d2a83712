"""Who evaluates the trials: forks on this machine, or a Dask cluster. The results are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from gridv4_bt.config import make_config
from gridv4_bt.errors import ConfigError, GridV4Error
from gridv4_bt.optimise.figures import Evaluation
from gridv4_bt.optimise.forks import forked, reason
from gridv4_bt.optimise.markets import Markets

#: Parameter values that differ from the defaults.
Values = dict[str, Any]
#: The evaluation of each market in its order, or why there is none.
Result = list[Evaluation] | str

CONNECT_SECONDS = 10
ROUNDS = 10  #: a trial whose workers are lost is sent out again this often


class Workers(Protocol):
    """Evaluates parameter sets on markets."""

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        """Yield index and result of every set as it finishes."""

    def close(self) -> None:
        """Let go of what was used."""


def _evaluate(markets: Markets, values: Values) -> list[Evaluation]:
    config = make_config(values)
    return [market.evaluate(config) for market in markets.values()]


class Forks:
    """Processes on this machine."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        prepare(markets, sets)
        for outcome in forked(lambda values: _evaluate(markets, values), sets, self.jobs):
            yield outcome.number, outcome.value if outcome.error is None else outcome.error

    def close(self) -> None:
        """Nothing is left to close."""


class Cluster:
    """Workers of a running Dask scheduler, which have this package installed.

    The markets of a search travel once to each worker. What a lost worker had at work, or was the last to hold, is
    done or sent again.

    Raises
    ------
    ConfigError
        Dask is missing, or no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError("--cluster needs dask.distributed: pip install 'gridstrategy-v4[cluster]'") from None
        self._address = address
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--cluster {address}: no scheduler answers there ({reason(error)})") from None
        self._sent: tuple[Markets, Any] | None = None

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        from distributed import as_completed

        prepare(markets, sets)
        waiting = dict(enumerate(sets))
        errors: dict[int, str] = {}
        for _ in range(ROUNDS):
            data = self._send(markets)
            futures = {
                self._client.submit(_try, data, values, pure=False): index for index, values in waiting.items()
            }
            for future in as_completed(futures):
                index = futures[future]
                try:
                    result = future.result()
                except Exception as error:  # workers were lost, not the trial: what it raises itself is its result
                    errors[index] = reason(error)
                    continue
                del waiting[index]
                yield index, result
            if not waiting:
                return
            if self._client.status != "running":
                raise GridV4Error(f"--cluster {self._address}: the scheduler is gone; start it and run again to go on")
            self._sent = None
        for index in waiting:
            yield index, f"given up after {ROUNDS} rounds of lost workers: {errors[index]}"

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()

    def _send(self, markets: Markets) -> Any:
        """Return the data on the cluster, from where each worker fetches it once; those sent before are let go."""
        if self._sent is None or self._sent[0] is not markets:
            [data] = self._client.scatter([markets])  # named by its content
            self._sent = markets, data
        return self._sent[1]


def _try(markets: Markets, values: Values) -> Result:
    try:
        return _evaluate(markets, values)
    except Exception as error:
        return reason(error)


def prepare(markets: Markets, sets: Sequence[Values]) -> None:
    """Let every market do what the configs share; one that is not valid fails as a trial, not here."""
    configs = []
    for values in sets:
        with suppress(ConfigError):
            configs.append(make_config(values))
    for market in markets.values():
        market.prepare(configs)
