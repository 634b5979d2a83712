"""The command lines of `gridv4 bias`."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import backtrader as bt
import typer
from rich.console import Console
from rich.table import Table

from feeds.candles import CandleFeed
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.cli.common import Json, check_cash, print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_strategy
from gridv4_bt.cli.market_options import (
    STRATEGY_INTERVAL,
    MarketFiles,
    matching_modes,
    parse_time,
    print_files,
    print_notes,
    read_feeds,
)
from gridv4_bt.cli.options import (
    Brackets,
    CacheDir,
    Cash,
    Config,
    Data,
    Detail,
    End,
    Funding,
    Gaps,
    Interval,
    Mark,
    Resample,
    Settings,
    Start,
    Strategy,
    Symbols,
    Venue,
)
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import DAY_MS, end_ms, moment, time_ms
from gridv4_bt.engine.warm_up import span_warm_up
from gridv4_bt.errors import ConfigError
from gridv4_bt.metrics.summary import finite
from gridv4_bt.own_strategy import OwnStrategy
from gridv4_bt.validation.bias import CutRun, Progress, WarmUpRun, lookahead, shortest_enough, tables, warm_up
from gridv4_bt.validation.decisions import SIGNALS, DecisionDifference

BIASED = 1  #: exit code

app = typer.Typer(help="Find out whether a backtest can be believed.")

Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors and a bias that is found.")]


@app.command("lookahead")
def find_lookahead(
    data: Data = [],
    funding: Funding = [],
    mark: Mark = [],
    detail: Detail = [],
    brackets: Brackets = None,
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    start: Start = "",
    end: End = "",
    config: Config = [],
    setting: Settings = [],
    strategy: Strategy = "",
    cash: Cash = 10_000.0,
    cuts: Annotated[int, typer.Option(help="Cuts spread evenly over the bars; as many again at random.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the random cuts.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Backtest again on data that ends early: a decision that changes knew the future.

    Exit code 0 if every decision stays the same, 1 if one differs.
    """
    parameters, own = _parameters(strategy, config, setting, cash, detail)
    console = Console(quiet=quiet or as_json)
    print_notes(parameters, console)
    history = 0 if own is not None else span_warm_up(parameters)
    first, last = parse_time("--from", start), parse_time("--to", end)
    files = MarketFiles(data, funding, mark, detail, gaps, interval, resample)
    named, brackets = read_market(
        files, Downloads(symbol, exchange, cache_dir), first, last, history, brackets, console
    )
    feeds = read_feeds(named, gaps, first, last, console, brackets, None if own is not None else parameters, history)
    print_files(feeds, console)
    symbols = _tables(feeds, first, last, history)

    def build(some: Sequence[SymbolData]) -> bt.Cerebro:
        return make_cerebro(make_feeds(some, start=first, warm_up=history), parameters, cash, brackets, own=own)

    with _working(console) as progress, _failures(own):
        runs = lookahead(symbols, build, cuts, seed, progress, None if first is None else time_ms(first))
    console.print(_cut_table(runs))
    differing = [run for run in runs if run.difference is not None]
    if as_json:
        print_json(finite({"biased": bool(differing), "cuts": [asdict(run) for run in runs]}))
    if not differing:
        console.print(f"no look-ahead found: all {len(runs)} cuts decide as the whole run does")
        return
    first = min((run.difference for run in differing), key=lambda difference: difference.time)
    _fail(
        f"look-ahead found: {len(differing)} of {len(runs)} cuts decide otherwise than the whole run. "
        + _in_words(first, "whole run", "cut")
    )


