"""Downloads by the real ccxt clients from an exchange on 127.0.0.1 that misbehaves on order."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from fake_exchange import HOUR, MINUTE, QUARTER, FakeExchange, connector, settled, truth

from feeds import history
from feeds.history import load_history
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.engine.market import load_market
from gridv4_bt.errors import DataError, MarketError

ROOT = Path(__file__).resolve().parents[2]
FIRST = 1_703_030_400_000  # 2023-12-20, the listing
BARS = 20 * 96  # to 2024-01-08, inclusive
START, END = date(2023, 12, 20), date(2024, 1, 7)
TO_END = 19 * 96  # bars until END
S = "BTC/USDT:USDT"


def fake_market(bars=BARS, step=QUARTER, pause=8 * HOUR, late=7 * MINUTE):
    """An exchange that was listed at FIRST, `late` after the close of its last closed bar; the next bar is open."""
    now = FIRST + bars * step + late
    mark = truth(FIRST, bars + 1, step, seed=1)[:, :5] * [1, *[1.001] * 4]
    mark[:, 1:] = np.round(mark[:, 1:], 2)
    return FakeExchange(truth(FIRST, bars + 1, step), settled(FIRST, bars * step // pause + 1, pause), mark, now)


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def market():
    return fake_market()


def load(base, folder, *, start=START, end=END, sleep=lambda seconds: None, symbol=S, **options):
    return load_history(symbol, start, end, cache_dir=folder, connect=connector(base, sleep), **options)


def assert_true(found, market, bars=TO_END, first=0, step=QUARTER):
    """All three series are what the exchange serves, to the last bit."""
    candles = market.candles[first:bars]
    np.testing.assert_array_equal(found.candles.to_numpy(), candles)
    np.testing.assert_array_equal(found.mark.to_numpy(), market.mark[first:bars])
    time = market.funding[:, 0]
    inside = (time >= candles[0, 0]) & (time <= candles[-1, 0] + 1000)
    np.testing.assert_array_equal(found.funding.to_numpy(), market.funding[inside])


def parquet_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a download without any fault, from the exchange and from its archive."""
    files = {}
    for archived in (frozenset(), frozenset({"2023-12"})):
        folder, market = tmp_path_factory.mktemp("undisturbed"), fake_market()
        market.archived = set(archived)
        with market.serving() as base:
            assert_true(load(base, folder), market)
        files[bool(archived)] = parquet_files(folder)
    assert files[True] == files[False] and len(files[True]) == 6
    return files[True]


# --- what comes out -------------------------------------------------------------------------------------------------


def test_what_is_downloaded_once_is_read_without_a_request(market, tmp_path):
    with market.serving() as base:
        assert_true(load(base, tmp_path), market)
        asked = len(market.requests)
        assert_true(load(base, tmp_path), market)
        assert len(market.requests) == asked
    assert_true(load(None, tmp_path, symbol="BTCUSDT"), market)


def test_it_can_be_handed_to_a_backtest(market, tmp_path):
    with market.serving() as base:
        found = load(base, tmp_path)
    [feed] = make_feeds([SymbolData(found.symbol, found.candles, found.funding, found.mark)])
    assert feed.has_funding and feed.mark_is_fine and feed.warnings == [] and len(feed.candles) == TO_END


@pytest.mark.parametrize("header", [True, False])
def test_months_that_are_over_come_from_the_archive(market, tmp_path, header):
    market.archived, market.header = {"2023-12"}, header
    with market.serving() as base:
        assert_true(load(base, tmp_path), market)
    january = 1_704_067_200_000
    starts = [int(a.split("startTime=")[1].split("&")[0]) for a in market.requests if "/fapi/v1/klines" in a]
    assert min(start for start in starts if start >= FIRST) == january
    assert not any("limit=1000&" in address for address in market.requests if f"startTime={FIRST}" in address)
    manifest = json.loads((tmp_path / "binanceusdm/BTCUSDT/candles-15m/manifest.json").read_text())
    assert [manifest["months"][month]["source"] for month in ("2023-12", "2024-01")] == ["archive", "rest"]


