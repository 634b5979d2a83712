"""Chaos test: a live session under random faults and kills, compared with the exchange's own ledger.

The exchange runs in this process; the bot runs in child processes that get SIGKILL during a request or a moment after
it. Between the faults come calm bars, at which books and exchange must agree.
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
from pathlib import Path
from typing import Any

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import GridConfig, config_as_toml, load_config
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.market import load_market_history
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.engine.warm_up import history_bars
from gridv4_bt.errors import LiveError
from gridv4_bt.exchange.api import Api
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.faults import Fault, Faults, random_faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.connection import Unreachable
from gridv4_bt.live.ids import Purpose, parse_id
from gridv4_bt.live.live_strategy import LiveStrategy
from gridv4_bt.live.paper import PaperClock, gateway_at
from gridv4_bt.live.runner import Session, SessionPlan
from presets import BUSY

#: Of every `CYCLE` bars the last `CALM` are calm: no fault, no kill.
CYCLE, CALM = 25, 4
_REQUESTS_PER_BAR = 10  # about; a kill is drawn at each request
_LONGEST_RUN_S = 600.0
_CASH = 10_000.0
_HALTED = 3  # exit code
_RESTARTS = 5  # after halts, in one seed


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
    seconds: float = 0.0


class CheckedSession(Session):
    """A session that compares its books with the exchange at calm bars and writes the differences to a file."""

    report: Path

    def decided(self, strategy: LiveStrategy, bar: int) -> None:
        """Compare the books with the exchange before any order is sent."""
        super().decided(strategy, bar)
        account = self.broker.account
        found = {"bar": bar, "fills": account.fills, "broken": []}
        # At a full hour the exchange may have settled funding that belongs to the next bar.
        settles = (bar + BAR_MS) % HOUR_MS == 0
        if is_calm(bar + BAR_MS) and is_calm(bar) and not self.reconciler.unbooked and not settles:
            found["checked"] = True
            found["broken"] = self._compare(strategy)
        with self.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")

    def carried_out(self, strategy: LiveStrategy) -> None:
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
        with self.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stops": True, "broken": broken}) + "\n")

    def _compare(self, strategy: LiveStrategy) -> list[str]:
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


def run_seed(seed: int, bars: int, folder: Path, fault_rate: float = 0.03, kills_per_bar: float = 0.03) -> Result:
    """Run one bot under the faults and kills of one seed.

    Parameters
    ----------
    fault_rate : share of requests with a fault outside the calm bars.
    kills_per_bar : how often the process is killed, on average.
    """
    began = time.perf_counter()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # connections end with the processes
    rng = random.Random(seed)
    result = Result(seed)
    folder.mkdir(parents=True)
    # Levels near to each other trade often.
    config = load_config(BUSY, ["floor_pct=0.003", "k=0.8", "levels=5"])
    (folder / "chaos.toml").write_text(config_as_toml(config), encoding="utf-8")
    needed = history_bars(config) + bars
    market = sample_market(seed=seed, days=needed // 96 + 10)
    first = rng.randrange(0, len(market.candles) - needed)
    candles = market.candles.iloc[first : first + needed].reset_index(drop=True)
    feeds = make_feeds([SymbolData(SYMBOL, candles, market.funding)])
    start = int(feeds[0].candles.time[history_bars(config)])
    exchange = Exchange(feeds, {SYMBOL: load_market_history(SYMBOL)}, config, _CASH, start)
    storm = _Storm(rng, random_faults(seed, fault_rate), kills_per_bar, result)
    api = Api(exchange, faults=storm, go_on=storm.go_on)
    storm.api = api
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gridv4_bt.validation.chaos"])
    with ServerThread(api) as server:
        while time.perf_counter() - began < _LONGEST_RUN_S:
            process = context.Process(target=_live, args=(server.url, str(folder)))
            process.start()
            storm.process = process
            process.join(_LONGEST_RUN_S)
            storm.process = None
            if process.exitcode == -signal.SIGKILL:
                continue
            if process.exitcode == _HALTED and result.halts < _RESTARTS:
                result.halts += 1
                continue
            if process.exitcode != 0:
                result.broken.append(f"the session ended with {process.exitcode}: {_last_words(folder)}")
            break
        else:
            result.broken.append("it did not come to an end")
    _read_report(folder / "chaos.jsonl", result)
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

    def _draw(self) -> float:
        return self._rng.expovariate(1.0 / self._mean) if self._mean < float("inf") else float("inf")

    def go_on(self, exchange: Exchange) -> None:
        self.requests += 1
        _one_order_per_intent(self.api.exchange, self._result)
        if is_calm(self.api.exchange.now):
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

    def draw(self, method: str, path: str, applies: Callable[[Fault], bool]) -> Fault | None:
        if is_calm(self.api.exchange.now):
            return None
        fault = self._faults.draw(method, path, applies)
        if fault is not None:
            self._result.faults[fault.kind] += 1
        return fault


def _one_order_per_intent(exchange: Exchange, result: Result) -> None:
    """Note where two open orders serve one purpose."""
    intents = Counter(
        name[:5] for order in exchange.order_records.open_orders() if (name := parse_id(order.client_id)) is not None
    )
    for intent, count in intents.items():
        text = f"{count} orders stand for {intent}"
        if count > 1 and text not in result.broken:
            result.broken.append(text)


def _kill(process: Any) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)


def _live(url: str, folder: str) -> None:
    """Run one session until the market ends, in the process that is killed."""
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    path = Path(folder)
    config: GridConfig = load_config(path / "chaos.toml")
    stop = threading.Event()
    clock = PaperClock(url, float("inf"), stop)
    gateway = gateway_at(url, clock, stop)
    with CheckedSession(SessionPlan([SYMBOL], config, path / "state"), gateway, lambda title, text: None) as session:
        session.report = path / "chaos.jsonl"
        try:
            session.prepare()
            session.run()
        except (LiveError, Unreachable) as error:
            (path / "error.txt").write_text(str(error), encoding="utf-8")
            sys.exit(_HALTED)


def _read_report(path: Path, result: Result) -> None:
    decided = set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # cut by a kill
        result.broken.extend(f"{row.get('bar', '')} {text}" for text in row["broken"])
        result.checks += bool(row.get("checked"))
        result.fills = row.get("fills", result.fills)
        if "bar" in row:
            decided.add(row["bar"])
    result.bars = len(decided)


def _last_words(folder: Path) -> str:
    path = folder / "error.txt"
    return path.read_text(encoding="utf-8").strip() if path.exists() else "see its events.jsonl"
