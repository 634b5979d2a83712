"""A live session, from the lock of its state directory to its safe end."""

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self, cast

import backtrader as bt
import numpy as np

from brokers.base import LiveBooks
from brokers.feed_book import FeedBook
from brokers.live import LiveHedgeBroker, Opening
from feeds.live import ClosedCandle, LiveFeed
from gridv4_bt.core.time import BAR_MS, DAY_MS, iso
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.guards import stop2_price
from gridv4_bt.engine.market import Market, load_market
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.warm_up import longest_memory_bars
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.live.account_queries import Position
from gridv4_bt.live.bar_row import bar_row
from gridv4_bt.live.bookkeeper import Bookkeeper
from gridv4_bt.live.commands import Commands
from gridv4_bt.live.connection import MarketQueries, Refused, Unreachable
from gridv4_bt.live.dead_man import DEFAULT_S, RENEWALS, DeadManSwitch
from gridv4_bt.live.decision_row import decision_row
from gridv4_bt.live.executor import Executor
from gridv4_bt.live.folder_lock import FolderLock
from gridv4_bt.live.gateway import Gateway, SessionPlan
from gridv4_bt.live.journal import NAME, Journal, journaled_ids
from gridv4_bt.live.live_decisions import LiveDecisions
from gridv4_bt.live.logger import SessionLog
from gridv4_bt.live.monitor import Monitor
from gridv4_bt.live.own_orders import OrderStatus
from gridv4_bt.live.private_files import make_private, write_private
from gridv4_bt.live.protection import Protection
from gridv4_bt.live.reconciliation import Reconciler
from gridv4_bt.live.safe_end import Ending, end_safely
from gridv4_bt.live.state import StateFile
from gridv4_bt.live.strangers import (
    ADOPT,
    REFUSE,
    Stranger,
    cancel_strangers,
    describe,
    last_bot,
    last_generation,
    open_strangers,
    refuse,
)
from gridv4_bt.live.watch import Watch
from gridv4_bt.own_strategy import run_as_toml
from gridv4_bt.record.run_record import SymbolRecord
from strategies.grid_v4 import GridStrategyV4
from strategies.snapshot import take_snapshot

