"""What may have happened inside a bar: the ways to match it.

* ``pessimistic``: the bar as a whole, by the rules of `gridv4_bt.engine.matching`: the worse order decides.
* ``path``: as three moves, open-low-high-close if it closed at or above its open, else open-high-low-close.
* ``detail``: by the finer candles inside it, one after another.
"""

from dataclasses import replace
from typing import Literal, get_args

from gridv4_bt.engine.matching import Bar

Intrabar = Literal["pessimistic", "path", "detail"]
MODES: tuple[str, ...] = get_args(Intrabar)


def path_parts(bar: Bar) -> list[Bar]:
    """Return the bar as three moves, each a bar in one direction; the times count the moves in milliseconds.

    The path of the mark is unknown: its extremes belong to every part, so a liquidation stays pessimistic.
    """
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    corners = (bar.open, *turns, bar.close)
    own_mark = (bar.mark_low, bar.mark_high) != (bar.low, bar.high)
    parts = []
    for number, (start, end) in enumerate(zip(corners, corners[1:], strict=False)):
        low, high = min(start, end), max(start, end)
        parts.append(
            replace(
                bar, time=bar.time + number, open=start, high=high, low=low, close=end,
                mark_low=bar.mark_low if own_mark else low, mark_high=bar.mark_high if own_mark else high,
                mark_close=end,
            )  # fmt: skip
        )
    return parts
