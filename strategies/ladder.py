"""The entries of one side, kept in step with what rests at the exchange."""

from collections import Counter
from collections.abc import Sequence

from gridv4_bt.engine.compiled import buffer, compiled
from gridv4_bt.engine.ladder import MARGIN, PLACED, Blocked, plan_side
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.matching import Leg


class SidePlan:
    """Plan of one side: which entries rest, and the reason for every level without one."""

    def __init__(self, leg: Leg, market: Market, levels: int, keep_price: float, keep_qty: float) -> None:
        self._leg = leg
        self._levels = levels
        leg.reserve(levels)
        self.actions: Sequence[int] = buffer(leg.levels, whole=True)  #: of the last plan, see `plan_side`
        self._plan_side = compiled(plan_side)
        self._market = (market.tick, market.step, market.min_qty, market.min_notional, keep_price, keep_qty)
        self._codes = buffer(levels, whole=True)
        self._tally = buffer(len(Blocked), whole=True)
        self._totals = buffer(3)
        self._blocked = [0] * len(Blocked)
        self._block = PLACED
        self.look_around([])

    def look_around(self, cooling: list[float]) -> None:
        """Take in the side's fills and the prices that are `cooling`."""
        fills = self._leg.tracker.prices
        leg = self._leg
        self._unchanging = (
            *self._market, _filled(fills), len(fills), _filled(cooling), len(cooling),
            leg.prices, leg.qtys, leg.spacings, self.actions, self._codes, self._tally, self._totals,
        )  # fmt: skip

    def block(self, reason: int) -> bool:
        """Count a bar without any entry for one `Blocked` code; False if that was so at the last bar already."""
        self._blocked[reason] += self._levels
        news = self._block != reason
        self._block = reason
        return news

    def change(
        self, centre: float, spacing_pct: float, last_price: float, edge: float, notional: float, room: float
    ) -> bool:
        """Plan the leg's columns of entries anew; tell whether any order changes, as `actions` say.

        The parameters are those of `plan_side`.
        """
        self._block = PLACED
        leg = self._leg
        changed = self._plan_side(
            leg.sign, self._levels, centre, spacing_pct, last_price, edge, notional, room,
            *self._unchanging,
        )
        if changed:
            leg.take_totals(self._totals)
        return changed > 0

    def refused(self, levels: list[int]) -> None:
        """Count the entries the broker refused; they are wanted again at the next bar."""
        self._tally[PLACED] -= len(levels)
        self._tally[MARGIN] += len(levels)

    def reasons(self) -> Counter[Blocked]:
        """Return the level-bars without an order so far, by reason."""
        counts = {reason: int(self._tally[reason]) + self._blocked[reason] for reason in Blocked}
        return Counter({reason: count for reason, count in counts.items() if count and reason != PLACED})


def _filled(values: list[float]):
    """Return the values in a buffer; one element more, because an empty array has no type to compile for."""
    array = buffer(len(values) + 1)
    for i, value in enumerate(values):
        array[i] = value
    return array
