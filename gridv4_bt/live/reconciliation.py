"""The reconciler: what the bot has at the exchange, polled once a candle, and brought in line with what it wants.

It holds the orders that may stand, the trades not yet booked, and the id of the last trade seen, so that no trade is
counted twice and no order is forgotten, whatever fails in between.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gridv4_bt.engine.matching import Book
from gridv4_bt.engine.types import LOT_NOISE, PositionSide
from gridv4_bt.live.account_queries import Holding, Trade
from gridv4_bt.live.connection import Log
from gridv4_bt.live.executor import SURELY_LATE_MS, Executor
from gridv4_bt.live.funding_check import FundingCheck
from gridv4_bt.live.ids import OrderKey, Purpose, parse_id
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.order_diff import Unbooked, close_orders
from gridv4_bt.live.order_sync import OrderSync
from gridv4_bt.live.own_orders import Execution, Order, OrderRegistry, Standing

#: Seconds before each further look for trades that the exchange must have and does not show yet.
_LATE_TRADES = (0.5, 1.0, 2.0, 3.0)


class Mismatch(NamedTuple):
    """A leg of which the exchange holds another quantity than the books."""

    symbol: str
    side: PositionSide
    ours: float
    theirs: Holding


class Reconciler:
    """One bot's orders and trades at the exchange.

    Parameters
    ----------
    bot : its name in client order ids, up to six of a-z and 0-9.
    log : ``log(kind, **fields)``.
    since : trades before this time (ms) are not ours.
    """

    def __init__(self, executor: Executor, journal: Journal, bot: str, log: Log, since: int) -> None:
        self.executor = executor
        self.journal = journal
        self.bot = bot
        self.log = log
        self.since = since
        self.orders = OrderRegistry()
        self.unbooked: list[Execution] = []
        self.foreign_fees = 0.0  #: charged in other assets than the margin's, in quote
        self.holdings: dict[str, dict[PositionSide, Holding]] = {}  #: as the exchange told last, by symbol
        self.funding = FundingCheck(executor)
        self._cursor: dict[str, int] = {}  # id of the last trade seen, by symbol
        self.order_sync = OrderSync(executor, journal, bot, self.orders, log)
        self._clock = executor.connection.clock

    # --- what is kept between sessions

    def to_json(self) -> dict[str, Any]:
        """Return all that must survive, as JSON can hold it."""
        return {
            "orders": self.orders.to_json(),
            "unbooked": [list(item) for item in self.unbooked],
            "foreign_fees": self.foreign_fees,
            "funding": self.funding.to_json(),
            "cursor": self._cursor,
            "generation": self.order_sync.generation,
            "journal": self.journal.last,
            "since": self.since,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take up where the session before ended: its state, and the intents its journal holds beyond it."""
        seen = 0
        if state is not None:
            self.orders.load(state["orders"])
            self.unbooked = [Execution.from_json(item) for item in state["unbooked"]]
            self.foreign_fees = state["foreign_fees"]
            self.funding.load(state["funding"])
            self._cursor = dict(state["cursor"])
            self.order_sync.generation = state["generation"]
            self.since = state["since"]
            seen = state["journal"]
        for record in self.journal.before:
            for item in record["orders"]:
                order = Order.from_json(item)
                self.order_sync.generation = max(self.order_sync.generation, parse_id(order.id).generation)
                if record["n"] > seen and self.orders.get(order.id) is None:
                    order.standing = Standing.DOUBT
                    order.sent = self._clock.now()  # or less: the process before may have sent it as it died
                    self.orders.add(order)

    # --- what has happened

    def poll(self, symbols: Sequence[str]) -> None:
        """Learn what has become of every order and take in all new trades.

        Raises
        ------
        Unreachable
            The exchange does not answer; nothing was taken in.
        """
        for symbol in symbols:
            self._poll_orders(symbol)
            self._take_trades(symbol)
            for pause in _LATE_TRADES:
                if not self._awaits_trades(symbol):
                    break
                self._clock.sleep(pause)
                self._take_trades(symbol)
            else:
                if self._awaits_trades(symbol):
                    self.log("trades_late", symbol=symbol)

    def mismatches(self, books: Sequence[Book]) -> list[Mismatch]:
        """Return the legs that are not as the books say, with late trades waited for."""
        found: list[Mismatch] = []
        for pause in (0.0, *_LATE_TRADES):
            if pause:
                self._clock.sleep(pause)
                for book in books:
                    self._take_trades(book.symbol)
            before, found = found, [item for book in books for item in self._compare(book)]
            if not found:
                return []
        steady = {(item.symbol, item.side, item.ours, item.theirs.qty) for item in before}  # the rest moves with prices
        settled = [item for item in found if (item.symbol, item.side, item.ours, item.theirs.qty) in steady]
        return [item for item in settled if not self._is_explained(item)]

    def book_until(self, symbol: str, time_ms: int) -> list[Execution]:
        """Hand over the trades before a time, which are booked from now on."""
        due = [item for item in self.unbooked if item.symbol == symbol and item.time < time_ms]
        self.unbooked = [item for item in self.unbooked if item not in due]
        return due

    def may_be_bare(self, symbol: str, side: PositionSide) -> bool:
        """Tell whether a leg may be held while no stop of it stands."""
        stops = self.orders.of(symbol, side, Purpose.STOP)
        if any(order.standing is not Standing.DONE for order in stops):
            return False
        # An entry that is over and still known here was executed, and is not in the books yet.
        held = symbol in self.holdings and self.holdings[symbol][side].qty > 0.0
        return held or bool(self.orders.of(symbol, side, Purpose.ENTRY))

    def tidy(self, book: Book) -> None:
        """Forget what is settled and booked, after a bar's executions are in the books."""
        unbooked = Unbooked(self.unbooked, book.symbol)
        for leg in book.legs:
            sent = close_orders(leg, book.symbol, self.orders)
            still = []
            for close, order in zip(leg.closes, sent, strict=True):
                if order is not None and order.is_settled and not unbooked.of_order(order):
                    rest = order.qty - order.filled  # of a close the exchange could not execute wholly: sent again
                    if rest < book.market.min_qty:
                        continue
                    close = close._replace(qty=rest)
                if close.fill_id in leg.tracker.ids:
                    still.append(close)
            leg.closes[:] = still
        for order in self.orders.of(book.symbol):
            if order.is_settled and not unbooked.of_order(order):
                self.orders.drop(order)

    # --- what is wanted

    def carry_out(self, book: Book) -> None:
        """Bring the exchange in line with a symbol's books; what cannot be done now is done after a later candle."""
        self.order_sync.carry_out(book, Unbooked(self.unbooked, book.symbol))

    def stop_adding(self, symbols: Sequence[str]) -> int:
        """Take back all entries and place none any more; exits and stops stay. Return how many may still stand."""
        self.order_sync.adding = False
        for symbol in symbols:
            self.order_sync.cancel(self.orders.of(symbol, purpose=Purpose.ENTRY))
        entries = [order for symbol in symbols for order in self.orders.of(symbol, purpose=Purpose.ENTRY)]
        return sum(order.standing is not Standing.DONE for order in entries)

    # --- polling

    def _poll_orders(self, symbol: str) -> None:
        standing = self.executor.open_ids(symbol)
        for order in self.orders.of(symbol):
            if order.standing is Standing.DONE:
                continue
            if order.id in standing:
                order.standing = Standing.OPEN
                info = standing[order.id]
                order.number = str(info.get("orderId") or info.get("algoId") or order.number)
            else:
                self._refresh(order)
        self._resolve_doubts(symbol)
        for order_id, info in standing.items():
            name = parse_id(order_id)
            if name is not None and name.bot == self.bot and self.orders.get(order_id) is None:
                self._cancel_stray(symbol, order_id, info)

    def _refresh(self, order: Order) -> None:
        was = order.standing
        self.executor.refresh(order)
        if was is Standing.DOUBT and order.standing is not Standing.DOUBT:
            self.log("doubt_resolved", id=order.id, standing=str(order.standing), executed=order.executed)

    def _resolve_doubts(self, symbol: str) -> None:
        """Ask once more for orders that may still be on their way, when they would come too late to be taken."""
        doubts = [order for order in self.orders.of(symbol) if order.standing is Standing.DOUBT]
        if doubts:
            self._clock.sleep((max(order.sent for order in doubts) + SURELY_LATE_MS + 1 - self._clock.now()) / 1000.0)
            for order in doubts:
                self._refresh(order)

    def _cancel_stray(self, symbol: str, order_id: str, info: dict[str, Any]) -> None:
        """Cancel an order of ours that no book knows: the listing is stale, or a state was lost."""
        name = parse_id(order_id)
        key = OrderKey(symbol, name.side, name.purpose, name.ref)
        order = Order(order_id, key, float(info.get("origQty") or 0.0), float(info.get("price") or 0.0))
        order.number = str(info.get("orderId") or info.get("algoId"))
        self.executor.cancel(order)
        if order.standing is not Standing.DONE or (order.executed or 0.0) > 0.0:
            self.orders.add(order)
            self.orders.release(order)
            self.log("stray_order", id=order_id, standing=str(order.standing), executed=order.executed)

    def _take_trades(self, symbol: str) -> None:
        if symbol not in self._cursor:  # nothing of ours was traded before, and the account's history may be long
            self._cursor[symbol] = self.executor.last_trade_id(symbol)
        for trade in self.executor.trades(symbol, self._cursor[symbol]):
            if trade.time < self.since or trade.side is None:
                self._cursor[symbol] = trade.id
                continue
            # What may fail comes first: a trade is taken in wholly or not at all.
            order, foreign = self._order_of(symbol, trade)
            fee = self._fee(trade)
            self._cursor[symbol] = trade.id
            if order is not None:
                order.filled += trade.qty
                if order.filled >= order.qty * (1.0 - LOT_NOISE):  # an open list may be older than the trades
                    order.standing, order.executed = Standing.DONE, order.filled
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
        order = self.orders.by_number(trade.number)
        if order is not None:
            return order, ""
        info = self.executor.order_info(symbol, trade.number)
        name = str(info["clientOrderId"]) if info else f"order {trade.number}"
        order = self.orders.get(name)
        if order is None:
            # A stop that has triggered trades under another order than its own.
            for stop in self.orders.of(symbol, trade.side, Purpose.STOP):
                if stop.is_buy == trade.is_buy and stop.became is None:
                    self.executor.refresh(stop)
                    if stop.became == trade.number:
                        order = stop
                        break
        elif order.key.purpose is Purpose.STOP:
            order.became = trade.number
        else:
            order.number = trade.number
        return order, "" if order else name

    def _fee(self, trade: Trade) -> float:
        """Return a trade's commission in quote; one in another asset is converted at its latest price."""
        if not trade.fee or trade.fee_asset == "USDT":
            return trade.fee
        price = self.executor.price(f"{trade.fee_asset}/USDT:USDT")
        self.foreign_fees += trade.fee * price
        self.log("fee_converted", asset=trade.fee_asset, amount=trade.fee, price=price)
        return trade.fee * price

    def _awaits_trades(self, symbol: str, side: PositionSide | None = None) -> bool:
        return any(order.standing is Standing.DONE and not order.is_settled for order in self.orders.of(symbol, side))

    def _is_explained(self, mismatch: Mismatch) -> bool:
        """Tell whether an order in doubt, or one whose trades are late, may be the reason."""
        symbol, side = mismatch.symbol, mismatch.side
        return self.orders.in_doubt(symbol, side) or self._awaits_trades(symbol, side)

    def _compare(self, book: Book) -> list[Mismatch]:
        unbooked = Unbooked(self.unbooked, book.symbol)
        theirs = self.holdings[book.symbol] = self.executor.holdings(book.symbol)
        found = []
        for leg in book.legs:
            ours = leg.tracker.qty + unbooked.change(leg.side)
            if abs(ours - theirs[leg.side].qty) > 0.5 * book.market.step:
                found.append(Mismatch(book.symbol, leg.side, ours, theirs[leg.side]))
        return found