@app.command("warmup")
def find_warm_up(
    data: Data = [],
    funding: Funding = [],
    mark: Mark = [],
    detail: Detail = [],
    brackets: Brackets = None,
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    start: Start = "",
    end: End = "",
    config: Config = [],
    setting: Settings = [],
    strategy: Strategy = "",
    cash: Cash = 10_000.0,
    warm_ups: Annotated[
        str, typer.Option(help="Bars of history before trading begins, the longest is compared with.")
    ] = "100,250,500,1000,2000,4000",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Backtest with less history before the same first bar: find how much a live session needs.

    Exit code 0 if at least the second longest warm-up decides as the longest does, else 1.
    """
    parameters, own = _parameters(strategy, config, setting, cash, detail)
    lengths = _lengths(warm_ups)
    console = Console(quiet=quiet or as_json)
    print_notes(parameters, console)
    first, last = parse_time("--from", start), parse_time("--to", end)
    files = MarketFiles(data, funding, mark, detail, gaps, interval, resample)
    named, brackets = read_market(
        files, Downloads(symbol, exchange, cache_dir), first, last, max(lengths), brackets, console
    )
    feeds = read_feeds(named, gaps, first, last, console, brackets, warm_up=max(lengths))
    print_files(feeds, console)
    symbols = _tables(feeds, first, last, max(lengths))
    for feed in feeds:
        if first is not None and feed.lead < max(lengths):
            console.print(
                f"[yellow]{feed.p.name}: {feed.lead:,} bars of history before --from, the longest warm-up has "
                f"{max(lengths):,}: trading begins {max(lengths) - feed.lead:,} bars later[/]"
            )

    def build(some: Sequence[SymbolData], length: int) -> bt.Cerebro:
        longer = parameters.model_copy(update={"warm_up": length})
        return make_cerebro(make_feeds(some), longer, cash, brackets, own=own)

    with _working(console) as progress, _failures(own):
        runs = warm_up(symbols, build, lengths, progress)
    console.print(_warm_up_table(runs))
    if own is None:
        console.print(_signal_table(runs))
    longest = f"{runs[-1].warm_up:,} bars"
    enough = shortest_enough(runs)
    if as_json:
        print_json(finite({"biased": enough is None, "enough": enough, "warm_ups": [asdict(run) for run in runs]}))
    if enough is None:
        _fail(f"warm-up bias found: even {runs[-2].warm_up:,} bars decide otherwise than {longest}")
    days = enough * symbols[0].candles.interval_ms / DAY_MS
    console.print(f"{enough:,} bars ({days:.1f} days) of history are enough: all longer warm-ups decide the same")


def _parameters(
    strategy: str, config: Path | None, setting: Sequence[str], cash: float, detail: Sequence[str]
) -> tuple[GridConfig, OwnStrategy | None]:
    """Return the parameters that `run_backtest.py` would run with, and the user's own strategy if one is named."""
    check_cash(cash)
    parameters, own = read_strategy(strategy, config, setting)
    parameters, _ = matching_modes(parameters, "", bool(detail))
    return parameters, own


def _failures(own: OwnStrategy | None) -> AbstractContextManager[None]:
    return nullcontext() if own is None else own.failures()


def _tables(feeds: Sequence[CandleFeed], first: date | None, last: date | None, warm_up: int) -> list[SymbolData]:
    """Return the span of the checked data that is asked for, with the bars before it that warm it up."""
    return tables(feeds, None if first is None else time_ms(first), None if last is None else end_ms(last), warm_up)


def _lengths(text: str) -> list[int]:
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError:
        lengths = []
    if len(set(lengths)) < 2 or min(lengths) < 1:
        raise ConfigError(f"--warm-ups {text}: write two or more different numbers of bars like 100,250,500")
    return lengths


@contextmanager
def _working(console: Console) -> Iterator[Progress]:
    """Show on a terminal what is being done."""
    if console.quiet or not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield status.update


def _cut_table(runs: Sequence[CutRun]) -> Table:
    table = Table("last bar", title="decisions with the data cut after a bar (UTC)")
    table.add_column("bars compared", justify="right")
    for name in ("first difference", "whole run", "cut"):
        table.add_column(name)
    for run in runs:
        table.add_row(moment(run.last), f"{run.bars:,}", *_cells(run.difference))
    return table


def _warm_up_table(runs: Sequence[WarmUpRun]) -> Table:
    longest = runs[-1]
    table = Table(title=f"decisions from {moment(longest.first)} UTC on, by the bars of history before")
    for name in ("warm-up", "bars compared"):
        table.add_column(name, justify="right")
    for name in ("first difference", f"with {longest.warm_up:,}", "with fewer"):
        table.add_column(name)
    for run in runs[:-1]:
        table.add_row(f"{run.warm_up:,}", f"{run.bars:,}", *_cells(run.difference))
    return table


def _signal_table(runs: Sequence[WarmUpRun]) -> Table:
    table = Table(title=f"largest relative difference of the signals to those with {runs[-1].warm_up:,} bars")
    for name in ("warm-up", *SIGNALS, "bars of another regime"):
        table.add_column(name, justify="right")
    for run in runs[:-1]:
        signals = [f"{run.signals[name]:.1e}" if run.signals[name] else "0" for name in SIGNALS]
        table.add_row(f"{run.warm_up:,}", *signals, f"{run.regimes:,}")
    return table


def _cells(difference: DecisionDifference | None) -> tuple[str, ...]:
    if difference is None:
        return "ok", "", ""
    return f"{moment(difference.time)} {difference.symbol} {difference.what}", difference.expected, difference.found


def _in_words(difference: DecisionDifference, expected: str, found: str) -> str:
    where = f"{difference.symbol}, bar {moment(difference.time)} UTC, {difference.step}"
    values = f"{difference.expected} ({expected}) against {difference.found} ({found})"
    return f"First difference: {where}: {difference.what}: {values}"


def _fail(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(BIASED)
