import gzip
import math
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from feeds.candles import PRICES, CandleFeed, backtrader_days
from feeds.tables import interval_ms, read_candles, read_funding, read_mark
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.errors import DataError

START = pd.Timestamp("2024-01-01", tz="UTC")
START_MS = 1_704_067_200_000
QUARTER = 900_000


def candles(bars=96, minutes=15, start=START):
    """A zigzag between 100 and 104, every bar different."""
    rng = np.random.default_rng(1)
    close = np.round(102 + 2 * np.sin(np.arange(bars) / 5), 2)
    open_ = np.concatenate(([102.0], close[:-1]))
    return pd.DataFrame(
        {
            "time": pd.date_range(start, periods=bars, freq=f"{minutes}min", unit="ms"),
            "open": open_,
            "high": np.maximum(open_, close) + 0.25,
            "low": np.minimum(open_, close) - 0.25,
            "close": close,
            "volume": np.round(rng.random(bars) * 100, 3),
        }
    )


def settlements(*rows):
    """Funding from pairs of a time such as "2024-01-01 08:00" and a rate."""
    return pd.DataFrame({"time": [pd.Timestamp(t, tz="UTC") for t, _ in rows], "rate": [rate for _, rate in rows]})


def mark_candles(minutes, bars, start=START):
    frame = candles(bars, minutes, start)
    return frame.drop(columns="volume")


def ms(text):
    return pd.Timestamp(text, tz="UTC").value // 1_000_000


class Recorder(bt.Strategy):
    """Keeps what next() sees: one tuple a bar and feed."""

    def __init__(self):
        self.seen = [[] for _ in self.datas]

    def next(self):
        for data, seen in zip(self.datas, self.seen, strict=True):
            if len(data) > len(seen):
                seen.append(tuple(getattr(data.lines, alias)[0] for alias in data.getlinealiases()))


def run(*feeds, **options):
    cerebro = bt.Cerebro(stdstats=False, **options)
    for feed in feeds:
        cerebro.adddata(feed)
    cerebro.addstrategy(Recorder)
    return [np.array(seen) for seen in cerebro.run()[0].seen]


def assert_same(left, right):
    np.testing.assert_array_equal(left, right)


# --- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_every_source_gives_the_same_table(tmp_path, kind):
    frame = candles().assign(trades=7)
    path = tmp_path / f"BTCUSDT-15m.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    table, expected = read_candles(str(path)), read_candles(frame, name="BTCUSDT")
    assert table.name == "BTCUSDT" and len(table) == 96 and table.filled == 0
    assert table.time[0] == START_MS and table.interval_ms == QUARTER
    for field in ("time", "open", "high", "low", "close", "volume"):
        assert_same(getattr(table, field), getattr(expected, field))


@pytest.mark.parametrize(
    "convert",
    [
        lambda time: time.dt.tz_localize(None),
        lambda time: time.dt.tz_convert("Asia/Tokyo"),
        lambda time: time.dt.as_unit("ns"),
        lambda time: time.dt.as_unit("s"),
        lambda time: time.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda time: time.dt.strftime("%Y-%m-%d %H:%M:%S"),
        lambda time: time.dt.tz_convert("Asia/Tokyo").dt.strftime("%Y-%m-%dT%H:%M:%S%z"),
        lambda time: time.astype("int64"),
        lambda time: pd.Series(list(time.dt.to_pydatetime()), dtype=object),
    ],
)
def test_every_way_to_write_a_time_means_the_same(convert):
    frame = candles()
    frame["time"] = convert(frame["time"])
    assert_same(read_candles(frame).time, START_MS + QUARTER * np.arange(96))


def test_the_time_may_be_the_index_of_a_frame(tmp_path):
    frame = candles().set_index("time")
    frame.to_parquet(tmp_path / "a.parquet")
    assert_same(read_candles(frame).close, read_candles(candles()).close)
    assert_same(read_candles(tmp_path / "a.parquet").time, read_candles(candles()).time)


def test_the_table_does_not_change_with_its_frame():
    frame = candles()
    table = read_candles(frame)
    frame.loc[0, "close"] = 1.0
    assert table.close[0] == 102.0


@pytest.mark.parametrize(("text", "length"), [("1m", 60_000), ("15m", 900_000), ("4h", 14_400_000), ("1d", 86_400_000)])
def test_interval_ms(text, length):
    assert interval_ms(text) == length


def test_an_unknown_interval_is_refused():
    with pytest.raises(DataError, match="interval '15x' is unknown"):
        read_candles(candles(), interval="15x")


def test_an_unknown_gap_policy_is_refused():
    with pytest.raises(DataError, match="use 'refuse' or 'flat'"):
        read_candles(candles(), gaps="ignore")