def test_a_part_of_the_span_and_times_of_day(market, tmp_path):
    with market.serving() as base:
        part = load(base, tmp_path, start=datetime(2024, 1, 3, 6), end=datetime(2024, 1, 3, 7))
    first = 14 * 96 + 24
    np.testing.assert_array_equal(part.candles.to_numpy(), market.candles[first : first + 5])
    assert len(part.mark) == 5 and part.funding is None


def test_finer_candles(tmp_path):
    market = fake_market(bars=3 * 288, step=5 * MINUTE)
    with market.serving() as base:
        assert_true(load(base, tmp_path, end=date(2023, 12, 21), interval="5m"), market, bars=2 * 288)


@pytest.mark.parametrize(("late", "bars"), [(6_000, BARS), (4_000, BARS - 1)])
def test_only_bars_that_the_exchange_calls_closed(tmp_path, late, bars):
    # 4 s after its close a bar may still change at the replica that is asked.
    market = fake_market(late=late)
    with market.serving() as base:
        assert len(load(base, tmp_path, end=None).candles) == bars


def test_only_what_is_missing_is_asked_for_in_the_current_month(market, tmp_path):
    with market.serving() as base:
        market.now -= 2 * HOUR
        load(base, tmp_path, end=None)
        market.now += 2 * HOUR
        market.requests.clear()
        assert_true(load(base, tmp_path, end=None), market, bars=BARS)
    [klines] = [address for address in market.requests if "/fapi/v1/klines" in address]
    assert f"startTime={FIRST + (BARS - 8) * QUARTER}&" in klines and "limit=8&" in klines
    assert len(parquet_files(tmp_path)) == 6


def test_no_request_as_long_as_there_can_be_no_newer_bar(market, tmp_path, monkeypatch):
    with market.serving() as base:
        load(base, tmp_path, end=None)
    monkeypatch.setattr(history.time, "time_ns", lambda: (market.now + 5 * MINUTE) * 1_000_000)
    assert_true(load(None, tmp_path, end=None), market, bars=BARS)


# --- faults ---------------------------------------------------------------------------------------------------------


def rows_of(change):
    return lambda body: json.dumps(change(json.loads(body))).encode()


def repeated(rows):
    """The page overlaps the one before, and itself."""
    earlier = [[rows[0][0] - QUARTER * n, *rows[0][1:]] for n in (2, 1)]
    return earlier + rows[:5] + rows


def contradicting(rows):
    return [*rows, [rows[3][0], "1", "1", "1", "1", *rows[3][5:]]]


def impossible(rows):
    return [[row[0], row[1], row[3], row[2], *row[4:]] for row in rows]


