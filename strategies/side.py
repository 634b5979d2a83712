"""One positionSide as the steps of a strategy in Backtrader see it."""

from gridv4_bt.compiled import buffer
from gridv4_bt.engine.matching import Leg
from gridv4_bt.engine.state import LegState
from gridv4_bt.engine.types import PositionSide, PositionTracker


class Fills:
    """The open fills of a side by the names of `gridv4_bt.engine.state.FillColumns`; the lists are the tracker's own."""

    __slots__ = ("exit", "fee", "funding", "id", "price", "qty", "regime", "spacing_pct", "time")

    def __init__(self, tracker: PositionTracker) -> None:
        self.id, self.time, self.regime = tracker.ids, tracker.times, tracker.regimes
        self.qty, self.price, self.spacing_pct = tracker.qtys, tracker.prices, tracker.spacings
        self.funding, self.fee = tracker.fundings, tracker.fees
        self.exit: list[float] = []


class Cooling:
    """Levels closed after a cut, with room for some more."""

    __slots__ = ("price", "until")

    def __init__(self) -> None:
        self.price: list[float] = []
        self.until: list[int] = []


class StrategySide:
    """One positionSide: its leg in the broker's book, and what the steps remember of it."""

    __slots__ = ("book", "cooling", "fills", "leg", "seen_version", "side", "taken", "tracker")

    def __init__(self, book: Leg) -> None:
        self.book = book
        self.side: PositionSide = book.side
        self.tracker = book.tracker
        self.leg = LegState(sign=book.sign)
        self.fills = Fills(book.tracker)
        self.cooling = Cooling()
        self.taken = buffer(1)
        self.seen_version = -1  #: of the tracker, when it was looked at last

    def take_in(self) -> None:
        """Take in what the broker has executed."""
        leg, tracker = self.leg, self.tracker
        self.seen_version = tracker.version
        leg.fills, leg.qty, leg.cost = len(tracker.ids), tracker.qty, tracker.cost
        self._reserve()

    def make_room(self) -> bool:
        """Make room for one more level that cools."""
        if self.leg.cooling == len(self.cooling.price):
            self.cooling.price.append(0.0)
            self.cooling.until.append(0)
        self._reserve()
        return True

    def _reserve(self) -> None:
        # One element more, because an empty array has no type to compile for.
        needed = self.leg.fills + len(self.cooling.price) + 1
        if len(self.taken) < needed:
            before, self.taken = self.taken, buffer(2 * needed)
            self.taken[: len(before)] = before
