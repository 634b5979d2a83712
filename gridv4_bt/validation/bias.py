"""Look-ahead and warm-up bias of a backtest, found by running it again on cut data.

Look-ahead: a decision that uses what came after its bar. The backtest is run again on data that ends early; a
decision that changes used the future.

Warm-up: averages remember where they began, so a live session that starts with too little history decides otherwise
than the backtest. The backtest is run again with less history before the same first traded bar.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from feeds.candles import CandleFeed
from gridv4_bt.backtest import SymbolData
from gridv4_bt.core.time import iso
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.validation.decisions import (
    DECISIONS,
    SIGNALS,
    DecisionDifference,
    DecisionRecord,
    DecisionRecorder,
    OrderRecorder,
    first_difference,
)
from strategies.grid_v4 import GridStrategyV4

Progress = Callable[[str], None]

#: What may come with the candles; each is also a parameter of `CandleFeed`.
COMPANIONS = tuple(field.name for field in fields(SymbolData) if field.name not in ("symbol", "candles"))


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class CutRun:
    """A run on data that ends early, compared with the run on all of it."""

    last: int  #: open time of the last bar of the data, ms
    bars: int  #: bars compared, all symbols together
    difference: DecisionDifference | None  #: the first one


@dataclass(frozen=True)
class WarmUpRun:
    """A run with less history before the same first traded bar, compared with the run with the most."""

    warm_up: int  #: bars of history before trading begins
    first: int  #: open time of the first traded bar, ms
    bars: int  #: bars compared, all symbols together
    difference: DecisionDifference | None  #: the first one of the decisions; the signals' values do not count
    signals: dict[str, float]  #: largest relative difference of each of `SIGNALS`
    regimes: int  #: bars with another regime


def tables(
    feeds: Sequence[CandleFeed], start_ms: int | None = None, end_ms: int | None = None, warm_up: int = 0
) -> list[SymbolData]:
    """Return the checked tables of feeds, cut to a span.

    Parameters
    ----------
    start_ms : first bar's open time at the earliest, ms; None keeps the first bar.
    end_ms : only what is known before this time, ms; None keeps all.
    warm_up : bars before `start_ms` that are kept too, if there are so many.
    """
    data = []
    for feed in feeds:
        known = {name: getattr(feed.p, name) for name in COMPANIONS}
        since = None if start_ms is None else start_ms - warm_up * feed.candles.interval_ms
        data.append(cut(SymbolData(feed.p.name, feed.candles, **known), since, end_ms))
    return data


def cut(data: SymbolData, start_ms: int | None = None, end_ms: int | None = None) -> SymbolData:
    """Return a symbol's tables with the bars from a time on and with nothing that came at or after another, ms.

    Funding and other companions keep what came before the first bar; the feed leaves it out.
    """
    known = {name: _cut_table(getattr(data, name), None, end_ms) for name in COMPANIONS}
    return replace(data, candles=_cut_table(data.candles, start_ms, end_ms), **known)


def lookahead(
    data: Sequence[SymbolData],
    build: Callable[[Sequence[SymbolData]], bt.Cerebro],
    cuts: int = 20,
    seed: int = 0,
    progress: Progress = _silent,
    start_ms: int | None = None,
) -> list[CutRun]:
    """Run on all of the data and again on data cut at many bars; return the cuts by time.

    A cut takes everything away that came after the close of its last bar, of every symbol. Decisions and signals
    must be the same to the last bit.

    Parameters
    ----------
    data : of `tables`.
    build : makes the Cerebro from the cut data: with one GridStrategyV4 or a subclass of it for each symbol, or with a
        strategy of another kind.
    cuts : how many cuts are spread evenly over the bars; as many again are drawn at random.
    seed : of the random ones.
    progress : told what is done next.
    start_ms : first day of the span whose bars `build` trades, ms; None: the data has none before it.

    Raises
    ------
    ConfigError
        Less than one cut is asked for.
    DataError
        The data is too short to decide anything, or to be cut.
    """
    if cuts < 1:
        raise ConfigError(f"cuts = {cuts}: must be 1 or more")
    progress("run on the whole span")
    whole = _decide(build(data))
    if not whole:
        raise DataError("too few bars for a decision. Give a longer span.")
    for record in whole:
        if not len(record):
            raise DataError(f"{record.symbol}: {record.bars:,} bars are too few for a decision. Give a longer span.")
    runs = []
    lasts = cut_times(_possible_cuts(data, whole, start_ms or 0), cuts, seed)
    for number, last in enumerate(lasts, start=1):
        progress(f"cut {number} of {len(lasts)}")
        short = [cut(one, None, last + one.candles.interval_ms) for one in data]
        records = _decide(build(short))
        runs.append(CutRun(last, _bars(records), _earliest(whole, records, until=last)))
    return runs


def cut_times(times: Sequence[int], cuts: int, seed: int) -> list[int]:
    """Choose `cuts` of the times spread evenly and as many others at random; all if there are no more."""
    even = {times[(2 * number + 1) * len(times) // (2 * cuts)] for number in range(cuts)}
    others = [time for time in times if time not in even]
    drawn = random.Random(seed).sample(others, min(cuts, len(others)))
    return sorted([*even, *drawn])


def warm_up(
    data: Sequence[SymbolData],
    build: Callable[[Sequence[SymbolData], int], bt.Cerebro],
    warm_ups: Sequence[int],
    progress: Progress = _silent,
) -> list[WarmUpRun]:
    """Run with each length of history before the same first traded bar; return the runs, shortest first.

    Trading begins as many bars after the data's first bar as the longest warm-up has. The last run is that one, the
    one all are compared with. The funding rate known when trading begins is compared too: a warm-up that does not
    reach back to the latest settlement, or to the candles a synthetic rate is made of, differs in it.

    Parameters
    ----------
    data : of `tables`.
    build : makes the Cerebro from the cut data and the number of bars of it that come before trading.
    warm_ups : bars; at least two different ones.
    progress : told what is done next.

    Raises
    ------
    ConfigError
        A warm-up is no number of bars, or less than the indicators need.
    DataError
        The data of a symbol does not reach beyond the longest warm-up, or ends before all others are warm.
    """
    lengths = sorted(set(warm_ups))
    if len(lengths) < 2 or lengths[0] < 1:
        raise ConfigError("warm-ups: give two or more different numbers of bars")
    longest = lengths[-1]
    for one in data:
        if len(one.candles) <= longest:
            raise DataError(
                f"{one.symbol}: {len(one.candles):,} bars are too few for a warm-up of {longest:,}. "
                "Give a longer span, or shorter warm-ups."
            )
    first = max(int(one.candles.time[longest]) for one in data)
    for one in data:
        if one.candles.time[-1] < first:
            raise DataError(
                f"{one.symbol}: the candles end at {iso(one.candles.time[-1])}, before trading begins at {iso(first)}. "
                "Give all symbols the same span."
            )

    def decide(length: int) -> list[DecisionRecord]:
        progress(f"warm-up of {length:,} bars")
        begun = [cut(one, first - length * one.candles.interval_ms) for one in data]
        records = _decide(build(begun, length))
        for one, record in zip(begun, records, strict=True):
            if not len(record) or record.time[0] != first:
                decided = int(record.time[0]) if len(record) else int(one.candles.time[-1]) + one.candles.interval_ms
                needed = length + (decided - first) // one.candles.interval_ms
                raise ConfigError(
                    f"warm-up of {length} bars: {record.symbol} needs at least {needed} before its first decision. "
                    "Leave shorter ones out."
                )
        return records

    expected = decide(longest)
    runs = [_compare(length, decide(length), expected) for length in lengths[:-1]]
    return [*runs, _compare(longest, expected, expected)]


def shortest_enough(runs: Sequence[WarmUpRun]) -> int | None:
    """Return the shortest warm-up from which on all longer ones decide the same, bars.

    None if even the second longest decides otherwise than the longest.
    """
    enough = None
    for run in reversed(runs[:-1]):
        if run.difference is not None:
            break
        enough = run.warm_up
    return enough


def _decide(cerebro: bt.Cerebro) -> list[DecisionRecord]:
    kinds = [kind for group in cerebro.strats for kind, *_ in group]
    is_grid = all(issubclass(kind, GridStrategyV4) for kind in kinds)
    cerebro.addanalyzer(DecisionRecorder if is_grid else OrderRecorder, _name="decisions")
    return [record for strategy in cerebro.run() for record in strategy.analyzers.decisions.records]


def _possible_cuts(data: Sequence[SymbolData], whole: Sequence[DecisionRecord], start_ms: int) -> list[int]:
    """Return the open times of the bars after which the data may end, ms: every symbol decides, and not the last."""
    times = np.unique(np.concatenate([one.candles.time for one in data]))
    earliest = max(int(record.time[0]) for record in whole)
    for one in data:
        first = max(int(one.candles.time[0]), start_ms)
        for table in (getattr(one, name) for name in COMPANIONS):
            if table is not None:
                # A feed wants to know at least something of each of its companions.
                inside = table.time[table.time >= first]
                since = int(inside[0]) if len(inside) else int(times[-1])
                earliest = max(earliest, since + one.candles.interval_ms)
    possible = times[times >= earliest][:-1].tolist()
    if not possible:
        bars = max(len(one.candles) for one in data)
        raise DataError(f"{bars:,} bars are too few to be cut: two or more must decide. Give a longer span.")
    return possible


def _earliest(
    expected: Sequence[DecisionRecord], found: Sequence[DecisionRecord], **options: Any
) -> DecisionDifference | None:
    """Return the first difference of any symbol."""
    pairs = zip(expected, found, strict=True)
    differences = [first_difference(*pair, **options) for pair in pairs]
    return min((one for one in differences if one is not None), key=lambda one: one.time, default=None)


def _compare(length: int, records: list[DecisionRecord], expected: list[DecisionRecord]) -> WarmUpRun:
    pairs = list(zip(expected, records, strict=True))
    return WarmUpRun(
        warm_up=length,
        first=int(records[0].time[0]),
        bars=_bars(records),
        difference=_earliest(expected, records, fields=DECISIONS),
        signals={name: max(_largest(a.column(name), b.column(name)) for a, b in pairs) for name in SIGNALS},
        regimes=sum(int((a.column("regime") != b.column("regime")).sum()) for a, b in pairs),
    )


def _largest(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the largest relative difference of two columns."""
    apart = np.zeros_like(a)
    np.divide(np.abs(a - b), np.maximum(np.abs(a), np.abs(b)), out=apart, where=a != b)
    return float(apart.max())


def _bars(records: Sequence[DecisionRecord]) -> int:
    return sum(map(len, records))


def _cut_table(table: Any, start_ms: int | None, end_ms: int | None) -> Any:
    """Return a table's rows from one time to before another, ms; None stays None."""
    if table is None:
        return None
    first = 0 if start_ms is None else table.time.searchsorted(start_ms)
    end = len(table) if end_ms is None else table.time.searchsorted(end_ms)
    columns = {name: value[first:end] for name, value in vars(table).items() if isinstance(value, np.ndarray)}
    return replace(table, **columns)
