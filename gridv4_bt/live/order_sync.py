"""Order sync: places and cancels orders until the exchange has those that the books want, in a safe sequence.

Every order is in the journal before it is sent. A refusal is handled by its reason; what cannot be done now is done
after a later candle.
"""

from collections import Counter
from collections.abc import Sequence

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.engine.book import Book, Leg, MarketClose
from gridv4_bt.engine.labels import TradeLabel
from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.errors import LiveError
from gridv4_bt.live.connection import Log, Refused, Unreachable, halt_text
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.executor import LATER, Executor
from gridv4_bt.live.failures import Failure
from gridv4_bt.live.ids import OrderKey, Purpose, make_id
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.order_diff import LegDiff, Unbooked, close_orders, diff_leg
from gridv4_bt.live.own_orders import Order, OrderRegistry, OrderStatus, SingleTerms

#: Refusals that need a look: they do not pass by themselves, or should not happen.
_ALERTED = {Reaction.BUG, Reaction.REQUANTISE, Reaction.FEWER_ORDERS, Reaction.SMALLER}
_STOP_EXISTS = -4130
#: Distance of a close's limit from the last price where the book is too thin for a market order, fraction.
_THIN_BOOK_REACH = 0.01
#: Distance of a stop from the last price if the price has passed its own, fraction.
_NEAREST_STOP = 0.001
#: Bars in a row in which orders of a leg are refused, after which a person is told.
_REFUSED_BARS = 3
_REFUSED_AGAIN = {Purpose.EXIT: "exits_refused_again", Purpose.ENTRY: "entries_refused_again"}
#: Seconds before each further query for positions that should be closed.
_POSITION_PAUSES = (0.5, 1.0, 2.0)


