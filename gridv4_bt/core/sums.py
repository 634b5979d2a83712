"""Sums of floats that have the same bits on every Python."""

from collections.abc import Iterable


def plain_sum(values: Iterable[float]) -> float:
    """Return the sum of numbers added from left to right, 0.0 for none.

    From Python 3.12 on the built-in `sum` compensates for rounding: its last bit depends on the version, and differs
    from that of compiled code.
    """
    result = 0.0
    for value in values:
        result += value
    return result
