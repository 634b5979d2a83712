"""The command lines of `gridv4 config`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.layers import settings_files
from gridv4_bt.cli.options import Config, Settings
from gridv4_bt.config import RunSettings, Setting, all_parameters, config_of, named_parameters, named_run_settings
from gridv4_bt.config import settings_schema as schema_of_settings
from gridv4_bt.live.keys import KEY, SECRET, read_settings
from gridv4_bt.live.monitor import NOTIFY

DEFAULT = "default"

app = typer.Typer(help="Show every setting with its origin, or the schema of the settings' file.")


@app.command("show")
def show_config(
    config: Config = [],
    setting: Settings = [],
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what is at its default.")] = False,
    as_json: Json = False,
) -> None:
    """Show every setting that a command would use here, and where it comes from.

    The layers, of which the last that names a value counts: defaults; the files of --config, else gridv4.toml in this
    folder; the environment (GRIDV4__LEVELS=6); options (--set levels=6). Keys and addresses are never shown.
    """
    paths = settings_files(config)
    named = named_parameters(paths, setting, os.environ)
    used = config_of(named)
    run = named_run_settings(paths, os.environ)
    parameters = {name: Setting(value, _origin(named, name)) for name, value in all_parameters(used).items()}
    runs = {
        name: Setting(run[name].value if name in run else field.default, _origin(run, name))
        for name, field in RunSettings.model_fields.items()
    }
    secrets = {name: Setting("set" if origin else "not set", origin or DEFAULT) for name, origin in _secrets().items()}
    shown = {"parameters": parameters, "run": runs, "secrets": secrets}
    if changed:
        shown = {
            group: {name: one for name, one in table.items() if one.origin != DEFAULT} for group, table in shown.items()
        }
    if as_json:
        print_json({"files": paths} | {group: _as_dicts(table) for group, table in shown.items()})
        return
    console = Console()
    for group, table in shown.items():
        if table:
            console.print(_table(group, table))
    files = ", ".join(map(str, paths)) or "none; `gridv4 init` writes one"
    console.print(f"settings files: {files}", soft_wrap=True)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a settings file, with which editors complete and check it."""
    print_json(schema_of_settings())


def _origin(named: dict[str, Setting], name: str) -> str:
    return named[name].origin if name in named else DEFAULT


def _secrets() -> dict[str, str]:
    """Return where each key or address is set, an empty text where it is not; a key and its secret are of one place."""
    origins: dict[str, str] = {}
    for names in ((KEY, SECRET), (NOTIFY,)):
        place = "environment" if all(os.environ.get(name, "").strip() for name in names) else ".env"
        found = zip(names, read_settings(Path.cwd(), *names), strict=True)
        origins |= {name: place if value else "" for name, value in found}
    return origins


def _as_dicts(table: dict[str, Setting]) -> dict[str, dict[str, Any]]:
    return {name: one._asdict() for name, one in table.items()}


def _table(group: str, settings: dict[str, Setting]) -> Table:
    table = Table("setting", "value", "origin", title=group)
    for name, one in settings.items():
        value = ", ".join(one.value) if isinstance(one.value, list) else str(one.value)
        table.add_row(name, Text(value), Text(one.origin, "" if one.origin == DEFAULT else "bold"))
    return table