# --- bad candles ---------------------------------------------------------------------------------------------


def setting(row, **values):
    def spoil(frame):
        for column, value in values.items():
            frame[column] = frame[column].astype(object)
            frame.loc[row, column] = value
        return frame

    return spoil


def swapping(row):
    def spoil(frame):
        order = list(range(len(frame)))
        order[row], order[row + 1] = order[row + 1], order[row]
        return frame.iloc[order]

    return spoil


BAD_CANDLES = {
    "missing column": (lambda f: f.drop(columns=["high", "volume"]), ["column high, volume is missing", "found: time"]),
    "no time": (lambda f: f.drop(columns="time"), ["column time is missing"]),
    "no header": (
        lambda f: f.set_axis(["1704067200000", "1", "2", "3", "4", "5"], axis=1),
        ["The first line must name the columns time,open,high,low,close,volume"],
    ),
    "no rows": (lambda f: f.iloc[:0], ["no rows"]),
    "unsorted": (swapping(3), ["row 5, 2024-01-01T00:45:00Z", "earlier than the row before", "Sort"]),
    "repeated": (lambda f: f.iloc[[0, 1, 2, 2, 3]], ["row 4, 2024-01-01T00:30:00Z", "the same time as the row before"]),
    "backwards": (lambda f: f.iloc[::-1], ["row 2", "(and 94 more such rows)"]),
    "gap": (
        lambda f: f.drop(index=[4, 5, 10]),
        ["row 5, 2024-01-01T01:30:00Z", "2 gap(s), 3 bars missing", "2024-01-01T00:45:00Z to 2024-01-01T01:30:00Z",
         "(2 missing)", "gaps='flat'"],
    ),
    "many gaps": (lambda f: f.drop(index=[4, 8, 12, 16, 20]), ["5 gap(s)", "; and 2 more"]),
    "high below low": (setting(7, high=90.0), ["row 8, 2024-01-01T01:45:00Z", "high 90.0 is below low"]),
    "open outside": (setting(7, open=90.0), ["row 8", "open 90.0 is outside low"]),
    "close outside": (setting(7, close=190.0), ["row 8", "close 190.0 is outside low"]),
    "zero price": (setting(2, low=0.0), ["row 3", "low 0.0 is not a positive number"]),
    "negative price": (setting(2, low=-1.0), ["row 3", "low -1.0 is not a positive number"]),
    "price missing": (setting(2, close=math.nan), ["row 3", "close nan is not"]),
    "infinite price": (setting(2, high=math.inf), ["row 3", "high inf is not"]),
    "price is a word": (setting(2, close="abc"), ["row 3", "close abc is not a positive number"]),
    "negative volume": (setting(9, volume=-0.5), ["row 10", "volume -0.5 is not a number of 0 or more"]),
    "volume missing": (setting(9, volume=math.nan), ["row 10", "volume nan"]),
    "infinite volume": (setting(9, volume=math.inf), ["row 10", "volume inf"]),
    "1m": (lambda f: candles(96, 1), ["row 2, 2024-01-01T00:01:00Z", "looks like 1m candles, expected are 15m"]),
    "1h": (lambda f: candles(96, 60), ["looks like 1h candles, expected are 15m"]),
    "off the grid": (
        lambda f: candles(96, 15, START + timedelta(minutes=5)), ["row 1, 2024-01-01T00:05:00Z", "not on the 15m grid"]
    ),
    "close times": (
        lambda f: candles(96, 15, START + timedelta(milliseconds=899_999)),
        ["row 1, 2024-01-01T00:14:59.999Z", "not on the 15m grid", "convert close times"],
    ),
    "one odd time": (
        lambda f: f.assign(time=f.time.where(f.index != 50, f.time + timedelta(minutes=3))), ["row 51", "15m grid"]
    ),
    "days since 1900": (lambda f: f.assign(time=45_292.5), ["row 1: time '45292.5' is a spreadsheet's number of days"]),
    "a small number": (lambda f: f.assign(time=17), ["row 1: time '17' is no plausible number of ms since 1970"]),
    "unit lost": (
        lambda f: f.assign(time=pd.to_datetime(f.time.astype("int64") // 1000)), ["row 1", "not between 2009 and 2100"]
    ),
    "no time in a row": (setting(6, time=None), ["row 7: time is missing. Delete the row if it is no data"]),
    "a word as time": (setting(6, time="yesterday"), ["row 7: time 'yesterday' is no time. Delete the row"]),
    "american date": (setting(6, time="01/02/2024"), ["row 7: time '01/02/2024' is no ISO 8601 time"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CANDLES)
def test_bad_candles_are_refused_with_row_and_reason(case):
    spoil, words = BAD_CANDLES[case]
    with pytest.raises(DataError) as refusal:
        read_candles(spoil(candles()))
    message = str(refusal.value)
    assert "\n" not in message
    for word in ["DataFrame: ", *words]:
        assert word in message


def test_a_csv_is_refused_by_name_and_data_row(tmp_path):
    frame = candles()
    frame.loc[40, "high"] = 1.0
    frame.to_csv(tmp_path / "X-15m.csv", index=False)
    with pytest.raises(DataError, match=r"X-15m\.csv: row 41, 2024-01-01T10:00:00Z: high 1\.0 is below low"):
        read_candles(tmp_path / "X-15m.csv")


def test_a_short_csv_line_is_refused(tmp_path):
    text = candles(4).to_csv(index=False).splitlines()
    text[3] = ",".join(text[3].split(",")[:4])
    (tmp_path / "X.csv").write_text("\n".join(text))
    with pytest.raises(DataError, match=r"X\.csv: row 3: has 4 values and not 6: '2024-01-01 00:30.* such as a total"):
        read_candles(tmp_path / "X.csv")


def test_a_csv_row_without_its_time_in_ms_is_refused(tmp_path):
    frame = candles(4).assign(time=lambda f: f.time.astype("int64").astype(object))
    frame.loc[2, "time"] = None
    frame.to_csv(tmp_path / "X.csv", index=False)
    with pytest.raises(DataError, match="row 3: time is missing. Delete the row if it is no data"):
        read_candles(tmp_path / "X.csv")


def test_a_column_that_occurs_twice_is_refused():
    frame = candles()
    with pytest.raises(DataError, match="occurs twice"):
        read_candles(pd.concat([frame, frame[["close"]]], axis=1))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("X.csv", b"", "the file is empty"),
        ("X.csv", b"time,open,high,low,close,volume\n", "no rows"),
        ("X.csv", b"\xff\xfe\x00\x81\x00", "cannot be read: damaged UTF-16 at byte 4"),
        ("X.csv", b"\x00\x01\x02\x03binary and more", "cannot be read: it is no text"),
        ("X.csv", b"time,open\n1,2\n1,2,3,4\n", "column high, low, close, volume is missing (found: time, open)"),
        ("X.csv.gz", gzip.compress(b"time,open,high,low,close,volume\n" * 99, mtime=0)[:-12], "cannot be read"),
        ("X.parquet", b"", "the file is empty"),
        ("X.parquet", b"PAR1 and not much more PAR1", "cannot be read"),
        ("X.xlsx", b"PK", "is a spreadsheet. Save it as CSV"),
    ],
)
def test_an_unreadable_file_is_refused(tmp_path, name, content, word):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refusal:
        read_candles(tmp_path / name)
    assert name in str(refusal.value) and word in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "*.csv"):
        with pytest.raises(DataError, match="no such file"):
            read_candles(path)


def test_anything_else_is_no_source():
    with pytest.raises(DataError, match="a list is no data source"):
        read_candles([1, 2, 3])


# --- gaps ----------------------------------------------------------------------------------------------------


def test_flat_bars_fill_gaps():
    frame = candles(12)
    table = read_candles(frame.drop(index=[4, 5, 9]), gaps="flat")
    assert len(table) == 12 and table.filled == 3
    assert_same(np.diff(table.time), QUARTER)
    for row, source in ((4, 3), (5, 3), (9, 8)):
        for price in (table.open, table.high, table.low, table.close):
            assert price[row] == frame.close[source]
        assert table.volume[row] == 0
    kept = [0, 1, 2, 3, 6, 7, 8, 10, 11]
    for field in ("open", "high", "low", "close", "volume"):
        assert_same(getattr(table, field)[kept], frame[field].to_numpy()[kept])


def test_flat_leaves_a_complete_file_alone():
    assert read_candles(candles(), gaps="flat").filled == 0


# --- funding and mark files ----------------------------------------------------------------------------------


def test_funding_times_are_moved_to_the_minute_they_belong_to():
    frame = settlements(
        ("2024-01-01 00:00:00.047", 0.0001),
        ("2024-01-01 07:59:59.999", 0.0002),
        ("2024-01-01 16:00:01.000", 0.0003),
        ("2024-01-02 00:00:01.001", 0.0004),
    )
    assert_same(
        read_funding(frame).time,
        [START_MS, ms("2024-01-01 08:00"), ms("2024-01-01 16:00"), ms("2024-01-02 00:00:01.001")],
    )


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (settlements(("2024-01-01 08:00", 0.0001)).drop(columns="rate"), ["column rate is missing"]),
        (settlements(), ["no rows"]),
        (settlements(("2024-01-01 08:00", 0.0), ("2024-01-01 00:00", 0.0)), ["row 2", "earlier than"]),
        (settlements(("2024-01-01 08:00", 0.0), ("2024-01-01 08:00:00.005", 0.0)), ["row 2", "the same time"]),
        (settlements(("2024-01-01 00:00", 0.0), ("2024-01-01 08:00", 1.0)), ["row 2", "rate 1.0 is not", "fractions"]),
        (settlements(("2024-01-01 00:00", math.nan)), ["row 1, 2024-01-01T00:00:00Z", "rate nan is not"]),
        (settlements(("2024-01-01 00:00", -math.inf)), ["row 1", "rate -inf is not"]),
    ],
)
def test_bad_funding_is_refused(frame, words):
    with pytest.raises(DataError) as refusal:
        read_funding(frame)
    for word in words:
        assert word in str(refusal.value)


