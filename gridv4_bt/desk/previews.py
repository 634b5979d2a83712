"""What a command would do, said before it is given; nothing is done."""

from typing import Any

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk import held
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.ladder_view import open_orders
from gridv4_bt.engine.position import fee_of
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.command_files import ACCOUNT, Action, is_in_scope


def is_scope(bot: BotFiles, action: Action, scope: str) -> bool:
    """Return whether a command may have a scope: the account, a symbol of the bot, or a leg."""
    symbols = bot.symbols()
    known = {ACCOUNT, *symbols, *(f"{symbol} {side.name}" for symbol in symbols for side in PositionSide)}
    return scope in known and (action is not Action.TAKE_OUT or scope in symbols)


def preview(bot: BotFiles, action: Action, scope: str) -> dict[str, Any]:
    """Return the legs that a command is about, the entries that go, what is closed and what that costs, quote."""
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
