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
            market.prepare([config.of(market.symbol) for config in configs])

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
        first = [market.first_bar(config.of(market.symbol)) for market in self.markets]
        if not any(bar < len(market.bars) for bar, market in zip(first, self.markets, strict=True)):
            longest, needed = max(zip(self.markets, first, strict=True), key=lambda one: len(one[0].bars))
            raise DataError(f"{len(longest.bars)} bars are too few: warm-up needs {needed + 1}. Give a longer span.")

    def inputs(self, config: GridConfig) -> Inputs:
        """Return what the kernel reads for a config."""
        configs = [config.of(market.symbol) for market in self.markets]
        return self.inputs_of(
            configs, [market.first_bar(own) for market, own in zip(self.markets, configs, strict=True)]
        )

    def inputs_of(self, configs: Sequence[GridConfig], first_bars: Sequence[int]) -> Inputs:
        """Return what the kernel reads for the configs of the symbols, which trade from these bars on."""
        markets, config = self.markets, configs[0]
        ends, rules, brackets = rules_of([market.history for market in markets], config.leverage)
        spans = np.zeros(len(markets), SPAN)
        bars = np.array([len(market.bars) for market in markets])
        spans["end"] = np.cumsum(bars)
        spans["begin"] = spans["end"] - bars
        # One with too few bars never trades.
        traded = np.minimum(first_bars, bars)
        spans["first"] = spans["begin"] + traded
        spans["first_log"] = np.cumsum(bars - traded) - (bars - traded)
        spans["end_rule"] = ends
        spans["first_rule"] = [0, *ends[:-1]]
        keys = [signal_keys(own) for own in configs]
        signals = (
            self._join([one[place] for one in keys], lambda market, own, at=place: market.signals(own)[at], configs)
            for place in range(len(Signals._fields))
        )
        return Inputs(
            parameters(configs),
            spans,
            self._join("bars", lambda market, own: market.bars, configs),
            *signals,
            self._join(("rates", config.funding_hours), lambda market, own: market.rates(own.funding_hours), configs),
            self._regimes(configs),
            rules,
            brackets,
        )

    def _regimes(self, configs: Sequence[GridConfig]) -> NDArray:
        """Return the codes of regime gmm, 0 for the bars of symbols with another one; none if no symbol has it."""
        if all(own.regime != "gmm" for own in configs):
            return np.zeros(0, np.int64)
        keys = [
            (own.sigma_bars, own.hysteresis, *own.mixture.values()) if own.regime == "gmm" else None for own in configs
        ]

        def codes(market: SweepMarket, own: GridConfig) -> NDArray:
            return market.regimes(own)[0] if own.regime == "gmm" else np.zeros(len(market.bars), np.int64)

        return self._join(("regimes", *keys), codes, configs)

    def _join(
        self,
        key: Hashable | list[Hashable],
        values: Callable[[SweepMarket, GridConfig], Any],
        configs: Sequence[GridConfig],
    ) -> NDArray:
        """Return the values of one market after those of another; a list of keys has one for each."""
        if len(self.markets) == 1:
            return values(self.markets[0], configs[0])
        if isinstance(key, list):
            key = key[0] if all(one == key[0] for one in key) else tuple(key)
        if key not in self._joined:
            parts = [values(market, own) for market, own in zip(self.markets, configs, strict=True)]
            self._joined[key] = np.concatenate(parts)
        return self._joined[key]
