"""Long curves with fewer points."""

import numpy as np
from numpy.typing import NDArray


def thinned(values: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Return the places of the first and last value and of the extremes of each stretch, about so many in all."""
    if len(values) <= points:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), max(points // 2, 1) + 1).astype(np.int64)
    places = {0, len(values) - 1}
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        places |= {begin + int(values[begin:end].argmin()), begin + int(values[begin:end].argmax())}
    return np.array(sorted(places))
