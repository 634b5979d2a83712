"""A strategy that names its orders, and the mirror that makes a case of SHORT of one of LONG."""

from scripted import FREE, Scripted, candle_feed, new_cerebro

SIDES = ("LONG", "SHORT")


class Naming(Scripted):
    """Keeps each change of a named order as (bar, name, status, price executed)."""

    params = (("side", "LONG"),)

    def __init__(self):
        super().__init__()
        self.named, self.events = {}, []

    def name(self, **orders):
        self.named.update({order.ref: name for name, order in orders.items() if order is not None})

    def price(self, price):
        """Return a price of LONG as the side has it."""
        return price if self.p.side == "LONG" else 200.0 - price

    def open(self, **order):
        """Order what opens the side."""
        place = self.buy if self.p.side == "LONG" else self.sell
        return place(**{"size": 1.0, "positionSide": self.p.side} | self._mirrored(order))

    def shut(self, **order):
        """Order what closes the side."""
        place = self.sell if self.p.side == "LONG" else self.buy
        return place(**{"size": 1.0, "positionSide": self.p.side} | self._mirrored(order))

    def bracket(self, **terms):
        """Order a bracket that opens the side."""
        place = self.buy_bracket if self.p.side == "LONG" else self.sell_bracket
        orders = place(**{"size": 1.0, "positionSide": self.p.side} | self._mirrored(terms))
        self.name(parent=orders[0], stop=orders[1], limit=orders[2])
        return orders

    def _mirrored(self, order):
        mirrored = {}
        for name, value in order.items():
            if name.endswith("args"):
                value = self._mirrored(value)
            elif name in ("price", "plimit", "stopprice", "limitprice") and value is not None:
                value = self.price(value)
            mirrored[name] = value
        return mirrored

    def notify_order(self, order):
        super().notify_order(order)
        bits = [bit.price for bit in order.executed.iterpending() if bit is not None]
        status = order.getstatusname()
        if status not in ("Submitted", "Accepted"):
            price = self.price(bits[0]) if bits else None  # mirrored back
            self.events.append((len(order.data), self.named.get(order.ref), status, price))

    def held(self):
        return abs(self.broker.getposition(self.data, self.p.side).size)


def traded(script, bars, side="LONG", broker=None, **feed):
    """Run a script, with bars as LONG has them, on a side; return the strategy."""
    if side == "SHORT":
        bars = [(200.0 - o, 200.0 - low, 200.0 - high, 200.0 - c, *more) for o, high, low, c, *more in bars]
        if "detail" in feed:
            parts = feed["detail"].items()
            feed["detail"] = {n: [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in p] for n, p in parts}
    cerebro = new_cerebro([candle_feed(bars, **feed)], FREE | (broker or {}))
    cerebro.addstrategy(Naming, script=script, side=side)
    return cerebro.run()[0]
