"""What a command would do, said before it is given; nothing is done."""

from typing import Any

from gridv4_bt.core.sums import plain_sum
from gridv4_bt.desk import held
from gridv4_bt.desk.bot_files import BotFiles
from gridv4_bt.desk.ladder_view import open_orders
from gridv4_bt.engine.position import fee_of, unrealized_pnl
from gridv4_bt.engine.types import PositionSide
from gridv4_bt.live.closing import exit_at, what_stays
from gridv4_bt.live.command_files import Action, is_in_scope

_FINEST = 1e-8, 1e-8, 0.0  # step, tick and least quantity of a market that is not known


def preview(
    bot: BotFiles, action: Action, scope: str, share: float = 1.0, limit: float | None = None
) -> dict[str, Any]:
    """Return the legs that a command is about, the entries that go, what is closed and what that costs, quote.

    Parameters
    ----------
    share : of a flatten: how much of each leg is closed.
    limit : of a flatten: price of its exits, 0 for the best; None: at market, estimated at the latest close.
    """
    legs = [
        row
        for row in held.leg_rows(bot)
        if row["side"] != "NET" and is_in_scope(scope, row["symbol"], PositionSide[row["side"]])
    ]
    names = {(row["symbol"], row["side"]) for row in legs}
    goes = action in (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN, Action.CANCEL)
    entries = [one for one in open_orders(bot) if one["opens"] and (one["symbol"], one["side"]) in names]
    is_closing = action is Action.FLATTEN
    closes = [_close(bot, row, share, limit) for row in legs if row["qty"]] if is_closing else []
    return {
        "action": action,
        "scope": scope,
        "share": share,
        "limit": limit,
        "legs": [f"{row['symbol']} {row['side']}" for row in legs],
        "entries_cancelled": len(entries) if goes else 0,
        "closes": closes,
        "fee": plain_sum(one["fee"] for one in closes),
        "realizes": plain_sum(one["realizes"] for one in closes),
        "pauses": action in (Action.PAUSE, Action.TAKE_OUT, Action.FLATTEN),
        "exits_and_stops_stay": not is_closing,
        "confirm": scope if is_closing else "",
    }


def _close(bot: BotFiles, leg: dict[str, Any], share: float, limit: float | None) -> dict[str, Any]:
    """Return what a flatten closes of a leg, where, and what that costs and brings."""
    symbol, side, fills, p = leg["symbol"], PositionSide[leg["side"]], leg["bullets"], bot.config()
    close, market = leg["exposure"] / leg["qty"], bot.market(symbol)
    step, tick, least = (market.step, market.tick, market.min_qty) if market is not None else _FINEST
    price = close if limit is None else exit_at(int(side), limit, close, tick)
    rate = p.taker_fee if limit is None else p.maker_fee
    sizes = {one["id"]: one["qty"] for one in fills}
    stays = what_stays(sizes, share, step, least, whole=limit is not None) or {}
    qty = fee = unrealized = realizes = 0.0
    for one in fills:
        part = one["qty"] - stays.get(one["id"], 0.0)
        costs = fee_of(part, price, rate)
        qty += part
        fee += costs
        unrealized += one["unrealized"] * part / one["qty"]
        paid = (one["fee"] + one["funding"]) * part / one["qty"]
        realizes += unrealized_pnl(int(side), part, part * one["price"], price) - paid - costs
    return {
        "symbol": symbol, "side": leg["side"], "qty": qty, "held": leg["qty"], "average": leg["average"],
        "unrealized": unrealized, "exposure": qty * close, "price": price, "fee": fee, "realizes": realizes,
    }  # fmt: skip
