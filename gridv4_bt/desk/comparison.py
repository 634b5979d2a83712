"""A bot beside its backtest, as the bot's own daily audit has written it down."""

import json
from typing import Any

import numpy as np

from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.thinning import thinned
from gridv4_bt.live.session_status import AUDIT

_POINTS = 800
_LONG = ("times", "live", "backtest", "differences")


def audit_of_the_day(bot: BotFiles) -> dict[str, Any] | None:
    """Return what the latest daily audit has found, None if there was none: its drift, fills and their causes."""
    found = bot.kept(AUDIT, lambda: _read(bot), "audit")
    if found is not None:
        return {
            name: value for name, value in found.items() if name not in ("times", "live", "backtest", "differences")
        }
    return next(iter(bot.audits.page(0, 1)[1]), None)


def comparison(bot: BotFiles) -> dict[str, Any] | None:
    """Return equity of bot and backtest at the bars of the latest daily audit, and each fill that differs; or None.

    Of many bars those are kept at which the two are farthest apart.
    """
    found: dict[str, Any] | None = bot.kept(AUDIT, lambda: _read(bot), "audit")
    return found


def _read(bot: BotFiles) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bot.folder / AUDIT).read_text(encoding="utf-8"))
    live, backtest = np.array(found["live"], float), np.array(found["backtest"], float)
    kept = np.union1d(thinned(live - backtest, _POINTS // 2), thinned(live, _POINTS // 2)).tolist()
    return found | {name: [found[name][place] for place in kept] for name in ("times", "live", "backtest")}
