"""Files that only their owner may read: a state directory shows what an account holds, ``.env`` its key."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

_PRIVATE = 0o600
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private(path: str | Path, flags: int) -> int:
    """Open a file, readable by its owner alone if it is new; an `opener` of `open`."""
    return os.open(path, flags, _PRIVATE)


def write_private(path: Path, text: str) -> None:
    """Write a text file that its owner alone may read."""
    with open(path, "w", encoding="utf-8", opener=private) as file:
        file.write(text)


def make_private(paths: Iterable[Path]) -> list[Path]:
    """Take the rights of others away from files; return those that stay readable or writable by others."""
    left = []
    for path in paths:
        if is_open_to_others(path):
            try:
                path.chmod(_PRIVATE)
            except OSError:
                left.append(path)
                continue
            if is_open_to_others(path):  # a file system without rights
                left.append(path)
    return left


def is_open_to_others(path: Path) -> bool:
    """Return whether others than the owner may read or write an existing file."""
    if os.name == "nt":  # rights are lists there, and a user's folders are private
        return False
    try:
        return bool(path.stat().st_mode & _OF_OTHERS)
    except OSError:
        return False
