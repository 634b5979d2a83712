"""The guards against overfitting applied to a search, and the verdict on its winner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridv4_bt.metrics.performance import DAYS_A_YEAR
from gridv4_bt.optimise.sampling import stepped
from gridv4_bt.optimise.space import Objective, Parameter, Space
from gridv4_bt.optimise.study import Trial, returns_matrix
from gridv4_bt.optimise.walkforward import FoldResult
from gridv4_bt.optimise.workers import Values
from gridv4_bt.report.numbers import signed
from gridv4_bt.validation.overfitting import (
    Overfitting,
    ReturnInterval,
    bootstrap_return,
    deflated_sharpe,
    overfitting_probability,
    plateau_score,
    sharpe_ratio,
)

#: How far a neighbour lies from the winner: of the range of one parameter, one step at least.
NEIGHBOUR = 0.05
#: Blocks of days for the cross-validation; fewer where they would be shorter than this.
BLOCKS, LEAST_BLOCK = 16, 10

GOOD_PBO, BAD_PBO = 0.2, 0.5
GOOD_SHARPE, BAD_SHARPE = 0.95, 0.5
GOOD_PLATEAU = 0.6
#: Below the one the mean of the bets is no more normal than they are; below the other a single one can make the result.
GOOD_BETS, BAD_BETS = 30, 10


@dataclass(frozen=True)
class Guards:
    """The results of the guards; None where there was nothing to measure."""

    overfitting: Overfitting | None
    deflated_sharpe: float
    trials: int  #: that deflate it
    bets: int  #: independent ones of the winner in the first search window, see `gridv4_bt.core.bets`
    sharpe: float  #: of the winner there, annual
    sharpe_error: float  #: its standard error if the bets are alike: 1 / sqrt(years)
    plateau: float | None
    neighbours: int
    interval: ReturnInterval  #: of the winner's return in the search
    forward: dict[str, ReturnInterval]  #: of the walk-forward's return, by scheme


def measure(
    space: Space,
    trials: Sequence[Trial],
    winner: Trial,
    neighbours: Sequence[float | None],
    folds: Mapping[str, Sequence[FoldResult]],
) -> Guards:
    """Apply all guards to the trials that were evaluated.

    `neighbours` are the first objective of the winner's neighbours, None for one that failed or broke a limit.
    """
    evaluated = [trial for trial in trials if trial.error is None]
    matrix = returns_matrix(evaluated)
    blocks = min(BLOCKS, len(matrix) // LEAST_BLOCK // 2 * 2)
    enough = blocks >= 2 and len(evaluated) >= 2
    made = len(evaluated) + space.search.tried_before
    objective, window = space.objectives[0], space.search_windows[0].name
    return Guards(
        overfitting_probability(matrix, blocks) if enough else None,
        deflated_sharpe(winner.returns, [sharpe_ratio(returns) for returns in matrix.T], made),
        made,
        sum(int(one["bets"] or 0) for cell, one in winner.figures.items() if cell.endswith(f" in {window}")),
        sharpe_ratio(winner.returns) * math.sqrt(DAYS_A_YEAR),
        math.sqrt(DAYS_A_YEAR / len(winner.returns)),
        plateau_score(_growing(objective, winner.objectives[0]), [_growing(objective, one) for one in neighbours]),
        len(neighbours),
        bootstrap_return(winner.returns, seed=space.search.seed),
        {
            scheme: bootstrap_return(np.concatenate([one.returns for one in results]), seed=space.search.seed)
            for scheme, results in folds.items()
        },
    )


def _growing(objective: Objective, value: float | None) -> float | None:
    """Return a positive objective so that more is better; the inverse of one that is to shrink."""
    if value is None or objective.more_is_better:
        return value
    return 1.0 / value if value > 0.0 else math.inf


def neighbours_of(space: Space, params: Values) -> list[Values]:
    """Return the parameter sets next to one: a numeric parameter a little lower or higher, all others the same.

    Names have no neighbours. Values outside the space are left out.
    """
    found = []
    for name, parameter in space.parameters.items():
        for value in _beside(parameter, params[name], space.is_whole(name)):
            found.append({**params, name: value})
    return found


def _beside(parameter: Parameter, value: float, whole: bool) -> list[float]:
    if parameter.choices:
        if not all(isinstance(choice, (int, float)) for choice in parameter.choices):
            return []
        values: list[float] = sorted(parameter.choices)
        return _next_to(values, values.index(value), 1)
    low, high = parameter.low, parameter.high
    if whole:
        step = int(parameter.step or 1)
        places = list(range(int(low), int(high) + 1, step))
        return _next_to(places, places.index(value), max(1, round(NEIGHBOUR * len(places))))
    if parameter.step is not None:
        places = stepped(parameter)
        nearest = int(np.argmin(np.abs(np.array(places) - value)))
        return _next_to(places, nearest, max(1, round(NEIGHBOUR * len(places))))
    if parameter.log:
        factor = (high / low) ** NEIGHBOUR
        return [one for one in (value / factor, value * factor) if low <= one <= high]
    return [one for one in (value - NEIGHBOUR * (high - low), value + NEIGHBOUR * (high - low)) if low <= one <= high]


def _next_to(places: Sequence[float], index: int, distance: int) -> list[float]:
    return [places[other] for other in (index - distance, index + distance) if 0 <= other < len(places)]


# --- the verdict


@dataclass(frozen=True)
class VerdictCheck:
    """One question about the result, and its answer."""

    question: str
    answer: str
    #: 1: speaks for it, 0: leaves a doubt, -1: speaks against it
    sign: int


@dataclass(frozen=True)
class Verdict:
    """Whether the winner is expected to earn on data it was not chosen on, and the checks that decide it."""

    answer: str  #: yes, doubtful or no
    sentence: str
    checks: list[VerdictCheck]


def judge(
    winner: float,
    guards: Guards,
    folds: Mapping[str, Sequence[FoldResult]],
    tests: Mapping[str, tuple[float, list[str]]],
    held_out: Mapping[str, float],
    difference: float | None,
) -> Verdict:
    """Return the verdict: no if anything speaks against it, yes only if everything speaks for it.

    Parameters
    ----------
    winner : compound return of the best trial in the first search window.
    tests : return and broken limits of the winner in each test window.
    held_out : its return on the symbols that no search has seen, by window.
    difference : largest relative difference of its end equity between sweep and Backtrader; None: no sweep was used.
    """
    checks = [
        VerdictCheck("Did the winner pay in the search itself?", signed(winner, "percent"), 1 if winner > 0.0 else -1),
        _test_check(tests),
        *_held_out_checks(held_out),
        _bets_check(guards),
    ]
    for scheme, results in folds.items():
        total = math.prod(1.0 + one.total for one in results) - 1.0
        won = sum(one.total > 0.0 for one in results)
        answer = f"{signed(total, 'percent')} in all, a profit in {won} of {len(results)} folds"
        good = total > 0.0 and won * 2 > len(results)
        checks.append(
            VerdictCheck(
                f"Does a search of the past pay in what follows ({scheme} walk-forward)?",
                answer,
                1 if good else -1 if total <= 0.0 else 0,
            )
        )
        interval = guards.forward[scheme]
        low, high = signed(interval.low, "percent"), signed(interval.high, "percent")
        answer = f"90 % between {low} and {high}; {_whole(interval.loss)} of resamples lose"
        checks.append(
            VerdictCheck(
                f"Would that have paid had the days come in other blocks ({scheme})?",
                answer,
                1 if interval.low > 0.0 else -1 if interval.median <= 0.0 else 0,
            )
        )
    checks.append(_overfitting_check(guards.overfitting))
    checks.append(
        VerdictCheck(
            "Is the winner better than the best of as many trials without any skill (deflated Sharpe)?",
            f"{_whole(guards.deflated_sharpe)}, deflated by {guards.trials:,} trials",
            _rated(guards.deflated_sharpe, GOOD_SHARPE, BAD_SHARPE),
        )
    )
    if guards.plateau is None:
        answer, sign = "the winner itself has nothing to lose" if guards.neighbours else "no neighbours", 0
    else:
        answer = f"its {guards.neighbours} neighbours keep {_whole(guards.plateau)} of it"
        sign = 1 if guards.plateau >= GOOD_PLATEAU else 0
    checks.append(VerdictCheck("Does it stand on a plateau and not on a needle?", answer, sign))
    if difference is not None:
        same = difference <= 1e-9
        answer = (
            f"largest relative difference {difference:.1e}" if difference else "the same end equity to the last digit"
        )
        checks.append(VerdictCheck("Does Backtrader say the same as the sweep?", answer, 1 if same else -1))
    return _summed_up(checks)


def _test_check(tests: Mapping[str, tuple[float, list[str]]]) -> VerdictCheck:
    question = "Did it pay in windows that no search has seen, within all limits?"
    if not tests:
        return VerdictCheck(question, "there is no such window", 0)
    parts = []
    for window, (total, broken) in tests.items():
        parts.append(f"{window} {signed(total, 'percent')}" + (f", broke {'; '.join(broken)}" if broken else ""))
    good = all(total > 0.0 and not broken for total, broken in tests.values())
    return VerdictCheck(question, "; ".join(parts), 1 if good else -1)


def _held_out_checks(held_out: Mapping[str, float]) -> list[VerdictCheck]:
    """Return the check on symbols not searched; none where the space has no such symbol."""
    if not held_out:
        return []
    answer = "; ".join(f"{window} {signed(total, 'percent')}" for window, total in held_out.items())
    total = math.prod(1.0 + one for one in held_out.values()) - 1.0
    good = total > 0.0 and sum(one > 0.0 for one in held_out.values()) * 2 > len(held_out)
    question = "Did it pay on symbols that no search has seen?"
    return [VerdictCheck(question, answer, 1 if good else -1 if total <= 0.0 else 0)]


def _bets_check(guards: Guards) -> VerdictCheck:
    answer = (
        f"{guards.bets:,} bets a day or more apart; Sharpe {guards.sharpe:.2f}, give or take {guards.sharpe_error:.2f}"
    )
    return VerdictCheck(
        "Are there enough independent bets to tell skill from luck?", answer, _rated(guards.bets, GOOD_BETS, BAD_BETS)
    )


def _overfitting_check(found: Overfitting | None) -> VerdictCheck:
    question = "Is what is best in one half of the time still good in the other (CSCV)?"
    if found is None:
        return VerdictCheck(question, "too few days or trials to tell", 0)
    chance, loss = _whole(found.probability), _whole(found.loss)
    answer = f"probability of overfitting {chance}; the best of a half loses in {loss} of them"
    return VerdictCheck(question, answer, _rated(-found.probability, -GOOD_PBO, -BAD_PBO))


def _whole(share: float) -> str:
    """Return a share in whole percent."""
    return f"{100.0 * share:.0f} %"


def _rated(value: float, good: float, bad: float) -> int:
    return 1 if value >= good else -1 if value < bad else 0


def _summed_up(checks: list[VerdictCheck]) -> Verdict:
    against = [check for check in checks if check.sign < 0]
    doubts = [check for check in checks if check.sign == 0]
    if against:
        return Verdict("no", f"Probably not: {len(against)} of {len(checks)} checks speak against it.", checks)
    if doubts:
        return Verdict("doubtful", f"Doubtful: {len(doubts)} of {len(checks)} checks leave a doubt.", checks)
    return Verdict("yes", f"It may: all {len(checks)} checks speak for it. The future is still another matter.", checks)


def nothing_fits(reason: str) -> Verdict:
    """Return the verdict on a search without a winner."""
    return Verdict("no", f"No: {reason}", [])
