"""The command line of `gridv4 exchange`."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from feeds.candles import CandleFeed
from feeds.exchange import MarketDataClient, make_client
from gridv4_bt.cli.common import check_cash
from gridv4_bt.cli.download import Downloads, read_market
from gridv4_bt.cli.layers import read_parameters
from gridv4_bt.cli.market_options import STRATEGY_INTERVAL, MarketFiles, parse_time, print_files, read_feeds
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
    Symbols,
    Venue,
)
from gridv4_bt.core.time import BAR_MS, DAY_MS, moment, time_ms
from gridv4_bt.engine.market import check_tick, has_tick_of_prices, load_market_history
from gridv4_bt.engine.warm_up import history_bars, with_live_history
from gridv4_bt.errors import ConfigError
from gridv4_bt.exchange.api import KEY, SECRET, Api, open_api
from gridv4_bt.exchange.faults import read_faults
from gridv4_bt.exchange.public_feed import PublicFeed
from gridv4_bt.exchange.replay_clock import RunningClock
from gridv4_bt.exchange.server import Server, serve

Port = Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65_535)]
Speed = Annotated[
    float, typer.Option(help="Seconds of the market in a second; 0: it stands still until it is told to go on.")
]
Participation = Annotated[
    float, typer.Option(help="Share of a bar's volume that resting orders get; 0 fills all of them whole.")
]


def run_exchange(
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
    start: Annotated[
        str, typer.Option("--from", help="Where trading begins, UTC; the bars before are history. Default: bar 1,500.")
    ] = "",
    end: End = "",
    config: Config = [],
    settings: Settings = [],
    cash: Cash = 10_000.0,
    port: Port = 8_899,
    speed: Speed = 0.0,
    participation: Participation = 0.0,
    database: Annotated[
        Path | None, typer.Option(help="File that keeps the account; what it holds already goes on.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="What goes wrong, TOML or JSON.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the faults, in place of the file's.")] = None,
    live: Annotated[
        list[str], typer.Option("--live", help="Follow the public minutes of BTC/USDT:USDT in real time. Repeat.")
    ] = [],
) -> None:
    """Serve a local Binance USDⓈ-M on 127.0.0.1 that replays candles by the rules of the backtest.

    Without --data it replays the embedded sample market, with --live it follows the real one, minute by minute. The
    real ccxt client trades on it; see the README.
    """
    console = Console()
    check_cash(cash)
    if not 0.0 <= speed < float("inf"):
        raise ConfigError(f"--speed {speed}: must be a number of 0 or more")
    if not 0.0 <= participation <= 1.0:
        raise ConfigError(f"--participation {participation}: must be between 0 and 1")
    parameters = read_parameters(config, settings)
    if detail and "intrabar" not in parameters.model_fields_set:
        parameters = parameters.model_copy(update={"intrabar": "detail"})
    common = {
        "cash": cash,
        "rules": brackets,
        "participation": participation or float("inf"),
        "faults": read_faults(faults, seed) if faults is not None else None,
    }
    feed = None
    if live:
        if data or symbol or start or end or speed or database or parameters.intrabar != "pessimistic":
            raise ConfigError(
                "--live goes with neither --data, --symbol, --from, --to, --speed, --database nor another intrabar"
            )
        # Enough for run_live.py to begin at once.
        history_ms = history_bars(with_live_history(parameters)) * BAR_MS + DAY_MS
        feed = PublicFeed(MarketDataClient(make_client("binanceusdm")), live, history_ms=history_ms)
        feeds = feed.feeds()
        api = open_api(feeds, parameters, start_ms=int(feeds[0].candles.time[-1]), go_on=feed, **common)
        feed.start()
    else:
        first, last = parse_time("--from", start), parse_time("--to", end)
        files = MarketFiles(data, funding, mark, detail, gaps, interval, resample)
        history = history_bars(with_live_history(parameters))
        symbols, brackets = read_market(
            files, Downloads(symbol, exchange, cache_dir), first, last, history, brackets, console
        )
        feeds = read_feeds(symbols, gaps, None, last, console, brackets)
        with _rules(feeds, brackets) as common["rules"]:
            api = open_api(
                feeds,
                parameters,
                start_ms=None if first is None else time_ms(first),
                database=database,
                go_on=RunningClock(speed) if speed else None,
                **common,
            )
    try:
        serve(Server(api, port), lambda url: _introduce(url, api, feeds, console))
        console.print("stopped")
    finally:
        api.close()
        if feed is not None:
            feed.stop()


@contextmanager
def _rules(feeds: Sequence[CandleFeed], brackets: Path | None) -> Iterator[Path | None]:
    """Yield the file of rules for these feeds: where a symbol is unknown, one with the tick that its prices keep to."""
    markets = [load_market_history(feed.p.name, brackets, feed.prices).at(0) for feed in feeds]
    if not any(map(has_tick_of_prices, markets)):
        yield brackets
        return
    symbols = {}
    for feed, market in zip(feeds, markets, strict=True):
        check_tick(market, float(feed.candles.close.max()))
        facts = {name: getattr(market, name) for name in ("tick", "step", "min_qty", "min_notional")}
        rows = zip(market.brackets, market.max_leverages, strict=True)
        facts["brackets"] = [[row.floor, row.cap, row.rate, row.amount, leverage] for row, leverage in rows]
        filters, _, margins = market.as_of.partition("; brackets ")
        symbols[market.symbol] = facts | {"filters_as_of": filters, "brackets_as_of": margins}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "markets.json"
        path.write_text(json.dumps({"symbols": symbols}), encoding="utf-8")
        yield path


def _introduce(url: str, api: Api, feeds: Sequence[CandleFeed], console: Console) -> None:
    exchange = api.exchange
    console.print(
        f"local Binance USDⓈ-M at {url} with {', '.join(exchange.books)}, wallet {exchange.ledger.wallet:,.2f} USDT\n"
        f"the market stands at {moment(exchange.now)} UTC; its candles end at {moment(exchange.replay.end)}\n"
        f"key {KEY!r}, secret {SECRET!r}\n\n"
        "    from gridv4_bt.exchange.client import ServerClock, sync_client\n\n"
        f'    clock = ServerClock("{url}")\n'
        f'    client = sync_client("{url}", clock.now)\n'
        "    clock.next_bar()          # without --speed the market waits for this\n\n"
        "Ctrl-C ends it",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    print_files(feeds, console)