logger = logging.getLogger("gridv4.live")
_CLOCK_PAUSE_S = 3_600.0  # between comparisons of the clock with the exchange's
#: Refusals that contradict what was read about leverage, brackets, filters and modes.
_CONTRADICTIONS = {-2027, -2028, -4028, -4061, -4164, -4003, -4004, -4005, -4014, -4023, -1111}
_BOT_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class LiveSession:
    """One session of one bot, which keeps the state directory locked until it is closed.

    A Cerebro trades in it whose broker opens it (`open`), whose grid strategies report to it (`attend`), and whose end
    is its end (`finish`). Strategies of the user's own decide at every bar; it follows their books.

    Parameters
    ----------
    notify : called with title and text of each alert, see `gridv4_bt.live.monitor.notifier`.
    on_bar : called with the symbol after each decided bar.
    on_end : called once the session has ended in order.
    """

    ending: Ending | None = None  #: what was left at the exchange; None before the end, or if it was not reached
    reconciler: Reconciler  #: made by `prepare`
    commands: Commands  #: made by `prepare`
    broker: LiveHedgeBroker  #: the one that has opened it

    def __init__(
        self,
        plan: SessionPlan,
        gateway: Gateway,
        notify: Callable[[str, str], None],
        on_bar: Callable[[str], None] = lambda symbol: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self._on_end = on_end
        self.gateway = gateway
        self.clock = gateway.clock
        self.bars = 0  #: decided in this session
        self._on_bar = on_bar
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(plan.folder)
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            self._open(notify)
            undo.pop_all()
        saved = self.saved or {}
        self.bot = saved.get("bot") or plan.bot or "g4" + "".join(secrets.choice(_BOT_LETTERS) for _ in range(4))
        self._decisions: dict[str, dict[str, Any]] = saved.get("strategies", {})
        self._first: dict[str, int] = saved.get("first", {})  # open time of the first bar of history, by symbol
        self._switch = DeadManSwitch(saved.get("dead_man"))
        self._kept: dict[str, Any] = self.saved or {}  # the state saved last
        self._atr: dict[str, float] = {}  # at the last decision, quote, by symbol
        self._rules_day = gateway.clock.now() // DAY_MS  # on which they were read last, in days
        self._is_ending = self._is_armed = False
        closed = (saved.get("broker") or {}).get("closed", {"before": 0, "trades": []})
        self._closed_before: int = closed["before"]
        self._trades_written = len(closed["trades"])  # of the broker's closed trades
        self._journaled = 0  # number of the newest journal record that the previous state includes
        self._attended: list[LiveDecisions] = []
        self.connection = gateway.connection
        self.connection.log = self.event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another bot into the state directory."""
        with ExitStack() as closing:
            for close in (self._lock.release, self.log.close, self.journal.close):
                closing.callback(self._try_to_write, close)

    def event(self, kind: str, **fields: Any) -> None:
        """Write an event to the logs and send an alert if it calls for one."""
        if kind == "order_failed" and fields["code"] in _CONTRADICTIONS:
            self._rules_day = -1
        self._try_to_write(lambda: self.log.event(kind, clock=iso(self.clock.now()), **fields))
        self.monitor.event(kind, **fields)
        if kind == "order_vanished" and (since := self._switch.fired(fields["symbol"], self.clock.now())):
            self.event("dead_man_fired", symbol=fields["symbol"], since=iso(since))

    def halted(self, text: str) -> None:
        """Send the alert that the session cannot go on, even if it cannot be written to the logs."""
        try:
            self.event("alert", what="halted", text=text)
        except OSError:
            self.monitor.alert("halted", text=text)

    def _try_to_write(self, write: Callable[[], None]) -> None:
        """Write to the disk; once the session is ending, it may be full."""
        try:
            write()
        except OSError:
            if not self._is_ending:
                raise

    # --- start

    def connect(self) -> Executor:
        """Read the markets and synchronise the clock; change nothing at the exchange.

        Raises
        ------
        LiveError
            The exchange refuses the keys, or does not list a symbol any more.
        Unreachable
            It does not answer.
        """
        executor = Executor(self.connection, self._read_markets)
        self.connection.resync()
        self.clock.on_step = self.connection.check_clock
        return executor

    def prepare(self) -> None:
        """Connect, verify the account's modes and restore the state of the previous session.

        Raises
        ------
        ConfigError
            Another bot of this product has open orders, and `SessionPlan.foreign_orders` does not say what to do.
        """
        self._sit_out_silence()
        executor = self.connect()
        strangers = self._find_name(executor)
        self.reconciler = Reconciler(executor, self.journal, self.bot, self.event, since=self.clock.now())
        self.reconciler.restore(((self.saved or {}).get("broker") or {}).get("desk"))
        with self.safe_end():
            self._settle_strangers(executor, strangers)
            self._prepare(executor)

    def _sit_out_silence(self) -> None:
        """Wait until a ban that the session before was told has passed.

        Raises
        ------
        Unreachable
            The session is to stop before.
        """
        gate = self.connection.gate
        gate.silent_until = (self.saved or {}).get("silent_until", 0)
        gate.on_silence = self._save_silence
        self.connection.is_patient = self.saved is not None
        if gate.is_open:
            return
        self.event("alert", what="silenced", seconds=round(gate.wait()), text="a ban of the session before")
        if not self.clock.wait_until(gate.silent_until):
            raise Unreachable("it wants silence")

    def _save_silence(self, until: int) -> None:
        """Save until when nothing may be sent: a new process must not extend the ban."""
        if self._kept:
            self._keep({"silent_until": until})

    def _find_name(self, executor: Executor) -> list[Stranger]:
        """Return the open orders of other bots; without a state, the name is that of the journal or of their bot."""
        journaled = last_bot(self._lost_ids)
        self.bot = journaled or self.bot
        found = open_strangers(executor.open_orders, {self.bot}, self.plan.symbols)
        names = {one.bot for one in found}
        if journaled is None and self.saved is None and len(names) == 1 and self.plan.foreign_orders == ADOPT:
            [self.bot] = names
        return found

    def _settle_strangers(self, executor: Executor, strangers: Sequence[Stranger]) -> None:
        if self.plan.foreign_orders == REFUSE:
            refuse(strangers)
        reconciler, names = self.reconciler, {one.bot for one in strangers}
        if self.plan.foreign_orders == ADOPT:
            reconciler.names |= names
        elif strangers:
            cancel_strangers(reconciler, strangers)
        if strangers:
            text = f"{self.plan.foreign_orders}: {describe(strangers)}"
            self.event("alert", what="foreign_orders", text=text)
        if self.saved is None and (names or self._lost_ids):
            generation = last_generation(executor, reconciler.names, self.plan.symbols, self._lost_ids)
            sync = reconciler.order_sync
            sync.generation = max(sync.generation, generation)
            text = f"the state of bot {self.bot} is gone; its orders are numbered from {sync.generation} on"
            self.event("alert", what="state_rebuilt", text=text)

    def _prepare(self, executor: Executor) -> None:
        executor.set_up(self.plan.config.leverage)
        now = self.clock.now()
        cash = executor.wallet() or executor.balance() or 0.0  # an empty wallet has no row
        if not cash > 0.0 and self.saved is None:
            raise ConfigError("the futures wallet holds no USDT: transfer some to it first")
        write_private(self.plan.folder / "config.toml", run_as_toml(self.plan.config, self.plan.own))
        self.event(
            "session",
            place=self.gateway.name,
            bot=self.bot,
            symbols=list(self.plan.symbols),
            grid=self.plan.grid,
            wallet=cash,
            time=iso(now),
            resumed=self.saved is not None,
        )
        self._alert_left_alone()
        nearest = self.plan.limits.liquidation
        symbols = self.plan.symbols
        protection = Protection(self.reconciler, symbols, self._stop_price, nearest, self.event)
        self._watch = Watch(self.reconciler, protection, symbols, self._books, self.event)
        saved = self.saved or {}
        known = ((saved.get("broker") or {}).get("desk") or {}).get("journal", 0)
        self.commands = Commands(
            self.plan.folder, self.reconciler, symbols, self._books, self.save, saved.get("commands"), known
        )
        if self.gateway.watch:
            self.clock.every(self.gateway.watch, self._lock.renew, in_pauses=True)
            self.clock.every(self.gateway.watch, self.commands.between)
            decided = {symbol: decision["bar"] for symbol, decision in self._decisions.items()}
            self._watch.start(self.clock, self.gateway.watch, decided)
        self.clock.every(_CLOCK_PAUSE_S, self._check_clock)
        self._cash = cash

    # --- what the broker asks for

    def open(self, broker: LiveHedgeBroker, datas: Sequence[bt.AbstractDataBase]) -> Opening:
        """Let a broker and its feeds trade in the session, once it is prepared."""
        self.broker = broker
        saved = (self.saved or {}).get("broker")
        booked = {symbol: book["bar"] for symbol, book in (saved or {}).get("books", {}).items()}
        own = [data for data in datas if isinstance(data, LiveFeed) and data._name in self.plan.symbols]
        feeds = [data for data in own if not data.p.historical]
        for data in feeds:
            data.p.known = tuple(self.log.candles(data._name))
            data.p.on_candle = self._received
            data.goes_on_at = booked.get(data._name, data.goes_on_at)
        if self._switch.seconds and not self._is_armed:  # by a session before that was killed
            self._renew_dead_man_switch(0)
        books = cast(LiveBooks, Bookkeeper(self.reconciler))  # its books are those of feeds
        return Opening(self._cash, feeds, self.reconciler.executor.markets, books, saved)

    def attend(self, strategy: GridStrategyV4) -> LiveDecisions:
        """Return what decides when a strategy decides, and saves what it has decided."""
        symbol = strategy.market.symbol
        end = self.clock.now() // BAR_MS * BAR_MS
        # The history of the first session, so that the indicators are the same.
        config = self.plan.config
        first = max(self._first.get(symbol, end), end - longest_memory_bars(config) * BAR_MS)
        if (end - first) // BAR_MS <= config.warm_up:  # a new symbol, or a config that needs a longer history
            first = 0
        if strategy.feed.p.since:
            raise ConfigError("fromdate: a grid strategy's history is what its indicators need; leave it out")
        strategy.feed.p.since = first
        strategy._first_bar = max(strategy._first_bar, config.warm_up + 1)
        self._attended.append(LiveDecisions(strategy, self))
        return self._attended[-1]

    def bars_read(self, fresh: Sequence[FeedBook]) -> None:
        """Alert of symbols whose history is too short to decide on; save the bars of those without a grid."""
        for decisions in self._attended:
            decisions.alert_short_history()
        if any(self.broker.may_decide(book.data) for book in fresh):
            self.commands.at_close()
        grids = {decisions.symbol for decisions in self._attended}
        for book in fresh:
            if book.symbol in self.plan.symbols and book.symbol not in grids and self.broker.may_decide(book.data):
                self._follow(book)

    def finish(self) -> None:
        """End in order: the market has ended, or the session was asked to stop."""
        if not self.plan.once:
            self.stop_adding()
        self._on_end()

    def abandon(self) -> None:
        """End safely if the session has not ended in order."""
        if self.ending is None and self._may_have_orders():
            self.end()
            self._forget_switch()

    def stop_adding(self) -> None:
        """Cancel all entries and give a stop to legs without one; exits and stops stay open.

        Raises
        ------
        Unreachable
            Some entries may still be open; the next session takes them over.
        """
        ending = self.end() if self._may_have_orders() else Ending()
        self.save()
        self.event("session", place=self.gateway.name, stopped=True, bars=self.bars)
        if not ending.is_safe:
            raise Unreachable(str(ending))

    def end(self) -> Ending:
        """Leave nothing dangerous at the exchange; what is left then is in `ending`. It needs no disk."""
        self._is_ending = True
        self.gateway.stop.set()  # waits are over
        self.ending = end_safely(self.reconciler, self.plan.symbols, self._stop_price)
        if self._switch.seconds and not (self.ending.entries or self.ending.unseen):
            self._renew_dead_man_switch(0)  # it would cancel the exits too
        return self.ending

    @contextmanager
    def safe_end(self) -> Iterator[None]:
        """End safely whatever goes wrong, unless the user wants to end at once or nothing was traded yet."""
        try:
            yield
        except (ConfigError, KeyboardInterrupt):
            raise
        except BaseException:
            self.abandon()
            raise

    def _forget_switch(self) -> None:
        """Save that the switch is off in the state saved last; the books may not be saved in the middle of a bar."""
        if self._kept.get("dead_man") and not self._switch.seconds:
            self._keep({"dead_man": None})

    def _keep(self, changed: dict[str, Any]) -> None:
        """Save the state that was saved last with something changed, if it can be written."""
        self._kept |= changed
        with suppress(OSError, LiveError):
            self._lock.check()
            self._file.save(self._kept)

    def _stop_price(self, symbol: str, side: PositionSide, position: Position) -> float:
        """Return where the stop of a leg belongs that has none: where the price has not passed it, if there is one."""
        tick = self.reconciler.executor.markets[symbol].tick
        mark = position.mark or self.reconciler.executor.last_price(symbol)
        decided = [book.leg(side).stop for book in self._books() if book.symbol == symbol]
        prices = [stop for stop in decided if stop is not None]
        if (atr := self._atr.get(symbol, 0.0)) > 0.0:
            prices.append(stop2_price(int(side), position.entry, atr, self.plan.config.of(symbol).stop2_atr, tick))
        if not prices:
            return mark * (1.0 - int(side) * self.plan.bare_stop)
        return next((price for price in prices if int(side) * (mark - price) > 0.0), prices[-1])

    def flatten(self) -> None:
        """Cancel the bot's orders and close the positions of its symbols; the next session books it."""
        self.reconciler.poll(self.plan.symbols)
        failed = []
        for symbol in self.plan.symbols:
            try:
                self.reconciler.order_sync.flatten(symbol)
            except LiveError as failure:
                failed.append(str(failure))
        if failed:
            raise LiveError(" ".join(failed))
        self.event("session", place=self.gateway.name, flattened=True)

    def arm_dead_man_switch(self, seconds: int = DEFAULT_S) -> None:
        """Make the exchange cancel all plain orders of the symbols if the bot is gone for some seconds.

        It cancels entries and exits; conditional orders, so the stops, stay. The bot renews the switch three times
        within the span and disarms it when the session ends in order. Exits that it has cancelled are put back at the
        next contact.
        """
        self._is_armed = True
        self._renew_dead_man_switch(seconds)
        pause = seconds / RENEWALS
        if self.gateway.watch:  # after a failure it is tried again soon
            pause = min(pause, self.gateway.watch)
        span_ms = round(1000 * (seconds / RENEWALS - 0.5 * pause))

        def renew_when_due() -> None:
            if self._switch.is_due(self.plan.symbols, self.clock.now() - span_ms):
                self._renew_dead_man_switch(seconds)

        self.clock.every(pause, renew_when_due, in_pauses=True)
        self.event("dead_man_armed", seconds=seconds)

    def _renew_dead_man_switch(self, seconds: int) -> None:
        """Renew the switch, or turn it off with 0 seconds."""
        fired = False
        for symbol in self.plan.symbols:
            try:
                self.reconciler.executor.countdown_cancel_all(symbol, seconds)
            except (Refused, Unreachable, LiveError) as failure:
                self.event("alert", what="dead_man", symbol=symbol, text=str(failure))
                return
            if seconds:
                fired |= self._switch.renewed(symbol, seconds, self.clock.now())
        if not seconds:
            self._switch.off(self.clock.now())
        if fired and self._books():
            self._watch.exits_are_gone = True

    def _may_have_orders(self) -> bool:
        """Return whether this bot may have sent an order, now or in a session before."""
        return bool(self._kept) or bool(self._books())

    def _books(self) -> Sequence[Book]:
        """Return the books of the account, none before this session has read or restored them."""
        broker: LiveHedgeBroker | None = getattr(self, "broker", None)
        return broker.books if broker is not None and getattr(broker, "has_begun", False) else ()

    # --- what a strategy reports

    def saved_decision(self, symbol: str) -> dict[str, Any] | None:
        """Return bar and snapshot of a symbol's last decision in the previous session, None if there is none."""
        return self._decisions.get(symbol)

    def trades_seen(self, symbol: str) -> int:
        """Return how many of the closings that are handed over from the previous session a symbol knows already."""
        seen: int = (self._decisions.get(symbol) or {}).get("seen", 0)
        return max(seen - self._closed_before, 0)

    def decided(self, strategy: GridStrategyV4, bar: int) -> None:
        """Save a decision, before any order of it is sent."""
        symbol = strategy.market.symbol
        self.commands.decided(symbol)
        seen = self.broker.closed_before + strategy._trades_seen
        self._decisions[symbol] = {"bar": bar, "seen": seen, "snapshot": take_snapshot(strategy)}
        self.event("decision", symbol=symbol, **decision_row(strategy))
        self._note_bar(symbol, bar, strategy.log.last())

    def carried_out(self, strategy: GridStrategyV4) -> None:
        """Update watch, heartbeat and screen once the orders of a decision are placed."""
        self._atr[strategy.market.symbol] = strategy.atr[0]
        self._end_bar(strategy.market.symbol)

    def _follow(self, book: FeedBook) -> None:
        """Save a bar that strategies of the user's own decide now; its books are those before their orders.

        Those are in the journal before they are sent.
        """
        symbol, bar = book.symbol, book.bar.time
        before = self._decisions.get(symbol, {}).get("bar", 0)
        self.commands.decided(symbol)
        self.broker.exchange.carry_out(book)  # no stop stays of a leg that is flat
        if bar <= before:
            return
        self._decisions[symbol] = {"bar": bar, "seen": self.broker.closed_before + len(self.broker.account.closed)}
        self._note_bar(symbol, bar, bar_row(self.broker, book))
        self._end_bar(symbol)

    def _note_bar(self, symbol: str, bar: int, row: np.ndarray) -> None:
        """Write a bar's records and the state, and tell of it."""
        self._write_records(symbol, row)
        self.save()
        self.bars += 1
        self._watch.decided(symbol, bar)
        self.connection.is_patient = True
        figures = dict(zip(LOG_COLUMNS, row.tolist(), strict=True))
        self.monitor.bar(symbol, figures, self.connection.calls, self.connection.failures)

    def _end_bar(self, symbol: str) -> None:
        figures = self.monitor.figures
        adding = self.reconciler.order_sync.adding
        self._read_rules()
        self.commands.answer()
        self.monitor.beat(time=self.clock.now(), bars=self.bars, equity=figures.get("equity"), adding=adding)
        if figures:  # else the previous session decided this bar
            self._on_bar(symbol)
        if self.plan.once:
            self.gateway.stop.set()

    def save(self) -> None:
        """Write the state."""
        self._lock.check()
        begun = self.broker.has_begun  # else its books are still empty
        self._kept = {
            "bot": self.bot,
            "first": self._first,
            "strategies": self._decisions,
            "broker": self.broker.to_json(self._seen_by_all()) if begun else (self.saved or {}).get("broker"),
            "files": self.log.sizes(),
            "commands": self.commands.to_json(),
            "dead_man": self._switch.to_json(),
            "silent_until": self.connection.gate.silent_until,
        }
        self._file.save(self._kept)
        self.journal.forget_until(self._journaled)
        self._journaled = self.journal.last

    # ---

    def _check_clock(self) -> None:
        self.connection.check_clock()

    def _seen_by_all(self) -> int:
        """Return how many closings of the bot the strategies of all symbols that have decided know."""
        decisions = [self._decisions[symbol] for symbol in self.plan.symbols if symbol in self._decisions]
        return min((decision.get("seen", 0) for decision in decisions), default=0)

    def _read_rules(self) -> None:
        """Read filters, brackets, leverage and modes again once a UTC day, and after a refusal against them."""
        day = self.clock.now() // DAY_MS
        if day == self._rules_day:
            return
        try:
            found = self.reconciler.executor.read_again(self.plan.config.leverage)
        except (Refused, Unreachable) as failure:  # again after the next decision
            self.event("alert", what="rules_unread", text=str(failure))
            return
        self._rules_day = day
        if found:
            self.event("alert", what="rules_changed", text="; ".join(found))

    def _open(self, notify: Callable[[str, str], None]) -> None:
        """Open the files of the state directory; those that are damaged are set aside, with an alert."""
        plan = self.plan
        others = make_private(path for path in plan.folder.iterdir() if path.is_file())
        self._file = StateFile(plan.folder, self.gateway.name)
        loaded = self._file.load()
        self.saved = loaded.content
        is_lost = self.saved is None and not loaded.notices  # else the files are those of another place
        self._lost_ids = journaled_ids(plan.folder) if is_lost else []
        self.log = SessionLog(plan.folder, (self.saved or {}).get("files", {}), len(plan.symbols) > 1, self._set_aside)
        self.monitor = Monitor(plan.folder, plan.limits, self._noting(notify))
        for notice in loaded.notices:
            self._set_aside(notice)
        if others:
            names = ", ".join(path.name for path in others)
            self.event("alert", what="not_private", text=f"others may read {names} in {plan.folder}: chmod 600 them")
        self.journal = Journal(plan.folder)
        if self.journal.aside is not None:
            lost = f"{NAME} has {self.journal.lost} damaged lines"
            self._set_aside(f"{lost}; it is set aside as {self.journal.aside.name}, the orders of the others are known")

    def _noting(self, notify: Callable[[str, str], None]) -> Callable[[str, str], None]:
        """Return what sends an alert and writes down that it was sent, for those who read the state directory."""

        def send(title: str, text: str) -> None:
            notify(title, text)
            with suppress(OSError):  # an alert may be about the disk
                self.log.event("alerted", clock=iso(self.clock.now()), title=title, text=text)

        return send

    def _set_aside(self, notice: str) -> None:
        self.event("alert", what="state_set_aside", text=notice)

    def _alert_left_alone(self) -> None:
        """Alert of orders and positions of symbols that the previous session traded and this one does not."""
        books = ((self.saved or {}).get("broker") or {}).get("books", {})
        held = {symbol for symbol, book in books.items() if any(leg["fills"] for leg in book["legs"])}
        ordered = {order.key.symbol for order in self.reconciler.orders if order.status is not OrderStatus.DONE}
        for symbol in sorted((held | ordered) - set(self.plan.symbols)):
            self.event(
                "alert",
                what="left_alone",
                symbol=symbol,
                text=f"{symbol} was traded here and is not any more; nobody looks after its orders and positions",
            )

    def _read_markets(self) -> dict[str, Market]:
        self.connection.call(lambda: self.gateway.client.load_markets(True), is_public=True)
        exchange = MarketQueries(self.connection)
        rules = {symbol: exchange.rules(symbol) for symbol in self.plan.symbols}
        path = self.plan.folder / "markets.json"  # in the shape of the packaged table
        write_private(path, json.dumps({"symbols": rules}, indent=1) + "\n")
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

    def _received(self, symbol: str, candle: ClosedCandle) -> None:
        self._first[symbol] = min(self._first.get(symbol, candle.time), candle.time)
        self.log.candle(symbol, candle)
