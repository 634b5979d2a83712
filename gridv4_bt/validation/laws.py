"""The laws of a live bot, checked inside the local exchange after every request.

`Laws.observe` is the `observe` of `gridv4_bt.exchange.api.Api`. It sees what a bot at the exchange does, whatever the
bot itself believes. What only the bot's own books and alerts show is judged by `Laws.judge_alerts` and
`gridv4_bt.validation.booking_law`.
"""

import json
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gridv4_bt.engine.position import LOT_NOISE
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.exchange.control import PREFIX
from gridv4_bt.exchange.exchange import Exchange
from gridv4_bt.exchange.messages import Request, Response
from gridv4_bt.exchange.order_records import stop_key
from gridv4_bt.exchange.records import CLOSING

BARE_MS = 60_000  #: longest time without a stop, of time in which the exchange answers
OUTAGE_MS = 20_000  #: after a request without an answer; the bot asks again then at the latest
ALERT_MS = 20 * 60_000  #: from a refused close to the alert
_OVERLOADED = (403, 408, 418, 429)  # statuses without an answer to the question


class Law(StrEnum):
    """What never happens, whatever the exchange answers."""

    STOP = "a held leg has a stop within 60 s"
    ONE = "one open order for one intent"
    BAN = "nothing is sent in a ban"
    END = "after any end no entries, and all stops"
    ALERT = "a refused close is alerted or done within 20 minutes"
    BOOKED = "an execution is booked once, on its own fill"
    WALLET = "the wallet is the exchange's"
    PAUSE = "no entry is sent for a leg that a person has paused"
    FLAT = "a leg that a person has closed stays closed until it is resumed"
    LOST = "every command of a person is answered"
    TWICE = "a command of a person is carried out once"


@dataclass(frozen=True)
class Violation:
    """One breach of a law."""

    law: Law
    time: int  #: of the exchange, ms
    request: str  #: method and path of the request after which it was found; empty at the end of a bar or session
    text: str


@dataclass(frozen=True)
class Alert:
    """An alert of the bot."""

    time: int  #: of the exchange, ms
    text: str


@dataclass
class _Refusal:
    """A close at market that the exchange has refused."""

    time: int
    request: str
    client_id: str
    code: int
    leg: tuple[str, str]  #: symbol and positionSide
    trades: int  #: number of trades before it
    done: int | None = None  #: time at which the close was executed after all, or its leg was closed


