"""Look-ahead and warm-up bias: planted ones are found, the strategy itself has none."""

from collections.abc import Callable, Sequence
from datetime import datetime

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from busy import busy

from brokers.hedge import HedgeBroker
from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.errors import ConfigError, DataError
from gridv4_bt.validation.bias import cut, cut_times, lookahead, shortest_enough, tables, warm_up
from gridv4_bt.validation.decisions import DecisionDifference, DecisionRecord, DecisionRecorder, first_difference
from strategies.grid_v4 import GridStrategyV4

START_MS = 1_704_067_200_000  # 2024-01-01
BAR_MS = 900_000
PRICE = 10_000.0
STILL = (PRICE, PRICE + 10.0, PRICE - 10.0, PRICE)  # its true range is 20
FIRST = 96  # row of the first decision: 96 returns of sigma


def candles(rows: Sequence[tuple[float, float, float, float]], first: int = 0) -> pd.DataFrame:
    """Bars of (open, high, low, close), the first of them `first` bars after 2024-01-01."""
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float)
    frame.insert(0, "time", START_MS + BAR_MS * np.arange(first, first + len(frame)))
    frame["volume"] = 5.0
    return frame


def no_funding(bars: int = 400) -> pd.DataFrame:
    """A rate of 0 every 8 hours, so that no side's size is tilted."""
    return pd.DataFrame({"time": START_MS + 32 * BAR_MS * np.arange(bars // 32 + 1), "rate": 0.0})


def market(rows, symbol: str = "BTCUSDT", funding: pd.DataFrame | None = None, first: int = 0) -> list[SymbolData]:
    funding = no_funding() if funding is None else funding
    return tables(make_feeds([SymbolData(symbol, candles(rows, first), funding)]))


def random_rows(seed: int, bars: int, price: float = 30_000.0) -> list[tuple[float, float, float, float]]:
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(0.003 * rng.standard_t(4, bars))), 1)
    opened = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(opened, close) * (1 + rng.exponential(0.001, bars))
    low = np.minimum(opened, close) * (1 - rng.exponential(0.001, bars))
    return list(zip(opened, high, low, close, strict=True))


def at(row: int) -> int:
    return START_MS + row * BAR_MS


def trading(kind: type[GridStrategyV4] = GridStrategyV4, **parameters) -> Callable[..., bt.Cerebro]:
    """A way to build a backtest of the strategy, or of a flawed relative of it."""
    config = busy(**parameters)

    def build(data: Sequence[SymbolData], history: int = 0) -> bt.Cerebro:
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(HedgeBroker(cash=10_000.0))
        values = config.model_dump() | {"warm_up": history}
        for feed in make_feeds(data):
            cerebro.adddata(feed)
            cerebro.addstrategy(kind, symbol=feed.p.name, **values)
        return cerebro

    return build


def decide(rows, **parameters) -> DecisionRecord:
    """The decisions of a backtest of one symbol."""
    cerebro = make_cerebro(make_feeds(market(rows)), busy(**parameters), 10_000.0)
    cerebro.addanalyzer(DecisionRecorder, _name="decisions")
    return cerebro.run()[0].analyzers.decisions.records[0]


# --- flaws to be found


class Foresight(GridStrategyV4):
    """Halts at the bar before a fall of more than 1 %."""

    def check_circuit_breaker(self):
        super().check_circuit_breaker()
        if len(self.feed) < self.feed.buflen() and self.feed.close[1] < 0.99 * self.now.close:
            self.memory.halted = 1


class ForesightOfAnother(GridStrategyV4):
    """Halts at the bar before BTCUSDT falls by more than 1 %, in any other symbol."""

    def check_circuit_breaker(self):
        super().check_circuit_breaker()
        leader = self.getdatabyname("BTCUSDT")
        if leader is not self.feed and len(leader) < leader.buflen() and leader.close[1] < 0.99 * leader.close[0]:
            self.memory.halted = 1


class CentredRange(bt.Indicator):
    """The mean range of the bar before, the bar and the bar after it, as far as there are any."""

    lines = ("atr",)

    def once(self, start, end):
        ranges = np.array(self.data.high.array) - np.array(self.data.low.array)
        for i in range(start, end):
            self.lines.atr.array[i] = ranges[max(i - 1, 0) : i + 2].mean()


class RangeFromTheFirst(bt.Indicator):
    """The mean range of all bars since the first: it never forgets where it began."""

    lines = ("atr",)

    def once(self, start, end):
        ranges = np.array(self.data.high.array) - np.array(self.data.low.array)
        for i in range(start, end):
            self.lines.atr.array[i] = ranges[: i + 1].mean()


def with_range(indicator: type[bt.Indicator]) -> type[GridStrategyV4]:
    class Flawed(GridStrategyV4):
        def __init__(self):
            super().__init__()
            self.atr = indicator(self.feed)

    return Flawed


# --- what a decision is, and how a difference is told

#: Level -1 is bought in row 98 at 9,914.9: 10,000/1.01 moved to 0.15 % above 9,900. Its exit is 1 % above, less the
#: inventory's shift of 0.06: 10,014.0, sold in row 99.
ROUND_TRIP = [STILL] * 98 + [(PRICE, PRICE + 10.0, 9_905.0, 9_950.0), (9_950.0, 10_020.0, 9_940.0, 9_950.0)]


def test_the_same_backtest_makes_the_same_decisions():
    one, other = decide(ROUND_TRIP), decide(ROUND_TRIP)
    assert len(one) == len(ROUND_TRIP) - FIRST
    assert one.time.tolist() == [at(row) for row in range(FIRST, len(ROUND_TRIP))]
    assert [trade.exit for trade in one.trades] == [10_014.0]
    assert first_difference(one, other) is None


def test_a_difference_names_bar_step_order_and_both_values():
    # 5 % of the equity buy 500/9,914.9 = 0.0504, 10 % buy 0.1008; the lot is 0.001.
    assert first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, order_pct=0.1)) == DecisionDifference(
        at(FIRST), "BTCUSDT", "entry", "LONG entry at level -1", "buy 0.05 at 9,914.9", "buy 0.1 at 9,914.9"
    )


