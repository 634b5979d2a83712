"""Where a run may be written."""

import os
from pathlib import Path

import pytest

from gridv4_bt.errors import ConfigError
from gridv4_bt.report.run_folder import RUN_FILES, SUMMARY_FILE, check_folder, target_folder


def test_a_new_and_an_empty_folder_are_taken(tmp_path):
    check_folder(tmp_path / "a" / "b", RUN_FILES, SUMMARY_FILE)
    check_folder(tmp_path, RUN_FILES, SUMMARY_FILE)


def test_a_finished_run_is_replaced_by_force_alone(tmp_path):
    (tmp_path / SUMMARY_FILE).write_text("{}")
    with pytest.raises(ConfigError, match="holds a finished run; name another folder, or replace it with --force"):
        check_folder(tmp_path, RUN_FILES, SUMMARY_FILE)
    check_folder(tmp_path, RUN_FILES, SUMMARY_FILE, force=True)


def test_files_that_a_run_would_replace_are_replaced_by_force_alone(tmp_path):
    (tmp_path / "config.toml").write_text("levels = 6  # mine\n")
    with pytest.raises(ConfigError, match="holds config.toml already; name another folder, or replace it with --force"):
        check_folder(tmp_path, RUN_FILES, SUMMARY_FILE)
    check_folder(tmp_path, RUN_FILES, SUMMARY_FILE, force=True)


def test_a_folder_with_other_files_is_refused_by_force_too(tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ConfigError, match=r"holds other files \(thesis\.txt\)"):
        check_folder(tmp_path, RUN_FILES, SUMMARY_FILE, force=True)


def test_a_file_and_what_is_below_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="file is no folder that can be written"):
        check_folder(tmp_path / "file" / "run")


def test_a_path_is_resolved_before_it_is_judged(tmp_path, monkeypatch):
    """p/new/.. is p, also while p/new is not there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("")
    assert target_folder(Path("p/new/..")) == tmp_path / "p"
    assert target_folder(Path("p/run")) == Path("p/run")
    with pytest.raises(ConfigError, match="holds other files"):
        check_folder(target_folder(Path("p/new/..")))


@pytest.mark.parametrize("path", ["a\0b", "x" * 5_000])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigError, match=r"--out .* cannot be a folder"):
        target_folder(Path(path))


def test_a_loop_of_links_is_refused(tmp_path):
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    with pytest.raises(ConfigError):
        check_folder(target_folder(tmp_path / "loop" / ".." / "loop" / "run"))
