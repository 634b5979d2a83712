"""The embedded sample market: a synthetic perpetual for trying the programs without any file.

It is invented by a random generator, minute by minute. The parameters are fitted to statistics of real 15m candles and
funding, to the middle of BTCUSDT, ETHUSDT and SOLUSDT in 2021/22 to 2026, and to nothing that a strategy makes of them.
`docs/sample-market.md` has the statistics side by side, `gridv4_bt/validation/market_statistics.py` measures them, and
`tests/feeds/test_sample_statistics.py` holds them.

* The logarithm of the volatility is the sum of mean-reverting parts that last from months to minutes, on top of a daily
  and weekly pattern.
* Bursts raise the variance suddenly to a multiple with a heavy tail, and fade within minutes; some have aftershocks.
  They have no direction.
* A fall over few minutes that is deeper than usual overshoots: a part comes back within minutes, a part within hours.
  Rises do not overshoot.
* Funding is the exchange's formula over a premium with eras near and above zero, which follows momentum a little and
  is the wilder the more volatile the market is.

The same seed gives the same market everywhere: only plain uniform and normal draws, element-wise maths and running sums
are used. The last bit of a logarithm differs between builds of numpy; it gets lost because volatility, returns, prices,
volumes and the premium are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from gridv4_bt.core.funding import synthetic_rate
from gridv4_bt.core.time import MINUTE_MS

if TYPE_CHECKING:
    import pandas as pd

SYMBOL = "SAMPLEUSDT"
NOTICE = (
    "SYNTHETIC DATA: this market is invented by a random generator. "
    "Its results say nothing about any real market; use real candles before you believe anything."
)

#: Of 40 seeds the one whose first year is nearest to the statistics of the real markets: benchmarks/sample_market.py.
DEFAULT_SEED = 32
START_PRICE = 40_000.0
TICKS_PER_UNIT = 10  # tick 0.1
LOTS_PER_UNIT = 1_000  # lot 0.001
MINUTES_PER_DAY = 1_440
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
MINUTES_PER_BAR = 15
MINUTES_PER_SETTLEMENT = 480

_MINUTE_SIGMA = 0.0005  # deviation of the log return of a minute in the median mood, without bursts
_MEDIAN_VOLUME = 80.0  # base units a minute
_RETURN_UNIT = 1e-9  # log returns are multiples of it
_VOLATILITY_UNIT = 1 / 65_536  # logarithms of the volatility too

# Parts of the logarithm of the volatility: deviation, and minutes to forget it.
_MOODS = ((0.35, 80 * MINUTES_PER_DAY), (0.26, 2_160), (0.16, 180))
_QUICK_MOOD = (0.17, 40)
_QUICK_STEP = 5  # minutes from one draw of it to the next
# Interest that moves the volume alone.
_INTERESTS = ((0.35, 20 * MINUTES_PER_DAY), (0.35, 120))

# Mean |return| and mean volume by UTC hour relative to the day's: Asia quiet, the New York open busy.
_HOURLY_SIGMA = (
    1.13, 1.07, 0.97, 0.85, 0.79, 0.81, 0.83, 0.84, 0.90, 0.85, 0.82, 0.83,
    1.00, 1.17, 1.37, 1.29, 1.20, 1.14, 1.09, 1.05, 1.05, 1.02, 1.02, 0.92,
)  # fmt: skip
_HOURLY_VOLUME = (
    0.98, 0.90, 0.82, 0.72, 0.68, 0.70, 0.75, 0.82, 0.91, 0.86, 0.84, 0.86,
    1.15, 1.45, 1.75, 1.63, 1.44, 1.23, 1.14, 1.05, 0.97, 0.78, 0.80, 0.77,
)  # fmt: skip
_WEEKEND_SIGMA = 0.70
_WEEKEND_VOLUME = 0.85  # on top of the calmer mood

# Bursts. Their height is by what multiple of the present variance they raise it.
_BURSTS_PER_DAY = 1.7  # without aftershocks
_BURST_HEIGHT = 16.0  # least
_BURST_TAIL = 1.52  # exponent of the tail of the heights
_HIGHEST_BURST = 300.0
_BURST_FADES = ((1.0, 8), (0.03, 120), (0.005, 1_440))  # shares of the height, and minutes to forget them
_BURST_END = 8 * MINUTES_PER_DAY  # minutes after which nothing is left
_AFTERSHOCKS = 0.25  # chance of each further one
_AFTERSHOCK_DELAY = 180.0  # minutes, mean

_BOUNCE = (0.09, 0.045)  # shares of every shock that are not yet taken back in its minute and in the next one
_TREND = (0.010, 480)  # drift: deviation as a multiple of the volatility, and minutes to forget it

# Panic: how much deeper a fast fall is than usual.
_FALL_MEMORY = 8  # minutes to forget the parts of a fall
_USUAL_FALL = 3.5  # deviations of a bar's log return in the present mood, without bursts
_DEEPEST_PANIC = 1.5  # usual falls, never reached
_WICK = 1.0  # mean overshoot within the minute, multiple of the panic
_OVERSHOOT = 0.40  # overshoot that follows the panic, multiple of it
_HANGOVER = (0.55, 300)  # overshoot that follows the panic down and fades: multiple of it, and minutes to forget it

# The premium of the perpetual over its index, basis points.
_PREMIUM_FEAR, _PREMIUM_GREED = -4.7, 8.3  # means of the two eras
_ERA = (0.9, 200)  # deviation, and settlements to forget it
_ERA_MEAN, _ERA_MOMENTUM, _ERA_SLOPE = -1.05, 2.0, 4.0  # above 0 greed prevails; what a log return of 30 days adds
_PREMIUM_MOMENTUM = 2.5  # what a log return of 3 days adds
_PREMIUM_NOISE = (0.30, 0.8)  # deviation, and what greed adds to it
_PREMIUM_MEMORY = 4  # settlements to forget the noise


@dataclass(frozen=True, eq=False)
class SampleMarket:
    """A synthetic market; show `NOTICE` with any result of it."""

    #: 15m candles: time (bar open, UTC), open, high, low, close, volume
    candles: pd.DataFrame
    #: the 1m candles the 15m ones are made of, same columns
    minutes: pd.DataFrame
    #: funding every 8 h: time (UTC), rate (fraction)
    funding: pd.DataFrame


def sample_market(seed: int = DEFAULT_SEED, days: int = 365, start: str = "2024-01-01") -> SampleMarket:
    """Invent a market.

    Parameters
    ----------
    seed: the same seed gives the same market
    days: length, days of 96 bars
    start: first day, midnight UTC
    """
    import pandas as pd

    rng = np.random.Generator(np.random.PCG64(seed))
    size = days * MINUTES_PER_DAY
    # The first use of pandas. Loaded after the arrays of half a million minutes it would keep their memory.
    first_ms = int(pd.Timestamp(start, tz="UTC").timestamp() * 1000)
    minute_of_week = (first_ms // MINUTE_MS + 3 * MINUTES_PER_DAY + np.arange(size)) % MINUTES_PER_WEEK

    mood = sum(_noise(rng, size, *part) for part in _MOODS)
    quick_mood = _noise(rng, size, *_QUICK_MOOD, _QUICK_STEP)
    usual = _MINUTE_SIGMA * np.exp(_rounded(mood)) * _weekly(_HOURLY_SIGMA, _WEEKEND_SIGMA)[minute_of_week]
    excitement = _rounded(quick_mood + 0.5 * np.log(1 + _bursts(rng, size)))
    scale, surprise = _student_6(rng, size)
    sigma = usual * np.exp(excitement) * scale
    shock = sigma * surprise
    panic = _panic(shock, usual)
    returns = usual * _noise(rng, size, *_TREND) + shock + np.diff(_temporary(shock, panic), prepend=0.0)
    log_close = np.cumsum(np.rint(returns / _RETURN_UNIT).astype(np.int64)) * _RETURN_UNIT

    prices = _minute_prices(rng, log_close, sigma, panic)
    busy_hours = _weekly(_HOURLY_VOLUME, _WEEKEND_VOLUME) / _weekly(_HOURLY_SIGMA, 1.0)
    activity = (0.35 + np.abs(surprise)) * (sigma / _MINUTE_SIGMA) ** 1.2 * busy_hours[minute_of_week]
    interest = sum(_noise(rng, size, *part) for part in _INTERESTS)
    volume = _MEDIAN_VOLUME * activity * np.exp(interest + 0.6 * rng.standard_normal(size))
    lots = np.rint(volume * LOTS_PER_UNIT).astype(np.int64)

    minutes = candle_frame(first_ms, 1, *prices, lots)
    candles = candle_frame(first_ms, MINUTES_PER_BAR, *aggregate(*prices, lots))
    return SampleMarket(candles, minutes, _funding(rng, first_ms, log_close, sigma))


def _noise(
    rng: np.random.Generator, size: int, deviation: float, memory: int, step: int = MINUTES_PER_BAR
) -> np.ndarray:
    """Return mean-reverting noise, one value a minute.

    It is drawn every `step` minutes, and lines join the draws; `memory`: minutes to forget a value.
    """
    steps = -(-size // step) + 1
    at = np.arange(steps) * step
    return np.interp(np.arange(size), at, _reverting(rng, steps, deviation, memory / step))


def _reverting(rng: np.random.Generator, steps: int, deviation: float, memory: float) -> np.ndarray:
    """Return mean-reverting noise; `memory`: steps to forget a value."""
    keep = 1 - 1 / memory
    pushes = deviation * rng.standard_normal(steps)
    pushes[1:] *= np.sqrt(1 - keep * keep)
    return _sum_left(pushes, keep)


def _sum_left(pushes: np.ndarray, keep: float) -> np.ndarray:
    """Return what is left of all pushes so far; `keep`: share of it after one step."""
    left = accumulate(pushes.tolist(), lambda held, new: keep * held + new)
    return np.fromiter(left, np.float64, len(pushes))


def _most_left(pushes: np.ndarray, keep: float) -> np.ndarray:
    """Return what is left of the push so far of which most is left; `keep`: share of it after one step."""

    def larger(held: float, new: float) -> float:
        return max(keep * held, new)

    return np.fromiter(accumulate(pushes.tolist(), larger), np.float64, len(pushes))


def _rounded(log_volatility: np.ndarray) -> np.ndarray:
    return np.rint(log_volatility / _VOLATILITY_UNIT) * _VOLATILITY_UNIT


def _bursts(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return by what multiple bursts raise the variance of every minute."""
    begins = np.flatnonzero(rng.random(size) < _BURSTS_PER_DAY / MINUTES_PER_DAY).tolist()
    fading = sum(share * np.cumprod(np.full(_BURST_END, 1 - 1 / memory)) for share, memory in _BURST_FADES)
    raised = np.zeros(size + _BURST_END)
    while begins:
        begin = begins.pop()
        height = min(_BURST_HEIGHT * (1 - rng.random()) ** (-1 / _BURST_TAIL), _HIGHEST_BURST)
        raised[begin : begin + _BURST_END] += height * fading
        while rng.random() < _AFTERSHOCKS:
            later = begin + 1 + int(-_AFTERSHOCK_DELAY * np.log(1 - rng.random()))
            if later < size:
                begins.append(later)
    return raised[:size]


