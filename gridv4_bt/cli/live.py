"""The command line of `gridv4 live`, which is also `run_live.py`."""

import errno
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from feeds.history import History
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.cli.common import INTERRUPTED, check_cash, print_json, run_app
from gridv4_bt.cli.download import Downloads, load_symbols, market_rules
from gridv4_bt.cli.examples import epilog
from gridv4_bt.cli.layers import LayeredCommand, read_strategy
from gridv4_bt.cli.market_options import (
    STRATEGY_INTERVAL,
    MarketFiles,
    parse_time,
    print_files,
    print_notes,
    print_untraded,
    read_feeds,
    read_symbols,
)
from gridv4_bt.cli.options import (
    CacheDir,
    Cash,
    Config,
    Data,
    Funding,
    Gaps,
    Interval,
    Mark,
    Quiet,
    Resample,
    Settings,
    Strategy,
    Venue,
)
from gridv4_bt.config import OF_ANY_STRATEGY, GridConfig
from gridv4_bt.core.time import BAR_MS, end_ms, time_ms
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.warm_up import history_bars, with_live_history, with_own_history
from gridv4_bt.errors import ConfigError, GridV4Error, LiveError, StrategyError
from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.live import systemd
from gridv4_bt.live.abilities import lacking
from gridv4_bt.live.ccxt_client import make_client
from gridv4_bt.live.ccxtbt_package import ccxtbt_store, require_ccxtbt
from gridv4_bt.live.clock import WallClock
from gridv4_bt.live.connection import Connection, Refused, Unreachable
from gridv4_bt.live.dead_man import DEFAULT_S
from gridv4_bt.live.gateway import Gateway, SessionPlan, exchange_symbols
from gridv4_bt.live.kept_parameters import NEW_DEFAULTS, KeptParameters, kept_parameters, kept_strategy
from gridv4_bt.live.keys import KEY, SECRET, read_keys, read_settings
from gridv4_bt.live.monitor import NOTIFY, notifier, send_test
from gridv4_bt.live.owner_messages import Messages
from gridv4_bt.live.paper import PaperClock, gateway_at, paper_gateway, server_gateway
from gridv4_bt.live.preflight import Finding, run_preflight
from gridv4_bt.live.prometheus import serve_metrics
from gridv4_bt.live.runner import Session
from gridv4_bt.live.state import StateFile
from gridv4_bt.live.status import log_handler, status_display
from gridv4_bt.live.strangers import CHOICES, REFUSE
from gridv4_bt.own_strategy import OwnStrategy
from gridv4_bt.validation.bias import cut, tables

#: Exit codes beside 0 (stopped, or the paper market is over) and 2 (bad input).
SYSTEM_FAILED = 1
NEEDS_A_PERSON = 3
FAILED_CHECK = 4
AS_THEY_WERE = "Orders and stops at the exchange stay as they are."
BARS_A_DAY = 96
_ENV_UNREAD = ".env: is not in UTF-8"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point of `run_live.py`."""
    run_app(app)


def _trace(kind: type[BaseException], bug: BaseException, trace: TracebackType | None) -> None:
    """Write a bug's trace, which may hold the address of a signed request, without it."""
    sys.stderr.write(_without_secrets("".join(traceback.format_exception(kind, bug, trace))))