def test_a_level_without_an_order_is_told_by_its_reason():
    # 0.5 % of the equity buy 0.005, which is less than the least order of 100 USDT.
    difference = first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, order_pct=0.005))
    assert (difference.field, difference.what) == ("blocked", "LONG level -1")
    assert (difference.expected, difference.found) == ("placed", "min_notional")
    entry = first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, order_pct=0.005), fields=["entry"])
    assert (entry.expected, entry.found) == ("buy 0.05 at 9,914.9", "none")


def test_a_stop_is_told_by_its_price():
    # TR of row 98 is 105, so ATR is (13*20 + 105)/14 = 26.0714: the stops lie 6 and 8 ATR below 9,914.9.
    assert first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, stop2_atr=8.0)) == DecisionDifference(
        at(98), "BTCUSDT", "stop", "LONG stop", "at 9,758.4", "at 9,706.3"
    )


def test_a_closed_trade_is_told_as_a_whole():
    difference = first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, maker_fee=0.0), fields=["trade"])
    assert (difference.time, difference.what) == (at(99), "closed trade 1")
    # 0.05 * 99.1 = 4.955; the fees are 0.02 % of 0.05 * 19,914.9
    assert difference.expected.startswith("LONG fill 1: 0.05 from 9,914.9 to 10,014.0 (grid), net 4.75571")
    assert difference.found.startswith("LONG fill 1: 0.05 from 9,914.9 to 10,014.0 (grid), net 4.955")


def test_what_is_not_asked_for_is_not_compared():
    assert first_difference(decide(ROUND_TRIP), decide(ROUND_TRIP, stop2_atr=8.0), fields=["entry", "trade"]) is None


