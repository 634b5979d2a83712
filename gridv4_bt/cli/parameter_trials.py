"""`run_backtest.py --optimize`: many backtests of one strategy, its results best first."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from feeds.candles import CandleFeed
from gridv4_bt.cli.common import INTERRUPTED
from gridv4_bt.config import GridConfig
from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise.figures import FIGURES
from gridv4_bt.optimise.progress import shown
from gridv4_bt.optimise.trials import (
    BEST_FILE,
    TRIALS_FILE,
    TrialRow,
    TrialsFile,
    best_first,
    count,
    parse_axes,
    run_trials,
)
from gridv4_bt.own_strategy import OwnStrategy
from gridv4_bt.report.numbers import number

Optimize = Annotated[
    list[str],
    typer.Option(
        "--optimize", help="Backtest each value of a parameter: name=a,b,c or name=lo:hi:step. Repeat for combinations."
    ),
]
Jobs = Annotated[int, typer.Option(help="Processes at work at a time; 0: one for each core.")]
Rank = Annotated[str, typer.Option(help=f"Figure by which --optimize puts the best first: {', '.join(FIGURES)}.")]

TRIAL_FILES = (TRIALS_FILE, BEST_FILE)
#: What the table on the terminal shows beside the parameters.
COLUMNS = ("net_return", "max_drawdown", "sharpe", "trades", "liquidations")
HEADS = {"net_return": "return", "max_drawdown": "drawdown", "liquidations": "liq."}
SHOWN = 20


def check_trials(
    specs: Sequence[str], jobs: int, rank: str, intrabar: str, own: OwnStrategy | None = None
) -> dict[str, list[Any]]:
    """Return the values to try of each parameter; refuse options that do not fit."""
    if rank not in FIGURES:
        raise ConfigError(f"--rank {rank}: one of {', '.join(FIGURES)}")
    if intrabar == "all":
        raise ConfigError("--intrabar all compares ways to match one backtest; with --optimize choose one")
    check_jobs(jobs)
    return parse_axes(specs, own)


def check_jobs(jobs: int) -> int:
    """Return the number of processes."""
    if jobs < 0:
        raise ConfigError(f"--jobs {jobs}: a number of processes, or 0 for one a core")
    return jobs or os.cpu_count() or 1


def optimize(
    feeds: Sequence[CandleFeed],
    axes: dict[str, list[Any]],
    base: GridConfig,
    own: OwnStrategy | None,
    cash: float,
    brackets: Path | None,
    jobs: int,
    rank: str,
    folder: Path,
    console: Console,
) -> None:
    """Run all trials, keep each as it finishes, and print the best."""
    total = count(axes)
    file, rows = TrialsFile(folder, axes), []
    try:
        trials = run_trials(feeds, axes, base, cash, brackets, check_jobs(jobs), own)
        for row in shown(trials, total, not console.quiet):
            file.add(row)
            rows.append(row)
    except KeyboardInterrupt:
        typer.echo(f"error: interrupted; {len(rows):,} of {total:,} trials are in {folder / TRIALS_FILE}", err=True)
        raise SystemExit(INTERRUPTED) from None
    finally:
        file.close()
    rows = best_first(rows, rank)
    file.finish(rows, base, own)
    if rows[0].error:
        raise ConfigError(f"all {total:,} trials failed, the first: {rows[0].error}")
    console.print(_table(rows, tuple(axes), rank))
    failed = [row for row in rows if row.error]
    if failed:
        console.print(f"[yellow]{len(failed):,} of {total:,} trials failed, the first: {failed[0].error}[/]")
    more = "" if own is not None else " `gridv4 optimize` says how much."
    console.print(f"The best of {total:,} trials looks better than it is: part of it is luck.{more}")
    console.print(f"written to {folder}/: {TRIALS_FILE}, and the first one's parameters as {BEST_FILE}")


def _table(rows: Sequence[TrialRow], names: Sequence[str], rank: str) -> Table:
    columns = (rank, *(name for name in COLUMNS if name != rank))
    more = f", {SHOWN} of {len(rows):,}" if len(rows) > SHOWN else ""
    table = Table(title=f"trials by {rank}, best first{more}")
    for name in ("trial", *names, *columns):
        table.add_column(HEADS.get(name, name), justify="right")
    for row in rows[:SHOWN]:
        figures = (text(name, row.figures.get(name)) for name in columns)
        table.add_row(str(row.number), *(f"{value}" for value in row.values.values()), *figures)
    return table


def text(figure: str, value: float | None) -> str:
    """Return a figure as text."""
    if figure.endswith(("return", "drawdown", "_rate", "_ratio", "_market", "_distance")):
        return number(value, "percent")
    return number(value, "count" if isinstance(value, int) else "ratio")
