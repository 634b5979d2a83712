"""Trials on the workers of a running Dask scheduler, which have this package installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dask.base import tokenize
from distributed import Client, Worker, WorkerPlugin, as_completed

from gridv4_bt.errors import ConfigError, GridV4Error
from gridv4_bt.optimise.forks import reason
from gridv4_bt.optimise.markets import Markets
from gridv4_bt.optimise.workers import Result, Values, attempt, prepare

CONNECT_SECONDS = 10
ROUNDS = 10  #: so often a trial whose worker is lost is sent out before the search gives up

_held: dict[str, Markets] = {}  # in a worker: the markets it was sent


class _HoldMarkets(WorkerPlugin):
    """A Dask plugin that keeps markets in a worker.

    Data that Dask itself scatters is fetched again by every worker for every batch, because Dask drops the copies
    that no task needs at the moment; a plugin stays, and workers that come later get it too.
    """

    def __init__(self, name: str, markets: Markets) -> None:
        self.name, self._markets = name, markets

    def setup(self, worker: Worker) -> None:
        _held[self.name] = self._markets

    def teardown(self, worker: Worker) -> None:
        _held.pop(self.name, None)


class Cluster:
    """The workers of a Dask scheduler.

    The markets of a search are sent once to each worker. Trials of a lost worker are repeated by another.

    Raises
    ------
    ConfigError
        No scheduler answers.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._client = Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--cluster {address}: no scheduler answers there ({reason(error)})") from None
        self._held: tuple[Markets, str] | None = None  # what the workers hold, and its name

    def evaluate(self, markets: Markets, sets: Sequence[Values]) -> Iterator[tuple[int, Result]]:
        prepare(markets, sets)
        waiting = dict(enumerate(sets))
        lost = ""
        for _ in range(ROUNDS):
            try:
                name = self._send(markets)
                futures = {
                    self._client.submit(_attempt, name, values, pure=False): index for index, values in waiting.items()
                }
            except OSError as error:
                self._gone(error)
            for future in as_completed(futures):
                try:
                    result = future.result()
                except Exception as error:  # workers were lost: what the trial itself raises is its result
                    lost = reason(error)
                    continue
                del waiting[futures[future]]
                yield futures[future], result
            if not waiting:
                return
            if self._client.status != "running":
                self._gone(GridV4Error("connection lost"))
        # It is no result of the trial, so nothing may be kept of it.
        raise GridV4Error(
            f"--cluster {self._address}: {len(waiting)} trials lost their worker {ROUNDS} times ({lost}); "
            "run again to go on"
        )

    def close(self) -> None:
        """Remove the markets from the workers and disconnect."""
        if self._client.status == "running":
            self._forget()
        self._client.close()

    def _send(self, markets: Markets) -> str:
        """Send the markets to all workers in place of any others; return their name, a hash of their content."""
        if self._held is None or self._held[0] is not markets:
            self._forget()
            name = f"gridv4-{tokenize(markets)}"
            self._client.register_plugin(_HoldMarkets(name, markets))
            self._held = markets, name
        return self._held[1]

    def _forget(self) -> None:
        if self._held is not None:
            self._client.unregister_worker_plugin(self._held[1])
            self._held = None

    def _gone(self, error: Exception) -> None:
        raise GridV4Error(
            f"--cluster {self._address}: the scheduler is gone ({reason(error)}); start it and run again to go on"
        ) from None


def _attempt(name: str, values: Values) -> Result:
    return attempt(_held[name], values)
