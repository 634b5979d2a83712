"""One market as arrays that many parameter sets share: bars, mark price, funding, rules and signals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from feeds.candles import PRICES, CandleFeed
from feeds.tables import CandleTable
from gridv4_bt.compat import FastCerebro, FastStrategy, times_ms
from gridv4_bt.config import GridConfig
from gridv4_bt.engine.market import MarketHistory, load_market_history
from gridv4_bt.engine.synthetic_funding import synthetic_settlements
from gridv4_bt.indicators import KAMA, GMMRegime, RollingVolatility, WilderADX, WilderATR, ZScore
from gridv4_bt.optimise.kernel.state import BAR

Floats = NDArray[np.float64]
Make = Callable[[bt.AbstractDataBase], Sequence[bt.Indicator]]


class Signals(NamedTuple):
    """The signals of one set of periods, one value a bar; NaN as long as it is not known."""

    kama: Any
    atr: Any
    adx: Any
    z: Any
    sigma: Any


@dataclass(frozen=True)
class SweepMarket:
    """One symbol's bars, mark price, funding, rules and signals as arrays, one value a bar.

    It can be pickled, together with the signals computed so far.
    """

    symbol: str
    history: MarketHistory  #: filters and brackets by date
    candles: CandleTable
    bars: NDArray  #: `gridv4_bt.optimise.kernel.state.BAR`: candles and mark
    recorded: Floats | None  #: rate settled at each bar's open, NaN for none; None: the synthetic rate
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
        history = rules if isinstance(rules, MarketHistory) else load_market_history(feed.p.name, rules, feed.prices)
        run_indicators(feed, lambda data: [])  # reads its lines
        bars = bars_of(feed)
        prices = (bars[name].copy() for name in ("time", *PRICES))
        candles = CandleTable(feed.p.name, feed.candles.interval_ms, *prices)
        return cls(feed.p.name, history, candles, bars, rates_of(feed), feed.lead)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute the signals of these configs, each distinct one once; `sweep` does it for those it is given.

        A mixture (regime gmm) takes seconds a year, so do it before the market is sent to other processes.
        """
        for config in configs:
            self.signals(config)
            self.rates(config.funding_hours)
            self.regimes(config)

    def first_bar(self, config: GridConfig) -> int:
        """Return the row of the first bar that a config trades."""
        needed = max(self._indicators(config)[1], self.regimes(config)[1], config.warm_up + 1)
        return max(needed - 1, self.lead)

    def signals(self, config: GridConfig) -> Signals:
        """Return the signals of a config's periods, each distinct one computed once."""
        return Signals(*self._indicators(config)[0])

    def _indicators(self, config: GridConfig) -> tuple[list[Floats], int]:
        """Return the values of `Signals`, and how many bars all of them and the regime need."""
        wanted = _indicator_makers(config)
        missing = [key for key in wanted if key not in self._known]
        if missing:

            def make(data: bt.AbstractDataBase) -> list[bt.Indicator]:
                atr = WilderATR(data, period=config.atr_bars)
                return [wanted[key](data, atr) for key in missing]

            for key, signal in zip(missing, self._run(make), strict=True):
                self._known[key] = signal
        found = [self._known[key] for key in wanted]
        needed = [bars for _, bars in found]
        # The regime compares KAMA, the first of them, with that of the bar before.
        return [values for values, _ in found], max(needed[0] + 1, *needed[1:])

    def regimes(self, config: GridConfig) -> tuple[NDArray[np.int64], int]:
        """Return the codes of regime gmm and how many bars they need; no codes for the others, which need no more."""
        if config.regime != "gmm":
            return np.zeros(0, np.int64), 0
        mixture = config.mixture

        def signals(data: bt.AbstractDataBase) -> list[bt.Indicator]:
            sigma = RollingVolatility(data, period=config.sigma_bars)
            return [GMMRegime(data, sigma, hysteresis=config.hysteresis, **mixture)]

        def codes() -> tuple[NDArray[np.int64], int]:
            [(regimes, needed)] = self._run(signals)
            return np.nan_to_num(regimes).astype(np.int64), needed

        return self._once(_mixture_key(config), codes)

    def rates(self, hours: float) -> Floats:
        """Return the funding rate settled at each bar's open: the recorded one, else the synthetic one."""
        if self.recorded is not None:
            return self.recorded

        def synthetic() -> Floats:
            rows, made = synthetic_settlements(hours, self.bars["time"], self.bars["close"])
            rates = np.full(len(self.bars), np.nan)
            rates[rows] = made
            return rates

        return self._once(("funding", hours), synthetic)

    def _run(self, make: Make) -> list[tuple[Floats, int]]:
        return run_indicators(CandleFeed(dataname=self.candles, name=self.symbol), make)

    def _once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


