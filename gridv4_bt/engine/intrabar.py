"""The order of prices inside a bar, and so the bars that it is matched by.

* ``pessimistic``: the whole bar, by the rules of `gridv4_bt.engine.matching`: adverse before favourable.
* ``path``: three moves, open-low-high-close if it closed at or above its open, else open-high-low-close.
* ``detail``: the finer candles inside it, one after another.
"""

import itertools
from dataclasses import replace
from typing import get_args

from gridv4_bt.config import Intrabar
from gridv4_bt.engine.book import Bar

MODES: tuple[str, ...] = get_args(Intrabar)


def path_parts(bar: Bar) -> list[Bar]:
    """Return the three moves of a bar as bars; each opens 1 ms after the one before."""
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    corners = (bar.open, *turns, bar.close)
    parts = []
    for number, (start, end) in enumerate(itertools.pairwise(corners)):
        low, high = min(start, end), max(start, end)
        parts.append(
            replace(
                bar,
                time=bar.time + number,
                open=start,
                high=high,
                low=low,
                close=end,
                mark_low=low,
                mark_high=high,
                mark_close=end,
            )
        )
    share_mark(bar, parts)
    return parts


def share_mark(bar: Bar, parts: list[Bar]) -> None:
    """Give the bar's extreme mark prices to the parts with its extreme prices."""
    keep_mark_within(bar, parts)
    for part in parts:
        if part.low == bar.low:
            part.mark_low = bar.mark_low
        if part.high == bar.high:
            part.mark_high = bar.mark_high


def keep_mark_within(bar: Bar, parts: list[Bar]) -> None:
    """Clamp the mark prices of the parts to those of their bar."""
    for part in parts:
        part.mark_low = min(max(part.mark_low, bar.mark_low), bar.mark_high)
        part.mark_high = min(max(part.mark_high, bar.mark_low), bar.mark_high)


def make_up(parts: list[Bar], bar: Bar) -> bool:
    """Return whether the parts together have the open, high, low and close of a bar."""
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return (parts[0].open, high, low, parts[-1].close) == (bar.open, bar.high, bar.low, bar.close)
