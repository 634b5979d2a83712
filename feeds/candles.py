"""CandleFeed: checked candles with funding and mark price, fed to Backtrader in bulk."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from datetime import UTC, date, datetime

import backtrader as bt
import numpy as np

from feeds.detail import Detail
from feeds.settlements import FUNDING_INTERVAL_MS, completed
from feeds.tables import (
    CandleTable,
    DetailTable,
    FundingTable,
    MarkTable,
    most_common,
    read_candles,
    read_detail,
    read_funding,
    read_mark,
)
from gridv4_bt.compat import EPOCH_DAYS, NamedByOpening, times_ms
from gridv4_bt.core.time import DAY_MS, MINUTE_MS, iso
from gridv4_bt.errors import DataError

_SHOWN_SPANS = 3
PRICES = ("open", "high", "low", "close", "volume")  #: the numbers of a candle


def backtrader_days(time_ms: np.ndarray) -> np.ndarray:
    """Return Backtrader's date numbers of times in ms; on whole minutes the very floats of `bt.date2num`."""
    return EPOCH_DAYS + time_ms / DAY_MS


class CandleFeed(NamedByOpening):
    """Backtrader feed of checked candles with funding and mark price lines, loaded in bulk.

    Parameters (besides Backtrader's `fromdate`, `todate`, `name`, `tz`, ...)
    ----------
    dataname: path, DataFrame or CandleTable
    funding: path, DataFrame, FundingTable or None
    mark: path, DataFrame, MarkTable or None
    detail: finer candles inside the bars: path, DataFrame, DetailTable or None
    interval: bar length the candles must have; a CandleTable brings its own
    gaps: "refuse" or "flat", see `read_candles`
    completed: where settlements are missing, the rate is synthetic (see `feeds.settlements`); else nothing is charged
    warm_up: how many bars before `fromdate` are loaded too, if there are so many; of a feed without filters and `tz`

    Lines (besides open, high, low, close, volume; NaN = nothing at this bar)
    -----
    funding: sum of the rates settled in (previous bar's open, this bar's open]; first bar: at its open
    mark: mark price at this bar's open, when a mark candle opens at that very time
    mark_high, mark_low: extremes of the mark within this bar, only when `mark_is_fine`

    Attributes
    ----------
    candles: the CandleTable
    lead: number of bars loaded before `fromdate`, to be read by indicators and not to be traded
    has_funding: whether funding was given
    is_current: always true: orders may be placed at every bar, as live at the newest alone
    synthetic_share: share of the settlements of the span that the synthetic rate completes
    mark_is_fine: whether the mark candles are as fine as the bars (their length divides the bar's)
    detail: the `Detail` that knows the finer candles of a bar, or None
    warnings: a sentence each on the spans between `fromdate` and `todate` without funding, without mark price, and on
        bars whose finer candles are not used
    """

    lines = ("funding", "mark", "mark_high", "mark_low")
    params = (
        ("timeframe", bt.TimeFrame.Minutes),
        ("funding", None),
        ("mark", None),
        ("detail", None),
        ("interval", "15m"),
        ("gaps", "refuse"),
        ("warm_up", 0),
        ("completed", False),
    )

    def __init__(self) -> None:
        super().__init__()
        candles = self.p.dataname
        if not isinstance(candles, CandleTable):
            candles = read_candles(candles, interval=self.p.interval, gaps=self.p.gaps, name=self.p.name)
        self.candles = self.p.dataname = self._dataname = candles
        self._name = self.p.name or candles.name
        self.p.compression = candles.interval_ms // MINUTE_MS
        self._label = self._name or "the candles"

        self.warnings: list[str] = []
        wanted = self._wanted_rows()
        self.lead = min(self.p.warm_up, int(wanted.start)) if self.p.fromdate is not None else 0
        if self.lead:
            first = int(candles.time[wanted.start - self.lead])
            self.p.fromdate = datetime.fromtimestamp(first / 1000.0, UTC).replace(tzinfo=None)
        time = candles.time[wanted]
        self.is_current = True
        self.has_funding = self.p.funding is not None
        self.synthetic_share = 0.0
        if self.has_funding:
            funding = self.p.funding
            if not isinstance(funding, FundingTable):
                funding = self.p.funding = read_funding(funding)
            pause = max(most_common(np.diff(funding.time)) if len(funding) > 1 else 0, FUNDING_INTERVAL_MS)
            self._check_cover("funding", time, funding.time, pause, self.p.completed * ": the rate is synthetic there")
            if self.p.completed:
                given = set(funding.time.tolist())
                funding = self.p.funding = completed(candles, funding, pause)
                due = [one for one in funding.time.tolist() if len(time) and time[0] <= one <= time[-1]]
                self.synthetic_share = sum(one not in given for one in due) / max(len(due), 1)

        self.mark_is_fine = False
        if self.p.mark is not None:
            mark = self.p.mark
            if not isinstance(mark, MarkTable):
                mark = self.p.mark = read_mark(mark)
            self.mark_is_fine = candles.interval_ms % mark.interval_ms == 0
            self._check_cover("mark price", time, mark.time, mark.interval_ms)

        self.detail: Detail | None = None
        if self.p.detail is not None:
            table = self.p.detail
            if not isinstance(table, DetailTable):
                table = self.p.detail = read_detail(table)
            self.detail = Detail(candles, wanted, table, self.p.mark, self._label)
            self.warnings += self._detail_warnings(self.detail, len(time))

    def bars(self) -> dict[str, np.ndarray]:
        """Return the bars as a run reads them, up to `todate`: an array for each line, by its name.

        Instead of `datetime` it has `time`, int64 ms UTC. A line that has no data is left out.
        """
        if self._filters or self.p.tz is not None or self.p.tzinput is not None:
            lines = self._loaded_lines()
        else:
            wanted = self._wanted_rows()
            lines = {alias: column[wanted] for alias, column in self._columns().items()}
        days = lines.pop("datetime")
        return {"time": times_ms(days)} | lines

    @property
    def prices(self) -> np.ndarray:
        """Return all prices of the candles, from which an unknown symbol's tick is told."""
        table = self.candles
        return np.concatenate((table.open, table.high, table.low, table.close))

    @property
    def last_ms(self) -> int:
        """Return the open time of the last bar that a run reads, ms UTC."""
        return int(self.candles.time[self._wanted_rows().stop - 1])

    @property
    def rows(self) -> int:
        """Return how many bars a run reads, those before `fromdate` included."""
        wanted = self._wanted_rows()
        return int(wanted.stop - wanted.start)

    def _loaded_lines(self) -> dict[str, np.ndarray]:
        """Return all lines as Backtrader loads them, with its filters and time zones."""
        if getattr(self, "_env", None) is None:
            bt.Cerebro().adddata(self)
            self.reset()
            self._start()
            self.preload()
        loaded = {name: np.array(getattr(self.lines, name).array) for name in self.getlinealiases()}
        if self.gathering is not None:  # a longer bar has its opening for a name when it is delivered
            loaded["datetime"] = np.array([self.gathering.opening(days) for days in loaded["datetime"]])
        return loaded

    def start(self) -> None:
        """Go back to the first bar; Cerebro calls it before every run."""
        super().start()
        self._cursor = 0
        self._is_loaded = False  #: whether the lines hold all that is to come
        self._by_row: list[tuple[int, np.ndarray]] = []

    def preload(self) -> None:
        """Fill all lines at once; bar by bar only when filters or an input time zone change the bars."""
        if self._filters or self._tzinput is not None:
            super().preload()
            return
        columns = self._columns()
        days = columns["datetime"]
        first = days.searchsorted(self.fromdate)
        end = max(first, days.searchsorted(self.todate, side="right"))
        # One array for all lines without data, to which nobody writes.
        nothing = array("d", [math.nan]) * (end - first) + self.lines.datetime.array
        for alias, line in zip(self.getlinealiases(), self.lines.lines, strict=True):
            if alias in columns:
                # Before what is there: Cerebro's lookahead has already extended the line.
                line.array = array("d", columns[alias][first:end].tobytes()) + line.array
            else:
                line.array = nothing
        self._is_loaded = True
        self.home()
        if end - first == len(days):
            # The lines' own numbers take the place of the candles', which would take as much memory again.
            lines = {name: np.frombuffer(getattr(self.lines, name).array)[:end] for name in PRICES}
            self.candles = self.p.dataname = self._dataname = replace(self.candles, **lines)

    def load(self) -> bool:
        """Add a bar, if there is one to come; lines that are loaded do not grow, not even for a moment."""
        return not self._is_loaded and super().load()

    def _load(self) -> bool:
        row = self._cursor
        if row == len(self.candles):
            return False
        self._cursor = row + 1
        if not self._by_row:
            aliases = self.getlinealiases()
            self._by_row = [(aliases.index(alias), column) for alias, column in self._columns().items()]
        lines = self.lines.lines
        for index, column in self._by_row:
            lines[index][0] = column.item(row)
        return True

    def _columns(self) -> dict[str, np.ndarray]:
        """Return the values of the lines that have any, by line, of all candles."""
        candles, funding, mark = self.candles, self.p.funding, self.p.mark
        columns = {field: np.asarray(getattr(candles, field), np.float64) for field in PRICES}
        columns["datetime"] = backtrader_days(candles.time)
        if funding is not None:
            columns["funding"] = _funding_line(candles.time, funding)
        if mark is not None:
            columns["mark"] = _mark_line(candles.time, mark)
        if self.mark_is_fine:
            columns["mark_high"], columns["mark_low"] = _mark_extremes(candles, mark)
        return columns

    def _wanted_rows(self) -> slice:
        """Return the rows of the bars between `fromdate` and `todate`; refuse an empty span."""
        time = self.candles.time
        days = backtrader_days(time)
        first, end = 0, len(days)
        if self.p.fromdate is not None:
            first = days.searchsorted(bt.date2num(self.p.fromdate))
        if self.p.todate is not None:
            end = days.searchsorted(_end_of(self.p.todate), side="right")
        if first >= end:
            raise DataError(
                f"{self._label}: no bar from {self.p.fromdate or 'the start'} to "
                f"{self.p.todate or 'the end'}. The candles cover {iso(time[0])} to {iso(time[-1])}: "
                "choose dates within."
            )
        return slice(first, end)

    def _detail_warnings(self, detail: Detail, bars: int) -> list[str]:
        found = []
        unknown = bars - detail.covered - detail.differing
        if unknown:
            torn = f" ({detail.torn} of them known in part)" if detail.torn else ""
            found.append(f"{self._label}: bars without detail, matched as a whole: {unknown:,}{torn}")
        if detail.differing:
            found.append(
                f"{self._label}: bars that differ from their detail, matched as a whole: {detail.differing:,}, "
                f"the first at {iso(detail.first_difference)}"
            )
        return found

    def _check_cover(self, what: str, bars: np.ndarray, known: np.ndarray, pause: int, instead: str = "") -> None:
        """Refuse a companion series that misses all bars; warn about the spans it misses.

        Parameters
        ----------
        what: name of the series for the message
        bars: bar open times, ms
        known: times of the series, ms
        pause: the longest pause between two known times that is not a hole, ms
        instead: what stands in for what is missing, for the warning
        """
        if known[-1] < bars[0] or known[0] > bars[-1]:
            raise DataError(
                f"{self._label}: the {what} covers {iso(known[0])} to {iso(known[-1])}, "
                f"the candles {iso(bars[0])} to {iso(bars[-1])}. Give the {what} of the same time."
            )
        # The last known time before the bars and the first one after them reach into the bars.
        first, end = known.searchsorted(bars[0], side="right"), known.searchsorted(bars[-1])
        before = known[first - 1] if first else bars[0]
        after = known[end] if end < len(known) else bars[-1] + self.candles.interval_ms
        edges = np.concatenate(([before], known[first:end], [after]))
        holes = np.flatnonzero(np.diff(edges) > pause)
        if len(holes):
            shown = "; ".join(f"{iso(edges[hole])} to {iso(edges[hole + 1])}" for hole in holes[:_SHOWN_SPANS])
            more = f"; and {len(holes) - _SHOWN_SPANS} more spans" if len(holes) > _SHOWN_SPANS else ""
            self.warnings.append(f"{self._label}: no {what} in {shown}{more}{instead}")


