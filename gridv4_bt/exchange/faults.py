"""Faults between a bot and the exchange, by script or at random; the same seed gives the same faults.

A script is TOML or JSON: `seed`, and a list `fault` of rules; the first rule that applies to a request takes effect.
Or it is `seed` and `random`, the share of all requests that get a fault of any kind.

    seed = 7
    [[fault]]
    on = "POST /fapi/v1/order"     # method and path, or a part of the path alone, or "*"
    kind = "lost_after"            # see KINDS
    skip = 2                       # number of matching requests without a fault first
    times = 1                      # number of faults after that, 0 for no limit
    probability = 1.0              # of each of them

`seconds`, `code`, `status`, `text`, `ms`, `count`, `share`, `executed`, `symbol`, `side`, `positionSide` and `quantity`
are the parameters of single kinds.
"""

import json
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gridv4_bt.errors import ConfigError

#: Effect of each kind of fault.
KINDS: Mapping[str, str] = {
    "lost_before": "the connection is cut before the request is read",
    "lost_after": "the request is executed, then the connection is cut without an answer",
    "cut": "the request is executed, and the connection is cut inside the body of the answer",
    "html": "the request is executed and answered by 200 with a web page",
    "slow": "the request is executed at once and answered after `seconds`",
    "unknown": "503 Unknown error; the request is executed unless `executed` is false",
    "timeout": "408 -1007; the request is executed unless `executed` is false",
    "bus": "-1006, an unexpected answer inside the exchange; the request is executed unless `executed` is false",
    "unavailable": "503 Service Unavailable, not executed",
    "overloaded": "503 -1008, not executed; cancelling and closing orders are exempt",
    "too_many": "429 with Retry-After of `seconds`",
    "banned": "418 with Retry-After of `seconds`",
    "error": "an error of any `code`, with `status` and `text` in place of the usual ones; not executed",
    "gateway": "502, or another `status`, with a web page, not executed",
    "firewall": "403 with a web page, not executed",
    "clock": "the server's clock is `ms` ahead of the client's for this request: -1021, unless the client asks for it",
    "stale_orders": "open orders as they were when they were asked for the last time",
    "short_orders": "open orders without the newest `count`",
    "late_trades": "trades and income without those of the last `ms`",
    "early_candle": "candles: the newest closed one without its wicks, as if it were not complete yet",
    "same_page": "trades or income: the page before once more",
    "partial_cancel": "an order about to be cancelled is first filled in part, `share` of it",
    "post_only": "a post-only order is rejected: the market has just moved",
    "by_hand": "before the request the owner trades at market: `symbol`, `side`, `positionSide`, `quantity`",
    "liquidated": "before the request the exchange takes over the leg `symbol`, `positionSide`",
    "restart": "the server loses its memory, takes the state from its database and cuts the connection",
}

#: Random faults: path, kind, and weight among them.
_RANDOM: Sequence[tuple[str, str, float]] = (
    ("*", "lost_before", 1.0), ("*", "lost_after", 2.0), ("*", "cut", 1.0), ("*", "html", 0.5), ("*", "unknown", 1.0),
    ("*", "unavailable", 1.0), ("*", "timeout", 1.0), ("*", "gateway", 0.5), ("*", "clock", 0.3),
    ("*", "too_many", 0.2), ("POST /fapi/v1/order", "overloaded", 1.0),
    ("GET /fapi/v1/openOrders", "stale_orders", 2.0),
    ("GET /fapi/v1/openOrders", "short_orders", 2.0), ("GET /fapi/v1/userTrades", "late_trades", 2.0),
    ("GET /fapi/v1/userTrades", "same_page", 2.0), ("DELETE /fapi/v1/order", "partial_cancel", 2.0),
    ("POST /fapi/v1/order", "post_only", 1.0), ("DELETE /fapi/v1/batchOrders", "partial_cancel", 2.0),
)  # fmt: skip


class Fault(BaseModel):
    """One rule of a script."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)

    kind: str
    on: str = "*"
    skip: int = Field(0, ge=0)
    times: int = Field(1, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    seconds: int = Field(1, ge=0)
    code: int = -1000
    status: int = 0
    text: str = ""
    ms: int = 60_000
    count: int = Field(1, ge=1)
    share: float = Field(0.5, gt=0, lt=1)
    executed: bool = True
    symbol: str = ""
    side: Literal["BUY", "SELL"] = "SELL"
    position_side: Literal["LONG", "SHORT", "BOTH"] = Field("LONG", alias="positionSide")
    quantity: float = Field(0.0, ge=0)

    def matches(self, method: str, path: str) -> bool:
        """Return whether the rule applies to a method and path."""
        verb, _, rest = self.on.rpartition(" ")
        return (not verb or verb == method) and (rest == "*" or (path == rest if verb else rest in path))


@dataclass(slots=True)
class _Rule:
    """A rule and how far it has come."""

    fault: Fault
    skip: int  #: requests still without a fault
    left: int  #: faults still to come, where `times` limits them
    generator: random.Random


class Faults:
    """The rules in force; each has its own random generator, so that one does not change the draws of another."""

    def __init__(self, rules: Sequence[Fault] = (), seed: int = 0) -> None:
        self._rules = [
            _Rule(rule, rule.skip, rule.times, random.Random(f"{seed}/{number}")) for number, rule in enumerate(rules)
        ]

    def draw(self, method: str, path: str, applies: Callable[[Fault], bool]) -> Fault | None:
        """Return the fault of a request, or None; `applies` returns whether a rule's kind can apply to it."""
        for rule in self._rules:
            fault = rule.fault
            if not fault.matches(method, path) or (fault.times and not rule.left) or not applies(fault):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if fault.probability < 1.0 and rule.generator.random() >= fault.probability:
                continue
            rule.left -= 1
            return fault
        return None


def random_faults(seed: int, probability: float) -> Faults:
    """Return faults of all kinds; `probability` is about the share of requests that get one."""
    total = sum(weight for on, _, weight in _RANDOM if on == "*")
    rules = [
        Fault(kind=kind, on=on, times=0, probability=min(probability * weight / total, 1.0))
        for on, kind, weight in _RANDOM
    ]
    return Faults(rules, seed)


def make_faults(script: Mapping[str, Any]) -> Faults:
    """Return the faults of a script.

    Raises
    ------
    ConfigError
        A rule is invalid; the message names it.
    """
    unknown = set(script) - {"seed", "fault", "random"}
    if unknown:
        raise ConfigError(f"faults: {', '.join(sorted(unknown))} is unknown; a script has seed, fault and random")
    seed = script.get("seed", 0)
    if "random" in script:
        return random_faults(seed, float(script["random"]))
    rules = []
    for number, entry in enumerate(script.get("fault", ()), start=1):
        try:
            rule = Fault(**entry)
        except (ValidationError, TypeError) as error:
            reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("?",), "msg": str(error)}
            raise ConfigError(f"fault {number}: {'.'.join(map(str, reason['loc']))}: {reason['msg']}") from None
        if rule.kind not in KINDS:
            raise ConfigError(f"fault {number}: kind {rule.kind!r} is none of {', '.join(KINDS)}")
        rules.append(rule)
    return Faults(rules, seed)


def read_faults(path: Path, seed: int | None = None) -> Faults:
    """Return the faults of a TOML or JSON file, with its seed or another one."""
    try:
        text = Path(path).read_text("utf-8")
        script = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--faults {path}: {error}") from None
    try:
        return make_faults(script if seed is None else script | {"seed": seed})
    except ConfigError as error:
        raise ConfigError(f"--faults {path}: {error}") from None
