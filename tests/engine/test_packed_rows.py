"""Packed rows read like the array of the same rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gridv4_bt.engine.packed_rows as module
from gridv4_bt.engine.packed_rows import PackedRows

BLOCK = 5


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", BLOCK)
        yield


def made(rows: np.ndarray) -> PackedRows:
    """The rows appended one by one."""
    packed = PackedRows(rows.shape[1], rows.dtype)
    for row in rows:
        packed.append(row.tobytes())
    return packed


def random_rows(rows: int, width: int = 3, kind: type = np.float64, seed: int = 0) -> np.ndarray:
    """Numbers of every kind that a log has: changing, standing still, infinite, missing, and both zeros."""
    draw = np.random.default_rng(seed)
    if kind is np.uint8:
        return draw.integers(0, 256, (rows, width), np.uint8)
    return draw.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-300, *draw.normal(size=4)], (rows, width))


bounds = st.one_of(st.none(), st.integers(-20, 20))


@given(
    rows=st.integers(0, 18), width=st.integers(1, 4), kind=st.sampled_from([np.float64, np.uint8]),
    begin=bounds, end=bounds, step=st.sampled_from([None, 1, 2, -1]), columns=st.tuples(bounds, bounds),
)  # fmt: skip
def test_any_rows_and_columns_are_those_of_the_array(rows, width, kind, begin, end, step, columns):
    expected = random_rows(rows, width, kind)
    packed = made(expected)
    for key in (
        slice(begin, end, step),
        (slice(begin, end, step), width - 1),
        (slice(begin, end), slice(*columns)),
        (slice(None), -1),
    ):
        assert packed[key].tobytes() == expected[key].tobytes() and packed[key].shape == expected[key].shape
    assert (packed.shape, packed.size, len(packed)) == (expected.shape, expected.size, rows)
    assert np.asarray(packed).tobytes() == expected.tobytes() == packed.tobytes()
    assert pickle.loads(pickle.dumps(packed)).tobytes() == expected.tobytes()


@given(sizes=st.lists(st.integers(0, 13), max_size=5))
def test_rows_appended_together_are_as_those_appended_one_by_one(sizes):
    parts = [random_rows(size, seed=size) for size in sizes]
    packed = PackedRows(3)
    for part in parts:
        packed.extend(part)
    whole = np.concatenate([np.empty((0, 3)), *parts])
    assert packed.tobytes() == made(whole).tobytes() == whole.tobytes()


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_the_last_row_can_be_read_and_replaced_wherever_it_lies(rows):
    expected = random_rows(rows)
    packed = made(expected)
    assert packed.last().tobytes() == expected[-1].tobytes()
    expected[-1] = 7.0
    packed.replace_last(expected[-1].tobytes())
    assert packed.tobytes() == expected.tobytes()
    packed.append(expected[0].tobytes())
    assert packed[:-1].tobytes() == expected.tobytes()


def test_single_rows_and_lists_of_rows_are_read_as_of_an_array():
    expected = random_rows(13)
    packed = made(expected)
    for key in (
        0, -1, 12, np.int64(7), (4, 1), (-2, slice(1, None)), (3, [2, 0]), (5, None), [3, 1, 11],
        np.arange(13) % 2 == 0, ([1, 12], [0, 2]), True,
    ):  # fmt: skip
        assert packed[key].tobytes() == expected[key].tobytes() and packed[key].shape == expected[key].shape
    for missing in (13, -14, (0, 3)):
        with pytest.raises(IndexError):
            packed[missing]


@pytest.mark.parametrize("rows", [0, 3, BLOCK, 13])
def test_rows_come_one_after_another(rows):
    expected = random_rows(rows)
    packed = made(expected)
    assert [row.tobytes() for row in packed] == [row.tobytes() for row in expected]
    frame = pd.DataFrame(packed)
    assert frame.to_numpy().tobytes() == expected.tobytes()
    frame[0] = 7.0
    assert packed.tobytes() == expected.tobytes()


def test_rows_that_are_read_one_by_one_do_not_unpack_the_others(monkeypatch):
    packed, unpacked = made(random_rows(13)), []
    column = packed._column
    monkeypatch.setattr(packed, "_column", lambda content: unpacked.append(content) or column(content))
    assert len(list(packed)) == 13 and len(unpacked) == 2 * 3  # three columns of two blocks
    unpacked.clear()
    packed[-1], packed[12, 2]
    assert len(unpacked) == 0
    packed[7]
    assert len(unpacked) == 3


@pytest.mark.parametrize("rows", [0, 3, 13])
def test_columns_are_chosen_in_every_way_in_which_those_of_an_array_are(rows):
    expected = random_rows(rows, 4)
    packed = made(expected)
    every = slice(None)
    for key in (
        (every, [2, 0]), (every, np.array([1, 3])), (every, np.arange(4) < 2), (every, slice(None, None, -1)),
        (slice(1, 12), slice(3, 0, -2)), (every, np.int64(2)), (every, ...), (..., 1), (every, None), (every, None, 1),
        (every,), (),
    ):  # fmt: skip
        assert packed[key].tobytes() == expected[key].tobytes() and packed[key].shape == expected[key].shape


def test_what_is_read_cannot_be_written_to_by_mistake():
    with pytest.raises(ValueError, match="read-only"):
        made(random_rows(3))[:, 1][0] = 1.0


def test_they_are_computed_with_and_compared_as_arrays_are():
    expected, other = random_rows(13, kind=np.uint8), random_rows(13, kind=np.uint8, seed=1)
    packed = made(expected)
    np.testing.assert_array_equal(packed % 4, expected % 4)
    np.testing.assert_array_equal(other - packed, other - expected)
    np.testing.assert_array_equal(packed > 100, expected > 100)
    np.testing.assert_array_equal(packed == made(other), expected == other)
    assert np.all(packed == made(expected)) and not np.all(packed != packed)
    assert np.add.reduce(packed, axis=0).tolist() == np.sum(packed, axis=0).tolist() == expected.sum(axis=0).tolist()
    found = np.empty_like(expected)
    assert np.subtract(packed, other, out=found) is found and np.array_equal(found, expected - other)
    with pytest.raises(TypeError):
        packed += 1
    assert packed.tobytes() == expected.tobytes()


def test_a_copy_asked_for_can_be_written_to_and_changes_no_row():
    expected = random_rows(13)
    packed = made(expected)
    for copy in (np.array(packed), np.array(packed, np.float32), np.array(packed, copy=True)):
        copy[:] = 7.0
    assert packed.tobytes() == expected.tobytes()
    assert np.array(packed, np.float32).dtype == np.asarray(packed, np.float32).dtype == np.float32


def test_rows_cannot_be_read_without_a_copy():
    with pytest.raises(ValueError, match="without a copy"):
        np.array(made(random_rows(13)), copy=False)


def test_columns_that_stand_still_for_a_while_take_next_to_no_memory(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2048)
    bars = np.arange(40_961.0)  # whole blocks, and a row
    price = 100.0 + np.cumsum(np.random.default_rng(1).normal(size=len(bars)))
    rows = np.column_stack([price, np.floor(bars / 50), np.floor(bars / 900), np.zeros(len(bars))])
    packed = made(rows)
    assert len(pickle.dumps(packed)) < 0.27 * rows.nbytes  # one of the four changes all the time
    assert packed.tobytes() == rows.tobytes()
