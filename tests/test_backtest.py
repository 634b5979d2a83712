"""`make_feeds` and `run`: the span asked for is the span traded."""

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from busy import busy

from gridv4_bt.backtest import RunResult, SymbolData, make_cerebro, make_feeds, run
from gridv4_bt.config import GridConfig
from gridv4_bt.core.time import BAR_MS, time_ms

FIRST = date(2024, 1, 1)
SPAN = {"start": date(2024, 1, 11), "end": date(2024, 1, 20)}
BEFORE = 10 * 96  #: bars of the data before the span
INSIDE = 10 * 96


def walk(days: int, seed: int = 1, first: date = FIRST) -> pd.DataFrame:
    """Candles of a walk that moves a third of a percent a bar."""
    rng = np.random.default_rng(seed)
    bars = 96 * days
    close = np.round(30_000.0 * np.exp(np.cumsum(0.003 * rng.standard_t(4, bars))), 1)
    opened = np.concatenate([close[:1], close[:-1]])
    return pd.DataFrame(
        {
            "time": time_ms(first) + BAR_MS * np.arange(bars),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": 5.0,
        }
    )


def settlements(candles: pd.DataFrame, rate: float = 0.0001) -> pd.DataFrame:
    times = candles["time"][candles["time"] % (32 * BAR_MS) == 0]
    return pd.DataFrame({"time": times, "rate": rate})


def traded(data: Sequence[SymbolData], config: GridConfig | None = None, **span) -> RunResult:
    return run(make_cerebro(make_feeds(data, **span), config or busy(), 10_000.0))


def sample(days: int = 25) -> SymbolData:
    candles = walk(days)
    return SymbolData("BTCUSDT", candles, settlements(candles))


def test_nothing_before_the_span_is_traded_logged_or_counted():
    result = traded([sample()], **SPAN)
    [record], summary = result.records, result.summary
    times = record.column("time").astype(np.int64)
    assert times.tolist() == (time_ms(SPAN["start"]) + BAR_MS * np.arange(INSIDE)).tolist()
    assert record.bars == summary["bars"] == INSIDE
    assert (summary["from"], summary["to"]) == ("2024-01-11T00:00:00Z", "2024-01-20T23:45:00Z")
    assert len(record.close) == INSIDE
    assert summary["trades"] > 10
    assert min(trade.open_time for trade in record.trades) >= times[1]  # decided at the close of the first bar
    # Ten UTC days, not twenty.
    growth = summary["end_equity"] / 10_000.0
    assert summary["annual_return"] == pytest.approx(growth ** (365 / 10) - 1.0)
    held = (record.column("long_qty") > 0) | (record.column("short_qty") > 0)
    assert summary["time_in_market"] == held.sum() / INSIDE


def test_the_signals_at_the_first_bar_are_those_of_a_run_over_everything():
    whole = traded([sample()], busy(regime="none")).records[0]
    part = traded([sample()], busy(regime="none"), **SPAN).records[0]
    row = BEFORE - (len(sample().candles) - len(whole.log))
    assert whole.column("time")[row] == part.column("time")[0]
    for name in ("z", "sigma", "regime"):
        assert whole.column(name)[row] == part.column(name)[0]
    assert part.column("equity")[0] == 10_000.0


def test_how_far_back_the_data_reaches_changes_nothing():
    # 11,000 bars before the span and 10,000 of them, which are all that is read.
    data = sample(days=120)
    span = {"start": datetime(2024, 4, 24, 14), "end": date(2024, 4, 29)}  # 114 days and 14 hours: 11,000 bars
    short = SymbolData("BTCUSDT", data.candles.iloc[1_000:].reset_index(drop=True), data.funding)
    a, b = (traded([one], **span) for one in (data, short))
    np.testing.assert_array_equal(a.records[0].log, b.records[0].log)
    assert a.records[0].trades == b.records[0].trades != []
    assert a.summary | {"seconds": 0} == b.summary | {"seconds": 0}


def test_with_nothing_before_the_span_it_is_as_without_a_first_day():
    data = sample(days=12)
    dated, plain = traded([data], start=FIRST), traded([data])
    np.testing.assert_array_equal(dated.records[0].log, plain.records[0].log)
    assert dated.summary | {"seconds": 0} == plain.summary | {"seconds": 0}
    assert dated.summary["bars"] == 12 * 96 and len(dated.records[0].log) == 12 * 96 - 96  # sigma needs 96 bars


def test_a_warm_up_that_the_user_asks_for_is_taken_from_before_the_span():
    result = traded([sample()], busy(warm_up=BEFORE), **SPAN)
    assert len(result.records[0].log) == INSIDE
    result = traded([sample()], busy(warm_up=BEFORE + 4), **SPAN)
    assert len(result.records[0].log) == INSIDE - 4
    assert result.summary["bars"] == INSIDE


def test_without_earlier_bars_if_none_are_wanted():
    result = traded([sample()], warm_up=0, **SPAN)
    assert len(result.records[0].log) == INSIDE - 96


def test_funding_before_the_span_costs_nothing_and_its_latest_rate_is_known():
    candles = walk(25)
    funding = settlements(candles, rate=0.0)
    before = funding["time"] < time_ms(SPAN["start"])
    funding.loc[before, "rate"] = 0.05
    result = traded([SymbolData("BTCUSDT", candles, funding)], **SPAN)
    assert result.summary["funding"] == 0.0


def test_symbols_of_one_wallet_begin_together():
    late = walk(12, seed=2, first=date(2024, 1, 10))  # 96 bars before the span
    later = walk(8, seed=3, first=date(2024, 1, 13))
    data = [SymbolData("BTCUSDT", walk(25)), SymbolData("ETHUSDT", late), SymbolData("SOLUSDT", later)]
    begun = [int(record.column("time")[0]) for record in traded(data, **SPAN).records]
    start = time_ms(SPAN["start"])
    assert begun == [start, start, time_ms(date(2024, 1, 14))]  # the last has no bar before its own first


def test_mark_and_detail_of_the_span_alone_are_enough():
    candles = walk(25)
    inside = candles["time"] >= time_ms(SPAN["start"])
    mark = candles[inside].drop(columns="volume")
    part = candles[inside]
    minutes = []
    for step in range(3):  # 5m candles: the whole bar in the first, then its close
        first = step == 0
        columns = {name: part[name] if first else part["close"] for name in ("open", "high", "low", "close")}
        minutes.append(pd.DataFrame({"time": part["time"] + step * 300_000, **columns, "volume": 1.0}))
    detail = pd.concat(minutes).sort_values("time").reset_index(drop=True)
    [feed] = make_feeds([SymbolData("BTCUSDT", candles, None, mark, detail)], **SPAN)
    assert feed.warnings == [] and feed.detail is not None and feed.detail.covered == INSIDE
    result = run(make_cerebro([feed], busy(intrabar="detail"), 10_000.0))
    assert len(result.records[0].log) == INSIDE and result.summary["trades"] > 10
