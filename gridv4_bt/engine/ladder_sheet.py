"""The numbers of a plan as one sheet of memory, because entering compiled code costs by the argument.

A sheet is the records that `gridv4_bt.engine.ladder.plan_ladder` works on, one after the other, with the names that
they have elsewhere. The bar's numbers come first, to be written by one `struct` call in the order of `BAR`; of the
config and of the market it holds every number.
"""

from collections.abc import MutableSequence, Sequence
from struct import Struct
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.ladder import Blocked, LadderSide, Plan, plan_ladder
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.state import LegState, Memory, Now


def numbers_of(record: type[Any], *names: str) -> np.dtype[np.void]:
    """Return the dtype of a record's numbers of these names, of all its numbers without any."""
    kinds = {name: kind for name, kind in get_type_hints(record).items() if kind in (int, float)}
    return np.dtype([(name, "i8" if kinds[name] is int else "f8") for name in names or kinds])


_LEG = numbers_of(LegState, "blocked", "taken_fills", "taken", "qty")
_NOW = ("spacing_pct", "close", "sigma", "equity", "notional")
#: What a bar sets before its plan.
BAR = (
    ("memory", numbers_of(Memory, "anchor", "funding_rate")),
    ("long", _LEG),
    ("short", _LEG),
    ("now", numbers_of(Now, *_NOW)),
)
#: What a plan finds, the last numbers of `now`.
FOUND = ("q", "shift")

_COLUMNS = (
    *BAR[:-1],
    ("now", numbers_of(Now, *_NOW, *FOUND)),
    ("totals", "f8", (2, 3)),  # of LONG and SHORT, see `ladder_totals`
    ("tally", "i8", len(Blocked)),
    ("p", numbers_of(GridConfig)),
    ("rules", numbers_of(Market)),
)
#: `np.record` gives names to attributes in plain Python too.
SHEET = np.dtype((np.record, np.dtype(list(_COLUMNS))))

_bar = Struct("".join("q" if record[name].kind == "i" else "d" for _, record in BAR for name in record.names or ()))
#: Writes the numbers of `BAR` on a sheet from its start.
write_bar = _bar.pack_into
#: Where a sheet holds what a plan finds, bytes: q and shift, then the totals of LONG and of SHORT.
FOUND_AT = _bar.size
read_found = Struct("2d").unpack_from
LONG_TOTALS_AT, SHORT_TOTALS_AT = FOUND_AT + 16, FOUND_AT + 40
read_totals = Struct("3d").unpack_from


def plan_bar(
    sheet: NDArray[np.float64],
    long_taken: Sequence[float],
    long_orders: Sequence[MutableSequence[float]],
    short_taken: Sequence[float],
    short_orders: Sequence[MutableSequence[float]],
    trace: MutableSequence[int],
) -> int:
    """`plan_ladder` on a sheet.

    The sheet comes as plain floats, because an array of records takes longer to recognise.
    """
    s = sheet.view(SHEET)[0]
    long = LadderSide(s.long, long_taken, long_orders, s.totals[0])
    short = LadderSide(s.short, short_taken, short_orders, s.totals[1])
    return plan_ladder(s.p, s.rules, s.memory, s.now, long, short, Plan(s.tally, trace))