def test_mark_interval_is_the_most_common_difference():
    hourly = mark_candles(60, 24).drop(index=[3, 4])
    assert read_mark(hourly).interval_ms == 3_600_000
    assert len(read_mark(hourly)) == 22


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (mark_candles(60, 1), "at least two"),
        (mark_candles(60, 5).iloc[::-1], "earlier than"),
        (mark_candles(60, 5).drop(columns="low"), "column low is missing"),
        (mark_candles(60, 5).assign(high=-1.0), "row 1, 2024-01-01T00:00:00Z: high -1.0 is not a positive number"),
        (mark_candles(60, 5, START + timedelta(minutes=7)), "not on the 1h grid"),
    ],
)
def test_bad_mark_candles_are_refused(frame, word):
    with pytest.raises(DataError, match=word):
        read_mark(frame)


# --- time numbers --------------------------------------------------------------------------------------------


def test_backtrader_days_are_exact_on_whole_minutes():
    """Every seventh bar, and a whole minute now and then, from 2019 to the end of 2027."""
    epoch = datetime(1970, 1, 1)
    first, end = ms("2019"), ms("2028")
    times = np.union1d(np.arange(first, end, 10_111 * 60_000), np.arange(first, end, 7 * QUARTER))
    for time, days in zip(times.tolist(), backtrader_days(times).tolist(), strict=True):
        moment = epoch + timedelta(milliseconds=time)
        assert bt.date2num(moment) == days
        assert bt.num2date(days) == moment


