"""The history before the first decision, in bars: of a backtest, of a paper market and of a live session."""

from collections.abc import Mapping, Sequence
from typing import Any

from gridv4_bt.config import GridConfig

INDICATOR_BARS = 29  #: RegimeFSM needs ADX(14), 28 bars, and the strategy looks one bar back
REPLAY_BARS = 1_500  #: before trading begins at a replaying exchange: as many as one request for candles may ask for
#: Bars after which indicators and mixture no longer depend on where their history began.
LONGEST_MEMORY_BARS = 10_000
#: Parameters by which a history is longer or shorter.
_REACHING_BACK = ("warm_up", "sigma_bars", "gmm_window", "gmm_span")
#: Least history of a live session by regime filter: with more bars it decides alike.
_LIVE_BARS = {"kama": 1_000, "gmm": 4_000}


def warm_up_bars(config: GridConfig) -> int:
    """Return how many bars a backtest needs before its first decision, apart from those of the mixture."""
    return max(INDICATOR_BARS, config.sigma_bars + 1, config.warm_up + 1)


def history_bars(config: GridConfig) -> int:
    """Return how many bars of history warm up all indicators of a config, the mixture of regime ``gmm`` included."""
    mixture = config.gmm_window + config.gmm_span if config.regime == "gmm" else 0
    return max(warm_up_bars(config), mixture + config.sigma_bars + 1)


def span_warm_up(config: GridConfig, varied: Mapping[str, Sequence[Any]] | None = None) -> int:
    """Return how many of the bars before a span that has a first day warm it up, if the data has them.

    So many that averages forget where they began: a span's result is the same to the last bit however far back its
    data reaches, and the same for a single run and for a trial among others. Nothing is traded before the span.

    Parameters
    ----------
    varied : values of the parameters that trials vary, which take the same bars.
    """
    varied = varied or {}
    most = {name: max(varied[name]) for name in _REACHING_BACK if name in varied}
    if "gmm" in varied.get("regime", ()):
        most["regime"] = "gmm"
    return max(LONGEST_MEMORY_BARS, int(history_bars(config.model_copy(update=most))))


def with_live_history(config: GridConfig) -> GridConfig:
    """Return a config whose `warm_up` is at least what a live session needs, so that averages forget their start.

    A backtest of the recorded candles by this config begins to trade at the very same bar.
    """
    bars = _LIVE_BARS["gmm" if config.regime == "gmm" else "kama"]
    return config.model_copy(update={"warm_up": max(config.warm_up, bars)})
