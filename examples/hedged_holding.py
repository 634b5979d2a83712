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
        self.stops = {"LONG": None, "SHORT": None}
        self.entry = None

    def next(self):
        if not self.data.is_current:
            return  # live: history, on which the average warms up; a backtest has none
        held = {side: self.broker.getposition(self.data, side) for side in self.stops}
        self.protect("LONG", held["LONG"], 1 - self.p.long_stop)
        self.protect("SHORT", held["SHORT"], 1 + self.p.short_stop)
        long, short = (abs(held[side].size) for side in ("LONG", "SHORT"))
        if self.is_open(self.entry):
            return  # it fills with the next bar that has volume
        if not long and not short and self.cross[0] >= 0:
            self.entry = self.order_target_percent(target=self.p.share, positionSide="LONG")
        elif long and not short and self.cross[0] < 0:
            self.entry = self.sell(size=long, positionSide="SHORT")  # opens beside the LONG, closes nothing
        elif short and (self.cross[0] > 0 or not long):
            self.close(positionSide="SHORT")  # the warning is over, or there is nothing left to hedge

    def protect(self, side, leg, factor):
        """Place the stop of a leg that has none; cancel that of a leg that is gone."""
        if not leg.size and self.is_open(self.stops[side]):
            self.cancel(self.stops[side])
        elif leg.size and not self.is_open(self.stops[side]):
            order = self.sell if side == "LONG" else self.buy
            price = self.on_tick(leg.price * factor)
            self.stops[side] = order(size=abs(leg.size), exectype=bt.Order.Stop, price=price, positionSide=side)

    def notify_order(self, order):
        # After a restart of a live session the orders that are open come here anew: the stops are found again.
        if order.exectype == bt.Order.Stop and order.alive():
            self.stops["SHORT" if order.isbuy() else "LONG"] = order
        if order.status == order.Rejected:
            print(order.info.reason)

    def is_open(self, order):
        return order is not None and order.alive()

    def on_tick(self, price):
        tick = self.broker.state(self.data).market.tick  # an order's price is a whole number of these
        return round(round(price / tick) * tick, 10)
