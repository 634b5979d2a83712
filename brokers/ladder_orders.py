"""The grid's own orders as Backtrader orders, for strategies and analyzers that override ``notify_order``.

What rests at the end of a bar's decisions is compared with what rested before: new orders are told as Submitted and
Accepted, those that are gone as Canceled, executions as Partial or Completed, one for each fill. Where nobody listens,
none of this is done.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import backtrader as bt
from backtrader.order import OrderData

from brokers.feed_book import FeedBook
from brokers.reporting import ExecutionReporter
from gridv4_bt.compat import EPOCH_DAYS
from gridv4_bt.core.time import DAY_MS
from gridv4_bt.engine.account import Execution
from gridv4_bt.engine.book import Leg
from gridv4_bt.engine.labels import TradeLabel

#: Side, kind, and what tells it from others of its kind: the level, the fill or the fill and the label.
Key = tuple[int, str, object]


class Wanted(NamedTuple):
    """An order that rests, or goes to the market at the next open."""

    is_buy: bool
    exectype: int
    price: float
    qty: float  #: base units; of the stop of a leg all that it holds when it is executed, hence not compared
    label: TradeLabel


def hears_orders(strategy: bt.Strategy) -> bool:
    """Return whether a strategy or an analyzer of a user's own overrides ``notify_order``.

    Of Backtrader's analyzers and observers none looks at more than executions.
    """
    if getattr(strategy.notify_order, "__func__", None) is not bt.Strategy.notify_order:
        return True
    analyzers = [*strategy.analyzers, *strategy._slave_analyzers]
    while analyzers:
        analyzer = analyzers.pop()
        analyzers += analyzer._children
        stock = type(analyzer).__module__.startswith("backtrader.")
        if not stock and type(analyzer).notify_order is not bt.Analyzer.notify_order:
            return True
    return False


class LadderOrders:
    """The orders of one symbol's ladder, as their owner was told of them."""

    def __init__(self, book: FeedBook, reporter: ExecutionReporter) -> None:
        self._book = book
        self._reporter = reporter
        self._open: dict[Key, tuple[Wanted, bt.Order]] = {}

    def tell_changes(self, broker: bt.BrokerBase) -> None:
        """Tell of the orders that were placed, replaced or cancelled since the last call."""
        wanted = {key: order for leg in self._book.legs for key, order in _orders_of(leg)}
        for key, (before, order) in list(self._open.items()):
            now = wanted.get(key)
            if now is None or now[:3] != before[:3] or (now.qty != before.qty and key[1] != "stop"):
                del self._open[key]
                order.cancel()
                self._reporter.tell(order)
        for key, order_wanted in wanted.items():
            if key not in self._open:
                self._open[key] = order_wanted, self._place(key, order_wanted, broker)

    def tell_executions(self, executions: Sequence[Execution]) -> None:
        """Tell of executions, all of this symbol; the last of an order completes it."""
        keys = [self._key_of(execution) for execution in executions]
        for place, (key, execution) in enumerate(zip(keys, executions, strict=True)):
            if key is None:  # a liquidation, or an order that was placed and executed unseen
                self._reporter.report(self._book, execution)
                continue
            order = self._open[key][1]
            self._reporter.execute(order, self._book, execution)
            if key not in keys[place + 1 :]:
                del self._open[key]
                order.executed.remsize = 0.0
                order.completed()
            self._reporter.tell(order)

    def _key_of(self, execution: Execution) -> Key | None:
        side = int(execution.side)
        if execution.opens:
            for key, (wanted, _) in self._open.items():
                if key[:2] == (side, "entry") and wanted.price == execution.price:
                    return key
            return None
        closes = (side, "close", (execution.fill_id, execution.label))
        others: tuple[Key, Key] = ((side, "exit", execution.fill_id), (side, "stop", None))
        resting = others[0] if execution.maker else others[1] if execution.label is TradeLabel.STOP2 else closes
        return next((key for key in (closes, resting) if key in self._open), None)

    def _place(self, key: Key, wanted: Wanted, broker: bt.BrokerBase) -> bt.Order:
        order = self._reporter.new_order(self._book, wanted.is_buy)
        order.size = wanted.qty if wanted.is_buy else -wanted.qty
        order.price = price = wanted.price or self._book.bar.close  # as of Backtrader's market orders
        order.exectype = wanted.exectype
        order.created = OrderData(EPOCH_DAYS + self._book.bar.time / DAY_MS, order.size, price)
        order.executed = OrderData(remsize=order.size)
        order.info["positionSide"] = "LONG" if key[0] > 0 else "SHORT"
        order.info["label"] = wanted.label
        order.submit(broker)
        self._reporter.tell(order)
        order.accept(broker)
        self._reporter.tell(order)
        return order


def _orders_of(leg: Leg) -> Iterator[tuple[Key, Wanted]]:
    """Yield the orders of a leg of the ladder."""
    side, adds = leg.sign, leg.sign > 0
    for i in range(leg.levels):
        if leg.prices[i] > 0.0:
            price, qty = float(leg.prices[i]), float(leg.qtys[i])
            yield (side, "entry", i), Wanted(adds, bt.Order.Limit, price, qty, TradeLabel.GRID)
    held = dict(zip(leg.tracker.ids, leg.tracker.qtys, strict=True))
    for fill_id, price in leg.exits.items():
        yield (side, "exit", fill_id), Wanted(not adds, bt.Order.Limit, price, held[fill_id], TradeLabel.GRID)
    if leg.stop is not None:
        yield (side, "stop", None), Wanted(not adds, bt.Order.Stop, leg.stop, leg.tracker.qty, TradeLabel.STOP2)
    for close in leg.closes:
        key = (side, "close", (close.fill_id, close.label))
        yield key, Wanted(not adds, bt.Order.Market, 0.0, close.qty, close.label)
