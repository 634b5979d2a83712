"""What the strategy remembers of one side between bars."""

from gridv4_bt.config import GridConfig
from gridv4_bt.engine.exits import exits_stay
from gridv4_bt.engine.ladder import PLACED
from gridv4_bt.engine.matching import Leg
from gridv4_bt.engine.pruning import FUNDING_SHARE, gap_price, underwater_price

NEVER = 2**62


class SideState:
    """One positionSide as the strategy sees it: its leg and its guards."""

    def __init__(self, leg: Leg, config: GridConfig) -> None:
        self.leg = leg
        self.side = leg.side
        self.sign = leg.sign
        self.tracker = leg.tracker
        self.blocked = PLACED  #: `Blocked` code of all entries at the last bar
        self.stage1_done = False  #: stage 1 has closed its half and the price has not come back since
        self.stop_rests = False  #: a stage-2 stop stands or is being executed at market
        self._offset_spacings = config.offset_spacings
        self._cooling: list[tuple[float, int]] = []  # price of a cut fill, bar from which it is open again
        self.look_again = 0  #: bar number from which the plan must look around anew
        self.seen_version = -1  #: of the tracker, when it was looked at last
        self._seen_settlements = 0
        self._gap_trigger = 0.0
        self._under_water = 0.0
        self._exit_shift = 0.0
        self._exit_slack = -1.0
        self._exit_guard = 0.0

    def refresh(self) -> None:
        """Notice fills and closings since the last bar: the tracker is at another version."""
        self.seen_version = self.tracker.version
        self.look_again = 0
        self._exit_slack = -1.0
        nearest = max if self.sign > 0 else min
        columns = list(zip(self.tracker.prices, self.tracker.spacings, strict=True))
        if not columns:
            return
        self._gap_trigger = nearest(gap_price(self.sign, price, spacing) for price, spacing in columns)
        self._under_water = nearest(
            underwater_price(self.sign, price, spacing, self._offset_spacings) for price, spacing in columns
        )

    def may_prune(self, price: float, oldest_allowed: int, settlements: int) -> bool:
        """Tell whether age, gap or funding may cut any fill; never False when one does."""
        tracker = self.tracker
        if tracker.times[0] < oldest_allowed or self.sign * (price - self._gap_trigger) < 0.0:
            return True
        # What a fill has paid changes with a settlement only.
        if settlements == self._seen_settlements:
            return False
        self._seen_settlements = settlements
        return any(
            paid > FUNDING_SHARE * spacing * entry * qty
            for paid, spacing, entry, qty in zip(
                tracker.fundings, tracker.spacings, tracker.prices, tracker.qtys, strict=True
            )
        )

    def is_under_water(self, price: float) -> bool:
        """Tell whether any fill is far enough under water to be offset."""
        return bool(self.tracker.ids) and self.sign * (price - self._under_water) <= 0.0

    def cool(self, price: float, until: int) -> None:
        """Keep the level at a price closed before bar number `until`."""
        self._cooling.append((price, until))
        self.look_again = 0

    def cooling_prices(self, bar: int) -> list[float]:
        """Return the prices still closed at bar number `bar` and forget the others."""
        self._cooling = [item for item in self._cooling if item[1] > bar]
        self.look_again = min((until for _, until in self._cooling), default=NEVER)
        return [price for price, _ in self._cooling]

    def exits_stand(self, shift: float, last_price: float) -> bool:
        """Tell whether every exit is still within its tolerance and does not cross the price."""
        if len(self.leg.exits) != len(self.tracker.ids):
            return False
        return exits_stay(self.sign, shift, self._exit_shift, self._exit_slack, self._exit_guard, last_price)

    def exits_placed(self, shift: float, slack: float) -> None:
        """Note the inventory shift the exits were placed with and how far it may move."""
        self._exit_shift = shift
        self._exit_slack = slack
        self._exit_guard = self.leg.first_exit()
