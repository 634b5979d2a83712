import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gridv4_bt.optimise.folds import Fold, walk_forward_folds


def test_anchored_folds_by_hand():
    # 20 days, 10 of them before the first test, of which 2 are purged.
    assert walk_forward_folds(100, 119, 2, "anchored") == [Fold((100, 107), (110, 114)), Fold((100, 112), (115, 119))]


def test_rolling_folds_keep_the_length_of_the_first():
    assert walk_forward_folds(100, 119, 2, "rolling") == [Fold((100, 107), (110, 114)), Fold((105, 112), (115, 119))]


@given(
    st.integers(0, 20_000), st.integers(1, 2_000), st.integers(1, 10), st.sampled_from(["anchored", "rolling"]),
    st.integers(0, 5), st.floats(0.2, 0.8),
)  # fmt: skip
def test_no_test_day_is_trained_on_and_every_one_is_tested_once(first, days, count, scheme, purge, share):
    last = first + days - 1
    try:
        folds = walk_forward_folds(first, last, count, scheme, purge, share)
    except ValueError:
        assume(False)
    assert len(folds) == count
    tested = [day for fold in folds for day in range(fold.test[0], fold.test[1] + 1)]
    assert tested == list(range(first + int(days * share), last + 1))
    for fold in folds:
        assert first <= fold.train[0] <= fold.train[1]
        assert fold.test[0] - fold.train[1] == purge + 1
    lengths = [fold.train[1] - fold.train[0] for fold in folds]
    assert lengths == sorted(lengths) if scheme == "anchored" else len(set(lengths)) == 1


@pytest.mark.parametrize(("days", "count"), [(1, 1), (4, 1), (10, 6), (30, 0)])
def test_too_few_days_are_refused(days, count):
    with pytest.raises(ValueError, match="too few"):
        walk_forward_folds(0, days - 1, count, "anchored")
