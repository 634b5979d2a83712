"""Closed candles by REST: history first, then each new one as soon as the exchange has closed it.

A bar is closed when the exchange's own time is past its close, asked before its candle is: the last row of any answer
is the bar that is still forming, and the clock of this machine may be wrong.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import backtrader as bt
import numpy as np

from feeds.exchange import MarketDataClient, Unavailable
from feeds.series import Series
from feeds.tables import FUNDING_JITTER_MS
from gridv4_bt.compat import EPOCH_DAYS
from gridv4_bt.core.time import BAR_MS, DAY_MS, HOUR_MS, MINUTE_MS, iso

#: After the close of a bar the exchange needs a moment to finish its candle.
SETTLE_MS = 1_500
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between two looks for a candle that is late
_ATTEMPTS = 8  # at one request
_HURRIED_ATTEMPTS = 3  # while other symbols wait


class ClosedCandle(NamedTuple):
    """One closed bar; the times are open times, ms UTC."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    funding: float = math.nan  #: sum of the rates settled in (previous bar's open, this bar's open], NaN for none
    mark: float = math.nan  #: mark price of the settlement


class FeedClock(Protocol):
    """The exchange's clock, by which a feed waits."""

    def now(self) -> int: ...
    def sleep(self, seconds: float) -> None: ...
    def wait_until(self, time_ms: int) -> bool: ...
    @property
    def ended(self) -> bool: ...


