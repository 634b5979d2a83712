"""Requests to the exchange: repeated only where that is safe, and never faster than its rate limits allow."""

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import ccxt

from feeds.exchange import MarketDataClient, Unavailable
from feeds.patience import Passing, Patience, weight_pause
from gridv4_bt.errors import LiveError, place_of_code
from gridv4_bt.live.clock import Clock
from gridv4_bt.live.error_codes import Reaction
from gridv4_bt.live.failures import Failure, classify
from gridv4_bt.live.gate import Gate

T = TypeVar("T")
#: ``log(kind, **fields)`` writes an event.
Log = Callable[..., None]

RECV_WINDOW_MS = 5_000
#: A request that would have to wait longer, seconds, fails instead: the bar goes on without the answer.
LONGEST_WAIT = 120.0
ALERTED_SILENCE = 60.0  #: seconds; a person hears of a longer silence
#: Difference from the exchange's clock, ms, from which ours is set; recvWindow forgives it.
_CLOCK_ERROR_MS = 1_000
_CLOCK_CURE = "this machine's clock went ahead by so much (below 0: back); the bot goes by the exchange's"
_RETRIED = {Reaction.UNKNOWN, Reaction.RETRY, Reaction.WAIT, Reaction.RESYNC_CLOCK, Reaction.LOCKED_OUT}
#: A key, or a clock, that is refused for so long, ms, needs a person.
_LOCKED_OUT_MS = 5 * 60_000
_LOCKED_OUT_PAUSE = 10.0  # seconds before the next attempt
#: A clock that is refused right after it was set is as good as a refused key.
_LOCKED_OUT = {Reaction.LOCKED_OUT, Reaction.RESYNC_CLOCK}


