"""A search goes on from its storage and ends as if it had never been interrupted."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fake_market import DAYS, MARKETS, FormulaMarket, Here, space

optuna = pytest.importorskip("optuna")
pytest.importorskip("scipy")

from gridv4_bt.config import GridConfig
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.figures import Evaluation
from gridv4_bt.optimise.study import (
    Search,
    best_of,
    pack_returns,
    pareto,
    portfolio,
    returns_matrix,
    unpack_returns,
    violations,
    without_password,
)
from gridv4_bt.optimise.workers import Forks

ROOT = Path(__file__).resolve().parents[2]


def run(some, storage=None, workers=None, markets=MARKETS):
    search = Search(some, markets, storage, "test", "data")
    for _ in search.run(workers or Here()):
        pass
    return search


def content(search):
    return [
        (trial.params, trial.error, trial.error or (trial.objectives, trial.figures, trial.broken, list(trial.returns)))
        for trial in search.trials
    ]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "sobol"])
def test_the_number_of_jobs_changes_nothing(sampler):
    some = space({"sampler": sampler, "trials": 12, "batch": 6})
    expected = content(run(some))
    for jobs in (1, 3):
        assert content(run(some, workers=Forks(jobs))) == expected


def test_a_storage_with_half_a_batch_is_gone_on_with(tmp_path):
    whole = content(run(space({"trials": 20})))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    run(space({"trials": 11}), storage)  # ends within the second batch of 8
    kept = Search(space({"trials": 20}), MARKETS, storage, "test", "data")
    assert len(kept.trials) == 11
    assert content(run(space({"trials": 20}), storage)) == whole


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from fake_market import FormulaMarket, space
from gridv4_bt.optimise.study import Search
from gridv4_bt.optimise.workers import Forks
markets = {("TEST", "main"): FormulaMarket(seconds=float(sys.argv[3]))}
search = Search(space({"trials": 24}), markets, sys.argv[1], "test", "data")
for _ in search.run(Forks(2)):
    pass
"""


