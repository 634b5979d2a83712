"""A batch is a function of space, seed and the batches before it."""

import numpy as np
import pytest
from fake_market import MARKETS, FormulaMarket, Here, space

optuna = pytest.importorskip("optuna")
pytest.importorskip("scipy")

from gridv4_bt.optimise.sampling import grid_size, propose
from gridv4_bt.optimise.study import Search

SAMPLERS = ["random", "sobol", "tpe", "nsga2"]


def searched(sampler, **search):
    found = Search(space({"sampler": sampler, **search}), MARKETS, None, "test", "")
    for _ in found.run(Here()):
        pass
    return found


def test_the_grid_has_every_combination_once():
    grid = space(
        {"sampler": "grid"},
        parameters={"k": {"low": 1.0, "high": 1.3, "step": 0.1}, "levels": {"low": 2, "high": 7, "step": 2}},
    )
    assert grid_size(grid) == 12
    points = [params for params, _ in propose(grid, [], 0, 100)]
    assert [(point["k"], point["levels"]) for point in points] == [
        (k, levels) for k in (1.0, 1.1, 1.2, 1.3) for levels in (2, 4, 6)
    ]
    assert [params for first in range(0, 12, 5) for params, _ in propose(grid, [], first, 5)] == points


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_point_depends_on_its_number_and_the_seed_alone(sampler):
    some = space({"sampler": sampler})
    whole = [params for params, _ in propose(some, [], 0, 20)]
    assert [propose(some, [], number, 1)[0][0] for number in range(20)] == whole
    assert [params for params, _ in propose(space({"sampler": sampler, "seed": 6}), [], 0, 20)] != whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_stay_within_the_space(sampler):
    for trial in searched(sampler).trials:
        params = trial.params
        assert 1.0 <= params["k"] <= 6.0
        assert params["levels"] in (2, 4, 6, 8, 10, 12) and isinstance(params["levels"], int)
        assert params["regime"] in ("kama", "none")


def test_sobol_fills_a_log_range_evenly():
    some = space({"sampler": "sobol"}, parameters={"k": {"low": 1.0, "high": 16.0, "log": True}})
    ks = [params["k"] for params, _ in propose(some, [], 0, 32)]
    # 32 points of the sequence: exactly 8 in each quarter
    assert np.histogram(np.log2(ks), bins=[0, 1, 2, 3, 4])[0].tolist() == [8, 8, 8, 8]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_asked_again_with_the_same_history_it_proposes_the_same(sampler):
    history = [trial.stored for trial in searched(sampler).trials]
    some = space({"sampler": sampler})
    for first in (8, 16):
        again = [params for params, _ in propose(some, history[:first], first, 8)]
        assert again == [trial.params for trial in history[first : first + 8]]
        assert [params for params, _ in propose(some, history[:first], first, 3)] == again[:3]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_an_adaptive_sampler_comes_nearer_to_what_is_good(sampler):
    trials = searched(sampler, trials=96, batch=12).trials
    distance = [abs(trial.params["k"] - 3.0) for trial in trials]
    assert np.mean(distance[-24:]) < 0.7 * np.mean(distance[:24])


def test_generations_of_nsga2_are_kept_with_the_trials():
    history = [trial.stored for trial in searched("nsga2").trials]
    assert [trial.system_attrs["NSGAIISampler:generation"] for trial in history] == [0] * 8 + [1] * 8 + [2] * 8


def test_what_breaks_limits_is_avoided():
    limited = space({"trials": 96, "batch": 12}, limits=["max_drawdown < 0.05"])
    found = Search(limited, {("TEST", "main"): FormulaMarket()}, None, "test", "")
    for _ in found.run(Here()):
        pass
    broken = [bool(trial.broken) for trial in found.trials]
    assert [trial.params["levels"] > 4 for trial in found.trials] == broken
    assert sum(broken[-36:]) < sum(broken[:36])
