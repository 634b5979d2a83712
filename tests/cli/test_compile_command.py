"""`gridv4 compile` as a user meets it; what it compiles is tested where it is used."""

import pytest
from in_process import run_inside

import gridv4_bt.cli.compile as module
from gridv4_bt.__main__ import main
from gridv4_bt.compiled import cache_home


def test_every_part_is_compiled_and_it_says_where_it_is_kept(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(module, "PARTS", {name: lambda name=name: called.append(name) for name in module.PARTS})
    done = run_inside(main, "compile", cwd=tmp_path)
    assert (done.returncode, called) == (0, list(module.PARTS))
    assert done.stdout.splitlines() == [*(f"{name}: 0 s" for name in called), f"kept in {cache_home()}"]


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_compiled(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(module, "PARTS", {"nothing": lambda: pytest.fail("compiled")})
    done = run_inside(main, "compile", cwd=tmp_path)
    assert done.returncode == 2
    assert "Not a directory" in done.stderr and "Set XDG_CACHE_HOME to a folder that can be written" in done.stderr


def test_without_numba_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "available", lambda: False)
    done = run_inside(main, "compile", cwd=tmp_path)
    assert done.returncode == 2 and "pip install 'gridstrategy-v4[fast]'" in done.stderr
