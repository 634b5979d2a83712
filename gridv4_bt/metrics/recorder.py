"""RunRecorder, the Backtrader analyzer that records a run, and the base of all analyzers that read its recording.

With a GridStrategyV4 it costs nothing while the run lasts: the strategy's own log and the broker's list of trades
are taken over at the end. Of any other strategy the equity is noted at every bar, once for all analyzers together.
The recording is plain arrays and tuples, so it can be pickled and used with optstrategy.
"""

from __future__ import annotations

from array import array
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from gridv4_bt.compat import EPOCH_DAYS, epoch_ms
from gridv4_bt.config import departures
from gridv4_bt.core.mixture import STATES
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.metrics.whole_run import WholeRun
from gridv4_bt.record.run_record import SymbolRecord, WalletRecord
from strategies.grid_v4 import GridStrategyV4

_NOTHING = np.empty(0)


class BarLog:
    """Time, equity and wallet at every bar of a strategy that keeps no log of its own; the margin where asked for."""

    def __init__(self, strategy: bt.Strategy, margin: bool) -> None:
        self._time = strategy.lines.datetime
        self._broker = strategy.broker
        self._margin = margin
        self.times = array("d")  #: Backtrader's days
        self.equity = array("d")
        self.wallet = array("d")
        self.maintenance = array("d")
        self.ranges: dict[str, list[tuple[float, float, float]]] = {}  #: days and prices (down, up), by symbol

    def note(self) -> None:
        """Append the bar."""
        broker = self._broker
        self.times.append(self._time[0])
        self.equity.append(broker.getvalue())
        self.wallet.append(broker.getcash())
        if self._margin:
            maintenance = broker.maintenance_margin()
            self.maintenance.append(maintenance)
            if maintenance > 0.0:
                for data in broker.positions:
                    row = (self._time[0], *broker.liquidation_range(data))
                    self.ranges.setdefault(data._name or "DEFAULT", []).append(row)


class RunAnalyzer(bt.Analyzer):
    """Base of the analyzers that measure a whole run once it has ended.

    Add it to any Cerebro; all of one strategy share one recording. A subclass computes its analysis in `measure`.
    """

    only_at_end = True  # see gridv4_bt.compat.RunningAnalyzers
    watches_margin = False  #: whether the margin of a strategy without a grid is noted at every bar

    def start(self) -> None:
        family = [other for other in self.strategy.analyzers if isinstance(other, RunAnalyzer)] or [self]
        self._recording: WholeRun | None = None
        self._first, self._last = family[0], family[-1]
        self._bars: BarLog | None = None
        if self is self._first and not isinstance(self.strategy, GridStrategyV4):
            watches = any(other.watches_margin for other in family)
            hedged = isinstance(getattr(self.strategy.broker, "account", None), Account)
            self._bars = BarLog(self.strategy, watches and hedged)
        self.only_at_end = self._bars is None

    def next(self) -> None:
        if self._bars is not None:
            self._bars.note()

    def stop(self) -> None:
        first = self._first
        if first._recording is None:
            first._recording = _recording(self.strategy, first._bars)
        self.rets = self.measure(first._recording)
        if self is self._last:  # nothing but the results is to be kept, and pickled
            first._recording = None
        first._bars = None
        self._first = self._last = None

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        """Return the analysis."""
        raise NotImplementedError


class RunRecorder(RunAnalyzer):
    """Record a strategy and the wallet it trades with.

    Once the run has ended, ``recording`` is a `WholeRun`, ``record`` its first, with a GridStrategyV4 its only
    `SymbolRecord`, and ``wallet`` its `WalletRecord`.
    """

    watches_margin = True

    recording: WholeRun
    record: SymbolRecord
    wallet: WalletRecord

    def measure(self, recording: WholeRun) -> dict[str, Any]:
        """Return both records by name."""
        self.recording, self.record, self.wallet = recording, recording.records[0], recording.wallet
        return {"record": self.record, "wallet": self.wallet}