class OrderSync:
    """Places and cancels one bot's orders.

    Parameters
    ----------
    bot : its name in client order ids, up to six of a-z and 0-9.
    orders : the bot's orders that may be open; kept up to date.
    log : ``log(kind, **fields)``.
    """

    def __init__(self, executor: Executor, journal: Journal, bot: str, orders: OrderRegistry, log: Log) -> None:
        self.adding = True  #: False: entries are not placed any more
        self.has_company = False  #: another bot of this product trades on the account: no entries are placed
        self.generation = 0  #: of the newest order
        self.unsent: set[str] = set()  #: symbols with entries or exits that the exchange does not take at the moment
        self._executor = executor
        self._journal = journal
        self._bot = bot
        self._orders = orders
        self._log = log
        self._refused_bars: Counter[tuple[str, PositionSide, Purpose]] = Counter()  # in a row
        self._refused_at: dict[tuple[str, PositionSide, Purpose], int] = {}  # bar counted last, ms
        self._one_stop = False  # the exchange allows only one closePosition stop for a leg
        self._is_ending = False

    def end(self) -> None:
        """Place no entries any more, and send the other orders even if the journal cannot be written."""
        self.adding, self._is_ending = False, True

    def carry_out(self, book: Book, unbooked: Unbooked) -> None:
        """Place and cancel what differs between the exchange and a symbol's books.

        Parameters
        ----------
        unbooked : executions that are not booked yet.
        """
        self.unsent.discard(book.symbol)
        changes = [(leg, diff_leg(book, leg, self._orders, unbooked, self._new)) for leg in book.legs]
        if not self._may_add:
            for _, change in changes:
                change.entries.clear()
        self._write([order for _, change in changes for order in _new_orders(change)])
        for leg, change in changes:
            self._sync_stop(book, leg, change, unbooked)
        for leg, change in changes:
            self.cancel(change.cancels)
            self._sync_closes(book, leg, change, unbooked)
        for leg, change in changes:
            self._sync_exits(book, leg, change)
        for leg, change in changes:
            self._sync_entries(book, leg, change)
        for leg in book.legs:
            leg.entries_changed()
        book.orders_changed()

    def cancel(self, orders: Sequence[Order]) -> None:
        """Cancel orders; one whose status stays unknown is queried at the next candle."""
        for order in orders:
            if order.status is OrderStatus.WAITING and not order.is_woken:  # it was never sent
                order.status, order.executed = OrderStatus.DONE, 0.0
        not_done = [order for order in orders if order.status is not OrderStatus.DONE]
        self._executor.cancel_all(not_done)
        for order in not_done:
            self._log("cancel", id=order.id, standing=str(order.status), executed=order.executed)
            self._orders.release(order)  # it is forgotten at a candle, once its executions are booked

    def drop_stops(self, symbol: str, side: PositionSide) -> None:
        """Cancel the stops of a leg that is flat; none while positions or account show a quantity."""
        stops = [one for one in self._orders.of(symbol, side, Purpose.STOP) if one.status is not OrderStatus.DONE]
        if not stops:
            return
        try:
            held = self._executor.positions(symbol)[side].qty or self._executor.quantities().get((symbol, side), 0.0)
        except (Refused, Unreachable) as failure:
            self._log("stop_kept", symbol=symbol, side=side.name, text=str(failure))
            return
        if held > 0.0:
            self._log("stop_kept", symbol=symbol, side=side.name, qty=held)
        else:
            self.cancel(stops)

    def rest_stop(self, symbol: str, side: PositionSide, price: float) -> bool:
        """Place a stop for a whole leg that has none; right beyond the last price if the price has passed it.

        Return whether it may be open.
        """
        order = self._new(OrderKey(symbol, side, Purpose.STOP, 0), float("inf"), price)
        self._write([order])
        failure = self._place(order)
        if failure is not None and failure.reaction is Reaction.CLOSE_NOW:  # the price has passed it already
            last = self._executor.last_price(symbol)
            failure = self._place_instead(order, last * (1.0 - int(side) * _NEAREST_STOP))
        if failure is None or failure.reaction is Reaction.UNKNOWN or failure.code == _STOP_EXISTS:
            return True
        self._log("alert", what="stop_refused", symbol=symbol, side=side.name, text=failure.told)
        return False

    def flatten(self, symbol: str) -> None:
        """Cancel the bot's orders of a symbol and close both legs at market; the stops are cancelled last.

        Raises
        ------
        LiveError
            A leg is not closed completely; its stop stays open.
        """
        self.cancel([order for order in self._orders.of(symbol) if not order.is_protective])
        refused = ""
        for side, position in self._executor.positions(symbol).items():
            if position.qty > 0.0:
                order = self._new(OrderKey(symbol, side, Purpose.CLOSE, 0), position.qty, 0.0, label=TradeLabel.MANUAL)
                self._write([order])
                failure = self._place_close(order)
                refused += "" if failure is None else f" {failure.told}."
        for pause in (0.0, *_POSITION_PAUSES):
            self._executor.connection.clock.sleep(pause)
            positions = self._executor.positions(symbol).items()
            left = " and ".join(f"{side.name} {position.qty:g}" for side, position in positions if position.qty > 0.0)
            if not left:
                break
        else:
            raise LiveError(f"{symbol} still holds {left}.{refused} Try again, or close it at the exchange.")
        for side in PositionSide:
            self.drop_stops(symbol, side)
            self.cancel(self._orders.of(symbol, side, Purpose.REDUCE))

    # --- the orders of a strategy of the user's own

    def new_single(self, key: OrderKey, qty: float, price: float, terms: SingleTerms, number: int) -> Order:
        """Return an order of a strategy, whose id is made of its key and a number, so that the same has the same id."""
        return Order(make_id(self._bot, key, number), key, qty, price, single=terms)

    def keep_single(self, order: Order) -> None:
        """Write down an order that is sent when its parent is executed, unless it was before."""
        if self._orders.get(order.id) is None:
            order.status = OrderStatus.WAITING
            self._write([order])
            self._orders.add(order)
            self._log("order_kept", id=order.id, qty=order.qty, price=order.price)

    def place_single(self, order: Order, may_be_sent: bool) -> Failure | None:
        """Send an order, unless the bot or a process of it before has sent it already; None if it may be open.

        Parameters
        ----------
        may_be_sent : whether a process before may have decided the same, so that the exchange is asked first.
        """
        known = self._orders.get(order.id)
        if known is not None and known.status is not OrderStatus.WAITING:
            return None
        if order.key.purpose.opens and not self._may_add:
            return Failure(Reaction.STOP_ADDING, None, "the session adds nothing any more, or another bot trades here")
        if may_be_sent and self._executor.find_sent(order):
            self._orders.add(order)
            self._log("order_adopted", id=order.id, after="a restart within its bar")
            return None
        self._write([order])
        failure = self._place(order)
        if failure is None or failure.reaction is Reaction.UNKNOWN:
            return None
        self._log(
            "alert", what="order_refused" if order.key.purpose.opens else "close_refused", symbol=order.key.symbol,
            side=order.key.side.name, qty=order.qty, id=order.id, text=failure.told,
        )  # fmt: skip
        return failure

    # --- one order

    @property
    def _may_add(self) -> bool:
        return self.adding and not self.has_company

    def _new(self, key: OrderKey, qty: float, price: float, spacing_pct: float = 0.0, label: str = "") -> Order:
        self.generation += 1
        return Order(make_id(self._bot, key, self.generation), key, qty, price, spacing_pct, label)

    def _write(self, intents: Sequence[Order]) -> None:
        if intents:
            try:
                self._journal.write([{"orders": [order.to_json() for order in intents]}])
            except OSError:
                if not self._is_ending:  # a leg must not stay without a stop because the disk is full
                    raise

    def _place(self, order: Order) -> Failure | None:
        self._orders.add(order)
        failure = self._executor.place(order)
        self._log_placed(order, failure)
        if failure is not None and order.status is OrderStatus.DONE:
            self._orders.drop(order)
        return failure

    def _place_instead(self, refused: Order, price: float) -> Failure | None:
        """Place another order at a price of its own for the key of a refused one."""
        order = self._new(refused.key, refused.qty, price, refused.spacing_pct, refused.label)
        self._write([order])
        return self._place(order)

    def _place_close(self, order: Order) -> Failure | None:
        """Close at market, or with an IOC limit near the last price if the book is too thin for a market order."""
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
        if failure.reaction in _ALERTED:
            self._log("alert", what="order_refused", symbol=order.key.symbol, id=order.id, text=failure.told)
        if failure.reaction is Reaction.HALT:
            raise LiveError(halt_text(failure))

    # --- the stop of a leg

    def _sync_stop(self, book: Book, leg: Leg, change: LegDiff, unbooked: Unbooked) -> None:
        """Place the new stop before the old one is cancelled, so that the leg always has one."""
        order, held = change.stop, leg.tracker.qty + unbooked.change(leg.side)
        if order is not None and any(
            other.status is OrderStatus.UNKNOWN for other in self._orders.of(book.symbol, leg.side, Purpose.STOP)
        ):
            return
        if order is not None:
            before = self._orders.current(order.key)
            failure = self._replace_stop(held, order, before)
            if failure is not None:
                if before is not None and before.status is OrderStatus.OPEN:
                    self._orders.add(before)  # it stays open
                if failure.reaction is Reaction.CLOSE_NOW:
                    self._close_leg(leg, change, book.symbol)
                elif failure.reaction is not Reaction.UNKNOWN:
                    self._log("alert", what="stop_refused", symbol=book.symbol, side=leg.side.name, text=failure.told)
                return
        if not held > 0.0:  # by the books, which late trades may leave behind
            self.drop_stops(book.symbol, leg.side)
        elif order is not None or leg.stop is not None:
            self._drop_obsolete(change)  # else no stop is decided yet, and the open one protects the leg

    def _drop_obsolete(self, change: LegDiff) -> None:
        """Cancel the stops that another one replaces, once that is open."""
        obsolete = change.obsolete_stops
        keys = {(stop.key.symbol, stop.key.side) for stop in obsolete}
        others = [one for key in keys for one in self._orders.of(*key, Purpose.STOP) if one not in obsolete]
        if any(one.status is OrderStatus.OPEN for one in others):
            self.cancel(obsolete)

    def _replace_stop(self, held: float, order: Order, before: Order | None) -> Failure | None:
        """Place a stop for the whole leg, of which `held` base units are held, while the stop `before` is open.

        If the exchange allows only one such stop for a leg (-4130), an ordinary stop for the quantity held now
        protects the leg between the old one and the new one.
        """
        replaced = before if before is not None and before.status is OrderStatus.OPEN else None
        if replaced is None or not self._one_stop:
            failure = self._place(order)
            if failure is None or failure.code != _STOP_EXISTS or replaced is None:
                return failure
            self._one_stop = True
            order = self._new(order.key, order.qty, order.price)
        key = order.key._replace(ref=1)
        bridge = self._new(key, held, order.price)
        self._write([bridge, order])
        # One that a killed process has left; the stop that is being replaced protects the leg.
        self.cancel([one for one in self._orders.of(key.symbol, key.side, Purpose.STOP) if one.key == key])
        failure = self._place(bridge)
        if failure is None:
            self.cancel([replaced])
            failure = self._place(order)
        if failure is None:
            self.cancel([bridge])
        return failure

    def _close_leg(self, leg: Leg, change: LegDiff, symbol: str) -> None:
        """Close a leg at market, because the price has passed its stop before that was placed."""
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
            if o.status is not OrderStatus.DONE and o not in change.cancels
        )
        self._log("alert", what="stop_passed", symbol=symbol, side=leg.side.name)

    # --- closes, exits, entries

    def _sync_closes(self, book: Book, leg: Leg, change: LegDiff, unbooked: Unbooked) -> None:
        for close, order in change.closes:
            if self._orders.has_unknown(book.symbol, leg.side):
                return
            executed = plain_sum(
                other.awaited_qty
                for other in self._orders.of(book.symbol, leg.side, Purpose.EXIT)
                if other.key.ref == close.fill_id
            )
            if executed > 0.0:  # its exit was filled while it was being cancelled
                order.qty = max(order.qty - executed, 0.0)
            if order.qty < book.market.min_qty:
                leg.closes.remove(close)
                continue
            failure = self._place_close(order)
            if order.status is OrderStatus.OPEN:  # the answer was sent before the execution
                self._executor.refresh(order)
            if failure is not None and order.status is OrderStatus.DONE:
                leg.closes.remove(close)
                self._log(
                    "alert", what="close_refused", symbol=book.symbol, side=leg.side.name, fill=close.fill_id,
                    label=str(close.label), qty=order.qty, text=failure.told,
                )  # fmt: skip
        sent = [order for order in close_orders(leg, book.symbol, self._orders) if order is not None]
        closed = plain_sum(order.awaited_qty for order in sent)
        held = leg.tracker.qty + unbooked.change(leg.side)
        if leg.closes and held - closed <= LOT_NOISE * held:
            self.drop_stops(book.symbol, leg.side)  # nothing is left to protect; it must not close the next fill

    def _sync_exits(self, book: Book, leg: Leg, change: LegDiff) -> None:
        if self._orders.has_unknown(book.symbol, leg.side):
            return
        refused = ""
        for order, failure in self._place_all(book, change.exits):
            if failure.reaction in LATER:
                self.unsent.add(book.symbol)
            if failure.reaction is not Reaction.REPRICE or not self._exit_farther(book, leg, order):
                refused = failure.told
        self._note_refusal(book, leg.side, Purpose.EXIT, refused)

    def _exit_farther(self, book: Book, leg: Leg, refused: Order) -> bool:
        """Place an exit that the price has passed a tick beyond the last price; return whether it rests there."""
        tick = book.market.tick
        last = self._executor.last_price(book.symbol)
        price = max(last, refused.price) + tick if leg.sign > 0 else min(last, refused.price) - tick
        if self._place_instead(refused, price) is not None:
            return False
        leg.exits[refused.key.ref] = price
        return True

    def _sync_entries(self, book: Book, leg: Leg, change: LegDiff) -> None:
        has_unknown = self._orders.has_unknown(book.symbol, leg.side)
        if has_unknown or not self._may_add:
            for order in change.entries:
                leg.prices[order.key.ref - 1] = 0.0
            if has_unknown and change.entries:
                self._log("leg_in_doubt", symbol=book.symbol, side=leg.side.name, waiting=len(change.entries))
            return
        refused = ""
        for order, failure in self._place_all(book, change.entries):
            refused = failure.told
            if failure.reaction in LATER:
                self.unsent.add(book.symbol)
                continue
            leg.prices[order.key.ref - 1] = 0.0
            if failure.reaction is Reaction.STOP_ADDING:
                self._log("alert", what="entries_refused", symbol=book.symbol, side=leg.side.name, text=failure.told)
        self._note_refusal(book, leg.side, Purpose.ENTRY, refused)

    def _note_refusal(self, book: Book, side: PositionSide, purpose: Purpose, text: str) -> None:
        """Count the bars in a row in which orders of a leg were refused; "" is a bar without. Alert at the third."""
        key = book.symbol, side, purpose
        if not text:
            self._refused_bars[key] = 0
        elif self._refused_at.get(key) != book.bar.time:
            self._refused_bars[key] += 1
            self._refused_at[key] = book.bar.time
            if self._refused_bars[key] == _REFUSED_BARS:
                self._log("alert", what=_REFUSED_AGAIN[purpose], symbol=book.symbol, side=side.name, text=text)

    def _place_all(self, book: Book, orders: Sequence[Order]) -> list[tuple[Order, Failure]]:
        """Place limit orders and return those that were refused, with the reason."""
        for order in orders:
            self._orders.add(order)
        refused = []
        for order, reason in self._executor.place_all(orders):
            failure: Failure | None = reason
            self._log_placed(order, reason)
            if order.status is not OrderStatus.DONE:
                continue
            self._orders.drop(order)
            if reason.reaction is Reaction.FEWER_ORDERS and self._free_order_slot(book, order):
                failure = self._place_instead(order, order.price)
            if failure is not None and failure.reaction is not Reaction.UNKNOWN:
                refused.append((order, failure))
        for order in orders:
            if order.status is OrderStatus.OPEN:
                self._log_placed(order, None)
        return refused

    def _free_order_slot(self, book: Book, order: Order) -> bool:
        """Cancel the open entry farthest from the market in favour of an order nearer to it; False if there is none."""
        entries = [
            other
            for other in self._orders.of(book.symbol, purpose=Purpose.ENTRY)
            if other.status is OrderStatus.OPEN
            and (order.key.purpose is not Purpose.ENTRY or other.key.ref > order.key.ref)
        ]
        if not entries:
            return False
        farthest = max(entries, key=lambda entry: entry.key.ref)
        self.cancel([farthest])
        book.leg(farthest.key.side).prices[farthest.key.ref - 1] = 0.0
        return farthest.status is OrderStatus.DONE


def _new_orders(change: LegDiff) -> list[Order]:
    stop = [change.stop] if change.stop is not None else []
    return [*stop, *(order for _, order in change.closes), *change.exits, *change.entries]
