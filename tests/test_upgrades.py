"""What version 0.1.0 has left on the disk is taken up: a session that holds a leg, its parameters, the downloads.

The samples were written by running that version: 103 bars of a paper session of `presets/busy.toml`, stopped by SIGTERM
while it held SHORT 0.015, and three days downloaded from a server.
"""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from feeds.cache import SeriesCache, series_folders
from gridv4_bt.config import load_config
from gridv4_bt.live.state import StateFile

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "tests" / "samples"


def unpack(name, folder):
    with tarfile.open(SAMPLES / name) as archive:
        archive.extractall(folder, filter="data")
    return folder


def live(folder, *words):
    command = [sys.executable, "-m", "gridv4_bt", "live", "--paper", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def state(tmp_path):
    return unpack("session-0.1.0.tar.gz", tmp_path) / "paper_state"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_session_goes_on_with_what_it_holds(state):
    held = rows(state / "equity.csv")[-1]
    assert (held["short_qty"], held["wallet"]) == ("0.015", "9999.8786401")
    before = json.loads((state / "state.json").read_text().partition("\n")[2])
    done = live(state.parent, "--state-dir", str(state), "--to", "2024-01-12T12:30")
    assert done.returncode == 0, done.stderr
    after = json.loads((state / "state.json").read_text())
    assert (after["version"], after["bot"]) == (2, before["bot"])
    following = rows(state / "equity.csv")[-1]
    assert following["time"] > held["time"]
    assert (following["short_qty"], following["wallet"]) == ("0.015", "9999.8786401")
    assert not [path.name for path in state.iterdir() if "foreign" in path.name or "damaged" in path.name]


def test_its_parameters_are_kept_and_what_differs_is_listed(state):
    config = load_config(state / "config.toml")
    assert (config.k, config.levels, config.stop2_atr) == (3.0, 10, 6.0)
    done = live(state.parent, "--state-dir", str(state), "--to", "2024-01-12T12:30")
    assert "kept" in done.stdout and "stop2_atr" in done.stdout


def test_a_state_of_a_newer_version_refuses_this_program(state, monkeypatch):
    monkeypatch.setattr("gridv4_bt.live.state.VERSION", 3)
    StateFile(state, "paper").save({"bot": "g4abcd"})
    newer = (state / "state.json").read_text()
    for words in (("--once",), ("--check",), ("--flatten",)):
        done = live(state.parent, "--state-dir", str(state), *words)
        [line] = done.stderr.strip().splitlines()
        assert done.returncode == 2
        assert "state.json was written by a newer version" in line and "update" in line
        assert (state / "state.json").read_text() == newer


def test_downloads_are_read(tmp_path):
    root = unpack("cache-0.1.0.tar.gz", tmp_path)
    found = {}
    for _, symbol, series, folder in series_folders(root):
        cache = SeriesCache(folder, series)
        cache.load()
        found[symbol, series.name] = sum(len(cache.read(month)) for month in cache.months)
    assert found == {("BTCUSDT", "candles-15m"): 383, ("BTCUSDT", "mark-15m"): 383, ("BTCUSDT", "funding"): 12}
