"""A moving-average cross that trades one leg: LONG while the fast average is above the slow one, else nothing.

It shows the least that a strategy needs here: an order with `positionSide`, and a stop as soon as something is held.
It is an example of how to write a strategy, no advice to trade one: crosses of averages are known to lose to fees in
markets without a trend.

    gridv4 backtest --strategy examples/moving_average_cross.py:MovingAverageCross --set fast=48 --set slow=192
"""

import backtrader as bt


class MovingAverageCross(bt.Strategy):
    params = (
        ("fast", 96),  # bars of 15 minutes: a day
        ("slow", 480),  # five days
        ("share", 0.5),  # of the equity that is bought, as notional
        ("stop_pct", 0.04),  # distance of the stop below the average entry, a fraction of it
    )

    def __init__(self):
        averages = bt.ind.SMA(period=self.p.fast), bt.ind.SMA(period=self.p.slow)
        self.cross = bt.ind.CrossOver(*averages)  # 1 at the bar at which the fast one comes above, -1 below
        self.entry = self.stop_order = None

    def next(self):
        if not self.data.is_current:
            return  # live: history, on which the averages warm up; a backtest has none
        held = self.broker.getposition(self.data, "LONG")
        if not held.size and self.is_open(self.stop_order):
            self.cancel(self.stop_order)  # else it would stand for the next entry too, at the price of this one
        if self.cross[0] < 0 and held.size:
            self.close(positionSide="LONG")
        elif held.size and not self.is_open(self.stop_order):
            self.stop_order = self.sell(
                size=held.size,
                exectype=bt.Order.Stop,
                price=self.on_tick(held.price * (1 - self.p.stop_pct)),
                positionSide="LONG",
            )
        elif self.cross[0] > 0 and not held.size and not self.is_open(self.entry):
            self.entry = self.order_target_percent(target=self.p.share, positionSide="LONG")

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
