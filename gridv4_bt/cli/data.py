"""The command lines of `gridv4 data`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from feeds.cache import Damaged, SeriesCache, default_folder, series_folders
from feeds.quality import examine
from feeds.tables import read_candles
from gridv4_bt.cli.common import Json, print_json
from gridv4_bt.cli.download import load_symbols, quality_table
from gridv4_bt.cli.market_options import parse_time
from gridv4_bt.cli.options import CacheDir, Gaps, Quiet, Symbols, Venue
from gridv4_bt.cli.rank import rank
from gridv4_bt.core.time import moment
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.errors import ConfigError

DAMAGED = 1  #: exit code

app = typer.Typer(help="Download market data, and look at what is downloaded.")
app.command("rank")(rank)

Interval = Annotated[str, typer.Option(help="Bar length: 15m, or 1m, 3m, 5m.")]
Start = Annotated[str, typer.Option("--from", help="First day or time, UTC: 2024-01-01. Default: the listing.")]
End = Annotated[str, typer.Option("--to", help="Last day or time, UTC. Default: the last closed bar.")]


@app.command("download")
def download(
    symbol: Symbols = [],
    start: Start = "",
    end: End = "",
    exchange: Venue = "binanceusdm",
    interval: Interval = "15m",
    cache_dir: CacheDir = None,
    gaps: Gaps = "refuse",
    refill: Annotated[
        bool, typer.Option("--refill", help="Ask once more for the bars that the exchange did not have.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Download candles, funding and mark prices of perpetuals into the cache, and check them.

    Months that are over come from Binance's public archive, the rest from the exchange. What is in the cache is not
    downloaded again; after an interruption the same command goes on. No key is needed. Bybit and OKX have no archive
    here and take longer; OKX tells funding of the last three months only.
    """
    if not symbol:
        raise ConfigError("--symbol is missing: write --symbol BTC/USDT:USDT")
    console = Console(quiet=quiet)
    histories = load_symbols(
        symbol,
        parse_time("--from", start),
        parse_time("--to", end),
        console,
        exchange=exchange,
        interval=interval,
        cache_dir=cache_dir,
        refill=refill,
        gaps=gaps,
    )
    for history in histories:
        quality = examine(history.symbol, history.candles, history.funding, history.mark, interval=interval)
        console.print(quality_table(quality))
    for history in histories:
        read_candles(history.candles, interval=interval, gaps=gaps, name=history.symbol)


@app.command("list")
def list_cache(cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """List what the cache holds."""
    root = cache_dir if cache_dir is not None else default_folder()
    rows = list(_spans(root))
    if as_json:
        print_json({"folder": root, "spans": rows})
        return
    table = Table(title=f"{root}")
    for name in ("exchange", "symbol", "series", "from (UTC)", "to (UTC)"):
        table.add_column(name)
    for name in ("rows", "missing spans", "MB"):
        table.add_column(name, justify="right")
    for row in rows:
        names = (row["exchange"], row["symbol"], row["series"])
        if row["damaged"]:
            table.add_row(*names, "manifest damaged")
        else:
            counts = (f"{row['rows']:,}", f"{row['missing_spans']:,}", f"{row['bytes'] / 1e6:.1f}")
            table.add_row(*names, row["from"], row["to"], *counts)
    Console().print(table if table.row_count else f"nothing in {root}")


def _spans(root: Path) -> Iterator[dict[str, Any]]:
    """Yield what is known of each run of months of each series in the cache."""
    for exchange, symbol, series, folder in series_folders(root):
        named = {"exchange": exchange, "symbol": symbol, "series": series.name}
        cache = SeriesCache(folder, series)
        try:
            cache.load()
        except Damaged:
            yield named | {"damaged": True}
            continue
        for first, last in _runs(list(cache.months)):
            months = [cache.months[month] for month in cache.months if first <= month <= last]
            files = (folder / month.file for month in months)
            yield named | {
                "damaged": False,
                "from": first,
                "to": moment(months[-1].until),
                "rows": sum(month.rows for month in months),
                "missing_spans": sum(len(month.holes) for month in months),
                "bytes": sum(path.stat().st_size for path in files if path.exists()),
            }


@app.command("check")
def check_cache(
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    interval: Interval = "15m",
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Read every cached file of the symbols, or of all, and show the quality of the data.

    Nothing is changed or downloaded. Exit code 1 if a file is damaged; the next download replaces it.
    """
    root = cache_dir if cache_dir is not None else default_folder()
    wanted = {exchange_symbol(one) for one in symbol}
    console, damaged, seen = Console(quiet=quiet or as_json), [], set()
    tables: dict[str, dict[str, object]] = {}
    for where, name, series, folder in series_folders(root):
        if where != exchange or (wanted and name not in wanted) or series.interval not in ("", interval):
            continue
        seen.add(name)
        cache = SeriesCache(folder, series)
        try:
            cache.load()
            parts = [cache.read(month) for month in cache.months]
        except Damaged as error:
            damaged.append(str(error))
            continue
        if parts:
            tables.setdefault(name, {})[series.kind] = pd.concat(parts, ignore_index=True)
    absent = sorted(wanted - seen)
    if absent:
        raise ConfigError(f"{', '.join(absent)}: nothing of {exchange} in {root}; run gridv4 data download first")
    qualities = [
        examine(name, kinds["candles"], kinds.get("funding"), kinds.get("mark"), interval=interval)
        for name, kinds in tables.items()
        if "candles" in kinds
    ]
    for quality in qualities:
        console.print(quality_table(quality))
    if as_json:
        print_json({"damaged": damaged, "symbols": [asdict(quality) for quality in qualities]})
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        typer.echo(f"error: {damaged[0]}{more}. Run gridv4 data download: it sets damaged files aside", err=True)
        raise typer.Exit(DAMAGED)
    console.print(f"all files of {len(seen)} symbols are whole")


def _runs(months: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the first and the last month of each run of months without a gap."""
    begin = None
    for index, month in enumerate(months):
        begin = begin or month
        year, number = map(int, month.split("-"))
        following = f"{year + number // 12:04}-{number % 12 + 1:02}"
        if index + 1 == len(months) or months[index + 1] != following:
            yield begin, month
            begin = None
