"""`gridv4 exchange` as a process."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import ccxt
import pytest

from feeds.synthetic import sample_market
from gridv4_bt.exchange.client import ServerClock, sync_client

ROOT = Path(__file__).resolve().parents[2]
S = "BTC/USDT:USDT"


@pytest.fixture
def start(tmp_path):
    """Start the command; gives the process and the address."""
    sample_market(days=3).candles.to_csv(tmp_path / "BTCUSDT-15m.csv", index=False)
    running = []

    def run(*arguments):
        command = [sys.executable, "-m", "gridv4_bt", "exchange", "--port", "0", "--data", tmp_path / "BTCUSDT-15m.csv"]
        process = subprocess.Popen(
            [*map(str, command), *map(str, arguments)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        line = process.stdout.readline()
        return process, re.search(r"http://127\.0\.0\.1:\d+", line)[0]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def connect(address):
    clock = ServerClock(address)
    client = sync_client(address, clock.now)
    client.load_markets()
    return clock, client


def test_killed_amid_its_work_it_loses_nothing_it_has_answered_and_ends_cleanly(start, tmp_path):
    process, address = start("--database", tmp_path / "a.db", "--cash", 5000)
    clock, client = connect(address)
    client.set_position_mode(True)
    price = client.fetch_ticker(S)["last"]
    client.create_order(S, "market", "buy", 0.01, None, {"positionSide": "LONG"})
    clock.next_bar()
    state = clock.state()
    answered = set()

    def trade_until_killed():
        for number in range(1_000):
            if number == 20:
                threading.Timer(0.05, process.kill).start()
            params = {"positionSide": "LONG", "newClientOrderId": f"n{number}"}
            answered.add(client.create_order(S, "limit", "buy", 0.002, price * 0.9, params)["clientOrderId"])
            if number % 2:
                client.cancel_order(None, S, {"clientOrderId": f"n{number - 1}"})

    with pytest.raises((ccxt.NetworkError, OSError)):  # of the client, or of its clock
        trade_until_killed()
    client.session.close()
    clock.close()

    process, address = start("--database", tmp_path / "a.db")
    clock, client = connect(address)
    assert clock.state() == state
    found = {order["clientOrderId"]: order["status"] for order in client.fetch_orders(S)}
    assert len(set(found) - answered) <= 2  # the market order, and one whose answer was lost
    assert answered <= set(found)
    assert [trade["amount"] for trade in client.fetch_my_trades(S)] == [0.01]
    client.session.close()
    clock.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.endswith("stopped\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--speed", "-1"], "--speed -1.0"),
        (["--participation", "2"], "--participation 2.0"),
        (["--faults", "none.toml"], "--faults none.toml"),
        (["--from", "2030-01-01"], "no bar from 2030-01-01"),
        (["--database", "/nowhere/a.db"], "--database /nowhere/a.db: unable to open"),
        (["--set", "leverage=1000"], "leverage"),
        (["--live", "BTC/USDT:USDT"], "--live goes with neither --data"),
    ],
)
def test_bad_input_ends_with_one_line(monkeypatch, capsys, tmp_path, arguments, reason):
    from gridv4_bt.__main__ import main

    sample_market(days=2).candles.to_csv(tmp_path / "BTCUSDT-15m.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["gridv4", "exchange", "--data", str(tmp_path / "BTCUSDT-15m.csv"), *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and reason in line