FAULTS = {
    "429": ("/fapi/v1/klines", 429, {"Retry_After": "7"}, 7.0),
    "418": ("/fapi/v1/fundingRate", 418, {"Retry_After": "120"}, 120.0),
    "500": ("/fapi/v1/markPriceKlines", 500, {}, None),
    "503": ("/fapi/v1/klines", 503, {}, None),
    "dropped in the middle": ("/fapi/v1/klines", None, {}, None),
    "not JSON": ("/fapi/v1/klines", lambda body: b"<html>maintenance</html>", {}, None),
    "not rows": ("/fapi/v1/klines", lambda body: b'[[1],["a"]]', {}, None),
    "empty page": ("/fapi/v1/klines", lambda body: b"[]", {}, None),
    "empty page of funding": ("/fapi/v1/fundingRate", lambda body: b"[]", {}, None),
    "half a page": ("/fapi/v1/klines", rows_of(lambda rows: rows[:500]), {}, None),
    "second half of a page": ("/fapi/v1/klines", rows_of(lambda rows: rows[500:]), {}, None),
    "overlapping page": ("/fapi/v1/klines", rows_of(repeated), {}, None),
    "contradiction": ("/fapi/v1/klines", rows_of(contradicting), {}, None),
    "impossible bars": ("/fapi/v1/klines", rows_of(impossible), {}, None),
    "exchange info fails": ("/fapi/v1/exchangeInfo", 502, {}, None),
    "time fails": ("/fapi/v1/time", None, {}, None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_change_nothing(name, market, tmp_path, undisturbed):
    path, action, headers, waited = FAULTS[name]
    slept = []
    skip = 0 if "fails" in name else 1
    market.fault(path, action, skip=skip, times={"503": 2, "not JSON": 4}.get(name, 1), **headers)
    with market.serving() as base:
        assert_true(load(base, tmp_path, sleep=slept.append), market)
    assert parquet_files(tmp_path) == undisturbed
    assert waited is None or waited in slept


@pytest.mark.parametrize(
    ("path", "action", "times", "warned"),
    [
        ("2023-12.zip.CHECKSUM", lambda body: b"0" * 64 + b"  x.zip\n", 1, 0),
        ("2023-12.zip.CHECKSUM", lambda body: b"0" * 64 + b"  x.zip\n", 99, 3),
        ("15m-2023-12.zip", 404, 99, 0),
        ("2023-12.zip", 503, 2, 0),
        ("2023-12.zip", None, 1, 0),
        ("data.binance.vision", 403, 99, 0),
        ("/data/futures", 503, 99, 0),
    ],
)
def test_the_exchange_is_asked_for_what_the_archive_does_not_give(
    path, action, times, warned, market, tmp_path, undisturbed
):
    market.archived = {"2023-12"}
    market.fault(path, action, times=times)
    with market.serving() as base:
        found = load(base, tmp_path)
    assert_true(found, market)
    assert parquet_files(tmp_path) == undisturbed
    assert len(found.warnings) == warned
    assert all("does not have the checksum beside it" in warning for warning in found.warnings)


def test_what_an_archive_file_lacks_comes_from_the_exchange(market, tmp_path, undisturbed):
    market.archived = {"2023-12"}
    whole = market.candles
    with market.serving() as base:
        market.candles = np.delete(whole, slice(200, 300), axis=0)
        market._archive_file("/data/futures/um/monthly/klines/BTCUSDT/15m/BTCUSDT-15m-2023-12.zip")
        market.candles = whole
        assert_true(load(base, tmp_path), market)
    assert parquet_files(tmp_path) == undisturbed


def test_a_hole_of_the_exchange_is_asked_for_twice_and_remembered(market, tmp_path):
    whole = market.candles
    market.candles = np.delete(whole, slice(1500, 1510), axis=0)
    market.now -= 2 * HOUR
    with market.serving() as base:
        assert len(load(base, tmp_path).candles) == TO_END - 10
        span = f"startTime={int(whole[1500, 0])}&"
        assert market.asked(span) == 2
        with pytest.raises(DataError, match="10 bars missing"):
            make_feeds([SymbolData("BTCUSDT", load(base, tmp_path).candles)])
        market.now += 2 * HOUR
        load(base, tmp_path, end=None)  # what is new in this month
        market.candles = whole  # the exchange finds its bars
        assert len(load(base, tmp_path).candles) == TO_END - 10
        assert market.asked(span) == 2
        assert_true(load(base, tmp_path, refill=True), market)
        assert_true(load(base, tmp_path), market)


def test_bars_that_are_late_are_asked_for_again(market, tmp_path):
    whole = market.candles
    market.candles = whole[: BARS - 3]
    with market.serving() as base:
        assert len(load(base, tmp_path, end=None).candles) == BARS - 3
        market.candles = whole
        assert_true(load(base, tmp_path, end=None), market, bars=BARS)


def test_the_first_row_is_not_believed_when_there_are_rows_before_it(market, tmp_path):
    last = market.funding[-1]
    newest = [{"symbol": "BTCUSDT", "fundingTime": int(last[0]), "fundingRate": str(last[1])}]
    market.fault("/fapi/v1/fundingRate", lambda body: json.dumps(newest).encode())
    with market.serving() as base:
        assert_true(load(base, tmp_path), market)


def test_a_settlement_that_is_published_late_is_not_missed(tmp_path):
    market = fake_market(bars=5 * 96, pause=4 * HOUR, late=MINUTE)  # midnight's settlement is not out a minute later
    whole = market.funding
    market.funding = whole[:30]
    with market.serving() as base:
        assert len(load(base, tmp_path, end=None).funding) == 30
        market.funding = whole
        market.candles = truth(FIRST, 5 * 96 + 4)
        market.now += 30 * MINUTE
        np.testing.assert_array_equal(load(base, tmp_path, end=None).funding.to_numpy(), whole)


def test_weight_is_kept_below_the_limit(market, tmp_path):
    slept = []
    market.weight = 2_000
    with market.serving() as base:
        load(base, tmp_path, sleep=slept.append)
    assert len(slept) >= 10 and all(0 < seconds <= 60 for seconds in slept)


# --- interruptions --------------------------------------------------------------------------------------------------

# Imports once, then forks a process for every download; a fork of the tests themselves would copy the server's threads.
DOWNLOADS = """
import os, sys, traceback
from datetime import date
from pathlib import Path
import feeds.archive, feeds.exchange
from fake_exchange import connector
from feeds.history import load_history
for line in sys.stdin:
    order, *words = line.split()
    if order == "wait":
        print(os.waitpid(int(words[0]), 0)[1], flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    try:
        connect = connector(words[0])
        load_history("BTCUSDT", date(2023, 12, 20), date(2024, 1, 7), cache_dir=Path(words[1]), connect=connect)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def downloads():
    """downloads("start", address, folder) -> process id; downloads("wait", process id) -> status."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOADS],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=ROOT,
        text=True,
        bufsize=1,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def order(*words):
        print(*words, file=process.stdin, flush=True)
        return int(process.stdout.readline())

    with process:
        yield order
        process.stdin.close()


@pytest.mark.parametrize("seed", range(2))
def test_killed_anywhere_and_resumed(seed, downloads, market, tmp_path, undisturbed):
    """Twice while it waits for an answer, which cannot come too late; then at moments after an answer."""
    market.archived = {"2023-12"}
    moments = random.Random(seed)
    asked, answer = threading.Event(), threading.Event()

    def hold(body):
        asked.set()
        answer.wait(30.0)
        return body

    killed = 0
    with market.serving() as base:
        for number in range(8):
            asked.clear(), answer.clear()
            market.fault("/", hold, skip=moments.randint(0, 2 if number < 2 else 7))
            process = downloads("start", base, tmp_path)
            asked.wait(30.0 if number < 2 else 0.5)  # one that has nothing left to do asks no more
            if number >= 2:
                answer.set()
                time.sleep(moments.random() * 0.05)
            os.kill(process, signal.SIGKILL)
            killed += downloads("wait", process) == signal.SIGKILL
            answer.set()
            market.heal()
        assert_true(load(base, tmp_path), market)
    assert killed >= 2
    assert parquet_files(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("*.damaged-*"))


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize("call", ["replace", "fsync", "unlink"])
@pytest.mark.parametrize("carried_out", [False, True])
def test_killed_at_every_write(call, carried_out, tmp_path, monkeypatch, undisturbed):
    """The process ends at the first, the second, ... of such calls, before or after it is carried out."""
    market = fake_market()
    owner, real = (Path, Path.unlink) if call == "unlink" else (os, getattr(os, call))
    calls, limit = 0, 0

    def count(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == limit:
            if carried_out:
                real(*arguments, **options)
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(owner, call, count)
    with market.serving() as base:
        market.now -= 2 * HOUR
        load(base, tmp_path, end=None)
        market.now += 2 * HOUR
        while True:
            calls, limit = 0, limit + 1
            try:
                found = load(base, tmp_path, end=None)
            except Killed:
                continue
            break
        assert_true(found, market, bars=BARS)
    assert calls < limit
    left = {path.name for path in tmp_path.rglob("*.parquet")}
    named = {
        month["file"]
        for manifest in tmp_path.rglob("manifest.json")
        for month in json.loads(manifest.read_text())["months"].values()
    }
    assert named <= left and not list(tmp_path.rglob("*.damaged-*"))


def test_two_processes_at_once_load_everything_once(downloads, market, tmp_path, undisturbed):
    with market.serving() as base:
        processes = [downloads("start", base, tmp_path) for _ in range(2)]
        assert [downloads("wait", process) for process in processes] == [0, 0]
        asked = [address for address in market.requests if "lines" in address or "fundingRate" in address]
    assert parquet_files(tmp_path) == undisturbed
    assert len(set(asked)) == len(asked)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbol": "BTX/USDT:USDT"}, "binanceusdm has no linear perpetual BTX/USDT:USDT. Try BTC/USDT:USDT"),
        ({"start": date(2024, 1, 5), "end": date(2024, 1, 4)}, "--from 2024-01-05T00:00:00Z is not before --to"),
        ({"start": date(2023, 12, 19)}, "--from 2023-12-19 is before its first bar .* Use --from 2023-12-20 or later"),
        ({"start": date(2024, 2, 19), "end": None}, "no closed bar from 2024-02-19T00:00:00Z on yet"),
        ({"interval": "4h"}, "interval 4h does not divide 15m"),
        ({"exchange": "kraken"}, "exchange kraken is unknown: use one of binanceusdm, bybit, okx"),
    ],
)
def test_what_cannot_be_had_is_said(options, words, market, tmp_path):
    with market.serving() as base, pytest.raises(DataError, match=words):
        load(base, tmp_path, **options)


def test_what_is_no_perpetual_is_said(market, tmp_path):
    with market.serving() as base, pytest.raises(MarketError, match="not a linear perpetual"):
        load(base, tmp_path, symbol="BTC/USD:BTC")


def test_the_listing_is_known_offline_too(market, tmp_path):
    with market.serving() as base:
        load(base, tmp_path)
    with pytest.raises(DataError, match="is before its first bar"):
        load(None, tmp_path, start=date(2023, 1, 1))


def test_without_a_network_and_a_cache(tmp_path):
    with pytest.raises(OSError, match="cannot be reached .*; the cache has nothing of it") as failure:
        load(None, tmp_path)
    assert failure.value.filename == "binanceusdm"
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_cache_is_used_as_far_as_it_goes(market, tmp_path):
    with market.serving() as base:
        load(base, tmp_path, end=date(2023, 12, 30))
    found = load(None, tmp_path, end=None)
    assert len(found.candles) == 12 * 96 and len(found.warnings) == 1
    assert "no network, so the candles-15m end at 2024-01-01T00:00:00Z" in found.warnings[0]
    with pytest.raises(OSError, match="the cache has only 2023-12-20T00:00:00Z to 2024-01-01T00:00:00Z"):
        load(None, tmp_path, end=date(2024, 1, 3))


def test_bars_before_the_first_day_come_as_warm_up(market, tmp_path):
    with market.serving() as base:
        found = load(base, tmp_path, start=date(2024, 1, 3), warm_up=100)
        assert_true(found, market, first=14 * 96 - 100)
        # Not more than there are: 14 days lie between the listing and the first day.
        assert_true(load(base, tmp_path, start=date(2024, 1, 3), warm_up=10_000), market)
        assert load(base, tmp_path, start=START, warm_up=10_000).warnings == []
        with pytest.raises(DataError, match="is before its first bar"):
            load(base, tmp_path, start=date(2023, 12, 1), warm_up=10_000)
    # Once downloaded it needs no request.
    assert_true(load(None, tmp_path, start=date(2024, 1, 3), warm_up=10_000), market)


@pytest.mark.parametrize("end", [END, None])
def test_without_a_network_the_warm_up_is_what_the_cache_holds(market, tmp_path, end):
    with market.serving() as base:
        load(base, tmp_path, start=date(2024, 1, 1))  # the cache holds January alone
    january = 12 * 96
    found = load(None, tmp_path, start=date(2024, 1, 3), end=end, warm_up=500)
    assert_true(found, market, bars=TO_END if end else BARS, first=january)
    assert "BTCUSDT: no network, so the warm-up begins at 2024-01-01T00:00:00Z, where the cache does" in found.warnings
    assert_true(load(None, tmp_path, start=date(2024, 1, 3), end=END, warm_up=96), market, first=january + 96)


def test_a_long_ban_is_not_sat_through(market, tmp_path):
    slept = []
    market.fault("/fapi/v1/klines", 418, skip=2, Retry_After="7200")
    with market.serving() as base:
        with pytest.raises(OSError, match="bans this address for a while: wait 120 minutes"):
            load(base, tmp_path, sleep=slept.append)
        assert slept == []
        assert_true(load(base, tmp_path), market)


def test_a_country_that_is_not_served(market, tmp_path):
    market.fault("/fapi/", 451, times=99)
    with market.serving() as base, pytest.raises(OSError, match="does not serve this country"):
        load(base, tmp_path)


# --- other exchanges, and the rules of a market -----------------------------------------------------------------------


@pytest.mark.parametrize("exchange", ["bybit", "okx"])
@pytest.mark.parametrize("page_limit", [1500, 77])
def test_other_exchanges_page_otherwise(exchange, page_limit, tmp_path):
    market = fake_market(bars=14 * 96)
    market.page_limit = page_limit  # fewer rows than asked for, the newest ones
    with market.serving() as base:
        found = load(base, tmp_path, end=date(2024, 1, 1), exchange=exchange)
    assert_true(found, market, bars=13 * 96)
    assert_true(load(None, tmp_path, end=date(2024, 1, 1), exchange=exchange), market, bars=13 * 96)
    rules = load_market("BTCUSDT", found.rules)
    least = 5 if exchange == "bybit" else 0
    step = 0.001 if exchange == "bybit" else 0.0001  # OKX: 0.01 contracts of 0.01 BTC
    assert (rules.tick, rules.step, rules.min_qty, rules.min_notional) == (0.1, step, step, least)


@pytest.mark.parametrize("exchange", ["bybit", "okx"])
def test_faults_of_other_exchanges_change_nothing(exchange, tmp_path):
    market = fake_market(bars=5 * 96)
    slept = []
    market.fault("candles", 429, skip=1, Retry_After="3")
    market.fault("/v5/market/kline", None)
    market.fault("mark-price", 503)
    market.fault("funding", lambda body: b"")
    with market.serving() as base:
        assert_true(load(base, tmp_path, end=date(2023, 12, 22), exchange=exchange, sleep=slept.append), market, 3 * 96)
    assert slept


def test_filters_come_from_the_exchange_and_brackets_from_the_package(market, tmp_path):
    with market.serving() as base:
        found = load(base, tmp_path)
        load(base, tmp_path, symbol="DOGEUSDT")
    rules, packaged = load_market("BTCUSDT", found.rules), load_market("BTCUSDT")
    assert (rules.tick, rules.step, rules.min_qty, rules.min_notional) == (0.1, 0.001, 0.001, 50)
    assert rules.brackets == packaged.brackets and "binanceusdm" in rules.as_of
    assert load_market("DOGEUSDT", found.rules).brackets == load_market("DOGEUSDT").brackets


def test_with_a_key_the_exchange_tells_its_brackets(market, tmp_path):
    with market.serving() as base:
        keyed = connector(base, apiKey="k", secret="s")
        found = load_history(S, START, END, cache_dir=tmp_path, connect=keyed)
    rules = load_market(S, found.rules)
    assert [(row.cap, row.rate, row.amount) for row in rules.brackets] == [(1000, 0.004, 0), (9000, 0.01, 6)]
    assert rules.max_leverages == (125, 50)
