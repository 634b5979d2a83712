"""Chaos test: a live session under random faults and kills, compared with the exchange's own ledger.

The exchange runs in this process; the bot runs in child processes that get SIGKILL during a request or a moment after
it. Between the faults come calm bars, at which books and exchange must agree. The laws (see
`gridv4_bt.validation.laws`) hold at every request.
"""

import json
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from feeds.candles import CandleFeed
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.config import GridConfig, config_as_toml, load_config
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import BAR_MS, HOUR_MS, MINUTE_MS
from gridv4_bt.engine.labels import CUTS, TradeLabel
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.errors import LiveError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.client import ServerClock
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault, Faults, random_faults
from gridv4_bt.exchange.messages import Request, Response
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.gateway import SessionPlan
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.live.paper import PaperClock, gateway_at
from gridv4_bt.live.runner import Session
from gridv4_bt.record.trades import read_trades
from gridv4_bt.validation.booking_law import booking_errors
from gridv4_bt.validation.command_storm import CommandStorm, Desk
from gridv4_bt.validation.laws import Alert, Law, Laws, Violation
from presets import BUSY
from strategies.grid_v4 import GridStrategyV4

#: Of every `CYCLE` bars the last `CALM` are calm: no fault, no kill.
CYCLE, CALM = 25, 4
_REQUESTS_PER_BAR = 190  # about; a kill is drawn at each request
_LONGEST_RUN_S = 1_800.0
#: Levels near to each other trade often; seeds take turns: as it is, always on, and with stops that are often met.
_LIVELY = ("floor_pct=0.003", "k=0.8", "levels=5")
_VARIANTS: tuple[tuple[str, ...], ...] = (
    (), ("regime=none",), ("regime=none", "stop1_atr=1.5", "stop2_atr=2.0"),
)  # fmt: skip
_CASH = 10_000.0
#: Last bars without new commands, so that all can be answered.
_LAST_BARS = 8
#: How likely a process dies before a step of carrying out a command.
_DEATHS = {"_note": 0.06, "_act": 0.06, "_save": 0.02, "_write": 0.06, "_take_away": 0.06}
_CENT = 0.01
_HALTED = 3  # exit code
_RESTARTS = 20  # after halts, in one seed
_PERSON_MS = 30 * 60_000  # until a person starts a halted session again


@dataclass
class Result:
    """The result of one seed."""

    seed: int
    bars: int = 0  #: decided by all processes together
    kills: int = 0
    halts: int = 0  #: how often the session halted and was started again
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    fills: int = 0
    checks: int = 0  #: calm bars at which books and exchange were compared
    broken: list[str] = field(default_factory=list)  #: invariants that did not hold
    laws: list[Violation] = field(default_factory=list)  #: breaches of the laws
    stops: int = 0  #: orders of stops that were triggered
    cuts: int = 0  #: closings at market: pruned, stopped in the first stage, reduced
    closes: int = 0  #: closings of all kinds
    refused_closes: int = 0  #: closes at market that the exchange refused
    commands: Counter[str] = field(default_factory=Counter)  #: of a person, by action; and files that are none
    command_kills: int = 0  #: between two steps of carrying a command out
    desk_kills: int = 0
    desk_posts: int = 0  #: requests to the desk, those of retries included
    manual: int = 0  #: closings that a command ordered
    seconds: float = 0.0


