"""Executions of the ladder as Backtrader orders: completed, with their execution bits.

Backtrader orders are created only for executions, and copied from a template, because Backtrader's constructor takes
longer than the matching of a bar.
"""

from collections import deque

import backtrader as bt
from backtrader.order import OrderData

from brokers.feed_book import FeedBook
from gridv4_bt.core.grid import round_down
from gridv4_bt.engine.account import Execution
from gridv4_bt.engine.labels import TradeLabel


class PerpetualCommInfo(bt.CommInfoBase):
    """The commission scheme of a linear perpetual: PnL is size times price difference, value is the notional.

    Parameters
    ----------
    commission : taker fee, fraction of the notional.
    leverage : initial margin is notional / leverage.
    lot : step of sizes, base units.
    """

    params = (("stocklike", False), ("commtype", bt.CommInfoBase.COMM_PERC), ("percabs", True), ("lot", 1e-8))

    def getvaluesize(self, size: float, price: float) -> float:
        """Return the notional, quote."""
        return abs(size) * price

    def getvalue(self, position: bt.Position, price: float) -> float:
        """Return the notional of a position, quote."""
        return abs(position.size) * price

    def get_margin(self, price: float) -> float:
        """Return the initial margin of one base unit, quote."""
        leverage: float = self.p.leverage
        return price / leverage

    def getsize(self, price: float, cash: float) -> float:
        """Return the largest size whose initial margin is at most `cash`, in whole lots, base units."""
        return round_down(cash / self.get_margin(price), self.p.lot)


class ExecutionReporter:
    """Queues executions as Backtrader orders, each with the ``tradeid`` of its fill."""

    def __init__(self, queue: deque[bt.Order]) -> None:
        self.comminfo = PerpetualCommInfo()
        self._queue = queue
        self._templates: dict[tuple[int, bool], bt.Order] = {}

    def report(self, book: FeedBook, execution: Execution) -> None:
        """Queue a completed order for an execution of a ladder order."""
        size = _signed(execution)
        order = self.new_order(book, size > 0.0)
        order.tradeid = execution.fill_id
        order.size = size
        order.price = execution.price
        order.exectype = _exectype(execution)
        order.status = bt.Order.Completed
        when = book.data.datetime[0]
        order.created = OrderData(when, size, execution.price)
        order.executed = executed_data(execution, when, size)
        order.info["positionSide"] = execution.side.name
        order.info["label"] = execution.label
        self._queue.append(order)

    def new_order(self, book: FeedBook, is_buy: bool) -> bt.Order:
        """Return an order of a symbol with a number and an info of its own; all else is the template's."""
        template = self._template(book, is_buy)
        order = object.__new__(type(template))  # copy.copy() takes longer than the matching of a bar
        order.__dict__.update(template.__dict__)
        order.ref = next(bt.Order.refbasis)
        order.info = bt.AutoOrderedDict()
        return order

    def execute(self, order: bt.Order, book: FeedBook, execution: Execution) -> None:
        """Add an execution to an order that was told of before."""
        when = book.data.datetime[0]
        order.tradeid = execution.fill_id
        for bit in executed_data(execution, when, _signed(execution)).exbits:
            order.executed.addbit(bit)
        order.partial()

    def tell(self, order: bt.Order) -> None:
        """Queue an order as it is now."""
        self._queue.append(order.clone())

    def _template(self, book: FeedBook, is_buy: bool) -> bt.Order:
        key = (id(book), is_buy)
        template = self._templates.get(key)
        if template is None:
            kind = bt.BuyOrder if is_buy else bt.SellOrder
            template = kind(owner=book.owner, data=book.data, size=1.0, price=1.0)
            template.addcomminfo(self.comminfo)
            self._templates[key] = template
        return template


def _signed(execution: Execution) -> float:
    """Return the size of an execution as Backtrader gives it: positive if it buys."""
    size = execution.qty * int(execution.side)
    return size if execution.opens else -size


def executed_data(execution: Execution, when: float, size: float) -> OrderData:
    """Return the ``executed`` data of an order, with its one execution bit pending.

    The commission of a closing bit includes its funding, so that ``trade.pnlcomm`` is the net PnL.
    """
    value = execution.qty * execution.price
    executed = OrderData(when, remsize=size)
    if execution.opens:
        executed.add(when, size, execution.price, opened=size, openedvalue=value, openedcomm=execution.costs)
    else:
        executed.add(
            when, size, execution.price, closed=size, closedvalue=value, closedcomm=execution.costs, pnl=execution.gross
        )
    executed.markpending()
    return executed


def _exectype(execution: Execution) -> int:
    if execution.maker:
        return bt.Order.Limit
    return bt.Order.Stop if execution.label is TradeLabel.STOP2 else bt.Order.Market
