"""One positionSide as the steps of a strategy in Backtrader see it."""

from gridv4_bt.compiled import buffer
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.state import CoolingColumns
from gridv4_bt.engine.types import PositionSide


class Side:
    """One positionSide: its leg in the broker's book, and what the steps remember of it."""

    __slots__ = ("book", "cooling", "fills", "leg", "side", "taken", "tracker")

    def __init__(self, book: Leg) -> None:
        self.book = book
        self.side: PositionSide = book.side
        self.tracker = book.tracker
        self.leg, self.fills = book.leg, book.fills
        self.cooling = CoolingColumns()
        self.taken = buffer(1)  #: prices of the open fills, then of the levels cooling
        self.leg.changed = 1  # nothing of it was looked at yet

    def make_room(self) -> bool:
        """Make room for one more level that cools."""
        if self.leg.cooling == len(self.cooling.price):
            self.cooling.price.append(0.0)
            self.cooling.until.append(0)
        self.reserve()
        return True

    def reserve(self) -> None:
        """Make room for the prices of what is open or cools."""
        # One element more, because an empty array has no type to compile for.
        needed = self.leg.fills + len(self.cooling.price) + 1
        if len(self.taken) < needed:
            before, self.taken = self.taken, buffer(2 * needed)
            self.taken[: len(before)] = before
