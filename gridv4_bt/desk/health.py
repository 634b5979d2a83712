"""Whether the bots live and decide: for a look from outside, which must not depend on the bots telling it."""

import threading
import time
from typing import Any

from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.bot_overview import bot_state
from gridv4_bt.desk.state_dirs import StateDirs

_KEPT_S = 3.0  # for which an answer is good: whoever asks without a token makes the desk read no more often


class HealthCheck:
    """The health of all bots."""

    def __init__(self, bots: StateDirs) -> None:
        self._bots = bots
        self._guard = threading.Lock()
        self._kept: tuple[float, dict[str, Any]] | None = None

    def look(self) -> dict[str, Any]:
        """Return whether all bots are well, how many are and are not, and of each its state and what is wrong.

        A bot that is stale is not well; one that was stopped in order is, and one halted by its circuit breaker too.
        """
        with self._guard:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > _KEPT_S:
                self._kept = now, health(self._bots)
            return self._kept[1]


def health(bots: StateDirs) -> dict[str, Any]:
    """Return what `HealthCheck.look` does, looked at now."""
    found = {name: _of(bot) for name, bot in bots.bots().items()}
    stale = sum(one["state"] == "stale" for one in found.values())
    return {"healthy": stale == 0, "ok": len(found) - stale, "stale": stale, "bots": found}


def _of(bot: BotFiles) -> dict[str, str]:
    state, reason = bot_state(bot, bot.status())
    return {"state": state, "reason": reason}
