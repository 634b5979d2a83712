"""The safe end of a session: entries are taken back, and every leg that holds something has a stop.

Both need the exchange only, so that a full disk or a bug does not prevent them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Refused, Unreachable
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.own_orders import Order, OrderStatus
from gridv4_bt.live.protection import StopPrice
from gridv4_bt.live.reconciliation import Reconciler

_PAUSES_S = (0.0, 0.0, 1.0, 2.0, 4.0)  # before each look at what is left


@dataclass
class Ending:
    """What a session has left at the exchange."""

    entries: int = 0  #: that could not be cancelled and may be filled
    bare: list[str] = field(default_factory=list)  #: legs that hold something and have no stop
    unseen: str = ""  #: why it is not known what is left; empty if it is

    @property
    def is_safe(self) -> bool:
        """Return whether no entry is left and every leg has a stop."""
        return not (self.entries or self.bare or self.unseen)

    def __str__(self) -> str:
        if self.is_safe:
            return "Entries are cancelled; exits and stops stay."
        said = []
        if self.entries:
            said.append(f"{self.entries} entries could not be cancelled and may be filled: cancel them there.")
        if self.bare:
            said.append(f"Without a stop: {', '.join(self.bare)}: set one there.")
        if self.unseen:
            said.append(f"What is left at the exchange is not known ({self.unseen}): look there.")
        return " ".join(said)


def end_safely(reconciler: Reconciler, symbols: Sequence[str], stop_price: StopPrice) -> Ending:
    """Cancel all entries and give a stop to every leg without one, as far as the exchange answers."""
    reconciler.order_sync.end()
    ending = Ending()
    for pause in _PAUSES_S:
        time.sleep(pause)  # the session's clock does not wait any more
        ending, has_acted = Ending(), False
        for symbol in symbols:
            try:
                has_acted |= _end_symbol(reconciler, symbol, stop_price, ending)
            except (Refused, Unreachable, LiveError) as failure:
                ending.unseen = str(failure)
                ending.entries += _known_entries(reconciler, symbol)
                if isinstance(failure, LiveError):  # a dead key: nothing can be done
                    return ending
        if not has_acted and not ending.unseen:  # what was done in the look before is seen to be in place
            break
    return ending


def _end_symbol(reconciler: Reconciler, symbol: str, stop_price: StopPrice, ending: Ending) -> bool:
    """Do what is left to do for a symbol; return whether there was anything."""
    executor, orders, sync = reconciler.executor, reconciler.orders, reconciler.order_sync
    own = [
        (name, order_id, info)
        for order_id, info in executor.open_orders(symbol).items()
        if (name := reconciler.own_name(order_id)) is not None
    ]
    entries = _opening(orders.of(symbol))
    known = {order.id for order in entries}
    entries += [
        Order.at_exchange(symbol, name, order_id, info)
        for name, order_id, info in own
        if order_id not in known and name.purpose.opens
    ]
    if entries:
        sync.cancel(entries)
        ending.entries += sum(order.status is not OrderStatus.DONE for order in entries)
    has_acted = bool(entries)
    stopped = {name.side for name, _, _ in own if name.purpose is Purpose.STOP}
    for side, position in executor.positions(symbol).items():
        if position.qty > 0.0 and side not in stopped:
            has_acted = True
            ending.bare.append(f"{symbol} {side.name}")
            price = stop_price(symbol, side, position)
            sync.rest_stop(symbol, side, price)
            reconciler.log("last_stop", symbol=symbol, side=side.name, qty=position.qty, price=price)
    return has_acted


def _known_entries(reconciler: Reconciler, symbol: str) -> int:
    return len(_opening(reconciler.orders.of(symbol)))


def _opening(orders: Sequence[Order]) -> list[Order]:
    """Return those that may be open and add to a leg."""
    return [order for order in orders if order.key.purpose.opens and order.status is not OrderStatus.DONE]