# --- the feed ------------------------------------------------------------------------------------------------


def full_feed(**options):
    funding = settlements(
        ("2024-01-01 00:00", 0.0003),
        ("2024-01-01 08:00:00.005", 0.0001),
        ("2024-01-01 16:00", -0.0002),
        ("2024-01-02 00:00", 0.0001),
    )
    return CandleFeed(dataname=candles(), funding=funding, mark=mark_candles(5, 288), name="X", **options)


def test_the_feed_delivers_the_values_of_pandas_data_in_order():
    frame = candles()
    (ours,) = run(CandleFeed(dataname=frame))
    (stock,) = run(bt.feeds.PandasData(dataname=frame.assign(time=frame.time.dt.tz_localize(None)).set_index("time")))
    assert ours.shape == (96, 11)
    assert_same(ours[:, :7], stock)


@pytest.mark.parametrize(
    "options",
    [{"preload": False, "runonce": False}, {"runonce": False}, {"exactbars": 1}, {"exactbars": -1}, {"oldsync": True},
     {"lookahead": 3}, {"preload": False, "runonce": False, "oldsync": True}],
)  # fmt: skip
def test_every_way_to_run_gives_the_same_lines(options):
    assert_same(run(full_feed())[0], run(full_feed(), **options)[0])


def test_the_feed_introduces_itself():
    feed = full_feed()
    assert feed._name == "X" and feed._timeframe == bt.TimeFrame.Minutes and feed._compression == 15
    assert feed.has_funding and feed.mark_is_fine and feed.warnings == []
    assert len(feed.candles) == 96


def test_the_name_comes_from_the_file(tmp_path):
    candles().to_parquet(tmp_path / "SOLUSDT-15m-2024.parquet")
    feed = CandleFeed(dataname=tmp_path / "SOLUSDT-15m-2024.parquet")
    assert feed._name == "SOLUSDT" and not feed.has_funding and not feed.mark_is_fine


def test_a_table_brings_its_own_interval():
    feed = CandleFeed(dataname=read_candles(candles(60, 1), interval="1m", name="Y"))
    assert feed._compression == 1 and feed._name == "Y"


def test_bad_files_are_refused_when_the_feed_is_built():
    with pytest.raises(DataError, match="looks like 1m"):
        CandleFeed(dataname=candles(60, 1))