class CandleSource:
    """The closed candles of one symbol, with the funding settled at their opens.

    Parameters
    ----------
    exchange : its market data; public calls only.
    name : ccxt's name of the symbol.
    log : ``log(kind, **fields)`` is called for candles that are late or missing.
    server_time : asks the exchange once for its time (ms) and may set the clock by it; raises Unavailable.
    bar_ms : length of the candles, a part of a day.
    """

    def __init__(
        self,
        exchange: MarketDataClient,
        name: str,
        clock: FeedClock,
        log: Callable[..., None],
        server_time: Callable[[], int] | None = None,
        bar_ms: int = BAR_MS,
    ) -> None:
        self.bar_ms = bar_ms
        self.series = Series("candles", bar_ms)
        self._exchange = exchange
        self._client = exchange.client
        self.name = name
        self.clock = clock
        self.log = log
        self._newest: ClosedCandle | None = None  # given out last
        self._server_time = server_time or self._exchange.server_time
        self._past = 0  # the exchange's time was past this, ms

    def history(self, first: int, end: int) -> list[ClosedCandle]:
        """Return the closed candles with open times in [`first`, `end`), oldest first, holes left out.

        Raises
        ------
        Unavailable
            The exchange cannot be reached.
        """
        candles = self._with_funding(self._candles(first, end))
        if candles:
            self._newest = candles[-1]
        return candles

    def last_close(self) -> int:
        """Return the close of the last closed bar by the exchange's time, ms.

        Raises
        ------
        Unavailable
            The exchange cannot be reached.
        """
        self._past = max(self._exchange.server_time(), self._past)
        return self._past // self.bar_ms * self.bar_ms

    def _candles(self, first: int, end: int) -> list[ClosedCandle]:
        if self._past < end:
            self._past = max(self._server_time(), self._past)
            end = min(end, self._past // self.bar_ms * self.bar_ms)
        if end <= first:
            return []
        rows, holes = self._exchange.array(self.name, self.series, (first, end))
        for hole in holes:
            self.log("candles_missing", symbol=self.name, first=iso(hole[0]), end=iso(hole[1]))
        return [ClosedCandle(int(row[0]), *row[1:]) for row in rows.tolist()]

    def hurry(self, attempts: int = _ATTEMPTS) -> None:
        """Give up a request after so many attempts."""
        self._exchange.patience.attempts = attempts

    def look(self, time: int) -> ClosedCandle | None:
        """Return the candle of an open time if the exchange has it.

        Raises
        ------
        Unavailable
            The exchange cannot be reached.
        """
        found = self._closed(time)
        return found[0] if found else None

    def _closed(self, time: int) -> list[ClosedCandle]:
        """Return the candle of an open time, if it is there; log a revision of the one before."""
        before = self._newest
        if before is None or before.time != time - self.bar_ms:
            return self.history(time, time + self.bar_ms)
        candles = {candle.time: candle for candle in self._candles(before.time, time + self.bar_ms)}
        now = candles.pop(before.time, before)
        if now[:6] != before[:6]:
            self.log("candle_revised", symbol=self.name, time=iso(now.time), received=before[1:6], revised=now[1:6])
            self._newest = now
        if time in candles:
            self._newest = candles[time]
        return self._with_funding([*candles.values()])

    def _with_funding(self, candles: list[ClosedCandle]) -> list[ClosedCandle]:
        if not candles:
            return []
        settled = self._settlements(candles[0].time - self.bar_ms + 1, candles[-1].time)
        found: list[ClosedCandle] = []
        for candle in candles:
            rate = mark = math.nan
            while settled and settled[0][0] <= candle.time:
                _, paid, at = settled.popleft()
                rate = paid if math.isnan(rate) else rate + paid
                mark = at
            found.append(candle._replace(funding=rate, mark=mark))
        return found

    def _settlements(self, first: int, last: int) -> deque[tuple[int, float, float]]:
        """Return time, rate and mark price of the settlements with times in [`first`, `last`]."""
        found: dict[int, tuple[int, float, float]] = {}
        if -(-first // HOUR_MS) * HOUR_MS > last:
            return deque()  # exchanges settle on the hour
        start = first - FUNDING_JITTER_MS
        while True:
            page = self._exchange.ask(
                lambda start=start: self._client.fetch_funding_rate_history(self.name, start, 1000)
            )
            for row in page:
                time = int(row["timestamp"])
                minute = round(time / MINUTE_MS) * MINUTE_MS
                time = minute if abs(time - minute) <= FUNDING_JITTER_MS else time
                mark = row["info"].get("markPrice")
                if first <= time <= last:
                    found[time] = (time, float(row["fundingRate"]), float(mark) if mark else math.nan)
            newest = max((int(row["timestamp"]) for row in page), default=0)
            if len(page) < 1000 or newest >= last:
                return deque(found[time] for time in sorted(found))
            start = newest + 1


class CandleSteps:
    """The steps of a session: the feeds that decide together wait for each other's candles, but not for long.

    A step is the open time of a candle. Once one feed has its candle, the others have `together` seconds to get theirs;
    a symbol whose candle is later has no bar at this step, gets it before that of the next step, and is logged as
    ``candle_missing``.

    Parameters
    ----------
    together : seconds for which feeds wait for each other.
    """

    def __init__(self, together: float = 20.0) -> None:
        self._together_ms = round(1000 * together)
        self._feeds: dict[LiveFeed, int] = {}  # for which open time (ms) the exchange was asked last
        self._found: dict[LiveFeed, ClosedCandle] = {}
        self._silent_until = 0  # ms; the exchange wants no requests before

    def join(self, feed: LiveFeed) -> None:
        """Add a feed to those that wait for each other."""
        self._feeds[feed] = 0

    def candle(self, feed: LiveFeed) -> ClosedCandle | None:
        """Wait for the candle that a feed needs next; return None if it has no bar at this step or the session ends."""
        if self._feeds[feed] != feed.target:
            self._gather(feed.target, feed.p.source.clock)
        return self._found.pop(feed, None)

    @property
    def attempts(self) -> int:
        """How often a feed may ask for something that it needs while the others wait."""
        return _ATTEMPTS if len(self._feeds) == 1 else _HURRIED_ATTEMPTS

    def _gather(self, time: int, clock: FeedClock) -> None:
        close = time + next(iter(self._feeds)).bar_ms
        if not clock.wait_until(close + SETTLE_MS):
            return
        waiting = [feed for feed in self._feeds if feed.awaits(time)]
        self._feeds.update(dict.fromkeys(waiting, time))
        limit = close + max(round(1000 * feed.p.patience) for feed in waiting)
        someone_has = any(feed.has(time) for feed in self._feeds)
        looks, hurried = 0, False
        while True:
            for feed in waiting:
                if (candle := self._look(feed, time)) is not None:
                    self._found[feed] = candle
                    if looks:
                        feed.p.source.log("candle_late", symbol=feed.p.source.name, time=iso(time), looks=looks)
            waiting = [feed for feed in waiting if feed not in self._found]
            if not waiting:
                return
            now = clock.now()
            if not hurried and (self._found or someone_has):
                hurried, limit = True, now + self._together_ms
            if now >= limit:
                break
            pause = int(1000 * _PAUSES[min(looks, len(_PAUSES) - 1)])
            looks += 1
            if not clock.wait_until(min(now + pause, limit)):
                return
        for feed in waiting:
            feed.p.source.log("candle_missing", symbol=feed.p.source.name, time=iso(time))

    def _look(self, feed: LiveFeed, time: int) -> ClosedCandle | None:
        source, alone = feed.p.source, len(self._feeds) == 1
        if source.clock.now() < self._silent_until:
            return None
        source.hurry(_ATTEMPTS if alone else 1)  # the looks are repeated anyway
        try:
            return source.look(time)
        except Unavailable as failure:
            source.log("candle_unavailable", symbol=source.name, time=iso(time), text=str(failure))
            silence = getattr(failure.__cause__, "retry_after", None)
            if silence is not None and not alone:
                self._silent_until = source.clock.now() + round(1000 * silence)
            return None


class LiveFeed(bt.feed.DataBase):
    """Backtrader feed of one symbol: history, then every closed bar; `islive`.

    Parameters
    ----------
    source : a `CandleSource`
    since : open time (ms) of the first bar wanted; 0: as many bars as `warm_up_bars` says, up to the last closed one
    known : candles received in an earlier session; those in their span are not asked for again
    patience : seconds after its close for which a candle is waited for while no other feed has its own
    steps : the `CandleSteps` of the feeds that decide together; None for a feed that is alone
    on_candle : called with each `ClosedCandle` before it is delivered
    historical : end after the history

    Lines: funding and mark as in `CandleFeed`.
    """

    lines = ("funding", "mark")
    params = (
        ("timeframe", bt.TimeFrame.Minutes),
        ("compression", 15),
        ("source", None),
        ("since", 0),
        ("known", ()),
        ("patience", 300.0),
        ("steps", None),
        ("on_candle", None),
        ("historical", False),
    )

    has_funding = True
    mark_is_fine = False

    def __init__(self) -> None:
        super().__init__()
        self.warm_up_bars = 1  #: bars a fresh session begins with; set it before the run
        self.goes_on_at: float = math.inf  #: open time (ms) of the bar that the session before has booked last
        self.is_current = False  #: the bar delivered last is the last one the exchange has closed

    def islive(self) -> bool:
        """Return whether candles come as they close, so that Cerebro goes bar by bar."""
        return not self.p.historical

    def haslivedata(self) -> bool:
        """Return whether the feed waits for candles, which it does by itself."""
        return self.islive()

    @property
    def bar_ms(self) -> int:
        """Length of the candles, ms."""
        return int(self.p.source.bar_ms)

    def start(self) -> None:
        super().start()
        self._history: deque[ClosedCandle] | None = None
        self._next = 0  # open time of the bar to be delivered next, ms
        self.target = 0  #: open time of the bar that is waited for, ms
        self._announced = False
        self._steps = CandleSteps() if self.p.steps is None else self.p.steps
        self._steps.join(self)

    def next(self, datamaster: bt.AbstractDataBase | None = None, ticks: bool = True) -> bool | None:
        """Move on to the next bar.

        Where another feed has a bar Cerebro asks those that have none once more (`datamaster`): they would wait for
        the candle after it, and hold up this step.
        """
        if datamaster is not None and len(self) >= self.buflen():
            return None
        return super().next(datamaster, ticks)

    def _load(self) -> bool | None:
        if self._history is None:
            self._load_history()
        if self._history:
            candle = self._history.popleft()
        elif self.p.historical:
            self.put_notification(self.DISCONNECTED)
            return False
        else:
            candle = self._wait()
            if candle is None:
                return False if self.p.source.clock.ended else None
        self._next = candle.time + self.bar_ms
        self.target = self._next
        clock = self.p.source.clock
        self.is_current = not self._history and clock.now() < self._next + self.bar_ms
        if self.is_current and not self._announced:
            self._announced = True
            self.put_notification(self.LIVE)
        if self.p.on_candle is not None:
            self.p.on_candle(self._name, candle)
        line = self.lines
        line.datetime[0] = EPOCH_DAYS + candle.time / DAY_MS
        for name, value in zip(ClosedCandle._fields[1:], candle[1:], strict=True):
            getattr(line, name)[0] = value
        line.openinterest[0] = 0.0
        return True

    def awaits(self, time: int) -> bool:
        """Return whether the feed waits for the candle of an open time."""
        return self._history is not None and not self._history and self.target == time

    def has(self, time: int) -> bool:
        """Return whether the feed has received the candle of an open time, or one after it."""
        return self._history is not None and (self._next > time or any(one.time >= time for one in self._history))

    def _wait(self) -> ClosedCandle | None:
        """Wait for the next candle; those that were missing before it come first, if the exchange has them by now."""
        source, target = self.p.source, self.target
        candle = self._steps.candle(self)
        if candle is None:
            self.target += self.bar_ms
            return None
        self._history.append(candle)
        if target > self._next:
            source.hurry(self._steps.attempts)
            try:
                self._history.extendleft(reversed(source.history(self._next, target)))
            except Unavailable as failure:
                source.log("candle_unavailable", symbol=self._name, time=iso(self._next), text=str(failure))
        return self._history.popleft()

    def _load_history(self) -> None:
        source = self.p.source
        end = source.last_close()
        first = min(self.p.since or end - self.warm_up_bars * self.bar_ms, self.goes_on_at)
        known = {candle.time: candle for candle in self.p.known if first <= candle.time < end}
        times = np.array(sorted(known), dtype=np.int64)
        self._history = deque()
        for start, stop in source.series.missing(times, (first, end)):
            known.update((candle.time, candle) for candle in source.history(start, stop))
        self._history.extend(known[time] for time in sorted(known))
        self._next = self.target = end
        if self._history:
            self.put_notification(self.DELAYED)
