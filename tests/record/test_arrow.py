"""Arrow arrays made without `pyarrow.array` hold the same."""

import numpy as np
import pyarrow as pa
import pytest

from gridv4_bt.record.arrow import names, numbers

LOG = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("values", [LOG[:, 1], LOG[1:3, 0], np.arange(5), np.arange(3, dtype=np.uint8), np.empty(0)])
def test_numbers_are_those_of_the_array(values):
    assert numbers(values).equals(pa.array(values))


def test_numbers_share_the_memory_of_an_array_that_is_in_one_piece():
    values = np.arange(3.0)
    found = numbers(values)
    values[1] = 7.0
    assert found.to_pylist() == [0.0, 7.0, 2.0]


@pytest.mark.parametrize("count", [1, 8, 9, 20])
def test_missing_numbers_are_null(count):
    values, missing = np.arange(count), np.arange(count) % 3 == 0
    assert numbers(values, missing=missing).equals(pa.array(values, mask=missing))


def test_times_are_told_by_their_kind():
    kind = pa.timestamp("ms", "UTC")
    assert numbers(np.array([0, 1_704_067_200_000]), kind).equals(pa.array([0, 1_704_067_200_000], kind))


def test_names_stand_for_places():
    assert names(np.array([1, 0, 1]), ["LÄNGE", "B"]).to_pylist() == ["B", "LÄNGE", "B"]
    assert names(np.empty(0, np.int64), ["A"]).to_pylist() == []
