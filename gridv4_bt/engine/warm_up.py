"""The history before the first decision, in bars: of a backtest, of a paper market and of a live session."""

from gridv4_bt.config import GridConfig

INDICATOR_BARS = 29  #: RegimeFSM needs ADX(14), 28 bars, and the strategy looks one bar back
REPLAY_BARS = 1_500  #: before trading begins at a replaying exchange: as many as one request for candles may ask for
#: Bars after which indicators and mixture no longer depend on where their history began.
LONGEST_MEMORY_BARS = 10_000
#: Least history of a live session by regime filter: with more bars it decides alike.
_LIVE_BARS = {"kama": 1_000, "gmm": 4_000}


def warm_up_bars(config: GridConfig) -> int:
    """Return how many bars a backtest needs before its first decision, apart from those of the mixture."""
    return max(INDICATOR_BARS, config.sigma_bars + 1, config.warm_up + 1)


def history_bars(config: GridConfig) -> int:
    """Return how many bars of history warm up all indicators of a config, the mixture of regime ``gmm`` included."""
    mixture = config.gmm_window + config.gmm_span if config.regime == "gmm" else 0
    return max(warm_up_bars(config), mixture + config.sigma_bars + 1)


def with_live_history(config: GridConfig) -> GridConfig:
    """Return a config whose `warm_up` is at least what a live session needs, so that averages forget their start.

    A backtest of the recorded candles by this config begins to trade at the very same bar.
    """
    bars = _LIVE_BARS["gmm" if config.regime == "gmm" else "kama"]
    return config.model_copy(update={"warm_up": max(config.warm_up, bars)})
