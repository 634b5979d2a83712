"""A backtest of grids in the kernel of the sweeps, step by step, with the account that books what it executes.

At each step the kernel matches the bars and decides for all symbols. What it has executed is booked in a broker's
account by the functions that book it in a plain run, and both must come to the same wallet to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from brokers.feed_book import FeedBook
from gridv4_bt.engine.account import Account
from gridv4_bt.engine.book import MarketClose
from gridv4_bt.engine.book_access import close_fill, open_fill
from gridv4_bt.engine.columns import LOG_COLUMNS
from gridv4_bt.engine.labels import DELISTED, GRID, LABELS, LIQUIDATION
from gridv4_bt.engine.packed_rows import BLOCK
from gridv4_bt.optimise.bar_windows import BarWindows
from gridv4_bt.optimise.kernel.kernel import new_state, stepper
from gridv4_bt.optimise.kernel.state import State
from strategies.grid_v4 import GridStrategyV4

ROOM = 64  #: open fills a side and levels cooling, beside the ladder's levels, that there is room for at first


class Booker(Protocol):
    """The broker in whose account the executions are booked."""

    account: Account
    books: Sequence[FeedBook]  #: of the symbols, in the order of their feeds
    ambiguous_bars: int

    def liquidate(self) -> None:
        """Liquidate the account at the bars of this step."""

    def report(self) -> None:
        """Report what was executed to the strategies."""


class CompiledRun:
    """The run in the kernel, and the account of the broker that books what it executes."""

    def __init__(self, broker: Booker, strategies: Sequence[GridStrategyV4]) -> None:
        self._broker = broker
        self._books = broker.books
        self._configs = [strategy.config for strategy in strategies]
        self._strategies = strategies
        self._windows = BarWindows(strategies, self._configs, BLOCK)
        self._levels = max(config.levels for config in self._configs)
        self._steps_left = BLOCK
        self._bind(self._new_state(ROOM + 2 * self._levels, np.zeros((BLOCK * len(strategies), len(LOG_COLUMNS)))))
        self._note_rows()

    def _new_state(self, room: int, log: NDArray[np.float64]) -> State:
        wallet = self._broker.account.wallet
        return new_state(self._configs, wallet, self._windows.days, log, room, 0, traced=True)

    def _bind(self, state: State) -> None:
        self._state = state
        self._step = stepper(self._windows.inputs, state)
        account = state.account
        self._fills, self._news = memoryview(account["fills"]), memoryview(account["news"])

    def step(self) -> None:
        """Match and decide, and book what was executed."""
        if not self._steps_left:
            self._note_rows()
            self._windows.move(self._state)
            self._steps_left = BLOCK
        self._steps_left -= 1
        self._step()
        if self._news[0] or self._fills[0] != self._broker.account.fills:
            self._book_step()
            self._make_room()

    def _book_step(self) -> None:
        """Book what the step has executed, in the order in which it was."""
        broker, state = self._broker, self._state
        account = state.account[0]
        news = state.news[: account["news"]].tolist()
        before = int(account["before_entries"])
        self._close(news[:before])
        broker.report()
        for fill in self._opened(news):
            self._open(*fill)
        broker.report()
        self._close(news[before:])
        broker.report()
        self._check()

    def _check(self) -> None:
        """Raise a RuntimeError if the kernel and the account do not agree."""
        account, wallet = self._state.account[0], self._broker.account.wallet
        if wallet != account["wallet"] or account["overflow"]:
            raise RuntimeError(
                f"the compiled run has {float(account['wallet'])!r} in the wallet, the account {wallet!r} (room for "
                f"all fills: {not account['overflow']}); please report it"
            )

    def _opened(self, news: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return id, book's place, side, qty, price, spacing_pct and regime of each fill opened in the step."""
        known, state, found = self._broker.account.fills, self._state, []
        for place, side, leg, fills in _sides(state):
            for fill in fills[: leg["fills"]]:
                if fill["id"] > known:
                    numbers = (fill[name].item() for name in ("qty", "price", "spacing_pct", "regime"))
                    found.append((int(fill["id"]), place, side, *numbers))
        still = {fill[0] for fill in found}
        for place, trade_id, side, _, regime, _, _, qty, entry, *_ in news:
            if trade_id > known and trade_id not in still:  # gone in the bar in which it came: its spacing was no use
                found.append((trade_id, place, side, qty, entry, 0.0, regime))
        return sorted(found)

    def _open(
        self, fill_id: int, place: int, side: int, qty: float, price: float, spacing_pct: float, regime: int
    ) -> None:
        book = self._books[place]
        book.state.regime = regime
        open_fill(book, book.long if side > 0 else book.short, qty, price, spacing_pct)

    def _close(self, trades: Sequence[tuple[Any, ...]]) -> None:
        liquidated = False
        for place, trade_id, side, label, _, _, _, qty, _, price, *_ in trades:
            if label == DELISTED:  # by the broker
                continue
            if label == LIQUIDATION:
                if not liquidated:
                    self._broker.liquidate()
                liquidated = True
                continue
            book = self._books[place]
            leg, maker = book.long if side > 0 else book.short, label == GRID
            fee_rate = book.costs.maker_fee if maker else book.costs.taker_fee
            close_fill(book, leg, leg.tracker.ids.index(trade_id), qty, price, label, fee_rate, maker)

    def _make_room(self) -> None:
        """Make room for more fills and levels cooling long before there is none."""
        state = self._state
        needed = 2 * int(state.legs["fills"].max() + state.legs["cooling"].max() + self._levels)
        if needed <= state.fills.shape[1]:
            return
        wider = self._new_state(2 * needed, state.log[:0])._replace(log=state.log, trace=state.trace)
        for to, array in zip(wider, state, strict=True):
            if to is not array:
                to[tuple(slice(0, size) for size in array.shape)] = array
        self._bind(wider)

    def _note_rows(self) -> None:
        """Hand the rows of log and trace to the strategies, and let the kernel begin anew at the first one."""
        state, spans = self._state, self._windows.inputs.spans
        for place, strategy in enumerate(self._strategies):
            decided = max(int(state.symbols[place]["row"] + 1 - spans[place]["first"]), 0)
            first = place * BLOCK
            rows = slice(first, first + decided - len(strategy.log))
            strategy.log.extend(state.log[rows])
            strategy.plan.trace.extend(state.trace[rows, : 2 * strategy.config.levels])
            spans[place]["first_log"] = first - decided

    def bring_back(self, strategy: GridStrategyV4, place: int) -> None:
        """Give a strategy what its symbol has in the kernel: log, trace, memory and open orders."""
        self._check()
        self._note_rows()
        state = self._state
        strategy._trades_seen = len(self._broker.account.closed)
        self._broker.ambiguous_bars = int(state.account["ambiguous_bars"][0])
        strategy.plan.take_over(state.tally[place])
        _copy(state.memory[place], strategy.memory)
        _copy(state.now[place], strategy.now)
        _copy(state.books[place], strategy._state.state)
        strategy.orders.regime = strategy._state.state.regime
        for row, (kelly, returns) in enumerate(zip(state.kelly[place], state.returns[place], strict=True)):
            _copy(kelly, strategy.kelly[row])
            strategy.returns[row][:] = returns[: len(strategy.returns[row])].tolist()
        for row, side in enumerate(strategy.sides, 2 * place):
            leg, book = state.legs[row], side.book
            _copy(leg, side.leg)
            book.orders[:] = state.orders[row][:, : book.levels]
            fills = state.fills[row][: leg["fills"]]
            book.exits = {fill_id: price for fill_id, price in fills[["id", "exit"]].tolist() if price > 0.0}
            closes = state.closes[row][: leg["closes"]].tolist()
            book.closes = [MarketClose(fill_id, qty, LABELS[label]) for fill_id, label, qty in closes]
            cooling = state.cooling[row][: leg["cooling"]]
            side.cooling.price, side.cooling.until = cooling["price"].tolist(), cooling["until"].tolist()
            side.reserve()
            side.taken[: leg["taken"]] = state.taken[row][: leg["taken"]]


def _copy(record: np.void, to: Any) -> None:
    """Bring the numbers of a record to the object of the same fields."""
    for column in fields(to):
        setattr(to, column.name, record[column.name].tolist())


def _sides(state: State) -> Iterator[tuple[int, int, np.void, NDArray[np.void]]]:
    """Yield place, sign, leg and fills of each side of each symbol."""
    for row, (leg, fills) in enumerate(zip(state.legs, state.fills, strict=True)):
        yield row // 2, int(leg["sign"]), leg, fills
