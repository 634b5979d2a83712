"""The exchange's clock, and waiting that a signal can end."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass
class _Errand:
    pause: float  # seconds
    run: Callable[[], None]
    due: float  # monotonic time, seconds


class WallClock:
    """This machine's clock set right by the exchange's."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.ahead = 0  #: ms by which this machine's clock is ahead of the exchange's
        self._errands: list[_Errand] = []

    @property
    def ended(self) -> bool:
        return self._stop.is_set()

    def now(self) -> int:
        return int(time.time() * 1000) - self.ahead

    def sleep(self, seconds: float) -> None:
        self._stop.wait(max(seconds, 0.0))

    def every(self, seconds: float, errand: Callable[[], None]) -> None:
        """Run an errand so often while waiting."""
        self._errands.append(_Errand(seconds, errand, time.monotonic() + seconds))

    def wait_until(self, time_ms: int) -> bool:
        while not self._stop.is_set():
            for errand in self._errands:
                if time.monotonic() >= errand.due:
                    errand.run()
                    errand.due = time.monotonic() + errand.pause
            left = (time_ms - self.now()) / 1000.0
            if left <= 0.0:
                return True
            pauses = (errand.pause for errand in self._errands)
            self._stop.wait(min(left, 60.0, *pauses))  # a clock that was set meanwhile is noticed
        return False
