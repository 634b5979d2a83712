"""Candles and funding as received: a damaged byte costs a line, which is received again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.live import ClosedCandle
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.live.received_series import ReceivedSeries

START = 1_704_067_200_000  # 2024-01-01
CANDLES = [
    ClosedCandle(
        START + i * BAR_MS, 100.0 + i, 101.5 + i, 99.25 + i, 100.75 + i, 7.5, *((1e-4, 100.5) if i == 4 else ())
    )
    for i in range(8)
]


def write(folder):
    series = ReceivedSeries(folder, "BTCUSDT", pytest.fail)
    for candle in CANDLES:
        series.add(candle)
    series.close()


def texts(folder):
    return {path.name: path.read_text() for path in folder.glob("*.csv")}


def read(folder):
    """Return what a new session knows, what it says, and its series."""
    notices = []
    series = ReceivedSeries(folder, "BTCUSDT", notices.append)
    return [(*one[:6], str(one[6:])) for one in series.before], notices, series


KNOWN = [(*one[:6], str(one[6:])) for one in CANDLES]


def test_what_is_written_is_read(tmp_path):
    write(tmp_path)
    found, notices, _ = read(tmp_path)
    assert found == KNOWN and notices == []
    assert sorted(texts(tmp_path)) == ["candles-BTCUSDT.csv", "funding-BTCUSDT.csv"]


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("\n2024-01-01T00:45:00Z,103.0,", "\n2024-01-01T00:45:00Z,1x3.0,", {3}),  # before: no start
        ("\n2024-01-01T00:45:00Z,103.0,", "\n2024-01-01T00:45:00Z,903.0,", {3}),  # above its high
        ("\n2024-01-01T00:45:00Z", "\n2034-01-01T00:45:00Z", {3}),  # later than the one after it
        ("\n2024-01-01T00:45:00Z", "\n2014-01-01T00:45:00Z", {3}),
        ("\n2024-01-01T00:45:00Z", " 2024-01-01T00:45:00Z", {2, 3}),
        ("\n2024-01-01T00:00:00Z", "\n2024-01-01T00:00:0\x00Z", {0}),
        ("time,open", "tyme,open", set()),
        ("volume\n", "volume\v", {0}),
    ],
)
def test_a_damaged_candle_is_set_aside_and_received_again(tmp_path, old, new, lost):
    write(tmp_path)
    before, path = texts(tmp_path), tmp_path / "candles-BTCUSDT.csv"
    spoiled = before[path.name].replace(old, new)
    path.write_text(spoiled)
    found, notices, series = read(tmp_path)
    assert found == [one for i, one in enumerate(KNOWN) if i not in lost]
    aside = next(tmp_path.glob("*.damaged-*"))
    assert aside.name in notices[0] and aside.read_text() == spoiled
    for candle in CANDLES:
        series.add(candle)
    series.close()
    assert texts(tmp_path) == before


def test_a_damaged_last_candle_comes_by_itself(tmp_path):
    write(tmp_path)
    before, path = texts(tmp_path), tmp_path / "candles-BTCUSDT.csv"
    path.write_text(before[path.name].replace("01:45", "01:4x"))
    found, notices, series = read(tmp_path)
    assert found == KNOWN[:-1] and len(notices) == 1
    series.add(CANDLES[-1])
    series.close()
    assert texts(tmp_path) == before


def test_candles_whose_funding_is_damaged_are_received_again(tmp_path):
    write(tmp_path)
    before, path = texts(tmp_path), tmp_path / "funding-BTCUSDT.csv"
    path.write_text(before[path.name].replace("0.0001", "0.00\x7f1"))
    found, notices, series = read(tmp_path)
    assert found == [] and len(notices) == 1  # the only settlement: any of them may have had it
    for candle in CANDLES:
        series.add(candle)
    series.close()
    assert texts(tmp_path) == before


def test_a_line_cut_by_a_crash_is_no_damage(tmp_path):
    write(tmp_path)
    before, path = texts(tmp_path), tmp_path / "candles-BTCUSDT.csv"
    path.write_text(before[path.name][:-9])
    found, notices, series = read(tmp_path)
    assert found == KNOWN[:-1] and notices == []
    series.add(CANDLES[-1])
    series.close()
    assert texts(tmp_path) == before


@settings(max_examples=150)
@given(st.sampled_from(["candles-BTCUSDT.csv", "funding-BTCUSDT.csv"]), st.data())
def test_no_damaged_byte_prevents_a_start(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("series")
    write(folder)
    path = folder / name
    good = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
    _, _, series = read(folder)
    for candle in CANDLES:
        series.add(candle)
    series.close()
    again, notices, _ = read(folder)
    assert len(again) == len(CANDLES) and notices == []
