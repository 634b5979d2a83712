"""The folder of a search: trials.csv, optimize.json, optimize.html, and the finalists as configs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from gridv4_bt.config import config_as_toml
from gridv4_bt.metrics.summary import finite
from gridv4_bt.optimise.figures import FIGURES
from gridv4_bt.optimise.result import Finalist, SearchResult, config_of
from gridv4_bt.optimise.search_page import write_page
from gridv4_bt.optimise.walkforward import FoldResult, day_of

STORAGE_FILE = "study.db"
MARKS = {1: "+", 0: "?", -1: "-"}
TRIALS_FILE, RESULT_FILE, PAGE_FILE = "trials.csv", "optimize.json", "optimize.html"


def finalist_file(place: int) -> str:
    """Return the name of a finalist's config, the winner's is 1."""
    return f"finalist-{place}.toml"


def known_files(most: int) -> tuple[str, ...]:
    """Return the names of the files that a search with so many finalists writes."""
    journal = tuple(STORAGE_FILE + end for end in ("", "-journal", "-wal", "-shm"))
    return (*journal, TRIALS_FILE, RESULT_FILE, PAGE_FILE, *map(finalist_file, range(1, most + 1)))


def write_search(folder: Path, result: SearchResult) -> None:
    """Write all files; each appears whole or not at all."""
    names = list(result.space.parameters)
    _replace(folder / TRIALS_FILE, _trials_csv(result, names))
    _replace(folder / RESULT_FILE, json.dumps(finite(as_json(result)), indent=2) + "\n")
    for place, finalist in enumerate(result.finalists, 1):
        _replace(folder / finalist_file(place), preset(result, finalist))
    for place in range(len(result.finalists) + 1, result.space.search.finalists + 1):
        (folder / finalist_file(place)).unlink(missing_ok=True)
    draft = folder / f".{PAGE_FILE}"
    write_page(draft, result)
    os.replace(draft, folder / PAGE_FILE)


def _replace(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(content, encoding="utf-8", newline="")
    os.replace(draft, path)


def _trials_csv(result: SearchResult, names: Sequence[str]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cells = next((list(trial.figures) for trial in result.trials if trial.error is None), [])
    objectives = [f"{one.over} {one.figure}" for one in result.space.objectives]
    figures = [f"{figure} {cell}" for cell in cells for figure in FIGURES]
    writer.writerow(("trial", *names, *objectives, "limits broken", "error", *figures))
    for trial in result.trials:
        params = (trial.params[name] for name in names)
        if trial.error is not None:
            writer.writerow((trial.number + 1, *params, *("" for _ in objectives), "", trial.error))
            continue
        values = (trial.figures[cell][figure] for cell in cells for figure in FIGURES)
        shown = ("" if value is None else value for value in values)
        writer.writerow((trial.number + 1, *params, *trial.objectives, "; ".join(trial.broken), "", *shown))
    return text.getvalue()


def as_json(result: SearchResult) -> dict[str, Any]:
    """Return the result as it is kept for programs; the trials are in trials.csv."""
    guards = result.guards
    return {
        "verdict": asdict(result.verdict),
        "trials": len(result.trials),
        "failed": sum(trial.error is not None for trial in result.trials),
        "within_limits": len(result.best),
        "objectives": [one.model_dump() for one in result.space.objectives],
        "limits": [limit.text for limit in result.space.limits],
        "finalists": [_finalist_json(one) for one in result.finalists],
        "guards": guards
        and {
            "overfitting_probability": guards.overfitting and guards.overfitting.probability,
            "overfitting_loss": guards.overfitting and guards.overfitting.loss,
            "deflated_sharpe": guards.deflated_sharpe,
            "deflated_by_trials": guards.trials,
            "independent_bets": guards.bets,
            "sharpe": guards.sharpe,
            "sharpe_error": guards.sharpe_error,
            "plateau": guards.plateau,
            "neighbours": guards.neighbours,
            "return_interval": asdict(guards.interval),
            "walk_forward_interval": {scheme: asdict(one) for scheme, one in guards.forward.items()},
        },
        "walk_forward": {scheme: [_fold_json(one) for one in folds] for scheme, folds in result.folds.items()},
    }


def _finalist_json(finalist: Finalist) -> dict[str, Any]:
    return {
        "trial": finalist.trial.number + 1,
        "params": finalist.trial.params,
        "objectives": finalist.trial.objectives,
        "difference_to_sweep": finalist.difference,
        "tests": {name: {"return": total, "broken": broken} for name, (total, broken) in finalist.tests.items()},
        "held_out_symbols": finalist.held_out,
        "backtrader": finalist.figures,
        "years": {wallet: [asdict(one) for one in years] for wallet, years in finalist.years.items()},
    }


def _fold_json(one: FoldResult) -> dict[str, Any]:
    return {
        "train": _days(one.fold.train),
        "test": _days(one.fold.test),
        "params": one.params,
        "objective": one.objective,
        "return": one.total,
    }


def _days(span: tuple[int, int]) -> list[str]:
    return [day_of(day).isoformat() for day in span]


def preset(result: SearchResult, finalist: Finalist) -> str:
    """Return a finalist's config as a TOML file, its record before it as comments."""
    space = result.space
    symbols, held_out = (", ".join(one.name for one in space.symbols if one.use == use) for use in ("search", "test"))
    fold_trials = space.folds.trials or space.search.trials
    lines = [
        f"# {symbols}: found by {len(result.trials):,} trials ({space.search.sampler}, seed {space.search.seed}), "
        f"{fold_trials:,} in each fold of the walk-forward." + (f" Held out: {held_out}." if held_out else "")
    ]
    if finalist is result.finalists[0]:
        lines += [f"# Would this survive? {result.verdict.sentence}", "#"]
        for check in result.verdict.checks:
            lines += [f"# {MARKS[check.sign]} {check.question}", f"#     {check.answer}"]
    lines += ["#", "# In Backtrader, all costs included:"]
    for cell, figures in finalist.figures.items():
        seen = _seen(finalist.is_searched(cell))
        sharpe = "-" if figures["sharpe"] is None else f"{figures['sharpe']:.2f}"
        lines.append(
            f"# {cell} ({seen}): return {figures['net_return']:+.2%}, drawdown {figures['max_drawdown']:.2%}, "
            f"Sharpe {sharpe}, {figures['fills_per_day']:.2f} fills a day"
        )
    lines += ["#", "# By year:"]
    for wallet, years in finalist.years.items():
        for one in years:
            ratio = "-" if one.sharpe is None else f"{one.sharpe:.2f}"
            lines.append(
                f"# {wallet} in {one.year} ({_seen(one.is_searched)}): return {one.total:+.2%}, Sharpe {ratio}, "
                f"{one.fills:,} fills"
            )
    return "\n".join(lines) + "\n\n" + config_as_toml(config_of(space, finalist.trial))


def _seen(is_searched: bool) -> str:
    return "searched" if is_searched else "not searched"
