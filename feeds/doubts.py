"""What in the data of a feed gives a wrong result without an error, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feeds.candles import CandleFeed
from feeds.tables import FundingTable, interval_text, most_common
from gridv4_bt.core.time import HOUR_MS, iso
from gridv4_bt.errors import DataError

#: A median of rates from which they are likely written in percent: the usual one is 0.0001.
PERCENT_RATE = 0.003
_SHARE = 0.01
_REPEATS = 20  # settlements that show a rhythm


def doubts(feeds: Sequence[CandleFeed]) -> list[str]:
    """Return a sentence on each thing in the data that misleads.

    Raises
    ------
    DataError
        No bar whose price moved has volume, so that no order would ever fill.
    """
    found = []
    latest = max(feed.last_ms for feed in feeds)
    for feed in feeds:
        found += _volume_doubts(feed)
        if feed.p.funding is not None:
            found += funding_doubts(feed.p.name, feed.p.funding)
        if feed.last_ms < latest:
            found.append(
                f"{feed.p.name}: its data end at {iso(feed.last_ms)} and others go on to {iso(latest)}: what it holds "
                "then is settled at its last close (delisted)"
            )
    return found


def _volume_doubts(feed: CandleFeed) -> list[str]:
    candles = feed.candles
    moved = candles.high > candles.low
    silent = int((moved & (candles.volume == 0.0)).sum())
    if silent and silent == int(moved.sum()):
        raise DataError(
            f"{feed.p.name}: the volume is 0 in all {silent:,} bars in which the price moved, and a bar without volume "
            "fills no order. Give candles with their volume in coins."
        )
    if silent > _SHARE * len(moved):
        return [f"{feed.p.name}: {silent:,} bars have no volume though their price moved: nothing fills in them"]
    return []


def funding_doubts(symbol: str, funding: FundingTable) -> list[str]:
    """Return a sentence if rates are likely in percent, and one if each is likely repeated until the next."""
    found = []
    rates = np.abs(funding.rate[funding.rate != 0.0])
    if len(rates) and (median := float(np.median(rates))) >= PERCENT_RATE:
        found.append(
            f"{symbol}: the median funding rate is {median:.2%} a settlement, 0.01 % is usual: if the file is in "
            "percent, divide it by 100, or name its column funding_rate (%)"
        )
    return found + _repeated(symbol, funding)


def _repeated(symbol: str, funding: FundingTable) -> list[str]:
    steps = np.diff(funding.time)
    usual = most_common(steps) if len(steps) >= _REPEATS else 8 * HOUR_MS
    regular = steps == usual
    if usual > HOUR_MS or regular.mean() <= 0.9:
        return []
    changes = funding.time[1:][regular & (np.diff(funding.rate) != 0.0)]
    every = f"{symbol}: funding is settled every {interval_text(usual)}"
    for hours in (8, 4, 1):
        length = hours * HOUR_MS
        if usual < length and (changes % length == 0).all():
            return [
                f"{every} with a rate that changes every {f'{hours} hours' if hours > 1 else 'hour'} at most: if the "
                f"rows repeat one settlement, {length // usual} times too much is charged; keep the rows of its own "
                "hours"
            ]
    if usual < HOUR_MS:
        return [f"{every}, and no exchange settles more than once an hour: keep the rows of its settlements"]
    return []
