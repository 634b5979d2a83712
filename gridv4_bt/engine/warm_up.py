"""The history before the first decision, in bars: of a backtest, of a paper market and of a live session."""

import math

from gridv4_bt.config import GridConfig

REPLAY_BARS = 1_500  #: before trading begins at a replaying exchange: as many as one request for candles may ask for
#: Bars after which indicators of the defined periods and mixture no longer depend on where their history began.
_LONGEST_MEMORY_BARS = 10_000
#: Least history of a live session by regime filter: with more bars and the defined periods it decides alike.
_LIVE_BARS = {"kama": 1_000, "gmm": 4_000}


def warm_up_bars(config: GridConfig) -> int:
    """Return how many bars a backtest needs before its first decision, apart from those of the mixture."""
    c = config
    # The regime compares KAMA with that of the bar before, and the strategy looks one bar back for the regime.
    regime = max(c.er_bars + 2, c.atr_bars + 1, 2 * c.adx_bars) + 1
    return max(regime, c.z_bars, c.sigma_bars + 1, c.warm_up + 1)


def history_bars(config: GridConfig) -> int:
    """Return how many bars of history warm up all indicators of a config, the mixture of regime ``gmm`` included."""
    mixture = config.gmm_window + config.gmm_span if config.regime == "gmm" else 0
    return max(warm_up_bars(config), mixture + max(config.sigma_bars, config.er_bars) + 1)


def longest_memory_bars(config: GridConfig) -> int:
    """Return after how many bars indicators and mixture no longer depend on where their history began."""
    return math.ceil(_LONGEST_MEMORY_BARS * _memory(config))


def _memory(config: GridConfig) -> float:
    """Return how many times as long as with the defined periods the averages remember, 1 at least."""
    kama = ((config.kama_slow + 1) / 31) ** 2  # its smoothing in noise is a square
    ratio = math.sqrt(config.er_bars / 10)  # the efficiency ratio of a random walk falls with the root
    return max(1.0, config.atr_bars / 14, config.adx_bars / 14, ratio, kama)


def with_live_history(config: GridConfig) -> GridConfig:
    """Return a config whose `warm_up` is at least what a live session needs, so that averages forget their start.

    A backtest of the recorded candles by this config begins to trade at the very same bar.
    """
    bars = math.ceil(_LIVE_BARS["kama"] * _memory(config))
    if config.regime == "gmm":
        bars = max(bars, _LIVE_BARS["gmm"])
    return config.model_copy(update={"warm_up": max(config.warm_up, bars)})
