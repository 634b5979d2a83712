"""The recorded market of one symbol: columns, to which a market followed in real time appends."""

from array import array
from typing import NamedTuple

import numpy as np

from feeds.candles import CandleFeed

NOTHING = float("nan")


class Candle(NamedTuple):
    """A bar that has closed in real time."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    rate: float | None  #: funding settled at its end; None without any


class Recording:
    """The bars of one symbol, their funding and mark price, and the finer candles inside them.

    Attributes
    ----------
    time : open time of each bar, ms UTC.
    open, high, low, close, volume : of each bar.
    funding : rate settled since the bar before, NaN for none.
    mark : mark price at the bar's open; mark_low, mark_high : its extremes within the bar; NaN where it is not known.
    interval : bar length, ms.
    settlement_times : of all that are recorded, ms; None where funding is synthetic.
    """

    def __init__(self, feed: CandleFeed) -> None:
        bars = feed.bars()
        nothing = np.full(len(bars["time"]), NOTHING)
        self.time = array("q", bars["time"].tobytes())

        def column(name: str) -> "array[float]":
            return array("d", bars.get(name, nothing).tobytes())

        self.open, self.high, self.low, self.close = map(column, ("open", "high", "low", "close"))
        self.volume, self.funding = column("volume"), column("funding")
        self.mark, self.mark_low, self.mark_high = map(column, ("mark", "mark_low", "mark_high"))
        self.symbol: str = feed.p.name
        self.interval: int = feed.candles.interval_ms
        self.mark_is_fine: bool = feed.mark_is_fine
        self.detail = feed.detail
        self.settlement_times: np.ndarray | None = feed.p.funding.time if feed.has_funding else None

    def __len__(self) -> int:
        return len(self.time)

    def complete(self, row: int, candle: Candle) -> None:
        """Write the final prices of a bar, and append the next one, which opens at its close."""
        prices = (self.open, self.high, self.low, self.close)
        for column, price in zip(prices, candle[:4], strict=True):
            column[row] = price
            column.append(candle.close)
        self.volume[row] = candle.volume
        self.volume.append(1.0)
        self.time.append(self.time[row] + self.interval)
        self.funding.append(NOTHING if candle.rate is None else candle.rate)
        for column in (self.mark, self.mark_low, self.mark_high):
            column.append(NOTHING)
