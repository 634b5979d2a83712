"""Paper trading: the real client against a local exchange whose clock the session itself moves on."""

import threading
import time

import requests

from feeds.live import SETTLE_MS
from gridv4_bt.exchange.client import ServerClock


class PaperClock:
    """The clock of a stepped local exchange; waiting moves it on.

    Parameters
    ----------
    base : address of the exchange.
    speed : how many times faster than real it runs; infinity never waits.
    """

    def __init__(self, base: str, speed: float, stop: threading.Event) -> None:
        self._server = ServerClock(base)
        self._speed = speed
        self._stop = stop
        self._over = False
        self._now = int(self._server.state()["time"])

    @property
    def ended(self) -> bool:
        """Tell whether the session is to stop or the candles have ended."""
        return self._stop.is_set() or self._over

    def now(self) -> int:
        """Return the exchange's time, ms UTC."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let the market go on."""
        if seconds > 0.0:
            self._advance(self._now + round(1000 * seconds))

    def wait_until(self, time_ms: int) -> bool:
        """Let the market go on to a time; False if the session is to stop or the candles end before."""
        while self._now < time_ms and not self.ended:
            part = min(time_ms - self._now, 60_000 if self._speed != float("inf") else time_ms)
            if self._speed != float("inf"):
                self._stop.wait(part / 1000.0 / self._speed)
            self._advance(self._now + part)
        return not self.ended

    def _advance(self, until: int) -> None:
        for attempt in range(50):
            try:
                state = self._server._ask("advance", {"until": until})
                break
            except (requests.RequestException, ValueError):
                if attempt == 49:
                    raise
                time.sleep(0.1)  # the exchange is being started again
        # The last candle may still be read after the market has ended.
        self._over = bool(state["over"]) and until > int(state["time"]) + SETTLE_MS
        self._now = until
