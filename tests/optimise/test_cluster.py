"""Workers of a Dask scheduler, in processes of their own on 127.0.0.1; one is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from fake_market import FormulaMarket, Here, LoggedMarket, space

pytest.importorskip("distributed")
pytest.importorskip("optuna")
pytest.importorskip("scipy")

from gridv4_bt.optimise.cluster import Cluster
from gridv4_bt.optimise.study import Search

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")


def start(folder: Path, module: str, *options: str) -> subprocess.Popen:
    path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", "--no-dashboard", *options]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)


@pytest.fixture
def cluster(tmp_path):
    """cluster() -> address and worker processes."""
    started = []
    try:
        file = tmp_path / "scheduler.json"
        started.append(start(tmp_path, "dask_scheduler", "--port", "0", "--scheduler-file", str(file)))
        while not file.exists():
            assert started[0].poll() is None, (tmp_path / "log.txt").read_text()
            time.sleep(0.1)
        options = ("--scheduler-file", str(file), "--nthreads", "1", "--no-nanny")
        workers = [start(tmp_path, "dask_worker", *options) for _ in range(3)]
        started += workers
        yield json.loads(file.read_text())["address"], workers
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def test_a_killed_worker_costs_nothing_but_time_and_data_travels_once_to_each(cluster, tmp_path):
    address, processes = cluster
    log = tmp_path / "unpickled"
    slow = {("TEST", "main"): LoggedMarket(seconds=0.1, log=str(log))}
    some = space({"trials": 20, "batch": 10})
    search = Search(some, slow, None, "test", "")
    workers = Cluster(address)
    try:
        done = search.run(workers)
        for _ in range(3):
            next(done)
        processes[1].send_signal(signal.SIGKILL)
        for _ in done:
            pass
    finally:
        workers.close()
    here = Search(some, {("TEST", "main"): FormulaMarket()}, None, "test", "")
    for _ in here.run(Here()):
        pass
    assert [(trial.params, trial.objectives, list(trial.returns)) for trial in search.trials] == [
        (trial.params, trial.objectives, list(trial.returns)) for trial in here.trials
    ]
    assert processes[1].poll() == -signal.SIGKILL
    received = Counter(log.read_text().split())
    received.pop(str(os.getpid()), None)
    assert set(received.values()) == {1}
    assert set(received) <= {str(process.pid) for process in processes}
