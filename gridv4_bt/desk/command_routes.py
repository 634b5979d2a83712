"""The desk's REST interface: commands. Each is a file for the bot, which answers with a file."""

import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk import held
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.ladder_view import open_orders
from gridv4_bt.desk.routes import API
from gridv4_bt.desk.visitors import Bot, Commander, Reader
from gridv4_bt.engine.position import fee_of
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.command_files import ACCOUNT, Action, Command, answers, is_in_scope, write_command

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
    return _preview(bot, action, _checked(bot, action, scope))


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
    symbols = bot.symbols()
    known = {ACCOUNT, *symbols, *(f"{symbol} {side.name}" for symbol in symbols for side in PositionSide)}
    if scope not in known or (action is Action.TAKE_OUT and scope not in symbols):
        raise HTTPException(422, "scope: account, a symbol, or a symbol and LONG or SHORT; of take_out a symbol")
    return scope


def _preview(bot: BotFiles, action: Action, scope: str) -> dict[str, Any]:
    legs = [
        row
        for row in held.leg_rows(bot)
        if row["side"] != "NET" and is_in_scope(scope, row["symbol"], PositionSide[row["side"]])
    ]
    names = {(row["symbol"], row["side"]) for row in legs}
    goes = action in (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN, Action.CANCEL)
    entries = [one for one in open_orders(bot) if one["opens"] and (one["symbol"], one["side"]) in names]
    closes = [row for row in legs if row["qty"]] if action is Action.FLATTEN else []
    taker = bot.config().taker_fee
    fee = plain_sum(fee_of(row["qty"], row["exposure"] / row["qty"], taker) for row in closes)
    return {
        "action": action,
        "scope": scope,
        "legs": [f"{row['symbol']} {row['side']}" for row in legs],
        "entries_cancelled": len(entries) if goes else 0,
        "closes": [
            {name: row[name] for name in ("symbol", "side", "qty", "average", "unrealized", "exposure")}
            for row in closes
        ],
        "fee": fee,
        "realizes": plain_sum(row["unrealized"] - row["fees"] - row["funding"] for row in closes) - fee,
        "pauses": action in (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN),
        "exits_and_stops_stay": action is not Action.FLATTEN,
        "confirm": scope if action is Action.FLATTEN else "",
    }
