"""A holding that is hedged: LONG is held, and SHORT is opened against it while a signal warns.

It shows what only hedge mode has: both legs at once. The LONG is not sold and bought back; a SHORT of the same size
stands against it, so that the net is zero, and is closed when the warning is over. Each leg has its own stop. It is an
example of how to write a strategy, no advice to trade one: every warning costs the fees of a round trip.

    gridv4 backtest --strategy examples/hedged_holding.py:HedgedHolding --set HedgedHolding.average=960
"""

import backtrader as bt


class HedgedHolding(bt.Strategy):
    params = (
        ("average", 1920),  # bars of 15 minutes: 20 days; the warning is a close that crosses below it
        ("share", 0.5),  # of the equity that is held LONG, as notional
        ("long_stop", 0.2),  # distance of each leg's stop from its average entry, fractions
        ("short_stop", 0.05),
    )

    def __init__(self):
        self.cross = bt.ind.CrossOver(self.data.close, bt.ind.SMA(period=self.p.average))

    def next(self):
        if not self.data.is_current:
            return  # live: history, on which the average warms up; a backtest has none
        # What rests is asked for, not remembered: so a live session that was restarted finds its stops again.
        orders = self.broker.get_orders_open()
        stops = [order for order in orders if order.exectype == bt.Order.Stop]
        if len(orders) > len(stops):
            return  # a market order waits for a bar with volume
        self.protect("LONG", 1 - self.p.long_stop, [order for order in stops if not order.isbuy()])
        self.protect("SHORT", 1 + self.p.short_stop, [order for order in stops if order.isbuy()])
        long, short = (abs(self.broker.getposition(self.data, side).size) for side in ("LONG", "SHORT"))
        if not long and not short and self.cross[0] >= 0:
            self.order_target_percent(target=self.p.share, positionSide="LONG")
        elif long and not short and self.cross[0] < 0:
            self.sell(size=long, positionSide="SHORT")  # opens beside the LONG, closes nothing
        elif short and (self.cross[0] > 0 or not long):
            self.close(positionSide="SHORT")  # the warning is over, or there is nothing left to hedge

    def protect(self, side, factor, stops):
        """Place the stop of a leg that has none; cancel that of a leg that is gone."""
        leg = self.broker.getposition(self.data, side)
        if leg.size and not stops:
            order = self.sell if side == "LONG" else self.buy
            price = self.on_tick(leg.price * factor)
            order(size=abs(leg.size), exectype=bt.Order.Stop, price=price, positionSide=side)
        for stop in stops if not leg.size else ():
            self.cancel(stop)  # it would stand for the next entry too, at the price of the last

    def notify_order(self, order):
        if order.status == order.Rejected:
            print(order.info.reason)

    def on_tick(self, price):
        tick = self.broker.state(self.data).market.tick  # an order's price is a whole number of these
        return round(round(price / tick) * tick, 10)
