"""Faster versions of Backtrader's loops, which change no result."""

from __future__ import annotations

import gc
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from gridv4_bt.core.time import DAY_MS
from gridv4_bt.errors import DataError


def takes_params(init: Callable[[Any], None]) -> Callable[..., None]:
    """Make mypy accept a class called with data feeds and parameters that its `__init__` does not name.

    Backtrader's metaclass takes them out of the call, into `self.datas` and `self.p`, before `__init__` sees it.
    """
    return init


_TIME = bt.dataseries.DataSeries.DateTime


# A plain mixin named before the feed class would give the feed every line twice, so this is a feed itself.
class FastAdvance(bt.feed.DataBase):
    """Base class of feeds of closed bars, which need no ticks.

    Backtrader copies the prices of every new bar into `tick_open`, `tick_high`, ... for feeds that update a bar while
    it forms. Where a tick is None its broker uses the line itself.
    """

    tick_open: float | None = None
    tick_high: float | None = None
    tick_low: float | None = None
    tick_close: float | None = None
    is_gathered = False  #: whether its bars are put together and get their names when they are delivered

    def advance_peek(self) -> float:
        """Return the time of the next preloaded bar in Backtrader's days, infinity after the last one."""
        clock = self.lines.lines[_TIME]
        if clock.lencount < len(clock.array) - clock.extension:
            time: float = clock.array[clock._idx + 1]
            return time
        return math.inf

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        """Move all lines on by `size` bars."""
        lines = self.lines.lines
        if datamaster is not None or lines[_TIME].mode:
            super().advance(size, datamaster, ticks)
            return
        # Cerebro's bar-by-bar loop leaves ticks, which the broker would take for this bar's prices.
        if self.tick_close is not None:
            self._tick_nullify()
        index = lines[_TIME]._idx + size
        length = lines[_TIME].lencount + size
        for line in lines:  # all lines of a feed are always at the same bar
            line._idx = index
            line.lencount = length
        if self.is_gathered and ticks:
            self.name_bar()

    def name_bar(self) -> None:
        """Give a bar that was put together its name."""


EPOCH_DAYS = 719_163  #: 1970-01-01 in Backtrader's days


def epoch_ms(days: float) -> int:
    """Return a Backtrader time in whole milliseconds since 1970-01-01 UTC."""
    return round((days - EPOCH_DAYS) * DAY_MS)


