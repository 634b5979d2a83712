"""Several symbols in one wallet, bar by bar, and a plain second opinion on SPEC section 6's "One account"."""

import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from feeds.tables import read_candles
from gridv4_bt.backtest import SymbolData, make_cerebro, make_feeds
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.metrics.trading import whole_trades
from strategies.grid_v4 import GridStrategyV4

BAR_MS = 900_000
DAY_MS = 86_400_000
SIDES = (PositionSide.LONG, PositionSide.SHORT)


@dataclass
class View:
    """One symbol at one step."""

    fills: dict[int, tuple]  # by sign, as they were before the decisions
    closing: dict[int, float]  # base units ordered closed at an earlier step, by fill id
    has_bar: bool  # as the broker says
    decided: bool = False
    ordered: dict[int, list] = field(default_factory=dict)  # fill id: [(qty, label), ...] of this step
    entries: int = 0  # resting after the decisions
    kama: float = math.nan  # of the bar before
    atr: float = math.nan
    log: dict[str, float] = field(default_factory=dict)
    margin_calls: int = 0  # counted at this step


@dataclass
class Step:
    """One bar time."""

    time: int
    symbols: dict[str, View]
    trades: int  # closed so far
    wallet: float


class Recorded(GridStrategyV4):
    """GridStrategyV4 that records every step of the account; `steps` is shared by the strategies of a run."""

    params = (("steps", None),)

    def next(self):
        bars = self._clock.lencount
        if bars == self._feed_bars or bars < self._first_bar:
            return
        steps, books = self.p.steps, self.broker.books
        time = self._state.bar.time
        before = {book.symbol: view_of(book) for book in books}
        if not steps or steps[-1].time != time:
            account = self.broker.account
            steps.append(Step(time, before, len(account.closed), account.wallet))
        step, symbol = steps[-1], self.market.symbol
        # Nothing executes while the strategies decide one after another.
        assert {name: one.fills for name, one in before.items()} == {n: one.fills for n, one in step.symbols.items()}
        view, calls = step.symbols[symbol], self.memory.margin_calls
        old = {leg.side: [tuple(close) for close in leg.closes] for leg in self._state.legs}
        super().next()
        view.decided, view.margin_calls = True, self.memory.margin_calls - calls
        for leg in self._state.legs:
            now = [tuple(close) for close in leg.closes]
            assert now[: len(old[leg.side])] == old[leg.side]
            for fill_id, qty, label in now[len(old[leg.side]) :]:
                view.ordered.setdefault(fill_id, []).append((qty, str(label)))
        view.entries = sum(len(leg.entries) for leg in self._state.legs)
        view.kama, view.atr = self.kama[-1], self.atr[0]
        view.log = dict(zip(LOG_COLUMNS, self.log.last().tolist(), strict=True))


def view_of(book) -> View:
    closing = defaultdict(float)
    for leg in book.legs:
        for close in leg.closes:
            closing[close.fill_id] += close.qty
    fills = {int(leg.side): tuple(leg.tracker.fills) for leg in book.legs}
    return View(fills, dict(closing), bool(book.state.has_bar))


@dataclass
class AccountRun:
    """What a run of several symbols left behind."""

    config: object
    data: dict[str, pd.DataFrame]  # candles by symbol
    steps: list[Step]
    strategies: list[GridStrategyV4]

    @property
    def account(self):
        return self.strategies[0].broker.account

    def trades(self) -> list[tuple]:
        """Everything about the closings but the ids, in the order of time."""
        return sorted(
            (trade.close_time, trade.symbol, trade.side.name, str(trade.label), trade.open_time, trade.entry, trade.qty,
             trade.exit, trade.net)
            for trade in self.account.closed
        )  # fmt: skip

    def labels(self) -> Counter:
        return Counter(str(trade.label) for trade in self.account.closed)

    def bullets(self) -> int:
        return len(whole_trades(self.account.closed))


