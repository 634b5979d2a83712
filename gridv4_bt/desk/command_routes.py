"""The desk's REST interface: commands. Each is a file for the bot, which answers with a file."""

import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

from gridv4_bt.desk import previews
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.routes import API
from gridv4_bt.desk.visitors import Bot, Commander, Reader
from gridv4_bt.live.command_files import ACCOUNT, Action, Command, answers, senseless, write_command

router = APIRouter(prefix=API)
_KEY = re.compile(r"[0-9a-z-]{8,64}")


Share = Annotated[float, Field(gt=0.0, le=1.0, description="of a flatten: how much of each leg is closed")]
Limit = Annotated[
    float | None,
    Field(ge=0.0, description="of a flatten: price of post-only exits of one leg; 0: the best; none: at market"),
]


class Wish(BaseModel):
    """What a person asks of a bot."""

    action: Action
    scope: Annotated[str, Field(max_length=60)] = ACCOUNT
    confirm: Annotated[str, Field(max_length=60)] = ""
    share: Share = 1.0
    limit: Limit = None


@router.get("/bots/{name}/commands")
def commands(visitor: Reader, bot: Bot) -> list[dict[str, Any]]:
    """Return the commands that wait and the answers to the others, the newest first."""
    return answers(bot.folder)[:100]


@router.get("/bots/{name}/preview")
def preview(
    visitor: Reader,
    bot: Bot,
    action: Action = Action.FLATTEN,
    scope: str = ACCOUNT,
    share: Share = 1.0,
    limit: Limit = None,
) -> dict[str, Any]:
    """Say what a command would do: the legs, the entries that go, what is closed, what that costs; nothing is done."""
    command = _checked(bot, Wish(action=action, scope=scope, share=share, limit=limit))
    return previews.preview(bot, command.action, command.scope, command.share, command.limit)


@router.post("/bots/{name}/commands", status_code=202)
def give(visitor: Commander, bot: Bot, wish: Wish, idempotency_key: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Give a command; one with the `Idempotency-Key` of one before is that one. `confirm` of a flatten is its scope."""
    if idempotency_key and not _KEY.fullmatch(idempotency_key):
        raise HTTPException(422, "Idempotency-Key: 8 to 64 of 0-9, a-z and -")
    command = _checked(bot, wish, idempotency_key)
    if wish.action is Action.FLATTEN and wish.confirm != wish.scope:
        raise HTTPException(422, f"to confirm, type {wish.scope}")
    before = next((one for one in answers(bot.folder) if one.get("id") == command.id), None)
    if before is None:
        write_command(bot.folder, command, wish.confirm)
    return before or {**command.__dict__, "state": "waits"}


def _checked(bot: BotFiles, wish: Wish, key: str = "") -> Command:
    """Return the command that a visitor wishes, 422 if the bot would refuse it."""
    now = datetime.now(UTC)
    number = key or f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    command = Command(number, wish.action, wish.scope, "desk", f"{now:%Y-%m-%dT%H:%M:%SZ}", wish.share, wish.limit)
    if reason := senseless(command, bot.symbols()):
        raise HTTPException(422, reason)
    return command
