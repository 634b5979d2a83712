"""Finer candles inside the bars of a feed: which bars have them, and what is said about those that have not."""

import math
from datetime import UTC, date, datetime, timedelta

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import START, START_MS, candle_feed, candle_frame, detail_frame

from feeds.candles import CandleFeed
from feeds.tables import read_detail, read_mark
from gridv4_bt.errors import DataError

MINUTE, QUARTER = 60_000, 900_000
PRICES = ("open", "high", "low", "close")

#: Three bars and their candles of 5 minutes.
FIRST = [(100, 103, 100, 102), (102, 104, 101, 101), (101, 102, 98, 99)]
SECOND = [(99, 99, 95, 96), (96, 97, 96, 97), (97, 101, 97, 100)]
THIRD = [(100, 100, 100, 100), (100, 106, 100, 105), (105, 105, 103, 104)]
BARS = [(100, 104, 98, 99), (99, 101, 95, 100), (100, 106, 100, 104)]
PARTS = {1: FIRST, 2: SECOND, 3: THIRD}


def feed(detail=PARTS, bars=BARS, name="TEST", **params):
    detail = detail_frame(detail) if isinstance(detail, dict) else detail
    return CandleFeed(dataname=candle_frame(bars), name=name, detail=detail, **params)


def inside(feed, number):
    """Time in minutes from the start, prices and volume of the candles inside a bar counted from 1."""
    return [
        ((bar.time - START_MS) // MINUTE, bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in feed.detail.inside(START_MS + (number - 1) * QUARTER)
    ]


def refusal(*args, **params):
    with pytest.raises(DataError) as error:
        feed(*args, **params)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- reading


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "frame", "table"])
def test_every_source_gives_the_same_candles(tmp_path, kind):
    frame = detail_frame(PARTS)
    path = tmp_path / f"TEST-5m.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind.startswith("csv"):
        frame.to_csv(path, index=False)
    source = {"frame": frame, "table": read_detail(frame)}.get(kind, path)
    assert inside(feed(source), 2) == [(15, 99, 99, 95, 96, 1), (20, 96, 97, 96, 97, 1), (25, 97, 101, 97, 100, 1)]


@pytest.mark.parametrize(("candles", "minutes"), [(15, 1), (5, 3), (3, 5)])
def test_interval_is_the_most_common_difference_and_gaps_are_allowed(candles, minutes):
    flat = [(100, 100, 100, 100)] * candles
    table = read_detail(detail_frame({1: flat, 2: [None, *flat[1:]], 5: flat}))
    assert table.interval_ms == minutes * MINUTE
    assert len(table) == 3 * candles - 1
    assert table.time[0] == START_MS and table.time[-1] == START_MS + 5 * QUARTER - table.interval_ms


def spoilt(row, **values):
    frame = detail_frame(PARTS)
    for column, value in values.items():
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (detail_frame(PARTS).drop(columns="volume"), "column volume is missing"),
        (detail_frame(PARTS).iloc[:0], "no rows"),
        (detail_frame(PARTS).iloc[:1], "one row does not show its interval. Give at least two finer candles"),
        (detail_frame(PARTS).iloc[::-1], "row 2, 2024-01-01T00:35:00Z: earlier than the row before"),
        (detail_frame(PARTS).iloc[[0, 1, 1, 2]], "row 3, 2024-01-01T00:05:00Z: the same time as the row before"),
        (detail_frame(PARTS, START + timedelta(minutes=2)), "row 1, 2024-01-01T00:02:00Z: not on the 5m grid"),
        (spoilt(4, high=90.0), "row 5, 2024-01-01T00:20:00Z: high 90.0 is below low 96.0"),
        (spoilt(4, close=120.0), "close 120.0 is outside low 96.0 to high 97.0"),
        (spoilt(4, low=0.0), "low 0.0 is not a positive number"),
        (spoilt(4, volume=-1.0), "row 5, 2024-01-01T00:20:00Z: volume -1.0 is not a number of 0 or more"),
        (spoilt(4, volume=math.nan), "volume nan is not a number of 0 or more"),
    ],
)
def test_bad_detail_is_refused_with_row_and_reason(frame, words):
    assert words in refusal(frame)


def test_detail_that_is_no_file_is_refused_by_its_name(tmp_path):
    assert "none-1m.csv: no such file" in refusal(tmp_path / "none-1m.csv")


# --- detail that does not fit the bars