def with_holes(frame: pd.DataFrame, drop=()) -> object:
    """Candles without some rows: bars that do not exist for this symbol."""
    table = read_candles(frame, name="holes")
    kept = np.ones(len(table), bool)
    kept[list(drop)] = False
    columns = ("time", "open", "high", "low", "close", "volume")
    return replace(table, **{name: getattr(table, name)[kept] for name in columns})


def trade_together(market, config, cash=10_000.0, order=None) -> AccountRun:
    """Run the symbols of a market, {symbol: (candles, funding, rows to drop)}; `order`: of the feeds in Cerebro."""
    data = [
        SymbolData(symbol, with_holes(candles, drop), funding) for symbol, (candles, funding, drop) in market.items()
    ]
    feeds = make_feeds(data)
    if order is not None:
        feeds = [next(feed for feed in feeds if feed.p.name == symbol) for symbol in order]
    taken: list[Step] = []

    class Here(Recorded):
        params = (("steps", taken),)

    cerebro = make_cerebro(feeds, config, cash, strategy=Here)
    strategies = cerebro.run()
    frames = {symbol: candles.drop(index=candles.index[list(drop)]) for symbol, (candles, _, drop) in market.items()}
    return AccountRun(config, frames, taken, strategies)


class SecondOpinion:
    """Recompute what the account's rules see and order at every step, from candles, fills and closed trades alone."""

    def __init__(self, run: AccountRun) -> None:
        self.run = run
        self.config = run.config
        self.trades = run.account.closed
        self.brackets = {one.market.symbol: one.market.brackets for one in run.strategies}
        self.times = {
            symbol: frame["time"].map(lambda one: round(one.timestamp() * 1000)).to_numpy()
            for symbol, frame in run.data.items()
        }
        self.closes = {symbol: frame["close"].tolist() for symbol, frame in run.data.items()}
        self.seen: Counter[str] = Counter()

    def check(self) -> None:
        for step in self.run.steps:
            self._check_step(step)

    def _check_step(self, step: Step) -> None:
        c = self.config
        bars = {symbol: int(np.searchsorted(times, step.time, side="right")) for symbol, times in self.times.items()}
        has_bar = {s for s, count in bars.items() if count and self.times[s][count - 1] == step.time}
        close = {symbol: self.closes[symbol][max(count - 1, 0)] for symbol, count in bars.items()}
        decided = {symbol for symbol, view in step.symbols.items() if view.decided}
        assert decided <= has_bar == {symbol for symbol, view in step.symbols.items() if view.has_bar}
        self.seen["without a bar"] += len(bars) - len(has_bar)
        fills = [
            (symbol, sign, fill, sign * fill.qty * (close[symbol] - fill.price))
            for symbol, view in step.symbols.items()
            for sign, held in view.fills.items()
            for fill in held
        ]
        self.seen["held without a bar"] += len({one[0] for one in fills} - has_bar)
        loss = sum(one[3] for one in fills)
        equity = step.wallet + loss
        at_risk = 0.0
        for symbol in bars:
            net = sum(sign * fill.qty for name, sign, fill, _ in fills if name == symbol)
            if net:
                at_risk += abs(net * close[symbol]) * c.var_z * self._sigma(symbol, bars[symbol]) * math.sqrt(96)
        required = self._maintenance(fills, close)
        day = step.time // DAY_MS
        today = sum(
            one.gross - one.fees - one.funding for one in self.trades[: step.trades] if one.close_time // DAY_MS == day
        )
        ranked = sorted((pnl, fill.id, symbol, sign, fill) for symbol, sign, fill, pnl in fills if symbol in has_bar)
        called = self._margin_call(ranked, fills, close, required, equity)
        limited = at_risk > c.var_pct * equity
        calls = 0
        for symbol in decided:
            view = step.symbols[symbol]
            log = view.log
            assert math.isclose(log["equity"], equity, rel_tol=1e-9, abs_tol=1e-6)
            assert math.isclose(log["var"], at_risk, rel_tol=1e-9, abs_tol=1e-9), (step.time, symbol)
            ratio = required / equity if equity > 0 else float(required > 0)
            assert math.isclose(log["margin_ratio"], ratio, rel_tol=1e-9, abs_tol=1e-12)
            if limited:
                assert view.entries == 0
                self.seen["var"] += 1
            calls += view.margin_calls
            expected = self._expected(step, symbol, view, close[symbol], called, ranked, today, loss, equity)
            assert {key: _round(value) for key, value in view.ordered.items()} == {
                key: _round(value) for key, value in expected.items()
            }, (step.time, symbol)
        assert calls <= 1
        if called and ranked[0][2] in decided:
            assert calls == 1
        self.seen["margin calls"] += calls

    def _sigma(self, symbol, count) -> float:
        last = self.closes[symbol][max(count - self.config.sigma_bars - 1, 0) : count]
        return statistics.stdev(math.log(b / a) for a, b in pairwise(last))

    def _maintenance(self, fills, close) -> float:
        held = defaultdict(float)
        for symbol, sign, fill, _ in fills:
            held[symbol, sign] += fill.qty
        total = 0.0
        for (symbol, _), qty in held.items():
            notional = qty * close[symbol]
            bracket = max((one for one in self.brackets[symbol] if one.floor <= notional), key=lambda one: one.floor)
            total += notional * bracket.rate - bracket.amount
        return total

    def _margin_call(self, ranked, fills, close, required, equity) -> list[int]:
        if not required > self.config.margin_call * equity:
            return []
        for count in range(1, len(ranked) + 1):
            gone = {fill_id for _, fill_id, *_ in ranked[:count]}
            left = [one for one in fills if one[2].id not in gone]
            if self._maintenance(left, close) <= self.config.margin_target * max(equity, 0.0) * (1 + 1e-12) + 1e-9:
                return [fill_id for _, fill_id, *_ in ranked[:count]]
        return [fill_id for _, fill_id, *_ in ranked]

    def _expected(self, step, symbol, view, close, called, ranked, today, loss, equity):
        """What must be ordered closed: the stops are taken as they are, all else is found anew."""
        c = self.config
        expected = {}
        left = {}
        own = [(sign, fill) for sign, held in view.fills.items() for fill in held]
        for _, fill in own:
            stops = [one for one in view.ordered.get(fill.id, ()) if one[1].startswith("stop")]
            if stops:
                expected[fill.id] = stops
            left[fill.id] = fill.qty - view.closing.get(fill.id, 0.0) - sum(qty for qty, _ in stops)

        def order(fill_id, label):
            if left[fill_id] > 1e-9 * close and left[fill_id] > 1e-12:
                expected.setdefault(fill_id, []).append((left[fill_id], label))
                self.seen[label] += 1
                left[fill_id] = 0.0

        for fill_id in called:
            if fill_id in left:
                order(fill_id, "margin_call")
        for sign, fill in own:
            if reason := self._pruned(step, view, sign, fill, close):
                order(fill.id, reason)
        if ranked and ranked[0][2] == symbol:
            pnl, fill_id, _, sign, fill = ranked[0]
            cost = -pnl + fill.fee + fill.qty * close * c.taker_fee + fill.funding
            under = sign * (fill.price - close) >= c.offset_spacings * fill.spacing_pct * fill.price
            if c.offset_spacings and under and today > 0.0 and today > cost:
                order(fill_id, "offset")
            if loss < 0.0 and -loss > c.delever_share * c.var_pct * equity:
                order(fill_id, "delever")
        elif ranked and loss < 0.0 and -loss > c.delever_share * c.var_pct * equity:
            self.seen["left to another symbol"] += 1
        return expected

    def _pruned(self, step, view, sign, fill, close) -> str:
        c = self.config
        if c.deviance_atr and sign * (view.kama - close) > c.deviance_atr * view.atr:
            return "deviance"
        if c.max_age_hours and step.time + BAR_MS - fill.time > c.max_age_hours * 3_600_000:
            return "oldest"
        if c.gap_spacings and sign * (fill.price - close) > c.gap_spacings * fill.spacing_pct * fill.price:
            return "gap"
        if c.funding_share and fill.funding > c.funding_share * fill.spacing_pct * fill.price * fill.qty:
            return "funding"
        return ""


def _round(orders):
    return [(round(qty, 9), label) for qty, label in orders]
