"""Pairs of the fills of a live session and of its backtest, and the fills only one of them has."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gridv4_bt.audit.compared_fills import ComparedFill
from gridv4_bt.core.time import BAR_MS

#: Relative difference that is rounding: the exchange reports one fee for a stop that closes many fills, for example.
ROUNDING = 1e-9
#: An order may have filled this many bars earlier or later on the other side and still be the same one.
_NEAR_BARS = 4


@dataclass(frozen=True)
class Pair:
    """A fill of both sides, or of one alone."""

    live: ComparedFill | None
    backtest: ComparedFill | None

    @property
    def fill(self) -> ComparedFill:
        """The live fill, else that of the backtest."""
        return self.live or self.backtest

    @property
    def bar(self) -> int:
        """Open time of the bar in which the sides part, or of the fill, ms."""
        return min(fill.bar for fill in (self.live, self.backtest) if fill is not None)

    @property
    def differences(self) -> tuple[str, ...]:
        """Names of what differs: ``missed`` or ``extra``, or any of qty, price, fee, time."""
        live, backtest = self.live, self.backtest
        if live is None:
            return ("missed",)
        if backtest is None:
            return ("extra",)
        found = [name for name in ("qty", "price", "fee") if not same(getattr(live, name), getattr(backtest, name))]
        if (live.bar, live.booked) != (backtest.bar, backtest.booked):
            found.append("time")
        return tuple(found)


def same(one: float, other: float) -> bool:
    """Return whether two amounts differ by rounding at most."""
    return one == other or abs(one - other) <= ROUNDING * max(abs(one), abs(other))


def align(live: Sequence[ComparedFill], backtest: Sequence[ComparedFill], near: Callable[[str], float]) -> list[Pair]:
    """Pair the fills of both sides: those of one bar first, then those some bars apart.

    Parameters
    ----------
    near : returns the fraction of a symbol's price within which two resting orders may be the same one.
    """
    pairs, live, backtest = _nearest(live, backtest, 0, near)
    found, live, backtest = _nearest(live, backtest, _NEAR_BARS, near)
    pairs += found + [Pair(fill, None) for fill in live] + [Pair(None, fill) for fill in backtest]
    return sorted(pairs, key=lambda pair: (pair.bar, pair.fill.symbol, -pair.fill.side, pair.fill.price))


def _nearest(
    live: Sequence[ComparedFill], backtest: Sequence[ComparedFill], bars: int, near: Callable[[str], float]
) -> tuple[list[Pair], list[ComparedFill], list[ComparedFill]]:
    """Pair the most alike fills at most so many bars apart; return the pairs and what is left of both sides."""
    there = defaultdict(list)
    for j, other in enumerate(backtest):
        there[other.key, other.bar].append(j)
    candidates = []
    for i, one in enumerate(live):
        for apart in range(-bars, bars + 1):
            for j in there[one.key, one.bar + apart * BAR_MS]:
                other = backtest[j]
                price, qty = abs(one.price / other.price - 1.0), abs(one.qty / other.qty - 1.0)
                if not (one.maker and price > near(one.symbol)):
                    candidates.append((abs(apart), price, qty, abs(one.ref - other.ref), i, j))
    pairs, taken, given = [], set(), set()
    for *_, i, j in sorted(candidates):
        if i not in taken and j not in given:
            taken.add(i)
            given.add(j)
            pairs.append(Pair(live[i], backtest[j]))
    return (
        pairs,
        [fill for i, fill in enumerate(live) if i not in taken],
        [fill for j, fill in enumerate(backtest) if j not in given],
    )
