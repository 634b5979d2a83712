"""A search: batches of parameter sets, evaluated by workers and kept in a storage from which it goes on."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.pool import NullPool

from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.figures import Evaluation, Figures
from gridv4_bt.optimise.markets import Markets
from gridv4_bt.optimise.sampling import Notes, directions, distributions, grid_size, propose
from gridv4_bt.optimise.space import Space
from gridv4_bt.optimise.workers import Result, Values, Workers

_SPACE = "gridv4 space"


@dataclass(frozen=True)
class Trial:
    """One parameter set and its figures, as kept in the storage."""

    stored: FrozenTrial
    space: Space

    @property
    def number(self) -> int:
        """Number of the trial, counted from 0."""
        return self.stored.number

    @property
    def params(self) -> Values:
        """The values searched."""
        return self.stored.params if self.error is None else self.stored.user_attrs["params"]

    @property
    def error(self) -> str | None:
        """Why it could not be evaluated, else None."""
        return self.stored.user_attrs.get("error")

    @property
    def objectives(self) -> list[float]:
        """Values of the objectives, in the order of the space."""
        return self.stored.values

    @cached_property
    def broken(self) -> list[str]:
        """The limits it breaks: those of the space as it is now."""
        return [] if self.error else [text for text, by in violations(self.space, self.figures).items() if by > 0.0]

    @property
    def is_feasible(self) -> bool:
        """Whether it was evaluated and keeps all limits."""
        return self.error is None and not self.broken

    @property
    def figures(self) -> dict[str, Figures]:
        """Figures of each wallet and search window, named ``WALLET in WINDOW``."""
        return self.stored.user_attrs["figures"]

    @cached_property
    def returns(self) -> NDArray[np.float64]:
        """Daily returns in the first search window, up to its last day; the mean of the wallets."""
        return unpack_returns(self.stored.user_attrs["returns"])


class Search:
    """The trials of a space on its search windows.

    Parameters
    ----------
    markets : of every wallet in every search window.
    storage : SQLAlchemy URL; None: memory.
    name : of the study in it.
    data : a name for the content of the data.

    Raises
    ------
    ConfigError
        The storage cannot be opened, or holds the trials of another space under this name.
    """

    def __init__(self, space: Space, markets: Markets, storage: str | None, name: str, data: str) -> None:
        self.space, self.markets = space, markets
        shown = without_password(storage, storage or "memory")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = optuna.create_study(
                storage=_opened(storage), study_name=name, directions=directions(space), load_if_exists=True
            )
        except Exception as error:  # SQLAlchemy's, the driver's, Optuna's
            reason = without_password(storage, (str(error).splitlines() or [type(error).__name__])[0])
            raise ConfigError(f"storage {shown}: cannot be used ({reason})") from None
        known, fingerprint = self.study.user_attrs.get(_SPACE), space.fingerprint(data)
        if known not in (None, fingerprint):
            raise ConfigError(
                f"storage {shown}: {name} holds trials of another space, seed or data; give another --out or storage"
            )
        self.study.set_user_attr(_SPACE, fingerprint)
        self._distributions = distributions(space)
        self._history = self.study.get_trials(deepcopy=False)

    @property
    def trials(self) -> list[Trial]:
        """The trials so far."""
        return [Trial(stored, self.space) for stored in self._history]

    @property
    def wanted(self) -> int:
        """Number of trials of the whole search."""
        return min(self.space.search.trials, grid_size(self.space)) if self._is_grid else self.space.search.trials

    @property
    def _is_grid(self) -> bool:
        return self.space.search.sampler == "grid"

    def run(self, workers: Workers) -> Iterator[int]:
        """Evaluate the remaining trials; yield once for each.

        A batch is kept when it is whole: what is proposed next is decided by whole batches alone.
        """
        size = self.space.search.batch
        while (done := len(self._history)) < self.wanted:
            first = done // size * size
            proposed = propose(self.space, self._history[:first], first, min(size, self.wanted - first))
            todo = proposed[done - first :]
            sets = [self.space.values(params) for params, _ in todo]
            results: dict[int, Result] = {}
            for index, result in workers.evaluate(self.markets, sets):
                results[index] = result
                yield done + len(results)
            for index, (params, notes) in enumerate(todo):
                self._keep(params, notes, results[index])
            self._history = self.study.get_trials(deepcopy=False)

    def _keep(self, params: Values, notes: Notes, result: Result) -> None:
        if isinstance(result, str):
            kept = create_trial(state=TrialState.FAIL, user_attrs={"error": result, "params": params})
        else:
            cells = list(self.markets)
            figures = [one.figures for one in result]
            kept = create_trial(
                params=params,
                distributions=self._distributions,
                values=[objective.value(figures) for objective in self.space.objectives],
                constraints=violations(self.space, named(cells, figures)),
                user_attrs={"figures": named(cells, figures), "returns": pack_returns(portfolio(cells, result)[1])},
                system_attrs=notes,
            )
        self.study.add_trial(kept)


def without_password(storage: str | None, text: str) -> str:
    """Return a text without the password of a storage's URL, in whatever form it stands there."""
    if "@" not in (storage or "") and "password" not in (storage or "").lower():
        return text
    for secret in re.findall(r"(?:://|^(?!\w+://))[^:/@]*:(.*)@|password=([^&]*)", str(storage), re.IGNORECASE):
        for form in filter(None, (*secret, *map(_decoded, secret))):
            text = text.replace(form, "***")
    return text


