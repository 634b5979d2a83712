"""The order_sync: brings the exchange in line with what the books want, in the order in which it is safe.

Every order is in the journal before it is sent. What is refused is answered as the refusal means; what cannot be done
now is done after a later candle.
"""

from collections.abc import Sequence

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.matching import Book, Leg, MarketClose
from gridv4_bt.engine.types import LOT_NOISE, PositionSide, TradeLabel
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Log, halted
from gridv4_bt.live.executor import Executor
from gridv4_bt.live.failures import Failure, Reaction
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.order_diff import Difference, Unbooked, close_orders, difference
from gridv4_bt.live.own_orders import Order, OrderRegistry, Standing

#: Refusals that do not pass by themselves, or should not happen at all.
_TELL = {Reaction.BUG, Reaction.REQUANTISE, Reaction.FEWER_ORDERS, Reaction.SMALLER}
_STOP_EXISTS = -4130
#: How far from the last price a close may reach where the book is too thin for a market order.
_THIN_BOOK_REACH = 0.01
#: How far from the last price a stop is placed that should have been met already.
_NEAREST_STOP = 0.001
#: Seconds before each further look at positions that should be closed.
_LATE_POSITIONS = (0.5, 1.0, 2.0)


class OrderSync:
    """Places and cancels one bot's orders.

    Parameters
    ----------
    bot : its name in client order ids, up to six of a-z and 0-9.
    orders : what may stand at the exchange; kept up to date.
    log : ``log(kind, **fields)``.
    """

    def __init__(self, executor: Executor, journal: Journal, bot: str, orders: OrderRegistry, log: Log) -> None:
        self.adding = True  #: False: no entry is placed any more
        self.generation = 0  #: of the newest order; every order has its own
        self._executor = executor
        self._journal = journal
        self._bot = bot
        self._orders = orders
        self._log = log
        self._one_stop = False  # the exchange takes one stop for a whole leg, not two

    def carry_out(self, book: Book, unbooked: Unbooked) -> None:
        """Bring the exchange in line with a symbol's books.

        Parameters
        ----------
        unbooked : executions that the books have not reached yet.
        """
        changes = [(leg, difference(book, leg, self._orders, unbooked, self._new)) for leg in book.legs]
        if not self.adding:
            for _, change in changes:
                change.entries.clear()
        self._write([order for _, change in changes for order in _new_orders(change)])
        for leg, change in changes:
            self._carry_stop(book, leg, change, unbooked)
        for leg, change in changes:
            self.cancel(change.cancels)
            self._carry_closes(book, leg, change, unbooked)
        for leg, change in changes:
            self._carry_exits(book, leg, change)
        for leg, change in changes:
            self._carry_entries(book, leg, change)
        for leg in book.legs:
            leg.entries_changed()
        book.orders_changed()

    def cancel(self, orders: Sequence[Order]) -> None:
        """Take orders back; one whose end is not known is asked for at the next candle."""
        standing = [order for order in orders if order.standing is not Standing.DONE]
        self._executor.cancel_all(standing)
        for order in standing:
            self._log("cancel", id=order.id, standing=str(order.standing), executed=order.executed)
            self._orders.release(order)
            if order.is_settled:
                self._orders.drop(order)

    def rest_stop(self, symbol: str, side: PositionSide, price: float) -> None:
        """Place a stop for a whole leg that has none."""
        order = self._new(OrderKey(symbol, side, Purpose.STOP, 0), float("inf"), price)
        self._write([order])
        failure = self._place(order)
        if failure is not None and failure.reaction is Reaction.CLOSE_NOW:  # the price is through it already
            last = self._executor.last_price(symbol)
            failure = self._place_instead(order, last * (1.0 - int(side) * _NEAREST_STOP))
        if failure is not None and failure.reaction is not Reaction.UNKNOWN:
            self._log("alert", what="stop_refused", symbol=symbol, side=side.name, text=failure.text)

    def flatten(self, symbol: str) -> None:
        """Cancel every order of ours of a symbol and close both legs at market; the stops go last.

        Raises
        ------
        LiveError
            A leg is not closed wholly; its stop still stands.
        """
        self.cancel([order for order in self._orders.of(symbol) if order.key.purpose is not Purpose.STOP])
        refused = ""
        for side, held in self._executor.holdings(symbol).items():
            if held.qty > 0.0:
                order = self._new(OrderKey(symbol, side, Purpose.CLOSE, 0), held.qty, 0.0, label=TradeLabel.MANUAL)
                self._write([order])
                failure = self._place_close(order)
                refused += "" if failure is None else f" {failure.text}."
        for pause in (0.0, *_LATE_POSITIONS):
            self._executor.connection.clock.sleep(pause)
            holdings = self._executor.holdings(symbol).items()
            left = " and ".join(f"{side.name} {held.qty:g}" for side, held in holdings if held.qty > 0.0)
            if not left:
                break
        else:
            raise LiveError(f"{symbol} still holds {left}.{refused} Try again, or close it at the exchange.")
        self.cancel(self._orders.of(symbol, purpose=Purpose.STOP))

    # --- one order

    def _new(self, key: OrderKey, qty: float, price: float, spacing_pct: float = 0.0, label: str = "") -> Order:
        self.generation += 1
        return Order(make_id(self._bot, key, self.generation), key, qty, price, spacing_pct, label)

    def _write(self, intents: Sequence[Order]) -> None:
        if intents:
            self._journal.write([{"orders": [order.to_json() for order in intents]}])

    def _place(self, order: Order) -> Failure | None:
        self._orders.add(order)
        failure = self._executor.place(order)
        self._log_placed(order, failure)
        if failure is not None and order.standing is Standing.DONE:
            self._orders.drop(order)
        return failure

    def _place_instead(self, refused: Order, price: float) -> Failure | None:
        """Serve the intent of a refused order by another one."""
        order = self._new(refused.key, refused.qty, price, refused.spacing_pct, refused.label)
        self._write([order])
        return self._place(order)

    def _place_close(self, order: Order) -> Failure | None:
        """Close at market; where the book is too thin for that, take what is offered near the last price."""
        failure = self._place(order)
        if failure is None or failure.reaction is not Reaction.SMALLER:
            return failure
        last = self._executor.last_price(order.key.symbol)
        return self._place_instead(order, last * (1.0 + (_THIN_BOOK_REACH if order.is_buy else -_THIN_BOOK_REACH)))

    def _log_placed(self, order: Order, failure: Failure | None) -> None:
        fields = {"id": order.id, "qty": order.qty, "price": order.price, "spacing_pct": order.spacing_pct}
        if order.label:
            fields["label"] = order.label
        if failure is None:
            self._log("order", **fields)
            return
        self._log("order_failed", **fields, reaction=str(failure.reaction), code=failure.code, text=failure.text)
        if failure.reaction in _TELL:
            self._log("alert", what="order_refused", symbol=order.key.symbol, id=order.id, text=failure.text)
        if failure.reaction is Reaction.HALT:
            raise LiveError(halted(failure))

    # --- the stop of a leg

    def _carry_stop(self, book: Book, leg: Leg, change: Difference, unbooked: Unbooked) -> None:
        """Place the new stop before the old one goes, so that the leg is never without one."""
        order, held = change.stop, leg.tracker.qty + unbooked.change(leg.side)
        if order is not None and any(
            other.standing is Standing.DOUBT for other in self._orders.of(book.symbol, leg.side, Purpose.STOP)
        ):
            return
        if order is not None:
            before = self._orders.current(order.key)
            failure = self._replace_stop(held, order, before)
            if failure is not None:
                if before is not None and before.standing is Standing.OPEN:
                    self._orders.add(before)  # it stays in force
                if failure.reaction is Reaction.CLOSE_NOW:
                    self._close_leg(leg, change, book.symbol)
                elif failure.reaction is not Reaction.UNKNOWN:
                    self._log("alert", what="stop_refused", symbol=book.symbol, side=leg.side.name, text=failure.text)
                return
        if order is not None or leg.stop is not None or not held > 0.0:
            self.cancel(change.obsolete_stops)  # else the strategy has named no stop yet: what rests protects

    def _replace_stop(self, held: float, order: Order, before: Order | None) -> Failure | None:
        """Place a stop for the whole leg, of which `held` base units are held, while another stop stands.

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
        bridge = self._new(order.key._replace(ref=1), held, order.price)
        self._write([bridge, order])
        failure = self._place(bridge)
        if failure is None:
            self.cancel([before])
            failure = self._place(order)
        if failure is None:
            self.cancel([bridge])
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
        self._write([order for _, order in added])
        change.closes.extend(added)
        change.exits.clear()
        change.cancels.extend(
            o
            for o in self._orders.of(symbol, leg.side, Purpose.EXIT)
            if o.standing is not Standing.DONE and o not in change.cancels
        )
        self._log("alert", what="stop_passed", symbol=symbol, side=leg.side.name)

    # --- closes, exits, entries

    def _carry_closes(self, book: Book, leg: Leg, change: Difference, unbooked: Unbooked) -> None:
        for close, order in change.closes:
            if self._orders.in_doubt(book.symbol, leg.side):
                return
            gone = plain_sum(
                other.unseen
                for other in self._orders.of(book.symbol, leg.side, Purpose.EXIT)
                if other.key.ref == close.fill_id
            )
            if gone > 0.0:  # its exit has filled while it was being cancelled
                order.qty = max(order.qty - gone, 0.0)
            if order.qty < book.market.min_qty:
                leg.closes.remove(close)
                continue
            failure = self._place_close(order)
            if order.standing is Standing.OPEN:  # the answer came before the execution
                self._executor.refresh(order)
            if failure is not None and order.standing is Standing.DONE:
                leg.closes.remove(close)
        sent = [order for order in close_orders(leg, book.symbol, self._orders) if order is not None]
        closed = plain_sum(order.unseen for order in sent)
        held = leg.tracker.qty + unbooked.change(leg.side)
        if leg.closes and held - closed <= LOT_NOISE * held:
            # Nothing is left to protect; a fill to come shall not be closed by the stop of those before.
            self.cancel(self._orders.of(book.symbol, leg.side, Purpose.STOP))

    def _carry_exits(self, book: Book, leg: Leg, change: Difference) -> None:
        if self._orders.in_doubt(book.symbol, leg.side):
            return
        for order, failure in self._place_all(book, change.exits):
            if failure.reaction is Reaction.REPRICE:
                self._exit_farther(book, leg, order)

    def _exit_farther(self, book: Book, leg: Leg, refused: Order) -> None:
        """Place an exit that the price has passed a tick beyond the price of now, which is better than it was."""
        tick = book.market.tick
        last = self._executor.last_price(book.symbol)
        price = max(last, refused.price) + tick if leg.sign > 0 else min(last, refused.price) - tick
        if self._place_instead(refused, price) is None:
            leg.exits[refused.key.ref] = price

    def _carry_entries(self, book: Book, leg: Leg, change: Difference) -> None:
        doubt = self._orders.in_doubt(book.symbol, leg.side)
        if doubt or not self.adding:
            for order in change.entries:
                leg.prices[order.key.ref - 1] = 0.0
            if doubt and change.entries:
                self._log("leg_in_doubt", symbol=book.symbol, side=leg.side.name, waiting=len(change.entries))
            return
        for order, failure in self._place_all(book, change.entries):
            leg.prices[order.key.ref - 1] = 0.0
            if failure.reaction is Reaction.STOP_ADDING:
                self._log("alert", what="entries_refused", symbol=book.symbol, side=leg.side.name, text=failure.text)

    def _place_all(self, book: Book, orders: Sequence[Order]) -> list[tuple[Order, Failure]]:
        """Place resting orders and return those that were refused for good, with the reason."""
        for order in orders:
            self._orders.add(order)
        refused = []
        for order, failure in self._executor.place_all(orders):
            self._log_placed(order, failure)
            if order.standing is not Standing.DONE:
                continue
            self._orders.drop(order)
            if failure.reaction is Reaction.FEWER_ORDERS and self._make_room(book, order):
                failure = self._place_instead(order, order.price)
            if failure is not None and failure.reaction is not Reaction.UNKNOWN:
                refused.append((order, failure))
        for order in orders:
            if order.standing is Standing.OPEN:
                self._log_placed(order, None)
        return refused

    def _make_room(self, book: Book, order: Order) -> bool:
        """Take back the entry farthest from the market for an order that comes before it; False if there is none."""
        entries = [
            other
            for other in self._orders.of(book.symbol, purpose=Purpose.ENTRY)
            if other.standing is Standing.OPEN
            and (order.key.purpose is not Purpose.ENTRY or other.key.ref > order.key.ref)
        ]
        if not entries:
            return False
        farthest = max(entries, key=lambda entry: entry.key.ref)
        self.cancel([farthest])
        book.leg(farthest.key.side).prices[farthest.key.ref - 1] = 0.0
        return farthest.standing is Standing.DONE


def _new_orders(change: Difference) -> list[Order]:
    stop = [change.stop] if change.stop is not None else []
    return [*stop, *(order for _, order in change.closes), *change.exits, *change.entries]
