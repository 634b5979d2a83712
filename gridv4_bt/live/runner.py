"""One live session from lock to shut-down: what is read at the start, saved at every bar, done at the end."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import backtrader as bt
import ccxt
import filelock
import numpy as np

from brokers.live import LiveHedgeBroker
from feeds.live import CandleSource, LiveFeed
from gridv4_bt.config import GridConfig, backtrader_params, config_as_toml
from gridv4_bt.core.time import BAR_MS, iso
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.market import Market, exchange_symbol, load_market
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.live.bookkeeper import Bookkeeper
from gridv4_bt.live.clock import Clock
from gridv4_bt.live.connection import Connection, MarketQuestions, Refused, Unreachable
from gridv4_bt.live.executor import Executor
from gridv4_bt.live.first_stop import Guard
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.live_strategy import LiveGrid
from gridv4_bt.live.logger import SessionLog
from gridv4_bt.live.monitor import Limits, Monitor
from gridv4_bt.live.own_orders import Standing
from gridv4_bt.live.reconciliation import Reconciler
from gridv4_bt.live.state import StateFile
from gridv4_bt.record.run_record import SymbolRecord
from strategies.snapshot import take_snapshot

logger = logging.getLogger("gridv4.live")
#: At a restart history begins where it began first, so that the indicators are the same, but never earlier than this:
#: what is older than so many bars no indicator remembers.
_LONGEST_HISTORY = 10_000
#: Bars of history before the first decision, by regime filter, from which on longer ones decide alike.
_HISTORY = {"kama": 1_000, "gmm": 4_000}
_LAST_TRIES_S = (1.0, 2.0, 4.0)  # pauses before entries are cancelled once more at the end
_BOT_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass
class Place:
    """Where a session trades, and by what."""

    name: str  #: such as ``paper`` or a host; states of another place are foreign
    client: ccxt.Exchange
    clock: Clock
    stop: threading.Event
    watch: float = 0.0  #: seconds between looks for legs without a stop; 0: at candles only


@dataclass(frozen=True)
class Plan:
    """What a session is to do."""

    symbols: Sequence[str]  #: the exchange's names
    config: GridConfig
    folder: Path  #: state directory
    once: bool = False  #: stop after one decision, leaving everything as it stands
    limits: Limits = field(default_factory=Limits)


class Session:
    """One session of one bot. Use as a context manager: the state directory is locked inside.

    Parameters
    ----------
    notify : told of alerts, see `gridv4_bt.live.monitor.notifier`.
    on_bar : called after each bar that was decided, with the symbol.
    """

    def __init__(
        self,
        plan: Plan,
        place: Place,
        notify: Callable[[str, str], None],
        on_bar: Callable[[str], None] = lambda symbol: None,
    ) -> None:
        self.plan = plan
        self.place = place
        self.clock = place.clock
        self.bars = 0  #: decided in this session
        self._on_bar = on_bar
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(plan.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ConfigError(f"{plan.folder}: another bot works here; stop it, or name another --state-dir") from None
        self._file = StateFile(plan.folder, place.name)
        loaded = self._file.load()
        self.saved = loaded.content
        saved = self.saved or {}
        self.log = SessionLog(plan.folder, saved.get("files", {}), len(plan.symbols) > 1)
        self.monitor = Monitor(plan.folder, plan.limits, notify)
        for notice in loaded.notices:
            self.event("alert", what="state_set_aside", text=notice)
        self.journal = Journal(plan.folder)
        self.bot = saved.get("bot") or "g4" + "".join(secrets.choice(_BOT_LETTERS) for _ in range(4))
        self._decisions: dict[str, dict[str, Any]] = saved.get("strategies", {})
        self._first: dict[str, int] = saved.get("first", {})  # open time of the first bar of history, by symbol
        self._is_watched = False  # by the dead man's switch
        self._trades_written = 0
        self._journaled = 0  # number of the newest record that the state before the newest knows
        self.connection = Connection(place.client, place.clock, self.event)
        self.reconciler: Reconciler | None = None
        self.broker: LiveHedgeBroker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.journal.close()
        self.log.close()
        self._lock.release()

    def event(self, kind: str, **fields: Any) -> None:
        """Note what happened, and alert a person where that is called for."""
        self.log.event(kind, clock=iso(self.clock.now()), **fields)
        self.monitor.event(kind, **fields)

    def halted(self, text: str) -> None:
        """Tell a person that the session cannot go on, even if it cannot be written down."""
        try:
            self.event("alert", what="halted", text=text)
        except OSError:
            self.monitor.alert("halted", text=text)

    # --- start

    def connect(self) -> Executor:
        """Read the markets and set the clock; changes nothing at the exchange.

        Raises
        ------
        LiveError
            The exchange refuses the keys, or lists a symbol no more.
        Unreachable
            It does not answer.
        """
        executor = Executor(self.connection, self._read_markets)
        self.connection.resync()
        return executor

    def prepare(self) -> None:
        """Connect, verify the account's modes, and take up what the session before has left."""
        executor = self.connect()
        executor.set_up(self.plan.config.leverage)
        now = self.clock.now()
        self.reconciler = Reconciler(executor, self.journal, self.bot, self.event, since=now)
        self.reconciler.restore(((self.saved or {}).get("broker") or {}).get("desk"))
        cash = executor.wallet()
        if not cash > 0.0 and self.saved is None:
            raise ConfigError("the futures wallet holds no USDT: transfer some to it first")
        (self.plan.folder / "config.toml").write_text(config_as_toml(self.plan.config), encoding="utf-8")
        self.event(
            "session",
            place=self.place.name,
            bot=self.bot,
            symbols=list(self.plan.symbols),
            wallet=cash,
            time=iso(now),
            resumed=self.saved is not None,
        )
        self._tell_left_alone()
        self._guard = Guard(self.reconciler, self.plan.config.stop2_atr, self.event)
        if self.place.watch:
            self.clock.every(self.place.watch, self._guard.look)
        self._cerebro = self._make_cerebro(executor, cash)

    def run(self) -> None:
        """Trade until the session is asked to stop or the market ends.

        Raises
        ------
        LiveError
            Nothing can be done without a person.
        """
        self._cerebro.run()
        if not self.plan.once:
            self.stop_adding()

    def stop_adding(self) -> None:
        """Take back all entries; exits and stops stay where they are.

        Raises
        ------
        Unreachable
            Some entries may still stand; a next session takes them up.
        """
        for pause in (0.0, *_LAST_TRIES_S):
            time.sleep(pause)  # the session's clock waits no more
            left = self.reconciler.stop_adding(self.plan.symbols)
            if not left:
                break
        if self._is_watched:
            self._sign_of_life(0)  # else it would take the exits, too
        self.save()
        self.event("session", place=self.place.name, stopped=True, bars=self.bars)
        if left:
            raise Unreachable(f"{left} entries could not be cancelled and may be filled: cancel them there")

    def flatten(self) -> None:
        """Cancel the bot's orders and close what the account holds of its symbols; booked at the next start."""
        self.reconciler.poll(self.plan.symbols)
        failed = []
        for symbol in self.plan.symbols:
            try:
                self.reconciler.order_sync.flatten(symbol)
            except LiveError as failure:
                failed.append(str(failure))
        if failed:
            raise LiveError(" ".join(failed))
        self.event("session", place=self.place.name, flattened=True)

    def watch_over(self, seconds: int) -> None:
        """Let the exchange cancel all plain orders of our symbols if no sign of life comes for a while.

        It cancels entries and exits; conditional orders, so the stops, stay. Renewed three times within the span, and
        called off when the session stops in order.
        """
        self._is_watched = True
        self._sign_of_life(seconds)
        self.clock.every(seconds / 3.0, lambda: self._sign_of_life(seconds))

    def _sign_of_life(self, seconds: int) -> None:
        for symbol in self.plan.symbols:
            try:
                self.reconciler.executor.sign_of_life(symbol, seconds)
            except (Refused, Unreachable, LiveError) as failure:
                self.event("alert", what="dead_man", symbol=symbol, text=str(failure))

    # --- what a strategy reports

    def saved_decision(self, symbol: str) -> dict[str, Any] | None:
        """Return bar and snapshot of the last decision of the session before."""
        return self._decisions.get(symbol)

    def decided(self, strategy: LiveGrid, bar: int) -> None:
        """Record a decision: everything is on the disk before anything is sent."""
        symbol = strategy.market.symbol
        self._decisions[symbol] = {"bar": bar, "snapshot": take_snapshot(strategy)}
        row = np.array(strategy.log[-len(LOG_COLUMNS) :])
        self._write_records(symbol, row)
        self.save()
        self.bars += 1
        figures = dict(zip(LOG_COLUMNS, row.tolist(), strict=True))
        self.monitor.bar(figures, self.connection.calls, self.connection.failures)

    def carried_out(self, strategy: LiveGrid) -> None:
        """Note that the exchange stands as decided."""
        self._guard.decided(strategy.market.symbol, strategy.atr[0])
        figures = self.monitor.figures
        adding = self.reconciler.order_sync.adding
        self.monitor.beat(time=self.clock.now(), bars=self.bars, equity=figures.get("equity"), adding=adding)
        if figures:  # else this bar was decided by the session before
            self._on_bar(strategy.market.symbol)
        if self.plan.once:
            self.place.stop.set()

    def save(self) -> None:
        """Write the state."""
        begun = self.broker is not None and self.broker.has_begun  # else its books are still empty
        self._file.save(
            {
                "bot": self.bot,
                "first": self._first,
                "strategies": self._decisions,
                "broker": self.broker.to_json() if begun else (self.saved or {}).get("broker"),
                "files": self.log.sizes(),
            }
        )
        self.journal.forget_until(self._journaled)
        self._journaled = self.journal.last

    # ---

    def _tell_left_alone(self) -> None:
        """Tell of symbols that were traded here before, are not any more, and have orders or positions still."""
        books = ((self.saved or {}).get("broker") or {}).get("books", {})
        held = {symbol for symbol, book in books.items() if any(leg["fills"] for leg in book["legs"])}
        ordered = {order.key.symbol for order in self.reconciler.orders if order.standing is not Standing.DONE}
        for symbol in sorted((held | ordered) - set(self.plan.symbols)):
            self.event(
                "alert",
                what="left_alone",
                symbol=symbol,
                text=f"{symbol} was traded here and is not any more; nobody looks after its orders and positions",
            )

    def _read_markets(self) -> dict[str, Market]:
        self.connection.ask(lambda: self.place.client.load_markets(True))
        exchange = MarketQuestions(self.connection)
        rules = {symbol: exchange.rules(symbol) for symbol in self.plan.symbols}
        path = self.plan.folder / "markets.json"  # in the shape of the packaged table
        path.write_text(json.dumps({"symbols": rules}, indent=1) + "\n", encoding="utf-8")
        return {symbol: load_market(symbol, path) for symbol in rules}

    def _write_records(self, symbol: str, row: np.ndarray) -> None:
        closed = self.broker.account.closed
        self.log.trades(closed[self._trades_written :])
        self._trades_written = len(closed)
        nothing = np.empty(0)
        self.log.equity(
            SymbolRecord(
                symbol, "", 1, row.reshape(1, -1), nothing, np.empty((0, 0), np.uint8), np.empty((0, 3)), trades=[]
            )
        )

    def _make_cerebro(self, executor: Executor, cash: float) -> bt.Cerebro:
        config = self.plan.config
        values = config.model_dump()
        cerebro = bt.Cerebro(stdstats=False)
        self.broker = LiveHedgeBroker(
            cash=cash,
            markets=executor.markets,
            exchange=Bookkeeper(self.reconciler),
            saved=(self.saved or {}).get("broker"),
            **{name: values[name] for name, _ in backtrader_params("exchange")},
        )
        cerebro.setbroker(self.broker)
        end = self.clock.now() // BAR_MS * BAR_MS
        for symbol in self.plan.symbols:
            source = CandleSource(self.place.client, executor.unified(symbol), self.clock, self.event)
            first = max(self._first.get(symbol, end), end - _LONGEST_HISTORY * BAR_MS)
            if (end - first) // BAR_MS <= config.warm_up:  # a new symbol, or a config that needs a longer history
                first = 0
            feed = LiveFeed(
                source=source, since=first, known=tuple(self.log.candles(symbol)), on_candle=self._received, name=symbol
            )
            cerebro.adddata(feed)
            cerebro.addstrategy(LiveGrid, symbol=symbol, session=self, **values)
        return cerebro

    def _received(self, symbol: str, candle) -> None:
        self._first[symbol] = min(self._first.get(symbol, candle.time), candle.time)
        self.log.candle(symbol, candle)


def with_history(config: GridConfig) -> GridConfig:
    """Return a config whose warm-up lets all averages forget where they began.

    A backtest of the recorded candles by this config begins to trade at the very same bar.
    """
    bars = _HISTORY["gmm" if config.regime == "gmm" else "kama"]
    return config.model_copy(update={"warm_up": max(config.warm_up, bars)})


def names(symbols: Sequence[str]) -> list[str]:
    """Return the exchange's names of symbols, each once.

    Raises
    ------
    MarketError
        One is no linear perpetual.
    """
    return list(dict.fromkeys(map(exchange_symbol, symbols)))