def _funding_line(bars: np.ndarray, funding: FundingTable) -> np.ndarray:
    """Return the sums of the rates settled in (previous bar's open, this bar's open], NaN where there are none."""
    inside = (funding.time >= bars[0]) & (funding.time <= bars[-1])
    bar = bars.searchsorted(funding.time[inside])
    total = np.full(len(bars), np.nan)
    total[bar] = 0.0
    np.add.at(total, bar, funding.rate[inside])
    return total


def _mark_line(bars: np.ndarray, mark: MarkTable) -> np.ndarray:
    """Return the open of the mark candle that opens when the bar opens, else NaN."""
    row = np.minimum(mark.time.searchsorted(bars), len(mark) - 1)
    return np.where(mark.time[row] == bars, mark.open[row], np.nan)


def _mark_extremes(candles: CandleTable, mark: MarkTable) -> tuple[np.ndarray, np.ndarray]:
    """Return highest and lowest mark price within each bar, NaN for bars without a mark candle."""
    bar = (mark.time - candles.time[0]) // candles.interval_ms
    inside = (bar >= 0) & (bar < len(candles))
    high, low = np.full((2, len(candles)), np.nan)
    np.fmax.at(high, bar[inside], mark.high[inside])
    np.fmin.at(low, bar[inside], mark.low[inside])
    return high, low


def _end_of(limit: date) -> float:
    """Return Backtrader's number of an upper limit; a date without a time means its whole day."""
    days = bt.date2num(limit)
    return days if isinstance(limit, datetime) else days + 1 - 1 / DAY_MS
