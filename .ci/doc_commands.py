"""Run the commands of the pages for a new user, from an installed wheel, in an empty folder; print each with its time.

    doc_commands.py GRIDV4 PAGE...

GRIDV4 is the installed command. The commands of a page run in its order, all in one folder.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def commands(page: Path) -> list[list[str]]:
    """Return the lines of a page's plain code blocks that begin with gridv4, as words."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    blocks = [text for language, text in found if not language]
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words for words in lines if words[:1] == ["gridv4"]]


def run(program: str, pages: list[Path]) -> int:
    """Run all commands and return how many have failed; that a session is over is no failure of `gridv4 status`."""
    failed = 0
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | nowhere | {"XDG_CACHE_HOME": f"{folder}/.cache"}
        environment.pop("PYTHONPATH", None)
        for page in pages:
            for words in commands(page):
                began = time.monotonic()
                done = subprocess.run(
                    [program, *words[1:]], check=False, cwd=folder, env=environment, capture_output=True, text=True
                )
                allowed = (0, 1) if words[1] == "status" else (0,)
                print(
                    f"{time.monotonic() - began:6.1f} s  {done.returncode}  {page.name}: {shlex.join(words)}",
                    flush=True,
                )
                if done.returncode not in allowed:
                    failed += 1
                    print(done.stdout[-1_000:], done.stderr[-2_000:])
            Path(folder, "gridv4.toml").unlink(missing_ok=True)  # a page begins without settings
    return failed


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], [Path(name).resolve() for name in sys.argv[2:]]))
