"""A few random parameter sets traded in Backtrader, in the kernel and live; `parity_fuzz.py` runs many more."""

import logging
from random import Random

import pytest
import random_sets
from parity_fuzz import Compared, compare_cuts, compare_kernel, compare_live, compare_wallet, random_set
from random_sets import CAPS, CHOICES, DEFINED, MULTIPLES, RANGES, moved_set

from gridv4_bt.config import GridConfig

SEED = 7


@pytest.fixture(params=["real markets", "busy market"])
def markets(request, monkeypatch):
    """Stretches of real markets, or of the busy one as where there are none."""
    if request.param == "busy market":
        monkeypatch.setattr(random_sets, "IS_REAL", False)
    elif not random_sets.IS_REAL:
        pytest.skip(f"no shared data at {random_sets.SHARED}")


def test_every_parameter_is_drawn():
    assert {*RANGES, *CHOICES, *MULTIPLES, *CAPS, "spread_sigmas"} == GridConfig.model_fields.keys() - {"intrabar"}
    one, other = (random_set(Random(number)).model_dump() for number in (1, 2))
    assert sum(one[name] != other[name] for name in one) > 60


def test_every_number_of_the_definition_is_moved():
    values = moved_set(Random(1)).model_dump()
    assert len(DEFINED) == 23
    assert all(values[name] != given for name, given in DEFINED.items())


def test_random_sets_are_the_same_in_backtrader_and_in_the_kernel(markets):
    pytest.importorskip("numba")
    compared = Compared()
    for number in range(12):
        compare_kernel(SEED, number, compared, regime=("kama", "none")[number % 3 == 2])
    assert compared.sets == 12 and compared.fills > 300
    assert len(compared.closings) > 6


def test_random_sets_over_several_symbols_in_one_wallet_are_the_same_in_both(markets):
    pytest.importorskip("numba")
    compared = Compared()
    for number in range(2):
        compare_wallet(SEED, number, compared)
    assert compared.fills > 20


def test_a_random_set_is_the_same_live(markets):
    pytest.importorskip("aiohttp")
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    compared = Compared()
    compare_live(SEED, 0, compared, bars=40, regime="none")
    assert compared.fills > 4


@pytest.mark.skipif(not random_sets.IS_REAL, reason="no real market data")
def test_liquidations_are_the_same_live():
    pytest.importorskip("aiohttp")
    logging.getLogger("gridv4.live").setLevel(logging.CRITICAL)
    compared = Compared()
    compare_live(
        1, 126, compared, bars=40
    )  # after the first the wallet bears only orders of the few units that are left
    assert compared.others["liquidations"] == 2


def test_a_cut_changes_no_decision_with_every_number_of_the_definition_moved(markets):
    runs = compare_cuts(SEED, 0)
    assert len(runs) == 10 and sum(run.bars for run in runs) > 3_000
    assert [run.difference for run in runs] == [None] * 10
