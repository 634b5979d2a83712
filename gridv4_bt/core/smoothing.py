"""Recursive averages over flat arrays, as loops: each value needs the one before.

Compiled they give the same bits. `out` receives the average after each value.
"""

from collections.abc import MutableSequence, Sequence

NAN = float("nan")


def wilder_step(average: float, value: float, period: int) -> float:
    """Return Wilder's average after one more value: `(average*(period - 1) + value) / period`."""
    return (average * (period - 1) + value) / period


def wilder(average: float, values: Sequence[float], period: int, out: MutableSequence[float]) -> None:
    """Set `out` to Wilder's average after each value; a NaN leaves the average as it was."""
    for i in range(len(values)):
        if values[i] == values[i]:
            average = wilder_step(average, values[i], period)
        out[i] = average


def adaptive_step(average: float, value: float, constant: float) -> float:
    """Return an average moved by the fraction `constant` towards a value."""
    return average + constant * (value - average)


def adaptive(average: float, values: Sequence[float], constants: Sequence[float], out: MutableSequence[float]) -> None:
    """Set `out` to the average after each value; each value has its own constant."""
    for i in range(len(values)):
        average = adaptive_step(average, values[i], constants[i])
        out[i] = average


def directional_indices(
    smoothed: MutableSequence[float],
    plus: Sequence[float],
    minus: Sequence[float],
    period: int,
    out: MutableSequence[float],
) -> None:
    """Set `out` to Wilder's DX after each bar, and the smoothed moves (plus, minus) to those of the last bar.

    DX is 0 to 100, NaN where both smoothed moves are 0.

    ``smoothed = smoothed - smoothed/period + move``, ``DX = 100*abs(plus - minus)/(plus + minus)`` of the smoothed.
    """
    smooth_plus, smooth_minus = smoothed[0], smoothed[1]
    for i in range(len(plus)):
        smooth_plus = smooth_plus - smooth_plus / period + plus[i]
        smooth_minus = smooth_minus - smooth_minus / period + minus[i]
        both = smooth_plus + smooth_minus
        out[i] = NAN if both == 0.0 else 100.0 * (abs(smooth_plus - smooth_minus) / both)
    smoothed[0], smoothed[1] = smooth_plus, smooth_minus
