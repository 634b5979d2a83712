"""`gridv4 data` as a user meets it."""

import functools
import json
import sys

import numpy as np
import pytest
import typer
from fake_exchange import QUARTER, FakeExchange, settled, truth, wired_session

import feeds.exchange
from gridv4_bt.cli import data, download
from gridv4_bt.cli.common import run_app

JANUARY = 1_704_067_200_000
BARS = 4 * 96
SPAN = ("--from", "2024-01-01", "--to", "2024-01-03")


@pytest.fixture
def market(monkeypatch):
    """A fake exchange that all commands talk to; `market.base` None pulls the plug."""
    mark = truth(JANUARY, BARS + 1)[:, :5]
    fake = FakeExchange(truth(JANUARY, BARS + 1), settled(JANUARY, 13), mark, JANUARY + BARS * QUARTER + 60_000)
    make_client = feeds.exchange.make_client

    def wired(exchange):
        client = make_client(exchange, wired_session(fake.base))
        client.enableRateLimit = False
        return client

    monkeypatch.setattr(feeds.exchange, "make_client", wired)
    exchange = functools.partial(feeds.exchange.MarketDataClient, sleep=lambda seconds: None)
    monkeypatch.setattr(feeds.exchange, "MarketDataClient", exchange)
    with fake.serving() as fake.base:
        yield fake


@pytest.fixture
def gridv4(monkeypatch, capsys, tmp_path):
    """gridv4("download", ...) -> exit code, stdout, stderr."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.add_typer(data.app, name="data")
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> tuple[int, str, str]:
        words = ["gridv4", "data", *map(str, arguments), "--cache-dir", str(tmp_path / "cache")]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            run_app(app)
        written = capsys.readouterr()
        return end.value.code, " ".join(written.out.split()), written.err

    return call


def test_download_list_and_check(market, gridv4):
    code, out, err = gridv4("download", "--symbol", "BTC/USDT:USDT", *SPAN)
    assert (code, err) == (0, "")
    assert "BTCUSDT: 288 bars, 2024-01-01 00:00 to 2024-01-03 23:45 UTC" in out
    assert "gaps │ ok" in out and "no funding for more than 8 hours │ ok" in out
    market.base = None  # all of this works without a network
    assert gridv4("download", "--symbol", "BTCUSDT", *SPAN) == (0, out, "")
    code, out, _ = gridv4("list")
    assert code == 0 and "binanceusdm │ BTCUSDT │ candles-15m │ 2024-01 │ 2024-01-05 00:00 │ 384 │ 0" in out
    code, out, err = gridv4("check")
    assert (code, err) == (0, "") and "BTCUSDT: 384 bars" in out and "all files of 1 symbols are whole" in out
    code, out, err = gridv4("check", "--json")
    found = json.loads(out)
    [symbol] = found["symbols"]
    assert (code, err, found["damaged"]) == (0, "", [])
    assert (set(symbol), symbol["bars"]) == ({"symbol", "span", "bars", "checks"}, 384)
    assert {"gaps", "duplicates"} & {check["name"] for check in symbol["checks"]}


def test_check_tells_damage(market, gridv4, tmp_path):
    gridv4("download", "--symbol", "BTCUSDT", *SPAN)
    [path] = tmp_path.glob("cache/*/*/candles-15m/*.parquet")
    path.write_bytes(b"PAR1")
    code, _, err = gridv4("check", "--symbol", "BTCUSDT", "--quiet")
    assert code == 1
    [line] = err.splitlines()
    assert str(path) in line and "the checksum is wrong" in line and "gridv4 data download" in line
    assert path.exists()
    assert gridv4("download", "--symbol", "BTCUSDT", *SPAN)[0] == 0
    assert gridv4("check", "--quiet") == (0, "", "")


def test_gaps_are_refused_or_taken_flat(market, gridv4):
    market.candles = np.delete(market.candles, [50, 51], axis=0)
    code, out, err = gridv4("download", "--symbol", "BTCUSDT", *SPAN)
    assert code == 2 and "gaps │ 1 │ 2024-01-01 13:00 │ 2 bars missing" in out
    assert "2 bars missing" in err and "--gaps flat" in err and len(err.splitlines()) == 1
    assert gridv4("download", "--symbol", "BTCUSDT", *SPAN, "--gaps", "flat", "--quiet") == (0, "", "")


def test_interruption_keeps_what_is_loaded(market, gridv4, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "load_history", interrupted)
    code, out, err = gridv4("download", "--symbol", "BTCUSDT", *SPAN)
    assert (code, out) == (130, "")
    assert err == "error: interrupted; the months loaded so far are kept: run again to go on\n"


BAD_CALLS = [
    (("download",), 2, "--symbol is missing"),
    (("download", "--symbol", "BTX/USDT:USDT"), 2, "binanceusdm has no linear perpetual BTX/USDT:USDT"),
    (("download", "--symbol", "BTC/USD:BTC"), 2, "not a linear perpetual"),
    (("download", "--symbol", "BTCUSDT", "--from", "yesterday"), 2, "--from yesterday"),
    (("download", "--symbol", "BTCUSDT", "--from", "2024-01-03", "--to", "2024-01-02"), 2, "is not before --to"),
    (("download", "--symbol", "BTCUSDT", "--from", "2020-01-01"), 2, "before its first bar"),
    (("download", "--symbol", "BTCUSDT", "--exchange", "kraken"), 2, "binanceusdm, bybit, okx"),
    (("download", "--symbol", "BTCUSDT", "--interval", "1h"), 2, "does not divide 15m"),
    (("download", "--symbol", "BTCUSDT", "--gaps", "maybe"), 2, "--gaps maybe"),
    (("check", "--symbol", "BTCUSDT"), 2, "run gridv4 data download first"),
]


@pytest.mark.parametrize(("arguments", "expected", "words"), BAD_CALLS, ids=lambda value: str(value)[-50:])
def test_bad_input_ends_with_one_line_on_stderr(arguments, expected, words, market, gridv4):
    code, _, err = gridv4(*arguments)
    assert code == expected
    [line] = err.splitlines()
    assert line.startswith("error: ") and words in line


def test_without_a_network_the_system_has_failed(market, gridv4):
    market.base = None
    code, _, err = gridv4("download", "--symbol", "BTCUSDT", *SPAN)
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith("error: binanceusdm: cannot be reached") and "check the network" in line
    assert gridv4("list")[1].startswith("nothing in")


def test_a_cache_that_cannot_be_written(market, gridv4, tmp_path):
    (tmp_path / "cache").write_text("a file")
    code, _, err = gridv4("download", "--symbol", "BTCUSDT", *SPAN)
    assert code == 1
    [line] = err.splitlines()
    assert "the cache cannot be written" in line and "--cache-dir" in line


def test_help_names_the_exchanges(market, gridv4, capsys):
    code, out, _ = gridv4("download", "--help")
    assert code == 0 and "binanceusdm, bybit or okx" in out
