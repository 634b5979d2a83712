"""state.json: the state from which a session is restored, even after a kill at any instruction.

A file is never changed in place: the new one is written beside it, flushed to the disk and moved over it, and the
previous one is kept. A damaged or foreign file is renamed, never overwritten.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridv4_bt.errors import StateError

VERSION = 1
NAME, PREVIOUS = "state.json", "state.previous.json"


@dataclass(frozen=True)
class Loaded:
    """The state found in a state directory."""

    content: dict[str, Any] | None  #: None without a usable state
    notices: tuple[str, ...]  #: messages for a person


class StateFile:
    """The state files of one bot.

    Parameters
    ----------
    folder : the state directory; it must exist.
    place : name of the gateway, such as ``paper`` or a host name; a state of another one is foreign.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self._folder = folder
        self._place = place
        self._path = folder / NAME
        self._previous = folder / PREVIOUS

    def save(self, content: dict[str, Any]) -> None:
        """Replace the state; after a crash either the old or the new one is there, complete.

        Raises
        ------
        OSError
            The disk is full or gone; the previous state is untouched.
        """
        text = json.dumps(content, allow_nan=True, separators=(",", ":"))
        head = {"version": VERSION, "place": self._place, "checksum": _checksum(text)}
        draft = self._path.with_suffix(".tmp")
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head) + "\n" + text + "\n")
            file.flush()
            os.fsync(file.fileno())
        if self._path.exists():
            self._previous.unlink(missing_ok=True)
            os.link(self._path, self._previous)
        os.replace(draft, self._path)
        sync_folder(self._folder)

    def load(self) -> Loaded:
        """Return the newest readable state; set damaged and foreign ones aside.

        Raises
        ------
        StateError
            There are states and none of them can be read: positions would be forgotten.
        """
        damaged: dict[Path, Exception] = {}
        for path in (self._path, self._previous):
            if not path.exists():
                continue
            content, foreign = None, ""
            try:
                content = self._read(path)
            except _Foreign as error:
                foreign = str(error)
            except (ValueError, LookupError, TypeError, OSError) as error:
                damaged[path] = error
                continue
            notices = [
                f"{one.name} is damaged ({error}); it is set aside as {_set_aside(one, 'damaged').name}"
                for one, error in damaged.items()
            ]
            if foreign:
                aside = _set_aside(path, "foreign")
                self._previous.unlink(missing_ok=True)
                notices.append(f"{path.name} {foreign}; it is set aside as {aside.name} and this session starts anew")
            return Loaded(content, tuple(notices))
        if damaged:
            what = "; ".join(f"{path.name} is damaged ({error})" for path, error in damaged.items())
            raise StateError(
                f"{self._folder}: {what}. No good state is left: look at the exchange, then start with a new "
                "--state-dir, which takes over what the account holds."
            )
        return Loaded(None, ())

    def peek(self) -> dict[str, Any] | None:
        """Return the newest readable state, None if there is none; all files stay as they are."""
        for path in (self._path, self._previous):
            try:
                return self._read(path)
            except (_Foreign, ValueError, LookupError, TypeError, OSError):
                continue
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        head = json.loads(first)
        text = rest.removesuffix("\n")
        if head["version"] != VERSION:
            raise _Foreign(f"is of version {head['version']}, this program writes {VERSION}")
        if head["checksum"] != _checksum(text):
            raise ValueError("its checksum does not match")
        if head["place"] != self._place:
            raise _Foreign(f"belongs to {head['place']}, not to {self._place}")
        content: dict[str, Any] = json.loads(text)
        return content


class _Foreign(Exception):
    pass


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a move survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unused(path: Path) -> Path:
    """Return the path, with a number added if it exists."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def _set_aside(path: Path, why: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = unused(path.with_name(f"{path.stem}.{why}-{stamp}.json"))
    os.replace(path, aside)
    return aside