def times_ms(days: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return Backtrader times as `epoch_ms` does."""
    return np.rint((days - EPOCH_DAYS) * DAY_MS).astype(np.int64)


def is_preloaded(data: bt.AbstractDataBase) -> bool:
    """Return whether the lines of a feed hold all bars of the run, those to come too."""
    # The Cerebro it was added to last; if that has not run yet, another one does, and nothing is known.
    return bool(getattr(getattr(data, "_env", None), "_dopreload", False))


class LineReader:
    """Reader of the values of lines with one clock: `line[0]` of some, `line[-1]` of others (`before`).

    Indexing takes three calls a line; an iterator over the lines takes one for all. It is made anew whenever the bar is
    not the one after the last bar read.
    """

    def __init__(self, *lines: bt.LineBuffer, before: Sequence[bt.LineBuffer] = ()) -> None:
        self._lines = [(line, 0) for line in lines] + [(line, -1) for line in before]
        self._clock = lines[0]
        self._index = -2  # no bar comes after it
        self._walk: Iterator[tuple[float, ...]] = iter(())

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the walk, which begins anew in another process."""
        return vars(self) | {"_index": -2, "_walk": iter(())}

    def read(self) -> tuple[float, ...]:
        """Return the lines' values at the clock's bar, then those of `before` at the bar before."""
        index = self._clock._idx
        if index != self._index + 1 or self._clock.mode:  # lines of bounded memory are moved all the time
            self._walk = zip(*(islice(line.array, line._idx + ago, None) for line, ago in self._lines), strict=False)
        self._index = index
        return next(self._walk)


class FastIndicator(bt.Indicator):
    """Base class of indicators that allocates all bars of a preloaded run at once."""

    def forward(self, value: float = math.nan, size: int = 1) -> None:
        """Append `size` bars that hold `value`."""
        lines = self.lines.lines
        if size == 1 or any(line.mode for line in lines):
            super().forward(value, size)
            return
        values = array("d", [value]) * size
        for line in lines:
            line._idx += size
            line.lencount += size
            line.array = line.array + values  # to extend it would reserve more

    def _next(self) -> None:
        # Bar by bar a strategy steps whenever any feed does; an indicator with a memory must not take a bar twice.
        if len(self._clock) != len(self) or self._grows():
            super()._next()

    def _grows(self) -> bool:
        """Return whether a bar that is replayed may have changed since it was computed."""
        owner = self
        while not isinstance(owner, bt.Strategy):
            owner = owner._owner
        return any(getattr(data, "replaying", False) for data in owner.datas)


class RunningAnalyzers(bt.metabase.ItemCollection):
    """The analyzers of a running strategy, without those that are `only_at_end`.

    Backtrader iterates over them three times a bar; its plain collection does so by index until an IndexError.
    """

    def __iter__(self) -> Iterator[bt.Analyzer]:
        return iter(self._running)

    def select(self) -> None:
        """Select the analyzers that are called at every bar."""
        self._running = [item for item in self._items if not getattr(item, "only_at_end", False)]


class FastCerebro(bt.Cerebro):
    """A Cerebro with a shorter loop for preloaded feeds without timers and writers."""

    def run(self, **kwargs: Any) -> list[Any]:
        """Run with all earlier objects hidden from the garbage collector.

        The libraries alone have a quarter of a million objects; a pass over them takes as long as thousands of bars.
        """
        gc.freeze()
        try:
            return super().run(**kwargs)
        finally:
            gc.unfreeze()

    def _runonce(self, runstrats: list[bt.Strategy]) -> None:
        try:
            self._run_preloaded(runstrats)
        except IndexError:
            # Backtrader's indicators write beyond the end of a feed that is shorter than their period.
            _refuse_short_feeds(runstrats)
            raise

    def _run_preloaded(self, runstrats: list[bt.Strategy]) -> None:
        timed = self._timers or self._timerscheat or self.p.cheat_on_open
        if timed or self.runwriters:
            super()._runonce(runstrats)
            return
        for strategy in runstrats:
            strategy._once()
            strategy.reset()
        datas = sorted(self.datas, key=lambda data: (data._timeframe, data._compression))
        # Looked up once: at every bar it would take as long as what some of them do.
        feeds = [(place, data.advance_peek, data.advance) for place, data in enumerate(datas)]
        steps, notify = [strategy._oncepost for strategy in runstrats], self._brokernotify
        coming = [data.advance_peek() for data in datas]
        while (time := min(coming)) != math.inf:
            for place, peek, advance in feeds:
                if coming[place] <= time:
                    advance()
                    coming[place] = peek()
            notify()
            if self._event_stop:
                return
            for step in steps:
                step(time)
                if self._event_stop:
                    return


def _refuse_short_feeds(strategies: Sequence[bt.Strategy]) -> None:
    """Raise a `DataError` if a feed is too short for the indicators of one of the strategies."""
    for strategy in strategies:
        for data, needed in zip(strategy.datas, strategy._minperiods, strict=False):
            if (bars := data.buflen()) < needed:
                raise DataError(
                    f"{data._name}: {bars:,} bars are too few: {type(strategy).__name__} needs {needed:,} before its "
                    "first decision. Give a longer span."
                ) from None


class LineWalk:
    """The lines of a strategy and of its indicators, moved on from bar to bar of a preloaded run."""

    __slots__ = ("_groups", "_own", "_times")

    def __init__(self, strategy: bt.Strategy) -> None:
        groups: dict[int, tuple[bt.LineBuffer, list[bt.LineBuffer]]] = {}
        for indicator in strategy._lineiterators[bt.LineIterator.IndType]:
            clock = indicator._clock
            groups.setdefault(id(clock), (clock.lines[0], []))[1].extend(indicator.lines.lines)
        self._groups = tuple(groups.values())
        self._own = strategy.lines.lines
        self._times = self._own[0]

    def step(self, time: float) -> None:
        """Move all lines to the bar of a time, Backtrader's days."""
        for clock, lines in self._groups:
            length = lines[0].lencount + 1
            # All indicators of one clock are always at the same bar.
            if clock.lencount >= length:
                index = lines[0]._idx + 1
                for line in lines:
                    line._idx = index
                    line.lencount = length
        for line in self._own:
            line._idx += 1
            line.lencount += 1
            line.array.append(math.nan)
        times = self._times
        times.array[times._idx] = time
        for binding in times.bindings:
            binding[0] = time


class FastStrategy(bt.Strategy):
    """Base class of strategies with a shorter step from bar to bar in a preloaded run.

    Backtrader moves every line of every indicator by three nested calls a bar, and checks the minimum period at each.
    Notifications, analyzers, observers and `next` are called exactly as in `bt.Strategy`.
    """

    def _start(self) -> None:
        super()._start()
        self.analyzers.__class__ = RunningAnalyzers
        self.analyzers.select()
        self._is_watched = bool(list(self.analyzers) or self._lineiterators[bt.LineIterator.ObsType])
        stock = (bt.Strategy.notify_cashvalue, bt.Strategy.notify_fund)
        own = (self.notify_cashvalue, self.notify_fund)
        overridden = any(getattr(one, "__func__", one) is not empty for one, empty in zip(own, stock, strict=True))
        self._hears_cash = overridden or bool(list(self.analyzers) or self._slave_analyzers)
        self._walk = LineWalk(self)

    def _stop(self) -> None:
        self.analyzers.__class__ = bt.metabase.ItemCollection
        super()._stop()

    def clear(self) -> None:
        """Forget the orders and trades that were notified; Backtrader keeps the orders of the whole run, unread."""
        self._orderspending, self._tradespending = [], []

    def _oncepost(self, dt: float) -> None:
        if self._oldsync:
            super()._oncepost(dt)
            return
        self._walk.step(dt)
        # Where nothing receives wallet and value, which change every bar, only orders and trades are notified.
        pending = self._orderspending or self._tradespending
        if pending or self._hears_cash:
            self._notify()
        # Feeds only get longer: once reached, the minimum period stays reached.
        status = self._minperstatus if self._minperstatus < 0 else self._getminperstatus()
        if status < 0:
            self.next()
        elif status == 0:
            self.nextstart()
        else:
            self.prenext()
        if self._is_watched:
            self._next_analyzers(status, once=True)
            self._next_observers(status, once=True)
        if pending:
            self.clear()
