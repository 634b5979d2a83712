"""Damaged and odd inputs for every reader: each is read or refused with one clear line, soon, and nothing else.

python tests/reader_fuzz.py --inputs 1000 --seed 0
"""

import argparse
import bz2
import gzip
import io
import json
import lzma
import os
import random
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds the product

from feeds.tables import read_candles, read_detail, read_funding, read_mark
from gridv4_bt import config
from gridv4_bt.cli.market_options import pair_files
from gridv4_bt.config import load_config
from gridv4_bt.engine.market import load_market, load_market_history
from gridv4_bt.errors import GridV4Error
from gridv4_bt.optimise.space import load_space
from gridv4_bt.optimise.trials import parse_axes
from gridv4_bt.report.run_folder import check_folder, target_folder

#: No input may take longer, seconds of the processor: a machine with much else to do gives few of them in a minute.
LONGEST = 20.0
_START_MS = 1_711_324_800_000
_WORDS = (
    b"", b"nan", b"inf", b"-", b"1e999", b"1E+12", b"0x10", b"1_000", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"',
    b"'", b";", b"\t", b"|", b"\r", b"\n\n", b",,,,,,,,", b"time", b"open", b"Total", b"9" * 400, b"-1", b"1970-01-01",
    b"{", b"[[[[", b"PAR1", b"ARROW1", b"PK\x03\x04", b"\x1f\x8b", b"#", b"=", b"<html>", b"\xe2\x80\xa8",
    b"1,234,567.8", b"%",
)  # fmt: skip


def candles(rng, bars=60):
    moves = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 0.003, bars)
    close = np.round(100 * np.exp(np.cumsum(moves)), 2)
    time_ = _START_MS + 900_000 * np.arange(bars)
    return pd.DataFrame(
        {"time": time_, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}
    )


def as_parquet(frame):
    target = io.BytesIO()
    frame.to_parquet(target)
    return target.getvalue()


def as_feather(frame):
    target = io.BytesIO()
    frame.to_feather(target)
    return target.getvalue()


def as_zip(frame):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("a.csv", frame.to_csv(index=False))
    return target.getvalue()


FORMS = {
    "csv": lambda f: f.to_csv(index=False).encode(),
    "CSV": lambda f: f.to_csv(index=False, sep=";", decimal=",").encode("utf-16"),
    "csv.gz": lambda f: gzip.compress(f.to_csv(index=False).encode()),
    "csv.bz2": lambda f: bz2.compress(f.to_csv(index=False).encode()),
    "csv.xz": lambda f: lzma.compress(f.to_csv(index=False).encode()),
    "zip": as_zip,
    "json": lambda f: f.to_json(orient="values").encode(),
    "parquet": as_parquet,
    "feather": as_feather,
}
READERS = {
    "candles": read_candles,
    "flat": lambda path: read_candles(path, gaps="flat"),
    "resampled": lambda path: read_candles(path, resample="1h"),
    "detail": read_detail,
    "funding": read_funding,
    "mark": read_mark,
}


def mutated(rng, content):
    """Return bytes with some of them changed, moved, repeated, cut or replaced by what confuses readers."""
    content = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8, 40))):
        place = rng.randrange(len(content) + 1)
        kind = rng.randrange(6)
        if kind == 0 and content:
            content[min(place, len(content) - 1)] = rng.randrange(256)
        elif kind == 1:
            content[place:place] = rng.choice(_WORDS)
        elif kind == 2:
            del content[place : place + rng.choice((1, 5, 50, 5_000))]
        elif kind == 3:
            part = content[place : place + rng.randrange(200)]
            content[rng.randrange(len(content) + 1) : place] = part
        elif kind == 4:
            content[place : place + rng.randrange(20)] = rng.choice(_WORDS)
        else:
            content[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(16)))
    return bytes(content)


def mutated_rows(rng, frame):
    """Return candles with something wrong in them that a person or a program does."""
    row, column = rng.randrange(len(frame)), rng.choice(list(frame.columns))
    frame = frame.astype(object)
    kind = rng.randrange(8)
    if kind == 0:
        frame.loc[row, column] = rng.choice(
            (None, "x", "", -1, 0, float("nan"), float("inf"), 10**30, True, "1,5", "1.5.5")
        )
    elif kind == 1:
        frame = frame.drop(columns=column)
    elif kind == 2:
        frame = frame.rename(columns={column: rng.choice(("Time", "date", "rate", "Volume BTC", "", "open"))})
    elif kind == 3:
        frame = frame.sample(frac=1.0, random_state=rng.randrange(1 << 30))
    elif kind == 4:
        frame[column] = [rng.choice((value, str(value), f"{value:.3E}")) for value in frame[column]]
    elif kind == 5:
        frame["time"] = frame["time"].map(
            lambda value: value * rng.choice((1, 1000, 1_000_000)) // rng.choice((1, 1, 1000))
        )
    elif kind == 6:
        frame = frame.iloc[: rng.randrange(3)]
    return frame.astype(str) if rng.random() < 0.3 else frame


