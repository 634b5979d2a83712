"""Every request that changes something at the exchange.

No order is ever doubled: its client order id is unique in the bot's life and in the journal before the order is sent.
If the outcome is unknown, the order is queried by that id; its leg gets no new orders until the answer is known.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.engine.market import Market
from gridv4_bt.engine.orders import OrderType
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.live.account_queries import AccountQueries, RawAnswer
from gridv4_bt.live.connection import LONGEST_WAIT, RECV_WINDOW_MS, Connection, Refused, Unreachable, first_field
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure, classify_refusal
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.own_orders import Order, OrderStatus
from gridv4_bt.live.quantise import price_text, quantity_text

#: The exchange refuses a request this long after its timestamp, ms: an order it does not know by then never existed.
SURELY_LATE_MS = RECV_WINDOW_MS + 3_000
#: The exchange keeps a cancelled order for three days, ms: until then a numbered one that it does not find exists.
_KEPT_MS = 3 * 24 * HOUR_MS
_QUERY_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0, 3.0, 5.0)  # seconds before each query for an order
_ATTEMPTS = 3
_BATCH, _CANCEL_BATCH = 5, 10  # the exchange's limits
#: Failures of a batch after which an order of it is sent again alone.
_SENT_AGAIN = {Reaction.UNKNOWN, Reaction.ADOPT, Reaction.RESYNC_CLOCK, Reaction.REQUANTISE, Reaction.RETRY}
#: Failures that pass by themselves and have nothing to do with the order: an entry or exit is sent later.
LATER = {Reaction.WAIT, Reaction.WAIT_ORDERS, Reaction.LOCKED_OUT, Reaction.RESYNC_CLOCK, Reaction.RETRY}
_CAN_WAIT = (Purpose.ENTRY, Purpose.EXIT)


class Executor(AccountQueries):
    """Sets up one bot's account, places and cancels its orders.

    Parameters
    ----------
    read_markets : returns the exchange's filters and notional brackets, by its symbols.
    """

    def __init__(self, connection: Connection, read_markets: Callable[[], dict[str, Market]]) -> None:
        super().__init__(connection)
        self._read_markets = read_markets
        self.markets = read_markets()  #: by the exchange's symbol; read again when a filter refuses an order

    # --- set-up

    def set_up(self, leverage: float) -> None:
        """Verify hedge mode, cross margin and leverage; set what differs if the account or symbol is flat.

        Raises
        ------
        ConfigError
            The leverage is not a whole number.
        LiveError
            A mode differs and cannot be changed because of open positions or orders.
        """
        if leverage != int(leverage):
            raise ConfigError(f"leverage: the exchange takes whole numbers only, got {leverage:g}")
        if not self.is_hedged():
            if not all(map(self._is_flat, self.markets)) or self.connection.call(self._client.fetch_open_orders):
                raise LiveError(
                    "the account is in one-way mode and not flat: close all positions and orders, or switch on hedge "
                    "mode at the exchange (Preferences, Position Mode). No order was sent."
                )
            self._set(lambda: self._client.set_position_mode(True))
            if not self.is_hedged():
                raise LiveError("the exchange does not switch the account to hedge mode. No order was sent.")
        for symbol in self.markets:
            name = self.unified_symbol(symbol)
            config = self.symbol_config(symbol)
            is_flat = self._is_flat(symbol)
            if config["marginType"].upper() not in ("CROSSED", "CROSS"):
                if not is_flat:
                    raise LiveError(f"{symbol} is margined as {config['marginType']} and not flat; close it first.")
                self._set(partial(self._client.set_margin_mode, "cross", name))
            if int(config["leverage"]) != int(leverage):
                if not is_flat:
                    raise LiveError(
                        f"{symbol} has leverage {config['leverage']} and is not flat; --set leverage="
                        f"{config['leverage']}, or close it first. No order was sent."
                    )
                self._set(partial(self._client.set_leverage, int(leverage), name))

    def read_again(self, leverage: float) -> list[str]:
        """Read filters, brackets, leverage, margin and position mode again; return what has changed, for a person.

        A leverage that was changed is set back.

        Raises
        ------
        LiveError
            The account is not in hedge mode any more.
        """
        before, now = self.markets, self._read_markets()
        # The day of reading them is no change.
        changed = [symbol for symbol in now if replace(now[symbol], as_of=before[symbol].as_of) != before[symbol]]
        self.markets = before | {symbol: now[symbol] for symbol in changed}
        self.connection.log("rules_read", symbol=" ".join(self.markets), changed=bool(changed))
        found = [f"the filters or brackets of {symbol} have changed; the new ones apply" for symbol in changed]
        if not self.is_hedged():
            raise LiveError("the account's position mode was changed: set hedge mode again, then start again")
        for symbol in self.markets:
            config = self.symbol_config(symbol)
            if config["marginType"].upper() not in ("CROSSED", "CROSS"):
                found.append(f"{symbol} is margined as {config['marginType']}, not CROSSED: set it back")
            if int(config["leverage"]) != int(leverage):
                text = f"{symbol} has leverage {config['leverage']}, not {leverage:g}"
                try:
                    self._set(partial(self._client.set_leverage, int(leverage), self.unified_symbol(symbol)))
                    found.append(f"{text}; it is set back")
                except (LiveError, Unreachable) as failure:
                    found.append(f"{text}, and it cannot be set back ({failure})")
        return found

    # --- orders

    def place_all(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Failure]]:
        """Send limit orders, in batches; yield those that are not open afterwards, with the reason."""
        for first in range(0, len(orders), _BATCH):
            group = orders[first : first + _BATCH]
            if len(group) == 1:
                failure = self.place(group[0])
                if failure is not None:
                    yield group[0], failure
                continue
            yield from self._place_batch(group)

    def place(self, order: Order) -> Failure | None:
        """Send an order that is in the journal; return None if the exchange has accepted it.

        After a failure the order is done and nothing of it was executed, or its status is unknown if the failure is
        `Reaction.UNKNOWN`.
        """
        failure = None
        corrected: set[Reaction] = set()
        for attempt in range(_ATTEMPTS):
            failure = self._send(order)
            if failure is None:
                return None
            if failure.wait > LONGEST_WAIT:
                break  # the next bar decides anew
            if failure.reaction in (Reaction.UNKNOWN, Reaction.ADOPT):
                exists = self.find_order(order)
                if exists:
                    self.connection.log("order_adopted", id=order.id, after=failure.text)
                    return None
                if exists is None:
                    return Failure(Reaction.UNKNOWN, failure.code, failure.text)
            elif not self._may_send_again(order, failure, attempt, corrected):
                break
        _never_sent(order)
        return failure

    def find_order(self, order: Order) -> bool | None:
        """Query an order of unknown status: True if it exists, and it is updated; False if not; None if still unknown.

        It does not exist only if the exchange does not know it after the time in which it could still arrive, neither
        by its id nor in the list of all orders.
        """
        clock = self.connection.clock
        absent = False
        for pause in _QUERY_PAUSES:
            clock.sleep(pause)
            try:
                self.take(order, self.connection.call_once(lambda: self._query(order)))
                return True
            except Refused as refused:
                absent = refused.failure.reaction is Reaction.GONE
            if absent and clock.now() - order.sent > SURELY_LATE_MS:
                return self._is_listed(order)
        return None

    def find_sent(self, order: Order) -> bool:
        """Query an order that may have been sent before; update it and return True if it exists.

        Raises
        ------
        Unreachable
            No answer.
        """
        try:
            self.take(order, self.connection.call(lambda: self._query(order)))
        except Refused as refused:
            if refused.failure.reaction is not Reaction.GONE:
                raise Unreachable(refused.failure.told) from refused
            return False
        return True

    def refresh(self, order: Order) -> None:
        """Query an order and update it.

        An order that had a number within three days and is not found now exists: its status becomes unknown. One that
        the exchange does not know any more is done; its trades say how much was executed.

        Raises
        ------
        Unreachable
            No answer.
        """
        if self.find_sent(order):
            if order.triggered_id is not None and order.status is not OrderStatus.OPEN:
                self._take_triggered(order, self.order_info(order.key.symbol, order.triggered_id))
            return
        age = self.connection.clock.now() - order.sent
        if order.exchange_id is not None and age < _KEPT_MS:
            order.status = OrderStatus.UNKNOWN
            self.connection.log("alert", what="order_not_found", symbol=order.key.symbol, id=order.id)
        elif order.exchange_id is not None or (age > SURELY_LATE_MS and self._is_listed(order) is False):
            order.status, order.executed = OrderStatus.DONE, order.filled

    def cancel_all(self, orders: Sequence[Order]) -> None:
        """Cancel orders of one symbol, in batches; each ends as after `cancel`."""
        together = [order for order in orders if not order.is_conditional and order.exchange_id is not None]
        if len(together) == 1:
            together.clear()
        unreachable: list[str] = []
        for first in range(0, len(together), _CANCEL_BATCH):
            batch = together[first : first + _CANCEL_BATCH]
            if not self._cancel_batch(batch):
                unreachable.extend(order.id for order in batch)
        for order in orders:
            if order not in together or (order.status is not OrderStatus.DONE and order.id not in unreachable):
                self.cancel(order)

    def cancel(self, order: Order) -> None:
        """Cancel an order; afterwards it is done, with its executed quantity, or its status is unknown.

        Cancelling twice does no harm, so the request is repeated until there is an answer.
        """
        try:
            answer = self.connection.call(lambda: self._cancel_request(order), trades=True)
            if order.is_conditional and order.triggered_id is None:
                order.status, order.executed = OrderStatus.DONE, order.filled
            else:
                self._take_cancelled(order, answer["info"])
            return
        except Refused as refused:
            reaction = refused.failure.reaction
        except Unreachable:
            reaction = Reaction.UNKNOWN
        was_waiting = order.triggered_id is None
        try:
            self.refresh(order)
        except Unreachable:
            order.status = OrderStatus.UNKNOWN
            return
        if order.status is not OrderStatus.OPEN or reaction is Reaction.UNKNOWN:
            return
        if was_waiting and order.triggered_id is not None:  # it has become a limit order meanwhile
            self.cancel(order)
        else:
            self.connection.log("cancel_refused", id=order.id)

    def countdown_cancel_all(self, symbol: str, seconds: int) -> None:
        """Make the exchange cancel a symbol's plain orders unless this is called again in time; 0 seconds: never."""
        request = {"symbol": symbol, "countdownTime": 1000 * seconds}
        self.connection.call(lambda: self._client.fapiPrivatePostCountdownCancelAll(request))

    # ---

    def _is_listed(self, order: Order) -> bool | None:
        """Return whether the list of all orders, or of open conditional ones, has an order, which is updated then.

        A single answer that does not find an order must not make it be sent twice. None: no answer.
        """
        symbol, since = order.key.symbol, order.sent - SURELY_LATE_MS
        try:
            rows = self.conditional_orders(symbol) if order.is_conditional else self.all_orders(symbol, since)
        except (Refused, Unreachable):
            return None
        name = "clientAlgoId" if order.is_conditional else "clientOrderId"
        info = next((row for row in rows if row.get(name) == order.id), None)
        if info is not None:
            self.take(order, info)
        return info is not None

    def _send(self, order: Order) -> Failure | None:
        order.status = OrderStatus.UNKNOWN
        order.sent = self.connection.clock.now()
        try:
            can_wait = order.key.purpose in _CAN_WAIT
            answer = self.connection.call_once(lambda: self._create(order), can_wait, trades=True)
        except Refused as refused:
            return refused.failure
        if answer.get("id") is None:
            return Failure(Reaction.UNKNOWN, None, "the answer has no order id")
        self.take(order, answer["info"])
        return None

    def _may_send_again(self, order: Order, failure: Failure, attempt: int, corrected: set[Reaction]) -> bool:
        """Remove the cause of a failure, or wait for it to pass; return whether the order is worth another attempt.

        Parameters
        ----------
        corrected : causes that were removed in an earlier attempt; none is removed twice.
        """
        match failure.reaction:
            case Reaction.RESYNC_CLOCK if failure.reaction not in corrected:
                corrected.add(failure.reaction)
                try:
                    self.connection.resync()
                except Unreachable:
                    return False
                return True
            case Reaction.REQUANTISE if failure.reaction not in corrected:
                corrected.add(failure.reaction)
                return self._rules_changed(order.key.symbol)
            case Reaction.RETRY if attempt + 1 < _ATTEMPTS:
                self.connection.clock.sleep(0.5 * 2**attempt)
                return True
            case Reaction.WAIT | Reaction.WAIT_ORDERS if order.key.purpose not in _CAN_WAIT:
                self.connection.clock.sleep(failure.wait)
                return attempt + 1 < _ATTEMPTS
        return False

    def _rules_changed(self, symbol: str) -> bool:
        """Read the markets again; return whether the filters or brackets of a symbol have changed."""
        before = self.markets[symbol]
        try:
            self.markets = self._read_markets()
        except (Refused, Unreachable):
            return False
        self.connection.log("rules_read", symbol=symbol, changed=self.markets[symbol] != before)
        return self.markets[symbol] != before

    def _is_flat(self, symbol: str) -> bool:
        answer = self.connection.call(lambda: self._client.fetch_positions([self.unified_symbol(symbol)]))
        return not any(float(position["info"]["positionAmt"]) for position in answer)

    def _set(self, request: Callable[[], object]) -> None:
        """Send a setting; one that is in force already is no error."""
        try:
            self.connection.call(request)
        except Refused as refused:
            if refused.failure.reaction is not Reaction.SUCCESS:
                raise LiveError(f"the exchange refuses: {refused.failure.told}. No order was sent.") from refused

    def _request(self, order: Order) -> tuple[str, str, str, str | None, str | None, dict[str, Any]]:
        """Return symbol, type, side, amount, price and params of ccxt's `create_order`."""
        market = self.markets[order.key.symbol]
        params: dict[str, Any] = {"positionSide": order.key.side.name}
        if order.single is not None and order.single.trail:
            rate = f"{100.0 * order.single.trail:.1f}"  # percent; the exchange takes tenths
            params |= {"clientAlgoId": order.id, "trailingPercent": rate, "workingType": "CONTRACT_PRICE"}
        elif order.is_conditional:
            # Rounded away from the market, so that it never triggers earlier than wanted.
            trigger = price_text(order.trigger, market.tick, not order.is_buy)
            params |= {"clientAlgoId": order.id, "triggerPrice": trigger, "workingType": "CONTRACT_PRICE"}
        else:
            params["newClientOrderId"] = order.id
        kind, price, quantity = "market", None, None
        if order.type in (OrderType.LIMIT, OrderType.STOP):
            kind, price = "limit", price_text(order.price, market.tick, order.is_buy)
            params["timeInForce"] = order.time_in_force
        if math.isinf(order.qty):
            params["closePosition"] = True
        else:
            quantity = quantity_text(order.qty, market.step)
        return (
            self.unified_symbol(order.key.symbol), kind, "buy" if order.is_buy else "sell", quantity, price, params,
        )  # fmt: skip

    def _create(self, order: Order) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.create_order(*self._request(order))
        return answer

    def _place_batch(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Failure]]:
        # ccxt's create_orders sorts the answers by time, which loses which order was refused; the exchange answers in
        # the order of the request.
        def send() -> list[RawAnswer]:
            requests = [self._client.create_order_request(*self._request(order)) for order in orders]
            answers: list[RawAnswer] = self._client.fapiPrivatePostBatchOrders({"batchOrders": requests})
            return answers

        now = self.connection.clock.now()
        for order in orders:
            order.status, order.sent = OrderStatus.UNKNOWN, now
        was_sent = True
        try:
            answers = self.connection.call_once(send, can_wait=True, trades=True)
        except Refused as refused:
            if refused.failure.reaction in LATER - _SENT_AGAIN:
                yield from ((_never_sent(order), refused.failure) for order in orders)
                return
            answers = []
            was_sent = refused.failure.reaction is Reaction.UNKNOWN
        is_whole = isinstance(answers, list) and len(answers) == len(orders)
        for index, order in enumerate(orders):
            answer = answers[index] if is_whole and isinstance(answers[index], dict) else {}
            if answer.get("clientOrderId") == order.id and answer.get("orderId"):
                self.take(order, answer)
                continue
            failure = classify_refusal(answer) if "code" in answer else None
            if was_sent and (failure is None or failure.reaction is Reaction.UNKNOWN):
                exists = self.find_order(order)
                if exists is None:
                    yield order, Failure(Reaction.UNKNOWN, None, "the outcome of a batch is unknown")
                if exists is not False:
                    continue
            if failure is not None and failure.reaction not in _SENT_AGAIN:
                yield _never_sent(order), failure
                continue
            failure = self.place(order)  # alone it gets an answer of its own
            if failure is not None:
                yield order, failure

    def _query(self, order: Order) -> RawAnswer:
        params: dict[str, Any] = {"trigger": True, "clientAlgoId": order.id}
        if not order.is_conditional:
            params = {"origClientOrderId": order.id}
        answer: RawAnswer = self._client.fetch_order(None, self.unified_symbol(order.key.symbol), params)["info"]
        return answer

    def _cancel_request(self, order: Order) -> dict[str, Any]:
        number: str | None = None
        params: dict[str, Any] = {"clientOrderId": order.id}
        if order.is_conditional:
            number = order.triggered_id
            params = {} if number is not None else {"trigger": True, "clientAlgoId": order.id}
        answer: dict[str, Any] = self._client.cancel_order(number, self.unified_symbol(order.key.symbol), params)
        return answer

    def _cancel_batch(self, orders: Sequence[Order]) -> bool:
        """Cancel plain orders; those missing in the answer stay as they are. Return False if there is no answer."""
        request = {"symbol": orders[0].key.symbol, "orderidlist": [order.exchange_id for order in orders]}
        try:
            answers = self.connection.call(lambda: self._client.fapiPrivateDeleteBatchOrders(request), trades=True)
        except Refused:
            return True
        except Unreachable:
            for order in orders:
                order.status = OrderStatus.UNKNOWN
            return False
        cancelled = {answer.get("clientOrderId"): answer for answer in answers}
        for order in orders:
            if order.id in cancelled:
                self._take_cancelled(order, cancelled[order.id])
        return True

    def _take_cancelled(self, order: Order, info: RawAnswer) -> None:
        self.take(order, info)
        order.status = OrderStatus.DONE  # the answer may show the order as it was before

    def take(self, order: Order, info: RawAnswer) -> None:
        """Update an order by the exchange's answer about it."""
        if order.is_conditional and "orderId" not in info:
            order.exchange_id = str(first_field(info, "algoId") or order.exchange_id)
            actual = first_field(info, "actualOrderId")
            if actual and str(actual) != "0":
                order.triggered_id = str(actual)
            order.status = OrderStatus.OPEN if info.get("algoStatus", "NEW") == "NEW" else OrderStatus.DONE
            order.executed = None if order.status is OrderStatus.OPEN else order.filled
            if order.triggered_id is not None and order.single is not None:
                order.status = OrderStatus.UNKNOWN  # until the order that it has become is asked for
            return
        if order.is_conditional:
            order.triggered_id = str(info["orderId"])
        else:
            order.exchange_id = str(info["orderId"])
        order.status = OrderStatus.OPEN if _is_open(info) else OrderStatus.DONE
        order.executed = max(_executed(info), order.executed or 0.0)  # an answer may be older than one before

    def _take_triggered(self, order: Order, info: RawAnswer | None) -> None:
        """Update a triggered order by the one that it has become; None: the exchange has forgotten that."""
        order.executed = order.filled if info is None else _executed(info)
        rests = info is not None and _is_open(info) and order.single is not None  # a limit order
        order.status = OrderStatus.OPEN if rests else OrderStatus.DONE


def _never_sent(order: Order) -> Order:
    """Return an order that the exchange has not taken, as done without an execution."""
    order.status, order.executed = OrderStatus.DONE, 0.0
    return order


def _is_open(info: RawAnswer) -> bool:
    return info["status"] in ("NEW", "PARTIALLY_FILLED")


def _executed(info: RawAnswer) -> float:
    return float(first_field(info, "executedQty") or 0.0)