@pytest.mark.parametrize("minutes", [15, 10, 30, 60, 4])
def test_detail_that_is_not_finer_or_does_not_divide_the_bars_is_refused(minutes):
    times = pd.date_range(START, periods=20, freq=f"{minutes}min")
    frame = pd.DataFrame(dict.fromkeys(PRICES, 100.0) | {"time": times, "volume": 1.0})
    words = refusal(frame)
    assert words.startswith(f"TEST: the detail has candles of {minutes}m") and "bars of 15m" in words
    assert words.endswith("Give finer ones, such as 1m.")


def test_detail_of_another_time_is_refused():
    words = refusal(detail_frame(PARTS, START + timedelta(days=1)))
    assert words == ("TEST: the detail covers none of the bars wholly. Give finer candles of the same time.")


def test_detail_that_is_torn_in_every_bar_is_refused():
    torn = {number: [*candles[:2], None] for number, candles in PARTS.items()}
    torn[9] = FIRST
    assert "covers none of the bars wholly" in refusal(torn)


def test_refusal_names_the_candles_if_the_feed_has_no_name():
    assert refusal(detail_frame(PARTS, START + timedelta(days=1)), name="").startswith("the candles: the detail")


# --- which bars have their detail


def test_every_bar_covered_by_agreeing_candles_has_its_detail():
    data = feed()
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (3, 0, 0)
    assert data.detail.first_difference is None
    assert data.warnings == []
    assert [len(inside(data, number)) for number in (1, 2, 3)] == [3, 3, 3]


def test_feed_without_detail_has_none():
    data = CandleFeed(dataname=candle_frame(BARS))
    assert data.detail is None and data.warnings == []


def test_time_that_is_no_bar_has_no_candles():
    detail = feed().detail
    for time in (0, START_MS - QUARTER, START_MS + 5 * MINUTE, START_MS + 3 * QUARTER):
        assert detail.inside(time) == []


def test_candles_are_handed_out_anew_each_time():
    detail = feed().detail
    detail.inside(START_MS)[0].mark_low = 1.0
    assert detail.inside(START_MS)[0].mark_low == 100.0


def test_bar_without_candles_is_told_and_has_no_detail():
    data = feed({1: FIRST, 3: THIRD})
    assert inside(data, 2) == []
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (2, 0, 0)
    assert data.warnings == ["TEST: bars without detail, matched as a whole: 1"]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_torn_bar_is_told_and_has_no_detail(missing):
    candles = [None if i == missing else candle for i, candle in enumerate(SECOND)]
    data = feed(PARTS | {2: candles}, bars=[*BARS, (104, 104, 104, 104)])
    assert inside(data, 2) == []
    assert len(inside(data, 1)) == len(inside(data, 3)) == 3
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (2, 1, 0)
    assert data.warnings == ["TEST: bars without detail, matched as a whole: 2 (1 of them known in part)"]


@pytest.mark.parametrize(
    "spoil",
    [
        {3: (98.5, 99, 95, 96)},  # another open than the bar's 99
        {5: (97, 101.5, 97, 100)},  # a high of 101.5 instead of 101
        {3: (99, 99, 95.5, 96)},  # a low of 95.5 instead of 95
        {5: (97, 101, 97, 100.5)},  # another close than 100
    ],
)
def test_bar_that_differs_from_its_candles_is_told_and_has_no_detail(spoil):
    candles = [spoil.get(3 + i, candle) for i, candle in enumerate(SECOND)]
    data = feed(PARTS | {2: candles})
    assert inside(data, 2) == []
    assert len(inside(data, 1)) == len(inside(data, 3)) == 3
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (2, 0, 1)
    assert data.detail.first_difference == START_MS + QUARTER
    assert data.warnings == [
        "TEST: bars that differ from their detail, matched as a whole: 1, the first at 2024-01-01T00:15:00Z"
    ]


def test_volume_need_not_add_up():
    assert feed(bars=[(*bar, 1_000.0) for bar in BARS]).detail.covered == 3


def test_missing_torn_and_differing_bars_are_told_together():
    data = feed({1: FIRST, 2: [*SECOND[:2], None], 4: FIRST}, bars=[*BARS, (100, 104, 98, 98)])
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (1, 1, 1)
    assert data.warnings == [
        "TEST: bars without detail, matched as a whole: 2 (1 of them known in part)",
        "TEST: bars that differ from their detail, matched as a whole: 1, the first at 2024-01-01T00:45:00Z",
    ]