def _panic(shock: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return how much deeper than usual the market has fallen in the last minutes, log, at least 0.

    Parameters
    ----------
    shock: lasting part of the log return of every minute
    usual: deviation of the log return of every minute in the mood of its hours
    """
    usual_fall = _USUAL_FALL * np.sqrt(MINUTES_PER_BAR) * usual
    deeper = np.maximum(-_sum_left(shock, 1 - 1 / _FALL_MEMORY) - usual_fall, 0.0)
    return deeper / (1 + deeper / (_DEEPEST_PANIC * usual_fall))


def _temporary(shock: np.ndarray, panic: np.ndarray) -> np.ndarray:
    """Return how far the log price of every minute is from where it settles."""
    share, memory = _HANGOVER
    bounce = _BOUNCE[0] * shock
    bounce[1:] += _BOUNCE[1] * shock[:-1]
    return bounce - _OVERSHOOT * panic - share * _most_left(panic, 1 - 1 / memory)


def _student_6(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw Student-t with 6 degrees of freedom and unit variance, as a scale and a normal factor."""
    # Three uniforms make the chi-square of 6 degrees: -2*ln(u*v*w). 1 - u is never 0.
    chi_square = -2 * np.log((1 - rng.random(size)) * (1 - rng.random(size)) * (1 - rng.random(size)))
    return np.sqrt(4.0 / chi_square), rng.standard_normal(size)


def _weekly(hourly: tuple[float, ...], weekend: float) -> np.ndarray:
    """Return an hourly profile as a smooth factor for every minute of a week that begins on Monday.

    The hour's value is that of its middle; `weekend`: factor on Saturdays and Sundays.
    """
    week = np.array(hourly * 7) * np.repeat((1.0, weekend), (5 * 24, 2 * 24))
    centres = 60 * np.arange(7 * 24) + 30
    return np.interp(np.arange(MINUTES_PER_WEEK), centres, week, period=MINUTES_PER_WEEK)


def _minute_prices(
    rng: np.random.Generator, log_close: np.ndarray, sigma: np.ndarray, panic: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return open, high, low, close of every minute in ticks (int64).

    Highest and lowest are those of a Brownian path from open to close, drawn from their exact laws; in a panic the
    lowest lies still lower.
    """
    size = len(log_close)
    close = np.rint(START_PRICE * np.exp(log_close) * TICKS_PER_UNIT).astype(np.int64)
    nudge = rng.random(size)
    open_ = np.empty_like(close)
    open_[0] = START_PRICE * TICKS_PER_UNIT
    open_[1:] = close[:-1] + (nudge[1:] < 0.25) - (nudge[1:] > 0.75)
    width = (sigma * close) ** 2
    span = (close - open_).astype(np.float64) ** 2
    above = np.sqrt(span - 2 * width * np.log(1 - rng.random(size)))
    below = np.sqrt(span - 2 * width * np.log(1 - rng.random(size)))
    high = np.maximum(np.rint((open_ + close + above) / 2).astype(np.int64), np.maximum(open_, close))
    dip = -_WICK * panic * close * np.log(1 - rng.random(size))
    low = np.minimum(np.rint((open_ + close - below) / 2 - dip).astype(np.int64), np.minimum(open_, close))
    return open_, high, low, close


def aggregate(
    open_: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, lots: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return candles of 15 minutes from those of one."""
    shape = (-1, MINUTES_PER_BAR)
    return (
        open_[::MINUTES_PER_BAR],
        high.reshape(shape).max(axis=1),
        low.reshape(shape).min(axis=1),
        close[MINUTES_PER_BAR - 1 :: MINUTES_PER_BAR],
        lots.reshape(shape).sum(axis=1),
    )


def candle_frame(
    first_ms: int, step: int, open_: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, lots: np.ndarray
) -> pd.DataFrame:
    """Return candles as a DataFrame; `step` minutes a bar, prices in ticks, volume in lots."""
    import pandas as pd

    return pd.DataFrame(
        {
            "time": bar_times(first_ms, step, len(open_)),
            "open": open_ / TICKS_PER_UNIT,
            "high": high / TICKS_PER_UNIT,
            "low": low / TICKS_PER_UNIT,
            "close": close / TICKS_PER_UNIT,
            "volume": lots / LOTS_PER_UNIT,
        }
    )


def bar_times(first_ms: int, step: int, size: int) -> pd.DatetimeIndex:
    """Return the times of `size` bars of `step` minutes each."""
    import pandas as pd

    stamps = (first_ms + step * MINUTE_MS * np.arange(size)).astype("datetime64[ms]")
    return pd.DatetimeIndex(stamps, tz="UTC")


def _funding(rng: np.random.Generator, first_ms: int, log_close: np.ndarray, sigma: np.ndarray) -> pd.DataFrame:
    """Return funding at every settlement; it follows from what was before its minute."""
    import pandas as pd

    settled = np.arange(0, len(log_close), MINUTES_PER_SETTLEMENT)
    count = len(settled)
    before = np.concatenate([[0.0], log_close[:-1]])

    def momentum(days: int) -> np.ndarray:
        return before[settled] - before[np.maximum(settled - days * MINUTES_PER_DAY, 0)]

    unrest = np.ones(count)
    unrest[1:] = (np.add.reduceat(sigma, settled) / (MINUTES_PER_SETTLEMENT * _MINUTE_SIGMA))[:-1] ** 1.5
    era = _ERA_MEAN + _ERA_MOMENTUM * momentum(30) + _reverting(rng, count, *_ERA)
    greed = 1 / (1 + np.exp(-_ERA_SLOPE * era))
    calm, greedy = _PREMIUM_NOISE
    noise = (calm + greedy * greed) * unrest * _reverting(rng, count, 1.0, _PREMIUM_MEMORY)
    premium = _PREMIUM_FEAR + (_PREMIUM_GREED - _PREMIUM_FEAR) * greed + _PREMIUM_MOMENTUM * momentum(3) + noise
    rates = [round(synthetic_rate(points / 10_000), 8) for points in np.round(premium, 6).tolist()]
    return pd.DataFrame({"time": bar_times(first_ms, MINUTES_PER_SETTLEMENT, count), "rate": rates})