def _recording(strategy: bt.Strategy, bars: BarLog | None) -> WholeRun:
    broker = strategy.broker
    account = getattr(broker, "account", None)
    if not isinstance(account, Account):
        start = float(broker.startingcash)
        value, cash = float(broker.getvalue()), float(broker.getcash())
        wallet = WalletRecord(start, cash, value, 0.0, 0.0, 0.0, 0, 0, 0, 0)
        return WholeRun(_plain_records(strategy, bars, None), wallet, is_grid=False, is_hedged=False)
    wallet = WalletRecord(
        start=account.start,
        wallet=account.wallet,
        equity=broker.getvalue(),
        gross=account.gross,
        fees=account.fees,
        funding=account.funding,
        liquidations=account.liquidations,
        maker_executions=account.maker_executions,
        taker_executions=account.taker_executions,
        ambiguous_bars=broker.ambiguous_bars,
        maker_fee=broker.p.maker_fee,
        taker_fee=broker.p.taker_fee,
        slippage=broker.p.slippage,
    )
    if isinstance(strategy, GridStrategyV4):
        return WholeRun([_grid_record(strategy, account)], wallet)
    return WholeRun(_plain_records(strategy, bars, account), wallet, is_grid=False)


def _grid_record(strategy: GridStrategyV4, account: Account) -> SymbolRecord:
    symbol = strategy.market.symbol
    log = strategy.log
    return SymbolRecord(
        symbol=symbol,
        rules=strategy.market.as_of,
        bars=len(strategy.feed) - getattr(strategy.feed, "lead", 0),
        log=log,
        ladder=strategy.plan.trace,
        funding=np.array(strategy.funding_log).reshape(-1, 3),
        trades=[trade for trade in account.closed if trade.symbol == symbol],
        open_fills=[(side.side.name, fill) for side in strategy.sides for fill in side.tracker.fills],
        halts=strategy.memory.halts,
        stops=strategy.memory.stops,
        margin_calls=strategy.memory.margin_calls,
        min_liquidation_distance=strategy.memory.min_distance,
        blocked=dict(strategy.blocked_reasons()),
        warnings=dict(strategy.warnings),
        departures=departures(strategy.config),
        ticks=list(strategy.ticks),
        synthetic_share=getattr(strategy.feed, "synthetic_share", 0.0),
        posteriors=_posteriors(strategy, len(log)),
        kama=_last(strategy.kama.lines.kama, len(log)),
        atr=_last(strategy.atr.lines.atr, len(log)),
        **_prices(strategy.feed, len(log)),
    )


def _prices(data: bt.AbstractDataBase, size: int) -> dict[str, NDArray[np.float64]]:
    """Return prices, volume and settled of the feed's last bars; empty in a run of bounded memory (`exactbars`)."""
    prices = {name: _last(getattr(data.lines, name), size) for name in ("close", "open", "high", "low", "volume")}
    prices["settled"] = _NOTHING
    if getattr(data, "has_funding", False):
        rates, opens, marks = (_last(getattr(data.lines, name), size) for name in ("funding", "open", "mark"))
        prices["settled"] = np.nan_to_num(rates) * np.where(np.isnan(marks), opens, marks)
    return prices


def _posteriors(strategy: GridStrategyV4, size: int) -> NDArray[np.float64]:
    """Return the probabilities of the states at the bars before the last ones; empty without a mixture."""
    mixture = strategy.regime_gmm
    if mixture is None or not size:
        return np.empty((0, len(STATES)))
    lines = mixture.lines
    columns = [_last(line, size + 1) for line in (lines.noise, lines.up, lines.down, lines.break_up, lines.break_down)]
    return np.column_stack(columns)[:-1] if len(columns[0]) else np.empty((0, len(STATES)))


def _last(line: bt.LineBuffer, size: int) -> NDArray[np.float64]:
    if line.mode or not size:
        return _NOTHING
    end = line.idx + 1
    found = np.frombuffer(line.array)[end - size : end]  # no copy: the run has ended, and the line grows no more
    found.flags.writeable = False
    return found


