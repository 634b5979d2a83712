"""The layers of a command's settings: defaults, files, the environment, options. The last that names a value counts.

The files are those of ``--config``, in their order, else ``gridv4.toml`` in the working folder. Parameters stand in
them by their names; the table ``[run]`` says for `gridv4 backtest` and `gridv4 live` what their options of the same
names say, and a table with the name of a strategy of the user's own has the parameters of that.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from typer.core import TyperCommand

from gridv4_bt.config import (
    OF_ANY_STRATEGY,
    GridConfig,
    config_of,
    make_config,
    named_parameters,
    named_run_settings,
    read_toml,
)
from presets import preset_or

if TYPE_CHECKING:
    from gridv4_bt.own_strategy import OwnStrategy

PROJECT_FILE = Path("gridv4.toml")
#: Options that bring another market than the file's symbols, and that name another place than paper.
_MARKETS = ("--data", "--session")
_PLACES = ("--demo", "--endpoint")


def settings_files(config: Sequence[Path]) -> list[Path]:
    """Return the files that count: those of ``--config``, which may name presets, or the working folder's."""
    if config:
        return [preset_or(path) for path in config]
    return [PROJECT_FILE] if PROJECT_FILE.is_file() else []


def read_parameters(config: Sequence[Path], settings: Sequence[str], console: Console | None = None) -> GridConfig:
    """Return the parameters of all layers; print which layers there are that the command does not name.

    Raises
    ------
    ConfigError
        A value is unknown, not allowed or contradicts another, with the place that names it.
    """
    paths = settings_files(config)
    named = named_parameters(paths, settings, os.environ)
    parameters = config_of(named)
    if console is not None:
        named |= named_run_settings(paths, os.environ)
        others = [] if config else [str(path) for path in paths]
        others += sorted(one.origin for one in named.values() if one.origin.startswith("environment "))
        if others:
            console.print(f"settings of {', '.join(others)}; `gridv4 config show` has them all", style="dim")
    return parameters


def read_strategy(
    source: str, config: Sequence[Path], settings: Sequence[str], console: Console | None = None
) -> "tuple[GridConfig, OwnStrategy | None]":
    """Return the parameters of all layers, and the strategy of the user's own if `source` or a layer names one.

    With one the parameters are those of the exchange: what a file says of the grid is not its business.

    Raises
    ------
    ConfigError
        As `read_parameters`; the strategy cannot be loaded, or has no such parameter.
    """
    paths = settings_files(config)
    if not source and (named := named_run_settings(paths, os.environ).get("strategy")) is not None:
        source = named.value
    if not source:
        return read_parameters(config, settings, console), None
    from gridv4_bt.own_strategy import load_strategy, split_settings  # Backtrader: a bot decides first what it loads

    files = {path: read_toml(path) for path in paths}
    own, others = split_settings(load_strategy(source), files, settings, OF_ANY_STRATEGY)
    parameters = read_parameters(config, others, console)
    return make_config(
        {name: getattr(parameters, name) for name in sorted(parameters.model_fields_set & set(OF_ANY_STRATEGY))}
    ), own


def run_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of a command's options that its layers name, given its arguments."""
    words = [word.partition("=")[0] for word in arguments]
    if "--help" in words:
        return {}
    config = [Path(_value(arguments, place)) for place, word in enumerate(words) if word == "--config"]
    named = named_run_settings(settings_files(config), os.environ)
    values = {name: one.value for name, one in named.items()}
    if any(word in _MARKETS for word in words):
        values.pop("symbol", None)
    if any(word in _PLACES for word in words):
        values.pop("paper", None)
    return values


def trades_on_paper(arguments: Sequence[str]) -> bool:
    """Return whether `gridv4 live` trades on paper, given its arguments."""
    return "--paper" in arguments or bool(run_settings(arguments).get("paper"))


def _value(arguments: Sequence[str], place: int) -> str:
    _, equals, text = arguments[place].partition("=")
    return text if equals else next(iter(arguments[place + 1 :]), "")


class LayeredCommand(TyperCommand):
    """A command whose options have the layers' values as defaults."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        extra.setdefault("default_map", run_settings(args))
        return super().make_context(info_name, args, parent, **extra)
