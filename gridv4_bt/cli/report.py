"""The command line of `gridv4 report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gridv4_bt.api import load_run
from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.options import Quiet
from gridv4_bt.errors import ConfigError
from gridv4_bt.report.page import write_report
from gridv4_bt.report.run_folder import SUMMARY_FILE
from gridv4_bt.report.terminal import print_result

PAGE = "report.html"


def show_report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="The page, FILE.html; default report.html in the folder.")] = None,
    details: Annotated[bool, typer.Option("--details", help="Print all tables after the result.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a finished run again, and write its page anew.

    For a run made with --no-report, or by an earlier version whose page was another. --json prints summary.json and
    writes nothing.
    """
    if not (run / SUMMARY_FILE).is_file():
        raise ConfigError(f"{run}: is no folder of a finished run (it has no {SUMMARY_FILE})")
    if out is not None and (out.suffix.lower() != ".html" or not out.parent.is_dir()):
        raise ConfigError(f"--out {out}: name a file that ends in .html in a folder that is there")
    found = load_run(run)
    if as_json:
        print_json({"folder": run} | found.summary)
        return
    console = Console(quiet=quiet)
    print_result(found.summary, console, details)
    page = out or run / PAGE
    write_report(page, found.records, found.summary, found.config, found.strategy)
    console.print(f"written to {page}", soft_wrap=True)
