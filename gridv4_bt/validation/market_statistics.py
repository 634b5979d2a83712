"""Statistics of a market, to compare a synthetic one with real ones: ranges, tails, fast moves, patterns, funding.

`benchmarks/sample_market.py` prints them for the sample market beside real candles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridv4_bt.core.time import BAR_MS, DAY_MS, HOUR_MS

Floats = NDArray[np.float64]

BARS_PER_DAY = DAY_MS // BAR_MS
BARS_PER_YEAR = 365 * BARS_PER_DAY
SIGMA_BARS = 96  #: window of the volatility that a range is compared with
LARGEST = 500  #: returns that the tail index is estimated from, in a market of four years or more
_LARGEST_SHARE = 1 / 306  # of all returns, in a shorter one
BACK_BARS = (0, 1, 4, 16)  #: bars after which a fast move is looked at again
DEPTHS = (0.03, 0.02)  #: of fast moves, log
LAGS = (1, 16, 96, 672)  #: bars: one, four hours, a day, a week
BASIS_POINT = 1e-4


@dataclass(frozen=True)
class FastMoves:
    """The bars that reached a level at some distance from the close before."""

    count: int
    per_year: float
    back: tuple[float, ...]  #: mean log move back from the level to the close `BACK_BARS` later, NaN without any


@dataclass(frozen=True)
class FundingStatistics:
    """Funding rates of a market, basis points a settlement."""

    mean: float
    quantiles: tuple[float, float, float, float, float]  #: 1, 5, 50, 95 and 99 %
    at_interest: float  #: share of rates that are the interest of 1 basis point exactly
    negative: float  #: share of rates below 0
    rank_autocorrelation: tuple[float, float]  #: of the ranks, after 1 and 21 settlements
    momentum: float  #: correlation of the ranks with those of the log return of the 3 days before


@dataclass(frozen=True)
class MarketStatistics:
    """The statistics of one market; several of them averaged are one as well, see `average`."""

    bars: float
    volatility: float  #: annual deviation of log returns
    range_to_sigma: tuple[float, float, float]  #: log(high / low) over sigma of the bar before: 50, 99 and 99.9 %
    tail_index: float  #: Hill estimate
    skewness: float  #: of log returns
    moves: Mapping[tuple[float, int], FastMoves]  #: by depth and direction, +1 rises, -1 falls
    return_autocorrelation: float  #: after one bar
    variance_ratio: float  #: deviation of daily returns over that of bars, scaled to a day
    range_autocorrelation: tuple[float, ...]  #: of log(high / low), logarithm of it, after `LAGS`
    return_size_autocorrelation: tuple[float, ...]  #: of absolute returns, after `LAGS`
    daily_volatility_spread: float  #: deviation of the logarithm of a day's realised volatility
    hourly: tuple[float, ...]  #: mean absolute return by UTC hour over that of all
    weekend: float  #: mean absolute return on Saturdays and Sundays over that of other days
    volume_to_range: float  #: correlation of the logarithms
    funding: FundingStatistics


def measure(candles: pd.DataFrame, funding: pd.DataFrame) -> MarketStatistics:
    """Measure a market.

    Parameters
    ----------
    candles : 15m candles without gaps: time (UTC), high, low, close, volume.
    funding : time (UTC), rate; settlements outside of the candles are left out.
    """
    times = candles["time"].to_numpy("datetime64[ms]").astype(np.int64)
    high, low, close = (np.log(candles[name].to_numpy(np.float64)) for name in ("high", "low", "close"))
    volume = candles["volume"].to_numpy(np.float64)
    returns = np.diff(close)
    sizes = np.abs(returns)
    day = (times[1:] // DAY_MS + 3) % 7  # 0: Monday
    hour = times[1:] % DAY_MS // HOUR_MS
    traded = (high > low) & (volume > 0.0)
    log_range = np.log((high - low)[traded])
    days = len(returns) // BARS_PER_DAY
    by_day = returns[: days * BARS_PER_DAY].reshape(days, BARS_PER_DAY)
    realised = np.sqrt((by_day**2).sum(axis=1))
    return MarketStatistics(
        bars=len(close),
        volatility=float(returns.std() * np.sqrt(BARS_PER_YEAR)),
        range_to_sigma=_quantiles(range_to_sigma(high, low, close), (0.5, 0.99, 0.999)),
        tail_index=hill(sizes, min(LARGEST, round(len(sizes) * _LARGEST_SHARE))),
        skewness=float(((returns - returns.mean()) ** 3).mean() / returns.std() ** 3),
        moves={(depth, side): fast_moves(high, low, close, depth, side) for depth in DEPTHS for side in (-1, 1)},
        return_autocorrelation=autocorrelation(returns, 1),
        variance_ratio=float(by_day.sum(axis=1).std() / (returns.std() * np.sqrt(BARS_PER_DAY))),
        range_autocorrelation=tuple(autocorrelation(log_range, lag) for lag in LAGS),
        return_size_autocorrelation=tuple(autocorrelation(sizes, lag) for lag in LAGS),
        daily_volatility_spread=float(np.log(realised[realised > 0.0]).std()),
        hourly=tuple(float(sizes[hour == one].mean() / sizes.mean()) for one in range(24)),
        weekend=float(sizes[day >= 5].mean() / sizes[day < 5].mean()),
        volume_to_range=float(np.corrcoef(np.log(volume[traded]), log_range)[0, 1]),
        funding=_funding(funding, times, close),
    )


def range_to_sigma(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the log range of every bar over sigma at the close before.

    Prices are logarithms; bars with no sigma yet, or one of 0, are left out.
    """
    sigma = pd.Series(np.diff(close)).rolling(SIGMA_BARS).std(ddof=1).to_numpy()[SIGMA_BARS - 1 : -1]
    ranges = (high - low)[SIGMA_BARS + 1 :]
    return ranges[sigma > 0.0] / sigma[sigma > 0.0]