@pytest.mark.parametrize("options", [{}, {"preload": False, "runonce": False}])
@pytest.mark.parametrize(
    ("limits", "first", "last"),
    [
        ({"fromdate": datetime(2024, 1, 1, 6)}, 24, 95),
        ({"todate": datetime(2024, 1, 1, 6)}, 0, 24),
        ({"fromdate": datetime(2024, 1, 1, 6, 1), "todate": datetime(2024, 1, 1, 7, 59)}, 25, 31),
        ({"fromdate": date(2024, 1, 1), "todate": date(2024, 1, 1)}, 0, 95),
        ({"fromdate": datetime(2024, 1, 1, 8, tzinfo=UTC)}, 32, 95),
    ],
)
def test_dates_cut_the_bars(options, limits, first, last):
    assert_same(run(full_feed(**limits), **options)[0], run(full_feed())[0][first : last + 1])


@pytest.mark.parametrize("options", [{}, {"preload": False, "runonce": False}, {"exactbars": 1}])
@pytest.mark.parametrize(
    ("limits", "lead", "first", "last"),
    [
        ({"fromdate": datetime(2024, 1, 1, 6), "warm_up": 10}, 10, 14, 95),
        ({"fromdate": datetime(2024, 1, 1, 6, 1), "todate": datetime(2024, 1, 1, 7, 59), "warm_up": 3}, 3, 22, 31),
        ({"fromdate": datetime(2024, 1, 1, 6), "warm_up": 500}, 24, 0, 95),  # the file has no more
        ({"fromdate": date(2024, 1, 1), "warm_up": 10}, 0, 0, 95),
        ({"warm_up": 10}, 0, 0, 95),  # without a first day there is nothing before it
    ],
)
def test_bars_before_the_first_day_come_as_warm_up(options, limits, lead, first, last):
    feed = full_feed(**limits)
    assert (feed.lead, feed.rows) == (lead, last + 1 - first)
    assert_same(run(feed, **options)[0], run(full_feed())[0][first : last + 1])


def test_companions_are_missed_within_the_span_only():
    # Funding from 08:00 on: the bars before it are warm-up, whose funding nobody pays.
    funding = every_8h("2024-01-01T08:00", "2024-01-03")
    dates = {"fromdate": datetime(2024, 1, 1, 8)}
    assert CandleFeed(dataname=candles(), funding=funding, warm_up=32, **dates).warnings == []
    # Funding of the warm-up alone is none.
    early = every_8h("2024-01-01", "2024-01-01T07:00")
    with pytest.raises(DataError, match="Give the funding of the same time"):
        CandleFeed(dataname=candles(), funding=early, warm_up=32, **dates)


def test_dates_without_a_bar_are_refused():
    with pytest.raises(DataError, match="no bar from 2025-01-01 .* cover 2024-01-01T00:00:00Z to 2024-01-01T23:45:00Z"):
        CandleFeed(dataname=candles(), fromdate=datetime(2025, 1, 1))


def test_two_feeds_of_different_lengths_meet_at_their_times():
    late = candles(40, start=START + timedelta(hours=2))
    first, second = run(CandleFeed(dataname=candles(60)), CandleFeed(dataname=late))
    # next() starts when both feeds have a bar, at 02:00.
    assert len(first) == 52 and len(second) == 40
    assert first[0, 6] == second[0, 6] == bt.date2num(datetime(2024, 1, 1, 2))
    frames = [frame.assign(time=frame.time.dt.tz_localize(None)).set_index("time") for frame in (candles(60), late)]
    stock = run(*[bt.feeds.PandasData(dataname=f, timeframe=bt.TimeFrame.Minutes, compression=15) for f in frames])
    assert_same(first[:, :7], stock[0])
    assert_same(second[:, :7], stock[1])


def test_resampling_to_hours():
    cerebro = bt.Cerebro(stdstats=False)
    feed = CandleFeed(dataname=candles(), name="X")
    cerebro.adddata(feed)
    cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=60)
    cerebro.addstrategy(Recorder)
    hours = np.array(cerebro.run()[0].seen[1])
    frame = candles()
    groups = np.arange(96) // 4  # those that open within the hour
    expected = frame.groupby(groups).agg({"close": "last", "low": "min", "high": "max", "open": "first"})
    assert_same(hours[:, :4], expected.to_numpy())
    assert len(hours) == 24


def drop_quiet_bars(data):
    if data.volume[0] >= 50:
        return False
    data.backwards()
    return True


@pytest.mark.parametrize("runonce", [True, False])
def test_filters_see_every_bar(runonce):
    feed = CandleFeed(dataname=candles())
    feed.addfilter(drop_quiet_bars)
    (seen,) = run(feed, runonce=runonce)
    assert_same(seen[:, 4], candles().volume[lambda volume: volume >= 50])


class TwoHoursAhead(tzinfo):
    def utcoffset(self, moment):
        return timedelta(hours=2)


