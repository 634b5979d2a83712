"""What a running session shows on a terminal: one screen, and its log lines whole above it."""

import fcntl
import io
import json
import logging
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from busy import BUSY_FILE

pytest.importorskip("aiohttp")

from rich.console import Console

from feeds.synthetic import SYMBOL, sample_market
from gridv4_bt.backtest import SymbolData, make_feeds
from gridv4_bt.config import load_config
from gridv4_bt.exchange.api import open_api
from gridv4_bt.exchange.faults import Fault, Faults
from gridv4_bt.exchange.server import ServerThread
from gridv4_bt.live.status import log_handler, status_display

SCRIPT = Path(__file__).resolve().parents[2] / "run_live.py"
WIDTH, HEIGHT = 100, 30


class Terminal:
    """The lines of a terminal without end: what was written, after the cursor's moves and the erased lines."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0

    def write(self, text: str) -> None:
        for code, number, letter, one in re.findall(r"(\x1b\[\??(\d*)[\d;]*([A-Za-z]))|(.|\n)", text):
            if letter == "A":
                self.row = max(0, self.row - int(number or 1))
            elif letter == "K":
                self.lines[self.row] = ""
            elif one == "\r":
                self.column = 0
            elif one == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif not code:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + one + line[self.column + 1 :]
                self.column += 1


def session_on_a_terminal(url: str, folder: Path, bars: int) -> str:
    """Return what a session writes to its terminal until it has decided so many bars and was stopped by Ctrl-C."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    options = ["--endpoint", url, "--symbol", SYMBOL, "--state-dir", "state", "--config", BUSY_FILE]
    words = [sys.executable, str(SCRIPT), *map(str, options)]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    written, stopped, deadline = b"", False, time.monotonic() + 240.0
    with subprocess.Popen(words, stdin=inner, stdout=inner, stderr=inner, env=environment, cwd=folder) as process:
        os.close(inner)
        while time.monotonic() < deadline:
            if select.select([outer], [], [], 0.2)[0]:
                try:
                    written += os.read(outer, 65_536)
                except OSError:  # the program has ended
                    break
            decided = [int(number) for number in re.findall(rb"(\d+) decided", written)]
            if not stopped and decided and decided[-1] >= bars:
                process.send_signal(signal.SIGINT)
                stopped = True
        else:
            process.kill()
    os.close(outer)
    assert process.returncode == 0
    return written.decode()


def test_warnings_stand_whole_above_one_screen(tmp_path):
    market = sample_market(days=14)
    feeds = make_feeds([SymbolData(SYMBOL, market.candles, market.funding)])
    api = open_api(feeds, load_config(BUSY_FILE, []), start_ms=int(feeds[0].candles.time[1_100]))
    api.faults = Faults([Fault(on="GET /fapi/v3/positionRisk", kind="unavailable", skip=8, times=40)], seed=3)
    with ServerThread(api) as server:
        written = session_on_a_terminal(server.url, tmp_path, bars=4)
    terminal = Terminal()
    terminal.write(written.replace("\r\n", "\n\r"))
    lines = [line.rstrip() for line in terminal.lines if line.strip()]
    events = [json.loads(line) for line in (tmp_path / "state" / "events.jsonl").read_text().splitlines()]
    alerts = [event for event in events if event["kind"] == "alert"]
    assert len(alerts) > 3
    # Each line has its time, and what is too long goes on under its beginning.
    text = " ".join(line[29:] for line in lines if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING|\s{29}\S", line))
    text = " ".join(text.split())
    for event in alerts:
        told = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("at", "kind"))
        assert " ".join(f"alert {told}".split()) in text
    assert text.count("alert clock") == len(alerts)
    [title] = [place for place, line in enumerate(lines) if "GridStrategyV4 on" in line]
    warned = [place for place, line in enumerate(lines) if " WARNING " in line]
    assert max(warned) < title
    assert lines[title + 1].startswith("┌") and lines[-2].startswith("└")
    assert all(line.startswith("│") and line.endswith("│") for line in lines[title + 2 : -2])
    assert lines[-1].endswith("bars traded; state and records are in state/")


def test_only_the_thread_that_writes_the_log_draws_the_screen():
    """A second one would draw between the measuring and the writing of a line, and erase what stands above."""
    before = threading.active_count()
    with status_display(Console(force_terminal=True, file=io.StringIO())):
        assert threading.active_count() == before


@pytest.mark.parametrize(("terminal", "errors"), [(False, True), (True, False)])
def test_lines_are_plain_where_stdout_or_stderr_is_no_terminal(terminal, errors, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: errors, raising=False)
    handler = log_handler(Console(force_terminal=terminal, file=sys.stdout))
    handler.handle(logging.makeLogRecord({"levelname": "WARNING", "msg": "failure code=%s", "args": (-1001,)}))
    told, warned = capsys.readouterr()
    assert told == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING failure code=-1001\n", warned)