@app.command(cls=LayeredCommand, epilog=epilog("live"))
def live(
    symbol: Annotated[
        list[str], typer.Option("--symbol", help="Perpetual to trade: BTC/USDT:USDT or BTCUSDT. Repeat for several.")
    ] = [],
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="Trade at a local exchange, without key and network; --symbol or --data: their candles."
        ),
    ] = False,
    data: Data = [],
    funding: Funding = [],
    mark: Mark = [],
    gaps: Gaps = "refuse",
    interval: Interval = STRATEGY_INTERVAL,
    resample: Resample = "",
    exchange: Venue = "binanceusdm",
    speed: Annotated[str, typer.Option(help="Of --paper: how many times faster than real, or max.")] = "max",
    days: Annotated[int, typer.Option(help="Of --paper: how many days are traded.", min=1, max=3660)] = 30,
    start: Annotated[
        str, typer.Option("--from", help="Of --paper: first day traded, UTC; default of --symbol: the latest --days.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Of --paper: last day or time, UTC, in place of --days.")] = "",
    cash: Cash = 10_000.0,
    cache_dir: CacheDir = None,
    demo: Annotated[bool, typer.Option("--demo", help="Trade in the exchange's demo environment.")] = False,
    endpoint: Annotated[
        str,
        typer.Option(
            help="Address to trade at: a local exchange (gridv4 exchange), or any server that speaks Binance's REST "
            "(with your keys)."
        ),
    ] = "",
    config: Config = [],
    setting: Settings = [],
    strategy: Strategy = "",
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where the bot keeps its state and records; default data/live_state, and data/paper_state, "
            "data/demo_state, data/local_state with --paper, --demo, --endpoint."
        ),
    ] = None,
    store: Annotated[str, typer.Option(help="Whose store is used: own, or ccxtbt if it is installed.")] = "own",
    check: Annotated[bool, typer.Option("--check", help="Only look whether everything is in place.")] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Cancel the bot's orders, close its positions, and stop.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Decide at one candle, leave all orders standing, and stop.")
    ] = False,
    dead_man: Annotated[
        int | None,
        typer.Option(
            help="Seconds without a sign of life until the exchange cancels entries and exits (stops stay; exits are "
            "put back at the next contact); 0: never. Default 600, with --paper and --once 0.",
            show_default=False,
        ),
    ] = None,
    max_drift: Annotated[
        float,
        typer.Option(help="Audit once a day and alert beyond this drift, fraction of the start equity; 0: never."),
    ] = 0.0,
    tell_fills: Annotated[
        bool, typer.Option("--tell-fills", help="Send a message of the fills too, one a candle at most.")
    ] = False,
    metrics: Annotated[int, typer.Option(help="Port on 127.0.0.1 for Prometheus; 0: none.", min=0, max=65_535)] = 0,
    foreign_orders: Annotated[
        str,
        typer.Option(
            help="Open orders of another bot of this product: refuse to start, adopt (go on as that bot) or cancel."
        ),
    ] = REFUSE,
    new_defaults: Annotated[
        bool,
        typer.Option(
            "--new-defaults",
            help="Of a session that goes on: take today's defaults for all that is not named, not its config.toml.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Of --check: print the findings as JSON.")] = False,
) -> None:
    """Trade GridStrategyV4 or --strategy live on Binance USDⓈ-M futures, or on paper.

    Keys come from BINANCE_API_KEY and BINANCE_API_SECRET, the addresses of alerts from GRIDV4_NOTIFY, in the
    environment or in .env. Ctrl-C takes back the entries, leaves exits and stops, and saves. Exit codes: 0 stopped, 1
    the system failed, 2 bad input, 3 a person is needed, 4 --check has found something.

    A session that goes on in its state directory keeps the parameters of its config.toml for all that neither --config
    nor --set names; what differs from today's defaults is listed at the start, and --new-defaults takes those.
    """
    sys.excepthook = _trace
    console = Console(quiet=quiet or as_json)
    named, own = read_strategy(strategy, config, setting, console)
    # The exchange of --paper ends with the bot, and --once leaves its orders on purpose.
    span = dead_man if dead_man is not None else 0 if paper or once else DEFAULT_S
    files = MarketFiles(data, funding, mark, (), gaps, interval, resample)
    _check_files(files, symbol, paper)
    market = partial(_paper_market, symbol, files, exchange, start, end, days, cache_dir)
    _check_options(symbol, paper, demo, endpoint, store, span, max_drift, cash, foreign_orders)
    _log_to(console)
    stop = threading.Event()
    kind = "paper" if paper else "demo" if demo else "local" if endpoint else "live"
    folder = state_dir or Path("data") / f"{kind}_state"
    place = endpoint.rstrip("/") if endpoint else {"live": "binance"}.get(kind, kind)
    with ExitStack() as stack:
        stack.enter_context(_state_folder(folder))
        chosen, own = own, kept_strategy(folder, place, own, new_defaults)
        fresh = _with_history(named, own)
        acting = GridConfig.model_fields if own is None else OF_ANY_STRATEGY
        kept = None if new_defaults else kept_parameters(folder, place, named, acting)
        parameters = fresh if kept is None else _with_history(kept.config, own)
        gateway, symbols = stack.enter_context(
            _gateway(
                symbol,
                market if paper else None,
                _speed(speed),
                cash,
                demo,
                endpoint,
                parameters,
                fresh,
                folder,
                stop,
                console,
            )
        )
        gateway, given = _store(gateway, store, demo)
        if kept is not None and StateFile(folder, gateway.name).peek() is None:  # a paper market that was over
            kept, parameters, own = None, _with_history(named, chosen), chosen
        if own is not None and max_drift:
            raise ConfigError("--max-drift compares grids with their backtest; leave it out with --strategy")
        plan = SessionPlan(
            symbols, parameters, folder, once=once, foreign_orders=foreign_orders, grid=own is None, own=own
        )
        differing = {} if kept is None else kept.differing(parameters, fresh)
        if kept is not None:
            _print_kept(kept, differing, console)
        print_notes(parameters, console)
        print_untraded(parameters, symbols, console)
        if check:
            with _failures(lambda text: None, folder):
                _check(plan, gateway, console, as_json)
            return
        notify = stack.enter_context(notifier(*_settings(NOTIFY, console=console)))
        watchers: list[Callable[[str], None]] = []

        def on_bar(one: str) -> None:
            for watch in watchers:
                watch(one)

        session = stack.enter_context(Session(plan, gateway, notify, on_bar, given))
        if kept is not None:
            session.event("parameters", file=str(kept.file), kept=differing, added=kept.added)
        messages = Messages(
            session.monitor, lambda: session.broker.account, partial(notify, level=logging.INFO), tell_fills
        )
        session.monitor.listeners.append(messages.event)
        watchers.append(messages.bar)
        if metrics:
            stack.callback(serve_metrics(session.monitor, metrics, partial(_books, session)))
        with _failures(session.halted, folder, partial(_left, session)):
            if flatten:
                session.prepare()
                session.flatten()
                console.print("flat: all orders of the bot are cancelled and its positions closed")
                return
            with _signals(stop), status_display(console) as show:  # it ends before what is said last
                watchers.append(partial(show, session))
                session.prepare()
                systemd.report_life(session.clock)
                if span:
                    _arm(session, span, console)
                if max_drift:
                    from gridv4_bt.audit.daily import DailyAudit  # loads pandas

                    watchers.append(DailyAudit(session, max_drift).carried_out)
                session.run()
        console.print(f"{session.bars:,} bars traded; state and records are in {folder}/")


