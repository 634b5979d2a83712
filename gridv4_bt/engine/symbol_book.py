"""The orders and fills of one symbol, with its rules by date, its funding and the parts of its bars."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from gridv4_bt.engine.account import Account, settle_funding
from gridv4_bt.engine.book import Bar, Book, Costs
from gridv4_bt.engine.intrabar import keep_mark_within, make_up, path_parts, share_mark
from gridv4_bt.engine.market import Market, MarketHistory
from gridv4_bt.engine.synthetic_funding import SyntheticFunding


class FinerBars(Protocol):
    """The finer candles inside the bars of one symbol."""

    has_mark: bool  #: whether their mark range is recorded and not that of the trades

    def inside(self, time_ms: int) -> list[Bar]:
        """Return the finer bars of the bar that opens at a time, none if they are not known."""


class SymbolBook(Book):
    """A book that takes in one bar after another; a subclass reads them from where they are kept.

    Parameters
    ----------
    history : rules of the symbol by date.
    funding_hours : from one synthetic settlement to the next.
    intrabar : how bars are matched, see `gridv4_bt.engine.intrabar`.
    leverage : initial leverage, which decides how large a leg may grow.
    has_funding : whether the bars bring their funding; without it the rates are synthetic.
    detail : the finer candles, for intrabar "detail".
    time_ms : of the first rules, UTC.
    """

    def __init__(
        self,
        history: MarketHistory,
        account: Account,
        costs: Costs,
        funding_hours: float,
        intrabar: str,
        leverage: float,
        *,
        has_funding: bool,
        detail: FinerBars | None = None,
        time_ms: int = 0,
    ) -> None:
        super().__init__(history.at(0), account, costs)
        self.history = history
        self._leverage = leverage
        self._obey_rules_of(time_ms)
        self._whole = self.bar
        self._intrabar = intrabar
        self._detail = detail
        self._synthetic = None if has_funding else SyntheticFunding(funding_hours)
        self.funding_rate = float("nan")  #: latest settled
        self.settlements = 0

    def take_bar(
        self, time_ms: int, open_: float, high: float, low: float, close: float, volume: float, rate: float
    ) -> None:
        """Take in the next bar and settle the funding due at its open.

        Parameters
        ----------
        rate : funding settled since the bar before, NaN for none; not read where funding is synthetic.
        """
        bar = self._whole
        before = bar.time
        bar.time = time_ms
        bar.open = open_
        bar.high = bar.mark_high = high
        bar.low = bar.mark_low = low
        bar.close = bar.mark_close = close
        bar.volume = volume
        if time_ms >= self._next_change:
            self._obey_rules_of(time_ms)
        if self._synthetic is not None:
            rate = self._synthetic.rate(before, bar)
        if rate == rate:  # not NaN: a settlement is due
            self.settle_funding(rate)

    def take_mark(self, low: float, high: float) -> None:
        """Take in the extremes of the mark within the bar; in a gap of the mark (NaN) the bar's own stay in force."""
        if low == low and high == high:
            self.bar.mark_low, self.bar.mark_high = low, high

    def rules_changed(self, market: Market) -> None:
        """Obey other rules from this bar on."""
        self.history = MarketHistory(((self.bar.time, market),))
        self._obey_rules_of(self.bar.time)

    def _obey_rules_of(self, time_ms: int) -> None:
        self.market = self.history.at(time_ms)
        self.brackets = self.market.brackets
        self.max_notional = self.market.max_notional(self._leverage)  #: of a leg with its opening orders, quote
        self._next_change = self.history.next_change(time_ms)

    def parts(self) -> Sequence[Bar]:
        """Return the bars to match one after another in place of the whole bar, at least one."""
        bar = self._whole
        if self._intrabar == "path":
            return path_parts(bar)
        if self._intrabar == "detail" and self._detail is not None:
            parts = self._detail.inside(bar.time)
            if not parts or not make_up(parts, bar):  # a filter of the feed may have changed the bar
                return [bar]
            if self._detail.has_mark:
                keep_mark_within(bar, parts)
            else:
                share_mark(bar, parts)
            return parts
        return [bar]

    def stand_at(self, part: Bar | None) -> None:
        """Match against a part of the bar from now on, or against the whole again."""
        self.bar = part or self._whole

    def settle_funding(self, rate: float) -> None:
        """Charge a settlement at the mark price, or at the open where the data has no mark."""
        self.funding_rate = rate
        self.settlements += 1
        mark = self.settlement_price()
        for leg in self.legs:
            if leg.leg.fills:
                settle_funding(self.account, leg.leg, leg.fills, mark, rate)

    def settlement_price(self) -> float:
        """Return the mark price at the bar's open, or the open where the data has none."""
        mark = self.mark_at_open()
        return self.bar.open if mark != mark else mark

    @abstractmethod
    def mark_at_open(self) -> float:
        """Return the mark price at the bar's open, NaN where the data has none."""
