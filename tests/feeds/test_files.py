"""What lies at a path: packed files, folders, patterns, pipes; bounded, and nothing else."""

import bz2
import gzip
import lzma
import os
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feeds import files
from feeds.layouts import symbol_of
from feeds.rows import symbol_at
from feeds.tables import read_candles, read_funding
from gridv4_bt import config
from gridv4_bt.errors import DataError
from tests.feeds.test_texts import csv, klines, market, written

COLUMNS = ("time", "open", "high", "low", "close", "volume")


def assert_read(path, frame):
    table = read_candles(path, name="BTCUSDT")
    for field in COLUMNS:
        np.testing.assert_array_equal(getattr(table, field), frame[field].to_numpy(), field)
    return table


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as folder:
        for name, text in members.items():
            folder.writestr(f"{name}.csv", text)
    return path


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)]
)
def test_a_packed_file_is_unpacked_whatever_its_name(tmp_path, name, pack):
    frame = market()
    assert_read(written(tmp_path, pack(csv(frame).encode()), name), frame)
    assert_read(written(tmp_path, pack(csv(frame).encode()), "named.csv"), frame)


def test_pandas_index_of_times_is_read_from_parquet_though_it_has_no_name(tmp_path):
    frame = market()
    frame.set_index(pd.to_datetime(frame.time, unit="ms", utc=True).rename(None)).drop(columns="time").to_parquet(
        tmp_path / "BTCUSDT.parquet"
    )
    assert_read(tmp_path / "BTCUSDT.parquet", frame)


@pytest.mark.parametrize("uncompressed", [True, False])
def test_freqtrades_feather_is_read(tmp_path, uncompressed):
    frame = market()
    kept = frame.assign(time=pd.to_datetime(frame.time, unit="ms", utc=True)).rename(columns={"time": "date"})
    path = tmp_path / "BTC_USDT_USDT-15m-futures.feather"
    kept.to_feather(path, compression="uncompressed" if uncompressed else "lz4")
    assert symbol_at(path) == "BTCUSDT"
    assert "Feather; columns date, open" in assert_read(path, frame).note


def test_months_are_read_together_from_zips_by_folder_and_by_pattern(tmp_path):
    frame = market(60)
    for month, part in (("2024-03", frame[:25]), ("2024-04", frame[25:40]), ("2024-05", frame[40:])):
        zipped(tmp_path / f"BTCUSDT-15m-{month}.zip", data=csv(klines(part), header=month != "2024-03"))
        (tmp_path / f"BTCUSDT-15m-{month}.zip.CHECKSUM").write_text("0")
    zipped(tmp_path / "BTCUSDT-1h-2024-03.zip", data="another interval")
    written(tmp_path, "calc_time,last_funding_rate\n1711324800000,0.0001\n", "BTCUSDT-fundingRate-2024-03.csv")
    for path in (tmp_path, tmp_path / "BTCUSDT-15m-*.zip", tmp_path / "*"):
        assert symbol_at(path) == "BTCUSDT"
        assert "3 files" in assert_read(path, frame).note
    assert read_funding(tmp_path).rate.tolist() == [0.0001]


def test_several_files_of_one_zip_are_one_table(tmp_path):
    frame = market()
    assert_read(zipped(tmp_path / "a.zip", late=csv(frame[15:]), early=csv(frame[:15])), frame)


def test_rows_that_two_files_share_count_once_and_must_be_the_same(tmp_path):
    frame = market()
    assert (
        "5 rows in two files taken once"
        in assert_read(zipped(tmp_path / "a.zip", a=csv(frame[:20]), b=csv(frame[15:])), frame).note
    )
    other = frame[15:].assign(volume=1.0)
    with pytest.raises(DataError, match=r"a\.csv: row 16 and .*b\.csv: row 1: the same time with different values"):
        read_candles(zipped(tmp_path / "b.zip", a=csv(frame[:20]), b=csv(other)))


def test_a_bad_row_is_named_by_its_own_file(tmp_path):
    frame = market()
    spoilt = frame[20:].copy()
    spoilt.loc[23, "high"] = 1.0
    path = zipped(tmp_path / "a.zip", a=csv(frame[:20]), b=csv(spoilt))
    with pytest.raises(DataError, match=r"a\.zip:b\.csv: row 4, 2024-03-25T05:45:00Z: high 1\.0 is below low"):
        read_candles(path)


def test_hive_folders_are_read_and_name_the_symbol(tmp_path):
    frame = market()
    for month, part in (("2024-03", frame[:15]), ("2024-04", frame[15:])):
        folder = tmp_path / "symbol=BTCUSDT" / f"month={month}"
        folder.mkdir(parents=True)
        part.to_parquet(folder / "part-0.parquet")
        (folder / "_SUCCESS").write_text("")
    for path in (tmp_path / "symbol=BTCUSDT", tmp_path):
        assert symbol_at(path) == "BTCUSDT"
        assert_read(path, frame)
    (tmp_path / "symbol=ETHUSDT").mkdir()
    frame.to_parquet(tmp_path / "symbol=ETHUSDT" / "a.parquet")
    with pytest.raises(DataError, match=r"holds several symbols \(BTCUSDT, ETHUSDT\)"):
        symbol_at(tmp_path)


