"""The exchange's clock, and waiting that a signal can end."""

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Tells the exchange's time and waits."""

    def now(self) -> int:
        """Return the exchange's time, ms UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; return at once when the session is asked to stop."""
        ...

    def wait_until(self, time_ms: int) -> bool:
        """Wait for a time of the exchange's clock; False if the session is to stop or the market has ended."""
        ...

    @property
    def ended(self) -> bool:
        """Tell whether the session is to stop or the market has ended."""
        ...

    def every(self, seconds: float, errand: Callable[[], None]) -> None:
        """Run an errand so often while waiting."""
        ...


class WallClock:
    """This machine's clock set right by the exchange's."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.ahead = 0  #: ms by which this machine's clock is ahead of the exchange's
        self._errand: Callable[[], None] | None = None
        self._pause = 60.0  # seconds
        self._next = 0.0

    @property
    def ended(self) -> bool:
        return self._stop.is_set()

    def now(self) -> int:
        return int(time.time() * 1000) - self.ahead

    def sleep(self, seconds: float) -> None:
        self._stop.wait(max(seconds, 0.0))

    def every(self, seconds: float, errand: Callable[[], None]) -> None:
        """Run an errand so often while waiting."""
        self._errand, self._pause = errand, seconds
        self._next = time.monotonic() + seconds

    def wait_until(self, time_ms: int) -> bool:
        while not self._stop.is_set():
            if self._errand is not None and time.monotonic() >= self._next:
                self._errand()
                self._next = time.monotonic() + self._pause
            left = (time_ms - self.now()) / 1000.0
            if left <= 0.0:
                return True
            self._stop.wait(min(left, self._pause, 60.0))  # a clock that was set meanwhile is noticed
        return False
