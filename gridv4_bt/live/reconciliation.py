"""The reconciler: keeps the bot's orders, trades and positions in agreement with the exchange, polled once a candle.

It holds the orders that may be open, the trades not yet booked and the id of the last trade read, so that no trade is
counted twice and no order is forgotten, whatever request fails.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.account_queries import Position, RawAnswer, Trade
from gridv4_bt.live.booking import FORCED
from gridv4_bt.live.connection import Log, Refused, Unreachable
from gridv4_bt.live.executor import SURELY_LATE_MS, Executor
from gridv4_bt.live.funding_check import FundingCheck
from gridv4_bt.live.ids import OrderId, Purpose, parse_id
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.order_diff import Unbooked, close_orders
from gridv4_bt.live.order_sync import OrderSync
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, OrderStatus

#: Seconds before each further query for trades that the exchange has and does not list yet.
_TRADE_PAUSES = (0.5, 1.0, 2.0, 3.0)
#: Generations skipped for each damaged line of the journal, so that no id of an order in it is used again.
_LOST_GENERATIONS = 1_000


class Mismatch(NamedTuple):
    """A leg whose quantity at the exchange differs from that in the books."""

    symbol: str
    side: PositionSide
    ours: float  #: by the books, base units
    theirs: Position


class Reconciler:
    """One bot's orders and trades at the exchange.

    Parameters
    ----------
    bot : its name in client order ids, up to six of a-z and 0-9.
    log : ``log(kind, **fields)``.
    since : trades before this time (ms) are not the bot's.
    """

    def __init__(self, executor: Executor, journal: Journal, bot: str, log: Log, since: int) -> None:
        self.executor = executor
        self.journal = journal
        self.bot = bot
        self.names = {bot}  #: the bots whose orders are this one's: its own name, and those it has taken over
        self.log = log
        self.since = since
        self.orders = OrderRegistry()
        self.unbooked: list[Execution] = []
        self.foreign_fees = 0.0  #: fees charged in other assets than the margin's, quote
        self.unpriced: list[tuple[str, float]] = []  #: asset and amount of fees whose price is not known yet
        self.agreed = since  #: time at which the wallet was that of the books last, ms
        #: Legs that somebody else has traded, or whose quantity was not that of the books, as of the latest close.
        self.differs: set[tuple[str, PositionSide]] = set()
        self.positions: dict[str, dict[PositionSide, Position]] = {}  #: as last read, by symbol
        self.funding = FundingCheck(executor)
        self._cursor: dict[str, int] = {}  # id of the last trade read, by symbol
        self.order_sync = OrderSync(executor, journal, bot, self.orders, log)
        self._clock = executor.connection.clock

    # --- saved between sessions

    def to_json(self) -> dict[str, Any]:
        """Return the state of orders and trades as a JSON object."""
        return {
            "orders": self.orders.to_json(),
            "unbooked": [list(item) for item in self.unbooked],
            "foreign_fees": self.foreign_fees,
            "unpriced": self.unpriced,
            "agreed": self.agreed,
            "funding": self.funding.to_json(),
            "cursor": self._cursor,
            "generation": self.order_sync.generation,
            "journal": self.journal.last,
            "since": self.since,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restore a saved state, None for a new bot, and the newer orders of the journal with an unknown status."""
        known = 0  # number of the newest journal record that the state includes
        if state is not None:
            self.orders.load(state["orders"])
            self.unbooked = [Execution.from_json(item) for item in state["unbooked"]]
            self.foreign_fees = state["foreign_fees"]
            self.unpriced = [(asset, amount) for asset, amount in state.get("unpriced", ())]
            self.agreed = state.get("agreed", state["since"])
            self.funding.load(state["funding"])
            self._cursor = dict(state["cursor"])
            self.order_sync.generation = state["generation"]
            self.since = state["since"]
            known = state["journal"]
            self.journal.last = max(self.journal.last, known)
        for record in self.journal.before:
            for item in record["orders"]:
                order = Order.from_json(item)
                self.order_sync.generation = max(self.order_sync.generation, order.generation)
                before = self.orders.get(order.id)
                if record["n"] <= known:
                    continue
                if before is not None and before.status is OrderStatus.WAITING:
                    before.sent = max(before.sent, order.sent)  # before it is sent it is asked for
                elif before is None and order.status is OrderStatus.WAITING:
                    self.orders.add(order)
                elif before is None:
                    order.status = OrderStatus.UNKNOWN
                    order.sent = self._clock.now()  # or before: the process may have sent it as it died
                    self.orders.add(order)
        self.order_sync.generation += _LOST_GENERATIONS * self.journal.lost

    # --- what the exchange has done

    def poll(self, symbols: Sequence[str]) -> None:
        """Update every order and read all new trades.

        Raises
        ------
        Unreachable
            The exchange does not answer.
        """
        for symbol in symbols:
            self._poll_orders(symbol)
            self._take_trades(symbol)
            for pause in _TRADE_PAUSES:
                if not self._awaits_trades(symbol):
                    break
                self._clock.sleep(pause)
                self._take_trades(symbol)
            else:
                if self._awaits_trades(symbol):
                    self.log("trades_late", symbol=symbol)

    def mismatches(self, books: Sequence[Book]) -> list[Mismatch]:
        """Return the legs whose quantity differs from the books, after waiting for late trades."""
        found: list[Mismatch] = []
        for pause in (0.0, *_TRADE_PAUSES):
            if pause:
                self._clock.sleep(pause)
                for book in books:
                    self._take_trades(book.symbol)
            before, found = found, [item for book in books for item in self._compare(book)]
            if not found:
                return []
        steady = {
            (item.symbol, item.side, item.ours, item.theirs.qty) for item in before
        }  # entry and liquidation price may move
        settled = [item for item in found if (item.symbol, item.side, item.ours, item.theirs.qty) in steady]
        return [item for item in settled if not self._is_explained(item)]

    def pop_executions(self, symbol: str, time_ms: int) -> list[Execution]:
        """Remove and return the unbooked executions of a symbol before a time, to be booked."""
        due = [item for item in self.unbooked if item.symbol == symbol and item.time < time_ms]
        self.unbooked = [item for item in self.unbooked if item not in due]
        return due

    def has_open_orders(self, symbol: str) -> bool:
        """Return whether any order of a symbol may be open."""
        return any(order.status is not OrderStatus.DONE for order in self.orders.of(symbol))

    def own_name(self, order_id: str) -> OrderId | None:
        """Return the parts of a client order id of this bot, or of one it has taken over; None for all others."""
        name = parse_id(order_id)
        return name if name is not None and name.bot in self.names else None

    def see_conditional(self, symbol: str, info: RawAnswer) -> None:
        """Update an own stop by a row of the open conditional orders; one that is not known is taken over."""
        order_id = str(info["clientAlgoId"])
        name = self.own_name(order_id)
        if name is None:
            return
        order = self.orders.get(order_id)
        if order is None:
            self.order_sync.generation = max(self.order_sync.generation, name.generation)
            self._take_over_stop(Order.at_exchange(symbol, name, order_id, info, self._clock.now()))
        elif order.status is OrderStatus.UNKNOWN:
            order.status, order.exchange_id = OrderStatus.OPEN, str(info["algoId"])

    def was_stopped(self, symbol: str) -> bool:
        """Return whether a stop was executed that is not booked yet: the books still hold what it has closed."""
        stops = {order.id for order in self.orders.of(symbol, purpose=Purpose.STOP)}
        return any(item.order_id in stops for item in self.unbooked)

    def forget_settled(self, book: Book) -> None:
        """Drop the orders that are settled and booked, after a bar's executions were booked."""
        unbooked = Unbooked(self.unbooked, book.symbol)
        for leg in book.legs:
            sent = close_orders(leg, book.symbol, self.orders)
            kept = []
            for wanted, order in zip(leg.closes, sent, strict=True):
                close = wanted
                if order is not None and order.is_settled and not unbooked.of_order(order):
                    rest = order.qty - order.filled  # of a close that was executed in part: sent again
                    if rest < book.market.min_qty:
                        continue
                    close = close._replace(qty=rest)
                if close.fill_id in leg.tracker.ids:
                    kept.append(close)
            leg.closes[:] = kept
        for order in self.orders.of(book.symbol):
            if order.is_settled and not unbooked.of_order(order):
                self.orders.drop(order)

    # --- what the bot wants

    def carry_out(self, book: Book) -> None:
        """Place and cancel what differs between the exchange and a symbol's books."""
        self.order_sync.carry_out(book, Unbooked(self.unbooked, book.symbol))

    # --- polling

    def _poll_orders(self, symbol: str) -> None:
        open_orders = self.executor.open_orders(symbol)
        for order in self.orders.of(symbol):
            if order.status is OrderStatus.DONE:
                continue
            if order.id in open_orders:
                self.executor.take(order, open_orders[order.id])
            elif order.status is not OrderStatus.WAITING:
                self._refresh(order)
        self._resolve_unknown(symbol)
        for order_id, info in open_orders.items():
            name = self.own_name(order_id)
            if name is not None and self.orders.get(order_id) is None:
                self._cancel_stray(symbol, order_id, name, info)

    def _refresh(self, order: Order) -> None:
        was = order.status
        self.executor.refresh(order)
        is_gone = was is OrderStatus.OPEN and order.status is OrderStatus.DONE
        rested = not order.is_conditional and order.key.purpose is not Purpose.CLOSE
        if is_gone and rested and not _is_executed(order):
            self.log("order_vanished", symbol=order.key.symbol, id=order.id, executed=order.executed)
        if was is OrderStatus.UNKNOWN and order.status is not OrderStatus.UNKNOWN:
            self.log("doubt_resolved", id=order.id, standing=str(order.status), executed=order.executed)

    def _resolve_unknown(self, symbol: str) -> None:
        """Query the orders of unknown status again once the exchange would refuse them as too late."""
        unknown = [order for order in self.orders.of(symbol) if order.status is OrderStatus.UNKNOWN]
        if unknown:
            self._clock.sleep((max(order.sent for order in unknown) + SURELY_LATE_MS + 1 - self._clock.now()) / 1000.0)
            for order in unknown:
                self._refresh(order)

    def _cancel_stray(self, symbol: str, order_id: str, name: OrderId, info: RawAnswer) -> None:
        """Cancel an order of the bot that it does not know: the list is stale, or a state was lost.

        A stop of a leg that has none is taken over instead: it was placed as a session ended on a full disk. So is an
        order with which a strategy closes a leg.
        """
        self.order_sync.generation = max(self.order_sync.generation, name.generation)
        order = Order.at_exchange(symbol, name, order_id, info, self._clock.now())
        before = self.orders.current(order.key)
        is_unserved = before is None or before.status is OrderStatus.DONE
        if name.purpose is Purpose.REDUCE or (name.purpose is Purpose.STOP and is_unserved):
            self._take_over_stop(order)
            return
        self.executor.cancel(order)
        if order.status is not OrderStatus.DONE or (order.executed or 0.0) > 0.0:
            self.orders.add(order)
            self.orders.release(order)
            self.log("stray_order", id=order_id, standing=str(order.status), executed=order.executed)

    def _take_over_stop(self, stop: Order) -> None:
        self.orders.add(stop)
        self.log("order_adopted", id=stop.id, after="a session that could not write it down")

    def _take_trades(self, symbol: str) -> None:
        if symbol not in self._cursor:  # the account's history before the bot may be long
            self._cursor[symbol] = self.executor.last_trade_id(symbol)
        for trade in self.executor.trades(symbol, self._cursor[symbol]):
            if trade.time < self.since or trade.side is None:
                self._cursor[symbol] = trade.id
                continue
            # The requests that may fail come first: a trade is taken completely or not at all.
            order, foreign = self._order_of(symbol, trade)
            fee = self._liquidation_fee(symbol, trade) if foreign.startswith(FORCED) else 0.0
            fee += self._fee(trade)
            self._cursor[symbol] = trade.id
            if order is not None:
                order.filled += trade.qty
                if order.filled >= order.qty * (
                    1.0 - LOT_NOISE
                ):  # the list of open orders may be older than the trades
                    order.status, order.executed = OrderStatus.DONE, order.filled
            execution = Execution(
                trade.id, order.id if order else None, symbol, trade.side, trade.is_buy, trade.qty, trade.price, fee,
                trade.maker, trade.time, foreign,
            )  # fmt: skip
            self.unbooked.append(execution)
            self.log(
                "fill", symbol=symbol, trade=trade.id, order=execution.order_id or foreign, side=trade.side.name,
                buy=trade.is_buy, qty=trade.qty, price=trade.price, fee=fee, asset=trade.fee_asset, time=trade.time,
                maker=trade.maker,
            )  # fmt: skip

    def _order_of(self, symbol: str, trade: Trade) -> tuple[Order | None, str]:
        order = self.orders.by_exchange_id(trade.order_id)
        if order is not None:
            return order, ""
        info = self.executor.order_info(symbol, trade.order_id)
        name = str(info["clientOrderId"]) if info else f"order {trade.order_id}"
        order = self.orders.get(name)
        if order is None:
            # A triggered stop trades under the id of the order it has placed.
            for stop in self.orders.of(symbol, trade.side):
                if stop.is_conditional and stop.is_buy == trade.is_buy and stop.triggered_id is None:
                    self.executor.refresh(stop)
                    if stop.triggered_id == trade.order_id:
                        order = stop
                        break
        elif order.is_conditional:
            order.triggered_id = trade.order_id
        else:
            order.exchange_id = trade.order_id
        return order, "" if order else name

    def _fee(self, trade: Trade) -> float:
        """Return a trade's commission in quote; one in another asset is converted at its last price.

        One without a price is 0 for now, see `price_fees`.
        """
        if not trade.fee or trade.fee_asset == "USDT":
            return trade.fee
        price = self._price(trade.fee_asset)
        if price is None:
            self.unpriced.append((trade.fee_asset, trade.fee))
            self.log("alert", what="fee_unpriced", symbol=trade.fee_asset, amount=trade.fee)
            return 0.0
        return self._convert(trade.fee_asset, trade.fee, price)

    def price_fees(self) -> float:
        """Return the fees, quote, that have got a price since; they are to be charged now."""
        waiting, self.unpriced = self.unpriced, []
        priced = 0.0
        for asset, amount in waiting:
            price = self._price(asset)
            if price is None:
                self.unpriced.append((asset, amount))
            else:
                priced += self._convert(asset, amount, price)
        return priced

    def _price(self, asset: str) -> float | None:
        try:
            return self.executor.price(f"{asset}/USDT:USDT")
        except (Refused, Unreachable):
            return None

    def _convert(self, asset: str, amount: float, price: float) -> float:
        self.foreign_fees += amount * price
        self.log("fee_converted", asset=asset, amount=amount, price=price)
        return amount * price

    @property
    def awaits_trades(self) -> bool:
        """Whether any order has executions whose trades the exchange does not list yet, or is of unknown status."""
        return any(order.status is OrderStatus.UNKNOWN or order.awaited_qty > 0.0 for order in self.orders)

    def _liquidation_fee(self, symbol: str, trade: Trade) -> float:
        """Return what the exchange has charged for a liquidation beside the trade's commission, quote.

        A row that is not there yet is found by the comparison of the wallets.
        """
        rows = self.executor.liquidation_fees(trade.time)
        return -plain_sum(row.amount for row in rows if row.symbol == symbol and row.trade_id == trade.id)

    def _awaits_trades(self, symbol: str, side: PositionSide | None = None) -> bool:
        return any(order.awaited_qty > 0.0 for order in self.orders.of(symbol, side))

    def _is_explained(self, mismatch: Mismatch) -> bool:
        """Return whether an order of unknown status, or one whose trades are late, may be the reason."""
        symbol, side = mismatch.symbol, mismatch.side
        return self.orders.has_unknown(symbol, side) or self._awaits_trades(symbol, side)

    def _compare(self, book: Book) -> list[Mismatch]:
        unbooked = Unbooked(self.unbooked, book.symbol)
        theirs = self.positions[book.symbol] = self.executor.positions(book.symbol)
        found = []
        for leg in book.legs:
            ours = leg.tracker.qty + unbooked.change(leg.side)
            if abs(ours - theirs[leg.side].qty) > 0.5 * book.market.step:
                found.append(Mismatch(book.symbol, leg.side, ours, theirs[leg.side]))
        return found


def _is_executed(order: Order) -> bool:
    return (order.executed or 0.0) >= order.qty * (1.0 - LOT_NOISE)
