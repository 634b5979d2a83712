"""What a GridStrategyV4 remembers between bars, written down so that another process can go on."""

from typing import Any

from strategies.grid_v4 import GridStrategyV4
from strategies.side import SideState

#: Attributes that are plain values.
_PLAIN = (
    "anchor", "halted", "halts", "stops", "margin_calls", "min_liquidation_distance", "_count", "_settlements_seen",
    "_day", "_realized_today", "_regime", "_confirmed", "_var_limited",
)  # fmt: skip
_SIDE = ("blocked", "stage1_done", "stop_rests")


def take_snapshot(strategy: GridStrategyV4) -> dict[str, Any]:
    """Return the state after a bar, as JSON can hold it."""
    window = strategy.config.kelly_window
    return {
        **{name.lstrip("_"): getattr(strategy, name) for name in _PLAIN},
        "stop_bars": list(strategy._stop_bars),
        "returns": {str(regime): returns[-window:] for regime, returns in strategy._returns.items()},
        "warnings": dict(strategy.warnings),
        "sides": [_side(side) for side in strategy.sides],
    }


def restore_snapshot(strategy: GridStrategyV4, snapshot: dict[str, Any]) -> None:
    """Put a strategy that has just been started into the state of a snapshot."""
    for name in _PLAIN:
        setattr(strategy, name, snapshot[name.lstrip("_")])
    strategy._stop_bars.extend(snapshot["stop_bars"])
    strategy._returns = {int(regime): list(returns) for regime, returns in snapshot["returns"].items()}
    strategy._kelly.clear()
    strategy.warnings.update(snapshot["warnings"])
    for side, saved in zip(strategy.sides, snapshot["sides"], strict=True):
        for name in _SIDE:
            setattr(side, name, saved[name])
        for price, until in saved["cooling"]:
            side.cool(price, until)


def _side(side: SideState) -> dict[str, Any]:
    return {**{name: getattr(side, name) for name in _SIDE}, "cooling": [list(item) for item in side._cooling]}