class Refused(Exception):
    """The exchange has refused a request; `failure` says why and what to do."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.told)
        self.failure = failure


class Unreachable(Exception):
    """The exchange has not answered after all retries."""


class Connection:
    """One ccxt client with retries, the exchange's clock, rate limits and counters.

    Parameters
    ----------
    client : a ccxt `binanceusdm` made by `gridv4_bt.live.ccxt_client`.
    """

    def __init__(self, client: ccxt.Exchange, clock: Clock, log: Log) -> None:
        client.enableLastJsonResponse = True
        self.client = client
        self.clock = clock
        self.log = log
        self.calls = 0  #: requests so far
        self.failures = 0  #: requests that failed
        self.weight = 0  #: request weight used in the current minute, as the exchange counts it
        self.gate = Gate(clock)
        self.is_patient = False  #: whether a refused key is tried for minutes; at a first start it is final
        self._locked_out: dict[bool, int] = {}  # since when, ms, by whether it is about trading
        self._is_synchronised = False
        self.attempts = 6  #: how often a request that may be repeated is sent, at most
        self._patience = Patience(clock.sleep)

    def call(self, request: Callable[[], T], is_public: bool = False, trades: bool = False) -> T:
        """Return the answer to a request that may be repeated: a query, a cancel, a setting.

        Parameters
        ----------
        is_public : it needs no key, so its answer says nothing about the key.
        trades : it needs the right to trade, which a key may lose alone.

        Raises
        ------
        Refused
            The exchange refuses the request.
        Unreachable
            No answer after several attempts.
        LiveError
            A person is needed: keys, permissions, the account's mode.
        """
        try:
            return self._patience(lambda: self._attempt(request, is_public, trades), self.attempts)
        except Passing as failure:
            raise Unreachable(str(failure)) from failure

    def call_once(
        self, request: Callable[[], T], can_wait: bool = False, is_public: bool = False, trades: bool = False
    ) -> T:
        """Send a request once, after waiting for a rate limit to pass.

        Parameters
        ----------
        can_wait : it places an entry or an exit, which is refused at once while orders are limited.
        is_public, trades : as in `call`.

        Raises
        ------
        Refused
            It failed in any way; it is not repeated.
        LiveError
            The key has been refused for minutes.
        """
        wait = self.gate.wait(can_wait)
        if 0.0 < wait <= LONGEST_WAIT and not can_wait:
            self.clock.sleep(wait)
            wait = self.gate.wait()  # it sleeps no more once the session is to stop
        if wait > 0.0:
            raise Refused(Failure(Reaction.WAIT, None, f"the exchange wants {wait:.0f} s of silence", wait))
        client = self.client
        client.last_json_response = client.last_http_response = client.last_response_headers = None
        self.calls += 1
        try:
            answer = request()
            if client.last_http_response is not None and client.last_json_response is None:
                raise Refused(Failure(Reaction.UNKNOWN, None, "the answer is not JSON"))
        except Refused as refused:
            self._note(refused.failure, can_wait)
            raise
        except Exception as error:
            failure = classify(error, client.last_response_headers, self.clock.now())
            self._note(failure, can_wait)
            if failure.reaction is Reaction.LOCKED_OUT:
                self._note_lock_out(failure, trades)
            raise Refused(failure) from error
        if not is_public:
            self._locked_out.pop(trades, None)
        if can_wait:
            self.gate.passed()
        self._keep_pace()
        return answer

    def resync(self) -> None:
        """Synchronise the clock with the exchange's; alert if it has stepped since the last time.

        Raises
        ------
        Unreachable
            The exchange does not answer.
        """
        before = self.client.options.get("timeDifference") or 0
        self.call(self.client.load_time_difference, is_public=True)
        difference = self.client.options.get("timeDifference") or 0
        if self._is_synchronised and abs(difference - before) > _CLOCK_ERROR_MS:
            self.log("alert", what="clock_stepped", seconds=round((difference - before) / 1000.0, 1), text=_CLOCK_CURE)
        self._is_synchronised = True
        if hasattr(self.clock, "ahead"):
            self.clock.ahead = difference
        self.log("clock_set", ahead_ms=difference)

    def server_time(self) -> int:
        """Return the exchange's time, ms; synchronise the clock if it differs.

        Raises
        ------
        Unavailable
            No answer; it is asked once.
        """
        before = self.clock.now()
        try:
            time = int(self.call_once(self.client.fetch_time, is_public=True))
        except (Refused, TypeError, ValueError) as failure:
            raise Unavailable(errno.EIO, f"tells no time ({failure})", self.client.id) from failure
        ahead = min(max(time, before), self.clock.now()) - time  # the answer's way is no error of the clock
        if abs(ahead) > _CLOCK_ERROR_MS:
            with suppress(Unreachable):
                self.resync()
        return time

    def check_clock(self) -> bool:
        """Compare the clock with the exchange's and set it if it differs; return whether there was an answer."""
        try:
            self.server_time()
        except Unavailable:
            return False
        return True

    def _attempt(self, request: Callable[[], T], is_public: bool, trades: bool) -> T:
        resynced = False
        while True:
            try:
                return self.call_once(request, is_public=is_public, trades=trades)
            except Refused as refused:
                failure = refused.failure
                if failure.reaction is Reaction.RESYNC_CLOCK and not resynced:
                    resynced = True
                    self._resync_or_pass()
                    continue
                if failure.reaction is Reaction.RESYNC_CLOCK:
                    self._note_lock_out(failure, trades)
                if failure.reaction is Reaction.HALT:
                    raise LiveError(halt_text(failure)) from refused
                if failure.reaction in _RETRIED:
                    is_locked_out = failure.reaction in _LOCKED_OUT
                    pause = _LOCKED_OUT_PAUSE if is_locked_out else failure.wait or None
                    raise Passing(failure.told, pause) from refused
                raise

    def _resync_or_pass(self) -> None:
        try:
            self.resync()
        except Unreachable as failure:
            raise Passing(str(failure)) from failure

    def _note(self, failure: Failure, can_wait: bool) -> None:
        self.failures += 1
        self.log("failure", reaction=str(failure.reaction), code=failure.code, text=failure.text)
        self.gate.note(failure, can_wait)
        if failure.reaction is Reaction.WAIT and failure.wait > ALERTED_SILENCE:
            self.log("alert", what="silenced", seconds=round(failure.wait), text=failure.told)

    def _note_lock_out(self, failure: Failure, trades: bool) -> None:
        """Alert at the first refusal of a key or clock, and end the session once it has lasted for minutes."""
        now = self.clock.now()
        since = self._locked_out.get(trades)
        if not self.is_patient or (since is not None and now - since >= _LOCKED_OUT_MS):
            raise LiveError(halt_text(failure))
        if since is None:
            self._locked_out[trades] = now
            self.log("alert", what="locked_out", tried_for_s=_LOCKED_OUT_MS // 1000, text=halt_text(failure))

    def _keep_pace(self) -> None:
        headers = self.client.last_response_headers or {}
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        self.weight = int(used) if used.isdigit() else self.weight
        pause = weight_pause(headers, self.clock.now())
        if pause > 0.0:
            self.log("slow_down", weight=self.weight, seconds=round(pause, 1))
            self.clock.sleep(pause)


class MarketQueries(MarketDataClient):
    """The exchange's public market data, queried over a live connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.client, connection.clock.sleep)
        self._connection = connection

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer; raises as `Connection.call`."""
        return self._connection.call(question, is_public=True)


class CandleQueries(MarketDataClient):
    """The candles and funding of a live feed, asked for through the gate of the connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.client, connection.clock.sleep)
        self._connection = connection

    def _ask_once(self, question: Callable[[], T]) -> T:
        return super()._ask_once(lambda: self._sent(question))

    def _sent(self, question: Callable[[], T]) -> T:
        try:
            return self._connection.call_once(question, is_public=True)
        except Refused as refused:
            failure = refused.failure
            if failure.reaction in _RETRIED:
                raise Passing(failure.told, failure.wait or None) from refused
            raise refused.__cause__ or refused from None


def halt_text(failure: Failure) -> str:
    """Return the message of a failure that only a person can resolve, with its place in the documentation."""
    if failure.row is None or failure.code is None:
        return f"{failure.text}: see to it at the exchange, then start again."
    return f"{failure.text}: {failure.row.cure} ({place_of_code(failure.code)})."


def first_field(answer: Mapping[str, Any], *names: str) -> Any:
    """Return the first of the named fields that a raw answer has and that is not empty; None if none is."""
    for name in names:
        if answer.get(name) not in (None, ""):
            return answer[name]
    return None