def _decoded(secret: str) -> str:
    """Return a part of a URL without its %-codes."""
    return re.sub(r"%([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), secret)


def _opened(storage: str | None) -> RDBStorage | str | None:
    """Return a storage that leaves no file of SQLite open between two uses."""
    if storage is None or not storage.startswith("sqlite:///"):
        return storage
    return RDBStorage(storage, engine_kwargs={"poolclass": NullPool})


def violations(space: Space, figures: Mapping[str, Figures]) -> dict[str, float]:
    """Return by how much each limit is broken at worst, by the figures of `named`; 0 or below: it is kept."""
    return {
        limit.text: max(
            limit.violation(one[limit.figure])
            for cell, one in figures.items()
            if limit.window is None or cell.endswith(f" in {limit.window}")
        )
        for limit in space.limits
    }


def named(cells: Iterable[tuple[str, str]], figures: Iterable[Figures]) -> dict[str, Figures]:
    """Return the figures by the name of their wallet and window."""
    return {f"{wallet} in {window}": one for (wallet, window), one in zip(cells, figures, strict=True)}


def portfolio(
    cells: Sequence[tuple[str, str]], evaluations: Sequence[Evaluation]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return all days of the first window from the first traded on, and the mean return of the wallets on each.

    One that does not trade on a day returns 0 on it.
    """
    window = cells[0][1]
    parts = [one for (_, name), one in zip(cells, evaluations, strict=True) if name == window]
    first, last = min(one.days[0] for one in parts), max(one.days[-1] for one in parts)
    total = np.zeros(last - first + 1)
    for one in parts:
        total[one.days - first] += one.returns
    return np.arange(first, last + 1), total / len(parts)


def returns_matrix(trials: Sequence[Trial]) -> NDArray[np.float64]:
    """Return the daily returns of trials that end on the same day, a column each; 0 before a trial's first day."""
    length = max(len(trial.returns) for trial in trials)
    return np.stack([np.pad(trial.returns, (length - len(trial.returns), 0)) for trial in trials], axis=1)


def pack_returns(returns: NDArray[np.float64]) -> str:
    """Return daily returns as text, to seven digits: a year takes 2 kB."""
    return base64.b85encode(zlib.compress(returns.astype("<f4").tobytes(), 9)).decode()


def unpack_returns(text: str) -> NDArray[np.float64]:
    """Return the daily returns of `pack_returns`."""
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), "<f4").astype(np.float64)


def best_of(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that keep all limits, best first by the first objective.

    With several objectives those that no other one beats in all come before the others.
    """
    fit = [trial for trial in trials if trial.is_feasible]
    front = {trial.number for trial in pareto(space, fit)}
    sign = -1.0 if space.objectives[0].more_is_better else 1.0
    return sorted(fit, key=lambda trial: (trial.number not in front, sign * trial.objectives[0], trial.number))


def pareto(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other is at least as good as in every objective and better in one."""
    if not trials:
        return []
    signs = np.array([1.0 if objective.more_is_better else -1.0 for objective in space.objectives])
    values = np.array([trial.objectives for trial in trials]) * signs
    kept = []
    for trial, own in zip(trials, values, strict=True):
        beaten = np.all(values >= own, axis=1) & np.any(values > own, axis=1)
        if not beaten.any():
            kept.append(trial)
    return kept
