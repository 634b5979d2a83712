"""What a session looks at between two candles: stops every 20 s, other bots each minute, and its own silence."""

from collections.abc import Callable, Sequence

from gridv4_bt.core.time import BAR_MS, iso
from gridv4_bt.engine.book import Book
from gridv4_bt.live.clock import Clock
from gridv4_bt.live.connection import Log, Refused, Unreachable
from gridv4_bt.live.protection import Protection
from gridv4_bt.live.reconciliation import Reconciler
from gridv4_bt.live.strangers import describe, open_strangers

_STRANGERS_S = 60.0
#: A bar that is not decided so long after its close, ms, is told to a person.
_UNDECIDED_MS = 10 * 60_000


class Watch:
    """The periodic tasks of one session.

    Parameters
    ----------
    books : returns the books whose orders may be placed now, none before they are known.
    log : ``log(kind, **fields)``.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        protection: Protection,
        symbols: Sequence[str],
        books: Callable[[], Sequence[Book]],
        log: Log,
    ) -> None:
        self._reconciler = reconciler
        self._sync = reconciler.order_sync
        self._protection = protection
        self._symbols = symbols
        self._books = books
        self._log = log
        self._decided: dict[str, int] = {}  # close of the bar decided last, ms, by symbol
        self._told: dict[str, int] = {}  # close of the undecided bar that was told last, ms, by symbol
        self._met_strangers = False  # at the last look
        self.exits_are_gone = False  #: the dead man's switch has cancelled the exits

    def start(self, clock: Clock, pause: float, decided: dict[str, int]) -> None:
        """Begin; stops are looked at in the middle of other work too.

        Parameters
        ----------
        pause : seconds between two looks at the stops, and at orders that wait.
        decided : open time of the bar that was decided last, ms, by symbol.
        """
        now = clock.now()
        self._decided = {symbol: decided.get(symbol, now - BAR_MS) + BAR_MS for symbol in self._symbols}
        clock.every(pause, self._protection.check, in_pauses=True)
        clock.every(pause, lambda: self._tell_undecided(clock.now()), in_pauses=True)
        clock.every(pause, self._finish_orders)
        clock.every(max(pause, _STRANGERS_S), self._look_for_strangers)

    def decided(self, symbol: str, bar: int) -> None:
        """Note that a bar was decided; its open time in ms."""
        self._decided[symbol] = bar + BAR_MS

    def _tell_undecided(self, now: int) -> None:
        for symbol, last in self._decided.items():
            due = (now - _UNDECIDED_MS) // BAR_MS * BAR_MS
            if due > max(last, self._told.get(symbol, 0)):
                self._told[symbol] = due
                text = f"nothing was decided at the bar that closed at {iso(due)}; stops and exits stay as they are"
                self._log("alert", what="no_decision", symbol=symbol, bar=iso(due), last=iso(last), text=text)

    def _finish_orders(self) -> None:
        """Place the orders that the exchange did not take at the candle, and exits that it has cancelled."""
        gate = self._reconciler.executor.connection.gate
        if gate.wait(can_wait=True) > 0.0 or not (self._sync.unsent or self.exits_are_gone):
            return
        adding, self._sync.adding = self._sync.adding, self._sync.adding and not self.exits_are_gone
        try:
            self._reconciler.poll(self._symbols)
            for book in self._books():
                is_wanted = self.exits_are_gone or book.symbol in self._sync.unsent
                if is_wanted and not self._reconciler.was_stopped(book.symbol):
                    self._reconciler.carry_out(book)
            self.exits_are_gone = False
        except (Refused, Unreachable) as failure:
            self._log("alert", what="not_carried_out", text=str(failure))
        finally:
            self._sync.adding = adding

    def _look_for_strangers(self) -> None:
        """Add no entries while another bot of this product trades on the account; one look may be wrong."""
        try:
            query = self._reconciler.executor.plain_orders  # one that trades has entries or exits
            found = open_strangers(query, self._reconciler.names, self._symbols)
        except (Refused, Unreachable):
            return  # the next candle tells if it lasts
        if not found:
            self._sync.has_company = self._met_strangers = False
            return
        if self._met_strangers and not self._sync.has_company:
            self._sync.has_company = True
            text = f"another bot trades here: {describe(found)}. Stop one of the two; no entries are added until then"
            self._log("alert", what="second_bot", text=text)
        self._met_strangers = True