def read_data(rng, folder):
    """Read a damaged file of data."""
    frame = candles(rng)
    if rng.random() < 0.25:
        frame = pd.DataFrame({"time": frame["time"][::32], "rate": 0.0001})
    if rng.random() < 0.5:
        frame = mutated_rows(rng, frame)
    form = rng.choice(list(FORMS))
    try:
        content = FORMS[form](frame.reset_index(drop=True))
    except Exception:  # not every column can be written in every form
        form, content = "csv", FORMS["csv"](frame)
    if rng.random() < 0.7:
        content = mutated(rng, content)
    path = folder / f"BTCUSDT-15m.{form if rng.random() < 0.8 else 'csv'}"
    path.write_bytes(content)
    reader = rng.choice(list(READERS))
    return f"{reader} {form}", lambda: READERS[reader](path)


_TOML = b'levels = 6\nk = 0.8\nregime = "kama"\n[search]\nsampler = "grid"\n'
_TABLE = json.dumps(
    [{"symbol": "BTCUSDT", "brackets": [{"notionalFloor": 0, "notionalCap": 5, "maintMarginRatio": 0.004, "cum": 0,
                                         "initialLeverage": 125}]}]
).encode()  # fmt: skip


def read_settings(rng, folder):
    """Read a damaged file of parameters, brackets or a space."""
    what, content, reader = rng.choice(
        (
            ("config", _TOML, load_config),
            ("space", _TOML, load_space),
            ("brackets", _TABLE, lambda path: load_market("BTCUSDT", path)),
            ("history", _TABLE, lambda path: load_market_history("BTCUSDT", path)),
        )
    )
    kind = rng.randrange(4)
    deep = rng.choice((b"[", b"a=[", b"{", b'{"a":', b"levels.", b"1")) * rng.choice((10, 1_500, 8_000, 200_000))
    deep = rng.choice((b"", b"k=", b"a.")) + deep + rng.choice((b"", b"k=1"))
    content = mutated(rng, content) if kind else deep
    path = folder / "settings"
    path.write_bytes(content)
    return what, lambda: reader(path)


def read_odd_place(rng, folder):
    """Read what is no file, or a path that is none."""
    os.mkfifo(folder / "pipe")
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    place = rng.choice(
        (
            "/dev/zero", "/dev/urandom", "/dev/null", "/proc/self", folder / "pipe", folder / "empty",
            folder / "loop", "", "a\0b", "x" * 5_000, folder / "none" / "a.csv", "[", "/", "symbol=BTCUSDT/x.csv", "=x",
            "x=", "~",
        )
    )  # fmt: skip
    readers = (
        *READERS.values(),
        lambda path: load_config(Path(path)),
        lambda path: load_space(Path(path)),
        lambda path: load_market("BTCUSDT", Path(path)),
        lambda path: check_folder(target_folder(Path(path))),
        lambda path: pair_files([str(path)], [], []),
    )
    reader = rng.choice(readers)
    return f"place {str(place)[:20]!r}", lambda: reader(place)


def read_words(rng, folder):
    """Read an option's text."""
    number = rng.choice(
        ("1", "0", "-1", "1e-9", "1e9", "1e400", "nan", "inf", "0.1", "", "x", "1e-400", "9" * 50, "true")
    )
    name = rng.choice(("k", "levels", "funding_hours", "regime", "leverage", "warm_up", "nothing", ""))
    kind = rng.randrange(3)
    if kind == 0:
        return "--set", lambda: load_config(None, [f"{name}={number}"])
    if kind == 1:
        other = rng.choice(("5", "1e9", "1e-9", "inf", "0.00000001"))
        return "--optimize", lambda: parse_axes(
            [f"{name}={number}:{other}:{rng.choice(('1e-9', '1', '0', 'nan', '1e-400'))}"]
        )
    return "--optimize", lambda: parse_axes([f"{name}={','.join([number] * rng.choice((1, 2, 50)))}", f"k={number},1"])


MAKERS = (read_data, read_data, read_data, read_data, read_settings, read_odd_place, read_words)


def fuzz(seed, inputs, folder):
    """Try inputs; return how many were read and refused, by kind, and the failures."""
    counts, failures = Counter(), []
    for number in range(inputs):
        rng = random.Random(f"{seed} {number}")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            what, attempt = rng.choice(MAKERS)(rng, Path(place))
            begun = time.process_time()
            try:
                attempt()
                counts["read"] += 1
            except GridV4Error as refusal:
                counts["refused"] += 1
                if "\n" in str(refusal) or not str(refusal):
                    failures.append((number, what, f"no line: {refusal!r}"))
            except Exception:
                failures.append((number, what, traceback.format_exc()))
            if time.process_time() - begun > LONGEST:
                failures.append((number, what, f"took {time.process_time() - begun:.1f} s"))
    return counts, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config.PIPE_WAIT = 0.05
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = fuzz(options.seed, options.inputs, folder)
    for number, what, text in failures:
        print(f"input {number} of seed {options.seed}, {what}: {text}")
    print(
        f"{options.inputs:,} inputs: {counts['read']:,} read, {counts['refused']:,} refused, {len(failures):,} failed, "
        f"{time.perf_counter() - begun:.0f} s"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
