"""The command line of `gridv4 backtest`, which is also `run_backtest.py`."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import backtrader as bt
import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from feeds.quality import examine
from feeds.synthetic import SYMBOL
from gridv4_bt.backtest import RunResult, Traded, make_cerebro, make_feeds, trade
from gridv4_bt.cli.common import Json, check_cash, print_json, run_app
from gridv4_bt.cli.download import Downloads, quality_table, read_market
from gridv4_bt.cli.examples import epilog
from gridv4_bt.cli.layers import LayeredCommand, read_strategy
from gridv4_bt.cli.market_options import (
    STRATEGY_INTERVAL,
    MarketFiles,
    files_read,
    matching_modes,
    parse_time,
    print_changed_meanings,
    print_files,
    print_untraded,
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
    Quiet,
    Resample,
    Settings,
    Start,
    Strategy,
    Symbols,
    Venue,
)
from gridv4_bt.cli.parameter_trials import BEST_FILE, TRIAL_FILES, Jobs, Optimize, Rank, check_trials, optimize
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.warm_up import span_warm_up
from gridv4_bt.errors import ConfigError
from gridv4_bt.free_memory import give_back
from gridv4_bt.metrics.summary import compare_modes
from gridv4_bt.optimise.compiled_broker import quickest_broker
from gridv4_bt.own_strategy import OwnStrategy
from gridv4_bt.report.page_data import BLOCKED_WORDS
from gridv4_bt.report.run_folder import RUN_FILES, SUMMARY_FILE, check_folder, target_folder, write_run
from gridv4_bt.report.terminal import print_result, print_run_files

if TYPE_CHECKING:
    from gridv4_bt.audit.session import SessionRecord

WORTH_COMPILING = 5.0  #: seconds of trading after which a run in plain Python says how to shorten them

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point of `run_backtest.py`."""
    run_app(app)


