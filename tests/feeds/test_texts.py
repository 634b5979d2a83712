"""Text files as exchanges, vendors and spreadsheets write them: the same candles, or a refusal that names the cure."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feeds.tables import read_candles, read_funding, read_mark
from feeds.times import BadTime, put_forward, read_times
from gridv4_bt.errors import DataError

START_MS = 1_711_324_800_000
QUARTER = 900_000


def market(bars=40):
    """Prices with one decimal above 60,000, and volumes with three."""
    rng = np.random.default_rng(3)
    close = np.round(60_000 * np.exp(np.cumsum(rng.normal(0, 0.003, bars))), 1)
    open_ = np.concatenate((close[:1], close[:-1]))
    return pd.DataFrame(
        {
            "time": START_MS + QUARTER * np.arange(bars),
            "open": open_,
            "high": np.round(np.maximum(open_, close) + 20.5, 1),
            "low": np.round(np.minimum(open_, close) - 20.5, 1),
            "close": close,
            "volume": np.round(rng.random(bars) * 900 + 1_000, 3),
        }
    )


def klines(frame):
    """The twelve columns of Binance's archive."""
    more = {"close_time": frame.time + QUARTER - 1, "quote_volume": 1.5, "count": 3, "taker_buy_volume": 1.0}
    return frame.rename(columns={"time": "open_time"}).assign(**more, taker_buy_quote_volume=1.0, ignore=0)


def moments(frame, form, zone="UTC"):
    return pd.to_datetime(frame.time, unit="ms", utc=True).dt.tz_convert(zone).dt.strftime(form)


def csv(frame, **options):
    return frame.to_csv(index=False, lineterminator="\n", **options)


def with_commas(frame, separator=";", thousands=""):
    """German numbers: 60.062,2 or 60062,2."""
    swap = str.maketrans(",.", ".,")
    cells = [
        [str(row[0]), *(f"{value:{thousands}.3f}".translate(swap) for value in row[1:])]
        for row in frame.itertuples(index=False)
    ]
    return "\n".join(separator.join(row) for row in [list(frame.columns), *cells])