def test_first_of_several_differing_bars_is_told():
    data = feed({1: FIRST, 2: [(99, 99, 94, 96), *SECOND[1:]], 3: [(101, 101, 101, 101), *THIRD[1:]]})
    assert (data.detail.differing, data.detail.first_difference) == (2, START_MS + QUARTER)
    assert data.warnings == [
        "TEST: bars that differ from their detail, matched as a whole: 2, the first at 2024-01-01T00:15:00Z"
    ]


def test_candles_before_and_after_the_bars_are_no_matter():
    parts = {number + 2: candles for number, candles in PARTS.items()} | {1: FIRST, 2: [*SECOND[:1], None, None]}
    data = CandleFeed(
        dataname=candle_frame(BARS, START + timedelta(minutes=30)), detail=detail_frame(parts | {6: THIRD, 9: THIRD})
    )
    assert (data.detail.covered, data.warnings) == (3, [])


@pytest.mark.parametrize(
    ("cut", "span"), [(1, {"fromdate": datetime(2024, 1, 1, 0, 15)}), (3, {"todate": datetime(2024, 1, 1, 0, 15)})]
)
@pytest.mark.parametrize("inside_the_cut", [[(50, 50, 50, 50)] * 3, [None, *FIRST[1:]], [None] * 3, FIRST])
def test_only_the_bars_that_are_wanted_are_looked_at(cut, span, inside_the_cut):
    data = feed(PARTS | {cut: inside_the_cut}, **span)
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (2, 0, 0)
    assert (inside(data, cut), data.warnings) == ([], [])


def test_a_whole_day_is_wanted_when_its_date_is():
    assert feed(fromdate=date(2024, 1, 1), todate=date(2024, 1, 1)).detail.covered == 3


def test_gap_filled_flat_has_no_detail():
    frame = candle_frame([*BARS, (104, 104, 104, 104), (104, 104, 104, 104)]).drop(index=1)
    data = CandleFeed(dataname=frame, name="TEST", gaps="flat", detail=detail_frame({1: FIRST, 3: THIRD}))
    assert (data.candles.filled, data.detail.covered, inside(data, 2)) == (1, 2, [])


def test_bars_of_an_hour_may_have_quarters_inside():
    quarters = candle_frame([*BARS, (104, 105, 103, 103)])
    hour = pd.DataFrame({"time": [START], "open": 100.0, "high": 106.0, "low": 95.0, "close": 103.0, "volume": 4.0})
    data = CandleFeed(dataname=hour, interval="1h", detail=quarters)
    assert [bar[0] for bar in inside(data, 1)] == [0, 15, 30, 45]


@pytest.mark.parametrize("options", [{}, {"preload": False, "runonce": False}])
def test_detail_changes_no_line_of_the_feed(options):
    plain, detailed = candle_feed(BARS, name="PLAIN"), feed()
    cerebro = bt.Cerebro(stdstats=False, **options)
    cerebro.adddata(plain)
    cerebro.adddata(detailed)
    cerebro.addstrategy(bt.Strategy)
    cerebro.run()
    for line, other in zip(plain.lines.lines, detailed.lines.lines, strict=True):
        np.testing.assert_array_equal(line.array, other.array)
        assert len(line.array) == 3


# --- the mark inside a bar


def mark_of(minutes, *candles, start=START):
    times = pd.date_range(start, periods=len(candles), freq=f"{minutes}min")
    frame = pd.DataFrame(candles, columns=PRICES, dtype=float)
    return read_mark(frame.assign(time=times).iloc[[i for i, candle in enumerate(candles) if candle[0] > 0]])


def marks(feed, number):
    candles = feed.detail.inside(START_MS + (number - 1) * QUARTER)
    return [(bar.mark_low, bar.mark_high, bar.mark_close) for bar in candles]


def test_without_a_mark_the_trades_are_the_mark():
    data = feed()
    assert not data.detail.has_mark
    assert marks(data, 1) == [(100, 103, 102), (101, 104, 101), (98, 102, 99)]


def test_mark_as_fine_as_the_candles_gives_each_its_extremes():
    mark = mark_of(5, (100, 101, 99, 100), (100, 120, 99, 100), (100, 101, 80, 100), *[(100, 101, 99, 100)] * 6)
    data = feed(mark=mark)
    assert data.detail.has_mark
    assert marks(data, 1) == [(99, 101, 102), (99, 120, 101), (80, 101, 99)]


def test_mark_finer_than_the_candles_gives_each_the_extremes_of_its_own():
    minutes = [(100, 101, 99, 100)] * 45
    minutes[4], minutes[5], minutes[9] = (100, 111, 99, 100), (100, 101, 88, 100), (100, 122, 99, 100)
    data = feed(mark=mark_of(1, *minutes))
    assert [pair[:2] for pair in marks(data, 1)] == [(99, 111), (88, 122), (99, 101)]


