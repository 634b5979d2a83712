"""The desk: what the bot has at the exchange, polled once a candle, and brought in line with what it wants.

It holds the orders that may stand, the trades not yet booked, and the id of the last trade seen, so that no trade is
counted twice and no order is forgotten, whatever fails in between.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gridv4_bt.engine.matching import Book, Leg, MarketClose
from gridv4_bt.engine.types import LOT_NOISE, PositionSide, TradeLabel
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import halted
from gridv4_bt.live.convergence import Difference, Unbooked, close_orders, difference
from gridv4_bt.live.executor import Executor, Holding, Trade
from gridv4_bt.live.ids import OrderKey, Purpose, make_id, parse_id
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.orders import Execution, Order, OrderRegistry, Standing
from gridv4_bt.live.reactions import Failure, Reaction

#: Seconds before each further look for trades that the exchange must have and does not show yet.
_LATE_TRADES = (0.5, 1.0, 2.0, 3.0)
#: Refusals that do not pass by themselves, or should not happen at all.
_TELL = {Reaction.BUG, Reaction.REQUANTISE, Reaction.FEWER_ORDERS, Reaction.SMALLER}
_STOP_EXISTS = -4130


class Mismatch(NamedTuple):
    """A leg of which the exchange holds another quantity than the books."""

    symbol: str
    side: PositionSide
    ours: float
    theirs: Holding


class Desk:
    """One bot's orders and trades at the exchange.

    Parameters
    ----------
    bot : its name in client order ids, up to six of a-z and 0-9.
    log : ``log(kind, **fields)``.
    since : trades before this time (ms) are not ours.
    """

    def __init__(self, executor: Executor, journal: Journal, bot: str, log, since: int) -> None:
        self.executor = executor
        self.journal = journal
        self.bot = bot
        self.log = log
        self.since = since
        self.orders = OrderRegistry()
        self.unbooked: list[Execution] = []
        self.foreign_fees = 0.0  #: charged in other assets than the margin's, in quote
        self.adding = True  #: False: no entry is placed any more
        self.holdings: dict[str, dict[PositionSide, Holding]] = {}  #: as the exchange told last, by symbol
        self._cursor: dict[str, int] = {}  # id of the last trade seen, by symbol
        self._generation = 0
        self._one_stop = False  # the exchange takes one stop for a whole leg, not two
        self._clock = executor.connection.clock

    # --- what is kept between sessions

    def to_json(self) -> dict[str, Any]:
        """Return all that must survive, as JSON can hold it."""
        return {
            "orders": self.orders.to_json(),
            "unbooked": [list(item) for item in self.unbooked],
            "foreign_fees": self.foreign_fees,
            "cursor": self._cursor,
            "generation": self._generation,
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
            self._cursor = dict(state["cursor"])
            self._generation = state["generation"]
            self.since = state["since"]
            seen = state["journal"]
        for record in self.journal.before:
            for item in record["orders"]:
                order = Order.from_json(item)
                self._generation = max(self._generation, parse_id(order.id).generation)
                if record["n"] > seen and self.orders.get(order.id) is None:
                    order.standing = Standing.DOUBT
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
        settled = [item for item in found if item in before]
        return [item for item in settled if not self._is_explained(item)]

    def book_until(self, symbol: str, time_ms: int) -> list[Execution]:
        """Hand over the trades before a time, which are booked from now on."""
        due = [item for item in self.unbooked if item.symbol == symbol and item.time < time_ms]
        self.unbooked = [item for item in self.unbooked if item not in due]
        return due

    def tidy(self, book: Book) -> None:
        """Forget what is settled and booked, after a bar's executions are in the books."""
        unbooked = Unbooked(self.unbooked, book.symbol)
        for leg in book.legs:
            sent = close_orders(leg, book.symbol, self.orders)
            leg.closes[:] = [
                close
                for close, order in zip(leg.closes, sent, strict=True)
                if close.fill_id in leg.tracker.ids
                and (order is None or not order.is_settled or unbooked.of_order(order) > 0.0)
            ]
        for order in self.orders.of(book.symbol):
            if order.is_settled and not unbooked.of_order(order):
                self.orders.drop(order)

    # --- what is wanted

    def carry_out(self, book: Book) -> None:
        """Bring the exchange in line with a symbol's books; what cannot be done now is done after a later candle."""
        unbooked = Unbooked(self.unbooked, book.symbol)
        changes = [(leg, difference(book, leg, self.orders, unbooked, self._new)) for leg in book.legs]
        if not self.adding:
            for _, change in changes:
                change.entries.clear()
        intents = [order for _, change in changes for order in _new_orders(change)]
        if intents:
            self.journal.write([{"orders": [order.to_json() for order in intents]}])
        for leg, change in changes:
            self._carry_stop(book, leg, change)
        for leg, change in changes:
            self._cancel_all(change.cancels)
            self._carry_closes(book, leg, change)
        for leg, change in changes:
            self._carry_exits(book, leg, change)
        for leg, change in changes:
            self._carry_entries(book, leg, change)
        for leg in book.legs:
            leg.entries_changed()
        book.orders_changed()

    def cancel_entries(self, symbol: str) -> None:
        """Take back all entries of a symbol; exits and stops stay."""
        self._cancel_all([o for o in self.orders.of(symbol, purpose=Purpose.ENTRY) if o.standing is not Standing.DONE])

    def flatten(self, symbol: str) -> None:
        """Cancel every order of ours of a symbol and close both legs at market."""
        self._cancel_all(self.orders.of(symbol))
        for side, held in self.executor.holdings(symbol).items():
            if held.qty > 0.0:
                order = self._new(OrderKey(symbol, side, Purpose.CLOSE, 0), held.qty, 0.0, label=TradeLabel.MANUAL)
                self.journal.write([{"orders": [order.to_json()]}])
                failure = self._place(order)
                if failure is not None:
                    raise LiveError(f"{symbol} {side.name} is not closed: {failure.text}. Close it at the exchange.")

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
                was = order.standing
                self.executor.refresh(order)
                if was is Standing.DOUBT and order.standing is not Standing.DOUBT:
                    self.log("doubt_resolved", id=order.id, standing=str(order.standing), executed=order.executed)
        for order_id, info in standing.items():
            name = parse_id(order_id)
            if name is not None and name.bot == self.bot and self.orders.get(order_id) is None:
                self._cancel_stray(symbol, order_id, info)

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
            if trade.time < self.since:
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
        return any(
            order.standing is Standing.DONE and not order.is_settled for order in self.orders.of(symbol, side)
        )

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

    # --- carrying out

    def _new(self, key: OrderKey, qty: float, price: float, spacing_pct: float = 0.0, label: str = "") -> Order:
        self._generation += 1
        return Order(make_id(self.bot, key, self._generation), key, qty, price, spacing_pct, label)

    def _place(self, order: Order) -> Failure | None:
        self.orders.add(order)
        failure = self.executor.place(order)
        self._log_placed(order, failure)
        if failure is not None and order.standing is Standing.DONE:
            self.orders.drop(order)
        return failure

    def _log_placed(self, order: Order, failure: Failure | None) -> None:
        fields = {"id": order.id, "qty": order.qty, "price": order.price, "spacing_pct": order.spacing_pct}
        if order.label:
            fields["label"] = order.label
        if failure is None:
            self.log("order", **fields)
            return
        self.log("order_failed", **fields, reaction=str(failure.reaction), code=failure.code, text=failure.text)
        if failure.reaction in _TELL:
            self.log("alert", what="order_refused", symbol=order.key.symbol, id=order.id, text=failure.text)
        if failure.reaction is Reaction.HALT:
            raise LiveError(halted(failure))

    def _cancel_all(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if order.standing is Standing.DONE:
                continue
            self.executor.cancel(order)
            self.log("cancel", id=order.id, standing=str(order.standing), executed=order.executed)
            self.orders.release(order)
            if order.is_settled:
                self.orders.drop(order)

    def _carry_stop(self, book: Book, leg: Leg, change: Difference) -> None:
        """Place the new stop before the old one goes, so that the leg is never without one."""
        order = change.stop
        if order is not None and any(
            other.standing is Standing.DOUBT for other in self.orders.of(book.symbol, leg.side, Purpose.STOP)
        ):
            return
        if order is not None:
            before = self.orders.current(order.key)
            failure = self._replace_stop(book, leg, order, before)
            if failure is not None:
                if before is not None and before.standing is Standing.OPEN:
                    self.orders.add(before)  # it stays in force
                if failure.reaction is Reaction.CLOSE_NOW:
                    self._close_leg(leg, change, book.symbol)
                elif failure.reaction is not Reaction.UNKNOWN:
                    self.log("alert", what="stop_refused", symbol=book.symbol, side=leg.side.name, text=failure.text)
                return
        if order is not None or leg.stop is not None or not leg.tracker.ids:
            self._cancel_all(change.obsolete_stops)  # else the strategy has named no stop yet: what rests protects

    def _replace_stop(self, book: Book, leg: Leg, order: Order, before: Order | None) -> Failure | None:
        """Place a stop for the whole leg while another stands.

        Where the exchange allows only one of them for a leg (-4130), an ordinary stop for what is held now bridges the
        moment between the old one and the new one.
        """
        stands = before is not None and before.standing is Standing.OPEN
        if not (stands and self._one_stop):
            failure = self._place(order)
            if failure is None or failure.code != _STOP_EXISTS or not stands:
                return failure
            self._one_stop = True
            order = self._new(order.key, order.qty, order.price)
        held = leg.tracker.qty + Unbooked(self.unbooked, book.symbol).change(leg.side)
        bridge = self._new(order.key._replace(ref=1), held, order.price)
        self.journal.write([{"orders": [bridge.to_json(), order.to_json()]}])
        failure = self._place(bridge)
        if failure is None:
            self._cancel_all([before])
            failure = self._place(order)
        if failure is None:
            self._cancel_all([bridge])
        return failure

    def _close_leg(self, leg: Leg, change: Difference, symbol: str) -> None:
        """Close at market what a stop would have closed: the price is through it already."""
        closing = {close.fill_id for close in leg.closes}
        added = []
        for fill_id, qty in zip(leg.tracker.ids, leg.tracker.qtys, strict=True):
            if fill_id not in closing:
                close = MarketClose(fill_id, qty, TradeLabel.STOP2)
                leg.closes.append(close)
                key = OrderKey(symbol, leg.side, Purpose.CLOSE, fill_id)
                added.append((close, self._new(key, qty, 0.0, label=str(close.label))))
        if added:
            self.journal.write([{"orders": [order.to_json() for _, order in added]}])
        change.closes.extend(added)
        change.exits.clear()
        change.cancels.extend(
            o for o in self.orders.of(symbol, leg.side, Purpose.EXIT)
            if o.standing is not Standing.DONE and o not in change.cancels
        )  # fmt: skip
        self.log("alert", what="stop_passed", symbol=symbol, side=leg.side.name)

    def _carry_closes(self, book: Book, leg: Leg, change: Difference) -> None:
        for close, order in change.closes:
            if self.orders.in_doubt(book.symbol, leg.side):
                return
            gone = sum(
                other.executed or 0.0
                for other in self.orders.of(book.symbol, leg.side, Purpose.EXIT)
                if other.key.ref == close.fill_id and not other.is_settled
            )
            if gone > 0.0:  # its exit has filled while it was being cancelled
                order.qty = max(order.qty - gone, 0.0)
            if order.qty < book.market.min_qty:
                leg.closes.remove(close)
                continue
            failure = self._place(order)
            if order.standing is Standing.OPEN:  # the answer came before the execution
                self.executor.refresh(order)
            if failure is not None and order.standing is Standing.DONE:
                leg.closes.remove(close)
        unbooked = Unbooked(self.unbooked, book.symbol)
        sent = [order for order in close_orders(leg, book.symbol, self.orders) if order is not None]
        closed = sum((order.executed or 0.0) - unbooked.of_order(order) for order in sent)
        held = leg.tracker.qty + unbooked.change(leg.side)
        if leg.closes and held - closed <= LOT_NOISE * held:
            # Nothing is left to protect; a fill to come shall not be closed by the stop of those before.
            self._cancel_all(self.orders.of(book.symbol, leg.side, Purpose.STOP))

    def _carry_exits(self, book: Book, leg: Leg, change: Difference) -> None:
        if self.orders.in_doubt(book.symbol, leg.side):
            return
        for order in change.exits:
            self.orders.add(order)
        for order, failure in self.executor.place_all(change.exits):
            self._log_placed(order, failure)
            if order.standing is not Standing.DONE:
                continue
            self.orders.drop(order)
            if failure.reaction is Reaction.REPRICE:
                self._exit_farther(book, leg, order)
        for order in change.exits:
            if order.standing is Standing.OPEN:
                self._log_placed(order, None)

    def _exit_farther(self, book: Book, leg: Leg, refused: Order) -> None:
        """Place an exit that the price has passed a tick beyond the price of now, which is better than it was."""
        tick = book.market.tick
        last = self.executor.price(self.executor.unified(book.symbol))
        price = max(last, refused.price) + tick if leg.sign > 0 else min(last, refused.price) - tick
        order = self._new(refused.key, refused.qty, price)
        self.journal.write([{"orders": [order.to_json()]}])
        if self._place(order) is None:
            leg.exits[refused.key.ref] = price

    def _carry_entries(self, book: Book, leg: Leg, change: Difference) -> None:
        doubt = self.orders.in_doubt(book.symbol, leg.side)
        if doubt or not self.adding:
            for order in change.entries:
                leg.prices[order.key.ref - 1] = 0.0
            if doubt and change.entries:
                self.log("leg_in_doubt", symbol=book.symbol, side=leg.side.name, waiting=len(change.entries))
            return
        for order in change.entries:
            self.orders.add(order)
        for order, failure in self.executor.place_all(change.entries):
            self._log_placed(order, failure)
            if order.standing is Standing.DONE:
                self.orders.drop(order)
                leg.prices[order.key.ref - 1] = 0.0
            if failure.reaction is Reaction.STOP_ADDING:
                self.log("alert", what="entries_refused", symbol=book.symbol, side=leg.side.name, text=failure.text)
        for order in change.entries:
            if order.standing is Standing.OPEN:
                self._log_placed(order, None)


def _new_orders(change: Difference) -> list[Order]:
    stop = [change.stop] if change.stop is not None else []
    return [*stop, *(order for _, order in change.closes), *change.exits, *change.entries]