class Laws:
    """The laws that one account's bot keeps.

    Parameters
    ----------
    intent : returns what an order is for, all that its client order id encodes but the generation; None for an order
        that is not the bot's.
    """

    def __init__(self, intent: Callable[[str], Hashable | None]) -> None:
        self.violations: list[Violation] = []
        self.refused_closes = 0
        self._intent = intent
        self._moments: list[tuple[float, int]] = []  # wall clock in seconds and the exchange's time, where it changes
        self._before = 0  # time of the last request, ms
        self._unanswered_until = 0  # ms
        self._told_until = 0  # end of the ban that the process was told, ms
        self._banned_until = 0  # that any process of the bot was told, ms
        self._bare: dict[tuple[str, PositionSide], int] = {}  # ms for which a leg has had no stop
        self._reported: set[Hashable] = set()
        self._refusals: list[_Refusal] = []
        self._trades = 0  # before the request; one refused with an unknown outcome may have been executed

    def observe(self, exchange: Exchange, request: Request, response: Response) -> None:
        """Check the laws after a request."""
        now, name = exchange.now, f"{request.method} {request.path}"
        if not self._moments or self._moments[-1][1] != now:
            self._moments.append((time.time(), now))
        is_control = request.path.startswith(PREFIX)
        self._check_stops(exchange, name)
        if not is_control:
            self._check_ban(now, name, response)
            self._note_refusals(exchange, request, name, response)
        self._check_intents(exchange, name)
        self._settle_refusals(exchange)
        self._trades = len(exchange.ledger.trades)

    def restarted(self) -> None:
        """Begin a new process of the bot: it does not know what the last one was told, nor acted since its end."""
        self._told_until = 0
        # An answer on its way when the process was killed is not known to anybody.
        self._refusals = [one for one in self._refusals if one.time < self._before]
        self._before = 0

    def ended(self, exchange: Exchange, code: int) -> None:
        """Check what a process that has ended by itself leaves behind, when nobody acts any more.

        In a ban it could do nothing about it.
        """
        if exchange.now < self._banned_until:
            return
        entries = [order for order in exchange.order_records.open_orders() if not order.closes]
        if entries:
            self._break(Law.END, exchange.now, "", f"exit {code}: {len(entries)} entries are open")
        for symbol, side in _legs_without_stop(exchange):
            self._break(Law.END, exchange.now, "", f"exit {code}: {symbol} {side.name} is held without a stop")

    def judge_alerts(self, alerts: Iterable[Alert], now: int) -> None:
        """Check that every refused close, of which 20 minutes have passed, was alerted or executed after all."""
        given = sorted(alerts, key=lambda one: one.time)
        for one in self._refusals:
            last = one.time + ALERT_MS
            if now < last or (one.done is not None and one.done <= last):
                continue
            if not any(one.time <= alert.time <= last and _speaks_of(alert.text, one) for alert in given):
                text = f"{one.client_id} was refused with {one.code}, and no alert says so"
                self._break(Law.ALERT, one.time, one.request, text)
        self._refusals.clear()

    def time_at(self, wall: float) -> int:
        """Return the exchange's time, ms, at a time of this machine's clock, seconds since 1970."""
        place = bisect_right(self._moments, wall, key=lambda moment: moment[0])
        return self._moments[max(place - 1, 0)][1] if self._moments else 0

    def broken(self, law: Law, time_ms: int, text: str, request: str = "") -> None:
        """Add a violation that others have found: at the end of a bar or a session, if not after a request."""
        self._break(law, time_ms, request, text)

    def _break(self, law: Law, time_ms: int, request: str, text: str) -> None:
        self.violations.append(Violation(law, time_ms, request, text))

    # --- stops

    def _check_stops(self, exchange: Exchange, request: str) -> None:
        """Add the time that has passed to the legs that had no stop, then see which have none now."""
        now = exchange.now
        passed = max(now - max(self._before, self._unanswered_until), 0) if self._before else 0
        self._before = now
        for leg, before in self._bare.items():
            self._bare[leg] = before + passed
            if before <= BARE_MS < before + passed:
                self._break(Law.STOP, now, request, f"{leg[0]} {leg[1].name} is held without a stop")
        bare = _legs_without_stop(exchange)
        self._bare = {leg: self._bare.get(leg, 0) for leg in bare}

    # --- bans

    def _check_ban(self, now: int, request: str, response: Response) -> None:
        if now < self._told_until:
            text = f"sent {(self._told_until - now) / 1000:.0f} s before the end of the ban"
            self._break(Law.BAN, now, request, text)
        wait = 1000 * int(response.headers.get("Retry-After", 0))
        if response.share == 1.0 and response.status == 418:
            self._told_until = self._banned_until = max(self._banned_until, now + wait)
        if not _is_answer(response):
            self._unanswered_until = max(self._unanswered_until, now + max(wait, OUTAGE_MS))

    # --- doubled orders

    def _check_intents(self, exchange: Exchange, request: str) -> None:
        records = exchange.order_records
        found: defaultdict[Hashable, list[str]] = defaultdict(list)
        for one in (*records.open_orders(), *records.open_algos()):
            intent = self._intent(one.client_id)
            if intent is not None:
                # Two rules may close parts of one fill at one candle: two intents, which only their sizes tell apart.
                found[intent, one.qty if one.type == "MARKET" else 0.0].append(one.client_id)
        for names in found.values():
            if len(names) > 1 and (key := tuple(names)) not in self._reported:
                self._reported.add(key)
                self._break(Law.ONE, exchange.now, request, f"open at the same time: {', '.join(names)}")

    # --- refused closes

    def _note_refusals(self, exchange: Exchange, request: Request, name: str, response: Response) -> None:
        if request.method != "POST" or not request.path.endswith(("/order", "/batchOrders")) or response.share < 1.0:
            return
        orders, answers = _orders_and_answers(request, response)
        for order, answer in zip(orders, answers, strict=False):
            code = answer.get("code", 0) if isinstance(answer, dict) else 0
            leg = order.get("symbol", ""), order.get("positionSide", "")
            is_close = order.get("type") == "MARKET" and (leg[1], order.get("side")) in CLOSING
            if is_close and isinstance(code, int) and code < 0:
                self.refused_closes += 1
                client_id = order.get("newClientOrderId", "")
                self._refusals.append(_Refusal(exchange.now, name, client_id, code, leg, self._trades))

    def _settle_refusals(self, exchange: Exchange) -> None:
        for one in self._refusals:
            if one.done is None and self._is_done(exchange, one):
                one.done = exchange.now

    def _is_done(self, exchange: Exchange, refusal: _Refusal) -> bool:
        """Return whether a refused close has been executed by another order, or its leg was closed."""
        symbol, side = refusal.leg
        if exchange.ledger.position(symbol, PositionSide[side]).qty == 0.0:
            return True
        intent = self._intent(refusal.client_id)
        orders = exchange.order_records.orders
        for trade in exchange.ledger.trades[refusal.trades :]:
            order = orders.get(trade.order_id)
            if order is not None and intent is not None and self._intent(order.client_id) == intent:
                return True
        return False


def by_law(violations: Iterable[Violation]) -> Counter[Law]:
    """Return how often each law was broken."""
    return Counter(one.law for one in violations)


def _legs_without_stop(exchange: Exchange) -> list[tuple[str, PositionSide]]:
    """Return the legs of which something is held that no open stop would close."""
    covered: defaultdict[tuple[str, PositionSide], float] = defaultdict(float)
    for algo in exchange.order_records.open_algos():
        covered[stop_key(algo)] += float("inf") if algo.close_position else algo.qty
    return [
        leg
        for leg, position in exchange.ledger.positions.items()
        if position.qty > 0.0 and covered[leg] < position.qty * (1.0 - LOT_NOISE)
    ]


def _is_answer(response: Response) -> bool:
    """Return whether a response reaches the bot and answers its question, be it with a refusal."""
    is_page = response.headers.get("Content-Type", "application/json") != "application/json"
    return response.share == 1.0 and response.status < 500 and response.status not in _OVERLOADED and not is_page


def _orders_and_answers(request: Request, response: Response) -> tuple[list[Mapping[str, str]], list[Any]]:
    """Return the orders of a request and the answer to each of them."""
    try:
        answer = json.loads(response.body)
    except ValueError:
        return [], []
    orders = orders_of(request)
    return orders, answer if isinstance(answer, list) else [answer] * len(orders)


def orders_of(request: Request) -> list[Mapping[str, str]]:
    """Return the orders that a request sends, one or a batch."""
    values = request.params.values
    if not request.path.endswith("/batchOrders"):
        return [values]
    try:
        listed = json.loads(values.get("batchOrders", "[]"))
    except ValueError:
        return []
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _speaks_of(text: str, refusal: _Refusal) -> bool:
    """Return whether an alert speaks of a refused close: it names the order or the code, or says that one failed."""
    words = text.lower()
    says = "close" in words and any(word in words for word in ("refus", "reject", "fail", "not "))
    return says or str(refusal.code) in words or (bool(refusal.client_id) and refusal.client_id.lower() in words)