class CheckedSession(Session):
    """A session that compares its books with the exchange at calm bars and writes the differences to a file."""

    report: Path

    def die_over_commands(self, rng: random.Random) -> None:
        """Kill this process now and then between two steps of carrying out a command."""

        def watched(step: str, do: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                if rng.random() < _DEATHS[step] and not is_calm(self.clock.now()):
                    self._write({"killed_before": step})
                    os.kill(os.getpid(), signal.SIGKILL)
                return do(*arguments)

            return run

        for step in _DEATHS:
            setattr(self.commands, step, watched(step, getattr(self.commands, step)))

    def watch_alerts(self) -> None:
        """Write every alert to the report, also one that is not sent because it repeats an earlier one."""
        send = self.monitor.alert

        def alert(what: str, **fields: Any) -> None:
            text = " ".join([what.replace("_", " "), *(f"{name} {value}" for name, value in fields.items())])
            self._write({"alert": text, "wall": time.time()})
            send(what, **fields)

        self.monitor.alert = alert  # type: ignore[method-assign]

    def _write(self, row: dict[str, Any]) -> None:
        with self.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"broken": []} | row) + "\n")

    def decided(self, strategy: GridStrategyV4, bar: int) -> None:
        """Compare the books with the exchange before any order is sent."""
        super().decided(strategy, bar)
        account = self.broker.account
        found: dict[str, Any] = {"bar": bar, "fills": account.fills, "start": account.start}
        # At a full hour the exchange may have settled funding that belongs to the next bar.
        settles = (bar + BAR_MS) % HOUR_MS == 0
        if is_calm(bar + BAR_MS) and is_calm(bar) and not self.reconciler.unbooked and not settles:
            found["checked"] = True
            found["broken"] = self._compare(strategy)
            trackers = {leg.side.name: leg.tracker for leg in strategy.sides}
            found["held"] = {name: list(zip(one.ids, one.qtys)) for name, one in trackers.items()}
        self._write(found)

    def carried_out(self, strategy: GridStrategyV4) -> None:
        """Check that every open leg has a stop."""
        super().carried_out(strategy)
        if not is_calm(self.broker.bar_time(strategy.feed) + BAR_MS):
            return
        broken = []
        symbol = strategy.market.symbol
        held = self.reconciler.executor.positions(symbol)
        stops = {
            (name.side, info.get("closePosition"))
            for one, info in self.reconciler.executor.open_orders(symbol).items()
            if (name := parse_id(one)) is not None and name.purpose is Purpose.STOP
        }
        for side in PositionSide:
            if held[side].qty > 0.0 and (side, True) not in stops:
                broken.append(f"{side.name} {held[side].qty:g} is held without a stop")
        entries = [name for one in self.reconciler.executor.open_orders(symbol) if (name := parse_id(one)) is not None]
        for ours in strategy.sides:
            if ours.leg.paused and any(name.side is ours.side and name.purpose.opens for name in entries):
                broken.append(f"{ours.side.name} is paused and has entries")
        self._write({"stops": True, "broken": broken})

    def _compare(self, strategy: GridStrategyV4) -> list[str]:
        broken = []
        symbol = strategy.market.symbol
        held = self.reconciler.executor.positions(symbol)
        account = self.broker.account
        close = strategy.feed.close[0]
        theirs = self.reconciler.executor.wallet() or 0.0
        for side, leg in held.items():
            theirs += int(side) * leg.qty * (close - leg.entry)
        equity = self.broker.getvalue()
        if abs(equity - theirs) > 0.01:
            broken.append(f"equity {equity:.4f}, at the exchange {theirs:.4f}")
        if abs(account.start - _CASH) > 1e-6:
            broken.append(f"the wallet was corrected: start {account.start:.4f}")
        for ours in strategy.sides:
            qty, theirs_qty = ours.tracker.qty, held[ours.side].qty
            if abs(qty - theirs_qty) > 1e-9:
                broken.append(f"{ours.side.name} {qty:g}, at the exchange {theirs_qty:g}")
        trades = self.reconciler.executor.trades(symbol, -1)
        fees = plain_sum(trade.fee for trade in trades)
        if abs(account.fees - fees) > 1e-6:
            broken.append(f"fees {account.fees:.6f}, at the exchange {fees:.6f} for {len(trades)} trades")
        return broken


def is_calm(time_ms: int) -> bool:
    """Return whether a time, ms, lies in calm bars."""
    return time_ms // BAR_MS % CYCLE >= CYCLE - CALM


