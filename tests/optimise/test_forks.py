import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gridv4_bt.errors import ConfigError
from gridv4_bt.optimise import forks
from gridv4_bt.optimise.forks import SEVERAL, forked

ROOT = Path(__file__).resolve().parents[2]


def results(work, tasks, jobs=2):
    return {outcome.number: (outcome.value, outcome.error) for outcome in forked(work, tasks, jobs)}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_task_is_done_once_whatever_the_number_of_jobs(jobs):
    outcomes = list(forked(lambda x: x * x, range(20), jobs))
    assert sorted((outcome.number, outcome.task, outcome.value) for outcome in outcomes) == [
        (n, n, n * n) for n in range(20)
    ]
    assert len({outcome.number for outcome in outcomes}) == 20


def test_failures_of_every_kind_have_their_reason_and_the_others_go_on():
    def work(kind):
        if kind == "raise":
            raise ValueError("two\nlines")
        if kind == "ours":
            raise ConfigError("k: too large")
        if kind == "exit":
            os._exit(7)
        if kind == "sys.exit":
            sys.exit(3)
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return (lambda: None) if kind == "unpicklable" else kind

    found = results(work, ["fine", "raise", "ours", "exit", "sys.exit", "kill", "unpicklable", "fine too"])
    assert (found[0], found[7]) == (("fine", None), ("fine too", None))
    assert [found[n][1] for n in range(1, 6)] == [
        "ValueError: two lines",
        "k: too large",
        "its process ended with exit code 7",
        "its process ended with exit code 3",
        "its process was ended by SIGKILL",
    ]
    assert "lambda" in found[6][1]  # cannot be pickled


def test_nothing_a_task_leaves_behind_reaches_another():
    seen = []

    def work(number):
        seen.append(number)
        return len(seen), float(np.random.default_rng().random() >= 0.0), os.environ.setdefault("LEFT", str(number))

    found = results(work, range(6), jobs=1)
    assert [value for value, _ in found.values()] == [(1, 1.0, str(number)) for number in range(6)]
    assert seen == []
    assert "LEFT" not in os.environ


def leave(number):
    """Return the process and what the task before has left in it."""
    return os.getpid(), os.environ.get("LEFT"), os.environ.update(LEFT=str(number))


def test_once_tasks_prove_short_a_fork_does_several():
    outcomes = {outcome.number: outcome.value for outcome in forked(leave, range(20), 1, leaves_nothing=True)}
    assert sorted(outcomes) == list(range(20))
    first_of_forks = {0, 1, 1 + SEVERAL, 1 + 2 * SEVERAL}
    assert [left for _, left, _ in outcomes.values()] == [
        None if n in first_of_forks else str(n - 1) for n in range(20)
    ]  # fmt: skip
    assert len({pid for pid, *_ in outcomes.values()}) == len(first_of_forks)


def test_no_job_has_the_last_tasks_for_itself():
    """Of eight two have one each, then a job has half of the six that are left, then half of the rest."""
    pids = [
        outcome.value for outcome in forked(lambda number: (time.sleep(0.05), os.getpid())[1], range(8), 2, True, 8)
    ]
    assert max(Counter(pids).values()) == 3
    alone = [outcome.value for outcome in forked(lambda number: os.getpid(), range(8), 1, True, 8)]
    assert sorted(Counter(alone).values()) == [1, 7]


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(forks, "SHORT", 0.4)
    return 0.4


def test_long_tasks_have_a_fork_each_and_all_jobs_at_work(short):
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)

    def work(number):
        together.wait(30)  # two are there, or it breaks
        time.sleep(1.1 * short)
        return os.getpid()

    outcomes = list(forked(work, range(6), 2, leaves_nothing=True))
    assert [outcome.error for outcome in outcomes] == [None] * 6
    assert len({outcome.value for outcome in outcomes}) == 6


def test_a_fork_that_has_worked_long_gives_its_other_tasks_back(short):
    def work(number):
        time.sleep(1.1 * short if number == 3 else 0.0)
        return os.getpid()

    pids = [outcome.value for outcome in forked(work, range(9), 1, leaves_nothing=True)]
    assert [pids.index(pid) for pid in pids[:5]] == [0, 1, 1, 1, 4]


def test_a_failure_ends_its_fork_and_fails_no_other_task():
    def work(number):
        if number == 2:
            raise ValueError("two")
        if number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return leave(number)

    found = {outcome.number: outcome for outcome in forked(work, range(8), 1, leaves_nothing=True)}
    assert sorted(found) == list(range(8))
    assert [found[n].error for n in (2, 4)] == ["ValueError: two", "its process was ended by SIGKILL"]
    assert [found[n].value[1] for n in (0, 1, 3, 5, 6, 7)] == [None, None, None, None, "5", "6"]


def test_tasks_are_taken_only_when_a_job_is_free():
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    outcomes = forked(lambda x: x, endless(), 2)
    for _ in range(5):
        next(outcomes)
    assert len(taken) <= 7
    outcomes.close()


def test_results_larger_than_a_pipe_come_whole():
    found = results(lambda size: np.arange(size), [10, 1_000_000, 300_000])
    assert [len(found[n][0]) for n in range(3)] == [10, 1_000_000, 300_000]


def test_closing_ends_the_forks_at_work(monkeypatch):
    forks, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forks.append(fork()) or forks[-1])
    outcomes = forked(time.sleep, [0, 60, 60], 3)
    began = time.monotonic()
    next(outcomes)
    outcomes.close()
    assert time.monotonic() - began < 10
    assert len(forks) == 3
    for pid in forks:
        with pytest.raises(ChildProcessError):  # not even left as a zombie
            os.waitpid(pid, os.WNOHANG)


def test_forks_are_as_many_at_a_time_as_there_are_jobs():
    context = multiprocessing.get_context("fork")
    together, at_work, most = context.Barrier(4), context.Value("i", 0), context.Value("i", 0)

    def work(_):
        with at_work.get_lock():
            at_work.value += 1
            most.value = max(most.value, at_work.value)
        together.wait(30)  # four are there, or it breaks
        with at_work.get_lock():
            at_work.value -= 1

    assert [error for _, error in results(work, range(8), jobs=4).values()] == [None] * 8
    assert most.value == 4


def test_ctrl_c_ends_everything_and_is_the_callers_to_answer(tmp_path):
    script = """
import sys, time
from gridv4_bt.optimise.forks import forked
done = 0
try:
    for outcome in forked(lambda x: time.sleep(0.05 if x < 3 else 60), range(6), 2):
        done += 1
        print(done, flush=True)
except KeyboardInterrupt:
    print("interrupted after", done, flush=True)
    sys.exit(130)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(3):
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # the forks too, as a terminal does it
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "interrupted after 3\n", "")


def test_an_interrupt_while_a_fork_is_made_is_not_lost(monkeypatch):
    """A thread of some library takes the signal, and what runs after a fork swallows the interrupt."""
    real, over = os.fork, threading.Event()
    library = threading.Thread(target=over.wait)
    library.start()

    def fork():
        pid = real()
        if pid:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
        return pid

    monkeypatch.setattr(os, "fork", fork)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt):
            done.extend(forked(lambda number: number, range(20), 2))
    finally:
        over.set()
        library.join()
    assert not done
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
