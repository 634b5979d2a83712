"""The numbers and defaults that the steps' records begin with."""

import math

import pytest

from gridv4_bt.config import GridConfig
from gridv4_bt.engine import state
from gridv4_bt.engine.state import REGIMES, STOPS_KEPT, BookState, Kelly, LegState, Memory, Now, new_records

#: What a record does not begin with 0.
NOT_ZERO = {
    Now: {},
    Memory: {"alone": 1, "stop_bars": [0] * STOPS_KEPT, "funding_rate": math.nan, "min_distance": math.inf},
    LegState: {"sign": 1, "exit_slack": -1.0},
    Kelly: {"multiplier": 1.0},
    BookState: {"has_bar": 1, "orders_changed": 1},
}


@pytest.mark.parametrize("record", NOT_ZERO)
def test_records_begin_at_zero_but_for_these(record):
    made, [row] = record(), new_records(record, 1)
    for name in record.__slots__:
        value = NOT_ZERO[record].get(name, 0)
        if isinstance(value, list):
            assert getattr(made, name) == row[name].tolist() == value, name
            continue
        assert getattr(made, name) == value or (math.isnan(value) and math.isnan(getattr(made, name))), name
        assert row[name] == value or (math.isnan(value) and math.isnan(row[name])), name


def test_numbers_of_regime_sources_are_their_places():
    names = [REGIMES[number] for number in (state.NO_REGIME, state.KAMA_REGIME, state.GMM_REGIME)]
    assert names == ["none", "kama", "gmm"]


def test_as_many_stops_are_kept_as_the_cooldown_may_ask_for():
    most = next(limit.le for limit in GridConfig.model_fields["cooldown_stops"].metadata if hasattr(limit, "le"))
    assert most + 1 == STOPS_KEPT


def test_a_leg_begins_without_a_stop():
    assert math.isnan(state.NO_STOP)
