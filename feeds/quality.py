"""Checks of market data for what may mislead a backtest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feeds.source_columns import is_frame
from feeds.tables import CandleTable, FundingTable, MarkTable, interval_ms, on_the_minute
from gridv4_bt.core.time import HOUR_MS

if TYPE_CHECKING:
    import pandas as pd

#: A bar that reaches further than this from the close before is shown; a fraction.
JUMP = 0.15
#: A mark price further than this from the last price is shown; a fraction.
MARK_DISTANCE = 0.05
_LONGEST_PAUSE_MS = 8 * HOUR_MS


@dataclass(frozen=True)
class Check:
    """One check of the data and its finding."""

    #: what is looked for
    name: str
    #: how often it was found
    count: int
    #: when first, ms UTC; None if never
    first: int | None = None
    #: more about it
    detail: str = ""


@dataclass(frozen=True)
class Quality:
    """All checks of one symbol."""

    symbol: str
    #: open time of the first and the last bar, ms UTC
    span: tuple[int, int]
    #: how many bars there are
    bars: int
    checks: list[Check]

    @property
    def found(self) -> list[Check]:
        """The checks that found something."""
        return [check for check in self.checks if check.count]


def examine(
    symbol: str,
    candles: CandleTable | pd.DataFrame,
    funding: FundingTable | pd.DataFrame | None = None,
    mark: MarkTable | pd.DataFrame | None = None,
    *,
    interval: str = "15m",
    jump: float = JUMP,
) -> Quality:
    """Look for everything in the data of a symbol that may mislead a backtest.

    Parameters
    ----------
    symbol: name
    candles, funding, mark: tables, or data frames with times in ms; mark candles may be coarser than the bars
    interval: bar length; a CandleTable brings its own
    jump: how far from the close before a bar may reach, a fraction
    """
    step = candles.interval_ms if isinstance(candles, CandleTable) else interval_ms(interval)
    time, open_, high, low, close, volume = _columns(candles, "time", "open", "high", "low", "close", "volume")
    if not len(time):
        return Quality(symbol, (0, 0), 0, [Check("no bars", 1)])
    pause = np.diff(time)
    gap = pause > step
    contradict = ~((low <= np.minimum(open_, close)) & (high >= np.maximum(open_, close)) & (low > 0))
    flat = (volume == 0) & (high == low)
    before = np.concatenate((open_[:1], close[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.maximum(high / before, before / low) - 1.0
    begins = flat & ~np.concatenate(([False], flat[:-1]))
    checks = [
        _check("gaps", gap, time[1:], f"{int((pause[gap] // step - 1).sum()):,} bars missing"),
        _check("duplicate times", pause == 0, time[1:]),
        _check("times out of order", pause < 0, time[1:]),
        _check("bars off the grid", time % step != 0, time),
        _check("prices that contradict each other", contradict, time),
        _check("outages: flat bars without volume", begins, time, f"{int(flat.sum()):,} bars"),
        _check(f"jumps beyond {jump:.0%}", reach > jump, time, f"largest {reach.max():.1%}"),
    ]
    if funding is not None:
        checks += _funding_checks(time, step, *_columns(funding, "time", "rate"))
    if mark is not None:
        checks += _mark_checks(time, step, close, *_columns(mark, "time", "close"))
    return Quality(symbol, (int(time[0]), int(time[-1])), len(time), checks)


def _funding_checks(bars: np.ndarray, step: int, time: np.ndarray, rate: np.ndarray) -> list[Check]:
    time = on_the_minute(time)
    inside = (time >= bars[0]) & (time <= bars[-1])
    edges = np.concatenate((bars[:1], time[inside], bars[-1:] + step))
    holes = np.diff(edges) > _LONGEST_PAUSE_MS
    row = np.minimum(bars.searchsorted(time[inside]), len(bars) - 1)
    return [
        _check("no funding for more than 8 hours", holes, edges[:-1], f"{int(inside.sum()):,} settlements"),
        _check("settlements outside of any bar's open", bars[row] != time[inside], time[inside]),
        _check("funding rates beyond 2 %", np.abs(rate[inside]) > 0.02, time[inside]),
    ]


def _mark_checks(
    bars: np.ndarray, step: int, close: np.ndarray, time: np.ndarray, mark_close: np.ndarray
) -> list[Check]:
    length = int(np.median(np.diff(time))) if len(time) > 1 else step
    if step % length:  # coarser than the bars
        missing = np.diff(time, prepend=time[:1]) > length
        return [_check("gaps of the mark price", missing, time)]
    last = bars + step - length  # the mark candle that ends with the bar
    row = np.minimum(time.searchsorted(last), len(time) - 1)
    known = time[row] == last
    with np.errstate(invalid="ignore"):
        apart = known & (np.abs(mark_close[row] / close - 1.0) > MARK_DISTANCE)
    return [
        _check("bars without a mark price", ~known, bars),
        _check(f"mark price more than {MARK_DISTANCE:.0%} from the last price", apart, bars),
    ]


def _check(name: str, bad: np.ndarray, time: np.ndarray, detail: str = "") -> Check:
    count = int(bad.sum())
    return Check(name, count, int(time[int(bad.argmax())]) if count else None, detail)


def _columns(source: object, *names: str) -> list[np.ndarray]:
    if is_frame(source):
        return [source[name].to_numpy() for name in names]
    return [getattr(source, name) for name in names]
