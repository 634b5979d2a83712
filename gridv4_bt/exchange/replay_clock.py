"""A clock that advances a replay in proportion to real time."""

import time
from collections.abc import Callable

from gridv4_bt.exchange.exchange import Exchange


class RunningClock:
    """Advances an exchange with the wall clock.

    Parameters
    ----------
    speed : seconds of the market in a second.
    wall : the wall clock, seconds since any moment.
    """

    def __init__(self, speed: float, wall: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._wall = wall
        self._began: tuple[float, int] | None = None  # wall clock and market time

    def __call__(self, exchange: Exchange) -> None:
        """Advance an exchange to the present time."""
        if self._began is None:
            self._began = self._wall(), exchange.now
        began, market = self._began
        exchange.advance(market + int((self._wall() - began) * 1000.0 * self.speed))
