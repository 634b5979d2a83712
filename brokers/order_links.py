"""Brackets and OCO groups: which orders are sent together, and which end when another does.

* A parent with ``transmit=False`` is kept, with its children, until one of them has ``transmit=True``; then all are
  sent. The children wait until their parent is executed.
* The end of a child, of whatever kind, cancels the others of its bracket; the end of a parent that was not executed
  cancels its children.
* An execution, cancellation or expiry of one order of an OCO group cancels the others. An order that was refused never
  joined its group: the others stay.
"""

import backtrader as bt

from gridv4_bt.engine.orders import Refusal


class OrderLinks:
    """The brackets and OCO groups of a broker's orders."""

    def __init__(self) -> None:
        self._kept: dict[int, list[bt.Order]] = {}  # not transmitted yet, by the ref of their parent
        self._brackets: dict[int, list[bt.Order]] = {}  # orders that are not over, by the ref of their parent
        self._groups: dict[int, list[bt.Order]] = {}  # by the ref of each of its orders

    def refusal(self, order: bt.Order) -> Refusal | None:
        """Return why an order cannot be linked as it asks to be, or None."""
        parent, other = order.parent, order.oco
        if parent is not None and parent.parent is not None:
            return Refusal(
                -1116, "Invalid orderType", ": the child of a child; a bracket has a parent and its children"
            )
        if parent is not None and (not self._is_open(parent) or parent.executed.size):
            return Refusal(-2011, "Unknown order sent.", " The parent is over; without parent= it is sent at once")
        if other is not None and not self._is_open(other) and other.status != bt.Order.Rejected:
            return Refusal(-2011, "Unknown order sent.", " The order of oco= is over; it would have cancelled this one")
        return None

    def _is_open(self, order: bt.Order) -> bool:
        ref = _bracket_of(order)
        return order in self._brackets.get(ref, []) or order in self._kept.get(ref, [])

    def take(self, order: bt.Order) -> list[bt.Order]:
        """Return the orders to be sent with a new one, parent first; none while it waits to be transmitted."""
        ref = _bracket_of(order)
        kept = self._kept.setdefault(ref, [])
        kept.append(order)
        return self._kept.pop(ref) if order.transmit else []

    def drop_kept(self, order: bt.Order) -> list[bt.Order]:
        """Take back an order that was not transmitted, with its children, and return them."""
        ref = _bracket_of(order)
        kept = self._kept.get(ref, [])
        gone = [one for one in kept if order.parent is None or one == order] if order in kept else []
        if gone:
            self._kept[ref] = [one for one in kept if one not in gone]
            if not self._kept[ref]:
                del self._kept[ref]
        return gone

    def join(self, order: bt.Order) -> None:
        """Enter an order that was accepted."""
        self._brackets.setdefault(_bracket_of(order), []).append(order)  # to one of its own a child may come later
        if order.oco is not None:
            group = self._groups.setdefault(order.oco.ref, [order.oco])
            group.append(order)
            self._groups[order.ref] = group

    def group_of(self, order: bt.Order) -> list[bt.Order]:
        """Return the OCO group of an order, the leader first; empty for none."""
        return self._groups.get(order.ref, [])

    def executed(self, order: bt.Order) -> tuple[list[bt.Order], list[bt.Order]]:
        """Return the orders that an execution cancels, and the children that it wakes."""
        cancelled = self._leave_group(order)
        bracket = self._brackets.get(_bracket_of(order), [])
        woken = [one for one in bracket if not one.active()] if order.parent is None else []
        if not order.alive() and order in bracket:
            if order.parent is None:
                bracket.remove(order)
                if not bracket:
                    del self._brackets[order.ref]
            else:
                cancelled += self._leave_bracket(order)
        return cancelled, woken

    def ended(self, order: bt.Order) -> list[bt.Order]:
        """Return the orders that are cancelled with one that is over without having been executed whole."""
        return self._leave_group(order) + self._leave_bracket(order)

    def _leave_group(self, order: bt.Order) -> list[bt.Order]:
        group = self._groups.get(order.ref, [])
        for one in group:
            self._groups.pop(one.ref, None)
        return [one for one in group if one != order]

    def _leave_bracket(self, order: bt.Order) -> list[bt.Order]:
        ref = _bracket_of(order)
        bracket = self._brackets.get(ref, [])
        if order not in bracket:
            return []
        # The children of a parent that was executed in part stay: they close that part.
        stay = [one for one in bracket if one != order and one.active()] if order.parent is None else []
        del self._brackets[ref]
        if stay:
            self._brackets[ref] = stay
        return [one for one in bracket if one != order and one not in stay]

    def drop(self, order: bt.Order) -> None:
        """Forget an order that is over in a way that ends no other: by the exchange, not by its owner."""
        for linked in (self._brackets.get(_bracket_of(order), []), self._groups.pop(order.ref, [])):
            if order in linked and (order.parent is not None or linked is not self._brackets.get(order.ref)):
                linked.remove(order)


def _bracket_of(order: bt.Order) -> int:
    ref: int = order.ref if order.parent is None else order.parent.ref
    return ref