def test_a_bar_that_only_one_run_decided_at_is_a_difference():
    whole, short = decide([STILL] * 100), decide([STILL] * 99)
    assert first_difference(whole, short) == DecisionDifference(
        at(99), "BTCUSDT", "bar", "bar", "decided", "no decision"
    )
    assert first_difference(whole, short, until=at(98)) is None


def test_orders_that_stay_cost_no_memory():
    record = decide([STILL] * 400)
    states = [part for bar in record.legs for leg in bar for part in leg]
    assert len({id(part) for part in states}) <= 20


# --- the cut


def test_a_cut_takes_away_all_that_came_after_the_last_bar():
    marks = candles([STILL] * 8).drop(columns="volume")
    [data] = tables(make_feeds([SymbolData("BTCUSDT", candles([STILL] * 8), no_funding(64), marks)]))
    short = cut(data, at(2), at(5))
    assert short.candles.time.tolist() == [at(2), at(3), at(4)]
    assert len(short.candles.close) == 3
    assert short.funding.time.tolist() == [at(0)]
    assert short.mark.time.tolist() == [at(row) for row in range(5)]


def test_cuts_are_spread_evenly_and_as_many_are_drawn():
    times = list(range(100))
    chosen = cut_times(times, cuts=5, seed=1)
    assert len(chosen) == len(set(chosen)) == 10
    assert {10, 30, 50, 70, 90} <= set(chosen)
    assert chosen == cut_times(times, cuts=5, seed=1) != cut_times(times, cuts=5, seed=2)
    assert cut_times([1, 2, 3], cuts=20, seed=0) == [1, 2, 3]


# --- look-ahead

#: Still for 120 bars, then a fall of 2 % and still again.
FALL = [STILL] * 120 + [(PRICE, PRICE, 9_790.0, 9_800.0)] + [(9_800.0, 9_810.0, 9_790.0, 9_800.0)] * 9


def test_a_strategy_that_knows_the_next_bar_is_found_at_the_bar_before_the_fall():
    runs = lookahead(market(FALL), trading(Foresight), cuts=len(FALL))
    assert [run.last for run in runs] == [at(row) for row in range(FIRST, len(FALL) - 1)]
    [found] = [run.difference for run in runs if run.difference is not None]
    assert found == DecisionDifference(at(119), "BTCUSDT", "halted", "halted", "halted", "trading")
    assert found.step == "step 2, circuit breaker"


def test_a_centred_average_is_found_at_the_last_bar_of_every_cut():
    rows = [(PRICE, PRICE + row, PRICE - row, PRICE) for row in range(1, 121)]  # range of row i: 2*(i + 1)
    runs = lookahead(market(rows), trading(with_range(CentredRange)), cuts=3)
    assert len(runs) == 6
    for run in runs:
        row = (run.last - START_MS) // BAR_MS
        # Of the three ranges 2i, 2i + 2 and 2i + 4 the cut has taken the last.
        expected = DecisionDifference(run.last, "BTCUSDT", "atr", "atr", f"{2.0 * row + 2.0:,}", f"{2.0 * row + 1.0:,}")
        assert run.difference == expected


def test_all_symbols_are_cut_at_the_same_time():
    quiet = market([STILL] * 130, "ETHUSDT")
    data = [*quiet, *market(FALL[20:], first=20)]
    runs = lookahead(data, trading(ForesightOfAnother), cuts=100)
    # The later one of them decides from its 97th bar on; the last bar cannot be cut off.
    assert [run.last for run in runs] == [at(row) for row in range(20 + FIRST, 129)]
    assert [run.bars for run in runs[:2]] == [21 + 1, 22 + 2]
    found = {run.last: run.difference.symbol for run in runs if run.difference is not None}
    assert found == {at(119): "ETHUSDT"}


def test_two_symbols_in_one_wallet_do_not_know_the_future():
    data = [*market(random_rows(1, 500)), *market(random_rows(2, 480, 2_000.0), "ETHUSDT", first=10)]
    runs = lookahead(data, trading(floor_pct=0.004, k=1.0), cuts=4)
    assert len(runs) == 8
    assert [run.difference for run in runs] == [None] * 8


