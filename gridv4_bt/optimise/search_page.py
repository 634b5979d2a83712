"""optimize.html: one self-contained page of the trials of a search and the verdict on its winner."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.metrics.performance import DAYS_A_YEAR
from gridv4_bt.metrics.summary import finite
from gridv4_bt.optimise.result import Finalist, SearchResult
from gridv4_bt.optimise.space import Space
from gridv4_bt.optimise.study import Trial, pareto
from gridv4_bt.optimise.walkforward import FoldResult, day_of
from gridv4_bt.optimise.workers import Values
from gridv4_bt.report.numbers import number, sign_of, words
from gridv4_bt.report.packing import as_text
from gridv4_bt.report.page import fill_page
from gridv4_bt.report.page_tables import Cell, Table
from gridv4_bt.validation.overfitting import ReturnInterval

SCRIPTS = ("codec.js", "page.js", "text.js", "optimize.js")
TONES = {"yes": "good", "doubtful": "even", "no": "bad"}
MARKS = {1: ("good", "+"), 0: ("even", "?"), -1: ("bad", "−")}
#: Figures of the finalists' tables: key, kind, definition.
COLUMNS = (
    ("net_return", "percent", "Change of the equity, unrealised profit included."),
    ("max_drawdown", "percent", "Farthest the equity fell below its highest so far."),
    ("sharpe", "ratio", "Mean over deviation of daily returns, times √365."),
    ("calmar", "ratio", "Return a year over the largest drawdown."),
    ("fills_per_day", "ratio", "Entries a day."),
    ("trades", "count", "Fills that are closed."),
    ("bets", "count", "Fills at least a day after the one before: about as many independent bets."),
    ("liquidations", "count", "How often the exchange closed everything."),
)
HEADS = {"max_drawdown": "largest drawdown", "sharpe": "Sharpe", "calmar": "Calmar"}
KINDS = {key: kind for key, kind, _ in COLUMNS}
CELLS = 8  #: of a heat map along a range
MOST_POINTS = 1_500  #: of the splits
HEATED = 4  #: parameters whose pairs are shown


def write_page(path: Path, result: SearchResult) -> None:
    """Write the page of a search."""
    pieces = make_page(result)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(pieces)


def make_page(result: SearchResult) -> Iterator[str]:
    """Return the page of a search as pieces of HTML."""
    space, verdict = result.space, result.verdict
    content = json.dumps(finite(page_data(result)), separators=(",", ":"), allow_nan=False)
    return fill_page(
        "optimize.html",
        SCRIPTS,
        _plotly(),
        as_text(gzip.compress(content.encode(), 9, mtime=0)),
        title=", ".join(symbol.name for symbol in space.symbols),
        span=f"{len(result.trials):,} trials by {space.search.sampler}, seed {space.search.seed}, "
        f"{len(result.best):,} within all limits",
        tone=TONES[verdict.answer],
        sentence=verdict.sentence,
        tiles=_tiles(result),
        finalists=[_finalist(place, one) for place, one in enumerate(result.finalists, 1)],
        folds=[_folds(space, scheme, folds) for scheme, folds in result.folds.items()],
        searched=_searched(space),
        checks=_checks(result),
    )


@cache
def _plotly() -> bytes:
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def page_data(result: SearchResult) -> dict[str, Any]:
    """Return the data of the page's charts."""
    space = result.space
    evaluated = [trial for trial in result.trials if trial.error is None]
    importance = importances(result.study)
    front = {trial.number for trial in pareto(space, result.best)}
    winner = result.best[0].number if result.best else None
    said = {limit.text: limit.words for limit in space.limits}
    guards = result.guards
    logits = guards.overfitting.logits if guards and guards.overfitting else np.empty(0)
    counts, edges = np.histogram(logits, bins=25) if len(logits) else (np.empty(0), np.empty(1))
    return {
        "objectives": [f"{one.over} {one.figure}".replace("_", " ") for one in space.objectives],
        "percent": [KINDS.get(one.figure) == "percent" for one in space.objectives],
        "trials": [
            {
                "number": trial.number + 1,
                "objectives": trial.objectives,
                "params": values_text(trial.params),
                "broken": "; ".join(said.get(text, text) for text in trial.broken),
                "front": trial.number in front,
                "winner": trial.number == winner,
            }
            for trial in evaluated
        ],
        "importance": importance,
        "samples": _samples(result),
        "curves": _curves(result),
        "logits": {"places": ((edges[1:] + edges[:-1]) / 2.0).round(3).tolist(), "counts": counts.tolist()},
        "intervals": _intervals(result),
        "heats": heat_maps(space, evaluated, list(importance)[:HEATED]),
    }


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of each parameter in the differences of the first objective, largest first; {} if unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an experimental one of Optuna's
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), target=lambda trial: trial.values[0]
            )
    except (ValueError, RuntimeError):  # too few trials, or all of them alike
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def heat_maps(space: Space, trials: Sequence[Trial], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the mean of the first objective over each pair of the parameters, in cells."""
    values = np.array([trial.objectives[0] for trial in trials])
    found = []
    for across, up in combinations(names, 2):
        (columns, x), (rows, y) = (_cells(space, trials, name) for name in (across, up))
        sums, counts = np.zeros((2, len(y), len(x)))
        np.add.at(sums, (rows, columns), values)
        np.add.at(counts, (rows, columns), 1.0)
        means = np.where(counts > 0.0, sums / np.maximum(counts, 1.0), np.nan)
        middle = float(np.median(values))
        found.append({"across": across, "up": up, "x": x, "y": y, "z": means.tolist(), "middle": middle})
    return found


def _cells(space: Space, trials: Sequence[Trial], name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the cell of each trial along a parameter, and the cells' names."""
    values = [trial.params[name] for trial in trials]
    parameter = space.parameters[name]
    distinct = list(parameter.choices) or sorted(set(values))
    if parameter.choices or len(distinct) <= CELLS:
        return np.array([distinct.index(value) for value in values]), [_short(value) for value in distinct]
    scale = np.geomspace if parameter.log else np.linspace
    edges = scale(parameter.low, parameter.high, CELLS + 1)
    cells = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, CELLS - 1)
    if space.is_whole(name):  # of the whole numbers from an edge on and below the next
        firsts, end = np.ceil(edges[:-1]).astype(int).tolist(), int(parameter.high)
        lasts = [*(np.ceil(edges[1:-1]).astype(int) - 1).tolist(), end]
        return cells, [str(low) if low >= high else f"{low}–{high}" for low, high in zip(firsts, lasts, strict=True)]
    return cells, [f"{low:.3g}–{high:.3g}" for low, high in pairwise(edges)]


