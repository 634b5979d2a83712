"""Many parameter sets over one market in the compiled kernel; `gridv4_bt.sweep` is the way in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import PLACED, Blocked
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.metrics.performance import daily_returns
from gridv4_bt.optimise.kernel.kernel import kernel, new_state, parameters, rules_of
from gridv4_bt.optimise.kernel.state import Inputs, State
from gridv4_bt.optimise.sweep_market import DAY_MS, Floats, SweepMarket

#: Open fills a side that there is room for at first; a run that needs more is started again with twice as much.
ROOM = 64


@dataclass(frozen=True)
class SweepResult:
    """The result of one parameter set. Money is quote; the names are those of ``summary.json``."""

    config: GridConfig
    bars: int  #: traded, warm-up not included
    start_equity: float
    end_equity: float
    wallet: float  #: at the end, without unrealised PnL
    gross: float
    fees: float
    funding: float  #: paid; negative if received
    max_drawdown: float  #: fraction of the highest equity so far, over the closes of all bars
    trades: int  #: fills closed wholly; one closed in parts counts once
    wins: int  #: with a net profit
    profit: float  #: sum of the net of the wins
    loss: float  #: sum of the net of the others, 0 or below
    fills: int  #: entries that filled
    open_fills: int  #: left at the end
    label_trades: dict[str, int]  #: closings by label; a fill closed in parts has several
    label_net: dict[str, float]  #: net of the closings by label
    blocked: dict[str, int]  #: level-bars without an order, by reason
    halts: int
    stops: int
    margin_calls: int
    liquidations: int
    maker_executions: int
    taker_executions: int
    ambiguous_bars: int
    liquidation_near: int  #: bars closer to a liquidation price than `liquidation_warning`
    min_liquidation_distance: float  #: fraction of the price; infinite if there never was one
    max_margin_ratio: float  #: maintenance margin / equity
    bars_in_market: int  #: at whose close a fill was open
    days: NDArray[np.int64]  #: UTC days traded, counted since 1970
    equity: Floats  #: at the last close of each of `days`
    log: Floats | None = None  #: shape (bars, len(LOG_COLUMNS)) as `SymbolRecord.log`, with ``log=True``
    closed: list[ClosedTrade] | None = field(default=None, repr=False)  #: closings in order, with ``closed=True``

    @property
    def net_return(self) -> float:
        """Return end over start equity minus 1."""
        return self.end_equity / self.start_equity - 1.0

    @property
    def win_rate(self) -> float | None:
        """Return the share of the trades with a net profit; None without trades."""
        return self.wins / self.trades if self.trades else None

    @property
    def profit_factor(self) -> float | None:
        """Return the sum of all profits over the sum of all losses; None without a loss."""
        return self.profit / -self.loss if self.loss < 0.0 else None

    @property
    def daily_returns(self) -> Floats:
        """Return the return of each of `days` (as `gridv4_bt.metrics.performance.daily_returns`)."""
        return daily_returns(self.days * DAY_MS, self.equity, self.start_equity)[1]


def check_sweepable(config: GridConfig) -> None:
    """Refuse a config that only Backtrader can run, and any without numba.

    Raises
    ------
    ConfigError
        The message names the parameter or the package and says what to do.
    """
    kernel()
    if config.intrabar != "pessimistic":
        raise ConfigError(f"intrabar: a sweep matches whole bars, {config.intrabar!r} is for a run in Backtrader alone")


def sweep(
    market: SweepMarket,
    configs: Sequence[GridConfig],
    cash: float = 10_000.0,
    threads: int = 1,
    log: bool = False,
    closed: bool = False,
) -> Iterator[SweepResult]:
    """Return an iterator over the results of the configs, in their order.

    Parameters
    ----------
    threads : how many configs run at a time; the kernel does not hold Python's lock. The results are the same.
    log, closed : keep the row of every bar, every closing.

    Raises
    ------
    ConfigError
        A config cannot be swept (see `check_sweepable`), or its leverage is not allowed by the rules.
    DataError
        The data is over before the indicators of a config have warmed up.
    """
    market.prepare(configs)
    for config in configs:
        _check(market, config)
    return _results(partial(_run, market, cash=cash, log=log, closed=closed), configs, threads)


def _results(run, configs: Sequence[GridConfig], threads: int) -> Iterator[SweepResult]:
    if threads == 1:
        yield from map(run, configs)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run, configs)


def _check(market: SweepMarket, config: GridConfig) -> None:
    check_sweepable(config)
    first = market.history.at(0)
    if first.max_notional(config.leverage) == 0.0:
        raise ConfigError(
            f"leverage: -4028 {config.leverage:g} is not valid for {market.symbol}, which allows "
            f"{max(first.max_leverages):g} at most"
        )
    if market.first_bar(config) >= len(market.bars):
        raise DataError(
            f"{len(market.bars)} bars are too few: warm-up needs {market.first_bar(config) + 1}. Give a longer span."
        )


def _run(market: SweepMarket, config: GridConfig, cash: float, log: bool, closed: bool) -> SweepResult:
    first = market.first_bar(config)
    rules, brackets = rules_of(market.history, config.leverage)
    inputs = Inputs(
        parameters(config),
        market.bars,
        *market.signals(config),
        market.rates(config.funding_hours),
        market.regimes(config)[0],
        rules,
        brackets,
        first,
    )
    days = market.bars["time"][[first, -1]] // DAY_MS
    log_shape = (len(market.bars) - first, len(LOG_COLUMNS)) if log else (1, 0)
    room, trades = ROOM, 0
    while True:
        state = new_state(config, cash, int(days[1] - days[0]) + 1, log_shape, room, trades)
        kernel()(inputs, state)
        if state.wallet["overflow"][0]:
            room *= 2
        elif closed and len(state.trades) < state.wallet["closed"][0]:
            trades = int(state.wallet["closed"][0])
        else:
            return _result(market, config, cash, len(market.bars) - first, int(days[0]), state, log, closed)


def _result(
    market: SweepMarket,
    config: GridConfig,
    cash: float,
    bars: int,
    first_day: int,
    state: State,
    log: bool,
    closed: bool,
) -> SweepResult:
    wallet, memory = state.wallet[0], state.memory[0]
    counts = dict(zip(Blocked, state.tally.tolist(), strict=True))
    by_label = {label: row for label, row in zip(LABELS, state.by_label, strict=True) if row["trades"]}
    known = np.flatnonzero(~np.isnan(state.days))
    return SweepResult(
        config=config,
        bars=bars,
        start_equity=cash,
        end_equity=float(wallet["value"]),
        max_drawdown=float(wallet["drawdown"]),
        label_trades={str(label): int(row["trades"]) for label, row in by_label.items()},
        label_net={str(label): float(row["net"]) for label, row in by_label.items()},
        open_fills=int(state.legs["fills"].sum()),
        blocked={reason.name.lower(): count for reason, count in counts.items() if count and reason != PLACED},
        min_liquidation_distance=float(memory["min_distance"]),
        days=first_day + known,
        equity=state.days[known],
        log=state.log if log else None,
        closed=[_closed_trade(market.symbol, row) for row in state.trades.tolist()] if closed else None,
        **{name: wallet[name].item() for name in _OF_WALLET},
        **{name: memory[name].item() for name in _OF_MEMORY},
    )


#: What a result and the kernel's records call by the same name.
_OF_WALLET = (
    "wallet", "gross", "fees", "funding", "trades", "wins", "profit", "loss", "fills", "liquidations",
    "maker_executions", "taker_executions", "ambiguous_bars", "max_margin_ratio", "bars_in_market",
)  # fmt: skip
_OF_MEMORY = ("halts", "stops", "margin_calls", "liquidation_near")


def _closed_trade(symbol: str, row: tuple) -> ClosedTrade:
    trade_id, side, label, *others = row
    return ClosedTrade(trade_id, symbol, PositionSide(side), LABELS[label], *others)
