"""A folder with packages of our names: commands work in it, a user's strategies import, a script is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(words, folder, **variables):
    environment = os.environ | variables
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def crowded(tmp_path):
    """A folder in which every name of ours is taken."""
    for name in ("brokers", "feeds", "presets", "strategies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    return tmp_path


def test_a_command_takes_our_packages(crowded):
    # `python -m` puts the working folder first on the path.
    done = run([sys.executable, "-m", "gridv4_bt", "regimes", "--help"], crowded, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    done = run([sys.executable, "-m", "gridv4_bt", "params", "levels", "--json"], crowded, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_that_meets_another_package_is_told(crowded):
    (crowded / "mine.py").write_text("from gridv4_bt.api import backtest\n")
    done = run([sys.executable, "mine.py"], crowded, PYTHONPATH=str(ROOT))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {crowded / 'brokers' / '__init__.py'} is in the place of GridStrategyV4's")


@pytest.mark.parametrize("files", [["mine.py"], ["mine.py", "__init__.py"]], ids=["folder", "package behind ours"])
def test_strategies_of_a_user_import_beside_ours(files, tmp_path):
    (tmp_path / "strategies").mkdir()
    for name in files:
        (tmp_path / "strategies" / name).write_text("NAME = 'mine'\n")
    code = "from strategies.grid_v4 import GridStrategyV4; from strategies.mine import NAME; print(NAME)"
    done = run([sys.executable, "-c", code], ROOT, PYTHONPATH=os.pathsep.join((str(ROOT), str(tmp_path))))
    assert (done.stdout, done.stderr) == ("mine\n", "")
