"""The exchange's clock, and waits that a signal ends."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """The exchange's clock."""

    on_step: Callable[[], bool]  #: called after a step, until it returns that the exchange's clock was asked

    def now(self) -> int:
        """Return the exchange's time, ms UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; return early if the session is to stop."""
        ...

    def wait_until(self, time_ms: int) -> bool:
        """Wait until a time, ms; return False if the session is to stop or the market has ended."""
        ...

    @property
    def ended(self) -> bool:
        """Return whether the session is to stop or the market has ended."""
        ...

    def every(self, seconds: float, task: Callable[[], None], in_pauses: bool = False) -> None:
        """Run a task at an interval while waiting.

        Parameters
        ----------
        in_pauses : also in `sleep`, in the middle of something else; never inside itself.
        """
        ...


#: Change of the wall clock against the monotonic one, seconds, from which it is a step.
_STEP_S = 1.0


@dataclass
class PeriodicTask:
    """A task that a clock runs at an interval."""

    pause: float  #: between two runs, in the clock's unit
    task: Callable[[], None]
    due: float  #: in the clock's unit
    in_pauses: bool
    is_running: bool = False

    def run_if_due(self, now: Callable[[], float]) -> None:
        """Run the task if it is due and not running."""
        if now() < self.due or self.is_running:
            return
        self.is_running = True
        try:
            self.task()
        finally:
            self.is_running = False
            self.due = now() + self.pause


class WallClock:
    """The machine's clock, corrected by its difference from the exchange's.

    A step of the machine's clock, or a time for which the machine slept, is noticed within a minute of waiting.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.ahead = 0  #: ms by which this machine's clock is ahead of the exchange's
        self.on_step: Callable[[], bool] = lambda: True
        self._tasks: list[PeriodicTask] = []
        self._offset = time.time() - time.monotonic()

    @property
    def ended(self) -> bool:
        return self._stop.is_set()

    def now(self) -> int:
        return int(time.time() * 1000) - self.ahead

    def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0.0:
            tasks = [task for task in self._tasks if task.in_pauses and not task.is_running]
            dues = (task.due - time.monotonic() for task in tasks)
            self._stop.wait(max(min([left, *dues]), 0.0))
            for task in tasks:
                task.run_if_due(time.monotonic)

    def every(self, seconds: float, task: Callable[[], None], in_pauses: bool = False) -> None:
        """Run a task at an interval while waiting."""
        self._tasks.append(PeriodicTask(seconds, task, time.monotonic() + seconds, in_pauses))

    def wait_until(self, time_ms: int) -> bool:
        while not self._stop.is_set():
            self._notice_step()
            for task in self._tasks:
                task.run_if_due(time.monotonic)
            left = (time_ms - self.now()) / 1000.0
            if left <= 0.0:
                return True
            pauses = (task.pause for task in self._tasks)
            self._stop.wait(min(left, 60.0, *pauses))  # so that a change of the machine's clock is noticed
        return False

    def _notice_step(self) -> None:
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > _STEP_S and self.on_step():
            self._offset = offset
