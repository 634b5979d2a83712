"""What Backtrader's strategies leave to the broker's position: targets, the sizes of sizers, and ``close``.

`gridv4_bt.compat` lets ``order_target_size``, ``order_target_value``, ``order_target_percent``, ``getsizing`` and
``close`` of every strategy ask here, because Backtrader counts one net position without lots.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import backtrader as bt

from brokers.feed_book import FeedBook
from brokers.order_terms import read_terms
from gridv4_bt.core.grid import round_down
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.orders import Refusal
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import ConfigError

logger = logging.getLogger("gridv4.broker")


class TargetBroker(Protocol):
    """A broker as far as targets need it."""

    p: Any  #: Backtrader's parameters, with `leverage`

    def book_of(self, data: bt.AbstractDataBase) -> FeedBook:
        """Return the book of a feed's symbol."""

    def position_capacity(self, book: FeedBook, leg: Leg) -> float:
        """Return the notional by which a leg with its opening orders may grow, quote."""

    def available_margin(self) -> float:
        """Return the equity that is not initial margin of positions or opening orders, quote."""

    def refuse(self, order: bt.Order, refusal: Refusal) -> bt.Order:
        """Reject an order that was not placed."""


class Targets:
    """The orders that bring a position to where a strategy wants it."""

    def __init__(self, broker: TargetBroker) -> None:
        self._broker = broker
        self._cut: set[str] = set()  # symbols of which a person knows that sizes are cut

    def order_size(
        self, strategy: bt.Strategy, data: bt.AbstractDataBase, target: float, **order: Any
    ) -> bt.Order | None:
        """Order what brings the net position, or with ``positionSide`` one leg, to a size; base units, SHORT negative.

        The difference is rounded down to the lot. Nothing is ordered, and None returned, where it is smaller than the
        exchange takes as an order: the target is reached as nearly as it can be.

        Raises
        ------
        ConfigError
            A LONG leg is to be negative.
        """
        book = self._broker.book_of(data)
        side, held = _side_of(order), book.long.tracker.qty - book.short.tracker.qty
        if side is not None:
            held = side * book.leg(side).tracker.qty
            if side > 0 and target < 0.0:
                raise ConfigError(f"target {target:g} of positionSide LONG: a LONG leg is 0 or more")
            target = side * abs(target)
        missing = target - held
        size = round_down(abs(missing), book.market.step)
        adds = held and missing * held > 0.0
        too_small = size * data.close[0] < book.market.min_notional if adds else size == 0.0
        if (too_small or size < book.market.min_qty) and (held or not target):
            return None
        if missing > 0.0:
            return strategy.buy(data=data, size=size or missing, **order)
        return strategy.sell(data=data, size=size or -missing, **order)

    def order_value(
        self, strategy: bt.Strategy, data: bt.AbstractDataBase, target: float, price: float | None = None, **order: Any
    ) -> bt.Order | None:
        """Order what brings the position to a notional, quote, at a price (None: the close); see `order_size`."""
        if price is not None:
            order["price"] = price
        return self.order_size(strategy, data, target / (data.close[0] if price is None else price), **order)

    def close(
        self, strategy: bt.Strategy, data: bt.AbstractDataBase, size: float | None = None, **order: Any
    ) -> bt.Order | None:
        """Close a leg, or part of it. While both are held, an order that does not name one is rejected.

        The order never opens the other leg; None where nothing is held.
        """
        book = self._broker.book_of(data)
        side = _side_of(order)
        held = [leg for leg in book.legs if leg.tracker.ids and side in (None, leg.side)]
        if not held:
            return None
        leg = held[0]
        wanted = leg.tracker.qty if size is None else abs(size)
        if len(held) > 1:
            known = {name: value for name, value in order.items() if name in ("exectype", "price", "valid")}
            lost = bt.SellOrder(owner=strategy, data=data, size=wanted, **known)
            detail = " Both legs are held: close(positionSide='LONG') or close(positionSide='SHORT')"
            refusal = Refusal(-4061, "Order's position side does not match user's setting.", detail)
            return self._broker.refuse(lost, refusal)
        if side is None:
            order["reduceOnly"] = True
        place = strategy.sell if leg.side > 0 else strategy.buy
        return place(data=data, size=wanted, **order)

    def fit(self, data: bt.AbstractDataBase, size: float, is_buy: bool) -> float:
        """Return a sizer's size rounded down to the lot and cut to what the margin allows, base units.

        A size of which nothing is left is returned as it is, so that the refusal of its order says why.
        """
        book, broker = self._broker.book_of(data), self._broker
        wanted = abs(size)
        lots = round_down(wanted, book.market.step)
        own, opposite = (book.long, book.short) if is_buy else (book.short, book.long)
        closing, price = min(opposite.tracker.qty, lots), data.close[0]
        free = broker.available_margin() + closing * price / broker.p.leverage
        room = max(min(broker.position_capacity(book, own), free * broker.p.leverage), 0.0) / price
        if lots - closing > room:
            lots = round_down(closing + room, book.market.step)
            if book.symbol not in self._cut:
                self._cut.add(book.symbol)
                logger.warning(
                    "%s %s: the sizer's %g is cut to %g, all that margin allows", book.symbol,
                    data.datetime.datetime(0), wanted, lots,
                )  # fmt: skip
        return lots if lots >= book.market.min_qty else wanted


def _side_of(order: Mapping[str, Any]) -> PositionSide | None:
    """Return the leg that the keywords of an order name; a bad one is refused when the order is placed."""
    params = order.get("params")
    named = params.get("positionSide") if isinstance(params, Mapping) else None
    terms = read_terms(True, {"positionSide": order.get("positionSide", named)})
    return None if isinstance(terms, Refusal) else terms.side
