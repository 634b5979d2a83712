"""The symbols that share one wallet in a sweep, as arrays of all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.optimise.kernel.kernel import parameters, rules_of
from gridv4_bt.optimise.kernel.state import SPAN, Inputs
from gridv4_bt.optimise.sweep_market import Signals, SweepMarket, signal_keys


@dataclass(frozen=True)
class SweepWallet:
    """Markets that share one wallet; they take their turns in the order of their names, as in `make_feeds`.

    It can be pickled, together with the signals computed so far.

    Raises
    ------
    DataError
        A symbol is given twice.
    """

    markets: tuple[SweepMarket, ...]
    _joined: dict[Hashable, NDArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, markets: SweepMarket | Sequence[SweepMarket] | SweepWallet) -> SweepWallet:
        """Return the wallet of one market or of several."""
        if isinstance(markets, SweepWallet):
            return markets
        several = (markets,) if isinstance(markets, SweepMarket) else tuple(markets)
        found = tuple(sorted(several, key=lambda market: market.symbol))
        names = [market.symbol for market in found]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{name} is given twice; a wallet trades each symbol once")
        return cls(found)

    def prepare(self, configs: Sequence[GridConfig]) -> None:
        """Compute the signals of these configs, see `SweepMarket.prepare`."""
        for market in self.markets:
            market.prepare(configs)

    def check(self, config: GridConfig) -> None:
        """Refuse a config that these markets do not allow, or for which they are too short.

        Raises
        ------
        ConfigError, DataError
        """
        for market in self.markets:
            first = market.history.at(0)
            if first.max_notional(config.leverage) == 0.0:
                raise ConfigError(
                    f"leverage: -4028 {config.leverage:g} is not valid for {market.symbol}, which allows "
                    f"{max(first.max_leverages):g} at most"
                )
        if not any(market.first_bar(config) < len(market.bars) for market in self.markets):
            longest = max(self.markets, key=lambda market: len(market.bars))
            raise DataError(
                f"{len(longest.bars)} bars are too few: warm-up needs {longest.first_bar(config) + 1}. "
                "Give a longer span."
            )

    def inputs(self, config: GridConfig) -> Inputs:
        """Return what the kernel reads for a config."""
        markets = self.markets
        ends, rules, brackets = rules_of([market.history for market in markets], config.leverage)
        spans = np.zeros(len(markets), SPAN)
        bars = np.array([len(market.bars) for market in markets])
        spans["end"] = np.cumsum(bars)
        spans["begin"] = spans["end"] - bars
        # One with too few bars never trades.
        traded = np.minimum([market.first_bar(config) for market in markets], bars)
        spans["first"] = spans["begin"] + traded
        spans["first_log"] = np.cumsum(bars - traded) - (bars - traded)
        spans["end_rule"] = ends
        spans["first_rule"] = [0, *ends[:-1]]
        signals = (
            self._join(key, lambda market, name=name: getattr(market.signals(config), name))
            for name, key in zip(Signals._fields, signal_keys(config), strict=True)
        )
        mixture = (config.sigma_bars, config.hysteresis, *config.mixture.values()) if config.regime == "gmm" else ()
        return Inputs(
            parameters(config),
            spans,
            self._join("bars", lambda market: market.bars),
            *signals,
            self._join(("rates", config.funding_hours), lambda market: market.rates(config.funding_hours)),
            self._join(("regimes", *mixture), lambda market: market.regimes(config)[0]),
            rules,
            brackets,
        )

    def _join(self, key: Hashable, values: Callable[[SweepMarket], Any]) -> NDArray:
        """Return the values of one market after those of another."""
        if len(self.markets) == 1:
            return values(self.markets[0])
        if key not in self._joined:
            self._joined[key] = np.concatenate([values(market) for market in self.markets])
        return self._joined[key]
