"""state.json: the state from which a session is restored, even after a kill at any instruction.

A file is never changed in place: the new one is written beside it, flushed to the disk and moved over it, and the
previous one is kept. A damaged or foreign file is renamed, never overwritten; one of an older version is read, one of
a newer version refuses this program.

It is one strict JSON document: ``checksum``, ``version`` and ``place`` beside the keys of the state. The checksum is
that of the document without it, in the shape of `strict_json.dumps`. Version 1 was two documents, the first with
checksum, version and place, the second with the state and numbers that are no JSON (NaN, Infinity).
"""

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridv4_bt.errors import StateError
from gridv4_bt.live import strict_json
from gridv4_bt.live.private_files import private

VERSION = 2
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
        body = strict_json.dumps({"version": VERSION, "place": self._place} | content)
        draft = self._path.with_suffix(".tmp")
        with open(draft, "w", encoding="utf-8", opener=private) as file:
            file.write(f'{{"checksum":"{_checksum(body)}",{body[1:]}\n')
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
            There are states and none of them can be read: positions would be forgotten; or a newer version of this
            program has written one.
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
        """Return the newest readable state, None if there is none; all files stay as they are.

        Raises
        ------
        StateError
            A newer version of this program has written it.
        """
        for path in (self._path, self._previous):
            try:
                return self._read(path)
            except (_Foreign, ValueError, LookupError, TypeError, OSError):
                continue
        return None

    def _read(self, path: Path) -> dict[str, Any]:
        text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
        except ValueError as error:
            head, content = _read_version_1(text, error)
        else:
            if not isinstance(content, dict):
                raise ValueError("it is no JSON object")
            found = content.pop("checksum")
            if found != _checksum(strict_json.dumps(content)):
                raise ValueError("its checksum does not match")
            head = {name: content.pop(name) for name in ("version", "place")}
            _refuse_newer(path, head["version"])
            if head["version"] != VERSION:
                raise _Foreign(f"is of version {head['version']}, this program writes {VERSION}")
            content = strict_json.restored(content)
        if head["place"] != self._place:
            raise _Foreign(f"belongs to {head['place']}, not to {self._place}")
        state: dict[str, Any] = content
        return state


def _refuse_newer(path: Path, version: object) -> None:
    """Refuse a state of a later version, which has the same checksum; set aside, its positions would be forgotten."""
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"{path} was written by a newer version of this program (states of version {version}, this one knows "
            f"{VERSION}): update gridstrategy-v4, or name another --state-dir, which takes over what the account holds"
        )


def _read_version_1(text: str, error: ValueError) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return head and content of a state of version 1; `error` says why it is none of a later version."""
    first, _, rest = text.partition("\n")
    try:
        head = json.loads(first)
        if head["version"] != 1:
            raise error
    except (ValueError, LookupError, TypeError):
        raise error from None
    body = rest.removesuffix("\n")
    if head["checksum"] != _checksum(body):
        raise ValueError("its checksum does not match")
    content: dict[str, Any] = json.loads(body)
    return head, content


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
    aside = unused(path.with_name(f"{path.stem}.{why}-{_stamp()}{path.suffix}"))
    os.replace(path, aside)
    return aside


def keep_damaged(path: Path) -> Path:
    """Copy a damaged file aside, before what can be read of it is written anew; return the copy."""
    aside = unused(path.with_name(f"{path.name}.damaged-{_stamp()}"))
    shutil.copy2(path, aside)
    return aside


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())
