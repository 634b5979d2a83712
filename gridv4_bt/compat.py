"""The one place where Backtrader 1.9.78.123 is adapted; everything else uses it as documented.

An adaptation belongs here only when it changes no result: with and without it every line, order and
analyzer value is the same. It takes less time, or works on a Python that is newer than Backtrader.
"""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from types import SimpleNamespace
from typing import Any

import backtrader as bt

from gridv4_bt.core.time import DAY_MS


class UtcDatetime(dt.datetime):
    """The `datetime` that Backtrader's modules see: its two deprecated UTC methods, by today's means."""

    @classmethod
    def utcnow(cls) -> dt.datetime:
        """Return the present time in UTC, without a time zone."""
        return dt.datetime.now(dt.UTC).replace(tzinfo=None)

    @classmethod
    def utcfromtimestamp(cls, seconds: float) -> dt.datetime:
        """Return a time of the epoch in UTC, without a time zone."""
        return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


class Count:
    """An `itertools.count` that can be pickled, which from Python 3.14 on the original cannot.

    Backtrader keeps one in every Cerebro and strategy, and `optstrategy` pickles both.
    """

    def __init__(self, start: int = 0, step: int = 1) -> None:
        self._next = start
        self._step = step

    def __iter__(self) -> Count:
        return self

    def __next__(self) -> int:
        value = self._next
        self._next += self._step
        return value


