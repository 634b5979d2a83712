"""The files of commands to a bot: the desk writes ``commands/ID.json``, the bot ``commands/ID.answer.json``.

It imports little, because the desk is to stay small.
"""

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.private_files import private
from gridv4_bt.live.state import sync_folder

FOLDER = "commands"
ACCOUNT = "account"  #: the scope of the whole bot
ANSWER = ".answer.json"  #: how the name of an answer ends
_LARGEST = 4_096  # bytes of a command
ID = re.compile(r"[0-9a-z-]{8,64}")  #: of a command


class Action(StrEnum):
    """What a person may ask of a bot."""

    PAUSE = "pause"  #: no entries; exits and stops stay
    RESUME = "resume"
    TAKE_OUT = "take_out"  #: pause of a symbol for good: only resuming this very symbol lifts it
    FLATTEN = "flatten"  #: close what is held at market, and pause
    CANCEL = "cancel"  #: cancel the entries; the next decision places them anew, unless they are paused
    RESYNC = "resync"  #: read orders and trades again, compare the positions, and place what is missing


@dataclass(frozen=True)
class Command:
    """One command."""

    id: str
    action: Action
    scope: str  #: `ACCOUNT`, a symbol, or a symbol and LONG or SHORT: ``BTCUSDT LONG``
    by: str  #: who has given it
    at: str  #: when, ISO 8601

    def covers(self, symbol: str, side: PositionSide) -> bool:
        """Return whether it concerns a leg."""
        return is_in_scope(self.scope, symbol, side)


def is_in_scope(scope: str, symbol: str, side: PositionSide) -> bool:
    """Return whether a scope holds a leg."""
    return scope in (ACCOUNT, symbol, f"{symbol} {side.name}")


def write_command(folder: Path, command: Command, confirm: str = "") -> None:
    """Write a command into a state directory, whole or not at all; its owner alone may read it.

    Parameters
    ----------
    confirm : of a `FLATTEN` its scope once more, as the person has typed it.
    """
    write_whole(folder / FOLDER / f"{command.id}.json", {**command.__dict__, "confirm": confirm})


def read_command(text: str, symbols: Sequence[str]) -> Command:
    """Return the command of a file.

    Raises
    ------
    ValueError
        It is none, it is about something that is not traded, or a confirmation is missing.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), str) for key in ("id", "action", "scope", "by", "at")
    ):
        raise ValueError("it is no command")
    if content["action"] not in set(Action):
        raise ValueError(f"{content['action']!r} is no command")
    scopes = {ACCOUNT, *symbols, *(f"{symbol} {side.name}" for symbol in symbols for side in PositionSide)}
    command = Command(
        content["id"], Action(content["action"]), content["scope"], content["by"][:80], content["at"][:40]
    )
    if command.scope not in scopes:
        raise ValueError(f"{command.scope!r} is not traded here")
    if command.action is Action.TAKE_OUT and command.scope not in symbols:
        raise ValueError("take_out is for a symbol")
    if command.action is Action.FLATTEN and content.get("confirm") != command.scope:
        raise ValueError(f"it is not confirmed: type {command.scope}")
    return command


def answers(folder: Path) -> list[dict[str, Any]]:
    """Return the commands that wait and the answers to the others, newest first; it only reads."""
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            found.append(content if path.name.endswith(ANSWER) else content | {"state": "waits"})
    return sorted(found, key=lambda one: str(one.get("at", "")), reverse=True)


def answer_to(folder: Path, number: str) -> dict[str, Any] | None:
    """Return the answer to a command by its id, the command itself while it waits, None if there is neither."""
    for ending in (ANSWER, ".json", ANSWER):  # the bot may answer between the first two
        try:
            content = json.loads((folder / FOLDER / f"{number}{ending}").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return content if ending == ANSWER else content | {"state": "waits"}
    return None


def text_of(path: Path) -> str:
    """Return the text of a command's file.

    Raises
    ------
    ValueError
        It is no plain file, is another user's, or is too long.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
        raise ValueError("it is no plain small file")
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise ValueError("it is another user's")
    return path.read_text(encoding="utf-8")


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of the commands' folder so that it is there whole or not at all."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with open(draft, "w", encoding="utf-8", opener=private) as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)
