"""state.json and the journal: nothing is lost by a crash, nothing damaged is overwritten."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridv4_bt.errors import StateError
from gridv4_bt.live import state as module
from gridv4_bt.live.journal import Journal
from gridv4_bt.live.state import StateFile


class Crash(Exception):
    pass


def records(folder) -> list[dict]:
    """Return what a new session finds in the journal."""
    journal = Journal(folder)
    journal.close()
    return journal.before


def test_what_is_saved_is_loaded(tmp_path):
    file = StateFile(tmp_path, "paper")
    assert file.load().content is None
    content = {"a": 1, "b": [0.1, float("inf"), "ü"]}
    file.save(content)
    assert StateFile(tmp_path, "paper").load().content == content
    assert not file.load().notices


@pytest.mark.parametrize("step", ["fsync", "unlink", "link", "replace", "sync_folder"])
def test_a_crash_at_any_step_leaves_the_old_state_or_the_new_one(tmp_path, monkeypatch, step):
    file = StateFile(tmp_path, "paper")
    file.save({"n": 1})
    file.save({"n": 2})

    def crash(*args, **kwargs):
        raise Crash

    with monkeypatch.context() as patch:
        if step == "sync_folder":
            patch.setattr(module, "sync_folder", crash)
        elif step == "unlink":
            patch.setattr(module.Path, "unlink", crash)
        else:
            patch.setattr(os, step, crash)
        with pytest.raises(Crash):
            file.save({"n": 3})
    loaded = StateFile(tmp_path, "paper").load()
    assert loaded.content["n"] in (2, 3) and not loaded.notices
    file.save({"n": 4})
    assert StateFile(tmp_path, "paper").load().content == {"n": 4}


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_state_is_set_aside_and_the_one_before_is_used(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("state")
    file = StateFile(folder, "paper")
    file.save({"n": 1, "text": "before"})
    file.save({"n": 2, "text": "after"})
    path = folder / "state.json"
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 2))
    spoiled = good[:at] if data.draw(st.booleans()) else good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    path.write_bytes(spoiled)
    loaded = StateFile(folder, "paper").load()
    assert loaded.content in ({"n": 1, "text": "before"}, None)
    aside = [one for one in folder.iterdir() if "damaged" in one.name or "foreign" in one.name]
    assert [one.read_bytes() for one in aside] == [spoiled]
    assert loaded.notices and aside[0].name in loaded.notices[0]


def test_without_any_good_state_nothing_is_started(tmp_path):
    file = StateFile(tmp_path, "paper")
    file.save({"n": 1})
    file.save({"n": 2})
    for name in ("state.json", "state.previous.json"):
        (tmp_path / name).write_text("rubbish")
    with pytest.raises(StateError, match="No good state is left"):
        StateFile(tmp_path, "paper").load()


def test_a_state_of_another_place_is_set_aside(tmp_path):
    StateFile(tmp_path, "binance").save({"n": 1})
    loaded = StateFile(tmp_path, "paper").load()
    assert loaded.content is None
    assert "belongs to binance, not to paper" in loaded.notices[0]
    assert any("foreign" in path.name for path in tmp_path.iterdir())


def test_a_state_of_another_version_is_set_aside(tmp_path):
    StateFile(tmp_path, "paper").save({"n": 1})
    path = tmp_path / "state.json"
    head, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps(json.loads(head) | {"version": 99}) + "\n" + rest)
    loaded = StateFile(tmp_path, "paper").load()
    assert loaded.content is None and "version 99" in loaded.notices[0]


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    file = StateFile(tmp_path, "paper")
    file.save({"n": 1})

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            file.save({"n": 2})
    assert file.load().content == {"n": 1}


def test_the_journal_numbers_its_records_through_all_sessions(tmp_path):
    journal = Journal(tmp_path)
    journal.write([{"orders": ["a"]}, {"orders": ["b"]}])
    journal.close()
    again = Journal(tmp_path)
    assert [record["n"] for record in again.before] == [1, 2]
    again.write([{"orders": ["c"]}])
    again.close()
    assert [record["orders"] for record in records(tmp_path)] == [["a"], ["b"], ["c"]]


def test_a_record_that_a_crash_cut_in_two_is_none(tmp_path):
    journal = Journal(tmp_path)
    journal.write([{"orders": ["a"]}])
    journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"n":2,"orders":["b')
    again = Journal(tmp_path)
    assert [record["n"] for record in again.before] == [1]
    again.write([{"orders": ["c"]}])
    again.close()
    assert [record["orders"] for record in records(tmp_path)] == [["a"], ["c"]]


def test_a_record_is_on_the_disk_before_write_returns(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), sync(handle)))
    journal.write([{"orders": []}])
    assert journal._file.fileno() in synced
    journal.close()


def test_what_the_state_knows_is_dropped_once_the_journal_is_large(tmp_path):
    journal = Journal(tmp_path)
    journal.write({"orders": ["x" * 1000]} for _ in range(1100))
    journal.forget_until(1099)
    journal.write([{"orders": ["y"]}])
    journal.close()
    assert [record["n"] for record in records(tmp_path)] == [1100, 1101]
