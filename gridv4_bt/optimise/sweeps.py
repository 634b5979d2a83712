"""Many parameter sets over one market, or several in one wallet, in the compiled kernel; see `gridv4_bt.sweep`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import BAR_MS, DAY_MS
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import LABELS
from gridv4_bt.engine.ladder import PLACED, Blocked
from gridv4_bt.engine.types import ClosedTrade, PositionSide
from gridv4_bt.errors import ConfigError
from gridv4_bt.metrics.performance import daily_returns
from gridv4_bt.optimise.kernel.kernel import kernel, new_state
from gridv4_bt.optimise.kernel.state import Inputs, State
from gridv4_bt.optimise.sweep_market import Floats, SweepMarket
from gridv4_bt.optimise.sweep_wallet import SweepWallet

#: Open fills a side that there is room for at first; a run that needs more is started again with twice as much.
ROOM = 64


@dataclass(frozen=True)
class SymbolResult:
    """What one symbol of the wallet has done; the names are those of `SweepResult`."""

    symbol: str
    bars: int
    trades: int
    wins: int
    profit: float
    loss: float
    open_fills: int
    label_trades: dict[str, int]
    label_net: dict[str, float]
    blocked: dict[str, int]
    halts: int
    stops: int
    margin_calls: int
    liquidation_near: int
    min_liquidation_distance: float
    bars_in_market: int
    log: Floats | None = field(default=None, repr=False)  #: as `SymbolRecord.log`, with ``log=True``


@dataclass(frozen=True)
class SweepResult:
    """The result of one parameter set. Money is quote; the names are those of ``summary.json``.

    Counts and sums are those of all symbols of the wallet together.
    """

    config: GridConfig
    bars: int  #: traded, warm-up not included
    length_days: float  #: from the first bar traded to the end of the last one
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
    bets: int  #: that they are, see `gridv4_bt.core.bets`
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
    symbols: tuple[SymbolResult, ...]  #: in the order of their names
    closed: list[ClosedTrade] | None = field(default=None, repr=False)  #: closings in order, with ``closed=True``

    @property
    def log(self) -> Floats | None:
        """Return the rows of all bars, shape (bars, len(LOG_COLUMNS)), one symbol's after another's."""
        logs = [one.log for one in self.symbols]
        return None if logs[0] is None else logs[0] if len(logs) == 1 else np.concatenate(logs)

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
    markets: SweepMarket | Sequence[SweepMarket] | SweepWallet,
    configs: Sequence[GridConfig],
    cash: float = 10_000.0,
    threads: int = 1,
    log: bool = False,
    closed: bool = False,
) -> Iterator[SweepResult]:
    """Return an iterator over the results of the configs, in their order.

    Parameters
    ----------
    markets : one market, or several that share the wallet.
    threads : how many configs run at a time; the kernel does not hold Python's lock. The results are the same.
    log, closed : keep the row of every bar, every closing.

    Raises
    ------
    ConfigError
        A config cannot be swept (see `check_sweepable`), or its leverage is not allowed by the rules.
    DataError
        The data is over before the indicators of a config have warmed up, or a symbol is given twice.
    """
    wallet = SweepWallet.of(markets)
    wallet.prepare(configs)
    for config in configs:
        check_sweepable(config)
        wallet.check(config)
    return _results(partial(_run, wallet, cash=cash, log=log, closed=closed), configs, threads)


def _results(run, configs: Sequence[GridConfig], threads: int) -> Iterator[SweepResult]:
    if threads == 1:
        yield from map(run, configs)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run, configs)


def _run(wallet: SweepWallet, config: GridConfig, cash: float, log: bool, closed: bool) -> SweepResult:
    inputs = wallet.inputs(config)
    spans, times = inputs.spans, inputs.bars["time"]
    traded = spans[spans["first"] < spans["end"]]
    days = times[traded["end"] - 1].max() // DAY_MS - times[traded["first"]].min() // DAY_MS + 1
    rows = int((spans["end"] - spans["first"]).sum())
    room, trades = ROOM, 0
    while True:
        table = np.zeros((rows, len(LOG_COLUMNS)) if log else (1, 0))
        state = new_state([config.of(market.symbol) for market in wallet.markets], cash, int(days), table, room, trades)
        kernel()(inputs, state, True if len(spans) > 1 else None)
        made = int(state.account["closed"][0])
        if state.account["overflow"][0]:
            room *= 2
        elif closed and len(state.trades) < made:
            trades = made
        else:
            return _result(wallet, config, cash, inputs, state, log, closed)


def _result(
    wallet: SweepWallet, config: GridConfig, cash: float, inputs: Inputs, state: State, log: bool, closed: bool
) -> SweepResult:
    account = state.account[0]
    known = np.flatnonzero(~np.isnan(state.days))
    symbols = tuple(_symbol_result(wallet, inputs, state, place, log) for place in range(len(wallet.markets)))
    names = [one.symbol for one in symbols]
    return SweepResult(
        config=config,
        length_days=float(account["last_time"] - account["first_time"] + BAR_MS) / DAY_MS,
        start_equity=cash,
        end_equity=float(account["value"]),
        max_drawdown=float(account["drawdown"]),
        label_trades=_added([one.label_trades for one in symbols]),
        label_net=_added([one.label_net for one in symbols]),
        blocked=_added([one.blocked for one in symbols]),
        min_liquidation_distance=min(one.min_liquidation_distance for one in symbols),
        days=account["first_day"] + known,
        equity=state.days[known],
        symbols=symbols,
        closed=[_closed_trade(names, row) for row in state.trades.tolist()] if closed else None,
        **{name: account[name].item() for name in _OF_ACCOUNT},
        **{name: sum(getattr(one, name) for one in symbols) for name in _OF_SYMBOLS},
    )


#: What a result and the kernel's records call by the same name; those of symbols are added up.
_OF_ACCOUNT = (
    "wallet", "gross", "fees", "funding", "fills", "bets", "liquidations", "maker_executions", "taker_executions",
    "ambiguous_bars", "max_margin_ratio",
)  # fmt: skip
_OF_MEMORY = ("halts", "stops", "margin_calls", "liquidation_near")
_OF_RECORD = ("trades", "wins", "profit", "loss", "bars_in_market")
_OF_SYMBOLS = ("bars", "open_fills", *_OF_MEMORY, *_OF_RECORD)


def _symbol_result(wallet: SweepWallet, inputs: Inputs, state: State, place: int, log: bool) -> SymbolResult:
    span, record, memory = inputs.spans[place], state.symbols[place], state.memory[place]
    counts = dict(zip(Blocked, state.tally[place].tolist(), strict=True))
    by_label = {label: row for label, row in zip(LABELS, state.by_label[place], strict=True) if row["trades"]}
    bars = int(span["end"] - span["first"])
    return SymbolResult(
        symbol=wallet.markets[place].symbol,
        bars=bars,
        open_fills=int(state.legs["fills"][2 * place : 2 * place + 2].sum()),
        label_trades={str(label): int(row["trades"]) for label, row in by_label.items()},
        label_net={str(label): float(row["net"]) for label, row in by_label.items()},
        blocked={reason.name.lower(): count for reason, count in counts.items() if count and reason != PLACED},
        min_liquidation_distance=float(memory["min_distance"]),
        log=state.log[span["first_log"] : span["first_log"] + bars] if log else None,
        **{name: record[name].item() for name in _OF_RECORD},
        **{name: memory[name].item() for name in _OF_MEMORY},
    )


def _added(counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums by key, the keys in the order of their first coming."""
    if len(counts) == 1:
        return counts[0]
    return {key: sum(one.get(key, 0) for one in counts) for one in counts for key in one}


def _closed_trade(names: Sequence[str], row: tuple) -> ClosedTrade:
    place, trade_id, side, label, *others = row
    return ClosedTrade(trade_id, names[place], PositionSide(side), LABELS[label], *others)
