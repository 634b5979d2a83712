"""The command `gridv4`, which is also `python -m gridv4_bt`."""

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from gridv4_bt.cli.common import run_app

#: Where each command is, and its line in `gridv4 --help`. A command's libraries take seconds to load, so only those of
#: the one that is called are.
COMMANDS = {
    "audit": ("audit:run_audit", "Replay what a live or paper session lived through, line it up with the session."),
    "bias": ("bias:app", "Find out whether a backtest can be believed."),
    "chaos": ("chaos:run_chaos", "Let live sessions run among random faults, hold them against the ledger."),
    "compare": ("compare:compare_runs", "Put finished runs side by side."),
    "data": ("data:app", "Download market data, and look at what is downloaded."),
    "exchange": ("exchange:run_exchange", "Serve a local Binance USDⓈ-M that replays candles."),
    "optimize": ("optimize:optimize_space", "Search for parameters, and find out whether they would survive."),
    "params": ("params:show_parameters", "Show every parameter with unit, bounds, default and meaning."),
    "regimes": ("regimes:show_regimes", "Show what both regime filters say about candles."),
}


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line for these arguments: the command that they name is loaded, of the others the line."""
    wanted = next((one for one in arguments if not one.startswith("-")), None)
    app = typer.Typer(
        help="Tools around GridStrategyV4 backtests.",
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    )  # fmt: skip
    for name, (place, line) in COMMANDS.items():
        if name != wanted:
            app.command(name, help=line)(_not_loaded)
            continue
        module, _, attribute = place.partition(":")
        command = getattr(import_module(f"gridv4_bt.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _not_loaded() -> None:
    """Stand for a command that the arguments do not name."""


def main() -> None:
    """Entry point."""
    run_app(make_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