def _with_history(config: GridConfig, own: OwnStrategy | None) -> GridConfig:
    """Return a config with the history that a session begins with."""
    return with_live_history(config) if own is None else with_own_history(config)


def _store(gateway: Gateway, name: str, demo: bool) -> tuple[Gateway, Any]:
    """Return the gateway and the store that a session is made of; None: the project's own."""
    return ccxtbt_store(gateway, demo) if name == "ccxtbt" else (gateway, None)


def _arm(session: Session, seconds: int, console: Console) -> None:
    session.arm_dead_man_switch(seconds)
    console.print(
        f"should this bot be gone for {seconds} s, the exchange cancels its entries and exits; stops stay (--dead-man)",
        highlight=False,
    )


def _books(session: Session) -> Account | None:
    """Return the session's books once it has them."""
    broker = getattr(session, "broker", None)
    return None if broker is None else broker.account


def _left(session: Session) -> str:
    """Return what a session that has failed leaves at the exchange."""
    return AS_THEY_WERE if session.ending is None else str(session.ending)


@contextmanager
def _state_folder(folder: Path) -> Iterator[None]:
    """Make the state directory; at the end, what was made of it and is still empty goes again."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"--state-dir {folder}: {error.strerror}; name a folder that can be written") from None
    try:
        yield
    finally:
        with suppress(OSError):  # not empty
            for one in made:
                one.rmdir()


@contextmanager
def _failures(
    alert: Callable[[str], None], folder: Path, left: Callable[[], str] = lambda: AS_THEY_WERE
) -> Iterator[None]:
    """Alert and print why a session cannot go on, and end the program with the exit code of the failure.

    Parameters
    ----------
    alert : called with the text.
    left : returns what is left at the exchange.
    """
    code = SYSTEM_FAILED  # it may pass by itself: a supervisor starts again
    try:
        yield
        return
    except LiveError as failure:
        code, text = NEEDS_A_PERSON, f"{failure} {left()}"
    except Unreachable as failure:
        text = f"the exchange does not answer ({failure}): check the network, then start again."
        text += "" if str(failure) == left() else f" {left()}"
    except Refused as failure:
        text = f"the exchange refuses ({failure}): see to it, then start again. {left()}"
    except OSError as failure:
        what = f"{failure.filename or folder}: {failure.strerror or failure}"
        text = f"{what}. See to it, then start again. {left()}"
    except StrategyError as failure:
        text = f"{failure}. Correct it, then start again. {left()}"
    except GridV4Error as failure:
        alert(str(failure))
        raise
    except Exception as failure:
        alert(f"{type(failure).__name__}: {_without_secrets(str(failure))}. This is a bug. {left()}")
        raise
    except KeyboardInterrupt:
        typer.echo("ended at once: orders stand as they were; the state of the last bar is saved", err=True)
        raise SystemExit(INTERRUPTED) from None
    text = " ".join(text.split())
    alert(text)
    typer.echo(f"halted: {text}", err=True)
    raise typer.Exit(code)


def _check_options(
    symbol: list[str], paper: bool, demo: bool, endpoint: str, store: str, dead_man: int, max_drift: float,
    cash: float, foreign_orders: str,
) -> None:  # fmt: skip
    check_cash(cash)
    if foreign_orders not in CHOICES:
        raise ConfigError(f"--foreign-orders {foreign_orders}: {', '.join(CHOICES)}")
    if paper + demo + bool(endpoint) > 1:
        raise ConfigError("--paper, --demo and --endpoint name different places; give one")
    if not symbol and not paper:
        raise ConfigError("--symbol is missing: name what to trade, or try --paper first")
    if store not in ("own", "ccxtbt"):
        raise ConfigError(f"--store {store}: own or ccxtbt")
    if store == "ccxtbt":
        require_ccxtbt()
    if endpoint and not re.fullmatch(r"https?://[^/\s]+", endpoint.rstrip("/")):
        raise ConfigError(f"--endpoint {endpoint}: expected an address such as http://127.0.0.1:8899")
    if dead_man and not 15 <= dead_man <= 3600:
        raise ConfigError(f"--dead-man {dead_man}: 15 to 3600 seconds, or 0 for none")
    if not 0.0 <= max_drift < float("inf"):
        raise ConfigError(f"--max-drift {max_drift}: a fraction of the start equity, or 0 for no audit")


def _speed(text: str) -> float:
    if text == "max":
        return float("inf")
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        raise ConfigError(f"--speed {text}: a number above 0, or max")
    return speed


@contextmanager
def _gateway(
    symbol: list[str], market: "Callable[[GridConfig, Console], tuple[list[SymbolData], Path | None]] | None",
    speed: float, cash: float, demo: bool, endpoint: str, config: GridConfig, anew: GridConfig,
    folder: Path, stop: threading.Event, console: Console,
) -> Iterator[tuple[Gateway, list[str]]]:  # fmt: skip
    """Yield the gateway of the session and the exchange's names of the symbols.

    `market` returns the candles of a paper market. `config` is that of a session that goes on, `anew` of a new one.
    """
    if market is not None:
        data, rules = market(config, console)
        feeds = make_feeds(data)
        markets = {feed.p.name: load_market_history(feed.p.name, rules, feed.prices) for feed in feeds}
        with paper_gateway(feeds, markets, config, cash, stop, speed, folder, anew) as gateway:
            yield gateway, list(markets)
        return
    if endpoint:
        endpoint = endpoint.rstrip("/")
        names = exchange_symbols(symbol)
        try:
            clock = PaperClock(ServerClock(endpoint), speed, stop)
        except (ValueError, LookupError):  # it has no clock of ours
            yield _other_server(endpoint, names, stop, console), names
            return
        except OSError:
            cause = "no server answers there; start a local exchange with gridv4 exchange"
            raise OSError(errno.ECONNREFUSED, cause, f"--endpoint {endpoint}") from None
        yield gateway_at(endpoint, clock, stop, name=endpoint), names
        return
    try:
        keys = read_keys(Path.cwd())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{_ENV_UNREAD} (byte {error.start}): save it as UTF-8") from None
    client = make_client(keys, demo=demo)
    yield Gateway("demo" if demo else "binance", client, WallClock(stop), stop), exchange_symbols(symbol)


def _other_server(endpoint: str, symbols: list[str], stop: threading.Event, console: Console) -> Gateway:
    """Return the gateway to a server that is not our local exchange; print what it lacks.

    Raises
    ------
    ConfigError
        It does not speak Binance's REST, or lacks something that a session needs.
    """
    gateway = server_gateway(endpoint, read_keys(Path.cwd()), stop)
    connection = Connection(gateway.client, gateway.clock, lambda kind, **fields: None)
    try:
        connection.resync()
        missing = lacking(
            connection,
            symbols[0],
            lambda one: console.print(f"[yellow]{endpoint} has no {one.path}: {one.without}[/]", highlight=False),
        )
    except (Unreachable, Refused, LiveError) as failure:
        raise ConfigError(f"--endpoint {endpoint}: it does not answer as Binance's REST does ({failure})") from None
    if missing:
        raise ConfigError(f"--endpoint {endpoint}: it lacks {', '.join(missing)}, which a session needs")
    return gateway


def _check_files(files: MarketFiles, symbol: list[str], paper: bool) -> None:
    named = any((files.data, files.funding, files.mark))
    if named and not paper:
        raise ConfigError("--data and its companions are the market of --paper; give --paper too")
    if named and symbol:
        raise ConfigError("--symbol downloads its data; give either --symbol, or --data with its companions")
    if not files.data and (files.resample or files.interval != STRATEGY_INTERVAL):
        raise ConfigError("--interval and --resample belong to --data; give the candles too")


def _paper_market(
    symbol: list[str],
    files: MarketFiles,
    exchange: str,
    start: str,
    end: str,
    days: int,
    cache_dir: Path | None,
    config: GridConfig,
    console: Console,
) -> tuple[list[SymbolData], Path | None]:
    """Return the candles of a paper market, no further than it trades, and the file of its filters if there is one."""
    rules = None
    first, last = parse_time("--from", start), parse_time("--to", end)
    if symbol:
        histories = _paper_candles(symbol, first, last, days, config, Downloads(symbol, exchange, cache_dir), console)
        data = [SymbolData(one.symbol, one.candles, one.funding, one.mark) for one in histories]
        rules = market_rules(histories)
    else:
        data = read_symbols(files, console)
    feeds = read_feeds(data, files.gaps, None, None, console, rules)
    print_files(feeds, console)
    history = history_bars(config)
    # A paper market decides at the last of its bars of history: the first of the span.
    since = None if first is None else time_ms(first)
    data = tables(feeds, since, None if last is None else end_ms(last), history - 1)
    bars = min(len(one.candles) for one in data)
    if last is None:
        bars = min(bars, history + BARS_A_DAY * days)
    last_ms = min(int(one.candles.time[bars - 1]) for one in data)
    return [cut(one, None, last_ms + 1) for one in data], rules


def _paper_candles(
    symbol: list[str],
    first: date | None,
    end: date | None,
    days: int,
    config: GridConfig,
    downloads: Downloads,
    console: Console,
) -> list[History]:
    """Download the candles of a paper market: the days traded, and the history of its indicators before them.

    Where a symbol has less history before ``--from``, trading begins later and ends as much later.
    """
    places = {"exchange": downloads.exchange, "cache_dir": downloads.cache_dir}
    history = history_bars(config) - 1  # a paper market decides at the last of its bars of history: the span's first
    traded = timedelta(milliseconds=BAR_MS * BARS_A_DAY * days - BAR_MS)
    if first is None:
        wanted = traded + timedelta(milliseconds=BAR_MS * (history + 2))
        now = datetime.now(UTC) if end is None else datetime.fromtimestamp(end_ms(end) / 1000.0, UTC)
        first = (now - wanted).date()
        last = _midnight(first) + wanted - timedelta(milliseconds=BAR_MS)
        return load_symbols(symbol, first, last if end is None else end, console, **places)

    def load(missing: int) -> list[History]:
        last = _midnight(first) + traded + timedelta(milliseconds=BAR_MS * missing)
        return load_symbols(symbol, first, last if end is None else end, console, warm_up=history, **places)

    histories = load(0)
    begun = max(int(one.candles["time"].iloc[0]) for one in histories)
    held = (time_ms(first) - begun) // BAR_MS
    if held >= history:
        return histories
    console.print(
        f"[yellow]{held:,} bars of history before --from, the indicators need {history:,}: trading begins "
        f"{history - held:,} bars later[/]"
    )
    return load(history - held)


def _midnight(moment: date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time())


def _print_kept(kept: KeptParameters, differing: Mapping[str, tuple[Any, Any]], console: Console) -> None:
    """Print which parameters a session keeps that differ from today's defaults, and which are new."""
    for name, value in kept.added.items():
        console.print(f"{name} = {value}: new since {kept.file} was written, at its default", highlight=False)
    if not differing:
        return
    table = Table("parameter", title=f"kept from {kept.file}; {NEW_DEFAULTS} takes today's defaults")
    table.add_column("kept", justify="right")
    table.add_column("default today", justify="right")
    for name, values in differing.items():
        table.add_row(name, *map(str, values))
    console.print(table)