def trials_in(path):
    """Count without Optuna, which would make the tables itself while the search is making them."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:  # no file yet, no tables yet
        return 0


def test_a_killed_search_resumes_to_the_same_end(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    command = [sys.executable, "-c", KILLED, storage, str(Path(__file__).parent)]
    process = subprocess.Popen([*command, "0.2"], cwd=ROOT, start_new_session=True)
    while process.poll() is None and trials_in(tmp_path / "study.db") < 8:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 8 <= trials_in(tmp_path / "study.db") < 24
    assert content(run(space({"trials": 24}), storage)) == content(run(space({"trials": 24})))


def test_trials_of_another_space_are_not_mixed_in(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    run(space({"trials": 8}), storage)
    with pytest.raises(ConfigError, match="test holds trials of another space, seed or data"):
        Search(space({"trials": 8, "seed": 6}), MARKETS, storage, "test", "data")
    with pytest.raises(ConfigError, match="another space, seed or data"):
        Search(space({"trials": 8}), MARKETS, storage, "test", "other data")


def test_another_limit_chooses_among_the_same_trials_without_a_run(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first = run(space({"sampler": "sobol", "trials": 16}, limits=["max_drawdown < 0.10"]), storage)
    wild = max(trial.figures["TEST in main"]["max_drawdown"] for trial in first.trials)
    some = space({"sampler": "sobol", "trials": 16}, limits=[f"max_drawdown >= {wild!r}"])
    again = Search(some, MARKETS, storage, "test", "data")
    assert {one.figures["TEST in main"]["max_drawdown"] for one in best_of(some, again.trials)} == {wild}
    assert [trial.params for trial in again.trials] == [trial.params for trial in first.trials]


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/study.db", "nonsense"])
def test_a_storage_that_cannot_be_used_is_named(url):
    with pytest.raises(ConfigError, match=f"storage {url}: cannot be used"):
        Search(space(), MARKETS, url, "test", "data")


def test_a_trial_that_fails_is_kept_with_its_reason():
    some = space({"sampler": "grid"}, limits=[], parameters={"kappa": {"choices": [12.0, 13.0, 14.0]}})
    search = run(some)
    assert [trial.error for trial in search.trials] == [None, "no such market", None]
    assert [trial.params["kappa"] for trial in search.trials] == [12.0, 13.0, 14.0]
    assert [trial.number for trial in best_of(some, search.trials)] == [0, 2]


def test_contradictions_of_parameters_fail_as_trials():
    stops = {"parameters": {"stop1_atr": {"choices": [4.0, 9.0]}}, "fixed": {"stop2_atr": 6.0}}
    some = space({"sampler": "grid"}, **stops)
    assert [trial.error for trial in run(some).trials] == [
        None,
        "stop1_atr = 9.0 against stop2_atr = 6.0: stage 2 must lie farther away than stage 1",
    ]


def test_best_are_the_front_first_and_by_the_first_objective():
    some = space(
        {"sampler": "grid"},
        objectives=[{"figure": "sharpe"}, {"figure": "max_drawdown"}],
        parameters={"k": {"choices": [2.0, 3.0]}, "levels": {"choices": [2, 4, 12]}},
    )
    search = run(some)
    # 12 levels break the limit; 2 levels risk less than 4 and earn as much.
    assert [trial.params for trial in pareto(some, best_of(some, search.trials))] == [{"k": 3.0, "levels": 2}]
    assert [(trial.params["k"], trial.params["levels"]) for trial in best_of(some, search.trials)] == [
        (3.0, 2),
        (3.0, 4),
        (2.0, 2),
        (2.0, 4),
    ]


def test_limits_hold_in_every_market_or_in_the_one_window_named():
    some = space(windows=[{"name": "a"}, {"name": "b"}], limits=["max_drawdown < 0.1", "fills_per_day > 1 in b"])
    figures = {
        "X in a": {"max_drawdown": 0.05, "fills_per_day": 0.5},
        "X in b": {"max_drawdown": 0.2, "fills_per_day": 3.0},
        "Y in a": {"max_drawdown": 0.05, "fills_per_day": 0.1},
        "Y in b": {"max_drawdown": 0.05, "fills_per_day": 1.5},
    }
    assert violations(some, figures) == {
        "max_drawdown < 0.1": pytest.approx(1.0),
        "fills_per_day > 1 in b": pytest.approx(-0.5),
    }


def test_a_portfolio_is_the_mean_of_its_symbols_on_every_day():
    cells = [("X", "main"), ("Y", "main"), ("X", "crash")]
    evaluations = [
        Evaluation({}, np.array([10, 11, 12]), np.array([0.1, 0.2, 0.3])),
        Evaluation({}, np.array([12, 14]), np.array([0.1, 0.4])),  # comes later, has no day 13
        Evaluation({}, np.array([99]), np.array([9.0])),
    ]
    days, returns = portfolio(cells, evaluations)
    assert days.tolist() == [10, 11, 12, 13, 14]
    np.testing.assert_allclose(returns, [0.05, 0.1, 0.2, 0.0, 0.2])


def test_returns_of_trials_are_aligned_at_their_last_day():
    search = run(space({"trials": 3}))
    trials = search.trials
    assert returns_matrix(trials).shape == (DAYS, 3)
    trials[1].__dict__["returns"] = trials[1].returns[50:]
    matrix = returns_matrix(trials)
    assert matrix.shape == (DAYS, 3)
    assert not matrix[:50, 1].any() and matrix[50:, 1].all()


def test_returns_are_kept_to_seven_digits():
    returns = FormulaMarket().evaluate(GridConfig()).returns
    np.testing.assert_allclose(unpack_returns(pack_returns(returns)), returns, rtol=1e-7)


@pytest.mark.parametrize(
    ("storage", "text", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:s3cret@host/db: s3cret is wrong",
         "postgresql://me:***@host/db: *** is wrong"),
        ("mysql://me:a%40b@host/db", "mysql://me:a%40b@host/db, password a@b", "mysql://me:***@host/db, password ***"),
        ("postgresql://host/db?user=me&password=s3cret", "?user=me&password=s3cret", "?user=me&password=***"),
        ("bob:s3cret@host/db", "storage bob:s3cret@host/db", "storage bob:***@host/db"),
        ("sqlite:///study.db", "sqlite:///study.db", "sqlite:///study.db"),
        (None, "memory", "memory"),
    ],
)  # fmt: skip
def test_the_password_of_a_storage_is_shown_nowhere(storage, text, shown):
    assert without_password(storage, text) == shown


def test_a_storage_that_cannot_be_used_is_refused_without_its_password():
    with pytest.raises(ConfigError) as refusal:
        Search(space(), MARKETS, "nothing://me:s3cret@host/db", "test", "data")
    assert "s3cret" not in str(refusal.value) and "me:***@host" in str(refusal.value)
