"""The funding charged by the books, compared with the exchange's income.

An income row has symbol, time and amount, but neither positionSide nor fill. So the books compute what each fill pays,
and the sum of a settlement is compared with the income here.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from feeds.tables import FUNDING_JITTER_MS
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.live.account_queries import AccountQueries

#: The exchange rounds each payment to 8 decimals.
_ROUNDING = 1e-6


class FundingDifference(NamedTuple):
    """A settlement for which exchange and books have charged different amounts; negative if received."""

    symbol: str
    time: int  #: open time of its bar, ms
    computed: float  #: by the books, quote
    paid: float  #: at the exchange, quote


class FundingCheck:
    """The settlements not yet found in the income."""

    def __init__(self, account: AccountQueries) -> None:
        self._account = account
        self._open: dict[tuple[str, int], float] = {}  # charged by the books, by symbol and bar
        self._last: dict[tuple[str, int], float] = {}  # differences at the last query

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Add a settlement at a bar's open and what the books have charged, quote; 0 if nothing was held."""
        self._open[symbol, time] = paid

    def differences(self) -> list[FundingDifference]:
        """Query the income of the open settlements and return what differs.

        The answer may be stale, so a difference counts once two queries in a row show it.

        Raises
        ------
        Unreachable
            No answer; all settlements stay open.
        """
        if not self._open:
            return []
        paid: dict[tuple[str, int], float] = defaultdict(float)
        for row in self._account.funding_income(min(time for _, time in self._open) - FUNDING_JITTER_MS):
            paid[row.symbol, (row.time + FUNDING_JITTER_MS) // BAR_MS * BAR_MS] -= row.amount
        found = []
        for key, charged in list(self._open.items()):
            difference = paid[key] - charged
            agrees = abs(difference) <= _ROUNDING
            if agrees or abs(difference - self._last.get(key, float("inf"))) <= _ROUNDING:
                del self._open[key]
                self._last.pop(key, None)
                if not agrees:
                    found.append(FundingDifference(*key, charged, paid[key]))
            else:
                self._last[key] = difference
        return found

    def to_json(self) -> list[list[Any]]:
        """Return the open settlements as JSON arrays."""
        return [[*key, paid] for key, paid in self._open.items()]

    def load(self, data: list[list[Any]]) -> None:
        """Set the open settlements to those of `to_json`."""
        self._open = {(symbol, time): paid for symbol, time, paid in data}
