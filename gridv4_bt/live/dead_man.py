"""The dead man's switch: the exchange cancels the plain orders of a bot that is gone, exits included.

Only this helps after `kill -9` and a power cut. Stops are conditional orders and stay.
"""

from collections.abc import Sequence
from typing import Any

DEFAULT_S = 600  #: seconds without a sign of life
RENEWALS = 3  #: within these seconds


class DeadManSwitch:
    """When the switch was renewed last, by which it is known whether the exchange has cancelled the orders.

    Parameters
    ----------
    saved : `to_json` of the session before, None if its switch was off.
    """

    def __init__(self, saved: dict[str, Any] | None) -> None:
        saved = saved or {}
        self.seconds: int = saved.get("seconds", 0)  #: 0: it is off
        self._renewed: dict[str, int] = dict(saved.get("renewed", {}))  # ms, by symbol
        self._fired: dict[str, int] = {}  # ms, by symbol; not yet reported

    def to_json(self) -> dict[str, Any] | None:
        """Return the switch as a JSON object, None if it is off."""
        return {"seconds": self.seconds, "renewed": self._renewed} if self.seconds else None

    def renewed(self, symbol: str, seconds: int, now: int) -> bool:
        """Note a renewal at a time (ms); return whether the switch must have fired before it."""
        fired = self._fired_at(symbol, now)
        self._fired.pop(symbol, None)
        if fired is not None:
            self._fired[symbol] = fired
        self.seconds = seconds
        self._renewed[symbol] = now
        return fired is not None

    def fired(self, symbol: str, now: int) -> int | None:
        """Return the time (ms) at which it has fired, once; None if it has not."""
        found = self._fired.pop(symbol, None) or self._fired_at(symbol, now)
        if found is not None and self._fired_at(symbol, now) is not None:
            del self._renewed[symbol]
        return found

    def is_due(self, symbols: Sequence[str], before: int) -> bool:
        """Return whether the switch of any symbol was renewed before a time (ms) last."""
        return any(self._renewed.get(symbol, 0) <= before for symbol in symbols)

    def off(self, now: int) -> None:
        """Note that it was turned off at a time (ms)."""
        self._fired = {symbol: time for symbol in self._renewed if (time := self._fired_at(symbol, now)) is not None}
        self.seconds = 0
        self._renewed.clear()

    def _fired_at(self, symbol: str, now: int) -> int | None:
        if not self.seconds or symbol not in self._renewed:
            return None
        due = self._renewed[symbol] + 1000 * self.seconds
        return due if due <= now else None
