"""Try an installed wheel in a folder that has packages of our names; print each try with its time.

    own_packages.py BIN

BIN is the folder of the installed `gridv4` and its python. The commands take our packages; a script whose folder has
one of the names without __init__.py imports both; one that meets another package is told which and what to do.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("brokers", "feeds", "presets", "strategies")
COMMANDS = (
    "gridv4 config show --changed",
    "gridv4 backtest --config busy --to 2024-01-10 --no-report --out runs/a",
    "gridv4 live --paper --config busy --days 1",
    "gridv4 audit --state-dir data/paper_state",
)


def tried(binaries: Path, words: list[str], folder: Path, code: int, text: str) -> bool:
    """Run a command in a folder; return whether it ended with that code and said that text."""
    began = time.monotonic()
    done = subprocess.run(
        [binaries / words[0], *words[1:]], check=False, cwd=folder, capture_output=True, text=True, timeout=120
    )
    passed = done.returncode == code and text in done.stdout + done.stderr
    print(f"{time.monotonic() - began:6.1f} s  {'ok' if passed else 'FAILED'}  {shlex.join(words)}", flush=True)
    if not passed:
        print(done.stdout[-1_000:], done.stderr[-2_000:])
    return passed


def main(binaries: Path) -> int:
    """Return how many tries have failed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in NAMES:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
        passed = [tried(binaries, shlex.split(line), folder, 0, "") for line in COMMANDS]
        (folder / "script.py").write_text("from gridv4_bt.api import backtest\n")
        passed.append(
            tried(binaries, ["python", "script.py"], folder, 1, "is in the place of GridStrategyV4's package")
        )
        for name in NAMES:
            (folder / name / "__init__.py").unlink()
            (folder / name / "mine.py").write_text("NAME = 'mine'\n")
        (folder / "own.py").write_text(
            "from strategies.grid_v4 import GridStrategyV4\nfrom strategies.mine import NAME\nprint(NAME)\n"
        )
        passed.append(tried(binaries, ["python", "own.py"], folder, 0, "mine"))
    return passed.count(False)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
