"""Funding where a file of settlements has none: the synthetic rate of its part of the span, see SPEC section 5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feeds.tables import CandleTable, FundingTable
from gridv4_bt.core.time import HOUR_MS
from gridv4_bt.engine.synthetic_funding import synthetic_settlements

#: No exchange lets more time pass between two settlements; the synthetic rate settles as often.
FUNDING_HOURS = 8
FUNDING_INTERVAL_MS = FUNDING_HOURS * HOUR_MS


def completed(candles: CandleTable, funding: FundingTable, pause: int) -> FundingTable:
    """Return the settlements with a synthetic one wherever none is known.

    One is due at each bar that opens at a multiple of 8 hours and has no settlement in the `pause` (ms) up to it. So
    what is charged at a bar depends on nothing later.
    """
    due = candles.time[1:][candles.time[1:] % FUNDING_INTERVAL_MS == 0]
    latest = funding.time.searchsorted(due, side="right") - 1
    known = np.where(latest >= 0, funding.time[latest], due - pause)
    wanted = due[due - known >= pause]
    if not len(wanted):
        return funding
    rows, made = synthetic_settlements(FUNDING_HOURS, candles.time, candles.close)
    times = np.concatenate((funding.time, wanted))
    rates = np.concatenate((funding.rate, made[candles.time[rows].searchsorted(wanted)]))
    order = np.argsort(times, kind="stable")
    return replace(funding, time=times[order], rate=rates[order])
