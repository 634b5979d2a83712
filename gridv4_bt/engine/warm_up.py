"""The history before the first decision, in bars: of a backtest, of a paper market and of a live session."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gridv4_bt.config import GridConfig, parameter_of

REPLAY_BARS = 1_500  #: before trading begins at a replaying exchange: as many as one request for candles may ask for
#: Bars after which indicators of the defined periods and mixture no longer depend on where their history began.
LONGEST_MEMORY_BARS = 10_000
#: Parameters by which a history is longer or shorter.
_REACHING_BACK = (
    "warm_up", "sigma_bars", "gmm_window", "gmm_span", "er_bars", "kama_slow", "atr_bars", "adx_bars", "z_bars",
)  # fmt: skip
#: Least history of a live session of a strategy of the user's own: 20 days.
OWN_LIVE_BARS = 2_000
#: Least history of a live session by regime filter: with more bars and the defined periods it decides alike.
_LIVE_BARS = {"kama": 1_000, "gmm": 4_000}


def warm_up_bars(config: GridConfig) -> int:
    """Return how many bars a backtest needs before its first decision, apart from those of the mixture."""

    def needed(c: GridConfig) -> int:
        # The regime compares KAMA with that of the bar before, and the strategy looks one bar back for the regime.
        regime = max(c.er_bars + 2, c.atr_bars + 1, 2 * c.adx_bars) + 1
        return max(regime, c.z_bars, c.sigma_bars + 1, c.warm_up + 1)

    return max(map(needed, config.variants))


def history_bars(config: GridConfig) -> int:
    """Return how many bars of history warm up all indicators of a config, the mixture of regime ``gmm`` included."""

    def reaching_back(c: GridConfig) -> int:
        mixture = c.gmm_window + c.gmm_span if c.regime == "gmm" else 0
        return mixture + max(c.sigma_bars, c.er_bars) + 1

    return max(warm_up_bars(config), *map(reaching_back, config.variants))


def longest_memory_bars(config: GridConfig) -> int:
    """Return after how many bars indicators and mixture no longer depend on where their history began."""
    return math.ceil(LONGEST_MEMORY_BARS * _memory(config))


def _memory(config: GridConfig) -> float:
    """Return how many times as long as with the defined periods the averages remember, 1 at least."""

    def times(c: GridConfig) -> float:
        kama = ((c.kama_slow + 1) / 31) ** 2  # its smoothing in noise is a square
        ratio = math.sqrt(c.er_bars / 10)  # the efficiency ratio of a random walk falls with the root
        return max(1.0, c.atr_bars / 14, c.adx_bars / 14, ratio, kama)

    return max(map(times, config.variants))


def span_warm_up(config: GridConfig, varied: Mapping[str, Sequence[Any]] | None = None) -> int:
    """Return how many of the bars before a span that has a first day warm it up, if the data has them.

    So many that averages forget where they began: a span's result is the same to the last bit however far back its
    data reaches, and the same for a single run and for a trial among others. Nothing is traded before the span.

    Parameters
    ----------
    varied : values of the parameters that trials vary, also those of single symbols; all trials take the same bars.
    """
    values: dict[str, list[Any]] = {}
    for name, some in (varied or {}).items():
        values.setdefault(parameter_of(name), []).extend(some)
    most = {name: max(values[name]) for name in _REACHING_BACK if name in values}
    if "gmm" in values.get("regime", ()):
        most["regime"] = "gmm"
    longest = config.model_copy(update=most)
    return max(longest_memory_bars(longest), int(history_bars(longest)))


def with_own_history(config: GridConfig) -> GridConfig:
    """Return a config whose `warm_up` is at least that of a live session of a strategy of the user's own.

    Nobody knows here how far its indicators reach back: one that needs more than `OWN_LIVE_BARS` is given a longer one.
    """
    return config.model_copy(update={"warm_up": max(config.warm_up, OWN_LIVE_BARS)})


def with_live_history(config: GridConfig) -> GridConfig:
    """Return a config whose `warm_up` is at least what a live session needs, so that averages forget their start.

    A backtest of the recorded candles by this config begins to trade at the very same bar.
    """
    bars = math.ceil(_LIVE_BARS["kama"] * _memory(config))
    if any(one.regime == "gmm" for one in config.variants):
        bars = max(bars, _LIVE_BARS["gmm"])
    return config.model_copy(update={"warm_up": max(config.warm_up, bars)})
