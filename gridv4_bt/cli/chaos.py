"""The command line of `gridv4 chaos`."""

import shutil
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.options import Quiet
from gridv4_bt.core.time import iso
from gridv4_bt.errors import ConfigError

if TYPE_CHECKING:  # importing ccxt takes a second, which no other command needs
    from collections.abc import Sequence

    from gridv4_bt.validation.chaos import Result

BROKEN = 1  #: exit code
_COUNTED = (
    "bars", "kills", "command_kills", "desk_kills", "desk_posts", "halts", "requests", "fills", "stops", "cuts",
    "closes", "manual", "refused_closes", "checks",
)  # fmt: skip


def run_chaos(
    seeds: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 12,
    first: Annotated[int, typer.Option(help="The first seed.", min=0)] = 1,
    bars: Annotated[int, typer.Option(help="Bars of each seed.", min=25)] = 500,
    trouble: Annotated[float, typer.Option(help="Share of requests that meet a fault.", min=0.0, max=0.5)] = 0.003,
    kills: Annotated[float, typer.Option(help="Kills per bar, on average.", min=0.0, max=1.0)] = 0.03,
    faults: Annotated[
        str, typer.Option(help="Kinds of faults: usual, or all: also answers that are late, empty, stale or wrong.")
    ] = "usual",
    commands: Annotated[
        float, typer.Option(help="Commands of a person per bar, on average: pause, flatten, ...", min=0.0, max=5.0)
    ] = 0.1,
    desk: Annotated[
        bool, typer.Option("--desk", help="Give half of them at a desk beside each bot, which is killed too.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Seeds at a time.", min=1)] = 1,
    keep: Annotated[Path | None, typer.Option(help="New folder to keep all states and records in.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Let live sessions run among random faults and kill -9 on the local exchange, and hold them against its ledger.

    Checked at every request, inside the exchange: the laws, such as a stop for every leg within a minute, one order for
    one intent, nothing sent in a ban. Checked in calm bars: positions, fees, equity to the cent, and a stop for every
    open leg. Exit code 1 if any seed breaks any of it.
    """
    from gridv4_bt.exchange.faults import MIXTURES
    from gridv4_bt.validation.chaos import run_seed

    if faults not in MIXTURES:
        raise ConfigError(f"--faults {faults}: is none of {', '.join(MIXTURES)}")
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {keep}: exists; name a new folder")
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="gridv4-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if desk:
        try:
            from gridv4_bt.desk.desk_process import DeskProcess
        except ImportError:
            raise ConfigError("--desk needs FastAPI and uvicorn: pip install 'gridstrategy-v4[desk]'") from None
    console = Console(quiet=quiet or as_json)
    results: list[Result] = []
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting = [
                pool.submit(
                    run_seed,
                    seed,
                    bars,
                    folder / f"seed-{seed}",
                    trouble,
                    kills,
                    faults,
                    commands,
                    DeskProcess(seed) if desk else None,
                )
                for seed in range(first, first + seeds)
            ]
            for future in waiting:
                result = future.result()
                results.append(result)
                console.print(_line(result))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    _print_totals(console, results)
    if as_json:
        print_json([_as_dict(result) for result in results])
    if any(result.broken or result.laws for result in results):
        for result in results:
            found = [*result.broken, *(f"{one.law}: {one.text}" for one in result.laws)]
            if found:
                typer.echo(f"seed {result.seed}: {'; '.join(found[:5])}", err=True)
        raise typer.Exit(BROKEN)


def _as_dict(result: "Result") -> dict[str, Any]:
    return asdict(result) | {"faults": dict(result.faults), "commands": dict(result.commands)}


def _print_totals(console: Console, results: "Sequence[Result]") -> None:
    """Print what all seeds did together, and how often they broke each law."""
    from gridv4_bt.validation.laws import Law, by_law

    faults = sum((result.faults for result in results), Counter())
    table = Table(title=f"seeds {results[0].seed} to {results[-1].seed}", show_header=False)
    for name in _COUNTED:
        table.add_row(name.replace("_", " "), f"{sum(getattr(result, name) for result in results):,}")
    table.add_row("faults", ", ".join(f"{kind} {count:,}" for kind, count in faults.most_common()))
    commands = sum((result.commands for result in results), Counter())
    table.add_row("commands", ", ".join(f"{kind} {count:,}" for kind, count in commands.most_common()))
    table.add_row("seeds with a broken invariant", f"{sum(bool(result.broken) for result in results)}")
    console.print(table)
    counts = by_law(one for result in results for one in result.laws)
    laws = Table("law", "broken", "in seeds", "first: time (UTC), request", title="laws")
    for law in Law:
        seeds = [result for result in results if by_law(result.laws)[law]]
        first = next((one for result in results for one in result.laws if one.law is law), None)
        where = "" if first is None else f"seed {seeds[0].seed}: {iso(first.time)} {first.request}\n{first.text}"
        laws.add_row(law, f"{counts[law]:,}", f"{len(seeds)}", where)
    console.print(laws)


def _line(result: "Result") -> str:
    state = "[red]broken[/]" if result.broken or result.laws else "ok"
    return (
        f"seed {result.seed}: {result.bars} bars, {result.kills + result.command_kills} kills, "
        f"{result.faults.total()} faults, {result.commands.total()} commands, "
        f"{result.fills} fills, {result.stops} stops, {result.cuts} cuts, {result.closes} closes, "
        f"{result.checks} checks, {len(result.laws)} breaches of laws, {result.seconds:.0f} s: {state}"
    )