def _check(plan: SessionPlan, gateway: Gateway, console: Console, as_json: bool) -> None:
    """Run the pre-flight check; it only reads the state directory, in which a bot may be running."""
    saved = StateFile(plan.folder, gateway.name).peek() or {}
    with (
        tempfile.TemporaryDirectory() as empty,
        Session(replace(plan, folder=Path(empty)), gateway, lambda title, text: None) as session,
    ):
        findings = run_preflight(session.connect(), plan.config, saved.get("bot", session.bot))
    if not plan.grid:  # how large orders are and how many is the strategy's own business
        findings = [one for one in findings if not one.name.endswith(("order size", "rate budget"))]
    findings += _check_addresses(*_settings(NOTIFY))
    table = Table("check", "", "found", title=f"{gateway.name}: nothing was changed")
    for finding in findings:
        table.add_row(finding.name, "NO" if not finding.passed else "!" if finding.warns else "ok", finding.text)
    console.print(table)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    if not all(finding.passed for finding in findings):
        raise typer.Exit(FAILED_CHECK)


def _check_addresses(addresses: str) -> list[Finding]:
    """Send a test message to each address of alerts and return the findings."""
    if not addresses.split():
        return [Finding("alerts", True, f"no address in {NOTIFY}: they are logged and go nowhere", warns=True)]
    cure = "it takes no message: is its token still good, does it know this bot?"
    return [
        Finding(f"alerts, address {number}", taken, "a test message was sent" if taken else cure)
        for number, taken in enumerate(send_test(addresses), 1)
    ]