def hill(sizes: Floats, largest: int) -> float:
    """Return the Hill estimate of the tail index from the `largest` of some sizes."""
    top = np.sort(sizes)[-largest - 1 :]
    return float(1.0 / np.log(top[1:] / top[0]).mean())


def fast_moves(high: Floats, low: Floats, close: Floats, depth: float, side: int) -> FastMoves:
    """Return how often a bar reached a level above or below the close before, and how far the price came back from it.

    Prices are logarithms. A bar so near to the end that a later close is missing is left out of its mean.

    Parameters
    ----------
    depth : distance of the level from the close before, log.
    side : +1 above, -1 below.
    """
    levels = close[:-1] + side * depth
    reached = np.flatnonzero(high[1:] >= levels if side > 0 else low[1:] <= levels)
    back = []
    for bars in BACK_BARS:
        known = reached[reached + 1 + bars < len(close)]
        moved = -side * (close[known + 1 + bars] - levels[known])
        back.append(float(moved.mean()) if len(known) else float("nan"))
    return FastMoves(len(reached), len(reached) * BARS_PER_YEAR / len(levels), tuple(back))


def autocorrelation(values: Floats, lag: int) -> float:
    """Return the correlation of values with those `lag` before."""
    centred = values - values.mean()
    return float(np.dot(centred[lag:], centred[:-lag]) / np.dot(centred, centred))


