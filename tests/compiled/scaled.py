"""A rule to compile in tests: a module of its own, because compiled code is made of modules."""

from typing import NamedTuple

import numpy as np

ROW = np.dtype([("wanted", np.uint8), ("qty", np.float64)], align=True)


class Book(NamedTuple):
    rows: np.ndarray  #: of ROW
    prices: np.ndarray  #: a row for each of `rows`


def scale(book, factor, places, doubled, nothing):
    """Multiply the wanted rows' prices and return how many places those rows have."""
    found = 0
    for i in range(len(book.rows)):
        if book.rows[i].wanted:
            book.rows[i].qty += 1.0 / places
            for j in range(book.prices.shape[1]):
                book.prices[i, j] *= factor * 2.0 if doubled else factor
                found += 1
    return found if nothing is None else 0


def lowest(values, out):
    """Set `out` to the lowest values; return nothing."""
    out[0] = min(values[0], values[1])


def whole(number):
    """Return the number."""
    return number
