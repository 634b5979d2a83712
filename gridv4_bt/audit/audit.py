"""The audit of a session: pairs of fills, causes of their differences, and the drift of the equity."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridv4_bt.audit.align import Pair, align, same
from gridv4_bt.audit.causes import FillDifference, explain
from gridv4_bt.audit.compared_fills import Payment
from gridv4_bt.audit.session import SessionRecord, read_session
from gridv4_bt.audit.session_backtest import SessionBacktest, replay


@dataclass(frozen=True)
class Audit:
    """A session and its backtest side by side."""

    session: SessionRecord
    replay: SessionBacktest
    pairs: list[Pair]  #: all fills of both sides
    differences: list[FillDifference]
    payments: list[tuple[Payment | None, Payment | None]]  #: funding of live and backtest, by symbol and time
    times: NDArray[np.int64]  #: bars at whose end both sides have an equity, open times in ms
    live: NDArray[np.float64]  #: equity at each of them, quote
    backtest: NDArray[np.float64]

    @property
    def matched(self) -> list[Pair]:
        """The fills that both sides have."""
        return [pair for pair in self.pairs if pair.live is not None and pair.backtest is not None]

    @property
    def missed(self) -> list[Pair]:
        """The fills that only the backtest has."""
        return [pair for pair in self.pairs if pair.live is None]

    @property
    def extra(self) -> list[Pair]:
        """The fills that only the live session has."""
        return [pair for pair in self.pairs if pair.backtest is None]

    @property
    def drifts(self) -> NDArray[np.float64]:
        """Live equity less that of the backtest at every bar, fraction of the start equity."""
        return (self.live - self.backtest) / self.session.wallet

    @property
    def drift(self) -> float:
        """The largest of `drifts`, whichever its sign."""
        return float(np.abs(self.drifts).max(initial=0.0))

    @property
    def is_identical(self) -> bool:
        """Whether nothing differs but by rounding."""
        funded = all(one and other and same(one.paid, other.paid) for one, other in self.payments)
        rounded = all(same(one, other) for one, other in zip(self.live, self.backtest, strict=True))
        return not self.differences and funded and rounded and len(self.times) == self.bars[0] == self.bars[1]

    @property
    def bars(self) -> tuple[int, int]:
        """Number of bars at which the live session and the backtest have decided."""
        ours = {int(time) for rows in self.session.rows.values() for time in rows.index}
        return len(ours), len(_equity(self.replay)[0])


def audit(folder: Path) -> Audit:
    """Audit a state directory of `run_live.py`, also while the bot is running.

    Raises
    ------
    DataError
        The folder holds no session, or a file is damaged.
    """
    session = read_session(folder)
    theirs = replay(session)
    near = cache(lambda symbol: session.config.of(symbol).floor_pct / 2.0)  # asked for every pair of fills
    pairs = align(session.fills, theirs.fills, near)
    ours = {int(time): equity for rows in session.rows.values() for time, equity in rows["equity"].items()}
    times, backtest = _equity(theirs)
    common = np.array([time for time in times if time in ours], dtype=np.int64)
    return Audit(
        session,
        theirs,
        pairs,
        explain(session, pairs, theirs.records),
        _side_by_side(session.payments, theirs.payments),
        common,
        np.array([ours[time] for time in common]),
        backtest[np.isin(times, common)],
    )


def _equity(theirs: SessionBacktest) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return time and equity of the wallet; every symbol's row of a bar has the same."""
    found = {
        int(time): equity
        for record in theirs.records
        for time, equity in zip(record.column("time"), record.column("equity"), strict=True)
    }
    times = np.array(sorted(found), dtype=np.int64)
    return times, np.array([found[time] for time in times])


def _side_by_side(live: Sequence[Payment], backtest: Sequence[Payment]) -> list[tuple[Payment | None, Payment | None]]:
    ours = {(one.time, one.symbol): one for one in live}
    theirs = {(one.time, one.symbol): one for one in backtest}
    return [(ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())]
