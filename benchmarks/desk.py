"""How fast the control desk is: pages of many bots with a long history, an update after a bar, memory, 200,000 fills.

`python benchmarks/desk.py [--bots N] [--days N] [--folder DIR]`

The bots are one: the records of some days of a paper session, repeated into the past, and copied. They are made in
the folder at the first run (4 minutes, 60 MB for each bot) and stay there. Nothing else should run meanwhile.
"""

import argparse
import gzip
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path

DAYS = ("2024-10-01", "2024-10-10")  #: of the sample market: an order is filled on most of them
SPAN = 10  # days of the session
MANY = "bot-of-many-fills"
SEED, BOTS, FILLS = "seed", "bots", "many-fills"
MANY_FILLS = 200_000
ARCHIVE_BYTES, EVENT_BYTES, EVENT_FILES = 20_000_000, 10_000_000, 5  # as the bot rotates them
#: What the page asks for when a bot is opened.
PAGE = ("", "/legs", "/orders", "/chart?count=500", "/equity?points=800", "/commands", "/comparison", "/why",
        "/fills?count=20", "/pnl?by=day", "/alerts?count=20")  # fmt: skip
OTHERS = ("/pnl?by=day", "/cycles", "/fills?first=500&count=1000", "/exposure", "/why?bar=2024-05-01T00:00:00Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?=T\d\d:)")
_MS = re.compile(r'(?<="time": )\d{13}')


def make_seed(folder: Path) -> None:
    """Trade some days on paper."""
    command = [sys.executable, "-m", "gridv4_bt", "live", "--paper", "--config", "busy", "--quiet"]
    subprocess.run([*command, "--from", DAYS[0], "--to", DAYS[1], "--state-dir", str(folder)], check=True)


def earlier(text: str, days: int) -> str:
    """Return lines of a record as they would be so many days before."""
    known: dict[str, str] = {}

    def shifted(found: re.Match[str]) -> str:
        if found[0] not in known:
            known[found[0]] = f"{date.fromisoformat(found[0]) - timedelta(days=days)}"
        return known[found[0]]

    return _MS.sub(lambda found: f"{int(found[0]) - 86_400_000 * days}", _DATE.sub(shifted, text))


def repeated(text: str, times: int, keeps_head: bool) -> str:
    """Return lines repeated into the past, the latest as they are."""
    head, body = text.split("\n", 1) if keeps_head else ("", text)
    parts = [earlier(body, SPAN * number) for number in range(times - 1, -1, -1)]
    return (f"{head}\n" if keeps_head else "") + "".join(parts)


