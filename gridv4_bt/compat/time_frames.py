"""``cerebro.resampledata`` and ``replaydata`` of bars that are named by their opening, as the exchange names its own.

Backtrader's own filters take a bar's time for its close, so that the bar of 01:00 would end the hour before. Here an
hour has the bars that open within it, is named by its opening, and is seen with the last of them, never before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import backtrader as bt
from backtrader.feed import DataClone

from gridv4_bt.compat.fast_loops import EPOCH_DAYS, FastAdvance, epoch_ms
from gridv4_bt.core.time import DAY_MS, MINUTE_MS
from gridv4_bt.errors import ConfigError

_DAY_MINUTES = DAY_MS // MINUTE_MS


def _first(before: float, now: float) -> float:
    return before


def _last(before: float, now: float) -> float:
    return now


def _of_known(choose: Callable[[float, float], float]) -> Callable[[float, float], float]:
    """Return a rule that leaves out what is NaN."""
    return lambda before, now: now if before != before else before if now != now else choose(before, now)


#: What becomes of a line when bars are put together.
RULES: dict[str, Callable[[float, float], float]] = {
    "open": _first,
    "high": max,
    "low": min,
    "volume": lambda before, now: before + now,
    "funding": _of_known(lambda before, now: before + now),
    "mark": _first,
    "mark_high": _of_known(max),
    "mark_low": _of_known(min),
}


class Frame:
    """The longer bars of one length: minutes that divide the day, a day, a week from Monday on, a month or a year, UTC.

    Raises
    ------
    ConfigError
        The exchange has no such bars, or they cannot be made of the feed's.
    """

    def __init__(self, timeframe: int, compression: int, bar_minutes: int) -> None:
        self._timeframe, self._compression = timeframe, compression
        self.bar_ms = bar_minutes * MINUTE_MS
        #: Minutes of a longer bar where all have as many, else 0.
        self.minutes = {bt.TimeFrame.Minutes: compression, bt.TimeFrame.Days: _DAY_MINUTES}.get(timeframe, 0)
        name = f"{compression} {bt.TimeFrame.getname(timeframe, compression)}"
        if timeframe == bt.TimeFrame.Minutes:
            if not 0 < compression <= _DAY_MINUTES or _DAY_MINUTES % compression:
                raise ConfigError(f"{name}: a day has no whole number of them; give minutes that divide 1440")
            if compression % bar_minutes:
                raise ConfigError(f"{name}: cannot be made of bars of {bar_minutes} minutes; give a multiple")
        elif timeframe not in (bt.TimeFrame.Days, bt.TimeFrame.Weeks, bt.TimeFrame.Months, bt.TimeFrame.Years):
            raise ConfigError(f"{name}: shorter than the feed's bars; give minutes, days, weeks, months or years")
        elif _DAY_MINUTES % bar_minutes:
            raise ConfigError(f"{name}: a day has no whole number of bars of {bar_minutes} minutes")
        elif compression != 1:
            raise ConfigError(f"{name}: days, weeks, months and years come one at a time; give compression=1")

    def span(self, time_ms: int) -> tuple[int, int]:
        """Return the opening and the end of the longer bar that a time is in, ms UTC."""
        day = time_ms // DAY_MS * DAY_MS
        if self._timeframe == bt.TimeFrame.Minutes:
            length = self._compression * MINUTE_MS
            start = day + (time_ms - day) // length * length
            return start, start + length
        if self._timeframe == bt.TimeFrame.Days:
            return day, day + DAY_MS
        date = datetime.fromtimestamp(day / 1000.0, UTC)
        if self._timeframe == bt.TimeFrame.Weeks:
            start = day - date.weekday() * DAY_MS
            return start, start + 7 * DAY_MS
        first = date.replace(day=1) if self._timeframe == bt.TimeFrame.Months else date.replace(month=1, day=1)
        days = 31 if self._timeframe == bt.TimeFrame.Months else 366
        after = (first + timedelta(days=days)).replace(day=1)
        return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


class Gathering:
    """A filter that gathers bars to longer ones, delivered with the last bar that is within them.

    A longer bar of which the feed lacks the beginning or the end is left out.
    """

    replaying = False

    def __init__(self, data: Any, timeframe: int = bt.TimeFrame.Days, compression: int = 1, **others: Any) -> None:
        for name, value in others.items():
            if name not in ("bar2edge", "adjbartime", "rightedge", "takelate") or value is (name == "rightedge"):
                raise ConfigError(f"{name}={value!r}: a bar has the exchange's bounds and is named by its opening")
        # Of a copy of a feed that is resampled itself the bars are those longer ones.
        self._before: Gathering | None = data.data.gathering if data._clone else None
        minutes = data.p.compression if self._before is None else self._before.frame.minutes
        if not minutes:
            raise ConfigError("weeks, months and years are not put together further: resample the feed of the file")
        self.frame = Frame(timeframe, compression, minutes)
        data.resampling = 1
        data.replaying = self.replaying
        data._timeframe, data._compression = timeframe, compression
        self._rules = [RULES.get(name, _last) for name in data.getlinealiases()]
        self.reset()

    def reset(self) -> None:
        """Forget all bars, as a run begins."""
        self._start = -1
        self._is_whole = False
        self._bar: list[float] = []

    def opening(self, days: float) -> float:
        """Return the opening of the longer bar that a time is in, both in Backtrader's days."""
        return EPOCH_DAYS + self.frame.span(epoch_ms(days))[0] / DAY_MS

    def take(self, data: Any) -> bool:
        """Add the feed's bar to the longer one, and return whether that begins with it."""
        days = data.datetime[0]
        time = epoch_ms(days if self._before is None else self._before.opening(days))
        start, self._end = self.frame.span(time)
        values = [line[0] for line in data.itersize()]
        self._is_last = time + self.frame.bar_ms >= self._end
        if start != self._start:
            self._start, self._bar, self._is_whole = start, values, time == start
            return True
        self._bar = [rule(*pair) for rule, pair in zip(self._rules, zip(self._bar, values))]
        return False

    def __call__(self, data: Any) -> bool:
        self.take(data)
        data.backwards()
        if self._is_last and self._is_whole:
            data._add2stack(self._bar)
        return True  # the feed's bar is taken away


