"""A part of the damaged inputs of `reader_fuzz.py`, which runs many more."""

from reader_fuzz import fuzz

from gridv4_bt import config


def test_damaged_inputs_are_read_or_refused_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "PIPE_WAIT", 0.01)
    counts, failures = fuzz(seed=1, inputs=120, folder=tmp_path)
    assert failures == []
    assert counts["read"] > 10 and counts["refused"] > 50
