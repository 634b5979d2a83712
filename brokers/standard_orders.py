"""Orders that any Backtrader strategy places with ``self.buy`` and ``self.sell``.

They obey the same rules as the grid's own orders and are matched in the same phases:

* Market at the next open; Limit always at its limit price; Stop at the worse of stop and open.
* ``positionSide="LONG" | "SHORT"`` chooses the leg. Without it an order first reduces the opposite leg,
  if one is open, and else opens its own: what a strategy written for a netting broker means.
* Closing orders take the oldest fills first and are reduce-only: one larger than its leg is rejected.
* What is not supported (Close, trailing stops, OCO, brackets) is rejected with the reason in
  ``order.info.reason``, in the exchange's vocabulary where it has a word for it.
"""

import backtrader as bt

from gridv4_bt.core.grid import round_down
from gridv4_bt.engine.matching import INFINITY, Leg, market_price, stop_hit, stop_price
from gridv4_bt.engine.types import LOT_NOISE, PositionSide, TradeLabel

_SUPPORTED = (bt.Order.Market, bt.Order.Limit, bt.Order.Stop, bt.Order.StopLimit)


class StandardOrders:
    """The standing standard orders of a `HedgeBroker`."""

    def __init__(self, broker) -> None:
        self._broker = broker
        self.alive: list[bt.Order] = []

    def submit(self, order: bt.Order, book) -> None:
        """Accept an order or reject it, and tell its owner."""
        order.submit(self._broker)
        self._broker.notify(order)
        try:
            order.info["positionSide"] = self._side(order, book).name
            reason = self._refusal(order, book)
        except (KeyError, ValueError):
            reason = f"-4060 Invalid position side {order.info['positionSide']!r}: LONG or SHORT"
        if reason is not None:
            self._reject(order, reason)
            return
        order.accept(self._broker)
        self._broker.notify(order)
        self.alive.append(order)

    def cancel(self, order: bt.Order) -> bool:
        """Take a standing order back."""
        # The strategy may hold a clone, which equals its original by its reference.
        if order not in self.alive:
            return False
        standing = self.alive.pop(self.alive.index(order))
        standing.cancel()
        self._broker.notify(standing)
        return True

    def expire(self) -> None:
        """Drop the orders whose ``valid`` has passed."""
        for order in [order for order in self.alive if order.expire()]:
            self.alive.remove(order)
            self._broker.notify(order)

    def cancel_all(self) -> None:
        """Cancel every standing order."""
        for order in list(self.alive):
            self.cancel(order)

    def open_notional(self, book, side: PositionSide | None = None) -> float:
        """Return the notional of the standing opening orders of a symbol, or of one side of it, quote."""
        return sum(
            self._price(order, book) * abs(order.executed.remsize)
            for order in self.alive
            if order.data is book.data and _opens(order) and side in (None, _leg(order, book).side)
        )

    def fill_market_orders(self, book) -> None:
        """Phase 2."""
        for order in self._of(book, bt.Order.Market):
            price = market_price(order.isbuy(), book.bar.open, book.costs.slippage)
            self._execute(order, book, price, maker=False)

    def fill_entries(self, book, down: float = 0.0, up: float = INFINITY) -> None:
        """Phase 3: limit orders that open, met before the liquidation prices `down` and `up`."""
        for order in self._of(book, bt.Order.Limit):
            if _opens(order) and self._reached(order, book) and down < order.created.price < up:
                self._execute(order, book, order.created.price, maker=not order.info.get("marketable"))

    def fill_stops(self, book, down: float = 0.0, up: float = INFINITY) -> None:
        """Phase 4: stops; a triggered StopLimit becomes a limit order from the next bar on.

        Only the stops that the market meets before the liquidation prices `down` and `up`.
        """
        bar = book.bar
        for order in self._of(book, bt.Order.Stop) + self._of(book, bt.Order.StopLimit):
            stop = order.created.price
            sign = -1 if order.isbuy() else 1
            met = max(stop, bar.open) if order.isbuy() else min(stop, bar.open)
            if not stop_hit(sign, stop, bar.low, bar.high) or not down < met < up:
                continue
            if order.exectype == bt.Order.StopLimit:
                order.exectype = bt.Order.Limit
                order.created.price = order.created.pricelimit
                order.triggered = True
                order.info["triggered_at"] = bar.time
                order.info["marketable"] = sign * (stop - order.created.price) >= 0.0
                continue
            price = stop_price(sign, stop, bar.open, book.costs.slippage)
            if not _opens(order):
                leg = _leg(order, book)
                book.stopped.add(leg.side)
                held = sum(leg.tracker.qtys[i] for i in book.stoppable(leg, price))
                if held < abs(order.size) * (1.0 - LOT_NOISE):
                    self.alive.remove(order)
                    self._reject(order, f"-2022 ReduceOnly Order is rejected: {leg.side.name} held {held}")
                    continue
            self._execute(order, book, price, maker=False)

    def fill_exits(self, book) -> None:
        """Phase 5: limit orders that close, if their fills stood before the bar and the leg was not stopped."""
        for order in self._of(book, bt.Order.Limit):
            leg = _leg(order, book)
            if _opens(order) or leg.side in book.stopped or not self._reached(order, book):
                continue
            tracker = leg.tracker
            older = sum(
                qty for qty, time in zip(tracker.qtys, tracker.times, strict=True) if time < book.bar.time
            )
            if older >= abs(order.size) * (1.0 - LOT_NOISE):
                maker = not order.info.get("marketable")
                self._execute(order, book, order.created.price, maker=maker)

    # ---

    def _of(self, book, exectype: int) -> list[bt.Order]:
        return [order for order in self.alive if order.data is book.data and order.exectype == exectype]

    def _reached(self, order: bt.Order, book) -> bool:
        if order.info.get("triggered_at") == book.bar.time:
            return False
        return book.fills(order.isbuy(), order.created.price, book.bar.low, book.bar.high)

    def _execute(self, order: bt.Order, book, price: float, *, maker: bool) -> None:
        self.alive.remove(order)
        leg = _leg(order, book)
        qty = abs(order.size)
        account = book.account
        if _opens(order):
            rate = book.costs.maker_fee if maker else book.costs.taker_fee
            account.open_fill(
                book.symbol, leg.tracker, qty, price, book.bar.time, book.regime, 0.0, rate, maker
            )
        elif leg.tracker.qty < qty * (1.0 - LOT_NOISE):
            self._reject(order, f"-2022 ReduceOnly Order is rejected: {leg.side.name} holds {leg.tracker.qty}")
            return
        else:
            book.close_oldest(leg, qty, price, TradeLabel.MANUAL, maker=maker)
        self._tell(order, book)

    def _tell(self, order: bt.Order, book) -> None:
        # One notification for each fill, because Backtrader files all bits of a notification under
        # one tradeid and every fill is a trade of its own.
        sign = 1.0 if order.isbuy() else -1.0
        when = book.data.datetime[0]
        for execution in book.account.executions:
            size = sign * execution.qty
            value = execution.qty * execution.price
            opened, closed = (size, 0.0) if execution.opens else (0.0, size)
            order.tradeid = execution.fill_id
            order.execute(
                when, size, execution.price,
                closed, value if closed else 0.0, execution.costs if closed else 0.0,
                opened, value if opened else 0.0, execution.costs if opened else 0.0,
                None, execution.gross, 0.0, 0.0,
            )  # fmt: skip
            if abs(order.executed.remsize) < LOT_NOISE * abs(order.size):
                order.executed.remsize = 0.0
                order.completed()
            self._broker.notify(order)
        book.account.executions.clear()

    def _side(self, order: bt.Order, book) -> PositionSide:
        name = order.info.get("positionSide")
        if name:
            return PositionSide[name] if isinstance(name, str) else PositionSide(name)
        own, opposite = (book.long, book.short) if order.isbuy() else (book.short, book.long)
        return opposite.side if opposite.tracker.ids else own.side

    def _price(self, order: bt.Order, book) -> float:
        return book.data.close[0] if order.exectype == bt.Order.Market else order.created.price

    def _refusal(self, order: bt.Order, book) -> str | None:
        if order.exectype not in _SUPPORTED:
            return f"-1116 Invalid orderType: {order.getordername()} is not supported"
        if order.oco is not None or order.parent is not None or not order.transmit:
            return "-1116 Invalid orderType: OCO and bracket orders are not supported"
        market = book.market
        qty = abs(order.size)
        price = self._price(order, book)
        if not qty >= market.min_qty:
            return f"-4003 Quantity less than min quantity {market.min_qty}"
        if abs(round_down(qty, market.step) - qty) > 1e-9 * qty:
            return f"-1111 Precision is over the maximum: qty {qty} is no multiple of {market.step}"
        for given in _prices(order):
            if not given > 0.0:
                return "-4013 Price less than min price"
            if abs(round_down(given, market.tick) - given) > 1e-9 * given:
                return f"-4014 Price not increased by tick size: {given} is no multiple of {market.tick}"
        if order.exectype in (bt.Order.Stop, bt.Order.StopLimit):
            ahead = order.created.price - book.data.close[0]
            if ahead <= 0.0 if order.isbuy() else ahead >= 0.0:
                return f"-2021 Order would immediately trigger: the price is {book.data.close[0]}"
        if order.exectype == bt.Order.Limit:
            close = book.data.close[0]
            order.info["marketable"] = price >= close if order.isbuy() else price <= close
        if not _opens(order):
            if _leg(order, book).tracker.qty < qty * (1.0 - LOT_NOISE):
                return "-2022 ReduceOnly Order is rejected: the leg holds less than the order closes"
            return None
        if qty * price < market.min_notional:
            return f"-4164 Order's notional must be no smaller than {market.min_notional}"
        if qty * price > self._broker.position_room(book, _leg(order, book)):
            return f"-2027 Exceeded the maximum allowable position at current leverage: {book.max_notional:,.0f}"
        if qty * price / self._broker.p.leverage > self._broker.available_margin():
            return "-2019 Margin is insufficient."
        return None

    def _reject(self, order: bt.Order, reason: str) -> None:
        order.addinfo(reason=reason)
        order.reject(self._broker)
        self._broker.notify(order)


def _opens(order: bt.Order) -> bool:
    return order.isbuy() == (order.info["positionSide"] == PositionSide.LONG.name)


def _prices(order: bt.Order) -> list[float]:
    """Return the prices the order's kind needs; a StopLimit without a limit price takes its stop price."""
    if order.exectype == bt.Order.Market:
        return []
    limit = order.created.pricelimit if order.exectype == bt.Order.StopLimit else None
    return [order.created.price] + ([limit] if limit else [])


def _leg(order: bt.Order, book) -> Leg:
    return book.leg(PositionSide[order.info["positionSide"]])