@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        ("BTCUSDT-15m.parquet", "BTCUSDT"),
        ("data/BTCUSDT.csv.gz", "BTCUSDT"),
        ("BTC_USDT_USDT-15m-futures.feather", "BTCUSDT"),
        ("BTC_USDT-15m.feather", "BTCUSDT"),
        ("BTC-USDT-15m.csv", "BTCUSDT"),
        ("BTC-USDT-SWAP.csv", "BTCUSDT"),
        ("1000PEPE_USDT_USDT-1h-funding_rate.feather", "1000PEPEUSDT"),
        ("Binance_BTCUSDT_1h.csv", "BTCUSDT"),
        ("Binance_BTCUSDT_2023_minute.csv", "BTCUSDT"),
        ("BINANCE_BTCUSDT.P, 15.csv", "BTCUSDT"),
        ("BINANCE_ETHUSDTPERP, 15_abc.csv", "ETHUSDT"),
        ("two_BTCUSDT.csv", "BTCUSDT"),
        ("lake/symbol=solusdt/year=2024/0.parquet", "SOLUSDT"),
        ("candles.csv", "CANDLES"),
    ],
)
def test_the_symbol_is_told_by_the_path(path, symbol):
    assert symbol_of(path) == symbol


def test_a_pipe_is_read_to_its_end(tmp_path):
    frame = market(300)
    pipe = tmp_path / "BTCUSDT.csv"
    os.mkfifo(pipe)

    def write():
        time.sleep(0.05)
        with pipe.open("w") as target:
            for line in csv(frame).splitlines(keepends=True):
                target.write(line)

    writer = threading.Thread(target=write)
    writer.start()
    assert_read(pipe, frame)
    writer.join()


def test_a_pipe_that_brings_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "PIPE_WAIT", 0.1)
    os.mkfifo(tmp_path / "X.csv")
    with pytest.raises(DataError, match=r"X\.csv: cannot be read \(nothing came through the pipe for 0\.1 s"):
        read_candles(tmp_path / "X.csv")


def test_a_pipe_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 1 << 20)
    reader, writer = os.pipe()

    def write():
        with suppress(BrokenPipeError):
            while True:
                os.write(writer, b"0" * 4096)

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(DataError, match="more than 1,024 kB came through the pipe"):
        read_candles(f"/dev/fd/{reader}", name="X")
    os.close(reader)
    thread.join()
    os.close(writer)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "a\0b.csv", "x" * 5_000, "none/a.csv", "[", "a.csv/b.csv"])
def test_what_is_neither_a_file_nor_a_pipe_is_refused(path):
    with pytest.raises(DataError, match="no such file|cannot be read"):
        read_candles(path, name="X")


def test_a_socket_is_refused(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "s.csv"))
        with pytest.raises(DataError, match=r"s\.csv: cannot be read|no such file"):
            read_candles(tmp_path / "s.csv")


@pytest.mark.parametrize("kind", ["zip", "gzip"])
def test_what_unpacks_to_far_more_than_itself_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(files, "_PACKED_FROM", 1 << 20)
    zeros = b"0" * (4 << 20)
    path = tmp_path / "X.csv"
    if kind == "gzip":
        path.write_bytes(gzip.compress(zeros))
    else:
        zipped(path, a=zeros.decode())
    with pytest.raises(DataError, match="unpacks to more than 250 times its size"):
        read_candles(path)


def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 1 << 20)
    with pytest.raises(DataError, match="more than 1 MB. Give a shorter span, or Parquet"):
        read_candles(written(tmp_path, "0," * (1 << 20)))


def test_a_zip_with_a_password_and_one_of_other_things_are_refused(tmp_path):
    path = zipped(tmp_path / "X.zip", a=csv(market()))
    spoilt = bytearray(path.read_bytes())
    for signature, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        spoilt[spoilt.index(signature) + flag] |= 1
    (tmp_path / "Y.zip").write_bytes(spoilt)
    with pytest.raises(DataError, match="password required"):
        read_candles(tmp_path / "Y.zip")
    with zipfile.ZipFile(tmp_path / "Z.zip", "w") as folder:
        folder.writestr("readme.md", "hello")
    with pytest.raises(DataError, match="holds 0 files of data"):
        read_candles(tmp_path / "Z.zip")


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(DataError, match="no such file: nothing there ends in .csv"):
        read_candles(tmp_path)


def test_finer_candles_make_bars(tmp_path):
    """Three 5m candles a bar: the first open, the highest high, the lowest low, the last close, the sum of volumes."""
    start = 1_711_324_800_000 - 300_000  # one candle of the bar before, which is left out
    frame = pd.DataFrame(
        {
            "time": start + 300_000 * np.arange(8),
            "open": [9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0],
            "high": [9.5, 12.5, 20.0, 13.5, 14.5, 15.5, 16.5, 17.5],
            "low": [8.5, 9.5, 10.5, 5.0, 12.5, 13.5, 14.5, 15.5],
            "close": [9.5, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0],
            "volume": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        }
    )
    table = read_candles(written(tmp_path, csv(frame)), resample="15m")
    assert table.interval_ms == 900_000 and table.time.tolist() == [1_711_324_800_000, 1_711_325_700_000]
    assert (table.open.tolist(), table.high.tolist()) == ([10.0, 13.0], [20.0, 16.5])
    assert (table.low.tolist(), table.close.tolist()) == ([5.0, 12.5], [13.0, 16.0])
    assert table.volume.tolist() == [9.0, 18.0]
    assert "2 of 15m" not in table.note and "8 of 5m, made into 15m" in table.note


def test_coarser_candles_make_no_bars(tmp_path):
    frame = market().assign(time=lambda f: 1_711_324_800_000 + 3_600_000 * np.arange(len(f)))
    with pytest.raises(DataError, match="1h candles do not make 15m bars. Give finer ones, or --interval 1h"):
        read_candles(written(tmp_path, csv(frame)), resample="15m")


def test_nothing_of_a_path_object_is_needed(tmp_path):
    assert_read(Path(written(tmp_path, csv(market()))), market())
