"""state.json and the journal: nothing is lost by a crash, nothing damaged is overwritten."""

import hashlib
import json
import os
import stat

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


def test_it_is_one_document_that_a_strict_parser_reads(tmp_path):
    """Before: a head and the state, two documents, with NaN and Infinity in the second."""
    StateFile(tmp_path, "paper").save({"qty": float("inf"), "low": float("-inf"), "rate": float("nan"), "bot": "g4a"})

    def refuse(name):
        raise ValueError(name)

    document = json.loads((tmp_path / "state.json").read_text(), parse_constant=refuse)
    assert set(document) == {"checksum", "version", "place", "qty", "low", "rate", "bot"}
    assert document["rate"] is None and document["place"] == "paper"
    loaded = StateFile(tmp_path, "paper").load().content
    assert loaded == {"qty": float("inf"), "low": float("-inf"), "rate": None, "bot": "g4a"}


def version_1(folder, content, place="paper"):
    """Write a state as version 1 did."""
    text = json.dumps(content, separators=(",", ":"))
    checksum = hashlib.sha256(text.encode()).hexdigest()
    head = {"version": 1, "place": place, "checksum": checksum}
    (folder / "state.json").write_text(json.dumps(head) + "\n" + text + "\n")


def test_a_state_of_version_1_is_read_and_written_as_one_document(tmp_path):
    content = {"bot": "g4a7f2", "qty": float("inf"), "text": "ü"}
    version_1(tmp_path, content)
    file = StateFile(tmp_path, "paper")
    assert file.peek() == content
    loaded = file.load()
    assert loaded.content == content and not loaded.notices
    file.save(loaded.content)
    assert json.loads((tmp_path / "state.json").read_text())["bot"] == "g4a7f2"
    assert StateFile(tmp_path, "paper").load().content == content
    version_1(tmp_path, content, place="binance")
    assert "belongs to binance" in file.load().notices[0]


def test_a_damaged_state_of_version_1_is_no_foreign_one(tmp_path):
    version_1(tmp_path, {"bot": "g4a7f2", "n": 1})
    path = tmp_path / "state.json"
    path.write_text(path.read_text().replace('"n":1', '"n":2'))
    with pytest.raises(StateError, match="checksum does not match"):
        StateFile(tmp_path, "paper").load()


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


@pytest.mark.parametrize("ask", [StateFile.load, StateFile.peek])
def test_a_state_of_a_newer_version_refuses_the_program_and_stays(ask, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "VERSION", 99)
        StateFile(tmp_path, "paper").save({"n": 1})
    with pytest.raises(StateError, match="newer version of this program .states of version 99, this one knows 2"):
        ask(StateFile(tmp_path, "paper"))
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


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


@settings(max_examples=80)
@given(st.data())
def test_one_damaged_byte_of_the_journal_loses_no_other_record(tmp_path_factory, data):
    """Before: all records after it were gone, without a word."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    journal.write({"orders": [{"id": name, "qty": float("inf")}]} for name in "abcd")
    journal.close()
    path = folder / "journal.jsonl"
    good = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    spoiled = good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
    path.write_bytes(spoiled)
    again = Journal(folder)
    again.write([{"orders": []}])
    again.close()
    found = {record["orders"][0]["id"]: record["n"] for record in again.before}
    assert found.items() <= {"a": 1, "b": 2, "c": 3, "d": 4}.items()
    assert len(found) >= (2 if good[at] == ord("\n") else 3)
    if again.aside is None:
        assert len(found) == 4  # it was in the name of the checksum
    else:
        assert again.aside.read_bytes() == spoiled and again.lost == 1
    assert again.last > 4
    assert all(b"Infinity" not in line.replace(b'"Infinity"', b"") for line in path.read_bytes().splitlines())


def test_a_journal_without_checksums_is_read(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"n":7,"orders":[{"qty":Infinity}]}\n')
    journal = Journal(tmp_path)
    journal.close()
    assert journal.before == [{"n": 7, "orders": [{"qty": float("inf")}]}]
    assert (journal.last, journal.lost, journal.aside) == (7, 0, None)


def test_state_and_journal_are_private(tmp_path):
    StateFile(tmp_path, "paper").save({"n": 1})
    Journal(tmp_path).close()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert files == {"state.json": 0o600, "journal.jsonl": 0o600}
