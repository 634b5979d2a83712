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

    def next(self):
        if not self.data.is_current:
            return  # live: history; a backtest has none
        # What rests is asked for, not remembered: so a live session that was restarted finds its stop again.
        orders = self.broker.get_orders_open()
        stops = [order for order in orders if order.exectype == bt.Order.Stop]
        if len(orders) > len(stops):
            return  # a market order waits for a bar with volume
        legs = {side: self.broker.getposition(self.data, side) for side in ("LONG", "SHORT")}
        held = next((side for side, leg in legs.items() if leg.size), None)
        if held and not stops:
            self.protect(held, legs[held])
        for stop in stops if not held else ():
            self.cancel(stop)  # it would stand for the next entry too, at the price of the last
        rate = self.data.funding[0]
        if math.isnan(rate):
            return  # nothing was settled at this bar
        receives = "SHORT" if rate > 0 else "LONG"
        if held and (abs(rate) < self.p.small or receives != held):
            self.close(positionSide=held)
        elif not held and abs(rate) >= self.p.large:
            target = self.p.share if receives == "LONG" else -self.p.share
            self.order_target_percent(target=target, positionSide=receives)

    def protect(self, side, leg):
        """Place the stop of a leg that has none."""
        order, factor = (self.sell, 1 - self.p.stop_pct) if side == "LONG" else (self.buy, 1 + self.p.stop_pct)
        price = self.on_tick(leg.price * factor)
        order(size=abs(leg.size), exectype=bt.Order.Stop, price=price, positionSide=side)

    def notify_order(self, order):
        if order.status == order.Rejected:
            print(order.info.reason)

    def on_tick(self, price):
        tick = self.broker.state(self.data).market.tick  # an order's price is a whole number of these
        return round(round(price / tick) * tick, 10)
