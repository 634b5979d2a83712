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
from gridv4_bt.live.command_files import ACCOUNT, Action, Command, answers, write_command

router = APIRouter(prefix=API)
_SHOWN = ("symbol", "side", "qty", "average", "unrealized", "exposure")
_KEY = re.compile(r"[0-9a-z-]{8,64}")


class Wish(BaseModel):
    """What a person asks of a bot."""

    action: Action
    scope: Annotated[str, Field(max_length=60)] = ACCOUNT
    confirm: Annotated[str, Field(max_length=60)] = ""


@router.get("/bots/{name}/commands")
def commands(visitor: Reader, bot: Bot) -> list[dict[str, Any]]:
    """Return the commands that wait and the answers to the others, the newest first."""
    return answers(bot.folder)[:100]


@router.get("/bots/{name}/preview")
def preview(visitor: Reader, bot: Bot, action: Action = Action.FLATTEN, scope: str = ACCOUNT) -> dict[str, Any]:
    """Say what a command would do: the legs, the entries that go, what is closed, what that costs; nothing is done."""
    return previews.preview(bot, action, _checked(bot, action, scope))


@router.post("/bots/{name}/commands", status_code=202)
def give(visitor: Commander, bot: Bot, wish: Wish, idempotency_key: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Give a command; one with the `Idempotency-Key` of one before is that one. `confirm` of a flatten is its scope."""
    scope = _checked(bot, wish.action, wish.scope)
    if wish.action is Action.FLATTEN and wish.confirm != scope:
        raise HTTPException(422, f"to confirm, type {scope}")
    if idempotency_key and not _KEY.fullmatch(idempotency_key):
        raise HTTPException(422, "Idempotency-Key: 8 to 64 of 0-9, a-z and -")
    number = idempotency_key or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    if idempotency_key:
        before = next((one for one in answers(bot.folder) if one.get("id") == idempotency_key), None)
        if before is not None:
            return before
    command = Command(number, wish.action, scope, "desk", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    write_command(bot.folder, command, wish.confirm)
    return {**command.__dict__, "state": "waits"}


def _checked(bot: BotFiles, action: Action, scope: str) -> str:
    if not previews.is_scope(bot, action, scope):
        raise HTTPException(422, "scope: account, a symbol, or a symbol and LONG or SHORT; of take_out a symbol")
    return scope
