"""The command line of `gridv4 params`."""

from typing import Annotated

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.options import Brackets, CacheDir, Config, Data, Settings, Symbols, Venue
from gridv4_bt.config import GridConfig, bounds, is_defined, section_of, unit_of, unknown_parameter
from gridv4_bt.errors import ConfigError


def show_parameters(
    name: Annotated[str, typer.Argument(help="One parameter; default all of them.", show_default=False)] = "",
    wallet: Annotated[
        float, typer.Option(help="USDT; says which symbols it can trade by their least sizes.", min=0.0)
    ] = 0.0,
    data: Data = [],
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    brackets: Brackets = None,
    config: Config = [],
    setting: Settings = [],
    as_json: Json = False,
) -> None:
    """Show every parameter with unit, bounds, default and meaning, and whether the definition gives it.

    A defined number may be changed like any other; the run then says that it departs from the definition, and a search
    varies it only if its space names it. --wallet says instead which symbols a wallet can trade, at their last prices.
    """
    if wallet:
        from gridv4_bt.cli.wallet import show_wallet  # loads pandas

        show_wallet(wallet, data, symbol, exchange, cache_dir, brackets, config, setting, as_json)
        return
    if data or symbol:
        raise ConfigError("--data and --symbol belong to --wallet: how much USDT is there?")
    if name and name not in GridConfig.model_fields:
        raise ConfigError(unknown_parameter(name))
    if as_json:
        print_json({one: _facts(one) for one in ([name] if name else GridConfig.model_fields)})
        return
    console = Console()
    console.print(
        _alone(name) if name else Group(*map(_section, dict.fromkeys(map(section_of, GridConfig.model_fields))))
    )


def _facts(name: str) -> dict[str, object]:
    field = GridConfig.model_fields[name]
    return {
        "section": section_of(name), "default": field.default, "bounds": bounds(name), "unit": unit_of(name),
        "meaning": field.description, "defined": is_defined(name),
    }  # fmt: skip


def _section(section: str) -> Table:
    table = Table(title=section)
    for title in ("parameter", "default", "bounds", ""):
        table.add_column(title, no_wrap=True)
    table.add_column("unit: meaning")
    for name, field in GridConfig.model_fields.items():
        if section_of(name) == section:
            meaning = f"{unit_of(name)}: {field.description}"
            table.add_row(name, f"{field.default}", Text(bounds(name)), _kind(name), Text(meaning))
    return table


def _alone(name: str) -> Table:
    field = GridConfig.model_fields[name]
    table = Table(show_header=False)
    for title, text in (
        ("parameter", name),
        ("section", section_of(name)),
        ("default", f"{field.default}, {_kind(name)}"),
        ("bounds", bounds(name)),
        ("unit", unit_of(name)),
        ("meaning", field.description or ""),
    ):
        table.add_row(title, Text(text))
    return table


def _kind(name: str) -> str:
    return "defined" if is_defined(name) else "free"