def test_funding_that_begins_later_than_the_candles_can_be_cut_too():
    late = pd.DataFrame({"time": [at(160), at(192)], "rate": [0.0001, 0.0002]})
    runs = lookahead(market([STILL] * 200, funding=late), trading(), cuts=200)
    assert [run.last for run in runs] == [at(row) for row in range(96, 199)]  # before, the rate is synthetic
    assert all(run.difference is None for run in runs)


@pytest.mark.parametrize(("bars", "cuts", "error"), [(96, 1, DataError), (97, 1, DataError), (130, 0, ConfigError)])
def test_nothing_to_cut_is_refused(bars, cuts, error):
    with pytest.raises(error, match="few|1 or more"):
        lookahead(market([STILL] * bars), trading(), cuts=cuts)


def test_the_strategy_does_not_know_the_future_of_the_real_market(shared_data):
    pytest.importorskip("pyarrow")
    ftx = real(shared_data, "BTCUSDT", "2022-10-25", 3_000)
    runs = lookahead([ftx], trading(), cuts=5)
    assert len(runs) == 10
    assert [run.difference for run in runs] == [None] * 10


# --- warm-up

#: A range of 320 in row 99 lifts ATR from 20 to 20 + 300/14; the longest warm-up ends, and trading begins, at row 200.
SHOCK = [STILL] * 99 + [(PRICE, PRICE + 160.0, PRICE - 160.0, PRICE)] + [STILL] * 110


def test_a_warm_up_too_short_to_know_a_shock_is_found():
    # With k = 3 and no floor the ladder hangs on ATR: at level 10 a difference shows most.
    runs = warm_up(market(SHOCK), trading(floor_pct=1e-6), [100, 200, 130])
    assert [run.warm_up for run in runs] == [100, 130, 200]
    assert {(run.first, run.bars) for run in runs} == {(at(200), 10)}
    assert shortest_enough(runs) == 130
    unaware, aware, longest = runs
    # 101 bars later (13/14)^101 of the shock is left.
    left = 300 / 14 * (13 / 14) ** 101
    assert unaware.signals["atr"] == pytest.approx(left / (20 + left), rel=1e-9)
    assert unaware.signals["sigma"] == unaware.signals["kama"] == 0.0
    assert (unaware.difference.time, unaware.difference.field) == (at(200), "entry")
    assert aware.signals["atr"] == longest.signals["atr"] == 0.0


def test_an_average_that_never_forgets_needs_all_of_the_history():
    wide = (PRICE, PRICE + 20.0, PRICE - 20.0, PRICE)
    rows = [wide] * 100 + [STILL] * 210
    runs = warm_up(market(rows), trading(with_range(RangeFromTheFirst), floor_pct=1e-6), [100, 200, 250, 300])
    assert shortest_enough(runs) is None
    # The mean of the first 301 bars is (100*40 + 201*20)/301, that of the last 101 of them is 20.
    assert runs[0].signals["atr"] == pytest.approx(1 - 20 / (8_020 / 301))
    assert all(run.difference.time == at(300) for run in runs[:-1])


def test_funding_that_a_short_warm_up_cannot_know_is_told_as_such():
    # Without recorded funding a rate is made of the last 24 h of candles; row 192 settles the last one before row 200.
    rows = random_rows(3, 260)
    data = tables(make_feeds([SymbolData("BTCUSDT", candles(rows))]))
    short, enough, _ = warm_up(data, lambda *some: daily_funding(*some), [100, 190, 200])
    assert (short.difference.time, short.difference.field) == (at(200), "funding_rate")
    assert enough.difference is None or enough.difference.field != "funding_rate"


def daily_funding(data: Sequence[SymbolData], history: int) -> bt.Cerebro:
    return make_cerebro(make_feeds(data), busy(funding_hours=24.0, warm_up=history), 10_000.0)


