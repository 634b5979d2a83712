"""A rough market for tests that need many fills, stops, cuts and crashes within few days, whatever real markets do.

It moves in spells (calm, up, down, crash) and is no likeness of a real one: that is `feeds.synthetic.sample_market`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pandas as pd

from feeds.synthetic import (
    LOTS_PER_UNIT,
    MINUTES_PER_BAR,
    MINUTES_PER_DAY,
    MINUTES_PER_SETTLEMENT,
    START_PRICE,
    TICKS_PER_UNIT,
    SampleMarket,
    aggregate,
    bar_times,
    candle_frame,
)
from gridv4_bt.core.funding import synthetic_rate
from gridv4_bt.core.time import MINUTE_MS

_MINUTE_SIGMA = 0.00062  # log return of an average minute of a calm spell
_FADING_SHARE = 0.3  # part of every shock that is taken back within hours
_FADING_HALF_LIFE = 300  # minutes
_MEDIAN_VOLUME = 90.0  # base units a minute

# Mean |return| and mean volume by UTC hour relative to the day's: Asia quiet, the New York open busy.
_HOURLY_SIGMA = (
    1.09, 1.05, 0.94, 0.81, 0.76, 0.77, 0.80, 0.82, 0.88, 0.83, 0.80, 0.83,
    1.00, 1.19, 1.44, 1.33, 1.22, 1.17, 1.11, 1.10, 1.08, 1.03, 1.02, 0.92,
)  # fmt: skip
_HOURLY_VOLUME = (
    0.93, 0.86, 0.78, 0.68, 0.63, 0.65, 0.70, 0.78, 0.88, 0.82, 0.82, 0.85,
    1.18, 1.51, 1.84, 1.69, 1.47, 1.25, 1.19, 1.13, 1.02, 0.81, 0.79, 0.76,
)  # fmt: skip
_WEEKEND_SIGMA = 0.75
_WEEKEND_VOLUME = 0.7  # on top of the calmer mood


@dataclass(frozen=True)
class _Spell:
    """One kind of market phase, such as calm or a crash."""

    #: shortest and longest duration, hours
    hours: tuple[float, float]
    #: smallest and largest log move of the whole spell
    move: tuple[float, float]
    #: volatility, multiple of the calm one
    sigma: float
    #: odds of the next spell
    then: dict[str, float]


_SPELLS = {
    "calm": _Spell((12, 72), (-0.004, 0.004), 0.85, {"up": 0.502, "down": 0.486, "crash": 0.012}),
    "up": _Spell((6, 48), (0.01, 0.055), 1.1, {"calm": 0.65, "down": 0.343, "crash": 0.007}),
    "down": _Spell((6, 40), (-0.055, -0.01), 1.25, {"calm": 0.62, "up": 0.373, "crash": 0.007}),
    "crash": _Spell((2, 6), (-0.20, -0.10), 3.0, {"aftermath": 1.0}),
    "aftermath": _Spell((10, 24), (0.01, 0.05), 2.0, {"calm": 0.6, "up": 0.4}),
}


def busy_market(seed: int = 4, days: int = 365, start: str = "2024-01-01") -> SampleMarket:
    """Invent a market.

    Parameters
    ----------
    seed: the same seed gives the same market
    days: length, days of 96 bars
    start: first day, midnight UTC
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    size = days * MINUTES_PER_DAY
    minute = np.arange(size)
    first_ms = int(pd.Timestamp(start, tz="UTC").timestamp() * 1000)
    is_weekend = (first_ms // (MINUTE_MS * MINUTES_PER_DAY) + minute // MINUTES_PER_DAY + 3) % 7 >= 5

    drift, spell_sigma = _weather(rng, size)
    mood = 0.35 * _slow_noise(rng, size, 2 * MINUTES_PER_DAY) + 0.35 * _slow_noise(rng, size, 90)
    mood_sigma = np.exp(mood - 0.12) * np.where(is_weekend, _WEEKEND_SIGMA, 1.0)
    # A trend in a sleepy market is slow too; at full speed it would be a ruled line.
    drift *= np.minimum(mood_sigma, 1.0)
    sigma = _MINUTE_SIGMA * spell_sigma * mood_sigma * _daily(_HOURLY_SIGMA, minute)
    surprise = _student_4(rng, size)
    shock = sigma * surprise
    keep = 0.5 ** (1 / _FADING_HALF_LIFE)
    fading = accumulate((_FADING_SHARE * shock).tolist(), lambda held, new: keep * held + new)
    log_close = np.cumsum(drift + (1 - _FADING_SHARE) * shock) + np.fromiter(fading, np.float64, size)

    prices = _minute_prices(rng, log_close, sigma)
    activity = (0.35 + np.abs(surprise)) * spell_sigma * mood_sigma * _daily(_HOURLY_VOLUME, minute)
    activity *= np.where(is_weekend, _WEEKEND_VOLUME, 1.0)
    volume = _MEDIAN_VOLUME * activity * np.exp(0.6 * rng.standard_normal(size))
    lots = np.rint(volume * LOTS_PER_UNIT).astype(np.int64)

    minutes = candle_frame(first_ms, 1, *prices, lots)
    candles = candle_frame(first_ms, MINUTES_PER_BAR, *aggregate(*prices, lots))
    return SampleMarket(candles, minutes, _funding(rng, first_ms, log_close))


def _weather(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return drift (log return) and volatility multiple of every minute, from a chain of spells."""
    drift, sigma = np.empty(size), np.empty(size)
    kind, begin, height = "calm", 0, 0.0
    while begin < size:
        spell = _SPELLS[kind]
        shortest, longest = spell.hours
        smallest, largest = spell.move
        length = int(60 * (shortest + (longest - shortest) * rng.random()))
        move = smallest + (largest - smallest) * rng.random()
        end = min(begin + length, size)
        drift[begin:end] = move / length
        sigma[begin:end] = spell.sigma
        if kind == "aftermath":
            sigma[begin:end] = 0.9 + 1.6 * np.exp(-np.arange(end - begin) / (length / 2))
        begin, height = end, height + move
        kind = _next_kind(rng.random(), spell.then, height)
    return drift, sigma


def _next_kind(chance: float, odds: dict[str, float], height: float) -> str:
    """Draw the next spell; the further the market has run, the likelier it turns back."""
    tilt = min(max(-0.8 * height, -0.6), 0.6)
    weights = {"up": 1 + tilt, "down": 1 - tilt}
    tilted = {kind: odd * weights.get(kind, 1.0) for kind, odd in odds.items()}
    left = chance * sum(tilted.values())
    for kind, odd in tilted.items():
        left -= odd
        if left < 0:
            return kind
    return kind  # rounding can leave a rest


def _slow_noise(rng: np.random.Generator, size: int, half_life: int) -> np.ndarray:
    """Return mean-reverting noise of unit variance, one value a minute; half-life in minutes."""
    steps = size // MINUTES_PER_BAR + 1
    keep = 0.5 ** (MINUTES_PER_BAR / half_life)
    pushes = rng.standard_normal(steps)
    pushes[1:] *= np.sqrt(1 - keep * keep)
    values = list(accumulate(pushes.tolist(), lambda held, new: keep * held + new))
    return np.interp(np.arange(size), np.arange(steps) * MINUTES_PER_BAR, values)


def _student_4(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw Student-t with 4 degrees of freedom, scaled to unit variance."""
    # Two uniforms make the chi-square of 4 degrees: -2*ln(u*v). 1 - u is never 0.
    chi_square = -2 * np.log((1 - rng.random(size)) * (1 - rng.random(size)))
    return rng.standard_normal(size) / np.sqrt(chi_square / 4) / np.sqrt(2)


def _daily(hourly: tuple[float, ...], minute: np.ndarray) -> np.ndarray:
    """Return an hourly profile as a smooth factor for every minute; the hour's value is that of its middle."""
    centres = 60 * np.arange(24) + 30
    day = np.interp(np.arange(MINUTES_PER_DAY), centres, hourly, period=MINUTES_PER_DAY)
    return day[minute % MINUTES_PER_DAY]


def _minute_prices(
    rng: np.random.Generator, log_close: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return open, high, low, close of every minute in ticks (int64).

    Highest and lowest are those of a Brownian path from open to close, drawn from their exact laws.
    """
    size = len(log_close)
    close = np.rint(START_PRICE * np.exp(log_close) * TICKS_PER_UNIT).astype(np.int64)
    nudge = rng.random(size)
    open_ = np.empty_like(close)
    open_[0] = START_PRICE * TICKS_PER_UNIT
    open_[1:] = close[:-1] + (nudge[1:] < 0.25) - (nudge[1:] > 0.75)
    width = (0.8 * sigma * close) ** 2
    span = (close - open_).astype(np.float64) ** 2
    above = np.sqrt(span - 2 * width * np.log(1 - rng.random(size)))
    below = np.sqrt(span - 2 * width * np.log(1 - rng.random(size)))
    high = np.maximum(np.rint((open_ + close + above) / 2).astype(np.int64), np.maximum(open_, close))
    low = np.minimum(np.rint((open_ + close - below) / 2).astype(np.int64), np.minimum(open_, close))
    return open_, high, low, close


def _funding(rng: np.random.Generator, first_ms: int, log_close: np.ndarray) -> pd.DataFrame:
    """Return funding at every settlement, from a premium that reverts to its mean and follows momentum."""
    settled = np.arange(0, len(log_close), MINUTES_PER_SETTLEMENT)
    momentum = log_close[settled] - log_close[np.maximum(settled - MINUTES_PER_DAY, 0)]
    pushes = 0.0045 * momentum + 0.0003 * rng.standard_normal(len(settled))
    premiums = accumulate(pushes.tolist(), lambda held, new: 0.75 * held + new)
    rates = [round(synthetic_rate(0.0001 + premium), 8) for premium in premiums]
    return pd.DataFrame({"time": bar_times(first_ms, MINUTES_PER_SETTLEMENT, len(settled)), "rate": rates})
