"""Reading the market data that a command names by its options."""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from feeds.candles import CandleFeed
from feeds.doubts import doubts
from feeds.layouts import HIVE_KEYS
from feeds.rows import symbol_at
from feeds.synthetic import NOTICE, SYMBOL, sample_market
from feeds.tables import CandleTable, interval_ms, read_candles
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import GridConfig, PortfolioConfig, changed_meanings, departure_line, departures
from gridv4_bt.core.time import BAR_MS, day_or_time
from gridv4_bt.engine.intrabar import MODES
from gridv4_bt.engine.market import exchange_symbol, has_tick_of_prices, load_market_history
from gridv4_bt.engine.warm_up import LONGEST_MEMORY_BARS, history_bars, warm_up_bars
from gridv4_bt.errors import ConfigError

STRATEGY_INTERVAL = "15m"
#: What the candles of a pipe are called, which has no name that tells their symbol.
OF_PIPE = "PIPE"


def print_changed_meanings(parameters: GridConfig, console: Console) -> None:
    """Print a line for each value that an earlier version took otherwise."""
    for line in changed_meanings(parameters):
        console.print(f"[yellow]{line}[/]")


def print_notes(parameters: GridConfig, console: Console) -> None:
    """Print what a user should know of the parameters: values taken otherwise before, and departures."""
    print_changed_meanings(parameters, console)
    if departed := departures(parameters):
        console.print(f"[yellow]{departure_line(departed)}[/]")


def print_untraded(parameters: GridConfig, symbols: Collection[str], console: Console) -> None:
    """Print which symbols have parameters of their own and are not traded: a name may be misspelt."""
    named = parameters.symbols if isinstance(parameters, PortfolioConfig) else {}
    if others := [symbol for symbol in named if symbol not in symbols]:
        console.print(
            f"[yellow]parameters of {', '.join(others)} are not used: traded here are {', '.join(symbols)}[/]"
        )


def check_gaps(gaps: str) -> None:
    """Refuse an unknown policy for missing bars."""
    if gaps not in ("refuse", "flat"):
        raise ConfigError(f"--gaps {gaps}: refuse or flat")


def matching_modes(parameters: GridConfig, intrabar: str, detailed: bool) -> tuple[GridConfig, list[GridConfig]]:
    """Return the parameters of the run, and those of the runs to compare it with for ``--intrabar all``."""

    def by(mode: str) -> GridConfig:
        return parameters.model_copy(update={"intrabar": mode})

    if intrabar not in ("", "all", *MODES):
        raise ConfigError(f"--intrabar {intrabar}: one of {', '.join(MODES)}, all")
    if not intrabar:
        chosen = "detail" if detailed and "intrabar" not in parameters.model_fields_set else parameters.intrabar
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


class MarketFiles(NamedTuple):
    """The files that a command names, and how their candles are read."""

    data: Sequence[str] = ()
    funding: Sequence[str] = ()
    mark: Sequence[str] = ()
    detail: Sequence[str] = ()
    gaps: str = "refuse"
    interval: str = STRATEGY_INTERVAL
    resample: str = ""


def read_symbols(files: MarketFiles, console: Console) -> list[SymbolData]:
    """Return the candles of each symbol and its other files; where none are named the sample market, with a notice.

    The candles are read once, here: a pipe cannot be read again.
    """
    data, funding, mark, detail, gaps, interval, resample = files
    check_gaps(gaps)
    if data:
        traded = resample or interval
        if interval_ms(traded) != BAR_MS:
            console.print(
                f"[yellow]bars of {traded}: the definition is of 15m, and counts a day as 96 bars and an age from a "
                "close 15 minutes after the open[/]"
            )
        pairs = pair_files(data, funding, mark, detail)
        return [replace(one, candles=_candles(one, gaps, interval, resample)) for one in pairs]
    if funding or mark or detail:
        raise ConfigError("--funding, --mark and --detail belong to --data; give the candles too")
    if resample or interval != STRATEGY_INTERVAL:
        raise ConfigError("--interval and --resample belong to --data; give the candles too")
    console.print(f"[bold yellow]{NOTICE}[/]")
    market = sample_market()
    return [SymbolData(SYMBOL, market.candles, market.funding)]