class Replaying(Gathering):
    """A filter that lets longer bars grow with each of the feed's bars, which are the ticks."""

    replaying = True

    def __call__(self, data: Any) -> bool:
        data._tick_fill(force=True)
        if not self.take(data):
            data.backwards(force=True)
            data._updatebar(self._bar)
        return False


def _gather(feed: Any, kind: type[Gathering], **options: Any) -> None:
    if feed.resampling or feed.replaying:
        raise ConfigError(f"{feed._name or 'the feed'} is resampled already: add it to the Cerebro, which copies it")
    feed.addfilter(kind, **options)
    feed.gathering = feed._filters[-1][0]
    feed.is_gathered = True


def _begin(feed: Any) -> None:
    feed._named = 0
    if feed.gathering is not None:
        feed.gathering.reset()
        if feed._env is None:
            return
        if feed._env.p.oldsync:
            raise ConfigError("oldsync=True does not order bars of several time frames by when they are known")
        waits = not feed._clone and not feed.replaying and len(feed._env.datas) > 1
        if waits and feed._env.p.exactbars > 0:
            raise ConfigError("exactbars=1 keeps no bar that waits for another feed; use resampledata() or exactbars=0")


def _name_by_opening(feed: Any) -> None:
    """Name a longer bar by its opening; until it is delivered it has the time of its last bar, by which feeds wait."""
    gathering = feed.gathering
    if gathering is not None and not gathering.replaying and len(feed) != feed._named:
        feed._named = len(feed)
        feed.lines.datetime[0] = gathering.opening(feed.lines.datetime[0])


class SignalCopy(DataClone):
    """The copy that ``resampledata`` and ``replaydata`` make of a feed that is in the Cerebro already."""

    gathering: Gathering | None = None

    def resample(self, **options: Any) -> None:
        _gather(self, Gathering, **options)

    def replay(self, **options: Any) -> None:
        _gather(self, Replaying, **options)

    def start(self) -> None:
        super().start()
        _begin(self)

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        super().advance(size, datamaster, ticks)
        if ticks:
            _name_by_opening(self)

    def _tick_fill(self, force: bool = False) -> None:
        super()._tick_fill(force)
        _name_by_opening(self)


class NamedByOpening(FastAdvance):
    """Base class of feeds whose bars are named by their opening, with the exchange's longer bars."""

    gathering: Gathering | None = None

    def clone(self, **options: Any) -> SignalCopy:
        """Return a copy of the feed, for other time frames."""
        if self.replaying:
            raise ConfigError(f"{self._name or 'the feed'} is replayed: its bars grow, and no others are made of them")
        return SignalCopy(dataname=self, **options)

    def resample(self, **options: Any) -> None:
        """Make longer bars of the feed's; `options` are `timeframe` and `compression`."""
        _gather(self, Gathering, **options)

    def replay(self, **options: Any) -> None:
        """Let longer bars grow by the feed's; `options` are `timeframe` and `compression`."""
        _gather(self, Replaying, **options)

    def start(self) -> None:
        super().start()
        _begin(self)

    def name_bar(self) -> None:
        _name_by_opening(self)

    def _tick_fill(self, force: bool = False) -> None:
        super()._tick_fill(force)
        _name_by_opening(self)
