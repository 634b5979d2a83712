"""Downloading for commands: the progress bar, the warnings, the table of data quality."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from feeds.history import History, Progress, load_history
from feeds.quality import Quality
from feeds.tables import interval_ms
from gridv4_bt.backtest import SymbolData
from gridv4_bt.cli.common import INTERRUPTED
from gridv4_bt.cli.market_options import STRATEGY_INTERVAL, MarketFiles, check_gaps, read_symbols
from gridv4_bt.core.time import moment, time_ms
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.errors import ConfigError


def load_symbols(
    symbols: Sequence[str],
    start: date | None,
    end: date | None,
    console: Console,
    *,
    exchange: str = "binanceusdm",
    interval: str = "15m",
    cache_dir: Path | None = None,
    refill: bool = False,
    gaps: str = "refuse",
    kinds: tuple[str, ...] = ("candles", "funding", "mark"),
    warm_up: int = 0,
) -> list[History]:
    """Load the history of symbols with a progress bar, and print its warnings.

    Up to `warm_up` bars before `start` are loaded too; of these, those before a missing bar are left out where
    missing bars are refused.

    After Ctrl-C it says that what was loaded is kept, and ends the program.
    """
    check_gaps(gaps)
    histories = []
    try:
        with _progress(console) as progress:
            for one in symbols:
                history = load_history(
                    one,
                    start,
                    end,
                    exchange=exchange,
                    interval=interval,
                    cache_dir=cache_dir,
                    refill=refill,
                    kinds=kinds,
                    warm_up=warm_up,
                    progress=progress,
                )
                if warm_up and start is not None and gaps == "refuse":
                    history = _unbroken(history, time_ms(start), interval_ms(interval))
                histories.append(history)
    except KeyboardInterrupt:
        typer.echo("error: interrupted; the months loaded so far are kept: run again to go on", err=True)
        raise SystemExit(INTERRUPTED) from None
    for history in histories:
        for warning in history.warnings:
            console.print(f"[yellow]{warning}[/]")
    return histories


class Downloads(NamedTuple):
    """What a command names to be downloaded, and from where to where."""

    symbols: Sequence[str] = ()
    exchange: str = "binanceusdm"
    cache_dir: Path | None = None


def read_market(
    files: MarketFiles,
    downloads: Downloads,
    first: date | None,
    last: date | None,
    warm_up: int,
    brackets: Path | None,
    console: Console,
) -> tuple[list[SymbolData], Path | None]:
    """Return the market data that a command names by files or by symbols, and its file of filters and brackets.

    Without either it is the sample market. Of symbols, `warm_up` bars before `first` are downloaded too.
    """
    if not downloads.symbols:
        return read_symbols(files, console), brackets
    if any((files.data, files.funding, files.mark, files.detail)):
        raise ConfigError("--symbol downloads its data; give either --symbol, or --data with its companions")
    if files.resample or files.interval != STRATEGY_INTERVAL:
        raise ConfigError(
            f"--symbol downloads candles of {STRATEGY_INTERVAL}; --interval and --resample are for --data"
        )
    histories = load_symbols(
        downloads.symbols,
        first,
        last,
        console,
        exchange=downloads.exchange,
        cache_dir=downloads.cache_dir,
        gaps=files.gaps,
        warm_up=warm_up,
    )
    brackets = brackets if brackets is not None else market_rules(histories)
    for one in histories:
        console.print(f"[dim]{one.symbol}: {load_market_history(one.symbol, brackets).changes[-1][1].as_of}[/]")
    return [SymbolData(one.symbol, one.candles, one.funding, one.mark) for one in histories], brackets


def _unbroken(history: History, start: int, step: int) -> History:
    """Return a history without the candles before `start` (ms) that a missing bar separates from it."""
    times = history.candles["time"].to_numpy()
    breaks = np.flatnonzero(np.diff(times[times <= start]) != step)
    return history if not len(breaks) else replace(history, candles=history.candles.iloc[breaks[-1] + 1 :])


def quality_table(quality: Quality, only_found: bool = False) -> Table:
    """Return the checks of a symbol's data as a table."""
    first, last = map(moment, quality.span)
    table = Table(title=f"{quality.symbol}: {quality.bars:,} bars, {first} to {last} UTC")
    table.add_column("check")
    table.add_column("found", justify="right")
    table.add_column("first (UTC)")
    table.add_column("more")
    for check in quality.found if only_found else quality.checks:
        found = f"[yellow]{check.count:,}[/]" if check.count else "ok"
        table.add_row(check.name, found, "" if check.first is None else moment(check.first), check.detail)
    return table


def market_rules(histories: Sequence[History]) -> Path | None:
    """Return the market table with the filters of all symbols, None if those of one are not known."""
    tables = {history.rules for history in histories}
    return tables.pop() if len(tables) == 1 else None


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """Show on a terminal what is being loaded."""
    if console.quiet or not console.is_terminal:
        yield lambda what, done, wanted: None
        return
    count = TextColumn("{task.completed}/{task.total} months")
    columns = (TextColumn("loading {task.description}"), BarColumn(), count)
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, wanted: bars.update(task, description=what, completed=done, total=wanted)
