"""The command line of `gridv4 compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridv4_bt.cli.common import Json, check_picture, print_json
from gridv4_bt.cli.options import Quiet
from gridv4_bt.errors import ConfigError
from gridv4_bt.report.compare import (
    TIMINGS,
    StoredRun,
    divergence_in_words,
    is_identical,
    parameter_differences,
    plot_equity,
    read_runs,
    side_by_side,
)
from gridv4_bt.report.numbers import number

#: Figures that are fractions and read better as per cent, by their last name.
PERCENT = {
    "net_return", "annual_return", "max_drawdown", "win_rate", "maker_ratio", "time_in_market", "max_margin_ratio",
    "min_liquidation_distance", "ambiguous_share",
}  # fmt: skip
#: Texts longer than this are shown only where they differ.
LONG_TEXT = 40


def compare_runs(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more runs; the others are held to the first.")],
    out: Annotated[Path | None, typer.Option(help="Picture of the equity curves, FILE.png.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Put finished runs side by side: figures, parameters that differ, first trade that differs, equity curves."""
    if len(runs) < 2:
        raise ConfigError("give two or more run folders")
    if out is not None:
        check_picture(out)
    stored = read_runs(runs)
    console = Console(quiet=quiet or as_json)
    _print_parameters(stored, console)
    _print_figures(stored, console)
    first, *others = stored
    if as_json:
        print_json(_as_dict(stored))
    if all(is_identical(first, other) for other in others):
        console.print(Text("The runs are identical: same parameters, trades, equity and figures."))
    else:
        for other in others:
            console.print(Text(divergence_in_words(first, other)))
    if out is not None:
        plot_equity(stored, out)
        console.print(Text(f"written to {out}"))


def _as_dict(runs: list[StoredRun]) -> dict[str, Any]:
    """Return the values of all runs, in their order, of parameters that differ and of all figures."""
    first, *others = runs
    return {
        "runs": [run.name for run in runs],
        "identical": all(is_identical(first, other) for other in others),
        "divergence": [None if is_identical(first, other) else divergence_in_words(first, other) for other in others],
        "parameters": {".".join(path): values for path, values in parameter_differences(runs).items()},
        "figures": {".".join(path): values for path, values in side_by_side([run.summary for run in runs]).items()},
    }


def _print_parameters(runs: list[StoredRun], console: Console) -> None:
    differences = parameter_differences(runs)
    if not differences:
        console.print("All parameters are the same.")
        return
    table = _table("parameters that differ", runs)
    for path, values in differences.items():
        table.add_row(Text(".".join(path)), *(Text("-" if value is None else str(value)) for value in values))
    console.print(table)


def _print_figures(runs: list[StoredRun], console: Console) -> None:
    """Print the plain figures, then one table for each group of them; bold where a run differs from the first."""
    tables: dict[str, Table] = {}
    for path, values in side_by_side([run.summary for run in runs]).items():
        if all(isinstance(value, str) and len(value) > LONG_TEXT and value == values[0] for value in values):
            continue
        if path == ("flags",):  # sentences, no figures
            continue
        group = path[0] if len(path) > 1 else ""
        table = tables.setdefault(group, _table(Text(_words(group) or "figures"), runs, change=len(runs) == 2))
        cells = [
            Text(_cell(path, value), "bold" if value != values[0] and path[-1] not in TIMINGS else "")
            for value in values
        ]
        change = [_change(path, *values)] if len(runs) == 2 else []
        table.add_row(Text(_words(" ".join(path[1:] or path))), *cells, *change)
    for table in tables.values():
        console.print(table)


def _table(title: str | Text, runs: list[StoredRun], change: bool = False) -> Table:
    table = Table("", title=title)
    for run in runs:
        table.add_column(Text(run.name), justify="right", overflow="fold")
    if change:
        table.add_column("change", justify="right")
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(path: tuple[str, ...], value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if path[-1] in PERCENT:
        return number(value, "percent")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) >= 0.1 or value == 0.0 else f"{value:.3g}"


def _change(path: tuple[str, ...], first: Any, second: Any) -> str:
    both = (first, second)
    if first == second or any(isinstance(value, bool) or not isinstance(value, int | float) for value in both):
        return ""
    change = second - first
    text = f"{100.0 * change:,.2f} pp" if path[-1] in PERCENT else _cell(path, change)
    if text.strip("-0.p ") == "":
        text = f"{change:.1e}"  # too small for the digits shown
    return text if text.startswith("-") else f"+{text}"