def test_all_symbols_begin_to_trade_at_the_same_bar():
    data = [*market([STILL] * 230), *market([STILL] * 200, "ETHUSDT", first=15)]
    runs = warm_up(data, trading(), [100, 150])
    assert [(run.first, run.bars) for run in runs] == [(at(165), 65 + 50)] * 2
    assert shortest_enough(runs) == 100


def test_a_symbol_that_ends_before_trading_begins_is_refused():
    data = [*market([STILL] * 160), *market([STILL] * 200, "ETHUSDT", first=15)]
    with pytest.raises(DataError, match="BTCUSDT: the candles end at 2024-01-02T15:45:00Z"):
        warm_up(data, trading(), [100, 150])


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([130], ConfigError, "two or more"),
        ([130, 130], ConfigError, "two or more"),
        ([0, 130], ConfigError, "two or more"),
        ([50, 100], ConfigError, "warm-up of 50 bars: BTCUSDT needs at least 96"),
        ([50, 130], ConfigError, "warm-up of 50 bars: BTCUSDT needs at least 70"),  # all there are after the 80th
        ([100, 150], DataError, "150 bars are too few for a warm-up of 150"),
    ],
)
def test_warm_ups_that_cannot_be_compared_are_refused(lengths, error, words):
    with pytest.raises(error, match=words):
        warm_up(market([STILL] * 150), trading(), lengths)


def test_four_days_of_history_are_enough_on_the_sample_market():
    sample = sample_market(days=20)
    data = tables(make_feeds([SymbolData(SYMBOL, sample.candles, sample.funding)]))
    runs = warm_up(data, trading(), [100, 384, 700, 1_000])
    assert shortest_enough(runs) in (100, 384)


def test_a_span_is_cut_with_the_bars_that_warm_it_up():
    feeds = make_feeds([SymbolData("BTCUSDT", candles([STILL] * 200), no_funding())])
    [data] = tables(feeds, at(150), at(180), warm_up=40)
    assert (data.candles.time[0], data.candles.time[-1], len(data.candles)) == (at(110), at(179), 70)
    [data] = tables(feeds, at(150) - 1, at(180), warm_up=400)
    assert (data.candles.time[0], len(data.candles)) == (at(0), 180)


def test_the_strategy_does_not_know_the_future_within_a_span():
    # 300 bars before the span; funding begins in it, so that only later cuts have any.
    start = at(300)
    funding = no_funding(700)[lambda rows: rows["time"] >= at(320)]
    feeds = make_feeds([SymbolData("BTCUSDT", candles(random_rows(5, 600)), funding)], start=datetime(2024, 1, 4, 3))
    data = tables(feeds, start, warm_up=1_000)
    config = busy()

    def build(some):
        return make_cerebro(make_feeds(some, start=datetime(2024, 1, 4, 3)), config, 10_000.0)

    runs = lookahead(data, build, cuts=8, start_ms=start)
    assert len(runs) == 16 and all(run.difference is None for run in runs)
    assert min(run.last for run in runs) >= at(320)
    assert [run.bars for run in runs] == [(run.last - start) // BAR_MS + 1 for run in runs]  # none before the span


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
def test_a_thousand_bars_of_history_are_enough_on_the_real_market(symbol, shared_data):
    pytest.importorskip("pyarrow")
    runs = warm_up([real(shared_data, symbol, "2022-10-25", 3_000)], trading(), [500, 1_000, 2_000])
    assert runs[1].difference is None
    assert max(runs[1].signals.values()) < 1e-12
    assert runs[1].regimes == 0


def real(folder, symbol: str, first: str, bars: int) -> SymbolData:
    """A slice of the real market."""
    files = SymbolData(
        symbol, folder / "candles" / f"{symbol}-15m.parquet", folder / "funding" / f"{symbol}-funding.parquet"
    )
    start = int(pd.Timestamp(first, tz="UTC").timestamp()) * 1000
    [data] = tables(make_feeds([files]), start, start + bars * BAR_MS)
    return data
