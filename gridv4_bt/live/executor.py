"""Every call that changes something at the exchange.

An order can never exist twice: its client id is unique in the bot's life, it is in the journal before it is sent, and
an outcome that is not known is asked for by that id until it is, or the leg waits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gridv4_bt.engine.market import Market
from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.live.account_queries import AccountQuestions
from gridv4_bt.live.connection import LONGEST_WAIT, RECV_WINDOW_MS, Connection, Refused, Unreachable, answer_of
from gridv4_bt.live.failures import Failure, Reaction, refusal
from gridv4_bt.live.ids import Purpose
from gridv4_bt.live.own_orders import Order, Standing
from gridv4_bt.live.quantise import price_text, quantity_text

#: A request this much older than its time stamp is refused by the exchange, so an order still unknown then never was.
SURELY_LATE_MS = RECV_WINDOW_MS + 3_000
_LOOKS = (0.2, 0.5, 1.0, 2.0, 3.0, 3.0, 5.0)  # seconds before each look for an order
_ATTEMPTS = 3
_BATCH, _CANCEL_BATCH = 5, 10  # the exchange's limits
#: Failures that are answered by more than giving up the order.
_ANSWERED = {
    Reaction.UNKNOWN, Reaction.ADOPT, Reaction.RESYNC_CLOCK, Reaction.REQUANTISE, Reaction.RETRY, Reaction.WAIT,
    Reaction.WAIT_ORDERS,
}  # fmt: skip


class Executor(AccountQuestions):
    """The account of one bot at the exchange.

    Parameters
    ----------
    read_markets : asks the exchange for filters and brackets, by its symbols.
    """

    def __init__(self, connection: Connection, read_markets: Callable[[], dict[str, Market]]) -> None:
        super().__init__(connection)
        self._read_markets = read_markets
        self.markets = read_markets()  #: by the exchange's symbol; read again when it refuses what was rounded by them

    # --- set-up

    def set_up(self, leverage: float) -> None:
        """Verify hedge mode, cross margin and leverage; set what differs where nothing is held, refuse elsewhere.

        Raises
        ------
        ConfigError
            The leverage is no whole number.
        LiveError
            A mode differs and cannot be changed while something is held or ordered.
        """
        if leverage != int(leverage):
            raise ConfigError(f"leverage: the exchange takes whole numbers only, got {leverage:g}")
        ask = self.connection.ask
        if not self.is_hedged():
            if not all(map(self._is_flat, self.markets)) or ask(self._client.fetch_open_orders):
                raise LiveError(
                    "the account is in one-way mode and not flat: close all positions and orders, or switch on hedge "
                    "mode at the exchange (Preferences, Position Mode). No order was sent."
                )
            self._set(lambda: self._client.set_position_mode(True))
            if not self.is_hedged():
                raise LiveError("the exchange does not switch the account to hedge mode. No order was sent.")
        for symbol in self.markets:
            name = self.unified(symbol)
            config = self.symbol_config(symbol)
            is_flat = self._is_flat(symbol)
            if config["marginType"].upper() not in ("CROSSED", "CROSS"):
                if not is_flat:
                    raise LiveError(f"{symbol} is margined as {config['marginType']} and not flat; close it first.")
                self._set(lambda name=name: self._client.set_margin_mode("cross", name))
            if int(config["leverage"]) != int(leverage):
                if not is_flat:
                    raise LiveError(
                        f"{symbol} has leverage {config['leverage']} and is not flat; --set leverage="
                        f"{config['leverage']}, or close it first. No order was sent."
                    )
                self._set(lambda name=name: self._client.set_leverage(int(leverage), name))

    # --- orders

    def place_all(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Failure]]:
        """Send resting limit orders, as many as possible in one call; give those that do not stand, with the reason."""
        for first in range(0, len(orders), _BATCH):
            group = orders[first : first + _BATCH]
            if len(group) == 1:
                failure = self.place(group[0])
                if failure is not None:
                    yield group[0], failure
                continue
            yield from self._place_batch(group)

    def place(self, order: Order) -> Failure | None:
        """Send an order that is in the journal; None if the exchange has it.

        If not, the order is done without any execution, or in doubt where the failure is `Reaction.UNKNOWN`.
        """
        failure = None
        resynced = reread = False
        for attempt in range(_ATTEMPTS):
            order.standing = Standing.DOUBT
            order.sent = self.connection.clock.now()
            try:
                answer = self.connection.try_once(lambda: self._create(order), is_order=True)
                if answer.get("id") is not None:
                    self._take(order, answer["info"])
                    return None
                failure = Failure(Reaction.UNKNOWN, None, "the answer has no order id")
            except Refused as refused:
                failure = refused.failure
            if failure.wait > LONGEST_WAIT:
                break  # after so long the next bar plans anew
            match failure.reaction:
                case Reaction.UNKNOWN | Reaction.ADOPT:
                    exists = self.look(order)
                    if exists:
                        self.connection.log("order_adopted", id=order.id, after=failure.text)
                        return None
                    if exists is None:
                        return Failure(Reaction.UNKNOWN, failure.code, failure.text)
                case Reaction.RESYNC_CLOCK if not resynced:
                    resynced = True
                    try:
                        self.connection.resync()
                    except Unreachable:
                        break
                case Reaction.REQUANTISE if not reread:
                    reread = True
                    if not self._rules_changed(order.key.symbol):
                        break
                case Reaction.RETRY | Reaction.WAIT | Reaction.WAIT_ORDERS if attempt + 1 < _ATTEMPTS:
                    self.connection.clock.sleep(failure.wait or 0.5 * 2**attempt)
                case _:
                    break
        order.standing, order.executed = Standing.DONE, 0.0
        return failure

    def look(self, order: Order) -> bool | None:
        """Find out whether an order in doubt exists: True, and it is brought up to date; False; None: still unknown.

        It never existed only if it cannot be found after the time in which the exchange would still accept it.
        """
        clock = self.connection.clock
        absent = False
        for pause in _LOOKS:
            clock.sleep(pause)
            try:
                self._take(order, self.connection.try_once(lambda: self._query(order)))
                return True
            except Refused as refused:
                absent = refused.failure.reaction is Reaction.GONE
            if absent and clock.now() - order.sent > SURELY_LATE_MS:
                return False
        return None

    def refresh(self, order: Order) -> None:
        """Ask what has become of an order.

        An order the exchange does not know any more is done; it was executed as far as its trades say.

        Raises
        ------
        Unreachable
            No answer.
        """
        try:
            self._take(order, self.connection.ask(lambda: self._query(order)))
            if order.became is not None and order.standing is Standing.DONE:
                info = self.order_info(order.key.symbol, order.became)
                order.executed = order.filled if info is None else _executed(info)
        except Refused as refused:
            if refused.failure.reaction is not Reaction.GONE:
                raise Unreachable(refused.failure.text) from refused
            if order.standing is Standing.DOUBT and self.connection.clock.now() - order.sent <= SURELY_LATE_MS:
                return
            order.standing, order.executed = Standing.DONE, order.filled

    def cancel_all(self, orders: Sequence[Order]) -> None:
        """Take orders of one symbol back, as many as possible in one call; afterwards each is as after `cancel`."""
        together = [order for order in orders if order.key.purpose is not Purpose.STOP and order.number is not None]
        if len(together) == 1:
            together.clear()
        unreachable: list[str] = []
        for first in range(0, len(together), _CANCEL_BATCH):
            batch = together[first : first + _CANCEL_BATCH]
            if not self._cancel_batch(batch):
                unreachable.extend(order.id for order in batch)
        for order in orders:
            if order not in together or (order.standing is not Standing.DONE and order.id not in unreachable):
                self.cancel(order)

    def cancel(self, order: Order) -> None:
        """Take an order back; afterwards it is done, with what was executed before, or in doubt.

        Cancelling twice does no harm, so it is tried until there is an answer.
        """
        try:
            answer = self.connection.ask(lambda: self._cancel_request(order))
            if order.key.purpose is Purpose.STOP:
                order.standing, order.executed = Standing.DONE, order.filled
            else:
                self._take_cancelled(order, answer["info"])
            return
        except Refused as refused:
            reaction = refused.failure.reaction
        except Unreachable:
            reaction = Reaction.UNKNOWN
        try:
            self.refresh(order)
        except Unreachable:
            order.standing = Standing.DOUBT
            return
        if order.standing is Standing.OPEN and reaction is not Reaction.UNKNOWN:
            self.connection.log("cancel_refused", id=order.id)

    def sign_of_life(self, symbol: str, seconds: int) -> None:
        """Let the exchange cancel a symbol's plain orders unless this is called again within some seconds."""
        request = {"symbol": symbol, "countdownTime": 1000 * seconds}
        self.connection.ask(lambda: self._client.fapiPrivatePostCountdownCancelAll(request))

    # ---

    def _rules_changed(self, symbol: str) -> bool:
        """Read the markets again; tell whether a symbol's rules are others than those we had."""
        before = self.markets[symbol]
        try:
            self.markets = self._read_markets()
        except (Refused, Unreachable):
            return False
        self.connection.log("rules_read", symbol=symbol, changed=self.markets[symbol] != before)
        return self.markets[symbol] != before

    def _is_flat(self, symbol: str) -> bool:
        answer = self.connection.ask(lambda: self._client.fetch_positions([self.unified(symbol)]))
        return not any(float(position["info"]["positionAmt"]) for position in answer)

    def _set(self, request) -> None:
        try:
            self.connection.ask(request)
        except Refused as refused:
            if refused.failure.reaction is not Reaction.SUCCESS:
                raise LiveError(f"the exchange refuses: {refused.failure.text}. No order was sent.") from refused

    def _request(self, order: Order) -> tuple[str, str, str, str | None, str | None, dict[str, Any]]:
        """Return symbol, type, side, amount, price and params as ccxt takes them."""
        market = self.markets[order.key.symbol]
        params: dict[str, Any] = {"positionSide": order.key.side.name, "newClientOrderId": order.id}
        side = "buy" if order.is_buy else "sell"
        name = self.unified(order.key.symbol)
        if order.key.purpose is Purpose.STOP:
            # Rounded away from the market, so that it is never met earlier than meant.
            trigger = price_text(order.price, market.tick, not order.is_buy)
            params = {
                "positionSide": order.key.side.name,
                "clientAlgoId": order.id,
                "triggerPrice": trigger,
                "workingType": "CONTRACT_PRICE",
            }
            if math.isinf(order.qty):
                return name, "market", side, None, None, params | {"closePosition": True}
            return name, "market", side, quantity_text(order.qty, market.step), None, params
        quantity = quantity_text(order.qty, market.step)
        if order.key.purpose is Purpose.CLOSE and not order.price:
            return name, "market", side, quantity, None, params
        params["timeInForce"] = "IOC" if order.key.purpose is Purpose.CLOSE else "GTX"
        return name, "limit", side, quantity, price_text(order.price, market.tick, order.is_buy), params

    def _create(self, order: Order) -> dict[str, Any]:
        name, kind, side, quantity, price, params = self._request(order)
        return self._client.create_order(name, kind, side, quantity, price, params)

    def _place_batch(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Failure]]:
        # ccxt's create_orders sorts the answers by time and so loses which order was refused; the exchange's own answer
        # has them in the order of the request.
        def send() -> list[dict[str, Any]]:
            requests = [self._client.create_order_request(*self._request(order)) for order in orders]
            return self._client.fapiPrivatePostBatchOrders({"batchOrders": requests})

        now = self.connection.clock.now()
        for order in orders:
            order.standing, order.sent = Standing.DOUBT, now
        was_sent = True
        try:
            answers = self.connection.try_once(send, is_order=True)
        except Refused as refused:
            answers = []
            was_sent = refused.failure.reaction is Reaction.UNKNOWN
        is_whole = isinstance(answers, list) and len(answers) == len(orders)
        for index, order in enumerate(orders):
            answer = answers[index] if is_whole and isinstance(answers[index], dict) else {}
            if answer.get("clientOrderId") == order.id and answer.get("orderId"):
                self._take(order, answer)
                continue
            failure = refusal(answer) if "code" in answer else None
            if was_sent and (failure is None or failure.reaction is Reaction.UNKNOWN):
                exists = self.look(order)
                if exists is None:
                    yield order, Failure(Reaction.UNKNOWN, None, "the outcome of a batch is unknown")
                if exists is not False:
                    continue
            if failure is not None and failure.reaction not in _ANSWERED:
                order.standing, order.executed = Standing.DONE, 0.0
                yield order, failure
                continue
            failure = self.place(order)  # alone it gets an answer of its own
            if failure is not None:
                yield order, failure

    def _query(self, order: Order) -> dict[str, Any]:
        name = self.unified(order.key.symbol)
        if order.key.purpose is Purpose.STOP:
            return self._client.fetch_order(None, name, {"trigger": True, "clientAlgoId": order.id})["info"]
        return self._client.fetch_order(None, name, {"origClientOrderId": order.id})["info"]

    def _cancel_request(self, order: Order) -> dict[str, Any]:
        name = self.unified(order.key.symbol)
        if order.key.purpose is Purpose.STOP:
            return self._client.cancel_order(None, name, {"trigger": True, "clientAlgoId": order.id})
        return self._client.cancel_order(None, name, {"clientOrderId": order.id})

    def _cancel_batch(self, orders: Sequence[Order]) -> bool:
        """Cancel plain orders; those that the answer does not tell of stay as they are. False if there is no answer."""
        request = {"symbol": orders[0].key.symbol, "orderidlist": [order.number for order in orders]}
        try:
            answers = self.connection.ask(lambda: self._client.fapiPrivateDeleteBatchOrders(request))
        except Refused:
            return True
        except Unreachable:
            for order in orders:
                order.standing = Standing.DOUBT
            return False
        told = {answer.get("clientOrderId"): answer for answer in answers}
        for order in orders:
            if order.id in told:
                self._take_cancelled(order, told[order.id])
        return True

    def _take_cancelled(self, order: Order, info: dict[str, Any]) -> None:
        self._take(order, info)
        if order.standing is Standing.OPEN:  # the answer holds the state before
            order.standing, order.executed = Standing.DONE, _executed(info)

    def _take(self, order: Order, info: dict[str, Any]) -> None:
        """Bring an order up to date with the exchange's answer about it."""
        if order.key.purpose is Purpose.STOP:
            order.number = str(answer_of(info, "algoId") or order.number)
            actual = answer_of(info, "actualOrderId")
            if actual and str(actual) != "0":
                order.became = str(actual)
            order.standing = Standing.OPEN if info.get("algoStatus", "NEW") == "NEW" else Standing.DONE
            order.executed = None if order.standing is Standing.OPEN else order.filled
            return
        order.number = str(info["orderId"])
        if info["status"] in ("NEW", "PARTIALLY_FILLED"):
            order.standing, order.executed = Standing.OPEN, None
        else:
            order.standing, order.executed = Standing.DONE, _executed(info)


def _executed(info: dict[str, Any]) -> float:
    return float(answer_of(info, "executedQty") or 0.0)
