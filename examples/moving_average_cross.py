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

    def next(self):
        if not self.data.is_current:
            return  # live: history, on which the averages warm up; a backtest has none
        held = self.broker.getposition(self.data, "LONG")
        # What rests is asked for, not remembered: so a live session that was restarted finds its stop again.
        orders = self.broker.get_orders_open()
        stops = [order for order in orders if order.exectype == bt.Order.Stop]
        if len(orders) > len(stops):
            return  # a market order waits for a bar with volume
        if held.size and self.cross[0] < 0:
            self.close(positionSide="LONG")
        elif held.size and not stops:
            stop = self.on_tick(held.price * (1 - self.p.stop_pct))
            self.sell(size=held.size, exectype=bt.Order.Stop, price=stop, positionSide="LONG")
        elif not held.size:
            for order in stops:
                self.cancel(order)  # it would stand for the next entry too, at the price of the last
            if self.cross[0] > 0:
                self.order_target_percent(target=self.p.share, positionSide="LONG")

    def notify_order(self, order):
        if order.status == order.Rejected:
            print(order.info.reason)

    def on_tick(self, price):
        tick = self.broker.state(self.data).market.tick  # an order's price is a whole number of these
        return round(round(price / tick) * tick, 10)
