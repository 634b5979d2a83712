"""The cache on disk: whole files or none, and damage that is noticed."""

import errno
import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest
from fake_exchange import QUARTER, FakeExchange, connector, settled, truth

from feeds.cache import Damaged, SeriesCache, series_folders, update_table
from feeds.history import load_history
from feeds.series import BadRows, Series, month_span, months

JANUARY = 1_704_067_200_000
CANDLES, FUNDING = Series("candles", QUARTER), Series("funding")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def rows():
    return CANDLES.table(truth(JANUARY, 96))


@pytest.fixture
def cache(tmp_path, rows):
    cache = SeriesCache(tmp_path / "binanceusdm/BTCUSDT/candles-15m", CANDLES)
    with cache.lock():
        cache.remember_first(JANUARY)
        store(cache, rows)
    return cache


@pytest.fixture
def market(tmp_path):
    """Loads three days from a fake exchange; gives the exchange, and a function that loads."""
    fake = FakeExchange(truth(JANUARY, 385), settled(JANUARY, 13), truth(JANUARY, 385)[:, :5], JANUARY + 384 * QUARTER)
    with fake.serving() as base:

        def load(address=base):
            end = pd.Timestamp("2024-01-03").date()
            return load_history("BTCUSDT", None, end, cache_dir=tmp_path, connect=connector(address))

        np.testing.assert_array_equal(load().candles.to_numpy(), fake.candles[:288])
        fake.requests.clear()
        yield fake, load


def store(cache, rows, month="2024-01", holes=()):
    cache.store(month, rows, "rest", JANUARY, JANUARY + 96 * QUARTER, list(holes))


def reread(cache):
    again = SeriesCache(cache.folder, cache.series)
    again.load()
    return again


def test_what_is_stored_is_read_back_to_the_last_bit(cache, rows):
    store(cache, rows, holes=[(JANUARY, JANUARY + QUARTER)])
    again = reread(cache)
    pd.testing.assert_frame_equal(again.read("2024-01"), rows, check_exact=True)
    assert again.months == cache.months and again.first == JANUARY
    assert again.months["2024-01"].holes == [(JANUARY, JANUARY + QUARTER)]


def test_the_manifest_says_what_is_there(cache):
    manifest = json.loads((cache.folder / "manifest.json").read_text())
    month = manifest["months"]["2024-01"]
    content = (cache.folder / month["file"]).read_bytes()
    assert month["sha256"] == hashlib.sha256(content).hexdigest()
    assert (month["rows"], month["source"], month["loaded"]) == (96, "rest", JANUARY)


def test_a_new_version_replaces_the_old_one(cache, rows):
    store(cache, rows.iloc[:50])
    assert len(reread(cache).read("2024-01")) == 50
    assert len(list(cache.folder.glob("*.parquet"))) == 1


DAMAGES = {
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"?" + path.read_bytes()[-8:]),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "another file": lambda path: pd.DataFrame({"time": [1]}).to_parquet(path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_read(damage, cache):
    DAMAGES[damage](cache.folder / cache.months["2024-01"].file)
    with pytest.raises(Damaged):
        reread(cache).read("2024-01")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_loaded_again(damage, market, tmp_path):
    fake, load = market
    [path] = (tmp_path / "binanceusdm/BTCUSDT/candles-15m").glob("*.parquet")
    whole = path.read_bytes()
    DAMAGES[damage](path)
    damaged = path.read_bytes() if path.exists() else None
    found = load()
    np.testing.assert_array_equal(found.candles.to_numpy(), fake.candles[:288])
    assert path.read_bytes() == whole
    aside = list(tmp_path.rglob("*.damaged-*"))
    assert [one.read_bytes() for one in aside] == ([damaged] if damaged is not None else [])
    assert [str(one) in found.warnings[0] for one in aside] == [True] * len(aside)
    assert not fake.asked("markPriceKlines")
    DAMAGES[damage](path)
    load()
    assert len(list(tmp_path.rglob("*.damaged-*"))) == 2 * len(aside)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"months": {"2024-01": {}}, "first": 0}', b"\xff\xfe"])
def test_a_damaged_manifest_is_set_aside_and_all_loaded_again(content, market, tmp_path):
    fake, load = market
    path = tmp_path / "binanceusdm/BTCUSDT/candles-15m/manifest.json"
    path.write_bytes(content)
    np.testing.assert_array_equal(load().candles.to_numpy(), fake.candles[:288])
    assert path.with_name("manifest.json.damaged-1").read_bytes() == content
    fake.requests.clear()
    load(None)
    assert fake.requests == []


