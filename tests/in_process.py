"""A command line run inside the process of the tests: it saves the seconds in which a process loads its libraries."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def run_inside(main: Callable[[], None], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return what a process of its own that runs `main` in the folder `cwd` would: exit code, stdout and stderr."""
    words = ["program", *map(str, arguments)]
    printed, errors, before = io.StringIO(), io.StringIO(), sys.argv
    code = 0
    sys.argv = words
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(words, code, printed.getvalue(), errors.getvalue())
