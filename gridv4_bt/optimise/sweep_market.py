"""One market as arrays that many parameter sets share: bars, mark price, funding, rules and signals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from feeds.candles import CandleFeed
from feeds.tables import CandleTable
from gridv4_bt.compat import EPOCH_DAYS, FastCerebro, FastStrategy
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.book import Bar
from gridv4_bt.engine.market import MarketHistory, load_market_history
from gridv4_bt.engine.synthetic_funding import SyntheticFunding
from gridv4_bt.indicators import KAMA, GMMRegime, RegimeFSM, RollingVolatility, WilderADX, WilderATR, ZScore
from gridv4_bt.optimise.kernel.state import BAR

Floats = NDArray[np.float64]
Make = Callable[[bt.AbstractDataBase], Sequence[bt.Indicator]]


@dataclass(frozen=True)
class SweepMarket:
    """One symbol's bars, mark price, funding, rules and signals as arrays, one value a bar.

    It can be pickled, together with the signals computed so far.
    """

    symbol: str
    history: MarketHistory  #: filters and brackets by date
    candles: CandleTable
    bars: NDArray  #: `gridv4_bt.optimise.kernel.state.BAR`: candles, mark and the signals that no parameter changes
    recorded: Floats | None  #: rate settled at each bar's open, NaN for none; None: the synthetic rate
    needed: int  #: bars until those signals are known
    lead: int = 0  #: bars before the span that is traded, which warm it up
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, feed: CandleFeed, rules: Path | MarketHistory | None = None) -> SweepMarket:
        """Return the market of a feed made by `make_feeds`.

        `rules` is a file of brackets or filters, dated or not, or what was read of one, in place of the packaged table.

        Raises
        ------
        MarketError
            The file cannot be read or lacks the symbol.
        """
        symbol = feed.p.name
        history = rules if isinstance(rules, MarketHistory) else load_market_history(symbol, rules)
        (kama, atr, adx, z), needed = run_indicators(feed, _shared_signals)
        days, open_, high, low, close, volume = (
            _values(getattr(feed.lines, name)) for name in ("datetime", "open", "high", "low", "close", "volume")
        )
        bars = np.zeros(len(days), BAR)
        bars["time"] = np.rint((days - EPOCH_DAYS) * DAY_MS)
        bars["open"], bars["high"], bars["low"], bars["close"] = open_, high, low, close
        bars["volume"], bars["mark_close"] = volume, bars["close"]
        mark, mark_low, mark_high = (_values(getattr(feed.lines, name)) for name in ("mark", "mark_low", "mark_high"))
        bars["mark"] = np.where(np.isnan(mark), open_, mark)
        unknown = np.isnan(mark_low) | np.isnan(mark_high)  # a gap of the mark leaves the last prices in force
        bars["mark_low"], bars["mark_high"] = np.where(unknown, low, mark_low), np.where(unknown, high, mark_high)
        bars["kama"], bars["atr"], bars["adx"], bars["z"] = kama, atr, adx, z
        candles = CandleTable(symbol, feed.candles.interval_ms, bars["time"].copy(), open_, high, low, close, volume)
        recorded = _values(feed.lines.funding) if feed.has_funding else None
        return cls(symbol, history, candles, bars, recorded, needed, feed.lead)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute the signals of these configs, each distinct one once; `sweep` does it for those it is given.

        A mixture (regime gmm) takes seconds a year, so do it before the market is sent to other processes.
        """
        for config in configs:
            self.sigma(config.sigma_bars)
            self.rates(config.funding_hours)
            self.regimes(config)

    def first_bar(self, config: GridConfig) -> int:
        """Return the row of the first bar that a config trades."""
        needed = max(self.needed, self.sigma(config.sigma_bars)[1], self.regimes(config)[1], config.warm_up + 1)
        return max(needed - 1, self.lead)

    def sigma(self, period: int) -> tuple[Floats, int]:
        """Return the volatility over `period` bars, and how many bars it needs."""

        def signals(data: bt.AbstractDataBase) -> list[bt.Indicator]:
            return [RollingVolatility(data, period=period)]

        return self._once(("sigma", period), lambda: self._signal(signals))

    def regimes(self, config: GridConfig) -> tuple[NDArray[np.int64], int]:
        """Return the codes of regime gmm and how many bars they need; no codes for the others, which need no more."""
        if config.regime != "gmm":
            return np.zeros(0, np.int64), 0
        mixture = {
            name.removeprefix("gmm_"): value for name, value in config.model_dump().items() if name.startswith("gmm_")
        }

        def signals(data: bt.AbstractDataBase) -> list[bt.Indicator]:
            sigma = RollingVolatility(data, period=config.sigma_bars)
            return [GMMRegime(data, sigma, hysteresis=config.hysteresis, **mixture)]

        def codes() -> tuple[NDArray[np.int64], int]:
            regimes, needed = self._signal(signals)
            return np.nan_to_num(regimes).astype(np.int64), needed

        return self._once(("gmm", config.sigma_bars, config.hysteresis, *mixture.values()), codes)

    def rates(self, hours: float) -> Floats:
        """Return the funding rate settled at each bar's open: the recorded one, else the synthetic one."""
        if self.recorded is not None:
            return self.recorded

        def synthetic() -> Floats:
            funding, before, rates = SyntheticFunding(hours), 0, []
            for time, close in zip(self.bars["time"].tolist(), self.bars["close"].tolist(), strict=True):
                rates.append(funding.rate(before, Bar(time=time, close=close)))
                before = time
            return np.array(rates)

        return self._once(("funding", hours), synthetic)

    def _signal(self, signals: Make) -> tuple[Floats, int]:
        (line,), needed = run_indicators(CandleFeed(dataname=self.candles, name=self.symbol), signals)
        return line, needed

    def _once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


def _shared_signals(data: bt.AbstractDataBase) -> list[bt.Indicator]:
    """Return KAMA, ATR, ADX and z; the regime's own indicator only says how many bars it needs."""
    kama, atr, adx = KAMA(data), WilderATR(data), WilderADX(data)
    RegimeFSM(data, kama, atr, adx)
    return [kama, atr, adx, ZScore(data, atr)]


class _Signals(FastStrategy):
    """Computes indicators over the whole feed and stops before the first bar."""

    params = (("make", None),)

    def __init__(self) -> None:
        self.made = self.p.make(self.data)

    def prenext(self) -> None:
        self.env.runstop()

    next = prenext


def run_indicators(feed: bt.AbstractDataBase, make: Make) -> tuple[list[Floats], int]:
    """Return the first line of each indicator that `make` makes of a feed, and how many bars all of them need."""
    cerebro = FastCerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(_Signals, make=make)
    [strategy] = cerebro.run()
    return [_values(indicator.lines[0]) for indicator in strategy.made], strategy._minperiods[0]


def _values(line: bt.LineBuffer) -> Floats:
    return np.array(line.array)
