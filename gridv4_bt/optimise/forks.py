"""Work done by forked processes: one fork a task.

A fork sees all that the parent has loaded without a copy, so a task is sent no data, only its own few values. It ends
with its task, so no task can affect another one: results do not depend on how many jobs there are, and a task that
breaks its whole process is a failure like any other. Work that leaves nothing behind may say so: then a fork does
several tasks, because to fork takes as long as two weeks of a backtest.
"""

from __future__ import annotations

import gc
import math
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

from gridv4_bt.errors import GridV4Error

_DONE, _FAILED = b"+", b"-"
_LAST, _MORE = b".", b","  #: whether the fork goes on with its next task
SEVERAL = 8  #: tasks of a fork at most
SHORT = 2.0  #: s; a fork that has worked so long takes no further task


@dataclass(frozen=True)
class Outcome:
    """The outcome of one task: its value or its error."""

    number: int  #: of the task, counted from 0
    task: Any
    pickled: bytes | None  #: what the work returned; None if it failed
    error: str | None  #: why it failed

    @property
    def value(self) -> Any:
        """The value the work returned."""
        return None if self.pickled is None else pickle.loads(self.pickled)


#: A task and its number, counted from 0.
_Task = tuple[int, Any]


@dataclass(frozen=True)
class _Fork:
    tasks: deque[_Task]  #: that it has not answered
    pid: int
    taken: int  #: number of tasks at its start
    began: float  #: s, by the monotonic clock

    def fitting(self) -> int:
        """Return how many tasks as long as its own are short together."""
        spent = time.monotonic() - self.began
        return max(1, min(SEVERAL, int((self.taken - len(self.tasks)) * SHORT / spent)))


def forked(
    work: Callable[[Any], Any], tasks: Iterable[Any], jobs: int, leaves_nothing: bool = False, total: float = math.inf
) -> Iterator[Outcome]:
    """Yield the outcome of every task as it finishes, with at most `jobs` at work.

    Tasks are taken when a job is free. What the work returns must pickle; the work itself and the tasks need not.

    Parameters
    ----------
    leaves_nothing : the work changes nothing that a later task could read: while tasks are short, a fork does up to
        `SEVERAL` of them. It ends with one that fails.
    total : number of tasks, so that none of the jobs has the last ones for itself.

    Raises
    ------
    GridV4Error
        The system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise GridV4Error("trials need a system that can fork (Linux, macOS); on Windows use WSL")
    running: dict[Connection, _Fork] = {}
    ended: list[int] = []  # processes that have answered; tearing one down takes as long as starting the next
    waiting, returned = enumerate(tasks), deque[_Task]()
    several = 1  # until an answer says that tasks are short
    sys.stdout.flush()  # or every fork would write again what is buffered
    sys.stderr.flush()
    gc.freeze()  # what the forks share must not be touched by their garbage collectors, or it is copied page by page
    try:
        while True:
            while len(running) < jobs and (taken := deque(islice(_drained(returned, waiting), several))):
                with _interrupts_waiting():  # or Ctrl-C could come before the fork is known here
                    receiver, pid = _start(work, taken, running)
                    running[receiver] = _Fork(taken, pid, len(taken), time.monotonic())
                total -= len(taken)
            if not running:
                return
            ended = [pid for pid in ended if os.waitpid(pid, os.WNOHANG) == (0, 0)]
            for receiver in wait(list(running)):
                fork = running[receiver]
                pickled, error, goes_on = _receive(receiver, fork, ended)
                number, task = fork.tasks.popleft()
                if not goes_on:
                    del running[receiver]
                    returned.extendleft(reversed(fork.tasks))
                    total += len(fork.tasks)
                    share = math.ceil(min(total / jobs, SEVERAL))
                    several = max(1, min(fork.fitting(), share)) if leaves_nothing else 1
                yield Outcome(number, task, pickled, error)
    finally:
        gc.unfreeze()
        for receiver, fork in running.items():
            with suppress(ProcessLookupError):
                os.kill(fork.pid, signal.SIGKILL)
            receiver.close()
        for pid in (*ended, *(fork.pid for fork in running.values())):
            with suppress(ChildProcessError):  # an interrupt may come after it was waited for
                os.waitpid(pid, 0)


def reason(error: BaseException) -> str:
    """Return why something failed, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GridV4Error) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _drained(returned: deque[_Task], waiting: Iterator[_Task]) -> Iterator[_Task]:
    """Yield the tasks that a fork gave back, then those that wait."""
    while returned:
        yield returned.popleft()
    yield from waiting


def _start(work: Callable[[Any], Any], tasks: Sequence[_Task], running: Iterable[Connection]) -> tuple[Connection, int]:
    receiver, sender = Pipe(duplex=False)
    with warnings.catch_warnings():
        # Libraries for numbers keep threads that a fork does not need; none of ours holds a lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _serve(work, tasks, sender, (receiver, *running))
    sender.close()
    return receiver, pid


def _serve(
    work: Callable[[Any], Any], tasks: Sequence[_Task], sender: Connection, others: Iterable[Connection]
) -> NoReturn:
    """Do the work in the fork and end it without the exit handlers of the parent."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
        for other in others:  # an open end here would keep a fork waiting for a parent that is gone
            other.close()
        end, last = time.monotonic() + SHORT, tasks[-1][0]
        for number, task in tasks:
            try:
                outcome, answer = _DONE, pickle.dumps(work(task), pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                outcome, answer = _FAILED, reason(error).encode()
            sys.stdout.flush()
            sys.stderr.flush()
            goes_on = number != last and outcome == _DONE and time.monotonic() < end
            sender.send_bytes(outcome + (_MORE if goes_on else _LAST) + answer)
            if not goes_on:
                break
        code = 0
    except SystemExit as end_of_process:
        code = end_of_process.code if isinstance(end_of_process.code, int) else 1
    finally:
        os._exit(code)


def _receive(receiver: Connection, fork: _Fork, ended: list[int]) -> tuple[bytes | None, str | None, bool]:
    """Return the result of the fork's task or why there is none, and whether the fork goes on."""
    try:
        message = receiver.recv_bytes()
    except EOFError:
        message = b""
    if message[1:2] == _MORE:
        return message[2:], None, True
    receiver.close()
    if message:
        ended.append(fork.pid)
        return (message[2:], None, False) if message[:1] == _DONE else (None, message[2:].decode(), False)
    _, status = os.waitpid(fork.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return None, f"its process was ended by {signal.Signals(-code).name}", False
    return None, f"its process ended with exit code {code}", False


@contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Let Ctrl-C wait. If this thread blocked the signal, a thread of some library would take it all the same."""
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)
