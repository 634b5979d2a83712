"""Laws that hold after any call; `fuzz.py` runs as a program over as many seeds as wanted."""

import pytest
from fuzz import Fuzz


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_calls_break_no_law_and_restarts_change_nothing(seed):
    first = Fuzz(seed).run(150)
    again = Fuzz(seed, restarts=True).run(150)
    assert len(first.rest.exchange.ledger.trades) > 10
    assert first.digest() == again.digest()


def test_another_seed_is_another_ledger():
    assert Fuzz(1).run(60).digest() != Fuzz(2).run(60).digest()
