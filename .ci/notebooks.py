"""Run the code of every notebook from top to bottom, each in a folder of its own, and say which fails."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_of(path: Path) -> list[str]:
    """Return the code cells of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_notebook(path: Path) -> None:
    """Run the cells one after another in one namespace, in an empty folder beside links to what they use."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place) / "notebooks"
        work.mkdir()
        for name in ("presets", "run_live.py"):
            (Path(place) / name).symlink_to(ROOT / name)
        os.chdir(work)
        names = {"__name__": "__main__"}
        for number, code in enumerate(code_of(path), 1):
            exec(compile(code, f"{path.name}, code cell {number}", "exec"), names)
        os.chdir(ROOT)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)  # for the programs that a notebook starts
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        began = time.monotonic()
        run_notebook(path)
        print(f"{path.name}: {time.monotonic() - began:.1f} s")
