"""Sums of floats that have the same bits on every Python."""

from collections.abc import Iterable


def plain_sum(values: Iterable[float]) -> float:
    """Return the sum of numbers added from left to right, 0.0 for none.

    The built-in `sum` compensates for rounding from Python 3.12 on, so its last bit depends on the version, and differs
    from what compiled code gives.
    """
    result = 0.0
    for value in values:
        result += value
    return result
