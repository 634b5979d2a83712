"""Where the simulated exchange gets its funding rates from."""

from abc import ABC, abstractmethod
from collections import deque

import backtrader as bt

from gridv4_bt.compat import LineReader
from gridv4_bt.core.funding import premium_proxy, settles_between, synthetic_rate
from gridv4_bt.engine.matching import Bar

_NONE = float("nan")
_HOUR_MS = 3_600_000
_BAR_MS = 15 * 60_000


class FundingSource(ABC):
    """Tell the rate that is settled at a bar's open."""

    @abstractmethod
    def rate(self, before_ms: int, bar: Bar) -> float:
        """Return the rate settled in (`before_ms`, bar.time], or NaN if none is due.

        `before_ms` is the open time of the bar before, 0 at the first bar. Called once for every bar.
        """


class RecordedFunding(FundingSource):
    """The rates that came with the data, on the feed's ``funding`` line."""

    def __init__(self, data: bt.AbstractDataBase) -> None:
        self._reader = LineReader(data.lines.funding)

    def rate(self, before_ms: int, bar: Bar) -> float:
        return self._reader.read()[0]


class SyntheticFunding(FundingSource):
    """Rates made from the candles' momentum, for data without any."""

    def __init__(self, hours: float) -> None:
        self._interval = int(hours * _HOUR_MS)
        # Closes of the bars before this one: one funding period and the close it started from.
        self._closes: deque[float] = deque(maxlen=self._interval // _BAR_MS + 1)

    def rate(self, before_ms: int, bar: Bar) -> float:
        rate = _NONE
        closes = self._closes
        if before_ms and settles_between(before_ms, bar.time, self._interval):
            rate = synthetic_rate(premium_proxy(closes[-1], closes[0]))
        closes.append(bar.close)
        return rate
