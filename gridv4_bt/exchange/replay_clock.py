"""How a replay's time goes on by itself: some times as fast as the real one."""

import time
from collections.abc import Callable

from gridv4_bt.exchange.exchange import Exchange


class RunningClock:
    """Lets the market of an exchange go on with the wall clock.

    Parameters
    ----------
    speed : seconds of the market in a second.
    wall : the wall clock, seconds from any beginning.
    """

    def __init__(self, speed: float, wall: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._wall = wall
        self._began: tuple[float, int] | None = None  # wall clock and market time

    def __call__(self, exchange: Exchange) -> None:
        """Let time go on to now."""
        if self._began is None:
            self._began = self._wall(), exchange.now
        began, market = self._began
        exchange.advance(market + int((self._wall() - began) * 1000.0 * self.speed))
