"""The command line of `gridv4 params`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_parameters
from gridv4_bt.cli.market_options import (
    Brackets,
    CacheDir,
    Config,
    Data,
    MarketFiles,
    Settings,
    Symbols,
    Venue,
    read_feeds,
)
from gridv4_bt.config import GridConfig, bounds, is_defined, section_of, unit_of, unknown_parameter
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.errors import ConfigError
from gridv4_bt.validation.universe import wallet_fit


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
    config: Config = None,
    setting: Settings = [],
    as_json: Json = False,
) -> None:
    """Show every parameter with unit, bounds, default and meaning, and whether the definition gives it.

    A defined number may be changed like any other; the run then says that it departs from the definition, and a search
    varies it only if its space names it. --wallet says instead which symbols a wallet can trade, at their last prices.
    """
    if wallet:
        _show_wallet(
            wallet, MarketFiles(data), Downloads(symbol, exchange, cache_dir), brackets, config, setting, as_json
        )
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


def _show_wallet(
    wallet: float,
    files: MarketFiles,
    downloads: Downloads,
    brackets: Path | None,
    config: Path | None,
    settings: Sequence[str],
    as_json: bool,
) -> None:
    parameters, console = read_parameters(config, settings), Console(quiet=as_json)
    named, rules = read_market(files, downloads, None, None, 0, brackets, console)
    fits = []
    for feed in read_feeds(named, files.gaps, None, None, console, rules):
        market = load_market_history(feed.p.name, rules, feed.prices).changes[-1][1]
        fits.append(wallet_fit(feed.p.name, market, float(feed.candles.close[-1]), wallet, parameters))
    if as_json:
        print_json([asdict(fit) | {"verdict": fit.verdict} for fit in fits])
        return
    table = Table("symbol", title=f"a wallet of {wallet:,.0f} USDT")
    for title in ("price", "a level", "smallest order", "the exchange takes", "wallet for all", "orders"):
        table.add_column(title, justify="right")
    for fit in fits:
        amounts = (f"{value:,.2f}" for value in (fit.level, fit.smallest, fit.least, fit.needed))
        table.add_row(fit.symbol, f"{fit.price:g}", *amounts, _VERDICTS[fit.verdict])
    console.print(table)
    console.print(
        "Amounts in USDT. A level is order_pct of the wallet; the smallest is what Kelly's floor, the cooldown and the "
        "funding tilt leave of it together. An order below what the exchange takes is left out (min_notional, min_qty)."
    )


_VERDICTS = {"all": "all fit", "some": "[yellow]some fit[/]", "none": "[red]none fits[/]"}


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