def stretch(seed: Path, folder: Path, days: int) -> None:
    """Make a bot that has traded for so many days."""
    shutil.copytree(seed, folder, ignore=shutil.ignore_patterns("exchange.sqlite*", "journal*"))
    times = max(days // SPAN, 1)
    for name in ("equity.csv", "trades.csv"):
        path = folder / name
        path.write_text(repeated(path.read_text(), times, True))
    for path in folder.glob("candles-*.csv"):
        head, *lines = path.read_text().splitlines(keepends=True)
        path.write_text(repeated(head + "".join(lines[-96 * SPAN :]), times, True))
    write_orders(folder, repeated((folder / "orders.jsonl").read_text(), times, False))
    write_events(folder, repeated((folder / "events.jsonl").read_text(), times, False))


def write_orders(folder: Path, text: str) -> None:
    """Write orders.jsonl and its archives."""
    number = 1
    while len(text) > ARCHIVE_BYTES:
        end = text.index("\n", ARCHIVE_BYTES) + 1
        (folder / f"orders-{number:06}.jsonl.gz").write_bytes(gzip.compress(text[:end].encode(), mtime=0))
        text, number = text[end:], number + 1
    (folder / "orders.jsonl").write_text(text)


def write_events(folder: Path, text: str) -> None:
    """Write events.jsonl and its older files; what does not fit is gone."""
    for number in range(EVENT_FILES + 1):
        begin = text.find("\n", max(len(text) - EVENT_BYTES, 0)) + 1 if len(text) > EVENT_BYTES else 0
        (folder / f"events.jsonl{f'.{number}' if number else ''}").write_text(text[begin:])
        text = text[:begin]
        if not text:
            return


def make_many_fills(bot: Path, folder: Path) -> None:
    """Make a bot with very many fills."""
    shutil.copytree(bot, folder)
    lines = [line for line in (folder / "orders.jsonl").read_text().splitlines(True) if '"kind": "fill"' in line]
    for path in folder.glob("orders-*"):
        path.unlink()
    write_orders(folder, "".join(lines * (MANY_FILLS // len(lines) + 1)))


def copied(source: str, target: str) -> None:
    """Copy a file that grows, link one that does not change any more."""
    is_old = source.endswith(".gz") or ".jsonl." in source
    (os.link if is_old else shutil.copy)(source, target)


def make(folder: Path, bots: int, days: int) -> None:
    """Make all directories that are not there yet."""
    if not (folder / SEED).exists():
        make_seed(folder / SEED)
    first = folder / BOTS / "bot-01"
    if not first.exists():
        stretch(folder / SEED, first, days)
    for number in range(2, bots + 1):
        if not (target := folder / BOTS / f"bot-{number:02}").exists():
            shutil.copytree(first, target, copy_function=copied)
    if not (folder / FILLS).exists():
        make_many_fills(first, folder / FILLS / MANY)


class Desk:
    """A desk in a process of its own."""

    def __init__(self, place: Path, tokens: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.port = door.getsockname()[1]
        command = [sys.executable, "-m", "gridv4_bt", "desk", str(place), "--tokens", str(tokens)]
        began = time.monotonic()
        self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=subprocess.DEVNULL)
        while True:
            try:
                self.token = (tokens / "read-token").read_text().strip()
                self.ask("/ping")
                break
            except OSError:
                time.sleep(0.02)
        self.start_s = time.monotonic() - began

    def ask(self, path: str) -> object:
        """Return the value of a GET."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        line.request("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {self.token}"})
        answer = line.getresponse()
        text = answer.read()
        line.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def page(self, bot: str) -> float:
        """Open a bot as the page does, its line first and then six requests at a time, and return the seconds."""
        began = time.monotonic()
        self.ask(f"/bots/{bot}{PAGE[0]}")
        with ThreadPoolExecutor(6) as at_once:
            list(at_once.map(lambda path: self.ask(f"/bots/{bot}{path}"), PAGE[1:]))
        return time.monotonic() - began

    def timed(self, path: str) -> float:
        """Return the seconds of a request."""
        began = time.monotonic()
        self.ask(path)
        return time.monotonic() - began

    def processor(self) -> float:
        """Return the processor time that the desk has taken, seconds."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> tuple[float, float]:
        """Return what is resident now and was at most, MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)


def update_seconds(desk: Desk, folder: Path) -> float:
    """Return how long it takes from a bar that all bots write until the page of one shows it."""
    line = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=60)
    line.request("GET", "/api/v1/stream", headers={"Authorization": f"Bearer {desk.token}"})
    stream = line.getresponse()
    while b"changed" not in stream.readline():
        pass
    stream.readline()
    time.sleep(1.5)
    for bot in folder.iterdir():
        with (bot / "equity.csv").open("r+b") as file:
            file.seek(-1_000, os.SEEK_END)
            row = file.read().splitlines()[-1].split(b",")
            file.write(b",".join([b"2099-01-01T00:00:00Z", *row[1:]]) + b"\n")
        (bot / "heartbeat.json").write_text(json.dumps({"at": time.time(), "bars": 1, "equity": 1.0, "adding": True}))
        os.utime(bot / "state.json")
    began = time.monotonic()
    while b"changed" not in stream.readline():
        pass
    desk.page("bot-01")
    seconds = time.monotonic() - began
    line.close()
    for bot in folder.iterdir():  # as they were, for the next run
        text = (bot / "equity.csv").read_bytes()
        (bot / "equity.csv").write_bytes(text[: text.rfind(b"\n", 0, -1) + 1])
    return seconds


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bots", type=int, default=20)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gridv4-desk")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, arguments.bots, arguments.days)
    print("seconds; in brackets those of the processor, which do not depend on what else runs")
    desk = Desk(folder / BOTS, folder / "tokens")
    try:
        print(f"start {desk.start_s:.2f}; {desk.memory()[0]:.0f} MB")
        report(desk, f"list of {arguments.bots} bots, cold", [lambda: desk.timed("/bots")])
        report(desk, "list, warm", [lambda: desk.timed("/bots")] * 5)
        names = sorted(one["bot"] for one in desk.ask("/bots"))
        for state in ("cold", "warm"):
            report(desk, f"a bot's page, {state}", [partial(desk.page, name) for name in names])
        for path in OTHERS:
            report(desk, path, [partial(desk.timed, f"/bots/{names[-1]}{path}")])
        report(desk, "from a bar of all bots to a bot's page", [lambda: update_seconds(desk, folder / BOTS)])
        report(desk, "list after that bar", [lambda: desk.timed("/bots")])
        print("memory: {:.0f} MB now, {:.0f} MB at most".format(*desk.memory()))
    finally:
        desk.stop()
    desk = Desk(folder / FILLS, folder / "tokens")
    try:
        report(desk, "page of a bot with very many fills, cold", [lambda: desk.page(MANY)])
        report(desk, "warm", [lambda: desk.page(MANY)])
        print(f"{desk.ask(f'/bots/{MANY}/fills?count=1')['total']:,} fills")
        print("memory: {:.0f} MB now, {:.0f} MB at most".format(*desk.memory()))
    finally:
        desk.stop()


def report(desk: Desk, what: str, steps: Sequence[Callable[[], float]]) -> None:
    """Take some steps and print the median and the longest, and the processor time of each."""
    before = desk.processor()
    seconds = [step() for step in steps]
    own = (desk.processor() - before) / len(steps)
    longest = f", longest {max(seconds):.2f}" if len(steps) > 1 else ""
    print(f"{what}: {statistics.median(seconds):.2f}{longest} ({own:.2f})")


if __name__ == "__main__":
    main()