def read_feeds(
    symbols: Sequence[SymbolData],
    gaps: str,
    first: date | None,
    last: date | None,
    console: Console,
    rules: Path | None = None,
    config: GridConfig | None = None,
    warm_up: int = LONGEST_MEMORY_BARS,
) -> list[CandleFeed]:
    """Read and check the data, and print the notices about it.

    Parameters
    ----------
    first : where trading begins; up to `warm_up` bars before it are read as history.
    rules : file of filters or brackets in place of the packaged table.
    config : parameters of the strategy, to print where the history before `first` is too short for them.
    """
    check_gaps(gaps)
    feeds = make_feeds(symbols, gaps, first, last, warm_up)
    for feed in feeds:
        found = notices(feed, rules)
        if first is not None and config is not None:
            found += late_start(feed, config)
        for notice in found:
            console.print(f"[yellow]{notice}[/]")
    for doubt in doubts(feeds):
        console.print(f"[yellow]{doubt}[/]")
    return feeds


def files_read(feeds: Sequence[CandleFeed]) -> list[SymbolData]:
    """Return what feeds have read, to make feeds of the same data again."""
    return [SymbolData(feed.p.name, feed.candles, feed.p.funding, feed.p.mark, feed.p.detail) for feed in feeds]


def _candles(one: SymbolData, gaps: str, interval: str, resample: str) -> CandleTable:
    return read_candles(one.candles, interval=interval, gaps=gaps, name=one.symbol, resample=resample)


def print_files(feeds: Sequence[CandleFeed], console: Console) -> None:
    """Print a sentence on what was understood of each file of the feeds."""
    for feed in feeds:
        others = (table for table in (feed.p.funding, feed.p.mark, feed.p.detail) if table is not None and table.note)
        for note in (feed.candles.note, *(f"{feed.p.name} {table.note}" for table in others)):
            if note:
                console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def late_start(feed: CandleFeed, config: GridConfig) -> list[str]:
    """Return a notice if there is less history before ``--from`` than a config needs, else nothing."""
    needed = warm_up_bars(config) - 1
    before = f"{feed.p.name}: {feed.lead:,} bars of history before --from"
    if feed.lead < needed:
        return [f"{before}, the indicators need {needed:,}: trading begins {needed - feed.lead:,} bars later"]
    needed = history_bars(config) - 1
    if feed.lead < needed:
        return [f"{before}, the mixture needs {needed:,}: the regime is NOISE until it can be fitted"]
    return []


def notices(feed: CandleFeed, rules: Path | None = None) -> list[str]:
    """Return the notices about a feed that limit what its result means; `rules`: a file of filters or brackets."""
    texts = list(feed.warnings)
    if feed.candles.filled:
        texts.append(f"{feed.p.name}: {feed.candles.filled:,} missing bars were filled flat, without volume")
    market = load_market_history(feed.p.name, rules, feed.prices).at(0)
    if has_tick_of_prices(market):
        texts.append(
            f"{feed.p.name}: no filters known: tick {market.tick:g} by the prices of the candles, and cautious "
            f"defaults: lot {market.step}, least notional {market.min_notional}"
            + "; a pipe tells no symbol: write --data BTCUSDT=<(...) for those of BTCUSDT"
            * (feed.p.name == OF_PIPE)
        )
    return texts


def pair_files(
    data: Sequence[str], funding: Sequence[str], mark: Sequence[str], detail: Sequence[str] = ()
) -> list[SymbolData]:
    """Bring the files of each symbol together; the symbol is named, or told by the file's name."""
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


def parse_time(option: str, text: str) -> date | None:
    """Return a day or a UTC time, None for an empty text."""
    if not text:
        return None
    try:
        return day_or_time(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: write a day like 2024-01-31 or a time like 2024-01-31T12:00") from None


def _by_symbol(option: str, texts: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        named, path = _parted(text)
        if not path.name:
            raise ConfigError(f"{option} {text}: expected FILE or SYMBOL=FILE")
        symbol = named or symbol_at(path)
        if not named and not (symbol.isalnum() and re.search("[A-Z]{2}", symbol)) and path.is_fifo():
            symbol = OF_PIPE
        elif not named and not (symbol.isalnum() and re.search("[A-Z]{2}", symbol)):
            raise ConfigError(f"{option} {text}: its name tells no symbol; write SYMBOL={path}, such as BTCUSDT={path}")
        symbol = exchange_symbol(symbol)
        if symbol in files:
            raise ConfigError(f"{option} {text}: {symbol} has {files[symbol]} already; write SYMBOL=FILE")
        files[symbol] = path
    return files


def _parted(text: str) -> tuple[str, Path]:
    """Return symbol and path of SYMBOL=FILE, an empty symbol of a FILE, in whose folders may be a = too."""
    name, equals, rest = text.partition("=")
    if not equals or os.path.lexists(text) or re.split(r"[/\\]", name)[-1].lower() in HIVE_KEYS:
        return "", Path(text)
    if not name.strip() or not rest:
        return "", Path()
    return name.strip(), Path(rest)
