"""The command line of `gridv4 regimes`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gridv4_bt.cli.common import Json, check_picture, print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_parameters
from gridv4_bt.cli.market_options import (
    STRATEGY_INTERVAL,
    MarketFiles,
    parse_time,
    print_files,
    print_notes,
    read_feeds,
)
from gridv4_bt.cli.options import (
    CacheDir,
    Config,
    Data,
    End,
    Gaps,
    Interval,
    Quiet,
    Resample,
    Settings,
    Start,
    Symbols,
    Venue,
)
from gridv4_bt.core.mixture import STATES
from gridv4_bt.core.regime import Regime
from gridv4_bt.engine.warm_up import span_warm_up
from gridv4_bt.metrics.summary import finite
from gridv4_bt.validation.regimes import (
    RegimeRecord,
    StateFigures,
    agreement,
    confusion,
    filter_regimes,
    plot_regimes,
    state_figures,
)


def show_regimes(
    data: Data = [],
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
    out: Annotated[Path | None, typer.Option(help="Picture of both filters over time, FILE.png.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show what both regime filters, KAMA's slope and the Gaussian mixture, say about candles.

    Without --data on the embedded synthetic market.
    """
    parameters = read_parameters(config, setting)
    if out is not None:
        check_picture(out)
    console = Console(quiet=quiet or as_json)
    print_notes(parameters, console)
    first, last = parse_time("--from", start), parse_time("--to", end)
    history = span_warm_up(parameters.model_copy(update={"regime": "gmm"}))
    files = MarketFiles(data, gaps=gaps, interval=interval, resample=resample)
    named, rules = read_market(files, Downloads(symbol, exchange, cache_dir), first, last, history, None, console)
    feeds = read_feeds(named, gaps, first, last, console, rules, warm_up=history)
    print_files(feeds, console)
    shown = track(feeds, "filtering", console=console, transient=True, disable=console.quiet or not console.is_terminal)
    records = [filter_regimes(feed, parameters) for feed in shown]
    for record in records:
        print_regimes(record, console)
    if as_json:
        print_json(finite([_as_dict(record) for record in records]))
    if out is not None:
        plot_regimes(records, out)
        console.print(f"written to {out}")


def _as_dict(record: RegimeRecord) -> dict[str, Any]:
    """Return the figures that `print_regimes` shows."""
    counts = confusion(record.kama, record.gmm)
    same, kappa = agreement(counts)
    figures = {
        name: {state.name: asdict(one) for state, one in state_figures(codes, record.close, record.day).items()}
        for name, codes in (("kama", record.kama), ("gmm", record.gmm))
    }
    return {
        "symbol": record.symbol, "bars": record.bars, "bars_of_mixture": len(record.gmm), **figures,
        "states": [Regime(code).name for code in STATES], "kama_by_gmm": counts.tolist(),
        "agreement": same, "cohens_kappa": kappa, "warnings": record.warnings,
    }  # fmt: skip


def print_regimes(record: RegimeRecord, console: Console) -> None:
    """Print the figures of both filters on one symbol, and where they agree."""
    console.print(
        f"{record.symbol}: {len(record.gmm):,} of {record.bars:,} bars, "
        "from the first fit of the mixture on; a day is the one after the bar"
    )
    for name, codes in (("kama", record.kama), ("gmm", record.gmm)):
        console.print(_figures(f"{record.symbol} by {name}", state_figures(codes, record.close, record.day)))
    counts = confusion(record.kama, record.gmm)
    table = Table("kama \\ gmm", title=f"{record.symbol}: bars by both filters")
    for code in STATES:
        table.add_column(Regime(code).name, justify="right")
    for code, row in zip(STATES, counts.tolist(), strict=True):
        table.add_row(Regime(code).name, *(f"{count:,}" for count in row))
    console.print(table)
    same, kappa = agreement(counts)
    console.print(f"the same state at {same:.1%} of the bars; beyond chance (Cohen's kappa) {_number(kappa, '.3f')}")
    if record.warnings:
        counted = ", ".join(f"{name} {count:,}" for name, count in sorted(record.warnings.items()))
        console.print(f"the mixture's warnings: {counted}")


def _figures(title: str, figures: dict[Regime, StateFigures]) -> Table:
    table = Table("state", title=title)
    for name in ("time", "stays", "mean stay, bars", "median", "mean next-day move", "next-day volatility"):
        table.add_column(name, justify="right")
    for state, one in figures.items():
        table.add_row(
            state.name,
            f"{one.share:.1%}",
            f"{one.stays:,}",
            _number(one.mean_stay, ".1f"),
            _number(one.median_stay, "g"),
            _number(one.next_move, "+.3%"),
            _number(one.next_volatility, ".2%"),
        )
    return table


def _number(value: float, form: str) -> str:
    return "-" if value != value else format(value, form)
