"""The command line of `gridv4 optimize`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gridv4_bt.backtest import SymbolData
from gridv4_bt.cli.common import INTERRUPTED, Json, print_json
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.market_options import STRATEGY_INTERVAL, MarketFiles, parse_time, print_files, read_feeds
from gridv4_bt.cli.options import CacheDir, Data, Funding, Gaps, Interval, Mark, Quiet, Resample, Symbols, Venue
from gridv4_bt.cli.parameter_trials import check_jobs, text
from gridv4_bt.engine.warm_up import LONGEST_MEMORY_BARS
from gridv4_bt.errors import ConfigError
from gridv4_bt.metrics.summary import finite
from gridv4_bt.optimise.progress import shown
from gridv4_bt.optimise.space import Space, Symbol, load_space
from gridv4_bt.report.run_folder import check_folder, target_folder
from presets import preset_or

if TYPE_CHECKING:
    from gridv4_bt.optimise.result import SearchResult
    from gridv4_bt.optimise.study import Search
    from gridv4_bt.optimise.workers import Workers

#: What the table of finalists shows of each window.
COLUMNS = {"net_return": "return", "max_drawdown": "drawdown", "sharpe": "Sharpe", "liquidations": "liq."}
SIGNS = {1: "[green]+[/]", 0: "[yellow]?[/]", -1: "[red]-[/]"}


def optimize_space(
    space: Annotated[Path, typer.Option(help="What is searched, on which data, for what: a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted search goes on in it.")],
    data: Data = [],
    funding: Funding = [],
    mark: Mark = [],
    symbol: Symbols = [],
    exchange: Venue = "binanceusdm",
    cache_dir: CacheDir = None,
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    start: Annotated[
        str, typer.Option("--from", help="First day downloaded, beside its warm-up, UTC; default: the first window's.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Last day downloaded, UTC; default: the last window's.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes at work at a time; 0: one for each core.")] = 0,
    cluster: Annotated[str, typer.Option(help="Dask scheduler that spreads the trials: tcp://HOST:8786.")] = "",
    trials: Annotated[int | None, typer.Option(help="In place of the space file's number.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search for parameters, and find out whether what is found would survive.

    --data or --symbol take the place of the space's symbols; one that the space names too keeps its use. One without
    candles is downloaded, for the days of all windows.

    The same space, data and seed give the same result whatever the number of jobs or workers; an interrupted search
    that is started again ends as if it had never been.
    """
    wanted = load_space(preset_or(space))
    if trials is not None:
        if trials < 2:
            raise ConfigError(f"--trials {trials}: at least 2")
        wanted = wanted.model_copy(update={"search": wanted.search.model_copy(update={"trials": trials})})
    count = check_jobs(jobs)
    if find_spec("optuna") is None or find_spec("scipy") is None:
        raise ConfigError("gridv4 optimize needs Optuna and SciPy: pip install 'gridstrategy-v4[optimize]'")
    # These take seconds to load, and without the extra they are not there.
    from gridv4_bt.optimise.result import load_data, run_search
    from gridv4_bt.optimise.search_folder import STORAGE_FILE, known_files, write_search
    from gridv4_bt.optimise.search_folder import as_json as of_search
    from gridv4_bt.optimise.workers import Forks

    out = target_folder(out)
    check_folder(out, known_files(wanted.search.finalists))
    console = Console(quiet=quiet or as_json)
    files = MarketFiles(data, funding, mark, (), gaps, interval, resample)
    downloads = Downloads(symbol, exchange, cache_dir)
    wanted, given = _market_data(wanted, files, downloads, start, end, console)
    forks = Forks(count)
    workers = _cluster(cluster) if cluster else forks

    def watch(search: "Search", title: str) -> None:
        done = len(search.trials)
        if done:
            console.print(f"[dim]{title}: {done:,} of {search.wanted:,} trials are done already[/]")
        for _ in shown(search.run(workers), search.wanted - done, not console.quiet, title):
            pass

    try:
        loaded = load_data(wanted, given)
        out.mkdir(parents=True, exist_ok=True)
        result = run_search(loaded, wanted.search.storage or f"sqlite:///{out / STORAGE_FILE}", workers, forks, watch)
        write_search(out, result)
    except KeyboardInterrupt:
        typer.echo("error: interrupted; all whole batches are kept: run again to go on", err=True)
        raise SystemExit(INTERRUPTED) from None
    finally:
        workers.close()
    if as_json:
        print_json(finite(of_search(result)))
    print_search(result, console)
    console.print(f"written to {out}/: optimize.html, optimize.json, trials.csv and the finalists as configs")


def _market_data(
    space: Space, files: MarketFiles, downloads: Downloads, start: str, end: str, console: Console
) -> tuple[Space, dict[str, SymbolData]]:
    """Return the space with the symbols that the command names, and the data that is not in its files."""
    first, last = parse_time("--from", start), parse_time("--to", end)
    names = downloads.symbols or [one.name for one in space.symbols if one.candles is None]
    named = bool(files.data or downloads.symbols)
    if not named and not names:
        if files.funding or files.mark or files.resample or files.interval != STRATEGY_INTERVAL:
            raise ConfigError(
                "--funding, --mark, --interval and --resample belong to --data; the space names its files"
            )
        return space, {}
    begins, ends = ([getattr(one, side) for one in space.windows] for side in ("first", "last"))
    if first is None and None not in begins:
        first = min(begins)
    if last is None and None not in ends:
        last = max(ends)
    if not files.data:
        downloads = downloads._replace(symbols=names)
    found, _ = read_market(files, downloads, first, last, LONGEST_MEMORY_BARS, None, console)
    print_files(read_feeds(found, files.gaps, None, None, console), console)
    if named:
        uses = {one.name: one.use for one in space.symbols}
        symbols = tuple(Symbol(name=one.symbol, use=uses.get(one.symbol, "search")) for one in found)
        space = space.model_copy(update={"symbols": symbols})
        return space, {one.symbol: one for one in found}
    return space, dict(zip(names, found, strict=True))


def _cluster(address: str) -> "Workers":
    if find_spec("distributed") is None:
        raise ConfigError("--cluster needs dask.distributed: pip install 'gridstrategy-v4[cluster]'")
    from gridv4_bt.optimise.cluster import Cluster

    return Cluster(address)


def print_search(result: "SearchResult", console: Console) -> None:
    """Print the finalists and the verdict."""
    for place, finalist in enumerate(result.finalists, 1):
        params = ", ".join(f"{name} {_short(value)}" for name, value in finalist.trial.params.items())
        table = Table("in Backtrader", "", title=f"finalist {place}: {params}")
        for head in COLUMNS.values():
            table.add_column(head, justify="right")
        for cell, figures in finalist.figures.items():
            seen = "searched" if finalist.is_searched(cell) else "not searched"
            table.add_row(cell, seen, *(text(name, figures[name]) for name in COLUMNS))
        console.print(table)
    for check in result.verdict.checks:
        console.print(f"{SIGNS[check.sign]} {check.question} [bold]{check.answer}[/]")
    console.print(f"Would this survive? [bold]{result.verdict.sentence}[/]")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
