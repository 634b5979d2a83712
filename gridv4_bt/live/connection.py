"""Questions to the exchange: asked again where that is safe, never faster than it allows, never guessed."""

from collections.abc import Callable
from typing import Any, TypeVar

import ccxt

from feeds.exchange import MarketDataClient
from feeds.patience import Passing, Patience, weight_pause
from gridv4_bt.errors import LiveError
from gridv4_bt.live.clock import Clock
from gridv4_bt.live.failures import Failure, Reaction, classify

T = TypeVar("T")
#: ``log(kind, **fields)`` notes what happened.
Log = Callable[..., None]

RECV_WINDOW_MS = 5_000
#: Longer silences than this are not sat through inside one question: the bar goes on without the answer. Seconds.
LONGEST_WAIT = 120.0
_REPEATED = {Reaction.UNKNOWN, Reaction.RETRY, Reaction.WAIT, Reaction.RESYNC_CLOCK}


class Refused(Exception):
    """The exchange has refused a request; `failure` says what that means."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Unreachable(Exception):
    """The exchange does not answer, however often it is asked."""


class Connection:
    """One ccxt client, with the patience, the clock and the bookkeeping of a careful user.

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
        self.failures = 0  #: of them without a good answer
        self.weight = 0  #: used in the current minute, as the exchange counts
        self._quiet_until = 0
        self._no_orders_until = 0
        self._patience = Patience(clock.sleep, attempts=6)

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to a question that may be asked twice.

        Raises
        ------
        Refused
            The exchange has answered no.
        Unreachable
            No answer, after several attempts.
        LiveError
            Nothing can be asked without a person: keys, rights, the account's mode.
        """
        try:
            return self._patience(lambda: self._ask_once(question))
        except Passing as failure:
            raise Unreachable(str(failure)) from failure

    def try_once(self, question: Callable[[], T], is_order: bool = False) -> T:
        """Ask once, waiting first if the exchange wants silence.

        Raises
        ------
        Refused
            With what the failure means; nothing is sent again here.
        """
        quiet_until = max(self._quiet_until, self._no_orders_until) if is_order else self._quiet_until
        wait = (quiet_until - self.clock.now()) / 1000.0
        if 0.0 < wait <= LONGEST_WAIT:
            self.clock.sleep(wait)
            wait = (quiet_until - self.clock.now()) / 1000.0  # it sleeps no more once the session is to stop
        if wait > 0.0:
            raise Refused(Failure(Reaction.WAIT, None, f"the exchange wants {wait:.0f} s of silence", wait))
        client = self.client
        client.last_json_response = client.last_http_response = client.last_response_headers = None
        self.calls += 1
        try:
            answer = question()
            if client.last_http_response is not None and client.last_json_response is None:
                raise Refused(Failure(Reaction.UNKNOWN, None, "the answer is not JSON"))
        except Refused as refused:
            self._note(refused.failure)
            raise
        except Exception as error:
            failure = classify(error, client.last_response_headers, self.clock.now())
            self._note(failure)
            raise Refused(failure) from error
        self._keep_pace()
        return answer

    def resync(self) -> None:
        """Set the clock by the exchange's.

        Raises
        ------
        Unreachable
            It does not tell its time.
        """
        self.ask(self.client.load_time_difference)
        difference = self.client.options.get("timeDifference") or 0
        if hasattr(self.clock, "ahead"):
            self.clock.ahead = difference
        self.log("clock_set", ahead_ms=difference)

    def _ask_once(self, question: Callable[[], T]) -> T:
        resynced = False
        while True:
            try:
                return self.try_once(question)
            except Refused as refused:
                failure = refused.failure
                if failure.reaction is Reaction.RESYNC_CLOCK and not resynced:
                    resynced = True
                    self._resync_or_pass()
                    continue
                if failure.reaction in (Reaction.HALT, Reaction.RESYNC_CLOCK):
                    raise LiveError(halted(failure)) from refused
                if failure.reaction in _REPEATED:
                    raise Passing(failure.text, failure.wait or None) from refused
                raise

    def _resync_or_pass(self) -> None:
        try:
            self.resync()
        except Unreachable as failure:
            raise Passing(str(failure)) from failure

    def _note(self, failure: Failure) -> None:
        self.failures += 1
        until = self.clock.now() + int(1000 * failure.wait)
        if failure.reaction is Reaction.WAIT:
            self._quiet_until = max(self._quiet_until, until)
        elif failure.reaction is Reaction.WAIT_ORDERS:
            self._no_orders_until = max(self._no_orders_until, until)
        self.log("failure", reaction=str(failure.reaction), code=failure.code, text=failure.text)
        if failure.wait > LONGEST_WAIT:
            self.log("alert", what="silenced", seconds=round(failure.wait), text=failure.text)

    def _keep_pace(self) -> None:
        headers = self.client.last_response_headers or {}
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        self.weight = int(used) if used.isdigit() else self.weight
        pause = weight_pause(headers, self.clock.now())
        if pause > 0.0:
            self.log("slow_down", weight=self.weight, seconds=round(pause, 1))
            self.clock.sleep(pause)


class MarketQuestions(MarketDataClient):
    """What an exchange tells of its markets, asked over a live connection: with its clock and at its pace."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.client, connection.clock.sleep)
        self._connection = connection

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer; raises as `Connection.ask`."""
        return self._connection.ask(question)


def halted(failure: Failure) -> str:
    """Return what a person is told when nothing can be done without one."""
    cures: dict[int | None, str] = {
        -2015: "check the key, its futures permission and its list of addresses",
        -2014: "check the key",
        -1022: "check the secret",
        -1021: "this machine's clock is wrong: synchronise it",
        -4061: "the account's position mode was changed: set hedge mode again",
        -2023: "the account is being liquidated",
    }
    cure = cures.get(failure.code, "see to it at the exchange, then start again")
    return f"{failure.text}: {cure}. Orders and stops at the exchange stay as they are."


def answer_of(value: Any, *names: str) -> Any:
    """Return the first of the named fields of a raw answer that is there; None if none is."""
    for name in names:
        if value.get(name) not in (None, ""):
            return value[name]
    return None