@app.command(cls=LayeredCommand, epilog=epilog("backtest"))
def backtest(
    context: typer.Context,
    data: Data = [],
    symbol: Symbols = [],
    session: Annotated[
        Path | None,
        typer.Option(help="A --state-dir of run_live.py: its candles, funding, rules, parameters and wallet."),
    ] = None,
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    funding: Funding = [],
    mark: Mark = [],
    detail: Detail = [],
    intrabar: Annotated[
        str,
        typer.Option(
            help="How the inside of a bar is matched: pessimistic, path, detail, or all to compare them. "
            "Default: detail where it is given, else the parameter intrabar."
        ),
    ] = "",
    brackets: Brackets = None,
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    start: Start = "",
    end: End = "",
    config: Config = [],
    setting: Settings = [],
    strategy: Strategy = "",
    cash: Cash = 10_000.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default runs/SYMBOL-TIME.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the finished run in the folder of --out.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no picture and no page.")] = False,
    file_format: Annotated[
        Literal["csv", "parquet"],
        typer.Option("--format", help="File of the equity curve; Parquet takes a quarter of the space."),
    ] = "csv",
    details: Annotated[bool, typer.Option("--details", help="Print all tables after the result.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    trial: Optimize = [],
    jobs: Jobs = 1,
    rank: Rank = "sharpe",
) -> None:
    """Backtest GridStrategyV4 or --strategy on candles; without --data on the embedded synthetic market."""
    pa.set_memory_pool(pa.system_memory_pool())  # its own one would keep the memory of what it has read
    lived = None
    if trial and as_json:
        raise ConfigError("--json is of one backtest; with --optimize read trials.csv in the folder of --out")
    if session is not None:
        lived = _read_session(session, named=any((symbol, data, funding, mark, detail)))
        config, brackets = config or [session / "config.toml"], brackets or lived.rules
        if context.get_parameter_source("cash").name == "DEFAULT":
            cash = lived.wallet
    if out is not None:
        out = target_folder(out)
        check_folder(out, TRIAL_FILES if trial else RUN_FILES, BEST_FILE if trial else SUMMARY_FILE, force=force)
    console = Console(quiet=quiet or as_json)
    parameters, own = read_strategy(strategy, config, setting, console)
    if lived is not None:  # trading begins where the session began
        parameters = parameters.model_copy(update={"warm_up": max(parameters.warm_up, lived.config.warm_up)})
    check_cash(cash)
    print_changed_meanings(parameters, console)
    axes = check_trials(trial, jobs, rank, intrabar, own) if trial else {}
    parameters, others = matching_modes(parameters, intrabar, bool(detail))
    first, last = parse_time("--from", start), parse_time("--to", end)
    history = 0 if own is not None else span_warm_up(parameters, axes)
    warmed = None if own is not None else parameters  # another kind of strategy warms up within the span
    if lived is not None:
        symbols = list(lived.data)
        _print_transfers(lived, console)
    else:
        files = MarketFiles(data, funding, mark, detail, gaps, interval, resample)
        symbols, brackets = read_market(
            files, Downloads(symbol, exchange, cache_dir), first, last, history, brackets, console
        )
    feeds = read_feeds(symbols, gaps, first, last, console, rules=brackets, config=warmed, warm_up=history)
    print_files(feeds, console)
    print_untraded(parameters, [feed.p.name for feed in feeds], console)
    if symbol or data:
        _print_quality(feeds, console, details)
    names = [feed.p.name for feed in feeds]
    symbols.clear()  # the feeds have what was read
    folder = out if out is not None else default_folder(names)
    if axes:
        optimize(feeds, axes, parameters, own, cash, brackets, jobs, rank, folder, console)
        return
    broker = quickest_broker(own)
    files = files_read(feeds) if others else []
    make = partial(make_cerebro, cash=cash, rules=brackets, broker=broker, own=own)
    result = run_shown(make, feeds, parameters, own, console)
    compared = [result.summary | {"intrabar": parameters.intrabar}]
    for other in others:
        outcome = run_shown(make, make_feeds(files, gaps, first, last, history), other, own, console)
        compared.append(outcome.summary | {"intrabar": other.intrabar})
    if others:
        result.summary["by_intrabar"] = compare_modes(compared)
    write_run(
        folder, result.records, result.summary, parameters, plot=not no_report, equity=f"equity.{file_format}", own=own
    )
    print_result(result.summary, console, details)
    _print_hint(result.summary, names, config, broker, console)
    console.print(f"written to {folder}/ in {result.summary['seconds']:.1f} s of trading", soft_wrap=True)
    print_run_files(folder, console)
    if as_json:
        print_json({"folder": str(folder)} | result.summary)


def _read_session(folder: Path, named: bool) -> "SessionRecord":
    """Return the record of a session; `named`: the command names market data of its own."""
    if named:
        raise ConfigError("--session brings its own market data; give it without --symbol, --data and companions")
    from gridv4_bt.audit.session import read_session  # imports ccxt, which takes a second

    return read_session(folder)


def _print_transfers(session: "SessionRecord", console: Console) -> None:
    """Print by how much the wallet was corrected during the session, which the backtest leaves out."""
    if session.transfers:
        amount = sum(session.transfers.values())
        console.print(f"[yellow]left out: the session's wallet was corrected by {amount:+,.2f} meanwhile[/]")


def why_no_trade(summary: Mapping[str, Any]) -> str:
    """Return a sentence on what blocked most orders of a run that has closed no trade."""
    if summary["open_fills"]:
        return f"no trade was closed: all that was opened is held at the end ({summary['open_fills']:,} open fills)"
    if "strategy" in summary:
        return "no trade was closed"
    blocked = {reason: count for reason, count in summary["blocked"].items() if count}
    if not blocked:
        return "no trade was closed: no bar reached an order"
    most = max(blocked, key=lambda reason: blocked[reason])
    return (
        f"no trade was closed. What blocked most orders: {most}, {BLOCKED_WORDS[most.upper()]} ({blocked[most]:,} of "
        f"{sum(blocked.values()):,} levels times bars without an order); the others rested and were not reached"
    )


def _print_hint(
    summary: Mapping[str, Any],
    symbols: Sequence[str],
    config: Sequence[Path],
    broker: type[HedgeBroker],
    console: Console,
) -> None:
    """Print why there was no trade, how the sample market shows more than the defaults do, what would be quicker."""
    if broker is HedgeBroker and "strategy" not in summary and summary["seconds"] > WORTH_COMPILING:
        console.print("[dim]`gridv4 compile`, once, makes backtests as long as this trade more than twice as fast[/]")
    if not summary["trades"]:
        console.print(f"[yellow]{why_no_trade(summary)}[/]")
    if not config and "strategy" not in summary and list(symbols) == [SYMBOL]:
        console.print(
            "The default parameters trade rarely, here as on real markets. To see every mechanism at work, run "
            "this again with --config busy",
            soft_wrap=True,
        )


def _print_quality(feeds: Sequence[CandleFeed], console: Console, details: bool) -> None:
    """Print what in the data of each symbol may mislead a backtest: a line, or with `details` a table."""
    for feed in feeds:
        quality = examine(feed.p.name, feed.candles, feed.p.funding, feed.p.mark)
        if quality.found and details:
            console.print(quality_table(quality, only_found=True))
        elif quality.found:
            checks = ", ".join(f"{check.name} ({check.count:,})" for check in quality.found)
            console.print(f"[dim]{quality.symbol}, in the data: {checks}; --details says where[/]", highlight=False)


def run_shown(
    make: Callable[..., bt.Cerebro],
    feeds: list[CandleFeed],
    config: GridConfig,
    own: OwnStrategy | None,
    console: Console,
) -> RunResult:
    """Run a backtest with a progress bar, and summarise it once its feeds and indicators have made room."""
    traded = _trade_shown(make(feeds, config), own, console)
    feeds.clear()  # Backtrader has looked at the variables of the frames above it, which keeps what they named
    give_back()
    return traded.result()


def _trade_shown(cerebro: bt.Cerebro, own: OwnStrategy | None, console: Console) -> Traded:
    with progress_bar(cerebro.datas, console):
        return trade(cerebro, own)


def default_folder(symbols: Sequence[str]) -> Path:
    """Return a folder no earlier run has used."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{'-'.join(symbols)}-{stamp}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


@contextmanager
def progress_bar(feeds: Sequence[CandleFeed], console: Console):
    """Show how many bars are done. A thread looks at the feeds, so the run itself loses no time."""
    if console.quiet or not console.is_terminal:
        yield
        return
    done = threading.Event()
    columns = (TextColumn("trading"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} bars"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(feed.rows for feed in feeds))

        def follow() -> None:
            while not done.wait(0.2):
                progress.update(task, completed=sum(len(feed) for feed in feeds))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