def run_seed(
    seed: int,
    bars: int,
    folder: Path,
    fault_rate: float = 0.003,
    kills_per_bar: float = 0.03,
    mixture: str = "usual",
    commands_per_bar: float = 0.0,
    desk: Desk | None = None,
) -> Result:
    """Run one bot under the faults, kills and commands of one seed.

    Parameters
    ----------
    fault_rate : share of requests with a fault outside the calm bars.
    kills_per_bar : how often the process is killed, on average.
    mixture : of the faults, "usual" or "all" (see `gridv4_bt.exchange.faults.random_faults`).
    commands_per_bar : of a person, on average.
    desk : where half of them are given; None: all are given as files.
    """
    began = time.perf_counter()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # connections end with the processes
    rng = random.Random(seed)
    result = Result(seed)
    folder.mkdir(parents=True)
    config = load_config(BUSY, [*_LIVELY, *_VARIANTS[seed % len(_VARIANTS)]])
    (folder / "chaos.toml").write_text(config_as_toml(config), encoding="utf-8")
    needed = history_bars(config) + bars
    market = sample_market(seed=seed, days=needed // 96 + 10)
    first = rng.randrange(0, len(market.candles) - needed)
    # Minutes, so that orders are filled inside the candles too.
    per_bar = BAR_MS // MINUTE_MS
    minutes = market.minutes.iloc[per_bar * first : per_bar * (first + needed)].reset_index(drop=True)
    feeds = [CandleFeed(dataname=minutes, funding=market.funding, name=SYMBOL, interval="1m")]
    start = int(feeds[0].candles.time[per_bar * history_bars(config)])
    exchange = Exchange(feeds, {SYMBOL: load_market_history(SYMBOL)}, config, _CASH, start)
    storm = _Storm(rng, random_faults(seed, fault_rate, mixture), kills_per_bar, result)
    laws = Laws(_intent)
    if commands_per_bar:
        mean, until = _REQUESTS_PER_BAR / commands_per_bar, start + (bars - _LAST_BARS) * BAR_MS
        storm.commands = CommandStorm(rng, folder / "state", SYMBOL, mean, until, laws, desk)
    if desk is not None:
        desk.start(folder / "state")
    api = Api(exchange, faults=storm, go_on=storm.go_on, observe=partial(_observe, laws, storm))
    storm.api = api
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gridv4_bt.validation.chaos"])
    runs = 0
    with ServerThread(api) as server:
        while time.perf_counter() - began < _LONGEST_RUN_S:
            process = context.Process(target=_live, args=(server.url, str(folder), f"{seed} {runs}"))
            runs += 1
            laws.restarted()
            process.start()
            storm.process = process
            process.join(_LONGEST_RUN_S)
            storm.process = None
            if process.exitcode == -signal.SIGKILL:
                continue
            laws.ended(api.exchange, process.exitcode or 0)
            if process.exitcode == _HALTED and result.halts < _RESTARTS:
                result.halts += 1
                server.call(lambda: api.exchange.advance(api.exchange.now + _PERSON_MS))
                continue
            if process.exitcode != 0:
                result.broken.append(f"the session ended with {process.exitcode}: {_last_words(folder)}")
            break
        else:
            result.broken.append("it did not come to an end")
    if desk is not None:
        desk.close()
        result.desk_kills, result.desk_posts = desk.kills, desk.posts
    if storm.commands is not None:
        storm.commands.judge(api.exchange.now)
        result.commands = storm.commands.counts
    _judge(folder, result, laws, api.exchange)
    result.requests = storm.requests
    result.seconds = time.perf_counter() - began
    return result


class _Storm(Faults):
    """The faults and kills of a seed outside the calm bars."""

    api: Api  #: the front of the exchange, set once it is made

    def __init__(self, rng: random.Random, faults: Faults, kills_per_bar: float, result: Result) -> None:
        self._rng = rng
        self._faults = faults
        self._result = result
        self._mean = _REQUESTS_PER_BAR / kills_per_bar if kills_per_bar else float("inf")
        self.requests = 0
        self._until_kill = self._draw()
        self.process: Any = None  #: of the bot
        self.commands: CommandStorm | None = None

    def _draw(self) -> float:
        return self._rng.expovariate(1.0 / self._mean) if self._mean < float("inf") else float("inf")

    def go_on(self, exchange: Exchange) -> None:
        self.requests += 1
        if self.commands is not None:
            self.commands.look(self.api.exchange)
        if is_calm(self.api.exchange.now):
            self.api.limits.lift()
            self.api.clocks.clear()
            return
        self._until_kill -= 1.0
        if self._until_kill <= 0.0 and self.process is not None:
            self._until_kill = self._draw()
            self._result.kills += 1
            process = self.process
            if self._rng.random() < 0.5:
                _kill(process)  # this request is still executed
            else:
                threading.Timer(self._rng.uniform(0.0, 0.03), _kill, (process,)).start()

    def draw(self, method: str, path: str, applies: Callable[[Fault], bool], now: int = 0) -> Fault | None:
        if is_calm(now):
            return None
        fault = self._faults.draw(method, path, applies, now)
        if fault is not None:
            self._result.faults[fault.kind] += 1
        return fault


def _observe(laws: Laws, storm: _Storm, exchange: Exchange, request: Request, response: Response) -> None:
    laws.observe(exchange, request, response)
    if storm.commands is not None:
        storm.commands.observe(exchange, request)


def _intent(client_id: str) -> tuple[Any, ...] | None:
    """Return what an order of ours is for: all parts of its id but the generation."""
    name = parse_id(client_id)
    return None if name is None else name[:-1]


def _kill(process: Any) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


def _live(url: str, folder: str, seed: str) -> None:
    """Run one session until the market ends, in the process that is killed."""
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    path = Path(folder)
    config: GridConfig = load_config(path / "chaos.toml")
    stop = threading.Event()
    clock = PaperClock(ServerClock(url), float("inf"), stop)
    gateway = gateway_at(url, clock, stop)
    with CheckedSession(SessionPlan([SYMBOL], config, path / "state"), gateway, lambda title, text: None) as session:
        session.report = path / "chaos.jsonl"
        session.watch_alerts()
        try:
            session.prepare()
            session.die_over_commands(random.Random(seed))
            session.run()
        except (LiveError, Unreachable) as error:
            if clock.ended and session.connection.gate.wait() > 0.0:  # the market is over in the middle of a ban
                return
            (path / "error.txt").write_text(str(error), encoding="utf-8")
            sys.exit(_HALTED)


def _judge(folder: Path, result: Result, laws: Laws, exchange: Exchange) -> None:
    """Read the reports and records of a seed's sessions, and judge by them the laws that only they show."""
    rows = _report(folder / "chaos.jsonl")
    decided = set()
    start, checked = _CASH, None
    for row in rows:
        result.broken.extend(f"{row.get('bar', '')} {text}" for text in row["broken"])
        result.checks += bool(row.get("checked"))
        result.command_kills += "killed_before" in row
        result.fills = row.get("fills", result.fills)
        if "bar" not in row:
            continue
        decided.add(row["bar"])
        if abs(row["start"] - start) > _CENT:
            text = f"corrected by {row['start'] - start:.4f}, and nobody has moved money"
            laws.broken(Law.WALLET, row["bar"] + BAR_MS, text)
            start = row["start"]
        if row.get("checked"):
            checked = row
            for text in row["broken"]:
                if text.startswith(("equity", "fees")):
                    laws.broken(Law.WALLET, row["bar"] + BAR_MS, text)
    result.bars = len(decided)
    path = folder / "state" / "trades.csv"
    trades = read_trades(path) if path.exists() else []
    labels = [TradeLabel(row["label"]) for row in trades]
    result.closes = len(labels)
    result.manual = labels.count(TradeLabel.MANUAL)
    result.cuts = sum(label in CUTS and label is not TradeLabel.STOP2 for label in labels)
    names = [parse_id(order.client_id) for order in exchange.order_records.orders.values() if order.executed]
    result.stops = sum(name is not None and name.purpose is Purpose.STOP for name in names)
    if checked is not None:
        until = checked["bar"] + BAR_MS
        known = [row for row in trades if row["close_time"].astype(int) <= checked["bar"]]
        for text in booking_errors(exchange, until, known, checked["held"]):
            laws.broken(Law.BOOKED, until, text)
    alerts = [Alert(laws.time_at(row["wall"]), row["alert"]) for row in rows if "alert" in row]
    laws.judge_alerts(alerts, exchange.now)
    result.refused_closes = laws.refused_closes
    result.laws = laws.violations


def _report(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue  # cut by a kill
    return rows


def _last_words(folder: Path) -> str:
    path = folder / "error.txt"
    return path.read_text(encoding="utf-8").strip() if path.exists() else "see its events.jsonl"