def product(*pools: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Return the combinations of `itertools.product` by an iterator that can be pickled."""
    return iter(list(itertools.product(*pools)))


def _use_todays_python() -> None:
    # Each module looks these names up in itself at every call.
    import_module("backtrader.cerebro").datetime = SimpleNamespace(**vars(dt) | {"datetime": UtcDatetime})
    for name in ("resamplerfilter", "feeds.csvgeneric"):
        import_module(f"backtrader.{name}").datetime = UtcDatetime
    picklable = SimpleNamespace(**vars(itertools) | {"count": Count, "product": product})
    for name in ("cerebro", "strategy", "writer"):
        import_module(f"backtrader.{name}").itertools = picklable


_use_todays_python()


def takes_params(init: Callable[[Any], None]) -> Callable[..., None]:
    """Let mypy accept a class called with data feeds and parameters that its `__init__` does not name.

    Backtrader's metaclass takes them out of the call, into `self.datas` and `self.p`, before `__init__` sees it.
    """
    return init


_TIME = bt.dataseries.DataSeries.DateTime


# A plain mixin named before the feed class would give the feed every line twice, so this is a feed itself.
class FastAdvance(bt.feed.DataBase):
    """Base of our feeds: moves to the next bar without tick copies.

    Backtrader copies every line of every new bar into `tick_open`, `tick_high`, ... for feeds that
    update a bar while it forms. A feed of finished bars needs none of it: the stock broker takes the
    line itself when a tick is None.
    """

    tick_open: float | None = None
    tick_high: float | None = None
    tick_low: float | None = None
    tick_close: float | None = None

    def advance_peek(self) -> float:
        """Time of the next preloaded bar in Backtrader's days, or infinity after the last one."""
        clock = self.lines.lines[_TIME]
        if clock.lencount < len(clock.array) - clock.extension:
            return clock.array[clock._idx + 1]
        return math.inf

    def advance(self, size: int = 1, datamaster=None, ticks: bool = True) -> None:
        """Move all lines `size` bars on; with a datamaster or bounded memory, as Backtrader does it."""
        lines = self.lines.lines
        if datamaster is not None or lines[_TIME].mode:
            super().advance(size, datamaster, ticks)
            return
        # Ticks left by Cerebro's bar-by-bar loop would be taken for this bar's prices.
        if self.tick_close is not None:
            self._tick_nullify()
        index = lines[_TIME]._idx + size
        length = lines[_TIME].lencount + size
        for line in lines:  # all lines of a feed are always at the same bar
            line._idx = index
            line.lencount = length


EPOCH_DAYS = 719_163  #: 1970-01-01 in Backtrader's days


def epoch_ms(days: float) -> int:
    """Return a Backtrader time in whole milliseconds since 1970-01-01 UTC."""
    return round((days - EPOCH_DAYS) * DAY_MS)


class LineReader:
    """Reads the values of some lines of one clock bar after bar, and of others (`before`) at the bar before.

    `line[0]` and `line[-1]` for each of them take three calls a line; this takes one for all, because it walks along
    the lines. It finds its place again whenever the bar is not the next one.
    """

    def __init__(self, *lines: bt.LineBuffer, before: Sequence[bt.LineBuffer] = ()) -> None:
        self._lines = [(line, 0) for line in lines] + [(line, -1) for line in before]
        self._clock = lines[0]
        self._index = -2  # next to no bar
        self._walk: Iterator[tuple[float, ...]] = iter(())

    def read(self) -> tuple[float, ...]:
        """Return the values at the clock's bar, in the order of the lines, then those of the bar before."""
        index = self._clock._idx
        if index != self._index + 1 or self._clock.mode:  # lines of bounded memory are moved all the time
            self._walk = zip(*(islice(line.array, line._idx + ago, None) for line, ago in self._lines), strict=False)
        self._index = index
        return next(self._walk)


class FastIndicator(bt.Indicator):
    """Base of our indicators: makes room for all bars of a preloaded run at once instead of one by one."""

    def forward(self, value: float = math.nan, size: int = 1) -> None:
        """Move on by `size` bars that hold `value`."""
        lines = self.lines.lines
        if size == 1 or any(line.mode for line in lines):
            super().forward(value, size)
            return
        room = array("d", [value]) * size
        for line in lines:
            line._idx += size
            line.lencount += size
            line.array.extend(room)


class RunningAnalyzers(bt.metabase.ItemCollection):
    """A strategy's analyzers while bars are running, without those that only look at the end.

    Backtrader walks through the plain collection three times a bar, by index until an IndexError.
    """

    def __iter__(self) -> Iterator[bt.Analyzer]:
        return iter(self._running)

    def select(self) -> None:
        """Find out which analyzers want to see the bars."""
        self._running = [item for item in self._items if not getattr(item, "only_at_end", False)]


class FastCerebro(bt.Cerebro):
    """A Cerebro that walks through a single preloaded feed without what several feeds, timers and writers need."""

    def run(self, **kwargs: Any) -> list:
        """Run; the garbage collector looks at what the run makes and not again and again at all that was there before.

        The libraries alone are a quarter of a million objects, and a look at all of them takes as long as thousands
        of bars.
        """
        gc.freeze()
        try:
            return super().run(**kwargs)
        finally:
            gc.unfreeze()

    def _runonce(self, runstrats: list[bt.Strategy]) -> None:
        timed = self._timers or self._timerscheat or self.p.cheat_on_open
        if timed or self.runwriters or len(self.datas) != 1:
            super()._runonce(runstrats)
            return
        for strategy in runstrats:
            strategy._once()
            strategy.reset()
        data = self.datas[0]
        while (time := data.advance_peek()) != math.inf:
            data.advance()
            self._brokernotify()
            if self._event_stop:
                return
            for strategy in runstrats:
                strategy._oncepost(time)
                if self._event_stop:
                    return


class FastStrategy(bt.Strategy):
    """Base of our strategies: steps from bar to bar in a preloaded run without the general loops.

    Backtrader walks through every line of every indicator by three nested calls a bar, does the same for
    the strategy's own line of times, and asks again whether the minimum period is over when it has been for
    years. Notifications, analyzers, observers and `next` are called exactly as in `bt.Strategy`.
    """

    def _start(self) -> None:
        super()._start()
        self.analyzers.__class__ = RunningAnalyzers
        self.analyzers.select()
        groups: dict[int, tuple[bt.LineBuffer, list[bt.LineBuffer]]] = {}
        for indicator in self._lineiterators[bt.LineIterator.IndType]:
            clock = indicator._clock
            groups.setdefault(id(clock), (clock.lines[0], []))[1].extend(indicator.lines.lines)
        self._groups = tuple(groups.values())
        self._is_watched = bool(list(self.analyzers) or self._lineiterators[bt.LineIterator.ObsType])
        stock = (bt.Strategy.notify_cashvalue, bt.Strategy.notify_fund)
        told = (self.notify_cashvalue, self.notify_fund)
        overridden = any(getattr(own, "__func__", own) is not empty for own, empty in zip(told, stock, strict=True))
        self._hears_cash = overridden or bool(list(self.analyzers) or self._slave_analyzers)

    def _stop(self) -> None:
        self.analyzers.__class__ = bt.metabase.ItemCollection
        super()._stop()

    def _oncepost(self, dt: float) -> None:
        if self._oldsync:
            super()._oncepost(dt)
            return
        for clock, lines in self._groups:
            length = lines[0].lencount + 1
            # All indicators of one clock are always at the same bar.
            if clock.lencount >= length:
                index = lines[0]._idx + 1
                for line in lines:
                    line._idx = index
                    line.lencount = length
        for line in self.lines.lines:
            line._idx += 1
            line.lencount += 1
            line.array.append(math.nan)
        times = self.lines.lines[0]
        times.array[times._idx] = dt
        for binding in times.bindings:
            binding[0] = dt
        # Wallet and value are told every bar; where nobody listens only orders and trades are left to tell.
        if self._hears_cash or self._orderspending or self._tradespending:
            self._notify()
        # Feeds only get longer: once the minimum period is over it stays over.
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
        if self._orderspending or self._tradespending:
            self.clear()
