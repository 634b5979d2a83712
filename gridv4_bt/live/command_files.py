"""The files of commands to a bot: the desk writes ``commands/ID.json``, the bot ``commands/ID.answer.json``.

It imports little, because the desk is to stay small.
"""

import json
import math
import os
import re
import secrets
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
_LARGEST_NUMBER = 1e15  # no share and no price is as large
ID = re.compile(r"[0-9a-z-]{8,64}")  #: of a command


class Action(StrEnum):
    """What a person may ask of a bot."""

    PAUSE = "pause"  #: no entries; exits and stops stay
    RESUME = "resume"
    TAKE_OUT = "take_out"  #: pause of a symbol for good: only resuming this very symbol lifts it
    FLATTEN = "flatten"  #: close what is held, or a share of it, at market or by exits at a price, and pause
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
    share: float = 1.0  #: of a `FLATTEN`: how much of each leg is closed, above 0, at most 1
    #: Of a `FLATTEN`: price of post-only exits of a leg; 0: the best one that takes nothing; None: at market
    limit: float | None = None

    def covers(self, symbol: str, side: PositionSide) -> bool:
        """Return whether it concerns a leg."""
        return is_in_scope(self.scope, symbol, side)


def is_in_scope(scope: str, symbol: str, side: PositionSide) -> bool:
    """Return whether a scope holds a leg."""
    return scope in (ACCOUNT, symbol, f"{symbol} {side.name}")


def holds(outer: str, scope: str) -> bool:
    """Return whether a scope lies in another one."""
    return outer in (ACCOUNT, scope) or scope.startswith(f"{outer} ")


def write_command(folder: Path, command: Command, confirm: str = "") -> bool:
    """Write a command into a state directory, whole or not at all; its owner alone may read it.

    Return False if one of its id waits already; that one stays.

    Parameters
    ----------
    confirm : of a `FLATTEN` its scope once more, as the person has typed it.
    """
    path = folder / FOLDER / f"{command.id}.json"
    draft = _draft(path, {**command.__dict__, "confirm": confirm})
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return True


def read_command(text: str, symbols: Sequence[str]) -> Command:
    """Return the command of a file.

    Raises
    ------
    ValueError
        It is none, it is about something that is not traded, or a confirmation is missing.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is no command") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), str) for key in ("id", "action", "scope", "by", "at")
    ):
        raise ValueError("it is no command")
    if content["action"] not in set(Action):
        raise ValueError(f"{content['action']!r} is no command")
    share, limit = content.get("share", 1.0), content.get("limit")
    if not _is_number(share) or not (limit is None or _is_number(limit)):
        raise ValueError("share and limit are numbers")
    command = Command(
        content["id"], Action(content["action"]), content["scope"], content["by"][:80], content["at"][:40],
        float(share), None if limit is None else float(limit),
    )  # fmt: skip
    if reason := senseless(command, symbols):
        raise ValueError(reason)
    if command.action is Action.FLATTEN and content.get("confirm") != command.scope:
        raise ValueError(f"it is not confirmed: type {command.scope}")
    return command


def senseless(command: Command, symbols: Sequence[str]) -> str:
    """Return why a command makes no sense for a bot that trades some symbols, "" if it does."""
    legs = [f"{symbol} {side.name}" for symbol in symbols for side in PositionSide]
    if command.scope not in (ACCOUNT, *symbols, *legs):
        return f"{command.scope!r} is not traded here: the scope is account, a symbol, or a symbol and LONG or SHORT"
    if command.action is Action.TAKE_OUT and command.scope not in symbols:
        return "take_out is for a symbol"
    if command.action is not Action.FLATTEN and (command.share != 1.0 or command.limit is not None):
        return "share and limit belong to flatten"
    if not 0.0 < command.share <= 1.0:
        return f"share {command.share:g}: it is above 0 and at most 1"
    if command.limit is not None and not 0.0 <= command.limit < math.inf:
        return f"limit {command.limit:g}: it is a price, or 0 for the best"
    if command.limit and command.scope not in legs:
        return "limit: a price is for one leg; 0, the best price, is for any scope"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER


def answers(folder: Path) -> list[dict[str, Any]]:
    """Return the commands that wait and the answers to the others, newest first; it only reads."""
    found: dict[str, dict[str, Any]] = {}
    # What was answered is over, also where the file of the command is still there.
    for path in sorted((folder / FOLDER).glob("*.json"), key=lambda path: path.name.endswith(ANSWER)):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            is_answer = path.name.endswith(ANSWER)
            found[path.name.partition(".")[0]] = content if is_answer else content | {"state": "waits"}
    return sorted(found.values(), key=lambda one: str(one.get("at", "")), reverse=True)


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
    os.replace(_draft(path, content), path)
    sync_folder(path.parent)


def _draft(path: Path, content: Mapping[str, Any]) -> Path:
    """Write what shall become a file beside it, under a name of its own: two may write at the same time."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with open(draft, "w", encoding="utf-8", opener=private) as file:
        file.write(json.dumps(content) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