def _settings(*names: str, console: Console | None = None) -> list[str]:
    """Return settings of the environment or .env; of the environment alone, with a notice, if .env is not in UTF-8."""
    try:
        return read_settings(Path.cwd(), *names)
    except UnicodeDecodeError as error:
        if console is not None:
            console.print(f"[yellow]{_ENV_UNREAD} (byte {error.start}) and is left out: save it as UTF-8[/]")
        return [os.environ.get(name, "").strip() for name in names]


def _without_secrets(text: str) -> str:
    for secret in filter(None, _settings(KEY, SECRET)):
        text = text.replace(secret, "...")
    return re.sub(r"signature=\w+", "signature...", text)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Make SIGINT and SIGTERM stop the session after its current step; a second one ends the process at once."""

    def end(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to(console: Console) -> None:
    """Log warnings on a terminal, and every bar elsewhere."""
    for name in ("ccxt", "urllib3", "requests", "apprise"):  # they would write down requests whole
        logging.getLogger(name).setLevel(logging.ERROR)
    log = logging.getLogger("gridv4.live")
    log.handlers.clear()
    log.propagate = False
    log.setLevel(logging.CRITICAL if console.quiet else logging.WARNING if console.is_terminal else logging.INFO)
    log.addHandler(log_handler(console))
