"""The command line of `gridv4 chaos`."""

import shutil
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridv4_bt.cli.market_options import Quiet
from gridv4_bt.errors import ConfigError

if TYPE_CHECKING:  # importing ccxt takes a second, which no other command needs
    from gridv4_bt.validation.chaos import Result

BROKEN = 1  #: exit code


def run_chaos(
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 12,
    first: Annotated[int, typer.Option(help="The first seed.", min=0)] = 1,
    bars: Annotated[int, typer.Option(help="Bars of each seed.", min=25)] = 500,
    trouble: Annotated[float, typer.Option(help="Share of requests that meet a fault.", min=0.0, max=0.5)] = 0.03,
    kills: Annotated[float, typer.Option(help="Kills per bar, on average.", min=0.0, max=1.0)] = 0.03,
    jobs: Annotated[int, typer.Option(help="Seeds at a time.", min=1)] = 1,
    keep: Annotated[Path | None, typer.Option(help="New folder to keep all states and records in.")] = None,
    quiet: Quiet = False,
) -> None:
    """Let live sessions run among random faults and kill -9 on the local exchange, and hold them against its ledger.

    Checked while it storms: never two orders for one intent. Checked in calm bars: positions, fees, equity to the cent,
    and a stop for every open leg. Exit code 1 if any seed breaks any of it.
    """
    from gridv4_bt.validation.chaos import run_seed

    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {keep}: exists; name a new folder")
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="gridv4-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(quiet=quiet)
    results: list[Result] = []
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting = [
                pool.submit(run_seed, seed, bars, folder / f"seed-{seed}", trouble, kills)
                for seed in range(first, first + seeds)
            ]
            for future in waiting:
                result = future.result()
                results.append(result)
                console.print(_line(result))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    total = sum((result.faults for result in results), Counter())
    table = Table(title=f"{len(results)} seeds", show_header=False)
    for name in ("bars", "kills", "halts", "requests", "fills", "checks"):
        table.add_row(name, f"{sum(getattr(result, name) for result in results):,}")
    table.add_row("faults", ", ".join(f"{kind} {count:,}" for kind, count in total.most_common()))
    broken = [result for result in results if result.broken]
    table.add_row("seeds with a broken invariant", f"{len(broken)}")
    console.print(table)
    if broken:
        for result in broken:
            typer.echo(f"seed {result.seed}: {'; '.join(result.broken[:5])}", err=True)
        raise typer.Exit(BROKEN)


def _line(result: "Result") -> str:
    state = "[red]broken[/]" if result.broken else "ok"
    return (
        f"seed {result.seed}: {result.bars} bars, {result.kills} kills, {result.faults.total()} faults, "
        f"{result.fills} fills, {result.checks} checks, {result.seconds:.0f} s: {state}"
    )
