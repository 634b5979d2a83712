"""The entries of both sides, kept in step with what rests at the exchange."""

from collections import Counter
from collections.abc import Sequence

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.compiled import buffer, byte_buffer, compiled, plain, table
from gridv4_bt.engine.ladder import CANCEL, PLACED, TRACE_ACTIONS, Blocked, plan_ladder
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Leg


class LadderPlan:
    """Which entries of LONG and SHORT rest, and the reasons for the levels without one."""

    def __init__(self, legs: Sequence[Leg], market: Market, config: GridConfig) -> None:
        self._legs = legs
        for leg in legs:
            leg.reserve(config.levels)
        self._plan = compiled(plan_ladder)
        self._config = config
        self._around: list[tuple] = [(), ()]
        self._tally = buffer(len(Blocked), whole=True)
        self._found = table(3, 3)
        self._trace = byte_buffer(2 * config.levels)
        self.trace = bytearray()  #: of every bar planned, see `plan_ladder`
        self.obey(market)
        for leg in legs:
            self.look_around(leg, [])

    def obey(self, market: Market) -> None:
        """Plan by these filters from now on."""
        config = self._config
        self._numbers = (
            config.levels, config.max_inventory, config.gamma, config.kappa, config.horizon,
            market.tick, market.step, market.min_qty, market.min_notional, config.keep_price, config.keep_qty,
        )  # fmt: skip
        self._gather()

    def look_around(self, leg: Leg, cooling: list[float]) -> None:
        """Take in a side's fills and the prices that are `cooling`."""
        fills = leg.tracker.prices
        taken = fills + cooling
        # One element more, because an empty array has no type to compile for.
        prices = buffer(len(taken) + 1)
        for i, price in enumerate(taken):
            prices[i] = price
        self._around[leg.sign < 0] = (prices, len(fills), len(taken), leg.orders)
        self._gather()

    def _gather(self) -> None:
        self._unchanging = (*self._numbers, *self._around[0], *self._around[1], self._tally, self._found, self._trace)

    def change(self, *numbers: float) -> tuple[bool, float, float]:
        """Plan the legs' entries anew, as the legs' `actions` then say.

        The parameters are those of `plan_ladder` that change with the bar. Return whether any order changes, and q
        and shift of `centre_grid`.
        """
        changed = self._plan(*numbers, *self._unchanging)
        self.trace.extend(self._trace)
        (q, shift, _), long_totals, short_totals = plain(self._found)
        if changed:
            long, short = self._legs
            if changed & 1:
                long.take_totals(long_totals)
            if changed & 2:
                short.take_totals(short_totals)
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
