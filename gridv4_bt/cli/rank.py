"""The command line of `gridv4 data rank`."""

import math
from dataclasses import asdict
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_parameters
from gridv4_bt.cli.market_options import STRATEGY_INTERVAL, MarketFiles, parse_time, read_feeds
from gridv4_bt.cli.options import (
    Brackets,
    CacheDir,
    Config,
    Data,
    Funding,
    Gaps,
    Interval,
    Resample,
    Settings,
    Symbols,
    Venue,
)
from gridv4_bt.core.time import DAY_MS, time_ms
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.errors import ConfigError
from gridv4_bt.validation.universe import TAIL_MOVE, MarketFigures, market_figures

#: What the list can be ordered by, and whether the largest come first.
ORDERS = {
    "volume": True, "range": True, "tail": True, "tail_moves": True, "spacing_ticks": True, "funding": False,
    "days": True,
}  # fmt: skip


def rank(
    data: Data = [],
    funding: Funding = [],
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    brackets: Brackets = None,
    at: Annotated[str, typer.Option(help="Day or time, UTC; nothing after it counts. Default: the newest bar.")] = "",
    days: Annotated[int, typer.Option(help="How many days before it count.", min=1, max=3650)] = 90,
    by: Annotated[str, typer.Option(help=f"Order: {', '.join(ORDERS)}.")] = "volume",
    config: Config = [],
    setting: Settings = [],
    as_json: Json = False,
) -> None:
    """List what markets were like before a date: range, tail moves, spacing in ticks, volume and funding.

    It chooses nothing: which of these figures are worth following a few symbols cannot say.
    """
    if by not in ORDERS:
        raise ConfigError(f"--by {by}: one of {', '.join(ORDERS)}")
    parameters = read_parameters(config, setting)
    console = Console(quiet=as_json)
    until = parse_time("--at", at)
    files = MarketFiles(data, funding, gaps=gaps, interval=interval, resample=resample)
    first = date.fromordinal(until.toordinal() - days) if until is not None else None
    named, rules = read_market(files, Downloads(symbol, exchange, cache_dir), first, until, 0, brackets, console)
    feeds = read_feeds(named, gaps, None, None, console, rules)
    found: list[MarketFigures] = []
    for feed in feeds:
        end = time_ms(until) if until is not None else int(feed.candles.time[-1]) + DAY_MS
        market = load_market_history(feed.p.name, rules, feed.prices).at(end)
        try:
            found.append(market_figures(feed, market, parameters, end, days))
        except ValueError as error:
            console.print(f"[yellow]{feed.p.name} is left out: {error}[/]")
    found.sort(key=lambda one: _key(getattr(one, by), ORDERS[by]))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    console.print(_table(found, days, at))


def _key(value: float, largest_first: bool) -> tuple[bool, float]:
    """Return a key that sorts what is not known last."""
    return math.isnan(value), -value if largest_first else value


def _table(found: list[MarketFigures], days: int, at: str) -> Table:
    until = f"before {at}" if at else "before the newest bar"
    table = Table("symbol", title=f"{days} days {until}")
    for name in (
        "days", "range a day", "99.9 % of moves", f"moves of {TAIL_MOVE:.0%} a year",
        "spacing, ticks", "volume a day, M", "LONG pays a year",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in found:
        funding = "" if math.isnan(one.funding) else f"{one.funding:.1%}"
        table.add_row(
            one.symbol, f"{one.days:,}", f"{one.range:.2%}", f"{one.tail:.2%}", f"{one.tail_moves:,.1f}",
            f"{one.spacing_ticks:,.1f}", f"{one.volume / 1e6:,.1f}", funding,
        )  # fmt: skip
    return table
