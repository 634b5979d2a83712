"""`run_live.py --paper --symbol` with a network, which is a fake exchange on 127.0.0.1, and without one."""

import csv
import functools
import time
from collections import Counter

import numpy as np
import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from fake_exchange import QUARTER, FakeExchange, connector, settled, truth
from typer.testing import CliRunner

from feeds.history import load_history
from gridv4_bt.cli import download
from gridv4_bt.cli import live as command
from gridv4_bt.cli.common import run_app
from gridv4_bt.errors import ConfigError

DAY = 96 * QUARTER
JANUARY = 1_704_067_200_000
BARS = 16 * 96


@pytest.fixture
def public(monkeypatch):
    """``public(first)`` makes an exchange whose candles begin at a time, and wires the downloads to it."""

    def make(first, bars=BARS):
        mark = truth(first, bars)[:, :5]
        fake = FakeExchange(truth(first, bars), settled(first, bars // 32 + 2), mark, first + bars * QUARTER + 60_000)
        wired = functools.partial(load_history, connect=lambda exchange: connector(fake.base)(exchange))
        monkeypatch.setattr(download, "load_history", wired)
        return fake

    return make


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """``paper("--symbol", ...)`` trades an eighth of a day for a day."""
    monkeypatch.setattr(command, "BARS_A_DAY", 12)

    def call(*words):
        options = ["--cache-dir", tmp_path / "cache", "--state-dir", tmp_path / "state", "--config", BUSY_FILE]
        return CliRunner().invoke(command.app, list(map(str, ["--paper", "--days", 1, "--quiet", *options, *words])))

    return call


def bars(folder) -> Counter:
    with (folder / "equity.csv").open() as file:
        return Counter(row.get("symbol") for row in csv.DictReader(file))


def test_public_candles_of_two_symbols_are_traded_in_one_wallet(public, paper, tmp_path):
    fake = public(JANUARY)
    with fake.serving() as fake.base:
        result = paper("--symbol", "BTC/USDT:USDT", "--symbol", "ETHUSDT", "--from", "2024-01-02")
        assert result.exit_code == 0, result.output
    assert set(bars(tmp_path / "state")) == {"BTCUSDT", "ETHUSDT"}
    assert min(bars(tmp_path / "state").values()) >= 12
    asked = len(fake.requests)
    assert fake.asked("klines") and fake.asked("fundingRate") and fake.asked("exchangeInfo")
    fake.base = None  # all of it is in the cache now
    assert paper("--symbol", "BTC/USDT:USDT", "--symbol", "ETHUSDT", "--from", "2024-01-02").exit_code == 0
    assert len(fake.requests) == asked


def test_trading_begins_at_the_first_day(public, paper, tmp_path):
    fake = public(JANUARY)
    with fake.serving() as fake.base:
        result = paper("--symbol", "BTC/USDT:USDT", "--from", "2024-01-15")  # 14 days before it: 1,344 bars
        assert result.exit_code == 0, result.output
    with (tmp_path / "state" / "equity.csv").open() as file:
        times = [row["time"] for row in csv.DictReader(file)]
    assert times[0] == "2024-01-15T00:00:00Z" and len(times) == 12


def test_without_a_first_day_the_latest_candles_are_taken(public, paper, tmp_path):
    today = int(time.time() * 1000) // DAY * DAY
    fake = public(today - 20 * DAY, 21 * 96)
    fake.now = int(time.time() * 1000)
    with fake.serving() as fake.base:
        result = paper("--symbol", "BTC/USDT:USDT")
    assert result.exit_code == 0, result.output
    [candles] = (tmp_path / "state").glob("candles-*.csv")
    newest = candles.read_text().splitlines()[-1].split(",")[0]
    assert time.strftime("%Y-%m-%d", time.gmtime((today - 2 * DAY) / 1000)) <= newest[:10]


def test_without_a_network_it_ends_soon_with_the_cure(public, paper, monkeypatch, capsys, tmp_path):
    public(JANUARY).base = None
    words = ["--symbol", "BTC/USDT:USDT", "--cache-dir", str(tmp_path / "c"), "--state-dir", str(tmp_path / "s")]
    monkeypatch.setattr("sys.argv", ["run_live.py", "--paper", *words])
    with pytest.raises(SystemExit) as end:
        run_app(command.app)
    errors = capsys.readouterr().err
    assert end.value.code == 1
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert "cannot be reached" in errors and "check the network" in errors


def test_a_market_that_is_another_one_is_not_gone_on_with(public, paper, tmp_path):
    fake = public(JANUARY)
    with fake.serving() as fake.base:
        assert paper("--symbol", "BTC/USDT:USDT", "--from", "2024-01-02", "--once").exit_code == 0
        result = paper("--symbol", "ETH/USDT:USDT", "--from", "2024-01-02", "--once")
    assert "belongs to other candles" in str(result.exception) and "--state-dir" in str(result.exception)


def write_candles(path, bars=BARS):
    rows = truth(JANUARY, bars)
    np.savetxt(path, rows, fmt=["%d", *["%.10g"] * 5], delimiter=",")
    return path


def test_candles_of_a_file_are_traded_from_a_day_to_a_day(paper, tmp_path):
    path = write_candles(tmp_path / "BTCUSDT-15m.csv")  # without names, as Binance's archive was
    result = paper("--data", path, "--from", "2024-01-15", "--to", "2024-01-15T02:45")
    assert result.exit_code == 0, result.output
    with (tmp_path / "state" / "equity.csv").open() as file:
        times = [row["time"] for row in csv.DictReader(file)]
    assert (times[0], times[-1]) == ("2024-01-15T00:00:00Z", "2024-01-15T02:45:00Z")


def test_files_are_for_paper_alone(tmp_path):
    result = CliRunner().invoke(command.app, ["--symbol", "BTCUSDT", "--data", "x.csv"])
    assert "--data and its companions are the market of --paper" in str(result.exception)


@pytest.mark.parametrize("content", ["# cl\xe9\nOTHER=1\n".encode("latin-1"), "A=b\n".encode("utf-16")])
def test_paper_needs_no_key_and_goes_on_with_an_env_file_in_another_encoding(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "BARS_A_DAY", 4)
    (tmp_path / ".env").write_bytes(content)
    result = CliRunner().invoke(command.app, ["--paper", "--days", "1", "--once"])
    assert result.exit_code == 0, result.output
    assert ".env: is not in UTF-8" in result.output and "save it as UTF-8" in result.output
    result = CliRunner().invoke(command.app, ["--symbol", "BTCUSDT", "--check"])
    assert isinstance(result.exception, ConfigError) and ".env: is not in UTF-8" in str(result.exception)
