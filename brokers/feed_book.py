"""The orders and fills of one symbol, fed by a Backtrader feed."""

from collections.abc import Sequence

import backtrader as bt

from brokers.settlement import SyntheticFunding
from gridv4_bt.compat import LineReader, epoch_ms
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.intrabar import keep_mark_within, make_up, path_parts, share_mark
from gridv4_bt.engine.market import Market, MarketHistory
from gridv4_bt.engine.matching import FILL_RULES, Bar, Book, Costs


class FeedBook(Book):
    """The orders and fills of one symbol, bound to the feed that brings its bars."""

    def __init__(
        self,
        data: bt.AbstractDataBase,
        history: MarketHistory,
        account: Account,
        costs: Costs,
        fill_rule: str,
        funding_hours: float,
        intrabar: str,
        leverage: float,
    ) -> None:
        super().__init__(history.at(0), account, costs, FILL_RULES[fill_rule])
        self._history = history
        self._leverage = leverage
        self._obey_rules_of(epoch_ms(data.datetime[0]) if len(data) else 0)
        self._whole = self.bar
        self._intrabar = intrabar
        self._detail = getattr(data, "detail", None)
        self.data = data
        self.owner: bt.Strategy | None = None
        self.funding_rate = float("nan")  #: latest settled
        self.settlements = 0
        self._bars = len(data)  # a book opened in the middle of a run waits for the next bar
        lines = data.lines
        self._clock = lines.datetime
        recorded = getattr(data, "has_funding", False)
        self._synthetic = None if recorded else SyntheticFunding(funding_hours)
        self._reader = LineReader(
            lines.datetime,
            lines.open,
            lines.high,
            lines.low,
            lines.close,
            lines.volume,
            lines.funding if recorded else lines.datetime,
        )
        self._mark = getattr(lines, "mark", None)
        fine = getattr(data, "mark_is_fine", False)
        self._mark_range = (lines.mark_low, lines.mark_high) if fine else None

    def next_bar(self) -> bool:
        """Read the feed's bar if it is a new one and settle the funding due at its open."""
        bars = self._clock.lencount
        if bars == self._bars:
            return False
        self._bars = bars
        bar = self._whole
        before = bar.time
        datetime, bar.open, high, low, close, bar.volume, rate = self._reader.read()
        bar.time = epoch_ms(datetime)
        bar.high = bar.mark_high = high
        bar.low = bar.mark_low = low
        bar.close = bar.mark_close = close
        if bar.time >= self._next_change:
            self._obey_rules_of(bar.time)
        if self._mark_range is not None:
            self._read_mark()
        if self._synthetic is not None:
            rate = self._synthetic.rate(before, bar)
        if rate == rate:  # not NaN: a settlement is due
            self.settle_funding(rate)
        return True

    def rules_changed(self, market: Market) -> None:
        """Obey other rules from the bar of now on."""
        self._history = MarketHistory(((self.bar.time, market),))
        self._obey_rules_of(self.bar.time)

    def _obey_rules_of(self, time: int) -> None:
        self.market = self._history.at(time)
        self.max_notional = self.market.max_notional(self._leverage)  #: of a leg with its opening orders, quote
        self._next_change = self._history.next_change(time)

    def parts(self) -> Sequence[Bar]:
        """Return the bars to match one after another in place of the feed's bar, at least one."""
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
        """Match against a part of the feed's bar from now on, or against the whole again."""
        self.bar = part or self._whole

    def _read_mark(self) -> None:
        low, high = self._mark_range[0][0], self._mark_range[1][0]
        if low == low and high == high:  # a gap of the mark leaves the last prices in force
            self.bar.mark_low, self.bar.mark_high = low, high

    def settle_funding(self, rate: float) -> None:
        """Charge a settlement at the mark price, or at the open where the data has no mark."""
        self.funding_rate = rate
        self.settlements += 1
        mark = self.settlement_price()
        for leg in self.legs:
            if leg.tracker.ids:
                self.account.settle_funding(leg.tracker, mark, rate)

    def settlement_price(self) -> float:
        """Return the mark price at the bar's open, or the open where the data has none."""
        mark = self.bar.open if self._mark is None else self._mark[0]
        return self.bar.open if mark != mark else mark