def test_an_input_time_zone_moves_the_bars():
    feed = CandleFeed(dataname=candles(), tzinput=TwoHoursAhead())
    (seen,) = run(feed)
    assert bt.num2date(seen[0, 6]) == datetime(2023, 12, 31, 22)


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        ({}, []),
        ({"fromdate": datetime(2024, 1, 1, 6), "todate": datetime(2024, 1, 1, 8)}, []),
        ({"fromdate": date(2024, 1, 1), "todate": date(2024, 1, 1)}, []),
        ({"fromdate": datetime(2024, 1, 1, 6)}, [drop_quiet_bars]),
        ({"tzinput": TwoHoursAhead()}, []),
    ],
)
def test_bars_are_those_that_a_run_reads(options, filters):
    asked, read = full_feed(**options), full_feed(**options)
    for feed in (asked, read):
        for one in filters:
            feed.addfilter(one)
    bars, [seen] = asked.bars(), run(read)
    names = read.getlinealiases()
    assert bars["time"].tolist() == np.round((seen[:, names.index("datetime")] - 719_163) * 86_400_000).tolist()
    for name in set(bars) - {"time"}:
        assert_same(bars[name], seen[:, names.index(name)])
    assert set(bars) >= {"open", "high", "low", "close", "volume", "funding", "mark", "mark_high", "mark_low"}


def test_a_second_run_starts_again():
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(full_feed())
    cerebro.addstrategy(Recorder)
    first = cerebro.run()[0].seen[0]
    assert_same(first, cerebro.run()[0].seen[0])
    assert len(first) == 96


@pytest.mark.parametrize("options", [{}, {"runonce": False}, {"lookahead": 3}])
def test_once_the_lines_are_loaded_the_candles_are_theirs_and_the_same(options):
    table = read_candles(candles())
    feed = CandleFeed(dataname=table, name="X")
    for _ in range(2):
        run(feed, **options)
        assert feed.candles.close.base is not None  # a view
        for name in ("time", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(feed.candles, name), getattr(table, name))
        assert np.shares_memory(feed.candles.close, np.frombuffer(feed.lines.close.array))
    assert (feed.candles.name, feed.candles.note) == (table.name, table.note)


@pytest.mark.parametrize("options", [{"preload": False, "runonce": False}, {"exactbars": 1}])
def test_lines_that_grow_or_keep_few_bars_leave_the_candles_alone(options):
    table = read_candles(candles())
    feed = CandleFeed(dataname=table, name="X")
    run(feed, **options)
    assert feed.candles is table


def test_a_table_of_whole_numbers_is_read_as_numbers():
    table = read_candles(candles())
    whole = replace(table, **{name: np.rint(getattr(table, name)).astype(np.int64) for name in PRICES})
    [seen] = run(CandleFeed(dataname=whole, name="X"))
    np.testing.assert_array_equal(
        seen[:, :5], np.column_stack([getattr(whole, name) for name in ("close", "low", "high", "open", "volume")])
    )


def test_a_feed_cut_by_dates_keeps_all_candles():
    table = read_candles(candles())
    feed = CandleFeed(dataname=table, name="X", todate=datetime(2024, 1, 1, 12))
    assert len(run(feed)[0]) == 49 and feed.candles is table


def test_a_run_after_a_bar_by_bar_run_sees_no_stale_prices():
    cerebro = bt.Cerebro(stdstats=False)
    feed = full_feed()
    cerebro.adddata(feed)
    cerebro.addstrategy(Buyer)
    (slow,) = cerebro.run(runonce=False)
    assert feed.tick_open is not None
    (fast,) = cerebro.run(runonce=True)
    assert feed.tick_open is None
    assert fast.fills == slow.fills and len(fast.fills) > 10


class Buyer(bt.Strategy):
    """Trades every bar, so that the broker asks the feed for its prices."""

    def __init__(self):
        self.fills = []

    def notify_order(self, order):
        if order.status == order.Completed:
            self.fills.append((order.executed.dt, order.executed.size, order.executed.price))

    def next(self):
        if self.position:
            self.close()
        else:
            self.buy(exectype=bt.Order.Limit, price=self.data.close[0] - 0.1)


@pytest.mark.parametrize("options", [{}, {"runonce": False}, {"oldsync": True}, {"runonce": False, "oldsync": True}])
def test_the_stock_broker_fills_as_on_pandas_data(options):
    frame = candles()
    feeds = (
        CandleFeed(dataname=frame),
        bt.feeds.PandasData(dataname=frame.assign(time=frame.time.dt.tz_localize(None)).set_index("time")),
    )
    fills = []
    for feed in feeds:
        cerebro = bt.Cerebro(**options)
        cerebro.adddata(feed)
        cerebro.addstrategy(Buyer)
        fills.append(cerebro.run()[0].fills)
    assert fills[0] == fills[1] and len(fills[0]) > 10


