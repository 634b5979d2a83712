"""The state directory: one bot works in it, and nobody else reads it."""

import logging
import os
import stat

import pytest
from live_market import InProcess

from gridv4_bt.errors import ConfigError, LiveError
from gridv4_bt.live.folder_lock import FolderLock
from gridv4_bt.live.keys import read_settings


def test_removing_the_lock_file_lets_no_second_bot_in(market):
    """Before: after `rm lock` both worked in the directory."""
    scene = market(bars=6)
    with InProcess(scene.api) as server:
        with scene.session(server.url, 3) as first:
            (scene.folder / "lock").unlink()
            with pytest.raises(ConfigError, match="another bot works here"), scene.session(server.url):
                pass
            (scene.folder / "lock").unlink(missing_ok=True)
            first.run()
            assert first.bars == 3
        with scene.session(server.url, 1) as later:
            later.run()


def test_a_refused_start_leaves_no_lock_behind(tmp_path):
    first = FolderLock(tmp_path)
    with pytest.raises(ConfigError):
        FolderLock(tmp_path)
    first.release()
    FolderLock(tmp_path).release()


def test_a_bot_whose_directory_was_replaced_stops(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    lock = FolderLock(folder)
    lock.check()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(LiveError, match="removed or replaced"):
        lock.check()
    folder.mkdir()
    with pytest.raises(LiveError, match="removed or replaced"):
        lock.check()
    lock.release()


def test_every_file_of_a_state_directory_is_private(market):
    scene = market(bars=6)
    scene.folder.mkdir()
    old = scene.folder / "events.jsonl.1"
    old.write_text("{}\n")
    old.chmod(0o644)
    umask = os.umask(0o022)
    try:
        scene.live()
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in scene.folder.iterdir()}
    assert set(modes.values()) == {0o600} and len(modes) > 10, modes


def test_files_that_others_can_read_and_stay_so_are_named(market, monkeypatch):
    scene = market(bars=6)
    scene.folder.mkdir()
    (scene.folder / "config.toml").write_text("")
    (scene.folder / "config.toml").chmod(0o644)

    def not_ours(path, mode):
        raise PermissionError(1, "Operation not permitted")

    with InProcess(scene.api) as server:
        monkeypatch.setattr("pathlib.Path.chmod", not_ours)
        with scene.session(server.url, 1):
            pass
    assert any("not private" in alert and "config.toml" in alert for alert in scene.alerts)


@pytest.mark.parametrize(("mode", "said"), [(0o644, True), (0o640, True), (0o600, False)])
def test_an_env_file_that_others_can_read_is_named_once(tmp_path, monkeypatch, caplog, mode, said):
    path = tmp_path / ".env"
    path.write_text("GRIDV4_SOMETHING=x\n")
    path.chmod(mode)
    monkeypatch.setattr(logging.getLogger("gridv4.live"), "propagate", True)
    with caplog.at_level("WARNING", "gridv4.live"):
        assert read_settings(tmp_path, "GRIDV4_SOMETHING") == ["x"]
        read_settings(tmp_path, "GRIDV4_SOMETHING")
    words = [record.getMessage() for record in caplog.records]
    assert [("chmod 600" in text) for text in words] == ([True] if said else [])
