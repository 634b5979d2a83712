"""Why a bar was decided as it was: what is in no other file of a session, for events.jsonl."""

from typing import Any

from gridv4_bt.core.time import iso
from gridv4_bt.engine.ladder import TRACE_ACTIONS
from strategies.grid_v4 import GridStrategyV4


def decision_row(strategy: GridStrategyV4) -> dict[str, Any]:
    """Return what a strategy has decided on at its bar; None for a number that is not known yet.

    `long` and `short` are the `Blocked` codes of the levels, nearest first.
    """
    now, memory, levels = strategy.now, strategy.memory, strategy.config.levels
    codes = (strategy.plan.trace.last() // TRACE_ACTIONS).tolist()
    numbers = {
        "close": now.close, "atr": now.atr, "kama": now.kama, "spacing_pct": now.spacing_pct, "kelly": now.kelly,
        "notional": now.notional, "var": now.var, "funding_rate": memory.funding_rate,
        "realized_today": memory.realized_today,
    }  # fmt: skip
    known = {name: value if value == value else None for name, value in numbers.items()}
    cools = memory.bar < memory.cools_until
    return {"bar": iso(now.time)} | known | {"cools": cools, "long": codes[:levels], "short": codes[levels:]}
