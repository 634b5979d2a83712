"""The command line of `run_backtest.py`."""

import re
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import backtrader as bt
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from feeds.candles import CandleFeed
from feeds.synthetic import NOTICE, SYMBOL, sample_market
from gridv4_bt.analysis.files import check_folder, write_run
from gridv4_bt.analysis.metrics import compare_modes
from gridv4_bt.analysis.tables import print_result
from gridv4_bt.backtest import RunResult, SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.cli.common import run_app
from gridv4_bt.config import GridConfig, load_config
from gridv4_bt.engine.intrabar import MODES
from gridv4_bt.engine.market import is_listed, load_market
from gridv4_bt.errors import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_Files = list[str]


def main() -> None:
    """Entry point."""
    run_app(app)


@app.command()
def backtest(
    data: Annotated[
        _Files, typer.Option(help="Candles, CSV or Parquet: FILE or SYMBOL=FILE. Repeat for several symbols.")
    ] = [],  # noqa: B006 (typer reads the default, nobody changes it)
    funding: Annotated[_Files, typer.Option(help="Funding rates of a symbol: FILE or SYMBOL=FILE.")] = [],  # noqa: B006
    mark: Annotated[_Files, typer.Option(help="Mark price candles of a symbol: FILE or SYMBOL=FILE.")] = [],  # noqa: B006
    detail: Annotated[
        _Files, typer.Option(help="Finer candles of a symbol (1m), matched inside its bars: FILE or SYMBOL=FILE.")
    ] = [],  # noqa: B006
    intrabar: Annotated[
        str,
        typer.Option(
            help="How the inside of a bar is matched: pessimistic, path, detail, or all to compare them. "
            "Default: detail where it is given, else the parameter intrabar."
        ),
    ] = "",
    brackets: Annotated[
        Path | None,
        typer.Option(
            help="Brackets or filters in place of the packaged table, JSON: the exchange's answer, a table, or a "
            "history by date."
        ),
    ] = None,
    gaps: Annotated[str, typer.Option(help="Missing bars: refuse, or flat to fill them without volume.")] = "refuse",
    start: Annotated[str, typer.Option("--from", help="First day or time, UTC: 2024-01-01.")] = "",
    end: Annotated[str, typer.Option("--to", help="Last day or time, UTC.")] = "",
    config: Annotated[Path | None, typer.Option(help="Parameters as a TOML file.")] = None,
    setting: Annotated[
        list[str], typer.Option("--set", help="One parameter: name=value. Wins over --config. Repeat.")
    ] = [],  # noqa: B006
    cash: Annotated[float, typer.Option(help="Starting wallet, quote currency.")] = 10_000.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default runs/SYMBOL-TIME.")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no picture.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Backtest GridStrategyV4 on candles; without --data on the embedded synthetic market."""
    parameters = load_config(config, setting)
    if not 0.0 < cash < float("inf"):
        raise ConfigError(f"--cash {cash}: must be a number above 0")
    if gaps not in ("refuse", "flat"):
        raise ConfigError(f"--gaps {gaps}: refuse or flat")
    console = Console(quiet=quiet)
    parameters, others = matching_modes(parameters, intrabar, bool(detail))
    if data:
        symbols = pair_files(data, funding, mark, detail)
    elif funding or mark or detail:
        raise ConfigError("--funding, --mark and --detail belong to --data; give the candles too")
    else:
        console.print(f"[bold yellow]{NOTICE}[/]")
        market = sample_market()
        symbols = [SymbolData(SYMBOL, market.candles, market.funding)]
    first, last = parse_time("--from", start), parse_time("--to", end)
    feeds = make_feeds(symbols, gaps, first, last)
    folder = out if out is not None else default_folder([feed.p.name for feed in feeds])
    check_folder(folder)
    for feed in feeds:
        for notice in notices(feed):
            console.print(f"[yellow]{notice}[/]")
    result = run_shown(make_cerebro(feeds, parameters, cash, brackets), console)
    if others:
        compared = [result.summary | {"intrabar": parameters.intrabar}]
        for other in others:
            again = make_feeds(symbols, gaps, first, last)
            outcome = run_shown(make_cerebro(again, other, cash, brackets), console)
            compared.append(outcome.summary | {"intrabar": other.intrabar})
        result.summary["by_intrabar"] = compare_modes(compared)
    write_run(folder, result.records, result.summary, parameters, plot=not no_report)
    print_result(result.summary, console)
    console.print(f"written to {folder}/ in {result.summary['seconds']:.1f} s of trading")


def run_shown(cerebro: bt.Cerebro, console: Console) -> RunResult:
    """Run a backtest with a progress bar."""
    with progress_bar(cerebro.datas, console):
        return run(cerebro)


def matching_modes(parameters: GridConfig, intrabar: str, detailed: bool) -> tuple[GridConfig, list[GridConfig]]:
    """Return the parameters of the run, and those of the runs to compare it with for ``--intrabar all``."""

    def by(mode: str) -> GridConfig:
        return parameters.model_copy(update={"intrabar": mode})

    if intrabar not in ("", "all", *MODES):
        raise ConfigError(f"--intrabar {intrabar}: one of {', '.join(MODES)}, all")
    if not intrabar:
        chosen = "detail" if detailed and parameters.intrabar == "pessimistic" else parameters.intrabar
    elif intrabar == "all":
        chosen = "detail" if detailed else "pessimistic"
    else:
        chosen = intrabar
    if chosen == "detail" and not detailed:
        raise ConfigError("intrabar detail needs finer candles: give --detail FILE")
    others = []
    if intrabar == "all":
        others = [by(mode) for mode in MODES if mode != chosen and (detailed or mode != "detail")]
    return by(chosen), others


def notices(feed: CandleFeed) -> list[str]:
    """Return what a user should know about a feed before believing its result."""
    texts = list(feed.warnings)
    if feed.candles.filled:
        texts.append(f"{feed.p.name}: {feed.candles.filled:,} missing bars were filled flat, without volume")
    if not is_listed(feed.p.name):
        market = load_market(feed.p.name)
        texts.append(
            f"{feed.p.name}: no filters known, cautious defaults are used: tick {market.tick}, lot {market.step}, "
            f"least notional {market.min_notional}"
        )
    return texts


def pair_files(
    data: Sequence[str], funding: Sequence[str], mark: Sequence[str], detail: Sequence[str] = ()
) -> list[SymbolData]:
    """Bring the files of each symbol together; the symbol is named, or the file name up to - or ."""
    candles = _by_symbol("--data", data)
    given = {"--funding": funding, "--mark": mark, "--detail": detail}
    companions = {option: _by_symbol(option, texts) for option, texts in given.items()}
    for option, files in companions.items():
        for symbol, path in files.items():
            if symbol not in candles:
                raise ConfigError(
                    f"{option} {path}: no --data for symbol {symbol}; write {option} SYMBOL={path}, "
                    f"with SYMBOL one of {', '.join(candles)}"
                )
    return [
        SymbolData(symbol, path, *(companions[option].get(symbol) for option in given))
        for symbol, path in candles.items()
    ]


def parse_time(option: str, text: str) -> date | datetime | None:
    """Return a day or a UTC time, None for an empty text."""
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: write a day like 2024-01-31 or a time like 2024-01-31T12:00") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


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
        task = progress.add_task("", total=sum(len(feed.candles) for feed in feeds))

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


def _by_symbol(option: str, texts: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        path = Path(rest) if equals else Path(text)
        symbol = (name if equals else re.split(r"[-.]", path.name)[0]).upper()
        if not symbol or not path.name:
            raise ConfigError(f"{option} {text}: expected FILE or SYMBOL=FILE")
        if symbol in files:
            raise ConfigError(f"{option} {text}: {symbol} has {files[symbol]} already; write SYMBOL=FILE")
        files[symbol] = path
    return files
