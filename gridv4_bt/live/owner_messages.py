"""Messages that are no alerts: start, stop, fills where they are wanted, and a digest of each day."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gridv4_bt.core.time import DAY_MS, moment
from gridv4_bt.engine.account import Account


def session_message(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return title and text of the message that an event ``session`` calls for: a start, an end or a flattening."""
    place = fields["place"]
    if "symbols" in fields:
        how = "goes on" if fields.get("resumed") else "begins"
        text = f"{how} on {place} with {', '.join(fields['symbols'])}, wallet {fields['wallet']:,.2f}"
        return "GridStrategyV4: started", text
    if fields.get("flattened"):
        return "GridStrategyV4: flat", f"all orders on {place} are cancelled and all positions closed"
    return "GridStrategyV4: stopped", f"on {place} after {fields['bars']:,} bars"


def fill_line(fields: Mapping[str, Any]) -> str:
    """Return the line of a message for an event ``fill``."""
    did = "bought" if fields["buy"] else "sold"
    return f"{fields['symbol']} {fields['side']}: {did} {fields['qty']:g} at {fields['price']:,.6g}"


class Watched(Protocol):
    """What the figures of a digest are read from; `gridv4_bt.live.monitor.Monitor` has it."""

    figures: dict[str, float]


class Messages:
    """The messages of one session to its owner.

    Parameters
    ----------
    tell : called with title and text.
    account : returns the books of the session.
    with_fills : whether fills are told: those of a candle in one message.
    """

    def __init__(
        self,
        monitor: Watched,
        account: Callable[[], Account],
        tell: Callable[[str, str], None],
        with_fills: bool = False,
    ) -> None:
        self._monitor = monitor
        self._account = account
        self._tell = tell
        self._with_fills = with_fills
        self._fills: list[str] = []
        self._audit = ""
        self._day = -1  # of the latest candle; -1 before the first
        self._since: dict[str, float] = {}  # the totals when the day began
        self._executions = 0  # of the day
        self._due = False

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        """Note what an event says; tell a start and an end at once."""
        if kind == "session":
            self._tell(*session_message(fields))
        elif kind == "audit":
            self._audit = f"drift {fields['drift']:.4%}, {fields['missed']} missed and {fields['extra']} extra fills"
        elif kind == "fill":
            self._executions += 1
            if self._with_fills:
                self._fills.append(fill_line(fields))

    def bar(self, symbol: str) -> None:
        """Tell the fills since the candle before, and after the first candle of a UTC day the day before.

        The digest waits for the second candle of the day: the daily audit is carried out after the first.
        """
        if self._fills:
            self._tell("GridStrategyV4: fills", "\n".join(self._fills))
            self._fills.clear()
        day = int(1000.0 * self._monitor.figures["bar_time_seconds"]) // DAY_MS
        if self._day < 0:
            self._begin(day)
        elif day > self._day:
            self._due, self._day = True, day
        elif self._due:
            self._digest()

    def _begin(self, day: int) -> None:
        account = self._account()
        self._day, self._due, self._executions, self._audit = day, False, 0, ""
        self._since = {"equity": self._monitor.figures["equity"], "fees": account.fees, "funding": account.funding}

    def _digest(self) -> None:
        account, equity = self._account(), self._monitor.figures["equity"]
        before, fees = self._since["equity"], account.fees - self._since["fees"]
        funding = account.funding - self._since["funding"]
        change = equity / before - 1.0 if before > 0.0 else 0.0
        text = (
            f"equity {equity:,.2f} ({change:+.2%}), {self._executions:,} fills, fees {fees:,.2f}, "
            f"funding paid {funding:,.2f}, audit: {self._audit or 'none (--max-drift)'}"
        )
        self._tell(f"GridStrategyV4: {moment((self._day - 1) * DAY_MS)[:10]}", text)
        self._begin(self._day)
