"""What bars.parquet holds of a run comes back as it was, for symbols that differ in what they have."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_runs import closed, placed, record, still_open

from gridv4_bt.core.mixture import STATES
from gridv4_bt.engine.columns import EQUITY_COLUMNS, LOG_COLUMNS
from gridv4_bt.errors import DataError
from gridv4_bt.record.bars import ONCE, SERIES, with_bars, write_bars


def of_text(one):
    """The record as the CSV files of a run give it: no series, no trace, and a log without what equity.csv lacks."""
    log = one.log.copy()
    log[:, [LOG_COLUMNS.index(name) for name in LOG_COLUMNS if name not in EQUITY_COLUMNS]] = np.nan
    nothing = dict.fromkeys(SERIES, np.empty(0))
    return replace(
        one, log=log, ladder=np.empty((0, 0), np.uint8), posteriors=np.empty((0, 5)), open_fills=[], **nothing
    )


@pytest.fixture
def records():
    """One with a mixture and a smaller ladder, one without series, one without a bar."""
    mixed = record([100.0, 101.0, 99.0], ladder=placed(3, 2), trades=[closed()], settled=[0.0, 0.5, 0.0], kelly=0.25)
    mixed = replace(mixed, symbol="AUSDT", posteriors=np.full((3, len(STATES)), 0.2), ticks=[(0, 0.1)], halts=2)
    bare = record([50.0] * 5, ladder=placed(5, 4), open_fills=[still_open(50.0)], notional=7.0)
    bare = replace(bare, symbol="BUSDT", high=np.empty(0), low=np.empty(0), blocked={"regime": 3})
    empty = replace(record([], ladder=placed(1, 2)[:0]), symbol="CUSDT")
    return [mixed, bare, empty]


def test_every_field_comes_back(records, tmp_path):
    write_bars(tmp_path / "bars.parquet", records)
    for one, again in zip(
        records, with_bars([of_text(one) for one in records], tmp_path / "bars.parquet"), strict=True
    ):
        for name in ("log", "ladder", "posteriors", "funding", *SERIES):
            value, expected = getattr(again, name), getattr(one, name)
            if len(expected):
                np.testing.assert_array_equal(value, expected, err_msg=name)
        assert [getattr(again, name) for name in (*ONCE, "ticks")] == [getattr(one, name) for name in (*ONCE, "ticks")]
        assert again.open_fills == one.open_fills


def test_symbols_lie_one_after_another_and_what_one_has_not_is_empty(records, tmp_path):
    write_bars(tmp_path / "bars.parquet", records)
    table = pq.read_table(tmp_path / "bars.parquet")
    assert table["symbol"].to_pylist() == ["AUSDT"] * 3 + ["BUSDT"] * 5
    assert table["level7"].null_count == 3 and table["state0"].null_count == table["high"].null_count == 5


def test_bars_of_another_run_are_refused(records, tmp_path):
    write_bars(tmp_path / "bars.parquet", records)
    other = [replace(of_text(one), log=one.log[:1]) for one in records]
    with pytest.raises(DataError, match="3 bars of AUSDT, equity.csv has 1 of AUSDT"):
        with_bars(other, tmp_path / "bars.parquet")
