"""Legs that a person closes: in whole or in part, at market or by exits that rest at a price.

What shall stay of each fill is worked out once, when the command is taken up, and not what shall go: a bot that was
killed over it goes on until no more than that is held, and closes nothing twice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from gridv4_bt.core.grid import round_down, round_up
from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book, Leg
from gridv4_bt.engine.labels import MANUAL
from gridv4_bt.engine.matching import order_close
from gridv4_bt.engine.position import LOT_NOISE


@dataclass(frozen=True)
class Closing:
    """What is left to do for one leg."""

    id: str  #: of the command
    since: str  #: time of the command's taking up, ISO 8601
    leave: dict[int, float] | None = None  #: base units of each fill that stay; None: nothing, whatever is filled yet
    limit: float | None = None  #: price of the exits, 0 for the best one that takes nothing; None: at market

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the closing of a JSON object made by `to_json`."""
        return cls(data["id"], data["since"], leave_from_json(data["leave"]), data["limit"])

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    def left_of(self, fill_id: int, qty: float) -> float:
        """Return how much of a fill stays, base units."""
        if self.leave is None:
            return 0.0
        return min(self.leave.get(fill_id, qty), qty)

    def is_done(self, leg: Leg) -> bool:
        """Return whether no more is held in the books than shall stay."""
        fills = zip(leg.tracker.ids, leg.tracker.qtys, strict=True)
        return all(qty - self.left_of(fill_id, qty) <= LOT_NOISE * qty for fill_id, qty in fills)

    def close(self, book: Book, leg: Leg) -> None:
        """Order at market what is left to be closed and is not being closed yet."""
        for index, (fill_id, qty) in enumerate(zip(leg.tracker.ids, leg.tracker.qtys, strict=True)):
            ordered = plain_sum(close.qty for close in leg.closes if close.fill_id == fill_id)
            rest = qty - self.left_of(fill_id, qty) - ordered
            if rest > LOT_NOISE * qty:
                order_close(book, leg, index, rest, MANUAL)

    def rest_exits(self, book: Book, leg: Leg, limit: float) -> None:
        """Let the exits of the fills that are closed rest at the limit, a tick beyond the latest close at best."""
        price = exit_at(leg.sign, limit, book.bar.close, book.market.tick)
        for fill_id in self._chosen(leg):
            leg.exits[fill_id] = price
        book.orders_changed()

    def release_exits(self, book: Book, leg: Leg) -> None:
        """Take the exits away before a decision, which places all of them anew."""
        for fill_id in self._chosen(leg):
            leg.exits.pop(fill_id, None)
        book.orders_changed()

    def _chosen(self, leg: Leg) -> list[int]:
        fills = zip(leg.tracker.ids, leg.tracker.qtys, strict=True)
        return [fill_id for fill_id, qty in fills if self.left_of(fill_id, qty) < qty * (1.0 - LOT_NOISE)]


def exit_at(side_sign: int, limit: float, close: float, tick: float) -> float:
    """Return where an exit at a person's limit rests: there, or a tick beyond the latest close if that has passed it.

    Parameters
    ----------
    limit : 0 for the best price.
    """
    if side_sign > 0:
        return max(round_up(limit, tick), round_up(close + tick, tick))
    beyond = round_down(close - tick, tick)
    return min(round_down(limit, tick), beyond) if limit else beyond


def what_stays(
    fills: Mapping[int, float], share: float, step: float, min_qty: float, *, whole: bool
) -> dict[int, float] | None:
    """Return how much of each fill stays when a share of a leg is closed, None if nothing does.

    The oldest fills are closed first, as the exchange's own books of a leg know no others.

    Parameters
    ----------
    fills : base units by fill id, oldest first.
    share : above 0, at most 1, of their sum; rounded down to the step.
    whole : only whole fills are closed, because each has one exit; else a part of the last one too.
    """
    if share >= 1.0:
        return None
    left = round_down(share * plain_sum(fills.values()), step)
    stays: dict[int, float] = {}
    for fill_id, qty in fills.items():
        part = min(qty, left)
        if (whole and part < qty * (1.0 - LOT_NOISE)) or part < min_qty:
            part = left = 0.0
        stays[fill_id] = _on_step(qty - part, step)
        left = max(_on_step(left - part, step), 0.0)
    return stays


def leave_from_json(data: Mapping[str, float] | None) -> dict[int, float] | None:
    """Return what stays of each fill from JSON, whose keys are texts."""
    return None if data is None else {int(fill_id): qty for fill_id, qty in data.items()}


def _on_step(qty: float, step: float) -> float:
    """Return a quantity without the noise of a subtraction."""
    return round_down(qty + 0.5 * step, step)
