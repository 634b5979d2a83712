"""The verdict: no if anything speaks against it, yes only if everything speaks for it."""

from dataclasses import replace

import numpy as np
import pytest
from fake_market import MARKETS, Here, space

pytest.importorskip("optuna")
pytest.importorskip("scipy")

from gridv4_bt.optimise.folds import Fold
from gridv4_bt.optimise.guards import Guards, judge, measure, neighbours_of
from gridv4_bt.optimise.study import Search, best_of
from gridv4_bt.optimise.walkforward import FoldResult
from gridv4_bt.validation.overfitting import Overfitting, ReturnInterval

NONE = np.empty(0)
GOOD = Guards(
    Overfitting(0.05, NONE, NONE, NONE, 0.02), 0.99, 100, 40, 1.5, 0.5, 0.8, 6,
    ReturnInterval(0.1, 0.2, 0.3, 0.0), {"anchored": ReturnInterval(0.1, 0.2, 0.3, 0.0)},
)  # fmt: skip
TESTS = {"later": (0.05, [])}
HELD_OUT = {"main": 0.2, "later": 0.03}


def fold(*returns):
    return FoldResult(Fold((0, 9), (10, 19)), {"k": 3.0}, 1.0, np.arange(10, 10 + len(returns)), np.array(returns))


WON = {"anchored": [fold(0.1, 0.1), fold(0.05)]}


def test_yes_only_if_everything_speaks_for_it():
    verdict = judge(0.3, GOOD, WON, TESTS, HELD_OUT, 0.0)
    assert verdict.answer == "yes"
    assert verdict.sentence == "It may: all 10 checks speak for it. The future is still another matter."
    assert all(check.sign == 1 for check in verdict.checks)


@pytest.mark.parametrize(
    ("changes", "answer", "words"),
    [
        ({"winner": -0.01}, "no", "in the search itself"),
        ({"tests": {"later": (-0.01, [])}}, "no", "no search has seen"),
        ({"tests": {"later": (0.01, ["max_drawdown < 0.1 (X)"])}}, "no", "no search has seen"),
        ({"tests": {}}, "doubtful", "no search has seen"),
        ({"folds": {"anchored": [fold(-0.1), fold(0.05)]}}, "no", "anchored walk-forward"),
        ({"folds": {"anchored": [fold(-0.01), fold(-0.01), fold(0.05)]}}, "doubtful", "anchored walk-forward"),
        ({"forward": ReturnInterval(-0.1, 0.1, 0.3, 0.2)}, "doubtful", "other blocks"),
        ({"forward": ReturnInterval(-0.3, -0.1, 0.3, 0.6)}, "no", "other blocks"),
        ({"overfitting": Overfitting(0.3, NONE, NONE, NONE, 0.1)}, "doubtful", "CSCV"),
        ({"overfitting": Overfitting(0.6, NONE, NONE, NONE, 0.1)}, "no", "CSCV"),
        ({"overfitting": None}, "doubtful", "CSCV"),
        ({"deflated_sharpe": 0.7}, "doubtful", "deflated Sharpe"),
        ({"deflated_sharpe": 0.4}, "no", "deflated Sharpe"),
        ({"plateau": 0.3}, "doubtful", "plateau"),
        ({"plateau": None}, "doubtful", "plateau"),
        ({"difference": 1e-6}, "no", "Backtrader"),
        ({"held_out": {"main": -0.2, "later": 0.1}}, "no", "symbols that no search"),
        ({"held_out": {"main": 0.2, "later": -0.1}}, "doubtful", "symbols that no search"),
        ({"bets": 29}, "doubtful", "independent bets"),
        ({"bets": 9}, "no", "independent bets"),
    ],
    ids=str,
)
def test_one_thing_wrong_decides(changes, answer, words):
    found = dict(changes)
    winner, tests = found.pop("winner", 0.3), found.pop("tests", TESTS)
    folds, difference = found.pop("folds", WON), found.pop("difference", 0.0)
    held_out = found.pop("held_out", HELD_OUT)
    if "forward" in found:
        found["forward"] = {"anchored": found["forward"]}
    verdict = judge(winner, replace(GOOD, **found), folds, tests, held_out, difference)
    assert verdict.answer == answer
    [wrong] = [check for check in verdict.checks if check.sign != 1]
    assert words in wrong.question
    assert verdict.sentence.startswith({"no": "Probably not: 1 of 10", "doubtful": "Doubtful: 1 of 10"}[answer])


