"""The entries of both sides, kept in step with what rests at the exchange."""

from collections import Counter
from collections.abc import Sequence
from struct import Struct

from gridv4_bt.compiled import buffer, compiled, floats, octets, rows
from gridv4_bt.config import GridConfig
from gridv4_bt.core import funding, grid, inventory
from gridv4_bt.engine import ladder, quick_price
from gridv4_bt.engine.ladder import (
    BAR_NUMBERS,
    CANCEL,
    COUNTS,
    PLACED,
    SETTINGS,
    SHEET,
    TRACE_ACTIONS,
    Blocked,
    plan_bar,
)
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Leg

FLOAT = 8  #: bytes
#: The modules whose functions a plan is made of.
MADE_OF = (funding, grid, inventory, quick_price, ladder)
_write_bar = Struct(f"{BAR_NUMBERS}d").pack_into
_read_found = Struct("9d").unpack


class LadderPlan:
    """Which entries of LONG and SHORT rest, and the reasons for the levels without one."""

    def __init__(self, legs: Sequence[Leg], market: Market, config: GridConfig) -> None:
        self._legs = legs
        for leg in legs:
            leg.reserve(config.levels)
        self._plan = compiled(plan_bar, MADE_OF)
        self._config = config
        self._memory = bytearray(SHEET * FLOAT)
        self._sheet = floats(self._memory)
        self._taken = [buffer(1), buffer(1)]
        self._tally = buffer(len(Blocked), whole=True)
        self._found = bytearray(9 * FLOAT)
        self._bar_trace = bytearray(2 * config.levels)
        self.trace = bytearray()  #: of every bar planned, see `plan_ladder`
        self.obey(market)
        for leg in legs:
            self.look_around(leg, [])

    def obey(self, market: Market) -> None:
        """Plan by these filters from now on."""
        config = self._config
        settings = (
            config.levels, config.max_inventory, config.gamma, config.kappa, config.horizon,
            market.tick, market.step, market.min_qty, market.min_notional, config.keep_price, config.keep_qty,
        )  # fmt: skip
        for place, setting in enumerate(settings, start=BAR_NUMBERS):
            self._sheet[place] = setting

    def look_around(self, leg: Leg, cooling: list[float]) -> None:
        """Take in a side's fills and the prices that are `cooling`."""
        fills = leg.tracker.prices
        taken = fills + cooling
        # One element more, because an empty array has no type to compile for.
        prices = buffer(len(taken) + 1)
        for i, price in enumerate(taken):
            prices[i] = price
        is_short = leg.sign < 0
        self._taken[is_short] = prices
        place = BAR_NUMBERS + SETTINGS + is_short * COUNTS // 2
        self._sheet[place], self._sheet[place + 1] = len(fills), len(taken)
        long, short = self._legs
        self._arrays = (
            self._sheet,
            self._taken[0],
            long.orders,
            self._taken[1],
            short.orders,
            self._tally,
            rows(self._found, 3),
            octets(self._bar_trace),
        )

    def change(self, *numbers: float) -> tuple[bool, float, float]:
        """Plan the legs' entries anew, as the legs' `actions` then say.

        The parameters are those of `plan_ladder` that change with the bar. Return whether any order changes, and q
        and shift of `centre_grid`.
        """
        _write_bar(self._memory, 0, *numbers)
        changed = self._plan(*self._arrays)
        self.trace += self._bar_trace
        q, shift, _, *totals = _read_found(self._found)
        if changed:
            long, short = self._legs
            if changed & 1:
                long.take_totals(totals[:3])
            if changed & 2:
                short.take_totals(totals[3:])
        return changed > 0, q, shift

    def refused(self, reasons: dict[int, Blocked]) -> None:
        """Count the entries the broker refused, by level; they are wanted again at the next bar."""
        levels = self._config.levels
        for level, reason in reasons.items():
            self._tally[PLACED] -= 1
            self._tally[reason] += 1
            place = abs(level) - 1 - (levels if level > 0 else 2 * levels)
            self.trace[place] = CANCEL + TRACE_ACTIONS * reason

    def reasons(self) -> Counter[Blocked]:
        """Return the level-bars without an order so far, by reason."""
        counts = {reason: int(self._tally[reason]) for reason in Blocked}
        return Counter({reason: count for reason, count in counts.items() if count and reason != PLACED})
