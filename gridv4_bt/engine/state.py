"""The records that the eleven steps work on, declared once: plain objects, and numpy records for compiled code.

`dtype_of` gives a record's numpy dtype, with a column for each field. Whole numbers are int64, all else is float64; a
list is a column of so many int64.
"""

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Where the regime of step 1 comes from.
REGIMES = ("none", "kama", "gmm")
NO_REGIME, KAMA_REGIME, GMM_REGIME = range(3)

STOPS_KEPT = 21  #: bars of the latest stops: one more than the largest `cooldown_stops`

INFINITY = float("inf")
NO_STOP = float("nan")  #: price of a leg without a stop


@dataclass(slots=True)
class Now:
    """What one bar's steps take in and find out."""

    time: int = 0  #: open time, ms
    regime: int = 0  #: the regime that rules at this bar
    var_limited: int = 0
    close: float = 0.0
    equity: float = 0.0
    atr: float = 0.0
    z: float = 0.0
    sigma: float = 0.0  #: per bar
    kama: float = 0.0  #: of the bar before
    q: float = 0.0  #: normalised inventory
    shift: float = 0.0  #: reservation price minus close
    centre: float = 0.0
    spacing_pct: float = 0.0
    kelly: float = 0.0
    notional: float = 0.0  #: of one level before the funding tilt, quote
    var: float = 0.0  #: value at risk, quote
    maintenance: float = 0.0  #: margin, quote
    liquidation_down: float = 0.0  #: how far the price may fall, fraction of it
    liquidation_up: float = 0.0


@dataclass(slots=True)
class Memory:
    """What the strategy remembers of a symbol between bars."""

    source: int = 0  #: of the regime, see `REGIMES`
    alone: int = 1  #: no other symbol shares the wallet
    bar: int = 0  #: number of the bar traded, the clock of cooldowns
    day: int = 0  #: UTC day since 1970
    halted: int = 0
    halts: int = 0
    stops: int = 0
    margin_calls: int = 0  #: of the account, counted by the symbol of its worst fill
    cools_until: int = 0  #: bar before which so many stops make orders smaller
    #: Bars of the latest stops, a ring: that of stop n, counted from 0, is at n % STOPS_KEPT.
    stop_bars: list[int] = field(default_factory=lambda: [0] * STOPS_KEPT)
    anchored: int = 0  #: whether there is an anchor
    entries_change: int = 0  #: whether the plan changes an order: 1 of LONG, 2 of SHORT, 3 of both
    liquidation_near: int = 0  #: bars at which the nearest liquidation price was within the warning
    settlements: int = 0  #: how many there were
    anchor: float = 0.0
    realized_today: float = 0.0  #: net profit of the account on the UTC day, quote
    funding_rate: float = float("nan")  #: latest settled
    min_distance: float = float("inf")  #: least distance of a liquidation price so far, fraction of the price


@dataclass(slots=True)
class LegState:
    """One side as the steps see it: what is held and open, and their guards."""

    sign: int = 1
    fills: int = 0  #: how many are open
    changed: int = 0  #: the fills have changed since the steps looked
    has_stop: int = 0
    closes: int = 0  #: market orders for the next open
    stopped: int = 0  #: a stop closed the leg in this bar
    entry_count: int = 0
    exit_count: int = 0
    stage1_done: int = 0  #: stage 1 has closed its share and the price has not come back since
    stop_rests: int = 0  #: a stop of stage 2 rests or is being executed at market
    blocked: int = 0  #: `Blocked` code of all entries at the last bar
    paused: int = 0  #: `Blocked` code for which a person, or a mismatch, keeps all entries back; 0: none does
    look_again: int = 0  #: number of the bar at which the surroundings of the levels change by themselves
    cooling: int = 0  #: how many levels are closed after a cut
    taken: int = 0  #: how many prices keep levels from being placed: of open fills, then of levels cooling
    taken_fills: int = 0
    settlements_seen: int = 0
    latest_time: int = 0  #: ms, at which no fill is too old yet
    qty: float = 0.0
    cost: float = 0.0  #: sum of qty*price, quote
    stop: float = 0.0
    entry_notional: float = 0.0  #: of all resting entries, quote
    left: float = 0.0  #: base units that would be held after part of a margin call
    ordered: float = 0.0  #: notional of the opening single orders, quote
    first_entry: float = 0.0  #: price of the entry that the market meets first, infinitely far without any
    first_exit: float = 0.0
    gap_trigger: float = 0.0  #: price beyond which a gap may cut a fill
    under_water: float = 0.0  #: price beyond which a fill may be offset
    exit_shift: float = 0.0  #: inventory shift that the exits were placed with
    exit_slack: float = -1.0  #: how far it may move until one changes
    exit_guard: float = 0.0  #: price of the exit that the market meets first


@dataclass(slots=True)
class BookState:
    """The orders of a symbol as the market meets them."""

    place: int = 0  #: among the books of the account
    regime: int = 0  #: code that ruled when the open orders were confirmed; new fills carry it
    has_bar: int = 1  #: a bar of the symbol closes at this step
    fresh: int = 0  #: a bar with volume has come, or a part of one
    orders_changed: int = 1  #: other orders than entries have changed since they were looked at
    market_orders: int = 0  #: market orders for the next open
    takeover: float = 0.0  #: price of the latest liquidation


@dataclass(slots=True)
class Kelly:
    """What a regime's closed trades say."""

    returns: int = 0  #: how many are kept
    known: int = 0  #: whether the multiplier is that of these returns
    multiplier: float = 1.0


@dataclass(slots=True)
class FillColumns:
    """The open fills of a side, oldest first, one column for each fact."""

    id: list[int]
    time: list[int]  #: open time of the bar it filled in, ms
    regime: list[int]
    qty: list[float]
    price: list[float]
    spacing_pct: list[float]
    funding: list[float]
    fee: list[float]
    closed_qty: list[float]  #: of the parts closed before, as the next
    closed_net: list[float]
    exit: list[float] = field(default_factory=list)  #: price of the take-profit order, 0 without one


@dataclass(slots=True)
class CoolingColumns:
    """Levels closed after a cut: where, and before which bar; there may be room for more than there are."""

    price: list[float] = field(default_factory=list)
    until: list[int] = field(default_factory=list)


def dtype_of(record: type[Any]) -> np.dtype[np.void]:
    """Return the numpy dtype of a record."""
    return np.dtype([_column(column) for column in fields(record)])


def _column(column: Field[Any]) -> tuple[Any, ...]:
    if column.default_factory is not MISSING:
        return column.name, "i8", (len(column.default_factory()),)
    return column.name, "i8" if column.type in (int, "int") else "f8"


def new_records(record: type[Any], count: int) -> NDArray[np.void]:
    """Return `count` records with the defaults that their class declares."""
    rows = np.zeros(count, dtype_of(record))
    for column in fields(record):
        rows[column.name] = column.default if column.default_factory is MISSING else column.default_factory()
    return rows
