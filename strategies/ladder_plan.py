"""The entries of both sides, kept in step with what rests at the exchange."""

from collections import Counter
from collections.abc import Sequence
from struct import Struct

from gridv4_bt.compiled import buffer, compiled, floats, octets, rows
from gridv4_bt.config import GridConfig
from gridv4_bt.core import funding, grid, inventory
from gridv4_bt.engine import ladder, quick_price
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.ladder import BAR_NUMBERS, CANCEL, PLACED, SHEET, TRACE_ACTIONS, Blocked, plan_bar
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.state import Memory, Now
from strategies.side import Side

FLOAT = 8  #: bytes
#: The modules whose functions a plan is made of.
MADE_OF = (funding, grid, inventory, quick_price, ladder)
_write_bar = Struct(f"{BAR_NUMBERS}d").pack_into
_read_found = Struct("9d").unpack


class LadderPlan:
    """Which entries of LONG and SHORT rest, and the reasons for the levels without one."""

    def __init__(self, legs: Sequence[Leg], market: Market, config: GridConfig) -> None:
        for leg in legs:
            leg.reserve(config.levels)
        self._plan = compiled(plan_bar, MADE_OF)
        self._config = config
        self._memory = bytearray(SHEET * FLOAT)
        self._sheet = floats(self._memory)
        self._taken: tuple[object, object] = (None, None)
        self._tally = buffer(len(Blocked), whole=True)
        self._found = bytearray(9 * FLOAT)
        self._bar_trace = bytearray(2 * config.levels)
        self.trace = bytearray()  #: of every bar planned, see `plan_ladder`
        self.obey(market)

    def obey(self, market: Market) -> None:
        """Plan by these filters from now on."""
        config = self._config
        settings = (
            config.levels, config.max_inventory, config.gamma, config.kappa, config.horizon,
            market.tick, market.step, market.min_qty, market.min_notional, config.keep_price, config.keep_qty,
        )  # fmt: skip
        for place, setting in enumerate(settings, start=BAR_NUMBERS):
            self._sheet[place] = setting

    def change(self, memory: Memory, now: Now, long: Side, short: Side, long_block: int, short_block: int) -> int:
        """Plan the legs' entries anew, as the legs' `actions` then say, and note q and shift.

        Return which sides' orders change, as `plan_ladder` does.
        """
        if long.taken is not self._taken[0] or short.taken is not self._taken[1]:
            self._take_up(long, short)
        _write_bar(
            self._memory, 0, long_block, short_block, memory.anchor, now.spacing_pct, now.close, now.sigma, now.equity,
            long.leg.qty, short.leg.qty, now.notional, memory.funding_rate,
            long.leg.taken_fills, long.leg.taken, short.leg.taken_fills, short.leg.taken,
        )  # fmt: skip
        changed: int = self._plan(*self._arrays)
        self.trace += self._bar_trace
        now.q, now.shift, _, *totals = _read_found(self._found)
        if changed & 1:
            long.book.take_totals(totals[:3])
        if changed & 2:
            short.book.take_totals(totals[3:])
        return changed

    def _take_up(self, long: Side, short: Side) -> None:
        self._taken = (long.taken, short.taken)
        self._arrays = (
            self._sheet,
            long.taken,
            long.book.orders,
            short.taken,
            short.book.orders,
            self._tally,
            rows(self._found, 3),
            octets(self._bar_trace),
        )

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
