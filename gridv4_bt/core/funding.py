"""Funding: a synthetic rate for data without one, the size tilt, and the times of settlements.

A rate is a fraction of the notional per settlement; when it is positive, LONG pays SHORT.
"""

from typing import Any

RATE_LIMIT = 0.003
# Share of the return since the last settlement that becomes the perpetual's premium over its index.
MOMENTUM_TO_PREMIUM = 0.02


def funding_tilt(rate: float, side_sign: int, tilt: float = 0.25) -> float:
    """Return the size factor of a side: ``1 + tilt`` if it receives funding, ``1 - tilt`` if it pays.

    `side_sign` is +1 for LONG and -1 for SHORT. A rate of 0, or none known yet (NaN), gives 1.
    """
    paid = rate * side_sign
    if paid > 0.0:
        return 1.0 - tilt
    if paid < 0.0:
        return 1.0 + tilt
    return 1.0


def synthetic_rate(premium: float, interest: float = 0.0001, clamp: float = 0.0005) -> float:
    """Return the exchange's funding rate for a premium index.

    ``P + clamp(interest - P, -clamp, clamp)``, limited to +-0.3 %. Source: Binance, "Introduction
    to Binance Futures Funding Rates".
    """
    rate = premium + max(-clamp, min(clamp, interest - premium))
    return max(-RATE_LIMIT, min(RATE_LIMIT, rate))


def premium_proxy(last_close: float, close_before: float) -> float:
    """Return an estimate of the premium from momentum alone, a fraction.

    Buyers who chase a move pay more for the perpetual than for the coin, so the premium follows the return of the
    funding period. `close_before` is the close one funding period before `last_close`.
    """
    return MOMENTUM_TO_PREMIUM * (last_close / close_before - 1.0)


def settles_between(previous_ms: Any, now_ms: Any, interval_ms: int) -> Any:
    """Return whether a settlement, at a multiple of the interval in UTC, lies in (previous, now]; arrays give many."""
    return now_ms // interval_ms > previous_ms // interval_ms
