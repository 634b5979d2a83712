"""`gridv4 backup`, and a session that goes on from one."""

import stat
import sys
import tarfile
from pathlib import Path

import pytest

from gridv4_bt.__main__ import main
from gridv4_bt.live.state import StateFile

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "session-0.1.0.tar.gz"


@pytest.fixture
def backup(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gridv4", "backup", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def state(tmp_path):
    with tarfile.open(SAMPLE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "paper_state"


def test_a_backup_holds_the_state_for_its_owner_alone(backup, state, tmp_path):
    code, out, err = backup("--state-dir", state)
    assert (code, err) == (0, "")
    [made] = (tmp_path / "backups").iterdir()
    assert str(made.name) in out and stat.S_IMODE(made.stat().st_mode) == 0o600
    restored = tmp_path / "restored"
    with tarfile.open(made) as archive:
        archive.extractall(restored, filter="data")
    assert StateFile(restored, "paper").load().content == StateFile(state, "paper").load().content
    assert (restored / "journal.jsonl").read_bytes() == (state / "journal.jsonl").read_bytes()
    assert not (restored / "lock").exists()


def test_of_many_the_newest_are_kept(backup, state, tmp_path):
    (tmp_path / "backups").mkdir()
    for day in ("01", "02", "03"):
        (tmp_path / "backups" / f"paper_state-202401{day}-000000.tar.gz").write_bytes(b"")
    assert backup("--state-dir", state, "--keep", 2)[0] == 0
    names = sorted(path.name for path in (tmp_path / "backups").iterdir())
    assert len(names) == 2 and names[0] == "paper_state-20240103-000000.tar.gz"


def test_a_folder_without_a_state_is_bad_input(backup, tmp_path):
    code, _, err = backup("--state-dir", tmp_path)
    assert code == 2 and "state.json" in err
    assert not (tmp_path / "backups").exists()