def test_a_cerebro_with_the_feed_can_be_pickled():
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(full_feed())
    cerebro.addstrategy(Recorder)
    copy = pickle.loads(pickle.dumps(cerebro))
    assert_same(copy.run()[0].seen[0], cerebro.run()[0].seen[0])


class Totals(bt.Analyzer):
    def create_analysis(self):
        self.rets = {"bars": 0, "closes": 0.0}

    def next(self):
        self.rets["bars"] += 1
        self.rets["closes"] += self.strategy.data.close[0]


class Idle(bt.Strategy):
    params = (("period", 1),)


@pytest.mark.parametrize("optdatas", [True, False])
def test_optimising_on_one_and_two_processors_agrees(optdatas):
    results = []
    for cpus in (1, 2):
        cerebro = bt.Cerebro(stdstats=False, maxcpus=cpus, optdatas=optdatas)
        cerebro.adddata(full_feed())
        cerebro.optstrategy(Idle, period=[1, 2, 3])
        cerebro.addanalyzer(Totals)
        results.append([dict(trial[0].analyzers[0].get_analysis()) for trial in cerebro.run()])
    expected = {"bars": 96, "closes": plain_sum(candles().close.tolist())}
    assert results == [[expected] * 3] * 2


# --- funding and mark lines ----------------------------------------------------------------------------------


def line(feed, alias):
    """A line as {bar number: value}, NaN left out."""
    (seen,) = run(feed)
    column = seen[:, feed.getlinealiases().index(alias)]
    return {row: value for row, value in enumerate(column.tolist()) if not math.isnan(value)}


def test_funding_is_charged_on_the_bar_that_opens_at_or_after_it():
    funding = settlements(
        ("2023-12-31 16:00", 0.9),  # long before the first bar
        ("2023-12-31 23:59", 0.8),  # between the unknown bar before and the first one: not charged
        ("2024-01-01 00:00", 0.0001),  # at the first open: bar 0
        ("2024-01-01 00:50", 0.0002),  # between the opens of 00:45 and 01:00: bar 4
        ("2024-01-01 07:59:59.999", 0.0003),  # jitter: 08:00 is bar 32
        ("2024-01-01 16:00:00.005", -0.0004),  # jitter: 16:00 is bar 64, not bar 65
        ("2024-01-01 16:01", 0.0010),  # bar 65, together with the next one
        ("2024-01-01 16:15", 0.0020),
        ("2024-01-01 23:45", 0.0),  # a rate of zero is a settlement: bar 95
        ("2024-01-01 23:46", 0.7),  # after the last open
    )
    feed = CandleFeed(dataname=candles(), funding=funding)
    assert line(feed, "funding") == pytest.approx(
        {0: 0.0001, 4: 0.0002, 32: 0.0003, 64: -0.0004, 65: 0.0030, 95: 0.0}, rel=1e-12
    )


def test_candles_between_two_settlements_are_charged_nothing():
    funding = settlements(("2024-01-01 00:00", 0.0001), ("2024-01-01 08:00", 0.0001))
    feed = CandleFeed(dataname=candles(12, start=START + timedelta(hours=2)), funding=funding)
    assert line(feed, "funding") == {} and feed.has_funding and feed.warnings == []


def test_without_funding_and_mark_the_lines_are_empty():
    (seen,) = run(CandleFeed(dataname=candles()))
    assert np.isnan(seen[:, 7:]).all()


def test_funding_of_another_time_is_refused():
    funding = settlements(("2023-01-01 00:00", 0.0001), ("2023-01-01 08:00", 0.0001))
    with pytest.raises(DataError, match="the funding covers 2023-01-01T00:00:00Z to 2023-01-01T08:00:00Z, the candles"):
        CandleFeed(dataname=candles(), funding=funding)


def test_funding_must_meet_the_chosen_dates():
    funding = settlements(("2024-01-01 00:00", 0.0001), ("2024-01-01 08:00", 0.0001))
    with pytest.raises(DataError, match="Give the funding of the same time"):
        CandleFeed(dataname=candles(), funding=funding, fromdate=datetime(2024, 1, 1, 12))


def every_8h(first, last):
    times = pd.date_range(first, last, freq="8h", tz="UTC")
    return pd.DataFrame({"time": times, "rate": 0.0001})