@pytest.mark.parametrize(("minutes", "count"), [(15, 3), (60, 1)])
def test_mark_coarser_than_the_candles_says_nothing_about_them(minutes, count):
    data = feed(mark=mark_of(minutes, *[(100, 130, 70, 100)] * (count + 1)))
    assert data.mark_is_fine is (minutes == 15)
    assert not data.detail.has_mark


def test_candle_in_a_gap_of_the_mark_keeps_its_own_prices():
    gap = (0, 0, 0, 0)
    mark = mark_of(5, (100, 101, 99, 100), gap, *[(100, 101, 99, 100)] * 7)
    assert marks(feed(mark=mark), 1) == [(99, 101, 102), (101, 104, 101), (99, 101, 99)]


def test_mark_in_a_gap_of_the_candles_belongs_to_none_of_them():
    # the first candle of the second bar is missing, and with it the minute in which the mark fell
    calm, fallen = (100, 101, 99, 100), (100, 100, 80, 100)
    data = feed(PARTS | {2: [None, *SECOND[1:]]}, mark=mark_of(5, *[calm] * 3, fallen, *[calm] * 5))
    assert [low for low, _, _ in marks(data, 1)] == [99, 99, 99]


# --- laws


@st.composite
def minute_candles(draw):
    """Some bars of 15 minutes, minute by minute, jumps and minutes without trades among them."""
    rows, at = [], 1_000.0
    for _ in range(15 * draw(st.integers(1, 4))):
        jump, move, up, down, volume = draw(
            st.tuples(
                st.sampled_from([0, 0, 0, 2, -3]),
                st.integers(-5, 5),
                st.integers(0, 3),
                st.integers(0, 3),
                st.sampled_from([0.0, 1.0, 2.5]),
            )
        )
        open_, close = at + jump, at + jump + move
        rows.append((open_, max(open_, close) + up, min(open_, close) - down, close, volume))
        at = close
    return rows


def put_together(frame, minutes=15):
    """Bars from finer candles, by pandas and not by our own hand."""
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return frame.set_index("time").resample(f"{minutes}min").agg(how).reset_index()


@settings(max_examples=15, deadline=None)
@given(minute_candles())
def test_bars_put_together_from_candles_have_exactly_these_inside(rows):
    frame = pd.DataFrame(rows, columns=[*PRICES, "volume"])
    frame.insert(0, "time", pd.date_range(START, periods=len(rows), freq="1min"))
    data = CandleFeed(dataname=put_together(frame), detail=frame)
    assert (data.detail.covered, data.warnings) == (len(rows) // 15, [])
    seen = [bar for number in range(len(rows) // 15) for bar in inside(data, number + 1)]
    assert seen == [(minute, *row) for minute, row in enumerate(rows)]


def test_a_real_month_agrees_but_for_one_bar(shared_data):
    # the minutes run from 13:02 to 12:59; at 2025-01-29 01:30 the exchange's own files contradict each other
    candles = shared_data / "candles"
    data = CandleFeed(
        dataname=candles / "BTCUSDT-15m.parquet",
        detail=candles / "BTCUSDT-1m-2025-01-27_2025-02-26.parquet",
        fromdate=datetime(2025, 1, 27, 13, 0),
        todate=datetime(2025, 2, 26, 13, 0),
    )
    assert (data.detail.covered, data.detail.torn, data.detail.differing) == (2_878, 1, 1)
    assert data.warnings == [
        "BTCUSDT: bars without detail, matched as a whole: 2 (1 of them known in part)",
        "BTCUSDT: bars that differ from their detail, matched as a whole: 1, the first at 2025-01-29T01:30:00Z",
    ]
    known = datetime(2025, 2, 3, 2, 15, tzinfo=UTC)
    bars = data.detail.inside(int(known.timestamp() * 1000))
    row = data.candles.time.searchsorted(int(known.timestamp() * 1000))
    assert len(bars) == 15
    assert max(bar.high for bar in bars) == data.candles.high[row]
    assert min(bar.low for bar in bars) == data.candles.low[row]


def test_detail_of_another_market_is_refused():
    candles = candle_frame([(100, 101, 99, 100)] * 3)
    other = detail_frame({number: [(50, 51, 49, 50)] * 3 for number in (1, 2, 3)})
    with pytest.raises(DataError, match="every bar differs from its detail, the first at 2024-01-01T00:00:00Z"):
        CandleFeed(dataname=candles, detail=other, name="TEST")
