"""What a GridStrategyV4 remembers between bars, written down so that another process can go on."""

from typing import Any

from gridv4_bt.engine.state import STOPS_KEPT
from strategies import steps
from strategies.grid_v4 import GridStrategyV4
from strategies.side import Side


def take_snapshot(strategy: GridStrategyV4) -> dict[str, Any]:
    """Return the state after a bar, as JSON can hold it."""
    memory, now = strategy.memory, strategy.now
    kept = range(max(memory.stops - STOPS_KEPT, 0), memory.stops)
    return {
        "anchor": memory.anchor if memory.anchored else None,
        "halted": bool(memory.halted),
        "halts": memory.halts,
        "stops": memory.stops,
        "margin_calls": memory.margin_calls,
        "min_liquidation_distance": memory.min_distance,
        "count": memory.bar,
        "settlements_seen": strategy._settlements_seen,
        "day": memory.day,
        "realized_today": memory.realized_today,
        "regime": now.regime,
        "confirmed": strategy.orders.regime,
        "var_limited": bool(now.var_limited),
        "stop_bars": [memory.stop_bars[number % STOPS_KEPT] for number in kept],
        "returns": {
            str(row - 2): returns[: kelly.returns]
            for row, (kelly, returns) in enumerate(zip(strategy.kelly, strategy.returns, strict=True))
            if kelly.returns
        },
        "warnings": dict(strategy.warnings),
        "sides": [_side(side) for side in strategy.sides],
    }


def restore_snapshot(strategy: GridStrategyV4, snapshot: dict[str, Any]) -> None:
    """Put a strategy that has just been started into the state of a snapshot."""
    memory, now = strategy.memory, strategy.now
    memory.anchored = snapshot["anchor"] is not None
    memory.anchor = snapshot["anchor"] or 0.0
    memory.halted = int(snapshot["halted"])
    memory.min_distance = snapshot["min_liquidation_distance"]
    memory.bar = snapshot["count"]
    for name in ("halts", "stops", "margin_calls", "day", "realized_today"):
        setattr(memory, name, snapshot[name])
    bars = snapshot["stop_bars"][-STOPS_KEPT:]
    for number, bar in enumerate(bars, memory.stops - len(bars)):
        memory.stop_bars[number % STOPS_KEPT] = bar
    steps.note_cooldown(strategy.config, memory)
    now.regime, now.var_limited = snapshot["regime"], snapshot["var_limited"]
    strategy._settlements_seen = snapshot["settlements_seen"]
    strategy.orders.regime = snapshot["confirmed"]
    for regime, returns in snapshot["returns"].items():
        kelly, kept = strategy.kelly[int(regime) + 2], strategy.returns[int(regime) + 2]
        kelly.returns, kelly.known = len(returns[-len(kept) :]), 0
        kept[: kelly.returns] = returns[-len(kept) :]
    warnings = dict(snapshot["warnings"])
    memory.liquidation_near = warnings.pop("liquidation_near", 0)
    if strategy.regime_gmm is not None:
        strategy.regime_gmm.warnings.update(warnings)
    for side, saved in zip(strategy.sides, snapshot["sides"], strict=True):
        leg = side.leg
        leg.blocked, leg.stage1_done, leg.stop_rests = (
            saved["blocked"],
            int(saved["stage1_done"]),
            int(saved["stop_rests"]),
        )
        for price, until in saved["cooling"]:
            side.make_room()
            side.cooling.price[leg.cooling], side.cooling.until[leg.cooling] = price, until
            leg.cooling += 1


def _side(side: Side) -> dict[str, Any]:
    leg, cooling = side.leg, side.cooling
    return {
        "blocked": leg.blocked,
        "stage1_done": bool(leg.stage1_done),
        "stop_rests": bool(leg.stop_rests),
        "cooling": [[cooling.price[i], cooling.until[i]] for i in range(leg.cooling)],
    }
