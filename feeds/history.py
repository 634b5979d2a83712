"""Candles, funding, mark candles and market rules of a perpetual: from the cache, else downloaded into it.

    history = load_history("BTC/USDT:USDT", date(2023, 1, 1))
    SymbolData(history.symbol, history.candles, history.funding, history.mark)

A span that the cache holds is read without a single request. Months that are over come from Binance's public archive
where it has them, everything else from the exchange itself; only bars that the exchange's own clock calls closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from feeds.cache import Damaged, SeriesCache, default_folder, update_table
from feeds.series import Series, Span, month_span, months
from feeds.tables import FUNDING_JITTER_MS, interval_ms
from gridv4_bt.core.time import BAR_MS, DAY_MS, MINUTE_MS, end_ms, iso, time_ms
from gridv4_bt.engine.market import exchange_symbol
from gridv4_bt.errors import DataError

if TYPE_CHECKING:  # importing ccxt takes a second, which a run from the cache does not need
    import pandas as pd

    from feeds.archive import Archive
    from feeds.exchange import MarketDataClient

#: Called with what is loaded, and how many months of it are done and wanted.
Progress = Callable[[str, int, int], None]

EXCHANGES = ("binanceusdm", "bybit", "okx")
_CLOSED_MS = 5_000  # a bar counts as closed so long after its end: the exchange's replicas lag
_SETTLED_MS = 10 * MINUTE_MS  # a settlement may appear so long after its time
_ARCHIVE_READERS = 4


@dataclass(frozen=True)
class History:
    """The history of one perpetual."""

    #: the exchange's name: BTCUSDT
    symbol: str
    #: columns time (ms UTC), open, high, low, close, volume
    candles: pd.DataFrame
    #: columns time, rate; None without any settlement
    funding: pd.DataFrame | None
    #: columns time, open, high, low, close; None without any
    mark: pd.DataFrame | None
    #: a market table with the symbol's filters and brackets; None if they were never loaded
    rules: Path | None
    #: a sentence each on what a user should know about the data
    warnings: list[str]


def connect(exchange: str) -> MarketDataClient:
    """Return a connection to an exchange."""
    from feeds.exchange import MarketDataClient, make_client

    return MarketDataClient(make_client(exchange))


def load_history(
    symbol: str,
    start: date | None = None,
    end: date | None = None,
    *,
    exchange: str = "binanceusdm",
    interval: str = "15m",
    cache_dir: Path | None = None,
    kinds: tuple[str, ...] = ("candles", "funding", "mark"),
    refill: bool = False,
    warm_up: int = 0,
    progress: Progress = lambda what, done, wanted: None,
    connect: Callable[[str], MarketDataClient] = connect,
) -> History:
    """Return the history of a perpetual, downloading what the cache lacks.

    Parameters
    ----------
    symbol: BTC/USDT:USDT, BTC/USDT or BTCUSDT
    start: first day or time, UTC; None: the first bar there is
    end: last day (the whole of it) or time of the last bar, UTC; None: the last closed bar
    exchange: one of `EXCHANGES`
    interval: bar length, 15m or what divides it
    cache_dir: default: `gridv4/history` in the user's cache directory
    kinds: which of candles (always needed), funding and mark
    refill: ask once more for the bars that the exchange did not have when it was asked
    warm_up: bars before `start` that are wanted too, as many as there are: fewer after a listing, and without a network
        those in the cache
    progress: called for every month
    connect: makes the connection when the cache does not suffice; default: the real one

    Raises
    ------
    DataError
        The symbol, the exchange or the span is wrong.
    MarketError
        The symbol is no linear perpetual.
    OSError
        No network, or a cache that cannot be written. What was loaded before is kept.
    """
    name = exchange_symbol(symbol)
    step = interval_ms(interval)
    if exchange not in EXCHANGES:
        raise DataError(f"exchange {exchange} is unknown: use one of {', '.join(EXCHANGES)}")
    if BAR_MS % step:
        raise DataError(f"interval {interval} does not divide 15m: use 1m, 3m, 5m or 15m")
    lead = warm_up * step if start is not None else 0
    span = _Wanted(symbol, None if start is None else time_ms(start), None if end is None else end_ms(end), lead)
    root = Path(cache_dir) if cache_dir is not None else default_folder()
    loader = _Loader(root / exchange, name, symbol, lambda: connect(exchange), refill, progress)
    candles = loader.load(Series("candles", step), span)
    first, last = int(candles["time"].iloc[0]), int(candles["time"].iloc[-1])
    if span.first is not None and first > span.first + step:
        loader.warnings.append(f"{name}: the candles begin at {iso(first)}, not before")
    others = {}
    for series in (Series("funding"), Series("mark", step)):
        if series.kind in kinds:
            until = last + FUNDING_JITTER_MS + 1 if series.kind == "funding" else last + step
            since = max(first, span.first or 0)
            rows = loader.load(series, _Wanted(symbol, since, until, since - first, companion=True))
            others[series.kind] = rows if len(rows) else None
            if not len(rows):
                loader.warnings.append(f"{name}: {exchange} has no {series.kind} of this time")
    rules = root / exchange / "markets.json"
    return History(
        name, candles, others.get("funding"), others.get("mark"), rules if _has(rules, name) else None, loader.warnings
    )


@dataclass(frozen=True)
class _Wanted:
    """The requested span."""

    symbol: str
    first: int | None  #: ms UTC; None: from the first row on
    end: int | None  #: ms UTC, exclusive; None: until the last closed bar
    lead: int = 0  #: of rows before `first` that are wanted too, as far as there are any, ms
    companion: bool = False  #: rows that may be missing, such as mark candles of a market's first months

    @property
    def since(self) -> int:
        """Time of the first row wanted, ms UTC; 0: from the first row on."""
        return 0 if self.first is None else max(self.first - self.lead, 0)

    def __post_init__(self) -> None:
        if self.first is not None and self.end is not None and self.first >= self.end:
            raise DataError(f"{self.symbol}: --from {iso(self.first)} is not before --to. Choose a later --to.")


@dataclass
class _Loader:
    """A loader of the series of one symbol, which connects once and only if the cache does not suffice."""

    folder: Path
    name: str
    symbol: str
    connect: Callable[[], MarketDataClient]
    refill: bool
    progress: Progress
    warnings: list[str] = field(default_factory=list)
    _remote: MarketDataClient | None = None
    _archive: Archive | None = None
    _now: int = 0

    def load(self, series: Series, wanted: _Wanted) -> pd.DataFrame:
        """Return the wanted rows of a series."""
        cache = SeriesCache(self.folder / self.name / series.name, series)
        if not self.refill:
            try:
                cache.load()
                rows = self._cached(cache, wanted)
                if rows is not None:
                    return rows
            except Damaged:
                pass  # or another process has just written: looked into while nobody may write
        failure = self._try_to_connect()
        if failure is not None and not cache.folder.is_dir():
            self._offline(cache, wanted, failure)
        with cache.lock():
            self._set_damaged_aside(cache)
            return self._completed(cache, wanted) if failure is None else self._offline(cache, wanted, failure)

    def _cached(self, cache: SeriesCache, wanted: _Wanted) -> pd.DataFrame | None:
        """Return the wanted rows if the cache holds them all; no request is made to find out."""
        if cache.first is None:
            return None
        first = max(cache.first, wanted.since)
        end = wanted.end
        if end is None or end > cache.until:
            # Only to see whether there can be a newer bar; a clock that is behind the exchange's does not know.
            now = time.time_ns() // 1_000_000
            closed = _closed(cache.series, now)
            if now < cache.loaded or closed > cache.until:
                return None
            end = cache.until
        if end <= first:
            return None if not wanted.companion else cache.series.empty()
        for month in months((first, end)):
            entry = cache.months.get(month)
            if entry is None or entry.until < min(month_span(month)[1], end):
                return None
        return self._rows(cache, wanted, (first, end))

    def _rows(self, cache: SeriesCache, wanted: _Wanted, span: Span) -> pd.DataFrame:
        """Return the rows of a span, every month of which is cached."""
        if not wanted.companion:
            self._refuse_before_listing(cache, wanted)
        import pandas as pd

        tables = [cache.read(month) for month in months(span)]
        rows = pd.concat(tables, ignore_index=True) if tables else cache.series.empty()
        first, end = rows["time"].searchsorted(span[0]), rows["time"].searchsorted(span[1])
        rows = rows.iloc[first:end].reset_index(drop=True)
        if not len(rows) and not wanted.companion:
            raise DataError(f"{self.symbol}: no bar from {iso(span[0])} to {iso(span[1])}. Choose another span.")
        return rows

    def _completed(self, cache: SeriesCache, wanted: _Wanted) -> pd.DataFrame:
        """Return the wanted rows after loading what the cache lacks."""
        remote = self._connected()
        if cache.first is None:
            first = remote.first_time(self.symbol, cache.series)
            if first is None and not wanted.companion:
                raise DataError(f"{self.symbol}: the exchange has no candles of it. Choose another symbol.")
            cache.remember_first(self._now if first is None else first)
        if not wanted.companion:
            self._refuse_before_listing(cache, wanted)
        closed = _closed(cache.series, self._now)
        first = max(cache.first, wanted.since)
        end = min(wanted.end if wanted.end is not None else closed, closed)
        if end <= first and not wanted.companion:
            raise DataError(f"{self.symbol}: no closed bar from {iso(first)} on yet. Choose an earlier --from.")
        self._fill(cache, (first, end), closed)
        return self._rows(cache, wanted, (first, end))

    def _fill(self, cache: SeriesCache, span: Span, closed: int) -> None:
        """Load the months of a span as far as they are over, each in full."""
        wanted = [month for month in months(span) if self._incomplete(cache, month, span[1])]
        whole = [month for month in wanted if month not in cache.months and month_span(month)[1] <= closed]
        with self._archived(cache.series, whole) as archived:
            for done, month in enumerate(wanted):
                self.progress(f"{self.name} {cache.series.name} {month}", done, len(wanted))
                begin, over = month_span(month)
                rows = archived[month].result() if month in archived else None
                self._fill_month(cache, month, (max(begin, cache.first), min(over, closed)), rows)
        if wanted:
            self.progress(f"{self.name} {cache.series.name}", len(wanted), len(wanted))

    def _incomplete(self, cache: SeriesCache, month: str, end: int) -> bool:
        entry = cache.months.get(month)
        if entry is None or entry.until < min(month_span(month)[1], end):
            return True
        return self.refill and bool(entry.holes)

    def _fill_month(self, cache: SeriesCache, month: str, span: Span, archived: pd.DataFrame | None) -> None:
        series, remote = cache.series, self._connected()
        first, end = span
        entry = cache.months.get(month)
        holes: list[Span] = []
        if entry is not None:
            parts, source = [cache.read(month)], entry.source
            missing = [(max(entry.until, first), end)] if entry.until < end else []
            if self.refill:
                missing = [*entry.holes, *missing]
            else:
                holes = list(entry.holes)
        elif archived is not None:
            parts, source = [series.clean(archived, span)], "archive"
            missing = series.missing(parts[0]["time"].to_numpy(), span)
        else:
            parts, source = [], "rest"
            missing = [span]
        for gap in missing:
            rows, still = remote.rows(self.symbol, series, gap)
            parts.append(rows)
            holes += still
            if len(rows) and "rest" not in source:
                source += "+rest"
        import pandas as pd

        rows = series.clean(pd.concat(parts), span)
        until, holes = _known_until(series, rows, span, sorted(holes), self._now)
        cache.store(month, rows, source, self._now, until, holes)

    @contextmanager
    def _archived(self, series: Series, wanted: list[str]) -> Iterator[dict[str, Future]]:
        """Read months from the archive, some at the same time, while those before are stored."""
        remote = self._connected()
        if remote.client.id != "binanceusdm" or not wanted:
            yield {}
            return
        if self._archive is None:
            from feeds.archive import Archive

            self._archive = Archive(remote.session, remote.patience)
        archive, market_id = self._archive, remote.market(self.symbol)["id"]
        readers = ThreadPoolExecutor(_ARCHIVE_READERS)
        try:
            yield {month: readers.submit(archive.month, market_id, series, month) for month in wanted}
        finally:
            readers.shutdown(cancel_futures=True)
            self.warnings += archive.warnings
            archive.warnings = []

    def _connected(self) -> MarketDataClient:
        if self._remote is None:
            remote = self.connect()
            self._now = remote.server_time()
            update_table(self.folder / "markets.json", self.name, remote.rules(self.symbol))
            self._remote = remote
        return self._remote

    def _try_to_connect(self) -> OSError | None:
        """Return why there is no connection."""
        from feeds.exchange import Unavailable

        try:
            self._connected()
        except Unavailable as failure:
            return failure
        return None

    def _offline(self, cache: SeriesCache, wanted: _Wanted, failure: OSError) -> pd.DataFrame:
        """Return what is cached if no end was asked for, and where earlier rows for the warm-up are missing.

        Without a network that is the latest there is, and the earliest.
        """
        if wanted.lead and (shorter := self._held_before(cache, wanted)) != wanted:
            rows = self._cached(cache, shorter) if wanted.end is not None else self._offline(cache, shorter, failure)
            if rows is not None and len(rows):
                if not wanted.companion:
                    self.warnings.append(
                        f"{self.name}: no network, so the warm-up begins at {iso(shorter.since)}, where the cache does"
                    )
                return rows
            wanted = shorter
        known = cache.until if wanted.end is None else min(wanted.end, cache.until)
        if (wanted.end is None or wanted.companion) and known > (wanted.first or 0):
            rows = self._cached(cache, replace(wanted, end=known))
            if rows is not None and len(rows):
                what = f"{self.name}: no network, so the {cache.series.name} end at {iso(known)}, where the cache does"
                self.warnings.append(what)
                return rows
        held = "nothing of it"
        if cache.months:
            held = f"only {iso(max(month_span(min(cache.months))[0], cache.first or 0))} to {iso(cache.until)}"
        reason = f"{failure.strerror}; the cache has {held} ({cache.series.name} of {self.name})"
        raise OSError(failure.errno, reason, failure.filename) from failure

    def _held_before(self, cache: SeriesCache, wanted: _Wanted) -> _Wanted:
        """Return the span with as many of the earlier rows as the cache holds without a gap."""
        start = since = wanted.first or 0
        for month in reversed(list(months((wanted.since, start)))):
            entry = cache.months.get(month)
            begin, over = month_span(month)
            if entry is None or entry.until < min(over, start):
                break
            since = max(begin, wanted.since)
        return replace(wanted, lead=start - since)

    def _set_damaged_aside(self, cache: SeriesCache) -> None:
        try:
            cache.load()
        except Damaged:
            cache.discard_manifest()
        for month in list(cache.months):
            try:
                cache.read(month)
            except Damaged:
                cache.discard(month)
        for path in cache.set_aside:
            self.warnings.append(f"{self.name}: a damaged file of the cache was set aside as {path}")

    def _refuse_before_listing(self, cache: SeriesCache, wanted: _Wanted) -> None:
        listed = iso(cache.first)[:10]
        if wanted.first is not None and iso(wanted.first)[:10] < listed:
            raise DataError(
                f"{self.symbol}: --from {iso(wanted.first)[:10]} is before its first bar ({iso(cache.first)}). "
                f"Use --from {listed} or later."
            )


def _closed(series: Series, now: int) -> int:
    """Return the time before which all rows are final."""
    if series.kind == "funding":
        return now - _SETTLED_MS
    return (now - _CLOSED_MS) // series.step_ms * series.step_ms


def _known_until(series: Series, rows: pd.DataFrame, span: Span, holes: list[Span], now: int) -> tuple[int, list[Span]]:
    """Return the time up to which a month is known, and its holes; rows missing at today's end are not holes yet."""
    end = span[1]
    if holes and holes[-1][1] == end and now - end < DAY_MS:
        return holes[-1][0], holes[:-1]
    return end, holes


def _has(rules: Path, name: str) -> bool:
    return rules.is_file() and f'"{name}"' in rules.read_text("utf-8")
