"""The orders and fills of one symbol, bound to the Backtrader feed that brings its bars."""

from array import array
from collections.abc import Sequence
from typing import Any

import backtrader as bt
import numpy as np

from gridv4_bt.compat import LineReader, epoch_ms, is_preloaded, times_ms
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Costs
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.state import INFINITY
from gridv4_bt.engine.symbol_book import SymbolBook
from gridv4_bt.engine.synthetic_funding import synthetic_settlements
from gridv4_bt.indicators.atr import log_returns, rolling_deviation, sample_deviation

_NONE = float("nan")
_TICKS = ("open", "high", "low", "close", "volume")


class FeedBook(SymbolBook):
    """A symbol's book that reads its bars from the lines of a feed."""

    def __init__(
        self,
        data: bt.AbstractDataBase,
        history: MarketHistory,
        account: Account,
        costs: Costs,
        funding_hours: float,
        intrabar: str,
        leverage: float,
    ) -> None:
        recorded = getattr(data, "has_funding", False)
        self._due = None if recorded else self._synthetic_rates(data, funding_hours)
        super().__init__(
            history,
            account,
            costs,
            funding_hours,
            intrabar,
            leverage,
            has_funding=recorded or self._due is not None,
            detail=getattr(data, "detail", None),
            time_ms=epoch_ms(data.datetime[0]) if len(data) else 0,
        )
        self.data = data
        self.owner: bt.Strategy | None = None
        self.last_ms = getattr(data, "last_ms", INFINITY)  #: open time of its last bar, if it is known
        self.delisted = False  #: its data are over and another symbol's go on
        self._bars = len(data)  # a book opened in the middle of a run waits for the next bar
        self.state.has_bar = 0
        lines = data.lines
        self._clock = lines.datetime
        self._reader = LineReader(
            lines.datetime,
            lines.open,
            lines.high,
            lines.low,
            lines.close,
            lines.volume,
            lines.funding if recorded else lines.datetime,
        )
        self._sigma_key = (0, 0)
        self._sigma = 0.0
        self._sigmas: dict[int, Sequence[float]] = {}  #: by bars: of each bar of a preloaded feed that has so many
        self._mark = getattr(lines, "mark", None)
        fine = getattr(data, "mark_is_fine", False)
        self._mark_range = (lines.mark_low, lines.mark_high) if fine else None

    def is_behind(self) -> bool:
        """Return whether the feed shows a bar that was not read yet."""
        return bool(self._clock.lencount != self._bars)

    def next_bar(self) -> bool:
        """Read the feed's bar if it is a new one and settle the funding due at its open.

        Without a new one the symbol counts with its last close: the range of the bar before is over.
        """
        bars = self._clock.lencount
        self.state.has_bar = bars != self._bars
        if bars == self._bars:
            self._stand_still()
            return False
        self._bars = bars
        days, open_, high, low, close, volume, rate = self._reader.read()
        if self._due is not None:
            rate = self._due.get(bars - 1, _NONE)
        self.take_bar(epoch_ms(days), open_, high, low, close, volume, rate)
        if self._mark_range is not None:
            low, high = self._mark_range
            self.take_mark(low[0], high[0])
        return True

    def _stand_still(self) -> None:
        bar = self.bar
        bar.open = bar.high = bar.low = bar.close
        bar.mark_low = bar.mark_high = bar.mark_close

    def sigma(self, bars: int) -> float:
        """Return the volatility of the closes up to now, over fewer than `bars` while there are fewer; per bar."""
        known = self._sigmas.get(bars)
        if known is None:
            known = self._sigmas[bars] = self._all_sigmas(bars)
        place = self._bars - 1 - bars
        if 0 <= place < len(known):
            return known[place]
        if self._sigma_key != (bars, self._bars):
            self._sigma_key = bars, self._bars
            closes = self.data.close.get(size=min(bars, self._bars - 1) + 1)
            self._sigma = sample_deviation(log_returns(closes)) if len(closes) > 2 else 0.0
        return self._sigma

    def rates(self, rows: slice) -> Sequence[float]:
        """Return the funding rate settled at each of these bars (from 0) of a preloaded feed, NaN for none."""
        if self._due is None:
            recorded: Sequence[float] = self.data.lines.funding.array[rows]
            return recorded
        return [self._due.get(row, _NONE) for row in range(rows.start, rows.stop)]

    def _synthetic_rates(self, data: bt.AbstractDataBase, hours: float) -> dict[int, float] | None:
        """Return the synthetic rates by bar (from 0); None where the bars to come are unknown, and so are the rates."""
        bars = data.buflen()
        # A feed of two Cerebros may be loaded in the one that does not run.
        if not is_preloaded(data) or not bars or data._filters or len(data):
            return None
        times, closes = (np.array(line.array[:bars]) for line in (data.lines.datetime, data.lines.close))
        rows, rates = synthetic_settlements(hours, times_ms(times), closes)
        return dict(zip(rows.tolist(), rates.tolist(), strict=True))

    def _all_sigmas(self, bars: int) -> Sequence[float]:
        """Return the volatility at each bar from number `bars` (from 0) on; none unless all bars are loaded."""
        if not is_preloaded(self.data):
            return ()
        return array("d", rolling_deviation(self.data.lines.close.array, bars).tobytes())

    def mark_at_open(self) -> float:
        return _NONE if self._mark is None else self._mark[0]


class TickBook(FeedBook):
    """The book of a feed that is replayed: the bars it matches are the ticks by which the feed's bar grows.

    A tick is told by its time, because the feed gets no longer with it.
    """

    def __init__(self, data: bt.AbstractDataBase, *others: Any) -> None:
        super().__init__(data, *others)
        self._seen = data.datetime[0] if len(data) else 0.0

    def is_behind(self) -> bool:
        return len(self.data) > 0 and self._clock[0] != self._seen

    def next_bar(self) -> bool:
        is_new = self.is_behind()
        self.state.has_bar = is_new
        if not is_new:
            self._stand_still()
            return False
        data, self._seen, self._bars = self.data, self._clock[0], self._clock.lencount
        rate = data.tick_funding if getattr(data, "has_funding", False) else _NONE
        open_, high, low, close, volume = (float(getattr(data, f"tick_{name}")) for name in _TICKS)
        self.take_bar(epoch_ms(self._seen), open_, high, low, close, volume, rate)
        if self._mark_range is not None:
            self.take_mark(data.tick_mark_low, data.tick_mark_high)
        return True

    def mark_at_open(self) -> float:
        return _NONE if self._mark is None else float(self.data.tick_mark)
