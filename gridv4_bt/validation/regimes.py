"""Both regime filters on the same candles: their states, stays and following moves, and how far they agree."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

from feeds.candles import CandleFeed
from gridv4_bt.compat import FastCerebro, FastStrategy, times_ms
from gridv4_bt.config import GridConfig
from gridv4_bt.core.mixture import STATES
from gridv4_bt.core.regime import Regime
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import DataError
from gridv4_bt.indicators import GMMRegime, RegimeFSM
from gridv4_bt.report.palette import REGIME_COLOURS, colour

#: More bars than this are drawn as so many columns, each of which shows the share of its bars.
COLUMNS = 400
#: States from below to above in the picture.
STACKED = (Regime.BREAKOUT_DOWN, Regime.DOWNTREND, Regime.NOISE, Regime.UPTREND, Regime.BREAKOUT_UP)


@dataclass(frozen=True)
class RegimeRecord:
    """The states of both filters for one symbol, from the first bar with a fitted mixture on."""

    symbol: str
    bars: int  #: of the span, those without a fit included
    day: int  #: bars in a day
    time: NDArray[np.int64]  #: bar open times, ms
    close: NDArray[np.float64]  #: quote
    kama: NDArray[np.int64]  #: `Regime` codes of `RegimeFSM`
    gmm: NDArray[np.int64]  #: `Regime` codes of `GMMRegime`
    probabilities: NDArray[np.float64]  #: shape (bars, 5), in the order of `STATES`; NaN while there is no fit
    warnings: dict[str, int]  #: of `GMMRegime`


@dataclass(frozen=True)
class StateFigures:
    """The figures of one state of a filter."""

    bars: int
    share: float  #: of all bars
    stays: int  #: how often the state was entered
    mean_stay: float  #: bars; NaN without any
    median_stay: float  #: bars; NaN without any
    next_move: float  #: mean log return over the next day; NaN without any
    next_volatility: float  #: standard deviation of the log returns bar by bar over the next day, scaled to a day


class _Filters(FastStrategy):
    params = (("config", None),)

    def __init__(self) -> None:
        config: GridConfig = self.p.config
        self.gmm = GMMRegime(self.data, sigma_bars=config.sigma_bars, hysteresis=config.hysteresis, **config.mixture)
        self.kama = RegimeFSM(
            self.data,
            n=config.er_bars,
            fast=config.kama_fast,
            slow=config.kama_slow,
            atr_period=config.atr_bars,
            adx_period=config.adx_bars,
            adx_floor=config.adx_min,
            breakout_slope=config.breakout_slope,
            trend_slope=config.trend_slope,
            hysteresis=config.hysteresis,
        )


def filter_regimes(feed: CandleFeed, config: GridConfig) -> RegimeRecord:
    """Run both filters over a feed.

    Raises
    ------
    ConfigError
        scikit-learn is not installed.
    DataError
        The data ends before the mixture could be fitted for the first time, or never allows it.
    """
    cerebro = FastCerebro(stdstats=False)
    cerebro.adddata(feed)
    cerebro.addstrategy(_Filters, config=config)
    [strategy] = cerebro.run()
    lines = np.array([line.array for line in strategy.gmm.lines])
    known = np.isfinite(lines[1])
    if not known.any():
        needed = config.gmm_window + config.gmm_refit + config.sigma_bars
        reasons = ", ".join(sorted(strategy.gmm.warnings)) or "gmm_too_few_bars"
        raise DataError(
            f"{feed.p.name}: no mixture could be fitted to {lines.shape[1]:,} bars ({reasons}). "
            f"The first fit needs up to {needed:,}; give a longer span."
        )
    first = max(int(known.argmax()), feed.lead)
    return RegimeRecord(
        symbol=feed.p.name,
        bars=lines.shape[1] - feed.lead,
        day=DAY_MS // feed.candles.interval_ms,
        time=times_ms(np.array(feed.lines.datetime.array)[first:]),
        close=np.array(feed.lines.close.array)[first:],
        kama=np.array(strategy.kama.lines.regime.array)[first:].astype(np.int64),
        gmm=lines[0, first:].astype(np.int64),
        probabilities=lines[1:, first:].T,
        warnings=dict(strategy.gmm.warnings),
    )


def stays(codes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return code and length in bars of every unbroken stay in a state, in order."""
    changes = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return [(int(codes[first]), end - first) for first, end in itertools.pairwise(changes) if end > first]