def _plain_records(strategy: bt.Strategy, bars: BarLog, account: Account | None) -> list[SymbolRecord]:
    """Return a record of each symbol a strategy sees that is no grid; the log starts at the feed's first bar."""
    noted = np.array([epoch_ms(days) for days in bars.times])
    records: dict[str, SymbolRecord] = {}
    for data in strategy.datas:
        symbol = data._name or "DEFAULT"
        if symbol in records:
            continue
        days = _last(data.lines.datetime, len(data))
        # A run of bounded memory has only what was noted.
        times = np.rint((days - EPOCH_DAYS) * DAY_MS) if len(days) else noted
        log = np.full((len(times), len(LOG_COLUMNS)), np.nan, order="F")
        record = SymbolRecord(
            symbol,
            "",
            len(data),
            log,
            ladder=np.empty((0, 0), np.uint8),
            funding=np.empty((0, 3)),
            trades=[],
            **_prices(data, len(days)),
        )
        records[symbol] = record
        record.column("time")[:] = times
        if len(noted):
            at = np.maximum(noted.searchsorted(times, side="right") - 1, 0)
            record.column("equity")[:] = np.array(bars.equity)[at]
            record.column("wallet")[:] = np.array(bars.wallet)[at]
        record.column("unrealized")[:] = record.column("equity") - record.column("wallet")
        if account is not None:
            record.trades = [trade for trade in account.closed if trade.symbol == symbol]
            _take_positions(record, strategy.broker, data)
            if len(bars.maintenance):
                _take_margin(record, np.array(bars.maintenance)[at], bars.ranges.get(symbol, []))
    return list(records.values())


def _take_positions(record: SymbolRecord, broker: bt.BrokerBase, data: bt.AbstractDataBase) -> None:
    """Fill in the open fills, the rules, and the quantities held at every bar."""
    if data in broker.positions:
        record.rules = broker.state(data).market.as_of
        legs = [broker.leg(data, side) for side in PositionSide]
        record.open_fills = [(leg.side.name, fill) for leg in legs for fill in leg.tracker.fills]
    for side, column in ((PositionSide.LONG, "long_qty"), (PositionSide.SHORT, "short_qty")):
        closed = [trade for trade in record.trades if trade.side is side]
        still = [fill for name, fill in record.open_fills if name == side.name]
        came = [(trade.open_time, trade.qty) for trade in closed] + [(fill.time, fill.qty) for fill in still]
        went = [(trade.close_time, -trade.qty) for trade in closed]
        held = np.zeros(len(record.log))
        moves = np.array(came + went).reshape(-1, 2)
        rows = record.rows(moves[:, 0])
        np.add.at(held, np.maximum(rows, 0), moves[:, 1])
        held = np.cumsum(held)
        # Sums of decimal lots leave noise.
        record.column(column)[:] = np.where(np.abs(held) > 1e-9 * np.max(held, initial=0.0), held, 0.0)


def _take_margin(
    record: SymbolRecord, maintenance: NDArray[np.float64], ranges: list[tuple[float, float, float]]
) -> None:
    """Fill in the margin ratio and how far the price may move until the account is liquidated."""
    equity, close = record.column("equity"), record.close
    ratio = np.full(len(equity), np.inf)
    np.divide(maintenance, equity, out=ratio, where=equity > 0.0)
    record.column("margin_ratio")[:] = ratio
    down, up = record.column("liquidation_down"), record.column("liquidation_up")
    down[:] = up[:] = np.inf
    if ranges and len(close):
        table = np.array(ranges)
        rows = record.rows(np.rint((table[:, 0] - EPOCH_DAYS) * DAY_MS))
        down[rows] = np.where(table[:, 1] > 0.0, 1.0 - table[:, 1] / close[rows], np.inf)
        up[rows] = table[:, 2] / close[rows] - 1.0
        record.min_liquidation_distance = float(np.minimum(down, up).min())