def _quantiles(values: Floats, shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(np.quantile(values, shares).tolist())


def _funding(funding: pd.DataFrame, times: NDArray[np.int64], close: Floats) -> FundingStatistics:
    settled = funding["time"].to_numpy("datetime64[ms]").astype(np.int64)
    inside = (settled >= times[0]) & (settled <= times[-1])
    rates = funding["rate"].to_numpy(np.float64)[inside]
    before = np.searchsorted(times, settled[inside] - settled[inside] % BAR_MS) - 1  # the bar that closes there
    past = np.maximum(before - 3 * BARS_PER_DAY, 0)
    ranks = pd.Series(rates).rank().to_numpy()
    moves = pd.Series(close[np.maximum(before, 0)] - close[past]).rank().to_numpy()
    return FundingStatistics(
        mean=float(rates.mean() / BASIS_POINT),
        quantiles=_quantiles(rates / BASIS_POINT, (0.01, 0.05, 0.5, 0.95, 0.99)),
        at_interest=float((rates == BASIS_POINT).mean()),
        negative=float((rates < 0.0).mean()),
        rank_autocorrelation=(autocorrelation(ranks, 1), autocorrelation(ranks, 21)),
        momentum=float(np.corrcoef(ranks, moves)[0, 1]),
    )


def average(markets: Sequence[MarketStatistics]) -> MarketStatistics:
    """Return the mean statistics of markets of one length; how far fast moves come back is a mean over the moves."""
    moves = {}
    for key in markets[0].moves:
        these = [one.moves[key] for one in markets]
        count = sum(one.count for one in these)
        back = [sum(one.count * one.back[i] for one in these if one.count) for i in range(len(BACK_BARS))]
        per_year = sum(one.per_year for one in these) / len(these)
        moves[key] = FastMoves(count, per_year, tuple(total / count if count else float("nan") for total in back))
    fields = {name: _mean([getattr(one, name) for one in markets]) for name in vars(markets[0]) if name not in _NESTED}
    rates = [one.funding for one in markets]
    funding = FundingStatistics(**{name: _mean([getattr(one, name) for one in rates]) for name in vars(rates[0])})
    return MarketStatistics(**fields, moves=moves, funding=funding)


_NESTED = ("moves", "funding")


def _mean(values: Sequence[float | tuple[float, ...]]) -> float | tuple[float, ...]:
    mean = np.mean(values, axis=0)
    return tuple(mean.tolist()) if mean.ndim else float(mean)


def as_table(markets: Mapping[str, MarketStatistics]) -> str:
    """Return the statistics of markets by their names as a Markdown table, one column a market."""
    rows = {name: dict(_rows(market)) for name, market in markets.items()}
    lines = ["| | " + " | ".join(markets) + " |", "|---" * (len(markets) + 1) + "|"]
    for label in next(iter(rows.values())):
        lines.append(f"| {label} | " + " | ".join(rows[name][label] for name in markets) + " |")
    return "\n".join(lines) + "\n"


def _rows(market: MarketStatistics) -> list[tuple[str, str]]:
    def several(values: Sequence[float], digits: int = 2, factor: float = 1.0) -> str:
        return " / ".join(f"{factor * value:.{digits}f}" for value in values)

    rates = market.funding
    quietest, busiest = min(market.hourly), max(market.hourly)
    moves = [
        (
            f"{'falls' if side < 0 else 'rises'} of {depth:.0%}: a year; back after 0 / 1 / 4 / 16 bars, %",
            f"{one.per_year:.0f}; {several(one.back, 2, 100.0)}",
        )
        for (depth, side), one in market.moves.items()
    ]
    return [
        ("bars", f"{market.bars:,.0f}"),
        ("annual volatility", f"{market.volatility:.0%}"),
        ("range ÷ sigma, 50 / 99 / 99.9 %", several(market.range_to_sigma)),
        ("tail index of returns (Hill)", f"{market.tail_index:.2f}"),
        ("skewness of returns", f"{market.skewness:.2f}"),
        *moves,
        ("autocorrelation of returns, 1 bar", f"{market.return_autocorrelation:.3f}"),
        ("deviation of daily returns ÷ that of bars, scaled", f"{market.variance_ratio:.2f}"),
        ("autocorrelation of log range, 1 / 16 / 96 / 672 bars", several(market.range_autocorrelation)),
        ("of absolute returns", several(market.return_size_autocorrelation)),
        ("deviation of a day's log volatility", f"{market.daily_volatility_spread:.2f}"),
        ("absolute return, quietest / busiest hour ÷ mean", several((quietest, busiest))),
        ("absolute return, weekend ÷ week", f"{market.weekend:.2f}"),
        ("correlation of log volume and log range", f"{market.volume_to_range:.2f}"),
        ("funding, mean, basis points", f"{rates.mean:.2f}"),
        ("funding, 1 / 5 / 50 / 95 / 99 %", several(rates.quantiles, 1)),
        ("funding, exactly 1 basis point / below 0", several((rates.at_interest, rates.negative))),
        ("funding, rank autocorrelation, 1 / 21 settlements", several(rates.rank_autocorrelation)),
        ("funding, rank correlation with 3 days' return", f"{rates.momentum:.2f}"),
    ]
