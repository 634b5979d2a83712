"""Booking of executions: what the engine executes becomes order records, trades and income."""

from collections.abc import Callable, Sequence
from itertools import groupby

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.account import Account, Execution
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.orders import Refusal, SingleOrder
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.exchange import records
from gridv4_bt.exchange.ledger import Ledger
from gridv4_bt.exchange.order_records import OrderRecords
from gridv4_bt.exchange.records import AlgoRecord, OrderRecord


class Booking:
    """The owner of all single orders (see `gridv4_bt.engine.orders.Owner`).

    Parameters
    ----------
    time : returns the time of the present event, ms.
    is_hedged : returns whether the account is in hedge mode.
    """

    def __init__(
        self,
        account: Account,
        order_records: OrderRecords,
        ledger: Ledger,
        time: Callable[[], int],
        is_hedged: Callable[[], bool],
    ) -> None:
        self._account = account
        self._order_records = order_records
        self._ledger = ledger
        self._time = time
        self._is_hedged = is_hedged

    def executed(self, single: SingleOrder, book: Book) -> None:
        """Book the executions of a single order."""
        record = single.reference
        order = self._triggered_order(record, "MARKET") if isinstance(record, AlgoRecord) else record
        self._book_executions(order, book.account.executions)
        book.account.executions.clear()
        order.remaining = single.remaining
        if single.remaining < LOT_NOISE * single.qty:
            whole = order.executed > order.qty * (1.0 - LOT_NOISE)  # a reduce-only order may be larger than its leg
            self._order_records.end(order, records.FILLED if whole else records.EXPIRED, self._time())
        else:
            order.status = records.PARTIALLY_FILLED

    def refused(self, single: SingleOrder, refusal: Refusal) -> None:
        """Expire an order that would close more than its leg holds."""
        self._order_records.end(single.reference, records.EXPIRED, self._time())

    def cancelled(self, single: SingleOrder) -> None:
        """Expire an order that a liquidation cancelled."""
        self._order_records.end(single.reference, records.EXPIRED, self._time())

    def triggered(self, single: SingleOrder) -> None:
        """Turn a triggered STOP into a limit order."""
        order = self._triggered_order(single.reference, "LIMIT")
        order.marketable, order.triggered_at = single.marketable, single.triggered_at
        self._order_records.convert(single, order)

    def trailed(self, single: SingleOrder) -> None:
        """Note the trigger that a trailing stop has now."""
        algo: AlgoRecord = single.reference
        algo.trigger, algo.updated = single.trigger, self._time()
        self._order_records.note_change(algo)

    def expired(self, single: SingleOrder) -> None:
        """Expire an order whose leg holds nothing any more."""
        self._order_records.end(single.reference, records.EXPIRED, self._time())

    def report(self, book: Book) -> None:
        """Book the executions of stops that close a whole leg, and of liquidations."""
        executions = [one for one in self._account.executions if one.symbol == book.symbol]
        if not executions:
            return
        self._account.executions[:] = [one for one in self._account.executions if one.symbol != book.symbol]
        for (side, label), group in groupby(executions, key=lambda one: (one.side, one.label)):
            found = list(group)
            if label is TradeLabel.STOP2:
                order = self._triggered_order(self._order_records.stops[book.symbol, side], "MARKET")
                self._book_executions(order, found)
            else:
                order = self._order_records.add(
                    book.symbol,
                    "SELL" if side > 0 else "BUY",
                    side.name if self._is_hedged() else "BOTH",
                    "LIMIT",
                    "IOC",
                    0.0,
                    found[0].price,
                    f"autoclose-{self._time()}-{side.name}",
                    self._time(),
                )
                self._book_executions(order, found, "INSURANCE_CLEAR")
            order.qty = order.executed
            self._order_records.end(order, records.FILLED, self._time())

    def _triggered_order(self, algo: AlgoRecord, type: str) -> OrderRecord:
        order = self._order_records.add(
            algo.symbol, algo.side, algo.position_side, type, algo.time_in_force, algo.qty, algo.price,
            algo.client_id, self._time(), original_type=algo.type, stop_price=algo.trigger,
            reduce_only=algo.reduce_only, close_position=algo.close_position,
        )  # fmt: skip
        algo.actual_order = order.id
        self._order_records.end(algo, records.FINISHED, self._time())
        return order

    def _book_executions(
        self, order: OrderRecord, executions: Sequence[Execution], fee_type: str = "COMMISSION"
    ) -> None:
        """Book what was executed of an order, one trade for each leg and price."""
        for (side, is_opening, price), group in groupby(executions, key=lambda one: (one.side, one.opens, one.price)):
            found = list(group)
            qty = plain_sum(one.qty for one in found)
            fee = plain_sum(one.fee for one in found)
            self._ledger.execute(order, side, is_opening, qty, price, fee, found[0].maker, self._time(), fee_type)
            order.executed += qty
            order.quote += qty * price
        order.updated = self._time()
        self._order_records.note_change(order)
