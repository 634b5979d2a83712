"""The replay of recorded candles: the books of several symbols, advanced together bar by bar.

The inside of a bar is unknown until it is over, so the replay stays at a bar's open until the bar ends; then the whole
bar is matched. With finer candles the same holds for each of them. Market orders get the open. The last price is the
close of the bar before: the orders of a backtest rest from the close at which they were decided, so post-only orders,
stops and margin are checked against that close, and not against an open that may be a tick away from it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import HOUR_MS, MINUTE_MS, iso
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import Bar, Costs
from gridv4_bt.engine.market import MarketHistory
from gridv4_bt.engine.symbol_book import SymbolBook
from gridv4_bt.engine.venue import moments, stand_at
from gridv4_bt.errors import DataError
from gridv4_bt.exchange.recording import Candle, Recording


class Settlement(NamedTuple):
    """One funding settlement of a symbol."""

    time: int  #: open time of the bar at whose open it is charged, ms
    rate: float
    mark: float  #: price it is charged at
    paid: float  #: by the account, quote; negative if received


class ReplayBook(SymbolBook):
    """A symbol's book that reads its bars from a recording, with its settlements, forming candle and last price."""

    def __init__(
        self, recording: Recording, history: MarketHistory, account: Account, costs: Costs, config: GridConfig
    ) -> None:
        super().__init__(
            history,
            account,
            costs,
            config.funding_hours,
            config.intrabar,
            config.leverage,
            has_funding=recording.settlement_times is not None,
            detail=recording.detail,
        )
        self.interval = recording.interval  #: bar length, ms
        self._recording = recording
        self._row = -1  # of the recording
        self.settled: list[Settlement] = []
        self.price = 0.0  #: last traded
        self.forming: list[float] = []  #: open, high, low, close, volume of the current bar so far
        self._funding_ms = int(config.funding_hours * HOUR_MS)

    @property
    def leverage(self) -> float:
        """Initial leverage."""
        return self._leverage

    @leverage.setter
    def leverage(self, leverage: float) -> None:
        self._leverage = leverage
        self.max_notional = self.market.max_notional(leverage)

    @property
    def first_time(self) -> int:
        """Open time of the first recorded bar, ms."""
        return self._recording.time[0]

    def settle_funding(self, rate: float) -> None:
        """Charge a settlement and add it to `settled`."""
        before = self.account.funding
        super().settle_funding(rate)
        paid = self.account.funding - before
        self.settled.append(Settlement(self._whole.time, rate, self.settlement_price(), paid))

    def next_settlement(self, now: int) -> int:
        """Return the time of the next settlement, ms; after the last recorded one, the next multiple of 8 hours."""
        times = self._recording.settlement_times
        if times is None:
            return (now // self._funding_ms + 1) * self._funding_ms
        later = times[times.searchsorted(now, side="right") :]
        return int(later[0]) if len(later) else (now // (8 * HOUR_MS) + 1) * 8 * HOUR_MS

    def begin_bar(self, time_ms: int) -> bool:
        """Read the bar that opens at or before a time and return True, or False if there is none."""
        bars, row = self._recording, self._row + 1
        if row == len(bars) or bars.time[row] > time_ms:
            return False
        self._row = row
        self.take_bar(
            bars.time[row],
            bars.open[row],
            bars.high[row],
            bars.low[row],
            bars.close[row],
            bars.volume[row],
            bars.funding[row],
        )
        if bars.mark_is_fine:
            self.take_mark(bars.mark_low[row], bars.mark_high[row])
        self.price = bars.close[row - 1] if row > 0 else self.bar.open
        self.forming = [self.bar.open] * 4 + [0.0]
        return True

    def mark_at_open(self) -> float:
        return self._recording.mark[self._row]

    def leave_part(self) -> None:
        """Add the current part of the bar to the forming candle and take its close as the last price."""
        bar, forming = self.bar, self.forming
        forming[1] = max(forming[1], bar.high)
        forming[2] = min(forming[2], bar.low)
        forming[3] = self.price = bar.close
        forming[4] += bar.volume

    def complete(self, candle: Candle) -> None:
        """Write the final prices of the current bar, and append the next one, which opens at its close."""
        bar = self.bar
        bar.open, bar.high, bar.low, bar.close, bar.volume = candle[:5]
        bar.mark_low, bar.mark_high, bar.mark_close = candle.low, candle.high, candle.close
        self.forming[0] = candle.open
        self._recording.complete(self._row, candle)

    def candles(self, interval: int, first_ms: int, last_ms: int, over: bool) -> np.ndarray:
        """Return rows of time (ms), open, high, low, close, volume of the candles that open from first to last.

        Parameters
        ----------
        interval : a multiple of the bars' length, ms.
        over : whether the last bar has closed; else it is the forming candle.
        """
        bars, last = self._recording, self._row
        began = bars.time[0]
        begin = max((-(-first_ms // interval) * interval - began) // self.interval, 0)
        end = min((last_ms // interval * interval + interval - began) // self.interval, last + 1)
        rows = np.empty((max(end - begin, 0), 6))
        rows[:, 0] = bars.time[begin : max(end, begin)]
        for number, column in enumerate((bars.open, bars.high, bars.low, bars.close, bars.volume), start=1):
            rows[:, number] = column[begin : max(end, begin)]
        if len(rows) and end == last + 1 and not over:
            rows[-1, 1:] = self.forming
        if len(rows) == 0 or interval == self.interval:
            return rows
        starts = np.flatnonzero(np.diff(rows[:, 0] // interval, prepend=-1))
        ends = np.append(starts[1:], len(rows)) - 1
        return np.column_stack(
            (
                rows[starts, 0] // interval * interval,
                rows[starts, 1],
                np.maximum.reduceat(rows[:, 2], starts),
                np.minimum.reduceat(rows[:, 3], starts),
                rows[ends, 4],
                np.add.reduceat(rows[:, 5], starts),
            )
        )


class Replay:
    """The books of one account, all at the same moment of their recorded bars.

    Parameters
    ----------
    recordings : one for each symbol; all of the same bar length.
    start_ms : where trading begins, UTC; the bars before are history. All symbols must have a bar then.

    Raises
    ------
    DataError
        There is no bar from `start_ms` on, or the bars differ in length.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        rules: Mapping[str, MarketHistory],
        account: Account,
        config: GridConfig,
        start_ms: int = 0,
    ) -> None:
        costs = Costs(config.maker_fee, config.taker_fee, config.slippage, config.fill_rule == "through")
        self.books: dict[str, ReplayBook] = {}
        for recording in recordings:
            book = ReplayBook(recording, rules[recording.symbol], account, costs, config)
            book.state.place = len(self.books)
            self.books[book.symbol] = book
        lengths = {book.interval for book in self.books.values()}
        if len(lengths) != 1:
            raise DataError(f"the symbols have bars of {sorted(one // MINUTE_MS for one in lengths)} minutes; give one")
        self.interval = lengths.pop()
        self._times = np.unique(np.concatenate([recording.time for recording in recordings]))
        self._moments: list[tuple[int, list[tuple[ReplayBook, Bar]]]] = []
        self.moment = 0  #: number of the current part of the bar
        self.bar = -1  #: number of the current bar
        self.trading: list[ReplayBook] = []  #: books that trade in the current part
        self.over = False  #: whether the last bar has closed
        first = max(recording.time[0] for recording in recordings)
        start = max(first, start_ms)
        if start > self._times[-1]:
            raise DataError(f"no bar from {iso(start)} on; the candles end at {iso(int(self._times[-1]))}")
        while self.bar < 0 or self.time < start:
            self._next_bar()
        self._enter(0)

    @property
    def time(self) -> int:
        """Open time of the current bar, ms."""
        return int(self._times[self.bar])

    @property
    def end(self) -> int:
        """Close time of the last bar, ms."""
        return int(self._times[-1]) + self.interval

    @property
    def moment_end(self) -> int:
        """Close time of the current part of the bar, ms."""
        if self.moment + 1 < len(self._moments):
            return self._moments[self.moment + 1][0]
        return self.time + self.interval

    def forward(self) -> None:
        """Complete the current part of the bar and go to the next one, or to the next bar, and settle its funding."""
        if self._moments:
            for book, _ in self._moments[self.moment][1]:
                book.leave_part()
        if self.moment + 1 < len(self._moments):
            self._enter(self.moment + 1)
            return
        if self.bar + 1 == len(self._times):
            self.over = True
            self.trading = []
            return
        self._next_bar()
        self._enter(0)

    def complete(self, candles: Mapping[str, Candle]) -> None:
        """Write the final prices of the current bar of every symbol, and append the next one.

        For a market that is followed in real time.
        """
        for symbol, candle in candles.items():
            self.books[symbol].complete(candle)
        self._times = np.append(self._times, self._times[-1] + self.interval)

    def seek(self, time_ms: int, moment: int) -> None:
        """Go to a part of the bar that opens at a time, without matching."""
        while not self.over and (self.time, self.moment) < (time_ms, moment):
            self.forward()

    def _next_bar(self) -> None:
        self.bar += 1
        for book in self.books.values():
            book.stand_at(None)
        self._moments = moments([book for book in self.books.values() if book.begin_bar(self.time)])

    def _enter(self, moment: int) -> None:
        self.moment = moment
        if not self._moments:
            self.trading = []
            return
        parts = self._moments[moment][1]
        self.trading = stand_at(parts)
