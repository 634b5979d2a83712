"""One backtest from data to result: what `run_backtest.py` does, for scripts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from gridv4_bt import own_packages

own_packages.check()

from brokers.hedge import HedgeBroker
from feeds.candles import CandleFeed
from gridv4_bt.compat import FastCerebro
from gridv4_bt.config import GridConfig, backtrader_params
from gridv4_bt.engine.market import check_tick, load_market_history
from gridv4_bt.engine.warm_up import LONGEST_MEMORY_BARS, warm_up_bars
from gridv4_bt.errors import DataError
from gridv4_bt.metrics.recorder import RunRecorder, SymbolRecord
from gridv4_bt.metrics.summary import summarize_recording
from gridv4_bt.metrics.whole_run import WholeRun
from gridv4_bt.own_strategy import OwnStrategy
from strategies.grid_v4 import GridStrategyV4


@dataclass(frozen=True)
class SymbolData:
    """The files, or data frames, of one symbol. Paths end in .csv, .csv.gz or .parquet."""

    symbol: str
    candles: Any
    funding: Any = None
    mark: Any = None
    detail: Any = None


@dataclass(frozen=True)
class RunResult:
    """The records and the summary of a backtest."""

    records: list[SymbolRecord]
    summary: dict[str, Any]  #: content of summary.json


@dataclass(frozen=True)
class Traded:
    """A backtest that is over and not summarised yet; of its feeds and indicators it has no more than the records."""

    recording: WholeRun
    seconds: float  #: it took
    more: dict[str, str]  #: that the summary says first

    def result(self) -> RunResult:
        """Summarise it."""
        began = time.perf_counter()
        summary = self.more | summarize_recording(self.recording)
        summary["seconds"] = round(self.seconds + time.perf_counter() - began, 3)
        return RunResult(list(self.recording.records), summary)


#: A feed of candles that charges the synthetic rate where the funding given has a hole.
WITH_ALL_FUNDING = partial(CandleFeed, completed=True)


def make_feeds(
    data: Sequence[SymbolData],
    gaps: str = "refuse",
    start: Any = None,
    end: Any = None,
    warm_up: int = LONGEST_MEMORY_BARS,
    feed: Callable[..., CandleFeed] = WITH_ALL_FUNDING,
) -> list[CandleFeed]:
    """Read and check the data of every symbol; the feeds are in the order of the alphabet.

    So the same data in any order gives the same run to the last bit: sums run in the order of the feeds, and who gets
    margin first follows from it.

    `start` and `end` (datetime or date, UTC) are the span that is traded; a date as `end` means its whole day. Bars
    before `start`, `warm_up` of them if the data has so many, are loaded too: a GridStrategyV4 warms up on them and
    begins to trade at the span's first bar. Nothing before it is traded, logged or counted. Where there are fewer than
    the strategy needs it begins later, as it does without `start`. See `gridv4_bt.engine.warm_up.span_warm_up`.

    Funding that covers only a part of the bars is completed by the synthetic rate.

    A strategy of another kind knows nothing of this and needs `warm_up` 0.

    Raises
    ------
    DataError
        A file is missing, damaged, or too short for a single decision.
    """
    feeds = []
    for one in sorted(data, key=lambda one: one.symbol):
        made = feed(
            dataname=one.candles,
            funding=one.funding,
            mark=one.mark,
            detail=one.detail,
            gaps=gaps,
            fromdate=start,
            todate=end,
            warm_up=warm_up,
            name=one.symbol,
        )
        feeds.append(made)
    names = [made.p.name for made in feeds]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name} is given twice; each symbol may have one candle file")
    return feeds


def make_cerebro(
    feeds: Sequence[CandleFeed],
    config: GridConfig,
    cash: float,
    rules: Path | None = None,
    broker: Callable[..., HedgeBroker] = HedgeBroker,
    strategy: type[GridStrategyV4] | None = None,
    own: OwnStrategy | None = None,
) -> bt.Cerebro:
    """Return a Cerebro with one wallet, and one GridStrategyV4 and RunRecorder for every feed.

    `rules` is a file of brackets or filters, dated or not, in place of the packaged table (see `load_market_history`).
    `own` is a strategy of the user's own that trades in place of the grids: one, which has all feeds as its `datas`.

    Raises
    ------
    MarketError
        The file cannot be read or lacks a symbol.
    """
    cerebro = FastCerebro(stdstats=False)
    exchange = {name: getattr(config, name) for name, _ in backtrader_params("exchange")}
    markets = {feed.p.name: load_market_history(feed.p.name, rules, feed.prices) for feed in feeds}
    for feed in feeds:
        check_tick(markets[feed.p.name].at(feed.last_ms), float(feed.candles.close.max()))
    cerebro.setbroker(broker(cash=cash, markets=markets, **exchange))
    for feed in feeds:
        cerebro.adddata(feed)
        if own is None:
            values = config.of(feed.p.name).model_dump()
            cerebro.addstrategy(strategy or GridStrategyV4, symbol=feed.p.name, **values)
    if own is not None:
        cerebro.addstrategy(own.delayed(config.warm_up), **own.params)
    cerebro.addanalyzer(RunRecorder, _name="record")
    return cerebro


def run(cerebro: bt.Cerebro, own: OwnStrategy | None = None) -> RunResult:
    """Run a Cerebro made by `make_cerebro`, with the same `own`, and summarise it.

    Raises
    ------
    DataError
        The data is over before the indicators have warmed up.
    StrategyError
        The user's own strategy has failed.
    """
    return trade(cerebro, own).result()


def trade(cerebro: bt.Cerebro, own: OwnStrategy | None = None) -> Traded:
    """Run a Cerebro as `run` does, and leave it to the caller to summarise it."""
    began = time.perf_counter()
    recording = _record_grids(cerebro) if own is None else _record_own(cerebro, own)
    return Traded(recording, time.perf_counter() - began, {} if own is None else {"strategy": own.name})


def _record_grids(cerebro: bt.Cerebro) -> WholeRun:
    strategies = cerebro.run()
    recorders = [strategy.analyzers.record for strategy in strategies]
    records = [recorder.record for recorder in recorders]
    if not any(len(record.log) for record in records):
        bars = max((len(strategy.feed) for strategy in strategies), default=0)
        needed = min((warm_up_bars(strategy.config) for strategy in strategies), default=warm_up_bars(GridConfig()))
        raise DataError(f"{bars} bars are too few: warm-up needs {needed}. Give a longer span.")
    return WholeRun(records, recorders[0].wallet)


def _record_own(cerebro: bt.Cerebro, own: OwnStrategy) -> WholeRun:
    with own.failures():
        [strategy] = cerebro.run()
    recording = strategy.analyzers.record.recording
    if not len(recording.curve[1]) or np.isnan(recording.curve[1]).any():  # it never came to `next`
        bars = max(len(data) for data in strategy.datas)
        raise DataError(f"{bars:,} bars are too few for the indicators of {own.name}. Give a longer span.")
    return recording
