"""The gate that every request of a process passes: after a rate limit or a ban nothing is sent until it has passed."""

from collections.abc import Callable

from gridv4_bt.live.clock import Clock
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure

#: After a refused burst of orders none is sent for this long, s, twice as long after each further refusal.
_ORDER_PAUSE, _LONGEST_ORDER_PAUSE = 60.0, 600.0


class Gate:
    """The times before which nothing, or no order that can wait, may be sent.

    Stops and closes protect a position, so they pass where only orders are limited.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.silent_until = 0  #: exchange time, ms
        self.no_orders_until = 0  #: exchange time, ms; for entries and exits
        self.on_silence: Callable[[int], None] = lambda until: None  #: called with the end of each new silence, ms
        self._refused_bursts = 0

    def wait(self, can_wait: bool = False) -> float:
        """Return for how many seconds a request must not be sent; `can_wait`: it is an entry or an exit."""
        until = max(self.silent_until, self.no_orders_until) if can_wait else self.silent_until
        return max(until - self._clock.now(), 0) / 1000.0

    @property
    def is_open(self) -> bool:
        """Return whether requests may be sent now."""
        return self.wait() == 0.0

    def note(self, failure: Failure, can_wait: bool) -> None:
        """Close the gate after a failure that says so."""
        if failure.reaction not in (Reaction.WAIT, Reaction.WAIT_ORDERS):
            return
        now = self._clock.now()
        until = now + int(1000 * failure.wait)
        if can_wait or failure.reaction is Reaction.WAIT_ORDERS:
            pause = min(_ORDER_PAUSE * 2**self._refused_bursts, _LONGEST_ORDER_PAUSE)
            self._refused_bursts += 1
            self.no_orders_until = max(self.no_orders_until, until, now + int(1000 * pause))
        if failure.reaction is Reaction.WAIT and until > self.silent_until:
            self.silent_until = until
            self.on_silence(until)

    def passed(self) -> None:
        """Note that an entry or exit was taken."""
        self._refused_bursts = 0
