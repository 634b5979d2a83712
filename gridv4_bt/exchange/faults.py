"""Faults between a bot and the exchange, by script or at random; the same seed gives the same faults.

A script is TOML or JSON: `seed`, and a list `fault` of rules; the first rule that applies to a request takes effect.
Or it is `seed`, `random`, the share of all requests that get a fault, and `mixture`, "usual" or "all" kinds.

    seed = 7
    [[fault]]
    on = "POST /fapi/v1/order"     # method and path, or a part of the path alone, or "*"
    kind = "lost_after"            # see KINDS
    skip = 2                       # number of matching requests without a fault first
    times = 1                      # number of faults after that, 0 for no limit
    probability = 1.0              # of each of them
    lasts = 0                      # seconds of the exchange's time for which a fault, once begun, meets all of them
    only = ""                      # "opens" or "closes": only orders that open, or close, a leg

`seconds`, `most`, `code`, `status`, `text`, `ms`, `bars`, `whose`, `count`, `share`, `executed`, `symbol`, `side`,
`positionSide` and `quantity` are the parameters of single kinds.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gridv4_bt.config import TOML_LIMIT, read_settings_text, read_toml
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
    "late_trades": "trades and income without those of the last `ms`, or of the last `bars`",
    "early_candle": "candles: the newest closed one without its wicks, as if it were not complete yet",
    "same_page": "trades or income: the page before once more",
    "partial_cancel": "an order about to be cancelled is first filled in part, `share` of it",
    "post_only": "a post-only order is rejected: the market has just moved",
    "by_hand": "before the request the owner trades at market: `symbol`, `side`, `positionSide`, `quantity`",
    "liquidated": "before the request the exchange takes over the leg `symbol`, `positionSide`",
    "restart": "the server loses its memory, takes the state from its database and cuts the connection",
    "empty_positions": "positions: none at all",
    "empty_assets": "account and balance without the row of USDT, totals of zero",
    "stale_not_found": "an order that exists is asked for by its id: -2013",
    "stop_vanishes": "before the request a conditional order ends untriggered: the oldest of `symbol`, `positionSide`",
    "partial_then_cancel": "before a request that reads, `share` of an open limit order is filled: the oldest of "
    "`symbol`, `side`, `positionSide`",
    "clock_step": "from the request on, for `lasts` or for good, the clock of `whose`, server or client, is `ms` ahead",
    "escalating_ban": "418 for `seconds`; each request inside the ban doubles it, up to `most` seconds",
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

#: Codes with which a close at market is refused.
CLOSE_REFUSALS = (-2010, -2019, -2022, -4016, -4140, -4164, -4188, -4411)
#: Further random faults: answers that are late, empty, stale or wrong for a while. `weight` is as above.
_WRONG: Sequence[Mapping[str, Any]] = (
    {"on": "GET /fapi/v3/positionRisk", "kind": "empty_positions", "weight": 8.0, "lasts": 20},
    {"on": "GET /fapi/v3/account", "kind": "empty_assets", "weight": 5.0, "lasts": 1_800},
    {"on": "GET /fapi/v1/userTrades", "kind": "late_trades", "weight": 1.5, "bars": 2, "lasts": 3_600},
    {"on": "GET /fapi/v1/order", "kind": "stale_not_found", "weight": 5.0, "lasts": 20},
    {"on": "GET /fapi/v1/openAlgoOrders", "kind": "stop_vanishes", "weight": 5.0},
    {"on": "GET /fapi/v1/openOrders", "kind": "partial_then_cancel", "weight": 8.0, "only": "opens"},
    {"on": "GET /fapi/v1/openOrders", "kind": "partial_then_cancel", "weight": 4.0, "only": "closes"},
    {"on": "GET /fapi/v1/klines", "kind": "clock_step", "weight": 1.0, "ms": 600_000, "lasts": 1_800},
    {"on": "GET /fapi/v1/klines", "kind": "clock_step", "weight": 1.0, "ms": -600_000, "lasts": 1_800},
    {"on": "*", "kind": "clock_step", "weight": 0.1, "ms": 600_000, "lasts": 1_800, "whose": "client"},
    {"on": "*", "kind": "clock_step", "weight": 0.1, "ms": -600_000, "lasts": 1_800, "whose": "client"},
    {"on": "*", "kind": "escalating_ban", "weight": 0.1, "seconds": 1_200, "most": 7_200},
    {"on": "*", "kind": "error", "weight": 0.05, "code": -2015, "lasts": 20},
    *({"on": "POST /fapi/v1/order", "kind": "error", "weight": 10.0, "code": code, "only": "closes"}
      for code in CLOSE_REFUSALS),
)  # fmt: skip
#: Names of the mixtures of random faults.
MIXTURES = ("usual", "all")
_THREE_DAYS = 3 * 24 * 3600
_TEN_YEARS_MS = 10 * 366 * 24 * 3600 * 1000


class Fault(BaseModel):
    """One rule of a script."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)

    kind: str
    on: str = "*"
    skip: int = Field(0, ge=0)
    times: int = Field(1, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    lasts: int = Field(0, ge=0, le=_TEN_YEARS_MS // 1000)
    only: Literal["", "opens", "closes"] = ""
    seconds: int = Field(1, ge=0, le=_THREE_DAYS)
    most: int = Field(_THREE_DAYS, ge=1, le=_THREE_DAYS)
    code: int = Field(-1000, ge=-99_999, le=-1)
    status: int = Field(0, ge=0, le=599)
    text: str = ""
    ms: int = Field(60_000, ge=-_TEN_YEARS_MS, le=_TEN_YEARS_MS)
    bars: int = Field(0, ge=0, le=1_000_000)
    whose: Literal["server", "client"] = "server"
    count: int = Field(1, ge=1)
    share: float = Field(0.5, gt=0, lt=1)
    executed: bool = True
    symbol: str = ""
    side: Literal["BUY", "SELL"] = "SELL"
    position_side: Literal["LONG", "SHORT", "BOTH"] = Field("LONG", alias="positionSide")
    quantity: float = Field(0.0, ge=0)

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        return kind

    @field_validator("status")
    @classmethod
    def _is_status(cls, status: int) -> int:
        if 0 < status < 200:
            raise ValueError("a status is 200 to 599, or 0 for the usual one")
        return status

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
    until: int = 0  #: end of a fault that lasts, ms


class Faults:
    """The rules in force; each has its own random generator, so that one does not change the draws of another."""

    def __init__(self, rules: Sequence[Fault] = (), seed: int = 0) -> None:
        self._rules = [
            _Rule(rule, rule.skip, rule.times, random.Random(f"{seed}/{number}")) for number, rule in enumerate(rules)
        ]

    def draw(self, method: str, path: str, applies: Callable[[Fault], bool], now: int = 0) -> Fault | None:
        """Return the fault of a request, or None.

        Parameters
        ----------
        applies : returns whether a rule's kind can apply to the request.
        now : the exchange's time, ms.
        """
        for rule in self._rules:
            fault = rule.fault
            goes_on = now < rule.until
            if not fault.matches(method, path) or (fault.times and not rule.left and not goes_on):
                continue
            if fault.kind == "clock_step" and goes_on:
                continue  # it has stepped already
            if not applies(fault):
                continue
            if goes_on:
                return fault
            if rule.skip:
                rule.skip -= 1
                continue
            if fault.probability < 1.0 and rule.generator.random() >= fault.probability:
                continue
            rule.left -= 1
            rule.until = now + 1000 * fault.lasts
            return fault
        return None


def random_faults(seed: int, probability: float, mixture: str = "usual") -> Faults:
    """Return random faults.

    Parameters
    ----------
    probability : about the share of requests that get one of the usual faults.
    mixture : "usual", or "all" for answers that are late, empty, stale or wrong for a while beside the usual ones.
    """
    total = sum(weight for on, _, weight in _RANDOM if on == "*")
    rules: list[Mapping[str, Any]] = [{"on": on, "kind": kind, "weight": weight} for on, kind, weight in _RANDOM]
    if mixture == "all":
        rules = [*_WRONG, *rules]  # those for one path first, else the usual ones would hide them
    return Faults([_rare(rule, probability / total) for rule in rules], seed)


def _rare(rule: Mapping[str, Any], unit: float) -> Fault:
    """Return a rule without an end; `unit` is the probability of a weight of 1."""
    terms = {name: value for name, value in rule.items() if name != "weight"}
    return Fault(**terms, times=0, probability=min(unit * rule["weight"], 1.0))


def make_faults(script: Mapping[str, Any]) -> Faults:
    """Return the faults of a script.

    Raises
    ------
    ConfigError
        A rule is invalid; the message names it.
    """
    unknown = set(script) - {"seed", "fault", "random", "mixture"}
    if unknown:
        raise ConfigError(
            f"faults: {', '.join(sorted(unknown))} is unknown; a script has seed and fault, or seed, random and mixture"
        )
    seed = script.get("seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"faults: seed {str(seed)[:40]!r} is no whole number")
    if "random" in script:
        share = script["random"]
        if not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise ConfigError(f"faults: random {str(share)[:40]!r} is no share between 0 and 1")
        mixture = script.get("mixture", MIXTURES[0])
        if mixture not in MIXTURES:
            raise ConfigError(f"faults: mixture {mixture!r} is none of {', '.join(MIXTURES)}")
        return random_faults(seed, share, mixture)
    rules = []
    entries = script.get("fault", [])
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("faults: fault is a list of tables: [[fault]] in TOML")
    for number, entry in enumerate(entries, start=1):
        try:
            rule = Fault(**entry)
        except (ValidationError, TypeError) as error:
            reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("?",), "msg": str(error)}
            where, what = ".".join(map(str, reason["loc"])), reason["msg"].removeprefix("Value error, ")
            joint = " " if where == "kind" and what.startswith("'") else ": "
            raise ConfigError(f"fault {number}: {where}{joint}{what}") from None
        rules.append(rule)
    return Faults(rules, seed)


def read_faults(path: Path, seed: int | None = None) -> Faults:
    """Return the faults of a TOML or JSON file, with its seed or another one."""
    try:
        script: Any = _read_json(path) if path.suffix == ".json" else read_toml(path)
    except ConfigError as error:
        raise ConfigError(f"--faults {error}") from None
    try:
        if not isinstance(script, dict):
            raise ConfigError("faults: a table of seed and fault, or of seed, random and mixture")
        return make_faults(script if seed is None else script | {"seed": seed})
    except ConfigError as error:
        raise ConfigError(f"--faults {path}: {error}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_settings_text(path, "JSON", TOML_LIMIT))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({str(error)[:100]})") from None
