"""A funding harvester: takes the side that receives funding while the rate is large.

It shows how a strategy reads funding: the feed's line `funding` has the rate at the bar at whose opening it is settled
and NaN at all others. A positive rate is paid by LONG to SHORT, so a large one opens SHORT, a large negative one LONG;
the leg is closed when a settlement's rate is small again. It is an example of how to write a strategy, no advice to
trade one: a single move of the price takes more than many settlements bring.

    gridv4 backtest --strategy examples/funding_harvester.py:FundingHarvester --set large=0.0003
"""

import math

import backtrader as bt


class FundingHarvester(bt.Strategy):
    params = (
        ("large", 0.0003),  # rate of a settlement, either sign, from which the receiving side is taken: 0.03 %
        ("small", 0.0001),  # rate below which the leg is closed
        ("share", 0.3),  # of the equity that is held, as notional
        ("stop_pct", 0.05),  # distance of the stop from the average entry, a fraction of it
    )

    def __init__(self):
        self.entry = self.stop_order = None

    def next(self):
        if not self.data.is_current:
            return  # live: history; a backtest has none
        legs = {side: self.broker.getposition(self.data, side) for side in ("LONG", "SHORT")}
        held = next((side for side, leg in legs.items() if leg.size), None)
        if not held and self.is_open(self.stop_order):
            self.cancel(self.stop_order)  # else it would stand for the next entry too, at the price of this one
        elif held and not self.is_open(self.stop_order):
            self.protect(held, legs[held])
        rate = self.data.funding[0]
        if math.isnan(rate) or self.is_open(self.entry):
            return  # nothing was settled at this bar
        receives = "SHORT" if rate > 0 else "LONG"
        if held and (abs(rate) < self.p.small or receives != held):
            self.close(positionSide=held)
        elif not held and abs(rate) >= self.p.large:
            target = self.p.share if receives == "LONG" else -self.p.share
            self.entry = self.order_target_percent(target=target, positionSide=receives)

    def protect(self, side, leg):
        """Place the stop of a leg that has none."""
        order, factor = (self.sell, 1 - self.p.stop_pct) if side == "LONG" else (self.buy, 1 + self.p.stop_pct)
        price = self.on_tick(leg.price * factor)
        self.stop_order = order(size=abs(leg.size), exectype=bt.Order.Stop, price=price, positionSide=side)

    def notify_order(self, order):
        # After a restart of a live session the orders that are open come here anew: the stop is found again.
        if order.exectype == bt.Order.Stop and order.alive():
            self.stop_order = order
        if order.status == order.Rejected:
            print(order.info.reason)

    def is_open(self, order):
        return order is not None and order.alive()

    def on_tick(self, price):
        tick = self.broker.state(self.data).market.tick  # an order's price is a whole number of these
        return round(round(price / tick) * tick, 10)
