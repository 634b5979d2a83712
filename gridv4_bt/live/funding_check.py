"""Funding as the books have charged it, held against the exchange's income.

An income row tells symbol, time and amount, but neither positionSide nor fill. So what a fill pays is computed at
every settlement, and the sum is compared here with what was paid.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from feeds.tables import FUNDING_JITTER_MS
from gridv4_bt.core.time import BAR_MS
from gridv4_bt.live.account_queries import AccountQuestions

#: The exchange rounds each payment to 8 decimals.
_ROUNDING = 1e-6


class FundingDifference(NamedTuple):
    """A settlement of which the exchange has taken another amount than the books; negative if it was received."""

    symbol: str
    time: int  #: open of the bar it belongs to, ms
    computed: float  #: by the books, quote
    paid: float  #: at the exchange, quote


class FundingCheck:
    """The settlements that have not been found in the income yet."""

    def __init__(self, account: AccountQuestions) -> None:
        self._account = account
        self._open: dict[tuple[str, int], float] = {}  # charged by the books, by symbol and bar
        self._seen: dict[tuple[str, int], float] = {}  # differences at the look before

    def settled(self, symbol: str, time: int, paid: float) -> None:
        """Note what the books have charged, quote, at the settlement at a bar's open; 0 if nothing was held."""
        self._open[symbol, time] = paid

    def differences(self) -> list[FundingDifference]:
        """Ask for the income of the open settlements; return what differs.

        A page may be older than its question, so a difference counts when it is seen twice.

        Raises
        ------
        Unreachable
            No answer; everything stays open.
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
            if agrees or abs(difference - self._seen.get(key, float("inf"))) <= _ROUNDING:
                del self._open[key]
                self._seen.pop(key, None)
                if not agrees:
                    found.append(FundingDifference(*key, charged, paid[key]))
            else:
                self._seen[key] = difference
        return found

    def to_json(self) -> list[list[Any]]:
        """Return the open settlements as JSON can hold them."""
        return [[*key, paid] for key, paid in self._open.items()]

    def load(self, data: list[list[Any]]) -> None:
        """Take in what `to_json` made."""
        self._open = {(symbol, time): paid for symbol, time, paid in data}