@pytest.mark.parametrize(
    ("funding", "limits", "warnings"),
    [
        (every_8h("2024-01-01", "2024-01-04"), {}, []),
        (every_8h("2024-01-01 08:00", "2024-01-03 16:00"), {}, []),
        (every_8h("2024-01-02", "2024-01-04"), {}, ["X: no funding in 2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z"]),
        (every_8h("2023-12-30", "2024-01-02"), {}, ["X: no funding in 2024-01-02T00:00:00Z to 2024-01-04T00:00:00Z"]),
        (every_8h("2024-01-02", "2024-01-04"), {"fromdate": datetime(2024, 1, 2)}, []),
        (
            every_8h("2024-01-01", "2024-01-04").drop(index=[4, 5]),
            {},
            ["X: no funding in 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z"],
        ),
    ],
)
def test_spans_without_funding_are_named(funding, limits, warnings):
    feed = CandleFeed(dataname=candles(288), funding=funding, name="X", **limits)
    assert feed.warnings == warnings


def test_an_hourly_mark_prices_the_full_hours_only():
    mark = mark_candles(60, 24)
    feed = CandleFeed(dataname=candles(), mark=mark)
    assert line(feed, "mark") == dict(zip(range(0, 96, 4), mark.open, strict=True))
    assert line(feed, "mark_high") == line(feed, "mark_low") == {}
    assert not feed.mark_is_fine and feed.warnings == []


def test_a_fine_mark_gives_the_extremes_of_each_bar():
    mark = mark_candles(5, 24, START + timedelta(minutes=10)).drop(index=[4, 7, 8, 9]).reset_index(drop=True)
    # Left: 00:10 00:15 00:20 00:25 | 00:35 00:40 | 01:00 01:05 ...: bar 2 lacks its open, bar 3 lacks everything.
    feed = CandleFeed(dataname=candles(), mark=mark, name="X", todate=datetime(2024, 1, 1, 1))
    assert feed.mark_is_fine
    assert line(feed, "mark") == {1: mark.open[1], 4: mark.open[6]}
    assert line(feed, "mark_high") == {
        0: mark.high[0],
        1: max(mark.high[1:4]),
        2: max(mark.high[4:6]),
        4: max(mark.high[6:9]),
    }
    assert line(feed, "mark_low") == {
        0: mark.low[0],
        1: min(mark.low[1:4]),
        2: min(mark.low[4:6]),
        4: min(mark.low[6:9]),
    }
    assert feed.warnings == [
        "X: no mark price in 2024-01-01T00:00:00Z to 2024-01-01T00:10:00Z; 2024-01-01T00:25:00Z to "
        "2024-01-01T00:35:00Z; 2024-01-01T00:40:00Z to 2024-01-01T01:00:00Z"
    ]


def test_a_mark_of_the_bars_own_interval_is_fine():
    mark = mark_candles(15, 96)
    feed = CandleFeed(dataname=candles(), mark=mark)
    assert feed.mark_is_fine
    assert list(line(feed, "mark_high").values()) == mark.high.tolist()


def test_a_mark_of_another_time_is_refused():
    with pytest.raises(DataError, match="the mark price covers 2023"):
        CandleFeed(dataname=candles(), mark=mark_candles(60, 24, pd.Timestamp("2023-01-01", tz="UTC")))


# --- real data -----------------------------------------------------------------------------------------------


def test_real_files_are_read_without_a_complaint(shared_data):
    for symbol, bars in (("BTCUSDT", 162_072), ("ETHUSDT", 153_240), ("SOLUSDT", 153_240)):
        feed = CandleFeed(
            dataname=shared_data / "candles" / f"{symbol}-15m.parquet",
            funding=shared_data / "funding" / f"{symbol}-funding.parquet",
        )
        assert len(feed.candles) == bars and feed.candles.filled == 0
        assert feed._name == symbol and feed.warnings == []


def test_a_real_1m_file_is_told_from_a_15m_one(shared_data):
    path = shared_data / "candles" / "BTCUSDT-1m-2025-01-27_2025-02-26.parquet"
    with pytest.raises(DataError, match="looks like 1m candles, expected are 15m"):
        read_candles(path)
    assert read_candles(path, interval="1m").name == "BTCUSDT"


def test_sol_was_charged_every_two_hours_in_november_2022(shared_data):
    feed = CandleFeed(
        dataname=shared_data / "candles" / "SOLUSDT-15m.parquet",
        funding=shared_data / "funding" / "SOLUSDT-funding.parquet",
        fromdate=datetime(2022, 11, 11),
        todate=datetime(2022, 11, 11, 23, 45),
    )
    assert list(line(feed, "funding")) == list(range(0, 96, 8))


def test_the_real_hourly_mark_meets_every_fourth_bar(shared_data):
    feed = CandleFeed(
        dataname=shared_data / "candles" / "BTCUSDT-15m.parquet",
        mark=shared_data / "mark" / "BTCUSDT-mark-1h.parquet",
        fromdate=datetime(2025, 10, 10),
        todate=datetime(2025, 10, 10, 23, 45),
    )
    assert list(line(feed, "mark")) == list(range(0, 96, 4))
    assert not feed.mark_is_fine and feed.warnings == []