def state_figures(codes: NDArray[np.int64], close: NDArray[np.float64], day: int) -> dict[Regime, StateFigures]:
    """Return the figures of every state.

    Parameters
    ----------
    codes : a filter's `Regime` code at each bar.
    close : price at each bar.
    day : bars in a day. The day after a bar begins at its close; bars without a whole day after them only count as
        time. The days of neighbouring bars overlap, so a mean of many bars rests on fewer independent days.
    """
    returns = np.diff(np.log(close))
    ahead = max(len(returns) - day + 1, 0)
    moves = np.log(close[day:] / close[: len(close) - day]) if ahead else np.empty(0)
    sums, squares = (np.concatenate([[0.0], np.cumsum(values)]) for values in (returns, returns * returns))
    mean = (sums[day:] - sums[:-day]) / day if ahead else np.empty(0)
    variance = (squares[day:] - squares[:-day]) / day - mean * mean if ahead else np.empty(0)
    volatility = np.sqrt(np.maximum(variance, 0.0) * day)
    episodes = stays(codes)
    figures = {}
    for code in STATES:
        inside = codes == code
        lengths = [length for state, length in episodes if state == code]
        figures[Regime(code)] = StateFigures(
            bars=int(inside.sum()),
            share=float(inside.mean()),
            stays=len(lengths),
            mean_stay=_mean(lengths),
            median_stay=float(np.median(lengths)) if lengths else np.nan,
            next_move=_mean(moves[inside[:ahead]]),
            next_volatility=_mean(volatility[inside[:ahead]]),
        )
    return figures


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def confusion(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bars each pair of states had, shape (5, 5): rows the first filter, columns the second."""
    counts = np.zeros((len(STATES), len(STATES)), dtype=np.int64)
    for row, code in enumerate(STATES):
        for column, other in enumerate(STATES):
            counts[row, column] = int(((first == code) & (second == other)).sum())
    return counts


def agreement(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the share of bars of the same state, and Cohen's kappa: 0 is chance, 1 is always.

    Kappa is NaN if both filters never leave one and the same state.
    """
    total = counts.sum()
    same = np.trace(counts) / total
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum() / total**2)
    return float(same), float((same - chance) / (1.0 - chance)) if chance < 1.0 else np.nan


def plot_regimes(records: Sequence[RegimeRecord], path: Path) -> None:
    """Draw price, both filters and the mixture's probabilities of every symbol into a PNG file."""
    figure = Figure(figsize=(13, 6.5 * len(records)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(4 * len(records), 1, height_ratios=[4.0, 1.2, 1.2, 1.6] * len(records), squeeze=False)
    axes = rows[:, 0]
    for number, record in enumerate(records):
        _plot_symbol(axes[4 * number : 4 * number + 4], record)
    patches = [Patch(color=_colour(state), label=state.name.lower().replace("_", " ")) for state in reversed(STACKED)]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(patches), frameon=False, fontsize=10)
    figure.savefig(path, dpi=100)


def _plot_symbol(axes: Sequence[Axes], record: RegimeRecord) -> None:
    count = len(record.time)
    starts = np.unique(np.linspace(0, count, min(count, COLUMNS), endpoint=False).astype(int))
    sizes = np.diff(starts, append=count)
    interval = float(np.median(np.diff(record.time))) if count > 1 else 1.0
    edges = np.append(record.time[starts], record.time[-1] + interval)
    when = date2num(edges.astype(np.int64).astype("datetime64[ms]"))
    price, kama, gmm, sure = axes
    low, high = np.minimum.reduceat(record.close, starts), np.maximum.reduceat(record.close, starts)
    price.fill_between(when[:-1], low, high, color=colour("--price"), linewidth=1.0)
    price.set_ylabel(record.symbol, fontsize=11)
    price.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    for axis, codes, name in ((kama, record.kama, "KAMA"), (gmm, record.gmm, "mixture")):
        _stack(axis, when, [np.add.reduceat((codes == state).astype(float), starts) / sizes for state in STACKED])
        axis.set_ylabel(f"{name},\nshare of bars", fontsize=9)
    known = np.nan_to_num(record.probabilities)
    means = [np.add.reduceat(known[:, STATES.index(state)], starts) / sizes for state in STACKED]
    _stack(sure, when, means)
    sure.set_ylabel("mixture,\nprobability", fontsize=9)
    for axis in axes:
        axis.set_xlim(when[0], max(when[-1], when[0] + 1e-6))
        axis.tick_params(labelsize=9, labelbottom=axis is sure)
        locator = AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _stack(axis: Axes, when: NDArray[np.float64], shares: Sequence[NDArray[np.float64]]) -> None:
    """Draw shares one upon another; the last value again, because a step needs an end."""
    stacked = [np.append(share, share[-1]) for share in shares]
    axis.stackplot(when, stacked, colors=[_colour(state) for state in STACKED], step="post", linewidth=0)
    axis.set_ylim(0.0, 1.0)
    axis.yaxis.set_major_locator(FixedLocator([0.0, 0.5, 1.0]))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _colour(state: Regime) -> str:
    return colour(REGIME_COLOURS[state])
