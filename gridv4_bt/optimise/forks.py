"""Work done by forked processes: one fork a task.

A fork sees all that the parent has loaded without a copy, so a task is sent no data, only its own few values. It ends
with its task, so no task can affect another one: results do not depend on how many jobs
there are, and a task that breaks its whole process is a failure like any other.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

from gridv4_bt.errors import GridV4Error

_DONE, _FAILED = b"+", b"-"


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


@dataclass(frozen=True)
class _Fork:
    number: int
    task: Any
    pid: int


def forked(work: Callable[[Any], Any], tasks: Iterable[Any], jobs: int) -> Iterator[Outcome]:
    """Yield the outcome of every task as it finishes, with at most `jobs` at work.

    Tasks are taken one at a time, when a job is free. What the work returns must pickle; the work itself and
    the tasks need not.

    Raises
    ------
    GridV4Error
        The system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise GridV4Error("trials need a system that can fork (Linux, macOS); on Windows use WSL")
    running: dict[Connection, _Fork] = {}
    ended: list[int] = []  # processes that have answered; tearing one down takes as long as starting the next
    waiting = enumerate(tasks)
    sys.stdout.flush()  # or every fork would write again what is buffered
    sys.stderr.flush()
    gc.freeze()  # what the forks share must not be touched by their garbage collectors, or it is copied page by page
    try:
        while True:
            while len(running) < jobs and (following := next(waiting, None)) is not None:
                with _interrupts_waiting():  # or Ctrl-C could come before the fork is known here
                    receiver, fork = _start(work, *following, running)
                    running[receiver] = fork
            if not running:
                return
            ended = [pid for pid in ended if os.waitpid(pid, os.WNOHANG) == (0, 0)]
            for receiver in wait(list(running)):
                fork = running[receiver]
                pickled, error = _receive(receiver, fork, ended)
                del running[receiver]
                yield Outcome(fork.number, fork.task, pickled, error)
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


def _start(
    work: Callable[[Any], Any], number: int, task: Any, running: Iterable[Connection]
) -> tuple[Connection, _Fork]:
    receiver, sender = Pipe(duplex=False)
    with warnings.catch_warnings():
        # Libraries for numbers keep threads that a fork does not need; none of ours holds a lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _serve(work, task, sender, (receiver, *running))
    sender.close()
    return receiver, _Fork(number, task, pid)


def _serve(work: Callable[[Any], Any], task: Any, sender: Connection, others: Iterable[Connection]) -> NoReturn:
    """Do the work in the fork and end it without the exit handlers of the parent."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for other in others:  # an open end here would keep a fork waiting for a parent that is gone
            other.close()
        try:
            message = _DONE + pickle.dumps(work(task), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            message = _FAILED + reason(error).encode()
        sys.stdout.flush()
        sys.stderr.flush()
        sender.send_bytes(message)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(code)


def _receive(receiver: Connection, fork: _Fork, ended: list[int]) -> tuple[bytes | None, str | None]:
    try:
        message = receiver.recv_bytes()
    except EOFError:
        message = b""
    receiver.close()
    if message:
        ended.append(fork.pid)
        return (message[1:], None) if message[:1] == _DONE else (None, message[1:].decode())
    _, status = os.waitpid(fork.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return None, f"its process was ended by {signal.Signals(-code).name}"
    return None, f"its process ended with exit code {code}"


@contextmanager
def _interrupts_waiting() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