def signal_keys(config: GridConfig) -> Signals:
    """Return what the values of each of `Signals` depend on beside the market."""
    return Signals(*_indicator_makers(config))


def _mixture_key(config: GridConfig) -> Hashable:
    """Return what the regimes of a config's mixture depend on beside the market."""
    return "gmm", config.sigma_bars, config.hysteresis, *config.mixture.values()


def _indicator_makers(config: GridConfig) -> dict[Hashable, Callable[[bt.AbstractDataBase, WilderATR], bt.Indicator]]:
    """Return what makes each of `Signals`, by what its values depend on."""
    c = config
    return {
        ("kama", c.er_bars, c.kama_fast, c.kama_slow): lambda data, atr: KAMA(
            data, n=c.er_bars, fast=c.kama_fast, slow=c.kama_slow
        ),
        ("atr", c.atr_bars): lambda data, atr: atr,
        ("adx", c.adx_bars): lambda data, atr: WilderADX(data, period=c.adx_bars),
        ("z", c.z_bars, c.atr_bars): lambda data, atr: ZScore(data, atr, period=c.z_bars),
        ("sigma", c.sigma_bars): lambda data, atr: RollingVolatility(data, period=c.sigma_bars),
    }


def bars_of(feed: CandleFeed, rows: slice = slice(None)) -> NDArray:
    """Return the bars of a feed whose lines hold all of them, or these rows, as `kernel.state.BAR`."""
    lines = {name: _values(getattr(feed.lines, name))[rows] for name in (*PRICES, "mark", "mark_low", "mark_high")}
    bars = np.zeros(len(lines["close"]), BAR)
    bars["time"] = times_ms(_values(feed.lines.datetime)[rows])
    for name in PRICES:
        bars[name] = lines[name]
    bars["mark_close"] = bars["close"]
    bars["mark"] = np.where(np.isnan(lines["mark"]), bars["open"], lines["mark"])
    low, high = lines["mark_low"], lines["mark_high"]
    unknown = np.isnan(low) | np.isnan(high)  # a gap of the mark leaves the last prices in force
    bars["mark_low"], bars["mark_high"] = np.where(unknown, bars["low"], low), np.where(unknown, bars["high"], high)
    return bars


def rates_of(feed: CandleFeed) -> Floats | None:
    """Return the rate that a feed of loaded lines settles at each bar's open, NaN for none; None: it brings none."""
    return _values(feed.lines.funding) if feed.has_funding else None


class _Run(FastStrategy):
    """Computes indicators over the whole feed and stops before the first bar."""

    params = (("make", None),)

    def __init__(self) -> None:
        self.made = self.p.make(self.data)

    def prenext(self) -> None:
        self.env.runstop()

    next = prenext


def run_indicators(feed: bt.AbstractDataBase, make: Make) -> list[tuple[Floats, int]]:
    """Return the first line of each indicator that `make` makes of a feed, and how many bars it needs."""
    cerebro = FastCerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(_Run, make=make)
    [strategy] = cerebro.run()
    return [(_values(indicator.lines[0]).copy(), indicator._minperiod) for indicator in strategy.made]


def _values(line: bt.LineBuffer) -> Floats:
    """Return the values of a line as they lie in its memory."""
    return np.frombuffer(line.array)
