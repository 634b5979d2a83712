"""Which parameter sets to try next: each batch is a function of the space, the seed and the batches before it.

So it does not matter how many jobs evaluate a batch, or whether the search was interrupted between two of them.
Grid, random and Sobol points depend on their number alone; TPE and NSGA-II are Optuna's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from gridv4_bt.optimise.space import Parameter, Space

#: What a sampler notes about a trial that it needs to know later, such as its generation.
Notes = dict[str, Any]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's description of the parameters, in the order of the file."""
    return {name: _distribution(parameter, space.is_whole(name)) for name, parameter in space.parameters.items()}


def _distribution(parameter: Parameter, whole: bool) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    low, high = parameter.low, parameter.high
    if whole:
        step = 1 if parameter.step is None else int(parameter.step)
        # Optuna would move a high that no step reaches, with a warning.
        return IntDistribution(int(low), int(low) + int(high - low) // step * step, log=parameter.log, step=step)
    if parameter.step is None:
        return FloatDistribution(low, high, log=parameter.log)
    return FloatDistribution(low, stepped(parameter)[-1], step=parameter.step)


def stepped(parameter: Parameter) -> list[float]:
    """Return the values of a range with steps."""
    count = math.floor((parameter.high - parameter.low) / parameter.step + 1e-9)
    return [round(parameter.low + index * parameter.step, 12) for index in range(count + 1)]


def grid_size(space: Space) -> int:
    """Return how many combinations there are; every parameter needs steps or choices."""
    return math.prod(len(values) for values in _grid_values(space))


def _grid_values(space: Space) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for name, parameter in space.parameters.items():
        if parameter.choices:
            found.append(parameter.choices)
        elif space.is_whole(name):
            found.append(range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1)))
        else:
            found.append(stepped(parameter))
    return found


def propose(space: Space, history: Sequence[FrozenTrial], first: int, size: int) -> list[tuple[dict[str, Any], Notes]]:
    """Return the parameter sets of the trials `first`, `first` + 1, ..., `history` being all trials before them."""
    sampler = space.search.sampler
    if sampler == "grid":
        values = _grid_values(space)
        points = itertools.islice(itertools.product(*values), first, first + size)
        return [(dict(zip(space.parameters, point, strict=True)), {}) for point in points]
    if sampler in ("random", "sobol"):
        return [(_at(space, point), {}) for point in _unit_points(space, first, size)]
    return _asked(space, history, first, size)


def _unit_points(space: Space, first: int, size: int) -> np.ndarray:
    dimensions, seed = len(space.parameters), space.search.seed
    if space.search.sampler == "random":
        generators = (np.random.default_rng((seed, number)) for number in range(first, first + size))
        return np.array([generator.random(dimensions) for generator in generators])
    from scipy.stats import qmc

    sobol = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if first:
        sobol.fast_forward(first)
    # Drawing a number of points that is no power of two warns, one at a time does not.
    return np.concatenate([sobol.random(1) for _ in range(size)])


def _at(space: Space, point: Sequence[float]) -> dict[str, Any]:
    """Return the parameters at a point of the unit cube."""
    found: dict[str, Any] = {}
    for place, (name, distribution) in zip(point, distributions(space).items(), strict=True):
        if isinstance(distribution, CategoricalDistribution):
            found[name] = distribution.choices[int(place * len(distribution.choices))]
        elif distribution.log:
            low, high = math.log(distribution.low), math.log(distribution.high)
            value = min(max(math.exp(low + place * (high - low)), distribution.low), distribution.high)
            found[name] = round(value) if isinstance(distribution, IntDistribution) else value
        elif distribution.step is None:
            found[name] = distribution.low + place * (distribution.high - distribution.low)
        else:
            steps = round((distribution.high - distribution.low) / distribution.step) + 1
            value = distribution.low + int(place * steps) * distribution.step
            found[name] = value if isinstance(distribution, IntDistribution) else round(value, 12)
    return found


def _asked(space: Space, history: Sequence[FrozenTrial], first: int, size: int) -> list[tuple[dict[str, Any], Notes]]:
    """Ask Optuna in a new study of the history, so that the answer depends on nothing else."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    batch = space.search.batch
    seed = int(np.random.SeedSequence((space.search.seed, first)).generate_state(1)[0])
    if space.search.sampler == "nsga2":
        sampler = optuna.samplers.NSGAIISampler(population_size=max(batch, 2), seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(10, batch))
    study = optuna.create_study(sampler=sampler, directions=directions(space))
    study.add_trials(history)
    wanted = distributions(space)
    for _ in range(size):
        study.ask(wanted)
    found = []
    for trial in study.get_trials()[len(history) :]:
        notes = {name: value for name, value in trial.system_attrs.items() if not name.startswith("constraints")}
        found.append((trial.params, notes))
    return found


def directions(space: Space) -> list[str]:
    """Return Optuna's words for which way each objective is to go."""
    return ["maximize" if objective.more_is_better else "minimize" for objective in space.objectives]
