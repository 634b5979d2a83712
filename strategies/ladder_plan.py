"""The entries of both sides, kept in step with what rests at the exchange."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridv4_bt import config as parameters
from gridv4_bt.compiled import available, buffer, compiled
from gridv4_bt.config import GridConfig
from gridv4_bt.core import funding, grid, inventory
from gridv4_bt.engine import ladder, ladder_sheet, market, quick_price, state
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.ladder import PLACED, Blocked, LadderSide, Plan, note_refusal, plan_ladder, take_totals
from gridv4_bt.engine.ladder_sheet import (
    FOUND_AT,
    LONG_TOTALS_AT,
    SHEET,
    SHORT_TOTALS_AT,
    plan_bar,
    read_found,
    read_totals,
    write_bar,
)
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.packed_rows import PackedRows
from gridv4_bt.engine.state import Memory, Now
from strategies.side import Side

#: The modules whose functions a plan is made of, and those whose records lay its sheet out: the machine code in the
#: cache is for one layout.
MADE_OF = (funding, grid, inventory, quick_price, ladder, ladder_sheet, parameters, market, state)


class LadderPlan:
    """Which entries of LONG and SHORT rest, and the reasons for the levels without one."""

    def __init__(self, legs: Sequence[Leg], market: Market, config: GridConfig) -> None:
        for leg in legs:
            leg.reserve(config.levels)
        self._config = config
        self._memory = bytearray(SHEET.itemsize)
        self._sheet = np.frombuffer(self._memory, SHEET)
        self._is_compiled = available()
        self._tally = self._sheet["tally"][0] if self._is_compiled else buffer(len(Blocked), whole=True)
        self._bar_trace = bytearray(2 * config.levels)
        self._taken: tuple[object, object] = (None, None)
        #: Of every bar planned, see `gridv4_bt.engine.ladder.Plan`.
        self.trace = PackedRows(2 * config.levels, np.uint8)
        for name in SHEET["p"].names or ():
            self._sheet["p"][name] = getattr(config, name)
        self.obey(market)

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be sent to another process: all but the machine code, which is found there."""
        return {**self.__dict__, "_plan_bar": None, "_taken": (None, None)}

    def obey(self, market: Market) -> None:
        """Plan by these filters from now on."""
        self._rules = market
        for name in SHEET["rules"].names or ():
            self._sheet["rules"][name] = getattr(market, name)

    def change(self, memory: Memory, now: Now, long: Side, short: Side) -> int:
        """Plan the legs' entries anew, as the legs' `actions` then say, and note q and shift.

        Return which sides' orders change, as `plan_ladder` does.
        """
        if long.taken is not self._taken[0] or short.taken is not self._taken[1]:
            self._take_up(long, short)
        long_totals: Sequence[float]
        short_totals: Sequence[float]
        if not self._is_compiled:
            changed = plan_ladder(self._config, self._rules, memory, now, *self._sides, self._plan)
            long_totals, short_totals = self._sides[0].totals, self._sides[1].totals
        else:
            long_leg, short_leg = long.leg, short.leg
            write_bar(
                self._memory, 0, memory.anchor, memory.funding_rate,
                long_leg.blocked, long_leg.taken_fills, long_leg.taken, long_leg.qty,
                short_leg.blocked, short_leg.taken_fills, short_leg.taken, short_leg.qty,
                now.spacing_pct, now.close, now.sigma, now.equity, now.notional,
            )  # fmt: skip
            changed = self._plan_bar()
            now.q, now.shift = read_found(self._memory, FOUND_AT)
            if changed:
                long_totals = read_totals(self._memory, LONG_TOTALS_AT)
                short_totals = read_totals(self._memory, SHORT_TOTALS_AT)
        self.trace.append(self._bar_trace)
        if changed & 1:
            take_totals(long.leg, long_totals)
        if changed & 2:
            take_totals(short.leg, short_totals)
        return changed

    def _take_up(self, long: Side, short: Side) -> None:
        self._taken = (long.taken, short.taken)
        if self._is_compiled:
            self._plan_bar = compiled(plan_bar, MADE_OF).bind(
                np.frombuffer(self._memory),
                long.taken,
                long.book.orders,
                short.taken,
                short.book.orders,
                np.frombuffer(self._bar_trace, np.uint8),
            )
        self._sides = (
            LadderSide(long.leg, long.taken, long.book.orders, [0.0] * 3),
            LadderSide(short.leg, short.taken, short.book.orders, [0.0] * 3),
        )
        self._plan = Plan(self._tally, self._bar_trace)

    def refused(self, reasons: dict[int, Blocked]) -> None:
        """Count the entries the broker refused, by level; they are wanted again at the next bar."""
        levels = self._config.levels
        latest = bytearray(self.trace.last())
        for level, reason in reasons.items():
            note_refusal(Plan(self._tally, latest), abs(level) - 1 + (levels if level > 0 else 0), reason)
        self.trace.replace_last(latest)

    def take_over(self, tally: Sequence[int]) -> None:
        """Take the counts by reason of plans that were made elsewhere; it plans no more."""
        self._tally[:] = tally

    def reasons(self) -> Counter[Blocked]:
        """Return the level-bars without an order so far, by reason."""
        counts = {reason: int(self._tally[reason]) for reason in Blocked}
        return Counter({reason: count for reason, count in counts.items() if count and reason != PLACED})
