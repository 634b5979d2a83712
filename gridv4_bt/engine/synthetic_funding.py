"""Funding rates for data that has none."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.funding import premium_proxy, settles_between, synthetic_rate
from gridv4_bt.core.time import BAR_MS, HOUR_MS
from gridv4_bt.engine.book import Bar

_NONE = float("nan")


class SyntheticFunding:
    """Funding rates made from the momentum of the candles.

    Parameters
    ----------
    hours : from one settlement to the next.
    """

    def __init__(self, hours: float) -> None:
        self._interval = int(hours * HOUR_MS)
        # Closes of the bars before this one: one funding period and the close it started from.
        self._closes: deque[float] = deque(maxlen=self._interval // BAR_MS + 1)

    def rate(self, before_ms: int, bar: Bar) -> float:
        """Return the rate settled in (`before_ms`, bar.time], or NaN if none is due.

        `before_ms` is the open time of the bar before, 0 at the first bar. Call it once for every bar.
        """
        rate = _NONE
        closes = self._closes
        if before_ms and settles_between(before_ms, bar.time, self._interval):
            rate = synthetic_rate(premium_proxy(closes[-1], closes[0]))
        closes.append(bar.close)
        return rate


def synthetic_settlements(
    hours: float, times: NDArray[np.int64], closes: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return at which rows of a symbol's bars (ms, quote) a settlement is due, and the rates of `SyntheticFunding`."""
    interval = int(hours * HOUR_MS)
    period = interval // BAR_MS + 1
    rows = np.flatnonzero(settles_between(times[:-1], times[1:], interval)) + 1
    pairs = zip(closes[rows - 1].tolist(), closes[np.maximum(rows - period, 0)].tolist(), strict=True)
    return rows, np.array([synthetic_rate(premium_proxy(*pair)) for pair in pairs])