READ = {
    "klines with names": lambda f: csv(klines(f)),
    "klines without names": lambda f: csv(klines(f), header=False),
    "only the six columns, no names": lambda f: csv(f, header=False),
    "REST names": lambda f: csv(f.rename(columns={"time": "openTime", "open": "openPrice", "close": "closePrice"})),
    "upper case": lambda f: csv(f.rename(columns=str.upper)),
    "quoted": lambda f: csv(f, quoting=1),
    "blanks after commas": lambda f: csv(f).replace(",", ", "),
    "blank lines": lambda f: csv(f).replace("\n", "\n\n"),
    "semicolons": lambda f: csv(f, sep=";"),
    "tabs": lambda f: csv(f, sep="\t"),
    "bars": lambda f: csv(f, sep="|"),
    "blanks": lambda f: csv(f, sep=" "),
    "decimal commas": with_commas,
    "decimal commas and thousands": lambda f: with_commas(f, thousands=","),
    "decimal commas in quotes": lambda f: csv(f, decimal=",", quoting=2).replace(".", ","),
    "thousands in quotes": lambda f: csv(f.assign(**{k: f[k].map("{:,.3f}".format) for k in f.columns[1:]}), quoting=1),
    "windows lines": lambda f: csv(f).replace("\n", "\r\n"),
    "old mac lines": lambda f: csv(f).replace("\n", "\r"),
    "a byte order mark": lambda f: "\ufeff" + csv(f),
    "UTF-16": lambda f: csv(f).encode("utf-16"),
    "UTF-16 without a mark": lambda f: csv(f).encode("utf-16-le"),
    "Latin-1 in another column": lambda f: csv(f.assign(note="caf\xe9")).encode("latin-1"),
    "gzip": lambda f: gzip.compress(csv(f).encode()),
    "seconds": lambda f: csv(f.assign(time=f.time // 1000)),
    "microseconds": lambda f: csv(f.assign(time=f.time * 1000)),
    "nanoseconds": lambda f: csv(f.assign(time=f.time * 1_000_000)),
    "milliseconds, then microseconds": lambda f: csv(f.assign(time=f.time.where(f.index < 20, f.time * 1000))),
    "seconds with decimals": lambda f: csv(f.assign(time=f.time / 1000)),
    "date in another zone": lambda f: csv(f.assign(time=moments(f, "%Y-%m-%dT%H:%M:%S%z", "Asia/Tokyo"))),
    "date with a word for the zone": lambda f: csv(f.assign(time=moments(f, "%Y-%m-%d %H:%M:%S UTC"))),
    "german dates": lambda f: csv(f.assign(time=moments(f, "%d.%m.%Y %H:%M"))),
    "american dates": lambda f: csv(f.assign(time=moments(f, "%m/%d/%Y %H:%M"))),
    "clock of twelve hours": lambda f: csv(f.assign(time=moments(f, "%m/%d/%Y %I:%M:%S %p"))),
    "Dukascopy": lambda f: csv(
        f.assign(time=moments(f, "%d.%m.%Y %H:%M:%S.000 GMT+0000")).rename(columns={"time": "Gmt time"})
    ),
    "MetaTrader": lambda f: csv(
        f.assign(**{"<DATE>": moments(f, "%Y.%m.%d"), "<TIME>": moments(f, "%H:%M:%S")})[
            ["<DATE>", "<TIME>", "open", "high", "low", "close", "volume"]
        ].rename(columns={"open": "<OPEN>", "high": "<HIGH>", "low": "<LOW>", "close": "<CLOSE>", "volume": "<VOL>"}),
        sep="\t",
    ),
    "TradingView": lambda f: csv(f.assign(time=f.time // 1000, Plot=1.5).rename(columns={"volume": "Volume"})),
    "CryptoDataDownload": lambda f: (
        "https://www.CryptoDataDownload.com\n"
        + csv(
            f.iloc[::-1]
            .assign(Date=moments(f, "%Y-%m-%d %H:%M:%S"), Symbol="BTCUSDT", q=1.0, tradecount=3)[
                ["time", "Date", "Symbol", "open", "high", "low", "close", "volume", "q", "tradecount"]
            ]
            .rename(columns={"time": "Unix", "volume": "Volume BTC", "q": "Volume USDT"})
        )
    ),
    "pandas' index without a name": lambda f: (
        f.set_index(moments(f, "%Y-%m-%d %H:%M:%S")).drop(columns="time").to_csv(index_label="")
    ),
    "pandas' index after reset_index": lambda f: csv(
        f.assign(time=moments(f, "%Y-%m-%d %H:%M:%S")).rename(columns={"time": "index"})
    ),
    "quotes after blanks": lambda f: csv(f, quoting=1).replace('","', '", "'),
    "numbers of rows without a name, as R writes them": lambda f: "\n".join(
        [csv(f).split("\n")[0], *(f"{i},{line}" for i, line in enumerate(csv(f).split("\n")[1:-1], 1))]
    ),
    "Polygon's answer": lambda f: json.dumps(
        {"status": "OK", "results": f.set_axis(["t", "o", "h", "l", "c", "v"], axis=1).to_dict("records")}
    ),
    "rows of JSON": lambda f: json.dumps(f.to_numpy().tolist()),
    "klines of the REST API": lambda f: json.dumps([[int(r[0]), *map(str, r[1:])] for r in f.itertuples(index=False)]),
    "JSON with names": lambda f: json.dumps(f.to_dict("records")),
    "Bybit's answer, newest first": lambda f: json.dumps(
        {"retCode": 0, "result": {"list": [list(map(str, row)) for row in f.iloc[::-1].itertuples(index=False)]}}
    ),
}


def written(folder, content, name="BTCUSDT.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", READ)
def test_candles_are_read_as_people_have_them(tmp_path, kind):
    frame = market()
    table = read_candles(written(tmp_path, READ[kind](frame)))
    for field in frame.columns:
        np.testing.assert_array_equal(getattr(table, field), frame[field].to_numpy(), field)


def test_what_was_understood_is_one_sentence(tmp_path):
    path = written(tmp_path, csv(klines(market()).assign(open_time=lambda f: f.open_time * 1000), sep=";"))
    assert read_candles(path).note == (
        f"BTCUSDT candles: 40 of 15m, 2024-03-25 00:00 to 2024-03-25 09:45 UTC; {path}: columns open_time, open, high, "
        "low, close, volume; parted by semicolons; times: µs, UTC"
    )


def test_a_time_without_a_zone_is_said_to_be_taken_as_utc(tmp_path):
    frame = market()
    path = written(tmp_path, csv(frame.assign(time=moments(frame, "%Y-%m-%d %H:%M"))))
    assert "ISO 8601, no zone written: taken as UTC" in read_candles(path).note


def edited(change):
    def make(frame):
        lines = csv(frame).splitlines()
        change(lines)
        return "\n".join(lines)

    return make


REFUSED = {
    "a repeated header": (
        edited(lambda lines: lines.insert(21, lines[0])),
        "row 21: time 'time' is a header again. Delete the row",
    ),
    "a total": (edited(lambda lines: lines.append("Total,,,,,41000")), "row 41: time 'Total' is no number like the"),
    "a total without a time": (edited(lambda lines: lines.append(",,,,,41000")), "row 41: time is missing. Delete the"),
    "a total below dates": (
        lambda f: csv(f.assign(time=moments(f, "%Y-%m-%d %H:%M"))) + "Sum,,,,,41000\n",
        "row 41: time 'Sum' is no time. Delete the row if it is no data",
    ),
    "a time with two points": (
        edited(lambda lines: lines.insert(21, "1.5.5,1,1,1,1,1")), "row 21: time '1.5.5' is no number like the others"
    ),
    "a short last row": (edited(lambda lines: lines.append("40 rows")), "row 41: has 1 values and not 6: '40 rows'"),
    "a blank line before the bad row": (
        edited(lambda lines: (lines.insert(5, ""), lines.insert(9, "x,1,1,1,1,1"))),
        "row 8 (line 10): time 'x' is no number",
    ),
    "digits lost in a spreadsheet": (
        lambda f: csv(f.assign(time=f.time.map("{:.5E}".format))),
        "row 1: time '1.71132E+12' has lost its last digits in a spreadsheet",
    ),
    "clock lost in a spreadsheet": (
        lambda f: csv(f.assign(time=moments(f, "%Y-%m-%d"))),
        "row 2, 2024-03-25T00:00:00Z: the same time as the row before, as in 39 of 40 rows: the times have lost digits",
    ),
    "day lost in a spreadsheet": (
        lambda f: csv(f.assign(time=moments(f, "%M:00.0"))), "row 1: time '00:00.0' has lost its day in a spreadsheet"
    ),
    "a database": (lambda f: b"SQLite format 3\0\x10\0\1\1\0\x40" + b"\0" * 80, "cannot be read: it is no text"),
    "a packed folder of another kind": (lambda f: b"7z\xbc\xaf\x27\x1c" + b"\0" * 100, "cannot be read: it is no text"),
    "decimal commas between commas": (
        lambda f: csv(f).replace(".", ","),
        "row 1: has 11 values under 6 names: decimal commas cannot be told from the commas",
    ),
    "thousands or decimals": (
        lambda f: csv(f.assign(**dict.fromkeys(f.columns[1:], "1,234")), quoting=1),
        "'1,234' may be a number of thousands or have a decimal comma",
    ),
    "day and month of one day": (
        lambda f: csv(f.iloc[:8].assign(time=pd.to_datetime(f.time[:8], unit="ms").dt.strftime("01/02/2024 %H:%M"))),
        "row 1: time '01/02/2024 00:00' may be MM/DD/YYYY hh:mm or DD/MM/YYYY hh:mm",
    ),
    "local times": (
        lambda f: csv(f.assign(time=moments(f, "%Y-%m-%d %H:%M", "Europe/Berlin"))).replace("time", "local time", 1),
        "the column 'local time' holds local times",
    ),
    "a zone in the name": (
        lambda f: csv(f.assign(time=moments(f, "%Y-%m-%d %H:%M"))).replace("time", "time (EST)", 1),
        "the column 'time (EST)' holds local times",
    ),
    "a time of spreadsheets": (
        lambda f: csv(f.assign(time=f.time / 86_400_000 + 25_569)), "is a spreadsheet's number of days"
    ),
    "funding in place of candles": (
        lambda f: csv(f.assign(rate=0.0001)[["time", "rate"]]),
        "column open, high, low, close, volume is missing (found: time, rate). These are funding rates",
    ),
    "no volume": (
        lambda f: csv(f.drop(columns="volume")),
        "column volume is missing (found: time, open, high, low, close). Export the candles with their volume",
    ),
    "quote volume alone": (
        lambda f: csv(f.rename(columns={"volume": "Volume USDT"})), "The volume must be in coins"
    ),
    "close times alone": (lambda f: csv(f.rename(columns={"time": "close_time"})), "give the open times"),
    "an error answer": (
        lambda f: '{"code":-1121,"msg":"Invalid symbol."}',
        'is an answer without data: {"code": -1121, "msg": "Invalid symbol."}',
    ),
    "an empty answer": (lambda f: '{"code":"51001","data":[],"msg":"no such instrument"}', "no such instrument"),
    "two symbols below each other": (
        lambda f: csv(pd.concat([f.assign(symbol="BTCUSDT"), f.assign(symbol="ETHUSDT")])),
        "holds several symbols (BTCUSDT, ETHUSDT) in the column 'symbol'. Write a file for each",
    ),
    "a short row before numbered ones": (
        lambda f: csv(f.head(0)) + "00:15\n" + csv(f, header=False).replace("\n17", "\n1,17"),
        "row 1: has 1 values and not 7: '00:15'",
    ),
    "rows without values": (lambda f: "[[], [], []]", "its rows are not time, open, high, low, close, volume"),
    "an error page": (
        lambda f: '<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
        "is a web page or an error answer (NoSuchKey), no data",
    ),
    "deep JSON": (lambda f: "[" * 100_000, "cannot be read as JSON"),
    "a pointer of Git": (lambda f: "version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    "no number at all": (lambda f: "just a line\n", "column time, open, high, low, close, volume is missing"),
    "finer candles": (
        lambda f: csv(f.assign(time=START_MS + 300_000 * np.arange(40))),
        "looks like 5m candles, expected are 15m. Make 15m bars of them with --resample 15m, or trade them as they are "
        "with --interval 5m",
    ),
    "coarser candles": (
        lambda f: csv(f.assign(time=START_MS + 3_600_000 * np.arange(40))),
        "looks like 1h candles, expected are 15m. Give 15m candles, or trade them as they are with --interval 1h",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_named_with_its_row_and_its_cure(tmp_path, kind):
    make, words = REFUSED[kind]
    path = written(tmp_path, make(market()))
    with pytest.raises(DataError) as refusal:
        read_candles(path)
    assert words in str(refusal.value) and str(path) in str(refusal.value) and "\n" not in str(refusal.value)


def berlin(folder, start, bars, step=QUARTER, **options):
    """Write candles with Berlin's clock for a time, without a zone."""
    frame = market(bars).assign(time=pd.Timestamp(start).value // 1_000_000 + step * np.arange(bars))
    return written(folder, csv(frame.assign(time=moments(frame, "%Y-%m-%d %H:%M", "Europe/Berlin")), **options))


@pytest.mark.parametrize("gaps", ["refuse", "flat"])
@pytest.mark.parametrize("step", [QUARTER, 4 * QUARTER])
def test_an_hour_that_clocks_leave_out_is_no_gap(tmp_path, gaps, step):
    """On 2024-03-31 at 02:00 Berlin's clocks went forward to 03:00."""
    path = berlin(tmp_path, "2024-03-30T12:00Z", 60, step)
    row = 13 * 4 * QUARTER // step + 1
    with pytest.raises(
        DataError, match=rf"row {row}, 2024-03-31T03:00:00Z: an hour is missing when clocks are put forw"
    ):
        read_candles(path, gaps=gaps, interval="15m" if step == QUARTER else "1h")


def test_an_hour_that_is_missing_at_another_time_is_a_gap(tmp_path):
    frame = market(80).assign(time=START_MS + QUARTER * np.arange(80)).drop(index=range(20, 24))
    path = written(tmp_path, csv(frame.assign(time=moments(frame, "%Y-%m-%d %H:%M"))))
    with pytest.raises(DataError, match=r"row 21, .* 1 gap\(s\), 4 bars missing"):
        read_candles(path)
    assert read_candles(path, gaps="flat").filled == 4
    written(tmp_path, csv(frame.assign(time=frame.time + 6 * 86_400_000 - 4 * 3_600_000)))  # 01:00 to 02:00 on a Sunday
    assert read_candles(path, gaps="flat").filled == 4  # numbers are UTC


@pytest.mark.parametrize(("bars", "step"), [(220 * 96, QUARTER), (220 * 24, 4 * QUARTER)])
def test_clocks_of_a_year_are_told_from_rows_in_disorder(tmp_path, bars, step):
    path = berlin(tmp_path, "2024-03-30T12:00Z", bars, step)
    with pytest.raises(DataError, match=r"2024-10-27T02:00:00Z: .* local times when clocks are put back"):
        read_candles(path, interval="15m" if step == QUARTER else "1h")


def test_a_repeated_row_of_an_hour_is_told_from_clocks(tmp_path):
    frame = market(40).assign(time=START_MS + 4 * QUARTER * np.arange(40))
    frame = pd.concat([frame.iloc[:20], frame.iloc[19:]])
    path = written(tmp_path, csv(frame.assign(time=moments(frame, "%Y-%m-%d %H:%M"))))
    with pytest.raises(DataError, match=r"row 21, .* the same time as the row before\. Sort the file"):
        read_candles(path, interval="1h")


def test_a_gap_is_named_by_its_own_row_of_its_own_file(tmp_path):
    """Rows 11 to 20 are missing; 20 are newer, the oldest of them is the 20th row of a file with the newest first."""
    frame = market(40).drop(index=range(10, 20))
    path = written(tmp_path, csv(frame.iloc[::-1]))
    with pytest.raises(DataError, match=r"BTCUSDT.csv: row 20, 2024-03-25T05:00:00Z: 1 gap"):
        read_candles(path)
    (tmp_path / "BTCUSDT").mkdir()
    for number, rows in ((1, frame.iloc[:10]), (2, frame.iloc[10:])):
        written(tmp_path / "BTCUSDT", csv(rows), f"BTCUSDT-15m-2024-0{number}.csv")
    with pytest.raises(DataError, match=r"BTCUSDT-15m-2024-02.csv: row 1, 2024-03-25T05:00:00Z: 1 gap"):
        read_candles(tmp_path / "BTCUSDT")


@pytest.mark.parametrize(("separator", "said"), [(" ", "; parted by blanks;"), ("|", "; parted by bars;")])
def test_the_separator_is_said(tmp_path, separator, said):
    assert said in read_candles(written(tmp_path, csv(market(), sep=separator))).note


def test_the_form_of_dates_is_said_as_people_write_it(tmp_path):
    frame = market()
    path = written(tmp_path, csv(frame.assign(time=moments(frame, "%d.%m.%Y %H:%M"))))
    assert "times: DD.MM.YYYY hh:mm, no zone written" in read_candles(path).note


def test_clocks_that_are_put_back_are_told_from_rows_in_disorder(tmp_path):
    """On 2024-10-27 at 03:00 Berlin's clocks went back to 02:00."""
    frame = market(40).assign(time=pd.Timestamp("2024-10-26T22:00Z").value // 1_000_000 + QUARTER * np.arange(40))
    path = written(tmp_path, csv(frame.assign(time=moments(frame, "%Y-%m-%d %H:%M", "Europe/Berlin"))))
    with pytest.raises(
        DataError, match=r"row 13, .* earlier than the row before.* local times when clocks are put back"
    ):
        read_candles(path)


FUNDING = {
    "Binance's archive": "calc_time,funding_interval_hours,last_funding_rate\n{0},8,0.0001\n{1},8,-0.0002\n",
    "Binance's archive without names": "{0},8,0.0001\n{1},8,-0.0002\n",
    "two columns without names": "{0},0.0001\n{1},-0.0002\n",
    "the REST API": '[{{"symbol":"BTCUSDT","fundingTime":{0},"fundingRate":"0.00010000","markPrice":"1"}},'
    '{{"symbol":"BTCUSDT","fundingTime":{1},"fundingRate":"-0.00020000","markPrice":"1"}}]',
    "percent signs": "time,rate\n{0},0.01%\n{1},-0.02 %\n",
    "percent in the name": "time,funding rate (%)\n{0},0.01\n{1},-0.02\n",
    "freqtrade's candles of rates": "date,open,high,low,close,volume\n{0},0.0001,0,0,0,0\n{1},-0.0002,0,0,0,0\n",
}


@pytest.mark.parametrize("kind", FUNDING)
def test_funding_is_read_as_people_have_it(tmp_path, kind):
    table = read_funding(written(tmp_path, FUNDING[kind].format(START_MS, START_MS + 32 * QUARTER)))
    assert table.time.tolist() == [START_MS, START_MS + 32 * QUARTER]
    assert table.rate.tolist() == [0.0001, -0.0002]


def test_candles_given_as_funding_are_told(tmp_path):
    with pytest.raises(DataError, match="column rate is missing .* These are candles: give them to --data or --mark"):
        read_funding(written(tmp_path, csv(market())))


def test_marks_need_no_volume(tmp_path):
    frame = market().drop(columns="volume")
    assert read_mark(written(tmp_path, csv(frame, header=False))).close.tolist() == frame.close.tolist()


def test_a_number_of_a_text_file_is_the_float_nearest_to_its_digits(tmp_path):
    frame = market()
    frame["volume"] = np.random.default_rng(9).random(len(frame))  # 16 and 17 digits
    assert read_candles(written(tmp_path, csv(frame))).volume.tolist() == frame.volume.tolist()


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-31T12:15:00Z", "2024-02-29 12:30:00Z"],
        ["2024-01-31 12:15", "2024-01-31 12:30"],
        ["2024-01-31 12:15:00.5", "2024-01-31 12:30:00.123"],
        ["2024-01-31 12:15:00+00:00", "2024-01-31T12:30:00"],
        ["2024-01-31 12:15:00", "2024-01-31T12:30:00Z"],
        ["2024-01-31 12:15:00+02:00", "2024-01-31 12:30:00+02:00"],
        ["2024-01-31 12:15:00.123456", "2024-01-31 12:30:00.123456"],
        ["2024-01-31", "2024-02-01"],
        ["2024-01-31T12:15:00Z", "2023-02-29T12:30:00Z"],
        ["2024-01-31T24:00:00Z"],
        ["2024-01-31T12:15:60Z"],
        ["2024-01-31T12:15:00Z", "total"],
        ["2024-01-31T12:15:00Z", None],
        ["1999-01-31T12:15:00Z"],
        ["2024-01-31T12:15:00Z", "2100-01-01T00:00:00Z"],
    ],
)
def test_a_files_times_are_read_as_those_of_a_frame(texts):
    found = []
    for column in (pa.chunked_array([pa.array(texts, pa.string())]), pd.Series(texts)):
        try:
            times = read_times(column)
            found.append((times.ms.tolist(), times.unit, times.naive))
        except BadTime as bad:
            found.append((bad.row, bad.reason, bad.cure))
    assert found[0] == found[1]


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27", "2024-11-03", "2024-03-10", "2024-06-30", "2023-09-24"])
@pytest.mark.parametrize("hour", [1, 2, 3, 4, 23])
def test_clocks_are_put_forward_on_sundays_of_spring_and_autumn(day, hour):
    time = pd.DatetimeIndex([f"{day} {hour - 1:02}:00", f"{day} {hour:02}:00"]).astype("datetime64[ms]").asi8
    time[1] += 3_600_000
    changes = hour + 1 < 4 and day != "2024-06-30"
    assert (put_forward(time, 3_600_000) is not None) == changes