def _samples(result: SearchResult) -> dict[str, list[float]]:
    found = result.guards and result.guards.overfitting
    if not found:
        return {"inside": [], "outside": []}
    step = -(-len(found.in_sample) // MOST_POINTS)
    year = DAYS_A_YEAR**0.5
    return {
        "inside": (found.in_sample[::step] * year).round(3).tolist(),
        "outside": (found.out_of_sample[::step] * year).round(3).tolist(),
    }


def _curves(result: SearchResult) -> list[dict[str, Any]]:
    curves = []
    for scheme, folds in result.folds.items():
        days = np.concatenate([one.days for one in folds])
        curves.append(_curve(f"{scheme} walk-forward", days, np.concatenate([one.returns for one in folds]), False))
    for finalist in result.finalists[:1]:
        for window in result.space.windows:
            days, returns = finalist.curves[window.name]
            curves.append(_curve(f"winner, {window.name}", days, returns, window.use == "search"))
    return curves


def _curve(name: str, days: NDArray[np.int64], returns: NDArray[np.float64], seen: bool) -> dict[str, Any]:
    dates = [day_of(int(day)).isoformat() for day in days]
    return {"name": name, "days": dates, "equity": np.cumprod(1.0 + returns).round(6).tolist(), "seen": seen}


def _intervals(result: SearchResult) -> list[dict[str, Any]]:
    guards = result.guards
    if guards is None:
        return []
    named: dict[str, ReturnInterval] = {"winner, searched": guards.interval}
    named |= {f"{scheme} walk-forward": one for scheme, one in guards.forward.items()}
    return [{"name": name, "low": one.low, "median": one.median, "high": one.high} for name, one in named.items()]


# --- tables


def _tiles(result: SearchResult) -> list[tuple[str, str, str, str]]:
    """Return the key figures: name, value, style, what it means."""
    guards = result.guards
    if guards is None:
        return []
    winner = result.finalists[0]
    totals = [total for total, _ in winner.tests.values()]
    searched = "Return of the winner in the first window it was chosen in. It flatters: the best of many looks good."
    rows = [("winner, searched", _total(result.best[0].returns), True, searched)]
    if totals:
        meaning = "Its mean return in the windows that no search has seen."
        rows.append(("winner, not searched", plain_sum(totals) / len(totals), True, meaning))
    for scheme, folds in result.folds.items():
        total = _total(np.concatenate([one.returns for one in folds]))
        meaning = "Each fold trades what a search of its own past chose; this is their return one after another."
        rows.append((f"{scheme} walk-forward", total, True, meaning))
    rows += [
        (
            "overfitting probability",
            guards.overfitting and guards.overfitting.probability,
            False,
            "How often the best trial of one half of the days is in the worse half of all trials in the other. "
            "50 % is chance, above it the search deceives.",
        ),
        (
            "deflated Sharpe",
            guards.deflated_sharpe,
            False,
            "How sure the winner is better than the best of as many trials without skill. 95 % and more is good.",
        ),
        (
            "plateau",
            guards.plateau,
            False,
            "What the winner's neighbours keep of its objective. 60 % and more is good.",
        ),
    ]
    return [
        (name, number(value, "percent"), sign_of(value) if signed else "", meaning)
        for name, value, signed, meaning in rows
    ]


def _total(returns: NDArray[np.float64]) -> float:
    return float(np.prod(1.0 + returns) - 1.0)


def _finalist(place: int, finalist: Finalist) -> Table:
    head = [
        Cell(""),
        Cell("", "text"),
        *(Cell(HEADS.get(name, words(name)), "", meaning) for name, _, meaning in COLUMNS),
    ]
    rows = []
    for cell, figures in finalist.figures.items():
        seen = "searched" if finalist.is_searched(cell) else "not searched"
        cells = (
            Cell(number(figures[name], kind), sign_of(figures[name]) if name == "net_return" else "")
            for name, kind, _ in COLUMNS
        )
        rows.append([Cell(cell), Cell(seen, "text"), *cells])
    return Table(f"{place}. trial {finalist.trial.number + 1}: {values_text(finalist.trial.params)}", head, rows)


def _folds(space: Space, scheme: str, folds: Sequence[FoldResult]) -> Table:
    kind = KINDS.get(space.objectives[0].figure, "ratio")
    rows = []
    for one in folds:
        searched, traded = (f"{day_of(first)} to {day_of(last)}" for first, last in (one.fold.train, one.fold.test))
        chosen = "nothing kept the limits" if one.params is None else values_text(one.params)
        rows.append(
            [
                Cell(searched),
                Cell(traded),
                Cell(number(one.objective, kind)),
                Cell(number(one.total, "percent"), sign_of(one.total)),
                Cell(chosen, "text"),
            ]
        )
    names = ("searched", "traded", "objective in the past", "return in the future", "chosen")
    head = [*(Cell(name) for name in names[:-1]), Cell(names[-1], "text")]
    return Table(scheme, head, rows, style="folds")


def _searched(space: Space) -> list[Table]:
    ranges = {name: _range(parameter) for name, parameter in space.parameters.items()}
    fixed = {name: _short(value) for name, value in space.fixed.items()}
    symbols = {one.name: "searched" if one.use == "search" else "not searched" for one in space.symbols}
    symbols["wallet"] = "one of each symbol" if space.wallet == "each" else "shared by all symbols"
    windows = {
        window.name: f"{window.first or 'the first day'} to {window.last or 'the last day'}"
        + ("" if window.use == "search" else ", not searched")
        for window in space.windows
    }
    goals = {
        words(f"{one.over} {one.figure}"): "as much as possible" if one.more_is_better else "as little as possible"
        for one in space.objectives
    }
    limits = {limit.words: "everywhere" if limit.window is None else "" for limit in space.limits}
    groups = {
        "Symbols": symbols,
        "Parameters": ranges,
        "Fixed": fixed,
        "Windows": windows,
        "Objectives": goals,
        "Limits": limits,
    }
    return [
        Table(title, (), [[Cell(name), Cell(value, "text")] for name, value in rows.items()], style="pairs")
        for title, rows in groups.items()
        if rows
    ]


def _range(parameter: Any) -> str:
    if parameter.choices:
        return ", ".join(map(_short, parameter.choices))
    text = f"{_short(parameter.low)} to {_short(parameter.high)}"
    return text + (f" by {_short(parameter.step)}" if parameter.step is not None else "") + (", log" * parameter.log)


def _checks(result: SearchResult) -> Table | None:
    rows = []
    for check in result.verdict.checks:
        tone, mark = MARKS[check.sign]
        rows.append([Cell(check.question), Cell(mark, f"mark {tone}"), Cell(check.answer)])
    title = "+ speaks for it, ? leaves a doubt, − speaks against it"
    return Table(title, (), rows, style="checks") if rows else None


def values_text(values: Values) -> str:
    """Return parameters in one line."""
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