def test_how_many_bets_there_were_and_how_sure_the_sharpe_ratio_is_stand_in_the_verdict():
    [check] = [one for one in judge(0.3, GOOD, WON, TESTS, HELD_OUT, 0.0).checks if "bets" in one.question]
    assert check.answer == "40 bets a day or more apart; Sharpe 1.50, give or take 0.50"


def test_without_symbols_held_out_there_is_no_such_check():
    questions = [check.question for check in judge(0.3, GOOD, WON, TESTS, {}, 0.0).checks]
    assert not any("symbols" in question for question in questions)


def test_without_a_sweep_there_is_nothing_to_compare_with_backtrader():
    questions = [check.question for check in judge(0.3, GOOD, WON, TESTS, HELD_OUT, None).checks]
    assert not any("Backtrader" in question for question in questions)


def test_neighbours_are_one_parameter_a_little_off_within_the_space():
    some = space(
        parameters={
            "k": {"low": 1.0, "high": 16.0, "log": True},
            "gamma": {"low": 0.0, "high": 10.0},
            "levels": {"low": 2, "high": 12, "step": 2},
            "floor_pct": {"low": 0.01, "high": 0.02, "step": 0.001},
            "horizon": {"choices": [96, 24, 48]},
            "regime": {"choices": ["kama", "none"]},
        }
    )
    winner = {"k": 4.0, "gamma": 0.2, "levels": 12, "floor_pct": 0.015, "horizon": 48, "regime": "none"}
    changed = [(name, one[name]) for one in neighbours_of(some, winner) for name in winner if one[name] != winner[name]]
    factor = 16.0**0.05
    assert changed == [
        ("k", pytest.approx(4.0 / factor)),
        ("k", pytest.approx(4.0 * factor)),
        ("gamma", pytest.approx(0.7)),  # 0.2 - 0.5 lies outside
        ("levels", 10),
        ("floor_pct", pytest.approx(0.014)),
        ("floor_pct", pytest.approx(0.016)),
        ("horizon", 24),
        ("horizon", 96),
    ]


def searched(**changes):
    some = space({"trials": 64, "sampler": "sobol"}, limits=[], **changes)
    search = Search(some, MARKETS, None, "test", "")
    for _ in search.run(Here()):
        pass
    return some, search.trials


def test_guards_of_a_search_with_an_edge():
    # The formula earns by k alone: what is best in one half is good in the other.
    some, trials = searched(parameters={"k": {"low": 1.0, "high": 6.0}})
    best = best_of(some, trials)[0]
    found = measure(some, trials, best, [best.objectives[0], 0.5 * best.objectives[0], None, 0.0], WON)
    assert found.overfitting.probability < 0.2
    assert found.trials == 64
    assert found.plateau == pytest.approx(1.5 / 4)
    assert found.interval.low < float(np.prod(1.0 + best.returns) - 1.0) < found.interval.high
    assert found.forward["anchored"].median > 0.0


def test_guards_of_a_search_among_trials_that_differ_by_chance_alone():
    some, trials = searched(parameters={"k": {"low": 2.999, "high": 3.001}, "levels": {"low": 1, "high": 99}})
    noise = measure(some, trials, trials[0], [], {})
    assert noise.plateau is None
    assert noise.overfitting.probability > 0.3


def test_trials_made_before_deflate_too():
    some, trials = searched(parameters={"k": {"low": 1.0, "high": 6.0}})
    before = some.model_copy(update={"search": some.search.model_copy(update={"tried_before": 10_000})})
    best = best_of(some, trials)[0]
    first, second = (measure(one, trials, best, [], {}) for one in (some, before))
    assert (first.trials, second.trials) == (64, 10_064)
    assert second.deflated_sharpe < first.deflated_sharpe
