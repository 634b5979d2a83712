"""Files that their owner alone may read, whatever the rights that new files get."""

import os
import stat

import pytest

from gridv4_bt.live.private_files import write_private


@pytest.fixture
def generous():
    """New files may be read and written by everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous")
def test_a_file_is_private_from_its_first_byte_on(tmp_path):
    path = tmp_path / "config.toml"
    write_private(path, "k = 1\n")
    assert path.read_text() == "k = 1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
