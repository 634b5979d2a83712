"""Walk-forward folds: search on the past, trade the time that follows, move on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Fold:
    """Days counted since 1970; both ends belong to it."""

    train: tuple[int, int]
    test: tuple[int, int]


def walk_forward_folds(
    first: int, last: int, count: int, scheme: Literal["anchored", "rolling"], purge: int = 2, train_share: float = 0.5
) -> list[Fold]:
    """Cut the days from `first` to `last` into folds whose tests follow one another up to the last day.

    Anchored folds train on all days from the first on; rolling ones on as many as the first of them has.

    Parameters
    ----------
    purge : days between train and test that belong to neither, so that no position is held in both (M. Lopez de
        Prado, "Advances in Financial Machine Learning", 2018, chapter 7).
    train_share : of all days, before the first test.

    Raises
    ------
    ValueError
        The days are too few for a day of each.
    """
    days = last - first + 1
    before = int(days * train_share)
    trained = before - purge
    if count < 1 or trained < 1 or (days - before) // count < 1:
        raise ValueError(f"{days} days are too few for {count} folds with {purge} days between train and test")
    edges = [first + before + (days - before) * index // count for index in range(count + 1)]
    folds = []
    for begin, end in itertools.pairwise(edges):
        start = first if scheme == "anchored" else begin - before
        folds.append(Fold((start, begin - purge - 1), (begin, end - 1)))
    return folds
