"""Many parameter sets over one market at compiled speed, for scripts: what `gridv4_bt.backtest` does for one.

    [feed] = make_feeds([SymbolData("BTCUSDT", candles, funding)])
    market = SweepMarket.of(feed)
    for result in sweep(market, configs, cash=10_000.0, threads=2):
        print(result.net_return, result.max_drawdown, result.by_label())

Every result equals the run in Backtrader with the same data, config and cash: the same trades, the same equity at every
bar. What cannot be swept (several symbols in one wallet, the inside of bars, strategies, brokers and analyzers of one's
own) is a run of `gridv4_bt.backtest`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feeds.candles import CandleFeed
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.types import ClosedTrade

Floats = NDArray[np.float64]
Wholes = NDArray[np.int64]


@dataclass(frozen=True)
class SweepMarket:
    """One symbol's bars, funding, mark price, rules and signals as arrays that all parameter sets share.

    It survives pickling, also with the signals that were computed since it was made. All arrays have one value a bar.
    """

    symbol: str
    history: MarketHistory  #: filters and brackets by date
    time: Wholes  #: open times, ms
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    mark: Floats  #: at which a settlement at the bar's open is charged
    mark_low: Floats  #: of the mark price within the bar where it is as fine as the bars, else of the price
    mark_high: Floats
    funding: Floats | None  #: rate settled at the bar's open, NaN for none; None: the synthetic rate

    @classmethod
    def of(cls, feed: CandleFeed, rules: Path | MarketHistory | None = None) -> SweepMarket:
        """Return the market of a feed made by `make_feeds`.

        `rules` is a file of brackets or filters, dated or not, or what was read of one, in place of the packaged table.

        Raises
        ------
        ConfigError
            The feed has finer candles inside its bars, or filters that change its bars.
        MarketError
            The file cannot be read or lacks the symbol.
        """
        raise NotImplementedError

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute the signals of these configs, each distinct one once; `sweep` does it for those it is given.

        A mixture (regime gmm) takes seconds a year, so do it before the market is sent to other processes.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SweepResult:
    """What one parameter set made of the market. Money is quote; the names are those of ``summary.json``."""

    config: GridConfig
    bars: int  #: traded, warm-up not included
    start_equity: float
    end_equity: float
    wallet: float  #: at the end, without unrealised PnL
    gross: float
    fees: float
    funding: float  #: paid; negative if received
    max_drawdown: float  #: fraction of the highest equity so far, over the closes of all bars
    trades: int  #: closed
    wins: int  #: with a net profit
    profit: float  #: sum of the net of the wins
    loss: float  #: sum of the net of the others, 0 or below
    fills: int  #: entries that filled
    open_fills: int  #: left at the end
    label_trades: dict[str, int]  #: closed, by label
    label_net: dict[str, float]  #: net by label
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
    days: Wholes  #: UTC days traded, counted since 1970
    equity: Floats  #: at the last close of each of `days`
    log: Floats | None = None  #: shape (bars, len(LOG_COLUMNS)) as `SymbolRecord.log`, with ``log=True``
    closed: list[ClosedTrade] | None = field(default=None, repr=False)  #: in order, with ``closed=True``

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
        """Return the return of each of `days` (as `gridv4_bt.analysis.performance.daily_returns`)."""
        raise NotImplementedError


def check_sweepable(config: GridConfig) -> None:
    """Refuse a config that only Backtrader can run.

    Raises
    ------
    ConfigError
        `intrabar` is not pessimistic, or numba is missing; the message says what to do.
    """
    raise NotImplementedError


def sweep(
    market: SweepMarket,
    configs: Sequence[GridConfig],
    cash: float = 10_000.0,
    threads: int = 1,
    log: bool = False,
    closed: bool = False,
) -> Iterator[SweepResult]:
    """Yield the result of every config, in order.

    Parameters
    ----------
    threads : how many configs run at a time; the kernel does not hold Python's lock. The results are the same.
    log, closed : keep the row of every bar, every closed trade.

    Raises
    ------
    ConfigError
        A config cannot be swept (see `check_sweepable`), or its leverage is not allowed by the rules.
    DataError
        The data is over before the indicators of a config have warmed up.
    """
    raise NotImplementedError
