"""Recursive averages over flat arrays: each value needs the one before, so these are loops.

Plain numbers only; compiled they give the same bits. `out` is set to the average after each value.
"""

from collections.abc import MutableSequence, Sequence

NAN = float("nan")


def wilder_step(average: float, value: float, period: int) -> float:
    """Return Wilder's average after one more value: `(average*(period - 1) + value) / period`."""
    return (average * (period - 1) + value) / period


def wilder(average: float, values: Sequence[float], period: int, out: MutableSequence[float]) -> None:
    """Run Wilder's average over values; NaN, a value that is not defined, leaves it as it was."""
    for i in range(len(values)):
        if values[i] == values[i]:
            average = wilder_step(average, values[i], period)
        out[i] = average


def adaptive_step(average: float, value: float, constant: float) -> float:
    """Return an average that moves by the fraction `constant` towards a value."""
    return average + constant * (value - average)


def adaptive(average: float, values: Sequence[float], constants: Sequence[float], out: MutableSequence[float]) -> None:
    """Run an average whose constant changes from value to value."""
    for i in range(len(values)):
        average = adaptive_step(average, values[i], constants[i])
        out[i] = average


def directional_indices(
    smooth_plus: float,
    smooth_minus: float,
    plus: Sequence[float],
    minus: Sequence[float],
    period: int,
    out: MutableSequence[float],
) -> tuple[float, float]:
    """Smooth directional moves, set `out` to Wilder's DX (0 to 100, NaN where both are 0) and return what is smoothed.

    ``smoothed = smoothed - smoothed/period + move``, ``DX = 100*abs(plus - minus)/(plus + minus)`` of the smoothed.
    """
    for i in range(len(plus)):
        smooth_plus = smooth_plus - smooth_plus / period + plus[i]
        smooth_minus = smooth_minus - smooth_minus / period + minus[i]
        both = smooth_plus + smooth_minus
        out[i] = NAN if both == 0.0 else 100.0 * (abs(smooth_plus - smooth_minus) / both)
    return smooth_plus, smooth_minus