def test_damage_without_a_network_is_said(market, tmp_path):
    _, load = market
    [path] = (tmp_path / "binanceusdm/BTCUSDT/candles-15m").glob("*.parquet")
    path.write_bytes(b"x")
    with pytest.raises(OSError, match="cannot be reached .* the cache has nothing of it"):
        load(None)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_said_once_and_nothing_is_lost(code, cache, rows, monkeypatch):
    def fail(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"the cache cannot be written \(.*\): free space .* --cache-dir") as failure:
        store(cache, rows.iloc[:50])
    assert failure.value.errno == code and failure.value.filename
    assert len(reread(cache).read("2024-01")) == 96
    assert not list(cache.folder.glob("*.tmp"))


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    cache = SeriesCache(tmp_path / "file" / "BTCUSDT", CANDLES)
    cache.load()
    with pytest.raises(OSError, match="the cache cannot be written"), cache.lock():
        pass


def test_what_a_killed_process_left_half_written_goes(cache):
    (cache.folder / "2024-01-00000000.parquet.1.tmp").write_bytes(b"half")
    with cache.lock():
        assert not list(cache.folder.glob("*.tmp"))


def test_all_series_are_found(cache, tmp_path):
    (tmp_path / "binanceusdm/BTCUSDT/other").mkdir()
    found = [(exchange, symbol, series) for exchange, symbol, series, _ in series_folders(tmp_path)]
    assert found == [("binanceusdm", "BTCUSDT", CANDLES)]


def test_the_market_table_keeps_other_symbols(tmp_path):
    path = tmp_path / "binanceusdm" / "markets.json"
    update_table(path, "ETHUSDT", {"tick": 1})
    update_table(path, "BTCUSDT", {"tick": 2})
    update_table(path, "ETHUSDT", {"tick": 3})
    assert json.loads(path.read_text()) == {"symbols": {"BTCUSDT": {"tick": 2}, "ETHUSDT": {"tick": 3}}}


# --- series -----------------------------------------------------------------------------------------------------------


def test_months_of_a_span():
    december = month_span("2023-12")
    assert december == (1_701_388_800_000, JANUARY)
    assert list(months((JANUARY - 1, JANUARY + 1))) == ["2023-12", "2024-01"]
    assert list(months((JANUARY - 1, JANUARY))) == ["2023-12"]
    assert list(months((JANUARY, JANUARY))) == []


def test_missing_candles():
    time = JANUARY + QUARTER * np.array([1, 2, 5])
    span = (JANUARY, JANUARY + 7 * QUARTER)
    found = [((first - JANUARY) // QUARTER, (end - JANUARY) // QUARTER) for first, end in CANDLES.missing(time, span)]
    assert found == [(0, 1), (3, 5), (6, 7)]
    assert CANDLES.missing(time[:0], span) == [span]


def test_missing_funding_is_a_pause_of_more_than_8_hours():
    hour = 3_600_000
    time = JANUARY + hour * np.array([0, 8, 16, 32]) + [3, 0, 5, 1]
    found = FUNDING.missing(time, (JANUARY, JANUARY + 41 * hour))
    assert [(first // hour, end // hour) for first, end in found] == [
        ((JANUARY + 16 * hour) // hour, (JANUARY + 32 * hour) // hour),
        ((JANUARY + 32 * hour) // hour, (JANUARY + 41 * hour) // hour),
    ]


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (3, "high", 1.0, "prices that contradict"),
        (3, "low", 0.0, "prices that contradict"),
        (3, "low", 1e9, "prices that contradict"),
        (3, "volume", -1.0, "negative volume"),
        (3, "close", np.nan, "lacks a value"),
        (3, "time", JANUARY + 3 * QUARTER + 1, "not on the 15m grid"),
        (3, "time", JANUARY + 4 * QUARTER, "comes twice with different values"),
    ],
)
def test_rows_nobody_can_trust(row, column, value, words, rows):
    rows.loc[row, column] = value
    with pytest.raises(BadRows, match=words):
        CANDLES.clean(rows, month_span("2024-01"))


def test_clean_rows_are_in_order_and_once(rows):
    shuffled = pd.concat([rows.iloc[50:], rows.iloc[:60]])
    pd.testing.assert_frame_equal(CANDLES.clean(shuffled, month_span("2024-01")), rows)
    assert len(CANDLES.clean(rows, (JANUARY + QUARTER, JANUARY + 5 * QUARTER))) == 4
