"""The command `gridv4`, which is also `python -m gridv4_bt`, `run_backtest.py` and `run_live.py`."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import getdoc
from typing import Annotated, Any

import typer

from gridv4_bt import own_packages
from gridv4_bt.cli.common import run_app
from gridv4_bt.cli.examples import epilog
from gridv4_bt.late import save_memory
from gridv4_bt.version import VERSION

#: Where each command is, and its line in `gridv4 --help`. A command's libraries take seconds to load, so only those of
#: the one that is called are.
COMMANDS = {
    "init": ("init:write_project", "Write the settings of a new folder: asks for symbol, wallet, exchange and keys."),
    "backtest": ("backtest:backtest", "Backtest the strategy on candles, and write a report."),
    "live": ("live:live", "Trade live, in the exchange's demo environment, or on paper."),
    "status": ("status:show_status", "Say how a session is: for people, scripts and watchdogs."),
    "desk": ("desk:run_desk", "Watch and steer bots in a browser, also on a phone."),
    "telegram": ("telegram:run_telegram", "Watch and steer bots from Telegram; they tell what is wrong."),
    "backup": ("backup:write_backup", "Copy a state directory into an archive, also while its bot works."),
    "audit": ("audit:run_audit", "Replay what a session lived through as a backtest, and explain every difference."),
    "report": ("report:show_report", "Show a finished run again, and write its page anew."),
    "compare": ("compare:compare_runs", "Put finished runs side by side."),
    "config": ("config:app", "Show every setting with its origin, or the schema of the settings' file."),
    "params": ("params:show_parameters", "Show every parameter with unit, bounds, default and meaning."),
    "data": ("data:app", "Download market data, and look at what is downloaded."),
    "bias": ("bias:app", "Find out whether a backtest can be believed."),
    "regimes": ("regimes:show_regimes", "Show what both regime filters say about candles."),
    "compile": ("compile:compile_all", "Compile the rules, so that long backtests trade twice as fast."),
    "optimize": ("optimize:optimize_space", "Search for parameters, and find out whether they would survive."),
    "exchange": ("exchange:run_exchange", "Serve a local Binance USDⓈ-M that replays candles."),
    "chaos": ("chaos:run_chaos", "Let live sessions run among random faults, held against the exchange's ledger."),
}
_SHOW, _COMPLETE = "--show-completion", "_GRIDV4_COMPLETE"
LAYERED = ("backtest", "live")  #: whose options a settings file's table [run] speaks of
_HELP = (
    "GridStrategyV4: hedge-mode grid trading of perpetual futures. Backtest it, look for parameters, trade on paper "
    "and live, and find out why both differ. `gridv4 COMMAND --help` has the options of a command and examples."
)


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line for these arguments: the command that they name is loaded, of the others the line.

    A shell that completes a line names its words in the environment, as the script of ``--show-completion`` says.
    """
    completes = _COMPLETE in os.environ
    if completes:
        arguments = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    wanted = next((one for one in arguments if not one.startswith("-")), None)
    app = typer.Typer(
        help=_HELP, add_completion=completes or _SHOW in arguments,
        rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=False,
    )  # fmt: skip
    app.callback()(_program)
    for name, (place, line) in COMMANDS.items():
        if name != wanted:
            app.command(name, help=line, short_help=line)(_not_loaded)
            continue
        if name == "live":
            save_memory(plain=not load("layers:trades_on_paper")(arguments))
        command = load(place)
        if isinstance(command, typer.Typer):
            for one in command.registered_commands:
                one.epilog = epilog(f"{name} {one.name}")
                one.short_help = getdoc(one.callback).partition("\n\n")[0]  # else it is cut
            app.add_typer(command, name=name, short_help=line, epilog=epilog(name))
        else:
            cls = load("layers:LayeredCommand") if name in LAYERED else None
            app.command(name, cls=cls, short_help=line, epilog=epilog(name))(command)
    return app


def load(place: str) -> Any:
    """Return the command at `module:attribute` of `gridv4_bt.cli`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(f"gridv4_bt.cli.{module}"), attribute)


def _print_version(asked: bool) -> None:
    if asked:
        print(VERSION)
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Do nothing: the commands do."""


def _not_loaded() -> None:
    """Stand for a command that the arguments do not name."""


def main() -> None:
    """Entry point."""
    own_packages.put_first()
    run_app(make_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
